/* What changed from base to head: the first screen of a comparison, and its sections. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/report/report_internal.h"

/* Worst first. */
static const enum compare_outcome severity[] = {COMPARE_WRONG,   COMPARE_LOST,   COMPARE_SLOWER,
						COMPARE_FASTER,  COMPARE_COMMON, COMPARE_GAINED,
						COMPARE_UNCLEAR, COMPARE_SAME,   COMPARE_NOT_RUN};
enum { N_OUTCOMES = sizeof severity / sizeof *severity };

static int is_changed(const struct compare_cell *k)
{
	return k->exact_gates != 0 ||
	       (k->outcome != COMPARE_SAME && k->outcome != COMPARE_UNCLEAR && k->outcome != COMPARE_NOT_RUN);
}

static int rank_of(const struct compare_cell *k)
{
	int i = 0;
	while (i < N_OUTCOMES && severity[i] != k->outcome)
		i++;
	/* A cell that launches more comes behind those that are slower. */
	return k->exact_gates && i > 2 ? 2 : i;
}

static int compare_cells(const void *a, const void *b)
{
	const struct compare_cell *x = *(const struct compare_cell *const *)a,
				  *y = *(const struct compare_cell *const *)b;
	int left = rank_of(x), right = rank_of(y);
	if (left != right)
		return left - right;
	double p = fabs(x->values[METRIC_TIME].verdict.effect), q = fabs(y->values[METRIC_TIME].verdict.effect);
	if (isfinite(p) && isfinite(q) && p != q)
		return p > q ? -1 : 1;
	return x < y ? -1 : x > y;
}

/* The cells, worst first: (n); null: no memory. */
static const struct compare_cell **sorted_cells(struct report *r)
{
	const struct comparison *c = r->in->comparison;
	const struct compare_cell **out = document_take(r->d, ((size_t)c->n + 1) * sizeof *out);
	for (int i = 0; out && i < c->n; i++)
		out[i] = &c->cells[i];
	if (out)
		qsort(out, (size_t)c->n, sizeof *out, compare_cells);
	return out;
}

/* Whether no values of so many units could make a p that is small enough over all cells. */
static int is_too_few(const struct comparison *c, const struct compare_value *v)
{
	return v->n > 0 && v->m > 0 && v->verdict.p_least * c->n > c->options.verdict.alpha;
}

static const char *outcome_text(struct report *r, const struct compare_cell *k)
{
	char what[COMPARE_GATES_SIZE];
	if (!k->exact_gates)
		return compare_outcome_name(k->outcome);
	if (compare_launches_more(k))
		return document_text(r->d, "%s, launches more", compare_outcome_name(k->outcome));
	compare_gates_text(k->exact_gates, what);
	return document_text(r->d, "%s, differs in %s", compare_outcome_name(k->outcome), what);
}

/* The columns, of which one is of intervals, with that named by what they hold. columns: (n). */
static const struct document_column *with_interval(struct report *r, const struct document_column *columns, int n)
{
	struct document_column *own = document_take(r->d, (size_t)n * sizeof *own);
	for (int i = 0; own && i < n; i++) {
		own[i] = columns[i];
		if (!strcmp(own[i].title, "interval"))
			own[i].title = compare_interval_head(r->in->comparison);
	}
	return own ? own : columns;
}

/* The cells of both sides as rows that a table is made from. */
static const char *source(struct report *r)
{
	return document_text(r->d, "base: %s; head: %s", report_source_all(r, &r->base, REPORT_ROWS_ALL),
			     report_source_all(r, &r->head, REPORT_ROWS_ALL));
}

static void add_change_row(struct report *r, struct document_table *t, const struct compare_cell *k)
{
	const struct compare_value *v = &k->values[METRIC_TIME];
	struct document_entry *e = document_row(r->d, t);
	report_put(&e[0], report_cell_name(r, &k->cell), NAN);
	report_put(&e[1], outcome_text(r, k), rank_of(k));
	report_put(&e[2], report_change(r, v->verdict.effect), v->verdict.effect);
	report_put(&e[3], report_interval(r, v->verdict.low, v->verdict.high), v->verdict.low);
	report_put_number(r, &e[4], v->base);
	report_put_number(r, &e[5], v->head);
}

