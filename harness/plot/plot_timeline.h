/*
 * The figure of one token's time within its kernel, of results that have time stamps: three layers multiprocessor by
 * multiprocessor, how many work at each moment of the token, and what each kind of phase takes.
 */
#ifndef GEMMARK_HARNESS_PLOT_PLOT_TIMELINE_H
#define GEMMARK_HARNESS_PLOT_PLOT_TIMELINE_H

#include "base/error.h"
#include "harness/plot/plot.h"
#include "harness/plot/plot_data.h"

/* Draws one into `out` for each combination and depth that has a stamped token, whatever its mode. */
int plot_timeline(const struct plot_request *request, struct plot_data *d, const struct run_directory *out,
		  struct error *err);

#endif
