/* What a study comes to, of planted answers: means and intervals worked out by hand, and who is called best. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/report/quality_summary.h"
#include "tests/support/ok.h"

enum { SEEDS = 8, ROWS = 4096 };

static struct quality_text_row texts[ROWS];
static struct quality_needle_row needles[ROWS];
static struct quality_rows planted;

static struct quality_case case_of(enum quality_policy policy, int budget)
{
	const bool full = policy == QUALITY_FULL;
	return (struct quality_case){.context = 1024,
				     .policy = policy,
				     .budget = full ? -1 : budget,
				     .window = full ? -1 : 32,
				     .pool = policy == QUALITY_SNAPKV ? 7 : -1};
}

static void plant(enum quality_policy policy, int budget, int seed, double kl, double nll)
{
	planted.texts[planted.n_texts++] = (struct quality_text_row){.of = case_of(policy, budget),
								     .seed = seed,
								     .continuation = 64,
								     .kl = kl,
								     .kl_max = kl,
								     .top1 = 0.5,
								     .nll = nll};
}

static void plant_needle(enum quality_policy policy, int seed, double depth, enum quality_asked asked,
			 enum quality_question question, int exact)
{
	planted.needles[planted.n_needles++] = (struct quality_needle_row){.of = case_of(policy, 64),
									   .seed = seed,
									   .depth = depth,
									   .asked = asked,
									   .question = question,
									   .value = 1234,
									   .tokens = 5,
									   .exact = exact,
									   .logprob = exact ? -1 : -9};
}

static const struct quality_summary_row *find(const struct quality_summary_row *rows, int n, enum quality_policy policy,
					      int budget, enum quality_measure measure, int asked, int question,
					      int third)
{
	for (int i = 0; i < n; i++)
		if (rows[i].of.policy == policy && (policy == QUALITY_FULL || rows[i].of.budget == budget) &&
		    rows[i].measure == measure && rows[i].asked == asked && rows[i].question == question &&
		    rows[i].third == third)
			return &rows[i];
	fail_msg("no row of %s at %d", quality_policies[policy], budget);
	return NULL;
}

static int set_up(void **state)
{
	(void)state;
	planted = (struct quality_rows){.texts = texts, .needles = needles};
	return 0;
}

static void near(double a, double b)
{
	if (!(fabs(a - b) <= 1e-9 * (1 + fabs(b))))
		fail_msg("%.12g is not %.12g", a, b);
}

/*
 * At 64 SnapKV is a tenth below recency and half below random at each seed, which differ among themselves much more; at
 * 128 it is below recency at 6 of 8 seeds.
 */
static void says_who_is_best(void **state)
{
	(void)state;
	struct quality_summary_row *rows;
	char *text;
	size_t size;
	int n;
	for (int seed = 0; seed < SEEDS; seed++) {
		double hard = 1 + seed;
		plant(QUALITY_FULL, 0, seed, 0, 3);
		plant(QUALITY_RECENCY, 64, seed, hard, 4);
		plant(QUALITY_RANDOM, 64, seed, 1.4 * hard, 4);
		plant(QUALITY_SNAPKV, 64, seed, 0.9 * hard, 4);
		plant(QUALITY_RECENCY, 128, seed, hard, 4);
		plant(QUALITY_SNAPKV, 128, seed, seed < 6 ? 0.9 * hard : 1.1 * hard, 4);
	}
	OK(quality_summary_make(&planted, &rows, &n, e));
	assert_int_equal(n, 6 * 4);
	for (int i = 0; i < n; i++) {
		bool want =
			rows[i].of.policy == QUALITY_SNAPKV && rows[i].of.budget == 64 && rows[i].measure == QUALITY_KL;
		if (rows[i].best != want)
			fail_msg("%s at %d, %s: best %d", quality_policies[rows[i].of.policy], rows[i].of.budget,
				 quality_measures[rows[i].measure], rows[i].best);
	}
	const struct quality_summary_row *r = find(rows, n, QUALITY_SNAPKV, 64, QUALITY_KL, -1, -1, -1);
	near(r->mean, 0.9 * 4.5);
	assert_int_equal(r->seeds, SEEDS);
	/* Normal theory: 4.05 +- 1.96 * 0.9 * sqrt(5.25 / 8); the bootstrap's ends are near. */
	assert_true(fabs(r->low - 2.62) < 0.15 && fabs(r->high - 5.48) < 0.15);
	r = find(rows, n, QUALITY_FULL, 0, QUALITY_PERPLEXITY, -1, -1, -1);
	near(r->mean, exp(3));
	near(r->low, exp(3));
	near(r->high, exp(3));
	near(find(rows, n, QUALITY_FULL, 0, QUALITY_RATIO, -1, -1, -1)->high, 1);
	near(find(rows, n, QUALITY_RANDOM, 64, QUALITY_RATIO, -1, -1, -1)->mean, exp(1));
	FILE *f = open_memstream(&text, &size);
	quality_summary_print(f, rows, n);
	fclose(f);
	assert_non_null(strstr(text, "best by divergence: 64 snapkv, pool 7; 128 none surely\n"));
	assert_non_null(strstr(text, "best by perplexity: 64 none surely; 128 none surely\n"));
	assert_null(strstr(text, "needles"));
	assert_non_null(strstr(text, "prompts of 1024 tokens, a window of 32 kept by all; means over 8 texts"));
	free(text);
	free(rows);
}