static void add_changed(struct report *r, struct document_section *to, const struct compare_cell **cells)
{
	static const struct document_column columns[] = {{"cell", 0},     {"verdict", 0},  {"change", 1},
							 {"interval", 1}, {"base, us", 1}, {"head, us", 1}};
	const struct comparison *c = r->in->comparison;
	struct document_table *t = document_table(r->d, to, DOCUMENT_BOTH, with_interval(r, columns, 6), 6);
	int changed = 0;
	for (int i = 0; i < c->n; i++) {
		add_change_row(r, t, cells[i]);
		changed += is_changed(cells[i]);
	}
	t->title = changed ? document_text(r->d, "%d of %s changed", changed, report_count(r, c->n, "cell"))
			   : "No change shown";
	t->open = changed > 2 * REPORT_OPEN ? 2 * REPORT_OPEN : changed ? changed : REPORT_OPEN / 2;
	t->source = source(r);
}

static void add_forest(struct report *r, struct document_section *to, const struct compare_cell **cells)
{
	const struct comparison *c = r->in->comparison;
	int n = 0, at = 0;
	for (int i = 0; i < c->n; i++)
		n += isfinite(c->cells[i].values[METRIC_TIME].verdict.effect);
	int shown = n < REPORT_FOREST ? n : REPORT_FOREST;
	if (!n)
		return;
	struct chart *x = document_chart(r->d, to, DOCUMENT_BOTH, CHART_FOREST, 4, shown);
	static const struct {
		const char *name;
		int style;
	} kinds[] = {{"slower", 1}, {"faster", 2}, {"the same", 0}, {"cannot tell, or moved with all", 7}};
	for (int i = 0; i < x->n_series; i++) {
		x->series[i].name = kinds[i].name;
		x->series[i].style = kinds[i].style;
	}
	x->y = CHART_Y_PERCENT;
	x->title = n > shown ? document_text(r->d, "Change of each cell, %d of %d: the changed ones, then by size",
					     shown, n)
			     : "Change of each cell";
	x->y_text = "change of time, % (below 0: faster)";
	x->band = 100 * c->options.verdict.delta;
	char interval[COMPARE_SENTENCE_SIZE];
	compare_interval_text(c, interval);
	x->marks = document_text(
		r->d, "point: change of the median; bar: its %s; band: within %.3g %%, no change that matters",
		interval, 100 * c->options.verdict.delta);
	x->source = source(r);
	/* All of them in their own order; of more than fit, the worst. */
	for (int i = 0; i < c->n && at < shown && x->n_series; i++) {
		const struct compare_cell *k = n > shown ? cells[i] : &c->cells[i];
		const struct verdict *v = &k->values[METRIC_TIME].verdict;
		int kind = k->outcome == COMPARE_SLOWER   ? 0
			   : k->outcome == COMPARE_FASTER ? 1
			   : k->outcome == COMPARE_SAME   ? 2
							  : 3;
		if (!isfinite(v->effect) || at >= x->n_places)
			continue;
		const char *tip = document_text(
			r->d,
			"%s" CHART_LINE "%s, %s: %s" CHART_LINE "base %s us, head %s us" CHART_LINE "rows %s and %s",
			report_cell_name(r, &k->cell), report_change(r, v->effect), report_interval(r, v->low, v->high),
			outcome_text(r, k), report_number(r, k->values[METRIC_TIME].base),
			report_number(r, k->values[METRIC_TIME].head),
			k->base_row ? report_cut(r, k->base_row->run_id, 100) : "?",
			k->head_row ? report_cut(r, k->head_row->run_id, 100) : "?");
		x->places[at] = report_cell_name(r, &k->cell);
		chart_add(r->d, &x->series[kind],
			  (struct chart_point){.x = at++,
					       .y = 100 * v->effect,
					       .low = 100 * v->low,
					       .high = 100 * v->high,
					       .tip = tip});
	}
}

