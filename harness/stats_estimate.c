#include "harness/stats_estimate.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "harness/random.h"
#include "harness/stats.h"
#include "harness/stats_distribution.h"
#include "harness/stats_significance.h"

/*
 * The median of n draws from an ascending sample, by counting how often each place was
 * drawn instead of sorting the draws. counts: (n), scratch.
 */
static double resampled_median(const double *sorted, int n, uint64_t *state, int *counts)
{
	for (int i = 0; i < n; i++)
		counts[i] = 0;
	for (int i = 0; i < n; i++)
		counts[random_below(state, (uint64_t)n)]++;
	int lower = (n - 1) / 2, seen = 0, at = 0;
	while (seen + counts[at] <= lower)
		seen += counts[at++];
	double median = sorted[at];
	if (n % 2 == 0) {
		while (seen + counts[at] <= n / 2)
			seen += counts[at++];
		median = (median + sorted[at]) / 2;
	}
	return median;
}

/* x null: the median of y alone. */
static int bootstrap(const double *x, int n, const double *y, int m, double level, uint64_t seed,
		     struct stats_interval *out)
{
	*out = (struct stats_interval){NAN, NAN};
	if ((x && n <= 0) || m <= 0)
		return 0;
	int most = x && n > m ? n : m, rc = -1;
	double *a = x ? stats_sorted(x, n) : NULL, *b = stats_sorted(y, m);
	int *counts = malloc((size_t)most * sizeof *counts);
	double *medians = malloc(STATS_RESAMPLES * sizeof *medians);
	if ((a || !x) && b && counts && medians) {
		for (int r = 0; r < STATS_RESAMPLES; r++) {
			double from = x ? resampled_median(a, n, &seed, counts) : 0;
			medians[r] = resampled_median(b, m, &seed, counts) - from;
		}
		double *sorted = stats_sorted(medians, STATS_RESAMPLES);
		if (sorted) {
			out->low = stats_quantile(sorted, STATS_RESAMPLES, (1 - level) / 2);
			out->high = stats_quantile(sorted, STATS_RESAMPLES, (1 + level) / 2);
			rc = 0;
		}
		free(sorted);
	}
	free(medians);
	free(counts);
	free(b);
	free(a);
	return rc;
}

int stats_bootstrap_median(const double *d, int n, double level, uint64_t seed, struct stats_interval *out)
{
	return bootstrap(NULL, 0, d, n, level, seed, out);
}

int stats_bootstrap_shift(const double *x, int n, const double *y, int m, double level, uint64_t seed,
			  struct stats_interval *out)
{
	return bootstrap(x, n, y, m, level, seed, out);
}

double stats_deviation(const double *x, int n)
{
	if (n < 2)
		return NAN;
	double mean = 0, sum = 0, squares = 0;
	for (int i = 0; i < n; i++)
		mean += x[i] / n;
	for (int i = 0; i < n; i++) {
		sum += x[i] - mean;
		squares += (x[i] - mean) * (x[i] - mean);
	}
	/* sum would be 0, were the mean not rounded. */
	return sqrt((squares - sum * sum / n) / (n - 1));
}

double stats_detectable(const struct stats_design *d, int n)
{
	assert(d->power > 0.5 && d->power < 1);
	if (n < 2 || stats_sign_flip_least(n) >= d->alpha)
		return INFINITY;
	double error = d->deviation / sqrt(n), median_error = error * sqrt(acos(-1) / 2);
	double found = stats_t_quantile(d->power, n - 1);
	double test = (stats_t_quantile(1 - d->alpha / 2, n - 1) + found) * error;
	double beyond = d->delta + (stats_t_quantile((1 + d->level) / 2, n - 1) + found) * median_error;
	return test > beyond ? test : beyond;
}

int stats_blocks_needed(const struct stats_design *d, double effect, int most)
{
	for (int n = 2; n <= most; n++)
		if (stats_detectable(d, n) <= effect)
			return n;
	return 0;
}
