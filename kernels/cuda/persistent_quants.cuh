/*
 * Products of a token's kernel with units of TENSOR_QUANT_TYPES (kernels/tiles.h): as Q8_0's, after a lane's words of
 * four bits, and of the bits above, have become the same fragments of signed bytes.
 *
 * Where a block has a scale of its own in fp16, its sum of products becomes a float and is scaled. Where scales are
 * integers, times d of 256 columns, sums of products times scales are integers too, as exact, and only the unit's
 * become floats. Minima are multiplied with the activations' sums, digit by digit, which are made once.
 *
 * What it takes of a multiprocessor: a warp issues some 135 instructions for a unit of Q4_0 of 2304 bytes, 175 of
 * Q4_K, 200 of Q6_K of 3360 bytes (sm_90; of Q8_0 85 for 4352). Of four a cycle, while memory brings 13 bytes a cycle,
 * that is a fifth to a fourth.
 */
#ifndef GEMMARK_KERNELS_CUDA_PERSISTENT_QUANTS_CUH
#define GEMMARK_KERNELS_CUDA_PERSISTENT_QUANTS_CUH

#include "kernels/cuda/persistent_operand.cuh"
#include "kernels/cuda/quants.cuh"

/*
 * Sums of a chunk's digits by blocks, of the two columns of digits that the lane's accumulators are of: behind them in
 * the corner. Of parts: of the first four blocks two words of 16 bits a block in the first column, two in the second,
 * then of the last four; else floats, of a block both columns, of every second block, then of the others.
 */
template <int T> struct digit_sums {
	enum { LANES = 2, EACH = 8, WORDS = LANES * EACH }; /* of four lanes as many have other digits */
	static_assert(WORDS * 4 == PERSISTENT_SUMS_BYTES, "what a corner has room for");

	template <int N>
	static __device__ __forceinline__ void leave(const chunks_digits<N> &x, int chunk, unsigned *to)
	{
		enum { ONES = 0x01010101 };
		const int lane = threadIdx.x % WARP;
		int sums[8][4];
		unsigned words[EACH];
#pragma unroll
		for (int k = 0; k < 8; k++) {
			const uint2 b = x.block(chunk, k);
#pragma unroll
			for (int i = 0; i < 4; i++)
				sums[k][i] = 0;
			multiply_add_s8(sums[k], ONES, ONES, ONES, ONES, b.x, b.y);
		}
#pragma unroll
		for (int i = 0; i < EACH; i++) {
			const int pair = i / 4 * 4 + i % 2 * 2, k = i % 4 * 2 + i / 4;
			words[i] = quants_in_parts(T) ? __byte_perm((unsigned)sums[pair][i / 2 % 2],
								    (unsigned)sums[pair + 1][i / 2 % 2], 0x5410)
						      : __float_as_uint((float)(sums[k][0] * 256 + sums[k][1]));
		}
		if (lane < LANES) {
			((uint4 *)to)[lane * 2] = make_uint4(words[0], words[1], words[2], words[3]);
			((uint4 *)to)[lane * 2 + 1] = make_uint4(words[4], words[5], words[6], words[7]);
		}
	}

	/* Of parts of the first four blocks or the last, else of every second one. */
	uint4 own;

	__device__ __forceinline__ void load(const unsigned *from)
	{
		own = ((const uint4 *)from)[threadIdx.x % LANES * 2 + second_of_two()];
	}

	/* Minima of those four blocks, six bits each, times that. */
	__device__ __forceinline__ float times(unsigned least) const
	{
		const int first = __dp2a_hi((int)own.y, (int)least, __dp2a_lo((int)own.x, (int)least, 0));
		const int second = __dp2a_hi((int)own.w, (int)least, __dp2a_lo((int)own.z, (int)least, 0));
		return (float)(first * 256 + second);
	}
};

/* Scales and minima of a row's eight blocks, as a file of Q4_K or Q5_K has them behind d and m: bytes of six bits. */
struct parts_scales {
	unsigned scale[2], least[2];

	__device__ __forceinline__ parts_scales(const uint4 &v)
	{
		scale[0] = v.y & 0x3f3f3f3fu;
		scale[1] = (v.w & 0x0f0f0f0fu) | (v.y >> 2 & 0x30303030u);
		least[0] = v.z & 0x3f3f3f3fu;
		least[1] = (v.w >> 4 & 0x0f0f0f0fu) | (v.z >> 2 & 0x30303030u);
	}
};

