/* Positions behind what a model was trained for: one warning a model and command, and a mark in runs.csv. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness/cli/options.h"
#include "tests/support/command.h"
#include "tests/support/folder.h"
#include "tests/support/read_csv.h"

enum { TRAINED = 64, VOCAB = 512 };

static char folder[FOLDER_BYTES], model[FOLDER_BYTES + 16], other[FOLDER_BYTES + 16], link_name[FOLDER_BYTES + 16];

static int set_up(void **state)
{
	(void)state;
	if (folder_make(folder, "context"))
		return -1;
	snprintf(model, sizeof model, "%s/m.gguf", folder);
	snprintf(other, sizeof other, "%s/o.gguf", folder);
	snprintf(link_name, sizeof link_name, "%s/l.gguf", folder);
	char *make[] = {"model", "make", "--arch", "qwen3-tiny", "--context", "64", "-o", model, NULL};
	char *second[] = {"model", "make", "--arch", "qwen3-tiny", "--context", "65", "-o", other, NULL};
	return command_run(folder, cmd_model, make) || command_run(folder, cmd_model, second) ||
	       symlink(model, link_name);
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(folder);
}

/* Lines of standard error that warn of a model's context. */
static int warnings(void)
{
	char line[512];
	int n = 0;
	FILE *f = folder_open(folder, "errors", "r");
	while (fgets(line, sizeof line, f))
		n += strstr(line, "the model was trained for") != NULL;
	fclose(f);
	return n;
}

static int eval(int n)
{
	char list[1024] = "";
	for (int i = 0; i < n; i++)
		snprintf(list + strlen(list), sizeof list - strlen(list), "%s%d", i ? "," : "", i * 7 % VOCAB);
	char *words[] = {"eval", "-m", model, "-ngl", "0", "--tokens", list, NULL};
	assert_int_equal(command_run(folder, cmd_eval, words), 0);
	return warnings();
}

static void test_eval(void **state)
{
	(void)state;
	assert_int_equal(eval(TRAINED), 0);
	assert_int_equal(eval(TRAINED + 1), 1);
	assert_true(command_said(folder, "errors", "m.gguf: 65 positions are used, and the model was trained for 64 "));
}

static int bench(const char *out, char **more)
{
	char path[FOLDER_BYTES + 16];
	char *words[40] = {"bench",  "-ngl",   "0",           "-t", "1",     "-r", "1",
			   "--mode", "direct", "--telemetry", "0",  "--out", path};
	snprintf(path, sizeof path, "%s/%s", folder, out);
	for (int i = 0; more[i]; i++)
		words[13 + i] = more[i];
	assert_int_equal(command_run(folder, cmd_bench, words), 0);
	return warnings();
}

static void test_bench(void **state)
{
	(void)state;
	char path[FOLDER_BYTES + 16];
	struct csv_rows rows;
	char *within[] = {"-m", model, "-p", "64", "-n", "4", "-d", "0", NULL};
	assert_int_equal(bench("within", within), 0);
	char *deep[] = {"-m", model, "-p", "5", "-n", "4", "-d", "59,60,61,64", NULL};
	assert_int_equal(bench("deep", deep), 1);
	assert_true(command_said(folder, "errors", " 69 positions are used"));
	snprintf(path, sizeof path, "%s/deep/runs.csv", folder);
	assert_int_equal(csv_read(&rows, path), 0);
	assert_int_equal(rows.n_rows - 1, 8);
	for (int r = 1; r < rows.n_rows; r++) {
		int end = atoi(csv_at(&rows, r, "n_depth")) + atoi(csv_at(&rows, r, "n_gen")) +
			  atoi(csv_at(&rows, r, "n_prompt"));
		assert_string_equal(csv_at(&rows, r, "beyond_context"), end > TRAINED ? "1" : "0");
	}
	csv_rows_free(&rows);

	/* One file by two names is one model, another is another; a plan warns too. */
	char *two[] = {"-m", model, "-m", link_name, "-p", "65", "-n", "0", NULL};
	assert_int_equal(bench("two", two), 1);
	char *both[] = {"-m", model, "-m", other, "-p", "66", "-n", "0", "--dry-run", NULL};
	assert_int_equal(bench("both", both), 2);
	char *one[] = {"-m", model, "-m", other, "-p", "65", "-n", "0", "--dry-run", NULL};
	assert_int_equal(bench("one", one), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_eval, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bench, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
