#include "harness/stats/stats_significance.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"

enum { RANDOM_PATTERNS = 100000 };

/* All 2^n sums of +-q, ascending, by merging (sums - q) with (sums + q). out, scratch: (2^n). */
static void signed_sums(const int64_t *q, int n, int64_t *out, int64_t *scratch)
{
	size_t size = 1;
	out[0] = 0;
	for (int i = 0; i < n; i++) {
		int64_t step = q[i] < 0 ? -q[i] : q[i];
		memcpy(scratch, out, size * sizeof *out);
		size_t low = 0, high = 0;
		for (size_t k = 0; k < 2 * size; k++) {
			int take_low = low < size && (high >= size || scratch[low] - step <= scratch[high] + step);
			out[k] = take_low ? scratch[low++] - step : scratch[high++] + step;
		}
		size *= 2;
	}
}

/* Patterns of q whose sum is at least `least` > 0, of 2^n. */
static double count_reaching(const int64_t *q, int n, int64_t least)
{
	int half = n / 2, rest = n - half;
	size_t size = (size_t)1 << rest, other = (size_t)1 << half;
	int64_t *sums = malloc((2 * size + other) * sizeof *sums);
	if (!sums)
		return NAN;
	int64_t *a = sums, *b = sums + size, *scratch = b + other;
	signed_sums(q, rest, a, scratch);
	signed_sums(q + rest, half, b, scratch);
	/* As a grows, the b that are needed reach further down. */
	size_t from = other;
	double count = 0;
	for (size_t i = 0; i < size; i++) {
		while (from > 0 && a[i] + b[from - 1] >= least)
			from--;
		count += (double)(other - from);
	}
	free(sums);
	return count;
}

static double count_random(const int64_t *q, int n, int64_t least)
{
	uint64_t state = 1, bits = 0;
	double count = 0;
	for (int r = 0; r < RANDOM_PATTERNS; r++) {
		int64_t sum = 0;
		for (int i = 0; i < n; i++) {
			bits = i % 64 ? bits >> 1 : random_next(&state);
			sum += bits & 1 ? q[i] : -q[i];
		}
		count += sum >= least || -sum >= least;
	}
	return count;
}

double stats_sign_flip(const double *d, int n)
{
	double total = 0, observed = 0;
	for (int i = 0; i < n; i++) {
		total += fabs(d[i]);
		observed += d[i];
	}
	if (!(total > 0))
		return 1;
	/*
	 * As integers, so that patterns with equal sums are equal: 50 bits of the largest sum.
	 * Each value is rounded by half a unit at most, so n units cover all rounding; what is
	 * that near counts as reached, which can only make p larger.
	 */
	int64_t *q = malloc((size_t)n * sizeof *q);
	if (!q)
		return NAN;
	double scale = 0x1p50 / total;
	for (int i = 0; i < n; i++)
		q[i] = llround(d[i] * scale);
	int64_t least = llround(fabs(observed) * scale) - n;
	double p = 1;
	if (least > 0 && n <= STATS_SIGN_FLIP_EXACT)
		p = 2 * count_reaching(q, n, least) / ldexp(1, n);
	else if (least > 0)
		p = (1 + count_random(q, n, least)) / (1 + RANDOM_PATTERNS);
	free(q);
	return p;
}

double stats_sign_flip_least(int n)
{
	if (n <= STATS_SIGN_FLIP_EXACT)
		return n > 0 ? ldexp(2, -n) : 1;
	return 1.0 / (1 + RANDOM_PATTERNS);
}

struct ranked {
	double value;
	int first; /* of x */
};

static int compare_ranked(const void *a, const void *b)
{
	double x = ((const struct ranked *)a)->value, y = ((const struct ranked *)b)->value;
	return (x > y) - (x < y);
}

/* Twice the midranks of both sets into ranks: (n + m), ascending. Returns twice x's rank sum. */
static int64_t double_ranks(struct ranked *all, int size, int *ranks, double *ties)
{
	int64_t sum = 0;
	qsort(all, (size_t)size, sizeof *all, compare_ranked);
	for (int i = 0, end; i < size; i = end) {
		for (end = i; end < size && all[end].value <= all[i].value; end++)
			;
		double t = end - i;
		*ties += t * t * t - t;
		for (int j = i; j < end; j++) {
			ranks[j] = i + end + 1;
			sum += all[j].first ? ranks[j] : 0;
		}
	}
	return sum;
}

