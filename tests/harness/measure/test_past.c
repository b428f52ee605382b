/* What a row that is there already tells a sweep: whose it is, by every axis, and what is kept of it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "harness/measure/clock_check.h"
#include "harness/measure/measured_row.h"
#include "harness/measure/past.h"
#include "tests/support/ok.h"

enum { CELLS = 13, REPETITIONS = 3 };

/* The first one, and others that each differ from it in one axis. */
static void make_cells(struct cell cells[CELLS])
{
	for (int i = 0; i < CELLS; i++)
		cells[i] = (struct cell){.model = "dir/m.gguf",
					 .type_k = "f16",
					 .type_v = "f16",
					 .fusion = "full",
					 .mode = "direct",
					 .n_gpu_layers = -1,
					 .n_threads = 0,
					 .n_depth = 100,
					 .n_prompt = 0,
					 .n_gen = 8};
	cells[1].model = "dir/other.gguf";
	cells[2].type_k = "f32";
	cells[3].type_v = "f32";
	cells[4].fusion = "none";
	cells[5].mode = "graph-device";
	cells[6].n_gpu_layers = 7;
	cells[7].n_threads = 7;
	cells[8].n_depth = 7;
	cells[9].n_prompt = 7;
	cells[9].n_gen = 0; /* with both it would be another test */
	cells[10].n_gen = 7;
	cells[11].snapkv = "1024,window=64,pool=7";
	cells[12].sync = SYNC_NONE;
}

static char label[CELL_LABEL_SIZE];

/* As the runner has it, on a machine that made 16 threads and 5 layers of what was asked. */
static struct run_row row_of(const struct cell *c, int repetition)
{
	struct run_row r;
	row_init(&r);
	cell_label(c, label);
	row_set_cell(&r, c, label, NULL);
	r.n_threads = 16;
	r.n_gpu_layers = 5;
	r.run_id = "id";
	r.status = RUN_STATUS_OK;
	r.reason = "";
	r.repetition = repetition;
	r.order = 0;
	r.attempt = 0;
	return r;
}

static void test_whose(void **state)
{
	(void)state;
	struct cell cells[CELLS];
	struct past p;
	make_cells(cells);
	OK(past_init(&p, cells, CELLS, REPETITIONS, e));
	for (int i = 0; i < CELLS; i++) {
		struct run_row r = row_of(&cells[i], i % REPETITIONS);
		OK(past_take(&p, &r, e));
		assert_int_equal(r.cell, i);
	}
	for (int i = 0; i < CELLS; i++)
		for (int k = 0; k < REPETITIONS; k++)
			assert_int_equal(p.runner.done[i * REPETITIONS + k], k == i % REPETITIONS);
	assert_int_equal(p.rows, CELLS);
	past_free(&p);
	/* Without the cell, its row is nobody's. */
	for (int left_out = 0; left_out < CELLS; left_out++) {
		struct run_row r = row_of(&cells[left_out], 0);
		struct cell others[CELLS];
		struct error err;
		memcpy(others, cells, sizeof cells);
		others[left_out] = others[CELLS - 1];
		OK(past_init(&p, others, CELLS - 1, REPETITIONS, e));
		assert_int_equal(past_take(&p, &r, &err), ERROR_INPUT);
		past_free(&p);
	}
}

