/* Blocks at a low SM clock: which they are, that they are run again and how often, and what a reader then sees. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/measure/clock_check.h"
#include "harness/measure/past.h"
#include "harness/measure/runner.h"
#include "harness/measure/workload_sim.h"
#include "harness/selftest/selftest.h"
#include "tests/support/fake_workload.h"

/* ---- which ---- */

static void test_low(void **state)
{
	(void)state;
	struct clock_check c;
	const int both[] = {0, 1};
	double peers;
	assert_int_equal(clock_check_init(&c, 0.95, 2, 2, 4, NULL), 0);
	assert_int_equal(clock_check_run(&c, 0, 0, NULL), -1);
	clock_check_note(&c, 0, 0, 0, 1980);
	clock_check_note(&c, 0, 1, 0, 1875); /* 94.7 % */
	/* One peer is not enough. */
	assert_int_equal(clock_check_run(&c, 0, 1, NULL), -1);
	clock_check_note(&c, 0, 2, 0, 1980);
	assert_int_equal(clock_check_run(&c, 0, 1, &peers), 1);
	assert_true(peers == 1980);
	/* 1980 against a median of 1927.5 is not low, and what is unknown is not either. */
	assert_int_equal(clock_check_run(&c, 0, 0, NULL), 0);
	assert_int_equal(clock_check_run(&c, 0, 3, NULL), -1);
	/* Another cell has a clock of its own. */
	for (int i = 0; i < 4; i++)
		clock_check_note(&c, 1, i, 0, 1500);
	assert_int_equal(clock_check_run(&c, 1, 1, NULL), 0);
	/* One low run makes the block low; it is repeated as a whole. */
	assert_int_equal(clock_check_block(&c, both, 2, 0), 0);
	assert_int_equal(clock_check_block(&c, both, 2, 1), 1);
	clock_check_note(&c, 0, 1, 1, 1985);
	assert_int_equal(clock_check_block(&c, both, 2, 1), 1); /* cell 1 is missing */
	clock_check_note(&c, 1, 1, 1, 1400);
	assert_int_equal(clock_check_block(&c, both, 2, 1), 2);
	clock_check_note(&c, 0, 1, 2, 1985);
	clock_check_note(&c, 1, 1, 2, 1400);
	assert_int_equal(clock_check_block(&c, both, 2, 1), 0); /* enough */
	c.fraction = 0;
	c.retries = 9;
	assert_int_equal(clock_check_block(&c, both, 2, 1), 0);
	clock_check_free(&c);
}

/* ---- repeated ---- */

enum { MAX_ROWS = 128, TOKENS = 8 };

struct kept {
	struct run_row row;
	char status[16], reason[600];
	int n;
};

/* A monitor whose clock depends on how many runs it has seen; what a run costs follows from it. */
struct script {
	struct monitor base;
	double run_clock[MAX_ROWS];    /* of the runs in order, references included */
	double warmup_clock[MAX_ROWS]; /* of each question in a warm-up; 0: 2000 */
	int run, asked;
};

static struct kept rows[MAX_ROWS];
static int n_rows;
static struct script script;
static struct fake fake;
static struct runner_options options;
static struct runner_summary summary;
static struct cell cells[3];

static void script_begin(struct monitor *m, int on_gpu)
{
	(void)m;
	assert_int_equal(on_gpu, 1);
}

static void script_measure(struct monitor *m)
{
	(void)m;
}

static void script_end(struct monitor *m, struct conditions *out)
{
	struct script *s = (struct script *)m;
	conditions_init(out);
	double mhz = s->run_clock[s->run++];
	out->sm_clock_mhz = mhz ? mhz : 2000;
}

static double script_clock(struct monitor *m)
{
	struct script *s = (struct script *)m;
	double mhz = s->warmup_clock[s->asked++];
	return mhz ? mhz : 2000;
}

static int keep(void *ctx, const struct run_row *row, const struct token_record *tokens, int n, struct error *err)
{
	(void)ctx, (void)tokens, (void)err;
	assert_true(n_rows < MAX_ROWS);
	rows[n_rows] = (struct kept){.row = *row, .n = n};
	rows[n_rows].row.launch_hash = NULL; /* lives for this call only */
	snprintf(rows[n_rows].status, sizeof rows->status, "%s", run_status_name(row->status));
	snprintf(rows[n_rows++].reason, sizeof rows->reason, "%s", row->reason);
	return 0;
}

static int set_up(void **state)
{
	(void)state;
	static const char *const modes[] = {"direct", "graph-params", "graph-device"};
	n_rows = 0;
	script = (struct script){.base = {script_begin, script_measure, script_end, script_clock}};
	fake_init(&fake);
	fake.gpu_layers = 5;
	runner_options_default(&options);
	options.repetitions = 4;
	options.clock = fake_clock;
	options.clock_ctx = &fake;
	options.monitor = &script.base;
	for (int i = 0; i < 3; i++)
		cells[i] = (struct cell){.model = "m",
					 .type_k = "f16",
					 .type_v = "f16",
					 .fusion = "full",
					 .mode = modes[i],
					 .n_gen = TOKENS};
	return 0;
}

