/*
 * Products of rows of TENSOR_QUANT_TYPES with activations that are digits (inner.h): for processors that multiply
 * bytes. Included by inner_avx512vnni.c only.
 *
 * A unit is 256 elements: eight blocks, or one of eight parts. Its quants become four registers of bytes without a
 * sign, eight of each block's 32 elements in each; a lane of 32 bits sums the products of all four with 16 elements'
 * digits, which the top digit begins: sum = (sum << 8) + the next's. That is exact: 16 * 15 * 8355711 < 2^31. So is
 * what bytes are off by, where quants have a zero in their midst: less that times the sum of the lane's activations.
 * Then the sum becomes a float, is scaled by its block of activations, exactly, and added times its block of weights;
 * nothing is summed across a register before a span's end.
 *
 *     Q6_K                a scale has 16 elements: two registers' sums
 *     Q5_1, Q5_K, IQ4_NL  too much for 32 bits: the last digit's sum apart, added to the others' times 256 in float32
 *
 * Minima are multiplied with the lanes' sums of activations.
 */
#ifndef GEMMARK_KERNELS_CPU_INNER_DIGITS_H
#define GEMMARK_KERNELS_CPU_INNER_DIGITS_H

#include "kernels/cpu/inner.h"
#include "kernels/cpu/inner_quants.h"
#include "kernels/cpu/simd.h"

enum { UNIT = CPU_DIGITS_UNIT, UNIT_BLOCKS = UNIT / QUANTS, UNIT_BYTES_MOST = UNIT_BLOCKS * 24 };

/* ---- activations ---- */

/* What a block's integers are multiplied with: a power of two that leaves them 127 * (2^16 + 2^8 + 1) at most. */
SIMD_INLINE float digits_scale(float greatest, int *power)
{
	const float above = greatest * 1.00394f;
	uint32_t bits;
	float scale;

	memcpy(&bits, &above, sizeof(bits));
	bits >>= 23;
	bits += !bits;
	*power = (int)bits - 149;
	bits = bits < 23 ? 1u << bits : (bits - 22) << 23;
	memcpy(&scale, &bits, sizeof(scale));
	return scale;
}

/* Where a unit's block is: the eighth of a register. */
SIMD_INLINE int unit_place(int block)
{
	return block < UNIT_BLOCKS / 2 ? 2 * block : 2 * (block - UNIT_BLOCKS / 2) + 1;
}

/* Elements of a block's half as integers to its digits. */
SIMD_INLINE void digits_store(__m512i x, struct cpu_digits *to, int half, int block)
{
	const int at = 8 * unit_place(block);

	for (int i = CPU_DIGITS - 1; i >= 0; i--) {
		const __m128i bytes = _mm512_cvtepi32_epi8(x);

		_mm_storel_epi64((__m128i *)&to->digit[i][2 * half][at], bytes);
		_mm_storel_epi64((__m128i *)&to->digit[i][2 * half + 1][at], _mm_unpackhi_epi64(bytes, bytes));
		x = _mm512_srai_epi32(_mm512_add_epi32(x, _mm512_set1_epi32(128)), 8);
	}
}

SIMD_INLINE void digits_block(vec a, vec b, struct cpu_digits *to, int block)
{
	enum { OTHER = 0x99 }; /* NaN and infinity */
	const __m512 greatest = _mm512_max_ps(_mm512_abs_ps(a), _mm512_abs_ps(b));
	int power;
	float scale = digits_scale(_mm512_reduce_max_ps(greatest), &power);

	if (_mm512_fpclass_ps_mask(a, OTHER) | _mm512_fpclass_ps_mask(b, OTHER)) {
		scale = NAN;
		a = b = vec_zero();
	}
	to->scale[2 * unit_place(block)] = to->scale[2 * unit_place(block) + 1] = scale;
	const vec by = vec_set1((float)-power);
	digits_store(_mm512_cvtps_epi32(_mm512_scalef_ps(a, by)), to, 0, block);
	digits_store(_mm512_cvtps_epi32(_mm512_scalef_ps(b, by)), to, 1, block);
}

/* ---- a unit of weights ---- */

/* Element 8 i + j of a block is in q[i]. */
struct unit {
	__m512i q[4];
	vec d[2]; /* Q6_K: of the first two and of the others; else d[0] of all */
	vec m;    /* the minima, of types that have them */
};

