/*
 * Contexts that were prefilled once: kept in memory for the groups of a sweep to come, and in a directory for other
 * sweeps. A group whose tokens begin with a kept context's goes on from it.
 *
 * A context is kept by what its bits depend on: the workload's identity, its tokens, and what an eviction needs of
 * them. A longer one goes on from whole chunks alone: then its own chunks are those of a prefill from the start, and so
 * are its bits. What does not fit, or is not what it says, is left alone with a line that says why, and prefilled.
 *
 * Prompts that are measured are never served: only what comes before them.
 */
#ifndef GEMMARK_HARNESS_MEASURE_CONTEXT_STORE_H
#define GEMMARK_HARNESS_MEASURE_CONTEXT_STORE_H

#include <stdint.h>

#include "base/error.h"
#include "harness/measure/tokens.h"
#include "harness/measure/workload.h"
#include "harness/record/row.h"

struct context_store_options {
	const char *directory; /* null: none */
	uint64_t limit;        /* of the directory, as context_directory_open has it */
	uint64_t memory;       /* bytes kept in memory at most; 0: nothing is */
	/* Gets a line of what was refused or could not be kept; not null. */
	void (*note)(void *ctx, const char *line);
	void *ctx;
};

struct context_store; /* opaque */

/* ERROR_INPUT, ERROR_IO where the directory cannot be used; ERROR_MEMORY. The options' strings outlive it. */
int context_store_open(struct context_store **out, const struct context_store_options *o, struct error *err);
/* s may be null. */
void context_store_close(struct context_store *s);

/* What is in memory goes: no group to come has use for it. */
void context_store_forget(struct context_store *s);

/*
 * Takes w, at position 0, as far into the stream's first n tokens as anything kept goes: *reached, 0 where there is
 * nothing, and where it came from. An error is w's own, ERROR_DEVICE or ERROR_MEMORY: its context is lost.
 */
int context_store_restore(struct context_store *s, struct workload *w, const struct token_stream *stream, int n,
			  int *reached, enum context_source *from, struct error *err);

enum { CONTEXT_STORE_MEMORY = 1, CONTEXT_STORE_DISK = 2 };
/* The most tokens up to n whose context a longer one can go on from; 0 where there are none. */
int context_store_whole(struct workload *w, int n);
/*
 * Keeps w's context, which the stream's first n tokens are, in these places, as far as they are open. An error is w's
 * device's.
 */
int context_store_keep(struct context_store *s, struct workload *w, const struct token_stream *stream, int n,
		       unsigned places, struct error *err);

#endif
