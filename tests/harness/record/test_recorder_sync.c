/*
 * That what the recorder says is recorded has been forced to the disk, and in which order: a row in runs.csv promises
 * its tokens. The recorder's writes and syncs pass through here (gemmark_wrap), are noted, and fail where the test
 * says.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness/record/recorder.h"
#include "tests/support/folder.h"
#include "tests/support/ok.h"
#include "tests/support/read_csv.h"

static char folder[FOLDER_BYTES], run_path[FOLDER_BYTES + 8];

/* ---- what the disk has ---- */

enum { RUNS, TOKENS, TELEMETRY, TIMELINE, DIRECTORY, N_FILES };
static const char *const names[N_FILES] = {"runs.csv", "tokens.csv", "telemetry.csv", "timeline.csv", "run"};

static struct {
	int dirty; /* written or cut since it was last forced */
	int writes, syncs, cuts;
	int sync_errno; /* of every sync; 0: it goes well */
} files[N_FILES];

static int piecemeal; /* a write takes 7 bytes, and every third one is interrupted */

static int file_of(int fd)
{
	char link[32], path[256];
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, sizeof path - 1);
	assert_true(n > 0);
	path[n] = '\0';
	for (int i = 0; i < N_FILES; i++)
		if (!strcmp(strrchr(path, '/') + 1, names[i]))
			return i;
	fail_msg("what is %s?", path);
	abort();
}

ssize_t __real_pwrite(int fd, const void *p, size_t n, off_t at);
ssize_t __wrap_pwrite(int fd, const void *p, size_t n, off_t at);
ssize_t __wrap_pwrite(int fd, const void *p, size_t n, off_t at)
{
	int i = file_of(fd);
	if (i == RUNS && (files[TOKENS].dirty || files[TELEMETRY].dirty || files[TIMELINE].dirty))
		fail_msg("a row was written before its tokens, telemetry and time stamps were on the disk");
	files[i].dirty = 1;
	files[i].writes++;
	if (piecemeal && files[i].writes % 3 == 0) {
		errno = EINTR;
		return -1;
	}
	return __real_pwrite(fd, p, piecemeal && n > 7 ? 7 : n, at);
}

int __real_ftruncate(int fd, off_t size);
int __wrap_ftruncate(int fd, off_t size);
int __wrap_ftruncate(int fd, off_t size)
{
	int i = file_of(fd);
	files[i].dirty = 1;
	files[i].cuts++;
	return __real_ftruncate(fd, size);
}

static const char *unlinked; /* while a row is forced */

static int force(int fd)
{
	int i = file_of(fd);
	if (i == RUNS && unlinked)
		assert_int_equal(unlink(unlinked), 0);
	files[i].syncs++;
	files[i].dirty = files[i].dirty && files[i].sync_errno && files[i].sync_errno != EINVAL;
	errno = files[i].sync_errno;
	return errno ? -1 : 0;
}

int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
	return force(fd);
}

int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
	return force(fd);
}

static void expect_clean(const char *when)
{
	for (int i = 0; i < N_FILES; i++)
		if (files[i].dirty)
			fail_msg("%s: %s was not forced to the disk", when, names[i]);
}

static int set_up(void **state)
{
	(void)state;
	memset(files, 0, sizeof files);
	piecemeal = 0;
	int rc = folder_make(folder, "sync");
	snprintf(run_path, sizeof run_path, "%s/run", folder);
	return rc;
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(folder);
}

/* ---- the recorder ---- */

static struct recorder *rec;

static void open_recorder(void)
{
	OK(recorder_open(&rec, run_path, e));
}

/* A run with its time stamps and its telemetry; the code of what failed first. */
static int record(const char *id, enum run_status status, struct error *err)
{
	struct run_row row;
	static int repetition;
	struct token_record tokens[3] = {{.index = 0}, {.index = 1}, {.index = 2}};
	struct telemetry_sample look = {.time_us = 1};
	row_init(&row);
	row.run_id = id;
	row.status = status;
	row.reason = "";
	row.repetition = repetition++;
	row.warmup_tokens = 3;
	gpu_reading_init(&look.gpu);
	const struct timeline_stamp stamp = {.sm = -1};
	int rc = recorder_timeline(rec, id, &stamp, 1, err);
	if (!rc)
		rc = recorder_telemetry(rec, id, &look, 1, err);
	return rc ? rc : recorder_run(rec, &row, tokens, 3, err);
}

