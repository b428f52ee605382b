/*
 * What both k_sample compute with the same lines: the order of logits, weights, the random number. Compiled by the C
 * compiler and by NVRTC; every float operation is rounded on its own, on either.
 */
#ifndef GEMMARK_KERNELS_SAMPLING_H
#define GEMMARK_KERNELS_SAMPLING_H

#include "kernels/cuda/shared.h"
#include "kernels/params_sampling.h"

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
SHARED_DEVICE unsigned sampling_bits(float x)
{
	return __float_as_uint(x);
}

SHARED_DEVICE float sampling_float(unsigned bits)
{
	return __uint_as_float(bits);
}

SHARED_DEVICE float sampling_add(float a, float b)
{
	return __fadd_rn(a, b);
}

SHARED_DEVICE float sampling_mul(float a, float b)
{
	return __fmul_rn(a, b);
}

/* The upper half of a product. */
SHARED_DEVICE unsigned long long sampling_high(unsigned long long a, unsigned long long b)
{
	return __umul64hi(a, b);
}
#else
#include <string.h>

SHARED_DEVICE unsigned sampling_bits(float x)
{
	unsigned bits;

	memcpy(&bits, &x, sizeof(bits));
	return bits;
}

SHARED_DEVICE float sampling_float(unsigned bits)
{
	float x;

	memcpy(&x, &bits, sizeof(x));
	return x;
}

/* CMakeLists.txt forbids the C compiler to make one of these two. */
SHARED_DEVICE float sampling_add(float a, float b)
{
	return a + b;
}

SHARED_DEVICE float sampling_mul(float a, float b)
{
	return a * b;
}

SHARED_DEVICE unsigned long long sampling_high(unsigned long long a, unsigned long long b)
{
	return (unsigned long long)((unsigned __int128)a * b >> 64);
}
#endif

enum {
	SAMPLING_LEVELS = 3, /* digits of an order, the most significant first: 11, 11 and 10 bits */
	SAMPLING_DIGITS = 2048,
};

SHARED_DEVICE int sampling_shift(int level)
{
	return level == 0 ? 21 : level == 1 ? 10 : 0;
}

/* The bits of a level's digit, before the shift. */
SHARED_DEVICE unsigned sampling_mask(int level)
{
	return level == 0 ? 2047u << 21 : level == 1 ? 2047u << 10 : 1023u;
}

/* Greater for greater logits; never 0. */
SHARED_DEVICE unsigned sampling_order(float x)
{
	const unsigned bits = x == 0.0f ? 0 : x != x ? 0xff800000u : sampling_bits(x);

	return bits >> 31 ? ~bits : bits | 0x80000000u;
}

/* The logit of an order; NaN of 0. */
SHARED_DEVICE float sampling_logit(unsigned order)
{
	return sampling_float(order >> 31 ? order & 0x7fffffffu : ~order);
}

/* Of logits that are finite, the greatest among them. */
SHARED_DEVICE int sampling_can_draw(float greatest)
{
	return greatest > sampling_float(0xff800000u) && greatest < sampling_float(0x7f800000u);
}

/* Of SAMPLING_ONE: 2^((x - greatest) * rate); 0 of -infinity and NaN. */
SHARED_DEVICE unsigned long long sampling_weight(float x, float greatest, float rate)
{
	const float round = 12582912.0f; /* 1.5 * 2^23: added, it leaves no bits behind the point */
	const float y = sampling_mul(sampling_add(x, -greatest), rate);

	if (!(y > -40.0f))
		return 0;
	const float whole = sampling_add(sampling_add(y, round), -round);
	const float f = sampling_add(y, -whole); /* -1/2 .. 1/2, without error */
	/* ln(2)^i / i!; cut off at 5e-9 */
	float p = 1.525273380e-5f;
	p = sampling_add(sampling_mul(p, f), 1.540353039e-4f);
	p = sampling_add(sampling_mul(p, f), 1.333355815e-3f);
	p = sampling_add(sampling_mul(p, f), 9.618129108e-3f);
	p = sampling_add(sampling_mul(p, f), 5.550410866e-2f);
	p = sampling_add(sampling_mul(p, f), 2.402265070e-1f);
	p = sampling_add(sampling_mul(p, f), 6.931471806e-1f);
	p = sampling_add(sampling_mul(p, f), 1.0f);
	const unsigned long long q = (unsigned)sampling_mul(p, 16777216.0f); /* a whole number: p has 24 bits */
	const int shift = SAMPLING_BITS - 24 + (int)whole;
	return shift >= 0 ? q << shift : q >> -shift;
}

/* What the beginning of a ranking that weighs `total` has to reach: at least 1. top_p: below SAMPLING_ALL. */
SHARED_DEVICE unsigned long long sampling_share(unsigned long long total, unsigned long long top_p)
{
	const unsigned long long low = (total & 0xffffffffu) * top_p;
	const unsigned long long share = (total >> 32) * top_p + ((low + 0xffffffffu) >> 32);

	return share ? share : 1;
}

/* c: the counter, and then the number. */
SHARED_DEVICE void sampling_philox(unsigned c[4], unsigned k0, unsigned k1)
{
	for (int round = 0; round < 10; round++) {
		const unsigned long long a = 0xD2511F53ull * c[0], b = 0xCD9E8D57ull * c[2];

		c[0] = (unsigned)(b >> 32) ^ c[1] ^ k0;
		c[1] = (unsigned)b;
		c[2] = (unsigned)(a >> 32) ^ c[3] ^ k1;
		c[3] = (unsigned)a;
		k0 += 0x9E3779B9u;
		k1 += 0xBB67AE85u;
	}
}

/* A point on a line of `total` that is left, uniform in 0 .. total - 1. */
SHARED_DEVICE unsigned long long sampling_point(unsigned long long seed, int pos, unsigned long long total)
{
	unsigned c[4] = {(unsigned)pos, 0, 0, 0};

	sampling_philox(c, (unsigned)seed, (unsigned)(seed >> 32));
	return sampling_high((unsigned long long)c[1] << 32 | c[0], total);
}

/* Where a ranking was cut off: what is above `order` is in, and so are the first `ties` that are equal to it. */
struct sampling_cut {
	unsigned order; /* 0: everything is in */
	unsigned ties;
};

#endif
