/*
 * What a run, a unit or a group leaves, and the next one must not take for its own: clocks, prefill times, steady
 * tokens, memory that was out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "harness/measure/runner.h"
#include "tests/support/fake_workload.h"
#include "tests/support/ok.h"

enum { MAX_ROWS = 64, CELLS = 3, MAX_CLOCKS = 256, TOKENS = 8 };

/* A monitor that says the test's clocks, and of each measured phase 40 J. */
struct script {
	struct monitor base;
	double run_clock[MAX_ROWS];      /* of the runs in order, references included; 0: 2000 */
	double warmup_clock[MAX_CLOCKS]; /* of each question in a warm-up; 0: 2000 */
	int run, asked;
};

static struct {
	struct fake fake;
	struct script script;
	struct runner_options options;
	struct runner_summary summary;
	struct cell cells[CELLS];
	struct run_row rows[MAX_ROWS];
	int n;
} x;

static void script_begin(struct monitor *m, int on_gpu)
{
	(void)m, (void)on_gpu;
}

static void script_measure(struct monitor *m)
{
	(void)m;
}

static double or_usual(double mhz)
{
	return mhz > 0 ? mhz : 2000;
}

static void script_end(struct monitor *m, struct conditions *out)
{
	struct script *s = (struct script *)m;
	conditions_init(out);
	assert_true(s->run < MAX_ROWS);
	out->sm_clock_mhz = or_usual(s->run_clock[s->run++]);
	out->energy_j = 40;
}

static double script_clock(struct monitor *m)
{
	struct script *s = (struct script *)m;
	assert_true(s->asked < MAX_CLOCKS);
	return or_usual(s->warmup_clock[s->asked++]);
}

static int keep(void *ctx, const struct run_row *row, const struct token_record *tokens, int n, struct error *err)
{
	(void)ctx, (void)tokens, (void)n, (void)err;
	assert_true(x.n < MAX_ROWS);
	x.rows[x.n++] = *row;
	return 0;
}

static int set_up(void **state)
{
	(void)state;
	memset(&x, 0, sizeof x);
	x.script.base = (struct monitor){script_begin, script_measure, script_end, script_clock};
	fake_init(&x.fake);
	x.fake.gpu_layers = 5;
	runner_options_default(&x.options);
	x.options.repetitions = 2;
	x.options.clock = fake_clock;
	x.options.clock_ctx = &x.fake;
	x.options.monitor = &x.script.base;
	for (int i = 0; i < CELLS; i++)
		x.cells[i] = (struct cell){.model = "m",
					   .type_k = "f16",
					   .type_v = "f16",
					   .fusion = "full",
					   .mode = "direct",
					   .n_gen = TOKENS};
	return 0;
}

static void run(int n_cells)
{
	const struct runner_sink sink = {.run = keep};
	OK(runner_run(x.cells, n_cells, &x.fake.source, &x.options, &sink, &x.summary, e));
}

/* The fastest clock of the group's runs is what a warm-up waits for 95 % of, not the last run's. */
static void test_peak_clock(void **state)
{
	(void)state;
	x.options.repetitions = 4;
	/* Run 0 is the reference; rows 0 to 3 had these. */
	x.script.run_clock[1] = 2000;
	x.script.run_clock[2] = 1900;
	/* Row 1 asks once, row 2 twice: 1850 is below 1900, and above 95 % of 1900. Row 3 is content with 1910. */
	x.script.warmup_clock[1] = 1850;
	x.script.warmup_clock[3] = 1910;
	run(1);
	static const int warmup[] = {4, 4, 5, 4};
	assert_int_equal(x.n, 4);
	for (int i = 0; i < 4; i++)
		assert_int_equal(x.rows[i].warmup_tokens, warmup[i]);
	assert_int_equal(x.script.asked, 4);
}

/* Another group has a clock of its own: what an earlier one reached is not waited for. */
static void test_peak_clock_of_group(void **state)
{
	(void)state;
	x.cells[1].n_depth = 100;
	for (int i = 3; i < MAX_ROWS; i++) /* behind one group's reference and two runs */
		x.script.run_clock[i] = 1500;
	for (int i = 1; i < MAX_CLOCKS; i++)
		x.script.warmup_clock[i] = 1500;
	run(2);
	assert_int_equal(x.n, 4);
	for (int i = 0; i < x.n; i++)
		assert_int_equal(x.rows[i].warmup_tokens, 4);
}

