/* gemmark bench that ends early, and goes on: by a signal, by what becomes of its directory, by --resume. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness/cli/options.h"
#include "tests/support/bench_folder.h"
#include "tests/support/command.h"
#include "tests/support/folder.h"
#include "tests/support/read_csv.h"

#define MODEL "golden/gemma4-e2b-tiny.q8_0.gguf"

/* Ctrl-C, or SIGTERM: what is finished is kept and whole, the run at hand says what became of it. */
static void test_interrupted(void **state)
{
	int sent = *(int *)*state;
	char *words[] = {"-m", MODEL, "-p", "0", "-n", "200", "-r", "1000", NULL};
	char path[128];
	bench_folder_path("run/runs.csv", path);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0)
		_exit(bench_folder_run("run", words));
	while (csv_lines(path) < 2)
		usleep(1000);
	/* Twice at once, as timeout(1) sends it: that is one interruption. */
	assert_int_equal(kill(child, sent), 0);
	kill(child, sent);
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 130);
	struct csv_rows runs;
	assert_int_equal(csv_read(&runs, path), 0);
	assert_true(runs.n_rows >= 2);
	for (int r = 1; r < runs.n_rows; r++) {
		assert_int_equal(csv_width(&runs, r), csv_width(&runs, 0));
		const char *expected = r + 1 < runs.n_rows ? "ok" : csv_at(&runs, r, "status");
		assert_string_equal(csv_at(&runs, r, "status"), expected);
	}
	const char *reason = csv_at(&runs, runs.n_rows - 1, "reason");
	assert_true(!*reason || strstr(reason, "interrupted"));
	csv_rows_free(&runs);
	assert_true(bench_folder_said("out", "interrupted"));
}

/*
 * The results are taken away while the sweep runs: whatever is printed does not claim that they are there, and the exit
 * code is that of a refusal by the system.
 */
static void test_taken_away(void **state)
{
	(void)state;
	char *words[] = {"-m", MODEL, "-p", "0", "-n", "16", "-r", "40", "--mode", "direct", NULL};
	char path[128], runs_path[128], elsewhere[128], claim[160];
	bench_folder_path("run", path);
	bench_folder_path("run/runs.csv", runs_path);
	bench_folder_path("elsewhere", elsewhere);
	for (int moved = 0; moved < 2; moved++) {
		pid_t child = fork();
		assert_true(child >= 0);
		if (child == 0)
			_exit(bench_folder_run("run", words));
		while (csv_lines(runs_path) < 2)
			usleep(1000);
		assert_int_equal(moved ? rename(path, elsewhere) : folder_remove(path), 0);
		int status;
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 2);
		snprintf(claim, sizeof claim, "results: %s", path);
		assert_false(bench_folder_said("out", claim));
		assert_true(bench_folder_said("errors", moved ? "was moved while the sweep ran; all rows are in "
							      : "was removed"));
		snprintf(claim, sizeof claim, "results: %s/runs.csv", elsewhere);
		assert_int_equal(bench_folder_said("out", claim), moved);
		assert_int_equal(access(path, F_OK), -1);
	}
	bench_folder_path("elsewhere/runs.csv", path);
	assert_int_equal(csv_lines(path), 41);
}

/* --resume: alone with the sweep's own options, refused with others, and nothing is done twice. */
static void test_resume(void **state)
{
	(void)state;
	char path[128], runs_path[128];
	bench_folder_path("run", path);
	bench_folder_path("run/runs.csv", runs_path);
	char *words[] = {"-m",    MODEL,  "-p", "4", "-n",     "24",
			 "-d",    "0,8",  "-r", "4", "--mode", "direct,graph-device",
			 "--ple", "host", NULL};
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0)
		_exit(bench_folder_run("run", words));
	while (csv_lines(runs_path) < 2)
		usleep(1000);
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, NULL, 0), child);

	char *other[] = {"bench", "--resume", path, "-m", MODEL, "-p", "4", "-d", "0,16", NULL};
	assert_int_equal(bench_folder_call(cmd_bench, other), 2);
	assert_true(bench_folder_said("errors", "n_depth: [0,8] there, [0,16] here"));
	char *settings[] = {"bench", "--resume", path,
			    "-m",    MODEL,      "-p",
			    "4",     "-n",       "24",
			    "-d",    "0,8",      "-r",
			    "4",     "--mode",   "direct,graph-device",
			    "-t",    "1",        "--prefill-precision",
			    "f32",   "--pdl",    "off",
			    NULL};
	assert_int_equal(bench_folder_call(cmd_bench, settings), 2);
	assert_true(bench_folder_said("errors", "ple: \"host\" there, \"device\" here"));
	assert_true(bench_folder_said("errors", "pdl: \"on\" there, \"off\" here"));
	assert_true(bench_folder_said("errors", "prefill_precision: \"f16\" there, \"f32\" here"));
	char *elsewhere[] = {"bench", "--resume", path, "--out", path, NULL};
	assert_int_equal(bench_folder_call(cmd_bench, elsewhere), 2);
	/* An option beside it is not dropped silently. */
	char *more[] = {"bench", "--resume", path, "-r", "3", NULL};
	assert_int_equal(bench_folder_call(cmd_bench, more), 2);
	char *nowhere[] = {"bench", "--resume", bench_folder, NULL};
	assert_int_equal(bench_folder_call(cmd_bench, nowhere), 2);
	assert_true(bench_folder_said("errors", "env.json"));

	char *alone[] = {"bench", "--resume", path, NULL};
	assert_int_equal(bench_folder_call(cmd_bench, alone), 0);
	assert_true(bench_folder_said("out", "there already"));
	struct csv_rows runs;
	assert_int_equal(csv_read(&runs, runs_path), 0);
	assert_int_equal(runs.n_rows - 1, 2 * 3 * 4);
	for (int r = 1; r < runs.n_rows; r++) {
		assert_string_equal(csv_at(&runs, r, "status"), "ok");
		assert_int_equal(atoi(csv_at(&runs, r, "order")), r - 1);
	}
	csv_rows_free(&runs);
	assert_int_equal(bench_folder_call(cmd_bench, alone), 0);
	assert_true(bench_folder_said("out", "0 runs ok; 24 were there already"));
}

