/* A lane's part of decode's products with TENSOR_QUANT_TYPES: a block of 32 of two rows. Part of matvec.cuh. */
#ifndef GEMMARK_KERNELS_CUDA_MATVEC_QUANTS_CUH
#define GEMMARK_KERNELS_CUDA_MATVEC_QUANTS_CUH

#include "kernels/cuda/quants.cuh"

/* Of rows a and b, in registers. What a type does not have is never touched. */
template <int T> struct quants_stage {
	uint4 low[2];
	unsigned high[2][T == TENSOR_Q6_K ? 2 : 1];
	unsigned side[2]; /* of two bytes: in the first, row a's below */
	unsigned d;       /* likewise */

	/* Block i of matrix a and block j of b, both of n_blocks. */
	__device__ __forceinline__ void load(const char *a, unsigned i, const char *b, unsigned j, unsigned n_blocks)
	{
		const long long high_at = quants_high_at(n_blocks), side_at = quants_side_at(T, n_blocks);
		low[0] = load_streaming(a + (unsigned long long)i * 16);
		low[1] = load_streaming(b + (unsigned long long)j * 16);
		if (T == TENSOR_Q6_K) {
			const uint2 u = load_streaming_u64(a + high_at + (unsigned long long)i * 8);
			const uint2 v = load_streaming_u64(b + high_at + (unsigned long long)j * 8);
			const long long d_at = quants_d_at(T, n_blocks);
			high[0][0] = u.x, high[0][sizeof high[0] / 4 - 1] = u.y;
			high[1][0] = v.x, high[1][sizeof high[0] / 4 - 1] = v.y;
			d = load_streaming_u16(a + d_at + i / 8 * 2) |
			    (unsigned)load_streaming_u16(b + d_at + j / 8 * 2) << 16;
		} else if (quants_have_five(T)) {
			high[0][0] = load_streaming_u32(a + high_at + (unsigned long long)i * 4);
			high[1][0] = load_streaming_u32(b + high_at + (unsigned long long)j * 4);
		}
		if (quants_side_bytes(T) == 4) {
			side[0] = load_streaming_u32(a + side_at + (unsigned long long)i * 4);
			side[1] = load_streaming_u32(b + side_at + (unsigned long long)j * 4);
		} else {
			side[0] = load_streaming_u16(a + side_at + (unsigned long long)i * 2) |
				  (unsigned)load_streaming_u16(b + side_at + (unsigned long long)j * 2) << 16;
		}
	}

	/* Zeros beyond the row. */
	__device__ __forceinline__ void clear()
	{
		low[0] = low[1] = make_uint4(0, 0, 0, 0);
		high[0][0] = high[1][0] = 0;
		high[0][sizeof high[0] / 4 - 1] = high[1][sizeof high[0] / 4 - 1] = 0;
		side[0] = side[1] = d = 0;
	}

	__device__ __forceinline__ unsigned side_of(int r) const
	{
		return quants_side_bytes(T) == 4 ? side[r] : side[0] >> (16 * r) & 0xffffu;
	}

	/* d and m of a row's 256, of which eight neighbouring lanes have four bits each; else the block's. */
	__device__ __forceinline__ unsigned d_m_of(int r) const
	{
		if (!quants_in_parts(T))
			return d >> (16 * r);
		unsigned v = side_of(r) >> 12 << (threadIdx.x % 8 * 4);
#pragma unroll
		for (int e = 1; e < 8; e *= 2)
			v |= __shfl_xor_sync(ALL_LANES, v, e);
		return v;
	}

	/* x: the lane's digits of half a block, planes of two times 32 lanes behind each other. */
	__device__ __forceinline__ void dots(int r, int half, int4 high_x, int4 mid_x, int4 low_x, int &s0, int &s1,
					     int &s2) const
	{
		const unsigned words[4] = {low[r].x, low[r].y, low[r].z, low[r].w};
		const int xs[3][4] = {{high_x.x, high_x.y, high_x.z, high_x.w},
				      {mid_x.x, mid_x.y, mid_x.z, mid_x.w},
				      {low_x.x, low_x.y, low_x.z, low_x.w}};
		const unsigned h = high[r][T == TENSOR_Q6_K ? half : 0];
#pragma unroll
		for (int j = 0; j < 4; j++) {
			const int q = (int)quants_word<T>(words[j], h, half, j);
			s0 = __dp4a(q, xs[0][j], s0);
			s1 = __dp4a(q, xs[1][j], s1);
			s2 = __dp4a(q, xs[2][j], s2);
		}
	}

	/* Chunk c of a row's x; scales: (n_chunks * 32), then the sums. Called by whole warps. */
	__device__ __forceinline__ void multiply(const void *x_shared, int n_chunks, int c, float &acc_a,
						 float &acc_b) const
	{
		enum { PLANE = 2 * WARP }; /* int4 of a digit in a chunk */
		const int lane = threadIdx.x % WARP;
		const int4 *const x = (const int4 *)x_shared + c * 3 * PLANE + lane;
		const float *const scales = (const float *)((const int4 *)x_shared + n_chunks * 3 * PLANE);
		const float x_scale = scales[c * WARP + lane];
		const unsigned d_m[2] = {d_m_of(0), d_m_of(1)};
		int s[2][3] = {};
#pragma unroll
		for (int half = 0; half < 2; half++) {
			const int4 high_x = x[half * WARP], mid_x = x[PLANE + half * WARP],
				   low_x = x[2 * PLANE + half * WARP];
#pragma unroll
			for (int r = 0; r < 2; r++) {
				dots(r, half, high_x, mid_x, low_x, s[r][0], s[r][1], s[r][2]);
				if (half == 0 && T != TENSOR_Q6_K)
					continue;
				/* |s| <= 2^19, so the sum of the upper two digits fits an int. */
				const float sum = fmaf((float)(s[r][0] * 256 + s[r][1]), 256.0f, (float)s[r][2]);
				const struct quants_scale q = quants_scale_of<T>(side_of(r), d_m[r], half);
				float &acc = r == 0 ? acc_a : acc_b;
				acc = fmaf(sum, q.d * x_scale, acc);
				if (quants_have_least(T))
					acc = fmaf(q.m, scales[(n_chunks + c) * WARP + lane], acc);
				s[r][0] = s[r][1] = s[r][2] = 0;
			}
		}
	}
};

#endif
