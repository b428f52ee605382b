/*
 * harness/stats*.c against what SciPy, statsmodels and Apache Otava say of the same samples:
 * vectors/stats.json, made by vectors/make_stats.py.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "harness/stats/stats.h"
#include "harness/stats/stats_change.h"
#include "harness/stats/stats_distribution.h"
#include "harness/stats/stats_estimate.h"
#include "harness/stats/stats_significance.h"

enum { MAX_VALUES = 1000 };

static json_t *vectors;

static int load(void **state)
{
	(void)state;
	json_error_t error;
	vectors = json_load_file("vectors/stats.json", 0, &error);
	if (!vectors)
		print_error("vectors/stats.json:%d: %s\n", error.line, error.text);
	return vectors ? 0 : -1;
}

static int unload(void **state)
{
	(void)state;
	json_decref(vectors);
	return 0;
}

static double number(const json_t *list, size_t i)
{
	const json_t *v = json_array_get(list, i);
	assert_true(json_is_number(v));
	return json_number_value(v);
}

static double member(const json_t *object, const char *name)
{
	const json_t *v = json_object_get(object, name);
	assert_true(json_is_number(v));
	return json_number_value(v);
}

static int values(const json_t *object, const char *name, double out[MAX_VALUES])
{
	const json_t *list = json_object_get(object, name);
	assert_true(json_is_array(list) && json_array_size(list) <= MAX_VALUES);
	for (size_t i = 0; i < json_array_size(list); i++)
		out[i] = number(list, i);
	return (int)json_array_size(list);
}

/* Of the list under a name of the file, which is not empty. */
static const json_t *cases(const json_t *object, const char *name)
{
	const json_t *list = json_object_get(object, name);
	assert_true(json_array_size(list) > 0);
	return list;
}

static void near(double got, double expected, double tolerance)
{
	if (!(fabs(got - expected) <= tolerance * fmax(fabs(expected), 1e-300)) && !(got == expected))
		fail_msg("%.17g is not %.17g", got, expected);
}

static void test_order(void **state)
{
	(void)state;
	const json_t *list = cases(vectors, "order"), *v;
	size_t i;
	json_array_foreach(list, i, v)
	{
		double x[MAX_VALUES];
		int n = values(v, "x", x);
		struct stats_summary s;
		assert_int_equal(stats_summarize(x, n, &s), 0);
		near(s.median, member(v, "median"), 1e-15);
		near(s.mad, member(v, "mad"), 1e-12);
		double *sorted = stats_sorted(x, n);
		const json_t *quantiles = cases(v, "quantiles"), *q;
		size_t k;
		json_array_foreach(quantiles, k, q)
		{
			near(stats_quantile(sorted, n, number(q, 0)), number(q, 1), 1e-14);
		}
		free(sorted);
		if (n > 1)
			near(stats_deviation(x, n), member(v, "sd"), 1e-12);
		else
			assert_true(isnan(stats_deviation(x, n)));
	}
}

static void test_sign_flip(void **state)
{
	(void)state;
	const json_t *list = cases(vectors, "sign_flip"), *v;
	size_t i;
	json_array_foreach(list, i, v)
	{
		double d[MAX_VALUES];
		int n = values(v, "d", d);
		near(stats_sign_flip(d, n), member(v, "p"), 1e-12);
	}
}

/* Where SciPy cannot go: many blocks, and the smallest p that a number of them has. */
static void test_sign_flip_limits(void **state)
{
	(void)state;
	double d[64];
	for (int i = 0; i < 64; i++)
		d[i] = 1;
	for (int n = 1; n <= STATS_SIGN_FLIP_EXACT; n += 13) {
		near(stats_sign_flip(d, n), pow(0.5, n - 1), 1e-15);
		near(stats_sign_flip_least(n), pow(0.5, n - 1), 1e-15);
	}
	/* 23 of 24 of one sign: 2 (1 + 24) / 2^24. */
	d[5] = -1;
	near(stats_sign_flip(d, 24), 50 / 16777216.0, 1e-12);
	/* By sampling: half of 64 each way is p = 1, and one against 63 is about 1e-17. */
	near(stats_sign_flip(d, 64), 1 / 100001.0, 1e-12);
	for (int i = 0; i < 64; i++)
		d[i] = i % 2 ? 1 : -1;
	near(stats_sign_flip(d, 64), 1, 1e-15);
	/* 38 against 26: the binomial's exact tails. */
	d[0] = d[2] = d[4] = d[6] = d[8] = d[10] = 1;
	assert_true(fabs(stats_sign_flip(d, 64) - 0.1686) < 0.01);
	assert_true(stats_sign_flip(d, 0) == 1 && stats_sign_flip_least(0) == 1);
	near(stats_mann_whitney_least(5, 5), 2.0 / 252, 1e-14);
	near(stats_mann_whitney_least(1, 1), 1, 1e-14);
	assert_true(stats_mann_whitney(d, 0, d, 3) == 1);
}

