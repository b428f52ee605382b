/*
 * Inner routines, second half: reductions and elementwise functions. Included by
 * inner_ISA.c only. An element's value does not depend on where in a vector it sits: tails
 * go through the same vector code, padded.
 */
#ifndef GEMMARK_KERNELS_CPU_INNER_MATH_H
#define GEMMARK_KERNELS_CPU_INNER_MATH_H

#include <math.h>

#include "kernels/cpu/inner.h"
#include "kernels/cpu/simd.h"

/*
 * e^x as 2^n * e^r, |r| <= ln 2 / 2, by the Taylor series to degree 7 (remainder 5e-9 of the
 * value). Below -86 (true value under 5e-38) the result is 0; above 88.7 infinity; NaN stays NaN.
 */
SIMD_INLINE vec vec_exp(vec x)
{
	const vec lowest = vec_set1(-86.0f);
	const vec highest = vec_set1(88.72283f);
	const vec c = vec_max(lowest, vec_min(highest, x));
	const vec n = vec_round(vec_mul(c, vec_set1(0x1.715476p+0f)));
	/* ln 2 in two parts, the first short enough for n * part to be exact */
	vec r = vec_fma(n, vec_set1(-0x1.62ep-1f), c);
	vec p;

	r = vec_fma(n, vec_set1(-0x1.0bfbe8p-15f), r);
	p = vec_fma(r, vec_set1(1.0f / 5040), vec_set1(1.0f / 720));
	p = vec_fma(p, r, vec_set1(1.0f / 120));
	p = vec_fma(p, r, vec_set1(1.0f / 24));
	p = vec_fma(p, r, vec_set1(1.0f / 6));
	p = vec_fma(p, r, vec_set1(0.5f));
	p = vec_fma(vec_mul(r, r), p, r);
	p = vec_add(p, vec_set1(1.0f));
	/* n reaches 128, which no float has as a power of two: half of it here, and a doubling. */
	p = vec_ldexp(p, vec_sub(n, vec_set1(1.0f)));
	p = vec_add(p, p);
	p = vec_if_less(x, lowest, vec_zero(), p);
	return vec_if_less(highest, x, vec_set1(INFINITY), p);
}

/*
 * Near zero the Pade approximant of order 5/4 (error under 1e-9 of the value below 5/8), beyond
 * it 1 - 2 / (e^2x + 1), which loses nothing there.
 */
SIMD_INLINE vec vec_tanh(vec x)
{
	const vec one = vec_set1(1.0f);
	const vec z = vec_mul(x, x);
	const vec num = vec_fma(vec_add(z, vec_set1(105.0f)), z, vec_set1(945.0f));
	const vec den = vec_fma(vec_fma(z, vec_set1(15.0f), vec_set1(420.0f)), z, vec_set1(945.0f));
	const vec small = vec_div(vec_mul(x, num), den);
	const vec big = vec_sub(one, vec_div(vec_set1(2.0f), vec_add(vec_exp(vec_add(x, x)), one)));

	return vec_if_less(z, vec_set1(0.390625f), small, big);
}

/* gate * sigmoid(a), which is GELU's tanh form for a = 2 u: 1 + tanh(u) = 2 / (1 + e^-2u) */
SIMD_INLINE vec vec_activate(vec g, int act)
{
	const vec one = vec_set1(1.0f);
	vec a = g;

	if (act == ACTIVATION_GELU_TANH) {
		const vec cubic = vec_fma(vec_mul(g, g), vec_set1(0.044715f), one);

		a = vec_mul(vec_mul(g, cubic), vec_set1(1.5957691216f)); /* 2 * sqrt(2 / pi) */
	}
	return vec_div(g, vec_add(one, vec_exp(vec_sub(vec_zero(), a))));
}

static float inner_sum_squares(const float *x, int n)
{
	vec acc[4] = {vec_zero(), vec_zero(), vec_zero(), vec_zero()};
	int i = 0;

	for (; i + 4 * VEC <= n; i += 4 * VEC) {
		for (int j = 0; j < 4; j++) {
			const vec v = vec_load(x + i + j * VEC);

			acc[j] = vec_fma(v, v, acc[j]);
		}
	}
	for (; i < n; i += VEC) {
		const vec v = n - i < VEC ? vec_load_part(x + i, (size_t)(n - i)) : vec_load(x + i);

		acc[0] = vec_fma(v, v, acc[0]);
	}
	return vec_sum(vec_add(vec_add(acc[0], acc[1]), vec_add(acc[2], acc[3])));
}

static float inner_max(const float *x, int n)
{
	vec acc = vec_set1(-INFINITY);
	float greatest;
	int i = 0;

	for (; i + VEC <= n; i += VEC)
		acc = vec_max(acc, vec_load(x + i));
	greatest = vec_greatest(acc);
	for (; i < n; i++)
		greatest = x[i] > greatest ? x[i] : greatest;
	return greatest;
}

