/* gemmark bench -pg on a small real model: bits, records, what is printed, and going on. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "harness/cli/options.h"
#include "tests/support/bench_folder.h"
#include "tests/support/command.h"
#include "tests/support/folder.h"
#include "tests/support/read_csv.h"

#define MODEL "golden/gemma4-e2b-tiny.q8_0.gguf"

static double real_at(const struct csv_rows *r, int row, const char *column)
{
	return strtod(csv_at(r, row, column), NULL);
}

/* Sum of the run's measured tokens' times in us; they are behind the prompt, one after the other. */
static double tokens_us(const struct csv_rows *tokens, const char *run, int first, int n)
{
	double sum = 0;
	int seen = 0;
	for (int r = 1; r < tokens->n_rows; r++) {
		if (strcmp(csv_at(tokens, r, "run_id"), run) || strcmp(csv_at(tokens, r, "phase"), "measure"))
			continue;
		assert_int_equal(atoi(csv_at(tokens, r, "pos")), first + seen++);
		sum += real_at(tokens, r, "itl_us");
	}
	assert_int_equal(seen, n);
	return sum;
}

static void test_pair(void **state)
{
	(void)state;
	char path[128], hash[2][24] = {"", ""};
	struct csv_rows runs, tokens;
	char *words[] = {"-m",       MODEL,    "-p",     "0",          "-n",     "4",
			 "-pg",      "8,4",    "-d",     "100",        "-r",     "1",
			 "--snapkv", "off,80", "--sync", "token,none", "--mode", "direct,graph-params,graph-device",
			 "-o",       "json",   NULL};
	assert_int_equal(command_out(bench_folder, cmd_bench, "bench", "run", words), 0);
	bench_folder_path("run/runs.csv", path);
	assert_int_equal(csv_read(&runs, path), 0);
	bench_folder_path("run/tokens.csv", path);
	assert_int_equal(csv_read(&tokens, path), 0);
	/* 2 budgets x 2 tests x 2 syncs x 3 modes */
	assert_int_equal(runs.n_rows - 1, 24);
	int n_pairs = 0;
	for (int r = 1; r < runs.n_rows; r++) {
		int pair = !strcmp(csv_at(&runs, r, "n_prompt"), "8"),
		    whole = !strcmp(csv_at(&runs, r, "snapkv"), "off");
		assert_string_equal(csv_at(&runs, r, "status"), "ok");
		/* Only tokens at the depth can be compared with the full cache's. */
		assert_string_equal(csv_at(&runs, r, "quality_tokens"), !whole && !pair ? "4" : "");
		if (!pair)
			continue;
		n_pairs++;
		assert_string_equal(csv_at(&runs, r, "test"), "pp8+tg4 @ d100");
		assert_string_equal(csv_at(&runs, r, "n_gen"), "4");
		double us = real_at(&runs, r, "prefill_us") + tokens_us(&tokens, csv_at(&runs, r, "run_id"), 108, 4);
		assert_true(fabs(real_at(&runs, r, "tokens_per_s") - 12e6 / us) < 1e-6 * 12e6 / us);
		assert_string_equal(*csv_at(&runs, r, "prefill_flops") ? "known" : "", whole ? "known" : "");
		/* All modes, and both ways to wait, have the bits of one. */
		if (!*hash[whole])
			snprintf(hash[whole], sizeof hash[whole], "%s", csv_at(&runs, r, "logits_hash"));
		assert_string_equal(csv_at(&runs, r, "logits_hash"), hash[whole]);
	}
	assert_int_equal(n_pairs, 12);
	csv_rows_free(&tokens);
	csv_rows_free(&runs);

	bench_folder_path("out", path);
	json_t *list = json_load_file(path, 0, NULL);
	assert_int_equal(json_array_size(list), 24);
	for (int i = 0; i < 24; i++) {
		const json_t *r = json_array_get(list, (size_t)i);
		if (json_integer_value(json_object_get(r, "n_prompt")) != 8)
			continue;
		n_pairs--;
		assert_string_equal(json_string_value(json_object_get(r, "test")), "pp8+tg4 @ d100");
		double ns = json_number_value(json_object_get(r, "avg_ns")),
		       ts = json_number_value(json_object_get(r, "avg_ts"));
		assert_true(fabs(ts * ns / 1e9 - 12) < 1e-3);
	}
	assert_int_equal(n_pairs, 0);
	json_decref(list);
}

/* Pairs are part of what a sweep is. */
static void test_resume(void **state)
{
	(void)state;
	char run[128];
	bench_folder_path("run", run);
	char *words[] = {"-m", MODEL, "-p", "0", "-n", "0", "-pg", "8,4", "-r", "1", "--mode", "direct", NULL};
	assert_int_equal(command_out(bench_folder, cmd_bench, "bench", "run", words), 0);
	assert_true(command_said(bench_folder, "out", "pp8+tg4"));
	assert_true(command_said(bench_folder, "run/sweep.json", "\"n_prompt_n_gen\""));
	char *alone[] = {"bench", "--resume", run, NULL};
	assert_int_equal(command_run(bench_folder, cmd_bench, alone), 0);
	assert_true(command_said(bench_folder, "out", "0 runs ok; 1 was there already"));
	char *other[] = {"bench", "--resume", run,  "-m", MODEL,    "-p",     "0",  "-n", "0",
			 "-pg",   "8,5",      "-r", "1",  "--mode", "direct", "-t", "1",  NULL};
	assert_int_equal(command_run(bench_folder, cmd_bench, other), 2);
	assert_true(command_said(bench_folder, "errors", "n_prompt_n_gen: [[8,4]] there, [[8,5]] here"));
	/* Figures are of generations alone. */
	char *plot[] = {"plot", run, NULL};
	assert_int_equal(command_run(bench_folder, cmd_plot, plot), 2);
	assert_true(command_said(bench_folder, "errors", "nothing to plot"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_pair, bench_folder_set_up, bench_folder_tear_down),
		cmocka_unit_test_setup_teardown(test_resume, bench_folder_set_up, bench_folder_tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
