/*
 * A model's name, and its file's, whatever bytes they are: the same valid text in every output, cut between
 * characters.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/text.h"
#include "harness/cli/cmd_model.h"
#include "harness/cli/options.h"
#include "tests/support/command.h"
#include "tests/support/folder.h"
#include "tests/support/read_csv.h"
#include "tests/support/renamed_model.h"

#define GOLDEN "golden/qwen3-tiny.q8_0.gguf"
#define BAD "\xef\xbf\xbd" /* U+FFFD */
#define FACE "\xf0\x9f\x98\x80"
#define FACES FACE FACE FACE FACE FACE FACE FACE FACE

/* Escape sequences, and bytes that are no UTF-8. */
static const char hostile[] = "x\x1b[31m\xff\xe2\x82y", hostile_name[] = "x" BAD "[31m" BAD BAD "y";
static const char hostile_file[] = "m\x1b\n\xff.gguf", hostile_file_name[] = "m" BAD BAD BAD ".gguf";
/* Four bytes a character behind one: neither 95 nor 40 ends one. 23 of them fit the model's name, 9 the table. */
static const char long_bytes[] = "a" FACES FACES FACES FACES;
static const char long_name[] = "a" FACES FACES FACE FACE FACE FACE FACE FACE FACE;
static const char long_table[] = "a" FACES FACE " (";

static char folder[FOLDER_BYTES];

static int set_up(void **state)
{
	(void)state;
	return folder_make(folder, "names");
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(folder);
}

static int bench(const char *model, const char *format, const char *out)
{
	char path[256], to[256];
	snprintf(path, sizeof path, "%s/%s", folder, model);
	snprintf(to, sizeof to, "%s/%s", folder, out);
	char *words[] = {"bench",        "-m",    path, "-ngl", "0",      "-t",     "1",           "-p", "0",
			 "-n",           "1",     "-r", "1",    "--mode", "direct", "--telemetry", "0",  "-o",
			 (char *)format, "--out", to,   NULL};
	return command_run(folder, cmd_bench, words);
}

/* A file's bytes: valid UTF-8, one line a line. */
static char *read_text(const char *name)
{
	FILE *f = folder_open(folder, name, "r");
	static char text[1 << 16];
	size_t n = fread(text, 1, sizeof text - 1, f);
	fclose(f);
	text[n] = '\0';
	for (size_t i = 0; i < n;) {
		int length = text_utf8_length(text + i);
		if (length < 1 || ((unsigned char)text[i] < ' ' && text[i] != '\n' && text[i] != '\t'))
			fail_msg("%s: byte 0x%02x at %zu", name, (unsigned char)text[i], i);
		i += (size_t)length;
	}
	return text;
}

static void expect(const char *where, const char *text)
{
	if (!strstr(read_text(where), text))
		fail_msg("%s: \"%s\" is not in it: %s", where, text, read_text(where));
}

static void check_csv(const char *run, const char *name, const char *file)
{
	char path[256];
	struct csv_rows rows;
	snprintf(path, sizeof path, "%s/%s/runs.csv", folder, run);
	assert_int_equal(csv_read(&rows, path), 0);
	assert_int_equal(rows.n_rows, 2);
	assert_string_equal(csv_at(&rows, 1, "model"), name);
	assert_string_equal(csv_at(&rows, 1, "model_path_name"), file);
	csv_rows_free(&rows);
	snprintf(path, sizeof path, "%s/runs.csv", run);
	read_text(path);
}

static void check_formats(const char *name, const char *table_name, const char *file, const char *model)
{
	static const char *const formats[] = {"md", "csv", "sql", "jsonl"};
	char path[256], run[32];
	assert_int_equal(bench(model, "table", "table"), 0);
	expect("out", table_name);
	check_csv("table", name, file);
	for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
		snprintf(run, sizeof run, "run-%s", formats[i]);
		assert_int_equal(bench(model, formats[i], run), 0);
		expect("out", name);
		if (strcmp(formats[i], "md"))
			expect("out", file);
	}
	assert_int_equal(bench(model, "json", "json"), 0);
	snprintf(path, sizeof path, "%s/out", folder);
	json_t *list = json_load_file(path, 0, NULL);
	const json_t *record = json_array_get(list, 0);
	char type[200];
	snprintf(type, sizeof type, "%s Q8_0", name);
	assert_string_equal(json_string_value(json_object_get(record, "model_type")), type);
	assert_string_equal(json_string_value(json_object_get(record, "model_filename")), file);
	json_decref(list);

	snprintf(path, sizeof path, "%s/table/env.json", folder);
	json_t *env = json_load_file(path, 0, NULL);
	record = json_array_get(json_object_get(env, "models"), 0);
	assert_string_equal(json_string_value(json_object_get(record, "file")), file);
	json_decref(env);

	snprintf(path, sizeof path, "%s/%s", folder, model);
	char *show[] = {"show", path, NULL}, *plot[] = {"plot", path, "--format", "svg", NULL};
	assert_int_equal(command_run(folder, cmd_model_show, show), 0);
	snprintf(type, sizeof type, "name            %s\n", name);
	expect("out", type);
	snprintf(path, sizeof path, "%s/table", folder);
	assert_int_equal(command_run(folder, cmd_plot, plot), 0);
	expect("table/plots/latency.svg", name);
}

static void test_hostile(void **state)
{
	(void)state;
	char path[256];
	snprintf(path, sizeof path, "%s/%s", folder, hostile_file);
	renamed_model(GOLDEN, path, hostile, NULL);
	check_formats(hostile_name, hostile_name, hostile_file_name, hostile_file);
}

static void test_long(void **state)
{
	(void)state;
	char path[256];
	snprintf(path, sizeof path, "%s/m.gguf", folder);
	renamed_model(GOLDEN, path, long_bytes, NULL);
	check_formats(long_name, long_table, "m.gguf", "m.gguf");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_hostile, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_long, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
