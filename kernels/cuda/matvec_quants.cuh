/* A lane's part of decode's products with TENSOR_QUANT_TYPES: a block of 32 of two rows. Part of matvec.cuh. */
#ifndef GEMMARK_KERNELS_CUDA_MATVEC_QUANTS_CUH
#define GEMMARK_KERNELS_CUDA_MATVEC_QUANTS_CUH

#include "kernels/cuda/quants.cuh"

/* Loads of two bytes come as the words that they are in. */
INLINE const void *word_of(const unsigned short *p)
{
	return (const void *)((unsigned long long)p & ~3ull);
}

INLINE unsigned short half_of(unsigned word, const unsigned short *p)
{
	return (unsigned short)((unsigned long long)p & 2 ? word >> 16 : word);
}

INLINE unsigned half_of(unsigned word, unsigned i)
{
	return i % 2 ? word >> 16 : word & 0xffffu;
}

/* Where the planes of a stage begin, of rows a and b each; a lane has its own part of every one. */
template <int T> struct quants_stage {
	enum {
		HIGH = 2 * WARP * 16,
		SIDE = HIGH + 2 * WARP * quants_high_bytes(T),
		D = SIDE + 2 * WARP * 4,
	};
};

/* Block i of matrix a and block j of b, both of n_blocks, or zeros. to: the lane's 16 bytes of a. */
template <int T>
INLINE void quants_copy(unsigned to, const char *a, unsigned i, const char *b, unsigned j, unsigned n_blocks, bool inside)
{
	typedef quants_stage<T> at;
	const int lane = threadIdx.x % WARP;
	const long long high_at = quants_high_at(n_blocks), side_at = quants_side_at(T, n_blocks);
	const unsigned words = to - lane * 12;
	copy_async(to, a + (unsigned long long)i * 16, inside);
	copy_async(to + WARP * 16, b + (unsigned long long)j * 16, inside);
	if (T == TENSOR_Q6_K) {
		const long long d_at = quants_d_at(T, n_blocks);
		copy_async<8>(to - lane * 8 + at::HIGH, a + high_at + (unsigned long long)i * 8, inside);
		copy_async<8>(to - lane * 8 + at::HIGH + WARP * 8, b + high_at + (unsigned long long)j * 8, inside);
		copy_async<4>(words + at::D, a + d_at + i / 16 * 4, inside);
		copy_async<4>(words + at::D + WARP * 4, b + d_at + j / 16 * 4, inside);
	} else if (quants_have_five(T)) {
		copy_async<4>(words + at::HIGH, a + high_at + (unsigned long long)i * 4, inside);
		copy_async<4>(words + at::HIGH + WARP * 4, b + high_at + (unsigned long long)j * 4, inside);
	}
	if (quants_side_bytes(T) == 4) {
		copy_async<4>(words + at::SIDE, a + side_at + (unsigned long long)i * 4, inside);
		copy_async<4>(words + at::SIDE + WARP * 4, b + side_at + (unsigned long long)j * 4, inside);
	} else {
		copy_async<4>(words + at::SIDE, a + side_at + (unsigned long long)(i / 2) * 4, inside);
		copy_async<4>(words + at::SIDE + WARP * 4, b + side_at + (unsigned long long)(j / 2) * 4, inside);
	}
}

/* x: the lane's digits of half a block, planes of two times 32 lanes behind each other. */
template <int T>
INLINE void quants_dots(uint4 low, unsigned high, int half, int4 high_x, int4 mid_x, int4 low_x, int &s0, int &s1,
			int &s2)
{
	const unsigned words[4] = {low.x, low.y, low.z, low.w};
	const int xs[3][4] = {{high_x.x, high_x.y, high_x.z, high_x.w},
			      {mid_x.x, mid_x.y, mid_x.z, mid_x.w},
			      {low_x.x, low_x.y, low_x.z, low_x.w}};
#pragma unroll
	for (int j = 0; j < 4; j++) {
		const int q = (int)quants_word<T>(words[j], high, half, j);
		s0 = __dp4a(q, xs[0][j], s0);
		s1 = __dp4a(q, xs[1][j], s1);
		s2 = __dp4a(q, xs[2][j], s2);
	}
}

/*
 * Blocks i of row a and j of row b, in a stage, with chunk c of a row's x; its scales: (n_chunks * 32), then the sums.
 * Called by whole warps.
 */
template <int T>
INLINE void quants_multiply(const char *stage, unsigned i, unsigned j, const void *x_shared, int n_chunks, int c,
			    float &acc_a, float &acc_b)
{
	typedef quants_stage<T> at;
	enum { PLANE = 2 * WARP }; /* int4 of a digit in a chunk */
	const int lane = threadIdx.x % WARP;
	const int4 *const x = (const int4 *)x_shared + c * 3 * PLANE + lane;
	const float *const scales = (const float *)((const int4 *)x_shared + n_chunks * 3 * PLANE);
	const float x_scale = scales[c * WARP + lane];
	const unsigned *const sides = (const unsigned *)(stage + at::SIDE) + lane;
	uint4 low[2];
	unsigned high[2][2] = {}, side[2], d_m[2] = {};
#pragma unroll
	for (int r = 0; r < 2; r++) {
		low[r] = ((const uint4 *)stage)[r * WARP + lane];
		side[r] = sides[r * WARP];
		if (quants_side_bytes(T) == 2)
			side[r] = half_of(side[r], r == 0 ? i : j);
		if (T == TENSOR_Q6_K) {
			const uint2 u = ((const uint2 *)(stage + at::HIGH))[r * WARP + lane];
			high[r][0] = u.x, high[r][1] = u.y;
			d_m[r] = half_of(((const unsigned *)(stage + at::D))[r * WARP + lane], (r == 0 ? i : j) / 8);
		} else if (quants_have_five(T)) {
			high[r][0] = high[r][1] = ((const unsigned *)(stage + at::HIGH))[r * WARP + lane];
		}
		if (quants_in_parts(T)) { /* of 256, of which eight neighbouring lanes have four bits each */
			d_m[r] = side[r] >> 12 << (lane % 8 * 4);
#pragma unroll
			for (int e = 1; e < 8; e *= 2)
				d_m[r] |= __shfl_xor_sync(ALL_LANES, d_m[r], e);
		}
	}
	int s[2][3] = {};
#pragma unroll
	for (int half = 0; half < 2; half++) {
		const int4 high_x = x[half * WARP], mid_x = x[PLANE + half * WARP], low_x = x[2 * PLANE + half * WARP];
#pragma unroll
		for (int r = 0; r < 2; r++) {
			quants_dots<T>(low[r], high[r][half], half, high_x, mid_x, low_x, s[r][0], s[r][1], s[r][2]);
			if (half == 0 && T != TENSOR_Q6_K)
				continue;
			/* |s| <= 2^19, so the sum of the upper two digits fits an int. */
			const float sum = fmaf((float)(s[r][0] * 256 + s[r][1]), 256.0f, (float)s[r][2]);
			const struct quants_scale q = quants_scale_of<T>(side[r], d_m[r], half);
			float &acc = r == 0 ? acc_a : acc_b;
			acc = fmaf(sum, q.d * x_scale, acc);
			if (quants_have_least(T))
				acc = fmaf(q.m, scales[(n_chunks + c) * WARP + lane], acc);
			s[r][0] = s[r][1] = s[r][2] = 0;
		}
	}
}

#endif
