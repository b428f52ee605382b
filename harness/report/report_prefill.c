/* Prompts: prefills that are measured alone, with tokens behind them, or to fill the context. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/report/report_internal.h"

static const char *share_text(struct report *r, double share)
{
	return isfinite(share) ? document_text(r->d, "%.0f %%", 100 * share) : "";
}

double report_prompts(struct report *r, struct document_section *to)
{
	static const struct document_column columns[] = {{"cell", 0},
							 {"runs", 1},
							 {"ms", 1},
							 {"tokens/s", 1},
							 {"TFLOP/s", 1},
							 {"of products alone", 1},
							 {"energy, J a token", 1}};
	const struct side *s = &r->head;
	struct document_table *t = document_table(r->d, to, DOCUMENT_BOTH, columns, 7);
	double most = -INFINITY;
	for (int i = 0; i < s->n_cells; i++) {
		const struct side_cell *c = &s->cells[i];
		struct side_value v = report_value(r, s, c, "prefill_us");
		if (!cell_is_prompt(&c->cell) || !v.n)
			continue;
		double share = report_value(r, s, c, "gemm_share").median;
		double rate = report_value(r, s, c, "prefill_tokens_per_s").median;
		struct document_entry *e = document_row(r->d, t);
		report_put(&e[0], report_cell_name(r, &c->cell), c->cell.n_prompt);
		report_put(&e[1], document_text(r->d, "%d", v.n), v.n);
		report_put_number(r, &e[2], 1e-3 * v.median);
		report_put_number(r, &e[3], rate);
		report_put_number(r, &e[4], report_value(r, s, c, "prefill_tflop_s").median);
		report_put(&e[5], share_text(r, share), share);
		report_put_number(r, &e[6], report_value(r, s, c, "energy_per_token_j").median);
		most = fmax(most, rate);
	}
	t->title = "Prompts: medians over runs";
	t->source = report_source_all(r, s, REPORT_ROWS_PROMPT);
	t->open = 2 * REPORT_OPEN;
	document_drop_empty_columns(r->d, t);
	return most;
}

/* The cell of direct launches that another one is compared with; null: there is none. */
static const struct side_cell *direct_of(const struct side *s, const struct side_cell *c)
{
	for (int i = 0; i < s->n_cells; i++)
		if (&s->cells[i] != c && cell_is_direct(&s->cells[i].cell) &&
		    cell_same_unit(&s->cells[i].cell, &c->cell))
			return &s->cells[i];
	return NULL;
}

/* A prompt and tokens behind it, in one time. */
static void add_both(struct report *r, struct document_section *to)
{
	static const struct document_column columns[] = {{"cell", 0},     {"runs", 1},           {"ms", 1},
							 {"tokens/s", 1}, {"against direct", 1}, {"95 % interval", 1}};
	const struct side *s = &r->head;
	struct document_table *t = document_table(r->d, to, DOCUMENT_BOTH, columns, 6);
	for (int i = 0; i < s->n_cells; i++) {
		const struct side_cell *c = &s->cells[i], *direct = direct_of(s, c);
		struct side_value v = report_value(r, s, c, NULL);
		struct paired_effect effect = {.change = NAN, .low = NAN, .high = NAN};
		if (!c->cell.n_prompt || !c->cell.n_gen || !v.n)
			continue;
		if (direct && !r->rc)
			r->rc = side_effect(s, c, direct, &effect, r->err);
		struct document_entry *e = document_row(r->d, t);
		report_put(&e[0], report_cell_name(r, &c->cell), NAN);
		report_put(&e[1], document_text(r->d, "%d", v.n), v.n);
		report_put_number(r, &e[2], 1e-3 * v.median);
		report_put_number(r, &e[3], report_value(r, s, c, "tokens_per_s").median);
		report_put(&e[4], report_change(r, effect.change), effect.change);
		report_put(&e[5], report_interval(r, effect.low, effect.high), effect.low);
	}
	t->title = "A prompt and the tokens behind it, in one time";
	t->source = report_source_all(r, s, REPORT_ROWS_BOTH);
	document_drop_empty_columns(r->d, t);
}

/* Prefills to the depth of what is generated, which a group shares. */
static double add_fills(struct report *r, struct document_section *to)
{
	static const struct document_column columns[] = {{"depth", 1}, {"setting", 0}, {"ms", 1}, {"tokens/s", 1}};
	const struct side *s = &r->head;
	const struct cell *last = NULL;
	struct document_table *t = document_table(r->d, to, DOCUMENT_BOTH, columns, 4);
	double most = -INFINITY;
	for (int i = 0; i < s->n_cells; i++) {
		const struct side_cell *c = &s->cells[i];
		double us = report_value(r, s, c, "prefill_us").median;
		if (c->panel < 0 || !c->cell.n_depth || !isfinite(us) || (last && cell_same_group(last, &c->cell)))
			continue;
		double rate = report_value(r, s, c, "prefill_tokens_per_s").median;
		struct document_entry *e = document_row(r->d, t);
		last = &c->cell;
		report_put(&e[0], document_text(r->d, "%d", c->cell.n_depth), c->cell.n_depth);
		report_put(&e[1], report_panel_name(r, &s->panels[c->panel]), NAN);
		report_put_number(r, &e[2], 1e-3 * us);
		report_put_number(r, &e[3], rate);
		most = fmax(most, rate);
	}
	t->title = "Filling the context to the depth, once a group of cells";
	t->source = report_source_all(r, s, REPORT_ROWS_DECODE);
	document_drop_empty_columns(r->d, t);
	return most;
}

void report_prefill(struct report *r)
{
	struct document_section *to = document_section(r->d, "Prefill");
	double most = report_prompts(r, to);
	add_both(r, to);
	most = fmax(most, add_fills(r, to));
	if (most > 0)
		to->finding = document_text(r->d, "up to %s tokens/s", report_number(r, most));
}
