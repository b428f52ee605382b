/* A prompt and the tokens behind it as one test (-pg), on the scripted workload: what is timed, checked and recorded.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/support/fake_sweep.h"

enum { DEPTH = 100, PROMPT = 50, TOKENS = 8, PREFILL_US = 10 };

static struct fake_sweep x;
static volatile sig_atomic_t stop;

static int set_up(void **state)
{
	(void)state;
	stop = 0;
	fake_sweep_init(&x, 3);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	fake_sweep_free(&x);
	return 0;
}

static void sweep(const char *modes, const char *syncs)
{
	assert_int_equal(matrix_add_pair(&x.matrix, "50,8", NULL), 0);
	fake_sweep_cells(&x, &(struct fake_axes){modes, "full", syncs, "100", 0, 0});
	fake_sweep_run(&x, &x.fake.source);
}

static void near(double got, double expected)
{
	assert_true(fabs(got - expected) <= 1e-9 * fabs(expected));
}

/* Pairs are tests beside the others, each once, in every mode. */
static void test_cells(void **state)
{
	(void)state;
	char label[CELL_LABEL_SIZE];
	int n_pairs = 0;
	assert_int_equal(matrix_add_pair(&x.matrix, "50,8", NULL), 0);
	assert_int_equal(matrix_add_pair(&x.matrix, "50,8", NULL), 0);
	assert_int_equal(matrix_add_pair(&x.matrix, "64,64", NULL), 0);
	fake_sweep_cells(&x, &(struct fake_axes){"direct,graph-device", "full", "token,none", "0,100", 16, 4});
	/* 2 depths x (a prompt + (a generation and 2 pairs) x 2 syncs x 2 modes) */
	assert_int_equal(x.n, 2 * (1 + 3 * 4));
	for (int i = 0; i < x.n; i++) {
		const struct cell *c = &x.cells[i];
		assert_int_equal(cell_is_prompt(c), c->n_prompt == 4);
		n_pairs += c->n_prompt == 50 && c->n_gen == 8;
	}
	assert_int_equal(n_pairs, 2 * 4);
	struct cell c = {.n_prompt = 512, .n_gen = 128, .n_depth = 4096};
	cell_label(&c, label);
	assert_string_equal(label, "pp512+tg128 @ d4096");
	static const char *const bad[] = {"",      "8",    "8,",   ",8",        "0,8",         "8,0",
					  "8,8,8", "8, 8", "-8,8", "1048577,8", "8,9999999999"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct error err = {""};
		assert_int_equal(matrix_add_pair(&x.matrix, bad[i], &err), ERROR_INPUT);
		assert_non_null(strstr(err.text, "-pg: '"));
	}
}

/* The prompt's time and the tokens', less the checks between them; each token at its place. */
static void check_run(const struct kept_run *k)
{
	int graph = strcmp(k->row.mode, "direct") != 0;
	double itl = graph ? 600 : 1000, us = PROMPT * PREFILL_US + TOKENS * itl;
	assert_string_equal(k->status, "ok");
	assert_string_equal(k->test, "pp50+tg8 @ d100");
	near(k->row.prefill_us, PROMPT * PREFILL_US);
	near(k->row.prefill_tokens_per_s, 1e6 / PREFILL_US);
	near(k->row.ttft_us, PROMPT * PREFILL_US + 30);
	near(k->row.itl_median_us, itl);
	/* What either launched is in its own columns. */
	assert_true(k->row.api_launches_per_prompt == 70 && k->row.node_updates_per_prompt == 3 &&
		    k->row.kernels_per_prompt == 60 && k->row.copies_per_prompt == 10);
	assert_true(k->row.api_launches_per_token == (graph ? 2 : 39) && k->row.kernels_per_token == 39);
	near(k->row.tokens_per_s, (PROMPT + TOKENS) / us * 1e6);
	near(row_time_us(&k->row), us);
	near(k->row.prefill_flops, 1e9 * PROMPT + 1e6 * DEPTH);
	/* 1000 bytes a position, over 150 to 157. */
	near(k->row.kv_bytes_per_token, 1000 * (DEPTH + PROMPT + 1 + 3.5));
	assert_int_equal(k->row.n_prompt, PROMPT);
	assert_int_equal(k->row.n_gen, TOKENS);
	assert_int_equal(k->row.n_context, DEPTH + PROMPT + 32);
	assert_int_equal(k->n, k->row.warmup_tokens + TOKENS);
	for (int i = 0; i < k->n; i++) {
		int in_phase = i < k->row.warmup_tokens ? i : i - (int)k->row.warmup_tokens;
		assert_int_equal(k->tokens[i].pos, DEPTH + PROMPT + in_phase);
	}
}

