/* Replay of graphs against direct launches, over context depth: effects, charts, crossovers. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/report/crossover.h"
#include "harness/report/report_internal.h"

/* Units that a crossover is taken from, at most: more say nothing that these do not. */
enum { UNITS_MAX = 1000 };

struct unit_effects {
	int64_t *units;  /* (n) */
	double *effects; /* (n, n_depths) */
	int n, n_depths;
};

/* A unit's line, a new one where it has none yet; null where there is no room. */
static double *unit_line(struct unit_effects *x, int64_t unit)
{
	int i = 0;
	while (i < x->n && x->units[i] != unit)
		i++;
	if (i == UNITS_MAX)
		return NULL;
	if (i == x->n) {
		x->units[x->n++] = unit;
		for (int d = 0; d < x->n_depths; d++)
			x->effects[(size_t)i * (size_t)x->n_depths + (size_t)d] = NAN;
	}
	return x->effects + (size_t)i * (size_t)x->n_depths;
}

static int gather_units(struct report *r, const struct side *s, const struct side_panel *p, int mode, int direct,
			struct unit_effects *x)
{
	for (int d = 0; d < p->n_depths; d++) {
		const struct side_cell *c = side_at(s, p, mode, d), *to = side_at(s, p, direct, d);
		if (!c || !to)
			continue;
		struct side_number *ratios = calloc((size_t)c->n + 1, sizeof *ratios);
		int n = ratios ? side_ratios(s, c, to, ratios, r->err)
			       : error_set(r->err, ERROR_MEMORY, "no memory for a crossover");
		for (int i = 0; i < n; i++) {
			double *line = unit_line(x, ratios[i].unit);
			if (line)
				line[d] = log(ratios[i].value);
		}
		free(ratios);
		if (n < 0)
			return n;
	}
	return 0;
}

static const char *side_of_range(struct report *r, const struct side_panel *p, double depth)
{
	if (isinf(depth))
		return depth > 0      ? document_text(r->d, "beyond %d", p->depths[p->n_depths - 1])
		       : p->depths[0] ? document_text(r->d, "below %d", p->depths[0])
				      : "the start";
	return report_depth(r, depth);
}

/* Whether the verdicts on head's cells tell both signs; of base there are none. */
static bool has_both_signs(struct report *r, const struct side *s, const struct side_panel *p, int mode)
{
	int told[REPORT_CERTAINTIES] = {0};
	for (int d = 0; s == &r->head && d < p->n_depths; d++)
		told[report_effect(r, p, mode, d).certainty]++;
	return s != &r->head || (told[REPORT_FASTER] && told[REPORT_SLOWER]);
}

static struct report_crossover find_crossover(struct report *r, const struct side *s, const struct side_panel *p,
					      int mode)
{
	int direct = side_direct(s, p);
	struct report_crossover out = {.depth = "", .brief = "", .interval = ""};
	struct crossover x = {.n = -1};
	if (r->rc || direct < 0 || mode == direct || p->n_depths < CROSSOVER_DEPTHS_LEAST)
		return out;
	struct unit_effects of = {.n_depths = p->n_depths};
	of.units = calloc(UNITS_MAX, sizeof *of.units);
	of.effects = calloc(UNITS_MAX, (size_t)p->n_depths * sizeof *of.effects);
	int rc = of.units && of.effects ? 0 : error_set(r->err, ERROR_MEMORY, "no memory for a crossover");
	if (!rc)
		rc = gather_units(r, s, p, mode, direct, &of);
	if (!rc && crossover_find(p->depths, p->n_depths, of.effects, of.n, 0.95, 1, &x))
		rc = error_set(r->err, ERROR_MEMORY, "no memory for a crossover");
	free(of.units);
	free(of.effects);
	r->rc = rc;
	if (rc || x.n < 0)
		return out;
	int first = p->depths[0], last = p->depths[p->n_depths - 1];
	const char *units = report_count(r, x.units, s->n > 1 ? "process" : "run");
	out.brief = out.depth = "cannot tell";
	int least = s == &r->head && r->least_pairs > CROSSOVER_UNITS_LEAST ? r->least_pairs : CROSSOVER_UNITS_LEAST;
	out.crosses = crossover_is_known(&x) && has_both_signs(r, s, p, mode);
	out.is_none = crossover_is_none(&x);
	if (isnan(x.low) || x.units < least) {
		out.crosses = out.is_none = false;
		out.brief = "too few runs";
		out.depth = "too few runs to tell";
		out.interval = document_text(r->d, "%s measured, %d needed", units, least);
		return out;
	}
	out.interval =
		out.is_none ? document_text(r->d, "beyond %d", last)
		: crossover_is_known(&x) && !out.crosses
			? "the cells do not tell the signs"
			: document_text(r->d, "%s to %s", side_of_range(r, p, x.low), side_of_range(r, p, x.high));
	if (out.is_none) {
		out.brief = "none";
		out.depth = document_text(r->d, "none within %d to %d (%s)", first, last,
					  x.left < 0   ? "faster"
					  : x.left > 0 ? "slower"
						       : "equal");
	} else if (out.crosses) {
		out.brief = document_text(r->d, "%s (%s)%s", report_depth(r, x.depth), out.interval,
					  x.n > 1 ? document_text(r->d, ", first of %d", x.n) : "");
		out.depth = document_text(r->d, "%s%s%s", report_depth(r, x.depth),
					  x.left < 0 ? ", slower from there" : ", faster from there",
					  x.n > 1 ? document_text(r->d, " (the first of %d)", x.n) : "");
	}
	return out;
}