static void test_mann_whitney(void **state)
{
	(void)state;
	const json_t *list = cases(vectors, "mann_whitney"), *v;
	size_t i;
	json_array_foreach(list, i, v)
	{
		double x[MAX_VALUES], y[MAX_VALUES];
		int n = values(v, "x", x), m = values(v, "y", y);
		near(stats_mann_whitney(x, n, y, m), member(v, "p"), 1e-11);
		near(stats_mann_whitney(y, m, x, n), member(v, "p"), 1e-11);
	}
}

static void test_adjusted(void **state)
{
	(void)state;
	const json_t *list = cases(vectors, "adjusted"), *v;
	size_t i;
	json_array_foreach(list, i, v)
	{
		double p[MAX_VALUES], expected[MAX_VALUES], out[MAX_VALUES];
		int n = values(v, "p", p);
		values(v, "holm", expected);
		assert_int_equal(stats_holm(p, n, out), 0);
		for (int k = 0; k < n; k++)
			near(out[k], expected[k], 1e-14);
		values(v, "bh", expected);
		assert_int_equal(stats_benjamini_hochberg(p, n, out), 0);
		for (int k = 0; k < n; k++)
			near(out[k], expected[k], 1e-14);
	}
}

static void test_distributions(void **state)
{
	(void)state;
	const json_t *all = json_object_get(vectors, "distributions"), *v;
	size_t i;
	json_array_foreach(cases(all, "beta"), i, v)
	{
		near(stats_beta(number(v, 0), number(v, 1), number(v, 2)), number(v, 3), 1e-10);
	}
	json_array_foreach(cases(all, "normal"), i, v)
	{
		assert_true(fabs(stats_normal_quantile(number(v, 0)) - number(v, 1)) < 1e-12);
	}
	json_array_foreach(cases(all, "t"), i, v)
	{
		double got = stats_t_quantile(number(v, 0), number(v, 1)), expected = number(v, 2);
		assert_true(fabs(got - expected) < 1e-7 + 1e-9 * fabs(expected));
	}
	json_array_foreach(cases(all, "binomial"), i, v)
	{
		double low, high;
		stats_binomial_interval((int)number(v, 0), (int)number(v, 1), number(v, 2), &low, &high);
		/* SciPy's own search leaves 1e-9. */
		near(low, number(v, 3), 1e-8);
		near(high, number(v, 4), 1e-8);
	}
	/* In closed form: no failure in n, and one success. */
	double low, high;
	stats_binomial_interval(100, 100, 0.95, &low, &high);
	near(low, pow(0.025, 0.01), 1e-13);
	assert_true(high == 1);
	stats_binomial_interval(1, 100, 0.95, &low, &high);
	near(low, -expm1(log(0.975) / 100), 1e-12);
}

static void test_bootstrap(void **state)
{
	(void)state;
	const json_t *all = json_object_get(vectors, "bootstrap"), *v;
	size_t i;
	double x[MAX_VALUES], y[MAX_VALUES];
	struct stats_interval got;
	json_array_foreach(cases(all, "median"), i, v)
	{
		int n = values(v, "d", x);
		uint64_t seed = (uint64_t)member(v, "seed");
		assert_int_equal(stats_bootstrap_median(x, n, member(v, "level"), seed, &got), 0);
		near(got.low, member(v, "low"), 1e-12);
		near(got.high, member(v, "high"), 1e-12);
	}
	json_array_foreach(cases(all, "shift"), i, v)
	{
		int n = values(v, "x", x), m = values(v, "y", y);
		uint64_t seed = (uint64_t)member(v, "seed");
		assert_int_equal(stats_bootstrap_shift(x, n, y, m, member(v, "level"), seed, &got), 0);
		near(got.low, member(v, "low"), 1e-10);
		near(got.high, member(v, "high"), 1e-10);
	}
	assert_int_equal(stats_bootstrap_median(x, 0, 0.95, 1, &got), 0);
	assert_true(isnan(got.low) && isnan(got.high));
}

/* Where the test, not the interval, is what an effect has to pass: t's quantiles at 20 degrees, from tables. */
static void test_detectable_by_the_test(void **state)
{
	(void)state;
	const struct stats_design design = {.deviation = 0.02, .alpha = 0.05, .level = 0.5, .delta = 0, .power = 0.95};
	/* The interval asks for 1.2533 (0.687 + 1.725) = 3.02 standard errors. */
	near(stats_detectable(&design, 21), (2.0859634473 + 1.7247182429) * 0.02 / sqrt(21), 1e-8);
}

/*
 * Values without weight change nothing: 36 of 100 that have some are the exact test of 36, but for the sampling of the
 * patterns, wherever they stand.
 */
