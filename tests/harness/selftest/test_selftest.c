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
#include <unistd.h>

#include <cmocka.h>

#include "harness/cli/engine_environment.h"
#include "harness/cli/options.h"
#include "harness/measure/workload_sim.h"
#include "harness/record/calibration.h"
#include "harness/selftest/selftest.h"
#include "tests/support/command.h"
#include "tests/support/folder.h"
#include "tests/support/read_csv.h"

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
	x.options.runner.monitor = sim_monitor(x.sim);
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

/* ---- what is counted, again ---- */

enum { FEW = 8, RUNS = 10, AGAIN = 6 };

static struct tally {
	/* Of the sweep at hand; sides next to each other. */
	int order[2 * FEW * RUNS], n_order;
	int tokens[2 * FEW]; /* decoded, warm-up included */
	double medians[2 * FEW][RUNS];
	/* Of all. */
	int first_order[2 * FEW * RUNS];
	int same_order, slowed[FEW];
	int alarms, significant, found, unsure;
	double variation[FEW];
	long slow_tokens, waits;
} tally;

static int tally_run(void *ctx, int sweep, int side, const struct run_row *row, const struct token_record *tokens,
		     int n, struct error *err)
{
	(void)ctx, (void)sweep, (void)tokens, (void)err;
	assert_int_equal(side, row->cell % 2);
	assert_int_equal(row->attempt, 0);
	tally.order[tally.n_order++] = row->cell;
	tally.tokens[row->cell] += n;
	tally.medians[row->cell][row->repetition] = row->itl_median_us;
	return 0;
}

static int tally_judged(void *ctx, int sweep, const struct verdict *v, int slowed, struct error *err)
{
	(void)ctx, (void)err;
	int alarm = 0, significant = 0, unsure = 0;
	assert_int_equal(tally.n_order, 2 * FEW * RUNS);
	if (sweep == 0)
		memcpy(tally.first_order, tally.order, sizeof tally.order);
	else
		tally.same_order += !memcmp(tally.first_order, tally.order, sizeof tally.order);
	for (int c = 0; c < FEW; c++) {
		double mean = 0, squares = 0;
		for (int r = 0; r < RUNS; r++)
			mean += log(tally.medians[2 * c][r]) / RUNS;
		for (int r = 0; r < RUNS; r++)
			squares += pow(log(tally.medians[2 * c][r]) - mean, 2);
		tally.variation[c] += sqrt(squares / (RUNS - 1)) / AGAIN;
		unsure += v[c].p_least >= x.options.verdict.alpha / FEW;
		if (c == slowed)
			continue;
		alarm += v[c].kind == VERDICT_SLOWER || v[c].kind == VERDICT_FASTER;
		significant += v[c].p_holm < x.options.verdict.alpha;
	}
	/* More than one in a sweep is one sweep. */
	tally.alarms += alarm > 0;
	tally.significant += significant > 0;
	tally.unsure += unsure > 0;
	if (slowed >= 0) {
		tally.found += v[slowed].kind == VERDICT_SLOWER;
		tally.slow_tokens += tally.tokens[2 * slowed + 1];
		tally.slowed[slowed]++;
	}
	tally.n_order = 0;
	memset(tally.tokens, 0, sizeof tally.tokens);
	return 0;
}

static void count_wait(void *ctx, int64_t ns)
{
	tally.waits++;
	sim_wait(ctx, ns);
}