struct report_crossover report_find_crossover(struct report *r, const struct side *s, const struct side_panel *p,
					      int mode)
{
	if (s != &r->head)
		return find_crossover(r, s, p, mode);
	struct report_crossover *x = &r->crossovers[(p - s->panels) * SIDE_MODES_MAX + mode];
	if (!x->depth)
		*x = find_crossover(r, s, p, mode);
	return *x;
}

/* Whether a panel has direct launches and another mode beside them. */
static int is_compared(const struct side *s, const struct side_panel *p)
{
	return side_direct(s, p) >= 0 && p->n_modes > 1;
}

static void add_effect(struct report *r, struct chart_series *to, const struct side_panel *p, int mode, int depth,
		       double x)
{
	struct report_effect judged = report_effect(r, p, mode, depth);
	struct paired_effect e = judged.effect;
	if (!e.pairs)
		return;
	const char *shows = document_text(r->d, "%s%s%s against direct, %s: %s%s%s", report_change(r, e.change),
					  isfinite(e.low) ? ", " : "", report_interval(r, e.low, e.high),
					  report_count(r, e.pairs, "pair"), report_certainty_name(judged.certainty),
					  judged.doubt ? CHART_LINE "! " : "", judged.doubt ? judged.doubt : "");
	chart_add(r->d, to,
		  (struct chart_point){.x = x,
				       .y = 100 * e.change,
				       .low = 100 * e.low,
				       .high = 100 * e.high,
				       .tip = report_tip(r, &r->head, side_at(&r->head, p, mode, depth), shows)});
}

static void set_texts(struct report *r, struct chart *c, int panel)
{
	const char *name = report_panel_name(r, &r->head.panels[panel]);
	c->title = document_text(r->d, "Time per token against direct launches%s%s", *name ? ", " : "", name);
	c->y = CHART_Y_PERCENT;
	c->y_text = "change of time per token, % (below 0: faster)";
	c->marks = document_text(r->d, "point: median over pairs of runs of one repetition; bar: %s",
				 report_interval_name(r));
	c->source = report_source_panel(r, &r->head, panel);
}

struct chart *report_overhead_curves(struct report *r, struct document_section *to, int panel)
{
	const struct side *s = &r->head;
	const struct side_panel *p = &s->panels[panel];
	int direct = side_direct(s, p), k = 0;
	if (!is_compared(s, p))
		return NULL;
	struct chart *c = document_chart(r->d, to, DOCUMENT_HTML, CHART_CURVES, p->n_modes - 1, 0);
	set_texts(r, c, panel);
	c->x_text = "context depth, tokens";
	for (int m = 0; m < p->n_modes && k < c->n_series; m++) {
		if (m == direct)
			continue;
		struct chart_series *series = &c->series[k++];
		series->name = s->modes[p->modes[m]];
		series->style = side_mode_style(s, p->modes[m]);
		for (int d = 0; d < p->n_depths; d++)
			add_effect(r, series, p, m, d, p->depths[d]);
	}
	return c;
}

struct chart *report_overhead_forest(struct report *r, struct document_section *to, unsigned formats, int panel)
{
	const struct side *s = &r->head;
	const struct side_panel *p = &s->panels[panel];
	int direct = side_direct(s, p), at = 0;
	if (!is_compared(s, p))
		return NULL;
	/* Where there are more rows than a chart takes, depths are left out evenly, never the first and the last. */
	int most = REPORT_FOREST / (p->n_modes - 1), n = p->n_depths < most ? p->n_depths : most < 2 ? 2 : most;
	n = n > p->n_depths ? p->n_depths : n;
	struct chart *c = document_chart(r->d, to, formats, CHART_FOREST, p->n_modes - 1, n * (p->n_modes - 1));
	set_texts(r, c, panel);
	for (int i = 0; i < n && c->n_series && c->n_places; i++) {
		int d = n > 1 ? (int)((long)i * (p->n_depths - 1) / (n - 1)) : 0, k = 0;
		for (int m = 0; m < p->n_modes; m++) {
			if (m == direct)
				continue;
			struct chart_series *series = &c->series[k++];
			series->name = s->modes[p->modes[m]];
			series->style = side_mode_style(s, p->modes[m]);
			c->places[at] = document_text(r->d, "d%d %s%s", p->depths[d], series->name,
						      report_effect(r, p, m, d).doubt ? " !" : "");
			add_effect(r, series, p, m, d, at);
			at++;
		}
	}
	if (n < p->n_depths)
		c->marks = document_text(r->d, "%s; %d of %d depths", c->marks, n, p->n_depths);
	return c;
}

