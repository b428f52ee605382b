/*
 * A sweep divided among machines, or among the GPUs of one: which cells each shard measures.
 *
 * What is compared stays together: cells of one placement and depth, whatever their test, SnapKV, fusion, sync and
 * mode, are a unit, and a unit is never divided. Units go to shards by their estimated cost, the dearest first, each to
 * the shard that is the cheapest with it; a placement's model is loaded once in each shard that has a unit of it. Equal
 * costs go by order.
 *
 * Everybody who divides the same cells must come to the same shards without a word between them: costs are whole
 * numbers, from what the matrix and the models' files say, and from nothing that is measured. Cells are those that were
 * asked for, not what their values stand for on one machine.
 */
#ifndef GEMMARK_HARNESS_SWEEP_SHARD_H
#define GEMMARK_HARNESS_SWEEP_SHARD_H

#include <stdint.h>

#include "base/error.h"
#include "harness/sweep/axis.h"

enum { SHARDS_MAX = 4096 };

/* Of a cell's model, in bytes. */
struct shard_model {
	double file;     /* read to hash it, and once more to load it */
	double token;    /* weights that a decoded token reads */
	double position; /* keys and values that it reads of each position before it */
};

/* How often a cell is run. */
struct shard_effort {
	int repetitions;
	int warmup;  /* tokens in front of each */
	int delay_s; /* before each */
};

struct shard_models {
	void *ctx;
	/* Of a placement. A failure ends shards_divide. */
	int (*find)(void *ctx, const struct cell *placement, struct shard_model *out, struct error *err);
};

struct shards {
	int n;
	int n_cells;
	int n_units;
	int *unit; /* (n_cells) of each cell: from 0, in the order of their first cells */
	int *of;   /* (n_cells) the shard of each cell, from 0 */
	/* (n) of each shard: its cells, and about what they cost, in KiB of weights read. With fewer units than shards
	 * some have none. */
	int *cells;
	double *cost;
};

/*
 * What one repetition of a cell costs, its reference and the context before it apart, in bytes of weights read: a
 * prompt's token and a second of pause in those, too.
 */
double shard_cell_cost(const struct cell *c, const struct shard_model *m, const struct shard_effort *e);

/* cells: (n_cells), as matrix_cells leaves them; n: 1 to SHARDS_MAX. ERROR_MEMORY, or as models fails. Call shards_free
 * also after a failure. */
int shards_divide(const struct cell *cells, int n_cells, int n, const struct shard_effort *e,
		  const struct shard_models *models, struct shards *out, struct error *err);
void shards_free(struct shards *s);

/* Leaves those of (n_cells) that are the shard's, in their order; returns how many. */
int shards_keep(const struct shards *s, int shard, struct cell *cells);

/*
 * Over which cell is in which shard, and over all values of all cells but their models' paths: equal where two machines
 * divided the same matrix alike.
 */
uint64_t shards_hash(const struct shards *s, const struct cell *cells);

#endif
