/* Elements of TENSOR_QUANT_TYPES out of their planes (quants_geometry.h), and of any type. */
#ifndef GEMMARK_KERNELS_CUDA_QUANTS_CUH
#define GEMMARK_KERNELS_CUDA_QUANTS_CUH

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/quants_geometry.h"
#include "kernels/cuda/table.cuh"

/* What quants_bytes' bytes are multiplied with beside the block's scale: two's complements lie at the top. */
template <int T> INLINE float quants_unit()
{
	return T == TENSOR_Q4_0 ? 1.0f / 16 : T == TENSOR_Q5_0 ? 1.0f / 8 : T == TENSOR_Q6_K ? 1.0f / 4 : 1.0f;
}

/* Four bytes of IQ4_NL's steps by the lower 16 bits. */
INLINE unsigned quants_steps(unsigned w)
{
	/* -127 -104 -83 -65, -49 -35 -22 -10, 1 13 25 38, 53 69 89 113 */
	const unsigned below = __byte_perm(0xbfad9881u, 0xf6eaddcfu, w & 0x7777u);
	const unsigned above = __byte_perm(0x26190d01u, 0x71594535u, w & 0x7777u);
	return __byte_perm(below, above, (w >> 1 & 0x4444u) | 0x3210u);
}

/*
 * Four elements as signed bytes, times 1 / quants_unit, out of the half of a word of their four bits. high: of each, from
 * that bit of its byte on, the bits above.
 */
template <int T> INLINE unsigned quants_bytes(unsigned low, unsigned high, int half, int bit)
{
	if (T == TENSOR_IQ4_NL)
		return quants_steps(half ? low >> 16 : low);
	if (T == TENSOR_Q4_0)
		return (half ? low : low << 4) & 0xf0f0f0f0u;
	if (T == TENSOR_Q5_0)
		return ((half ? low >> 1 : low << 3) & 0x78787878u) | (high << (7 - bit) & 0x80808080u);
	if (T == TENSOR_Q6_K)
		return ((half ? low >> 2 : low << 2) & 0x3c3c3c3cu) | (high << (6 - bit) & 0xc0c0c0c0u);
	const unsigned four = (half ? low >> 4 : low) & 0x0f0f0f0fu;
	if (T == TENSOR_Q4_1 || T == TENSOR_Q4_K)
		return four;
	return four | ((bit < 4 ? high << (4 - bit) : high >> (bit - 4)) & 0x10101010u);
}

/*
 * Elements 16 * HALF + 4 * J .. + 3 of a block. low: word J of its four bits; high: its word of the plane, of Q6_K that
 * of the half.
 */
template <int T> INLINE unsigned quants_word(unsigned low, unsigned high, int half, int j)
{
	return quants_bytes<T>(low, high, half, T == TENSOR_Q6_K ? 2 * j : 4 * half + j);
}

/* An element is d * byte + m. */
struct quants_scale {
	float d;
	float m;
};

/* Of half a block. d_m: both as a file has them, of types whose side is not them. */
template <int T> INLINE struct quants_scale quants_scale_of(unsigned side, unsigned d_m, int half)
{
	struct quants_scale s = {f16_to_f32((unsigned short)side) * quants_unit<T>(), 0.0f};
	if (T == TENSOR_Q4_1 || T == TENSOR_Q5_1)
		s.m = f16_to_f32((unsigned short)(side >> 16));
	if (T == TENSOR_Q6_K)
		s.d = f16_to_f32((unsigned short)d_m) * (float)(signed char)(side >> (8 * half) & 255) *
		      quants_unit<T>();
	if (quants_in_parts(T)) {
		s.d = f16_to_f32((unsigned short)d_m) * (float)(side & 63);
		s.m = -(f16_to_f32((unsigned short)(d_m >> 16)) * (float)(side >> 6 & 63));
	}
	return s;
}