static void test_sign_flip_of_many(void **state)
{
	(void)state;
	enum { WEIGHTY = 36, ALL = 100, PLACES = 3 };
	double few[WEIGHTY], many[ALL];
	for (int i = 0; i < WEIGHTY; i++)
		few[i] = (i * 7 % 11 - 3) * 0.01;
	double p = stats_sign_flip(few, WEIGHTY);
	assert_true(p > 0.001 && p < 0.5);
	for (int place = 0; place < PLACES; place++) {
		int first = place * (ALL - WEIGHTY) / (PLACES - 1);
		memset(many, 0, sizeof many);
		memcpy(many + first, few, sizeof few);
		/* 5 standard deviations of a share of 100,000. */
		if (!(fabs(stats_sign_flip(many, ALL) - p) < 5 * sqrt(p * (1 - p) / 1e5)))
			fail_msg("p %g of 100 values, the first with weight at %d; it is %g of 36",
				 stats_sign_flip(many, ALL), first, p);
	}
}

static void test_detectable(void **state)
{
	(void)state;
	const json_t *list = cases(vectors, "detectable"), *v;
	size_t i, k;
	json_array_foreach(list, i, v)
	{
		const json_t *d = json_object_get(v, "design"), *e;
		struct stats_design design = {number(d, 0), number(d, 1), number(d, 2), number(d, 3), number(d, 4)};
		json_array_foreach(cases(v, "effects"), k, e)
		{
			double got = stats_detectable(&design, (int)number(e, 0));
			if (json_is_null(json_array_get(e, 1)))
				assert_true(isinf(got));
			else
				near(got, number(e, 1), 1e-7);
		}
		assert_int_equal(stats_blocks_needed(&design, 2 * design.delta, 40), (int)member(v, "needed"));
	}
}

static void test_change_points(void **state)
{
	(void)state;
	const json_t *list = cases(vectors, "change_points"), *v, *s;
	size_t i, k;
	json_array_foreach(list, i, v)
	{
		double x[MAX_VALUES];
		int n = values(v, "x", x);
		json_array_foreach(cases(v, "splits"), k, s)
		{
			struct stats_change got;
			assert_int_equal(stats_change_split(x, n, (int)number(s, 0), &got), 0);
			/* Q is a small difference of sums of distances. */
			assert_true(fabs(got.q - number(s, 2)) < 1e-9 * (1 + fabs(number(s, 2))));
			if (got.q > 1e-6)
				assert_int_equal(got.at, (int)number(s, 1));
		}
		const json_t *points = json_object_get(v, "points");
		if (!json_is_array(points))
			continue;
		struct stats_change_options o;
		struct stats_change found[MAX_VALUES];
		stats_change_options_default(&o);
		o.permutations = 199;
		o.alpha = 0.01;
		o.window = 0;
		int n_found = stats_change_points(x, NULL, n, &o, found);
		assert_int_equal(n_found, json_array_size(points));
		for (int p = 0; p < n_found; p++) {
			assert_int_equal(found[p].at, (int)number(points, (size_t)p));
			near(found[p].p, 1.0 / 200, 1e-12);
		}
	}
}

/*
 * Of 1, 2, 3 and 10 a resampled mean is one of 4^4 / 4^4 equally likely sums: all are counted, and the interval's ends
 * are those quantiles.
 */
static void test_bootstrap_mean(void **state)
{
	(void)state;
	const double d[] = {3, 10, 1, 2}, one[] = {7};
	double means[256];
	struct stats_interval got;
	for (int i = 0; i < 256; i++)
		means[i] = (d[i & 3] + d[i >> 2 & 3] + d[i >> 4 & 3] + d[i >> 6]) / 4;
	for (int i = 0; i < 256; i++)
		for (int k = i; k > 0 && means[k - 1] > means[k]; k--) {
			double t = means[k];
			means[k] = means[k - 1];
			means[k - 1] = t;
		}
	assert_int_equal(stats_bootstrap_mean(d, 4, 0.9, 3, &got), 0);
	assert_true(got.low >= means[10] && got.low <= means[15]);
	assert_true(got.high >= means[240] && got.high <= means[245]);
	assert_int_equal(stats_bootstrap_mean(one, 1, 0.9, 3, &got), 0);
	assert_true(got.low == 7 && got.high == 7);
	assert_int_equal(stats_bootstrap_mean(one, 0, 0.9, 3, &got), 0);
	assert_true(isnan(got.low) && isnan(got.high));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_sign_flip),
		cmocka_unit_test(test_sign_flip_limits),
		cmocka_unit_test(test_mann_whitney),
		cmocka_unit_test(test_adjusted),
		cmocka_unit_test(test_distributions),
		cmocka_unit_test(test_bootstrap),
		cmocka_unit_test(test_bootstrap_mean),
		cmocka_unit_test(test_detectable),
		cmocka_unit_test(test_detectable_by_the_test),
		cmocka_unit_test(test_sign_flip_of_many),
		cmocka_unit_test(test_change_points),
	};
	return cmocka_run_group_tests(tests, load, unload);
}
