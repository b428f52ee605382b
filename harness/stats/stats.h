/*
 * Order statistics of one run's times. Doubles throughout; the arrays given are
 * never reordered. An empty sample has no statistic: NAN.
 */
#ifndef GEMMARK_HARNESS_STATS_STATS_H
#define GEMMARK_HARNESS_STATS_STATS_H

/* A sorted copy of n finite values. Returns null when memory is not enough. The caller frees it. */
double *stats_sorted(const double *x, int n);

/* Quantile q in [0, 1] of an ascending sample: linear interpolation at (n - 1) q (Hyndman and Fan, type 7). */
double stats_quantile(const double *sorted, int n, double q);

struct stats_summary {
	int n;
	double median;
	double mad; /* median of |x - median|, not scaled to a normal's sigma */
	double p50;
	double p90;
	double p99; /* NAN below STATS_P99_MIN values */
	double min;
	double max;
};

/*
 * The fewest values of which, with 99 % confidence, at least two lie beyond the true
 * 99th percentile (0.99^n + n 0.01 0.99^(n-1) <= 0.01). With fewer, a "p99" may be
 * the maximum under another name.
 */
enum { STATS_P99_MIN = 662 };

/* Returns 0, or -1 when memory is not enough (all NAN then). */
int stats_summarize(const double *x, int n, struct stats_summary *out);

/* The median alone; NAN when n is 0 or memory is not enough. */
double stats_median(const double *x, int n);

#endif
