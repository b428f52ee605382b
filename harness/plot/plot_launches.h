/* The figure over launches a token: what replay gains against direct launches, of the combinations that differ in their
 * fusion alone. */
#ifndef GEMMARK_HARNESS_PLOT_PLOT_LAUNCHES_H
#define GEMMARK_HARNESS_PLOT_PLOT_LAUNCHES_H

#include "base/error.h"
#include "harness/plot/plot.h"
#include "harness/plot/plot_data.h"

/*
 * Draws it into `out`, at the smallest depth of all, for each set of combinations that has two fusions or more with
 * runs of mode direct and another one.
 */
int plot_launches(const struct plot_request *request, const struct plot_data *d, const struct run_directory *out,
		  struct error *err);

#endif