/* The lanes' sums of digits first .. last, of registers k0 .. k1. */
SIMD_INLINE __m512i unit_sums(const struct unit *u, const struct cpu_digits *x, int first, int last, int k0, int k1)
{
	__m512i sum = _mm512_setzero_si512();

	for (int i = first; i <= last; i++) {
		if (i > first)
			sum = _mm512_slli_epi32(sum, 8);
		for (int k = k0; k <= k1; k++)
			sum = _mm512_dpbusd_epi32(sum, u->q[k], _mm512_load_si512(x->digit[i][k]));
	}
	return sum;
}

SIMD_INLINE void digits_sums(struct cpu_digits *x)
{
	const __m512i one = _mm512_set1_epi8(1);
	const struct unit ones = {.q = {one, one, one, one}};
	const int last = CPU_DIGITS - 1;
	__m512i sum[2];

	for (int h = 0; h < 2; h++) {
		sum[h] = unit_sums(&ones, x, 0, last, 2 * h, 2 * h + 1);
		_mm512_store_si512(x->halves[h], sum[h]);
	}
	sum[0] = _mm512_add_epi32(sum[0], sum[1]);
	_mm512_store_si512(x->both, sum[0]);
	_mm512_store_si512(x->last, unit_sums(&ones, x, last, last, 0, 3));
	vec_store(x->sums, vec_mul(_mm512_cvtepi32_ps(sum[0]), vec_load(x->scale)));
}

static void digits_from_f32(const float *x, size_t n, struct cpu_digits *to)
{
	for (size_t k = 0; k < n; k += UNIT, to++) {
		for (int b = 0; b < UNIT_BLOCKS; b++) {
			const float *at = x + k + b * QUANTS;
			const int there = k + (size_t)b * QUANTS < n;

			digits_block(there ? vec_load(at) : vec_zero(), there ? vec_load(at + VEC) : vec_zero(), to, b);
		}
		digits_sums(to);
	}
}

SIMD_INLINE int unit_has_five(int type)
{
	return type == TENSOR_Q5_0 || type == TENSOR_Q5_1;
}

SIMD_INLINE int unit_has_least(int type)
{
	return type == TENSOR_Q4_1 || type == TENSOR_Q5_1;
}

/* What bytes are off by, the exponent of two; 0: by nothing. */
SIMD_INLINE int unit_zero(int type)
{
	return type == TENSOR_Q4_0     ? 3
	       : type == TENSOR_Q5_0   ? 4
	       : type == TENSOR_Q6_K   ? 5
	       : type == TENSOR_IQ4_NL ? 7
				       : 0;
}

SIMD_INLINE size_t unit_bytes(int type)
{
	return cpu_row_bytes(type, UNIT, 0);
}

/* A number for each pair of 32-bit lanes. */
SIMD_INLINE __m512i unit_pairs(int a, int b, int c, int d, int e, int f, int g, int h)
{
	return _mm512_setr_epi32(a, a, b, b, c, c, d, d, e, e, f, f, g, g, h, h);
}

/* Of four blocks with so many words each, words at .. at + 7 of each, of the first 64 bytes and of the last. */
SIMD_INLINE __m512i blocks_words(int words, int at, const char *p)
{
	const int behind = 4 * words - 32;
	short from[32];

#pragma GCC unroll 32
	for (int i = 0; i < 32; i++) {
		const int word = i / 8 * words + at + i % 8;

		from[i] = (short)(word < 32 ? word : word - behind + 32);
	}
	return _mm512_permutex2var_epi16(_mm512_loadu_si512(p), _mm512_loadu_si512(from),
					 _mm512_loadu_si512(p + 2 * behind));
}

/* A block's scale, and its minimum, in v and other: blocks have so many words, those of `other` begin behind v's. */
SIMD_INLINE void blocks_scales(int type, __m512i v, __m512i other, int words, int step, struct unit *u)
{
	const short a = (short)words, b = (short)(2 * words), c = (short)(3 * words), s = (short)step;
	const __m256i first = _mm256_setr_epi16(0, 0, s, s, a, a, (short)(a + s), (short)(a + s), b, b, (short)(b + s),
						(short)(b + s), c, c, (short)(c + s), (short)(c + s));
	const __m512i from =
		_mm512_inserti64x4(_mm512_castsi256_si512(first), _mm256_add_epi16(first, _mm256_set1_epi16(1)), 1);
	const __m512i scales = _mm512_permutex2var_epi16(v, from, other);

	u->d[0] = u->d[1] = _mm512_cvtph_ps(_mm512_castsi512_si256(scales));
	if (unit_has_least(type))
		u->m = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(scales, 1));
}

