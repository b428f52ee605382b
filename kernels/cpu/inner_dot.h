/*
 * Inner routines, first half: conversions and products; those of many rows are in inner_gemm.h. Included by inner_ISA.c
 * only, after simd.h. The tile sizes fill that instruction set's registers.
 */
#ifndef GEMMARK_KERNELS_CPU_INNER_DOT_H
#define GEMMARK_KERNELS_CPU_INNER_DOT_H

#include "kernels/cpu/inner.h"
#include "kernels/cpu/inner_gemm.h"
#include "kernels/cpu/inner_quants.h"
#include "kernels/cpu/simd.h"

#if defined(SIMD_AVX512)
enum { SUM_M = 6, SUM_N = 4 };
#else
enum { SUM_M = 4, SUM_N = 2 };
#endif

enum { ROWS = 4 }; /* of a matrix, read side by side by matvec */

/*
 * What a row of weights is made of, `kind` below: an enum tensor_type as files have it, or this. Constant in every
 * call, so that each has code of its own.
 */
enum { ROW_PLANES = -1 };

SIMD_INLINE int row_kind(int type, int planes)
{
	return planes ? ROW_PLANES : type;
}

SIMD_INLINE int row_is_q8(int kind)
{
	return kind == TENSOR_Q8_0 || kind == ROW_PLANES;
}

SIMD_INLINE int row_is_floats(int kind)
{
	return kind == TENSOR_F32 || kind == TENSOR_F16 || kind == TENSOR_BF16;
}

SIMD_INLINE vec row_load(int kind, const char *p, size_t k)
{
	if (kind == TENSOR_F32)
		return vec_load((const float *)p + k);
	return kind == TENSOR_F16 ? vec_load_f16(p + 2 * k) : vec_load_bf16(p + 2 * k);
}

SIMD_INLINE vec row_load_part(int kind, const char *p, size_t k, size_t n)
{
	const size_t size = kind == TENSOR_F32 ? 4 : 2;
	char part[VEC * 4] = {0};

	memcpy(part, p + k * size, n * size);
	return row_load(kind, part, 0);
}

