#include "harness/cli/selftest_report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/stats/stats.h"
#include "harness/stats/stats_distribution.h"

/* "3 of 1000 (0.06 to 0.87 %)" */
static void print_rate(const char *what, int k, int n, const char *behind)
{
	double low, high;
	if (!n)
		return;
	stats_binomial_interval(k, n, 0.95, &low, &high);
	printf("  %-52s %d of %d (%.3g to %.3g %%)%s\n", what, k, n, 100 * low, 100 * high, behind);
}

/* The median variation of the cells of each mode. */
static void print_variation(const struct cell *cells, const struct selftest_result *r)
{
	printf("  %-52s", "run-to-run sd of the median itl");
	double *of_mode = calloc((size_t)r->cells, sizeof *of_mode);
	for (int i = 0; of_mode && i < r->cells; i++) {
		int n = 0, seen = 0;
		for (int j = 0; j < r->cells; j++) {
			if (strcmp(cells[i].mode, cells[j].mode))
				continue;
			seen |= j < i;
			of_mode[n++] = r->variation[j];
		}
		if (!seen)
			printf(" %s %.2f %%", cells[i].mode, 100 * stats_median(of_mode, n));
	}
	free(of_mode);
	putchar('\n');
}

int selftest_print(const struct selftest_options *o, const struct cell *cells, const struct selftest_result *r)
{
	char title[64], what[96];
	if (o->inject > 0)
		snprintf(title, sizeof title, "%g %% slower in one cell", 100 * o->inject);
	else
		snprintf(title, sizeof title, "A/A");
	printf("%s: %d sweep%s of %d cell%s, %d runs a side, %d tokens a run; alpha %g %%, delta %g %%\n", title,
	       r->sweeps, r->sweeps == 1 ? "" : "s", r->cells, r->cells == 1 ? "" : "s", o->runner.repetitions,
	       r->tokens, 100 * o->verdict.alpha, 100 * o->verdict.delta);
	if (!r->sweeps)
		return 0;
	int trusted = 1;
	if (o->inject > 0) {
		trusted &= r->found >= 0.95 * r->sweeps;
		print_rate("found", r->found, r->sweeps, trusted ? "" : "  TOO FEW");
	}
	int quiet = r->alarms <= 0.01 * r->sweeps;
	trusted &= quiet;
	print_rate("sweeps with a false alarm", r->alarms, r->sweeps, quiet ? "" : "  TOO MANY");
	if (r->repeated)
		printf("  %-52s %d, %.3g a sweep\n", "runs repeated because the SM clock was low", r->repeated,
		       (double)r->repeated / r->sweeps);
	print_rate("sweeps with p below alpha, whatever the effect", r->significant, r->sweeps, "");
	if (r->unsure) {
		trusted = 0;
		printf("  %d runs a side cannot tell %d cells apart at all; -r %d would\n", o->runner.repetitions,
		       r->cells, verdict_least_runs(r->cells, o->verdict.alpha));
	}
	snprintf(what, sizeof what, "naive: cells, pooled tokens, rank test at %g %%", 100 * o->naive_alpha);
	print_rate(what, r->naive_cells, r->naive_of, "");
	print_rate("naive: sweeps with a false alarm after Holm", r->naive_sweeps, r->sweeps, "");
	print_variation(cells, r);
	return trusted;
}
