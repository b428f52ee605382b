/*
 * What a table says of how far its numbers can be trusted: how much runs varied, effects that the runs cannot tell or
 * that the columns beside them contradict, shares that cannot be.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/measure/measured_row.h"
#include "harness/report/paired_effect.h"
#include "harness/report/table.h"

enum { DIRECT, DEVICE, PARAMS, PROMPT, N_CELLS };
static struct cell cells[N_CELLS];
static struct table *table;
static char *text, *flat; /* flat: with the lines of a remark as one */

static int set_up(void **state)
{
	(void)state;
	static const char *const modes[N_CELLS] = {"direct", "graph-device", "graph-params", "direct"};
	for (int i = 0; i < N_CELLS; i++)
		cells[i] = (struct cell){.model = "m.gguf",
					 .type_k = "f16",
					 .type_v = "f16",
					 .fusion = "full",
					 .mode = modes[i],
					 .n_threads = 2,
					 .n_gen = 64};
	cells[PROMPT].n_gen = 0;
	cells[PROMPT].n_prompt = 512;
	return table_open(&table, cells, N_CELLS, NULL);
}

static int tear_down(void **state)
{
	(void)state;
	free(text);
	free(flat);
	text = flat = NULL;
	table_close(table);
	return 0;
}

/* itl in us; tokens/s follow from it where rate is 0. */
static void add(int cell, int repetition, double itl, double rate, double share)
{
	struct run_row r;
	row_init(&r);
	row_set_cell(&r, &cells[cell], "", NULL);
	r.cell = cell;
	r.repetition = repetition;
	r.status = RUN_STATUS_OK;
	r.itl_median_us = r.itl_p90_us = itl;
	r.tokens_per_s = rate > 0 ? rate : 1e6 / itl;
	r.submit_median_us = 10;
	r.bandwidth_share = r.gemm_share = share;
	assert_int_equal(table_add(table, &r, NULL), 0);
}

static void add_all(int cell, int n, const double *itl)
{
	for (int i = 0; i < n; i++)
		add(cell, i, itl[i], 0, 0.5);
}

static void render(void)
{
	enum { SIZE = 1 << 14 };
	FILE *f = tmpfile();
	free(text);
	text = calloc(SIZE, 1);
	assert_true(f && text);
	table_write(table, f);
	rewind(f);
	assert_true(fread(text, 1, SIZE - 1, f) < SIZE - 1);
	assert_int_equal(fclose(f), 0);
	free(flat);
	flat = strdup(text);
	assert_non_null(flat);
	for (char *at = flat; (at = strstr(at, "\n  "));)
		memmove(at, at + 2, strlen(at + 2) + 1);
}

/* Of the text with its remarks' lines as one. */
static void expect_remark(const char *part)
{
	if (!strstr(flat, part))
		fail_msg("'%s' is not in:\n%s", part, text);
}

static void expect(const char *part)
{
	if (!strstr(text, part))
		fail_msg("'%s' is not in:\n%s", part, text);
}

static void expect_not(const char *part)
{
	if (strstr(text, part))
		fail_msg("'%s' is in:\n%s", part, text);
}

/* The words of the first line of a mode: 0 is the test, 4 tokens/s' spread where it has one. */
static const char *word(const char *mode, int i)
{
	static char line[256];
	char *save, *at = strstr(text, mode);
	assert_non_null(at);
	while (at > text && at[-1] != '\n')
		at--;
	snprintf(line, sizeof line, "%.*s", (int)strcspn(at, "\n"), at);
	char *w = strtok_r(line, " ", &save);
	while (i-- && w)
		w = strtok_r(NULL, " ", &save);
	return w ? w : "";
}

/* ---- effects ---- */

static void test_known(void **state)
{
	(void)state;
	/* Paired: -10, -8, -12, -9 and -11 %, while the machine slows down by half. */
	add_all(DIRECT, 5, (const double[]){1000, 1100, 1200, 1300, 1500});
	add_all(DEVICE, 5, (const double[]){900, 1012, 1056, 1183, 1335});
	render();
	expect(" -10% [-12,-8.0] ");
	expect("[their range];\n  of 5 pairs it holds the true one 94 times in 100\n");
	expect_not("~");
	expect_not("!");
	/* Of the fewest pairs that an effect is of. */
	add_all(PARAMS, 3, (const double[]){1200, 1320, 1440});
	render();
	expect(" +20% [+20,+20] ");
	expect("of 3 pairs it holds the true one 75 times in 100\n");
	expect_not("95% interval");
}

