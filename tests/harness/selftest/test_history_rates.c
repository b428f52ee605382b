/* What is promised of a history's changes, on fewer series than `gemmark selftest --history`, and always the same ones.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "harness/selftest/history_rates.h"
#include "tests/support/ok.h"

/* A slow-down of 2 % in the 12th of 30 commits: within one commit in at least 19 of 20 series. */
static void test_planted(void **state)
{
	(void)state;
	struct history_rates_options o;
	history_rates_options_default(&o);
	o.series = 20;
	o.flat_commits = 2; /* not what is looked at */
	o.check_commits = 2;
	for (int noise = 0; noise < 2; noise++) {
		struct history_rates r;
		OK(history_rates_measure(&history_noises[noise], &o, &r, e));
		assert_int_equal(r.series, 20);
		assert_int_equal(r.near + r.missed, 20);
		assert_true(r.near >= 19);
		assert_true(r.covered >= 16);
	}
}

/* At most one false change point in 100 flat series of 50 commits. */
static void test_flat(void **state)
{
	(void)state;
	struct history_rates_options o;
	struct history_rates r;
	history_rates_options_default(&o);
	o.planted_commits = o.check_commits = 2;
	o.planted_at = 1;
	OK(history_rates_measure(&history_noises[1], &o, &r, e));
	assert_int_equal(r.series, 100);
	assert_true(r.false_changes <= 1);
	/* A test that forgets that the split was chosen raises more of them: the simulation can tell. */
	o.change.test = STATS_CHANGE_STUDENT;
	o.change.alpha = 0.01;
	OK(history_rates_measure(&history_noises[1], &o, &r, e));
	assert_true(r.false_changes > 5);
}

/* A check behind 30 flat commits: alarms are rare, and 5 % is found. */
static void test_check(void **state)
{
	(void)state;
	struct history_rates_options o;
	struct history_rates r;
	history_rates_options_default(&o);
	o.planted_commits = o.flat_commits = 2;
	o.planted_at = 1;
	o.inject = 0.05;
	OK(history_rates_measure(&history_noises[0], &o, &r, e));
	assert_true(r.same[CONTINUATION_WORSE] + r.same[CONTINUATION_BETTER] <= 2);
	assert_true(r.same[CONTINUATION_SAME] >= 95);
	assert_true(r.slower[CONTINUATION_WORSE] >= 95);
	assert_int_equal(r.slower[CONTINUATION_SAME], 0);
}

static void test_bounds(void **state)
{
	(void)state;
	struct history_rates_options o;
	struct history_rates r;
	struct error err = {""};
	history_rates_options_default(&o);
	o.runs = 100000;
	assert_int_equal(history_rates_measure(&history_noises[0], &o, &r, &err), ERROR_INPUT);
	assert_true(*err.text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_planted),
		cmocka_unit_test(test_flat),
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_bounds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
