/*
 * A level beside the one before, and a run behind it: against SciPy's ttest_ind and t (1.16.3), and changes between
 * groups and through a window, whose places were planted.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/random.h"
#include "harness/stats/stats_change.h"
#include "harness/stats/stats_distribution.h"
#include "harness/stats/stats_estimate.h"
#include "harness/stats/stats_series.h"

static void near(double got, double expected)
{
	if (!(fabs(got - expected) <= 1e-9 * fabs(expected)))
		fail_msg("%.17g is not %.17g", got, expected);
}

static void test_welch(void **state)
{
	(void)state;
	static const double x[] = {0.1, 0.3, -0.2, 0.05, 0.4, 0.0}, y[] = {1.1, 0.9, 1.4, 1.25};
	struct stats_interval i;
	struct series_shift s;
	near(stats_t_tails(2.5, 7), 0.040992218585752874);
	near(stats_t_tails(-0.3, 2.5), 0.7873423714951973);
	near(stats_welch_p(x, 6, y, 4), 0.00016443032594586722);
	stats_welch_interval(x, 6, y, 4, 0.95, &i);
	near(i.low, 0.7231805156730564);
	near(i.high, 1.385152817660277);
	series_shift(x, 6, y, 4, 0.95, &s);
	near(s.effect, expm1(1.0541666666666667));
	near(s.low, expm1(0.7231805156730564));
	/* One value has no deviation: a size, and no interval. */
	series_shift(x, 1, y, 4, 0.95, &s);
	assert_true(isfinite(s.effect) && isnan(s.low) && isnan(s.high));
	assert_true(stats_welch_p(x, 1, y, 4) == 1);
}

static const double level[] = {7.0, 7.01, 6.995, 7.004, 6.99, 7.006, 7.002, 6.997};

static void judge(const struct series_cell *cells, int n, const struct continuation_options *o,
		  struct continuation *out)
{
	assert_int_equal(continuation_judge(cells, n, o, out), 0);
}

static void test_continuation(void **state)
{
	(void)state;
	static const double one[] = {7.03}, three[] = {7.03, 7.025, 7.041}, same[] = {7.001};
	struct continuation_options o;
	struct continuation v[2];
	continuation_options_default(&o);
	judge(&(struct series_cell){level, one, 8, 1, 1}, 1, &o, v);
	near(v->p, 0.003412328951596421);
	near(v->effect, 0.02993943547189226);
	near(v->low, 0.01350296127493383);
	near(v->high, 0.046642468025707824);
	near(v->seen, 0.03265559808044206);
	assert_int_equal(v->kind, CONTINUATION_WORSE);
	judge(&(struct series_cell){level, three, 8, 3, 1}, 1, &o, v);
	near(v->p, 7.950732971742626e-05);
	/* Of a rate the same is better. */
	judge(&(struct series_cell){level, one, 8, 1, -1}, 1, &o, v);
	assert_int_equal(v->kind, CONTINUATION_BETTER);
	/* Moved for certain, and perhaps by less than matters. */
	o.delta = 0.02;
	judge(&(struct series_cell){level, one, 8, 1, 1}, 1, &o, v);
	assert_int_equal(v->kind, CONTINUATION_UNCLEAR);
	o.delta = 0.05;
	judge(&(struct series_cell){level, one, 8, 1, 1}, 1, &o, v);
	assert_int_equal(v->kind, CONTINUATION_SAME);
	/* Holm over two doubles the smaller p. */
	continuation_options_default(&o);
	const struct series_cell cells[2] = {{level, one, 8, 1, 1}, {level, same, 8, 1, 1}};
	judge(cells, 2, &o, v);
	near(v[0].p_holm, 2 * 0.003412328951596421);
	assert_int_equal(v[0].kind, CONTINUATION_WORSE);
	assert_int_equal(v[1].kind, CONTINUATION_SAME);
	/* Where it is certainty that takes most, what would be seen is larger of two cells than of one. */
	o.delta = 0;
	judge(cells, 1, &o, v);
	near(v->seen, 0.0303558821210739);
	judge(cells, 2, &o, v);
	near(v->seen, 0.034076798102225);
	continuation_options_default(&o);
	o.alpha = 0.005;
	judge(cells, 2, &o, v);
	assert_int_not_equal(v[0].kind, CONTINUATION_WORSE);
}

