/* What the instrument's record is said to be, beside runs that are like its own, and noisier ones. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "harness/report/calibration_text.h"

static void test_texts(void **state)
{
	(void)state;
	const struct calibration none = {.variation = NAN, .variation_max = NAN};
	struct calibration k = {.entries = 1,
				.sweeps = 20,
				.cells = 12,
				.variation = 0.004,
				.variation_max = 0.02,
				.utc = "2026-05-31T10:00:00Z"};
	char out[CALIBRATION_TEXT_SIZE];
	calibration_text(&none, 0.5, out);
	assert_memory_equal(out, "not calibrated here: ", 21);
	assert_null(strstr(out, "noisier"));
	calibration_text(NULL, 0.5, out);
	assert_memory_equal(out, "not calibrated here: ", 21);
	/* 1 - 0.025^(1/20) */
	static const char like[] =
		"calibrated here: 0 of 20 comparisons of equal things raised an alarm (95 %: 0 to 17 %); "
		"from unit to unit a cell varies by 0.4 % (median), 2 % (most); last "
		"2026-05-31T10:00:00Z";
	static const double alike[] = {NAN, 0, 0.004, 0.0059};
	for (size_t i = 0; i < sizeof alike / sizeof *alike; i++) {
		calibration_text(&k, alike[i], out);
		assert_string_equal(out, like);
	}
	calibration_text(&k, 0.012, out);
	assert_memory_equal(out, like, sizeof like - 1);
	assert_string_equal(out + sizeof like - 1,
			    "; these runs are noisier: by 1.2 % (median), 3 times as much, and of such the calibration "
			    "says nothing");
	k.variation = 0;
	calibration_text(&k, 0.012, out);
	assert_non_null(strstr(out, "; these runs are noisier: by 1.2 % (median), and of such"));
	/* As long as it gets. */
	k = (struct calibration){.entries = 1,
				 .sweeps = 2147483647,
				 .alarms = 2147483647,
				 .variation = 1.2e5,
				 .variation_max = 1e6,
				 .utc = "2026-05-31T10:00:00Z"};
	calibration_text(&k, 9.87654e300, out);
	assert_non_null(strstr(out, "of such the calibration says nothing"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_texts)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
