/* Axes of any values: ticks that ascend within them, few enough, and found in an end. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness/plot/plot_script.h"

static int set_up(void **state)
{
	(void)state;
	alarm(20); /* an axis without an end ends the test */
	return 0;
}

static void check(const struct plot_axis *a)
{
	assert_true(a->ticks.n >= 1 && a->ticks.n <= PLOT_TICKS_MAX);
	for (int i = 0; i < a->ticks.n; i++) {
		assert_true(isfinite(a->ticks.at[i]));
		assert_true(!i || a->ticks.at[i] > a->ticks.at[i - 1]);
		assert_true(a->ticks.text[i][0]);
	}
}

static void expect(const struct plot_axis *a, const char *const *texts, int n)
{
	check(a);
	assert_int_equal(a->ticks.n, n);
	for (int i = 0; i < n; i++)
		assert_string_equal(a->ticks.text[i], texts[i]);
}

static void test_usual(void **state)
{
	(void)state;
	struct plot_axis a = plot_axis_amount(20, 1000, false, 1, "us", 8);
	assert_true(a.log);
	expect(&a, (const char *const[]){"20", "50", "100", "200", "500", "1000"}, 6);
	a = plot_axis_amount(10, 100000, false, 1, "us", 8);
	expect(&a, (const char *const[]){"10", "100", "1000", "10000", "100000"}, 5);
	a = plot_axis_amount(0, 9, true, 1, "us", 6);
	expect(&a, (const char *const[]){"0", "2", "4", "6", "8", "10"}, 6);
	a = plot_axis_percent(-3, 8, 8);
	expect(&a, (const char *const[]){"-4", "-2", "0", "2", "4", "6", "8"}, 7);
}

static void test_any(void **state)
{
	(void)state;
	static const double values[] = {0, DBL_TRUE_MIN, 1e-308, 1e-30, 0.1, 1, 3e5, 1e15, 1e30, 1e300};
	enum { N = sizeof values / sizeof *values };
	for (int i = 0; i < N; i++)
		for (int k = i; k < N; k++)
			for (int zero = 0; zero < 2; zero++) {
				struct plot_axis a = plot_axis_amount(values[i], values[k], zero, 1, "us", 8);
				if (values[k] >= 1e-30)
					check(&a);
				a = plot_axis_percent(-values[i], values[k], 8);
				check(&a);
			}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_usual, set_up),
		cmocka_unit_test_setup(test_any, set_up),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
