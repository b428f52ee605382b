/*
 * bench --shard I/N: which cells this process measures of a sweep that is divided, and what sweep.json says of that.
 */
#ifndef GEMMARK_HARNESS_CLI_SHARD_OPTION_H
#define GEMMARK_HARNESS_CLI_SHARD_OPTION_H

#include <stdio.h>

#include <jansson.h>

#include "base/error.h"
#include "harness/measure/runner_options.h"
#include "harness/sweep/matrix.h"

/* Zeroed: the whole sweep. */
struct shard_choice {
	int index; /* from 1 */
	int count;
};

/* "2/4". ERROR_INPUT. */
int shard_option_parse(const char *value, struct shard_choice *out, struct error *err);

/*
 * Leaves of the cells, which are the matrix's as this machine resolves it, those of the shard: *n, 0 where there are
 * too few units for all shards. *description: what sweep.json has as `shard`, the caller's. plan: where the shards are
 * printed with their costs; null: nowhere. ERROR_INPUT where the matrix would be divided in another way on another
 * machine.
 */
int shard_option_apply(const struct shard_choice *choice, const struct matrix *m, const struct runner_options *o,
		       struct cell *cells, int *n, json_t **description, FILE *plan, struct error *err);

#endif
