/* gemmark compare of Google Benchmark's files: known differences, what is refused, what somebody's file may hold. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "harness/cli/options.h"
#include "tests/support/command.h"
#include "tests/support/folder.h"
#include "tests/support/read_csv.h"

enum { REPETITIONS = 14, ROOM = 1 << 16 };

static char folder[FOLDER_BYTES];

static int set_up(void **state)
{
	(void)state;
	return folder_make(folder, "benchmarks");
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(folder);
}

/* A path below the folder. */
static char *path(const char *name)
{
	static char paths[64][FOLDER_BYTES + 32];
	static int next;
	char *p = paths[next++ % 64];
	snprintf(p, sizeof paths[0], "%s/%s", folder, name);
	return p;
}

/* Three benchmarks: of 100 us, of 2 ms in another unit, and one that reports an error where `error` is not null. Beside
 * them an aggregate, which is 1000 times too long. seed: of the noise, 0.2 %. */
static void write_file(const char *name, double slower, int repetitions, int seed, const char *error, const char *gpu)
{
	static char text[ROOM];
	int n = snprintf(text, ROOM, "{\"context\": {\"host_name\": \"here\", \"gpu\": \"%s\"}, \"benchmarks\": [\n",
			 gpu);
	for (int i = 0; i < repetitions; i++) {
		double noise = 1 + 0.002 * ((i * 7 + seed * 3) % 11 - 5) / 5;
		n += snprintf(
			text + n, ROOM - (size_t)n,
			"{\"name\": \"a/product,\\\"x\\\"\", \"run_type\": \"iteration\", \"repetition_index\": %d, "
			"\"real_time\": %.6f, \"cpu_time\": 1, \"time_unit\": \"us\"},\n"
			"{\"name\": \"b/plain\", \"run_type\": \"iteration\", \"real_time\": %.6f, \"time_unit\": "
			"\"ms\"},\n",
			i, 100 * slower * noise, 2 * noise);
		n += error ? snprintf(text + n, ROOM - (size_t)n,
				      "{\"name\": \"c/fails\", \"run_type\": \"iteration\", \"error_occurred\": true, "
				      "\"error_message\": \"%s\", \"real_time\": 0, \"time_unit\": \"us\"},\n",
				      error)
			   : snprintf(text + n, ROOM - (size_t)n,
				      "{\"name\": \"c/fails\", \"real_time\": %.6f, \"time_unit\": \"ns\"},\n",
				      5e3 * noise);
	}
	snprintf(text + n, ROOM - (size_t)n,
		 "{\"name\": \"a/product_mean\", \"run_type\": \"aggregate\", \"aggregate_name\": \"mean\", "
		 "\"real_time\": 1e5, \"time_unit\": \"us\"}]}\n");
	char below[64];
	snprintf(below, sizeof below, "/%s", name);
	assert_int_equal(folder_put(folder, below, text), 0);
}

static int compare(char **more)
{
	char *words[48] = {"compare"};
	int n = 1;
	while (more[n - 1]) {
		words[n] = more[n - 1];
		n++;
	}
	return command_run(folder, cmd_compare, words);
}
#define COMPARE(...) compare((char *[]){__VA_ARGS__, NULL})

static json_t *said(void)
{
	json_t *j = json_load_file(path("out"), 0, NULL);
	assert_non_null(j);
	return j;
}

static json_t *benchmark(json_t *j, const char *name)
{
	json_t *list = json_object_get(j, "benchmarks"), *one;
	size_t i;
	json_array_foreach(list, i, one)
	{
		if (!strcmp(json_string_value(json_object_get(one, "name")), name))
			return one;
	}
	fail_msg("no %s", name);
	return NULL;
}

static const char *outcome(json_t *j, const char *name)
{
	return json_string_value(json_object_get(benchmark(j, name), "outcome"));
}

static const char product[] = "a/product,\"x\"";

