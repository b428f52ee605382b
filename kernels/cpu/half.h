/* Scalar conversions between float32 and the 16-bit formats, exact or to nearest even. */
#ifndef GEMMARK_KERNELS_CPU_HALF_H
#define GEMMARK_KERNELS_CPU_HALF_H

#include <stdint.h>
#include <string.h>

static inline float half_from_bits(uint32_t u)
{
	float f;

	memcpy(&f, &u, sizeof(f));
	return f;
}

static inline uint32_t half_to_bits(float f)
{
	uint32_t u;

	memcpy(&u, &f, sizeof(u));
	return u;
}

static inline float half_f16_to_f32(uint16_t h)
{
	/* The exponent and mantissa moved into place are 2^112 too small; the product also makes subnormals right. */
	float f = half_from_bits((uint32_t)(h & 0x7fff) << 13) * 0x1p112f;
	uint32_t u = half_to_bits(f);

	if (f >= 65536.0f)
		u |= 0x7f800000; /* infinity and NaN keep all exponent bits */
	return half_from_bits(u | (uint32_t)(h & 0x8000) << 16);
}

static inline uint16_t half_f32_to_f16(float f)
{
	uint32_t u = half_to_bits(f);
	uint32_t sign = u >> 16 & 0x8000;
	uint32_t mag = u & 0x7fffffff;

	if (mag > 0x7f800000)
		return (uint16_t)(sign | 0x7e00);
	if (mag >= 0x477ff000) /* 65520: rounds to infinity */
		return (uint16_t)(sign | 0x7c00);
	if (mag < 0x38800000) /* 2^-14: in 0.5 .. 1 a float's last bit is the last bit of a subnormal half */
		return (uint16_t)(sign | (half_to_bits(half_from_bits(mag) + 0.5f) - 0x3f000000));
	mag += 0xfff + (mag >> 13 & 1);
	return (uint16_t)(sign | ((mag - (112u << 23)) >> 13));
}

static inline float half_bf16_to_f32(uint16_t h)
{
	return half_from_bits((uint32_t)h << 16);
}

static inline uint16_t half_f32_to_bf16(float f)
{
	uint32_t u = half_to_bits(f);

	if ((u & 0x7fffffff) > 0x7f800000)
		return (uint16_t)(u >> 16 | 0x40);
	return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

#endif