void report_first_screen_change(struct report *r)
{
	const struct comparison *c = r->in->comparison;
	char text[COMPARE_SENTENCE_SIZE];
	struct document_section *to = document_section(r->d, "");
	const struct compare_cell **cells = sorted_cells(r);
	compare_sentence(c, text);
	r->d->sentence = document_text(r->d, "%s", text);
	for (int a = 0; a < AXIS_COUNT; a++) {
		char base[AXIS_TEXT_SIZE], head[AXIS_TEXT_SIZE];
		if (c->options.across >> a & 1)
			document_say(r->d, to, "The sides differ on purpose, in %s: %s in base, %s in head.",
				     axes[a].spoken,
				     report_cut(r, cell_text(&r->base.cells[0].cell, (enum axis_id)a, base), 80),
				     report_cut(r, cell_text(&r->head.cells[0].cell, (enum axis_id)a, head), 80));
	}
	compare_common_sentence(c, text);
	document_say(r->d, to, "%s", text);
	if (c->n_differences)
		document_say(r->d, to, "The sides were not measured alike: %s%s.", c->differences[0],
			     c->n_differences > 1
				     ? document_text(r->d, "; and %d more, see Environment", c->n_differences - 1)
				     : "");
	if (c->single_process)
		document_say(r->d, to,
			     "One process a side: what differs from process to process is not in any interval. Several "
			     "directories a side, each of a process of its own, show it.");
	int few = 0, most = 0;
	for (int i = 0; i < c->n; i++) {
		const struct compare_value *v = &c->cells[i].values[METRIC_TIME];
		most = v->n > most ? v->n : most;
		few += is_too_few(c, v);
	}
	if (few)
		document_say(r->d, to,
			     "%s a side at most: too few to call %s different, whatever they say; %d would do.",
			     report_count(r, most, c->single_process ? "repetition" : "process"),
			     few == 1 ? "the cell" : document_text(r->d, "any of %d cells", few), c->least_units);
	if (!cells)
		return;
	add_forest(r, to, cells);
	add_changed(r, to, cells);
}

/* ---- sections ---- */

static void add_all(struct report *r, struct document_section *to, const struct compare_cell **cells)
{
	static const struct document_column columns[] = {{"cell", 0},
							 {"verdict", 0},
							 {"change", 1},
							 {"interval", 1},
							 {"p (Holm)", 1},
							 {"p (BH)", 1},
							 {"relative to all", 1},
							 {"units", 1},
							 {"smallest change found", 1},
							 {"units for 2 delta", 1},
							 {"reason", 0}};
	const struct comparison *c = r->in->comparison;
	struct document_table *t = document_table(r->d, to, DOCUMENT_BOTH, with_interval(r, columns, 11), 11);
	for (int i = 0; i < c->n; i++) {
		const struct compare_cell *k = cells[i];
		const struct compare_value *v = &k->values[METRIC_TIME];
		const struct verdict *x = &v->verdict;
		int has = isfinite(x->effect);
		struct document_entry *e = document_row(r->d, t);
		report_put(&e[0], report_cell_name(r, &k->cell), NAN);
		report_put(&e[1], outcome_text(r, k), rank_of(k));
		report_put(&e[2], report_change(r, x->effect), x->effect);
		report_put(&e[3], report_interval(r, x->low, x->high), x->low);
		report_put(&e[4], has ? document_text(r->d, "%.2g", x->p_holm) : "", has ? x->p_holm : NAN);
		report_put(&e[5], has ? document_text(r->d, "%.2g", x->p_bh) : "", has ? x->p_bh : NAN);
		report_put(&e[6], isfinite(c->common.effect) ? report_change(r, k->relative.effect) : "",
			   k->relative.effect);
		report_put(&e[7], document_text(r->d, "%d, %d", v->n, v->m), v->n);
		report_put(&e[8], is_too_few(c, v) ? "none" : report_change(r, x->detectable), x->detectable);
		report_put(&e[9], x->runs_needed ? document_text(r->d, "%d", x->runs_needed) : "",
			   x->runs_needed ? x->runs_needed : NAN);
		report_put(&e[10], k->reason ? report_cut(r, k->reason, 300) : "", NAN);
	}
	t->title = "Every cell, changed ones first";
	t->source = source(r);
	document_drop_empty_columns(r->d, t);
}

