/* How sure a report is of what replay costs against direct launches: one family of all cells that are compared. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/report/report_internal.h"
#include "harness/stats/stats.h"
#include "harness/stats/stats_significance.h"
#include "harness/stats/verdict.h"

static const double ALPHA = 0.05; /* chance that any cell of equal modes is called faster or slower */

/* The cell of direct launches that another one is compared with; null: there is none, or it is itself that. */
static const struct side_cell *direct_of(const struct side *s, const struct side_cell *c)
{
	if (cell_is_direct(&c->cell))
		return NULL;
	if (c->panel >= 0) {
		const struct side_panel *p = &s->panels[c->panel];
		int direct = side_direct(s, p);
		for (int d = 0; direct >= 0 && d < p->n_depths; d++)
			if (p->depths[d] == c->cell.n_depth)
				return side_at(s, p, direct, d);
		return NULL;
	}
	for (int i = 0; c->cell.n_prompt && i < s->n_cells; i++)
		if (cell_is_direct(&s->cells[i].cell) && cell_same_unit(&s->cells[i].cell, &c->cell))
			return &s->cells[i];
	return NULL;
}

/* The p of its pairs; 1 without any. */
static double p_of(struct report *r, const struct side_cell *c, const struct side_cell *direct)
{
	struct side_number *ratios = calloc((size_t)c->n + 1, sizeof *ratios);
	double *logs = calloc((size_t)c->n + 1, sizeof *logs), p = 1;
	int n = ratios && logs ? side_ratios(&r->head, c, direct, ratios, r->err)
			       : error_set(r->err, ERROR_MEMORY, "no memory for a verdict");
	for (int i = 0; i < n; i++)
		logs[i] = log(ratios[i].value);
	if (n > 0)
		p = stats_sign_flip(logs, n);
	if (n >= 0 && isnan(p))
		n = error_set(r->err, ERROR_MEMORY, "no memory for a verdict");
	r->rc = n < 0 ? n : r->rc;
	free(logs);
	free(ratios);
	return p;
}

/* What numbers beside an effect contradict it, null: none. Of a prompt and its tokens the time itself is one. */
static const char *doubt_of(struct report *r, const struct side_cell *c, const struct side_cell *direct,
			    const struct paired_effect *e)
{
	const struct side *s = &r->head;
	const char *column;
	double change, times = report_value(r, s, c, NULL).median / report_value(r, s, direct, NULL).median - 1;
	double rates = report_value(r, s, c, "tokens_per_s").median / report_value(r, s, direct, "tokens_per_s").median;
	if (!paired_effect_is_contradicted(e, times, rates - 1, &change, &column))
		return NULL;
	return document_text(r->d, "by its %s beside it, the medians over all runs, %s (%s)",
			     *column == 'i' ? "time" : "tokens/s", e->change < 0 ? "slower" : "faster",
			     report_change(r, change));
}

static enum report_certainty judge(const struct report *r, const struct report_effect *e, double p_holm)
{
	if (!e->effect.pairs)
		return REPORT_NOT_COMPARED;
	if (e->effect.pairs < r->least_pairs)
		return REPORT_TOO_FEW;
	if (e->doubt)
		return REPORT_DOUBTED;
	if (p_holm >= ALPHA || !paired_effect_is_known(&e->effect))
		return REPORT_UNCLEAR;
	return e->effect.change < 0 ? REPORT_FASTER : REPORT_SLOWER;
}

/* Each mode, over its cells taken together: a cell is a unit, whatever its runs share. */
static void judge_modes(struct report *r)
{
	const struct side *s = &r->head;
	double *logs = calloc((size_t)s->n_cells + 1, sizeof *logs), p[SIDE_MODES_MAX], holm[SIDE_MODES_MAX];
	double middle[SIDE_MODES_MAX];
	int cells[SIDE_MODES_MAX], place[SIDE_MODES_MAX], n = 0;
	if (!logs)
		r->rc = r->rc ? r->rc : error_set(r->err, ERROR_MEMORY, "no memory for the verdicts");
	for (int m = 0; m < s->n_modes && !r->rc; m++) {
		int k = 0;
		for (int i = 0; i < s->n_cells; i++)
			if (s->cells[i].panel >= 0 && r->effects[i].effect.pairs && !r->effects[i].doubt &&
			    !strcmp(cell_word(&s->cells[i].cell, AXIS_MODE), s->modes[m]))
				logs[k++] = log1p(r->effects[i].effect.change);
		if (!k)
			continue;
		middle[n] = stats_median(logs, k);
		cells[n] = k;
		p[n] = stats_sign_flip(logs, k);
		if (isnan(p[n]))
			r->rc = error_set(r->err, ERROR_MEMORY, "no memory for the verdicts");
		place[n++] = m;
	}
	free(logs);
	if (!r->rc && stats_holm(p, n, holm))
		r->rc = error_set(r->err, ERROR_MEMORY, "no memory for the verdicts");
	for (int k = 0; k < n && !r->rc; k++)
		r->modes[place[k]] = cells[k] < verdict_least_runs(n, ALPHA) ? REPORT_TOO_FEW
				     : holm[k] >= ALPHA                      ? REPORT_UNCLEAR
				     : middle[k] < 0                         ? REPORT_FASTER
									     : REPORT_SLOWER;
}

