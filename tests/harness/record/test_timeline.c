/* timeline.csv: its columns, when there is one, what is refused of it, and what becomes of it where a sweep goes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/record/recorder.h"
#include "harness/record/result_set.h"
#include "tests/support/folder.h"
#include "tests/support/read_csv.h"
#include "tests/support/result_sample.h"

#define HEADER                                                                                                     \
	"\"schema_version\",\"run_id\",\"block\",\"sm\",\"phase\",\"layer\",\"kind\",\"entered_ns\",\"input_ns\"," \
	"\"worked_ns\",\"published_ns\"\n"

static char folder[FOLDER_BYTES];
static char run_path[FOLDER_BYTES + 8], csv_path[FOLDER_BYTES + 32];

static int set_up(void **state)
{
	(void)state;
	int rc = folder_make(folder, "timeline");
	snprintf(run_path, sizeof run_path, "%s/run", folder);
	snprintf(csv_path, sizeof csv_path, "%s/run/timeline.csv", folder);
	return rc;
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(folder);
}

static void test_columns(void **state)
{
	(void)state;
	struct recorder *rec;
	struct csv_rows r;
	const struct timeline_stamp stamps[2] = {
		{1, 2, 3, 4, 5, 6, 7, 8, 9},
		{0, -1, 0, -1, 0, 0, COLUMN_UNKNOWN, COLUMN_UNKNOWN, 1},
	};
	static const char *const columns[][3] = {
		{"schema_version", "1", "1"},
		{"run_id", "x", "x"},
		{"block", "1", "0"},
		{"sm", "2", ""},
		{"phase", "3", "0"},
		{"layer", "4", ""},
		{"kind", "attention", "embed"},
		{"entered_ns", "6", "0"},
		{"input_ns", "7", ""},
		{"worked_ns", "8", ""},
		{"published_ns", "9", "1"},
	};
	const int n = sizeof columns / sizeof *columns;
	assert_int_equal(recorder_open(&rec, run_path, NULL), 0);
	assert_false(folder_has(folder, "run/timeline.csv"));
	assert_int_equal(recorder_timeline(rec, "x", stamps, 2, NULL), 0);
	assert_int_equal(recorder_close(rec, NULL), 0);
	assert_int_equal(csv_read(&r, csv_path), 0);
	assert_int_equal(r.n_rows, 3);
	assert_int_equal(csv_width(&r, 0), n);
	for (int i = 0; i < n; i++) {
		assert_string_equal(r.fields[i], columns[i][0]);
		assert_string_equal(csv_at(&r, 1, columns[i][0]), columns[i][1]);
		assert_string_equal(csv_at(&r, 2, columns[i][0]), columns[i][2]);
	}
	csv_rows_free(&r);
	for (int i = 0; i < timeline_n_kinds; i++)
		assert_int_equal(timeline_kind_find(timeline_kinds[i]), i);
	assert_int_equal(timeline_kind_find("other"), -1);
}

/* The rows of run-1 as these lines, behind the header and in front of nothing. */
static void write_lines(const char *lines)
{
	FILE *f = folder_open(folder, "run/timeline.csv", "w");
	fputs("run_id,block,sm,phase,layer,kind,entered_ns,input_ns,worked_ns,published_ns\n", f);
	fputs(lines, f);
	assert_int_equal(fclose(f), 0);
}

static int read_stamps(struct timeline_stamp **stamps, size_t *n, struct error *err)
{
	struct result_set set;
	assert_int_equal(result_set_open(&set, run_path, err), 0);
	int rc = result_set_timeline(&set, (size_t)result_set_find(&set, "run-1"), stamps, n, err);
	if (!rc) {
		struct timeline_stamp *other;
		size_t n_other;
		assert_int_equal(result_set_timeline(&set, 0, &other, &n_other, err), 0);
		assert_int_equal(n_other, 0);
		assert_null(other);
	}
	result_set_close(&set);
	return rc;
}

static void test_read(void **state)
{
	(void)state;
	struct timeline_stamp *stamps;
	struct error err = {""};
	size_t n;
	assert_int_equal(sample_write(run_path, &err), 0);
	/* In any order of the lines. */
	write_lines("run-1,1,7,1,0,qkv,30,31,32,40\nrun-1,0,5,1,0,qkv,30,,,33\nrun-1,1,7,0,,ple_model_proj,0,1,2,3\n"
		    "run-1,0,5,0,,ple_model_proj,1,1,4,30\n");
	assert_int_equal(read_stamps(&stamps, &n, &err), 0);
	assert_int_equal(n, 4);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(stamps[i].block, i / 2);
		assert_int_equal(stamps[i].sm, i / 2 ? 7 : 5);
		assert_int_equal(stamps[i].phase, i % 2);
		assert_int_equal(stamps[i].layer, i % 2 - 1);
		assert_string_equal(timeline_kinds[stamps[i].kind], i % 2 ? "qkv" : "ple_model_proj");
	}
	assert_true(stamps[1].input_ns == COLUMN_UNKNOWN && stamps[1].worked_ns == COLUMN_UNKNOWN);
	assert_int_equal(stamps[3].published_ns, 40);
	free(stamps);
	assert_int_equal(remove(csv_path), 0);
	assert_int_equal(read_stamps(&stamps, &n, &err), 0);
	assert_int_equal(n, 0);
}