static void run(void)
{
	struct runner_sink sink = {.run = keep};
	struct error err = {""};
	if (runner_run(cells, 3, &fake.source, &options, &sink, &summary, &err))
		fail_msg("%s", err.text);
}

/* Run 0 of the script is the reference; rows r are its run r + 1. Repetition 1 is rows 3 to 5. */
static void test_repeated(void **state)
{
	(void)state;
	script.run_clock[1 + 4] = 1500;
	run();
	assert_int_equal(n_rows, 12 + 3);
	for (int i = 0; i < 12; i++)
		assert_int_equal(rows[i].row.attempt, 0);
	/* One of two peers was known then: that it is low shows behind the last repetition. */
	assert_true(rows[4].row.clock_low == ROW_UNKNOWN);
	assert_int_equal(rows[11].row.clock_low, 0);
	/* The same three modes in the same order, once more. */
	for (int i = 0; i < 3; i++) {
		const struct run_row *again = &rows[12 + i].row, *first = &rows[3 + i].row;
		assert_int_equal(again->attempt, 1);
		assert_int_equal(again->repetition, 1);
		assert_int_equal(again->cell, first->cell);
		assert_int_equal(again->order, 12 + i);
		assert_int_equal(again->clock_low, 0);
		assert_true(again->sm_clock_mhz == 2000);
		assert_string_equal(rows[12 + i].status, "ok");
	}
	assert_int_equal(summary.ok, 15);
}

/* A card that stays slow: a stated number of times, and flagged. */
static void test_bounded(void **state)
{
	(void)state;
	for (int i = 1 + 9; i < MAX_ROWS; i++)
		script.run_clock[i] = 1700;
	run();
	/* Repetition 3 is slow; its peers' median is 2000 whatever comes. */
	assert_int_equal(n_rows, 12 + 2 * 3);
	for (int i = 9; i < n_rows; i++) {
		assert_int_equal(rows[i].row.repetition, 3);
		assert_int_equal(rows[i].row.attempt, i / 3 - 3);
		assert_int_equal(rows[i].row.clock_low, 1);
		assert_non_null(strstr(rows[i].reason, "SM clock 1700 MHz, below 95 % of its peers' 2000"));
	}
	set_up(NULL);
	script.run_clock[1 + 9] = 1700;
	options.clock_retries = 0;
	run();
	assert_int_equal(n_rows, 12);
	assert_int_equal(rows[9].row.clock_low, 1);
	set_up(NULL);
	script.run_clock[1 + 9] = 1700;
	options.clock_fraction = 0.8;
	run();
	assert_int_equal(n_rows, 12);
	assert_int_equal(rows[9].row.clock_low, 0);
}

/* Without clocks nothing is repeated or claimed. */
static void test_unknown(void **state)
{
	(void)state;
	options.monitor = NULL;
	run();
	assert_int_equal(n_rows, 12);
	for (int i = 0; i < n_rows; i++)
		assert_true(rows[i].row.clock_low == ROW_UNKNOWN && rows[i].row.attempt == 0);
}

/* Resumed behind the last repetition, or in the middle of a repeated block: what is missing is run. */
static void test_resumed(void **state)
{
	(void)state;
	script.run_clock[1 + 4] = 1500;
	run();
	struct kept all[MAX_ROWS];
	int n_all = n_rows;
	memcpy(all, rows, sizeof all);
	for (int there = 11; there <= n_all; there++) {
		struct past past;
		struct error err = {""};
		set_up(NULL);
		assert_int_equal(past_init(&past, cells, 3, 4, NULL), 0);
		for (int i = 0; i < there; i++) {
			struct run_row row = all[i].row;
			row.run_id = "id";
			row.status = RUN_STATUS_OK;
			row.model_path_name = "m";
			if (past_take(&past, &row, &err))
				fail_msg("%s", err.text);
		}
		options.past = &past.runner;
		run();
		assert_int_equal(n_rows, n_all - there);
		for (int i = 0; i < n_rows; i++) {
			assert_int_equal(rows[i].row.repetition, all[there + i].row.repetition);
			assert_int_equal(rows[i].row.attempt, all[there + i].row.attempt);
			assert_int_equal(rows[i].row.cell, all[there + i].row.cell);
		}
		/* Nothing left to do: nothing is loaded. */
		assert_int_equal(fake.opened, there < n_all);
		past_free(&past);
	}
	/* The same attempt twice is no sweep of ours. */
	struct past past;
	struct error err;
	assert_int_equal(past_init(&past, cells, 3, 4, NULL), 0);
	struct run_row row = all[0].row;
	row.run_id = "id";
	row.status = RUN_STATUS_OK;
	row.model_path_name = "m";
	assert_int_equal(past_take(&past, &row, &err), 0);
	assert_int_equal(past_take(&past, &row, &err), ERROR_INPUT);
	past_free(&past);
}

