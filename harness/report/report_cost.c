/* What a token costs: its latency and how that is distributed, the host's time, launches. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/report/figure_text.h"
#include "harness/report/report_internal.h"
#include "harness/stats/stats.h"

enum {
	STRIP_TOKENS = 100, /* of a run in a chart: beyond, every k-th */
	STRIP_PANELS = 3,
};

static const char *status_of(const struct side_cell *c)
{
	for (int i = 0; i < c->n; i++)
		if (c->runs[i].row->status != RUN_STATUS_OK)
			return run_status_name(c->runs[i].row->status);
	return "ok";
}

static void add_cells(struct report *r, struct document_section *to)
{
	static const struct document_column columns[] = {
		{"test", 0},       {"mode", 0},    {"setting", 0}, {"runs", 1},    {"tokens/s", 1},   {"their MAD", 1},
		{"median, us", 1}, {"p90, us", 1}, {"p99, us", 1}, {"max, us", 1}, {"device, us", 1}, {"status", 0}};
	const struct side *s = &r->head;
	struct document_table *t = document_table(r->d, to, DOCUMENT_BOTH, columns, 12);
	for (int i = 0; i < s->n_cells; i++) {
		const struct side_cell *c = &s->cells[i];
		if (!side_decodes(c) || !c->n)
			continue;
		struct side_value rate = report_value(r, s, c, "tokens_per_s");
		struct document_entry *e = document_row(r->d, t);
		report_put(&e[0], report_label(r, &c->cell), c->cell.n_depth);
		report_put(&e[1], cell_word(&c->cell, AXIS_MODE), NAN);
		report_put(&e[2], c->panel < 0 ? "" : report_panel_name(r, &s->panels[c->panel]), NAN);
		report_put(&e[3], document_text(r->d, "%d", rate.n), rate.n);
		report_put_number(r, &e[4], rate.median);
		report_put_number(r, &e[5], rate.n > 1 ? rate.mad : NAN);
		report_put_number(r, &e[6], report_value(r, s, c, "itl_median_us").median);
		report_put_number(r, &e[7], report_value(r, s, c, "itl_p90_us").median);
		report_put_number(r, &e[8], report_value(r, s, c, "itl_p99_us").median);
		report_put_number(r, &e[9], report_value(r, s, c, "itl_max_us").median);
		report_put_number(r, &e[10], report_value(r, s, c, "gpu_median_us").median);
		report_put(&e[11], status_of(c), NAN);
	}
	t->title = "Every cell: medians over runs, of tokens/s over a run's whole time and of its tokens' times";
	t->source = report_source_all(r, s, REPORT_ROWS_DECODE);
	document_drop_empty_columns(r->d, t);
}

/* The measured tokens of a cell's typical run, microseconds: (n), the caller frees; null: there are none. */
static double *typical_tokens(struct report *r, const struct side_cell *c, const struct side_run **run, size_t *n)
{
	double *itl = NULL;
	*n = 0;
	int rc = r->rc || !c ? -1 : side_typical(c, run, r->err);
	if (!rc && *run) {
		struct result_set *set = r->head.sets[(*run)->set];
		/* A sweep may have been kept without its tokens. */
		if (!run_directory_lacks(&set->directory, "tokens.csv"))
			rc = result_set_itl(set, (size_t)((*run)->row - set->rows), &itl, n, r->err);
	}
	r->rc = r->rc || !c ? r->rc : rc;
	size_t kept = 0;
	for (size_t i = 0; i < *n; i++)
		if (isfinite(itl[i]) && itl[i] >= 0)
			itl[kept++] = itl[i];
	*n = kept;
	return itl;
}

/* "runs A, B, C, commit X": each mode's, where it has one. */
static const char *runs_named(struct report *r, const struct side_run *const *runs, int n)
{
	const char *out = "", *commit = "unknown";
	for (int m = 0; m < n; m++) {
		if (!runs[m])
			continue;
		commit = runs[m]->row->commit && *runs[m]->row->commit ? runs[m]->row->commit : commit;
		out = document_text(r->d, "%s%s%s", out, *out ? ", " : "runs ",
				    report_cut(r, runs[m]->row->run_id, 100));
	}
	return document_text(r->d, "%s, commit %s", out, report_cut(r, commit, 60));
}