/* Metrics beside the time, of the cells in which one changed. */
static void add_metrics(struct report *r, struct document_section *to, const struct compare_cell **cells)
{
	static const struct document_column columns[] = {{"metric", 0}, {"cell", 0}, {"change", 1}, {"interval", 1},
							 {"base", 1},   {"head", 1}, {"unit", 0},   {"verdict", 0}};
	const struct comparison *c = r->in->comparison;
	struct document_block *b = document_block(r->d, to, DOCUMENT_TABLE, DOCUMENT_BOTH);
	struct document_table *t = &b->table;
	*t = (struct document_table){.columns = with_interval(r, columns, 8),
				     .n_columns = 8,
				     .open = REPORT_OPEN,
				     .title = "",
				     .source = ""};
	for (int m = METRIC_P90; m < METRIC_COUNT; m++) {
		for (int i = 0; i < c->n; i++) {
			const struct compare_value *v = &cells[i]->values[m];
			if (v->verdict.kind != VERDICT_SLOWER && v->verdict.kind != VERDICT_FASTER)
				continue;
			struct document_entry *e = document_row(r->d, t);
			report_put(&e[0], metrics[m].means, NAN);
			report_put(&e[1], report_cell_name(r, &cells[i]->cell), NAN);
			report_put(&e[2], report_change(r, v->verdict.effect), v->verdict.effect);
			report_put(&e[3], report_interval(r, v->verdict.low, v->verdict.high), v->verdict.low);
			report_put_number(r, &e[4], v->base);
			report_put_number(r, &e[5], v->head);
			report_put(&e[6], metrics[m].unit, NAN);
			report_put(&e[7], v->verdict.kind == VERDICT_SLOWER ? "more" : "less", NAN);
		}
	}
	t->title = "Other metrics that changed, each judged as a family of its own";
	t->source = source(r);
	if (!t->n_rows) {
		b->formats = 0;
		document_say(r->d, to,
			     "No other metric changed: p90 and p99 of a token's time, host time, graph costs, memory, "
			     "energy.");
	}
}

static void add_exact(struct report *r, struct document_section *to)
{
	static const struct document_column columns[] = {{"quantity", 0}, {"cell", 0}, {"base", 1}, {"head", 1}};
	const struct comparison *c = r->in->comparison;
	struct document_block *b = document_block(r->d, to, DOCUMENT_TABLE, DOCUMENT_BOTH);
	struct document_table *t = &b->table;
	*t = (struct document_table){
		.columns = columns, .n_columns = 4, .open = REPORT_OPEN, .title = "", .source = ""};
	int logits_known = 0;
	for (int q = 0; q < EXACT_COUNT; q++) {
		for (int i = 0; i < c->n; i++) {
			const struct compare_exact *x = &c->cells[i].exact[q];
			logits_known |= q == EXACT_LOGITS && x->change == EXACT_SAME;
			if (!compare_exact_changed(x))
				continue;
			struct document_entry *e = document_row(r->d, t);
			report_put(&e[0], exact_quantities[q].means, NAN);
			report_put(&e[1], report_cell_name(r, &c->cells[i].cell), NAN);
			report_put(&e[2],
				   document_text(r->d, "%s%s", x->base, x->change == EXACT_VARIES ? " (varies)" : ""),
				   strtod(x->base, NULL));
			report_put(&e[3],
				   document_text(r->d, "%s%s", x->change == EXACT_MISSING ? "not known" : x->head,
						 x->change == EXACT_VARIES ? " (varies)" : ""),
				   strtod(x->head, NULL));
		}
	}
	t->title = "Counts and hashes that differ";
	t->source = source(r);
	if (!t->n_rows) {
		b->formats = 0;
		document_say(r->d, to, "Counts are equal to the last digit, and %s.",
			     logits_known ? "so are the logits' bits" : "the logits' bits are not known of both sides");
	}
}

