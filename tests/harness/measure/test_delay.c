/* The pause before each run: of its length, outside of what is measured, and over at once when the sweep is stopped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "harness/measure/progress.h"
#include "tests/support/fake_workload.h"

struct log {
	int rows;
	double rate; /* of the row last seen */
	double left; /* seconds, after the first row */
	int pauses;
	int stop_at; /* pause that ends the sweep; 0: none does */
	volatile sig_atomic_t stop;
};

static struct fake fake;
static struct log l;

static int keep(void *ctx, const struct run_row *row, const struct token_record *tokens, int n, struct error *err)
{
	(void)ctx;
	(void)tokens;
	(void)n;
	(void)err;
	l.rows++;
	l.rate = row->tokens_per_s;
	return 0;
}

static void watch(void *ctx, const struct runner_progress *p)
{
	(void)ctx;
	if (p->run == 1)
		l.left = progress_seconds_left(p);
}

static void pause_clock(void *ctx, int64_t ns)
{
	((struct fake *)ctx)->now_ns += ns;
	l.stop = ++l.pauses == l.stop_at;
}

/* Two modes, three runs each; the clock's time for all. */
static int64_t sweep(int delay_s, const char *oom_mode, int stop_at)
{
	const struct cell cells[] = {{.model = "m", .fusion = "full", .mode = "direct", .n_gen = 8},
				     {.model = "m", .fusion = "full", .mode = "graph-device", .n_gen = 8}};
	struct runner_options o;
	struct runner_sink sink = {.run = keep, .progress = watch};
	struct runner_summary summary;
	fake_init(&fake);
	fake.oom_mode = oom_mode;
	l = (struct log){.stop_at = stop_at};
	runner_options_default(&o);
	o.repetitions = 3;
	o.clock = fake_clock;
	o.clock_ctx = &fake;
	o.pause = pause_clock;
	o.delay_s = delay_s;
	o.stop = &l.stop;
	assert_int_equal(runner_run(cells, 2, &fake.source, &o, &sink, &summary, NULL), 0);
	assert_int_equal(summary.interrupted, stop_at > 0);
	return fake.now_ns;
}

static void test_length(void **state)
{
	(void)state;
	int64_t without = sweep(0, NULL, 0);
	struct log before = l;
	assert_int_equal(before.pauses, 0);
	int64_t with = sweep(3, NULL, 0);
	assert_int_equal(l.rows, 6);
	assert_int_equal(with - without, INT64_C(6) * 3 * 1000000000);
	assert_true(l.rate == before.rate);
	assert_true(fabs(l.left - before.left - 5 * 3) < 1e-9);
}

/* What never runs is not waited for. */
static void test_not_run(void **state)
{
	(void)state;
	int64_t without = sweep(0, "direct", 0);
	assert_int_equal(sweep(3, "direct", 0), without); /* the reference fails: no mode can be checked */
	assert_int_equal(l.rows, 2);
}

static void test_stopped(void **state)
{
	(void)state;
	sweep(3, NULL, 32); /* in the second pause, of thirty slices each */
	assert_int_equal(l.pauses, 32);
	assert_int_equal(l.rows, 1);
}

/* Rows of other pauses are another sweep's; files from before there were pauses had none. */
static void test_described(void **state)
{
	(void)state;
	struct runner_options o;
	runner_options_default(&o);
	json_t *none = runner_options_describe(&o);
	o.delay_s = 3;
	json_t *some = runner_options_describe(&o);
	assert_non_null(none);
	assert_null(json_object_get(none, "delay_s"));
	assert_int_equal(json_integer_value(json_object_get(some, "delay_s")), 3);
	json_decref(none);
	json_decref(some);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_length), cmocka_unit_test(test_not_run),
					   cmocka_unit_test(test_stopped), cmocka_unit_test(test_described)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
