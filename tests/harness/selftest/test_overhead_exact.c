/*
 * What the measurement core's overhead consists of, on a clock of which every look takes 10 ns and nothing else any
 * time: a queued token looks once, one that is waited for three times, of which two are left in its time.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "harness/selftest/overhead.h"
#include "tests/support/frozen_clock.h"
#include "tests/support/ok.h"

static void near(double us, double expected)
{
	if (!(fabs(us - expected) < 1e-9))
		fail_msg("%.6f us, not %.6f", us, expected);
}

static void test_looks(void **state)
{
	(void)state;
	struct overhead o;
	frozen_look_ns = 10;
	OK(overhead_measure(3, 1000, NULL, &o, e));
	assert_int_equal(o.n, 3 * 999);
	near(o.clock_us, 0.01);
	near(o.queued_median_us, 0.01);
	near(o.queued_p99_us, 0.01);
	/* Completion, then the check's two looks, whose difference is taken off; then the next completion. */
	near(o.token_median_us, 0.02);
	near(o.token_p99_us, 0.02);
}

/* A process that is interrupted now and then, 1 ms in 1000 looks, is not a clock that takes 1 us. */
static void test_interrupted(void **state)
{
	(void)state;
	struct overhead o;
	frozen_look_ns = 10;
	frozen_stall_every = 1000;
	frozen_stall_ns = 1000000;
	OK(overhead_measure(3, 1000, NULL, &o, e));
	frozen_stall_every = 0;
	near(o.clock_us, 0.01);
	near(o.token_median_us, 0.02);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_looks), cmocka_unit_test(test_interrupted)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
