/* The measurement core on a scripted workload: order, warm-up, itl, the correctness gate, failures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "harness/measure/progress.h"
#include "harness/measure/runner.h"
#include "tests/support/fake_workload.h"

enum { MAX_ROWS = 256, MAX_TOKENS = 64 };

struct kept {
	struct run_row row; /* strings: those below, or of cells */
	char status[16], reason[600], run_id[100], test[64], hash[24];
	struct token_record tokens[MAX_TOKENS];
	int n;
};

struct log {
	struct kept rows[MAX_ROWS];
	int n;
	int fail_at;
	struct runner_progress last;
	int went_back;
};

static int keep(void *ctx, const struct run_row *row, const struct token_record *tokens, int n, struct error *err)
{
	struct log *l = ctx;
	assert_true(l->n < MAX_ROWS && n <= MAX_TOKENS);
	if (l->fail_at && l->n == l->fail_at)
		return error_set(err, ERROR_IO, "disk full");
	struct kept *k = &l->rows[l->n++];
	k->row = *row;
	snprintf(k->status, sizeof k->status, "%s", run_status_name(row->status));
	snprintf(k->reason, sizeof k->reason, "%s", row->reason);
	snprintf(k->run_id, sizeof k->run_id, "%s", row->run_id);
	snprintf(k->test, sizeof k->test, "%s", row->test);
	snprintf(k->hash, sizeof k->hash, "%s", row->logits_hash ? row->logits_hash : "");
	if (n)
		memcpy(k->tokens, tokens, (size_t)n * sizeof *tokens);
	k->n = n;
	return 0;
}

static void watch(void *ctx, const struct runner_progress *p)
{
	struct log *l = ctx;
	l->went_back |= p->decode_done < l->last.decode_done || p->prefill_done < l->last.prefill_done;
	l->last = *p;
}

/* Each test's own, made anew by set_up. */
struct fixture {
	struct fake fake;
	struct matrix matrix;
	struct runner_options options;
	struct log log;
	struct runner_summary summary;
	struct cell *cells;
	int n;
};

static struct fixture x;

static int set_up(void **state)
{
	(void)state;
	memset(&x, 0, sizeof x);
	fake_init(&x.fake);
	runner_options_default(&x.options);
	x.options.clock = fake_clock;
	x.options.clock_ctx = &x.fake;
	x.options.repetitions = 4;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	free(x.cells);
	matrix_free(&x.matrix);
	return 0;
}

static void sweep(const char *modes, const char *fusions, const char *depths, int n_gen, int n_prompt)
{
	struct matrix *m = &x.matrix;
	char number[16];
	assert_int_equal(matrix_add(m, AXIS_MODEL, "dir/m.gguf", NULL), 0);
	assert_int_equal(matrix_add(m, AXIS_MODE, modes, NULL), 0);
	assert_int_equal(matrix_add(m, AXIS_FUSION, fusions, NULL), 0);
	assert_int_equal(matrix_add(m, AXIS_SYNC, SYNC_TOKEN, NULL), 0);
	assert_int_equal(matrix_add(m, AXIS_TYPE_K, "f16", NULL), 0);
	assert_int_equal(matrix_add(m, AXIS_TYPE_V, "f16", NULL), 0);
	snprintf(number, sizeof number, "%d", n_gen);
	assert_int_equal(matrix_add(m, AXIS_GEN, number, NULL), 0);
	snprintf(number, sizeof number, "%d", n_prompt);
	assert_int_equal(matrix_add(m, AXIS_PROMPT, number, NULL), 0);
	assert_int_equal(matrix_add(m, AXIS_DEPTH, depths, NULL), 0);
	assert_int_equal(matrix_add(m, AXIS_GPU_LAYERS, "-1", NULL), 0);
	assert_int_equal(matrix_add(m, AXIS_THREADS, "0", NULL), 0);
	assert_int_equal(matrix_cells(m, NULL, &x.cells, &x.n, NULL), 0);
	struct runner_sink sink = {.ctx = &x.log, .run = keep, .progress = watch};
	struct error err = {""};
	int rc = runner_run(x.cells, x.n, &x.fake.source, &x.options, &sink, &x.summary, &err);
	assert_int_equal(rc, x.log.fail_at ? ERROR_IO : 0);
	assert_int_equal(x.fake.opened, x.fake.closed);
	assert_false(x.log.went_back);
	if (!rc && !x.summary.interrupted) {
		/* All work was done or given up. */
		assert_int_equal(x.log.last.run, x.log.last.runs);
		if (!x.options.past)
			assert_int_equal(x.log.last.run, x.log.n);
	}
}

