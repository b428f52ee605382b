/* gemmark bench --timeline on a small real model, on the host: which runs have stamps, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/cli/options.h"
#include "tests/support/bench_folder.h"
#include "tests/support/folder.h"
#include "tests/support/read_csv.h"

#define MODEL "golden/gemma4-e2b-tiny.q8_0.gguf"

enum { LAYERS = 10 };

/* The fusion and depth of a run. */
static const char *of_run(const struct csv_rows *runs, const char *id, const char *column)
{
	for (int r = 1; r < runs->n_rows; r++)
		if (!strcmp(csv_at(runs, r, "run_id"), id))
			return csv_at(runs, r, column);
	fail_msg("no run %s", id);
	return "";
}

/* One block goes through all its phases, from the token's begin. Returns the row behind them. */
static int check_token(const struct csv_rows *t, int row, bool one_launch)
{
	const char *id = csv_at(t, row, "run_id");
	long last = 0, worked = 0;
	int phase = 0, layer = 0;
	assert_string_equal(csv_at(t, row, "kind"), one_launch ? "ple_model_proj" : "embed");
	assert_string_equal(csv_at(t, row, "entered_ns"), "0");
	for (; row < t->n_rows && !strcmp(csv_at(t, row, "run_id"), id); row++, phase++) {
		static const char *const times[] = {"entered_ns", "input_ns", "worked_ns", "published_ns"};
		assert_string_equal(csv_at(t, row, "block"), "0");
		assert_string_equal(csv_at(t, row, "sm"), "");
		assert_int_equal(atoi(csv_at(t, row, "phase")), phase);
		for (int i = 0; i < 4; i++) {
			const char *text = csv_at(t, row, times[i]);
			assert_true(*text || (one_launch && !strcmp(csv_at(t, row, "kind"), "ple")));
			if (!*text)
				continue;
			assert_true(atol(text) >= last);
			if (i == 2)
				worked += atol(text) - last;
			last = atol(text);
		}
		/* Layer by layer between what is of none. */
		const char *number = csv_at(t, row, "layer"), *kind = csv_at(t, row, "kind");
		assert_int_equal(!*number, !strncmp(kind, "ple_model", 9) || !strcmp(kind, "embed") ||
						   !strcmp(kind, "ple") || !strcmp(kind, "head"));
		if (*number)
			assert_true(atoi(number) == layer || atoi(number) == ++layer);
	}
	assert_int_equal(layer, LAYERS - 1);
	assert_true(worked > 0); /* from input to its end */
	assert_string_equal(csv_at(t, row - 1, "kind"), "head");
	assert_true(last > 0 && phase > 10);
	return row;
}

static void test_timeline(void **state)
{
	(void)state;
	char path[BENCH_FOLDER_PATH], run[BENCH_FOLDER_PATH];
	struct csv_rows runs, t;
	int row = 1, tokens[2][3] = {{0}}; /* at depth 0 and 8: of one launch, of several, of a graph */
	char *words[] = {"-m",         MODEL,
			 "-p",         "4",
			 "-n",         "3",
			 "-d",         "0,8",
			 "-r",         "2",
			 "-ngl",       "0",
			 "--mode",     "direct,graph-device",
			 "--fusion",   "full,persistent",
			 "--timeline", NULL};
	assert_int_equal(bench_folder_run("run", words), 0);
	assert_true(bench_folder_said("out", "timeline.csv"));
	assert_true(bench_folder_said("run/sweep.json", "\"timeline\": true"));
	bench_folder_path("run/runs.csv", path);
	assert_int_equal(csv_read(&runs, path), 0);
	bench_folder_path("run/timeline.csv", path);
	assert_int_equal(csv_read(&t, path), 0);
	while (row < t.n_rows) {
		const char *id = csv_at(&t, row, "run_id");
		bool one_launch = !strcmp(of_run(&runs, id, "fusion"), "persistent");
		bool direct = !strcmp(of_run(&runs, id, "mode"), "direct");
		assert_string_equal(of_run(&runs, id, "status"), "ok");
		assert_string_equal(of_run(&runs, id, "n_gen"), "3");
		tokens[atoi(of_run(&runs, id, "n_depth")) == 8][one_launch ? 0 : direct ? 1 : 2]++;
		row = check_token(&t, row, one_launch);
	}
	for (int i = 0; i < 6; i++)
		assert_int_equal(tokens[i / 3][i % 3], 1);
	for (int r = 1; r < runs.n_rows; r++)
		assert_string_equal(csv_at(&runs, r, "status"), "ok");
	int rows = t.n_rows;
	csv_rows_free(&t);
	csv_rows_free(&runs);

	/* Going on keeps it, with the same option alone. */
	bench_folder_path("run", run);
	char *alone[] = {"bench", "--resume", run, NULL};
	assert_int_equal(bench_folder_call(cmd_bench, alone), 0);
	assert_int_equal(csv_lines(path), rows);
	assert_true(bench_folder_said("out", "timeline.csv"));
	char *without[] = {"bench",
			   "--resume",
			   run,
			   "-t",
			   "1",
			   "-m",
			   MODEL,
			   "-p",
			   "4",
			   "-n",
			   "3",
			   "-d",
			   "0,8",
			   "-r",
			   "2",
			   "-ngl",
			   "0",
			   "--mode",
			   "direct,graph-device",
			   "--fusion",
			   "full,persistent",
			   NULL};
	assert_int_equal(bench_folder_call(cmd_bench, without), 2);
	assert_true(bench_folder_said("errors", "timeline"));
}

static void test_none(void **state)
{
	(void)state;
	char *words[] = {"-m",   MODEL, "-p",     "0",      "-n",       "2",          "-r", "1",
			 "-ngl", "0",   "--mode", "direct", "--fusion", "persistent", NULL};
	assert_int_equal(bench_folder_run("run", words), 0);
	assert_false(folder_has(bench_folder, "run/timeline.csv"));
	assert_false(bench_folder_said("out", "timeline.csv"));
	assert_false(bench_folder_said("run/sweep.json", "timeline"));
}

static void refused(char *fusion, char *n_gen, const char *why)
{
	char *words[] = {"-m", MODEL,  "-p", "4",        "-n",   n_gen,        "-r",
			 "1",  "-ngl", "0",  "--fusion", fusion, "--timeline", NULL};
	assert_int_equal(bench_folder_run("run", words), 2);
	if (!bench_folder_said("errors", why))
		fail_msg("not said: %s", why);
	assert_false(folder_has(bench_folder, "run"));
}

static void test_refused(void **state)
{
	(void)state;
	refused("full", "0", "no test generates a token");
	refused("persistent", "0", "no test generates a token");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, bench_folder_set_up, bench_folder_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {TEST(test_timeline), TEST(test_none), TEST(test_refused)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