static void test_kept(void **state)
{
	(void)state;
	struct cell cells[CELLS];
	struct past p;
	make_cells(cells);
	OK(past_init(&p, cells, CELLS, REPETITIONS, e));
	for (int i = 0; i < CELLS * REPETITIONS; i++)
		assert_true(isnan(p.runner.clocks[i]) && isnan(p.runner.values[i]));
	/* A run of tokens is its median, one of a prompt its prefill; each has the other one too. */
	struct run_row tokens = row_of(&cells[0], 1), prompt = row_of(&cells[9], 2);
	tokens.itl_median_us = prompt.itl_median_us = 11;
	tokens.itl_p50_us = tokens.wall_median_us = 12;
	tokens.prefill_us = prompt.prefill_us = 22;
	tokens.sm_clock_mhz = 1900;
	tokens.memory_clock_mhz = 2600;
	tokens.order = 41;
	prompt.order = 7;
	tokens.launch_hash = "00000000000000ff";
	OK(past_take(&p, &tokens, e));
	OK(past_take(&p, &prompt, e));
	assert_true(p.runner.values[0 * REPETITIONS + 1] == 11 && p.runner.values[9 * REPETITIONS + 2] == 22);
	/* Of both in one test it is the time of all tokens. */
	prompt.n_gen = 8;
	prompt.tokens_per_s = 100;
	assert_true(fabs(row_time_us(&prompt) - 150000) < 1e-6);
	assert_true(p.runner.clocks[1] == 1900 && isnan(p.runner.clocks[9 * REPETITIONS + 2]));
	assert_true(p.runner.launches[0] == 255 && p.runner.launches[9] == 0);
	/* The next run is behind all of them. */
	assert_int_equal(p.runner.order, 42);
	/* A later attempt takes the place of an earlier one; the first run's launches stay. */
	tokens.attempt = 1;
	tokens.itl_median_us = 10;
	tokens.sm_clock_mhz = 1980;
	tokens.launch_hash = "0000000000000001";
	OK(past_take(&p, &tokens, e));
	assert_true(p.runner.values[1] == 10 && p.runner.clocks[1] == 1980 && p.runner.attempts[1] == 1);
	assert_true(p.runner.launches[0] == 255);
	past_free(&p);
}

static void test_counts(void **state)
{
	(void)state;
	static const enum run_status statuses[] = {RUN_STATUS_OK, RUN_STATUS_SKIPPED, RUN_STATUS_FAILED,
						   RUN_STATUS_WRONG, RUN_STATUS_OK};
	struct cell cells[CELLS];
	struct past p;
	make_cells(cells);
	OK(past_init(&p, cells, CELLS, REPETITIONS, e));
	for (int i = 0; i < 5; i++) {
		struct run_row r = row_of(&cells[i], 0);
		r.status = statuses[i];
		OK(past_take(&p, &r, e));
		/* What did not go well is not tried again. */
		assert_int_equal(p.runner.closed[i], statuses[i] != RUN_STATUS_OK);
	}
	assert_true(p.rows == 5 && p.ok == 2 && p.wrong == 1);
	past_free(&p);
}

static void test_refused(void **state)
{
	(void)state;
	static const struct {
		int repetition, order, attempt;
	} bad[] = {{-1, 0, 0}, {REPETITIONS, 0, 0}, {0, -1, 0},
		   {1, 5, 0},  {1, 5, -1},          {1, 5, CLOCK_CHECK_RETRIES_MAX + 1}};
	struct cell cells[CELLS];
	struct past p;
	struct error err;
	make_cells(cells);
	OK(past_init(&p, cells, CELLS, REPETITIONS, e));
	struct run_row r = row_of(&cells[3], 1);
	OK(past_take(&p, &r, e));
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		r.repetition = bad[i].repetition;
		r.order = bad[i].order;
		r.attempt = bad[i].attempt;
		if (past_take(&p, &r, &err) != ERROR_INPUT)
			fail_msg("repetition %d, order %d, attempt %d was taken", bad[i].repetition, bad[i].order,
				 bad[i].attempt);
		assert_int_equal(p.rows, 1);
	}
	past_free(&p);
	/* Two files of one name cannot be told apart. */
	cells[1].model = "elsewhere/m.gguf";
	OK(past_init(&p, cells, CELLS, REPETITIONS, e));
	r = row_of(&cells[0], 0);
	assert_int_equal(past_take(&p, &r, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "m.gguf"));
	past_free(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whose),
		cmocka_unit_test(test_kept),
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