/* How many lines of a file begin with version 1 and this run. */
static int lines_of(const char *file, const char *id)
{
	struct csv_rows rows;
	char path[FOLDER_BYTES + 32];
	int n = 0;
	snprintf(path, sizeof path, "%s/%s", run_path, file);
	assert_int_equal(csv_read(&rows, path), 0);
	for (int r = 1; r < rows.n_rows; r++)
		n += !strcmp(csv_at(&rows, r, "run_id"), id);
	csv_rows_free(&rows);
	return n;
}

static void check_recorded(const char *id, int is_there)
{
	assert_int_equal(lines_of("runs.csv", id), is_there);
	assert_int_equal(lines_of("tokens.csv", id), 3 * is_there);
	assert_int_equal(lines_of("telemetry.csv", id), is_there);
	assert_int_equal(lines_of("timeline.csv", id), is_there);
}

static void test_run(void **state)
{
	(void)state;
	open_recorder();
	/* The headers, and that the files are in their directory; that of time stamps is made with the first. */
	for (int i = 0; i < N_FILES; i++)
		assert_int_equal(files[i].syncs, i != TIMELINE);
	expect_clean("after opening");
	for (int n = 1; n <= 3; n++) {
		OK(record(n == 1 ? "r1" : n == 2 ? "r2" : "r3", RUN_STATUS_OK, e));
		expect_clean("after a run");
		for (int i = 0; i <= TIMELINE; i++)
			assert_int_equal(files[i].syncs, 1 + n);
		assert_int_equal(files[DIRECTORY].syncs, 2);
	}
	OK(recorder_close(rec, e));
	check_recorded("r2", 1);
}

/* A run whose files cannot be forced is not recorded, and leaves nothing behind. */
static void test_sync_fails(void **state)
{
	(void)state;
	open_recorder();
	OK(record("r1", RUN_STATUS_OK, e));
	for (int i = 0; i <= TIMELINE; i++) {
		struct error err = {""};
		files[i].sync_errno = EIO;
		assert_int_equal(record("lost", RUN_STATUS_OK, &err), ERROR_IO);
		assert_non_null(strstr(err.text, names[i]));
		assert_non_null(strstr(err.text, strerror(EIO)));
		/* Its files are cut back; a disk that refuses to write may still cut. */
		assert_true(files[i].cuts > 0);
		memset(files, 0, sizeof files);
		check_recorded("lost", 0);
	}
	OK(record("r2", RUN_STATUS_OK, e));
	OK(recorder_close(rec, e));
	check_recorded("r1", 1);
	check_recorded("r2", 1);
	check_recorded("lost", 0);
}

/* What happens to the files while a run is written is said of that run, and not of the next. */
static void test_removed_meanwhile(void **state)
{
	(void)state;
	struct error err = {""};
	char path[FOLDER_BYTES + 32];
	open_recorder();
	OK(record("r1", RUN_STATUS_OK, e));
	snprintf(path, sizeof path, "%s/tokens.csv", run_path);
	unlinked = path;
	int rc = record("r2", RUN_STATUS_OK, &err);
	unlinked = NULL;
	assert_int_equal(rc, ERROR_IO);
	assert_non_null(strstr(err.text, "tokens.csv: was removed or replaced while the sweep ran"));
	assert_int_equal(recorder_close(rec, &err), ERROR_IO);
}

