/* The axis --sync on a scripted workload: which tokens are queued, how they are timed, checked and recorded. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/measure/past.h"
#include "harness/measure/runner.h"
#include "harness/measure/workload_sim.h"
#include "tests/support/fake_workload.h"

enum { MAX_ROWS = 64, MAX_TOKENS = 64, TOKENS = 20 };

struct kept {
	struct run_row row;
	char status[16], reason[600], hash[24];
	struct token_record tokens[MAX_TOKENS];
	int n;
};

struct fixture {
	struct fake fake;
	struct matrix matrix;
	struct runner_options options;
	struct runner_summary summary;
	struct kept rows[MAX_ROWS];
	int n_rows;
	struct cell *cells;
	int n;
};

static struct fixture x;

static int keep(void *ctx, const struct run_row *row, const struct token_record *tokens, int n, struct error *err)
{
	(void)ctx;
	(void)err;
	assert_true(x.n_rows < MAX_ROWS && n <= MAX_TOKENS);
	struct kept *k = &x.rows[x.n_rows++];
	k->row = *row;
	k->row.launch_hash = NULL; /* lives for this call only */
	snprintf(k->status, sizeof k->status, "%s", run_status_name(row->status));
	snprintf(k->reason, sizeof k->reason, "%s", row->reason);
	snprintf(k->hash, sizeof k->hash, "%s", row->logits_hash ? row->logits_hash : "");
	memcpy(k->tokens, tokens, (size_t)n * sizeof *tokens);
	k->n = n;
	return 0;
}

static int set_up(void **state)
{
	(void)state;
	memset(&x, 0, sizeof x);
	fake_init(&x.fake);
	runner_options_default(&x.options);
	x.options.clock = fake_clock;
	x.options.clock_ctx = &x.fake;
	x.options.repetitions = 2;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	free(x.cells);
	matrix_free(&x.matrix);
	return 0;
}

static void make_cells(const char *modes, const char *syncs, int n_prompt)
{
	struct matrix *m = &x.matrix;
	assert_int_equal(matrix_add(m, AXIS_MODEL, "m.gguf", NULL), 0);
	assert_int_equal(matrix_add(m, AXIS_MODE, modes, NULL), 0);
	assert_int_equal(matrix_add(m, AXIS_FUSION, "full", NULL), 0);
	assert_int_equal(matrix_add(m, AXIS_SYNC, syncs, NULL), 0);
	assert_int_equal(matrix_add(m, AXIS_TYPE_K, "f16", NULL), 0);
	assert_int_equal(matrix_add(m, AXIS_TYPE_V, "f16", NULL), 0);
	assert_int_equal(matrix_add(m, AXIS_GEN, "20", NULL), 0);
	assert_int_equal(matrix_add(m, AXIS_PROMPT, n_prompt ? "16" : "0", NULL), 0);
	assert_int_equal(matrix_add(m, AXIS_DEPTH, "100", NULL), 0);
	assert_int_equal(matrix_add(m, AXIS_GPU_LAYERS, "-1", NULL), 0);
	assert_int_equal(matrix_add(m, AXIS_THREADS, "0", NULL), 0);
	assert_int_equal(matrix_cells(m, NULL, &x.cells, &x.n, NULL), 0);
}

static void sweep(const char *modes, const char *syncs, int n_prompt)
{
	make_cells(modes, syncs, n_prompt);
	struct runner_sink sink = {.run = keep};
	struct error err = {""};
	assert_int_equal(runner_run(x.cells, x.n, &x.fake.source, &x.options, &sink, &x.summary, &err), 0);
}

static void test_cells(void **state)
{
	(void)state;
	make_cells("direct,graph-device", "token,none", 1);
	/* A prompt is not decoded: one cell of it, whatever the axis says. */
	assert_int_equal(x.n, 1 + 2 * 2);
	assert_int_equal(x.cells[0].n_prompt, 16);
	assert_string_equal(cell_word(&x.cells[0], AXIS_SYNC), "token");
	assert_string_equal(cell_word(&x.cells[2], AXIS_SYNC), "token");
	assert_string_equal(cell_word(&x.cells[3], AXIS_SYNC), "none");
	assert_true(cell_same_unit(&x.cells[3], &x.cells[4]));
	assert_true(cell_same_group(&x.cells[1], &x.cells[3]));
	assert_false(cell_same_unit(&x.cells[1], &x.cells[3]));
	assert_false(cell_same(&x.cells[1], &x.cells[3]));
	struct error err;
	assert_int_equal(matrix_add(&x.matrix, AXIS_SYNC, "never", &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "token, none"));
}

/* The fake's device works while the host submits the next token: the 20 us of submission vanish. */
static void test_times(void **state)
{
	(void)state;
	sweep("direct,graph-device", "token,none", 0);
	assert_int_equal(x.summary.ok, 8);
	for (int r = 0; r < x.n_rows; r++) {
		const struct kept *k = &x.rows[r];
		int queued = !strcmp(k->row.sync, "none"), warmup = (int)k->row.warmup_tokens;
		double cost = !strcmp(k->row.mode, "direct") ? 1000 : 600;
		assert_int_equal(k->n, warmup + TOKENS);
		assert_true(warmup >= (queued ? WORKLOAD_QUEUE_KEEP : 4));
		assert_true(fabs(k->row.itl_median_us - (queued ? cost - 20 : cost)) < 1e-9);
		assert_true(k->row.submit_median_us == 20 && k->row.gpu_median_us == cost - 20);
		/* Nobody waits for a queued token: when the host would have known it is unknown. */
		assert_int_equal(isnan(k->row.wall_median_us), queued);
		assert_true(k->row.kernels_per_token == 39);
		for (int t = 0; t < TOKENS; t++) {
			assert_int_equal(k->tokens[warmup + t].pos, 100 + t);
			assert_int_equal(k->tokens[warmup + t].phase, TOKEN_PHASE_MEASURE);
			assert_int_equal(k->tokens[warmup + t].index, t);
		}
		/* The first one's includes its submission. */
		assert_true(fabs(k->tokens[warmup].itl_us - cost) < 1e-9);
		assert_string_equal(k->hash, x.rows[0].hash);
	}
}

