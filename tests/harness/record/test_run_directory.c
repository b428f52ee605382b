/* A run directory that somebody sent: what is in it is never followed, waited for, or written through. */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness/record/run_directory.h"
#include "tests/support/folder.h"

static char folder[FOLDER_BYTES];
static struct run_directory run;

static char *at(const char *name)
{
	static char path[2][256];
	static int turn;
	turn = !turn;
	snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
	return path[turn];
}

static int set_up(void **state)
{
	(void)state;
	struct error err = {""};
	alarm(20); /* what blocks ends the test */
	int rc = folder_make(folder, "run-directory");
	rc |= folder_put(folder, "/outside/secret.json", "{\"kept\": 1}");
	return rc | run_directory_make(&run, at("a/run"), &err);
}

static int tear_down(void **state)
{
	(void)state;
	run_directory_close(&run);
	alarm(0);
	return folder_remove(folder);
}

static void expect_outside_kept(void)
{
	char text[64];
	FILE *f = folder_open(folder, "outside/secret.json", "r");
	assert_non_null(fgets(text, sizeof text, f));
	assert_string_equal(text, "{\"kept\": 1}");
	fclose(f);
}

static void expect_refused(const char *name, const char *what)
{
	json_t *value;
	for (int flags = O_RDONLY;; flags = O_RDWR) {
		struct error err = {""};
		assert_int_equal(run_directory_open_file(&run, name, flags, &err), ERROR_INPUT);
		if (!strstr(err.text, what) || !strstr(err.text, name) || !strstr(err.text, "remove it"))
			fail_msg("'%s' lacks '%s'", err.text, what);
		if (flags == O_RDWR)
			break;
	}
	assert_true(run_directory_load_json(&run, name, &value, NULL) < 0);
	assert_null(value);
}

static void test_what_is_no_file(void **state)
{
	(void)state;
	struct error err = {""};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	assert_int_equal(symlink("../../outside/secret.json", at("a/run/link")), 0);
	expect_refused("link", "a symbolic link");
	assert_int_equal(symlink("nowhere", at("a/run/dangling")), 0);
	expect_refused("dangling", "a symbolic link");
	assert_int_equal(mkfifo(at("a/run/pipe"), 0666), 0);
	expect_refused("pipe", "a pipe");
	assert_int_equal(mkdir(at("a/run/folder"), 0777), 0);
	expect_refused("folder", "a folder");
	int s = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_true(s >= 0);
	snprintf(address.sun_path, sizeof address.sun_path, "%s", at("a/run/socket"));
	assert_int_equal(bind(s, (struct sockaddr *)&address, sizeof address), 0);
	expect_refused("socket", "a socket");
	close(s);
	/* As root alone: a terminal's name, that would be read from or become the controlling one. */
	if (!mknod(at("a/run/device"), S_IFCHR | 0666, 5 << 8))
		expect_refused("device", "a device");
	assert_int_equal(run_directory_open_file(&run, "absent", O_RDONLY, &err), ERROR_IO);
	assert_non_null(strstr(err.text, "a/run/absent: No such file or directory"));
	/* Two names of one file are a file. */
	assert_int_equal(link(at("outside/secret.json"), at("a/run/hard")), 0);
	int fd = run_directory_open_file(&run, "hard", O_RDONLY, &err);
	assert_true(fd >= 0);
	close(fd);
}

/* A new version takes the place of a link; what that names stays as it is. */
static void test_replaces(void **state)
{
	(void)state;
	struct error err = {""};
	struct run_file f;
	struct stat s;
	static const char *const names[] = {"new", "link", "pipe", "hard"};
	assert_int_equal(symlink("../../outside/secret.json", at("a/run/link")), 0);
	assert_int_equal(mkfifo(at("a/run/pipe"), 0666), 0);
	assert_int_equal(link(at("outside/secret.json"), at("a/run/hard")), 0);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		char name[32], text[16] = "";
		snprintf(name, sizeof name, "a/run/%s", names[i]);
		/* A temporary that a killed process of this number left, as a link at that. */
		char left[64];
		snprintf(left, sizeof left, "a/run/.%s.%ld.tmp", names[i], (long)getpid());
		assert_int_equal(symlink("../../outside/secret.json", at(left)), 0);
		assert_int_equal(run_file_open(&f, &run, names[i], &err), 0);
		assert_true(fputs("whole", f.stream) >= 0);
		/* Until it is whole, what was there is. */
		assert_int_equal(lstat(at(name), &s), i ? 0 : -1);
		assert_true(!i || !S_ISREG(s.st_mode) || s.st_size == 11);
		assert_int_equal(run_file_commit(&f, i % 2, &err), 0);
		assert_int_equal(lstat(at(name), &s), 0);
		assert_true(S_ISREG(s.st_mode));
		FILE *there = fopen(at(name), "r");
		assert_non_null(there);
		assert_non_null(fgets(text, sizeof text, there));
		assert_string_equal(text, "whole");
		fclose(there);
		assert_int_equal(lstat(at(left), &s), -1);
	}
	expect_outside_kept();
	/* What cannot be replaced stays, and nothing is left beside it. */
	assert_int_equal(folder_put(folder, "/a/run/full/x", "x"), 0);
	assert_int_equal(run_file_open(&f, &run, "full", &err), 0);
	assert_int_equal(run_file_commit(&f, 0, &err), ERROR_IO);
	assert_non_null(strstr(err.text, "full"));
	assert_true(folder_has(folder, "a/run/full/x"));
	assert_int_equal(run_file_open(&f, &run, "given-up", &err), 0);
	run_file_discard(&f);
	run_file_discard(&f);
	assert_int_equal(access(at("a/run/given-up"), F_OK), -1);
	/* No temporary is left of all that. */
	DIR *entries = opendir(at("a/run"));
	assert_non_null(entries);
	for (struct dirent *e; (e = readdir(entries));)
		assert_null(strstr(e->d_name, ".tmp"));
	closedir(entries);
}

