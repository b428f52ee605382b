/*
 * One figure's files: NAME.dat and NAME.gp while they are being written, then gnuplot's pictures;
 * and what every figure's script says, modes and caption.
 */
#ifndef GEMMARK_HARNESS_PLOT_FIGURE_H
#define GEMMARK_HARNESS_PLOT_FIGURE_H

#include <stdio.h>

#include "engine/error.h"
#include "harness/plot.h"
#include "harness/plot_data.h"

#define PLOT_STEM_MAX 160

/* The templates in plots, in the order in which the build embeds them. */
enum plot_template {
	PLOT_TEMPLATE_STYLE,
	PLOT_TEMPLATE_DEPTH_AXIS,
	PLOT_TEMPLATE_COST,
	PLOT_TEMPLATE_OVERHEAD,
	PLOT_TEMPLATE_TRACE,
};

/* What a figure is made from, and the two files being written. */
struct plot_figure {
	const struct plot_request *request;
	const struct plot_data *data;
	const char *out;
	const char *slug; /* "" where there is one combination */
	int panel;
	char stem[PLOT_STEM_MAX]; /* file name without extension */
	FILE *dat, *script;
};

/* Sets stem from the figure's name and the slug, and opens both files, which plot_figure_finish closes. */
int plot_figure_open(struct plot_figure *f, const char *name, struct error *err);

/* n_modes, mode_names and mode_styles. modes: n indices into data->modes. */
void plot_figure_modes(const struct plot_figure *f, const int *modes, int n);

/* What was run, on what, how often; then `marks`, which says what the marks mean. */
void plot_figure_caption(const struct plot_figure *f, const char *marks);

/* Appends the templates (ending with -1), closes both files and draws each format asked for. */
int plot_figure_finish(struct plot_figure *f, const int *templates, struct error *err);

#endif
