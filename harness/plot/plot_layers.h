/*
 * The figure over layers on the GPU: tokens a second of the combinations that differ in nothing
 * else, a column for each depth.
 */
#ifndef GEMMARK_HARNESS_PLOT_PLOT_LAYERS_H
#define GEMMARK_HARNESS_PLOT_PLOT_LAYERS_H

#include "base/error.h"
#include "harness/plot/plot.h"
#include "harness/plot/plot_data.h"

/*
 * Draws it into `out` for each set of combinations that has at least two numbers of layers, one of them above 0 and
 * one with layers on the host: results of one placement give none.
 */
int plot_layers(const struct plot_request *request, const struct plot_data *d, const struct run_directory *out,
		struct error *err);

#endif
