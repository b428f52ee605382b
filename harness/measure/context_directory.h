/*
 * The snapshots of a directory, --kv-cache: a file each, bounded together, the least recently used given up first.
 *
 * Several processes may use it at once: names are taken by renaming whole files, and whoever makes room holds the
 * directory's lock until its own bytes are counted. The content is untrusted, as a run directory's is: nothing is
 * followed, nothing but a regular file is opened or removed, nothing blocks.
 */
#ifndef GEMMARK_HARNESS_MEASURE_CONTEXT_DIRECTORY_H
#define GEMMARK_HARNESS_MEASURE_CONTEXT_DIRECTORY_H

#include <stdint.h>

#include "base/error.h"
#include "harness/measure/context_file.h"
#include "harness/record/run_directory.h"

struct context_directory {
	struct run_directory d; /* d.fd negative: not open */
	uint64_t limit;         /* bytes of all snapshots, those that are being written included */
};

/* What a snapshot's name says. */
struct context_name {
	uint64_t identity; /* hash of the label's */
	uint64_t tokens_hash;
	int tokens;
	int observed;
};
enum { CONTEXT_NAME_SIZE = 80 };
const char *context_name_text(const struct context_name *n, char out[CONTEXT_NAME_SIZE]);
/* Of the label. Whether its identity could be hashed: 0 without memory. */
int context_name_of(const struct context_label *l, struct context_name *out);

/*
 * Makes the directory if it is absent, in a folder that is there. limit 0: 16 GiB, or half of what the disk has free
 * and the snapshots there take, whichever is less; what is beyond it goes. ERROR_INPUT, ERROR_IO where nothing can be
 * written in it, or another process keeps it locked.
 */
int context_directory_open(struct context_directory *c, const char *path, uint64_t limit, struct error *err);
/* Also on {.d.fd = -1}. */
void context_directory_close(struct context_directory *c);

/* The names (*n) of one identity, of whatever kind the files are. The caller frees *out. ERROR_IO, ERROR_MEMORY. */
int context_directory_list(const struct context_directory *c, uint64_t identity, struct context_name **out, int *n,
			   struct error *err);
/* As context_file_read; messages name the file. It counts as used now. */
int context_directory_load(const struct context_directory *c, const struct context_name *n,
			   const struct context_label *l, void **contents, size_t *bytes, struct error *err);
/*
 * Takes the place of what has the name. ERROR_UNSUPPORTED where it is larger than the limit, ERROR_IO, ERROR_MEMORY;
 * nothing is left of it then.
 */
int context_directory_save(const struct context_directory *c, const struct context_name *n,
			   const struct context_label *l, const void *contents, size_t bytes, struct error *err);

#endif
