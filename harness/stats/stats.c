#include "harness/stats/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

double *stats_sorted(const double *x, int n)
{
	double *copy = malloc((n > 0 ? (size_t)n : 1) * sizeof *copy);
	if (!copy)
		return NULL;
	if (n > 0) {
		memcpy(copy, x, (size_t)n * sizeof *copy);
		qsort(copy, (size_t)n, sizeof *copy, compare);
	}
	return copy;
}

double stats_quantile(const double *sorted, int n, double q)
{
	if (n <= 0)
		return NAN;
	double at = (n - 1) * q;
	int i = (int)at;
	if (i >= n - 1)
		return sorted[n - 1];
	return sorted[i] + (at - i) * (sorted[i + 1] - sorted[i]);
}

int stats_summarize(const double *x, int n, struct stats_summary *out)
{
	*out = (struct stats_summary){n, NAN, NAN, NAN, NAN, NAN, NAN, NAN};
	if (n <= 0)
		return 0;
	double *s = stats_sorted(x, n);
	if (!s)
		return -1;
	double median = stats_quantile(s, n, 0.5);
	out->median = median;
	out->p50 = median;
	out->p90 = stats_quantile(s, n, 0.9);
	if (n >= STATS_P99_MIN)
		out->p99 = stats_quantile(s, n, 0.99);
	out->min = s[0];
	out->max = s[n - 1];
	for (int i = 0; i < n; i++)
		s[i] = fabs(s[i] - median);
	qsort(s, (size_t)n, sizeof *s, compare);
	out->mad = stats_quantile(s, n, 0.5);
	free(s);
	return 0;
}

double stats_median(const double *x, int n)
{
	double *s = stats_sorted(x, n);
	if (!s)
		return NAN;
	double median = stats_quantile(s, n, 0.5);
	free(s);
	return median;
}
