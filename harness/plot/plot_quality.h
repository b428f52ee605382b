/*
 * Figures of a directory that `gemmark quality` wrote, from its summary.csv: divergence, agreement and perplexity by
 * budget, needles found by budget, and by where in the prompt they were, a line for each policy.
 */
#ifndef GEMMARK_HARNESS_PLOT_PLOT_QUALITY_H
#define GEMMARK_HARNESS_PLOT_PLOT_QUALITY_H

#include "harness/plot/plot.h"
#include "harness/record/run_directory.h"

/* A set for each context and window. What plot_results says. */
int plot_quality(const struct plot_request *request, const struct run_directory *from, const struct run_directory *out,
		 struct error *err);

#endif
