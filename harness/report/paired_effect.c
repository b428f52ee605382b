#include "harness/report/paired_effect.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "harness/stats/stats.h"
#include "harness/stats/stats_estimate.h"

/* Changes smaller than what a column of three digits shows are none. */
static const double SHOWN = 0.0005;

int paired_effect_of(const double *ratios, int n, struct paired_effect *out)
{
	struct stats_interval interval = {NAN, NAN};
	*out = (struct paired_effect){.pairs = n, .change = NAN, .low = NAN, .high = NAN};
	double *logs = malloc((n > 0 ? (size_t)n : 1) * sizeof *logs);
	if (!logs)
		return -1;
	for (int i = 0; i < n; i++)
		logs[i] = log(ratios[i]);
	int rc = n < PAIRED_EFFECT_LEAST ? 0 : stats_bootstrap_median(logs, n, PAIRED_EFFECT_LEVEL, 1, &interval);
	out->change = expm1(stats_median(logs, n));
	out->low = expm1(interval.low);
	out->high = expm1(interval.high);
	free(logs);
	return rc;
}

bool paired_effect_is_known(const struct paired_effect *e)
{
	return e->low > 0 || e->high < 0;
}

double paired_effect_range_coverage(int pairs)
{
	return 1 - ldexp(2, -pairs);
}

bool paired_effect_is_contradicted(const struct paired_effect *e, double itl_change, double rate_change, double *change,
				   const char **column)
{
	if (!paired_effect_is_known(e))
		return false;
	*column = "itl";
	*change = itl_change;
	if (fabs(*change) >= SHOWN && (*change > 0) != (e->change > 0))
		return true;
	*column = "t/s";
	*change = rate_change;
	return fabs(*change) >= SHOWN && (*change > 0) == (e->change > 0);
}

const char *paired_effect_number(double x, bool is_signed, char out[PAIRED_EFFECT_TEXT])
{
	int digits = 1;
	if (!isfinite(x)) {
		snprintf(out, PAIRED_EFFECT_TEXT, "-");
		return out;
	}
	/* 9.96 is 10, not 10.0. */
	for (double at = 9.95; digits > 0 && fabs(x) >= at; at *= 10)
		digits--;
	for (double at = 0.995; digits > 0 && digits < 6 && x != 0 && fabs(x) < at; at /= 10)
		digits++;
	snprintf(out, PAIRED_EFFECT_TEXT, is_signed ? "%+.*f" : "%.*f", digits, x);
	return out;
}

const char *paired_effect_text(const struct paired_effect *e, char out[PAIRED_EFFECT_TEXT])
{
	char change[PAIRED_EFFECT_TEXT], low[PAIRED_EFFECT_TEXT], high[PAIRED_EFFECT_TEXT];
	if (!paired_effect_is_known(e))
		snprintf(out, PAIRED_EFFECT_TEXT, "%s", e->pairs ? "~" : "-");
	else
		snprintf(out, PAIRED_EFFECT_TEXT, "%.9s%% [%.9s,%.9s]",
			 paired_effect_number(100 * e->change, true, change),
			 paired_effect_number(100 * e->low, true, low),
			 paired_effect_number(100 * e->high, true, high));
	return out;
}