/* Byte k of eight is 16 where bit k of byte `at` of eight is set. */
SIMD_INLINE __m512i blocks_five(__m512i q, __m512i heads, int at)
{
	const __m512i bit = _mm512_set1_epi64((long long)0x8040201008040201u);
	const int one = at * 0x01010101, other = one + 0x08080808;
	const __m512i byte = _mm512_broadcast_i32x4(_mm_setr_epi32(one, one, other, other));

	return _mm512_mask_add_epi8(q, _mm512_test_epi8_mask(_mm512_shuffle_epi8(heads, byte), bit), q,
				    _mm512_set1_epi8(16));
}

SIMD_INLINE void blocks_unit(int type, const char *p, struct unit *u)
{
	const int words = (int)quants_block_bytes(type) / 2;
	const char *behind = p + 8 * words;
	const __m512i four = _mm512_set1_epi8(15);
	const __m512i a = blocks_words(words, words - 8, p), b = blocks_words(words, words - 8, behind);
	const __m512i v0 = _mm512_unpacklo_epi64(a, b), v1 = _mm512_unpackhi_epi64(a, b);

	u->q[0] = _mm512_and_si512(v0, four);
	u->q[1] = _mm512_and_si512(v1, four);
	u->q[2] = _mm512_and_si512(_mm512_srli_epi16(v0, 4), four);
	u->q[3] = _mm512_and_si512(_mm512_srli_epi16(v1, 4), four);
	if (type == TENSOR_IQ4_NL) {
		const __m128i steps = _mm_loadu_si128((const __m128i *)quants_iq4_nl);
		const __m512i table = _mm512_broadcast_i32x4(_mm_xor_si128(steps, _mm_set1_epi8(-128)));

		for (int k = 0; k < 4; k++)
			u->q[k] = _mm512_shuffle_epi8(table, u->q[k]);
	}
	if (unit_has_five(type)) {
		const __m512i heads = _mm512_unpacklo_epi64(blocks_words(words, 0, p), blocks_words(words, 0, behind));

		for (int k = 0; k < 4; k++)
			u->q[k] = blocks_five(u->q[k], heads, (type == TENSOR_Q5_1 ? 4 : 2) + k);
		blocks_scales(type, heads, heads, 8, 4, u);
	} else {
		blocks_scales(type, _mm512_loadu_si512(p), _mm512_loadu_si512(behind), words, 32, u);
	}
}

/* Q4_K, Q5_K: a block's eight scales, then its minima; Q6_K: its 16 scales. */
SIMD_INLINE vec parts_scales(int type, const char *block)
{
	if (type == TENSOR_Q6_K) {
		const __m512i s = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(block + 192)));

		return vec_mul(_mm512_cvtepi32_ps(s), vec_set1_f16(block + 208));
	}
	const __m512i d_m = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
	uint32_t s[4];
	memcpy(s, block, sizeof(s));
	const uint32_t scale = (s[3] & 0x0f0f0f0f) | (s[1] >> 2 & 0x30303030);
	const uint32_t least = (s[3] >> 4 & 0x0f0f0f0f) | (s[2] >> 2 & 0x30303030);
	const uint64_t scales = (s[1] & 0x3f3f3f3f) | (uint64_t)scale << 32;
	const uint64_t minima = (s[2] & 0x3f3f3f3f) | (uint64_t)least << 32;
	const __m128 both = _mm_cvtph_ps(_mm_cvtsi32_si128((int)s[0]));
	const __m512i q = _mm512_cvtepu8_epi32(_mm_set_epi64x((long long)minima, (long long)scales));
	return vec_mul(_mm512_cvtepi32_ps(q), _mm512_permutexvar_ps(d_m, _mm512_castps128_ps512(both)));
}

