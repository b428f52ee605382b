/* A run against its series: the outcome of each cell, and the exit code, of differences that were written into it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "harness/report/history_check.h"
#include "tests/support/compared.h"
#include "tests/support/ok.h"

static struct run_directory store;

static struct compared_side side(const char *commit, uint64_t seed)
{
	struct compared_side m = compared_plain;
	m.commit = commit;
	m.seed = seed;
	m.own_runs = 1;
	m.gpu = "H100";
	m.driver = "570";
	return m;
}

static struct result_set *open_side(const char *name, int process)
{
	char path[160];
	struct result_set *s = calloc(1, sizeof *s);
	assert_non_null(s);
	compared_path(path, name, process);
	OK(result_set_open(s, path, e));
	return s;
}

static void add(struct result_set *s, const char *date)
{
	struct history_lines lines = {0};
	const struct history_dates dates = {.date = date};
	int added;
	OK(history_from_results(&lines, s, NULL, &dates, 0, e));
	for (int i = 0; i < lines.n; i++)
		OK(history_append(&store, lines.lines[i].file, (const char *const[]){lines.lines[i].text}, 1, &added,
				  e));
	history_lines_free(&lines);
}

/* A store of 12 commits at one level. */
static int set_up(void **state)
{
	struct error err;
	char path[FOLDER_BYTES + 16];
	if (compared_set_up(state))
		return -1;
	snprintf(path, sizeof path, "%s/store", compared_folder);
	if (run_directory_make(&store, path, &err))
		return -1;
	for (int i = 0; i < 12; i++) {
		char commit[16], date[24];
		snprintf(commit, sizeof commit, "%07x", 0x1000000 + i);
		snprintf(date, sizeof date, "2026-05-%02d", i + 1);
		struct compared_side m = side(commit, 100 + (uint64_t)i);
		compared_make("base", i, &m);
		struct result_set *s = open_side("base", i);
		add(s, date);
		result_set_close(s);
		free(s);
	}
	return 0;
}

static int tear_down(void **state)
{
	run_directory_close(&store);
	return compared_tear_down(state);
}

static struct history_check check;

/* Checks n processes of a side; the exit code. */
static int run(const struct compared_side *m, int n, const struct history_join *join)
{
	struct result_set *sets[4];
	struct stats_change_options change;
	struct continuation_options o;
	static int made;
	stats_change_options_default(&change);
	continuation_options_default(&o);
	for (int i = 0; i < n; i++) {
		compared_make("head", made, m);
		sets[i] = open_side("head", made++);
	}
	history_check_free(&check);
	OK(history_check_run(&check, &store, sets, n, NULL, join, &change, &o, e));
	for (int i = 0; i < n; i++) {
		result_set_close(sets[i]);
		free(sets[i]);
	}
	return history_check_code(&check);
}

static int count(enum history_outcome o)
{
	int n = 0;
	for (int i = 0; i < check.n; i++)
		n += check.cells[i].outcome == o;
	return n;
}

static void test_outcomes(void **state)
{
	(void)state;
	struct compared_side m = side("2000000", 7);
	assert_int_equal(run(&m, 1, NULL), 0);
	assert_int_equal(check.n, COMPARED_CELLS);
	assert_int_equal(check.judged, COMPARED_CELLS);
	assert_int_equal(count(HISTORY_CONTINUES), COMPARED_CELLS);
	assert_int_equal(check.cells[0].n, 12);
	m = side("2000001", 8);
	m.slower[1] = 0.05;
	assert_int_equal(run(&m, 1, NULL), 1);
	assert_int_equal(count(HISTORY_WORSE), 1);
	assert_int_equal(count(HISTORY_CONTINUES), COMPARED_CELLS - 1);
	m = side("2000002", 9);
	m.slower[1] = -0.05;
	assert_int_equal(run(&m, 1, NULL), 0);
	assert_int_equal(count(HISTORY_BETTER), 1);
	/* Moved by 1 %: more than chance, and not certainly more than what matters. */
	m = side("2000003", 10);
	m.slower[0] = 0.012;
	assert_int_equal(run(&m, 3, NULL), 3);
	assert_int_equal(count(HISTORY_UNCLEAR), 1);
}

static void test_not_ok(void **state)
{
	(void)state;
	struct compared_side m = side("2000000", 7);
	m.status = RUN_STATUS_FAILED;
	assert_int_equal(run(&m, 1, NULL), 1);
	assert_int_equal(count(HISTORY_LOST), 1);
	m.status = RUN_STATUS_WRONG;
	assert_int_equal(run(&m, 1, NULL), 4);
	/* Lost is what the history has: a cell that never ran there is new, and not worse. */
	m.status = RUN_STATUS_FAILED;
	m.ubatch = 1024;
	assert_int_equal(run(&m, 1, NULL), 3);
	assert_int_equal(count(HISTORY_LOST), 0);
}

/* Of several processes of a run one that failed in a cell takes nothing from the others; where all do, it is one cell.
 */