/* Pairs are of one repetition, wherever they stand; a run without a partner is in none. */
static void test_pairs(void **state)
{
	(void)state;
	const int order[] = {3, 0, 4, 1};
	for (int i = 0; i < 4; i++)
		add(DEVICE, order[i], 800 + 100 * order[i], 0, 0.5);
	for (int i = 4; i >= 1; i--)
		add(DIRECT, i, 1000 + 100 * i, 0, 0.5);
	render();
	/* Repetitions 1, 3 and 4: 900 / 1100, 1100 / 1300, 1200 / 1400. */
	expect(" -15% [-18,-14] ");
	expect("of 3 pairs it holds the true one 75 times in 100");
}

static void test_cannot_tell(void **state)
{
	(void)state;
	/* In the middle 9 % faster, where the medians beside it say 21 % slower: one pair of five says slower, too. */
	add_all(DIRECT, 5, (const double[]){1000, 1000, 1000, 2000, 2000});
	add_all(DEVICE, 5, (const double[]){1210, 1250, 910, 1800, 1820});
	/* Two pairs that agree. */
	add_all(PARAMS, 2, (const double[]){900, 900});
	render();
	assert_string_equal(word("graph-device", 9), "~");
	assert_string_equal(word("graph-params", 9), "~");
	expect("~: cannot tell, in 2 of 2 comparisons: the interval holds 0, or there are fewer than 3 pairs\n");
	expect_not("-9");
	expect_not("their range");
}

/* Of enough pairs, the interval is narrower than their range: one that strays says nothing. */
static void test_many_pairs(void **state)
{
	(void)state;
	double direct[15], device[15];
	for (int i = 0; i < 15; i++) {
		direct[i] = 1000;
		device[i] = i ? 900 + i : 1300;
	}
	add_all(DIRECT, 15, direct);
	add_all(DEVICE, 15, device);
	render();
	/* Sorted, 901 to 914 and 1300: the median is 908. */
	assert_string_equal(word("graph-device", 9), "-9.2%");
	expect_not("~");
	expect_not("their range");
	/* Beside it few pairs: whose interval is which is said. */
	add_all(PARAMS, 4, (const double[]){1200, 1320, 1440, 1300});
	render();
	expect("[its 95% interval];\n  of 4 pairs it is their range, which holds the true one 88 times in 100\n");
}

/* Of many comparisons at few pairs some show a difference by chance: how many is said. */
static void test_by_chance(void **state)
{
	(void)state;
	add_all(DIRECT, 3, (const double[]){1000, 1100, 1200});
	add_all(DEVICE, 3, (const double[]){900, 1012, 1056});
	add_all(PARAMS, 3, (const double[]){1200, 1090, 1250});
	render();
	/* A range of three leaves out 25 in 100, and there are two. */
	expect("\n  of 2 comparisons without any difference, about 0.5 would show one\n");
	for (int i = 3; i < 6; i++)
		for (int c = DIRECT; c <= PARAMS; c++)
			add(c, i, 1000 + i, 0, 0.5);
	render();
	expect_not("would show one");
}

static void test_contradicted(void **state)
{
	(void)state;
	/* Three pairs agree on 10 % less, and direct has four more runs, all faster than any of them. */
	add_all(DIRECT, 7, (const double[]){1000, 1000, 1000, 500, 500, 500, 500});
	add_all(DEVICE, 3, (const double[]){900, 890, 910});
	render();
	expect(" -10% [-11,-9.0]! ");
	expect_remark(
		"\n! vs direct of tg64 graph-device full: faster by -10% [-11,-9.0], the median over 3 pairs of runs "
		"of "
		"one repetition; slower by itl beside it, the medians over all runs (+80.0%): these contradict each "
		"other, and neither is to be trusted\n");
}

/* Tokens/s are means and hold the stalls that a median itl leaves out. */
static void test_contradicted_by_the_rate(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++) {
		add(DIRECT, i, 1000, 990, 0.5);
		add(DEVICE, i, 950, 880, 0.5);
		/* 5 % more, and 5 % fewer tokens/s: they agree. */
		add(PARAMS, i, 1050, 940, 0.5);
	}
	render();
	assert_string_equal(word("graph-device", 10), "[-5.0,-5.0]!");
	assert_string_equal(word("graph-params", 10), "[+5.0,+5.0]");
	expect_remark(
		"! vs direct of tg64 graph-device full: faster by -5.0% [-5.0,-5.0], the median over 3 pairs of runs "
		"of "
		"one repetition; slower by t/s beside it, the medians over all runs (-11.1%): these contradict each "
		"other, and neither is to be trusted\n");
	expect_not("! vs direct of tg64 graph-params");
}

/* ---- noise ---- */

