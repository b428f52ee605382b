/*
 * Writes each figure's NAME.dat and NAME.gp and has gnuplot draw them. A .gp is the variables
 * (data file, labels, ranges), then the templates of plots/ as they are.
 */
#include "harness/plot/plot.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "harness/plot/plot_chart.h"
#include "harness/plot/plot_data.h"
#include "harness/plot/plot_figure.h"
#include "harness/plot/plot_launches.h"
#include "harness/plot/plot_layers.h"
#include "harness/plot/plot_quality.h"
#include "harness/plot/plot_script.h"
#include "harness/plot/plot_snapkv.h"
#include "harness/plot/plot_timeline.h"
#include "harness/record/quality_file.h"

enum { TRACE_COLUMNS_MAX = 2, TRACE_TICKS = 5 };

static const struct plot_panel *panel_of(const struct plot_figure *f)
{
	return &f->data->panels[f->panel];
}

/* Series and the axis of a figure of modes over depths. */
static int chart_modes(const struct plot_figure *f, struct plot_chart *c, const int *modes, int n_modes,
		       struct error *err)
{
	const struct plot_panel *p = panel_of(f);
	for (int i = 0; i < n_modes; i++) {
		plot_text_clean(c->names[i], f->data->modes[modes[i]], 24);
		c->styles[i] = plot_data_mode_style(f->data, modes[i]);
	}
	c->panels = &f->panel;
	c->n_panels = 1;
	c->xs = p->depths;
	c->x_name = "depth";
	c->x_text = PLOT_DEPTH_TEXT;
	return plot_chart_alloc(c, n_modes, p->n_depths, err);
}

static int draw_cost(struct plot_figure *f, enum plot_metric metric, struct error *err)
{
	static const struct {
		const char *name, *title, *label, *unit;
	} texts[PLOT_METRIC_COUNT] = {
		[PLOT_METRIC_ITL] = {"latency", "Latency per token against context, by mode", "latency per token",
				     "latency per token, microseconds"},
		[PLOT_METRIC_SUBMIT] = {"submit", "Host cost of submitting a token, by mode",
					"host submit time per token", "host submit time per token, microseconds"},
	};
	static const int templates[] = {PLOT_TEMPLATE_STYLE, PLOT_TEMPLATE_DEPTH_AXIS, PLOT_TEMPLATE_COST, -1};
	const struct plot_panel *p = panel_of(f);
	const bool bars = p->n_depths == 1;
	char single[PLOT_TEXT_MAX];
	struct plot_chart c = {
		.title = texts[metric].title,
		.unit_text = texts[metric].unit,
		.marks = bars                 ? PLOT_MARKS_BARS
			 : f->data->no_tokens ? PLOT_MARKS_POINTS
					      : PLOT_MARKS_POINTS "; pale bar: p10 to p90 of tokens",
		.templates = templates,
		.single_text = single,
	};
	double lo, hi;
	snprintf(single, sizeof single, "mode, at context depth %ld", p->depths[0]);
	int rc = chart_modes(f, &c, p->modes, p->n_modes, err);
	for (int i = 0; i < c.n_series * c.n_x && !rc; i++)
		rc = plot_data_summary(f->data, f->panel, p->modes[i / c.n_x], p->depths[i % c.n_x], metric,
				       &c.cells[i], err);
	if (rc)
		goto done;
	plot_chart_bounds(&c, !bars, &lo, &hi); /* quantiles are not drawn beside bars */
	if (hi < lo) {
		plot_figure_skipped(f, texts[metric].name, "no run has a value");
		goto done;
	}
	c.axis = plot_axis_time(lo, hi, bars, plot_axis_wants_ms(lo, hi, bars), PLOT_CHART_TICKS);
	plot_axis_label(c.y_text, &c.axis, texts[metric].label);
	rc = plot_chart_draw(&c, f, texts[metric].name, err);
	if (!rc)
		plot_chart_note_gaps(&c, f);
done:
	free(c.cells);
	return rc;
}

/* Position of `direct` among all modes, where the panel has it, or -1. */
static int find_direct(const struct plot_figure *f)
{
	const struct plot_panel *p = panel_of(f);
	for (int i = 0; i < p->n_modes; i++)
		if (!strcmp(f->data->modes[p->modes[i]], "direct"))
			return p->modes[i];
	return -1;
}