/* A cell of head as a comparison has it: of models the name, and no side's value of what is compared across. */
static struct cell as_compared(const struct report *r, const struct cell *c)
{
	struct cell out = *c;
	out.model_hash[0] = '\0';
	compare_unite(&out, r->in->comparison->options.across);
	return out;
}

/* Change over depth, a curve a mode: of the panels of head. */
static void add_curves(struct report *r, struct document_section *to)
{
	const struct comparison *c = r->in->comparison;
	const struct side *s = &r->head;
	int charts = 0;
	for (int i = 0; i < s->n_panels && charts < REPORT_CHARTS; i++) {
		const struct side_panel *p = &s->panels[i];
		const char *name = report_panel_name(r, p);
		if (p->n_depths < 2)
			continue;
		struct chart *x = document_chart(r->d, to, DOCUMENT_HTML, CHART_CURVES, p->n_modes, 0);
		x->y = CHART_Y_PERCENT;
		x->title = document_text(r->d, "Change from base to head%s%s", *name ? ", " : "", name);
		x->x_text = "context depth, tokens";
		x->y_text = "change of time, % (below 0: faster)";
		x->band = 100 * c->options.verdict.delta;
		x->marks = "point: change of the median; bar: its interval; band: no change that matters";
		x->source = source(r);
		for (int m = 0; m < p->n_modes && m < x->n_series; m++) {
			x->series[m].name = s->modes[p->modes[m]];
			x->series[m].style = side_mode_style(s, p->modes[m]);
			for (int d = 0; d < p->n_depths; d++) {
				const struct side_cell *at = side_at(s, p, m, d);
				for (int k = 0; at && k < c->n; k++) {
					const struct verdict *v = &c->cells[k].values[METRIC_TIME].verdict;
					struct cell by_name = as_compared(r, &at->cell);
					if (!isfinite(v->effect) || !cell_same(&c->cells[k].cell, &by_name))
						continue;
					const char *shows = document_text(
						r->d, "%s, %s: %s", report_change(r, v->effect),
						report_interval(r, v->low, v->high), outcome_text(r, &c->cells[k]));
					chart_add(r->d, &x->series[m],
						  (struct chart_point){.x = p->depths[d],
								       .y = 100 * v->effect,
								       .low = 100 * v->low,
								       .high = 100 * v->high,
								       .tip = report_tip(r, s, at, shows)});
				}
			}
		}
		charts += chart_points(x) > 0;
	}
}

void report_changes(struct report *r)
{
	const struct comparison *c = r->in->comparison;
	const struct compare_cell **cells = sorted_cells(r);
	if (!cells)
		return;
	struct document_section *to = document_section(r->d, "What changed, in full");
	int exact = 0, other = 0;
	for (int i = 0; i < c->n; i++) {
		for (int q = 0; q < EXACT_COUNT; q++)
			exact += compare_exact_changed(&c->cells[i].exact[q]);
		for (int m = METRIC_P90; m < METRIC_COUNT; m++)
			other += c->cells[i].values[m].verdict.kind == VERDICT_SLOWER ||
				 c->cells[i].values[m].verdict.kind == VERDICT_FASTER;
	}
	to->finding =
		document_text(r->d, "counts and hashes that differ: %d; changes of other metrics: %d", exact, other);
	add_curves(r, to);
	add_exact(r, to);
	add_metrics(r, to, cells);
	add_all(r, to, cells);
}