/* A verdict that is easily given raises several alarms in a sweep. */
static void run_again(double inject)
{
	struct slowed_source slowed;
	struct error err = {""};
	selftest_free(&x.result);
	tally = (struct tally){0};
	x.noise.between = 0.02;
	x.noise.throttle_every = 0;
	x.options.verdict.alpha = 0.6;
	x.options.verdict.delta = 0;
	x.options.verdict.level = 0.5;
	x.options.inject = inject;
	x.options.sweeps = AGAIN;
	x.options.runner.repetitions = RUNS;
	x.options.run = tally_run;
	x.options.judged = tally_judged;
	assert_int_equal(sim_open(&x.sim, &x.noise, 1, NULL), 0);
	slowed_init(&slowed, sim_source(x.sim));
	slowed.wait = count_wait;
	slowed.wait_ctx = x.options.runner.clock_ctx = x.sim;
	x.options.runner.clock = sim_clock;
	if (selftest_run(x.cells, FEW, &slowed, &x.options, &x.result, &err))
		fail_msg("%s", err.text);
	sim_close(x.sim);
	assert_int_equal(x.result.sweeps, AGAIN);
	assert_int_equal(x.result.cells, FEW);
	assert_int_equal(x.result.alarms, tally.alarms);
	assert_int_equal(x.result.significant, tally.significant);
	assert_int_equal(x.result.unsure, tally.unsure);
	assert_int_equal(x.result.found, tally.found);
	for (int c = 0; c < FEW; c++)
		assert_true(fabs(x.result.variation[c] - tally.variation[c]) < 1e-12);
	/* Another order each time. */
	assert_int_equal(tally.same_order, 0);
	/* The slowed cell's tokens on side B, and no reference pass of another cell. */
	assert_int_equal(tally.waits, tally.slow_tokens);
}

static void test_counts(void **state)
{
	(void)state;
	run_again(0);
	assert_true(tally.alarms > 1 && tally.waits == 0);
	run_again(0.02);
	assert_true(tally.found > 0 && tally.waits > 0);
	int cells = 0;
	for (int c = 0; c < FEW; c++)
		cells += tally.slowed[c] > 0;
	assert_true(cells > 1);
}

static int call(char **words)
{
	int n = 0;
	while (words[n])
		n++;
	return cmd_selftest(n, words);
}

/* Repetitions are counted a sweep. */
static void test_printed(void **state)
{
	(void)state;
	char folder[FOLDER_BYTES], line[96];
	char *one[] = {"selftest", "--sweeps", "1", NULL}, *two[] = {"selftest", "--sweeps", "2", NULL};
	static const char what[] = "runs repeated because the SM clock was low";
	assert_int_equal(folder_make(folder, "selftest"), 0);
	command_run(folder, cmd_selftest, one);
	assert_true(command_said(folder, "out", "A/A: 1 sweep of 40 cells"));
	assert_true(command_said(folder, "out", what));
	command_run(folder, cmd_selftest, two);
	FILE *f = folder_open(folder, "out", "r");
	int repeated = 0;
	double each = 0;
	while (fgets(line, sizeof line, f))
		if (strstr(line, what))
			assert_int_equal(sscanf(strstr(line, what) + strlen(what), "%d, %lf a sweep", &repeated, &each),
					 2);
	fclose(f);
	assert_true(repeated > 0 && fabs(each - repeated / 2.0) < 1);
	assert_int_equal(folder_remove(folder), 0);
}

