/*
 * A figure of a few series over context depth, or over another number that is best seen by powers of two: its
 * .dat, its script's variables, the picture. With one such number the series stand side by side, as bars.
 */
#ifndef GEMMARK_HARNESS_PLOT_PLOT_CHART_H
#define GEMMARK_HARNESS_PLOT_PLOT_CHART_H

#include "base/error.h"
#include "harness/plot/plot_data.h"
#include "harness/plot/plot_figure.h"
#include "harness/plot/plot_script.h"

#define PLOT_CHART_SERIES 16
#define PLOT_CHART_TICKS 8 /* of a value axis */

struct plot_chart {
	const char *title;
	const char *unit_text;              /* of the .dat's values: "latency per token, microseconds" */
	const char *x_name;                 /* of the .dat's second column: "depth" */
	const char *marks;                  /* the caption's last words: what points and bars are */
	const int *templates;               /* ends with -1 */
	const struct plot_caption *caption; /* instead of what the combinations say; null: theirs */
	const int *panels;                  /* (n_panels): the combinations shown */
	int n_panels;
	int n_series;
	char names[PLOT_CHART_SERIES][PLOT_TEXT_MAX];
	int styles[PLOT_CHART_SERIES]; /* numbers from 0 up; equal series look equal in all figures */
	int n_x;
	const long *xs;          /* (n_x), ascending */
	const char *x_text;      /* the axis' label */
	const char *single_text; /* the same where n_x is 1 */
	struct plot_axis axis;
	char y_text[PLOT_TEXT_MAX];
	struct plot_summary *cells; /* (n_series, n_x); n = 0: nothing there */
};

/* Allocates cells, all empty. ERROR_MEMORY. */
int plot_chart_alloc(struct plot_chart *c, int n_series, int n_x, struct error *err);
/* The smallest and largest value of any cell, with p10 and p90 where asked for; hi < lo: there is none. */
void plot_chart_bounds(const struct plot_chart *c, bool quantiles, double *lo, double *hi);
/* Writes and draws the figure. */
int plot_chart_draw(const struct plot_chart *c, struct plot_figure *f, const char *name, struct error *err);
/* Says which points the series of a figure that was drawn lack. */
void plot_chart_note_gaps(const struct plot_chart *c, const struct plot_figure *f);

#endif
