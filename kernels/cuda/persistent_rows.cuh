/* A head's row among the lanes of a warp: of a projection, which is waited for, or of a cache, in shared memory. */
#ifndef GEMMARK_KERNELS_CUDA_PERSISTENT_ROWS_CUH
#define GEMMARK_KERNELS_CUDA_PERSISTENT_ROWS_CUH

#include "kernels/cuda/cache_rows.cuh"
#include "kernels/cuda/persistent_vector.cuh"
#include "kernels/cuda/rope.cuh"

/* Words of a cache's row, as they are there. */
template <int HD, int TYPE> struct row_words {
	enum {
		BYTES = TYPE == TENSOR_F32 ? 4 : 2,
		HALF = HD / 2,
		W = (HALF + WARP - 1) / WARP,
		DENSE = HALF % WARP == 0,
		VECTORS = DENSE && W * BYTES % 16 == 0,
		PAIRS = DENSE && !VECTORS && W * BYTES % 4 == 0,
		WORDS = PAIRS ? W * BYTES / 4 : W,
	};
	uint4 vectors[2][VECTORS ? W * BYTES / 16 : 1];
	unsigned words[2][WORDS];

	__device__ __forceinline__ void load(const char *row)
	{
		const int lane = threadIdx.x % WARP;
#pragma unroll
		for (int h = 0; h < 2; h++) {
			const char *const half = row + h * HALF * BYTES;
			if (VECTORS) {
#pragma unroll
				for (int i = 0; i < W * BYTES / 16; i++)
					vectors[h][i] = ((const uint4 *)(half + lane * W * BYTES))[i];
			} else if (PAIRS) {
#pragma unroll
				for (int i = 0; i < WORDS; i++)
					words[h][i] = ((const unsigned *)(half + lane * W * BYTES))[i];
			} else {
#pragma unroll
				for (int i = 0; i < W; i++) {
					const int k = DENSE ? lane * W + i : i * WARP + lane;
					words[h][i] = k >= HALF    ? 0
						      : BYTES == 4 ? ((const unsigned *)half)[k]
								   : ((const unsigned short *)half)[k];
				}
			}
		}
	}

	/* Element i of the lane's in either half. */
	__device__ __forceinline__ float get(int h, int i) const
	{
		const int word = i * BYTES / 4, vector = word / 4, in = word % 4;
		unsigned w;
		if (VECTORS) {
			const uint4 v = vectors[h][vector];
			w = in == 0 ? v.x : in == 1 ? v.y : in == 2 ? v.z : v.w;
		} else {
			w = words[h][PAIRS ? word : i];
		}
		if (TYPE == TENSOR_F32)
			return __uint_as_float(w);
		const float2 f = pair_to_f32<(TYPE == TENSOR_F32 ? TENSOR_F16 : TYPE)>(w);
		return (VECTORS || PAIRS) && i % 2 ? f.y : f.x;
	}
};

template <int HD> struct row_words<HD, TENSOR_Q8_0> {
	enum {
		HALF = HD / 2,
		W = (HALF + WARP - 1) / WARP,
		DENSE = HALF % WARP == 0,
		WORDS = (W + 3) / 4,
		SCALES = DENSE && CACHE_BLOCK % W == 0 ? 1 : W, /* one, where a lane's elements are of one block */
	};
	unsigned words[2][WORDS]; /* exclusive-ored */
	unsigned short scales[2][SCALES];

	__device__ __forceinline__ void load(const char *row)
	{
		const int lane = threadIdx.x % WARP;
#pragma unroll
		for (int h = 0; h < 2; h++) {
			const char *const from = row + h * HALF + lane * W;
#pragma unroll
			for (int i = 0; i < WORDS; i++)
				words[h][i] = 0;
			if (DENSE && W == 8) {
				const uint2 u = *(const uint2 *)from;
				words[h][0] = u.x;
				words[h][WORDS - 1] = u.y;
			} else if (DENSE && W == 4) {
				words[h][0] = *(const unsigned *)from;
			} else if (DENSE && W == 2) {
				words[h][0] = *(const unsigned short *)from;
			} else {
#pragma unroll
				for (int i = 0; i < W; i++)
					if (has(i))
						words[h][i / 4] |= (unsigned)(unsigned char)row[h * HALF + index(i)]
								   << (8 * (i % 4));
			}
#pragma unroll
			for (int i = 0; i < WORDS; i++)
				words[h][i] ^= 0x80808080u;
#pragma unroll
			for (int i = 0; i < SCALES; i++)
				scales[h][i] = ((const unsigned short *)(row + HD))[(h * HALF + (has(i) ? index(i) : 0)) /
										      CACHE_BLOCK];
		}
	}

	static __device__ __forceinline__ int index(int i)
	{
		const int lane = threadIdx.x % WARP;
		return DENSE ? lane * W + i : i * WARP + lane;
	}

	static __device__ __forceinline__ bool has(int i)
	{
		return DENSE || index(i) < HALF;
	}

	__device__ __forceinline__ float get(int h, int i) const
	{
		const float f = step_to_f32(words[h][i / 4], i % 4) * f16_to_f32(scales[h][i % SCALES]);
		return has(i) ? f : 0.0f;
	}
};