static void test_one_process(void **state)
{
	(void)state;
	write_file("base", 1, REPETITIONS, 1, NULL, "G");
	write_file("head", 1.2, REPETITIONS, 2, NULL, "G");
	assert_int_equal(COMPARE(path("base"), path("head"), "-o", "json"), 1);
	json_t *j = said(), *one = benchmark(j, product);
	assert_int_equal(json_array_size(json_object_get(j, "benchmarks")), 3); /* no aggregate */
	assert_string_equal(outcome(j, product), "slower");
	assert_true(fabs(json_number_value(json_object_get(one, "effect")) - 0.2) < 0.003);
	assert_true(fabs(json_number_value(json_object_get(one, "base_us")) - 100) < 0.3);
	one = benchmark(j, "b/plain"); /* milliseconds */
	assert_true(fabs(json_number_value(json_object_get(one, "base_us")) - 2000) < 6);
	assert_int_equal(json_integer_value(json_object_get(one, "n_head")), REPETITIONS);
	assert_string_equal(outcome(j, "b/plain"), "same");
	assert_true(fabs(json_number_value(json_object_get(benchmark(j, "c/fails"), "base_us")) - 5) < 0.02);
	json_decref(j);
	assert_int_equal(COMPARE(path("head"), path("base"), "-o", "json"), 0); /* faster */

	/* Two processes may differ by 5 %: 3 % cannot be told, unless that is said. */
	write_file("near", 1.03, REPETITIONS, 2, NULL, "G");
	assert_int_equal(COMPARE(path("base"), path("near")), 3);
	assert_true(command_said(folder, "out", "cannot tell"));
	assert_int_equal(COMPARE(path("base"), path("near"), "--process", "0"), 1);
	/* Of three repetitions nothing can be said. */
	write_file("few", 1.2, 3, 2, NULL, "G");
	write_file("few2", 1, 3, 1, NULL, "G");
	assert_int_equal(COMPARE(path("few2"), path("few")), 3);
	assert_true(command_said(folder, "out", "With so few measurements"));
}

static void test_formats(void **state)
{
	(void)state;
	write_file("base", 1, REPETITIONS, 1, NULL, "G");
	write_file("head", 1.2, REPETITIONS, 2, NULL, "G");
	struct csv_rows rows;
	assert_int_equal(COMPARE(path("base"), path("head"), "-o", "csv", "--out", path("out.csv")), 1);
	assert_int_equal(csv_read(&rows, path("out.csv")), 0);
	assert_int_equal(rows.n_rows, 4);
	assert_string_equal(csv_at(&rows, 1, "benchmark"), product);
	assert_string_equal(csv_at(&rows, 1, "outcome"), "slower");
	assert_true(fabs(strtod(csv_at(&rows, 1, "effect"), NULL) - 0.2) < 0.003);
	csv_rows_free(&rows);
	assert_int_equal(COMPARE(path("base"), path("head")), 1);
	assert_true(command_said(folder, "out", "3 benchmarks: 1 slower, 0 faster, 2 the same"));
	assert_true(command_said(folder, "out", product));
	assert_false(command_said(folder, "out", "b/plain"));
	assert_int_equal(COMPARE(path("base"), path("head"), "--all", "-o", "md"), 1);
	assert_true(command_said(folder, "out", "| b/plain"));
	/* What is compared is never written onto. */
	assert_int_equal(COMPARE(path("base"), path("head"), "--out", path("head")), 2);
	assert_int_equal(COMPARE(path("base"), path("head"), "-o", "json"), 1);
}

static void test_errors_in_results(void **state)
{
	(void)state;
	write_file("base", 1, REPETITIONS, 1, NULL, "G");
	write_file("fails", 1, REPETITIONS, 2, "out of <b>memory|", "G");
	write_file("wrong", 1, REPETITIONS, 2, "wrong: not what it was", "G");
	assert_int_equal(COMPARE(path("base"), path("fails"), "-o", "md"), 1);
	assert_true(command_said(folder, "out", "fails now: out of /b/memory/"));
	assert_int_equal(COMPARE(path("base"), path("wrong")), 4);
	assert_int_equal(COMPARE(path("fails"), path("base")), 0);
}

