/* The simulated workload: its noise is what its options say, seen through the measurement core. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/measure/runner.h"
#include "harness/measure/workload_sim.h"
#include "harness/measure/workload_slowed.h"

enum { TOKENS = 400, RUNS = 120 };

/* What one sweep of a cell gave. */
struct seen {
	double itl[RUNS][TOKENS];
	double median[RUNS];
	int captures, warmup_captures;
	int n;
};

static struct seen seen;

static int keep(void *ctx, const struct run_row *row, const struct token_record *tokens, int n, struct error *err)
{
	(void)ctx;
	(void)err;
	assert_int_equal(row->status, RUN_STATUS_OK);
	int at = 0;
	for (int i = 0; i < n; i++) {
		int measured = tokens[i].phase == TOKEN_PHASE_MEASURE, capture = tokens[i].event == TOKEN_EVENT_CAPTURE;
		if (measured)
			seen.itl[seen.n][at++] = tokens[i].itl_us;
		seen.captures += capture;
		seen.warmup_captures += capture && !measured;
	}
	assert_int_equal(at, TOKENS);
	seen.median[seen.n++] = row->itl_median_us;
	return 0;
}

static void run(const struct sim_options *o, const char *mode, int runs, uint64_t seed, double slow)
{
	struct sim *sim;
	struct slowed_source slowed;
	struct runner_options options;
	struct runner_summary summary;
	struct cell cell = {.model = "m", .type_k = "f16", .type_v = "f16", .fusion = "full"};
	cell.mode = mode;
	cell.n_gen = TOKENS;
	seen = (struct seen){0};
	assert_int_equal(sim_open(&sim, o, seed, NULL), 0);
	slowed_init(&slowed, sim_source(sim));
	slowed.wait = sim_wait;
	slowed.wait_ctx = sim;
	slowed.share = slow;
	runner_options_default(&options);
	options.repetitions = runs;
	options.clock = sim_clock;
	options.clock_ctx = sim;
	struct runner_sink sink = {.run = keep};
	assert_int_equal(runner_run(&cell, 1, &slowed.base, &options, &sink, &summary, NULL), 0);
	assert_int_equal(seen.n, runs);
	sim_close(sim);
}

static struct sim_options quiet(void)
{
	return (struct sim_options){.direct_us = 1000, .graph_us = 600, .submit_us = 20, .capture_us = 500};
}

static double mean(const double *x, int n)
{
	double sum = 0;
	for (int i = 0; i < n; i++)
		sum += x[i];
	return sum / n;
}

static double deviation(const double *x, int n)
{
	double m = mean(x, n), sum = 0;
	for (int i = 0; i < n; i++)
		sum += (x[i] - m) * (x[i] - m);
	return sqrt(sum / (n - 1));
}

static void within(double x, double low, double high)
{
	if (!(x >= low && x <= high))
		fail_msg("%g is not in [%g, %g]", x, low, high);
}

static void test_no_noise(void **state)
{
	(void)state;
	struct sim_options o = quiet();
	run(&o, "direct", 3, 1, 0);
	for (int t = 0; t < TOKENS; t++)
		within(seen.itl[2][t], 999.99, 1000.01);
	assert_int_equal(seen.captures, 0);
	run(&o, "graph-device", 3, 1, 0);
	/* Captured once, in the first warm-up, where it costs no measured token. */
	assert_int_equal(seen.captures, 1);
	assert_int_equal(seen.warmup_captures, 1);
	for (int r = 0; r < 3; r++)
		for (int t = 0; t < TOKENS; t++)
			within(seen.itl[r][t], 599.99, 600.01);
	run(&o, "direct", 2, 1, 0.02);
	within(seen.median[1], 1019.99, 1020.01);
	o.depth_us = 1024;
	run(&o, "direct", 1, 1, 0);
	within(seen.itl[0][100], 1099.99, 1100.01);
}

static void test_between_and_within(void **state)
{
	(void)state;
	struct sim_options o = quiet();
	o.between = 0.02;
	run(&o, "direct", RUNS, 3, 0);
	/* Each run has its own level, and none of its tokens leaves it. */
	within(deviation(seen.median, RUNS) / 1000, 0.016, 0.024);
	within(deviation(seen.itl[5], TOKENS), 0, 0.01);
	o.between = 0;
	o.within = 0.05;
	run(&o, "direct", RUNS, 3, 0);
	within(deviation(seen.itl[7], TOKENS) / 1000, 0.04, 0.06);
	/* A median of 400 independent tokens: 1.2533 * 5 % / 20. */
	within(deviation(seen.median, RUNS) / 1000, 0.0025, 0.0039);
}

