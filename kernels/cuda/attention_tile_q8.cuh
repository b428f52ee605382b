/*
 * attention_tile.cuh's tiles of caches in Q8_0: int8 become float16, which holds them, and are multiplied on the tensor
 * cores with the other operand in two parts, a block of 32 elements at a time.
 *
 * Rows are copied to shared memory 16 bytes a lane, as a warp needs them: nobody else reads them there. From there a
 * lane has 8 bytes of a block of a key, and the products of a block are summed before its scale is multiplied in; or
 * four bytes of eight values, whose scales go into the probabilities.
 *
 * A tile's copies are a group of its own (commit_copies): of keys and of values in turn, so that when either is waited
 * for, one group may be on its way.
 */
#ifndef GEMMARK_KERNELS_CUDA_ATTENTION_TILE_Q8_CUH
#define GEMMARK_KERNELS_CUDA_ATTENTION_TILE_Q8_CUH

#include "kernels/cuda/attention_tile.cuh"
#include "kernels/cuda/steps_f16.cuh"

template <int HD> struct key_tile<HD, TENSOR_Q8_0> {
	typedef key_tile<HD, TENSOR_F16> halves; /* has the queries the same way */
	enum {
		PARTS = halves::PARTS,
		CHUNK = CACHE_BLOCK,
		CHUNKS = (HD / CHUNK + SLICES - 1) / SLICES, /* of a key, in a warp; that many loads a lane */
		KEYS = 16,                                   /* of a warp */
		PIECES = CHUNKS * 2,                         /* of 16 bytes, of a key */
		ALL = HD % (CHUNK * SLICES) == 0,            /* slices have a whole share */
		ROW = halves::ROW,
		BYTES = cache_row_bytes(TENSOR_Q8_0, HD),
		/* From a key to the next in shared memory: what half a warp reads of four is in 32 banks. */
		NEXT = CHUNKS * CHUNK + (CHUNKS % 2 ? 0 : 32),
	};
	static_assert(CHUNKS == 1 || CHUNKS == 2 || CHUNKS == 4, "scales are loaded at once");
	struct queries : halves::queries {
		uint4 keys[WARPS][KEYS * NEXT / 16];
	};
	unsigned scales[2][(CHUNKS + 1) / 2]; /* of keys g and g + 8 */

	static __device__ __forceinline__ void store_query(queries &to, const float *q, float scale)
	{
		halves::store_query(to, q, scale);
	}

	/* head: of the cache, its first slot; slot(i): of the warp's key i */
	template <class Slot> __device__ __forceinline__ void load(queries &to, const void *head, Slot slot, int slice)
	{
		const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
		if (!ALL && slice * CHUNKS >= HD / CHUNK)
			return;
		const unsigned own = kept_shared_address(to.keys[warp]);
#pragma unroll
		for (int i = 0; i < CHUNKS; i++) {
			const int key = (lane + i * WARP) / PIECES, piece = (lane + i * WARP) % PIECES;
			copy_async(own + key * NEXT + piece * 16,
				   (const char *)head + (long long)slot(key) * BYTES + slice * CHUNKS * CHUNK + piece * 16,
				   true);
		}
#pragma unroll
		for (int r = 0; r < 2; r++) {
			const char *const of =
				(const char *)head + (long long)slot(lane / 4 + 8 * r) * BYTES + HD + slice * CHUNKS * 2;
			if (CHUNKS == 4) {
				const uint2 u = *(const uint2 *)of;
				scales[r][0] = u.x;
				scales[r][CHUNKS / 4] = u.y;
			} else {
				scales[r][0] = CHUNKS == 2 ? *(const unsigned *)of : *(const unsigned short *)of;
			}
		}
	}

	/* s: of keys g, g, g + 8, g + 8 and heads 2 t, 2 t + 1 */
	__device__ __forceinline__ void score(const queries &q, int slice, float (&s)[4]) const
	{
		const int lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;
		const char *const own = (const char *)q.keys[threadIdx.x / WARP] + g * NEXT + t * 8;
#pragma unroll
		for (int i = 0; i < 4; i++)
			s[i] = 0.0f;
		wait_for_copies_but<1>();
		__syncwarp();
		if (!ALL && slice * CHUNKS >= HD / CHUNK)
			return;
#pragma unroll
		for (int c = 0; c < CHUNKS; c++) {
			float d[PARTS][4];
			unsigned a[2][4];
#pragma unroll
			for (int r = 0; r < 2; r++) {
				const uint2 u = *(const uint2 *)(own + 8 * r * NEXT + c * CHUNK);
				steps_to_f16(u.x ^ 0x80808080u, a[r][0], a[r][1]);
				steps_to_f16(u.y ^ 0x80808080u, a[r][2], a[r][3]);
			}
#pragma unroll
			for (int part = 0; part < PARTS; part++) {
				const uint4 b =
					q.parts[((part * HEADS + g) * ROW + (slice * CHUNKS + c) * CHUNK + t * 8) / 8];
#pragma unroll
				for (int i = 0; i < 4; i++)
					d[part][i] = 0.0f;
				multiply_add<TENSOR_F16>(d[part], a[0][0], a[1][0], a[0][1], a[1][1], b.x, b.y);
				multiply_add<TENSOR_F16>(d[part], a[0][2], a[1][2], a[0][3], a[1][3], b.z, b.w);
			}
#pragma unroll
			for (int i = 0; i < 4; i++) {
				const unsigned pair = scales[i / 2][c / 2];
				const float scale = f16_to_f32((unsigned short)(c % 2 ? pair >> 16 : pair));
				s[i] = fmaf(d[1][i] + d[0][i], scale, s[i]);
			}
		}
		__syncwarp(); /* all have read what the next tile's copies replace */
	}
};