/* Of a file's rows the first `keep` stay, header and all. */
static void cut_rows(const char *path, int keep)
{
	static char bytes[1 << 18];
	FILE *f = fopen(path, "r");
	assert_non_null(f);
	size_t n = fread(bytes, 1, sizeof bytes, f), end = 0;
	assert_true(n < sizeof bytes);
	fclose(f);
	for (int line = 0; line <= keep && end < n; end++)
		line += bytes[end] == '\n';
	assert_true(end < n);
	assert_int_equal(truncate(path, (off_t)end), 0);
}

/* Budgets are cells of their own: what is there of one is not taken for the other's. */
static void test_resume_snapkv(void **state)
{
	(void)state;
	char path[128], runs_path[128];
	bench_folder_path("run", path);
	bench_folder_path("run/runs.csv", runs_path);
	char *words[] = {"-m",       MODEL,       "-p", "0", "-n",     "4",      "-d", "100",
			 "--snapkv", "off,80,96", "-r", "3", "--mode", "direct", NULL};
	assert_int_equal(bench_folder_run("run", words), 0);
	struct csv_rows runs;
	cut_rows(runs_path, 4);
	char *alone[] = {"bench", "--resume", path, NULL};
	assert_int_equal(bench_folder_call(cmd_bench, alone), 0);
	assert_true(bench_folder_said("out", "5 runs ok; 4 were there already"));
	assert_int_equal(csv_read(&runs, runs_path), 0);
	assert_int_equal(runs.n_rows - 1, 9);
	static const char *const names[] = {"off", "80,window=64,pool=7", "96,window=64,pool=7"};
	int seen[3][3] = {{0}};
	for (int r = 1; r < runs.n_rows; r++) {
		int cell = 0;
		while (cell < 3 && strcmp(csv_at(&runs, r, "snapkv"), names[cell]))
			cell++;
		assert_true(cell < 3);
		assert_string_equal(csv_at(&runs, r, "status"), "ok");
		assert_string_equal(csv_at(&runs, r, "evicted_entries"), cell == 0 ? "" : cell == 1 ? "20" : "4");
		seen[cell][atoi(csv_at(&runs, r, "repetition"))]++;
	}
	csv_rows_free(&runs);
	for (int i = 0; i < 9; i++)
		assert_int_equal(seen[i / 3][i % 3], 1);
	char *other[] = {"bench", "--resume", path,     "-m", MODEL, "-p",     "0",      "-n", "4", "-d",
			 "100",   "--snapkv", "off,80", "-r", "3",   "--mode", "direct", "-t", "1", NULL};
	assert_int_equal(bench_folder_call(cmd_bench, other), 2);
	assert_true(bench_folder_said("errors", "snapkv"));
}

/* -ngl auto beside numbers: rows say what was asked, and going on finds them. */
static void test_auto_layers(void **state)
{
	(void)state;
	char path[128], runs_path[128];
	bench_folder_path("run", path);
	bench_folder_path("run/runs.csv", runs_path);
	char *words[] = {"-m", MODEL, "-p", "0", "-n", "4", "-r", "1", "-ngl", "auto,0", "--mode", "direct", NULL};
	assert_int_equal(bench_folder_run("run", words), 0);
	struct csv_rows runs;
	assert_int_equal(csv_read(&runs, runs_path), 0);
	assert_int_equal(runs.n_rows - 1, 2);
	int n_auto = 0;
	for (int r = 1; r < runs.n_rows; r++) {
		assert_string_equal(csv_at(&runs, r, "status"), "ok");
		n_auto += atoi(csv_at(&runs, r, "n_gpu_layers_asked")) == -2;
		assert_true(atoi(csv_at(&runs, r, "n_gpu_layers")) >= 0);
	}
	assert_int_equal(n_auto, 1);
	csv_rows_free(&runs);
	assert_true(bench_folder_said("run/sweep.json", "\"device_memory\""));
	char *alone[] = {"bench", "--resume", path, NULL};
	assert_int_equal(bench_folder_call(cmd_bench, alone), 0);
	assert_true(bench_folder_said("out", "0 runs ok; 2 were there already"));
	char *bad[] = {"-m", MODEL, "-ngl", "0,all", NULL};
	assert_int_equal(bench_folder_run("other", bad), 2);
	assert_true(bench_folder_said("errors", "'all' is not a number"));
	char *hidden[] = {"-m", MODEL, "-ngl", "-2", NULL};
	assert_int_equal(bench_folder_run("other", hidden), 2);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, bench_folder_set_up, bench_folder_tear_down)
#define STOPPED(signal) \
	cmocka_unit_test_prestate_setup_teardown(test_interrupted, bench_folder_set_up, bench_folder_tear_down, signal)

static int interrupt = SIGINT, terminate = SIGTERM;

int main(void)
{
	const struct CMUnitTest tests[] = {
		STOPPED(&interrupt), STOPPED(&terminate),      TEST(test_taken_away),
		TEST(test_resume),   TEST(test_resume_snapkv), TEST(test_auto_layers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