static int draw_overhead(struct plot_figure *f, struct error *err)
{
	static const int templates[] = {PLOT_TEMPLATE_STYLE, PLOT_TEMPLATE_DEPTH_AXIS, PLOT_TEMPLATE_OVERHEAD, -1};
	const struct plot_panel *p = panel_of(f);
	int modes[PLOT_DATA_MAX_MODES], n_modes = 0, direct = find_direct(f);
	char single[PLOT_TEXT_MAX];
	struct plot_chart c = {
		.title = "Graph overhead: latency relative to direct (negative: faster)",
		.unit_text = "latency per token relative to direct, percent",
		.marks = p->n_depths == 1
				 ? "bar: median over pairs of runs of one repetition; whisker: min to max over pairs"
				 : "point: median over pairs of runs of one repetition; bar: min to max over pairs",
		.templates = templates,
		.single_text = single,
		.y_text = "latency per token against direct (%)",
	};
	double lo, hi;

	for (int i = 0; i < p->n_modes; i++)
		if (p->modes[i] != direct)
			modes[n_modes++] = p->modes[i];
	if (direct < 0 || !n_modes) {
		plot_figure_skipped(f, "overhead",
				    direct < 0 ? "there is no run of mode direct to compare with"
					       : "there is only mode direct");
		return 0;
	}
	snprintf(single, sizeof single, "mode, at context depth %ld", p->depths[0]);
	int rc = chart_modes(f, &c, modes, n_modes, err);
	for (int i = 0; i < c.n_series * c.n_x && !rc; i++)
		rc = plot_data_overhead(f->data, f->panel, modes[i / c.n_x], direct, p->depths[i % c.n_x], &c.cells[i],
					err);
	if (rc)
		goto done;
	plot_chart_bounds(&c, false, &lo, &hi);
	if (hi < lo) {
		plot_figure_skipped(f, "overhead", "no run shares depth and repetition with one of mode direct");
		goto done;
	}
	c.axis = plot_axis_percent(fmin(lo, 0), fmax(hi, 0), PLOT_CHART_TICKS);
	rc = plot_chart_draw(&c, f, "overhead", err);
	if (!rc)
		plot_chart_note_gaps(&c, f);
done:
	free(c.cells);
	return rc;
}

/* A run's tokens as one block: numbered so that 0 is the first measured one. */
static void write_trace_block(const struct plot_figure *f, const struct plot_run *run, long depth, const char *mode)
{
	char name[PLOT_TEXT_MAX];
	int n = 0;
	plot_text_clean(name, mode, 24);
	fprintf(f->dat, "# %s, depth %ld, repetition %ld\n", name, depth, run ? run->repetition : -1);
	long warm = 0;
	for (size_t k = 0; run && k < run->n_tokens; k++)
		warm += !f->data->tokens[run->first_token + k].measured;
	for (size_t k = 0; run && k < run->n_tokens; k++) {
		const struct plot_token *t = &f->data->tokens[run->first_token + k];
		if (isnan(t->value[PLOT_METRIC_ITL]))
			continue;
		fprintf(f->dat, "%ld %.9g %d\n", (long)k - warm, t->value[PLOT_METRIC_ITL], t->event);
		n++;
	}
	if (!n)
		fputs("NaN NaN NaN\n", f->dat);
	fputs("\n\n", f->dat);
}

