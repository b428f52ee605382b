/*
 * The measurement core on a scripted workload: order, warm-up, itl, hashes, progress. What fails is in
 * test_runner_failures.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "harness/measure/progress.h"
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

static void sweep(const char *modes, const char *fusions, const char *depths, int n_gen, int n_prompt)
{
	fake_sweep_cells(&x, &(struct fake_axes){modes, fusions, SYNC_TOKEN, depths, n_gen, n_prompt});
	fake_sweep_run(&x, &x.fake.source);
}

static void test_order(void **state)
{
	(void)state;
	sweep(ALL_MODES, "full", "0,300", 8, 0);
	assert_int_equal(x.n_runs, 2 * 4 * 4);
	assert_int_equal(x.summary.ok, 32);
	for (int i = 0; i < x.n_runs; i++) {
		const struct kept_run *k = &x.runs[i];
		assert_int_equal(k->row.order, i);
		assert_int_equal(k->row.repetition, i % 16 / 4);
		assert_int_equal(k->row.n_depth, x.runs[i / 16 * 16].row.n_depth);
		for (int j = 0; j < i; j++)
			assert_string_not_equal(k->run_id, x.runs[j].run_id);
	}
	/* ABBA: within a group of 16 rows, repetition 1 is repetition 0 backwards, and 2 is 0 again. */
	for (int g = 0; g < 2; g++) {
		const struct kept_run *r = &x.runs[16 * g];
		for (int i = 0; i < 4; i++) {
			assert_string_equal(r[i].row.mode, r[7 - i].row.mode);
			assert_string_equal(r[i].row.mode, r[8 + i].row.mode);
			for (int j = 0; j < i; j++)
				assert_string_not_equal(r[i].row.mode, r[j].row.mode);
		}
	}
	/* One prefill a depth. */
	assert_int_equal(x.fake.prefilled, 300);
	assert_int_equal(x.fake.opened, 2);
}

/* The order of a sweep as one string. */
static void order_of(uint64_t seed, char *out, size_t size)
{
	set_up(NULL);
	x.options.seed = seed;
	sweep(ALL_MODES, "none,full", "0,10,20,30", 2, 4);
	out[0] = '\0';
	for (int i = 0; i < x.n_runs; i++) {
		size_t used = strlen(out);
		snprintf(out + used, size - used, "%s/%s/%s ", x.runs[i].test, x.runs[i].row.fusion,
			 x.runs[i].row.mode);
	}
	tear_down(NULL);
}

static void test_order_is_seeded(void **state)
{
	(void)state;
	static char a[32768], b[32768], c[32768];
	order_of(5, a, sizeof a);
	order_of(5, b, sizeof b);
	order_of(6, c, sizeof c);
	assert_string_equal(a, b);
	assert_string_not_equal(a, c);
	set_up(NULL);
}

static void test_warmup(void **state)
{
	(void)state;
	sweep(ALL_MODES, "full", "100", 8, 0);
	for (int i = 0; i < x.n_runs; i++) {
		const struct kept_run *k = &x.runs[i];
		int direct = !strcmp(k->row.mode, "direct");
		/* Four steady tokens, behind a capture the first time that a graph is needed. */
		int warmup = !direct && k->row.repetition == 0 ? 5 : 4;
		assert_int_equal(k->row.warmup_tokens, warmup);
		assert_int_equal(k->n, warmup + 8);
		for (int t = 0; t < k->n; t++) {
			int measured = t >= warmup;
			assert_int_equal(k->tokens[t].phase, measured ? TOKEN_PHASE_MEASURE : TOKEN_PHASE_WARMUP);
			assert_int_equal(k->tokens[t].index, measured ? t - warmup : t);
			/* At the depth measured, from its start in both phases. */
			assert_int_equal(k->tokens[t].pos, 100 + (measured ? t - warmup : t));
			if (measured)
				assert_true(k->tokens[t].event != TOKEN_EVENT_CAPTURE);
		}
	}
}

