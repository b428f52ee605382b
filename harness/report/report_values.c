/* Values and charts that several sections of a report show. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/report/report_internal.h"

struct side_value report_value(struct report *r, const struct side *s, const struct side_cell *c, const char *column)
{
	struct side_value v = {.median = NAN, .min = NAN, .max = NAN, .mad = NAN};
	int rc = r->rc || !c ? 0 : side_value(s, c, column ? side_column(column) : NULL, &v, r->err);
	r->rc = r->rc ? r->rc : rc;
	return v;
}

void report_add_point(struct report *r, const struct side *s, const struct side_cell *c, const char *column,
		      double scale, const char *unit, double x, struct chart_series *to)
{
	struct side_value v = report_value(r, s, c, column);
	if (!v.n)
		return;
	const char *shows = document_text(r->d, "%s %s, %s to %s over %s", report_number(r, v.median * scale), unit,
					  report_number(r, v.min * scale), report_number(r, v.max * scale),
					  report_count(r, v.n, s->n > 1 ? "process" : "run"));
	chart_add(r->d, to,
		  (struct chart_point){.x = x,
				       .y = v.median * scale,
				       .low = v.n > 1 ? v.min * scale : NAN,
				       .high = v.n > 1 ? v.max * scale : NAN,
				       .tip = report_tip(r, s, c, shows)});
}

void report_put(struct document_entry *e, const char *text, double number)
{
	*e = (struct document_entry){text ? text : "", number};
}

void report_put_number(struct report *r, struct document_entry *e, double x)
{
	report_put(e, report_number(r, x), x);
}

struct chart *report_mode_curves(struct report *r, struct document_section *to, const struct side *s, int panel,
				 const char *column, double scale, const char *unit)
{
	const struct side_panel *p = &s->panels[panel];
	int n = 0;
	for (int m = 0; m < p->n_modes; m++)
		for (int d = 0; d < p->n_depths; d++)
			n += report_value(r, s, side_at(s, p, m, d), column).n;
	if (!n)
		return NULL;
	struct chart *c = document_chart(r->d, to, DOCUMENT_HTML, CHART_CURVES, p->n_modes, 0);
	c->x_text = "context depth, tokens";
	c->source = report_source_panel(r, s, panel);
	c->marks = "point: median over runs; bar: smallest to largest";
	for (int m = 0; m < c->n_series; m++) {
		c->series[m].name = s->modes[p->modes[m]];
		c->series[m].style = side_mode_style(s, p->modes[m]);
		for (int d = 0; d < p->n_depths; d++)
			report_add_point(r, s, side_at(s, p, m, d), column, scale, unit, p->depths[d], &c->series[m]);
	}
	return c;
}

const char *report_range(struct report *r, const struct side *s, int mode, const char *column, double scale)
{
	double least = INFINITY, most = -INFINITY;
	for (int i = 0; i < s->n_cells; i++) {
		if (s->cells[i].panel < 0 || strcmp(cell_word(&s->cells[i].cell, AXIS_MODE), s->modes[mode]))
			continue;
		struct side_value v = report_value(r, s, &s->cells[i], column);
		if (v.n) {
			least = fmin(least, v.median * scale);
			most = fmax(most, v.median * scale);
		}
	}
	if (most < least)
		return "";
	const char *low = report_number(r, least), *high = report_number(r, most);
	return strcmp(low, high) ? document_text(r->d, "%s to %s", low, high) : low;
}
