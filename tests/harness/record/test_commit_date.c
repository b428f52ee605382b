/* Dates, against what GNU date says of them, and git's of a commit that the test makes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/record/commit_date.h"
#include "tests/support/folder.h"
#include "tests/support/ok.h"

static void test_parse(void **state)
{
	(void)state;
	/* date -u -d TEXT +%s */
	static const struct {
		const char *text;
		int64_t seconds;
	} good[] = {
		{"1970-01-01", 0},
		{"2026-05-31", 1780185600},
		{"2026-05-31T10:00:00Z", 1780221600},
		{"2026-05-31T10:00:00+02:00", 1780214400},
		{"2026-05-31T10:00:00-0530", 1780241400},
		{"2026-05-31 10:00", 1780221600},
		{"2026-05-31 10:00:00 +0200", 1780214400},
		{"2026-05-31T10:00:00.125Z", 1780221600},
		{"2024-02-29T23:59:59Z", 1709251199},
		{"2000-03-01", 951868800},
		{"2100-03-01", 4107542400},
	};
	static const char *const bad[] = {
		"",
		"2026",
		"2026-13-01",
		"2026-02-29",
		"2100-02-29",
		"2026-05-31T",
		"2026-05-31T25:00",
		"2026-05-31T10:60",
		"2026-05-31T10:00:00+15:00",
		"2026-05-31T10:00:00X",
		"2026-05-31 10:00 ",
		"1969-12-31",
		"2026-5-31",
		"1970-01-01T00:00+01:00",
		"-026-05-31",
		"2026-05-31T10:00:00.Z",
		"9999-12-31T23:59:59Z ",
	};
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		int64_t seconds = -1;
		assert_int_equal(commit_date_parse(good[i].text, &seconds), 0);
		assert_int_equal(seconds, good[i].seconds);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		int64_t seconds;
		if (!commit_date_parse(bad[i], &seconds))
			fail_msg("'%s' is taken", bad[i]);
	}
}

static void test_text(void **state)
{
	(void)state;
	char text[COMMIT_DATE_SIZE];
	for (int64_t seconds = 0; seconds < 200000000000; seconds += 1234567891) {
		int64_t back;
		commit_date_text(seconds, text);
		assert_int_equal(commit_date_parse(text, &back), 0);
		assert_int_equal(back, seconds);
	}
	commit_date_text(1709251199, text);
	assert_string_equal(text, "2024-02-29T23:59:59Z");
}

static void test_names(void **state)
{
	(void)state;
	int digits, dirty;
	assert_true(commit_is_name("0123abc", &digits, &dirty) && digits == 7 && !dirty);
	assert_true(commit_is_name("0123abc-dirty", &digits, &dirty) && digits == 7 && dirty);
	assert_false(commit_is_name("unknown", &digits, &dirty));
	assert_false(commit_is_name("--help", &digits, &dirty));
	assert_false(commit_is_name("abc", &digits, &dirty));
	assert_false(commit_is_name("0123abc-dirty-dirty", &digits, &dirty));
	assert_true(commit_same("0123abc", "0123abcdef") && commit_same("0123abcdef", "0123abc"));
	assert_false(commit_same("0123ab", "0123abcdef")); /* too short to be sure */
	assert_false(commit_same("0123abc", "0123abd"));
	assert_false(commit_same("release", "release-2")); /* no hash */
	assert_true(commit_same("v1", "v1"));
}

static void test_git(void **state)
{
	(void)state;
	char folder[FOLDER_BYTES], command[600], hash[80] = "", date[COMMIT_DATE_SIZE];
	struct error err = {""};
	assert_int_equal(folder_make(folder, "commit_date"), 0);
	snprintf(command, sizeof command,
		 "cd %s && git init -q . && GIT_COMMITTER_DATE='2026-05-31T10:00:00 +0200' git -c user.name=n -c "
		 "user.email=e commit -q --allow-empty -m m --date '2020-01-01T00:00:00Z' && git rev-parse HEAD",
		 folder);
	FILE *git = popen(command, "r"); /* NOLINT: a test's own words */
	assert_non_null(git);
	assert_non_null(fgets(hash, sizeof hash, git));
	assert_int_equal(pclose(git), 0);
	hash[10] = '\0';
	OK(commit_date_ask(folder, hash, date, e));
	assert_string_equal(date, "2026-05-31T08:00:00Z"); /* the committer's */
	OK(commit_date_ask(folder, strcat(hash, "-dirty"), date, e));
	assert_int_equal(commit_date_ask(folder, "00000000000000", date, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "--date"));
	/* Nothing that is an option or a branch reaches git. */
	assert_int_equal(commit_date_ask(folder, "--output=x", date, &err), ERROR_INPUT);
	assert_int_equal(commit_date_ask(folder, "HEAD", date, &err), ERROR_INPUT);
	assert_int_equal(folder_remove(folder), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_git),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