/* Word i of vectors that lie behind each other in registers: i is a constant once loops are unrolled. */
INLINE unsigned vector_word(const uint4 *v, int i)
{
	const uint4 &u = v[i / 4];
	return i % 4 == 0 ? u.x : i % 4 == 1 ? u.y : i % 4 == 2 ? u.z : u.w;
}

/* Lane's words of a unit. */
template <int T> struct quants_words {
	enum { HIGHS = quants_high_bytes(T) / 4 };
	uint4 low[4], high[HIGHS ? HIGHS : 1];

	__device__ __forceinline__ void load(const char *unit)
	{
		const int lane = threadIdx.x % WARP;
		const uint4 *const at = (const uint4 *)(unit + tile_side_bytes(T)) + lane;
#pragma unroll
		for (int i = 0; i < HIGHS; i++)
			high[i] = at[i * WARP];
#pragma unroll
		for (int i = 0; i < 4; i++)
			low[i] = at[(HIGHS + i) * WARP];
	}

	/* Fragment i of a block's four, as m16n8k32 has them. */
	__device__ __forceinline__ unsigned fragment(int block, int i) const
	{
		const unsigned bits = vector_word(low, block * 2 + i % 2);
		return quants_bytes<T>(bits, HIGHS ? vector_word(high, block / 2) : 0, i / 2, block % 2 * 4 + i);
	}
};

template <> struct quants_words<TENSOR_Q6_K> {
	uint4 words[6];

	__device__ __forceinline__ void load(const char *unit)
	{
		const uint4 *const at = (const uint4 *)(unit + tile_side_bytes(TENSOR_Q6_K)) + threadIdx.x % WARP;
#pragma unroll
		for (int i = 0; i < 6; i++)
			words[i] = at[i * WARP];
	}

	/* Times 4, as quants_bytes has them. */
	__device__ __forceinline__ unsigned fragment(int block, int i) const
	{
		if (i < 3)
			return vector_word(words, block * 3 + i) & 0xfcfcfcfcu;
		return (vector_word(words, block * 3) << 6 & 0xc0c0c0c0u) |
		       (vector_word(words, block * 3 + 1) << 4 & 0x30303030u) |
		       (vector_word(words, block * 3 + 2) << 2 & 0x0c0c0c0cu);
	}
};

/* Of the lane's block, or half block, of two: byte second_of_two() of a word, or two further on, with its sign. */
struct byte_of_two {
	unsigned selector;

	__device__ __forceinline__ byte_of_two() : selector(signed_byte_selector((unsigned)second_of_two()))
	{
	}

	__device__ __forceinline__ int of(unsigned word, int further) const
	{
		return signed_byte(word, selector + (further ? signed_byte_step(2) : 0));
	}
};