static int draw_trace(struct plot_figure *f, struct error *err)
{
	static const int templates[] = {PLOT_TEMPLATE_STYLE, PLOT_TEMPLATE_TRACE, -1};
	const struct plot_panel *p = panel_of(f);
	int n_columns = p->n_depths > 1 ? TRACE_COLUMNS_MAX : 1, direct = find_direct(f);
	long depths[TRACE_COLUMNS_MAX] = {p->depths[0], p->depths[p->n_depths - 1]};
	double lo[TRACE_COLUMNS_MAX] = {INFINITY, INFINITY}, hi[TRACE_COLUMNS_MAX] = {-INFINITY, -INFINITY};
	double reference[TRACE_COLUMNS_MAX] = {NAN, NAN};
	long most_warm = 0, most_measured = 0;

	for (int c = 0; c < n_columns; c++) {
		for (int m = 0; m < p->n_modes; m++) {
			const struct plot_run *run = plot_data_typical(f->data, f->panel, p->modes[m], depths[c]);
			long warm = 0;
			if (!run)
				continue;
			for (size_t k = run->first_token; k < run->first_token + run->n_tokens; k++) {
				plot_axis_widen(&lo[c], &hi[c], f->data->tokens[k].value[PLOT_METRIC_ITL]);
				warm += !f->data->tokens[k].measured;
			}
			if (warm > most_warm)
				most_warm = warm;
			if ((long)run->n_tokens - warm > most_measured)
				most_measured = (long)run->n_tokens - warm;
			if (p->modes[m] == direct)
				reference[c] = run->value[PLOT_METRIC_ITL];
		}
	}
	if (hi[0] < lo[0] && hi[1] < lo[1]) {
		plot_figure_skipped(f, "trace", "tokens.csv has no token of these runs");
		return 0;
	}
	int rc = plot_figure_open(f, "trace", err);
	if (rc)
		return rc;

	bool in_ms = plot_axis_wants_ms(fmin(lo[0], lo[1]), fmax(hi[0], hi[1]), false); /* one unit for all */
	struct plot_axis value_axes[TRACE_COLUMNS_MAX];
	char labels[TRACE_COLUMNS_MAX][PLOT_TEXT_MAX], columns[TRACE_COLUMNS_MAX][PLOT_TEXT_MAX];
	const char *label_texts[TRACE_COLUMNS_MAX], *column_texts[TRACE_COLUMNS_MAX];
	double los[TRACE_COLUMNS_MAX], his[TRACE_COLUMNS_MAX], logs[TRACE_COLUMNS_MAX], scales[TRACE_COLUMNS_MAX];
	for (int c = 0; c < TRACE_COLUMNS_MAX; c++) {
		if (hi[c] < lo[c])
			lo[c] = 0, hi[c] = 1;
		value_axes[c] = plot_axis_time(lo[c], hi[c], false, in_ms, TRACE_TICKS);
		plot_axis_label(labels[c], &value_axes[c], "latency");
		snprintf(columns[c], PLOT_TEXT_MAX, "depth %ld", depths[c]);
		label_texts[c] = labels[c];
		column_texts[c] = columns[c];
		los[c] = value_axes[c].lo;
		his[c] = value_axes[c].hi;
		logs[c] = value_axes[c].log;
		scales[c] = value_axes[c].scale;
	}
	FILE *s = f->script;
	plot_script_string(s, "name", f->stem);
	fprintf(s, "data = name.'.dat'\n");
	plot_script_string(s, "title_text", "Latency of each token of one run");
	plot_figure_modes(f, p->modes, p->n_modes);
	plot_figure_caption(f, &f->panel, 1, "each trace: the run whose median is the middle one of its repetitions");
	fprintf(s, "height = 132 + 108*n_modes + 17*n_caption\n");
	plot_script_number(s, "n_columns", n_columns);
	plot_script_strings(s, "column_text", column_texts, n_columns);
	plot_script_strings(s, "y_text", label_texts, n_columns);
	plot_script_numbers(s, "y_lo", los, n_columns);
	plot_script_numbers(s, "y_hi", his, n_columns);
	plot_script_numbers(s, "y_log", logs, n_columns);
	plot_script_numbers(s, "scale", scales, n_columns);
	plot_script_numbers(s, "reference", reference, n_columns);
	plot_script_number(s, "warm", (double)most_warm);
	plot_script_number(s, "x_hi", (double)most_measured - 0.5);
	plot_script_ticks(s, "ytick_at_1", "ytick_text_1", &value_axes[0].ticks);
	plot_script_ticks(s, "ytick_at_2", "ytick_text_2", &value_axes[1].ticks);

	fprintf(f->dat, "# token itl_us event (%d capture, %d update, %d fallback)\n", TOKEN_EVENT_CAPTURE,
		TOKEN_EVENT_UPDATE, TOKEN_EVENT_FALLBACK);
	for (int c = 0; c < n_columns; c++)
		for (int m = 0; m < p->n_modes; m++)
			write_trace_block(f, plot_data_typical(f->data, f->panel, p->modes[m], depths[c]), depths[c],
					  f->data->modes[p->modes[m]]);
	return plot_figure_finish(f, templates, err);
}

static int draw_panel(struct plot_figure *f, struct error *err)
{
	int rc = draw_cost(f, PLOT_METRIC_ITL, err);
	if (!rc)
		rc = draw_cost(f, PLOT_METRIC_SUBMIT, err);
	if (!rc)
		rc = draw_overhead(f, err);
	if (!rc && !f->data->no_tokens)
		rc = draw_trace(f, err);
	return rc;
}

static int draw_all(const struct plot_request *request, struct plot_data *d, const struct run_directory *out,
		    struct error *err)
{
	int all[PLOT_DATA_MAX_COMBINATIONS];
	char(*slugs)[PLOT_SLUG_MAX] = calloc(PLOT_DATA_MAX_COMBINATIONS, sizeof *slugs);
	int rc = 0;
	if (!slugs)
		return error_set(err, ERROR_MEMORY, "%s: not enough memory", out->path);
	for (int p = 0; p < d->n_panels; p++)
		all[p] = p;
	for (int p = 0; p < d->n_panels && !rc; p++) {
		bool taken = false;
		plot_figure_slug(d, p, all, d->n_panels, 0, slugs[p]);
		for (int other = 0; other < p; other++)
			taken |= !strcmp(slugs[other], slugs[p]);
		if (taken)
			snprintf(slugs[p] + strlen(slugs[p]), 8, "-%d", p + 1);
		struct plot_figure f = {.request = request, .data = d, .out = out, .slug = slugs[p], .panel = p};
		rc = draw_panel(&f, err);
	}
	if (!rc)
		rc = plot_launches(request, d, out, err);
	if (!rc)
		rc = plot_layers(request, d, out, err);
	if (!rc)
		rc = plot_snapkv(request, d, out, err);
	if (!rc)
		rc = plot_timeline(request, d, out, err);
	free(slugs);
	return rc;
}

