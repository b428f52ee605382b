/*
 * Is there a difference at all? Exact permutation tests, and what many of them at once
 * do to their p-values. All p are two-sided.
 *
 * A unit of these tests is a run's median or a block, never a token: tokens of one run
 * share its luck, and a test that takes them for independent finds differences where
 * there are none.
 */
#ifndef GEMMARK_HARNESS_STATS_STATS_SIGNIFICANCE_H
#define GEMMARK_HARNESS_STATS_STATS_SIGNIFICANCE_H

/*
 * Paired blocks: the share of the 2^n sign patterns of d whose |sum| is at least the
 * observed one. Exact up to STATS_SIGN_FLIP_EXACT blocks (both halves' sums are sorted
 * and merged); beyond, 100,000 seeded patterns with the observed one counted in, which
 * is still a valid p. d: (n) finite. 1 where n is 0. NAN when memory is not enough.
 */
enum { STATS_SIGN_FLIP_EXACT = 40 };
double stats_sign_flip(const double *d, int n);
/* The smallest p that n blocks can give: 2 / 2^n. */
double stats_sign_flip_least(int n);

/*
 * Unpaired sets: twice the smaller tail of the rank sum's permutation distribution,
 * midranks for ties. Exact up to STATS_MANN_WHITNEY_EXACT values in all; beyond, the
 * normal approximation with corrections for ties and continuity. x: (n), y: (m) finite.
 * 1 where a set is empty. NAN when memory is not enough.
 */
enum { STATS_MANN_WHITNEY_EXACT = 100 };
double stats_mann_whitney(const double *x, int n, const double *y, int m);
/* The smallest p that n and m values without ties can give: 2 / (n + m over n). */
double stats_mann_whitney_least(int n, int m);

/*
 * Adjusted p-values of n tests, in the tests' order: at most alpha of them all is wrong
 * anywhere (Holm 1979), or in the mean of those called significant (Benjamini and
 * Hochberg 1995). p, out: (n), which may be the same array. 0, or -1 when memory is not enough.
 */
int stats_holm(const double *p, int n, double *out);
int stats_benjamini_hochberg(const double *p, int n, double *out);

#endif