/* A warp has so many blocks of head_dim, and a lane four elements of each. */
template <int HD> struct value_part<HD, TENSOR_Q8_0> {
	enum {
		BLOCKS = HD > 256 ? 2 : 1,
		RUN = 4,
		DIMS = RUN * BLOCKS,
		WARP_DIMS = CACHE_BLOCK * BLOCKS,
		WARPS_BUSY = HD / WARP_DIMS,
	};
	static_assert(HD % WARP_DIMS == 0 && WARPS_BUSY <= WARPS, "whole warps, each at most once");
};

template <int HD> struct value_tile<HD, TENSOR_Q8_0> {
	typedef value_part<HD, TENSOR_Q8_0> part;
	enum {
		BLOCKS = part::BLOCKS,
		DIMS = part::DIMS,
		PARTS = 2,
		PIECES = 2 * BLOCKS, /* of 16 bytes, that a row has for a warp */
		LOADS = TILE * PIECES / WARP,
		AHEAD = LOADS + 1,
		P_ROW = TILE + 4,      /* floats; what a quarter of a warp reads is in 32 banks */
		WORDS = TILE * 8 + 32, /* of a block: each 8 keys 8 words further on, for the same */
		BYTES = cache_row_bytes(TENSOR_Q8_0, HD),
	};
	struct probabilities {
		float4 p[HEADS * P_ROW / 4];
		float4 scales[part::WARPS_BUSY][BLOCKS][TILE / 4]; /* of the tile's keys, times a power of two */
		uint4 words[part::WARPS_BUSY][BLOCKS * WORDS / 4];
	};
	unsigned scale;           /* of one key, the lane's */
	float acc[2 * BLOCKS][4]; /* elements 2 j, 2 j, 2 j + 1, 2 j + 1 of g's, heads 2 t, 2 t + 1 */

	static __device__ __forceinline__ void store_probability(probabilities &to, int head, int key, float p)
	{
		((float *)to.p)[head * P_ROW + key] = p;
	}

	__device__ __forceinline__ void clear()
	{
#pragma unroll
		for (int j = 0; j < 2 * BLOCKS; j++)
#pragma unroll
			for (int i = 0; i < 4; i++)
				acc[j][i] = 0.0f;
	}

	/* The tile's key that load i of this lane is of: the last one is of its scale. */
	static __device__ __forceinline__ int key(int i)
	{
		const int lane = threadIdx.x % WARP;
		return i == LOADS ? lane : (lane + i * WARP) / PIECES;
	}

	__device__ __forceinline__ void load(probabilities &to, const void *head, int i, int slot, int)
	{
		const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
		const char *const row = (const char *)head + (long long)slot * BYTES;
		if (i < LOADS) {
			const int n = key(i), piece = (lane + i * WARP) % PIECES;
			copy_async(kept_shared_address(to.words[warp]) +
					   (piece / 2 * WORDS + n * 8 + n / 8 * 8 + piece % 2 * 4) * 4,
				   row + warp * part::WARP_DIMS + piece * 16, true);
		} else if (BLOCKS > 1) {
			scale = *(const unsigned *)(row + HD + warp * 4);
		} else {
			scale = *(const unsigned short *)(row + HD + warp * 2);
		}
	}

	/* Sums so far times shrink, plus the tile's. */
	template <class Load> __device__ __forceinline__ void add(probabilities &p, const float *shrink, Load)
	{
		const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, g = lane / 4, t = lane % 4;
		const float2 c = *(const float2 *)(shrink + 2 * t);
		float unit[BLOCKS];
#pragma unroll
		for (int b = 0; b < BLOCKS; b++) {
			const float s = f16_to_f32((unsigned short)(scale >> (16 * b)));
			const float2 range = range_of<TENSOR_F16>(warp_max(s));
			((float *)p.scales[warp][b])[lane] = s * range.x;
			unit[b] = range.y;
		}
		wait_for_copies_but<1>();
		__syncwarp();
		const float4 p0 = p.p[(g * P_ROW + t * LANE_KEYS) / 4], p1 = p.p[(g * P_ROW + t * LANE_KEYS) / 4 + 1];
#pragma unroll
		for (int b = 0; b < BLOCKS; b++) {
			const unsigned *const words =
				(const unsigned *)p.words[warp] + b * WORDS + t * (LANE_KEYS * 8 + 8) + g;
			const float4 s0 = p.scales[warp][b][t * 2], s1 = p.scales[warp][b][t * 2 + 1];
			const float x[LANE_KEYS] = {p0.x * s0.x, p0.y * s0.y, p0.z * s0.z, p0.w * s0.w,
						    p1.x * s1.x, p1.y * s1.y, p1.z * s1.z, p1.w * s1.w};
			unsigned of[PARTS][LANE_KEYS / 2]; /* pairs of keys */
#pragma unroll
			for (int i = 0; i < LANE_KEYS; i += 2) {
				unsigned short low[PARTS], high[PARTS];
				split_in_parts<TENSOR_F16>(x[i], low);
				split_in_parts<TENSOR_F16>(x[i + 1], high);
#pragma unroll
				for (int k = 0; k < PARTS; k++)
					of[k][i / 2] = low[k] | (unsigned)high[k] << 16;
			}
			float d[2][4];
#pragma unroll
			for (int j = 0; j < 2; j++)
#pragma unroll
				for (int i = 0; i < 4; i++)
					d[j][i] = 0.0f;
#pragma unroll
			for (int k = 0; k < LANE_KEYS / 4; k++) {
				unsigned a[2][4]; /* two keys; elements 0 to 3 */
#pragma unroll
				for (int i = 0; i < 2; i++) {
					const unsigned u = words[(4 * k + 2 * i) * 8], v = words[(4 * k + 2 * i + 1) * 8];
					steps_to_f16(__byte_perm(u, v, 0x5140) ^ 0x80808080u, a[i][0], a[i][1]);
					steps_to_f16(__byte_perm(u, v, 0x7362) ^ 0x80808080u, a[i][2], a[i][3]);
				}
#pragma unroll
				for (int part = PARTS - 1; part >= 0; part--)
#pragma unroll
					for (int j = 0; j < 2; j++)
						multiply_add<TENSOR_F16>(d[j], a[0][2 * j], a[0][2 * j + 1],
									 a[1][2 * j], a[1][2 * j + 1],
									 of[part][2 * k], of[part][2 * k + 1]);
			}
#pragma unroll
			for (int j = 0; j < 2; j++) {
				float(&sum)[4] = acc[2 * b + j];
				sum[0] = fmaf(sum[0], c.x, d[j][0] * unit[b]);
				sum[1] = fmaf(sum[1], c.y, d[j][1] * unit[b]);
				sum[2] = fmaf(sum[2], c.x, d[j][2] * unit[b]);
				sum[3] = fmaf(sum[3], c.y, d[j][3] * unit[b]);
			}
		}
		__syncwarp();
	}

	/* Of heads 2 t and 2 t + 1. */
	__device__ __forceinline__ void finish(float (&y)[2][DIMS])
	{
#pragma unroll
		for (int j = 0; j < 2 * BLOCKS; j++)
#pragma unroll
			for (int i = 0; i < 4; i++)
				y[i % 2][2 * j + i / 2] = acc[j][i];
	}
};

#endif
