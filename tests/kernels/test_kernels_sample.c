/*
 * The choice of a token against its definition in double (tests/support/sample_case.h), and against exact
 * probabilities; where a cut goes, which tokens can come, on every number of threads the same.
 */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/team.h"
#include "kernels/sampling.h"
#include "tests/support/sample_case.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

enum { WIDE = 262144 }; /* Gemma's vocabulary */

static float *take(int n)
{
	float *logits = malloc((size_t)n * sizeof *logits);

	assert_non_null(logits);
	return logits;
}

static int choose(const float *logits, int n, const struct sampling_options *o, int pos)
{
	struct sampled out = {.token = -1};
	struct sample_params p = {
		.at.host.pos = pos,
		.host = sampling_of(o),
		.logits = logits,
		.out = &out,
		.n = n,
	};
	struct error err;

	assert_int_equal(sampling_check(o, &err), 0);
	k_sample(&p);
	assert_int_equal(out.wrong, 0);
	return out.token;
}

/* ---- the parts ---- */

/* Known answers of the paper's authors. */
static void test_philox(void **state)
{
	static const struct {
		unsigned counter[4], key[2], answer[4];
	} cases[] = {
		{{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
		 {0xffffffff, 0xffffffff},
		 {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
		 {0xa4093822, 0x299f31d0},
		 {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		unsigned c[4];

		memcpy(c, cases[i].counter, sizeof(c));
		sampling_philox(c, cases[i].key[0], cases[i].key[1]);
		assert_memory_equal(c, cases[i].answer, sizeof(c));
	}
}

static void test_weight(void **state)
{
	uint64_t random = 1;

	(void)state;
	for (int i = 0; i < 200000; i++) {
		const double temperature = exp((double)random_below(&random, 12000) / 1000 - 6);
		const float rate = (float)(M_LOG2E / temperature);
		const float greatest = (float)random_below(&random, 60000) / 1000 - 30;
		const float x = greatest - (float)random_below(&random, 1 << 24) * 0x1p-24f * 30 * (float)temperature;
		const double expect = exp(((double)x - (double)greatest) / temperature);
		const double got = (double)sampling_weight(x, greatest, rate) / (double)SAMPLING_ONE;

		if (!(fabs(got - expect) <= 6e-6 * expect + 0x1p-39))
			fail_msg("weight %g of %.9g, %.9g at %g; it is %g", got, (double)x, (double)greatest,
				 temperature, expect);
	}
	assert_true(sampling_weight(3, 3, 1e6f) == SAMPLING_ONE);
	assert_true(sampling_weight(-INFINITY, 3, 0.1f) == 0);
	assert_true(sampling_weight(-FLT_MAX, FLT_MAX, 1e6f) == 0);
}

static void test_share(void **state)
{
	(void)state;
	assert_true(sampling_share(1000, SAMPLING_ALL / 2) == 500);
	assert_true(sampling_share(1001, SAMPLING_ALL / 2) == 501);
	assert_true(sampling_share(1000, 0) == 1);
	assert_true(sampling_share(1ull << 63, SAMPLING_ALL - 1) == (1ull << 63) - (1ull << 31));
	assert_true(sampling_share((1ull << 63) + 1, SAMPLING_ALL - 1) == (1ull << 63) - (1ull << 31) + 1);
}

static void test_order(void **state)
{
	static const float ascending[] = {-INFINITY, -FLT_MAX, -1, -FLT_MIN, -1e-45f, 0, 1e-45f, 1, FLT_MAX, INFINITY};

	(void)state;
	for (size_t i = 0; i + 1 < COUNT(ascending); i++)
		assert_true(sampling_order(ascending[i]) < sampling_order(ascending[i + 1]));
	assert_true(sampling_order(0.0f) == sampling_order(-0.0f));
	assert_true(sampling_order(NAN) == sampling_order(-INFINITY) && sampling_order(NAN) > 0);
	for (size_t i = 0; i < COUNT(ascending); i++)
		assert_true(sampling_logit(sampling_order(ascending[i])) == ascending[i]);
}

/* ---- the whole ---- */

/* All options on all kinds of logits. */
static void test_definition(void **state)
{
	static const int sizes[] = {1, 2, 7, 100, 513, 4096, 4097, 9000};
	uint64_t random = 7;
	int compared = 0, close_ones = 0;

	(void)state;
	for (size_t s = 0; s < COUNT(sizes); s++) {
		const int n = sizes[s];
		float *logits = take(n);
		struct sample_case c;

		sample_case_init(&c, n);
		for (int i = 0; i < SAMPLE_OPTIONS; i++) {
			const struct sampling_options o = sample_case_options(i, n);

			if (n > 1000 && i % 4 != (int)s % 4)
				continue;
			sample_case_logits(logits, n, i + i / 7, &random);
			sample_case_shares(&c, logits, &o);
			for (int pos = 0; pos < (n < 1000 ? 8 : 2); pos++) {
				bool close;
				const int token = sample_case_token(&c, o.seed, pos * 1000, &close);
				const int got = choose(logits, n, &o, pos * 1000);

				compared++;
				close_ones += close;
				if (got != token && !close)
					fail_msg(
						"n %d, options %d, position %d: token %d (share %g) instead of %d (%g)",
						n, i, pos * 1000, got, c.share[got], token, c.share[token]);
			}
		}
		sample_case_free(&c);
		free(logits);
	}
	print_message("%d tokens, %d of them too close to call\n", compared, close_ones);
	assert_true(close_ones < compared / 10);
}

static void test_wide(void **state)
{
	float *logits = take(WIDE);
	struct sample_case c;
	uint64_t random = 3;
	int close_ones = 0;

	(void)state;
	sample_case_init(&c, WIDE);
	for (int i = 0; i < 28; i++) {
		const struct sampling_options o = sample_case_options(i * 31 + 1, WIDE);
		bool close;

		sample_case_logits(logits, WIDE, i, &random);
		sample_case_shares(&c, logits, &o);
		const int token = sample_case_token(&c, o.seed, i, &close), got = choose(logits, WIDE, &o, i);

		close_ones += close;
		if (got != token && !close)
			fail_msg("options %d: token %d instead of %d", i * 31 + 1, got, token);
	}
	assert_true(close_ones < 14);
	sample_case_free(&c);
	free(logits);
}

/* Which tokens come in many draws: a bit each. */
static unsigned come(const float *logits, int n, struct sampling_options o)
{
	unsigned seen = 0;

	for (int pos = 0; pos < 4000; pos++)
		seen |= 1u << choose(logits, n, &o, pos);
	return seen;
}

/* Where the cuts go, one token more or less: weights are powers of two at this temperature. */
static void test_cuts(void **state)
{
	static const float halves[] = {-3, 0, -2, -1, -4}, equal[] = {2, 2, 2, 2}, tied[] = {1, 2, 1, 2, 1, 1},
			   zeros[] = {-1, -0.0f, 0.0f, -0.0f};
	const struct sampling_options base = {.temperature = M_LOG2E, .top_p = 1};
	struct sampling_options o;

	(void)state;
	/* By rank: ids 1 3 2 0 4, weights 1 1/2 1/4 1/8 1/16. */
	static const unsigned first[] = {31, 2, 10, 14, 15, 31, 31};
	for (int k = 0; k < 7; k++) {
		o = base;
		o.top_k = k;
		assert_int_equal(come(halves, 5, o), first[k]);
	}
	/* Shares of 31/16: 16/31 = 0.516, 24/31 = 0.774, 28/31 = 0.903, 30/31 = 0.968. The one that reaches it is in.
	 */
	static const struct {
		double p;
		unsigned in;
	} shares[] = {{0, 2},      {0.01, 2},   {0.515, 2},  {0.517, 10}, {0.773, 10},
		      {0.775, 14}, {0.902, 14}, {0.904, 15}, {0.967, 15}, {0.969, 31}};
	for (size_t i = 0; i < COUNT(shares); i++) {
		o = base;
		o.top_p = shares[i].p;
		assert_int_equal(come(halves, 5, o), shares[i].in);
	}
	/* Of what top-k left: 1, 1/2, 1/4; 4/7 = 0.571, 6/7 = 0.857. */
	o = base;
	o.top_k = 3;
	o.top_p = 0.56;
	assert_int_equal(come(halves, 5, o), 2);
	o.top_p = 0.58;
	assert_int_equal(come(halves, 5, o), 10);
	o.top_p = 0.85;
	assert_int_equal(come(halves, 5, o), 10);
	o.top_p = 0.86;
	assert_int_equal(come(halves, 5, o), 14);
	/* Of the best one's weight, not of the sum nor of what is left. */
	static const struct {
		double m;
		unsigned in;
	} least[] = {{0, 31},    {0.0625, 31}, {0.0626, 15}, {0.125, 15}, {0.126, 14},
		     {0.25, 14}, {0.251, 10},  {0.5, 10},    {0.501, 2},  {1, 2}};
	for (size_t i = 0; i < COUNT(least); i++) {
		o = base;
		o.min_p = least[i].m;
		assert_int_equal(come(halves, 5, o), least[i].in);
		o.top_k = 4;
		assert_int_equal(come(halves, 5, o), least[i].in & 15);
	}
	/* Equal ones by id. */
	for (int k = 1; k <= 4; k++) {
		o = base;
		o.top_k = k;
		assert_int_equal(come(equal, 4, o), (1u << k) - 1);
		o = base;
		o.top_p = k / 4.0;
		assert_int_equal(come(equal, 4, o), (1u << k) - 1);
		o.top_p = k / 4.0 - 0.01;
		assert_int_equal(come(equal, 4, o), (1u << k) - 1);
	}
	o = base;
	o.min_p = 1;
	assert_int_equal(come(equal, 4, o), 15);
	assert_int_equal(come(tied, 6, o), 10);
	o = base;
	o.top_k = 4;
	assert_int_equal(come(tied, 6, o), 1 | 2 | 4 | 8);
	/* 1, 1, then 1/2 each: the third of the first three that are equal reaches 0.7 of 3.5, as 5/7 does. */
	o.top_k = 5;
	o.top_p = 0.7;
	assert_int_equal(come(tied, 6, o), 1 | 2 | 8);
	o.top_p = 0.72;
	assert_int_equal(come(tied, 6, o), 1 | 2 | 4 | 8);
	/* Both zeros are equal. */
	o = base;
	o.top_k = 2;
	assert_int_equal(come(zeros, 4, o), 2 | 4);
}

/* The best one is where temperature 0 or k = 1 or p = 0 leave one: the lowest id. */
static void test_greedy(void **state)
{
	uint64_t random = 5;

	(void)state;
	for (int i = 0; i < 200; i++) {
		const int n = 1 + (int)random_below(&random, 9000);
		float *logits = take(n);
		int best = 0;

		sample_case_logits(logits, n, i, &random);
		for (int k = 1; k < n; k++)
			best = logits[k] > logits[best] ? k : best;
		assert_int_equal(choose(logits, n, &(struct sampling_options){.top_p = 1, .top_k = 7}, i), best);
		assert_int_equal(choose(logits, n, &(struct sampling_options){1, 1, 1, 0, 9}, i), best);
		assert_int_equal(choose(logits, n, &(struct sampling_options){1, 0, 0, 0, 9}, i), best);
		free(logits);
	}
}

/* No limit in whatever words: the same draws. */
static void test_no_limit(void **state)
{
	float logits[300];
	uint64_t random = 11;

	(void)state;
	sample_case_logits(logits, 300, 0, &random);
	for (int pos = 0; pos < 500; pos++) {
		const int token = choose(logits, 300, &(struct sampling_options){1, 0, 1, 0, 4}, pos);

		assert_int_equal(choose(logits, 300, &(struct sampling_options){1, 300, 1, 0, 4}, pos), token);
		assert_int_equal(choose(logits, 300, &(struct sampling_options){1, 1 << 30, 1, 0, 4}, pos), token);
	}
}

/* Chi-square of draws at successive positions, and of successive seeds at one. */
static void test_distribution(void **state)
{
	enum { N = 30, DRAWS = 60000 };
	static const struct sampling_options all[] = {
		{1, 0, 1, 0, 1}, {0.5, 12, 1, 0, 2}, {2, 0, 0.8, 0, 3}, {1.5, 0, 1, 0.2, 4}, {3, 20, 0.9, 0.3, 5},
	};
	uint64_t random = 13;
	float logits[N];

	(void)state;
	sample_case_logits(logits, N, 0, &random);
	for (int k = 0; k < N; k++)
		logits[k] *= 0.4f;
	for (size_t i = 0; i < 2 * COUNT(all); i++) {
		struct sampling_options o = all[i / 2];
		int counts[N] = {0}, cells = 0;
		struct sample_case c;
		double square = 0;

		sample_case_init(&c, N);
		sample_case_shares(&c, logits, &o);
		for (int d = 0; d < DRAWS; d++) {
			o.seed = all[i / 2].seed + (i % 2 ? (uint64_t)d : 0);
			counts[choose(logits, N, &o, i % 2 ? 77 : d)]++;
		}
		for (int k = 0; k < N; k++) {
			const double expect = c.share[k] * DRAWS;

			if (c.share[k] == 0)
				assert_int_equal(counts[k], 0);
			if (expect < 5)
				continue;
			square += (counts[k] - expect) * (counts[k] - expect) / expect;
			cells++;
		}
		/* Wilson and Hilferty: so many deviations from the mean of chi-square. */
		const double df = cells - 1, z = (cbrt(square / df) - (1 - 2 / (9 * df))) / sqrt(2 / (9 * df));

		assert_true(cells >= 4);
		if (!(fabs(z) < 3.5))
			fail_msg("options %zu: chi-square %g of %d cells: z %g", i, square, cells, z);
		sample_case_free(&c);
	}
}

/* Whatever the threads, and whether settings and position come from the device's memory. */
static void test_threads(void **state)
{
	static const int sizes[] = {1, 5000, 70000};
	uint64_t random = 17;

	(void)state;
	for (size_t s = 0; s < COUNT(sizes); s++) {
		const int n = sizes[s];
		float *logits = take(n);

		for (int i = 0; i < 40; i++) {
			const struct sampling_options o = sample_case_options(i * 17 + 1, n);
			const struct sampling settings = sampling_of(&o);
			const struct step step = {.token = 3, .pos = i};
			struct sampled out = {0};
			const struct sample_params p = {
				.at = {.device = &step, .host.pos = -1},
				.device = &settings,
				.logits = logits,
				.out = &out,
				.n = n,
			};

			sample_case_logits(logits, n, i, &random);
			const int token = choose(logits, n, &o, i);
			for (int threads = 1; threads <= 5; threads++) {
				struct cpu_team *team = cpu_team_open(threads);

				assert_non_null(team);
				cpu_team_use(team);
				out.token = -1;
				k_sample(&p);
				cpu_team_use(NULL);
				cpu_team_close(team);
				assert_int_equal(out.token, token);
			}
		}
		free(logits);
	}
}

/* What cannot be drawn from: said, and the first of the ranking. */
static void test_wrong(void **state)
{
	static const struct {
		float logits[4];
		int token, wrong;
	} cases[] = {
		{{0, NAN, 2, 2}, 2, 1},
		{{NAN, NAN, NAN, NAN}, 0, 1},
		{{0, INFINITY, 2, INFINITY}, 1, 1},
		{{-INFINITY, -INFINITY, -INFINITY, -INFINITY}, 0, 1},
		{{-INFINITY, NAN, -INFINITY, -INFINITY}, 0, 1},
		{{-INFINITY, -INFINITY, -5, -INFINITY}, 2, 0},
	};

	(void)state;
	for (size_t i = 0; i < 4 * COUNT(cases); i++) {
		const struct sampling_options o = {
			.temperature = i % 2 ? 0 : 1, .top_k = i / 2 % 2 ? 2 : 0, .top_p = 0.9};
		struct sampled out = {.token = -1};
		struct sample_params p = {.host = sampling_of(&o), .logits = cases[i / 4].logits, .out = &out, .n = 4};

		k_sample(&p);
		assert_int_equal(out.token, cases[i / 4].token);
		assert_int_equal(out.wrong, cases[i / 4].wrong);
		out.wrong = 1;
		k_sample(&p);
		assert_int_equal(out.wrong, 1);
	}
}

static void test_options(void **state)
{
	static const struct sampling_options wrong[] = {
		{-1, 0, 1, 0, 0},  {NAN, 0, 1, 0, 0},  {INFINITY, 0, 1, 0, 0}, {1e-7, 0, 1, 0, 0},
		{2e6, 0, 1, 0, 0}, {1, -1, 1, 0, 0},   {1, 0, 1.01, 0, 0},     {1, 0, -0.1, 0, 0},
		{1, 0, NAN, 0, 0}, {1, 0, 1, 1.01, 0}, {1, 0, 1, -0.1, 0},     {1, 0, 1, NAN, 0},
	};
	struct sampling_options o;
	struct error err;

	(void)state;
	for (size_t i = 0; i < COUNT(wrong); i++)
		assert_int_equal(sampling_check(&wrong[i], &err), ERROR_INPUT);
	sampling_options_default(&o);
	assert_int_equal(sampling_check(&o, &err), 0);
	assert_true(sampling_of(&o).rate == 0.0f);
	o.temperature = SAMPLING_COLDEST;
	assert_int_equal(sampling_check(&o, &err), 0);
	o.temperature = SAMPLING_HOTTEST;
	assert_int_equal(sampling_check(&o, &err), 0);
	/* Not a share that is less than was asked for, and so none of nothing. */
	o.min_p = 1e-15;
	assert_true(sampling_of(&o).min_p == 1);
	o.min_p = 0.3;
	assert_true(sampling_of(&o).min_p == 164926744167); /* 0.3 * 2^39 is 164926744166.4 */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_philox),       cmocka_unit_test(test_weight),     cmocka_unit_test(test_share),
		cmocka_unit_test(test_order),        cmocka_unit_test(test_definition), cmocka_unit_test(test_wide),
		cmocka_unit_test(test_cuts),         cmocka_unit_test(test_greedy),     cmocka_unit_test(test_no_limit),
		cmocka_unit_test(test_distribution), cmocka_unit_test(test_threads),    cmocka_unit_test(test_wrong),
		cmocka_unit_test(test_options),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
