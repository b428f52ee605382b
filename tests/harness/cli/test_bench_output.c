/* What gemmark bench prints: in llama-bench's formats, on either stream, and while it runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "harness/cli/options.h"
#include "tests/support/bench_folder.h"
#include "tests/support/command.h"
#include "tests/support/folder.h"
#include "tests/support/read_csv.h"

#define MODEL "golden/gemma4-e2b-tiny.q8_0.gguf"

/* llama-bench's formats on standard output, and nothing else there; the run directory is written all the same. */
static void test_formats(void **state)
{
	(void)state;
	char path[128];
	char *json[] = {"-m",   MODEL, "-p", "8",    "-n",
			"4",    "-d",  "40", "-r",   "2",
			"-ngl", "3,0", "-o", "json", "--prefill-precision",
			"f32",  NULL};
	assert_int_equal(bench_folder_run("run", json), 0);
	bench_folder_path("out", path);
	json_t *list = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
	/* Those of -ngl 3 come first, and are there with why they have no rates. */
	assert_int_equal(json_array_size(list), 10);
	for (int i = 0; i < 10; i++) {
		const json_t *r = json_array_get(list, (size_t)i);
		const char *reason = json_string_value(json_object_get(r, "reason"));
		assert_string_equal(json_string_value(json_object_get(r, "status")), i < 5 ? "skipped" : "ok");
		assert_int_equal(strstr(reason, "-ngl 3") != NULL, i < 5);
		assert_int_equal(json_is_null(json_object_get(r, "avg_ts")), i < 5);
		assert_int_equal(json_integer_value(json_object_get(r, "n_gpu_layers")), i < 5 ? 3 : 0);
		assert_string_equal(json_string_value(json_object_get(r, "settings")), "prefill-f32");
		assert_string_equal(json_string_value(json_object_get(r, "test")), i % 5 ? "tg4 @ d40" : "pp8 @ d40");
		assert_int_equal(json_array_size(json_object_get(r, "samples_ns")), i < 5 ? 0 : 2);
		if (i < 5)
			continue;
		assert_int_equal(json_integer_value(json_object_get(r, "n_batch")), 512);
		assert_true(json_integer_value(json_object_get(r, "model_n_params")) > 100000);
		assert_true(json_integer_value(json_object_get(r, "model_size")) > 100000);
	}
	json_decref(list);
	assert_true(bench_folder_said("errors", "5 skipped"));
	assert_true(bench_folder_said("errors", "-ngl 3"));
	bench_folder_path("run/tokens.csv", path);
	assert_int_equal(access(path, F_OK), 0);

	char *csv[] = {"-m", MODEL, "-p", "0", "-n", "4", "-r", "1", "--output=csv", NULL};
	assert_int_equal(bench_folder_run("csv", csv), 0);
	struct csv_rows rows;
	bench_folder_path("out", path);
	assert_int_equal(csv_read(&rows, path), 0);
	assert_int_equal(rows.n_rows, 5);
	csv_rows_free(&rows);

	char *bad[] = {"-m", MODEL, "-o", "results/x", NULL};
	assert_int_equal(bench_folder_run("bad", bad), 2);
	assert_true(bench_folder_said("errors", "--out names the directory"));
}

/* One format a stream, and a line a run as it goes. */
static void test_streams(void **state)
{
	(void)state;
	char path[128];
	struct csv_rows rows;
	char *both[] = {"-m", MODEL, "-p",  "0",   "-n",    "4",      "-r",     "2",          "-ngl",
			"0",  "-o",  "csv", "-oe", "jsonl", "--mode", "direct", "--progress", NULL};
	assert_int_equal(bench_folder_run("both", both), 0);
	bench_folder_path("out", path);
	assert_int_equal(csv_read(&rows, path), 0);
	assert_int_equal(rows.n_rows, 2);
	assert_string_equal(csv_at(&rows, 1, "test"), "tg4");
	csv_rows_free(&rows);
	assert_true(bench_folder_said("errors", "\n{\"build_commit\": "));
	assert_true(bench_folder_said("errors", "[1/2] tg4 direct full"));
	assert_true(bench_folder_said("errors", "[2/2] tg4 direct full"));
	assert_true(bench_folder_said("errors", "2 runs ok"));
	char *nothing[] = {"-m", MODEL, "-p",   "0",   "-n",    "4",      "-r",     "1", "-ngl",
			   "0",  "-o",  "none", "-oe", "table", "--mode", "direct", NULL};
	assert_int_equal(bench_folder_run("nothing", nothing), 0);
	bench_folder_path("out", path);
	struct stat printed;
	assert_int_equal(stat(path, &printed), 0);
	assert_int_equal(printed.st_size, 0);
	assert_true(bench_folder_said("errors", "vs direct"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, bench_folder_set_up, bench_folder_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {TEST(test_formats), TEST(test_streams)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
