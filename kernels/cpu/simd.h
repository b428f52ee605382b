/*
 * One float vector and what the inner routines do with it, for the instruction set that
 * the including file names: SIMD_AVX512, SIMD_AVX2, or neither for the portable path
 * (the compiler's own vectors of four, which every target lowers).
 *
 * max and min return the second operand where either is NaN, on every path.
 */
#ifndef GEMMARK_KERNELS_CPU_SIMD_H
#define GEMMARK_KERNELS_CPU_SIMD_H

#include <stdint.h>
#include <string.h>

#include "kernels/cpu/half.h"

#define SIMD_INLINE static inline __attribute__((always_inline))

#if defined(SIMD_AVX512)

#include <immintrin.h>

enum { VEC = 16 };
typedef __m512 vec;

SIMD_INLINE vec vec_set1(float a)
{
	return _mm512_set1_ps(a);
}
SIMD_INLINE vec vec_load(const float *p)
{
	return _mm512_loadu_ps(p);
}
SIMD_INLINE void vec_store(float *p, vec a)
{
	_mm512_storeu_ps(p, a);
}
SIMD_INLINE vec vec_add(vec a, vec b)
{
	return _mm512_add_ps(a, b);
}
SIMD_INLINE vec vec_sub(vec a, vec b)
{
	return _mm512_sub_ps(a, b);
}
SIMD_INLINE vec vec_mul(vec a, vec b)
{
	return _mm512_mul_ps(a, b);
}
SIMD_INLINE vec vec_div(vec a, vec b)
{
	return _mm512_div_ps(a, b);
}
SIMD_INLINE vec vec_fma(vec a, vec b, vec c)
{
	return _mm512_fmadd_ps(a, b, c);
}
SIMD_INLINE vec vec_max(vec a, vec b)
{
	return _mm512_max_ps(a, b);
}
SIMD_INLINE vec vec_min(vec a, vec b)
{
	return _mm512_min_ps(a, b);
}
SIMD_INLINE vec vec_round(vec a)
{
	return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/* a * 2^n for an integral n that keeps the result normal */
SIMD_INLINE vec vec_ldexp(vec a, vec n)
{
	return _mm512_castsi512_ps(
		_mm512_add_epi32(_mm512_castps_si512(a), _mm512_slli_epi32(_mm512_cvtps_epi32(n), 23)));
}
/* a < b ? x : y */
SIMD_INLINE vec vec_if_less(vec a, vec b, vec x, vec y)
{
	return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), y, x);
}
SIMD_INLINE vec vec_load_f16(const void *p)
{
	return _mm512_cvtph_ps(_mm256_loadu_si256(p));
}
SIMD_INLINE vec vec_load_bf16(const void *p)
{
	return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(p)), 16));
}
SIMD_INLINE vec vec_load_i8(const void *p)
{
	return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(p)));
}
SIMD_INLINE vec vec_set1_f16(const void *p)
{
	int16_t h;

	memcpy(&h, p, sizeof(h));
	return _mm512_cvtph_ps(_mm256_set1_epi16(h));
}
SIMD_INLINE void vec_store_f16(void *p, vec a)
{
	_mm256_storeu_si256(p, _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

#elif defined(SIMD_AVX2)

#include <immintrin.h>

enum { VEC = 8 };
typedef __m256 vec;

SIMD_INLINE vec vec_set1(float a)
{
	return _mm256_set1_ps(a);
}
SIMD_INLINE vec vec_load(const float *p)
{
	return _mm256_loadu_ps(p);
}
SIMD_INLINE void vec_store(float *p, vec a)
{
	_mm256_storeu_ps(p, a);
}
SIMD_INLINE vec vec_add(vec a, vec b)
{
	return _mm256_add_ps(a, b);
}
SIMD_INLINE vec vec_sub(vec a, vec b)
{
	return _mm256_sub_ps(a, b);
}
SIMD_INLINE vec vec_mul(vec a, vec b)
{
	return _mm256_mul_ps(a, b);
}
SIMD_INLINE vec vec_div(vec a, vec b)
{
	return _mm256_div_ps(a, b);
}
SIMD_INLINE vec vec_fma(vec a, vec b, vec c)
{
	return _mm256_fmadd_ps(a, b, c);
}
SIMD_INLINE vec vec_max(vec a, vec b)
{
	return _mm256_max_ps(a, b);
}
SIMD_INLINE vec vec_min(vec a, vec b)
{
	return _mm256_min_ps(a, b);
}
SIMD_INLINE vec vec_round(vec a)
{
	return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
SIMD_INLINE vec vec_ldexp(vec a, vec n)
{
	return _mm256_castsi256_ps(
		_mm256_add_epi32(_mm256_castps_si256(a), _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23)));
}
SIMD_INLINE vec vec_if_less(vec a, vec b, vec x, vec y)
{
	return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}
SIMD_INLINE vec vec_load_f16(const void *p)
{
	return _mm256_cvtph_ps(_mm_loadu_si128(p));
}
SIMD_INLINE vec vec_load_bf16(const void *p)
{
	return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(p)), 16));
}
SIMD_INLINE vec vec_load_i8(const void *p)
{
	return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(p)));
}
SIMD_INLINE vec vec_set1_f16(const void *p)
{
	int16_t h;

	memcpy(&h, p, sizeof(h));
	return _mm256_cvtph_ps(_mm_set1_epi16(h));
}
SIMD_INLINE void vec_store_f16(void *p, vec a)
{
	_mm_storeu_si128(p, _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

#else

enum { VEC = 4 };
typedef float vec __attribute__((vector_size(16)));
typedef int32_t vec_int __attribute__((vector_size(16)));
typedef uint32_t vec_bits __attribute__((vector_size(16)));

SIMD_INLINE vec vec_set1(float a)
{
	return (vec){a, a, a, a};
}
SIMD_INLINE vec vec_load(const float *p)
{
	vec v;

	memcpy(&v, p, sizeof(v));
	return v;
}
SIMD_INLINE void vec_store(float *p, vec a)
{
	memcpy(p, &a, sizeof(a));
}
SIMD_INLINE vec vec_add(vec a, vec b)
{
	return a + b;
}
SIMD_INLINE vec vec_sub(vec a, vec b)
{
	return a - b;
}
SIMD_INLINE vec vec_mul(vec a, vec b)
{
	return a * b;
}
SIMD_INLINE vec vec_div(vec a, vec b)
{
	return a / b;
}
SIMD_INLINE vec vec_fma(vec a, vec b, vec c)
{
	return a * b + c;
}
SIMD_INLINE vec vec_select(vec_int mask, vec x, vec y)
{
	return (vec)((mask & (vec_int)x) | (~mask & (vec_int)y));
}
SIMD_INLINE vec vec_max(vec a, vec b)
{
	return vec_select(a > b, a, b);
}
SIMD_INLINE vec vec_min(vec a, vec b)
{
	return vec_select(a < b, a, b);
}
/* |a| < 2^22 */
SIMD_INLINE vec vec_round(vec a)
{
	const vec magic = vec_set1(0x1.8p23f);

	return (a + magic) - magic;
}
SIMD_INLINE vec vec_ldexp(vec a, vec n)
{
	return (vec)((vec_bits)a + ((vec_bits) __builtin_convertvector(n, vec_int) << 23));
}
SIMD_INLINE vec vec_if_less(vec a, vec b, vec x, vec y)
{
	return vec_select(a < b, x, y);
}
SIMD_INLINE vec vec_load_f16(const void *p)
{
	uint16_t h[4];

	memcpy(h, p, sizeof(h));
	return (vec){half_f16_to_f32(h[0]), half_f16_to_f32(h[1]), half_f16_to_f32(h[2]), half_f16_to_f32(h[3])};
}
SIMD_INLINE vec vec_load_bf16(const void *p)
{
	uint16_t h[4];

	memcpy(h, p, sizeof(h));
	return (vec){half_bf16_to_f32(h[0]), half_bf16_to_f32(h[1]), half_bf16_to_f32(h[2]), half_bf16_to_f32(h[3])};
}
SIMD_INLINE vec vec_load_i8(const void *p)
{
	const int8_t *q = p;

	return (vec){q[0], q[1], q[2], q[3]};
}
SIMD_INLINE vec vec_set1_f16(const void *p)
{
	uint16_t h;

	memcpy(&h, p, sizeof(h));
	return vec_set1(half_f16_to_f32(h));
}
SIMD_INLINE void vec_store_f16(void *p, vec a)
{
	uint16_t h[4] = {half_f32_to_f16(a[0]), half_f32_to_f16(a[1]), half_f32_to_f16(a[2]), half_f32_to_f16(a[3])};

	memcpy(p, h, sizeof(h));
}

#endif

/* Keeps a loaded vector in a register, where the compiler would repeat the load in every use. */
#if defined(SIMD_AVX512)
#define VEC_KEEP(a) __asm__("" : "+v"(a))
#elif defined(SIMD_AVX2)
#define VEC_KEEP(a) __asm__("" : "+x"(a))
#else
#define VEC_KEEP(a) (void)(a)
#endif

SIMD_INLINE vec vec_zero(void)
{
	return vec_set1(0.0f);
}

/* The first n < VEC elements, zeros after them. */
SIMD_INLINE vec vec_load_part(const float *p, size_t n)
{
	float part[VEC] = {0};

	memcpy(part, p, n * sizeof(*p));
	return vec_load(part);
}

SIMD_INLINE void vec_store_part(float *p, vec a, size_t n)
{
	float part[VEC];

	vec_store(part, a);
	memcpy(p, part, n * sizeof(*p));
}

#if defined(SIMD_AVX512) || defined(SIMD_AVX2)
/* Sums of four lanes each in pairs, then the lanes: the order is the same for one vector and for many. */
SIMD_INLINE float vec_sum(vec a)
{
#if defined(SIMD_AVX512)
	__m256 h = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
#else
	__m256 h = a;
#endif
	__m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));

	q = _mm_add_ps(q, _mm_movehl_ps(q, q));
	return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}

