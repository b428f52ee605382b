/*
 * A history printed, drawn and handed on: what a reader of each form finds, of values that were written into the lines,
 * hostile texts among them.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/random.h"
#include "harness/report/document_html.h"
#include "harness/report/history_figures.h"
#include "harness/report/history_output.h"
#include "tests/support/folder.h"
#include "tests/support/history_sample.h"
#include "tests/support/ok.h"
#include "tests/support/read_csv.h"

static struct history history;
static struct history_view view;
static char folder[FOLDER_BYTES];

/* 20 commits, slower by 3 % from the 12th on; 2 of another driver behind; with a name that wants to be markup. */
static int set_up(void **state)
{
	(void)state;
	uint64_t seed = 3;
	history = (struct history){.path = "test"};
	for (int i = 0; i < 22; i++) {
		char line[SAMPLE_LINE], commit[16], date[24], runs[64], run[16];
		struct error err;
		double x = (i >= 12 ? 1030 : 1000) * (1 + 0.004 * ((double)random_below(&seed, 1000) / 1000 - 0.5));
		snprintf(commit, sizeof commit, "%07x", 0x1000000 + i);
		snprintf(date, sizeof date, "2026-05-%02d", i + 1);
		snprintf(runs, sizeof runs, "%.9g,%.9g", x, x);
		snprintf(run, sizeof run, "r%d", i);
		history_sample_line(
			line, (struct history_sample){.machine = "<b>|`box`",
						      .commit = commit,
						      .date = date,
						      .run = run,
						      .mode = "a,\\\"b\\\"<i>|",
						      .runs = runs,
						      .env = i < 20 ? "\"driver\":\"570\"" : "\"driver\":\"<580>\""});
		if (history_take(&history, line, strlen(line), (size_t)i + 1, &err))
			return -1;
	}
	struct stats_change_options o;
	struct error err;
	stats_change_options_default(&o);
	return history_view_make(&view, &history, &o, &err) || folder_make(folder, "history-output");
}

static int tear_down(void **state)
{
	(void)state;
	history_view_free(&view);
	history_free(&history);
	return folder_remove(folder);
}

static char *print(enum compare_format format)
{
	char *text;
	size_t size;
	FILE *f = open_memstream(&text, &size);
	OK(history_output_write(&view, 1, format, f, e));
	fclose(f);
	return text;
}

static void test_text(void **state)
{
	(void)state;
	char *text = print(COMPARE_FORMAT_TABLE);
	assert_non_null(strstr(text, "1 change, of which 1 for the worse in 1 series of 22 commits"));
	assert_non_null(strstr(text, "100000b..100000c"));
	assert_non_null(strstr(text, "2026-05-13"));
	assert_non_null(strstr(text, "+3.0"));
	assert_non_null(strstr(text, "slower"));
	assert_non_null(strstr(text, "at 1000014: driver: 570, then <580>"));
	/* Two parts, each searched once. */
	assert_non_null(strstr(text, "(about 0.002 false\nchanges in 1 series"));
	free(text);
	text = print(COMPARE_FORMAT_MD);
	assert_null(strstr(text, "<b>"));
	assert_null(strstr(text, "<i>"));
	assert_null(strstr(text, "<580>"));
	/* As many cells in each row of the table of changes. */
	int bars[3] = {0}, row = 0;
	for (char *p = strstr(text, "| test"); *p && row < 3; p++) {
		bars[row] += *p == '|';
		row += *p == '\n';
	}
	assert_true(bars[0] > 5 && bars[0] == bars[1] && bars[1] == bars[2]);
	free(text);
}

static void test_json(void **state)
{
	(void)state;
	char *text = print(COMPARE_FORMAT_JSON);
	json_t *o = json_loads(text, 0, NULL), *files = json_object_get(o, "files"), *file = json_array_get(files, 0);
	assert_int_equal(json_array_size(files), 1);
	assert_int_equal(json_array_size(json_object_get(file, "commits")), 22);
	json_t *series = json_array_get(json_object_get(file, "series"), 0);
	assert_int_equal(json_array_size(json_object_get(series, "points")), 22);
	assert_int_equal(json_array_size(json_object_get(series, "parts")), 2);
	assert_int_equal(json_array_size(json_object_get(series, "levels")), 3);
	json_t *change = json_array_get(json_object_get(series, "changes"), 0);
	assert_int_equal(json_integer_value(json_object_get(change, "before")), 11);
	assert_int_equal(json_integer_value(json_object_get(change, "after")), 12);
	assert_true(fabs(json_real_value(json_object_get(change, "effect")) - 0.03) < 0.002);
	assert_true(json_is_true(json_object_get(change, "worse")));
	json_decref(o);
	free(text);
}

/* Written to the folder, read by libcsv's own parser. */
static void put_file(const char *name, const char *text)
{
	FILE *f = folder_open(folder, name, "w");
	fputs(text, f);
	fclose(f);
}

