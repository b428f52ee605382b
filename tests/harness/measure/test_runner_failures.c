/* The measurement core when runs fail: wrong bits, NaN, no memory, a lost device, fallbacks, interruptions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/support/fake_sweep.h"

static struct fake_sweep x; /* each test's own, made anew by set_up */

static int set_up(void **state)
{
	(void)state;
	fake_sweep_init(&x, 4);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	fake_sweep_free(&x);
	return 0;
}

static void sweep(const char *modes, const char *depths)
{
	fake_sweep_cells(&x, &(struct fake_axes){modes, "full", SYNC_TOKEN, depths, 8, 0});
	fake_sweep_run(&x, &x.fake.source);
}

static void test_wrong(void **state)
{
	(void)state;
	x.fake.wrong_mode = "graph-update";
	x.fake.wrong_pos = 105;
	sweep(ALL_MODES, "0,100");
	const struct kept_run *k = fake_sweep_first(&x, "graph-update", 100);
	assert_string_equal(k->status, "wrong");
	assert_non_null(strstr(k->reason, "token 5 of 8"));
	assert_int_equal(fake_sweep_count(&x, NULL, "wrong"), 1); /* and it is not repeated */
	assert_int_equal(x.summary.wrong, 1);
	assert_int_equal(fake_sweep_count(&x, "graph-update", "ok"), 4);
	assert_int_equal(x.summary.ok, 4 * 4 + 4 * 3);
}

static void test_nan(void **state)
{
	(void)state;
	x.fake.nan_mode = "graph-device";
	x.fake.nan_pos = 3;
	sweep(ALL_MODES, "0");
	const struct kept_run *k = fake_sweep_first(&x, "graph-device", 0);
	assert_string_equal(k->status, "wrong");
	assert_non_null(strstr(k->reason, "token 3"));
	assert_non_null(strstr(k->reason, "nan"));
	assert_string_equal(k->hash, "");
	assert_int_equal(x.summary.wrong, 1);
	assert_int_equal(x.summary.ok, 12);
}

static void test_nan_in_reference(void **state)
{
	(void)state;
	x.fake.nan_mode = "*";
	x.fake.nan_pos = 3;
	sweep(ALL_MODES, "0,100");
	/* Nothing can be checked at depth 0; depth 100 is untouched. */
	assert_int_equal(x.summary.wrong, 4);
	assert_int_equal(x.summary.ok, 16);
	assert_non_null(strstr(fake_sweep_first(&x, "direct", 0)->reason, "direct reference"));
}

static void test_nondeterministic_direct(void **state)
{
	(void)state;
	x.fake.flip_every = 13;
	sweep("direct", "0");
	/* 8 hashes of the reference, then the 13th is token 4 of the first run. */
	assert_int_equal(x.n_runs, 1);
	assert_string_equal(x.runs[0].status, "wrong");
	assert_non_null(strstr(x.runs[0].reason, "token 4"));
}

static void test_reference_without_direct(void **state)
{
	(void)state;
	x.fake.wrong_mode = "graph-device";
	x.fake.wrong_pos = 2;
	sweep("graph-device", "0");
	assert_string_equal(x.fake.first_arm, "direct");
	assert_int_equal(x.n_runs, 1);
	assert_string_equal(x.runs[0].status, "wrong");
	assert_string_equal(x.runs[0].row.mode, "graph-device");
}

static void test_out_of_memory_at_open(void **state)
{
	(void)state;
	x.fake.oom_open_depth = 1000;
	sweep(ALL_MODES, "0,4096,100");
	assert_int_equal(x.summary.failed, 4);
	assert_int_equal(x.summary.ok, 2 * 16);
	const struct kept_run *k = fake_sweep_first(&x, "direct", 4096);
	assert_non_null(strstr(k->reason, "do not fit"));
	assert_int_equal(k->n, 0);
	assert_true(k->row.warmup_tokens == ROW_UNKNOWN && isnan(k->row.tokens_per_s));
	assert_true(k->row.n_threads == ROW_UNKNOWN && !k->row.model);
}

static void test_out_of_memory_in_mode(void **state)
{
	(void)state;
	x.fake.oom_mode = "graph-params";
	sweep(ALL_MODES, "0");
	assert_int_equal(fake_sweep_count(&x, "graph-params", "failed"), 1);
	assert_int_equal(x.summary.ok, 12);
	assert_int_equal(x.n_runs, 13);
}

/* Every row behind an out-of-memory one of the same arm and deeper says so, and was not tried. */
static void check_deeper_are_skipped(int any_mode)
{
	int skipped = 0;
	for (int i = 0; i < x.n_runs; i++) {
		const struct kept_run *k = &x.runs[i];
		int refused = 0;
		for (int j = 0; j < i; j++) {
			const struct kept_run *f = &x.runs[j];
			refused |= !strcmp(f->status, "failed") && f->row.n_depth < k->row.n_depth &&
				   (any_mode || !strcmp(f->row.mode, k->row.mode));
		}
		assert_int_equal(refused, !strcmp(k->status, "skipped"));
		if (refused)
			assert_non_null(strstr(k->reason, "out of memory already"));
		skipped += refused;
	}
	assert_int_equal(x.summary.skipped, skipped);
	assert_true(skipped > 0);
}