/* Four sums at once: fewer instructions, the same additions, so the same bits. */
SIMD_INLINE __m128 vec_sum4(vec a, vec b, vec c, vec d)
{
#if defined(SIMD_AVX512)
	const __m512 ab = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
	const __m512 cd = _mm512_add_ps(_mm512_shuffle_f32x4(c, d, 0x44), _mm512_shuffle_f32x4(c, d, 0xee));
	__m512 q = _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));

	q = _mm512_add_ps(q, _mm512_permute_ps(q, 0x4e));
	q = _mm512_add_ps(q, _mm512_permute_ps(q, 0xb1));
	return _mm512_castps512_ps128(_mm512_maskz_compress_ps(0x1111, q));
#else
	const __m256 ab = _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
	const __m256 cd = _mm256_add_ps(_mm256_permute2f128_ps(c, d, 0x20), _mm256_permute2f128_ps(c, d, 0x31));
	__m256 q = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xee));

	q = _mm256_add_ps(q, _mm256_movehdup_ps(q)); /* a . c . | b . d . */
	q = _mm256_shuffle_ps(q, q, 0x88);
	return _mm_unpacklo_ps(_mm256_castps256_ps128(q), _mm256_extractf128_ps(q, 1));
#endif
}

SIMD_INLINE void vec_sum4_store(float *dst, vec a, vec b, vec c, vec d)
{
	_mm_storeu_ps(dst, vec_sum4(a, b, c, d));
}
#else
SIMD_INLINE float vec_sum(vec a)
{
	return (a[0] + a[2]) + (a[1] + a[3]);
}
SIMD_INLINE void vec_sum4_store(float *dst, vec a, vec b, vec c, vec d)
{
	dst[0] = vec_sum(a);
	dst[1] = vec_sum(b);
	dst[2] = vec_sum(c);
	dst[3] = vec_sum(d);
}
#endif

