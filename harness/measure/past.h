/*
 * What a sweep has already recorded, taken from the rows of its run directory: which
 * runs are done, which cells are closed, and where the order goes on.
 */
#ifndef GEMMARK_HARNESS_MEASURE_PAST_H
#define GEMMARK_HARNESS_MEASURE_PAST_H

#include "base/error.h"
#include "harness/measure/runner_options.h"
#include "harness/record/row.h"
#include "harness/sweep/matrix.h"

struct past {
	struct runner_past runner; /* what runner_options takes */
	const struct cell *cells;
	int n;
	int repetitions;
	int rows; /* kept; of which */
	int ok;
	int wrong;
	unsigned char *done;
	unsigned char *closed;
	unsigned char *attempts;
	double *clocks;
	double *values;
	uint64_t *launches;
};

/* cells: (n), the caller's, as long as p lives. Call past_free also after a failure. */
int past_init(struct past *p, const struct cell *cells, int n, int repetitions, struct error *err);
void past_free(struct past *p);

/*
 * Takes a row, and writes the index of its cell into it. ERROR_INPUT where the row is
 * none of this sweep's, is there twice, or could be of two cells.
 */
int past_take(struct past *p, struct run_row *row, struct error *err);

#endif
