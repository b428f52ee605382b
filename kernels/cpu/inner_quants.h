/*
 * Rows of TENSOR_QUANT_TYPES, blocks as files have them, 32 elements at a time: their quants become bytes, in the
 * order of the elements, and scales float32. Included by inner_ISA.c only, after simd.h.
 *
 * A block of 32 elements, fp16 numbers d and m first:
 *
 *     Q4_0, IQ4_NL  d, then 16 bytes: element i in the lower half of byte i, element 16 + i in the upper
 *     Q4_1          d, m, the same 16 bytes
 *     Q5_0, Q5_1    as the two of four bits, but behind d and m a bit 4 of each element, in 32 bits
 *
 * Of 256 elements, in eight parts of 32:
 *
 *     Q4_K          d, m, then 12 bytes of six bits: a scale and a minimum of each part; 4 times 32 bytes: part 2 i in
 *                   the lower halves, part 2 i + 1 in the upper
 *     Q5_K          behind the scales 32 bytes: bit i of byte k is bit 4 of element k of part i
 *     Q6_K          64 bytes for each four parts: bits 0 to 3, the first two in lower halves, the others in upper; then
 *                   32 bytes for each four parts: byte k has bits 4 and 5 of element k of each; then 16 signed scales,
 *                   one for each 16 elements; then d
 *
 * Elements are d * q, or d * q + m; of parts, d and m are first multiplied with the part's scale and minimum, and m
 * subtracted. d times its integers is exact in float32 but for Q6_K's, rounded once: no two ways to compute it.
 */
#ifndef GEMMARK_KERNELS_CPU_INNER_QUANTS_H
#define GEMMARK_KERNELS_CPU_INNER_QUANTS_H

#include "kernels/cpu/inner.h"
#include "kernels/cpu/simd.h"

enum { QUANTS = 32, QUANT_PARTS = 8 };

/* Element i is q[i] * d[i / 16] + m. */
struct quants {
	char q[QUANTS];
	float d[2];
	float m; /* -0, which changes nothing, where the type has none */
};

SIMD_INLINE float quants_f16(const char *p)
{
	uint16_t h;

	memcpy(&h, p, sizeof(h));
#if defined(SIMD_AVX512) || defined(SIMD_AVX2)
	return _cvtsh_ss(h);
#else
	return half_f16_to_f32(h);
#endif
}

SIMD_INLINE size_t quants_block_bytes(int type)
{
	return cpu_row_bytes(type, type == TENSOR_Q4_K || type == TENSOR_Q5_K || type == TENSOR_Q6_K ? 256 : 32, 0);
}

static const char quants_iq4_nl[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

/* ---- bytes: one set of instructions for both of x86's ---- */

#if defined(SIMD_AVX512) || defined(SIMD_AVX2)

/*
 * Through memory, which widening loads take eight at a time: with AVX2 kept from being forwarded in registers, which
 * takes more shuffles, and an instruction that valgrind does not know.
 */
SIMD_INLINE void quants_store(struct quants *to, __m256i q)
{
	_mm256_storeu_si256((__m256i *)to->q, q);
#if !defined(SIMD_AVX512)
	__asm__("" : "+m"(to->q));
#endif
}

/* Of 16 bytes the lower halves, then the upper. */
SIMD_INLINE __m256i quants_halves(const char *p)
{
	const __m128i v = _mm_loadu_si128((const __m128i *)p);

	return _mm256_and_si256(_mm256_inserti128_si256(_mm256_castsi128_si256(v), _mm_srli_epi16(v, 4), 1),
				_mm256_set1_epi8(15));
}

/* Byte i is 16 where bit i is set. */
SIMD_INLINE __m256i quants_bits(const char *p)
{
	const __m256i places =
		_mm256_setr_epi64x(0x0000000000000000, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
	const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201u);
	int32_t bits;

	memcpy(&bits, p, sizeof(bits));
	const __m256i v = _mm256_shuffle_epi8(_mm256_set1_epi32(bits), places);
	return _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(v, bit), bit), _mm256_set1_epi8(16));
}

/* Of 32 bytes so many bits from bit `from` on, at bit `to` of each. */
SIMD_INLINE __m256i quants_field(const char *p, int from, char bits, int to)
{
	const __m256i v = _mm256_srl_epi16(_mm256_loadu_si256((const __m256i *)p), _mm_cvtsi32_si128(from));

	return _mm256_slli_epi16(_mm256_and_si256(v, _mm256_set1_epi8(bits)), to);
}

SIMD_INLINE void quants_small(int type, const char *block, struct quants *to)
{
	const char *p = block + (type == TENSOR_Q4_1 || type == TENSOR_Q5_1 ? 4 : 2);
	__m256i q = quants_halves(type == TENSOR_Q5_0 || type == TENSOR_Q5_1 ? p + 4 : p);

	if (type == TENSOR_Q5_0 || type == TENSOR_Q5_1)
		q = _mm256_or_si256(q, quants_bits(p));
	if (type == TENSOR_Q4_0 || type == TENSOR_Q5_0)
		q = _mm256_sub_epi8(q, _mm256_set1_epi8(type == TENSOR_Q4_0 ? 8 : 16));
	if (type == TENSOR_IQ4_NL)
		q = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)quants_iq4_nl)),
					q);
	quants_store(to, q);
}

