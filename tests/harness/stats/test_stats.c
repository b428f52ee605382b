/* Order statistics against values worked out by hand, and against counting on a larger sample. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/random.h"
#include "harness/stats/stats.h"
#include "harness/stats/stats_estimate.h"

static void near(double a, double b)
{
	if (!(fabs(a - b) <= 1e-12 * (1 + fabs(b))))
		fail_msg("%.17g is not %.17g", a, b);
}

static void test_by_hand(void **state)
{
	(void)state;
	const double odd[] = {5, 1, 100, 3, 2};
	struct stats_summary s;
	assert_int_equal(stats_summarize(odd, 5, &s), 0);
	near(s.median, 3);
	near(s.mad, 2); /* deviations 2 2 97 0 1 */
	near(s.p50, 3);
	near(s.p90, 5 + 0.6 * 95); /* at 4 * 0.9 = 3.6 between 5 and 100 */
	near(s.min, 1);
	near(s.max, 100);
	assert_true(isnan(s.p99));
	near(odd[2], 100); /* untouched */

	const double even[] = {4, 1, 3, 2};
	assert_int_equal(stats_summarize(even, 4, &s), 0);
	near(s.median, 2.5);
	near(s.mad, 1); /* 1.5 1.5 .5 .5 */
	near(s.p90, 3.7);

	const double one[] = {7};
	assert_int_equal(stats_summarize(one, 1, &s), 0);
	near(s.median, 7);
	near(s.mad, 0);
	near(s.p90, 7);
	assert_int_equal(stats_summarize(one, 0, &s), 0);
	assert_true(isnan(s.median) && isnan(s.mad) && isnan(s.max));
	assert_true(isnan(stats_median(one, 0)));
}

/* Differences far below the values: integer or single-precision arithmetic loses them. */
static void test_large_offset(void **state)
{
	(void)state;
	double x[101];
	for (int i = 0; i < 101; i++)
		x[i] = 1e12 + (i * 37 % 101) * 0.125;
	struct stats_summary s;
	assert_int_equal(stats_summarize(x, 101, &s), 0);
	assert_true(s.median == 1e12 + 50 * 0.125);
	assert_true(s.mad == 25 * 0.125);
}

/* Of a permutation of 0 .. n - 1 the type 7 quantile is (n - 1) q, and its MAD about n / 4. */
static void test_permutation(void **state)
{
	(void)state;
	enum { N = 1000 };
	int order[N];
	double x[N];
	uint64_t seed = 5;
	for (int i = 0; i < N; i++)
		order[i] = i;
	random_shuffle(&seed, order, N);
	for (int i = 0; i < N; i++)
		x[i] = order[i];
	struct stats_summary s;
	assert_int_equal(stats_summarize(x, N, &s), 0);
	near(s.median, 499.5);
	near(s.p90, 899.1);
	near(s.p99, 989.01);
	near(s.mad, 250);
	assert_int_equal(stats_summarize(x, 661, &s), 0);
	assert_true(isnan(s.p99));
	assert_int_equal(stats_summarize(x, 662, &s), 0);
	assert_false(isnan(s.p99));
}

/* In (0, 1). */
static double uniform(uint64_t *seed)
{
	return ((double)(random_next(seed) >> 11) + 0.5) / 0x1p53;
}

static double normal(uint64_t *seed)
{
	double x = uniform(seed);
	return sqrt(-2 * log(x)) * cos(2 * M_PI * uniform(seed));
}

static double skewed(uint64_t *seed)
{
	return -log(uniform(seed));
}

/* Nine texts of ten lose nothing, the others half. */
static double rare(uint64_t *seed)
{
	return uniform(seed) < 0.9 ? 1 : 0.5;
}

/* How often a 95 % interval of the mean has the truth in it: doc/methods.md says so of few texts. */
static void test_coverage_of_means(void **state)
{
	(void)state;
	enum { SAMPLES = 1000, MOST = 16 };
	static const struct {
		double (*draw)(uint64_t *seed);
		double mean, covered[2]; /* of 10 and of 16 */
	} all[] = {{normal, 0, {0.90, 0.92}}, {skewed, 1, {0.87, 0.89}}, {rare, 0.95, {0.62, 0.80}}};
	uint64_t seed = 7;
	for (int k = 0; k < 3; k++) {
		for (int i = 0; i < 2; i++) {
			double x[MOST], covered = 0;
			for (int sample = 0; sample < SAMPLES; sample++) {
				struct stats_interval interval;
				int n = i ? MOST : 10;
				for (int j = 0; j < n; j++)
					x[j] = all[k].draw(&seed);
				assert_int_equal(stats_bootstrap_mean(x, n, 0.95, 1, &interval), 0);
				covered += interval.low <= all[k].mean && all[k].mean <= interval.high;
			}
			/* Three standard deviations of a share of 1000, where it is 0.62. */
			if (!(fabs(covered / SAMPLES - all[k].covered[i]) < 0.05))
				fail_msg("%d, %d texts: covered %.3f", k, i ? MOST : 10, covered / SAMPLES);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_by_hand),
		cmocka_unit_test(test_large_offset),
		cmocka_unit_test(test_permutation),
		cmocka_unit_test(test_coverage_of_means),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