/* Depth 0 was filled with nothing, whatever was filled before it. */
static void test_no_prefill(void **state)
{
	(void)state;
	int behind = 0;
	for (uint64_t seed = 1; seed <= 8; seed++) {
		set_up(NULL);
		x.options.seed = seed;
		x.cells[1].n_depth = 100;
		run(2);
		assert_int_equal(x.n, 4);
		for (int i = 0; i < x.n; i++) {
			if (x.rows[i].n_depth)
				assert_true(x.rows[i].prefill_us == 1000 && x.rows[i].prefill_tokens_per_s == 1e5);
			else
				assert_true(isnan(x.rows[i].prefill_us) && isnan(x.rows[i].prefill_tokens_per_s));
		}
		behind += x.rows[0].n_depth > 0;
	}
	assert_true(behind > 0 && behind < 8);
}

/* A warm-up's steady tokens are in a row: a graph that is lost in between begins the count anew. */
static void test_steady_in_a_row(void **state)
{
	(void)state;
	x.options.monitor = NULL;
	x.cells[0].mode = "graph-device";
	x.cells[0].n_depth = 10;
	x.fake.lose_graphs_pos = 12;
	run(1);
	assert_int_equal(x.n, 2);
	/* Capture or replay at 10, replay at 11, capture at 12, and four replays. */
	for (int i = 0; i < 2; i++)
		assert_int_equal(x.rows[i].warmup_tokens, 7);
}

/* Joules a token: of a prompt its tokens, of a generation the measured ones. */
static void test_energy(void **state)
{
	(void)state;
	x.cells[1].n_gen = 0;
	x.cells[1].n_prompt = 20;
	run(2);
	assert_int_equal(x.n, 4);
	for (int i = 0; i < x.n; i++)
		assert_true(x.rows[i].energy_per_token_j == (x.rows[i].n_prompt ? 2 : 5));
}

/* A cell that is out of memory says nothing of its twin that queues, at the same depth. */
static void test_out_of_memory_twin(void **state)
{
	(void)state;
	x.cells[0].mode = x.cells[1].mode = "graph-device";
	x.cells[1].sync = SYNC_NONE;
	x.cells[2] = x.cells[0];
	x.cells[2].n_depth = 50;
	x.fake.oom_mode = "graph-device";
	run(3);
	/* The twins were both tried; the deeper cell is skipped where it came behind one of them. */
	int failed = 0, skipped = 0;
	for (int i = 0; i < x.n; i++) {
		failed += x.rows[i].status == RUN_STATUS_FAILED && x.rows[i].n_depth == 0;
		skipped += x.rows[i].status == RUN_STATUS_SKIPPED && x.rows[i].n_depth == 0;
	}
	assert_true(failed == 2 && skipped == 0);
}

/* A cell that captures more than once has paid for all of it, and each row says what that run captured. */
static void test_break_even_of_all_captures(void **state)
{
	(void)state;
	x.options.monitor = NULL;
	x.options.repetitions = 4;
	x.cells[1].mode = "graph-device";
	x.fake.capture_grows_us = 1000;
	run(2);
	double paid = 0;
	int runs = 0;
	for (int i = 0; i < x.n; i++) {
		const struct run_row *r = &x.rows[i];
		if (r->cell == 0)
			continue;
		/* 160, 1160, 2160 and 3160 us; 400 us are saved a token. */
		double capture = 100 + 1000 * runs++;
		paid += capture + 50 + 10;
		assert_true(r->captures == 1 && r->capture_us == capture);
		assert_true(r->instantiate_us == 50 && r->upload_us == 10);
		assert_true(fabs(r->break_even_tokens - paid / 400) < 1e-9);
	}
	assert_int_equal(runs, 4);
	assert_true(paid == 6640);
}

#define TEST(f) cmocka_unit_test_setup(f, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_peak_clock),
		TEST(test_peak_clock_of_group),
		TEST(test_no_prefill),
		TEST(test_steady_in_a_row),
		TEST(test_energy),
		TEST(test_out_of_memory_twin),
		TEST(test_break_even_of_all_captures),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
