/*
 * A sweep of the runner over the fake workload, and every row and token that it hands out. A test sets the fake's
 * script and the options between init and run; all calls fail the running test where they cannot.
 */
#ifndef GEMMARK_TESTS_SUPPORT_FAKE_SWEEP_H
#define GEMMARK_TESTS_SUPPORT_FAKE_SWEEP_H

#include <stdbool.h>

#include "harness/measure/runner.h"
#include "tests/support/fake_workload.h"

enum { FAKE_SWEEP_RUNS = 256, FAKE_SWEEP_TOKENS = 64 };

#define ALL_MODES "direct,graph-params,graph-update,graph-device"

struct kept_run {
	struct run_row row; /* strings that live for the call only are below instead */
	char status[16], reason[600], run_id[100], test[64], hash[24];
	struct token_record tokens[FAKE_SWEEP_TOKENS];
	int n;
};

struct fake_sweep {
	struct fake fake;
	struct matrix matrix;
	struct runner_options options;
	int fail_at; /* the sink fails at this row; 0: never */
	struct cell *cells;
	int n;
	struct kept_run runs[FAKE_SWEEP_RUNS];
	int n_runs;
	struct runner_progress last;
	bool went_back; /* the progress */
	struct runner_summary summary;
};

/* The fake as fake_init leaves it, and its clock. */
void fake_sweep_init(struct fake_sweep *x, int repetitions);
void fake_sweep_free(struct fake_sweep *x);

/* Words of axes, separated by commas; n_gen, n_prompt: 0 for none. */
struct fake_axes {
	const char *modes, *fusions, *syncs, *depths;
	int n_gen, n_prompt;
};
void fake_sweep_cells(struct fake_sweep *x, const struct fake_axes *a);
/*
 * The cells on a source, the fake's or another. Its result must be 0, or ERROR_IO where fail_at is set; the fake is
 * closed as often as it was opened, the progress never goes back, and a sweep that goes through does all its work.
 */
void fake_sweep_run(struct fake_sweep *x, struct workload_source *source);

/* Rows of a mode (null: any) with this status. */
int fake_sweep_count(const struct fake_sweep *x, const char *mode, const char *status);
/* The first row of a mode at this depth. */
const struct kept_run *fake_sweep_first(const struct fake_sweep *x, const char *mode, int depth);

#endif