/* Of two times 64 bytes of four bits: eights of 32 bytes, shifted where they are upper halves. */
SIMD_INLINE void parts_low(int type, const char *p, struct unit *u)
{
	const int six = type == TENSOR_Q6_K; /* parts 1 and 2 are not where other types have them */
	const __m512i v0 = _mm512_loadu_si512(p), v1 = _mm512_loadu_si512(p + 64);
	const __m512i by = six ? _mm512_setr_epi64(0, 0, 0, 0, 4, 4, 4, 4) : _mm512_setr_epi64(0, 0, 4, 4, 0, 0, 4, 4);

	for (int k = 0; k < 4; k++) {
		const long long a = k, b = 8 + k, c = 4 + k, d = 12 + k;
		const __m512i from =
			six ? _mm512_setr_epi64(a, b, c, d, a, b, c, d) : _mm512_setr_epi64(a, b, a, b, c, d, c, d);
		const __m512i v = _mm512_permutex2var_epi64(v0, from, v1);

		u->q[k] = _mm512_and_si512(_mm512_srlv_epi64(v, by), _mm512_set1_epi8(15));
	}
}

/* q, and those bits of v, after it has been rotated. */
SIMD_INLINE __m512i parts_high(__m512i q, __m512i v, __m512i by, char bits)
{
	return _mm512_ternarylogic_epi64(q, _mm512_rolv_epi64(v, by), _mm512_set1_epi8(bits), 0xf8);
}

SIMD_INLINE void parts_unit(int type, const char *block, struct unit *u)
{
	const vec scales = parts_scales(type, block);

	parts_low(type, block + (type == TENSOR_Q4_K ? 16 : type == TENSOR_Q5_K ? 48 : 0), u);
	if (type == TENSOR_Q6_K) {
		const __m512i by = _mm512_setr_epi64(4, 4, 2, 2, 0, 0, 62, 62), high = _mm512_loadu_si512(block + 128);

		for (int k = 0; k < 4; k++) {
			const long long a = k, b = 4 + k;
			const __m512i v = _mm512_permutexvar_epi64(_mm512_setr_epi64(a, b, a, b, a, b, a, b), high);

			u->q[k] = parts_high(u->q[k], v, by, 0x30);
		}
		for (int h = 0; h < 2; h++)
			u->d[h] = _mm512_permutexvar_ps(
				unit_pairs(h, 8 + h, 2 + h, 10 + h, 4 + h, 12 + h, 6 + h, 14 + h), scales);
		return;
	}
	for (int k = 0; k < 4 && type == TENSOR_Q5_K; k++) {
		const __m512i by = _mm512_setr_epi64(4, 0, 3, 63, 2, 62, 1, 61);
		long long eight;

		memcpy(&eight, block + 16 + 8 * k, sizeof(eight));
		u->q[k] = parts_high(u->q[k], _mm512_set1_epi64(eight), by, 16);
	}
	u->d[0] = u->d[1] = _mm512_permutexvar_ps(unit_pairs(0, 4, 1, 5, 2, 6, 3, 7), scales);
	u->m = _mm512_permutexvar_ps(unit_pairs(8, 12, 9, 13, 10, 14, 11, 15), scales);
}

/* ---- products ---- */

/* Less what bytes are off by. */
SIMD_INLINE __m512i unit_less(int type, __m512i sum, __m512i x)
{
	return unit_zero(type) ? _mm512_sub_epi32(sum, _mm512_slli_epi32(x, (unsigned)unit_zero(type))) : sum;
}

/* All digits' sums, where they are too much for 32 bits. */
SIMD_INLINE vec unit_great(int type, const struct unit *u, const struct cpu_digits *x)
{
	const int last = CPU_DIGITS - 1;
	const __m512i low = _mm512_load_si512(x->last);
	const __m512i high = _mm512_srai_epi32(_mm512_sub_epi32(_mm512_load_si512(x->both), low), 8);
	const __m512i q0 = unit_less(type, unit_sums(u, x, 0, last - 1, 0, 3), high);
	const __m512i q1 = unit_less(type, unit_sums(u, x, last, last, 0, 3), low);

	return vec_fma(_mm512_cvtepi32_ps(q0), vec_set1(256), _mm512_cvtepi32_ps(q1));
}