static void test_several_not_ok(void **state)
{
	(void)state;
	struct compared_side m = side("2000000", 7);
	struct result_set *sets[3];
	struct stats_change_options change;
	struct continuation_options o;
	stats_change_options_default(&change);
	continuation_options_default(&o);
	m.status = RUN_STATUS_FAILED;
	for (int all = 0; all < 2; all++) {
		for (int i = 0; i < 3; i++) {
			m.status_process = all ? 0 : 2; /* of the three, counted from 1 */
			char name[8];
			snprintf(name, sizeof name, "%d", all);
			compared_make(name, i, &m);
			sets[i] = open_side(name, i);
		}
		history_check_free(&check);
		OK(history_check_run(&check, &store, sets, 3, NULL, NULL, &change, &o, e));
		assert_int_equal(check.n, COMPARED_CELLS);
		assert_int_equal(count(HISTORY_LOST), all);
		assert_int_equal(count(HISTORY_CONTINUES), COMPARED_CELLS - all);
		assert_int_equal(history_check_code(&check), all);
		assert_int_equal(check.absent, 0);
		for (int i = 0; i < 3; i++) {
			result_set_close(sets[i]);
			free(sets[i]);
		}
	}
}

/* A sweep that lost half of its cells goes on in the others, and does not hide it. */
static void test_absent(void **state)
{
	(void)state;
	struct compared_side m = side("2000000", 7);
	char *text;
	size_t size;
	m.cells = 2;
	assert_int_equal(run(&m, 1, NULL), 0);
	assert_int_equal(check.n, 2);
	assert_int_equal(check.absent, COMPARED_CELLS - 2);
	FILE *f = open_memstream(&text, &size);
	OK(history_check_write(&check, COMPARE_FORMAT_TABLE, f, e));
	fclose(f);
	assert_non_null(strstr(text, "2 series that the history's latest commit has are not in this run"));
	free(text);
}

/* Another driver, another model, another machine: nothing to compare with, and said why. */
static void test_nothing_to_compare(void **state)
{
	(void)state;
	static const struct history_join join = {{"driver"}, 1};
	struct compared_side m = side("2000000", 7);
	m.driver = "580";
	assert_int_equal(run(&m, 1, NULL), 3);
	assert_int_equal(count(HISTORY_RECALIBRATED), COMPARED_CELLS);
	assert_string_equal(check.cells[0].why, "driver: 570, then 580");
	assert_int_equal(run(&m, 1, &join), 0);
	m = side("2000000", 7);
	m.content = 1;
	assert_int_equal(run(&m, 1, NULL), 3);
	assert_int_equal(count(HISTORY_NEW), COMPARED_CELLS);
	m = side("2000000", 7);
	m.gpu = "A100";
	assert_int_equal(run(&m, 1, NULL), 3);
	assert_int_equal(count(HISTORY_NEW), COMPARED_CELLS);
	assert_int_equal(check.judged, 0);
}

/* What the store has of the run's own commit is no yardstick for it. */
static void test_own_commit(void **state)
{
	(void)state;
	struct compared_side m = side("2000000", 30);
	m.slower[2] = 0.1;
	for (int i = 0; i < 6; i++) {
		m.seed = 40 + (uint64_t)i;
		compared_make("same", i, &m);
		struct result_set *s = open_side("same", i);
		add(s, "2026-06-01");
		result_set_close(s);
		free(s);
	}
	m.seed = 50;
	assert_int_equal(run(&m, 1, NULL), 1);
	assert_int_equal(count(HISTORY_WORSE), 1);
	/* For the next commit it is one: the level is the new one. */
	m.commit = "2000001";
	m.seed = 51;
	assert_int_equal(run(&m, 1, NULL), 0);
}

static void test_refused(void **state)
{
	(void)state;
	struct stats_change_options change;
	struct continuation_options o;
	struct error err = {""};
	struct compared_side a = side("2000000", 1), b = side("2000001", 2);
	stats_change_options_default(&change);
	continuation_options_default(&o);
	compared_make("two", 0, &a);
	compared_make("two", 1, &b);
	struct result_set *sets[] = {open_side("two", 0), open_side("two", 1)};
	history_check_free(&check);
	assert_int_equal(history_check_run(&check, &store, sets, 2, NULL, NULL, &change, &o, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "a run is of one"));
	for (int i = 0; i < 2; i++) {
		result_set_close(sets[i]);
		free(sets[i]);
	}
}

static void test_output(void **state)
{
	(void)state;
	struct compared_side m = side("2000001", 8);
	char *text = NULL;
	size_t size;
	m.slower[1] = 0.05;
	assert_int_equal(run(&m, 1, NULL), 1);
	for (int format = COMPARE_FORMAT_TABLE; format <= COMPARE_FORMAT_JSON; format++) {
		FILE *f = open_memstream(&text, &size);
		OK(history_check_write(&check, (enum compare_format)format, f, e));
		fclose(f);
		assert_non_null(strstr(text, "worse"));
		if (format == COMPARE_FORMAT_JSON) {
			json_t *o = json_loads(text, 0, NULL);
			assert_int_equal(json_integer_value(json_object_get(o, "exit_code")), 1);
			assert_int_equal(json_array_size(json_object_get(o, "cells")), COMPARED_CELLS);
			json_decref(o);
		}
		free(text);
	}
	history_check_free(&check);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_outcomes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_not_ok, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_several_not_ok, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_absent, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_nothing_to_compare, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_own_commit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_output, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