/* P(sum <= observed) and P(sum >= observed) of the sum of n of `ranks`, drawn without replacement. */
static int exact_tails(const int *ranks, int size, int n, int64_t observed, double *low, double *high)
{
	size_t width = 1;
	for (int i = size - n; i < size; i++)
		width += (size_t)ranks[i];
	/* ways[k][s]: subsets of k of the ranks so far with the sum s. */
	double *ways = calloc(((size_t)n + 1) * width, sizeof *ways);
	if (!ways)
		return -1;
	ways[0] = 1;
	for (int i = 0; i < size; i++) {
		size_t rank = (size_t)ranks[i];
		for (int k = i < n ? i : n - 1; k >= 0; k--) {
			const double *from = ways + (size_t)k * width;
			double *to = ways + ((size_t)k + 1) * width + rank;
			for (size_t s = 0; s + rank < width; s++)
				to[s] += from[s];
		}
	}
	double all = 0;
	const double *last = ways + (size_t)n * width;
	*low = *high = 0;
	for (size_t s = 0; s < width; s++) {
		all += last[s];
		*low += (int64_t)s <= observed ? last[s] : 0;
		*high += (int64_t)s >= observed ? last[s] : 0;
	}
	*low /= all;
	*high /= all;
	free(ways);
	return 0;
}

/* rank_sum: of n of n + m values; ties: sum of t^3 - t. */
static double normal_p(double rank_sum, double n, double m, double ties)
{
	double size = n + m, mean = n * (size + 1) / 2;
	double variance = n * m / 12 * (size + 1 - ties / (size * (size - 1)));
	if (!(variance > 0))
		return 1;
	double z = (fabs(rank_sum - mean) - 0.5) / sqrt(variance);
	return z > 0 ? erfc(z / sqrt(2)) : 1;
}

double stats_mann_whitney(const double *x, int n, const double *y, int m)
{
	if (n <= 0 || m <= 0)
		return 1;
	size_t size = (size_t)n + (size_t)m;
	struct ranked *all = malloc(size * sizeof *all);
	int *ranks = malloc(size * sizeof *ranks);
	double p = NAN;
	if (all && ranks) {
		for (int i = 0; i < n; i++)
			all[i] = (struct ranked){x[i], 1};
		for (int i = 0; i < m; i++)
			all[n + i] = (struct ranked){y[i], 0};
		double ties = 0, low, high;
		int64_t sum = double_ranks(all, (int)size, ranks, &ties);
		if (size > STATS_MANN_WHITNEY_EXACT)
			p = normal_p((double)sum / 2, n, m, ties);
		else if (!exact_tails(ranks, (int)size, n, sum, &low, &high))
			p = fmin(1, 2 * fmin(low, high));
	}
	free(ranks);
	free(all);
	return p;
}

double stats_mann_whitney_least(int n, int m)
{
	double ways = 1;
	for (int i = 1; i <= n; i++)
		ways *= (double)(m + i) / i;
	return fmin(1, 2 / ways);
}

struct indexed {
	double p;
	int i;
};

static int compare_indexed(const void *a, const void *b)
{
	double x = ((const struct indexed *)a)->p, y = ((const struct indexed *)b)->p;
	return (x > y) - (x < y);
}

static struct indexed *sorted_p(const double *p, int n)
{
	struct indexed *s = malloc((n > 0 ? (size_t)n : 1) * sizeof *s);
	for (int i = 0; s && i < n; i++)
		s[i] = (struct indexed){p[i], i};
	if (s)
		qsort(s, (size_t)n, sizeof *s, compare_indexed);
	return s;
}

int stats_holm(const double *p, int n, double *out)
{
	struct indexed *s = sorted_p(p, n);
	if (!s)
		return -1;
	double most = 0;
	for (int i = 0; i < n; i++) {
		most = fmax(most, fmin(1, s[i].p * (n - i)));
		out[s[i].i] = most;
	}
	free(s);
	return 0;
}

int stats_benjamini_hochberg(const double *p, int n, double *out)
{
	struct indexed *s = sorted_p(p, n);
	if (!s)
		return -1;
	double least = 1;
	for (int i = n - 1; i >= 0; i--) {
		least = fmin(least, s[i].p * n / (i + 1));
		out[s[i].i] = least;
	}
	free(s);
	return 0;
}