static float inner_exp_sum(float *x, int n, float m)
{
	const vec mv = vec_set1(m);
	vec acc = vec_zero();
	int i = 0;

	for (; i + VEC <= n; i += VEC) {
		const vec e = vec_exp(vec_sub(vec_load(x + i), mv));

		vec_store(x + i, e);
		acc = vec_add(acc, e);
	}
	if (i < n) {
		float part[VEC] = {0};

		vec_store_part(x + i, vec_exp(vec_sub(vec_load_part(x + i, (size_t)(n - i)), mv)), (size_t)(n - i));
		memcpy(part, x + i, (size_t)(n - i) * sizeof(*x));
		acc = vec_add(acc, vec_load(part));
	}
	return vec_sum(acc);
}

static void inner_scale(const float *x, const float *w, float a, float *y, int n)
{
	const vec av = vec_set1(a);
	int i = 0;

	for (; i + VEC <= n; i += VEC) {
		const vec v = vec_mul(vec_load(x + i), av);

		vec_store(y + i, w ? vec_mul(v, vec_load(w + i)) : v);
	}
	for (; i < n; i++)
		y[i] = w ? x[i] * a * w[i] : x[i] * a;
}

static void inner_add(const float *a, const float *b, float scale, float *y, size_t n)
{
	const vec sv = vec_set1(scale);
	size_t i = 0;

	for (; i + VEC <= n; i += VEC)
		vec_store(y + i, vec_mul(vec_add(vec_load(a + i), vec_load(b + i)), sv));
	for (; i < n; i++)
		y[i] = (a[i] + b[i]) * scale;
}

static void inner_gated(const float *gate, const float *up, int act, float *y, int n)
{
	int i = 0;

	for (; i + VEC <= n; i += VEC)
		vec_store(y + i, vec_mul(vec_activate(vec_load(gate + i), act), vec_load(up + i)));
	if (i < n) {
		const size_t rest = (size_t)(n - i);
		const vec g = vec_activate(vec_load_part(gate + i, rest), act);

		vec_store_part(y + i, vec_mul(g, vec_load_part(up + i, rest)), rest);
	}
}

static void inner_softcap(float *x, size_t n, float cap)
{
	const vec cv = vec_set1(cap);
	size_t i = 0;

	for (; i + VEC <= n; i += VEC)
		vec_store(x + i, vec_mul(cv, vec_tanh(vec_div(vec_load(x + i), cv))));
	if (i < n) {
		const vec v = vec_load_part(x + i, n - i);

		vec_store_part(x + i, vec_mul(cv, vec_tanh(vec_div(v, cv))), n - i);
	}
}

/*
 * Four streams, every line asked for ahead: 36 GB/s from two threads where one stream, with a prefetch for every
 * fourth line, had 25 (Zen 4). A roofline that a matvec can beat would be none.
 */
static float inner_read(const void *p, size_t bytes)
{
	enum { STREAMS = 4, LINE = 64, AHEAD = 16 * LINE };
	const size_t part = bytes / STREAMS;
	const char *streams = p;
	vec acc[STREAMS] = {vec_zero(), vec_zero(), vec_zero(), vec_zero()};

	for (size_t i = 0; i < part; i += LINE) {
		for (int j = 0; j < STREAMS; j++) {
			const char *line = streams + (size_t)j * part + i;

			__builtin_prefetch(line + AHEAD, 0, 2);
			for (size_t k = 0; k < LINE; k += VEC * sizeof(float))
				acc[j] = vec_add(acc[j], vec_load((const float *)(line + k)));
		}
	}
	return vec_sum(vec_add(vec_add(acc[0], acc[1]), vec_add(acc[2], acc[3])));
}

/* gemm's tile without its loads and stores: chain j, in all lanes, is j at first and halved and 1 more in a step. */
static double inner_multiply(int steps, float *kept)
{
	const vec half = vec_set1(0.5f);
	const vec one = vec_set1(1.0f);
	vec acc[TILE_M][TILE_N];
	vec sum = vec_zero();

	for (int i = 0; i < TILE_M; i++)
		for (int j = 0; j < TILE_N; j++)
			acc[i][j] = vec_set1((float)(i * TILE_N + j));
	for (int s = 0; s < steps; s++)
		for (int i = 0; i < TILE_M; i++)
			for (int j = 0; j < TILE_N; j++)
				acc[i][j] = vec_fma(acc[i][j], half, one);
	for (int i = 0; i < TILE_M; i++)
		for (int j = 0; j < TILE_N; j++)
			sum = vec_add(sum, acc[i][j]);
	*kept = vec_sum(sum);
	return 2.0 * VEC * TILE_M * TILE_N * steps;
}

/* The table; the including file says what it is called. */
#define INNER_TABLE                                                                                             \
	{                                                                                                       \
		.to_f32 = inner_to_f32, .from_f32 = inner_from_f32, .matvec = inner_matvec, .gemm = inner_gemm, \
		.weighted_sum = inner_weighted_sum, .sum_squares = inner_sum_squares, .max = inner_max,         \
		.exp_sum = inner_exp_sum, .scale = inner_scale, .add = inner_add, .gated = inner_gated,         \
		.softcap = inner_softcap, .read = inner_read, .multiply = inner_multiply,                       \
	}

#endif