static void test_too_little(void **state)
{
	(void)state;
	static const double now[] = {7.001}, flat[] = {7, 7, 7}, wild[] = {7, 7.4, 6.7, 7.2};
	struct continuation_options o;
	struct continuation v;
	continuation_options_default(&o);
	judge(&(struct series_cell){level, now, 1, 1, 1}, 1, &o, &v);
	assert_int_equal(v.kind, CONTINUATION_UNCLEAR);
	assert_true(isinf(v.seen) && isnan(v.low));
	judge(&(struct series_cell){level, now, 0, 1, 1}, 1, &o, &v);
	assert_int_equal(v.kind, CONTINUATION_UNCLEAR);
	assert_true(isnan(v.effect));
	/* Without any noise there is no yardstick. */
	judge(&(struct series_cell){flat, now, 3, 1, 1}, 1, &o, &v);
	assert_int_equal(v.kind, CONTINUATION_UNCLEAR);
	/* Nothing says that it moved, and 5 % would not be seen either. */
	judge(&(struct series_cell){wild, now, 4, 1, 1}, 1, &o, &v);
	assert_true(v.p > 0.5);
	assert_int_equal(v.kind, CONTINUATION_UNCLEAR);
	o.within = 10;
	judge(&(struct series_cell){wild, now, 4, 1, 1}, 1, &o, &v);
	assert_int_equal(v.kind, CONTINUATION_SAME);
}

/* One spoilt process in the level does not blind what comes. */
static void test_far(void **state)
{
	(void)state;
	static const double spoilt[] = {7.0, 7.01, 6.995, 7.9, 7.004, 6.99, 7.006, 7.002, 6.997}, now[] = {7.03};
	struct continuation_options o;
	struct continuation v;
	continuation_options_default(&o);
	judge(&(struct series_cell){spoilt, now, 9, 1, 1}, 1, &o, &v);
	assert_int_equal(v.far, 1);
	assert_int_equal(v.used, 8);
	near(v.p, 0.003412328951596421);
}

static double uniform(uint64_t *state)
{
	return (double)(random_next(state) >> 11) * 0x1p-53;
}

/* A step within a commit is none: the nearest end of a commit is where it is. */
static void test_groups(void **state)
{
	(void)state;
	enum { N = 40 };
	double x[N];
	int group[N], lone[N];
	uint64_t seed = 3;
	struct stats_change_options o;
	struct stats_change found[N];
	stats_change_options_default(&o);
	o.permutations = 199; /* enough for steps that are plain to see */
	o.alpha = 0.01;
	for (int i = 0; i < N; i++) {
		x[i] = (i >= 18 ? 1.05 : 1) + 0.01 * uniform(&seed);
		group[i] = i / 4; /* 16 to 19 are one commit */
		lone[i] = i < 16 ? 0 : 1;
	}
	assert_int_equal(stats_change_points(x, NULL, N, &o, found), 1);
	assert_int_equal(found[0].at, 18);
	int n = stats_change_points(x, group, N, &o, found);
	assert_in_range(n, 1, 2);
	for (int i = 0; i < n; i++)
		assert_true(found[i].at == 16 || found[i].at == 20);
	/* Two commits, of which the first was measured 16 times. */
	assert_int_equal(stats_change_points(x, lone, N, &o, found), 1);
	assert_int_equal(found[0].at, 16);
	/* One commit has no change, whatever it measured. */
	for (int i = 0; i < N; i++)
		lone[i] = 7;
	assert_int_equal(stats_change_points(x, lone, N, &o, found), 0);
}

/* What the values of a commit have in common, as those of a day, is no change; a step that is larger than that is one.
 */
static void test_common(void **state)
{
	(void)state;
	enum { COMMITS = 12, EACH = 5, N = COMMITS * EACH, SERIES = 20 };
	double x[N];
	int group[N], flat = 0, stepped = 0;
	uint64_t seed = 6;
	struct stats_change_options o;
	struct stats_change found[N];
	stats_change_options_default(&o);
	o.permutations = 199;
	o.alpha = 0.01;
	for (int s = 0; s < 2 * SERIES; s++) {
		double common = 0;
		for (int i = 0; i < N; i++) {
			group[i] = i / EACH;
			common = i % EACH ? common : 0.02 * uniform(&seed);
			x[i] = 1 + common + 0.02 * uniform(&seed) + (s >= SERIES && i >= N / 2 ? 0.1 : 0);
		}
		int n = stats_change_points(x, group, N, &o, found);
		flat += s < SERIES && n > 0;
		stepped += s >= SERIES && n == 1 && found[0].at == N / 2;
	}
	assert_in_range(flat, 0, 1);
	assert_in_range(stepped, SERIES - 3, SERIES);
	/* Two commits have no other order: there the values decide. */
	for (int i = 0; i < 24; i++) {
		group[i] = i / 12;
		x[i] = 1 + 0.02 * uniform(&seed) + 0.1 * (i / 12);
	}
	assert_int_equal(stats_change_points(x, group, 24, &o, found), 1);
	assert_int_equal(found[0].at, 12);
}

