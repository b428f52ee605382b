/* The command that compares: what it prints, keeps, and ends with. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "harness/cli/options.h"
#include "harness/record/calibration.h"
#include "tests/support/command.h"
#include "tests/support/compared.h"
#include "tests/support/ok.h"
#include "tests/support/read_csv.h"

static void test_command(void **state)
{
	(void)state;
	struct compare_options o = compared_options();
	struct compared_side head = compared_other(compared_plain);
	char calibration[160];
	head.status = RUN_STATUS_FAILED;
	head.slower[0] = 0.05;
	OK(compared_run(&compared_plain, &head, COMPARED_PROCESSES, &o, e));
	snprintf(calibration, sizeof calibration, "%s/state/c.json", compared_folder);
	static char all[2 * COMPARED_PROCESSES][160];
	static char base_word[] = "--base", head_word[] = "--head";
	char *words[4 * COMPARED_PROCESSES + 16] = {"compare", "--paired", "--calibration", calibration, "-o", "json"};
	int n = 6;
	for (int i = 0; i < COMPARED_PROCESSES; i++) {
		compared_path(all[2 * i], "base", i);
		compared_path(all[2 * i + 1], "head", i);
		words[n++] = base_word;
		words[n++] = all[2 * i];
		words[n++] = head_word;
		words[n++] = all[2 * i + 1];
	}
	assert_int_equal(command_run(compared_folder, cmd_compare, words), 1);
	char path[160];
	snprintf(path, sizeof path, "%s/out", compared_folder);
	json_t *j = json_load_file(path, 0, NULL);
	assert_non_null(j);
	assert_int_equal(json_integer_value(json_object_get(j, "exit_code")), 1);
	assert_int_equal(json_array_size(json_object_get(j, "cells")), COMPARED_CELLS);
	assert_true(json_is_null(json_object_get(j, "calibration")));
	json_decref(j);
	char csv_format[] = "csv", md[] = "md", table[] = "table";
	words[5] = csv_format;
	assert_int_equal(command_run(compared_folder, cmd_compare, words), 1);
	struct csv_rows rows;
	assert_int_equal(csv_read(&rows, path), 0);
	assert_true(rows.n_rows > COMPARED_CELLS);
	assert_string_equal(csv_at(&rows, 1, "metric"), "latency");
	assert_true(fabs(strtod(csv_at(&rows, 1, "effect"), NULL) - 0.05) < 0.005);
	csv_rows_free(&rows);
	/* For people nothing of a file reaches the terminal, or Markdown, as more than text. */
	words[5] = md;
	assert_int_equal(command_run(compared_folder, cmd_compare, words), 1);
	assert_true(command_said(compared_folder, "out", "| tg4 @ d64 | direct"));
	assert_false(command_said(compared_folder, "out", "\xe2\x80\xae"));
	words[5] = table;
	assert_int_equal(command_run(compared_folder, cmd_compare, words), 1);
	assert_true(command_said(compared_folder, "out", "memory|`<b>"));
	assert_false(command_said(compared_folder, "out", "\xe2\x80\xae"));
	assert_true(command_said(compared_folder, "out", "not calibrated here"));
	assert_true(command_said(compared_folder, "out", "fails now"));
	compared_free();
}

static void test_calibrate(void **state)
{
	(void)state;
	struct compare_options o = compared_options();
	struct compared_side head = compared_other(compared_plain);
	char path[160], calibration[160], base[160], second[160];
	struct compared_side base_made = compared_plain;
	base_made.repetitions = head.repetitions = 10;
	OK(compared_run(&base_made, &head, 1, &o, e));
	compared_free();
	compared_make("base", 0, &base_made);
	compared_make("head", 0, &head);
	compared_path(base, "base", 0);
	compared_path(second, "head", 0);
	snprintf(calibration, sizeof calibration, "%s/state/c.json", compared_folder);
	char *words[] = {"compare", base, second, "--calibrate", "--calibration", calibration, NULL};
	assert_int_equal(command_run(compared_folder, cmd_compare, words), 0);
	assert_true(command_said(compared_folder, "out", "calibrated here: 0 of 1 comparisons"));
	assert_int_equal(command_run(compared_folder, cmd_compare, words), 0);
	assert_true(command_said(compared_folder, "out", "calibrated here: 0 of 2 comparisons"));
	/* Without asking, nothing is kept; another machine knows nothing of it. */
	words[3] = words[4];
	words[4] = words[5];
	words[5] = NULL;
	command_run(compared_folder, cmd_compare, words);
	assert_true(command_said(compared_folder, "out", "calibrated here: 0 of 2 comparisons"));
	assert_false(command_said(compared_folder, "out", "noisier"));
	/* Noisier runs are not reassured by it. */
	base_made.noise = head.noise = 0.02;
	compared_make("base", 1, &base_made);
	compared_make("head", 1, &head);
	compared_path(base, "base", 1);
	compared_path(second, "head", 1);
	command_run(compared_folder, cmd_compare, words);
	assert_true(command_said(compared_folder, "out", "calibrated here: 0 of 2 comparisons"));
	assert_true(command_said(compared_folder, "out", "; these runs are noisier: by "));
	assert_true(command_said(compared_folder, "out", " times as much, and of such the calibration says nothing"));
	struct calibration k;
	OK(calibration_read(calibration, "another", &k, e));
	assert_int_equal(k.entries, 0);
	/* Of a pair of units 0.2 % each. */
	json_t *env = json_pack("{s:{s:s, s:i}, s:{s:s}, s:n}", "cpu", "model", "CPU", "available_cpus", 2, "system",
				"host", "box", "gpu");
	char machine[CALIBRATION_MACHINE_SIZE];
	calibration_machine(env, machine);
	json_decref(env);
	OK(calibration_read(calibration, machine, &k, e));
	assert_int_equal(k.entries, 2);
	assert_true(k.variation > 0.001 && k.variation < 0.004);
	/* What is no calibration is left alone. */
	snprintf(path, sizeof path, "%s/state/other.json", compared_folder);
	FILE *f = fopen(path, "w");
	fputs("{}\n", f);
	fclose(f);
	struct error err = {""};
	struct calibration_entry entry = {.machine = "m", .from = "compare", .sweeps = 1};
	assert_int_equal(calibration_add(path, &entry, &err), ERROR_INPUT);
	assert_int_equal(calibration_read(path, "m", &k, &err), ERROR_INPUT);
}

static void test_usage(void **state)
{
	(void)state;
	char *cases[][6] = {{"compare", NULL},
			    {"compare", "only", NULL},
			    {"compare", "nowhere", "nowhere", NULL},
			    {"compare", "a", "b", "c", NULL},
			    {"compare", "a", "b", "--gate", "yes", NULL},
			    {"compare", "a", "b", "--gate-exact", "launches,time", NULL}};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_int_equal(command_run(compared_folder, cmd_compare, cases[i]), 2);
		assert_true(command_said(compared_folder, "errors", "gemmark compare: "));
		assert_false(command_said(compared_folder, "out", "c"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_command, compared_set_up, compared_tear_down),
		cmocka_unit_test_setup_teardown(test_calibrate, compared_set_up, compared_tear_down),
		cmocka_unit_test_setup_teardown(test_usage, compared_set_up, compared_tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
