/*
 * A tile of keys and one of values of decode attention: how the warps of a CTA share them out, and their products with
 * the query heads and with the probabilities.
 *
 * Keys: a warp has half of the tile's keys and one of SLICES parts of head_dim; the parts' scores meet in shared
 * memory. Values: a warp has a part of head_dim and all of the tile's keys, so that nothing has to meet. In a
 * warp, lane 4 g + t has 16 bytes of the rows g and g + 8 of its keys, and the same part of 8 rows of values.
 *
 * 16-bit caches are multiplied on the tensor cores as they are, whose products and float32 sums are exact enough
 * where the other operand is: it goes in parts of 16 bits that add up to the float32. What rounds toward
 * zero there are sums over one tile; the sums over tiles are ordinary ones. float32 caches take ordinary products.
 */
#ifndef GEMMARK_KERNELS_CUDA_ATTENTION_TILE_CUH
#define GEMMARK_KERNELS_CUDA_ATTENTION_TILE_CUH

#include "kernels/cuda/attention_geometry.h"
#include "kernels/cuda/cache_rows.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/mma.cuh"

enum {
	WARPS = ATTENTION_THREADS / WARP,
	HEADS = ATTENTION_HEADS,
	TILE = ATTENTION_TILE,
	SLICES = WARPS / (TILE / 16),
	SCORE_ROW = TILE + 4, /* floats: 8 keys of 4 heads are in 32 banks */
	LANE_KEYS = TILE / 4, /* keys whose values a lane has */
};
static_assert((int)TILE == (int)WARP && HEADS == 8 && (int)WARPS == (int)HEADS,
	      "a lane a key, a warp a head, eight columns");

/* ---- a float32 in 16-bit parts ---- */

/* How many make up a float32: 2 x 11 bits, or 3 x 8. A float32 itself is one. */
template <int T> struct parts_of {
	enum { N = T == TENSOR_F16 ? 2 : T == TENSOR_BF16 ? 3 : 1 };
};

template <int T> INLINE unsigned short narrow(float f)
{
	return T == TENSOR_F16 ? f32_to_f16(f) : f32_to_bf16(f);
}

template <int T> INLINE float widen(unsigned short h)
{
	return T == TENSOR_F16 ? f16_to_f32(h) : bf16_to_f32(h);
}

/* The greatest part first. */
template <int T> INLINE void split_in_parts(float f, unsigned short (&part)[parts_of<T>::N])
{
#pragma unroll
	for (int i = 0; i < parts_of<T>::N; i++) {
		part[i] = narrow<T>(f);
		f -= widen<T>(part[i]);
	}
}

/* float16 has few exponents: factors that bring the greatest magnitude to 2^14 .. 2^15, and back. */
template <int T> INLINE float2 range_of(float most)
{
	if (T != TENSOR_F16)
		return make_float2(1.0f, 1.0f);
	const int exponent = max(__float_as_int(most) >> 23, 20);
	return make_float2(__int_as_float((268 - exponent) << 23), __int_as_float((exponent - 14) << 23));
}

/* ---- keys ---- */

