/*
 * The order in which a sweep's cells run.
 *
 * Placements in a seeded random order, so that each model is loaded once; in them the
 * groups (one depth: one prefill) in a random order. In a group the units (one test and
 * fusion) in a random order, and the modes of a unit in a random order, next to each
 * other; every other repetition runs the group backwards (ABBA), so that linear drift
 * hits all modes alike. Cells that are the same in every axis stay next to each other: a
 * comparison of a cell with itself.
 */
#ifndef GEMMARK_HARNESS_SWEEP_PLAN_H
#define GEMMARK_HARNESS_SWEEP_PLAN_H

#include <stdint.h>

#include "base/error.h"
#include "harness/sweep/matrix.h"

struct plan_group {
	int *sequence; /* (n) indexes of cells, as even repetitions run them */
	int n;
};

struct plan {
	struct plan_group *groups; /* (n_groups), in the order in which they run */
	int n_groups;
	int *owned;
};

/* cells as matrix_cells leaves them: groups and units are neighbours. */
int plan_build(const struct cell *cells, int n, uint64_t seed, struct plan *out, struct error *err);
void plan_free(struct plan *p);

/* The cell that runs as number `i` of a group in a repetition. */
int plan_cell(const struct plan_group *g, int repetition, int i);

#endif
