/* Prompts: prefills that are measured alone, with tokens behind them, or to fill the context. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/report/report_internal.h"

static const char *share_text(struct report *r, double share)
{
	return isfinite(share) ? document_text(r->d, "%.0f %%", 100 * share) : "";
}

/* "against direct", "interval", "how sure" */
static void put_effect(struct report *r, struct document_entry e[3], const struct report_effect *effect)
{
	report_put(&e[0], report_effect_change(r, effect), effect->effect.change);
	report_put(&e[1], report_interval(r, effect->effect.low, effect->effect.high), effect->effect.low);
	report_put(&e[2],
		   effect->certainty == REPORT_TOO_FEW ? report_too_few(r, effect->effect.pairs)
						       : report_certainty_name(effect->certainty),
		   effect->certainty);
}

double report_prompts(struct report *r, struct document_section *to)
{
	static const struct document_column columns[] = {{"cell", 0},
							 {"runs", 1},
							 {"ms", 1},
							 {"first token, ms", 1},
							 {"tokens/s", 1},
							 {"TFLOP/s", 1},
							 {"of products alone", 1},
							 {"driver calls", 1},
							 {"kernels", 1},
							 {"energy, J a token", 1},
							 {"against direct", 1},
							 {"interval", 1},
							 {"how sure", 0}};
	const struct side *s = &r->head;
	struct document_table *t = document_table(r->d, to, DOCUMENT_BOTH, columns, 13);
	double most = -INFINITY;
	int compared = 0;
	for (int i = 0; i < s->n_cells; i++) {
		const struct side_cell *c = &s->cells[i];
		struct side_value v = report_value(r, s, c, "prefill_us");
		if (!cell_is_prompt(&c->cell) || !v.n)
			continue;
		double share = report_value(r, s, c, "gemm_share").median;
		double rate = report_value(r, s, c, "prefill_tokens_per_s").median;
		double joules = report_value(r, s, c, "energy_per_token_j").median;
		struct document_entry *e = document_row(r->d, t);
		report_put(&e[0], report_cell_name(r, &c->cell), c->cell.n_prompt);
		report_put(&e[1], document_text(r->d, "%d", v.n), v.n);
		report_put_number(r, &e[2], 1e-3 * v.median);
		report_put_number(r, &e[3], 1e-3 * report_value(r, s, c, "ttft_us").median);
		report_put_number(r, &e[4], rate);
		report_put_number(r, &e[5], report_value(r, s, c, "prefill_tflop_s").median);
		report_put(&e[6], share_text(r, share), share);
		report_put_number(r, &e[7], report_value(r, s, c, "api_launches_per_prompt").median);
		report_put_number(r, &e[8], report_value(r, s, c, "kernels_per_prompt").median);
		/* A prompt may end before the card's counter takes a step. */
		report_put_number(r, &e[9], joules > 0 ? joules : NAN);
		put_effect(r, &e[10], &r->effects[i]);
		compared |= r->effects[i].effect.pairs > 0;
		most = fmax(most, rate);
	}
	t->title =
		compared ? document_text(r->d,
					 "Prompts: medians over runs; against direct: over pairs of runs, interval: %s",
					 report_interval_name(r))
			 : "Prompts: medians over runs";
	t->source = report_source_all(r, s, REPORT_ROWS_PROMPT);
	t->open = 2 * REPORT_OPEN;
	document_drop_empty_columns(r->d, t);
	return most;
}

/* "4.1 to 5.2", of a time in us as ms; "" of one run. */
static const char *spread_text(struct report *r, const struct side_value *v)
{
	return v->n > 1 ? document_text(r->d, "%s to %s", report_number(r, 1e-3 * v->min),
					report_number(r, 1e-3 * v->max))
			: "";
}

/* A prompt and tokens behind it, in one time. */
static void add_both(struct report *r)
{
	static const struct document_column columns[] = {
		{"cell", 0},     {"runs", 1},           {"ms", 1},       {"least to most", 1},
		{"tokens/s", 1}, {"against direct", 1}, {"interval", 1}, {"how sure", 0},
	};
	const struct side *s = &r->head;
	struct document_section *to = document_section(r->d, "A prompt and the tokens behind it, in one time");
	struct document_table *t = document_table(r->d, to, DOCUMENT_BOTH, columns, 8);
	double most = -INFINITY;
	for (int i = 0; i < s->n_cells; i++) {
		const struct side_cell *c = &s->cells[i];
		const struct report_effect *effect = &r->effects[i];
		struct side_value v = report_value(r, s, c, NULL);
		if (!c->cell.n_prompt || !c->cell.n_gen || !v.n)
			continue;
		/* Of the median time: a median over rates beside it would be of other runs. */
		double rate = 1e6 * ((double)c->cell.n_prompt + c->cell.n_gen) / v.median;
		struct document_entry *e = document_row(r->d, t);
		report_put(&e[0], report_cell_name(r, &c->cell), NAN);
		report_put(&e[1], document_text(r->d, "%d", v.n), v.n);
		report_put_number(r, &e[2], 1e-3 * v.median);
		report_put(&e[3], spread_text(r, &v), v.min);
		report_put_number(r, &e[4], rate);
		put_effect(r, &e[5], effect);
		most = fmax(most, rate);
	}
	t->title = document_text(r->d, "Medians over runs; against direct: over pairs of runs, interval: %s",
				 report_interval_name(r));
	t->source = report_source_all(r, s, REPORT_ROWS_BOTH);
	document_drop_empty_columns(r->d, t);
	if (t->n_rows)
		to->finding = document_text(r->d, "up to %s tokens/s", report_number(r, most));
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
	add_both(r);
	struct document_section *to = document_section(r->d, "Prefill");
	int first_has_them = r->main_panel < 0 && !r->in->comparison;
	double most = first_has_them ? -INFINITY : report_prompts(r, to);
	if (most > 0 && !r->in->comparison)
		document_say(r->d, r->d->sections[0], "Prompts alone: up to %s tokens/s; section Prefill has them.",
			     report_number(r, most));
	most = fmax(most, add_fills(r, to));
	if (most > 0)
		to->finding = document_text(r->d, "up to %s tokens/s", report_number(r, most));
}