/* Of several files a side the file is the unit. */
static void test_processes(void **state)
{
	(void)state;
	enum { FILES = 10 };
	char *words[4 * FILES + 3] = {"-o", "json"};
	int n = 2;
	for (int i = 0; i < FILES; i++) {
		char base[16], head[16];
		snprintf(base, sizeof base, "base%d", i);
		snprintf(head, sizeof head, "head%d", i);
		write_file(base, 1, 3, i, NULL, "G");
		write_file(head, 1.03, 3, i + 1, NULL, "G");
		words[n++] = "--base";
		words[n++] = path(base);
		words[n++] = "--head";
		words[n++] = path(head);
	}
	words[n] = NULL;
	assert_int_equal(compare(words), 1); /* 3 %: processes are in the interval */
	json_t *j = said();
	assert_int_equal(json_integer_value(json_object_get(benchmark(j, product), "n_base")), FILES);
	json_decref(j);
}

static void test_sides_differ(void **state)
{
	(void)state;
	write_file("base", 1, REPETITIONS, 1, NULL, "G");
	write_file("other", 1, REPETITIONS, 2, NULL, "another GPU");
	assert_int_equal(COMPARE(path("base"), path("other")), 2);
	assert_true(command_said(folder, "errors", "gpu: G there, another GPU here"));
	assert_int_equal(COMPARE(path("base"), path("other"), "--allow-env-diff"), 0);
	assert_int_equal(COMPARE(path("base"), path("base")), 2);
	assert_true(command_said(folder, "errors", "named twice"));
	assert_int_equal(folder_put(folder, "/less",
				    "{\"context\": {\"host_name\": \"here\", \"gpu\": \"G\"}, \"benchmarks\": ["
				    "{\"name\": \"b/plain\", \"real_time\": 2, \"time_unit\": \"ms\"}]}"),
			 0);
	assert_int_equal(COMPARE(path("base"), path("less")), 2);
	assert_true(command_said(folder, "errors", "2 benchmarks are of one side alone (the first: a/product"));
	assert_int_equal(COMPARE(path("less"), path("base")), 2);
	assert_int_equal(COMPARE(path("base"), path("less"), "--common-cells"), 3);
	assert_int_equal(COMPARE(path("base"), path("less"), "--common-cells", "--paired"), 2);
	assert_int_equal(COMPARE(path("base"), folder), 2);
	assert_true(command_said(folder, "errors", " is a directory and "));
	assert_true(
		command_said(folder, "errors", "base a file: no sides of one comparison; give directories of runs"));
	assert_int_equal(COMPARE(path("base"), path("absent")), 2);
	assert_true(command_said(folder, "errors", "absent: No such file or directory"));
	assert_int_equal(COMPARE(path("absent"), path("base")), 2);
	assert_true(command_said(folder, "errors", "absent: No such file or directory"));
	assert_int_equal(COMPARE(path("base"), path("other"), "--across", "mode"), 2);
	assert_int_equal(COMPARE(path("base"), path("other"), "--calibrate"), 2);
}

/* A file of one benchmark with that context. */
static void write_context(const char *name, const char *context)
{
	char text[4096], below[64];
	int n = snprintf(text, sizeof text, "{\"context\": {%s}, \"benchmarks\": [", context);
	for (int i = 0; i < REPETITIONS; i++)
		n += snprintf(text + n, sizeof text - (size_t)n,
			      "%s{\"name\": \"b\", \"real_time\": %d, \"time_unit\": \"us\"}", i ? ", " : "",
			      1000 + i % 3);
	snprintf(text + n, sizeof text - (size_t)n, "]}");
	snprintf(below, sizeof below, "/%s", name);
	assert_int_equal(folder_put(folder, below, text), 0);
}

