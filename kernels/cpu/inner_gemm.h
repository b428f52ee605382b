/*
 * Inner routines: products of many rows with many rows. Included by inner_ISA.c, after it has said which vectors; the
 * tile sizes fill that instruction set's registers. Where SIMD_BF16 is defined, each float of a row is a pair of
 * bfloat16, and a lane adds the products of both.
 */
#ifndef GEMMARK_KERNELS_CPU_INNER_GEMM_H
#define GEMMARK_KERNELS_CPU_INNER_GEMM_H

#include <stddef.h>

#include "kernels/cpu/simd.h"

#if defined(SIMD_AVX512)
enum { TILE_M = 6, TILE_N = 4 };
#elif defined(SIMD_AVX2)
enum { TILE_M = 4, TILE_N = 3 };
#else
enum { TILE_M = 4, TILE_N = 2 };
#endif

enum { GEMM_LINE = 64 }; /* bytes of a cache line */

/* c + a * b */
SIMD_INLINE vec tile_add(vec a, vec b, vec c)
{
#if defined(SIMD_BF16)
	return _mm512_dpbf16_ps(c, (__m512bh)a, (__m512bh)b);
#else
	return vec_fma(a, b, c);
#endif
}

/* The sums of a tile's vectors into c, by fours along a row or a column where the tile has that many. */
SIMD_INLINE void tile_sums(int m, int n, vec (*acc)[TILE_N], float *c, size_t ldc)
{
	if (n % 4 == 0) {
		for (int i = 0; i < m; i++, c += ldc)
			for (int j = 0; j < n; j += 4)
				vec_sum4_store(c + j, acc[i][j], acc[i][j + 1], acc[i][j + 2], acc[i][j + 3]);
		return;
	}
	if (m == 4) {
		for (int j = 0; j < n; j++) {
			float sums[4];

			vec_sum4_store(sums, acc[0][j], acc[1][j], acc[2][j], acc[3][j]);
			for (int i = 0; i < 4; i++)
				c[(size_t)i * ldc + (size_t)j] = sums[i];
		}
		return;
	}
	for (int i = 0; i < m; i++)
		for (int j = 0; j < n; j++)
			c[(size_t)i * ldc + (size_t)j] = vec_sum(acc[i][j]);
}

SIMD_INLINE void gemm_tile(int m, int n, const float *a, size_t lda, const float *b, size_t ldb, int k, float *c,
			   size_t ldc)
{
	vec acc[TILE_M][TILE_N];

	for (int i = 0; i < m; i++)
		for (int j = 0; j < n; j++)
			acc[i][j] = vec_zero();
	for (int l = 0; l < k; l += VEC) {
		vec bv[TILE_N];

		for (int j = 0; j < n; j++)
			bv[j] = vec_load(b + (size_t)j * ldb + l);
		for (int i = 0; i < m; i++) {
			vec av = vec_load(a + (size_t)i * lda + l);

			VEC_KEEP(av);
			for (int j = 0; j < n; j++)
				acc[i][j] = tile_add(bv[j], av, acc[i][j]);
		}
	}
	tile_sums(m, n, acc, c, ldc);
}

/*
 * The rows of a that follow are asked for while these are multiplied, a share before each tile: of a long row they come
 * from the third-level cache, where a strip's first tile waited for them. 6144 x 1536 by 512 rows went from 71 to 78 %
 * of the float32 peak (Zen 5).
 */
SIMD_INLINE void gemm_strip(int m, const float *a, size_t lda, const float *b, size_t ldb, int n, int k, float *c,
			    size_t ldc)
{
	const char *next = (const char *)(a + (size_t)m * lda);
	const size_t share = (size_t)m * lda * sizeof(*a) / (size_t)(n / TILE_N + 1);
	int j = 0;

	for (; j + TILE_N <= n; j += TILE_N, next += share) {
		for (size_t i = 0; i < share; i += GEMM_LINE)
			__builtin_prefetch(next + i, 0, 2);
		gemm_tile(m, TILE_N, a, lda, b + (size_t)j * ldb, ldb, k, c + j, ldc);
	}
	for (; j < n; j++)
		gemm_tile(m, 1, a, lda, b + (size_t)j * ldb, ldb, k, c + j, ldc);
}

static void inner_gemm(const float *a, size_t lda, int m, const float *b, size_t ldb, int n, int k, float *c,
		       size_t ldc)
{
	const int strips = (m + TILE_M - 1) / TILE_M;

	/* Strips of nearly equal height: 9 rows are 5 and 4, not 8 and 1. */
	for (int s = 0, i = 0; s < strips; s++) {
		const int height = (m - i + strips - s - 1) / (strips - s);
		const float *as = a + (size_t)i * lda;
		float *cs = c + (size_t)i * ldc;

		switch (height) {
#define STRIP(h)                                               \
	case h:                                                \
		gemm_strip(h, as, lda, b, ldb, n, k, cs, ldc); \
		break;
			STRIP(1)
			STRIP(2)
			STRIP(3)
			STRIP(4)
#if defined(SIMD_AVX512)
			STRIP(5)
			STRIP(6)
#endif
#undef STRIP
		}
		i += height;
	}
}

#endif
