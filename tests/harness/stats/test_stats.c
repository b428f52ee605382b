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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_by_hand),
		cmocka_unit_test(test_large_offset),
		cmocka_unit_test(test_permutation),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