static void test_refused(void **state)
{
	(void)state;
	static const char *const cases[][2] = {
		{"run-1,0,,1,0,qkv,0,1,2,3\n", "missing"},
		{"run-1,1,,0,0,qkv,0,1,2,3\n", "missing"},
		{"run-1,0,,0,0,qkv,0,1,2,3\nrun-1,0,,0,0,qkv,0,1,2,3\n", "there twice"},
		{"run-1,0,,0,0,qkv,0,1,2,3\nrun-1,0,,1,0,head,3,4,5,6\nrun-1,1,,0,0,qkv,0,1,2,3\n", "missing"},
		{"run-1,0,,0,0,qkv,0,1,2,3\nrun-1,1,,0,0,head,0,1,2,3\n", "disagree"},
		{"run-1,0,,0,0,qkv,0,1,2,3\nrun-1,1,,0,1,qkv,0,1,2,3\n", "disagree"},
		{"run-1,0,,0,0,qkv,4,1,2,3\n", "not in order"},
		{"run-1,0,,0,0,qkv,0,2,1,3\n", "not in order"},
		{"run-1,0,,0,0,qkv,0,1,4,3\n", "not in order"},
		{"run-1,0,,0,0,qkv,-1,1,2,3\n", "not in order"},
		{"run-1,0,,0,0,qkv,,1,2,3\n", "not in order"},
		{"run-1,0,,0,0,qkv,0,1,2,9007199254740993\n", "not in order"},
		{"run-1,0,,0,0,qkv,0,1,2,3\nrun-1,0,,1,0,head,2,3,4,5\n", "not in order"},
		{"run-1,0,,0,1,qkv,0,1,2,3\n", "more layers than phases"},
		{"run-1,0,,0,2147483647,qkv,0,1,2,3\n", "more layers than phases"},
		{"run-1,0,,0,0,,0,1,2,3\n", "without a kind"},
		{"run-1,0,,0,0,other,0,1,2,3\n", "column 'kind'"},
		{"run-1,0,,0,0,qkv,0.5,1,2,3\n", "column 'entered_ns'"},
	};
	struct timeline_stamp *stamps;
	struct error err = {""};
	size_t n;
	assert_int_equal(sample_write(run_path, &err), 0);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		write_lines(cases[i][0]);
		assert_int_equal(read_stamps(&stamps, &n, &err), ERROR_INPUT);
		assert_null(stamps);
		if (!strstr(err.text, cases[i][1]) || !strstr(err.text, "timeline.csv"))
			fail_msg("%s: %s", cases[i][0], err.text);
	}
}

static int keep(void *ctx, const struct run_row *row, struct error *err)
{
	(void)row, (void)err;
	++*(int *)ctx;
	return 0;
}

/* What is of no finished run goes, the rest stays, and what is recorded next is behind it. */
static void test_resume(void **state)
{
	(void)state;
	struct recorder *rec;
	struct resume_dropped dropped;
	struct csv_rows r;
	struct error err = {""};
	const struct timeline_stamp stamp = {.sm = -1, .published_ns = 77};
	int kept = 0;
	assert_int_equal(sample_write(run_path, &err), 0);
	FILE *f = folder_open(folder, "run/timeline.csv", "a");
	fputs("\"1\",\"run-7\",\"0\",,\"0\",\"0\",\"qkv\",\"0\",,,\"1\"\n" /* was interrupted */
	      "\"1\",\"run-99\",\"0\",,\"0\",\"0\",\"qkv\",\"0\",,,\"1\"\n\"1\",\"run-100\",\"0\"",
	      f);
	assert_int_equal(fclose(f), 0);
	if (recorder_resume(&rec, run_path, keep, &kept, &dropped, &err))
		fail_msg("%s", err.text);
	assert_int_equal(kept, 7);
	assert_int_equal(dropped.interrupted, 1);
	assert_int_equal(dropped.lines, 2);
	assert_int_equal(recorder_timeline(rec, "run-8", &stamp, 1, &err), 0);
	assert_int_equal(recorder_close(rec, &err), 0);
	assert_int_equal(csv_read(&r, csv_path), 0);
	assert_int_equal(r.n_rows, 1 + 4 + 1);
	for (int i = 1; i < 5; i++)
		assert_string_equal(csv_at(&r, i, "run_id"), "run-1");
	assert_string_equal(csv_at(&r, 5, "run_id"), "run-8");
	assert_string_equal(csv_at(&r, 5, "published_ns"), "77");
	csv_rows_free(&r);
}