static void test_times(void **state)
{
	(void)state;
	sweep("direct,graph-device", "full", "100", 8, 0);
	for (int i = 0; i < x.n_runs; i++) {
		const struct kept_run *k = &x.runs[i];
		double cost = !strcmp(k->row.mode, "direct") ? 1000 : 600;
		/* 5000 us of checking between two tokens, and 123 of rewinding before the first, are in none. */
		for (int t = 0; t < k->n; t++)
			assert_true(fabs(k->tokens[t].itl_us - cost) < 1e-9);
		assert_true(fabs(k->row.itl_median_us - cost) < 1e-9);
		assert_true(fabs(k->row.tokens_per_s - 1e6 / cost) < 1e-6);
		assert_true(k->row.itl_mad_us == 0 && isnan(k->row.itl_p99_us));
		assert_true(k->row.submit_median_us == 20 && k->row.gpu_median_us == cost - 20);
		/* Nobody waited for the depth's logits, and what it launched is no token's. */
		assert_true(isnan(k->row.ttft_us) && isnan(k->row.api_launches_per_prompt));
		/* 100 tokens at 10 us. */
		assert_true(k->row.prefill_us == 1000 && k->row.prefill_tokens_per_s == 1e5);
		/* Positions 100 .. 107 read 1000 * (pos + 1) bytes. */
		assert_true(k->row.kv_bytes_per_token == 104500);
		assert_true(fabs(k->row.achieved_gb_s - 5104500 / (cost * 1e3)) < 1e-9);
		assert_true(fabs(k->row.bandwidth_share - k->row.achieved_gb_s / 10) < 1e-9);
		assert_int_equal(k->row.host_weight_bytes_per_token, 3000000);
		assert_true(k->row.gpu_weight_bytes_per_token == ROW_UNKNOWN);
		assert_int_equal(k->row.crossing_bytes_per_token, 10240);
		assert_string_equal(k->row.head_device, "head");
		assert_int_equal(k->row.n_threads, 3);
		assert_int_equal(k->row.n_threads_asked, 0);
		assert_string_equal(k->row.model_path_name, "m.gguf");
	}
}

static void test_graph_columns(void **state)
{
	(void)state;
	sweep("direct,graph-device", "full", "0", 8, 0);
	for (int i = 0; i < x.n_runs; i++) {
		const struct run_row *r = &x.runs[i].row;
		if (!strcmp(r->mode, "direct")) {
			assert_true(r->graph_nodes == ROW_UNKNOWN && isnan(r->capture_us));
			assert_true(isnan(r->break_even_tokens));
			assert_true(r->captures == 0 && r->api_launches_per_token == 39);
			continue;
		}
		assert_true(r->graph_nodes == 40 && r->kernel_nodes == 39 && r->positional_nodes == 7);
		assert_true(r->captures == (r->repetition == 0));
		/* Captured once; the later runs spent nothing on it and do not say zero. */
		assert_true(r->repetition ? isnan(r->capture_us)
					  : r->capture_us == 100 && r->instantiate_us == 50 && r->upload_us == 10);
		/* 160 us against 400 us saved a token. */
		assert_true(fabs(r->break_even_tokens - 0.4) < 1e-9);
		assert_true(r->api_launches_per_token == 2 && r->copies_per_token == 1);
	}
}

static void test_no_saving_no_break_even(void **state)
{
	(void)state;
	x.fake.graph_us = 1100;
	sweep("direct,graph-device", "full", "0", 8, 0);
	for (int i = 0; i < x.n_runs; i++)
		assert_true(isnan(x.runs[i].row.break_even_tokens));
}

static void test_hashes(void **state)
{
	(void)state;
	sweep(ALL_MODES, "full", "0,100", 8, 4);
	for (int i = 0; i < x.n_runs; i++) {
		assert_int_equal(strlen(x.runs[i].hash), 16);
		for (int j = 0; j < i; j++) {
			int same = !strcmp(x.runs[i].test, x.runs[j].test);
			assert_int_equal(same, !strcmp(x.runs[i].hash, x.runs[j].hash));
		}
	}
}

