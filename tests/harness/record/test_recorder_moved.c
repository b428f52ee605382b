/* The directory of a running sweep is removed, moved or replaced: what is recorded is where the line says it is. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness/record/recorder.h"
#include "harness/record/result_set.h"
#include "tests/support/folder.h"
#include "tests/support/ok.h"

static char folder[FOLDER_BYTES], run[FOLDER_BYTES + 16];
static struct recorder *rec;
static int n_runs;

static char *at(const char *name)
{
	static char path[2][FOLDER_BYTES + 64];
	static int turn;
	turn = !turn;
	snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
	return path[turn];
}

static int record(struct error *err)
{
	struct run_row row;
	struct token_record token = {.phase = TOKEN_PHASE_MEASURE, .itl_us = 1, .host_us = NAN};
	char id[16];
	row_init(&row);
	snprintf(id, sizeof id, "run-%d", n_runs);
	row.run_id = id;
	row.status = RUN_STATUS_OK;
	row.repetition = row.order = n_runs++;
	row.n_gen = 1;
	return recorder_run(rec, &row, &token, 1, err);
}

/* A sweep with two runs. */
static int set_up(void **state)
{
	(void)state;
	int rc = folder_make(folder, "moved");
	snprintf(run, sizeof run, "%s/a/run", folder);
	n_runs = 0;
	OK(recorder_open(&rec, run, e));
	OK(record(e));
	OK(record(e));
	return rc;
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(folder);
}

static void expect_runs(const char *path, size_t n)
{
	struct result_set s;
	OK(result_set_open(&s, path, e));
	assert_int_equal(s.n_rows, n);
	for (size_t i = 0; i < n; i++)
		OK(result_set_check_tokens(&s, i, e));
	result_set_close(&s);
}

/* The sweep is not to go on, and nothing is to be claimed. */
static void expect_lost(const char *what)
{
	struct error err = {""};
	char place[RUN_DIRECTORY_PATH];
	assert_int_equal(record(&err), ERROR_IO);
	if (!strstr(err.text, run) || !strstr(err.text, what) || !strstr(err.text, "while the sweep ran"))
		fail_msg("'%s' does not say '%s'", err.text, what);
	assert_int_equal(recorder_moved(rec, place), 0);
	assert_int_equal(recorder_close(rec, &err), ERROR_IO);
	assert_non_null(strstr(err.text, what));
}

static void test_stays(void **state)
{
	(void)state;
	char place[RUN_DIRECTORY_PATH];
	OK(record(e));
	assert_int_equal(recorder_moved(rec, place), 0);
	OK(recorder_close(rec, e));
	expect_runs(run, 3);
}

static void test_removed(void **state)
{
	(void)state;
	assert_int_equal(folder_remove(run), 0);
	expect_lost("a/run: was removed");
	assert_int_equal(access(run, F_OK), -1);
}

/* Another directory of that name is not the one that was written. */
static void test_removed_and_made_anew(void **state)
{
	(void)state;
	assert_int_equal(folder_remove(run), 0);
	assert_int_equal(folder_put(folder, "/a/run/runs.csv", "theirs"), 0);
	expect_lost("a/run: was removed");
	struct stat s;
	assert_int_equal(stat(at("a/run/runs.csv"), &s), 0);
	assert_int_equal(s.st_size, 6);
}

static void test_files(void **state)
{
	(void)state;
	static const char *const names[] = {"runs.csv", "tokens.csv", "telemetry.csv"};
	for (int i = 0; i < 3; i++) {
		for (int replaced = 0; replaced < 3; replaced++) {
			char file[64];
			snprintf(file, sizeof file, "a/run/%s", names[i]);
			if (replaced < 2)
				assert_int_equal(unlink(at(file)), 0);
			else
				assert_int_equal(rename(at(file), at("a/run/old")), 0);
			if (replaced)
				assert_int_equal(symlink("old", at(file)), 0);
			expect_lost(names[i]);
			assert_int_equal(tear_down(NULL), 0);
			assert_int_equal(set_up(NULL), 0);
		}
	}
	OK(recorder_close(rec, e));
}

