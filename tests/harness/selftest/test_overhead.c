/* The measurement core costs a token less than a microsecond, with the telemetry of a sweep beside it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "harness/cli/options.h"
#include "harness/measure/telemetry.h"
#include "harness/selftest/overhead.h"
#include "tests/support/sanitized.h"

#if SANITIZED_ADDRESS
static const double LIMIT_US = 10; /* every access is checked */
#else
static const double LIMIT_US = 1;
#endif

static void test_limit(void **state)
{
	(void)state;
	struct overhead o;
	struct telemetry *t;
	struct error err;
	const struct telemetry_options options = {.interval_ms = 100};
	assert_int_equal(telemetry_open(&t, &options, &err), 0);
	assert_int_equal(overhead_measure(10, 2000, telemetry_monitor(t), &o, &err), 0);
	telemetry_close(t);
	print_message("%d tokens: %.3f us waited for (p99 %.3f), %.3f us queued (p99 %.3f); the clock %.3f us\n", o.n,
		      o.token_median_us, o.token_p99_us, o.queued_median_us, o.queued_p99_us, o.clock_us);
	assert_int_equal(o.n, 10 * 1999);
	/* It cannot be less than the look at the clock that every token takes, give or take a half. */
	assert_true(o.token_median_us > 0.5 * o.clock_us && o.queued_median_us > 0.5 * o.clock_us);
	assert_true(o.token_median_us < LIMIT_US && o.queued_median_us < LIMIT_US);
}

static void test_command(void **state)
{
	(void)state;
	char *words[] = {"selftest", "--overhead", NULL};
	assert_int_equal(cmd_selftest(2, words), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_command),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