SIMD_INLINE void quants_part(int type, const char *block, int part, struct quants *to)
{
	__m256i q;

	if (type == TENSOR_Q6_K) {
		q = quants_field(block + part / 4 * 64 + part % 2 * 32, part % 4 / 2 * 4, 15, 0);
		q = _mm256_or_si256(q, quants_field(block + 128 + part / 4 * 32, part % 4 * 2, 3, 4));
		q = _mm256_sub_epi8(q, _mm256_set1_epi8(32));
	} else {
		q = quants_field(block + (type == TENSOR_Q5_K ? 48 : 16) + part / 2 * 32, part % 2 * 4, 15, 0);
		if (type == TENSOR_Q5_K)
			q = _mm256_or_si256(q, quants_field(block + 16, part, 1, 4));
	}
	quants_store(to, q);
}

#else

SIMD_INLINE void quants_small(int type, const char *block, struct quants *to)
{
	const unsigned char *p = (const unsigned char *)block + (type == TENSOR_Q4_1 || type == TENSOR_Q5_1 ? 4 : 2);
	const int five = type == TENSOR_Q5_0 || type == TENSOR_Q5_1;
	const int zero = type == TENSOR_Q4_0 ? 8 : type == TENSOR_Q5_0 ? 16 : 0;

	for (int i = 0; i < QUANTS; i++) {
		int q = p[(five ? 4 : 0) + i % 16] >> (i / 16 * 4) & 15;

		if (five)
			q |= (p[i / 8] >> i % 8 & 1) << 4;
		to->q[i] = type == TENSOR_IQ4_NL ? quants_iq4_nl[q] : (char)(q - zero);
	}
}

SIMD_INLINE void quants_part(int type, const char *block, int part, struct quants *to)
{
	const unsigned char *p = (const unsigned char *)block;

	for (int i = 0; i < QUANTS; i++) {
		if (type == TENSOR_Q6_K) {
			const int low = p[part / 4 * 64 + part % 2 * 32 + i] >> (part % 4 / 2 * 4) & 15;
			const int high = p[128 + part / 4 * 32 + i] >> (part % 4 * 2) & 3;

			to->q[i] = (char)((low | high << 4) - 32);
		} else {
			const int low = p[(type == TENSOR_Q5_K ? 48 : 16) + part / 2 * 32 + i] >> (part % 2 * 4) & 15;

			to->q[i] = (char)(type == TENSOR_Q5_K ? low | (p[16 + i] >> part & 1) << 4 : low);
		}
	}
}

#endif

/* ---- scales ---- */

/* Six bits each: parts 0 to 3 have a byte, the others their upper two bits above those. */
SIMD_INLINE void quants_scales(const char *block, int part, struct quants *to)
{
	const unsigned char *s = (const unsigned char *)block + 4;
	const int scale = part < 4 ? s[part] & 63 : (s[part + 4] & 15) | s[part - 4] >> 6 << 4;
	const int least = part < 4 ? s[part + 4] & 63 : s[part + 4] >> 4 | s[part] >> 6 << 4;

	to->d[0] = to->d[1] = quants_f16(block) * (float)scale;
	to->m = -(quants_f16(block + 2) * (float)least);
}

SIMD_INLINE int quants_parts(int type)
{
	return type == TENSOR_Q4_K || type == TENSOR_Q5_K || type == TENSOR_Q6_K ? QUANT_PARTS : 1;
}

SIMD_INLINE size_t quants_elements(int type)
{
	return (size_t)quants_parts(type) * QUANTS;
}

/* Part `part` of a row's block i, as files have them. */
SIMD_INLINE void quants_load(int type, const char *row, size_t i, int part, struct quants *to)
{
	const char *block = row + i * quants_block_bytes(type);

	if (quants_parts(type) > 1) {

		quants_part(type, block, part, to);
		if (type != TENSOR_Q6_K) {
			quants_scales(block, part, to);
			return;
		}
		const float d = quants_f16(block + 208);
		to->d[0] = d * (float)(signed char)block[192 + 2 * part];
		to->d[1] = d * (float)(signed char)block[193 + 2 * part];
		to->m = -0.0f;
		return;
	}
	quants_small(type, block, to);
	to->d[0] = to->d[1] = quants_f16(block);
	to->m = type == TENSOR_Q4_1 || type == TENSOR_Q5_1 ? quants_f16(block + 2) : -0.0f;
}

/* Elements i .. i + VEC. */
SIMD_INLINE vec quants_vec(const struct quants *b, int i)
{
	return vec_fma(vec_load_i8(b->q + i), vec_set1(b->d[i / 16]), vec_set1(b->m));
}

SIMD_INLINE void quants_to_f32(int type, const char *row, float *dst, size_t n)
{
	const size_t parts = (size_t)quants_parts(type);

	for (size_t b = 0; b < n / QUANTS; b++) {
		struct quants block;

		quants_load(type, row, b / parts, (int)(b % parts), &block);
		for (int i = 0; i < QUANTS; i += VEC)
			vec_store(dst + b * QUANTS + i, quants_vec(&block, i));
	}
}

#endif