/* Somebody else's editor, shell or script changes a file in its place: nothing is written behind that. */
static void test_changed_in_place(void **state)
{
	(void)state;
	static const char *const names[] = {"runs.csv", "tokens.csv", "telemetry.csv"};
	for (int i = 0; i < 3; i++) {
		for (int longer = 0; longer < 2; longer++) {
			char file[64];
			struct stat s, after;
			struct error err = {""};
			snprintf(file, sizeof file, "a/run/%s", names[i]);
			assert_int_equal(stat(at(file), &s), 0);
			off_t left = longer ? s.st_size + 5 : s.st_size - 1;
			assert_int_equal(truncate(at(file), left), 0);
			expect_lost(names[i]);
			assert_int_equal(stat(at(file), &after), 0);
			assert_int_equal(after.st_size, left);
			assert_int_equal(tear_down(NULL), 0);
			assert_int_equal(set_up(NULL), 0);
			/* With the last run recorded, closing sees it. */
			assert_int_equal(truncate(at(file), left), 0);
			assert_int_equal(recorder_close(rec, &err), ERROR_IO);
			assert_non_null(strstr(err.text, "was changed while the sweep ran"));
			assert_non_null(strstr(err.text, "--resume"));
			assert_int_equal(tear_down(NULL), 0);
			assert_int_equal(set_up(NULL), 0);
		}
	}
	/* Looks of the run to come are no change. */
	struct telemetry_sample looks[2] = {{0}};
	OK(recorder_telemetry(rec, "run-2", looks, 2, e));
	OK(recorder_check(rec, e));
	OK(recorder_close(rec, e));
}

static int keep(void *ctx, const struct run_row *row, struct error *err)
{
	(void)row;
	(void)err;
	(*(int *)ctx)++;
	return 0;
}

/* As the line says, what is whole stays. */
static void test_changed_goes_on(void **state)
{
	(void)state;
	struct resume_dropped dropped;
	struct stat s;
	int kept = 0;
	assert_int_equal(stat(at("a/run/tokens.csv"), &s), 0);
	assert_int_equal(truncate(at("a/run/tokens.csv"), s.st_size - 10), 0);
	expect_lost("tokens.csv");
	OK(recorder_resume(&rec, run, keep, &kept, &dropped, e));
	assert_int_equal(kept, 1);
	assert_int_equal(dropped.damaged, 1);
	n_runs = 1;
	OK(record(e));
	OK(recorder_close(rec, e));
	expect_runs(run, 2);
}

/* Rows follow the directory. */
static void expect_moved(const char *to)
{
	struct error err = {""};
	char place[RUN_DIRECTORY_PATH];
	assert_int_equal(recorder_moved(rec, place), 1);
	assert_string_equal(place, to);
	OK(record(e));
	assert_int_equal(recorder_close(rec, &err), ERROR_IO);
	if (!strstr(err.text, run) || !strstr(err.text, "was moved") || !strstr(err.text, to))
		fail_msg("'%s' does not say where it is", err.text);
	expect_runs(to, 3);
}

static void test_moved(void **state)
{
	(void)state;
	assert_int_equal(rename(run, at("b")), 0);
	expect_moved(at("b"));
}

static void test_moved_and_replaced(void **state)
{
	(void)state;
	assert_int_equal(rename(run, at("b")), 0);
	assert_int_equal(mkdir(run, 0777), 0);
	expect_moved(at("b"));
	assert_int_equal(rmdir(run), 0); /* nothing was put there */
}

static void test_parent_moved(void **state)
{
	(void)state;
	assert_int_equal(rename(at("a"), at("c")), 0);
	expect_moved(at("c/run"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_stays),
		TEST(test_removed),
		TEST(test_removed_and_made_anew),
		TEST(test_files),
		TEST(test_moved),
		TEST(test_moved_and_replaced),
		TEST(test_parent_moved),
		TEST(test_changed_in_place),
		TEST(test_changed_goes_on),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
