/* Verdicts on samples whose answer is known by hand. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/random.h"
#include "harness/stats/verdict.h"

enum { RUNS = 16 };

static uint64_t seed;

/* Uniform in [-1, 1). */
static double noise(void)
{
	return (double)(random_next(&seed) >> 11) * 0x1p-52 - 1;
}

/* Baseline runs of about 1000 us, and candidates slower by a share. */
static void sample(double share, double spread, double *baseline, double *candidate)
{
	for (int i = 0; i < RUNS; i++) {
		/* What both runs of a pair share cancels, however large. */
		double common = 1 + 0.1 * i;
		baseline[i] = 1000 * common * (1 + spread * noise());
		candidate[i] = 1000 * common * (1 + share) * (1 + spread * noise());
	}
}

static struct verdict one(double share, double spread, int runs, int cells, int paired)
{
	double baseline[RUNS], candidate[RUNS];
	struct verdict_cell c[64];
	struct verdict v[64];
	struct verdict_options o;
	seed = 5;
	sample(share, spread, baseline, candidate);
	for (int i = 0; i < cells; i++)
		c[i] = (struct verdict_cell){baseline, i ? baseline : candidate, runs, runs, paired, 0};
	verdict_options_default(&o);
	assert_int_equal(verdict_compare(c, cells, &o, v, NULL), 0);
	/* The others are the baseline itself. */
	for (int i = 1; i < cells; i++)
		assert_true(v[i].kind == (v[i].p_least < o.alpha / cells ? VERDICT_SAME : VERDICT_INCONCLUSIVE) ||
			    !paired);
	return v[0];
}

static void test_kinds(void **state)
{
	(void)state;
	struct verdict v = one(0.02, 0.003, RUNS, 40, 1);
	assert_int_equal(v.kind, VERDICT_SLOWER);
	assert_true(fabs(v.effect - 0.02) < 0.003 && v.low > 0.01 && v.high < 0.03);
	assert_true(v.p > 0 && v.p < 1e-4 && fabs(v.p_holm - 40 * v.p) < 1e-12 && fabs(v.p_bh - 40 * v.p) < 1e-12);
	assert_int_equal(one(-0.02, 0.003, RUNS, 40, 1).kind, VERDICT_FASTER);
	assert_int_equal(one(0, 0.003, RUNS, 40, 1).kind, VERDICT_SAME);
	/* Significant, and too small to matter. */
	v = one(0.004, 0.0005, RUNS, 40, 1);
	assert_true(v.p_holm < 0.01);
	assert_int_equal(v.kind, VERDICT_SAME);
	/* About delta itself: nothing can be said. */
	v = one(0.01, 0.003, RUNS, 40, 1);
	assert_true(v.p_holm < 0.01);
	assert_int_equal(v.kind, VERDICT_INCONCLUSIVE);
	/* Too noisy. */
	assert_int_equal(one(0, 0.1, RUNS, 40, 1).kind, VERDICT_INCONCLUSIVE);
}

/* However clear the effect, and however equal the sides: too few runs are no verdict. */
static void test_too_few(void **state)
{
	(void)state;
	struct verdict v = one(0.5, 0.001, 12, 40, 1);
	assert_int_equal(v.kind, VERDICT_INCONCLUSIVE);
	assert_true(fabs(v.p_least - 1.0 / 2048) < 1e-12 && isinf(v.detectable));
	assert_int_equal(one(0.5, 0.001, 13, 40, 1).kind, VERDICT_SLOWER);
	assert_int_equal(one(0, 0.0001, 12, 40, 1).kind, VERDICT_INCONCLUSIVE);
	assert_int_equal(one(0.5, 0.001, 12, 1, 1).kind, VERDICT_SLOWER);
	assert_int_equal(verdict_least_runs(40, 0.01), 13);
	assert_int_equal(verdict_least_runs(1, 0.05), 6);
	assert_int_equal(one(0.5, 0.001, 0, 1, 1).kind, VERDICT_INCONCLUSIVE);
	assert_true(isnan(one(0.5, 0.001, 0, 1, 1).effect));
}

/* What is said to be detectable is about what is found. */
static void test_detectable(void **state)
{
	(void)state;
	struct verdict v = one(0, 0.01, RUNS, 40, 1);
	assert_true(v.detectable > 0.01 && v.detectable < 0.05 && v.runs_needed > 0);
	assert_true(v.variability > 0.005 && v.variability < 0.012);
	/* Pairs share most of their variation: unpaired, the same runs show nothing. */
	v = one(0.02, 0.003, RUNS, 4, 0);
	assert_int_equal(v.kind, VERDICT_INCONCLUSIVE);
	assert_true(v.detectable > 0.2 && v.p > 0.5);
	v = one(3, 0.003, RUNS, 4, 0);
	assert_int_equal(v.kind, VERDICT_SLOWER);
	assert_true(v.p < 1e-6);
	/* A candidate that takes longer has an effect above zero, as of pairs. */
	assert_true(fabs(v.effect - 3) < 0.1 && v.low <= v.effect && v.effect <= v.high);
	v = one(-0.75, 0.003, RUNS, 4, 0);
	assert_int_equal(v.kind, VERDICT_FASTER);
	assert_true(fabs(v.effect + 0.75) < 0.01 && v.low <= v.effect && v.effect <= v.high);
}

/* Unpaired: a pair of two independent runs varies by the square root of two more than a run. */
static void test_unpaired_design(void **state)
{
	(void)state;
	enum { N = 200 };
	static double x[N], y[N];
	struct verdict_options o;
	struct verdict v;
	seed = 11;
	for (int i = 0; i < N; i++) {
		x[i] = exp(0.01 * sqrt(3) * noise()); /* of standard deviation 0.01 */
		y[i] = exp(0.01 * sqrt(3) * noise());
	}
	verdict_options_default(&o);
	struct verdict_cell c = {x, y, N, N / 2, 0, 0};
	assert_int_equal(verdict_compare(&c, 1, &o, &v, NULL), 0);
	assert_true(v.variability > 0.0125 && v.variability < 0.0155);
	/* 200 and 100 runs are worth 133 pairs: about 0.01 and a bit more, delta and three errors of 0.0015. */
	assert_true(v.detectable > 0.012 && v.detectable < 0.022);
	c.n = c.m = 3; /* no p below 0.01 */
	assert_int_equal(verdict_compare(&c, 1, &o, &v, NULL), 0);
	assert_true(isinf(v.detectable) && v.kind == VERDICT_INCONCLUSIVE);
}

/* A single wild pair does not move the effect, and can only make a verdict less sure. */
static void test_wild_pair(void **state)
{
	(void)state;
	double baseline[RUNS], candidate[RUNS];
	struct verdict_options o;
	struct verdict v;
	verdict_options_default(&o);
	seed = 9;
	sample(0, 0.002, baseline, candidate);
	candidate[3] *= 5;
	struct verdict_cell c = {baseline, candidate, RUNS, RUNS, 1, 0};
	assert_int_equal(verdict_compare(&c, 1, &o, &v, NULL), 0);
	assert_true(fabs(v.effect) < 0.002);
	assert_int_equal(v.kind, VERDICT_SAME);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),      cmocka_unit_test(test_too_few),
		cmocka_unit_test(test_detectable), cmocka_unit_test(test_unpaired_design),
		cmocka_unit_test(test_wild_pair),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