/* Of each graph mode of each panel: where its effect changes its sign. Returns how many do; *none: surely do not. */
static int add_crossovers(struct report *r, struct document_section *to, int *curves, int *none)
{
	static const struct document_column columns[] = {{"setting", 0},       {"mode", 0},    {"crossover, depth", 0},
							 {"95 % interval", 0}, {"of base", 0}, {"its interval", 0}};
	const struct side *s = &r->head;
	struct document_table *t = document_table(r->d, to, DOCUMENT_BOTH, columns, 6);
	int crossing = 0;
	*curves = *none = 0;
	for (int i = 0; i < s->n_panels; i++) {
		const struct side_panel *p = &s->panels[i];
		for (int m = 0; m < p->n_modes; m++) {
			struct report_crossover x = report_find_crossover(r, s, p, m),
						of_base = {.depth = "", .interval = ""};
			if (!*x.depth)
				continue;
			const struct side_panel *before = side_find_panel(&r->base, p->key);
			for (int k = 0; before && k < before->n_modes; k++)
				if (!strcmp(r->base.modes[before->modes[k]], s->modes[p->modes[m]]))
					of_base = report_find_crossover(r, &r->base, before, k);
			struct document_entry *e = document_row(r->d, t);
			report_put(&e[0], report_panel_name(r, p), NAN);
			report_put(&e[1], s->modes[p->modes[m]], NAN);
			report_put(&e[2], x.depth, NAN);
			report_put(&e[3], x.interval, NAN);
			report_put(&e[4], of_base.depth, NAN);
			report_put(&e[5], of_base.interval, NAN);
			crossing += x.crosses;
			*none += x.is_none;
			++*curves;
		}
	}
	t->title = "Crossover: the depth at which the effect changes its sign";
	t->source = report_source_all(r, s, REPORT_ROWS_DECODE);
	t->open = REPORT_OPEN;
	document_drop_empty_columns(r->d, t);
	return crossing;
}

static void add_effects(struct report *r, struct document_section *to)
{
	static const struct document_column columns[] = {{"test", 0},       {"mode", 0},     {"setting", 0},
							 {"direct, us", 1}, {"mode, us", 1}, {"change", 1},
							 {"interval", 1},   {"pairs", 1},    {"how sure", 0}};
	const struct side *s = &r->head;
	struct document_table *t = document_table(r->d, to, DOCUMENT_BOTH, columns, 9);
	for (int i = 0; i < s->n_panels; i++) {
		const struct side_panel *p = &s->panels[i];
		int direct = side_direct(s, p);
		for (int d = 0; direct >= 0 && d < p->n_depths; d++) {
			for (int m = 0; m < p->n_modes; m++) {
				const struct side_cell *c = side_at(s, p, m, d), *to_cell = side_at(s, p, direct, d);
				if (m == direct || !c || !to_cell)
					continue;
				struct report_effect judged = report_effect(r, p, m, d);
				struct paired_effect e = judged.effect;
				if (!e.pairs)
					continue;
				struct document_entry *row = document_row(r->d, t);
				report_put(&row[0], report_label(r, &c->cell), p->depths[d]);
				report_put(&row[1], s->modes[p->modes[m]], NAN);
				report_put(&row[2], report_panel_name(r, p), NAN);
				report_put_number(r, &row[3], report_value(r, s, to_cell, NULL).median);
				report_put_number(r, &row[4], report_value(r, s, c, NULL).median);
				report_put(&row[5], report_effect_change(r, &judged), e.change);
				report_put(&row[6], report_interval(r, e.low, e.high), e.low);
				report_put(&row[7], document_text(r->d, "%d", e.pairs), e.pairs);
				report_put(&row[8], report_certainty_name(judged.certainty), judged.certainty);
			}
		}
	}
	t->title = document_text(r->d, "Each cell against direct launches; interval: %s", report_interval_name(r));
	t->source = report_source_all(r, s, REPORT_ROWS_DECODE);
	document_drop_empty_columns(r->d, t);
}

void report_overhead(struct report *r)
{
	const struct side *s = &r->head;
	int compared = 0, curves = 0, none = 0, charts = 0;
	for (int i = 0; i < s->n_panels; i++)
		compared += is_compared(s, &s->panels[i]);
	if (!compared)
		return;
	struct document_section *to = document_section(r->d, "Graph replay against direct launches, by context depth");
	int crossing = add_crossovers(r, to, &curves, &none);
	for (int i = 0; i < s->n_panels && charts < REPORT_CHARTS; i++)
		if (is_compared(s, &s->panels[i]))
			charts += report_overhead_curves(r, to, i) != NULL;
	if (compared > charts)
		document_say(r->d, to, "Charts of %d of %d settings; the table has all.", charts, compared);
	report_images(r, to, "overhead", "Latency of the graph modes against direct launches");
	add_effects(r, to);
	if (curves)
		to->finding =
			crossing         ? document_text(r->d, "%d of %s sign", crossing,
                                                 curves == 1 ? "1 curve changes its"
								     : document_text(r->d, "%d curves change their", curves))
				: none == curves ? "no crossover within the depths measured"
			: none ? document_text(r->d, "none in %d of %d curves, no crossover that can be told", none,
					       curves)
			       : "no crossover that can be told";
}