/* What an earlier process did is neither done again nor counted as work to come. */
static void test_past(void **state)
{
	(void)state;
	unsigned char done[4 * 4 * 2] = {0}, closed[4 * 2] = {0};
	const struct runner_past past = {.order = 70, .done = done, .closed = closed};
	/* All of depth 100's but cell 6's third run; nothing of depth 0; cell 1 is closed. */
	memset(done + 16, 1, 16);
	done[4 * 6 + 2] = 0;
	closed[1] = 1;
	x.options.past = &past;
	sweep(ALL_MODES, "full", "0,100", 8, 0);
	assert_int_equal(x.n_runs, 3 * 4 + 1);
	for (int i = 0; i < x.n_runs; i++) {
		const struct run_row *r = &x.runs[i].row;
		assert_int_equal(r->order, 70 + i);
		assert_int_not_equal(r->cell, 1);
		if (r->n_depth == 100)
			assert_true(r->cell == 6 && r->repetition == 2);
		assert_string_equal(x.runs[i].status, "ok");
	}
	/* Two references, 13 runs, each of 4 and 8 tokens at least. */
	assert_int_equal(x.last.decode_total, 15 * 12);
	assert_int_equal(x.last.decode_done, x.last.decode_total);
	assert_int_equal(x.last.runs, 83);
	assert_int_equal(x.fake.prefilled, 100);
	/* A whole group that is done is not opened. */
	memset(done, 1, sizeof done);
	x.fake.opened = x.fake.closed = 0;
	fake_sweep_run(&x, &x.fake.source);
	assert_int_equal(x.fake.opened, 0);
}

static void test_prompt(void **state)
{
	(void)state;
	sweep(ALL_MODES, "none,full", "0,50", 0, 20);
	assert_int_equal(x.n_runs, 2 * 2 * 4);
	for (int i = 0; i < x.n_runs; i++) {
		const struct kept_run *k = &x.runs[i];
		assert_string_equal(k->status, "ok");
		assert_string_equal(k->row.mode, "direct");
		assert_true(k->row.prefill_us == 200 && k->row.tokens_per_s == 1e5 && k->row.ttft_us == 230);
		assert_true(k->row.api_launches_per_prompt == 70 && k->row.node_updates_per_prompt == 3);
		assert_true(k->row.kernels_per_prompt == 60 && k->row.copies_per_prompt == 10);
		assert_true(isnan(k->row.api_launches_per_token) && isnan(k->row.kernels_per_token));
		/* The fake's prefill is 1 GFLOP a token and 1 MFLOP a position before, on a device of 4 TFLOP/s. */
		double tflops = (20e9 + 1e6 * (double)k->row.n_depth) / 200e-6 / 1e12;
		assert_true(fabs(k->row.prefill_tflop_s - tflops) < 1e-9 * tflops);
		assert_true(fabs(k->row.gemm_share - tflops / 4) < 1e-9 * tflops);
		assert_true(isnan(k->row.itl_median_us) && k->row.warmup_tokens == ROW_UNKNOWN);
		assert_int_equal(k->n, 0);
	}
	/* The depth once; then 4 repetitions and the reference, for 2 fusions at 2 depths. */
	assert_int_equal(x.fake.prefilled, 50 + 5 * 20 * 4);
	assert_true(fabs(progress_seconds_left(&x.last)) < 1e-12);
}

static void test_progress(void **state)
{
	(void)state;
	struct cell cell = {.n_gen = 128, .n_depth = 4096, .mode = "graph-device", .fusion = "full"};
	struct runner_progress p = {
		.decode_done = 100,
		.decode_total = 400,
		.decode_s = 5,
		.decode_timed = 50,
		.prefill_done = 10,
		.prefill_total = 20,
		.run = 3,
		.runs = 40,
		.cell = &cell,
	};
	char text[160];
	assert_true(isnan(progress_seconds_left(&p))); /* no prefill was timed */
	progress_text(&p, text, sizeof text);
	assert_string_equal(text, "[3/40] tg128 @ d4096 graph-device full");
	p.prefill_timed = 10;
	p.prefill_s = 1;
	assert_true(fabs(progress_seconds_left(&p) - 31) < 1e-9);
	progress_text(&p, text, sizeof text);
	assert_string_equal(text, "[3/40] tg128 @ d4096 graph-device full, 31 s left");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_order),         TEST(test_order_is_seeded),
		TEST(test_warmup),        TEST(test_times),
		TEST(test_graph_columns), TEST(test_no_saving_no_break_even),
		TEST(test_hashes),        TEST(test_past),
		TEST(test_prompt),        TEST(test_progress),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
