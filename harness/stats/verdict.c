#include "harness/stats/verdict.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "harness/stats/stats.h"
#include "harness/stats/stats_estimate.h"
#include "harness/stats/stats_significance.h"

enum { RUNS_MAX = 1000 };

const char *verdict_name(enum verdict_kind k)
{
	static const char *const names[] = {"same", "faster", "slower", "inconclusive"};
	return names[k];
}

void verdict_options_default(struct verdict_options *o)
{
	*o = (struct verdict_options){.alpha = 0.01, .delta = 0.01, .level = 0.95, .power = 0.95, .seed = 1};
}

/*
 * What unpaired sets could have shown: a pair's log ratio varies as two runs do, and of n and m runs there are as many
 * pairs as their harmonic mean.
 */
static void set_unpaired_design(const struct verdict_cell *c, int n_cells, const struct verdict_options *o,
				const double *x, const double *y, struct verdict *v)
{
	if (c->n < 2 || c->m < 2)
		return;
	double dx = stats_deviation(x, c->n), dy = stats_deviation(y, c->m), n = c->n, m = c->m;
	v->variability = sqrt(2 * ((n - 1) * dx * dx + (m - 1) * dy * dy) / (n + m - 2));
	struct stats_design d = {v->variability, o->alpha / n_cells, o->level, log1p(o->delta), o->power};
	v->detectable = v->p_least < d.alpha ? expm1(stats_detectable(&d, (int)(2 * n * m / (n + m)))) : INFINITY;
	v->runs_needed = stats_blocks_needed(&d, log1p(2 * o->delta), RUNS_MAX);
}

/* effect, low and high as logarithms. x, y: scratch of n and m values. */
static int compare_cell(const struct verdict_cell *c, int n_cells, const struct verdict_options *o, double *x,
			double *y, struct verdict *v)
{
	struct stats_interval interval;
	int rc;
	for (int i = 0; i < c->n; i++)
		x[i] = log(c->baseline[i]);
	for (int i = 0; i < c->m; i++)
		y[i] = log(c->candidate[i]) - (c->paired ? x[i] : 0);
	if (c->paired) {
		v->effect = stats_median(y, c->m);
		v->p = stats_sign_flip(y, c->m);
		v->p_least = stats_sign_flip_least(c->m);
		rc = stats_bootstrap_median(y, c->m, o->level, o->seed, &interval);
		v->variability = stats_deviation(y, c->m);
		struct stats_design d = {v->variability, o->alpha / n_cells, o->level, log1p(o->delta), o->power};
		if (c->m >= 2) {
			v->detectable = expm1(stats_detectable(&d, c->m));
			v->runs_needed = stats_blocks_needed(&d, log1p(2 * o->delta), RUNS_MAX);
		}
	} else {
		v->effect = stats_median(y, c->m) - stats_median(x, c->n);
		v->p = stats_mann_whitney(x, c->n, y, c->m);
		v->p_least = stats_mann_whitney_least(c->n, c->m);
		rc = stats_bootstrap_shift(x, c->n, y, c->m, o->level, o->seed, &interval);
		set_unpaired_design(c, n_cells, o, x, y, v);
	}
	v->low = interval.low;
	v->high = interval.high;
	return rc || isnan(v->p) ? -1 : 0;
}

static enum verdict_kind judge(const struct verdict *v, int n_cells, const struct verdict_options *o)
{
	double beyond = log1p(o->delta);
	if (isnan(v->effect) || v->p_least >= o->alpha / n_cells)
		return VERDICT_INCONCLUSIVE;
	if (v->p_holm < o->alpha && v->low > beyond)
		return VERDICT_SLOWER;
	if (v->p_holm < o->alpha && v->high < -beyond)
		return VERDICT_FASTER;
	return v->low > -beyond && v->high < beyond ? VERDICT_SAME : VERDICT_INCONCLUSIVE;
}

/* Holm and Benjamini-Hochberg over all cells. */
static int adjust(struct verdict *v, int n)
{
	double *p = malloc(2 * (size_t)n * sizeof *p);
	if (!p)
		return -1;
	for (int i = 0; i < n; i++)
		p[i] = v[i].p;
	int rc = stats_holm(p, n, p + n);
	for (int i = 0; !rc && i < n; i++)
		v[i].p_holm = p[n + i];
	rc = rc ? rc : stats_benjamini_hochberg(p, n, p + n);
	for (int i = 0; !rc && i < n; i++)
		v[i].p_bh = p[n + i];
	free(p);
	return rc;
}

int verdict_compare(const struct verdict_cell *cells, int n, const struct verdict_options *o, struct verdict *out,
		    struct error *err)
{
	size_t most = 1;
	for (int i = 0; i < n; i++) {
		assert(!cells[i].paired || cells[i].n == cells[i].m);
		if (cells[i].stopped)
			return error_set(
				err, ERROR_INPUT,
				"cell %d: its number of runs depended on their results (--until stable); measure a "
				"fixed number to compare",
				i);
		most = (size_t)cells[i].n > most ? (size_t)cells[i].n : most;
		most = (size_t)cells[i].m > most ? (size_t)cells[i].m : most;
	}
	double *scratch = malloc(2 * most * sizeof *scratch);
	int rc = scratch ? 0 : -1;
	for (int i = 0; i < n && !rc; i++) {
		out[i] = (struct verdict){.effect = NAN, .p = 1, .p_least = 1, .detectable = NAN, .variability = NAN};
		out[i].low = out[i].high = NAN;
		if (cells[i].n > 0 && cells[i].m > 0)
			rc = compare_cell(&cells[i], n, o, scratch, scratch + most, &out[i]);
	}
	free(scratch);
	if (!rc && n > 0)
		rc = adjust(out, n);
	if (rc)
		return error_set(err, ERROR_MEMORY, "no memory to compare %d cells", n);
	for (int i = 0; i < n; i++) {
		out[i].kind = judge(&out[i], n, o);
		out[i].effect = expm1(out[i].effect);
		out[i].low = expm1(out[i].low);
		out[i].high = expm1(out[i].high);
	}
	return 0;
}

int verdict_least_runs(int cells, double alpha)
{
	int n = 1;
	while (n < STATS_SIGN_FLIP_EXACT && stats_sign_flip_least(n) >= alpha / cells)
		n++;
	return n;
}
