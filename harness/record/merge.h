/*
 * The shards of one sweep (bench --shard), made one run directory.
 *
 * Shards belong together where they are of one matrix, divided alike, with the same options, of one commit and of
 * models of the same content. Each must be whole: every cell that the division gave it, with all its repetitions or a
 * row that says why there are none. Rows are copied byte by byte, with all tokens, looks at the machine and time
 * stamps; run ids stay what they were, and so does `order`, which counts within each process. What a run was measured
 * on is in its columns `machine`, `gpu` and `device`.
 *
 * sweep.json is the shards' own, with `merged` in the place of `shard`. env.json has what all environments agree in,
 * null where they do not, and under `shards` each one as it was.
 *
 * The new directory is written beside its place and renamed when it is whole: a merge that is killed leaves nothing
 * under the name. Sources are untrusted, as result_set.h reads them, and left as they are.
 */
#ifndef GEMMARK_HARNESS_RECORD_MERGE_H
#define GEMMARK_HARNESS_RECORD_MERGE_H

#include "base/error.h"
#include "harness/record/result_place.h"

struct merge_options {
	const char *const *paths; /* (n) */
	int n;
	const char *out; /* absent, or an empty directory */
	int partial;     /* shards, cells and runs may be missing; nothing else may be wrong */
};

enum { MERGE_TEXT_SIZE = 600 };

struct merge_summary {
	int shards; /* that were merged; of */
	int count;
	int empty; /* shards that the division left without cells: nobody has them */
	int cells;
	int runs;                      /* rows */
	struct result_places places;   /* that they are of; texts are not kept */
	char missing[MERGE_TEXT_SIZE]; /* "": nothing. A line of what is, with partial */
};

/* ERROR_INPUT where they do not belong together, overlap or are not whole, or are no shards; ERROR_IO, ERROR_MEMORY. */
int merge_directories(const struct merge_options *o, struct merge_summary *out, struct error *err);

#endif