/* The clock runs for the tokens alone; the check runs them again. */
static void test_work(void **state)
{
	(void)state;
	x.options.repetitions = 1;
	sweep("direct", "none", 0);
	/* Reference: 4 and 20 one by one. The run: 8 and 20, and 20 for the check. */
	assert_int_equal(x.fake.decoded, 24 + 48);
	assert_int_equal(x.fake.queued, 48);
	/* 20 by the reference's tokens, and the last one's alone twice; those of the check are not the last token's. */
	assert_int_equal(x.fake.hashed, 20 + 2);
}

static void test_wrong_token(void **state)
{
	(void)state;
	x.fake.wrong_mode = "graph-device";
	x.fake.wrong_pos = 113;
	sweep("direct,graph-device", "none", 0);
	assert_int_equal(x.summary.wrong, 1);
	for (int r = 0; r < x.n_rows; r++)
		if (!strcmp(x.rows[r].status, "wrong"))
			assert_non_null(strstr(x.rows[r].reason, "token 13 of 20"));
}

/* Only the timed pass goes wrong, as a race of the full queue would: its last token tells. */
static void test_wrong_when_timed(void **state)
{
	(void)state;
	x.fake.late_mode = "graph-device";
	sweep("direct,graph-device", "none", 0);
	assert_int_equal(x.summary.wrong, 1);
	for (int r = 0; r < x.n_rows; r++)
		assert_int_equal(!strcmp(x.rows[r].status, "wrong"), !strcmp(x.rows[r].row.mode, "graph-device"));
}

static void test_unsupported(void **state)
{
	(void)state;
	x.fake.no_queue = 1;
	sweep("direct", "token,none", 0);
	assert_int_equal(x.summary.skipped, 1);
	assert_int_equal(x.summary.ok, 2);
	for (int r = 0; r < x.n_rows; r++)
		if (!strcmp(x.rows[r].status, "skipped"))
			assert_non_null(strstr(x.rows[r].reason, "two devices"));
}

/* A failure in the middle leaves no times that nobody read. */
static void test_lost(void **state)
{
	(void)state;
	x.fake.lose_after = 24 + 8 + 10;
	x.options.repetitions = 1;
	sweep("direct", "none", 0);
	assert_string_equal(x.rows[0].status, "failed");
	assert_int_equal(x.rows[0].n, 8 + 10);
	for (int t = 8; t < 18; t++)
		assert_true(isnan(x.rows[0].tokens[t].itl_us) && x.rows[0].tokens[t].submit_us == 20);
	assert_true(isnan(x.rows[0].row.itl_median_us) && isnan(x.rows[0].row.tokens_per_s));
}

static volatile sig_atomic_t stop;

static void test_interrupted(void **state)
{
	(void)state;
	stop = 0;
	x.options.stop = x.fake.stop = &stop;
	x.fake.stop_after = 24 + 8 + 7;
	sweep("direct", "none", 0);
	assert_int_equal(x.n_rows, 1);
	assert_string_equal(x.rows[0].status, "interrupted");
	assert_int_equal(x.rows[0].n, 8 + 7);
	assert_true(x.rows[0].tokens[14].itl_us == 980);
}

/* Resuming tells the two apart. */
static void test_past(void **state)
{
	(void)state;
	struct past past;
	struct error err = {""};
	sweep("direct", "token,none", 0);
	assert_int_equal(past_init(&past, x.cells, x.n, 2, NULL), 0);
	for (int r = 0; r < x.n_rows; r++) {
		struct run_row row = x.rows[r].row;
		row.status = RUN_STATUS_OK;
		row.run_id = "id";
		row.model_path_name = "m.gguf";
		assert_int_equal(past_take(&past, &row, &err), 0);
		assert_int_equal(cell_is_queued(&x.cells[row.cell]), !strcmp(row.sync, "none"));
	}
	past_free(&past);
}

/* The simulated workload queues likewise: without noise, the device's part alone is left. */
static void test_simulated(void **state)
{
	(void)state;
	struct sim_options o = {.direct_us = 1000, .graph_us = 600, .submit_us = 100, .capture_us = 500};
	struct sim *sim;
	assert_int_equal(sim_open(&sim, &o, 1, NULL), 0);
	x.options.clock = sim_clock;
	x.options.clock_ctx = sim;
	make_cells("direct,graph-device", "token,none", 0);
	struct runner_sink sink = {.run = keep};
	assert_int_equal(runner_run(x.cells, x.n, sim_source(sim), &x.options, &sink, &x.summary, NULL), 0);
	assert_int_equal(x.summary.ok, 8);
	for (int r = 0; r < x.n_rows; r++) {
		double cost = strcmp(x.rows[r].row.mode, "direct") ? 600 : 1000;
		double want = strcmp(x.rows[r].row.sync, "none") ? cost : cost - 100;
		assert_true(fabs(x.rows[r].row.itl_median_us - want) < 1e-6);
	}
	sim_close(sim);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_cells),
		TEST(test_times),
		TEST(test_work),
		TEST(test_wrong_token),
		TEST(test_wrong_when_timed),
		TEST(test_unsupported),
		TEST(test_lost),
		TEST(test_interrupted),
		TEST(test_past),
		TEST(test_simulated),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