/* Rows that are not drawn: how many, and the first few of them. */
static void note_left_out(const struct plot_request *request, const struct plot_data *d)
{
	enum { SHOWN = 4 };
	char list[320] = "";
	size_t n = 0;
	for (size_t i = 0; i < d->set.n_rows && n < SHOWN; i++) {
		const struct run_row *row = &d->set.rows[i];
		size_t used = strlen(list);
		if (row->status == RUN_STATUS_OK || row->n_gen == ROW_UNKNOWN || !row->n_gen || row->n_prompt > 0)
			continue;
		char mode[PLOT_TEXT_MAX];
		plot_text_clean(mode, row->mode, 24);
		snprintf(list + used, sizeof list - used, "%s%s at depth %lld (%s)", used ? ", " : "", mode,
			 (long long)row->n_depth, run_status_name(row->status));
		n++;
	}
	if (d->n_left_out)
		plot_note(request, "%zu rows of %s/runs.csv are left out, their status is not ok: %s%s", d->n_left_out,
			  request->dir, list, d->n_left_out > n ? ", ..." : "");
}

/* Files that a sweep wrote and that were not kept with it: what is not drawn for want of them. */
static void note_lacking(const struct plot_request *request, const struct plot_data *d)
{
	bool over_depths = false; /* beside bars there are no quantiles */
	for (int p = 0; p < d->n_panels; p++)
		over_depths |= d->panels[p].n_depths > 1;
	if (d->no_tokens)
		plot_note(request, "%s has no tokens.csv: trace, each token of a run, is not drawn%s", request->dir,
			  over_depths ? ", nor p10 to p90 of tokens in latency and submit" : "");
	if (json_object_get(d->set.sweep, "timeline") && run_directory_lacks(&d->set.directory, "timeline.csv"))
		plot_note(request,
			  "%s has no timeline.csv, though its sweep took time stamps: timeline, where a token's time "
			  "goes, is not drawn",
			  request->dir);
}

int plot_check(const char *dir, struct error *err)
{
	struct run_directory from;
	struct plot_data *d = malloc(sizeof *d);
	if (!d)
		return error_set(err, ERROR_MEMORY, "%s: not enough memory", dir);
	int rc = run_directory_open(&from, dir, err);
	if (!rc) {
		rc = plot_data_load(d, &from, err);
		run_directory_close(&from);
	}
	if (!rc)
		plot_data_free(d);
	free(d);
	return rc;
}

static int make_out(const struct plot_request *request, const struct run_directory *from, struct run_directory *out,
		    struct error *err)
{
	return request->out ? run_directory_make(out, request->out, err)
			    : run_directory_below(from, "plots", 1, out, err);
}

int plot_results(const struct plot_request *request, struct error *err)
{
	assert(request->formats);
	struct run_directory from, out = {.fd = -1};
	struct plot_data *d = malloc(sizeof *d);
	if (!d)
		return error_set(err, ERROR_MEMORY, "%s: not enough memory", request->dir);
	int rc = run_directory_open(&from, request->dir, err);
	bool quality = !rc && quality_summary_exists(&from);
	if (!rc && quality) {
		rc = make_out(request, &from, &out, err);
		if (!rc)
			rc = plot_quality(request, &from, &out, err);
	} else if (!rc) {
		rc = plot_data_load(d, &from, err);
	}
	if (!rc && !quality) {
		note_left_out(request, d);
		note_lacking(request, d);
		if (*d->places)
			plot_note(request,
				  "%s: its cells were measured on %s; captions say so, and curves over depths may go "
				  "from one to another",
				  request->dir, d->places);
		if (d->set.cut)
			plot_note(request, "%s/runs.csv: its last line is unfinished and left out", request->dir);
		if (d->set.tokens.cut)
			plot_note(request, "%s/tokens.csv: its last line is unfinished and left out", request->dir);
		rc = make_out(request, &from, &out, err);
		if (!rc)
			rc = draw_all(request, d, &out, err);
		plot_data_free(d);
	}
	run_directory_close(&out);
	run_directory_close(&from);
	free(d);
	return rc;
}