/* A run's id; of one directory, whose ids the source below begins, its last part: "-00013". */
static const char *short_id(struct report *r, const struct side_run *run)
{
	const char *id = run->row->run_id, *dash = strrchr(id, '-'), *first = r->head.sets[0]->rows[0].run_id;
	int is_short = r->head.n == 1 && dash && dash > id && !strncmp(id, first, (size_t)(dash - id) + 1);
	return report_cut(r, is_short ? dash : id, 100);
}

/* A panel's modes at one depth, side by side. Returns how many have tokens. */
static int add_strip(struct report *r, struct document_section *to, struct document_table *t, int panel, int depth)
{
	const struct side *s = &r->head;
	const struct side_panel *p = &s->panels[panel];
	const char *name = report_panel_name(r, p);
	double *itl[SIDE_MODES_MAX] = {NULL}, low = INFINITY, high = -INFINITY;
	size_t n[SIDE_MODES_MAX] = {0};
	const struct side_run *runs[SIDE_MODES_MAX] = {NULL};
	int n_shown = 0;
	for (int m = 0; m < p->n_modes; m++) {
		itl[m] = typical_tokens(r, side_at(s, p, m, depth), &runs[m], &n[m]);
		double *sorted = n[m] ? stats_sorted(itl[m], (int)n[m]) : NULL;
		if (!sorted)
			continue;
		/* The scale of the shapes: what 19 of 20 tokens take. */
		low = fmin(low, sorted[0]);
		high = fmax(high, stats_quantile(sorted, (int)n[m], 0.95));
		n_shown++;
		free(sorted);
	}
	struct chart *c = n_shown ? document_chart(r->d, to, DOCUMENT_HTML, CHART_STRIP, p->n_modes, p->n_modes) : NULL;
	const char *where =
		document_text(r->d, "tg%d at depth %d%s%s", p->key->n_gen, p->depths[depth], *name ? ", " : "", name);
	if (c) {
		c->title = document_text(r->d, "Each token of one run, %s", where);
		c->y_text = "time per token, us";
		c->marks = "dots: tokens of the run whose median is the middle one; line: its median";
		c->source = runs_named(r, runs, p->n_modes);
	}
	for (int m = 0; m < p->n_modes && c; m++) {
		struct stats_summary sum;
		char shape[FIGURE_SHAPE_SIZE];
		if (!n[m] || m >= c->n_series || m >= c->n_places || stats_summarize(itl[m], (int)n[m], &sum))
			continue;
		c->places[m] = c->series[m].name = s->modes[p->modes[m]];
		c->series[m].style = side_mode_style(s, p->modes[m]);
		size_t step = (n[m] + STRIP_TOKENS - 1) / STRIP_TOKENS;
		for (size_t i = 0; i < n[m]; i += step)
			chart_add(r->d, &c->series[m],
				  (struct chart_point){
					  .x = m,
					  .y = itl[m][i],
					  .low = sum.median,
					  .high = sum.median,
					  .tip = document_text(
						  r->d, "%s" CHART_LINE "token %zu: %s us" CHART_LINE "run_id %s",
						  report_cut(r, c->places[m], 80), i, report_number(r, itl[m][i]),
						  report_cut(r, runs[m]->row->run_id, 100))});
		struct document_entry *e = document_row(r->d, t);
		report_put(&e[0], report_label(r, &side_at(s, p, m, depth)->cell), p->depths[depth]);
		report_put(&e[1], c->places[m], NAN);
		report_put(&e[2], name, NAN);
		report_put(&e[3], document_text(r->d, "%zu", n[m]), (double)n[m]);
		report_put_number(r, &e[4], sum.min);
		report_put_number(r, &e[5], sum.median);
		report_put_number(r, &e[6], sum.p90);
		report_put_number(r, &e[7], sum.p99);
		report_put_number(r, &e[8], sum.max);
		figure_shape(itl[m], (int)n[m], low, high, shape);
		report_put(&e[9], document_text(r->d, "%s", shape), NAN);
		report_put(&e[10], short_id(r, runs[m]), NAN);
	}
	for (int m = 0; m < p->n_modes; m++)
		free(itl[m]);
	return n_shown;
}