template <int T> INLINE float4 quants_vec_of(const struct weight &w, long long row, int k)
{
	const long long n_blocks = (long long)w.n_expert * w.n_out * (w.n_in / QUANTS_BLOCK);
	const long long block = row * (w.n_in / QUANTS_BLOCK) + k / QUANTS_BLOCK;
	const int half = k / 16 % 2, j = k / 4 % 4;
	const char *const data = (const char *)w.data;
	const char *const side_at = data + quants_side_at(T, n_blocks);
	const unsigned low = ((const unsigned *)data)[block * 4 + j];
	const unsigned *const highs = (const unsigned *)(data + quants_high_at(n_blocks));
	unsigned high = 0, side, d_m = 0;
	if (T == TENSOR_Q6_K)
		high = highs[block * 2 + half];
	else if (quants_have_five(T))
		high = highs[block];
	if (quants_side_bytes(T) == 4)
		side = ((const unsigned *)side_at)[block];
	else
		side = ((const unsigned short *)side_at)[block];
	if (T == TENSOR_Q6_K)
		d_m = ((const unsigned short *)(data + quants_d_at(T, n_blocks)))[block / 8];
	if (quants_in_parts(T))
#pragma unroll
		for (int i = 0; i < 8; i++)
			d_m |= (unsigned)(((const unsigned short *)side_at)[block / 8 * 8 + i] >> 12) << (4 * i);
	const unsigned q = quants_word<T>(low, high, half, j);
	const struct quants_scale s = quants_scale_of<T>(side, d_m, half);
	float4 v = make_float4(s.d * (float)(signed char)(q & 255), s.d * (float)(signed char)(q >> 8 & 255),
			       s.d * (float)(signed char)(q >> 16 & 255), s.d * (float)(signed char)(q >> 24));
	if (quants_have_least(T))
		v = make_float4(v.x + s.m, v.y + s.m, v.z + s.m, v.w + s.m);
	return v;
}

/* Types, a bit each, that the kernels are compiled for: all that a model's tables and matrices are of. */
constexpr unsigned quants_compiled = 0
#ifdef WEIGHTS_Q4_0
				     | 1u << TENSOR_Q4_0
#endif
#ifdef WEIGHTS_Q4_1
				     | 1u << TENSOR_Q4_1
#endif
#ifdef WEIGHTS_Q5_0
				     | 1u << TENSOR_Q5_0
#endif
#ifdef WEIGHTS_Q5_1
				     | 1u << TENSOR_Q5_1
#endif
#ifdef WEIGHTS_IQ4_NL
				     | 1u << TENSOR_IQ4_NL
#endif
#ifdef WEIGHTS_Q4_K
				     | 1u << TENSOR_Q4_K
#endif
#ifdef WEIGHTS_Q5_K
				     | 1u << TENSOR_Q5_K
#endif
#ifdef WEIGHTS_Q6_K
				     | 1u << TENSOR_Q6_K
#endif
	;

/* Elements k .. k + 3 of a matrix's row, k a multiple of four. */
INLINE float4 quants_vec(const struct weight &w, long long row, int k)
{
	switch (w.type) {
#define X(NAME, word, number, block, block_bytes, file_type, a, b) \
	case TENSOR_##NAME:                                        \
		if (quants_compiled >> TENSOR_##NAME & 1)          \
			return quants_vec_of<TENSOR_##NAME>(w, row, k); \
		break;
		TENSOR_QUANT_TYPES(X, , )
#undef X
	}
	return make_float4(0, 0, 0, 0);
}

/* table_vec of any type. */
INLINE float4 any_vec(const struct weight &w, long long row, int k)
{
	return quants_compiled && quants_has(w.type) ? quants_vec(w, row, k) : table_vec(w, row, k);
}

/* weight_element of any type. */
INLINE float any_element(const struct weight &w, long long row, int k)
{
	if (!quants_compiled || !quants_has(w.type))
		return weight_element(w, row, k);
	const float4 v = quants_vec(w, row, k / 4 * 4);
	return k % 4 == 0 ? v.x : k % 4 == 1 ? v.y : k % 4 == 2 ? v.z : v.w;
}

#endif