/* A warm-up goes on until the clock is where earlier runs had it. */
static void test_warmup(void **state)
{
	(void)state;
	/* No clock is known before the first run; from the second on it is asked once a token behind the fourth. */
	script.warmup_clock[0] = 1200;
	script.warmup_clock[1] = 1300;
	script.warmup_clock[2] = 1890;
	run();
	assert_int_equal(n_rows, 12);
	int second = (int)rows[1].row.warmup_tokens, capture = strcmp(rows[1].row.mode, "direct") != 0;
	assert_int_equal(second, 4 + capture + 3);
	/* One that never gets there: as long as a warm-up may take. */
	set_up(NULL);
	for (int i = 0; i < MAX_ROWS; i++)
		script.warmup_clock[i] = 1000;
	options.repetitions = 1;
	run();
	assert_int_equal(rows[1].row.warmup_tokens, 32);
	/* From the fourth steady token on, once for each further one; the first run's group had no clock yet. */
	int asked = 0;
	for (int i = 1; i < n_rows; i++)
		asked += 32 - 4 - (strcmp(rows[i].row.mode, "direct") != 0);
	assert_int_equal(script.asked, asked);
}

/* ---- on the simulated workload, throttled by 10 % for a part of the time ---- */

static void reseed(void *ctx, int sweep)
{
	sim_reseed(ctx, 5 + (uint64_t)sweep);
}

static struct selftest_result self_test(struct sim_options *noise, int watched, double inject)
{
	static const char *const modes[] = {"direct", "graph-params", "graph-update", "graph-device"};
	enum { N = 16 };
	struct cell many[N];
	struct selftest_options o;
	struct selftest_result result;
	struct slowed_source slowed;
	struct sim *sim;
	struct error err = {""};
	for (int i = 0; i < N; i++)
		many[i] = (struct cell){.model = "m",
					.type_k = "f16",
					.type_v = "f16",
					.fusion = "full",
					.mode = modes[i % 4],
					.n_depth = 512 * (i / 4),
					.n_gen = 32};
	selftest_options_default(&o);
	o.runner.repetitions = 16;
	o.sweeps = 12;
	o.inject = inject;
	o.next = reseed;
	assert_int_equal(sim_open(&sim, noise, 1, NULL), 0);
	slowed_init(&slowed, sim_source(sim));
	slowed.wait = sim_wait;
	o.ctx = slowed.wait_ctx = o.runner.clock_ctx = sim;
	o.runner.clock = sim_clock;
	o.runner.monitor = watched ? sim_monitor(sim) : NULL;
	if (selftest_run(many, N, &slowed, &o, &result, &err))
		fail_msg("%s", err.text);
	sim_close(sim);
	return result;
}

static void test_throttled(void **state)
{
	(void)state;
	struct sim_options noise;
	sim_options_default(&noise);
	/* A run takes about 26 ms, a block of eight 0.2 s. */
	noise.throttle_every = 1;
	noise.throttle_for = 0.1;
	noise.throttle_by = 0.1;
	struct selftest_result blind = self_test(&noise, 0, 0), watched = self_test(&noise, 1, 0);
	assert_int_equal(blind.repeated, 0);
	assert_true(watched.repeated > 12);
	assert_int_equal(watched.alarms, 0);
	/* Throttled runs scatter; what is left after repeating scatters less. */
	double sum[2] = {0, 0};
	for (int i = 0; i < blind.cells; i++) {
		sum[0] += blind.variation[i];
		sum[1] += watched.variation[i];
	}
	print_message("run-to-run sd of the median itl: %.2f %% unwatched, %.2f %% watched; %d runs repeated\n",
		      100 * sum[0] / blind.cells, 100 * sum[1] / blind.cells, watched.repeated);
	assert_true(sum[1] < 0.5 * sum[0]);
	selftest_free(&blind);
	selftest_free(&watched);
	struct selftest_result found = self_test(&noise, 1, 0.02);
	assert_true(found.found >= 11);
	selftest_free(&found);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_low),
		cmocka_unit_test_setup(test_repeated, set_up),
		cmocka_unit_test_setup(test_bounded, set_up),
		cmocka_unit_test_setup(test_unknown, set_up),
		cmocka_unit_test_setup(test_resumed, set_up),
		cmocka_unit_test_setup(test_warmup, set_up),
		cmocka_unit_test(test_throttled),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