static void add_distributions(struct report *r, struct document_section *to)
{
	static const struct document_column columns[] = {
		{"test", 0},    {"mode", 0},    {"setting", 0},  {"tokens", 1},    {"least, us", 1}, {"median, us", 1},
		{"p90, us", 1}, {"p99, us", 1}, {"most, us", 1}, {"histogram", 0}, {"run", 0}};
	const struct side *s = &r->head;
	struct document_block *b = document_block(r->d, to, DOCUMENT_TABLE, DOCUMENT_BOTH);
	struct document_table *t = &b->table;
	int panels = 0, first = r->main_panel < 0 ? 0 : r->main_panel;
	*t = (struct document_table){.title = "Tokens of one run of each mode",
				     .columns = columns,
				     .n_columns = 11,
				     .open = REPORT_OPEN,
				     .source = ""};
	for (int i = 0; i < s->n_panels && panels < STRIP_PANELS; i++) {
		int panel = (first + i) % s->n_panels, last = s->panels[panel].n_depths - 1;
		int shown = add_strip(r, to, t, panel, 0);
		if (last > 0)
			shown += add_strip(r, to, t, panel, last);
		panels += shown > 0;
	}
	t->source =
		document_text(r->d,
			      "the run of each cell whose median is the middle one, named in its row; histograms of a "
			      "test and setting: from the least of its modes' tokens to what 19 of 20 take. %s",
			      report_source_all(r, s, REPORT_ROWS_DECODE));
	document_drop_empty_columns(r->d, t);
	if (!t->n_rows)
		b->formats = 0;
	else if (panels < s->n_panels)
		document_say(r->d, to, "Distributions of %d of %d settings, at their smallest and largest depths.",
			     panels, s->n_panels);
}

/* "direct 3139 to 3920, graph-device 3003 to 4427", of the modes. */
static const char *ranges(struct report *r, const char *column, const char *unit)
{
	const char *out = "";
	for (int m = 0; m < r->head.n_modes; m++) {
		const char *range = report_range(r, &r->head, m, column, 1);
		if (*range)
			out = document_text(r->d, "%s%s%s %s", out, *out ? ", " : "", r->head.modes[m], range);
	}
	return *out ? document_text(r->d, "%s%s", out, unit) : "";
}

/* The curves of a column, of as many panels as a section shows. */
static void add_curves(struct report *r, struct document_section *to, const char *column, const char *title,
		       const char *y_text)
{
	int charts = 0;
	for (int i = 0; i < r->head.n_panels && charts < REPORT_CHARTS; i++) {
		const char *name = report_panel_name(r, &r->head.panels[i]);
		struct chart *c = report_mode_curves(r, to, &r->head, i, column, 1, "us");
		if (!c)
			continue;
		c->title = document_text(r->d, "%s%s%s", title, *name ? ", " : "", name);
		c->y_text = y_text;
		charts++;
	}
	if (charts == REPORT_CHARTS && r->head.n_panels > charts)
		document_say(r->d, to, "Charts of %d of %d settings; the table has all.", charts, r->head.n_panels);
}

void report_latency(struct report *r)
{
	if (!r->head.n_panels)
		return;
	struct document_section *to = document_section(r->d, "Latency per token");
	add_curves(r, to, "itl_median_us", "Latency per token", "time per token, us");
	report_images(r, to, "latency", "Latency per token against context, by mode");
	add_distributions(r, to);
	report_images(r, to, "trace", "Latency of each token of one run");
	add_cells(r, to);
	to->finding = ranges(r, "tokens_per_s", " tokens/s");
}