template <int HD, int T> struct key_tile {
	enum {
		PARTS = parts_of<T>::N,
		CHUNK = 32, /* elements of head_dim that four lanes have */
		CHUNKS = (HD / CHUNK + SLICES - 1) / SLICES,
		ROW = HD + (HD % 64 == 0 ? 32 : 0), /* of q: the rows of 2 heads are in different banks */
	};
	/* The heads' queries, times the scale: (PARTS, HEADS, ROW), and what their scores are multiplied with. */
	struct queries {
		uint4 parts[PARTS * HEADS * ROW / 8];
		float unit[HEADS];
	};
	uint4 w[CHUNKS][2];

	/* The warp's head. q null: zeros. */
	static __device__ __forceinline__ void store_query(queries &to, const float *q, float scale)
	{
		enum { PAIRS = (HD / 2 + WARP - 1) / WARP };
		const int head = threadIdx.x / WARP, lane = threadIdx.x % WARP;
		float2 f[PAIRS];
		float most = 0.0f;
#pragma unroll
		for (int i = 0; i < PAIRS; i++) {
			const int at = 2 * (lane + WARP * i);
			f[i] = q && at < HD ? *(const float2 *)(q + at) : make_float2(0, 0);
			f[i] = make_float2(f[i].x * scale, f[i].y * scale);
			most = fmaxf(most, fmaxf(fabsf(f[i].x), fabsf(f[i].y)));
		}
		const float2 range = range_of<T>(T == TENSOR_F16 ? warp_max(most) : most);
		if (lane == 0)
			to.unit[head] = range.y;
#pragma unroll
		for (int i = 0; i < PAIRS; i++) {
			const int at = 2 * (lane + WARP * i);
			unsigned short x[PARTS], y[PARTS];
			split_in_parts<T>(f[i].x * range.x, x);
			split_in_parts<T>(f[i].y * range.x, y);
#pragma unroll
			for (int part = 0; part < PARTS; part++)
				if (HD % 64 == 0 || at < HD)
					((unsigned *)to.parts)[((part * HEADS + head) * ROW + at) / 2] =
						x[part] | (unsigned)y[part] << 16;
		}
	}

	/* head: of the cache, its first slot; slot(i): of the warp's key i */
	template <class Slot> __device__ __forceinline__ void load(queries &, const void *head, Slot slot, int slice)
	{
		const int g = threadIdx.x % WARP / 4, t = threadIdx.x % 4;
		const int slots[2] = {slot(g), slot(g + 8)};
#pragma unroll
		for (int c = 0; c < CHUNKS; c++) {
			const int chunk = slice * CHUNKS + c;
#pragma unroll
			for (int r = 0; r < 2; r++)
				if (HD % (CHUNK * SLICES) == 0 || chunk < HD / CHUNK)
					w[c][r] = *(const uint4 *)((const unsigned short *)head +
								   (long long)slots[r] * HD + chunk * CHUNK + t * 8);
		}
	}

	/* s: of keys g, g, g + 8, g + 8 and heads 2 t, 2 t + 1 */
	__device__ __forceinline__ void score(const queries &q, int slice, float (&s)[4]) const
	{
		const int g = threadIdx.x % WARP / 4, t = threadIdx.x % 4;
		float d[PARTS][4];
#pragma unroll
		for (int part = 0; part < PARTS; part++)
#pragma unroll
			for (int i = 0; i < 4; i++)
				d[part][i] = 0.0f;
#pragma unroll
		for (int c = 0; c < CHUNKS; c++) {
			const int chunk = slice * CHUNKS + c;
			if (HD % (CHUNK * SLICES) != 0 && chunk >= HD / CHUNK)
				continue;
#pragma unroll
			for (int part = 0; part < PARTS; part++) {
				const uint4 b = q.parts[((part * HEADS + g) * ROW + chunk * CHUNK + t * 8) / 8];
				multiply_add<T>(d[part], w[c][0].x, w[c][1].x, w[c][0].y, w[c][1].y, b.x, b.y);
				multiply_add<T>(d[part], w[c][0].z, w[c][1].z, w[c][0].w, w[c][1].w, b.z, b.w);
			}
		}
#pragma unroll
		for (int i = 0; i < 4; i++) {
			s[i] = d[PARTS - 1][i];
#pragma unroll
			for (int part = PARTS - 2; part >= 0; part--)
				s[i] += d[part][i];
		}
	}
};

template <int HD> struct key_tile<HD, TENSOR_F32> {
	enum { CHUNK = 16, CHUNKS = (HD / CHUNK + SLICES - 1) / SLICES };
	struct queries {
		float4 rows[HEADS * HD / 4];
		float unit[HEADS];
	};
	float4 w[CHUNKS][2];

	static __device__ __forceinline__ void store_query(queries &to, const float *q, float scale)
	{
		const int head = threadIdx.x / WARP, lane = threadIdx.x % WARP;
		if (lane == 0)
			to.unit[head] = 1.0f;
#pragma unroll
		for (int i = lane; i < HD; i += WARP)
			((float *)to.rows)[head * HD + i] = q ? q[i] * scale : 0.0f;
	}

	template <class Slot> __device__ __forceinline__ void load(queries &, const void *head, Slot slot, int slice)
	{
		const int g = threadIdx.x % WARP / 4, t = threadIdx.x % 4;
		const int slots[2] = {slot(g), slot(g + 8)};
#pragma unroll
		for (int c = 0; c < CHUNKS; c++) {
			const int chunk = slice * CHUNKS + c;
#pragma unroll
			for (int r = 0; r < 2; r++)
				if (HD % (CHUNK * SLICES) == 0 || chunk < HD / CHUNK)
					w[c][r] = *(const float4 *)((const float *)head + (long long)slots[r] * HD +
								    chunk * CHUNK + t * 4);
		}
	}

	__device__ __forceinline__ void score(const queries &q, int slice, float (&s)[4]) const
	{
		const int t = threadIdx.x % 4;
		float sum[2][HEADS];
#pragma unroll
		for (int h = 0; h < HEADS; h++)
			sum[0][h] = sum[1][h] = 0.0f;
#pragma unroll
		for (int c = 0; c < CHUNKS; c++) {
			const int chunk = slice * CHUNKS + c;
			if (HD % (CHUNK * SLICES) != 0 && chunk >= HD / CHUNK)
				continue;
#pragma unroll
			for (int h = 0; h < HEADS; h++) {
				const float4 b = q.rows[(h * HD + chunk * CHUNK) / 4 + t];
#pragma unroll
				for (int r = 0; r < 2; r++) {
					sum[r][h] = fmaf(w[c][r].x, b.x, sum[r][h]);
					sum[r][h] = fmaf(w[c][r].y, b.y, sum[r][h]);
					sum[r][h] = fmaf(w[c][r].z, b.z, sum[r][h]);
					sum[r][h] = fmaf(w[c][r].w, b.w, sum[r][h]);
				}
			}
		}
#pragma unroll
		for (int i = 0; i < 4; i++)
			s[i] = 0.0f;
#pragma unroll
		for (int h = 0; h < HEADS; h++)
#pragma unroll
			for (int r = 0; r < 2; r++) {
				float f = sum[r][h];
				f += __shfl_xor_sync(ALL_LANES, f, 1);
				f += __shfl_xor_sync(ALL_LANES, f, 2);
				if (t == h / 2)
					s[2 * r + h % 2] = f;
			}
	}
};

