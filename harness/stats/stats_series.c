#include "harness/stats/stats_series.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "harness/stats/stats.h"
#include "harness/stats/stats_distribution.h"
#include "harness/stats/stats_estimate.h"
#include "harness/stats/stats_significance.h"

/* A normal's deviation over its MAD. */
static const double MAD_SCALE = 1.482602218505602;

void series_shift(const double *x, int n, const double *y, int m, double level, struct series_shift *out)
{
	struct stats_interval i;
	assert(n >= 1 && m >= 1);
	stats_welch_interval(x, n, y, m, level, &i);
	*out = (struct series_shift){expm1(stats_mean(y, m) - stats_mean(x, n)), expm1(i.low), expm1(i.high)};
}

void continuation_options_default(struct continuation_options *o)
{
	*o = (struct continuation_options){.alpha = 0.01, .delta = 0.01, .level = 0.95, .power = 0.8, .within = 0.05};
}

/* Of the level the values that are of it, into out: (n). Returns their number, -1: no memory. */
static int take_near(const struct series_cell *c, double *out)
{
	struct stats_summary s;
	int used = 0;
	if (stats_summarize(c->before, c->n, &s))
		return -1;
	for (int i = 0; i < c->n; i++)
		if (c->n < CONTINUATION_FAR_LEAST ||
		    !(fabs(c->before[i] - s.median) > CONTINUATION_FAR * MAD_SCALE * s.mad) || !(s.mad > 0))
			out[used++] = c->before[i];
	return used;
}

/* The deviation of both sides together, each from its own mean; df: its degrees of freedom. */
static double pooled(const double *x, int n, const double *y, int m, int *df)
{
	double a = n > 1 ? pow(stats_deviation(x, n), 2) * (n - 1) : 0;
	double b = m > 1 ? pow(stats_deviation(y, m), 2) * (m - 1) : 0;
	*df = (n > 1 ? n - 1 : 0) + (m > 1 ? m - 1 : 0);
	return sqrt((a + b) / *df);
}

/* All but what the other cells decide. */
static int measure(const struct series_cell *c, int cells, const struct continuation_options *o,
		   struct continuation *out)
{
	*out = (struct continuation){.kind = CONTINUATION_UNCLEAR,
				     .effect = NAN,
				     .low = NAN,
				     .high = NAN,
				     .p = 1,
				     .p_holm = 1,
				     .seen = INFINITY};
	if (c->n < 1 || c->m < 1)
		return 0;
	double *x = malloc((size_t)c->n * sizeof *x);
	if (!x || (out->used = take_near(c, x)) < 0) {
		free(x);
		return -1;
	}
	int df;
	double shift = stats_mean(c->now, c->m) - stats_mean(x, out->used);
	double deviation = pooled(x, out->used, c->now, c->m, &df);
	out->far = c->n - out->used;
	out->effect = expm1(shift);
	if (out->used >= 2 && deviation > 0) {
		double error = deviation * sqrt(1.0 / out->used + 1.0 / c->m);
		double half = stats_t_quantile((1 + o->level) / 2, df) * error;
		double needed = fmax(stats_t_quantile(1 - o->alpha / cells / 2, df) * error, log1p(o->delta) + half);
		out->p = stats_t_tails(shift / error, df);
		out->low = expm1(shift - half);
		out->high = expm1(shift + half);
		out->seen = expm1(needed + stats_t_quantile(o->power, df) * error);
	}
	free(x);
	return 0;
}

static enum continuation_kind judge(const struct series_cell *c, const struct continuation_options *o,
				    const struct continuation *v)
{
	if (!isfinite(v->low) || v->p_holm >= o->alpha)
		return v->seen <= o->within ? CONTINUATION_SAME : CONTINUATION_UNCLEAR;
	double low = c->sign > 0 ? v->low : -v->high, high = c->sign > 0 ? v->high : -v->low;
	if (low > o->delta)
		return CONTINUATION_WORSE;
	if (high < -o->delta)
		return CONTINUATION_BETTER;
	return low >= -o->delta && high <= o->delta ? CONTINUATION_SAME : CONTINUATION_UNCLEAR;
}

int continuation_judge(const struct series_cell *cells, int n, const struct continuation_options *o,
		       struct continuation *out)
{
	double *p = malloc(((size_t)n + 1) * sizeof *p);
	int rc = p ? 0 : -1;
	for (int i = 0; i < n && !rc; i++) {
		rc = measure(&cells[i], n, o, &out[i]);
		p[i] = out[i].p;
	}
	if (!rc)
		rc = stats_holm(p, n, p);
	for (int i = 0; i < n && !rc; i++) {
		out[i].p_holm = p[i];
		out[i].kind = judge(&cells[i], o, &out[i]);
	}
	free(p);
	return rc;
}
