/* Where an effect changes its sign: against lines whose zero is known, and resamples counted by hand. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "harness/report/crossover.h"

static struct crossover find(const int *depths, int n, const double *effects, int units)
{
	struct crossover x;
	assert_int_equal(crossover_find(depths, n, effects, units, 0.95, 1, &x), 0);
	assert_int_equal(x.units, units);
	return x;
}

/* -0.1 at 64, 0.3 at 1024: zero a quarter of the way from 2^6 to 2^10, at 2^7. */
static void test_interpolation(void **state)
{
	(void)state;
	static const int depths[] = {16, 64, 1024, 4096};
	static const double one[] = {-0.2, -0.1, 0.3, 0.5};
	struct crossover x = find(depths, 4, one, 1);
	assert_int_equal(x.n, 1);
	assert_int_equal(x.left, -1);
	assert_true(fabs(x.depth - 128) < 1e-9);
	assert_true(isnan(x.low) && isnan(x.high));

	/* From depth 0 linear in the depth: 0.3 at 0, -0.1 at 100. */
	static const int from_zero[] = {0, 100, 200};
	static const double falls[] = {0.3, -0.1, -0.1};
	x = find(from_zero, 3, falls, 1);
	assert_int_equal(x.left, 1);
	assert_true(fabs(x.depth - 75) < 1e-9);

	static const double never[] = {-0.2, -0.1, -0.3, -0.5};
	x = find(depths, 4, never, 1);
	assert_int_equal(x.n, 0);
	assert_int_equal(x.left, -1);
	assert_true(isnan(x.depth));

	/* The first of three; a depth that nothing is known of is passed over, and so is one without any effect. */
	static const double often[] = {0.1, -0.1, 0.1, -0.1}, holes[] = {-0.1, NAN, 0, 0.1};
	x = find(depths, 4, often, 1);
	assert_int_equal(x.n, 3);
	assert_true(fabs(x.depth - 32) < 1e-9);
	x = find(depths, 4, holes, 1);
	assert_int_equal(x.n, 1);
	assert_true(fabs(x.depth - 256) < 1e-9);

	/* Two depths tell nothing of the curve between them. */
	static const double two[] = {NAN, -0.1, NAN, 0.1};
	assert_int_equal(find(depths, 4, two, 1).n, -1);
	assert_int_equal(find(depths, 2, one, 1).n, -1);
}

/* Medians, not means: one unit far off moves nothing. */
static void test_median(void **state)
{
	(void)state;
	static const int depths[] = {64, 1024, 4096};
	static const double units[] = {-0.1, 0.3, 0.3, -0.1, 0.3, 0.3, -90, 0.3, 0.3};
	struct crossover x = find(depths, 3, units, 3);
	assert_true(fabs(x.depth - 128) < 1e-9);
}

enum { UNITS = 7 };

/* Seven units of three depths, the last `others` of them like the second one. */
static struct crossover of_two_kinds(const double *first, const double *second, int others)
{
	static const int depths[] = {64, 1024, 4096};
	double units[3 * UNITS];
	for (int i = 0; i < 3 * UNITS; i++)
		units[i] = (i / 3 < UNITS - others ? first : second)[i % 3];
	return find(depths, 3, units, UNITS);
}

static void test_interval(void **state)
{
	(void)state;
	static const double crosses[] = {-0.1, 0.3, 0.3}, below[] = {-0.1, -0.3, -0.3}, above[] = {0.1, 0.3, 0.3};
	/* All alike: nothing is uncertain. */
	struct crossover x = of_two_kinds(crosses, crosses, 0);
	assert_true(fabs(x.low - 128) < 1e-9 && fabs(x.high - 128) < 1e-9);
	assert_true(crossover_is_known(&x) && !crossover_is_none(&x));

	/* Units that never cross: so do not their resamples, which is beyond the largest depth. */
	x = of_two_kinds(below, below, 0);
	assert_int_equal(x.n, 0);
	assert_true(isinf(x.low) && x.low > 0 && isinf(x.high) && x.high > 0);
	assert_true(!crossover_is_known(&x) && crossover_is_none(&x));

	/*
	 * Five units cross at 128, two do not: the median of seven does not where four or more of those drawn are of
	 * these, 11 times in 100; more than the 2.5 in 100 that the interval leaves out.
	 */
	x = of_two_kinds(crosses, below, 2);
	assert_true(fabs(x.depth - 128) < 1e-9);
	assert_true(fabs(x.low - 128) < 1e-9);
	assert_true(isinf(x.high) && x.high > 0);
	assert_true(!crossover_is_known(&x) && !crossover_is_none(&x));
	/* Nor is it known that there is none where two of seven have one. */
	x = of_two_kinds(below, crosses, 2);
	assert_int_equal(x.n, 0);
	assert_true(!crossover_is_known(&x) && !crossover_is_none(&x));

	/* Two of seven begin slower: before the smallest depth, as often. */
	x = of_two_kinds(crosses, above, 2);
	assert_true(isinf(x.low) && x.low < 0);
	assert_true(fabs(x.high - 128) < 1e-9);
	assert_true(!crossover_is_known(&x) && !crossover_is_none(&x));
}

/* Five units agree in a sign by chance more often than an interval may be wrong. */
static void test_too_few_units(void **state)
{
	(void)state;
	static const int depths[] = {64, 1024, 4096};
	static const double units[3 * 6] = {-0.1, 0.3, 0.3, -0.1, 0.3, 0.3, -0.1, 0.3, 0.3,
					    -0.1, 0.3, 0.3, -0.1, 0.3, 0.3, -0.1, 0.3, 0.3};
	struct crossover x = find(depths, 3, units, 5);
	assert_int_equal(x.n, 1);
	assert_true(isnan(x.low) && isnan(x.high) && !crossover_is_known(&x) && !crossover_is_none(&x));
	x = find(depths, 3, units, 6);
	assert_true(crossover_is_known(&x));
}

/* Units are resampled whole: two that are shifted against each other cross where their sum does, never elsewhere. */
static void test_whole_units(void **state)
{
	(void)state;
	static const int depths[] = {64, 1024, 4096};
	/* Crossing of each unit is at 128; drawn apart, a depth of one unit and the other of another would cross
	 * elsewhere. */
	double units[3 * 9];
	for (int i = 0; i < 9; i++) {
		double scale = i % 3 == 0 ? 0.01 : i % 3 == 1 ? 1 : 100;
		units[3 * i] = -0.1 * scale;
		units[3 * i + 1] = units[3 * i + 2] = 0.3 * scale;
	}
	struct crossover x = find(depths, 3, units, 9);
	assert_true(fabs(x.low - 128) < 1e-6);
	assert_true(fabs(x.high - 128) < 1e-6);
}

static void test_same_seed(void **state)
{
	(void)state;
	static const int depths[] = {64, 1024, 4096};
	static const double units[] = {-0.1, 0.3, 0.3, -0.2, 0.1, 0.3, -0.1, 0.2, 0.3,
				       -0.3, 0.2, 0.3, -0.2, 0.5, 0.3, -0.1, 0.3, 0.3};
	struct crossover a = find(depths, 3, units, 6), b = find(depths, 3, units, 6);
	assert_true(a.low == b.low && a.high == b.high);
	assert_true(a.low < a.depth && a.depth < a.high);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_interpolation), cmocka_unit_test(test_median),
		cmocka_unit_test(test_interval),      cmocka_unit_test(test_too_few_units),
		cmocka_unit_test(test_whole_units),   cmocka_unit_test(test_same_seed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