/*
 * VEC sums side by side for products of int8: the lanes of one vec, so the same bits, but on AVX-512 in two halves.
 * Widening and converting in 256 bits took 1.7 ns a block of 32 where 512 took 2.5 (Zen 4).
 */
#if defined(SIMD_AVX512)
struct lanes {
	__m256 lo;
	__m256 hi;
};
typedef __m256 lanes_scale;

SIMD_INLINE struct lanes lanes_zero(void)
{
	return (struct lanes){_mm256_setzero_ps(), _mm256_setzero_ps()};
}
SIMD_INLINE lanes_scale lanes_load_scale(const void *p)
{
	int16_t h;

	memcpy(&h, p, sizeof(h));
	return _mm256_cvtph_ps(_mm_set1_epi16(h));
}
SIMD_INLINE __m256 lanes_weights(const char *q, lanes_scale d)
{
	return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)q))), d);
}
/* a += q * d * x */
SIMD_INLINE struct lanes lanes_add(struct lanes a, const char *q, lanes_scale d, const float *x)
{
	a.lo = _mm256_fmadd_ps(lanes_weights(q, d), _mm256_loadu_ps(x), a.lo);
	a.hi = _mm256_fmadd_ps(lanes_weights(q + 8, d), _mm256_loadu_ps(x + 8), a.hi);
	return a;
}
SIMD_INLINE vec lanes_vec(struct lanes a)
{
	return _mm512_insertf32x8(_mm512_castps256_ps512(a.lo), a.hi, 1);
}
#else
struct lanes {
	vec v;
};
typedef vec lanes_scale;

SIMD_INLINE struct lanes lanes_zero(void)
{
	return (struct lanes){vec_zero()};
}
SIMD_INLINE lanes_scale lanes_load_scale(const void *p)
{
	return vec_set1_f16(p);
}
SIMD_INLINE struct lanes lanes_add(struct lanes a, const char *q, lanes_scale d, const float *x)
{
	a.v = vec_fma(vec_mul(vec_load_i8(q), d), vec_load(x), a.v);
	return a;
}
SIMD_INLINE vec lanes_vec(struct lanes a)
{
	return a.v;
}
#endif

SIMD_INLINE float vec_greatest(vec a)
{
	float part[VEC];

	vec_store(part, a);
	for (int i = 1; i < VEC; i++)
		part[0] = part[i] > part[0] ? part[i] : part[0];
	return part[0];
}

#endif
