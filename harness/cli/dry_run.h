/*
 * bench --dry-run: what a sweep would do, in which order, and about how long it would take.
 *
 * No model is loaded on a GPU and no result is written. Where cells need kernels that a card or a driver may refuse,
 * those alone are loaded, and made first where they are in no cache: some seconds a model. The host's read
 * bandwidth and the rate of its products are measured where cells run there, about three seconds; of a GPU the driver
 * is asked what the card states.
 */
#ifndef GEMMARK_HARNESS_CLI_DRY_RUN_H
#define GEMMARK_HARNESS_CLI_DRY_RUN_H

#include <stdio.h>

#include "base/error.h"
#include "harness/cli/engine_source.h"
#include "harness/measure/runner.h"
#include "harness/sweep/matrix.h"

/*
 * cells: (n), as matrix_cells leaves them; their models were checked. *n_runs: how many the sweep would make; what is
 * only known when something is loaded or run is not counted with.
 */
int dry_run_print(const struct cell *cells, int n, const struct runner_options *o, const struct engine_settings *e,
		  FILE *f, int *n_runs, struct error *err);

#endif
