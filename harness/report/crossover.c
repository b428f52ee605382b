#include "harness/report/crossover.h"

#include <math.h>
#include <stdlib.h>

#include "base/random.h"

/* Above this many values in all resamples together, there are fewer resamples. */
static const double WORK_MAX = 2e8;

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static double median_of(double *x, int n)
{
	if (!n)
		return NAN;
	qsort(x, (size_t)n, sizeof *x, compare_doubles);
	return n & 1 ? x[n / 2] : 0.5 * (x[n / 2 - 1] + x[n / 2]);
}

static int sign_of(double x)
{
	return (x > 0) - (x < 0);
}

/* Where the line from (a, x) to (b, y), of different signs, is 0. */
static double zero_between(double a, double x, double b, double y)
{
	double t = x / (x - y);
	return a > 0 ? exp2(log2(a) + t * (log2(b) - log2(a))) : t * b;
}

/* The first change of sign of the curve, its number and the first sign that is not 0; *depth NAN where there is none.
 */
static int changes(const int *depths, const double *curve, int n, int *left, double *depth)
{
	int count = 0, last = -1;
	*left = 0;
	*depth = NAN;
	for (int i = 0; i < n; i++) {
		if (isnan(curve[i]) || !sign_of(curve[i]))
			continue;
		if (last < 0)
			*left = sign_of(curve[i]);
		else if (sign_of(curve[i]) != sign_of(curve[last]) && !count++)
			*depth = zero_between(depths[last], curve[last], depths[i], curve[i]);
		last = i;
	}
	return count;
}

/* picked: (n), units. */
static void median_curve(const double *effects, int n_depths, const int *picked, int n, double *scratch, double *curve)
{
	for (int d = 0; d < n_depths; d++) {
		int k = 0;
		for (int i = 0; i < n; i++) {
			double x = effects[(size_t)picked[i] * (size_t)n_depths + (size_t)d];
			if (!isnan(x))
				scratch[k++] = x;
		}
		curve[d] = median_of(scratch, k);
	}
}

int crossover_find(const int *depths, int n_depths, const double *effects, int n_units, double level, uint64_t seed,
		   struct crossover *out)
{
	double work = (double)n_units * n_depths;
	int resamples = work * CROSSOVER_RESAMPLES > WORK_MAX ? (int)(WORK_MAX / work) + 1 : CROSSOVER_RESAMPLES;
	double *scratch = calloc((size_t)n_units + 1, sizeof *scratch);
	double *curve = calloc((size_t)n_depths + 1, sizeof *curve);
	double *found = calloc((size_t)resamples, sizeof *found);
	int *picked = calloc((size_t)n_units + 1, sizeof *picked), present = 0;
	int rc = scratch && curve && found && picked ? 0 : -1;
	*out = (struct crossover){.n = -1, .depth = NAN, .low = NAN, .high = NAN, .units = n_units};
	for (int i = 0; i < n_units && !rc; i++)
		picked[i] = i;
	if (!rc)
		median_curve(effects, n_depths, picked, n_units, scratch, curve);
	for (int d = 0; d < n_depths && !rc; d++)
		present += !isnan(curve[d]);
	if (!rc && present >= CROSSOVER_DEPTHS_LEAST)
		out->n = changes(depths, curve, n_depths, &out->left, &out->depth);
	if (!rc && out->n >= 0 && n_units >= CROSSOVER_UNITS_LEAST) {
		for (int r = 0; r < resamples; r++) {
			int left;
			for (int i = 0; i < n_units; i++)
				picked[i] = (int)random_below(&seed, (uint64_t)n_units);
			median_curve(effects, n_depths, picked, n_units, scratch, curve);
			int count = changes(depths, curve, n_depths, &left, &found[r]);
			if (left != out->left)
				found[r] = -INFINITY;
			else if (!count)
				found[r] = INFINITY;
		}
		/* No interpolation between a depth and infinity: the order statistics that hold at least the level. */
		qsort(found, (size_t)resamples, sizeof *found, compare_doubles);
		int cut = (int)floor(0.5 * (1 - level) * resamples);
		out->low = found[cut];
		out->high = found[resamples - 1 - cut];
	}
	free(picked);
	free(found);
	free(curve);
	free(scratch);
	return rc;
}

bool crossover_is_known(const struct crossover *x)
{
	return x->n > 0 && isfinite(x->low) && isfinite(x->high);
}

bool crossover_is_none(const struct crossover *x)
{
	return !x->n && x->low == INFINITY;
}
