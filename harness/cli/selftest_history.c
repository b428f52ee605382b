#include "harness/cli/selftest_history.h"

#include <math.h>
#include <stdio.h>

#include "harness/stats/stats_distribution.h"

static const double PI = 3.14159265358979323846;

/* A commit's value varies by less than a third of what is planted where that can be found within a commit at all. */
static const double LOUD = 3;

/* The standard deviation of the median of so many runs, and of their process. */
static double level_noise(const struct history_noise *noise, int runs)
{
	return hypot(noise->run * sqrt(PI / 2 / runs), noise->middle);
}

static void print_rate(const char *what, int k, int n)
{
	double low, high;
	stats_binomial_interval(k, n, 0.95, &low, &high);
	printf("    %-46s %5d of %d, %.1f %% [%.1f, %.1f]\n", what, k, n, 100.0 * k / n, 100 * low, 100 * high);
}

static void print_kinds(const char *what, const int kinds[CONTINUATION_UNCLEAR + 1])
{
	printf("    %-46s %5d go on, %d better, %d worse, %d cannot tell\n", what, kinds[CONTINUATION_SAME],
	       kinds[CONTINUATION_BETTER], kinds[CONTINUATION_WORSE], kinds[CONTINUATION_UNCLEAR]);
}

static void print_rates(const struct history_rates_options *o, const struct history_rates *r, int with_checks)
{
	char what[80];
	snprintf(what, sizeof what, "slower by %.3g %%: found within one commit", 100 * o->inject);
	print_rate(what, r->near, r->series);
	print_rate("  at the very commit", r->exact, r->series);
	if (r->near)
		print_rate("  its 95 % interval holds the true change", r->covered, r->near);
	printf("    %-46s %5d in %d series\n", "  change points elsewhere", r->extra, r->series);
	print_rate("flat: series with a change point, all false", r->false_series, r->series);
	if (!with_checks)
		return;
	print_kinds("check of one more commit, unchanged", r->same);
	snprintf(what, sizeof what, "check of one more commit, slower by %.3g %%", 100 * o->inject);
	print_kinds(what, r->slower);
}

int selftest_history(const struct history_rates_options *o, int *trusted, struct error *err)
{
	*trusted = 1;
	printf("%d series a kind, %d runs of %d simulated tokens a commit: %d commits, slower from the %dth on; %d "
	       "flat "
	       "ones;\na check behind %d flat ones. Exact 95 %% intervals.\n",
	       o->series, o->runs, o->tokens, o->planted_commits, o->planted_at + 1, o->flat_commits, o->check_commits);
	for (int i = 0; i < history_n_noises; i++) {
		const struct history_noise *noise = &history_noises[i];
		int loud = level_noise(noise, o->runs) > o->inject / LOUD;
		printf("\n%s: runs vary by %.2f %%, processes by %.1f %%\n", noise->name, 100 * noise->run,
		       100 * noise->middle);
		for (int t = 0; t < 2; t++) {
			struct history_rates_options options = *o;
			struct history_rates r;
			options.change.test = t ? STATS_CHANGE_STUDENT : STATS_CHANGE_PERMUTATION;
			int rc = history_rates_measure(noise, &options, &r, err);
			if (rc)
				return rc;
			printf("  %s, p <= %.3g:\n", t ? "for contrast, Student's t" : "permutations",
			       options.change.alpha);
			print_rates(&options, &r, !t);
			if (t)
				continue;
			int good = (loud || 100 * r.near >= 95 * r.series) && 100 * r.false_changes <= r.series;
			if (loud)
				printf("    too loud for a change of this size with so few runs: told, not judged\n");
			printf("    %s\n", good ? "good" : "NOT GOOD ENOUGH");
			*trusted &= good;
		}
	}
	return 0;
}
