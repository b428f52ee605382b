/* The files of gemmark quality: what is in them byte by byte, what comes back, and what is refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/record/quality_file.h"
#include "tests/support/folder.h"
#include "tests/support/ok.h"

static char folder[FOLDER_BYTES];
static struct run_directory directory;

static int set_up(void **state)
{
	struct error err;
	(void)state;
	return folder_make(folder, "quality-file") || run_directory_open(&directory, folder, &err) ? -1 : 0;
}

static int tear_down(void **state)
{
	(void)state;
	run_directory_close(&directory);
	return folder_remove(folder);
}

static void expect_file(const char *name, const char *wanted)
{
	char text[4096];
	FILE *f = folder_open(folder, name, "r");
	text[fread(text, 1, sizeof text - 1, f)] = '\0';
	fclose(f);
	assert_string_equal(text, wanted);
}

static void writes_each_row_when_it_is_there(void **state)
{
	(void)state;
	struct quality_file f;
	struct error err;
	const struct quality_case full = {1024, QUALITY_FULL, -1, -1, -1}, thin = {1024, QUALITY_SNAPKV, 64, 32, 7};
	OK(quality_file_open(&f, &directory, e));
	struct quality_text_row text = {.of = full, .seed = 0, .start = 17, .continuation = 64, .top1 = 1, .nll = 2.5};
	OK(quality_file_text(&f, &text, e));
	expect_file("/quality.csv", "context,policy,budget,window,pool,seed,start,continuation,kl,kl_max,top1,nll\n"
				    "1024,full,,,,0,17,64,0,0,1,2.5\n");
	struct quality_needle_row needle = {.of = thin,
					    .seed = 3,
					    .needle = 2,
					    .depth = 0.75,
					    .asked = QUALITY_BEHIND,
					    .question = QUALITY_PARAPHRASED,
					    .value = 4711,
					    .tokens = 5,
					    .exact = 1,
					    .logprob = -0.5};
	for (int i = 0; i < 5; i++)
		OK(quality_file_needle(&f, &needle, e));
	expect_file("/needles.csv",
		    "context,policy,budget,window,pool,seed,needle,depth,asked,question,value,tokens,exact,logprob\n"
		    "1024,snapkv,64,32,7,3,2,0.75,behind,paraphrased,4711,5,1,-0.5\n"
		    "1024,snapkv,64,32,7,3,2,0.75,behind,paraphrased,4711,5,1,-0.5\n"
		    "1024,snapkv,64,32,7,3,2,0.75,behind,paraphrased,4711,5,1,-0.5\n"
		    "1024,snapkv,64,32,7,3,2,0.75,behind,paraphrased,4711,5,1,-0.5\n"
		    "1024,snapkv,64,32,7,3,2,0.75,behind,paraphrased,4711,5,1,-0.5\n");
	OK(quality_file_close(&f, e));
	assert_int_equal(f.rows.n_texts, 1);
	assert_int_equal(f.rows.n_needles, 5);
	/* By members: what lies between them is nobody's. */
	const struct quality_needle_row *got = &f.rows.needles[4];
	assert_int_equal(got->of.policy, needle.of.policy);
	assert_int_equal(got->of.pool, needle.of.pool);
	assert_int_equal(got->seed, needle.seed);
	assert_int_equal(got->question, needle.question);
	assert_int_equal(got->value, needle.value);
	assert_true(got->depth == needle.depth && got->logprob == needle.logprob);
	quality_rows_free(&f.rows);
	/* Never into a study that is there. */
	assert_int_equal(quality_file_open(&f, &directory, &err), ERROR_IO);
}

static void summary_comes_back(void **state)
{
	(void)state;
	const struct quality_summary_row rows[] = {
		{{512, QUALITY_FULL, -1, -1, -1}, QUALITY_PERPLEXITY, -1, -1, -1, 8, 20.5, 18.25, 22, 0},
		{{512, QUALITY_SNAPKV, 64, 32, 7},
		 QUALITY_EXACT,
		 QUALITY_BEHIND,
		 QUALITY_VERBATIM,
		 -1,
		 8,
		 0.5,
		 0.25,
		 1,
		 1},
		{{512, QUALITY_STRIDE, 64, 32, -1}, QUALITY_LOGPROB, QUALITY_BEFORE, -1, 2, 7, -3, -4, -2.5, 0},
	};
	struct quality_summary_row *got;
	int n;
	assert_false(quality_summary_exists(&directory));
	static const char wanted[] =
		"context,policy,budget,window,pool,measure,asked,question,third,seeds,mean,low,high,best\n"
		"512,full,,,,perplexity,,,,8,20.5,18.25,22,0\n"
		"512,snapkv,64,32,7,exact,behind,verbatim,,8,0.5,0.25,1,1\n"
		"512,stride,64,32,,logprob,before,,2,7,-3,-4,-2.5,0\n";
	OK(quality_summary_write(&directory, rows, 3, e));
	assert_true(quality_summary_exists(&directory));
	expect_file("/summary.csv", wanted);
	OK(quality_summary_read(&directory, &got, &n, e));
	assert_int_equal(n, 3);
	assert_int_equal(got[1].of.policy, QUALITY_SNAPKV);
	assert_int_equal(got[1].asked, QUALITY_BEHIND);
	assert_int_equal(got[1].third, -1);
	assert_int_equal(got[2].of.pool, -1);
	assert_true(got[2].mean == -3 && got[0].high == 22);
	OK(quality_summary_write(&directory, got, n, e));
	expect_file("/summary.csv", wanted);
	free(got);
}

static void refuses_a_bad_summary(void **state)
{
	(void)state;
	static const char *const bad[][2] = {
		{"", "summary.csv: empty; the first line must name the columns"},
		{"context,policy\n", "no column 'budget'"},
		{"context,policy,budget,measure,mean,low,high\n1,greedy,1,kl,1,1,1\n",
		 "line 2, column 'policy': 'greedy' is not one of full, snapkv, recency, random, stride"},
		{"context,policy,budget,measure,mean,low,high\n1,,1,kl,1,1,1\n",
		 "line 2 names no context, policy or measure"},
		{"context,policy,budget,measure,mean,low,high,third\n1,full,1,kl,1,1,1,3\n",
		 "line 2 names no context, policy or measure"},
		{"context,policy,budget,measure,mean,low,high\n1,full,1,kl,1,1\n", "line 2"},
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct quality_summary_row *rows;
		struct error err = {""};
		int n;
		assert_int_equal(folder_put(folder, "/summary.csv", bad[i][0]), 0);
		assert_int_equal(quality_summary_read(&directory, &rows, &n, &err), ERROR_INPUT);
		assert_null(rows);
		if (!strstr(err.text, bad[i][1]))
			fail_msg("expected '%s' in: %s", bad[i][1], err.text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(writes_each_row_when_it_is_there, set_up, tear_down),
		cmocka_unit_test_setup_teardown(summary_comes_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(refuses_a_bad_summary, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