/* What files say of commits, memories and the GPU; those of earlier programs say none of it. */
static void test_conditions(void **state)
{
	(void)state;
	write_context("older", "\"gpu\": \"G\"");
	write_context("base",
		      "\"gpu\": \"G\", \"gemmark_commit\": \"0123456789\", \"nvrtc\": \"13.0\", "
		      "\"host_read_gb_s\": \"100.0\", \"gpu_copy_gb_s\": \"2990.0\", \"gpu_read_gb_s\": \"3100\"");
	write_context("head", "\"gpu\": \"G\", \"gemmark_commit\": \"abc|<b>\", \"nvrtc\": \"13.0\", "
			      "\"host_read_gb_s\": \"80.0\", \"gpu_copy_gb_s\": \"2991.0\", \"gpu_read_gb_s\": \"x\"");
	write_context("other", "\"gpu\": \"another\", \"nvrtc\": \"12.9\"");

	assert_int_equal(COMPARE(path("base"), path("head"), "-o", "md"), 0);
	assert_true(command_said(folder, "out", "Base is of commit 0123456789, head of abc//b/."));
	assert_true(command_said(folder, "out", "host_read_gb_s: 100.0 in base, 80.0 in head (-20.0 %)"));
	assert_false(command_said(folder, "out", "gpu_copy_gb_s"));
	assert_false(command_said(folder, "out", "gpu_read_gb_s"));
	assert_int_equal(COMPARE(path("base"), path("head"), "-o", "json"), 0);
	json_t *j = said(), *rates = json_object_get(j, "bandwidths");
	assert_string_equal(json_string_value(json_object_get(j, "base_commit")), "0123456789");
	assert_true(json_number_value(json_array_get(json_object_get(rates, "gpu_copy_gb_s"), 1)) == 2991);
	assert_true(json_number_value(json_array_get(json_object_get(rates, "gpu_read_gb_s"), 0)) == 3100);
	assert_true(json_is_null(json_array_get(json_object_get(rates, "gpu_read_gb_s"), 1)));
	assert_int_equal(json_object_size(json_object_get(j, "environment_differences")), 0);
	json_decref(j);

	/* On either side, and first of several. */
	assert_int_equal(COMPARE(path("older"), path("base")), 0);
	assert_true(command_said(folder, "out", "Base is of commit unknown, head of 0123456789."));
	assert_int_equal(COMPARE(path("base"), path("older")), 0);
	assert_int_equal(COMPARE(path("older"), path("older"), "--allow-env-diff"), 2);
	write_context("older2", "\"gpu\": \"G\"");
	assert_int_equal(COMPARE(path("older"), path("older2")), 0);
	assert_false(command_said(folder, "out", "ommit"));
	write_context("compiled", "\"gpu\": \"G\", \"nvrtc\": \"12.9\"");
	assert_int_equal(COMPARE("--base", path("older"), "--base", path("base"), "--head", path("older2"), "--head",
				 path("compiled")),
			 2);
	assert_true(command_said(folder, "errors", "nvrtc: 13.0 there, 12.9 here"));

	/* What differs is said where it may. */
	assert_int_equal(COMPARE(path("base"), path("other"), "--allow-env-diff"), 0);
	assert_true(command_said(folder, "out", "The sides were not measured alike: gpu: G there, another here."));
	assert_true(command_said(folder, "out", "The sides were not measured alike: nvrtc: 13.0 there, 12.9 here."));
	assert_int_equal(COMPARE(path("base"), path("other"), "--allow-env-diff", "-o", "json"), 0);
	j = said();
	json_t *gpu = json_object_get(json_object_get(j, "environment_differences"), "gpu");
	assert_string_equal(json_string_value(json_array_get(gpu, 1)), "another");
	json_decref(j);
}

