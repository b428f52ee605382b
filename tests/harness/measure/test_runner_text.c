/* A workload that is to be fed a text: its tokens at their positions, in every kind of test, and none behind its end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/support/fake_sweep.h"

enum { TEXT = 200 };

static struct fake_sweep x;
static int text[TEXT];

static int set_up(void **state)
{
	(void)state;
	fake_sweep_init(&x, 2);
	for (int i = 0; i < TEXT; i++)
		text[i] = (i * 7 + 3) % FAKE_VOCAB;
	x.fake.text = text;
	x.fake.n_text = TEXT;
	x.options.steady = 2;
	x.options.warmup_max = 16;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	fake_sweep_free(&x);
	return 0;
}

static void test_fed_the_text(void **state)
{
	(void)state;
	fake_sweep_cells(&x, &(struct fake_axes){"direct,graph-device", "none,full", "token,none", "0,50,100", 20, 30});
	fake_sweep_run(&x, &x.fake.source);
	assert_int_equal(fake_sweep_count(&x, NULL, "ok"), x.n_runs);
	assert_true(x.fake.decoded + x.fake.queued > 0 && x.fake.prefilled > 0);
	assert_int_equal(x.fake.odd_fed, 0);
	for (int i = 0; i < x.n_runs; i++)
		assert_string_equal(x.runs[i].row.text_hash, "0123456789abcdef");
}

/* And what its tokens are is what decides the results. */
static void test_other_texts_other_results(void **state)
{
	(void)state;
	char first[24];
	fake_sweep_cells(&x, &(struct fake_axes){"direct", "full", "token", "50", 20, 0});
	fake_sweep_run(&x, &x.fake.source);
	strcpy(first, x.runs[0].hash);
	text[10]++;
	fake_sweep_run(&x, &x.fake.source);
	assert_string_not_equal(x.runs[x.n_runs - 1].hash, first);
	x.fake.text = NULL;
	fake_sweep_run(&x, &x.fake.source);
	assert_null(x.runs[x.n_runs - 1].row.text_hash);
}

/*
 * Tests that take more are skipped, each for itself, and say what they take: a generation at least a whole warm-up's
 * tokens. Where the depth alone is more nothing is prefilled.
 */
static void test_ends_with_the_text(void **state)
{
	(void)state;
	fake_sweep_cells(&x, &(struct fake_axes){"direct,graph-device", "full", "token", "170,180,190,201", 20, 25});
	fake_sweep_run(&x, &x.fake.source);
	assert_int_equal(x.fake.odd_fed, 0);
	for (int i = 0; i < x.n_runs; i++) {
		const struct kept_run *k = &x.runs[i];
		int depth = (int)k->row.n_depth, takes = depth + (k->row.n_gen ? 20 : 25);
		char reason[128];
		snprintf(reason, sizeof reason, "some.txt has 200 tokens, and this test takes %d: give a longer text",
			 depth > TEXT ? depth : takes);
		assert_string_equal(k->status, takes <= TEXT ? "ok" : "skipped");
		if (takes > TEXT)
			assert_non_null(strstr(k->reason, reason));
	}
	assert_int_equal(fake_sweep_count(&x, NULL, "ok"), 2 * (2 + 1) + 2 * 2);
}

static void test_warms_up_within_the_text(void **state)
{
	(void)state;
	fake_sweep_cells(&x, &(struct fake_axes){"direct", "full", "token", "184,185", 2, 0});
	fake_sweep_run(&x, &x.fake.source);
	assert_string_equal(fake_sweep_first(&x, "direct", 184)->status, "ok");
	assert_string_equal(fake_sweep_first(&x, "direct", 185)->status, "skipped");
	assert_non_null(strstr(fake_sweep_first(&x, "direct", 185)->reason, "takes 201"));
	assert_int_equal(x.fake.odd_fed, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_fed_the_text, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_other_texts_other_results, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_ends_with_the_text, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_warms_up_within_the_text, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