static void test_csv(void **state)
{
	(void)state;
	char path[FOLDER_BYTES + 32], *text = print(COMPARE_FORMAT_CSV);
	put_file("levels.csv", text);
	free(text);
	snprintf(path, sizeof path, "%s/levels.csv", folder);
	struct csv_rows rows;
	assert_int_equal(csv_read(&rows, path), 0);
	assert_int_equal(rows.n_rows, 4); /* the header and three levels */
	for (int r = 0; r < 4; r++)
		assert_int_equal(csv_width(&rows, r), 21);
	assert_string_equal(csv_at(&rows, 2, "series"), "tg32 a,\"b\"<i>| full");
	assert_string_equal(csv_at(&rows, 1, "effect"), "");
	assert_true(fabs(atof(csv_at(&rows, 2, "effect")) - 0.03) < 0.002);
	assert_string_equal(csv_at(&rows, 2, "changed_after"), "100000b");
	assert_string_equal(csv_at(&rows, 2, "first_commit"), "100000c");
	assert_string_equal(csv_at(&rows, 3, "part"), "1");
	assert_true(fabs(atof(csv_at(&rows, 1, "value")) - 1000) < 1);
	csv_rows_free(&rows);
}

/* What Otava's importer asks for: a time and a number in each row of each file that the YAML names. */
static void test_otava(void **state)
{
	(void)state;
	struct run_directory to;
	char path[2 * FOLDER_BYTES], line[400], file[200] = "";
	int n, files = 0, values = 0;
	OK(run_directory_open(&to, folder, e));
	OK(history_otava_write(&view, 1, &to, &n, e));
	run_directory_close(&to);
	assert_int_equal(n, 2);
	FILE *yaml = folder_open(folder, "otava.yaml", "r");
	assert_non_null(fgets(line, sizeof line, yaml));
	assert_string_equal(line, "tests:\n");
	while (fgets(line, sizeof line, yaml)) {
		if (strstr(line, "direction:"))
			assert_non_null(strstr(line, "direction: -1"));
		if (sscanf(line, "    file: %199s", file) != 1)
			continue;
		files++;
		assert_true(strspn(file, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") ==
			    strlen(file));
		snprintf(path, sizeof path, "%s/%s", folder, file);
		struct csv_rows rows;
		assert_int_equal(csv_read(&rows, path), 0);
		assert_string_equal(rows.fields[0], "time");
		for (int r = 1; r < rows.n_rows; r++, values++) {
			char *end;
			assert_int_equal(strlen(csv_at(&rows, r, "time")), 20);
			assert_true(strtod(csv_at(&rows, r, "value"), &end) > 900 && !*end);
		}
		csv_rows_free(&rows);
	}
	fclose(yaml);
	assert_int_equal(files, 2);
	assert_int_equal(values, 22);
}

static int pictures;

static void count_picture(void *ctx, const char *path)
{
	(void)ctx, (void)path;
	pictures++;
}

static void test_plot(void **state)
{
	(void)state;
	struct run_directory out;
	const struct plot_request request = {
		.formats = PLOT_FORMAT_SVG, .gnuplot = "gnuplot", .timeout_s = 60, .wrote = count_picture};
	OK(run_directory_open(&out, folder, e));
	pictures = 0;
	OK(history_plot(&view, 1, &request, &out, e));
	run_directory_close(&out);
	assert_int_equal(pictures, 1);
	char text[1 << 17];
	FILE *f = folder_open(folder, "history-1-tg32-a-b-i-full.svg", "r");
	size_t size = fread(text, 1, sizeof text - 1, f);
	text[size] = '\0';
	fclose(f);
	assert_non_null(strstr(text, "+3.0 %"));
	assert_non_null(strstr(text, "570, then &lt;580>"));
	assert_null(strstr(text, "<i>"));
}

static void test_page(void **state)
{
	(void)state;
	struct document d;
	struct figure_maker m;
	char *text;
	size_t size;
	document_init(&d);
	OK(history_document(&d, &view, 1, e));
	OK(figure_maker_open(&m, "gnuplot", 60, e));
	FILE *f = open_memstream(&text, &size);
	OK(document_html(&d, &m, f, e));
	fclose(f);
	figure_maker_close(&m);
	document_free(&d);
	assert_null(strstr(text, "<i>"));
	assert_null(strstr(text, "<b>"));
	assert_non_null(strstr(text, "100000b..100000c"));
	assert_non_null(strstr(text, "Recalibrated at 1000014"));
	assert_non_null(strstr(text, "worse from here on"));
	/* Points of 22 processes, a change and a mark, in the wide and in the narrow picture. */
	int points = 0;
	for (char *p = text; (p = strstr(p, "<path class=\"p k")); p++)
		points++;
	assert_int_equal(points, 2 * (22 + 1 + 1));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_text, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_json, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_csv, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_otava, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_plot, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_page, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
