/* What is read of shards before anything is written, shared by the two files of merge.h. */
#ifndef GEMMARK_HARNESS_RECORD_MERGE_INTERNAL_H
#define GEMMARK_HARNESS_RECORD_MERGE_INTERNAL_H

#include "harness/record/merge.h"
#include "harness/record/result_set.h"

struct merge_shard {
	struct result_set set;
	int index; /* from 1 */
	int cells; /* that the division gives it */
};

struct merge {
	const struct merge_options *o;
	struct merge_shard *shards; /* (o->n), by index */
	int n;                      /* that are open */
	int count;
	int repetitions;
	struct merge_summary *summary;
};

/* Opens all, checks that they belong together, and puts them in order. Close it also after a failure. */
int merge_open(struct merge *m, struct error *err);
void merge_close(struct merge *m);
/* Opens the detail files of a shard, and checks that each run has what its row says. */
int merge_open_details(struct result_set *s, struct error *err);
void merge_close_details(struct result_set *s);

#endif
