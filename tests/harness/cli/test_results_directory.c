/* Directories that nobody names: as many processes as start at once, each has its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness/cli/options.h"
#include "harness/cli/results_directory.h"
#include "tests/support/command.h"
#include "tests/support/folder.h"
#include "tests/support/read_csv.h"

#define MODEL "golden/gemma4-e2b-tiny.q8_0.gguf"

enum { PROCESSES = 8, EACH = 25, SWEEPS = 4 };

static char folder[FOLDER_BYTES];

static int set_up(void **state)
{
	(void)state;
	return folder_make(folder, "results");
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(folder);
}

static void test_names(void **state)
{
	(void)state;
	char parent[64], out[RESULTS_DIRECTORY_SIZE], expected[80];
	int number;
	snprintf(parent, sizeof parent, "%s/results", folder);
	for (int i = 1; i <= 3; i++) {
		assert_int_equal(results_directory_make(parent, "now", out, &number, NULL), 0);
		snprintf(expected, sizeof expected, i > 1 ? "%s/now-%d" : "%s/now", parent, i);
		assert_string_equal(out, expected);
		assert_int_equal(number, i);
	}
	struct error err = {""};
	assert_int_equal(folder_put(folder, "/file", ""), 0);
	snprintf(parent, sizeof parent, "%s/file", folder);
	assert_int_equal(results_directory_make(parent, "now", out, &number, &err), ERROR_IO);
	assert_non_null(strstr(err.text, "--out"));
}

/* Time stamps are named where there are any, whoever wrote the directory. */
static void test_said(void **state)
{
	(void)state;
	char expected[FOLDER_BYTES + 80], *text;
	for (int stamped = 0; stamped < 2; stamped++) {
		size_t bytes;
		FILE *f = open_memstream(&text, &bytes);
		assert_non_null(f);
		if (stamped)
			assert_int_equal(folder_put(folder, "/timeline.csv", ""), 0);
		results_directory_print(f, folder);
		fclose(f);
		snprintf(expected, sizeof expected, "results: %s/runs.csv, tokens.csv, telemetry.csv, %senv.json\n",
			 folder, stamped ? "timeline.csv, " : "");
		assert_string_equal(text, expected);
		free(text);
	}
}

/* Every process writes the numbers that it got; there is each of them once. */
static void test_at_once(void **state)
{
	(void)state;
	int ends[2], seen[PROCESSES * EACH + 1] = {0}, number;
	char parent[64], out[RESULTS_DIRECTORY_SIZE];
	snprintf(parent, sizeof parent, "%s/results", folder);
	assert_int_equal(pipe(ends), 0);
	for (int p = 0; p < PROCESSES; p++) {
		pid_t child = fork();
		assert_true(child >= 0);
		if (child)
			continue;
		for (int i = 0; i < EACH; i++)
			if (results_directory_make(parent, "now", out, &number, NULL) ||
			    write(ends[1], &number, sizeof number) != sizeof number)
				_exit(1);
		_exit(0);
	}
	close(ends[1]);
	int n = 0, status;
	for (; read(ends[0], &number, sizeof number) == sizeof number; n++) {
		assert_in_range(number, 1, PROCESSES * EACH);
		assert_int_equal(seen[number]++, 0);
	}
	assert_int_equal(n, PROCESSES * EACH);
	close(ends[0]);
	for (int p = 0; p < PROCESSES; p++) {
		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
	}
}

/* Four sweeps of one second without --out. */
static void test_sweeps(void **state)
{
	(void)state;
	char model[4096], before[4096], own[SWEEPS][FOLDER_BYTES + 8];
	pid_t children[SWEEPS];
	assert_non_null(realpath(MODEL, model));
	assert_non_null(getcwd(before, sizeof before));
	for (int i = 0; i < SWEEPS; i++) {
		snprintf(own[i], sizeof own[i], "%s/%d", folder, i);
		assert_int_equal(mkdir(own[i], 0777), 0);
	}
	/* Just behind the start of a second. */
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	nanosleep(&(struct timespec){.tv_nsec = 999999999 - now.tv_nsec}, NULL);
	for (int i = 0; i < SWEEPS; i++) {
		children[i] = fork();
		assert_true(children[i] >= 0);
		if (children[i])
			continue;
		char *words[] = {(char *)"bench",  (char *)"-m", model,       (char *)"-p",
				 (char *)"0",      (char *)"-n", (char *)"2", (char *)"-r",
				 (char *)"1",      (char *)"-t", (char *)"1", (char *)"--mode",
				 (char *)"direct", NULL};
		_exit(chdir(folder) ? 1 : command_run(own[i], cmd_bench, words));
	}
	int status;
	for (int i = 0; i < SWEEPS; i++) {
		assert_int_equal(waitpid(children[i], &status, 0), children[i]);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 0);
	}
	/* Each says where its results are, no two the same, and they are there: also those of a second with others. */
	char places[SWEEPS][256];
	int numbered = 0;
	for (int i = 0; i < SWEEPS; i++) {
		char text[4096], path[512];
		snprintf(path, sizeof path, "%s/out", own[i]);
		FILE *f = fopen(path, "r");
		assert_non_null(f);
		text[fread(text, 1, sizeof text - 1, f)] = '\0';
		fclose(f);
		const char *at = strstr(text, "results: results/");
		assert_non_null(at);
		assert_int_equal(sscanf(at, "results: %255[^,]", places[i]), 1);
		for (int j = 0; j < i; j++)
			assert_string_not_equal(places[i], places[j]);
		/* Runs are told apart by the same number: rows of several sweeps may be put together. */
		struct csv_rows runs;
		snprintf(path, sizeof path, "%s/%s", folder, places[i]);
		assert_int_equal(csv_read(&runs, path), 0);
		int second = strstr(places[i], "-2/runs.csv") != NULL;
		assert_int_equal(strstr(csv_at(&runs, 1, "run_id"), "Z-2-00000") != NULL, second);
		numbered += second;
		csv_rows_free(&runs);
	}
	assert_true(numbered >= 1);
	assert_int_equal(chdir(before), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_names, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_said, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_at_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_sweeps, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
