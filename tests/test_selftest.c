/*
 * The instrument on the simulated workload, with drift, wander and autocorrelated tokens:
 * no difference where there is none, and the slow cell found. `gemmark selftest --sweeps
 * 1000` is the same at length.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/cli/options.h"
#include "harness/selftest.h"
#include "harness/workload_sim.h"

enum { MODES = 4, DEPTHS = 10, CELLS = MODES * DEPTHS, SWEEPS = 12, TOKENS = 32 };

struct fixture {
	struct cell cells[CELLS];
	struct selftest_options options;
	struct sim_options noise;
	struct sim *sim;
	struct selftest_result result;
};

static struct fixture x;

static int set_up(void **state)
{
	(void)state;
	static const char *const modes[MODES] = {"direct", "graph-params", "graph-update", "graph-device"};
	x = (struct fixture){0};
	for (int i = 0; i < CELLS; i++)
		x.cells[i] = (struct cell){
			.model = "m",
			.type_k = "f16",
			.type_v = "f16",
			.fusion = "full",
			.mode = modes[i % MODES],
			.n_depth = 512 * (i / MODES),
			.n_gen = TOKENS,
		};
	selftest_options_default(&x.options);
	x.options.runner.repetitions = 16;
	x.options.sweeps = SWEEPS;
	sim_options_default(&x.noise);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	selftest_free(&x.result);
	return 0;
}

static void reseed(void *ctx, int sweep)
{
	sim_reseed(ctx, 77 + (uint64_t)sweep);
}

static void run(void)
{
	struct slowed_source slowed;
	struct error err = {""};
	selftest_free(&x.result);
	assert_int_equal(sim_open(&x.sim, &x.noise, 1, NULL), 0);
	slowed_init(&slowed, sim_source(x.sim));
	slowed.wait = sim_wait;
	x.options.ctx = slowed.wait_ctx = x.options.runner.clock_ctx = x.sim;
	x.options.runner.clock = sim_clock;
	x.options.next = reseed;
	if (selftest_run(x.cells, CELLS, &slowed, &x.options, &x.result, &err))
		fail_msg("%s", err.text);
	assert_int_equal(x.result.sweeps, x.options.sweeps);
	sim_close(x.sim);
}

static void test_aa(void **state)
{
	(void)state;
	run();
	assert_int_equal(x.result.alarms, 0);
	assert_int_equal(x.result.unsure, 0);
	/* Holm at 1 %: two or more of 12 sweeps happen once in 160 such tests, were the size all that is allowed. */
	assert_true(x.result.significant <= 1);
	/* The same data, pooled. */
	assert_int_equal(x.result.naive_of, SWEEPS * CELLS);
	assert_true(x.result.naive_cells > x.result.naive_of / 4);
	assert_true(x.result.naive_sweeps > SWEEPS * 9 / 10);
	/* 0.3 % between runs, and what 32 tokens and the clock's drift add. */
	for (int i = 0; i < CELLS; i++)
		assert_true(x.result.variation[i] > 0.003 && x.result.variation[i] < 0.009);
}

static void test_found(void **state)
{
	(void)state;
	x.options.inject = 0.02;
	run();
	assert_true(x.result.found >= SWEEPS - 1);
	assert_int_equal(x.result.alarms, 0);
	assert_int_equal(x.result.naive_of, SWEEPS * (CELLS - 1));
}

/* With ten times the noise and no least effect, it is alpha alone that keeps the alarms down. */
static void test_without_delta(void **state)
{
	(void)state;
	x.noise.between = 0.03;
	x.noise.drift = 0.2;
	x.options.verdict.delta = 0;
	run();
	assert_true(x.result.alarms <= 1);
	assert_true(x.result.alarms <= x.result.significant);
}

/* Five runs can show nothing in 40 cells, and that is said. */
static void test_too_few_runs(void **state)
{
	(void)state;
	x.options.runner.repetitions = 5;
	x.options.inject = 0.5;
	x.options.sweeps = 2;
	run();
	assert_int_equal(x.result.unsure, 2);
	assert_int_equal(x.result.found, 0);
}

static void test_failure_is_told(void **state)
{
	(void)state;
	struct slowed_source slowed;
	struct error err = {""};
	x.noise.memory_tokens = 1000;
	assert_int_equal(sim_open(&x.sim, &x.noise, 1, NULL), 0);
	slowed_init(&slowed, sim_source(x.sim));
	x.options.runner.clock_ctx = x.sim;
	x.options.runner.clock = sim_clock;
	assert_int_equal(selftest_run(x.cells, CELLS, &slowed, &x.options, &x.result, &err), ERROR_DEVICE);
	assert_non_null(strstr(err.text, "does not fit"));
	sim_close(x.sim);
}

static int call(char **words)
{
	int n = 0;
	while (words[n])
		n++;
	return cmd_selftest(n, words);
}

static void test_command(void **state)
{
	(void)state;
	char *good[] = {"selftest", "--sweeps", "2", "-n", "16", "-d", "0,100", "-r", "12", NULL};
	assert_int_equal(call(good), 0);
	/* Three runs a side: nothing can be found, and the command does not pretend. */
	char *few[] = {"selftest", "--aa", "--sweeps", "1", "-n", "16", "-d", "0", "-r", "3", NULL};
	assert_int_equal(call(few), 1);
	char *noise[] = {"selftest", "--noise", "between=0.3,bogus=1", NULL};
	assert_int_equal(call(noise), 2);
	char *share[] = {"selftest", "--inject", "x", NULL};
	assert_int_equal(call(share), 2);
	char *engine[] = {"selftest", "-m",     "golden/gemma4-e2b-tiny.q8_0.gguf",
			  "--inject", "1000%",  "-n",
			  "8",        "-r",     "8",
			  "--mode",   "direct", "-t",
			  "1",        "-ngl",   "0",
			  NULL};
	/* Eleven times as slow is found on the engine too, whatever else this machine does. */
	assert_int_equal(call(engine), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_aa),           TEST(test_found),           TEST(test_without_delta),
		TEST(test_too_few_runs), TEST(test_failure_is_told), TEST(test_command),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
