/*
 * The instrument measures itself: each cell of a sweep against itself, side A and side
 * B in the same ABBA blocks, judged as two result sets are. What differs there is a
 * false alarm; with one cell of side B slowed down on purpose, finding it is power.
 *
 * The naive test is for contrast: a rank test over the pooled tokens of all runs, which
 * takes the tokens of a run for independent.
 */
#ifndef GEMMARK_HARNESS_SELFTEST_SELFTEST_H
#define GEMMARK_HARNESS_SELFTEST_SELFTEST_H

#include <stdint.h>

#include "base/error.h"
#include "harness/measure/runner.h"
#include "harness/measure/workload_slowed.h"
#include "harness/stats/verdict.h"
#include "harness/sweep/matrix.h"

struct selftest_result;

struct selftest_options {
	struct runner_options runner; /* repetitions: runs a side */
	struct verdict_options verdict;
	int sweeps;
	double inject;      /* relative slow-down of one cell of side B, drawn for each sweep; 0: A/A */
	double naive_alpha; /* of the naive test in each cell */
	/* Before each sweep, from 0; may be null. */
	void (*next)(void *ctx, int sweep);
	/* After each; may be null. */
	void (*progress)(void *ctx, const struct selftest_result *so_far);
	/* A finished run of side 0 (A) or 1 (B), whatever its status, as a runner_sink gets it; may be null. */
	int (*run)(void *ctx, int sweep, int side, const struct run_row *row, const struct token_record *tokens, int n,
		   struct error *err);
	/* A finished sweep's verdicts, (cells), and the cell that was slowed, or -1; may be null. */
	int (*judged)(void *ctx, int sweep, const struct verdict *v, int slowed, struct error *err);
	void *ctx;
};

/* 5 % for the naive test, one sweep. */
void selftest_options_default(struct selftest_options *o);

struct selftest_result {
	int sweeps; /* that were finished; fewer than asked where interrupted */
	int cells;
	int tokens;      /* measured, of a run */
	int alarms;      /* sweeps in which a cell that was not slowed was called slower or faster */
	int significant; /* sweeps in which such a cell's adjusted p was below alpha, however small the effect */
	int found;       /* sweeps in which the slowed cell was called slower */
	int repeated;    /* runs, because their SM clock was below their peers' */
	int unsure;      /* sweeps in which a cell was inconclusive for want of runs */
	int naive_cells; /* untouched cells, over all sweeps, that the naive test called different */
	int naive_of;
	int naive_sweeps;  /* sweeps in which it did so after Holm, at the verdict's alpha */
	double *variation; /* (cells): standard deviation of log(run median) of one side, mean over sweeps */
};

/*
 * cells: (n), generation tests. A run that is not ok ends the self-test with what it
 * says: ERROR_WRONG or ERROR_DEVICE, as it is. Free *out's variation with
 * selftest_free also after a failure.
 */
int selftest_run(const struct cell *cells, int n, struct slowed_source *source, const struct selftest_options *o,
		 struct selftest_result *out, struct error *err);
void selftest_free(struct selftest_result *r);

#endif