static void test_noise(void **state)
{
	(void)state;
	/* MAD over median: 1 %, 4 % and, once more, 2 %, of the median itl: t/s, of a mean, vary otherwise. */
	const double direct[] = {99, 100, 101, 98, 102}, device[] = {192, 200, 208, 200, 190}, params[] = {49, 50, 51};
	const double rates[] = {95, 100, 105, 90, 110};
	for (int i = 0; i < 5; i++)
		add(DIRECT, i, direct[i], rates[i], 0.5);
	for (int i = 0; i < 5; i++)
		add(DEVICE, i, device[i], 200 + device[i], 0.5);
	for (int i = 0; i < 3; i++)
		add(PARAMS, i, params[i], 50, 0.5);
	add(PROMPT, 0, NAN, 5000, 0.5);
	render();
	assert_string_equal(word("direct   ", 4), "±5.0");
	assert_string_equal(word("graph-device", 4), "±8.0");
	expect("noise: median itl varied from run to run by 2.0% (MAD; the middle cell),\n  at most by 4.0% (tg64 "
	       "graph-device "
	       "full)\n");
	expect("±: their MAD (median absolute deviation, not scaled)");
	expect("t/s: tokens over a run's whole time (its mean); itl: from token to token, its median and p90,");
	/* One run has no spread: not ±0. */
	assert_string_equal(word("pp512", 3), "5000");
	assert_string_equal(word("pp512", 4), "-");
}

/* A prompt has no time from token to token: its rate stands for it, where nothing is decoded. */
static void test_noise_of_prompts(void **state)
{
	(void)state;
	add(PROMPT, 0, NAN, 4900, 0.5);
	add(PROMPT, 1, NAN, 5000, 0.5);
	add(PROMPT, 2, NAN, 5100, 0.5);
	render();
	expect("noise: t/s varied from run to run by 2.0% (MAD; the middle cell),\n  at most by 2.0% (pp512 ");
	/* Beside tokens it is not among what varies. */
	add(DIRECT, 0, 100, 0, 0.5);
	add(DIRECT, 1, 100, 0, 0.5);
	render();
	expect("noise: median itl varied from run to run by 0.0%");
}

static void test_no_noise_of_one_run(void **state)
{
	(void)state;
	add(DIRECT, 0, 1000, 0, 0.5);
	add(DEVICE, 0, 900, 0, 0.5);
	render();
	expect_not("noise");
	expect("in 1 of 1 comparisons");
	assert_string_equal(word("graph-device", 8), "~");
}

/* ---- shares ---- */

static void test_credible(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++) {
		add(DIRECT, i, 1000, 0, 1.05);
		add(DEVICE, i, 1000, 0, 1);
	}
	render();
	expect(" 105% ");
	expect(" 100% ");
	expect_not("!");
}

static void test_incredible(void **state)
{
	(void)state;
	/* The median of the runs counts, as in the column. */
	const double share[] = {0.9, 1.31, 1.5};
	for (int i = 0; i < 3; i++) {
		add(DIRECT, i, 1000, 0, share[i]);
		add(DEVICE, i, 1000, 0, 1.19);
		add(PARAMS, i, 1000, 0, 0.8);
		add(PROMPT, i, NAN, 100, 1.2);
	}
	render();
	expect(" 131%! ");
	expect(" 119%! ");
	expect(" 80% ");
	expect_remark(
		"\n! bw of tg64 direct full (131%), tg64 graph-device full (119%): more than the memory can give; its "
		"bandwidth was measured in a noisy moment, or part of the model stays in a cache: measure again on an "
		"idle machine, or a larger model\n");
	expect_remark(
		"\n! bw of pp512 direct full (120%): more than the products alone can give; their rate was measured in "
		"a "
		"noisy moment: measure again on an idle machine\n");
}

/* What the host's cache holds of the model tells one cause from the other; with layers on a GPU it does not. */
static void test_causes(void **state)
{
	(void)state;
	static const struct {
		int64_t bytes;
		int gpu_layers;
		double cache;
		const char *says, *says_not;
	} cases[] = {
		{2400000, 0, 32 << 20, "the model fits in the host's cache, so that this is no share", "idle machine"},
		{5LL << 30, 0, 32 << 20,
		 "its bandwidth was measured in a noisy moment: measure again on an idle machine\n", "cache"},
		{64 << 20, 0, 32 << 20, "noisy moment, or part of the model stays in a cache", NULL},
		{2400000, 0, 0, "noisy moment, or part of the model stays in a cache", NULL},
		{2400000, 4, 32 << 20, "noisy moment, or part of the model stays in a cache", NULL},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct run_row r;
		row_init(&r);
		row_set_cell(&r, &cells[DIRECT], "", NULL);
		r.cell = DIRECT;
		r.status = RUN_STATUS_OK;
		r.itl_median_us = 1000;
		r.bandwidth_share = 1.5;
		r.weight_bytes_per_token = cases[i].bytes;
		r.n_gpu_layers = cases[i].gpu_layers;
		assert_int_equal(table_add(table, &r, NULL), 0);
		table_set_cache(table, cases[i].cache);
		render();
		expect_remark(cases[i].says);
		if (cases[i].says_not)
			expect_not(cases[i].says_not);
	}
}

