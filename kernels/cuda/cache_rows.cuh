/* A cache's rows (kernels/cache_rows.h): where they are, what writes them, and what Q8_0's bytes stand for. */
#ifndef GEMMARK_KERNELS_CUDA_CACHE_ROWS_CUH
#define GEMMARK_KERNELS_CUDA_CACHE_ROWS_CUH

#include "kernels/cache_rows.h"
#include "kernels/cuda/device.cuh"

/* Of `cache`, which is kv's k or v and of that type. */
INLINE char *cache_row(void *cache, int type, const struct kv &kv, int kv_head, int slot)
{
	return (char *)cache + ((long long)kv_head * kv.capacity + slot) * cache_row_bytes(type, kv.head_dim);
}

/* ---- in ---- */

struct block_scale {
	unsigned short scale;
	float inverse; /* 0: the block's int8 are 0 */
};

/* most: the bits of a block's greatest magnitude */
INLINE struct block_scale block_scale_of(unsigned most)
{
	const float d = __uint_as_float(most) / (float)CACHE_STEPS;
	struct block_scale s;
	s.scale = most > 0x7f800000u ? (unsigned short)CACHE_NAN : f32_to_f16(d);
	s.inverse = s.scale == 0 || s.scale >= 0x7c00 ? 0.0f : 1.0f / d;
	return s;
}

/* The product is rounded as the host's is: never in one with what roundf adds. */
INLINE int block_step(float x, const struct block_scale &s)
{
	return s.inverse == 0.0f ? 0 : (int)roundf(__fmul_rn(x, s.inverse));
}

INLINE unsigned magnitude_bits(float x)
{
	return __float_as_uint(x) & 0x7fffffffu;
}

/* A warp's: block number `block` of a row of Q8_0, of which each lane has an element. */
INLINE void store_block(char *row, int head_dim, int block, float x)
{
	const int lane = threadIdx.x % WARP;
	const struct block_scale s = block_scale_of(__reduce_max_sync(ALL_LANES, magnitude_bits(x)));
	row[block * CACHE_BLOCK + lane] = (char)block_step(x, s);
	if (lane == 0)
		((unsigned short *)(row + head_dim))[block] = s.scale;
}

/* What fills such a row up, by threads of which i is one's number. */
INLINE void store_padding(char *row, int head_dim, int i)
{
	unsigned short *const end = (unsigned short *)(row + cache_row_bytes(TENSOR_Q8_0, head_dim));
	unsigned short *const to = (unsigned short *)(row + head_dim) + head_dim / CACHE_BLOCK + i;
	if (to < end)
		*to = 0;
}

/* A row of any type by a CTA of whole warps, which all see x. */
INLINE void store_row(char *row, int type, int head_dim, const float *x)
{
	if (type != TENSOR_Q8_0) {
		for (int i = threadIdx.x; i < head_dim; i += blockDim.x)
			store_element(row, type, i, x[i]);
		return;
	}
	for (int b = threadIdx.x / WARP; b < head_dim / CACHE_BLOCK; b += blockDim.x / WARP)
		store_block(row, head_dim, b, x[b * CACHE_BLOCK + threadIdx.x % WARP]);
	store_padding(row, head_dim, threadIdx.x);
}

/* ---- out ---- */

/* Byte i of a word of int8 that was exclusive-ored with 0x80808080: 2^23 + 128 + it, less that. */
INLINE float step_to_f32(unsigned word, int i)
{
	return __uint_as_float(__byte_perm(word, 0x4b000000u, 0x7650u + (unsigned)i)) - 8388736.0f;
}

INLINE float scale_at(const char *row, int head_dim, int i)
{
	return f16_to_f32(((const unsigned short *)(row + head_dim))[i / CACHE_BLOCK]);
}

/* Elements i .. i + 4 of a row of Q8_0, i a multiple of four. */
INLINE float4 steps_to_f32(unsigned steps, float scale)
{
	const unsigned w = steps ^ 0x80808080u;
	return make_float4(scale * step_to_f32(w, 0), scale * step_to_f32(w, 1), scale * step_to_f32(w, 2),
			   scale * step_to_f32(w, 3));
}

#endif