/* A run whose stamps are no token's is measured again, as one without its tokens is. */
static void test_resume_damaged(void **state)
{
	(void)state;
	static const char *const lines[] = {"1,run-1,0,,1,0,qkv,0,1,2,3\n", "1,run-1,0,,0,0,qkv,0,1,2,x\n"};
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
		struct recorder *rec;
		struct resume_dropped dropped;
		struct csv_rows r;
		struct error err = {""};
		int kept = 0;
		assert_int_equal(sample_write(run_path, &err), 0);
		FILE *f = folder_open(folder, "run/timeline.csv", "w");
		fprintf(f, "%s%s", HEADER, lines[i]);
		assert_int_equal(fclose(f), 0);
		if (recorder_resume(&rec, run_path, keep, &kept, &dropped, &err))
			fail_msg("%s", err.text);
		assert_int_equal(kept, 6);
		assert_int_equal(dropped.damaged, 1);
		assert_non_null(strstr(dropped.why, "timeline.csv"));
		assert_int_equal(recorder_close(rec, &err), 0);
		assert_int_equal(csv_read(&r, csv_path), 0);
		assert_int_equal(r.n_rows, 1);
		csv_rows_free(&r);
		tear_down(state);
		assert_int_equal(set_up(state), 0);
	}
}

/* Ended while its header was written, it has nothing: the sweep goes on, and what is next begins it anew. */
static void test_resume_header(void **state)
{
	(void)state;
	static const size_t sizes[] = {0, 1, 40, sizeof HEADER - 2};
	const struct timeline_stamp stamp = {.sm = -1, .published_ns = 77};
	struct timeline_stamp *stamps;
	struct recorder *rec;
	struct resume_dropped dropped;
	struct csv_rows r;
	struct error err = {""};
	size_t n;
	assert_int_equal(sample_write(run_path, &err), 0);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		int kept = 0;
		FILE *f = folder_open(folder, "run/timeline.csv", "w");
		assert_int_equal(fwrite(HEADER, 1, sizes[i], f), sizes[i]);
		assert_int_equal(fclose(f), 0);
		if (read_stamps(&stamps, &n, &err))
			fail_msg("%zu bytes: %s", sizes[i], err.text);
		assert_int_equal(n, 0);
		if (recorder_resume(&rec, run_path, keep, &kept, &dropped, &err))
			fail_msg("%zu bytes: %s", sizes[i], err.text);
		assert_int_equal(dropped.damaged, 0);
		assert_int_equal(recorder_timeline(rec, "run-8", &stamp, 1, &err), 0);
		assert_int_equal(recorder_close(rec, &err), 0);
		assert_int_equal(csv_read(&r, csv_path), 0);
		assert_int_equal(r.n_rows, 2);
		assert_string_equal(csv_at(&r, 1, "run_id"), "run-8");
		csv_rows_free(&r);
	}
	/* No header's beginning is somebody else's. */
	FILE *f = folder_open(folder, "run/timeline.csv", "w");
	fputs("\"schema_version\",\"mine", f);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(read_stamps(&stamps, &n, &err), ERROR_INPUT);
	assert_int_equal(recorder_resume(&rec, run_path, keep, &(int){0}, &dropped, &err), ERROR_INPUT);
	assert_true(folder_has(folder, "run/timeline.csv"));
}

/* Taken away while the sweep runs, as any other of its files. */
static void test_removed(void **state)
{
	(void)state;
	struct recorder *rec;
	struct error err = {""};
	const struct timeline_stamp stamp = {.sm = -1};
	assert_int_equal(recorder_open(&rec, run_path, &err), 0);
	assert_int_equal(recorder_timeline(rec, "run-0", &stamp, 1, &err), 0);
	assert_int_equal(recorder_check(rec, &err), 0);
	assert_int_equal(remove(csv_path), 0);
	assert_int_equal(recorder_check(rec, &err), ERROR_IO);
	assert_non_null(strstr(err.text, "timeline.csv: was removed"));
	recorder_close(rec, NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_columns),        TEST(test_read),          TEST(test_refused), TEST(test_resume),
		TEST(test_resume_damaged), TEST(test_resume_header), TEST(test_removed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