template <int T, int N> struct operand<T, N, true> {
	struct chunks_digits<N> x; /* and behind it (N, digit_sums<T>::WORDS) */
	float a, b;			  /* rows lane / 4 and lane / 4 + 8 */

	__device__ __forceinline__ void set(void *corner)
	{
		x.set(corner);
		if (quants_have_least(T)) {
#pragma unroll
			for (int c = 0; c < N; c++)
				digit_sums<T>::leave(x, c, (unsigned *)corner + sums_at(c));
			__syncwarp();
		}
	}

	static __device__ __forceinline__ int sums_at(int chunk)
	{
		return N * shared_digits::WORDS + chunk * digit_sums<T>::WORDS;
	}

	__device__ __forceinline__ void clear()
	{
		a = b = 0.0f;
	}

	__device__ __forceinline__ void leave(float *to) const
	{
		leave_rows(a, b, to);
	}

	/* c += products of the lane's block of two, with both of its columns, of either row. */
	__device__ __forceinline__ void two_blocks(const quants_words<T> &w, int chunk, int k, int (&c)[4]) const
	{
		const uint2 first = x.columns(chunk, k), second = x.columns(chunk, k + 1);
		multiply_add_s8(c, w.fragment(k, 0), w.fragment(k, 1), w.fragment(k, 2), w.fragment(k, 3), first.x,
				first.y);
		k++;
		multiply_add_s8(c, w.fragment(k, 0), w.fragment(k, 1), w.fragment(k, 2), w.fragment(k, 3), second.x,
				second.y);
	}

	/* Blocks with scales, and minima, of their own. */
	__device__ __forceinline__ void alone(const char *unit, const quants_words<T> &w, int chunk, float &r0, float &r1) const
	{
		const uint4 *const s = (const uint4 *)unit + threadIdx.x % WARP / 4 * 2 + second_of_two();
		const uint4 scales = s[0];
		uint4 least = {};
		struct digit_sums<T> sums;
		if (quants_have_least(T)) {
			sums.load(x.at + sums_at(chunk));
			least = s[TILE_SCALES / 16];
		}
#pragma unroll
		for (int k = 0; k < 8; k += 2) {
			int c[4] = {0, 0, 0, 0};
			two_blocks(w, chunk, k, c);
			const float2 d = pair_to_f32<TENSOR_F16>(vector_word(&scales, k / 2));
			r0 = fmaf((float)(c[0] * 256 + c[1]), d.x, r0);
			r1 = fmaf((float)(c[2] * 256 + c[3]), d.y, r1);
			if (quants_have_least(T)) {
				const float2 m = pair_to_f32<TENSOR_F16>(vector_word(&least, k / 2));
				const float sum = __uint_as_float(vector_word(&sums.own, k / 2));
				r0 = fmaf(sum, m.x, r0);
				r1 = fmaf(sum, m.y, r1);
			}
		}
		r0 *= quants_unit<T>();
		r1 *= quants_unit<T>();
	}

	/* Q4_K and Q5_K: less than 2^26, summed over a unit. */
	__device__ __forceinline__ void in_parts(const char *unit, const quants_words<T> &w, int chunk, float &r0, float &r1) const
	{
		struct digit_sums<T> sums;
		const struct byte_of_two byte;
		const uint4 *const s = (const uint4 *)unit + threadIdx.x % WARP / 4;
		const uint4 sides[2] = {s[0], s[8]};
		const parts_scales of[2] = {parts_scales(sides[0]), parts_scales(sides[1])};
		int all[4] = {0, 0, 0, 0};
#pragma unroll
		for (int k = 0; k < 8; k += 2) {
			int c[4] = {0, 0, 0, 0};
			two_blocks(w, chunk, k, c);
#pragma unroll
			for (int i = 0; i < 4; i++)
				all[i] += c[i] * byte.of(of[i / 2].scale[k / 4], k % 4);
		}
		sums.load(x.at + sums_at(chunk));
		const float2 d0 = pair_to_f32<TENSOR_F16>(sides[0].x), d1 = pair_to_f32<TENSOR_F16>(sides[1].x);
		r0 = d0.x * fmaf((float)all[0], 256.0f, (float)all[1]) -
		     d0.y * sums.times(second_of_two() ? of[0].least[1] : of[0].least[0]);
		r1 = d1.x * fmaf((float)all[2], 256.0f, (float)all[3]) -
		     d1.y * sums.times(second_of_two() ? of[1].least[1] : of[1].least[0]);
	}

	/* Q6_K: 16 columns have a scale of eight bits; less than 2^30, summed over a unit. */
	__device__ __forceinline__ void by_halves(const char *unit, const quants_words<T> &w, int chunk, float &r0, float &r1) const
	{
		const int g = threadIdx.x % WARP / 4;
		const struct byte_of_two byte;
		const uint4 scales[2] = {((const uint4 *)unit)[g], ((const uint4 *)unit)[g + 8]};
		const float2 d = pair_to_f32<TENSOR_F16>(*(const unsigned *)(unit + tile_d_at(g)));
		int all[4] = {0, 0, 0, 0};
#pragma unroll
		for (int k = 0; k < 8; k++) {
			int c[4] = {0, 0, 0, 0};
			const uint2 b = x.halves(chunk, k);
			multiply_add_s8(c, w.fragment(k, 0), w.fragment(k, 1), w.fragment(k, 2), w.fragment(k, 3), b.x,
					b.y);
#pragma unroll
			for (int i = 0; i < 4; i++)
				all[i] += c[i] * byte.of(vector_word(scales + i / 2, k / 2), k % 2);
		}
		r0 = d.x * quants_unit<T>() * fmaf((float)all[0], 256.0f, (float)all[1]);
		r1 = d.y * quants_unit<T>() * fmaf((float)all[2], 256.0f, (float)all[3]);
	}

	__device__ __forceinline__ void multiply(const char *unit, int chunk)
	{
		quants_words<T> w;
		float r0 = 0.0f, r1 = 0.0f;
		w.load(unit);
		if (quants_in_parts(T))
			in_parts(unit, w, chunk, r0, r1);
		else if (T == TENSOR_Q6_K)
			by_halves(unit, w, chunk, r0, r1);
		else
			alone(unit, w, chunk, r0, r1);
		a = fmaf(r0, x.scale(chunk), a);
		b = fmaf(r1, x.scale(chunk), b);
	}
};

#endif