/* Telemetry that could not be written is forgotten, and the next run's stands where it would have. */
static void test_telemetry_fails(void **state)
{
	(void)state;
	struct run_row row;
	struct telemetry_sample look = {.time_us = 1};
	struct error err = {""};
	open_recorder();
	gpu_reading_init(&look.gpu);
	files[TELEMETRY].sync_errno = EIO;
	assert_int_equal(recorder_telemetry(rec, "lost", &look, 1, &err), ERROR_IO);
	memset(&files[TELEMETRY], 0, sizeof files[TELEMETRY]); /* what was cut off may come back after a crash */
	row_init(&row);
	row.run_id = "r1";
	row.status = RUN_STATUS_OK;
	row.reason = "";
	OK(recorder_run(rec, &row, NULL, 0, e));
	OK(record("r2", RUN_STATUS_OK, e));
	OK(recorder_close(rec, e));
	assert_int_equal(lines_of("runs.csv", "r1"), 1);
	assert_int_equal(lines_of("telemetry.csv", "lost"), 0);
	check_recorded("r2", 1);
	FILE *f = folder_open(run_path, "telemetry.csv", "r");
	for (int c; (c = fgetc(f)) != EOF;)
		assert_int_not_equal(c, '\0');
	fclose(f);
}

/* Opening fails too. */
static void test_sync_fails_at_first(void **state)
{
	(void)state;
	for (int i = 0; i < N_FILES; i++) {
		struct error err = {""};
		if (i == TIMELINE)
			continue;
		files[i].sync_errno = EIO;
		assert_int_equal(recorder_open(&rec, run_path, &err), ERROR_IO);
		assert_null(rec);
		tear_down(NULL);
		set_up(NULL);
	}
}

/* EINVAL: a file that has nothing to force, as a pipe, is none that fails. */
static void test_nothing_to_force(void **state)
{
	(void)state;
	for (int i = 0; i < N_FILES; i++)
		files[i].sync_errno = EINVAL;
	open_recorder();
	OK(record("r1", RUN_STATUS_OK, e));
	OK(recorder_close(rec, e));
	check_recorded("r1", 1);
}

static void test_piecemeal(void **state)
{
	(void)state;
	piecemeal = 1;
	open_recorder();
	OK(record("r1", RUN_STATUS_OK, e));
	OK(record("r2", RUN_STATUS_OK, e));
	expect_clean("after a run in pieces");
	OK(recorder_close(rec, e));
	check_recorded("r1", 1);
	check_recorded("r2", 1);
}

static int keep(void *ctx, const struct run_row *row, struct error *err)
{
	(void)row;
	(void)err;
	++*(int *)ctx;
	return 0;
}

/* What resuming cuts off is gone from the disk before the sweep goes on. */
static void test_resume(void **state)
{
	(void)state;
	open_recorder();
	OK(record("r1", RUN_STATUS_OK, e));
	OK(record("r2", RUN_STATUS_INTERRUPTED, e));
	OK(recorder_close(rec, e));
	memset(files, 0, sizeof files);
	int kept = 0;
	struct resume_dropped dropped;
	OK(recorder_resume(&rec, run_path, keep, &kept, &dropped, e));
	assert_int_equal(kept, 1);
	for (int i = 0; i <= TIMELINE; i++)
		assert_true(files[i].cuts == 1 && files[i].syncs == 1);
	expect_clean("after resuming");
	OK(record("r3", RUN_STATUS_OK, e));
	expect_clean("after a run that resumed");
	OK(recorder_close(rec, e));
	check_recorded("r1", 1);
	check_recorded("r2", 0);
	check_recorded("r3", 1);
	for (int i = 0; i <= TIMELINE; i++) {
		struct error err = {""};
		memset(files, 0, sizeof files);
		files[i].sync_errno = EIO;
		assert_int_equal(recorder_resume(&rec, run_path, keep, &kept, &dropped, &err), ERROR_IO);
		assert_non_null(strstr(err.text, names[i]));
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_run),
		TEST(test_sync_fails),
		TEST(test_removed_meanwhile),
		TEST(test_telemetry_fails),
		TEST(test_sync_fails_at_first),
		TEST(test_nothing_to_force),
		TEST(test_piecemeal),
		TEST(test_resume),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