#define ALL_MODES "direct,graph-params,graph-update,graph-device"

static int count(const char *mode, const char *status)
{
	int n = 0;
	for (int i = 0; i < x.log.n; i++)
		n += (!mode || !strcmp(x.log.rows[i].row.mode, mode)) && !strcmp(x.log.rows[i].status, status);
	return n;
}

static const struct kept *first(const char *mode, int depth)
{
	for (int i = 0; i < x.log.n; i++)
		if (!strcmp(x.log.rows[i].row.mode, mode) && x.log.rows[i].row.n_depth == depth)
			return &x.log.rows[i];
	fail_msg("no row of %s at %d", mode, depth);
	abort();
}

static void test_order(void **state)
{
	(void)state;
	sweep(ALL_MODES, "full", "0,300", 8, 0);
	assert_int_equal(x.log.n, 2 * 4 * 4);
	assert_int_equal(x.summary.ok, 32);
	for (int i = 0; i < x.log.n; i++) {
		const struct kept *k = &x.log.rows[i];
		assert_int_equal(k->row.order, i);
		assert_int_equal(k->row.repetition, i % 16 / 4);
		assert_int_equal(k->row.n_depth, x.log.rows[i / 16 * 16].row.n_depth);
		for (int j = 0; j < i; j++)
			assert_string_not_equal(k->run_id, x.log.rows[j].run_id);
	}
	/* ABBA: within a group of 16 rows, repetition 1 is repetition 0 backwards, and 2 is 0 again. */
	for (int g = 0; g < 2; g++) {
		const struct kept *r = &x.log.rows[16 * g];
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
	for (int i = 0; i < x.log.n; i++) {
		size_t used = strlen(out);
		snprintf(out + used, size - used, "%s/%s/%s ", x.log.rows[i].test, x.log.rows[i].row.fusion,
			 x.log.rows[i].row.mode);
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
	for (int i = 0; i < x.log.n; i++) {
		const struct kept *k = &x.log.rows[i];
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
	for (int i = 0; i < x.log.n; i++) {
		const struct kept *k = &x.log.rows[i];
		double cost = !strcmp(k->row.mode, "direct") ? 1000 : 600;
		/* 5000 us of checking between two tokens, and 123 of rewinding before the first, are in none. */
		for (int t = 0; t < k->n; t++)
			assert_true(fabs(k->tokens[t].itl_us - cost) < 1e-9);
		assert_true(fabs(k->row.itl_median_us - cost) < 1e-9);
		assert_true(fabs(k->row.tokens_per_s - 1e6 / cost) < 1e-6);
		assert_true(k->row.itl_mad_us == 0 && isnan(k->row.itl_p99_us));
		assert_true(k->row.submit_median_us == 20 && k->row.gpu_median_us == cost - 20);
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
	for (int i = 0; i < x.log.n; i++) {
		const struct run_row *r = &x.log.rows[i].row;
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
	for (int i = 0; i < x.log.n; i++)
		assert_true(isnan(x.log.rows[i].row.break_even_tokens));
}

static void test_wrong(void **state)
{
	(void)state;
	x.fake.wrong_mode = "graph-update";
	x.fake.wrong_pos = 105;
	sweep(ALL_MODES, "full", "0,100", 8, 0);
	const struct kept *k = first("graph-update", 100);
	assert_string_equal(k->status, "wrong");
	assert_non_null(strstr(k->reason, "token 5 of 8"));
	assert_int_equal(count(NULL, "wrong"), 1); /* and it is not repeated */
	assert_int_equal(x.summary.wrong, 1);
	assert_int_equal(count("graph-update", "ok"), 4);
	assert_int_equal(x.summary.ok, 4 * 4 + 4 * 3);
}

static void test_hashes(void **state)
{
	(void)state;
	sweep(ALL_MODES, "full", "0,100", 8, 4);
	for (int i = 0; i < x.log.n; i++) {
		assert_int_equal(strlen(x.log.rows[i].hash), 16);
		for (int j = 0; j < i; j++) {
			int same = !strcmp(x.log.rows[i].test, x.log.rows[j].test);
			assert_int_equal(same, !strcmp(x.log.rows[i].hash, x.log.rows[j].hash));
		}
	}
}

static void test_nan(void **state)
{
	(void)state;
	x.fake.nan_mode = "graph-device";
	x.fake.nan_pos = 3;
	sweep(ALL_MODES, "full", "0", 8, 0);
	const struct kept *k = first("graph-device", 0);
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
	sweep(ALL_MODES, "full", "0,100", 8, 0);
	/* Nothing can be checked at depth 0; depth 100 is untouched. */
	assert_int_equal(x.summary.wrong, 4);
	assert_int_equal(x.summary.ok, 16);
	assert_non_null(strstr(first("direct", 0)->reason, "direct reference"));
}

static void test_nondeterministic_direct(void **state)
{
	(void)state;
	x.fake.flip_every = 13;
	sweep("direct", "full", "0", 8, 0);
	/* 8 hashes of the reference, then the 13th is token 4 of the first run. */
	assert_int_equal(x.log.n, 1);
	assert_string_equal(x.log.rows[0].status, "wrong");
	assert_non_null(strstr(x.log.rows[0].reason, "token 4"));
}

static void test_reference_without_direct(void **state)
{
	(void)state;
	x.fake.wrong_mode = "graph-device";
	x.fake.wrong_pos = 2;
	sweep("graph-device", "full", "0", 8, 0);
	assert_string_equal(x.fake.first_arm, "direct");
	assert_int_equal(x.log.n, 1);
	assert_string_equal(x.log.rows[0].status, "wrong");
	assert_string_equal(x.log.rows[0].row.mode, "graph-device");
}

static void test_out_of_memory_at_open(void **state)
{
	(void)state;
	x.fake.oom_open_depth = 1000;
	sweep(ALL_MODES, "full", "0,4096,100", 8, 0);
	assert_int_equal(x.summary.failed, 4);
	assert_int_equal(x.summary.ok, 2 * 16);
	const struct kept *k = first("direct", 4096);
	assert_non_null(strstr(k->reason, "do not fit"));
	assert_int_equal(k->n, 0);
	assert_true(k->row.warmup_tokens == ROW_UNKNOWN && isnan(k->row.tokens_per_s));
	assert_true(k->row.n_threads == ROW_UNKNOWN && !k->row.model);
}

static void test_out_of_memory_in_mode(void **state)
{
	(void)state;
	x.fake.oom_mode = "graph-params";
	sweep(ALL_MODES, "full", "0", 8, 0);
	assert_int_equal(count("graph-params", "failed"), 1);
	assert_int_equal(x.summary.ok, 12);
	assert_int_equal(x.log.n, 13);
}

/* Every row behind an out-of-memory one of the same arm and deeper says so, and was not tried. */
static void check_deeper_are_skipped(int any_mode)
{
	int skipped = 0;
	for (int i = 0; i < x.log.n; i++) {
		const struct kept *k = &x.log.rows[i];
		int refused = 0;
		for (int j = 0; j < i; j++) {
			const struct kept *f = &x.log.rows[j];
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
	sweep(ALL_MODES, "full", "0,1500,2000,2500,3000,3500,100", 8, 0);
	assert_int_equal(x.summary.ok, 2 * 16);
	check_deeper_are_skipped(1);
	/* What was skipped was not even opened. */
	assert_int_equal(x.fake.opened, 2);
}

static void test_out_of_memory_skips_deeper_of_arm(void **state)
{
	(void)state;
	x.fake.oom_mode = "graph-params";
	sweep("direct,graph-params,graph-device", "full", "0,100,200,300,400", 8, 0);
	assert_int_equal(x.summary.ok, 2 * 4 * 5);
	check_deeper_are_skipped(0);
}

/* A device that is gone costs the run at hand; the next one opens it anew. */
static void test_device_lost(void **state)
{
	(void)state;
	x.fake.lose_after = 40;
	sweep(ALL_MODES, "full", "100", 8, 0);
	assert_int_equal(x.summary.failed, 1);
	assert_int_equal(count(NULL, "ok"), x.summary.ok);
	assert_true(x.summary.ok >= 12);
	assert_int_equal(x.fake.opened, 2);
	assert_int_equal(x.fake.prefilled, 200);
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
	assert_int_equal(x.log.n, 3 * 4 + 1);
	for (int i = 0; i < x.log.n; i++) {
		const struct run_row *r = &x.log.rows[i].row;
		assert_int_equal(r->order, 70 + i);
		assert_int_not_equal(r->cell, 1);
		if (r->n_depth == 100)
			assert_true(r->cell == 6 && r->repetition == 2);
		assert_string_equal(x.log.rows[i].status, "ok");
	}
	/* Two references, 13 runs, each of 4 and 8 tokens at least. */
	assert_int_equal(x.log.last.decode_total, 15 * 12);
	assert_int_equal(x.log.last.decode_done, x.log.last.decode_total);
	assert_int_equal(x.log.last.runs, 83);
	assert_int_equal(x.fake.prefilled, 100);
	/* A whole group that is done is not opened. */
	memset(done, 1, sizeof done);
	x.fake.opened = x.fake.closed = 0;
	struct runner_sink sink = {.ctx = &x.log, .run = keep};
	assert_int_equal(runner_run(x.cells, x.n, &x.fake.source, &x.options, &sink, &x.summary, NULL), 0);
	assert_int_equal(x.fake.opened, 0);
}

static void test_unsupported(void **state)
{
	(void)state;
	x.fake.unsupported_mode = "graph-update";
	sweep(ALL_MODES, "full", "0", 8, 0);
	assert_int_equal(count("graph-update", "skipped"), 1);
	assert_int_equal(x.summary.skipped, 1);
	assert_int_equal(x.summary.ok, 12);
}

static void test_fallback(void **state)
{
	(void)state;
	x.fake.fallback_mode = "graph-device";
	sweep("direct,graph-device", "full", "0", 8, 0);
	const struct kept *k = first("graph-device", 0);
	assert_string_equal(k->status, "ok");
	assert_int_equal(k->row.warmup_tokens, 32);
	assert_int_equal(k->row.fallbacks, 40);
	assert_non_null(strstr(k->reason, "instantiate said no"));
	assert_int_equal(x.summary.with_fallbacks, 4);
	assert_int_equal(first("direct", 0)->row.fallbacks, 0);
}

/* A workload that launches directly and calls it a graph mode is found out. */
static void test_silent_fallback(void **state)
{
	(void)state;
	x.fake.silent_mode = "graph-device";
	sweep("direct,graph-device", "full", "0", 8, 0);
	assert_int_equal(first("graph-device", 0)->row.fallbacks, 40);
	assert_true(*first("graph-device", 0)->reason);
}

static void test_prompt(void **state)
{
	(void)state;
	sweep(ALL_MODES, "none,full", "0,50", 0, 20);
	assert_int_equal(x.log.n, 2 * 2 * 4);
	for (int i = 0; i < x.log.n; i++) {
		const struct kept *k = &x.log.rows[i];
		assert_string_equal(k->status, "ok");
		assert_string_equal(k->row.mode, "direct");
		assert_true(k->row.prefill_us == 200 && k->row.tokens_per_s == 1e5);
		/* The fake's prefill is 1 GFLOP a token and 1 MFLOP a position before, on a device of 4 TFLOP/s. */
		double tflops = (20e9 + 1e6 * (double)k->row.n_depth) / 200e-6 / 1e12;
		assert_true(fabs(k->row.prefill_tflop_s - tflops) < 1e-9 * tflops);
		assert_true(fabs(k->row.gemm_share - tflops / 4) < 1e-9 * tflops);
		assert_true(isnan(k->row.itl_median_us) && k->row.warmup_tokens == ROW_UNKNOWN);
		assert_int_equal(k->n, 0);
	}
	/* The depth once; then 4 repetitions and the reference, for 2 fusions at 2 depths. */
	assert_int_equal(x.fake.prefilled, 50 + 5 * 20 * 4);
	assert_true(fabs(progress_seconds_left(&x.log.last)) < 1e-12);
}

static volatile sig_atomic_t stop;

static void test_interrupted(void **state)
{
	(void)state;
	stop = 0;
	x.options.stop = x.fake.stop = &stop;
	/* Reference 12 tokens, direct run 12; then 4 warm-up and 3 measured ones. */
	x.fake.stop_after = 31;
	sweep("direct", "full", "0,100", 8, 0);
	assert_int_equal(x.summary.interrupted, 1);
	assert_int_equal(x.log.n, 2);
	assert_string_equal(x.log.rows[0].status, "ok");
	assert_string_equal(x.log.rows[1].status, "interrupted");
	assert_int_equal(x.summary.unfinished, 1);
	assert_non_null(strstr(x.log.rows[1].reason, "interrupted after 3 of 8"));
	assert_string_equal(x.log.rows[1].hash, "");
	assert_int_equal(x.log.rows[1].n, 7);
	assert_int_equal(x.fake.decoded, 31);
}

static void test_interrupted_at_the_end(void **state)
{
	(void)state;
	stop = 0;
	x.options.stop = x.fake.stop = &stop;
	x.fake.stop_after = 24; /* the run's last token: the run is whole */
	sweep("direct", "full", "0", 8, 0);
	assert_int_equal(x.log.n, 1);
	assert_string_equal(x.log.rows[0].status, "ok");
	assert_int_equal(x.summary.interrupted, 1);
}

static void test_sink_fails(void **state)
{
	(void)state;
	x.log.fail_at = 3;
	sweep(ALL_MODES, "full", "0,100", 8, 0);
	assert_int_equal(x.log.n, 3);
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
		TEST(test_order),
		TEST(test_order_is_seeded),
		TEST(test_warmup),
		TEST(test_times),
		TEST(test_graph_columns),
		TEST(test_no_saving_no_break_even),
		TEST(test_wrong),
		TEST(test_hashes),
		TEST(test_nan),
		TEST(test_nan_in_reference),
		TEST(test_nondeterministic_direct),
		TEST(test_reference_without_direct),
		TEST(test_out_of_memory_at_open),
		TEST(test_out_of_memory_in_mode),
		TEST(test_out_of_memory_skips_deeper),
		TEST(test_out_of_memory_skips_deeper_of_arm),
		TEST(test_device_lost),
		TEST(test_past),
		TEST(test_unsupported),
		TEST(test_fallback),
		TEST(test_silent_fallback),
		TEST(test_prompt),
		TEST(test_interrupted),
		TEST(test_interrupted_at_the_end),
		TEST(test_sink_fails),
		TEST(test_progress),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