/* ---- values ---- */

/* The part of head_dim that a warp has: DIMS elements for each g, RUN of them side by side, so that there is one for
 * each warp at most. */
template <int HD, int T> struct value_part {
	enum { DIMS = HD > 256 ? 8 : HD > 128 ? 4 : 2, RUN = DIMS, WARP_DIMS = 8 * DIMS, WARPS_BUSY = HD / WARP_DIMS };
	static_assert(HD % WARP_DIMS == 0 && WARPS_BUSY <= WARPS, "whole warps, each at most once");
};

template <int HD, int T> struct value_tile {
	enum { DIMS = value_part<HD, T>::DIMS, PARTS = parts_of<T>::N, WORDS = DIMS / 2, AHEAD = LANE_KEYS };
	static constexpr float UNIT = T == TENSOR_F16 ? 16384.0f : 1.0f; /* uses float16's exponents above 1, too */
	/* (PARTS, HEADS, TILE) */
	struct probabilities {
		uint4 parts[PARTS * HEADS * TILE / 8];
	};
	unsigned w[LANE_KEYS][WORDS];
	float acc[WORDS][4]; /* elements 2 j, 2 j, 2 j + 1, 2 j + 1 of g's, heads 2 t, 2 t + 1 */

	static __device__ __forceinline__ void store_probability(probabilities &to, int head, int key, float p)
	{
		unsigned short part[PARTS];
		split_in_parts<T>(p * UNIT, part);
#pragma unroll
		for (int i = 0; i < PARTS; i++)
			((unsigned short *)to.parts)[(i * HEADS + head) * TILE + key] = part[i];
	}

	__device__ __forceinline__ void clear()
	{
#pragma unroll
		for (int j = 0; j < WORDS; j++)
#pragma unroll
			for (int i = 0; i < 4; i++)
				acc[j][i] = 0.0f;
	}

	/* The tile's key that load i of this lane is of. */
	static __device__ __forceinline__ int key(int i)
	{
		return threadIdx.x % 4 * LANE_KEYS + i;
	}

	/* i: of the lane's keys; element: of the row, the lane's first */
	__device__ __forceinline__ void load(probabilities &, const void *head, int i, int slot, int element)
	{
		const unsigned short *p = (const unsigned short *)head + element + (long long)slot * HD;
		if (WORDS == 4) {
			const uint4 u = *(const uint4 *)p;
			w[i][0] = u.x;
			w[i][1 % WORDS] = u.y;
			w[i][2 % WORDS] = u.z;
			w[i][3 % WORDS] = u.w;
		} else if (WORDS == 2) {
			const uint2 u = *(const uint2 *)p;
			w[i][0] = u.x;
			w[i][1 % WORDS] = u.y;
		} else {
			w[i][0] = *(const unsigned *)p;
		}
	}

	/* Sums so far times shrink, plus the tile's. */
	template <class Load> __device__ __forceinline__ void add(probabilities &p, const float *shrink, Load)
	{
		const int g = threadIdx.x % WARP / 4, t = threadIdx.x % 4;
		const float2 c = *(const float2 *)(shrink + 2 * t);
		uint4 b[PARTS];
#pragma unroll
		for (int part = 0; part < PARTS; part++)
			b[part] = p.parts[((part * HEADS + g) * TILE + t * LANE_KEYS) / 8];
#pragma unroll
		for (int j = 0; j < WORDS; j++) {
			float d[4] = {0.0f, 0.0f, 0.0f, 0.0f};
			unsigned a[2][4]; /* the word's two elements are rows g and g + 8, four keys columns */
#pragma unroll
			for (int k = 0; k < 2; k++)
#pragma unroll
				for (int i = 0; i < 4; i++)
					a[k][i] = __byte_perm(w[4 * k + i / 2 * 2][j], w[4 * k + i / 2 * 2 + 1][j],
							      i % 2 ? 0x7632 : 0x5410);
#pragma unroll
			for (int part = PARTS - 1; part >= 0; part--) {
				multiply_add<T>(d, a[0][0], a[0][1], a[0][2], a[0][3], b[part].x, b[part].y);
				multiply_add<T>(d, a[1][0], a[1][1], a[1][2], a[1][3], b[part].z, b[part].w);
			}
			acc[j][0] = fmaf(acc[j][0], c.x, d[0]);
			acc[j][1] = fmaf(acc[j][1], c.y, d[1]);
			acc[j][2] = fmaf(acc[j][2], c.x, d[2]);
			acc[j][3] = fmaf(acc[j][3], c.y, d[3]);
		}
	}

	/* Of heads 2 t and 2 t + 1. */
	__device__ __forceinline__ void finish(float (&y)[2][DIMS])
	{
#pragma unroll
		for (int j = 0; j < WORDS; j++)
#pragma unroll
			for (int i = 0; i < 4; i++)
				y[i % 2][2 * j + i / 2] = acc[j][i] * (1.0f / UNIT);
	}
};