void report_judge(struct report *r)
{
	const struct side *s = &r->head;
	double *p = calloc(2 * (size_t)s->n_cells + 1, sizeof *p);
	int *place = calloc((size_t)s->n_cells + 1, sizeof *place), n = 0;
	if (!p || !place)
		r->rc = r->rc ? r->rc : error_set(r->err, ERROR_MEMORY, "no memory for the verdicts");
	for (int i = 0; i < s->n_cells && !r->rc; i++) {
		const struct side_cell *c = &s->cells[i], *direct = direct_of(s, c);
		struct report_effect *e = &r->effects[i];
		e->effect = (struct paired_effect){.change = NAN, .low = NAN, .high = NAN};
		if (!direct)
			continue;
		r->rc = side_effect(s, c, direct, &e->effect, r->err);
		if (r->rc || !e->effect.pairs)
			continue;
		e->doubt = doubt_of(r, c, direct, &e->effect);
		p[n] = p_of(r, c, direct);
		place[n++] = i;
	}
	if (!r->rc && stats_holm(p, n, p + s->n_cells))
		r->rc = error_set(r->err, ERROR_MEMORY, "no memory for the verdicts");
	r->compared = n;
	r->least_pairs = verdict_least_runs(n ? n : 1, ALPHA);
	for (int k = 0; k < n && !r->rc; k++) {
		struct report_effect *e = &r->effects[place[k]];
		e->certainty = judge(r, e, p[s->n_cells + k]);
	}
	free(place);
	free(p);
	judge_modes(r);
}

struct report_effect report_effect(struct report *r, const struct side_panel *p, int mode, int depth)
{
	const struct side_cell *c = side_at(&r->head, p, mode, depth);
	if (!c || r->rc)
		return (struct report_effect){.effect = {.change = NAN, .low = NAN, .high = NAN}};
	return r->effects[c - r->head.cells];
}

const char *report_effect_change(struct report *r, const struct report_effect *e)
{
	return document_text(r->d, "%s%s", report_change(r, e->effect.change), e->doubt ? " !" : "");
}

const char *report_certainty_name(enum report_certainty c)
{
	static const char *const names[REPORT_CERTAINTIES] = {
		"", "faster", "slower", "cannot tell", "too few runs", "too noisy",
	};
	return names[c];
}

const char *report_too_few(struct report *r, int pairs)
{
	return document_text(r->d, "too few runs to tell: %s measured, %d needed", report_count(r, pairs, "pair"),
			     r->least_pairs);
}

const char *report_interval_name(struct report *r)
{
	int fewest = 0, most = 0;
	for (int i = 0; i < r->head.n_cells; i++) {
		int pairs = r->effects[i].effect.pairs;
		if (pairs < PAIRED_EFFECT_LEAST)
			continue;
		fewest = !fewest || pairs < fewest ? pairs : fewest;
		most = pairs > most ? pairs : most;
	}
	if (!fewest || fewest > PAIRED_EFFECT_RANGE)
		return "95 % interval";
	return document_text(r->d, "%s of %d pairs%s, which holds the true median %.0f times in 100",
			     most > PAIRED_EFFECT_RANGE ? "95 % interval, or the range" : "range", fewest,
			     most > fewest ? " or more" : "", 100 * paired_effect_range_coverage(fewest));
}

void report_say_doubts(struct report *r, struct document_section *to)
{
	enum { NAMED = 5 };
	int n = 0;
	for (int i = 0; i < r->head.n_cells; i++) {
		const struct report_effect *e = &r->effects[i];
		if (e->doubt && n++ < NAMED)
			document_item(
				r->d, to,
				"! %s: %s than direct by the median over %s (%s of its time), %s: these "
				"contradict each other, and neither is to be trusted.",
				report_cell_name(r, &r->head.cells[i].cell), e->effect.change < 0 ? "faster" : "slower",
				report_count(r, e->effect.pairs, "pair"), report_change(r, e->effect.change), e->doubt);
	}
	if (n > NAMED)
		document_item(r->d, to, "! and %d more", n - NAMED);
}
