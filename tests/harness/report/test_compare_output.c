/* What a comparison prints of what files may hold: nothing that steers a terminal, no endless number, no lost run. */
#include <ctype.h>
#include <math.h>
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
#include "harness/report/compare_output.h"
#include "tests/support/compared.h"
#include "tests/support/ok.h"

/* Right to left, and a new line that terminals obey: no text file has an escape. */
#define HOSTILE         \
	"a\xe2\x80\xae" \
	"b\xc2\x85"     \
	"c"

/* The test's to free. */
static char *printed(enum compare_format format, const char *commit)
{
	struct compare_output of = {.base_name = "base",
				    .head_name = HOSTILE "\x1b[2J",
				    .base_commit = commit,
				    .head_commit = commit,
				    .all = 1};
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);
	assert_non_null(f);
	OK(compare_output_write(&compared.c, &of, format, f, e));
	assert_int_equal(fclose(f), 0);
	return text;
}

static void test_controls(void **state)
{
	(void)state;
	struct compare_options o = compared_options();
	struct compared_side base = compared_plain, head = compared_other(compared_plain);
	base.fusion = head.fusion = HOSTILE;
	base.hash = HOSTILE;
	head.flags = HOSTILE;
	head.status = RUN_STATUS_FAILED;
	head.reason = HOSTILE;
	head.slower[0] = 0.05;
	head.launches = 1;
	o.allow_env_diff = 1;
	OK(compared_run(&base, &head, COMPARED_PROCESSES, &o, e));
	assert_true(compared.c.n_differences > 0);
	for (int i = COMPARE_FORMAT_TABLE; i <= COMPARE_FORMAT_JSON; i++) {
		char *text = printed((enum compare_format)i, HOSTILE);
		for (const char *p = text; *p; p++)
			if (*p != '\n' && text_control_length(p))
				fail_msg("format %d: a control at: %.60s", i, p);
		if (i == COMPARE_FORMAT_JSON) {
			json_t *j = json_loads(text, 0, NULL);
			assert_non_null(j);
			assert_non_null(json_string_value(json_object_get(json_object_get(j, "head"), "commit")));
			assert_int_equal(json_array_size(json_object_get(j, "environment_differences")),
					 compared.c.n_differences);
			json_decref(j);
		}
		free(text);
	}
	compared_free();
}

/* A number of somebody's file has as many digits as one that was measured. */
static void test_large_numbers(void **state)
{
	(void)state;
	struct compare_options o = compared_options();
	struct compared_side base = compared_plain, head = compared_other(compared_plain);
	char sentence[COMPARE_SENTENCE_SIZE];
	head.scale = 1e300;
	OK(compared_run(&base, &head, COMPARED_PROCESSES, &o, e));
	compare_sentence(&compared.c, sentence);
	assert_non_null(strstr(sentence, "All 4 cells are slower"));
	for (int i = COMPARE_FORMAT_TABLE; i <= COMPARE_FORMAT_MD; i++) {
		char *text = printed((enum compare_format)i, "abc");
		int digits = 0;
		assert_non_null(strstr(text, "e+30"));
		for (const char *p = text; *p; p++) {
			digits = isdigit((unsigned char)*p) ? digits + 1 : 0;
			if (digits > 12)
				fail_msg("too many digits: %.60s", p - digits);
		}
		free(text);
	}
	compared_free();
}

/* Runs that are not ok are in no time: they are counted. */
static void test_runs_not_ok(void **state)
{
	(void)state;
	struct compare_options o = compared_options();
	struct compared_side base = compared_plain, head = compared_other(compared_plain);
	head.status = RUN_STATUS_FAILED;
	head.status_process = 3;
	head.reason = "out of memory";
	base.status = RUN_STATUS_WRONG;
	base.reason = "other logits";
	base.status_process = 5;
	OK(compared_run(&base, &head, COMPARED_PROCESSES, &o, e));
	assert_int_equal(compared.c.runs[0].n, COMPARED_PROCESSES * COMPARED_CELLS);
	char *text = printed(COMPARE_FORMAT_TABLE, "abc");
	assert_non_null(
		strstr(text, ", 1 of 56 runs not ok: 1 wrong (the first: tg4 @ d64 graph-device full: other logits)"));
	assert_non_null(strstr(
		text, ", 1 of 56 runs not ok: 1 failed (the first: tg4 @ d64 graph-device full: out of memory)"));
	free(text);
	text = printed(COMPARE_FORMAT_JSON, "abc");
	json_t *j = json_loads(text, 0, NULL), *side = json_object_get(j, "head");
	assert_int_equal(json_integer_value(json_object_get(side, "runs")), 56);
	assert_int_equal(json_integer_value(json_object_get(side, "runs_ok")), 55);
	json_decref(j);
	free(text);
	compared_free();
	/* Where all are, nothing is said. */
	head.status = base.status = RUN_STATUS_OK;
	OK(compared_run(&base, &head, COMPARED_PROCESSES, &o, e));
	text = printed(COMPARE_FORMAT_TABLE, "abc");
	assert_null(strstr(text, "not ok"));
	free(text);
	compared_free();
}

/* One line speaks for cells that changed alike: from the same, and to the same. */
static void test_exact_alike(void **state)
{
	(void)state;
	struct compare_options o = compared_options();
	struct compared_side base = compared_plain, head = compared_other(compared_plain);
	head.more_depths = base.more_depths = 1;
	head.launches_cell = 1;
	OK(compared_run(&base, &head, COMPARED_PROCESSES, &o, e));
	char *text = printed(COMPARE_FORMAT_TABLE, "abc");
	assert_null(strstr(text, "100 -> 100"));
	assert_non_null(
		strstr(text, "- driver calls a token: 100 -> 101 in 2 cells (tg4 @ d64 graph-params full, ...)\n"));
	assert_non_null(
		strstr(text, "- driver calls a token: 100 -> 102 in 2 cells (tg4 @ d64 graph-update full, ...)\n"));
	assert_non_null(
		strstr(text, "- driver calls a token: 100 -> 103 in 2 cells (tg4 @ d64 graph-device full, ...)\n"));
	free(text);
	compared_free();
	/* And the other way round, each from its own to one. */
	OK(compared_run(&head, &base, COMPARED_PROCESSES, &o, e));
	text = printed(COMPARE_FORMAT_TABLE, "abc");
	assert_non_null(strstr(text, "- driver calls a token: 101 -> 100 in 2 cells"));
	assert_non_null(strstr(text, "- driver calls a token: 103 -> 100 in 2 cells"));
	free(text);
	compared_free();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_controls, compared_set_up, compared_tear_down),
		cmocka_unit_test_setup_teardown(test_large_numbers, compared_set_up, compared_tear_down),
		cmocka_unit_test_setup_teardown(test_runs_not_ok, compared_set_up, compared_tear_down),
		cmocka_unit_test_setup_teardown(test_exact_alike, compared_set_up, compared_tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
