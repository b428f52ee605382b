/*
 * The one door to the files of a run directory, whose content is untrusted: it comes with somebody's pull request.
 *
 * The path to the directory is the user's word and followed as it is. In the directory nothing is: files are opened
 * relative to its descriptor, folders one by one, never through a symbolic link, and only a regular file is read or
 * appended to; on a pipe, a device or a socket nothing blocks. A new version of a file is a temporary one beside it,
 * renamed when it is whole: it takes the place of whatever has the name, a link included, and is never written
 * through it.
 *
 * Names are single: no '/', no "..".
 */
#ifndef GEMMARK_HARNESS_RECORD_RUN_DIRECTORY_H
#define GEMMARK_HARNESS_RECORD_RUN_DIRECTORY_H

#include <stdio.h>

#include <jansson.h>

#include "base/error.h"

enum {
	RUN_DIRECTORY_PATH = 4096,        /* bytes of a path, with the NUL */
	RUN_DIRECTORY_MAX_JSON = 1 << 24, /* bytes of a JSON file */
};

struct run_directory {
	char path[RUN_DIRECTORY_PATH]; /* as it was named: for messages alone */
	int fd;                        /* negative: not open */
};

/* Opens an existing directory. ERROR_INPUT, ERROR_IO. Nothing is to be closed after a failure, of these three. */
int run_directory_open(struct run_directory *d, const char *path, struct error *err);
/* The same; made if absent, parents included. */
int run_directory_make(struct run_directory *d, const char *path, struct error *err);
/* Makes the directory alone, and nothing that it is in: ERROR_INPUT where that is not there. */
int run_directory_make_last(struct run_directory *d, const char *path, struct error *err);
/* The folder `name` in d; make: made if absent. */
int run_directory_below(const struct run_directory *d, const char *name, int make, struct run_directory *out,
			struct error *err);
/* May be called twice, and on {.fd = -1}. */
void run_directory_close(struct run_directory *d);

/*
 * Waits so many seconds for those who hold it: one after the other. remedy: what to do where somebody holds it longer.
 * ERROR_IO. Closing d gives it back, too.
 */
int run_directory_lock(const struct run_directory *d, int seconds, const char *remedy, struct error *err);
void run_directory_unlock(const struct run_directory *d);

/* Whether results can go there, before anything is measured: absent, or an empty directory. ERROR_INPUT, ERROR_IO. */
int run_directory_check_new(const char *path, struct error *err);
/* ERROR_INPUT where anything is in it. */
int run_directory_check_empty(const struct run_directory *d, struct error *err);

/* Whether there is nothing of that name in it: what may have been left out is asked for before it is opened. */
int run_directory_lacks(const struct run_directory *d, const char *name);

/* The descriptor of a regular file, which the caller closes; flags: O_RDONLY or O_RDWR. ERROR_IO, ERROR_INPUT. */
int run_directory_open_file(const struct run_directory *d, const char *name, int flags, struct error *err);
/* The same of a file that is made, and must not be there: O_RDWR. */
int run_directory_create_file(const struct run_directory *d, const char *name, struct error *err);

/* The caller owns *out. ERROR_IO where it cannot be read, ERROR_INPUT where it is no JSON, or too large. */
int run_directory_load_json(const struct run_directory *d, const char *name, json_t **out, struct error *err);
/* Writes a new file, indented, keys in their order. ERROR_IO, also where it is there. */
int run_directory_save_json(const struct run_directory *d, const char *name, const json_t *value, struct error *err);

/* A new version of a file while it is written. */
struct run_file {
	const struct run_directory *directory;
	const char *name;
	char temporary[256];
	FILE *stream; /* null: not open */
};

/* d and name: the caller's, as long as the file is open. ERROR_IO. */
int run_file_open(struct run_file *f, const struct run_directory *d, const char *name, struct error *err);
/* Closes it and gives it its name; durable: forced to the disk before, and the name after. ERROR_IO: it is discarded.
 */
int run_file_commit(struct run_file *f, int durable, struct error *err);
/* Closes and removes it. May be called twice, and on {0}. */
void run_file_discard(struct run_file *f);

/* Removes what run_file_open left of writers that were killed. Of a directory in which nobody else writes. */
int run_directory_sweep(const struct run_directory *d, struct error *err);

#endif