static void test_times(void **state)
{
	(void)state;
	sweep(ALL_MODES, SYNC_TOKEN);
	assert_int_equal(x.n_runs, 4 * 3);
	for (int i = 0; i < x.n_runs; i++) {
		check_run(&x.runs[i]);
		assert_string_equal(x.runs[i].hash, x.runs[0].hash);
	}
	/* The depth once; a prompt before the warm-up and one before the measured tokens, of 12 runs and the reference.
	 */
	assert_int_equal(x.fake.prefilled, DEPTH + 13 * 2 * PROMPT);
}

/* Queued tokens run once more for their check, behind the same prompt; their bits are those of waited-for ones. */
static void test_queued(void **state)
{
	(void)state;
	sweep("direct,graph-device", "token,none");
	assert_int_equal(x.n_runs, 4 * 3);
	for (int i = 0; i < x.n_runs; i++) {
		const struct kept_run *k = &x.runs[i];
		assert_string_equal(k->status, "ok");
		assert_string_equal(k->hash, x.runs[0].hash);
		near(k->row.prefill_us, PROMPT * PREFILL_US);
		assert_int_equal(k->tokens[k->n - TOKENS].pos, DEPTH + PROMPT);
	}
	assert_int_equal(x.fake.prefilled, DEPTH + (6 + 2) * 2 * PROMPT + 6 * 3 * PROMPT);
}

/* Where the logits differ: behind the prompt, or from a token on. */
static void test_wrong(void **state)
{
	(void)state;
	x.fake.wrong_mode = "graph-device";
	x.fake.wrong_pos = DEPTH + PROMPT - 1;
	sweep("direct,graph-device", SYNC_TOKEN);
	assert_non_null(strstr(fake_sweep_first(&x, "graph-device", DEPTH)->reason, "after the prompt"));
	assert_int_equal(fake_sweep_count(&x, NULL, "wrong"), 1);
	fake_sweep_free(&x);
	fake_sweep_init(&x, 3);
	x.fake.wrong_mode = "graph-device";
	x.fake.wrong_pos = DEPTH + PROMPT + 3;
	sweep("direct,graph-device", "token,none");
	assert_int_equal(fake_sweep_count(&x, "graph-device", "wrong"), 2);
	for (int i = 0; i < x.n_runs; i++)
		assert_int_equal(strstr(x.runs[i].reason, "from token 3 of 8 on") != NULL,
				 !strcmp(x.runs[i].status, "wrong"));
}

/* A timed queue whose last logits differ is seen behind a prompt, too. */
static void test_late(void **state)
{
	(void)state;
	x.fake.late_mode = "graph-device";
	sweep("direct,graph-device", SYNC_NONE);
	const struct kept_run *k = fake_sweep_first(&x, "graph-device", DEPTH);
	assert_string_equal(k->status, "wrong");
}

/* Stopped in the warm-up, in front of the measured prompt: what was not reached is unknown, not wrong. */
static void test_interrupted(void **state)
{
	(void)state;
	x.options.stop = x.fake.stop = &stop;
	x.fake.stop_after = 4 + TOKENS + 2; /* the reference, and two tokens */
	sweep("direct", SYNC_TOKEN);
	assert_int_equal(x.n_runs, 1);
	assert_string_equal(x.runs[0].status, "interrupted");
	assert_true(isnan(x.runs[0].row.prefill_us));
	assert_true(isnan(x.runs[0].row.tokens_per_s));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {TEST(test_cells), TEST(test_times), TEST(test_queued),
					   TEST(test_wrong), TEST(test_late),  TEST(test_interrupted)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