/*
 * A lane has W elements of either half of the row, in such a way that RoPE's pairs are its own: numbers lane * W .., or
 * where the half is no multiple of 32, every 32nd.
 */
template <int HD> struct lane_dims {
	enum { HALF = HD / 2, W = (HALF + WARP - 1) / WARP, DENSE = HALF % WARP == 0, VECTORS = W % 4 == 0 };
	float low[W], high[W];

	static __device__ __forceinline__ int index(int i)
	{
		const int lane = threadIdx.x % WARP;
		return DENSE ? lane * W + i : i * WARP + lane;
	}

	static __device__ __forceinline__ bool has(int i)
	{
		return DENSE || index(i) < HALF;
	}

	__device__ __forceinline__ void clear()
	{
#pragma unroll
		for (int i = 0; i < W; i++)
			low[i] = high[i] = 0.0f;
	}

	__device__ __forceinline__ void scale(float s)
	{
#pragma unroll
		for (int i = 0; i < W; i++) {
			low[i] *= s;
			high[i] *= s;
		}
	}

	/* A row into shared memory meanwhile: the lane's own elements are there behind async_copies_wait. */
	static __device__ __forceinline__ void fetch(float *to, const float *row)
	{
#pragma unroll
		for (int i = 0; i < W; i += VECTORS ? 4 : 1) {
			if (VECTORS) {
				async_copy(to + index(i), row + index(i));
				async_copy(to + HALF + index(i), row + HALF + index(i));
			} else if (has(i)) {
				to[index(i)] = row[index(i)];
				to[HALF + index(i)] = row[HALF + index(i)];
			}
		}
	}

	/* Of a row; null: all 1. */
	__device__ __forceinline__ void load(const float *row)
	{
#pragma unroll
		for (int i = 0; i < W; i += VECTORS ? 4 : 1) {
			if (VECTORS) {
				float4 v[2] = {make_float4(1, 1, 1, 1), make_float4(1, 1, 1, 1)};
				if (row) {
					v[0] = *(const float4 *)(row + index(i));
					v[1] = *(const float4 *)(row + HALF + index(i));
				}
				low[i] = v[0].x, low[i + 1] = v[0].y, low[i + 2] = v[0].z, low[i + 3] = v[0].w;
				high[i] = v[1].x, high[i + 1] = v[1].y, high[i + 2] = v[1].z, high[i + 3] = v[1].w;
			} else {
				low[i] = row && has(i) ? row[index(i)] : 1.0f;
				high[i] = row && has(i) ? row[HALF + index(i)] : 1.0f;
			}
		}
	}

	/* What is there of a vector that is waited for; whether that is all. */
	__device__ __forceinline__ bool look(const float *x, unsigned parity)
	{
		unsigned wrong = 0;
		if (VECTORS) {
#pragma unroll
			for (int i = 0; i < 2 * W; i += 4) {
				float *const to = i < W ? low + i : high + i - W;
				const uint4 v = load_now4(x + (i < W ? index(i) : HALF + index(i - W)));
				wrong |= (v.x ^ parity) | (v.y ^ parity) | (v.z ^ parity) | (v.w ^ parity);
				to[0] = __uint_as_float(v.x & ~1u);
				to[1] = __uint_as_float(v.y & ~1u);
				to[2] = __uint_as_float(v.z & ~1u);
				to[3] = __uint_as_float(v.w & ~1u);
			}
		} else {
#pragma unroll
			for (int i = 0; i < W; i++) {
				const unsigned a = has(i) ? load_now(x + index(i)) : parity;
				const unsigned b = has(i) ? load_now(x + HALF + index(i)) : parity;
				wrong |= (a ^ parity) | (b ^ parity);
				low[i] = has(i) ? __uint_as_float(a & ~1u) : 0.0f;
				high[i] = has(i) ? __uint_as_float(b & ~1u) : 0.0f;
			}
		}
		return !(wrong & 1);
	}

	__device__ __forceinline__ void norm(const float *weight, float eps)
	{
		lane_dims w;
		w.load(weight);
		float sum = 0.0f;
#pragma unroll
		for (int i = 0; i < W; i++)
			sum += low[i] * low[i] + high[i] * high[i];
		const float factor = reciprocal_root(warp_sum(sum) * (1.0f / HD) + eps);
#pragma unroll
		for (int i = 0; i < W; i++) {
			low[i] *= factor * w.low[i];
			high[i] *= factor * w.high[i];
		}
	}

	/* angles: (HALF) cosines and sines in shared memory */
	__device__ __forceinline__ void turn(const float2 *angles)
	{
#pragma unroll
		for (int i = 0; i < W; i++) {
			if (!has(i))
				continue;
			const float2 v = rotate(make_float2(low[i], high[i]), angles[index(i)]);
			low[i] = v.x;
			high[i] = v.y;
		}
	}

	/* to: (HD), in shared memory */
	__device__ __forceinline__ void leave(float *to) const
	{
#pragma unroll
		for (int i = 0; i < W; i += VECTORS ? 4 : 1) {
			if (VECTORS) {
				*(float4 *)(to + index(i)) = make_float4(low[i], low[i + 1], low[i + 2], low[i + 3]);
				*(float4 *)(to + HALF + index(i)) =
					make_float4(high[i], high[i + 1], high[i + 2], high[i + 3]);
			} else if (has(i)) {
				to[index(i)] = low[i];
				to[HALF + index(i)] = high[i];
			}
		}
	}

	/* As a cache of that type would have it. */
	template <int TYPE> __device__ __forceinline__ void round()
	{
#pragma unroll
		for (int i = 0; i < W; i++) {
			low[i] = rounded<TYPE>(low[i]);
			high[i] = rounded<TYPE>(high[i]);
		}
	}

	/* The same for Q8_0; row: of a cache, where that is what it gets, or null. */
	__device__ __forceinline__ void quantise(char *row)
	{
		const int lane = threadIdx.x % WARP;
		if (DENSE && CACHE_BLOCK % W == 0) { /* so many lanes have a block of either half */
			enum { LANES = CACHE_BLOCK / W };
#pragma unroll
			for (int h = 0; h < 2; h++) {
				float(&x)[W] = h ? high : low;
				unsigned most = 0;
#pragma unroll
				for (int i = 0; i < W; i++)
					most = max(most, magnitude_bits(x[i]));
#pragma unroll
				for (int d = 1; d < LANES; d *= 2)
					most = max(most, __shfl_xor_sync(ALL_LANES, most, d));
				const struct block_scale s = block_scale_of(most);
				keep(x, h, 0, W, s, row);
				if (row && lane % LANES == 0)
					((unsigned short *)(row + HD))[(h * HALF + lane * W) / CACHE_BLOCK] = s.scale;
			}
		} else {
#pragma unroll 1
			for (int b = 0; b < HD / CACHE_BLOCK; b++) {
				unsigned most = 0;
#pragma unroll
				for (int i = 0; i < 2 * W; i++)
					if (is_of(b, i / W, i % W))
						most = max(most, magnitude_bits(i < W ? low[i % W] : high[i % W]));
				const struct block_scale s = block_scale_of(__reduce_max_sync(ALL_LANES, most));
#pragma unroll
				for (int i = 0; i < 2 * W; i++)
					if (is_of(b, i / W, i % W))
						keep(i < W ? low : high, i / W, i % W, i % W + 1, s, row);
				if (row && lane == 0)
					((unsigned short *)(row + HD))[b] = s.scale;
			}
		}
		if (row)
			store_padding(row, HD, lane);
	}

	static __device__ __forceinline__ bool is_of(int block, int h, int i)
	{
		return has(i) && (h * HALF + index(i)) / CACHE_BLOCK == block;
	}

	static __device__ __forceinline__ void keep(float (&x)[W], int h, int begin, int end, const struct block_scale &s,
						    char *row)
	{
		const float scale = f16_to_f32(s.scale);
#pragma unroll
		for (int i = begin; i < end; i++) {
			const int step = block_step(x[i], s);
			if (row)
				row[h * HALF + index(i)] = (char)step;
			x[i] = scale * (float)step;
		}
	}

	template <int TYPE> static __device__ __forceinline__ float rounded(float v)
	{
		return TYPE == TENSOR_F16    ? f16_to_f32(f32_to_f16(v))
		       : TYPE == TENSOR_BF16 ? bf16_to_f32(f32_to_bf16(v))
					     : v;
	}

	template <int TYPE> __device__ __forceinline__ void store(void *row) const
	{
#pragma unroll
		for (int i = 0; i < W; i++)
			if (has(i)) {
				store_element(row, TYPE, index(i), low[i]);
				store_element(row, TYPE, HALF + index(i), high[i]);
			}
	}

	/* Of a cache's row in shared memory. */
	template <int TYPE> __device__ __forceinline__ void read(const row_words<HD, TYPE> &row)
	{
#pragma unroll
		for (int i = 0; i < W; i++) {
			low[i] = row.get(0, i);
			high[i] = row.get(1, i);
		}
	}

	__device__ __forceinline__ float dot(const lane_dims &o) const
	{
		float sum = 0.0f;
#pragma unroll
		for (int i = 0; i < W; i++)
			sum = fmaf(low[i], o.low[i], fmaf(high[i], o.high[i], sum));
		return sum;
	}

	__device__ __forceinline__ void add(float f, const lane_dims &o)
	{
#pragma unroll
		for (int i = 0; i < W; i++) {
			low[i] = fmaf(f, o.low[i], low[i]);
			high[i] = fmaf(f, o.high[i], high[i]);
		}
	}
};

#endif
