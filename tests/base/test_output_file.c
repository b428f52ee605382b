/* Files that appear when they are whole: what may be written, what is left of what was not. */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/output_file.h"
#include "tests/support/folder.h"
#include "tests/support/ok.h"

static char folder[FOLDER_BYTES];

static int set_up(void **state)
{
	(void)state;
	return folder_make(folder, "output");
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(folder);
}

static const char *in(const char *name)
{
	static char path[16][FOLDER_BYTES + 300];
	static int turn;
	turn = (turn + 1) % 16;
	snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
	return path[turn];
}

static void expect_text(const char *name, const char *text)
{
	char got[64];
	FILE *f = folder_open(folder, name, "r");
	got[fread(got, 1, sizeof got - 1, f)] = '\0';
	fclose(f);
	assert_string_equal(got, text);
}

static int count_files(void)
{
	DIR *d = opendir(folder);
	int n = -2;
	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void test_new(void **state)
{
	(void)state;
	struct output_file o;
	struct stat s;
	mode_t mask = umask(027);
	OK(output_file_open(&o, in("a"), false, e));
	assert_int_equal(count_files(), 1);
	assert_int_equal(access(in("a"), F_OK), -1);
	assert_int_equal(write(o.fd, "one", 3), 3);
	OK(output_file_commit(&o, e));
	umask(mask);
	expect_text("a", "one");
	assert_int_equal(stat(in("a"), &s), 0);
	assert_int_equal(s.st_mode & 0777, 0640);
	assert_int_equal(count_files(), 1);

	OK(output_file_open(&o, in("b"), false, e));
	output_file_discard(&o);
	output_file_discard(&o);
	assert_int_equal(count_files(), 1);

	/* What a handler does with several, in any order. */
	struct output_file three[3];
	for (int i = 0; i < 3; i++) {
		char name[] = {'x', (char)('0' + i), 0};
		OK(output_file_open(&three[i], in(name), false, e));
	}
	output_file_discard(&three[1]);
	assert_int_equal(count_files(), 3);
	output_file_abandon_all();
	assert_int_equal(count_files(), 1);
	output_file_discard(&three[2]);
	output_file_discard(&three[0]);

	/* As long as names can be. */
	char name[256];
	memset(name, 'n', 255);
	memcpy(name + 234, "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac nn", 22);
	OK(output_file_open(&o, in(name), false, e));
	OK(output_file_commit(&o, e));
	assert_int_equal(access(in(name), F_OK), 0);
}

static void test_check(void **state)
{
	(void)state;
	struct error err;
	assert_int_equal(folder_put(folder, "/input", "kept"), 0);
	assert_int_equal(folder_put(folder, "/other", "kept"), 0);
	assert_int_equal(link(in("input"), in("hard")), 0);
	assert_int_equal(symlink("hard", in("soft")), 0);
	assert_int_equal(mkfifo(in("pipe"), 0600), 0);
	const char *inputs[] = {in("other"), in("input")};
	static const char *const names[] = {"input", "hard", "soft", "./input", "other"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		char path[FOLDER_BYTES + 16];
		snprintf(path, sizeof path, "%s/%s", folder, names[i]);
		assert_int_equal(output_file_check(path, true, inputs, 2, &err), ERROR_INPUT);
		assert_non_null(strstr(err.text, "read"));
	}
	OK(output_file_check(in("new"), false, inputs, 2, e));
	OK(output_file_check(in("hard"), true, inputs, 1, e));
	assert_int_equal(output_file_check(in("hard"), false, inputs, 1, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "--force"));
	assert_int_equal(output_file_check(folder, true, NULL, 0, &err), ERROR_INPUT);
	assert_int_equal(output_file_check("", true, NULL, 0, &err), ERROR_INPUT);
	assert_int_equal(output_file_check("-", true, NULL, 0, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "/dev/stdout"));
	OK(output_file_check("./-", true, NULL, 0, e));
	/* A pipe and a device may be both. */
	const char *pipes[] = {in("pipe"), "/dev/null"};
	OK(output_file_check(in("pipe"), false, pipes, 2, e));
	OK(output_file_check("/dev/null", false, pipes, 2, e));
	assert_int_equal(output_file_check("/nowhere/x", false, NULL, 0, &err), 0);
	struct output_file o;
	assert_int_equal(output_file_open(&o, "/nowhere/x", false, &err), ERROR_IO);
	output_file_discard(&o);
}

static void test_replace(void **state)
{
	(void)state;
	struct output_file o;
	struct error err;
	assert_int_equal(folder_put(folder, "/a", "old"), 0);
	assert_int_equal(chmod(in("a"), 0400), 0);
	assert_int_equal(symlink("a", in("link")), 0);
	assert_int_equal(output_file_open(&o, in("link"), false, &err), ERROR_INPUT);
	OK(output_file_open(&o, in("link"), true, e));
	assert_int_equal(write(o.fd, "new", 3), 3);
	expect_text("link", "old");
	OK(output_file_commit(&o, e));
	expect_text("link", "new");
	expect_text("a", "old");
	struct stat s;
	assert_int_equal(lstat(in("link"), &s), 0);
	assert_true(S_ISREG(s.st_mode));

	/* What came to exist while it was written is kept, and so is what was written. */
	OK(output_file_open(&o, in("b"), false, e));
	assert_int_equal(write(o.fd, "mine", 4), 4);
	assert_int_equal(folder_put(folder, "/b", "theirs"), 0);
	assert_int_equal(output_file_commit(&o, &err), ERROR_IO);
	expect_text("b", "theirs");
	const char *kept = strstr(err.text, "written is ");
	assert_non_null(kept);
	expect_text(strrchr(kept, '/') + 1, "mine");
}

static void test_in_place(void **state)
{
	(void)state;
	struct output_file o;
	char got[8] = "";
	assert_int_equal(mkfifo(in("pipe"), 0600), 0);
	int reader = open(in("pipe"), O_RDONLY | O_NONBLOCK);
	OK(output_file_open(&o, in("pipe"), false, e));
	assert_null(o.part);
	assert_int_equal(write(o.fd, "abc", 3), 3);
	OK(output_file_commit(&o, e));
	assert_int_equal(read(reader, got, sizeof got), 3);
	assert_string_equal(got, "abc");
	close(reader);
	assert_int_equal(count_files(), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_new, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_check, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_replace, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_in_place, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
