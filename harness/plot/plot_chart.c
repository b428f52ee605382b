#include "harness/plot/plot_chart.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int plot_chart_alloc(struct plot_chart *c, int n_series, int n_x, struct error *err)
{
	c->n_series = n_series;
	c->n_x = n_x;
	c->cells = calloc((size_t)(n_series * n_x), sizeof *c->cells);
	return c->cells ? 0 : error_set(err, ERROR_MEMORY, "%s: not enough memory", c->title);
}

void plot_chart_bounds(const struct plot_chart *c, bool quantiles, double *lo, double *hi)
{
	*lo = INFINITY;
	*hi = -INFINITY;
	for (int i = 0; i < c->n_series * c->n_x; i++) {
		const struct plot_summary *cell = &c->cells[i];
		if (!cell->n)
			continue;
		plot_axis_widen(lo, hi, cell->min);
		plot_axis_widen(lo, hi, cell->max);
		if (quantiles) {
			plot_axis_widen(lo, hi, cell->p10);
			plot_axis_widen(lo, hi, cell->p90);
		}
	}
}

/* A place for each series. */
static void series_axis(const struct plot_chart *c, FILE *s)
{
	struct plot_ticks ticks = {.n = c->n_series};
	for (int i = 0; i < c->n_series; i++) {
		ticks.at[i] = i + 1;
		snprintf(ticks.text[i], PLOT_TEXT_MAX, "%s", c->names[i]);
	}
	plot_script_number(s, "x_lo", 0.4);
	plot_script_number(s, "x_hi", c->n_series + 0.6);
	plot_script_number(s, "x_break", NAN);
	plot_script_string(s, "x_text", c->single_text);
	plot_script_ticks(s, "tick_at", "tick_text", &ticks);
}

static void write_axis(const struct plot_chart *c, FILE *s, struct plot_depth_axis *axis)
{
	plot_script_number(s, "single", c->n_x == 1);
	if (c->n_x == 1) {
		series_axis(c, s);
		return;
	}
	*axis = plot_depth_axis_choose(c->xs, c->n_x);
	plot_script_number(s, "x_lo", axis->lo);
	plot_script_number(s, "x_hi", axis->hi);
	plot_script_number(s, "x_break", axis->gap_at);
	plot_script_string(s, "x_text", c->x_text);
	plot_script_ticks(s, "tick_at", "tick_text", &axis->ticks);
}

static void write_value(FILE *dat, double value)
{
	if (isnan(value))
		fputs(" NaN", dat);
	else
		fprintf(dat, " %.9g", value);
}

/* One block a series; a block without rows holds one that gnuplot leaves out, to keep the count. */
static void write_blocks(const struct plot_chart *c, FILE *dat, const struct plot_depth_axis *axis)
{
	fprintf(dat, "# %s\n# x %s runs median min max p10 p90\n", c->unit_text, c->x_name);
	for (int i = 0; i < c->n_series; i++) {
		int n = 0;
		fprintf(dat, "%s# %s\n", i ? "\n\n" : "", c->names[i]);
		for (int k = 0; k < c->n_x; k++) {
			const struct plot_summary *cell = &c->cells[i * c->n_x + k];
			if (!cell->n)
				continue;
			fprintf(dat, "%.6g %ld %d", c->n_x == 1 ? i + 1 : plot_depth_axis_at(axis, c->xs[k]), c->xs[k],
				cell->n);
			write_value(dat, cell->median);
			write_value(dat, cell->min);
			write_value(dat, cell->max);
			write_value(dat, cell->p10);
			write_value(dat, cell->p90);
			fputc('\n', dat);
			n++;
		}
		if (!n)
			fputs("NaN NaN NaN NaN NaN NaN NaN NaN\n", dat);
	}
}

int plot_chart_draw(const struct plot_chart *c, struct plot_figure *f, const char *name, struct error *err)
{
	struct plot_depth_axis axis = {.zero_at = NAN};
	const char *names[PLOT_CHART_SERIES];
	for (int i = 0; i < c->n_series; i++)
		names[i] = c->names[i];
	int rc = plot_figure_open(f, name, err);
	if (rc)
		return rc;
	FILE *s = f->script;
	plot_script_string(s, "name", f->stem);
	fprintf(s, "data = name.'.dat'\n");
	plot_script_number(s, "height", 520);
	plot_script_string(s, "title_text", c->title);
	plot_figure_series(f, names, c->styles, c->n_series);
	if (c->caption)
		plot_script_caption(s, c->caption);
	else
		plot_figure_caption(f, c->panels, c->n_panels, c->marks);
	write_axis(c, s, &axis);
	plot_script_number(s, "y_lo", c->axis.lo);
	plot_script_number(s, "y_hi", c->axis.hi);
	plot_script_number(s, "y_log", c->axis.log);
	plot_script_number(s, "scale", c->axis.scale);
	plot_script_string(s, "y_text", c->y_text);
	plot_script_ticks(s, "ytick_at", "ytick_text", &c->axis.ticks);
	write_blocks(c, f->dat, &axis);
	return plot_figure_finish(f, c->templates, err);
}

void plot_chart_note_gaps(const struct plot_chart *c, const struct plot_figure *f)
{
	for (int i = 0; i < c->n_series; i++) {
		char list[96] = "";
		int missing = 0;
		for (int k = 0; k < c->n_x; k++) {
			size_t used = strlen(list);
			if (c->cells[i * c->n_x + k].n)
				continue;
			missing++;
			snprintf(list + used, sizeof list - used, "%s%ld", used ? ", " : "", c->xs[k]);
		}
		if (missing)
			plot_note(f->request, "%s: left out: %s has no value at %s %s", f->stem, c->names[i],
				  missing == c->n_x ? "any" : c->x_name, missing == c->n_x ? c->x_name : list);
	}
}