static double neighbours(const double *x, int n)
{
	double m = mean(x, n), both = 0, own = 0;
	for (int i = 0; i < n; i++) {
		own += (x[i] - m) * (x[i] - m);
		both += i ? (x[i] - m) * (x[i - 1] - m) : 0;
	}
	return both / own;
}

static void test_correlation(void **state)
{
	(void)state;
	struct sim_options o = quiet();
	double r[RUNS];
	o.within = 0.01;
	run(&o, "direct", 40, 9, 0);
	for (int i = 0; i < 40; i++)
		r[i] = neighbours(seen.itl[i], TOKENS);
	within(mean(r, 40), -0.03, 0.03);
	o.correlation = 0.8;
	run(&o, "direct", 40, 9, 0);
	for (int i = 0; i < 40; i++)
		r[i] = neighbours(seen.itl[i], TOKENS);
	within(mean(r, 40), 0.74, 0.83);
	/* The spread of single tokens stays what it was. */
	within(deviation(&seen.itl[0][0], 40 * TOKENS) / 1000, 0.009, 0.011);
}

static void test_drift_and_wander(void **state)
{
	(void)state;
	struct sim_options o = quiet();
	o.drift = 0.6; /* 1 % a second */
	run(&o, "direct", 50, 4, 0);
	/* A run is 404 tokens of a millisecond, and longer as time goes by. */
	within(seen.median[49] / seen.median[0], 1.20, 1.25);
	o.drift = 0;
	o.wander = 0.02;
	run(&o, "direct", RUNS, 4, 0);
	double step[RUNS - 1];
	for (int i = 0; i + 1 < RUNS; i++)
		step[i] = log(seen.median[i + 1] / seen.median[i]);
	/* A random walk over 0.4 s, whose runs are averaged: 2 % * sqrt(0.404 * 2 / 3). */
	within(deviation(step, RUNS - 1), 0.007, 0.014);
}

static void test_stalls_outliers_throttling(void **state)
{
	(void)state;
	struct sim_options o = quiet();
	o.stall_share = 0.05;
	o.stall_us = 5000;
	o.outlier_share = 0.1;
	o.outlier_factor = 3;
	run(&o, "direct", 50, 5, 0);
	int stalls = 0, outliers = 0, all = 50 * TOKENS;
	double stalled = 0;
	for (int i = 0; i < all; i++) {
		double x = seen.itl[i / TOKENS][i % TOKENS];
		int outlier = fabs(x - 3000)<1e-2, stall = x> 1000.01 && !outlier;
		outliers += outlier;
		stalls += stall;
		stalled += stall ? x - 1000 : 0;
	}
	within((double)outliers / all, 0.09, 0.11);
	within((double)stalls / all, 0.044, 0.056);
	within(stalled / stalls, 4500, 5500);
	assert_true(seen.median[3] < 1000.01);

	o = quiet();
	o.throttle_every = 10;
	o.throttle_for = 3;
	o.throttle_by = 0.25;
	run(&o, "direct", 100, 5, 0);
	int slow = 0;
	for (int i = 0; i < 100 * TOKENS; i++) {
		double x = seen.itl[i / TOKENS][i % TOKENS];
		assert_true(fabs(x - 1000) < 0.01 || fabs(x - 1250) < 0.01);
		slow += x > 1100;
	}
	/* 3 of 10 seconds, and a slow token takes 1.25 of the time of another. */
	within(slow / (100.0 * TOKENS), 0.2, 0.32);
}

static void test_seeded(void **state)
{
	(void)state;
	struct sim_options o;
	static struct seen first;
	sim_options_default(&o);
	run(&o, "graph-device", 5, 7, 0);
	first = seen;
	run(&o, "graph-device", 5, 7, 0);
	assert_memory_equal(&first, &seen, sizeof seen);
	run(&o, "graph-device", 5, 8, 0);
	assert_true(first.median[0] < seen.median[0] || first.median[0] > seen.median[0]);
}

static void test_out_of_memory(void **state)
{
	(void)state;
	struct sim_options o = quiet();
	struct sim *sim;
	struct workload *w;
	struct error err = {""};
	struct placement p = {.context = 1001};
	o.memory_tokens = 1000;
	assert_int_equal(sim_open(&sim, &o, 1, NULL), 0);
	assert_int_equal(sim_source(sim)->open(sim_source(sim), &p, &w, &err), ERROR_MEMORY);
	p.context = 1000;
	assert_int_equal(sim_source(sim)->open(sim_source(sim), &p, &w, &err), 0);
	w->ops->close(w);
	sim_close(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_noise),
		cmocka_unit_test(test_between_and_within),
		cmocka_unit_test(test_correlation),
		cmocka_unit_test(test_drift_and_wander),
		cmocka_unit_test(test_stalls_outliers_throttling),
		cmocka_unit_test(test_seeded),
		cmocka_unit_test(test_out_of_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
