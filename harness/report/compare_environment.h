/*
 * What must be the same of two result sets before their times mean anything: machine, driver, clocks' policy, build
 * flags, models, and what the sweeps were asked to do.
 */
#ifndef GEMMARK_HARNESS_REPORT_COMPARE_ENVIRONMENT_H
#define GEMMARK_HARNESS_REPORT_COMPARE_ENVIRONMENT_H

#include "base/error.h"
#include "harness/record/result_set.h"

/*
 * Appends a line a difference to *lines (*n), which the caller frees with its texts. Facts that one of the sets does
 * not know are no difference. ERROR_MEMORY.
 */
int compare_environment(const struct result_set *base, const struct result_set *head, char ***lines, int *n,
			struct error *err);
/*
 * The same of a run and one of base that has its cell: where a prompt's weights came from, which may have been left
 * open to what memory was free. Fewer layers on a GPU have fewer of them, and are no difference. merged: one of the
 * directories has cells of several machines or GPUs, so that which one a cell is of is no fact of its env.json.
 */
int compare_environment_row(const struct run_row *base, const struct run_row *row, int merged, char ***lines, int *n,
			    struct error *err);

#endif
