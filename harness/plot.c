/*
 * Writes each figure's NAME.dat and NAME.gp and has gnuplot draw them. A .gp is the variables
 * (data file, labels, ranges), then the templates of plots/ as they are.
 */
#include "harness/plot.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/plot_data.h"
#include "harness/plot_figure.h"
#include "harness/plot_layers.h"
#include "harness/plot_script.h"

enum { TRACE_COLUMNS_MAX = 2, AXIS_TICKS = 8, TRACE_TICKS = 5 };

static void note(const struct plot_request *request, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void note(const struct plot_request *request, const char *format, ...)
{
	char line[512];
	va_list args;
	if (!request->note)
		return;
	va_start(args, format);
	vsnprintf(line, sizeof line, format, args);
	va_end(args);
	request->note(request->ctx, line);
}

static const struct plot_panel *panel_of(const struct plot_figure *f)
{
	return &f->data->panels[f->panel];
}

/* The axis over depth, or over modes where there is one depth; x of (mode i, depth k) is put into x[]. */
static void write_depth_axis(const struct plot_figure *f, const int *modes, int n_modes, double *x)
{
	const struct plot_panel *p = panel_of(f);
	FILE *s = f->script;
	bool single = p->n_depths == 1;
	plot_script_number(s, "single", single);
	if (single) {
		char text[PLOT_TEXT_MAX];
		struct plot_ticks ticks = {.n = n_modes};
		for (int i = 0; i < n_modes; i++) {
			ticks.at[i] = x[i] = i + 1;
			plot_text_clean(ticks.text[i], f->data->modes[modes[i]], 24);
		}
		snprintf(text, sizeof text, "mode, at context depth %ld", p->depths[0]);
		plot_script_number(s, "x_lo", 0.4);
		plot_script_number(s, "x_hi", n_modes + 0.6);
		plot_script_number(s, "x_break", NAN);
		plot_script_string(s, "x_text", text);
		plot_script_ticks(s, "tick_at", "tick_text", &ticks);
		return;
	}
	struct plot_depth_axis axis = plot_depth_axis_choose(p->depths, p->n_depths);
	for (int i = 0; i < n_modes; i++)
		for (int k = 0; k < p->n_depths; k++)
			x[i * p->n_depths + k] = plot_depth_axis_at(&axis, p->depths[k]);
	plot_script_number(s, "x_lo", axis.lo);
	plot_script_number(s, "x_hi", axis.hi);
	plot_script_number(s, "x_break", axis.gap_at);
	plot_script_string(s, "x_text", "context depth (tokens in the cache, log scale)");
	plot_script_ticks(s, "tick_at", "tick_text", &axis.ticks);
}

static void write_value_axis(FILE *s, const struct plot_axis *axis, const char *text)
{
	plot_script_number(s, "y_lo", axis->lo);
	plot_script_number(s, "y_hi", axis->hi);
	plot_script_number(s, "y_log", axis->log);
	plot_script_number(s, "scale", axis->scale);
	plot_script_string(s, "y_text", text);
	plot_script_ticks(s, "ytick_at", "ytick_text", &axis->ticks);
}

static void write_value(FILE *dat, double value)
{
	if (isnan(value))
		fputs(" NaN", dat);
	else
		fprintf(dat, " %.9g", value);
}

/* One block a mode; a block without rows holds one that gnuplot leaves out, to keep the count. */
static void write_blocks(const struct plot_figure *f, const int *modes, int n_modes, const double *x,
			 const struct plot_summary *cells)
{
	const struct plot_panel *p = panel_of(f);
	for (int i = 0; i < n_modes; i++) {
		char name[PLOT_TEXT_MAX];
		int n = 0;
		plot_text_clean(name, f->data->modes[modes[i]], 24);
		fprintf(f->dat, "%s# %s\n", i ? "\n\n" : "", name);
		for (int k = 0; k < p->n_depths; k++) {
			const struct plot_summary *c = &cells[i * p->n_depths + k];
			if (!c->n)
				continue;
			fprintf(f->dat, "%.6g %ld %d", x[i * p->n_depths + k], p->depths[k], c->n);
			write_value(f->dat, c->median);
			write_value(f->dat, c->min);
			write_value(f->dat, c->max);
			write_value(f->dat, c->p10);
			write_value(f->dat, c->p90);
			fputc('\n', f->dat);
			n++;
		}
		if (!n)
			fputs("NaN NaN NaN NaN NaN NaN NaN NaN\n", f->dat);
	}
}

static void widen(double *lo, double *hi, double value)
{
	if (!isnan(value)) {
		*lo = fmin(*lo, value);
		*hi = fmax(*hi, value);
	}
}

static void file_name_note(const struct plot_figure *f, const char *figure, const char *reason)
{
	note(f->request, "%s%s%s: not drawn: %s", figure, *f->slug ? "-" : "", f->slug, reason);
}

static int draw_cost(struct plot_figure *f, enum plot_metric metric, struct error *err)
{
	static const struct {
		const char *name, *title, *label;
	} texts[PLOT_METRIC_COUNT] = {
		[PLOT_METRIC_ITL] = {"latency", "Latency per token against context, by mode", "latency per token"},
		[PLOT_METRIC_SUBMIT] = {"submit", "Host cost of submitting a token, by mode",
					"host submit time per token"},
	};
	static const int templates[] = {PLOT_TEMPLATE_STYLE, PLOT_TEMPLATE_DEPTH_AXIS, PLOT_TEMPLATE_COST, -1};
	const struct plot_panel *p = panel_of(f);
	size_t n_cells = (size_t)(p->n_modes * p->n_depths);
	struct plot_summary *cells = calloc(n_cells, sizeof *cells);
	double *x = calloc(n_cells, sizeof *x);
	double lo = INFINITY, hi = -INFINITY;
	int rc = cells && x ? 0 : error_set(err, ERROR_MEMORY, "%s: not enough memory", f->out);

	for (size_t i = 0; i < n_cells && !rc; i++) {
		struct plot_summary *c = &cells[i];
		rc = plot_data_summary(f->data, f->panel, p->modes[i / (size_t)p->n_depths],
				       p->depths[i % (size_t)p->n_depths], metric, c, err);
		if (rc || !c->n)
			continue;
		widen(&lo, &hi, c->min);
		widen(&lo, &hi, c->max);
		if (p->n_depths > 1) { /* not drawn beside bars */
			widen(&lo, &hi, c->p10);
			widen(&lo, &hi, c->p90);
		}
	}
	if (rc)
		goto done;
	if (hi < lo) {
		file_name_note(f, texts[metric].name, "no run has a value");
		goto done;
	}
	rc = plot_figure_open(f, texts[metric].name, err);
	if (rc)
		goto done;

	char label[PLOT_TEXT_MAX];
	bool bars = p->n_depths == 1;
	struct plot_axis axis = plot_axis_time(lo, hi, bars, plot_axis_wants_ms(lo, hi, bars), AXIS_TICKS);
	plot_axis_label(label, &axis, texts[metric].label);
	plot_script_string(f->script, "name", f->stem);
	fprintf(f->script, "data = name.'.dat'\n");
	plot_script_number(f->script, "height", 520);
	plot_script_string(f->script, "title_text", texts[metric].title);
	plot_figure_modes(f, p->modes, p->n_modes);
	plot_figure_caption(f, &f->panel, 1,
			    p->n_depths == 1
				    ? "bar: median over runs of the run's median; whisker: min to max over runs"
				    : "point: median over runs of the run's median; bar: min to max over runs; "
				      "pale bar: p10 to p90 of tokens");
	write_depth_axis(f, p->modes, p->n_modes, x);
	write_value_axis(f->script, &axis, label);
	fprintf(f->dat, "# %s, microseconds\n# x depth runs median min max p10 p90\n", texts[metric].label);
	write_blocks(f, p->modes, p->n_modes, x, cells);
	rc = plot_figure_finish(f, templates, err);
done:
	free(cells);
	free(x);
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
	double lo = 0, hi = 0;
	int rc = 0, n_pairs = 0;

	for (int i = 0; i < p->n_modes; i++)
		if (p->modes[i] != direct)
			modes[n_modes++] = p->modes[i];
	if (direct < 0 || !n_modes) {
		file_name_note(f, "overhead",
			       direct < 0 ? "there is no run of mode direct to compare with"
					  : "there is only mode direct");
		return 0;
	}
	size_t n_cells = (size_t)(n_modes * p->n_depths);
	struct plot_summary *cells = calloc(n_cells, sizeof *cells);
	double *x = calloc(n_cells, sizeof *x);
	if (!cells || !x)
		rc = error_set(err, ERROR_MEMORY, "%s: not enough memory", f->out);
	for (size_t i = 0; i < n_cells && !rc; i++) {
		rc = plot_data_overhead(f->data, f->panel, modes[i / (size_t)p->n_depths], direct,
					p->depths[i % (size_t)p->n_depths], &cells[i], err);
		if (rc || !cells[i].n)
			continue;
		n_pairs += cells[i].n;
		widen(&lo, &hi, cells[i].min);
		widen(&lo, &hi, cells[i].max);
	}
	if (rc)
		goto done;
	if (!n_pairs) {
		file_name_note(f, "overhead", "no run shares depth and repetition with one of mode direct");
		goto done;
	}
	rc = plot_figure_open(f, "overhead", err);
	if (rc)
		goto done;

	struct plot_axis axis = plot_axis_percent(lo, hi, AXIS_TICKS);
	plot_script_string(f->script, "name", f->stem);
	fprintf(f->script, "data = name.'.dat'\n");
	plot_script_number(f->script, "height", 520);
	plot_script_string(f->script, "title_text", "Graph overhead: latency relative to direct (negative: faster)");
	plot_figure_modes(f, modes, n_modes);
	plot_figure_caption(f, &f->panel, 1,
			    p->n_depths == 1
				    ? "bar: median over pairs of runs of one repetition; whisker: min to max over pairs"
				    : "point: median over pairs of runs of one repetition; bar: min to max over pairs");
	write_depth_axis(f, modes, n_modes, x);
	write_value_axis(f->script, &axis, "latency per token against direct (%)");
	fprintf(f->dat, "# latency per token relative to direct, percent\n"
			"# x depth pairs median min max p10 p90\n");
	write_blocks(f, modes, n_modes, x, cells);
	rc = plot_figure_finish(f, templates, err);
done:
	free(cells);
	free(x);
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
				widen(&lo[c], &hi[c], f->data->tokens[k].value[PLOT_METRIC_ITL]);
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
		file_name_note(f, "trace", "tokens.csv has no token of these runs");
		return 0;
	}
	int rc = plot_figure_open(f, "trace", err);
	if (rc)
		return rc;

	bool in_ms = plot_axis_wants_ms(fmin(lo[0], lo[1]), fmax(hi[0], hi[1]), false); /* one unit for all */
	struct plot_axis axes[TRACE_COLUMNS_MAX];
	char labels[TRACE_COLUMNS_MAX][PLOT_TEXT_MAX], columns[TRACE_COLUMNS_MAX][PLOT_TEXT_MAX];
	const char *label_texts[TRACE_COLUMNS_MAX], *column_texts[TRACE_COLUMNS_MAX];
	double los[TRACE_COLUMNS_MAX], his[TRACE_COLUMNS_MAX], logs[TRACE_COLUMNS_MAX], scales[TRACE_COLUMNS_MAX];
	for (int c = 0; c < TRACE_COLUMNS_MAX; c++) {
		if (hi[c] < lo[c])
			lo[c] = 0, hi[c] = 1;
		axes[c] = plot_axis_time(lo[c], hi[c], false, in_ms, TRACE_TICKS);
		plot_axis_label(labels[c], &axes[c], "latency");
		snprintf(columns[c], PLOT_TEXT_MAX, "depth %ld", depths[c]);
		label_texts[c] = labels[c];
		column_texts[c] = columns[c];
		los[c] = axes[c].lo;
		his[c] = axes[c].hi;
		logs[c] = axes[c].log;
		scales[c] = axes[c].scale;
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
	plot_script_ticks(s, "ytick_at_1", "ytick_text_1", &axes[0].ticks);
	plot_script_ticks(s, "ytick_at_2", "ytick_text_2", &axes[1].ticks);

	fprintf(f->dat, "# token itl_us event (%d capture, %d update, %d fallback)\n", PLOT_EVENT_CAPTURE,
		PLOT_EVENT_UPDATE, PLOT_EVENT_FALLBACK);
	for (int c = 0; c < n_columns; c++)
		for (int m = 0; m < p->n_modes; m++)
			write_trace_block(f, plot_data_typical(f->data, f->panel, p->modes[m], depths[c]), depths[c],
					  f->data->modes[p->modes[m]]);
	return plot_figure_finish(f, templates, err);
}

static char *join(const char *dir, const char *name)
{
	char *path;
	return asprintf(&path, "%s/%s", dir, name) < 0 ? NULL : path;
}

static int draw_panel(struct plot_figure *f, struct error *err)
{
	int rc = draw_cost(f, PLOT_METRIC_ITL, err);
	if (!rc)
		rc = draw_cost(f, PLOT_METRIC_SUBMIT, err);
	if (!rc)
		rc = draw_overhead(f, err);
	if (!rc)
		rc = draw_trace(f, err);
	return rc;
}

static int draw_all(const struct plot_request *request, const struct plot_data *d, const char *out, struct error *err)
{
	int all[PLOT_DATA_MAX_COMBINATIONS];
	char(*slugs)[PLOT_SLUG_MAX] = calloc(PLOT_DATA_MAX_COMBINATIONS, sizeof *slugs);
	struct stat st;
	int rc = 0;
	if (!slugs)
		return error_set(err, ERROR_MEMORY, "%s: not enough memory", out);
	if ((mkdir(out, 0777) && errno != EEXIST) || stat(out, &st)) {
		rc = error_set(err, ERROR_IO, "%s: cannot make the folder: %s", out, strerror(errno));
		goto done;
	}
	if (!S_ISDIR(st.st_mode)) {
		rc = error_set(err, ERROR_IO, "%s: is not a folder", out);
		goto done;
	}
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
		rc = plot_layers(request, d, out, err);
done:
	free(slugs);
	return rc;
}

int plot_results(const struct plot_request *request, struct error *err)
{
	assert(request->formats);
	char *runs = join(request->dir, "runs.csv");
	char *tokens = join(request->dir, "tokens.csv");
	char *out = request->out ? strdup(request->out) : join(request->dir, "plots");
	struct plot_data *d = malloc(sizeof *d);
	int rc;

	if (!runs || !tokens || !out || !d)
		rc = error_set(err, ERROR_MEMORY, "%s: not enough memory", request->dir);
	else
		rc = plot_data_load(d, runs, tokens, err);
	if (!rc) {
		if (d->n_left_out)
			note(request, "%zu rows of %s are left out: their status is not ok", d->n_left_out, runs);
		rc = draw_all(request, d, out, err);
		plot_data_free(d);
	}
	free(runs);
	free(tokens);
	free(out);
	free(d);
	return rc;
}