/* A small step behind a large one: permutations stay within the segments, or the large one would drown it. */
static void test_segments(void **state)
{
	(void)state;
	enum { N = 60 };
	double x[N];
	uint64_t seed = 5;
	struct stats_change_options o;
	struct stats_change found[N];
	stats_change_options_default(&o);
	o.permutations = 199;
	o.alpha = 0.01;
	for (int i = 0; i < N; i++)
		x[i] = (i >= 20 ? 10 : 0) + (i >= 40 ? 0.05 : 0) + 0.01 * uniform(&seed);
	assert_int_equal(stats_change_points(x, NULL, N, &o, found), 2);
	assert_int_equal(found[0].at, 20);
	assert_int_equal(found[1].at, 40);
}

/* A window sees each change once, wherever it lies, and is not the whole series at once. */
static void test_window(void **state)
{
	(void)state;
	enum { N = 400, STEPS = 5 };
	static const int at[STEPS] = {33, 90, 151, 287, 371};
	double x[N];
	uint64_t seed = 9;
	struct stats_change_options o;
	struct stats_change found[N];
	for (int i = 0, k = 0; i < N; i++) {
		k += k < STEPS && i == at[k];
		x[i] = 1 + 0.05 * (k % 2) + 0.01 * uniform(&seed);
	}
	stats_change_options_default(&o);
	o.permutations = 199;
	o.alpha = 0.01;
	o.window = 100;
	assert_int_equal(stats_change_points(x, NULL, N, &o, found), STEPS);
	for (int i = 0; i < STEPS; i++)
		assert_int_equal(found[i].at, at[i]);
	/* What is near the window's end is judged by what follows it: 40 and 60 values, not 90 and 10. */
	for (int i = 0; i < 150; i++)
		x[i] = i >= 90;
	assert_int_equal(stats_change_points(x, NULL, 150, &o, found), 1);
	assert_int_equal(found[0].at, 90);
	assert_true(fabs(found[0].q - 2 * 40 * 60 / 100.0) < 1e-9);
	for (int i = 0, k = 0; i < N; i++) {
		k += k < STEPS && i == at[k];
		x[i] = 1 + 0.05 * (k % 2) + 0.01 * uniform(&seed);
	}
	/* Also where a commit is larger than the window. */
	int group[N];
	for (int i = 0; i < N; i++)
		group[i] = i < 151 ? 0 : i < 371 ? 1 : 2;
	int n = stats_change_points(x, group, N, &o, found);
	for (int i = 0; i < n; i++)
		assert_true(found[i].at == 151 || found[i].at == 371);
}

/* A long series is searched more than once, and so is wrong more often than alpha says. */
static void test_searches(void **state)
{
	(void)state;
	enum { SERIES = 24, N = 400 };
	struct stats_change_options o;
	stats_change_options_default(&o);
	assert_int_equal(stats_change_searches(0, &o), 0);
	assert_int_equal(stats_change_searches(1, &o), 1);
	assert_int_equal(stats_change_searches(200, &o), 1);
	assert_int_equal(stats_change_searches(201, &o), 2);
	assert_int_equal(stats_change_searches(300, &o), 2);
	assert_int_equal(stats_change_searches(301, &o), 3);
	o.window = 0;
	assert_int_equal(stats_change_searches(100000, &o), 1);
	/* Seven windows of 5 in 100: a third of the series, not a twentieth. */
	double x[N];
	struct stats_change found[N];
	uint64_t seed = 4;
	int with = 0;
	o = (struct stats_change_options){.least = 2, .permutations = 19, .alpha = 0.05, .seed = 1, .window = 100};
	assert_int_equal(stats_change_searches(N, &o), 7);
	for (int s = 0; s < SERIES; s++) {
		for (int i = 0; i < N; i++)
			x[i] = uniform(&seed);
		with += stats_change_points(x, NULL, N, &o, found) > 0;
	}
	assert_in_range(with, SERIES / 6, SERIES / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_welch),    cmocka_unit_test(test_continuation), cmocka_unit_test(test_too_little),
		cmocka_unit_test(test_far),      cmocka_unit_test(test_groups),       cmocka_unit_test(test_common),
		cmocka_unit_test(test_segments), cmocka_unit_test(test_window),       cmocka_unit_test(test_searches),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
