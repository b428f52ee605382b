/*
 * The matrix of a sweep: the values of each axis, and the cells that they span.
 *
 * The key of a cell is every axis, and two cells with one key could not be told apart: values that come to the same
 * on this machine (all layers and their number, a path written in two ways) are one.
 */
#ifndef GEMMARK_HARNESS_SWEEP_MATRIX_H
#define GEMMARK_HARNESS_SWEEP_MATRIX_H

#include "base/error.h"
#include "harness/sweep/axis.h"
#include "harness/sweep/axis_values.h"

enum { MATRIX_MAX_CELLS = 100000 }; /* of a sweep */

/* A prompt and a generation behind it, measured as one test. */
struct matrix_pair {
	int n_prompt;
	int n_gen;
};

/* Zeroed: empty. */
struct matrix {
	struct axis_values of[AXIS_COUNT];
	struct matrix_pair *pairs; /* (n_pairs): tests beside those of the two axes alone */
	int n_pairs;
};

/* Appends a list to an axis; words that the axis does not list are what its user makes of them. ERROR_INPUT or
 * ERROR_MEMORY. */
int matrix_add(struct matrix *m, enum axis_id a, const char *list, struct error *err);
/* Appends one, "512,128"; a pair that is there counts once. ERROR_INPUT or ERROR_MEMORY. */
int matrix_add_pair(struct matrix *m, const char *text, struct error *err);
/* Gives each axis that has no value its defaults. */
int matrix_defaults(struct matrix *m, struct error *err);
void matrix_free(struct matrix *m);

/* What values stand for on this machine. */
struct cell_resolver {
	void *ctx;
	/*
	 * Of a placement: puts the values in force into the axes that are `resolved`, and model_hash. A failure ends
	 * matrix_cells.
	 */
	int (*resolve)(void *ctx, struct cell *placement, struct error *err);
};

/*
 * All cells, in nested order, a group's tests being prompts, generations and pairs: placement (model, layers, types,
 * threads), SnapKV, depth, test, fusion, sync, mode. Cells of one placement, SnapKV and depth are neighbours, and in
 * them those that differ in mode only. An axis without values has its absent one; 0 tokens are no test. Placements that
 * resolve to an earlier one are left out; resolver may be null: every value is what it says. Strings are the matrix's.
 * ERROR_INPUT where an axis that has no absent value is empty, or nothing is left to measure. The caller frees *out.
 */
int matrix_cells(const struct matrix *m, const struct cell_resolver *resolver, struct cell **out, int *n,
		 struct error *err);

#endif