static void test_out_of_memory_skips_deeper(void **state)
{
	(void)state;
	x.fake.oom_open_depth = 1000;
	sweep(ALL_MODES, "0,1500,2000,2500,3000,3500,100");
	assert_int_equal(x.summary.ok, 2 * 16);
	check_deeper_are_skipped(1);
	/* What was skipped was not even opened. */
	assert_int_equal(x.fake.opened, 2);
}

static void test_out_of_memory_skips_deeper_of_arm(void **state)
{
	(void)state;
	x.fake.oom_mode = "graph-params";
	sweep("direct,graph-params,graph-device", "0,100,200,300,400");
	assert_int_equal(x.summary.ok, 2 * 4 * 5);
	check_deeper_are_skipped(0);
}

/* A device that is gone costs the run at hand; the next one opens it anew. */
static void test_device_lost(void **state)
{
	(void)state;
	x.fake.lose_after = 40;
	sweep(ALL_MODES, "100");
	assert_int_equal(x.summary.failed, 1);
	assert_int_equal(fake_sweep_count(&x, NULL, "ok"), x.summary.ok);
	assert_true(x.summary.ok >= 12);
	assert_int_equal(x.fake.opened, 2);
	assert_int_equal(x.fake.prefilled, 200);
}

static void test_unsupported(void **state)
{
	(void)state;
	x.fake.unsupported_mode = "graph-update";
	sweep(ALL_MODES, "0");
	assert_int_equal(fake_sweep_count(&x, "graph-update", "skipped"), 1);
	assert_int_equal(x.summary.skipped, 1);
	assert_int_equal(x.summary.ok, 12);
}

static void test_fallback(void **state)
{
	(void)state;
	x.fake.fallback_mode = "graph-device";
	sweep("direct,graph-device", "0");
	const struct kept_run *k = fake_sweep_first(&x, "graph-device", 0);
	assert_string_equal(k->status, "ok");
	assert_int_equal(k->row.warmup_tokens, 32);
	assert_int_equal(k->row.fallbacks, 40);
	assert_non_null(strstr(k->reason, "instantiate said no"));
	assert_int_equal(x.summary.with_fallbacks, 4);
	assert_int_equal(fake_sweep_first(&x, "direct", 0)->row.fallbacks, 0);
}

/* A workload that launches directly and calls it a graph mode is found out. */
static void test_silent_fallback(void **state)
{
	(void)state;
	x.fake.silent_mode = "graph-device";
	sweep("direct,graph-device", "0");
	assert_int_equal(fake_sweep_first(&x, "graph-device", 0)->row.fallbacks, 40);
	assert_true(*fake_sweep_first(&x, "graph-device", 0)->reason);
}

static volatile sig_atomic_t stop;

static void test_interrupted(void **state)
{
	(void)state;
	stop = 0;
	x.options.stop = x.fake.stop = &stop;
	/* Reference 12 tokens, direct run 12; then 4 warm-up and 3 measured ones. */
	x.fake.stop_after = 31;
	sweep("direct", "0,100");
	assert_int_equal(x.summary.interrupted, 1);
	assert_int_equal(x.n_runs, 2);
	assert_string_equal(x.runs[0].status, "ok");
	assert_string_equal(x.runs[1].status, "interrupted");
	assert_int_equal(x.summary.unfinished, 1);
	assert_non_null(strstr(x.runs[1].reason, "interrupted after 3 of 8"));
	assert_string_equal(x.runs[1].hash, "");
	assert_int_equal(x.runs[1].n, 7);
	assert_int_equal(x.fake.decoded, 31);
}

static void test_interrupted_at_the_end(void **state)
{
	(void)state;
	stop = 0;
	x.options.stop = x.fake.stop = &stop;
	x.fake.stop_after = 24; /* the run's last token: the run is whole */
	sweep("direct", "0");
	assert_int_equal(x.n_runs, 1);
	assert_string_equal(x.runs[0].status, "ok");
	assert_int_equal(x.summary.interrupted, 1);
}

static void test_sink_fails(void **state)
{
	(void)state;
	x.fail_at = 3;
	sweep(ALL_MODES, "0,100");
	assert_int_equal(x.n_runs, 3);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_wrong),
		TEST(test_nan),
		TEST(test_nan_in_reference),
		TEST(test_nondeterministic_direct),
		TEST(test_reference_without_direct),
		TEST(test_out_of_memory_at_open),
		TEST(test_out_of_memory_in_mode),
		TEST(test_out_of_memory_skips_deeper),
		TEST(test_out_of_memory_skips_deeper_of_arm),
		TEST(test_device_lost),
		TEST(test_unsupported),
		TEST(test_fallback),
		TEST(test_silent_fallback),
		TEST(test_interrupted),
		TEST(test_interrupted_at_the_end),
		TEST(test_sink_fails),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
