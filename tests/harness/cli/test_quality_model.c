/*
 * gemmark quality on a trained model, which ci/setup.sh --real-model fetches: what cannot be otherwise of a model that
 * learned something. Exits with 77 where the file is not there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness/cli/options.h"
#include "harness/record/quality_file.h"
#include "tests/support/command.h"
#include "tests/support/folder.h"
#include "tests/support/ok.h"

static char model[] = "../build/real-model/gemma-3-270m-q4_k_m.gguf", text[] = "../README.md";
static char folder[FOLDER_BYTES], out[FOLDER_BYTES + 16];

static double mean(const struct quality_summary_row *rows, int n, enum quality_policy policy, int budget,
		   enum quality_measure measure, int asked, int third)
{
	for (int i = 0; i < n; i++)
		if (rows[i].of.policy == policy && rows[i].of.budget == budget && rows[i].measure == measure &&
		    rows[i].asked == asked && rows[i].third == third && rows[i].question < 0)
			return rows[i].mean;
	fail_msg("no %s of %s at %d", quality_measures[measure], quality_policies[policy], budget);
	return 0;
}

static void has_learned_something(void **state)
{
	(void)state;
	struct run_directory d;
	struct quality_summary_row *rows;
	int n;
	snprintf(out, sizeof out, "%s/out-dir", folder);
	char *words[] = {"quality",
			 "-m",
			 model,
			 "-ngl",
			 "0",
			 "--text",
			 text,
			 "--contexts",
			 "768",
			 "--budgets",
			 "64,640",
			 "--seeds",
			 "2",
			 "--needles",
			 "3",
			 "--policies",
			 "snapkv,recency",
			 "--continuation",
			 "24",
			 "-o",
			 out,
			 NULL};
	assert_int_equal(command_run(folder, cmd_quality, words), 0);
	OK(run_directory_open(&d, out, e));
	OK(quality_summary_read(&d, &rows, &n, e));
	run_directory_close(&d);
	/* A vocabulary of 262144 whose tokens are as likely would have that perplexity. */
	double full = mean(rows, n, QUALITY_FULL, -1, QUALITY_PERPLEXITY, -1, -1);
	assert_true(full > 2 && full < 400);
	for (int p = QUALITY_SNAPKV; p <= QUALITY_RECENCY; p++) {
		double few = mean(rows, n, (enum quality_policy)p, 64, QUALITY_KL, -1, -1);
		double many = mean(rows, n, (enum quality_policy)p, 640, QUALITY_KL, -1, -1);
		assert_true(many > 0 && few > 1.5 * many);
	}
	/* Of what recency has thrown away the value is a guess: four digits of ten. */
	double found = mean(rows, n, QUALITY_FULL, -1, QUALITY_LOGPROB, QUALITY_BEHIND, 0);
	double guess = mean(rows, n, QUALITY_RECENCY, 64, QUALITY_LOGPROB, QUALITY_BEHIND, 0);
	print_message("perplexity %.1f; log probability of a value of the first third: %.2f, evicted %.2f\n", full,
		      found, guess);
	assert_true(guess < -7 && found > guess + 3);
	free(rows);
}

static int set_up(void **state)
{
	(void)state;
	return folder_make(folder, "quality-model");
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(folder);
}

int main(void)
{
	if (access(model, R_OK)) {
		printf("%s is not there; ci/setup.sh --real-model fetches it\n", model);
		return 77;
	}
	const struct CMUnitTest tests[] = {cmocka_unit_test(has_learned_something)};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
