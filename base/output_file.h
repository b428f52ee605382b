/*
 * A file that a command writes: it appears under its name when it is whole, or not at all, and never in the place of
 * what is read.
 *
 * Until then it is a temporary file in the same folder, NAME.RANDOM.part: a new one (O_EXCL), so that it is nobody's.
 * A link of the file's name is replaced, never written through. What is no regular file, a device or a pipe, is
 * written in place: nothing can take its place.
 */
#ifndef GEMMARK_BASE_OUTPUT_FILE_H
#define GEMMARK_BASE_OUTPUT_FILE_H

#include <stdbool.h>
#include <stdio.h>

#include "base/error.h"

/* Stays where it is while it is open. */
struct output_file {
	struct output_file *next; /* internal: of those that are open */
	int fd;                   /* for reading too where it is not in place; negative: not open */
	char *path;               /* owned */
	char *part;               /* the temporary file's, owned; null: written in place */
	bool replace;             /* what has the name by then */
};

/*
 * Whether it may be written, before anything is computed: ERROR_INPUT where it is the same file (device and inode) as
 * one of the inputs, paths (n), a folder, or, unless `replace`, where anything has its name already.
 */
int output_file_check(const char *path, bool replace, const char *const *inputs, int n, struct error *err);

/* The same check without inputs; then the temporary file is made. ERROR_INPUT, ERROR_IO, ERROR_MEMORY. */
int output_file_open(struct output_file *o, const char *path, bool replace, struct error *err);

/* To write it by: of a descriptor of its own, so that the caller closes it, before the commit. ERROR_IO. */
int output_file_stream(const struct output_file *o, FILE **out, struct error *err);

/*
 * Forces it to the disk, gives it its name and closes o. ERROR_IO: it is discarded, but for what has come to have its
 * name meanwhile and is not to be replaced: then the line says where it is.
 */
int output_file_commit(struct output_file *o, struct error *err);
/* What to do about an errno of writing: "free space or write elsewhere". */
const char *output_file_remedy(int error);

/*
 * Removes the temporary files of all that are open; nothing else can be done with them. For a handler of a signal that
 * ends the process: async-signal-safe. Signals are held back while the list of them changes.
 */
void output_file_abandon_all(void);

/* Closes and removes it. Also valid after a failed open, and twice. */
void output_file_discard(struct output_file *o);

#endif