static void test_hostile(void **state)
{
	(void)state;
	static const struct {
		const char *text, *line;
	} files[] = {
		{"", "no JSON"},
		{"[", "no JSON"},
		{"GGUF", "; give a file that --benchmark_out wrote"},
		{"[]", "no list of benchmarks"},
		{"{}", "no list of benchmarks"},
		{"{\"benchmarks\": 3}", "no list of benchmarks"},
		{"{\"benchmarks\": []}", "no benchmark in it has a result"},
		{"{\"benchmarks\": [], \"benchmarks\": []}", "no JSON"},
		{"{\"benchmarks\": [3]}", "benchmarks[0]: no object"},
		{"{\"benchmarks\": [{\"real_time\": 1}]}", "no name"},
		{"{\"benchmarks\": [{\"name\": \"\"}]}", "no name"},
		{"{\"benchmarks\": [{\"name\": 7}]}", "no name"},
		{"{\"benchmarks\": [{\"name\": \"a\"}]}", "time_unit"},
		{"{\"benchmarks\": [{\"name\": \"a\", \"time_unit\": \"h\", \"real_time\": 1}]}", "time_unit"},
		{"{\"benchmarks\": [{\"name\": \"a\", \"time_unit\": \"us\"}]}", "real_time"},
		{"{\"benchmarks\": [{\"name\": \"a\", \"time_unit\": \"us\", \"real_time\": \"1\"}]}", "real_time"},
		{"{\"benchmarks\": [{\"name\": \"a\", \"time_unit\": \"us\", \"real_time\": 0}]}", "real_time"},
		{"{\"benchmarks\": [{\"name\": \"a\", \"time_unit\": \"us\", \"real_time\": -1}]}", "real_time"},
		{"{\"benchmarks\": [{\"name\": \"a\", \"time_unit\": \"s\", \"real_time\": 1e305}]}", "real_time"},
		{"{\"benchmarks\": [{\"name\": \"a\", \"time_unit\": \"s\", \"real_time\": 1e999}]}", "no JSON"},
		{"{\"benchmarks\": [{\"name\": \"a\\u0000b\", \"time_unit\": \"s\", \"real_time\": 1}]}", "no JSON"},
		{"{\"benchmarks\": [{\"name\": \"a\xff\", \"time_unit\": \"s\", \"real_time\": 1}]}", "no JSON"},
		{"{\"benchmarks\": [{\"name\": \"a\", \"run_type\": \"aggregate\"}]}", "no benchmark in it"},
	};
	write_file("base", 1, REPETITIONS, 1, NULL, "G");
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		assert_int_equal(folder_put(folder, "/hostile", files[i].text), 0);
		if (COMPARE(path("base"), path("hostile")) != 2 || !command_said(folder, "errors", files[i].line) ||
		    command_said(folder, "errors", "\xff"))
			fail_msg("%s: not refused with '%s'", files[i].text, files[i].line);
	}
	static char deep[100001];
	memset(deep, '[', sizeof deep - 1);
	assert_int_equal(folder_put(folder, "/hostile", deep), 0);
	assert_int_equal(COMPARE(path("base"), path("hostile")), 2);
	/* Names reach a terminal as text. */
	assert_int_equal(folder_put(folder, "/hostile",
				    "{\"benchmarks\": [{\"name\": \"a\\u001b[31m\\u202e\", \"time_unit\": \"us\", "
				    "\"real_time\": 1}]}"),
			 0);
	assert_int_equal(folder_put(folder, "/hostile2",
				    "{\"benchmarks\": [{\"name\": \"a\\u001b[31m\\u202e\", \"time_unit\": \"us\", "
				    "\"real_time\": 2}]}"),
			 0);
	static char table[] = "table", md[] = "md", csv[] = "csv";
	char *const formats[] = {table, md, csv};
	for (int i = 0; i < 3; i++) {
		assert_int_equal(COMPARE(path("hostile"), path("hostile2"), "-o", formats[i], "--all"), 3);
		assert_false(command_said(folder, "out", "\x1b"));
		assert_false(command_said(folder, "out", "\xe2\x80\xae"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_process, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_formats, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_errors_in_results, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_processes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_sides_differ, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_conditions, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_hostile, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
