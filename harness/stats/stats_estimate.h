/*
 * How large a difference is, how sure that is, and what could have been seen.
 *
 * A block is a pair of runs next to each other, or what else one independent
 * measurement of the difference is: d is log(candidate / baseline) of its run medians.
 */
#ifndef GEMMARK_HARNESS_STATS_STATS_ESTIMATE_H
#define GEMMARK_HARNESS_STATS_STATS_ESTIMATE_H

#include <stdint.h>

enum { STATS_RESAMPLES = 10000 };

struct stats_interval {
	double low;
	double high;
};

/*
 * The percentile bootstrap interval of the median: d, (n), is resampled over blocks
 * STATS_RESAMPLES times. Level in (0, 1). Returns 0, or -1 when memory is not enough.
 * Empty: NAN.
 */
int stats_bootstrap_median(const double *d, int n, double level, uint64_t seed, struct stats_interval *out);

/* The same of median(y) - median(x), both sets resampled. x: (n), y: (m). */
int stats_bootstrap_shift(const double *x, int n, const double *y, int m, double level, uint64_t seed,
			  struct stats_interval *out);

/* The percentile bootstrap interval of the mean, likewise. */
int stats_bootstrap_mean(const double *d, int n, double level, uint64_t seed, struct stats_interval *out);

/* NAN of no values. */
double stats_mean(const double *x, int n);
/* Standard deviation with n - 1, in two passes; NAN below 2 values. */
double stats_deviation(const double *x, int n);

/*
 * Two samples whose deviations may differ (Welch 1947): the two-sided p of equal means, 1 where it cannot be told; and
 * the interval of mean(y) - mean(x), NAN where it cannot. x: (n), y: (m).
 */
double stats_welch_p(const double *x, int n, const double *y, int m);
void stats_welch_interval(const double *x, int n, const double *y, int m, double level, struct stats_interval *out);

struct stats_design {
	double deviation; /* of one block's d */
	double alpha;     /* of the test, two-sided, already divided by the number of tests */
	double level;     /* of the interval */
	double delta;     /* what the interval must be beyond */
	double power;     /* with which the effect is to be found */
};

/*
 * The smallest true effect that n blocks call a regression with the stated power: the
 * test's p is below alpha and the interval beyond delta. Normal theory with t's tails,
 * and the median's standard error (that of the mean times sqrt(pi / 2)). INFINITY where
 * n blocks cannot reach alpha at all.
 */
double stats_detectable(const struct stats_design *d, int n);

/* The fewest blocks whose detectable effect is at most `effect` > delta; 0 where `most` are too few. */
int stats_blocks_needed(const struct stats_design *d, double effect, int most);

#endif