/* Five seeds, each better: 2 / 32 is no 5 %. With six it is 2 / 64, but not of two others by Holm, 3 %. */
static void few_seeds_say_nothing(void **state)
{
	(void)state;
	for (int n_seeds = 5; n_seeds <= 7; n_seeds++) {
		for (int others = 1; others <= 2; others++) {
			struct quality_summary_row *rows;
			int n;
			set_up(NULL);
			for (int seed = 0; seed < n_seeds; seed++) {
				plant(QUALITY_STRIDE, 64, seed, 2 + seed, 4);
				plant(QUALITY_RECENCY, 64, seed, 1 + seed, 4);
				if (others == 2)
					plant(QUALITY_RANDOM, 64, seed, 3 + seed, 4);
			}
			OK(quality_summary_make(&planted, &rows, &n, e));
			const struct quality_summary_row *r =
				find(rows, n, QUALITY_RECENCY, 64, QUALITY_KL, -1, -1, -1);
			bool want = others * 2.0 / (1 << n_seeds) < 0.05;
			assert_int_equal(r->best, want);
			assert_int_equal(find(rows, n, QUALITY_STRIDE, 64, QUALITY_KL, -1, -1, -1)->best, 0);
			free(rows);
		}
	}
}

/* Asked before SnapKV finds all and recency those in the last third; behind, both the last third's in their words. */
static void tells_needles_apart(void **state)
{
	(void)state;
	struct quality_summary_row *rows;
	char *text;
	size_t size;
	int n;
	for (int seed = 0; seed < SEEDS; seed++)
		for (int third = 0; third < 3; third++)
			for (int question = 0; question < QUALITY_QUESTIONS; question++)
				for (int p = QUALITY_SNAPKV; p <= QUALITY_RECENCY; p++) {
					double depth = (third + 0.99) / 3;
					plant_needle((enum quality_policy)p, seed, depth, QUALITY_BEFORE,
						     (enum quality_question)question,
						     p == QUALITY_SNAPKV || third == 2);
					plant_needle((enum quality_policy)p, seed, depth, QUALITY_BEHIND,
						     (enum quality_question)question,
						     third == 2 && question == QUALITY_VERBATIM);
				}
	OK(quality_summary_make(&planted, &rows, &n, e));
	const struct {
		enum quality_policy policy;
		int asked, question, third;
		double mean;
		int best;
	} wanted[] = {
		{QUALITY_SNAPKV, QUALITY_BEFORE, -1, -1, 1, 1},
		{QUALITY_RECENCY, QUALITY_BEFORE, -1, -1, 1 / 3.0, 0},
		{QUALITY_RECENCY, QUALITY_BEFORE, -1, 0, 0, 0},
		{QUALITY_RECENCY, QUALITY_BEFORE, -1, 2, 1, 0},
		{QUALITY_SNAPKV, QUALITY_BEFORE, -1, 1, 1, 1},
		{QUALITY_SNAPKV, QUALITY_BEFORE, -1, 2, 1, 0},
		{QUALITY_SNAPKV, QUALITY_BEHIND, -1, -1, 1 / 6.0, 0},
		{QUALITY_RECENCY, QUALITY_BEHIND, QUALITY_VERBATIM, -1, 1 / 3.0, 0},
		{QUALITY_RECENCY, QUALITY_BEHIND, QUALITY_PARAPHRASED, -1, 0, 0},
		{QUALITY_RECENCY, QUALITY_BEHIND, -1, 2, 0.5, 0},
	};
	for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
		const struct quality_summary_row *r = find(rows, n, wanted[i].policy, 64, QUALITY_EXACT,
							   wanted[i].asked, wanted[i].question, wanted[i].third);
		near(r->mean, wanted[i].mean);
		assert_int_equal(r->best, wanted[i].best);
		r = find(rows, n, wanted[i].policy, 64, QUALITY_LOGPROB, wanted[i].asked, wanted[i].question,
			 wanted[i].third);
		near(r->mean, -9 + 8 * wanted[i].mean);
	}
	FILE *f = open_memstream(&text, &size);
	quality_summary_print(f, rows, n);
	fclose(f);
	assert_non_null(strstr(text, "best by needles found, asked before: 64 snapkv, pool 7\n"));
	assert_non_null(strstr(text, "best by log p of needles, asked behind: 64 none surely\n"));
	free(text);
	free(rows);
}