/* What it saw of equal things on the engine is kept; of a slow-down on purpose, or of the simulation, nothing is. */
static void test_calibration(void **state)
{
	(void)state;
	char folder[FOLDER_BYTES], path[FOLDER_BYTES + 32];
	struct calibration k;
	json_t *env;
	char machine[CALIBRATION_MACHINE_SIZE];
	const struct environment_inputs nothing = {0};
	assert_int_equal(folder_make(folder, "calibration"), 0);
	snprintf(path, sizeof path, "%s/state/calibration.json", folder);
	char *aa[] = {"selftest",
		      "--aa",
		      "-m",
		      "golden/qwen3-tiny.q8_0.gguf",
		      "-n",
		      "2",
		      "-r",
		      "8",
		      "--sweeps",
		      "2",
		      "--mode",
		      "direct",
		      "-t",
		      "1",
		      "-ngl",
		      "0",
		      "--calibration",
		      path,
		      NULL};
	char *simulated[] = {"selftest", "--aa",          "-n", "8", "-d", "0", "-r", "8", "--sweeps",
			     "1",        "--calibration", path, NULL};
	call(simulated);
	assert_int_equal(access(path, F_OK), -1);
	int code = call(aa);
	assert_true(code == 0 || code == 1); /* 1: this machine is too busy to be trusted, and that is kept */
	assert_int_equal(engine_environment_collect(&nothing, &env, NULL), 0);
	calibration_machine(env, machine);
	json_decref(env);
	assert_int_equal(calibration_read(path, machine, &k, NULL), 0);
	assert_int_equal(k.entries, 1);
	assert_int_equal(k.sweeps, 2);
	assert_int_equal(k.cells, 1);
	assert_true(k.variation > 0 && k.variation <= k.variation_max);
	aa[1] = "--inject=50%";
	call(aa);
	assert_int_equal(calibration_read(path, machine, &k, NULL), 0);
	assert_int_equal(k.entries, 1);
	assert_int_equal(folder_remove(folder), 0);
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

static int count_rows(const char *folder, const char *file)
{
	char path[128];
	struct csv_rows r;
	snprintf(path, sizeof path, "%s/%s", folder, file);
	assert_int_equal(csv_read(&r, path), 0);
	int n = r.n_rows - 1;
	csv_rows_free(&r);
	return n;
}

/* Both sides are on the disk, in pairs, and what was said of them. */
static void test_records(void **state)
{
	(void)state;
	char folder[FOLDER_BYTES], path[128];
	assert_int_equal(folder_make(folder, "selftest"), 0);
	snprintf(path, sizeof path, "%s/new", folder);
	char *words[] = {"selftest", "-m",       "golden/gemma4-e2b-tiny.q8_0.gguf",
			 "--aa",     "--sweeps", "3",
			 "-n",       "4",        "-r",
			 "2",        "--mode",   "direct,graph-device",
			 "-d",       "0,9",      "-t",
			 "1",        "-ngl",     "0",
			 "-ctk",     "f32",      "--warmup",
			 "2",        "--out",    path,
			 NULL};
	assert_int_equal(call(words), 1); /* two runs cannot tell anything, and that is no trust */
	assert_int_equal(count_rows(path, "aa/verdicts.csv"), 3 * 4);
	struct csv_rows sides[2];
	for (int s = 0; s < 2; s++) {
		char file[160];
		snprintf(file, sizeof file, "%s/aa/%s/runs.csv", path, s ? "B" : "A");
		assert_int_equal(csv_read(&sides[s], file), 0);
		assert_int_equal(sides[s].n_rows - 1, 3 * 4 * 2);
	}
	/* Every run of A has its one partner in B, next to it in the order of its sweep. */
	for (int a = 1; a < sides[0].n_rows; a++) {
		int partners = 0;
		assert_string_equal(csv_at(&sides[0], a, "type_k"), "f32");
		assert_string_equal(csv_at(&sides[0], a, "status"), "ok");
		for (int b = 1; b < sides[1].n_rows; b++) {
			int same = 1;
			static const char *const key[] = {"repetition", "mode", "n_depth"};
			for (int k = 0; k < 3; k++)
				same &= !strcmp(csv_at(&sides[0], a, key[k]), csv_at(&sides[1], b, key[k]));
			if (!same)
				continue;
			partners++;
			assert_memory_equal(csv_at(&sides[0], a, "run_id"), csv_at(&sides[1], b, "run_id"), 5);
			assert_int_equal(abs(atoi(csv_at(&sides[0], a, "order")) - atoi(csv_at(&sides[1], b, "order"))),
					 1);
		}
		assert_int_equal(partners, 1);
	}
	csv_rows_free(&sides[0]);
	csv_rows_free(&sides[1]);
	/* Each graph mode is captured once a depth and sweep, by whichever side comes first. */
	assert_int_equal(count_rows(path, "aa/A/tokens.csv") + count_rows(path, "aa/B/tokens.csv"),
			 2 * 3 * 4 * 2 * (2 + 4) + 3 * 2);
	/* Nothing is written over. */
	assert_int_equal(call(words), 2);
	assert_int_equal(folder_remove(folder), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_aa),           TEST(test_found),           TEST(test_without_delta),
		TEST(test_too_few_runs), TEST(test_failure_is_told), TEST(test_counts),
		TEST(test_calibration),  TEST(test_printed),         TEST(test_command),
		TEST(test_records),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