/* Remarks fit a terminal, words whole, and go on below themselves. */
static void test_wrapped(void **state)
{
	(void)state;
	for (int i = 0; i < N_CELLS; i++)
		add(i, 0, 1000, 0, 1.2);
	render();
	const char *at = strstr(text, "\n! bw of ");
	assert_non_null(at);
	int lines = 0;
	for (at++; *at; at += strcspn(at, "\n") + 1, lines++) {
		if (strcspn(at, "\n") > 96)
			fail_msg("%.*s", (int)strcspn(at, "\n"), at);
		assert_true(!strncmp(at, "! ", 2) || !strncmp(at, "  ", 2));
	}
	assert_true(lines > 3);
}

/* Of many cells the first three are named; where placements differ, so is what they differ in. */
static void test_incredible_everywhere(void **state)
{
	(void)state;
	for (int i = 0; i < N_CELLS; i++) {
		cells[i] = cells[DIRECT];
		cells[i].n_threads = 1 + i;
		add(i, 0, 1000, 0, 1.2 + 0.01 * i);
	}
	render();
	expect_remark(
		"\n! bw of tg64 direct full, threads 1 (120%), tg64 direct full, threads 2 (121%), tg64 direct full, "
		"threads 3 (122%) and 1 more: more than");
}

/* ---- text ---- */

static void test_numbers(void **state)
{
	(void)state;
	static const struct {
		double x;
		const char *plain, *with_sign;
	} cases[] = {
		{0, "0.0", "+0.0"},           {1, "1.0", "+1.0"},        {9.94, "9.9", "+9.9"},
		{9.96, "10", "+10"},          {-9.96, "-10", "-10"},     {113.4, "113", "+113"},
		{12345, "12345", "+12345"},   {0.994, "0.99", "+0.99"},  {0.996, "1.0", "+1.0"},
		{-0.044, "-0.044", "-0.044"}, {0.0995, "0.10", "+0.10"}, {NAN, "-", "-"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char out[PAIRED_EFFECT_TEXT];
		assert_string_equal(paired_effect_number(cases[i].x, false, out), cases[i].plain);
		assert_string_equal(paired_effect_number(cases[i].x, true, out), cases[i].with_sign);
	}
}

/* The interval in the order of the pairs does not depend on theirs, and is symmetric in direction. */
static void test_interval(void **state)
{
	(void)state;
	/* Of 7 pairs 2.5 % lie beyond the second: at the first all of 4 or more draws must be, 1 % of the time. */
	const double ratios[] = {1.05, 0.97, 1.01, 1.02, 1.04, 1.03, 1.06};
	double inverse[7];
	struct paired_effect e, other;
	assert_int_equal(paired_effect_of(ratios, 7, &e), 0);
	assert_int_equal(e.pairs, 7);
	assert_true(fabs(e.change - 0.03) < 1e-12 && fabs(e.low - 0.01) < 1e-12 && fabs(e.high - 0.05) < 1e-12);
	assert_true(paired_effect_is_known(&e));
	for (int i = 0; i < 7; i++)
		inverse[6 - i] = 1 / ratios[i];
	assert_int_equal(paired_effect_of(inverse, 7, &other), 0);
	assert_true(fabs((1 + other.change) * (1 + e.change) - 1) < 1e-12);
	assert_true(fabs((1 + other.low) * (1 + e.high) - 1) < 1e-12 && paired_effect_is_known(&other));
	/* Nothing to tell, and nothing to compare. */
	assert_int_equal(paired_effect_of(ratios, 2, &e), 0);
	assert_true(isnan(e.low) && isnan(e.high) && !isnan(e.change) && !paired_effect_is_known(&e));
	assert_int_equal(paired_effect_of(ratios, 0, &e), 0);
	char out[PAIRED_EFFECT_TEXT];
	assert_string_equal(paired_effect_text(&e, out), "-");
	/* An interval that touches 0 has it. */
	e = (struct paired_effect){.pairs = 3, .change = -0.1, .low = -0.2, .high = 0};
	assert_false(paired_effect_is_known(&e));
	assert_string_equal(paired_effect_text(&e, out), "~");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_known),
		TEST(test_pairs),
		TEST(test_cannot_tell),
		TEST(test_many_pairs),
		TEST(test_by_chance),
		TEST(test_contradicted),
		TEST(test_contradicted_by_the_rate),
		TEST(test_noise),
		TEST(test_noise_of_prompts),
		TEST(test_no_noise_of_one_run),
		TEST(test_credible),
		TEST(test_incredible),
		TEST(test_causes),
		TEST(test_wrapped),
		TEST(test_incredible_everywhere),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_interval),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
