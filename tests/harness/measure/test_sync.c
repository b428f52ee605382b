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
#include "harness/measure/workload_sim.h"
#include "tests/support/fake_sweep.h"

enum { TOKENS = 20 };

static struct fake_sweep x;

static int set_up(void **state)
{
	(void)state;
	fake_sweep_init(&x, 2);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	fake_sweep_free(&x);
	return 0;
}

static void make_cells(const char *modes, const char *syncs, int n_prompt)
{
	fake_sweep_cells(&x, &(struct fake_axes){modes, "full", syncs, "100", TOKENS, n_prompt});
}

static void sweep(const char *modes, const char *syncs)
{
	make_cells(modes, syncs, 0);
	fake_sweep_run(&x, &x.fake.source);
}

static void test_cells(void **state)
{
	(void)state;
	make_cells("direct,graph-device", "token,none", 16);
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
	sweep("direct,graph-device", "token,none");
	assert_int_equal(x.summary.ok, 8);
	for (int r = 0; r < x.n_runs; r++) {
		const struct kept_run *k = &x.runs[r];
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
		assert_string_equal(k->hash, x.runs[0].hash);
	}
}

/* The clock runs for the tokens alone; the check runs them again. */
static void test_work(void **state)
{
	(void)state;
	x.options.repetitions = 1;
	sweep("direct", "none");
	/* Reference: 4 and 20 one by one. The run: 8 and 20, and 20 for the check. */
	assert_int_equal(x.fake.decoded, 24 + 48);
	assert_int_equal(x.fake.queued, 48);
	/* 20 by the reference's tokens, and the last one's alone twice; those of the check are not the last token's. */
	assert_int_equal(x.fake.hashed, 20 + 2);
}

/* A mode that loops is told its tokens, in both settings of the axis: the host follows them, or does not. */
static void test_loop(void **state)
{
	(void)state;
	x.options.repetitions = 1;
	sweep("direct,graph-loop", "token,none");
	assert_int_equal(x.summary.ok, 4);
	assert_int_equal(x.fake.told, 2 * TOKENS);
	for (int r = 0; r < x.n_runs; r++) {
		const struct kept_run *k = &x.runs[r];
		int loops = !strcmp(k->row.mode, "graph-loop"), queued = !strcmp(k->row.sync, "none");
		int warmup = (int)k->row.warmup_tokens;
		if (!loops)
			continue;
		assert_true(k->n == warmup + TOKENS && warmup >= WORKLOAD_QUEUE_KEEP);
		assert_true(fabs(k->row.itl_median_us - 580) < 1e-9 && k->row.gpu_median_us == 580);
		assert_true(fabs(k->tokens[warmup].itl_us - 600) < 1e-9);
		/* When the host saw the token: of queued ones nobody looks. */
		for (int t = warmup; t < k->n; t++)
			assert_int_equal(k->tokens[t].done_ns != 0, !queued);
		assert_string_equal(k->hash, x.runs[0].hash);
	}
}

/* Wrong in the timed pass alone, as where the loop skips a token: the last one's logits tell, whatever the axis says.
 */
static void test_loop_wrong_when_timed(void **state)
{
	(void)state;
	x.fake.late_mode = "graph-loop";
	sweep("direct,graph-loop", "token");
	assert_int_equal(x.summary.wrong, 1);
}

static void test_loop_unsupported(void **state)
{
	(void)state;
	struct sim_options o = {.direct_us = 1000, .graph_us = 600, .submit_us = 100, .capture_us = 500};
	struct sim *sim;
	assert_int_equal(sim_open(&sim, &o, 1, NULL), 0);
	x.options.clock = sim_clock;
	x.options.clock_ctx = sim;
	make_cells("direct,graph-loop", "token", 0);
	fake_sweep_run(&x, sim_source(sim));
	for (int r = 0; r < x.n_runs; r++)
		if (!strcmp(x.runs[r].row.mode, "graph-loop"))
			assert_non_null(strstr(x.runs[r].reason, "mode graph-loop: this workload's device waits"));
	assert_int_equal(x.summary.skipped, 1);
	sim_close(sim);
}

static void test_wrong_token(void **state)
{
	(void)state;
	x.fake.wrong_mode = "graph-device";
	x.fake.wrong_pos = 113;
	sweep("direct,graph-device", "none");
	assert_int_equal(x.summary.wrong, 1);
	for (int r = 0; r < x.n_runs; r++)
		if (!strcmp(x.runs[r].status, "wrong"))
			assert_non_null(strstr(x.runs[r].reason, "token 13 of 20"));
}

/* Only the timed pass goes wrong, as a race of the full queue would: its last token tells. */
static void test_wrong_when_timed(void **state)
{
	(void)state;
	x.fake.late_mode = "graph-device";
	sweep("direct,graph-device", "none");
	assert_int_equal(x.summary.wrong, 1);
	for (int r = 0; r < x.n_runs; r++)
		assert_int_equal(!strcmp(x.runs[r].status, "wrong"), !strcmp(x.runs[r].row.mode, "graph-device"));
}

static void test_unsupported(void **state)
{
	(void)state;
	x.fake.no_queue = 1;
	sweep("direct", "token,none");
	assert_int_equal(x.summary.skipped, 1);
	assert_int_equal(x.summary.ok, 2);
	for (int r = 0; r < x.n_runs; r++)
		if (!strcmp(x.runs[r].status, "skipped"))
			assert_non_null(strstr(x.runs[r].reason, "two devices"));
}

/* A failure in the middle leaves no times that nobody read. */
static void test_lost(void **state)
{
	(void)state;
	x.fake.lose_after = 24 + 8 + 10;
	x.options.repetitions = 1;
	sweep("direct", "none");
	assert_string_equal(x.runs[0].status, "failed");
	assert_int_equal(x.runs[0].n, 8 + 10);
	for (int t = 8; t < 18; t++)
		assert_true(isnan(x.runs[0].tokens[t].itl_us) && x.runs[0].tokens[t].submit_us == 20);
	assert_true(isnan(x.runs[0].row.itl_median_us) && isnan(x.runs[0].row.tokens_per_s));
}

static volatile sig_atomic_t stop;

static void test_interrupted(void **state)
{
	(void)state;
	stop = 0;
	x.options.stop = x.fake.stop = &stop;
	x.fake.stop_after = 24 + 8 + 7;
	sweep("direct", "none");
	assert_int_equal(x.n_runs, 1);
	assert_string_equal(x.runs[0].status, "interrupted");
	assert_int_equal(x.runs[0].n, 8 + 7);
	assert_true(x.runs[0].tokens[14].itl_us == 980);
}

/* Resuming tells the two apart. */
static void test_past(void **state)
{
	(void)state;
	struct past past;
	struct error err = {""};
	sweep("direct", "token,none");
	assert_int_equal(past_init(&past, x.cells, x.n, 2, NULL), 0);
	for (int r = 0; r < x.n_runs; r++) {
		struct run_row row = x.runs[r].row;
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
	fake_sweep_run(&x, sim_source(sim));
	assert_int_equal(x.summary.ok, 8);
	for (int r = 0; r < x.n_runs; r++) {
		double cost = strcmp(x.runs[r].row.mode, "direct") ? 600 : 1000;
		double want = strcmp(x.runs[r].row.sync, "none") ? cost : cost - 100;
		assert_true(fabs(x.runs[r].row.itl_median_us - want) < 1e-6);
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
		TEST(test_loop),
		TEST(test_loop_wrong_when_timed),
		TEST(test_loop_unsupported),
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