SIMD_INLINE vec unit_dot(int type, const struct unit *u, const struct cpu_digits *x, vec sum)
{
	const vec scale = vec_load(x->scale);
	const int last = CPU_DIGITS - 1;
	vec q;

	if (type == TENSOR_Q6_K) {
		for (int h = 0; h < 2; h++) {
			const __m512i half = unit_sums(u, x, 0, last, 2 * h, 2 * h + 1);

			q = _mm512_cvtepi32_ps(unit_less(type, half, _mm512_load_si512(x->halves[h])));
			sum = vec_fma(vec_mul(q, scale), u->d[h], sum);
		}
		return sum;
	}
	if (type == TENSOR_IQ4_NL || type == TENSOR_Q5_1 || type == TENSOR_Q5_K)
		q = unit_great(type, u, x);
	else
		q = _mm512_cvtepi32_ps(unit_less(type, unit_sums(u, x, 0, last, 0, 3), _mm512_load_si512(x->both)));
	sum = vec_fma(vec_mul(q, scale), u->d[0], sum);
	if (unit_has_least(type))
		sum = vec_fma(u->m, vec_load(x->sums), sum);
	if (type == TENSOR_Q4_K || type == TENSOR_Q5_K) /* subtracted */
		sum = _mm512_fnmadd_ps(u->m, vec_load(x->sums), sum);
	return sum;
}

enum { DIGIT_ROWS = 4 };

/* Units u0 .. u1 of n_rows rows, p their starts, times x's: sum, set. */
SIMD_INLINE void units_dot(int type, int n_rows, size_t n_in, const char *const *p, size_t u0, size_t u1, size_t ahead,
			   const struct cpu_digits *x, vec *sum)
{
	const size_t bytes = unit_bytes(type);
	const int parts = quants_parts(type) > 1;
	char rest[DIGIT_ROWS][UNIT_BYTES_MOST];
	const char *at[DIGIT_ROWS];

	for (int r = 0; r < n_rows; r++) {
		at[r] = p[r] + u0 * bytes;
		sum[r] = vec_zero();
	}
	for (size_t k = u0; k < u1; k++) {
		if (!parts && k == n_in / UNIT)
			for (int r = 0; r < n_rows; r++) {
				memset(rest[r], 0, sizeof(rest[r]));
				memcpy(rest[r], at[r], cpu_row_bytes(type, n_in % UNIT, 0));
				at[r] = rest[r];
			}
		else
			for (int r = 0; r < n_rows; r++)
				for (size_t line = 0; line < bytes; line += 64)
					__builtin_prefetch(at[r] + line + ahead, 0, 2);
#pragma GCC unroll 4
		for (int r = 0; r < n_rows; r++) {
			struct unit u;

			if (parts)
				parts_unit(type, at[r], &u);
			else
				blocks_unit(type, at[r], &u);
			sum[r] = unit_dot(type, &u, x + k, sum[r]);
			at[r] += bytes;
		}
	}
}

SIMD_INLINE void digits_rows(int type, int n_rows, const struct weight *w, size_t row, const struct cpu_digits *x,
			     float *y)
{
	const size_t n_in = (size_t)w->n_in, n_units = cpu_digits_units(w);
	const size_t ahead = cpu_row_bytes(type, n_in, 0) * DIGIT_ROWS;
	const char *p[DIGIT_ROWS];

	for (int r = 0; r < n_rows; r++)
		p[r] = cpu_weight_row(w, row + (size_t)r);
	for (size_t k = 0; k < n_units; k += CPU_DIGITS_SPAN) {
		vec sum[DIGIT_ROWS];

		units_dot(type, n_rows, n_in, p, k, n_units - k < CPU_DIGITS_SPAN ? n_units : k + CPU_DIGITS_SPAN,
			  ahead, x, sum);
		for (int r = 0; r < n_rows; r++)
			y[r] = k ? y[r] + vec_sum(sum[r]) : vec_sum(sum[r]);
	}
}

SIMD_INLINE void digits_product(int type, const struct weight *w, size_t row, size_t n_rows, const struct cpu_digits *x,
				float *y)
{
	size_t i = 0;

	for (; i + DIGIT_ROWS <= n_rows; i += DIGIT_ROWS)
		digits_rows(type, DIGIT_ROWS, w, row + i, x, y + i);
	for (; i < n_rows; i++)
		digits_rows(type, 1, w, row + i, x, y + i);
}

static void digits_multiply(const struct weight *w, size_t row, size_t n_rows, const struct cpu_digits *x, float *y)
{
	switch (w->type) {
#define X(NAME, word, number, block, block_bytes, file_type, a, b)   \
	case TENSOR_##NAME:                                          \
		digits_product(TENSOR_##NAME, w, row, n_rows, x, y); \
		break;
		TENSOR_QUANT_TYPES(X, , )
#undef X
	}
}

#endif
