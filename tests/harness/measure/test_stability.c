/* --until stable: when it is enough, that whole blocks stop, and that no comparison takes such runs. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "harness/measure/past.h"
#include "harness/measure/runner.h"
#include "harness/measure/stability.h"
#include "harness/measure/workload_sim.h"
#include "harness/stats/stats.h"
#include "harness/stats/verdict.h"

enum { MAX_ROWS = 512, CELLS = 4, MOST = 60 };

static struct run_row rows[MAX_ROWS];
static char until[MAX_ROWS][STABILITY_TEXT_SIZE];
static int n_rows;
static struct runner_progress last;

static int keep(void *ctx, const struct run_row *row, const struct token_record *tokens, int n, struct error *err)
{
	(void)ctx, (void)tokens, (void)n, (void)err;
	assert_true(n_rows < MAX_ROWS);
	snprintf(until[n_rows], sizeof until[n_rows], "%s", row->until);
	rows[n_rows] = *row;
	rows[n_rows].launch_hash = NULL; /* lives for this call only */
	rows[n_rows].status = RUN_STATUS_OK;
	rows[n_rows].run_id = "id";
	rows[n_rows++].model_path_name = "m";
	return 0;
}

static void watch(void *ctx, const struct runner_progress *p)
{
	(void)ctx;
	last = *p;
}

static void make_cells(struct cell cells[CELLS])
{
	for (int i = 0; i < CELLS; i++)
		cells[i] = (struct cell){.model = "m",
					 .type_k = "f16",
					 .type_v = "f16",
					 .fusion = i / 2 ? "full" : "none",
					 .mode = i % 2 ? "graph-device" : "direct",
					 .n_gen = 24};
}

static void sweep(double between, double error, int repetitions, const struct runner_past *past)
{
	struct sim_options o = {.direct_us = 1000, .graph_us = 600, .submit_us = 10, .between = between};
	struct runner_options options;
	struct runner_summary summary;
	struct cell cells[CELLS];
	struct sim *sim;
	struct error err = {""};
	assert_int_equal(sim_open(&sim, &o, 3, NULL), 0);
	make_cells(cells);
	runner_options_default(&options);
	options.repetitions = repetitions;
	options.until = error;
	options.clock = sim_clock;
	options.clock_ctx = sim;
	options.past = past;
	n_rows = 0;
	const struct runner_sink sink = {.run = keep, .progress = watch};
	if (runner_run(cells, CELLS, sim_source(sim), &options, &sink, &summary, &err))
		fail_msg("%s", err.text);
	sim_close(sim);
}

static int runs_of(int cell)
{
	int n = 0;
	for (int i = 0; i < n_rows; i++)
		n += rows[i].cell == cell;
	return n;
}

/* The estimate against what the medians of many samples really do. */
static void test_error(void **state)
{
	(void)state;
	enum { N = 25, SAMPLES = 400 };
	struct stability s;
	double medians[SAMPLES], estimated = 0, mean = 0, square = 0;
	uint64_t seed = 11;
	assert_int_equal(stability_init(&s, 0.01, 1, N, NULL), 0);
	assert_true(isinf(stability_error(&s, 0, N)));
	for (int k = 0; k < SAMPLES; k++) {
		double values[N];
		for (int i = 0; i < N; i++) {
			/* Nearly normal: the sum of twelve uniforms. */
			double z = -6;
			for (int j = 0; j < 12; j++)
				z += (double)(random_next(&seed) >> 11) * 0x1p-53;
			values[i] = 3000 * exp(0.02 * z);
			stability_note(&s, 0, i, values[i]);
		}
		medians[k] = log(stats_median(values, N));
		estimated += stability_error(&s, 0, N) / SAMPLES;
	}
	for (int k = 0; k < SAMPLES; k++)
		mean += medians[k] / SAMPLES;
	for (int k = 0; k < SAMPLES; k++)
		square += (medians[k] - mean) * (medians[k] - mean) / (SAMPLES - 1);
	assert_true(fabs(estimated / sqrt(square) - 1) < 0.1);
	/* Four runs are too few, also where they agree. */
	for (int i = 0; i < N; i++)
		stability_note(&s, 0, i, i < 5 ? 7 : NAN);
	const int cell = 0;
	assert_true(isinf(stability_error(&s, 0, 4)) && stability_error(&s, 0, 5) < 1e-12);
	assert_int_equal(stability_reached(&s, &cell, 1, 5), 1);
	s.error = 0;
	assert_int_equal(stability_reached(&s, &cell, 1, 5), 0);
	stability_free(&s);
}

/* Without noise the least number; with some, more, and no more where it is enough; at most -r. */
static void test_sweep(void **state)
{
	(void)state;
	sweep(0, 0.005, MOST, NULL);
	assert_int_equal(n_rows, CELLS * STABILITY_LEAST);
	assert_int_equal(last.run, last.runs);
	assert_int_equal(last.decode_done, last.decode_total);
	for (int i = 0; i < n_rows; i++)
		assert_string_equal(until[i], "stable=0.5%");

	/* 1.25 * 2 % / sqrt(n) = 0.5 % at n = 25, and the estimate wanders. */
	sweep(0.02, 0.005, MOST, NULL);
	for (int unit = 0; unit < 2; unit++) {
		assert_in_range(runs_of(2 * unit), 14, 45);
		/* Compared with each other: as many of both. */
		assert_int_equal(runs_of(2 * unit), runs_of(2 * unit + 1));
	}
	assert_int_equal(last.decode_done, last.decode_total);

	sweep(0.02, 0.0001, 7, NULL);
	assert_int_equal(n_rows, CELLS * 7);

	sweep(0.02, 0, 9, NULL);
	assert_int_equal(n_rows, CELLS * 9);
	assert_string_equal(until[0], "fixed");
}

/* Going on behind a stable end adds nothing; in the middle it stops where it must, too. */
static void test_resumed(void **state)
{
	(void)state;
	struct past past;
	struct cell cells[CELLS];
	struct run_row all[MAX_ROWS];
	make_cells(cells);
	sweep(0, 0.005, MOST, NULL);
	int n = n_rows;
	memcpy(all, rows, sizeof all);
	for (int there = n - 3; there <= n; there += 3) {
		assert_int_equal(past_init(&past, cells, CELLS, MOST, NULL), 0);
		for (int i = 0; i < there; i++)
			assert_int_equal(past_take(&past, &all[i], NULL), 0);
		sweep(0, 0.005, MOST, &past.runner);
		assert_int_equal(n_rows, n - there);
		past_free(&past);
	}
}

static void test_no_verdict(void **state)
{
	(void)state;
	const double runs[] = {1, 1.01, 1.02};
	const struct verdict_cell cells[2] = {{runs, runs, 3, 3, 1, 0}, {runs, runs, 3, 3, 1, 1}};
	struct verdict_options o;
	struct verdict out[2];
	struct error err;
	verdict_options_default(&o);
	assert_int_equal(verdict_compare(cells, 1, &o, out, &err), 0);
	assert_int_equal(verdict_compare(cells, 2, &o, out, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "cell 1"));
	assert_non_null(strstr(err.text, "--until stable"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_error),
		cmocka_unit_test(test_sweep),
		cmocka_unit_test(test_resumed),
		cmocka_unit_test(test_no_verdict),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