/* A file that is made anew is not one that is there, be it a link to where nothing is. */
static void test_creates(void **state)
{
	(void)state;
	struct error err = {""};
	json_t *value = json_pack("{s:i}", "a", 1);
	assert_int_equal(symlink("../../outside/made", at("a/run/dangling")), 0);
	assert_int_equal(run_directory_create_file(&run, "dangling", &err), ERROR_IO);
	assert_non_null(strstr(err.text, "dangling: cannot be made: File exists; give another directory"));
	assert_int_equal(run_directory_save_json(&run, "dangling", value, &err), ERROR_IO);
	assert_int_equal(access(at("outside/made"), F_OK), -1);
	assert_int_equal(run_directory_save_json(&run, "value.json", value, &err), 0);
	assert_int_equal(run_directory_save_json(&run, "value.json", value, &err), ERROR_IO);
	json_t *back;
	assert_int_equal(run_directory_load_json(&run, "value.json", &back, &err), 0);
	assert_true(json_equal(back, value));
	json_decref(back);
	json_decref(value);
}

static void test_folders(void **state)
{
	(void)state;
	struct error err = {""};
	struct run_directory below;
	assert_int_equal(symlink("../../outside", at("a/run/plots")), 0);
	for (int make = 0; make < 2; make++) {
		assert_int_equal(run_directory_below(&run, "plots", make, &below, &err), ERROR_IO);
		assert_non_null(strstr(err.text, "a symbolic link"));
		assert_int_equal(below.fd, -1);
	}
	assert_int_equal(run_directory_below(&run, "absent", 0, &below, &err), ERROR_IO);
	assert_int_equal(run_directory_below(&run, "figures", 1, &below, &err), 0);
	assert_non_null(strstr(below.path, "a/run/figures"));
	assert_int_equal(run_directory_check_empty(&below, &err), 0);
	run_directory_close(&below);
	run_directory_close(&below);
	assert_int_equal(run_directory_check_empty(&run, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "not empty"));
	/* The user's own path is followed. */
	assert_int_equal(run_directory_open(&below, at("a/run/plots"), &err), 0);
	run_directory_close(&below);
	assert_int_equal(run_directory_open(&below, at("outside/secret.json"), &err), ERROR_IO);
	assert_non_null(strstr(err.text, "is not a folder; give another directory"));
	assert_int_equal(run_directory_open(&below, at("absent"), &err), ERROR_IO);
	assert_int_equal(run_directory_open(&below, "", &err), ERROR_INPUT);
	expect_outside_kept();
}

static void test_bounds_json(void **state)
{
	(void)state;
	struct error err = {""};
	json_t *value;
	FILE *f = folder_open(folder, "a/run/huge.json", "w");
	assert_int_equal(ftruncate(fileno(f), (off_t)10 << 30), 0);
	fclose(f);
	assert_int_equal(run_directory_load_json(&run, "huge.json", &value, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "larger than 16777216 bytes"));
	f = folder_open(folder, "a/run/bad.json", "w");
	fputs("{\"a\":\n \"x\x1b[2J\"}", f);
	fclose(f);
	assert_int_equal(run_directory_load_json(&run, "bad.json", &value, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "bad.json: line 2, column"));
	assert_null(strpbrk(err.text, "\n\x1b"));
	assert_null(value);
	f = folder_open(folder, "a/run/twice.json", "w");
	fputs("{\"a\": 1, \"a\": 2}", f);
	fclose(f);
	assert_int_equal(run_directory_load_json(&run, "twice.json", &value, &err), ERROR_INPUT);
}

static void test_sweeps(void **state)
{
	(void)state;
	struct error err = {""};
	static const char *const kept[] = {"runs.csv", ".runs.csv.tmp", ".x.tmp", ".runs.csv.12", "runs.csv.1.tmp"};
	static const char *const gone[] = {".runs.csv.12.tmp", ".latency.svg.4000000.tmp"};
	for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
		fclose(folder_open(run.path, kept[i], "w"));
	for (size_t i = 0; i < sizeof gone / sizeof *gone; i++)
		fclose(folder_open(run.path, gone[i], "w"));
	assert_int_equal(run_directory_sweep(&run, &err), 0);
	for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
		assert_int_equal(faccessat(run.fd, kept[i], F_OK, 0), 0);
	for (size_t i = 0; i < sizeof gone / sizeof *gone; i++)
		assert_int_equal(faccessat(run.fd, gone[i], F_OK, 0), -1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_what_is_no_file), TEST(test_replaces),    TEST(test_creates),
		TEST(test_folders),         TEST(test_bounds_json), TEST(test_sweeps),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