template <int HD> struct value_tile<HD, TENSOR_F32> {
	enum { DIMS = value_part<HD, TENSOR_F32>::DIMS, AHEAD = LANE_KEYS / 2 };
	/* (TILE, HEADS) */
	struct probabilities {
		float4 keys[TILE * HEADS / 4];
	};
	float w[AHEAD][DIMS];
	float acc[HEADS][DIMS]; /* of the lane's own keys */

	static __device__ __forceinline__ void store_probability(probabilities &to, int head, int key, float p)
	{
		((float *)to.keys)[key * HEADS + head] = p;
	}

	__device__ __forceinline__ void clear()
	{
#pragma unroll
		for (int h = 0; h < HEADS; h++)
#pragma unroll
			for (int d = 0; d < DIMS; d++)
				acc[h][d] = 0.0f;
	}

	static __device__ __forceinline__ int key(int i)
	{
		return threadIdx.x % 4 * LANE_KEYS + i;
	}

	__device__ __forceinline__ void load(probabilities &, const void *head, int i, int slot, int element)
	{
		const float *p = (const float *)head + element + (long long)slot * HD;
#pragma unroll
		for (int d = 0; d < DIMS; d += 2) {
			const float2 f = *(const float2 *)(p + d);
			w[i % AHEAD][d] = f.x;
			w[i % AHEAD][d + 1] = f.y;
		}
	}

	/* load(i): of the keys behind AHEAD, as many as the registers do not hold meanwhile. */
	template <class Load>
	__device__ __forceinline__ void add(probabilities &p, const float *shrink, Load load)
	{
		const int t = threadIdx.x % 4;
#pragma unroll
		for (int h = 0; h < HEADS; h++)
#pragma unroll
			for (int d = 0; d < DIMS; d++)
				acc[h][d] *= shrink[h];
#pragma unroll
		for (int i = 0; i < LANE_KEYS; i++) {
			if (i == AHEAD)
#pragma unroll
				for (int k = AHEAD; k < LANE_KEYS; k++)
					load(k);
			const float4 a = p.keys[(t * LANE_KEYS + i) * 2], b = p.keys[(t * LANE_KEYS + i) * 2 + 1];
			const float of_head[HEADS] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
#pragma unroll
			for (int h = 0; h < HEADS; h++)
#pragma unroll
				for (int d = 0; d < DIMS; d++)
					acc[h][d] = fmaf(of_head[h], w[i % AHEAD][d], acc[h][d]);
		}
	}

	__device__ __forceinline__ void finish(float (&y)[2][DIMS])
	{
		const int t = threadIdx.x % 4;
#pragma unroll
		for (int h = 0; h < HEADS; h++)
#pragma unroll
			for (int d = 0; d < DIMS; d++) {
				float f = acc[h][d];
				f += __shfl_xor_sync(ALL_LANES, f, 1);
				f += __shfl_xor_sync(ALL_LANES, f, 2);
				if (t == h / 2)
					y[h % 2][d] = f;
			}
	}
};

#endif