void report_host(struct report *r)
{
	static const struct document_column columns[] = {{"test", 0},
							 {"mode", 0},
							 {"setting", 0},
							 {"submit, us", 1},
							 {"MAD, us", 1},
							 {"p90, us", 1},
							 {"of the token's time", 1}};
	const struct side *s = &r->head;
	const char *finding = ranges(r, "submit_median_us", " us a token");
	if (!*finding)
		return;
	struct document_section *to = document_section(r->d, "Host cost");
	to->finding = finding;
	add_curves(r, to, "submit_median_us", "Host time that submits a token", "host time per token, us");
	report_images(r, to, "submit", "Host cost of submitting a token, by mode");
	struct document_table *t = document_table(r->d, to, DOCUMENT_BOTH, columns, 7);
	for (int i = 0; i < s->n_cells; i++) {
		const struct side_cell *c = &s->cells[i];
		struct side_value v = report_value(r, s, c, "submit_median_us");
		if (c->panel < 0 || !v.n)
			continue;
		double share = v.median / report_value(r, s, c, "itl_median_us").median;
		struct document_entry *e = document_row(r->d, t);
		report_put(&e[0], report_label(r, &c->cell), c->cell.n_depth);
		report_put(&e[1], cell_word(&c->cell, AXIS_MODE), NAN);
		report_put(&e[2], report_panel_name(r, &s->panels[c->panel]), NAN);
		report_put_number(r, &e[3], v.median);
		report_put_number(r, &e[4], v.n > 1 ? v.mad : NAN);
		report_put_number(r, &e[5], report_value(r, s, c, "submit_p90_us").median);
		report_put(&e[6], isfinite(share) ? document_text(r->d, "%.3g %%", 100 * share) : "", share);
	}
	t->title = "Host time of each cell";
	t->source = report_source_all(r, s, REPORT_ROWS_DECODE);
	document_drop_empty_columns(r->d, t);
}

/* What a mode of a panel does for a token, which its depths mostly share. */
void report_launches(struct report *r)
{
	static const char *const names[] = {"api_launches_per_token",
					    "node_updates_per_token",
					    "kernels_per_token",
					    "copies_per_token",
					    "graph_nodes",
					    "positional_nodes",
					    "captures",
					    "fallbacks"};
	enum { N = sizeof names / sizeof *names };
	static const struct document_column columns[] = {
		{"mode", 0},           {"setting", 0},     {"depths", 0},
		{"driver calls", 1},   {"nodes set", 1},   {"kernels", 1},
		{"copies", 1},         {"graph nodes", 1}, {"that depend on the position", 1},
		{"captures a run", 1}, {"fallbacks", 1}};
	const struct side *s = &r->head;
	const char *finding = ranges(r, "api_launches_per_token", "");
	if (!*finding)
		return;
	struct document_section *to = document_section(r->d, "Launches per token");
	to->finding = document_text(r->d, "driver calls: %s", finding);
	struct document_table *t = document_table(r->d, to, DOCUMENT_BOTH, columns, 3 + N);
	for (int i = 0; i < s->n_panels; i++) {
		const struct side_panel *p = &s->panels[i];
		for (int m = 0; m < p->n_modes; m++) {
			struct document_entry *e = NULL;
			const char *depths = "", *last[N] = {NULL};
			/* Neighbouring depths that do the same are one row. */
			for (int d = 0; d < p->n_depths; d++) {
				const char *now[N];
				int same = e != NULL, any = 0;
				double value[N];
				for (int k = 0; k < N; k++) {
					value[k] = report_value(r, s, side_at(s, p, m, d), names[k]).median;
					now[k] = report_number(r, value[k]);
					any |= *now[k] != '\0';
					same = same && !strcmp(now[k], last[k]);
				}
				if (!any)
					continue;
				if (!same) {
					e = document_row(r->d, t);
					depths = "";
				}
				depths = document_text(r->d, "%s%s%d", depths, *depths ? ", " : "", p->depths[d]);
				report_put(&e[0], s->modes[p->modes[m]], NAN);
				report_put(&e[1], report_panel_name(r, p), NAN);
				report_put(&e[2], depths, NAN);
				for (int k = 0; k < N; k++) {
					report_put(&e[3 + k], now[k], value[k]);
					last[k] = now[k];
				}
			}
		}
	}
	t->source = report_source_all(r, s, REPORT_ROWS_DECODE);
	document_drop_empty_columns(r->d, t);
}
