#include "harness/stats/stats_estimate.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/random.h"
#include "harness/stats/stats.h"
#include "harness/stats/stats_distribution.h"
#include "harness/stats/stats_significance.h"

/*
 * The median of n draws from an ascending sample, by counting how often each place was
 * drawn instead of sorting the draws. counts: (n), scratch. Places are drawn with a bias
 * of n / 2^32: no division, in a loop that draws a hundred thousand times a cell.
 */
static double resampled_median(const double *sorted, int n, uint64_t *state, int *counts)
{
	for (int i = 0; i < n; i++)
		counts[i] = 0;
	for (int i = 0; i < n; i++)
		counts[(random_next(state) >> 32) * (uint64_t)n >> 32]++;
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

static void swap(double *a, double *b)
{
	double t = *a;
	*a = *b;
	*b = t;
}

/* Reorders x: (n), so that x[k] is the k-th smallest, with none larger before it (Hoare's quickselect). */
static void select_place(double *x, int n, int k)
{
	for (int low = 0, high = n - 1; low < high;) {
		double pivot = x[low + (high - low) / 2];
		int i = low, j = high;
		while (i <= j) {
			while (x[i] < pivot)
				i++;
			while (pivot < x[j])
				j--;
			if (i <= j)
				swap(&x[i++], &x[j--]);
		}
		if (k <= j)
			high = j;
		else if (k >= i)
			low = i;
		else
			break;
	}
}

/* stats_quantile of an unordered sample of at least two values, which it reorders. */
static double quantile_of(double *x, int n, double q)
{
	int k = (int)((n - 1) * q);
	k = k > n - 2 ? n - 2 : k;
	select_place(x, n, k);
	for (int i = k + 2; i < n; i++)
		if (x[i] < x[k + 1])
			swap(&x[i], &x[k + 1]);
	return x[k] + ((n - 1) * q - k) * (x[k + 1] - x[k]);
}

/* x null: the median of y alone. */
static int bootstrap(const double *x, int n, const double *y, int m, double level, uint64_t seed,
		     struct stats_interval *out)
{
	*out = (struct stats_interval){NAN, NAN};
	if ((x && n <= 0) || m <= 0)
		return 0;
	/* One value is drawn again and again. */
	if ((!x || n == 1) && m == 1) {
		out->low = out->high = y[0] - (x ? x[0] : 0);
		return 0;
	}
	int most = x && n > m ? n : m, rc = -1;
	double *a = x ? stats_sorted(x, n) : NULL, *b = stats_sorted(y, m);
	int *counts = malloc((size_t)most * sizeof *counts);
	double *medians = malloc(STATS_RESAMPLES * sizeof *medians);
	if ((a || !x) && b && counts && medians) {
		for (int r = 0; r < STATS_RESAMPLES; r++) {
			double from = x ? resampled_median(a, n, &seed, counts) : 0;
			medians[r] = resampled_median(b, m, &seed, counts) - from;
		}
		out->low = quantile_of(medians, STATS_RESAMPLES, (1 - level) / 2);
		out->high = quantile_of(medians, STATS_RESAMPLES, (1 + level) / 2);
		rc = 0;
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

int stats_bootstrap_mean(const double *d, int n, double level, uint64_t seed, struct stats_interval *out)
{
	*out = (struct stats_interval){NAN, NAN};
	if (n <= 0)
		return 0;
	double *means = malloc(STATS_RESAMPLES * sizeof *means);
	if (!means)
		return -1;
	for (int r = 0; r < STATS_RESAMPLES; r++) {
		double sum = 0;
		for (int i = 0; i < n; i++)
			sum += d[(random_next(&seed) >> 32) * (uint64_t)n >> 32];
		means[r] = sum / n;
	}
	out->low = quantile_of(means, STATS_RESAMPLES, (1 - level) / 2);
	out->high = quantile_of(means, STATS_RESAMPLES, (1 + level) / 2);
	free(means);
	return 0;
}

double stats_mean(const double *x, int n)
{
	double sum = 0;
	for (int i = 0; i < n; i++)
		sum += x[i];
	return n ? sum / n : NAN;
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
	/* What can be detected only falls with n. */
	int few = 1, enough = most + 1;
	while (enough - few > 1) {
		int n = few + (enough - few) / 2;
		*(stats_detectable(d, n) <= effect ? &enough : &few) = n;
	}
	return enough <= most ? enough : 0;
}

/* The difference's standard error and its degrees of freedom; -1 where a sample has no deviation of its own. */
static int welch(const double *x, int n, const double *y, int m, double *error, double *df)
{
	if (n < 2 || m < 2)
		return -1;
	double a = pow(stats_deviation(x, n), 2) / n, b = pow(stats_deviation(y, m), 2) / m;
	*error = sqrt(a + b);
	if (!(*error > 0))
		return -1;
	*df = pow(a + b, 2) / (a * a / (n - 1) + b * b / (m - 1));
	return 0;
}

double stats_welch_p(const double *x, int n, const double *y, int m)
{
	double error, df;
	if (welch(x, n, y, m, &error, &df))
		return 1;
	return stats_t_tails((stats_mean(y, m) - stats_mean(x, n)) / error, df);
}

void stats_welch_interval(const double *x, int n, const double *y, int m, double level, struct stats_interval *out)
{
	double error, df;
	*out = (struct stats_interval){NAN, NAN};
	if (welch(x, n, y, m, &error, &df))
		return;
	double shift = stats_mean(y, m) - stats_mean(x, n), half = stats_t_quantile((1 + level) / 2, df) * error;
	*out = (struct stats_interval){shift - half, shift + half};
}
