/*
 * Tokens that a session generates: against the golden continuations and, drawn ones, the draw's definition; the choice
 * as a part of a graph.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/device/device_host.h"
#include "tests/support/golden.h"
#include "tests/support/ok.h"
#include "tests/support/sample_pair.h"
#include "tests/support/sampled_run.h"

static void test_run(void **state)
{
	sampled_run_check(golden_names[*(int *)*state], 0);
}

static void test_replayed(void **state)
{
	struct device *d;
	(void)state;
	OK(device_host_open(&d, 3, e));
	sample_replayed(d);
	device_close(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		GOLDEN_TEST(test_run, 0), GOLDEN_TEST(test_run, 1),        GOLDEN_TEST(test_run, 2),
		GOLDEN_TEST(test_run, 3), cmocka_unit_test(test_replayed), GOLDEN_TEST(test_run, 4),
		GOLDEN_TEST(test_run, 5), GOLDEN_TEST(test_run, 6),        GOLDEN_TEST(test_run, 7),
		GOLDEN_TEST(test_run, 8),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
