/*
 * One figure's files: NAME.dat and NAME.gp while they are being written, then gnuplot's pictures;
 * and what every figure's script says, modes and caption.
 */
#ifndef GEMMARK_HARNESS_PLOT_PLOT_FIGURE_H
#define GEMMARK_HARNESS_PLOT_PLOT_FIGURE_H

#include <stdio.h>

#include "base/error.h"
#include "harness/plot/plot.h"
#include "harness/plot/plot_data.h"
#include "harness/plot/plot_script.h"
#include "harness/record/run_directory.h"

#define PLOT_STEM_MAX 160
#define PLOT_SLUG_MAX 120

/* What figures over runs have in common. */
#define PLOT_DEPTH_TEXT "context depth (tokens in the cache, log scale)"
#define PLOT_MARKS_BARS "bar: median over runs of the run's median; whisker: min to max over runs"
#define PLOT_MARKS_POINTS "point: median over runs of the run's median; bar: min to max over runs"

/* The templates in plots, in the order in which the build embeds them. */
enum plot_template {
	PLOT_TEMPLATE_STYLE,
	PLOT_TEMPLATE_DEPTH_AXIS,
	PLOT_TEMPLATE_COST,
	PLOT_TEMPLATE_OVERHEAD,
	PLOT_TEMPLATE_TRACE,
	PLOT_TEMPLATE_LAYERS,
	PLOT_TEMPLATE_TIMELINE,
	PLOT_TEMPLATE_REPORT, /* of harness/report/figure_svg.h */
	PLOT_TEMPLATE_HISTORY,
};

/* What a figure is made from, and the two files being written. */
struct plot_figure {
	const struct plot_request *request;
	const struct plot_data *data;
	const struct run_directory *out;
	const char *slug; /* "" where there is one combination */
	int panel;
	unsigned varies;          /* 1 << axis for each axis along or beside which the figure shows several values */
	char stem[PLOT_STEM_MAX]; /* file name without extension */
	FILE *dat, *script;       /* of the two below */
	struct run_file dat_file, script_file;
	char dat_name[PLOT_STEM_MAX + 8], script_name[PLOT_STEM_MAX + 8];
};

/* Hands a line, control characters escaped, to whoever asked for the figures. */
void plot_note(const struct plot_request *request, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Says that the figure of this name is not drawn, and why. */
void plot_figure_skipped(const struct plot_figure *f, const char *name, const char *why);

/*
 * The values of the axes in which a combination differs from `among` (n), as a part of a file name; those whose bits
 * (1 << axis) are in skip are left out. Room is left for a number that makes it unique.
 */
void plot_figure_slug(const struct plot_data *d, int panel, const int *among, int n, unsigned skip,
		      char slug[PLOT_SLUG_MAX]);

/*
 * Sets stem from the figure's name and the slug, and opens both files, which plot_figure_finish closes. They get their
 * names there, when they are whole.
 */
int plot_figure_open(struct plot_figure *f, const char *name, struct error *err);

/* n_modes, mode_names and mode_styles of (n) series; styles: numbers from 0 up, of which equal ones look equal. */
void plot_figure_series(const struct plot_figure *f, const char *const *names, const int *styles, int n);
/* The same for modes: n indices into data->modes. */
void plot_figure_modes(const struct plot_figure *f, const int *modes, int n);

/*
 * What was run, on what, how often; then `marks`, which says what the marks mean. panels: (n), the combinations that
 * are shown; of several, which differ in layers on the GPU, the figure's own gives the rest.
 */
void plot_figure_caption(const struct plot_figure *f, const int *panels, int n_panels, const char *marks);

/* Appends the templates (ending with -1), closes both files and draws each format asked for. */
int plot_figure_finish(struct plot_figure *f, const int *templates, struct error *err);

#endif
