/*
 * Figures of what SnapKV does: decode rate and cache against context for each budget and the full cache, and
 * divergence and agreement against the budget.
 *
 * Combinations that are equal in everything else belong together; where there is one alone, nothing is drawn.
 */
#ifndef GEMMARK_HARNESS_PLOT_PLOT_SNAPKV_H
#define GEMMARK_HARNESS_PLOT_PLOT_SNAPKV_H

#include "base/error.h"
#include "harness/plot/plot.h"
#include "harness/plot/plot_data.h"

/* Into the folder `out`. What plot_results returns. */
int plot_snapkv(const struct plot_request *request, const struct plot_data *d, const struct run_directory *out,
		struct error *err);

#endif