static void inner_to_f32(const void *src, const void *scales, int type, float *dst, size_t n)
{
	const int kind = row_kind(type, scales != NULL);
	const char *p = src;
	size_t k = 0;

	switch (kind) {
#define X(NAME, word, number, block, block_bytes, file_type, a, b) \
	case TENSOR_##NAME:                                        \
		quants_to_f32(TENSOR_##NAME, p, dst, n);           \
		return;
		TENSOR_QUANT_TYPES(X, , )
#undef X
	}
	if (row_is_q8(kind)) {
		for (size_t b = 0; b < n / CPU_Q8_BLOCK; b++) {
			const char *q = kind == TENSOR_Q8_0 ? p + b * CPU_Q8_BYTES + 2 : p + b * CPU_Q8_BLOCK;
			const vec d = vec_set1_f16(kind == TENSOR_Q8_0 ? q - 2 : (const char *)scales + 2 * b);

			for (int i = 0; i < CPU_Q8_BLOCK; i += VEC)
				vec_store(dst + b * CPU_Q8_BLOCK + i, vec_mul(vec_load_i8(q + i), d));
		}
		return;
	}
	if (kind == TENSOR_F32) {
		memcpy(dst, src, n * sizeof(*dst));
		return;
	}
	for (; k + VEC <= n; k += VEC)
		vec_store(dst + k, kind == TENSOR_F16 ? vec_load_f16(p + 2 * k) : vec_load_bf16(p + 2 * k));
	if (k < n)
		vec_store_part(dst + k, row_load_part(kind, p, k, n - k), n - k);
}

static void inner_from_f32(const float *src, int type, void *dst, size_t n)
{
	uint16_t *h = dst;
	size_t k = 0;

	if (type == TENSOR_F32) {
		memcpy(dst, src, n * sizeof(*src));
		return;
	}
	if (type == TENSOR_BF16) {
		for (; k < n; k++)
			h[k] = half_f32_to_bf16(src[k]);
		return;
	}
	for (; k + VEC <= n; k += VEC)
		vec_store_f16(h + k, vec_load(src + k));
	if (k < n) {
		uint16_t part[VEC];

		vec_store_f16(part, vec_load_part(src + k, n - k));
		memcpy(h + k, part, (n - k) * sizeof(*h));
	}
}

/*
 * Asks for what lies `ahead` bytes beyond p. A group of rows is read as ROWS streams, of which each next row is
 * the neighbour's: the hardware prefetcher follows them badly, so the next group is asked for by hand.
 */
SIMD_INLINE void row_prefetch(const char *p, size_t ahead)
{
	__builtin_prefetch(p + ahead, 0, 2);
}

/* Blocks b0 .. b1 of n_rows rows of Q8_0, p and s their starts; acc: (n_rows), set. */
SIMD_INLINE void blocks_dot(int kind, int n_rows, const char *const *p, const char *const *s, size_t b0, size_t b1,
			    size_t ahead, const float *x, vec *acc)
{
	struct lanes sum[ROWS];

	for (int r = 0; r < n_rows; r++)
		sum[r] = lanes_zero();
	for (size_t b = b0; b < b1; b++) {
		const char *q[ROWS];
		lanes_scale d[ROWS];

		for (int r = 0; r < n_rows; r++) {
			q[r] = kind == TENSOR_Q8_0 ? p[r] + b * CPU_Q8_BYTES + 2 : p[r] + b * CPU_Q8_BLOCK;
			d[r] = lanes_load_scale(kind == TENSOR_Q8_0 ? q[r] - 2 : s[r] + 2 * b);
			row_prefetch(q[r], ahead);
		}
		for (int i = 0; i < CPU_Q8_BLOCK; i += VEC)
			for (int r = 0; r < n_rows; r++)
				sum[r] = lanes_add(sum[r], q[r] + i, d[r], x + b * CPU_Q8_BLOCK + i);
	}
	for (int r = 0; r < n_rows; r++)
		acc[r] = lanes_vec(sum[r]);
}

/* Blocks i0 .. i1 of rows of TENSOR_QUANT_TYPES, as files have them, as blocks_dot. */
SIMD_INLINE void quants_dot(int kind, int n_rows, const char *const *p, size_t i0, size_t i1, size_t ahead,
			    const float *x, vec *acc)
{
	const int parts = quants_parts(kind);

	for (int r = 0; r < n_rows; r++)
		acc[r] = vec_zero();
	for (size_t i = i0; i < i1; i++) {
		for (int r = 0; r < n_rows; r++)
			for (size_t at = 0; at < quants_block_bytes(kind); at += 64)
				row_prefetch(p[r] + i * quants_block_bytes(kind) + at, ahead);
#pragma GCC unroll 8
		for (int part = 0; part < parts; part++) {
			const float *xp = x + (i * (size_t)parts + (size_t)part) * QUANTS;
			struct quants block[ROWS];

			for (int r = 0; r < n_rows; r++)
				quants_load(kind, p[r], i, part, &block[r]);
			for (int k = 0; k < QUANTS; k += VEC) {
				const vec xv = vec_load(xp + k);

				for (int r = 0; r < n_rows; r++)
					acc[r] = vec_fma(quants_vec(&block[r], k), xv, acc[r]);
			}
		}
	}
}

/* Elements k0 .. k1 of n_rows rows of floats, as blocks_dot. */
SIMD_INLINE void floats_dot(int kind, int n_rows, const char *const *p, size_t k0, size_t k1, size_t ahead,
			    const float *x, vec *acc)
{
	size_t k = k0;

	for (int r = 0; r < n_rows; r++)
		acc[r] = vec_zero();
	for (; k + VEC <= k1; k += VEC) {
		const vec xv = vec_load(x + k);

		for (int r = 0; r < n_rows; r++) {
			acc[r] = vec_fma(row_load(kind, p[r], k), xv, acc[r]);
			row_prefetch(p[r] + k * (kind == TENSOR_F32 ? 4 : 2), ahead);
		}
	}
	if (k < k1) {
		const vec xv = vec_load_part(x + k, k1 - k);

		for (int r = 0; r < n_rows; r++)
			acc[r] = vec_fma(row_load_part(kind, p[r], k, k1 - k), xv, acc[r]);
	}
}

/* n_rows rows side by side, so that they share the loads of x. */
SIMD_INLINE void rows_dot(int kind, int n_rows, const struct weight *w, size_t row, const float *x, float *y)
{
	const size_t n_in = (size_t)w->n_in;
	const size_t ahead = cpu_row_bytes(w->type, n_in, kind == ROW_PLANES) * ROWS;
	const char *p[ROWS];
	const char *s[ROWS];

	for (int r = 0; r < n_rows; r++) {
		p[r] = cpu_weight_row(w, row + (size_t)r);
		s[r] = cpu_weight_scales(w, row + (size_t)r);
	}
	for (size_t k0 = 0; k0 < n_in; k0 += CPU_SPAN) {
		const size_t k1 = n_in - k0 < CPU_SPAN ? n_in : k0 + CPU_SPAN;
		vec acc[ROWS];

		if (row_is_q8(kind))
			blocks_dot(kind, n_rows, p, s, k0 / CPU_Q8_BLOCK, k1 / CPU_Q8_BLOCK, ahead, x, acc);
		else if (!row_is_floats(kind))
			quants_dot(kind, n_rows, p, k0 / quants_elements(kind), k1 / quants_elements(kind), ahead, x,
				   acc);
		else
			floats_dot(kind, n_rows, p, k0, k1, ahead, x, acc);
		for (int r = 0; r < n_rows; r++)
			y[r] = k0 ? y[r] + vec_sum(acc[r]) : vec_sum(acc[r]);
	}
}

SIMD_INLINE void matvec(int kind, const struct weight *w, size_t row, size_t n_rows, const float *x, float *y)
{
	size_t i = 0;

	for (; i + ROWS <= n_rows; i += ROWS)
		rows_dot(kind, ROWS, w, row + i, x, y + i);
	for (; i < n_rows; i++)
		rows_dot(kind, 1, w, row + i, x, y + i);
}

static void inner_matvec(const struct weight *w, size_t row, size_t n_rows, const float *x, float *y)
{
	switch (row_kind(w->type, w->scales != NULL)) {
	case ROW_PLANES:
		matvec(ROW_PLANES, w, row, n_rows, x, y);
		break;
#define X(NAME, word, number, block, block_bytes, file_type, a, b) \
	case TENSOR_##NAME:                                        \
		matvec(TENSOR_##NAME, w, row, n_rows, x, y);       \
		break;
		TENSOR_TYPES(X, , )
#undef X
	}
}

SIMD_INLINE void sum_tile(int m, int n, const float *p, size_t ldp, const float *v, size_t ldv, int k, float *o,
			  size_t ldo)
{
	vec acc[SUM_M][SUM_N];

	for (int i = 0; i < m; i++)
		for (int j = 0; j < n; j++)
			acc[i][j] = vec_load(o + (size_t)i * ldo + j * VEC);
	for (int l = 0; l < k; l++) {
		vec vv[SUM_N];

		for (int j = 0; j < n; j++)
			vv[j] = vec_load(v + (size_t)l * ldv + j * VEC);
		for (int i = 0; i < m; i++) {
			const vec pv = vec_set1(p[(size_t)i * ldp + (size_t)l]);

			for (int j = 0; j < n; j++)
				acc[i][j] = vec_fma(pv, vv[j], acc[i][j]);
		}
	}
	for (int i = 0; i < m; i++)
		for (int j = 0; j < n; j++)
			vec_store(o + (size_t)i * ldo + j * VEC, acc[i][j]);
}

static void inner_weighted_sum(const float *p, size_t ldp, int m, const float *v, size_t ldv, int k, int n, float *o,
			       size_t ldo)
{
	int j = 0;

	for (; j < n; j += j + SUM_N * VEC <= n ? SUM_N * VEC : VEC) {
		const int wide = j + SUM_N * VEC <= n;
		int i = 0;

		for (; i + SUM_M <= m; i += SUM_M) {
			const float *pi = p + (size_t)i * ldp;
			float *oi = o + (size_t)i * ldo + j;

			if (wide)
				sum_tile(SUM_M, SUM_N, pi, ldp, v + j, ldv, k, oi, ldo);
			else
				sum_tile(SUM_M, 1, pi, ldp, v + j, ldv, k, oi, ldo);
		}
		for (; i < m; i++) {
			const float *pi = p + (size_t)i * ldp;
			float *oi = o + (size_t)i * ldo + j;

			if (wide)
				sum_tile(1, SUM_N, pi, ldp, v + j, ldv, k, oi, ldo);
			else
				sum_tile(1, 1, pi, ldp, v + j, ldv, k, oi, ldo);
		}
	}
}

#endif