/* Pools are no rivals of each other: both are below recency. */
static void names_each_pool(void **state)
{
	(void)state;
	struct quality_summary_row *rows;
	char *text;
	size_t size;
	int n;
	for (int seed = 0; seed < SEEDS; seed++) {
		plant(QUALITY_RECENCY, 64, seed, 2, 4);
		plant(QUALITY_SNAPKV, 64, seed, 1, 4);
		plant(QUALITY_SNAPKV, 64, seed, 1.5, 4);
		planted.texts[planted.n_texts - 1].of.pool = 1;
	}
	OK(quality_summary_make(&planted, &rows, &n, e));
	FILE *f = open_memstream(&text, &size);
	quality_summary_print(f, rows, n);
	fclose(f);
	assert_non_null(strstr(text, "best by divergence: 64 snapkv, pool 1 and snapkv, pool 7\n"));
	free(text);
	free(rows);
}

/* Texts and contexts that the full cache reads better and worse: what an eviction costs is everywhere the same. */
static void divides_by_the_full_cache_of_the_text(void **state)
{
	(void)state;
	struct quality_summary_row *rows;
	int n;
	for (int seed = 0; seed < SEEDS; seed++) {
		for (int context = 1024; context <= 2048; context += 1024) {
			double full = (1 + seed) * context / 1024;
			plant(QUALITY_FULL, 0, seed, 0, full);
			planted.texts[planted.n_texts - 1].of.context = context;
			plant(QUALITY_STRIDE, 64, seed, 1, full + 0.25);
			planted.texts[planted.n_texts - 1].of.context = context;
		}
	}
	OK(quality_summary_make(&planted, &rows, &n, e));
	for (int i = 0; i < n; i++) {
		if (rows[i].measure != QUALITY_RATIO || rows[i].of.policy != QUALITY_STRIDE)
			continue;
		near(rows[i].mean, exp(0.25));
		near(rows[i].low, exp(0.25));
		near(rows[i].high, exp(0.25));
	}
	near(find(rows, n, QUALITY_STRIDE, 64, QUALITY_PERPLEXITY, -1, -1, -1)->mean, exp(4.75));
	free(rows);
}

/* An interval of no width would say that every other text gives the same. */
static void one_text_has_no_interval(void **state)
{
	(void)state;
	struct quality_summary_row *rows;
	char *text;
	size_t size;
	int n;
	plant(QUALITY_FULL, 0, 0, 0, 3);
	plant(QUALITY_RECENCY, 64, 0, 0.5, 4);
	OK(quality_summary_make(&planted, &rows, &n, e));
	for (int i = 0; i < n; i++)
		assert_true(rows[i].seeds == 1 && isfinite(rows[i].mean) && isnan(rows[i].low) && isnan(rows[i].high));
	FILE *f = open_memstream(&text, &size);
	quality_summary_print(f, rows, n);
	fclose(f);
	assert_non_null(strstr(text, "kept by all; of one text, so without intervals; the full cache's perplexity"));
	assert_non_null(strstr(text, " 0.500 "));
	assert_null(strchr(text, '['));
	assert_null(strstr(text, "nan"));
	free(text);
	free(rows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(says_who_is_best, set_up),
		cmocka_unit_test_setup(few_seeds_say_nothing, set_up),
		cmocka_unit_test_setup(tells_needles_apart, set_up),
		cmocka_unit_test_setup(names_each_pool, set_up),
		cmocka_unit_test_setup(divides_by_the_full_cache_of_the_text, set_up),
		cmocka_unit_test_setup(one_text_has_no_interval, set_up),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
