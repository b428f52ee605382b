/* How far two devices that do the same kernel may be apart: derived, not found. */
#ifndef GEMMARK_BENCH_TOLERANCE_H
#define GEMMARK_BENCH_TOLERANCE_H

#include <math.h>
#include <stddef.h>

#include "bench/pair.h"

/* Unit roundoff of float32. */
#define U 0x1p-24

/*
 * How far two float32 sums of the same n products, in whatever orders, may be apart: relative to
 * sqrt(Q^2 + y^2), where Q^2 is the sum of the products' squares and y their sum.
 *
 * Each addition (or FMA) rounds a partial sum s_j by at most U |s_j|, with a standard deviation of at most
 * U |s_j| / sqrt 3, independently. Products of random signs walk: the s_j^2 add up to about
 * n (Q^2 / 2 + y^2 / 3) at most, in one chain; shorter chains round less. Two such sums differ with sqrt 2 times the
 * deviation of one: sqrt(2 / 3) U sqrt(n (Q^2 / 2 + y^2 / 3)) <= 0.58 U sqrt(n) sqrt(Q^2 + y^2). Allowed are 8
 * of these deviations (a chance of 1e-15 an element) and 8 roundings more for what operands and sum go through.
 *
 * That is several times less than activations rounded to 11 bits cause, and than a missing product
 * does (test_kernels_planted.c shows it): a bound that holds with certainty, 2 n U, would notice neither.
 */
static inline double sum_of(double n)
{
	return 5 * U * sqrt(n + 8);
}

/* What exp, tanh, sin and the like may differ by, a few units in the last place on either side. */
#define FUNCTION (16 * U)

/*
 * Magnitudes of products, after the run. Row `row` of y, y_stride apart, is the expert's rows times x: each a sum of
 * products whose squares add up to at most |w_r|^2 max|x|^2. norms: pair_row_norms of w.
 */
void tolerance_product(struct pair *p, const float *y, int y_stride, const struct weight *w, int expert,
		       const double *norms, const float *x, int row);
void tolerance_matmul(struct pair *p, const struct matmul_params *m);

/*
 * What a row of the result may be off by, relative to the root mean square over its head_dim.
 *
 * A score is a sum of head_dim products of squares that add up to at most (scale |q| max|k|)^2; the largest ones, which
 * count, are up to three times that. An error in a score is a relative error of its probability.
 * Errors of different keys are independent, and so are the values that they are weighted with: like the result itself,
 * which is a sum of random signs with the same probabilities, their sum grows with the root of the sum of the
 * probabilities' squares; it is at most sqrt 3 times the values' RMS (which is 1 / sqrt 3 here) wide, and 2 allows for
 * that of a row being an estimate. The sum over keys rounds as every sum does.
 * q: (n_rows, head_dim). Keys and values are uniform in -1 .. 1, or as pair_fill has them.
 */
double tolerance_attention(const float *q, int head_dim, int n_rows, int n_keys, float scale);

#endif
