#include "bench/quant_values.h"

#include <string.h>

#include "kernels/params.h"

int quant_block(int type)
{
	switch (type) {
#define X(NAME, word, number, block, block_bytes, file_type, a, b) \
	case TENSOR_##NAME:                                        \
		return block;
		TENSOR_QUANT_TYPES(X, , )
#undef X
	}
	return 0;
}

size_t quant_block_bytes(int type)
{
	switch (type) {
#define X(NAME, word, number, block, block_bytes, file_type, a, b) \
	case TENSOR_##NAME:                                        \
		return block_bytes;
		TENSOR_QUANT_TYPES(X, , )
#undef X
	}
	return 0;
}

static double half_at(const unsigned char *p)
{
	int h = p[0] | p[1] << 8, exponent = h >> 10 & 31;
	double sign = h & 0x8000 ? -1.0 : 1.0;
	int digits = (exponent ? 1024 : 0) + (h & 0x3ff);
	return sign * digits * (double)(1u << (exponent ? exponent : 1)) * 0x1p-25;
}

static int bit_at(const unsigned char *p, int i)
{
	return p[i / 8] >> i % 8 & 1;
}

/* The lower or the upper half of one of 16 bytes: elements 0 .. 15, then 16 .. 31. */
static int half_byte(const unsigned char *p, int k)
{
	return k < 16 ? p[k] & 15 : p[k - 16] >> 4;
}

/* Of Q4_K and Q5_K: d, m, 12 bytes of scales and minima, 32 of fifth bits where there are any, four bits each. */
static double part_value(const unsigned char *block, int k, int five)
{
	const unsigned char *s = block + 4, *low = block + (five ? 48 : 16) + k / 64 * 32 + k % 32;
	int part = k / 32, scale, least;
	int q = k / 32 % 2 ? *low >> 4 : *low & 15;
	if (five)
		q += 16 * bit_at(block + 16 + k % 32, part);
	if (part < 4) {
		scale = s[part] % 64;
		least = s[part + 4] % 64;
	} else {
		scale = s[part + 4] % 16 + s[part - 4] / 64 * 16;
		least = s[part + 4] / 16 + s[part] / 64 * 16;
	}
	return half_at(block) * scale * q - half_at(block + 2) * least;
}

static double q6_k_value(const unsigned char *block, int k)
{
	int half = k / 128, quarter = k % 128 / 32, i = k % 32;
	int low = block[half * 64 + quarter % 2 * 32 + i];
	int high = block[128 + half * 32 + i] >> 2 * quarter & 3;
	int q = (quarter < 2 ? low & 15 : low >> 4) + 16 * high - 32;
	return half_at(block + 208) * (signed char)block[192 + k / 16] * q;
}

static double exact_value(int type, const unsigned char *block, int k)
{
	static const int steps[] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
	switch (type) {
	case TENSOR_Q4_0:
		return half_at(block) * (half_byte(block + 2, k) - 8);
	case TENSOR_Q4_1:
		return half_at(block) * half_byte(block + 4, k) + half_at(block + 2);
	case TENSOR_Q5_0:
		return half_at(block) * (half_byte(block + 6, k) + 16 * bit_at(block + 2, k) - 16);
	case TENSOR_Q5_1:
		return half_at(block) * (half_byte(block + 8, k) + 16 * bit_at(block + 4, k)) + half_at(block + 2);
	case TENSOR_IQ4_NL:
		return half_at(block) * steps[half_byte(block + 2, k)];
	case TENSOR_Q4_K:
	case TENSOR_Q5_K:
		return part_value(block, k, type == TENSOR_Q5_K);
	default:
		return q6_k_value(block, k);
	}
}

float quant_value(int type, const unsigned char *block, int k)
{
	return (float)exact_value(type, block, k);
}

/* d times 8 or 16, which leaves elements about zero, as trained weights are; where d is no normal number, d. */
static uint16_t half_for_least(int type, uint16_t d)
{
	int five = type == TENSOR_Q5_1 || type == TENSOR_Q5_K, sign = type == TENSOR_Q4_1 || type == TENSOR_Q5_1;
	return (uint16_t)((d & 0x7c00 ? d + ((3 + five) << 10) : d) ^ sign << 15);
}

/* Where scales of scales are multiplied with it, a 64th: elements of all types are about as large. */
static uint16_t scale_of_block(int type, uint16_t d)
{
	return (uint16_t)(quant_block(type) == 256 && (d & 0x7c00) > 6 << 10 ? d - (6 << 10) : d);
}

void quant_fill(int type, unsigned char *blocks, size_t n_blocks, uint32_t (*bits)(void *ctx),
		uint16_t (*half)(void *ctx), void *ctx)
{
	size_t bytes = quant_block_bytes(type);
	int two = type == TENSOR_Q4_1 || type == TENSOR_Q5_1 || type == TENSOR_Q4_K || type == TENSOR_Q5_K;
	for (size_t b = 0; b < n_blocks; b++) {
		unsigned char *block = blocks + b * bytes, *d = block + (type == TENSOR_Q6_K ? 208 : 0);
		for (size_t i = 0; i < bytes; i += 2) {
			uint32_t r = bits(ctx);
			memcpy(block + i, &r, 2);
		}
		uint16_t h = scale_of_block(type, half(ctx)), least = half_for_least(type, h);
		memcpy(d, &h, 2);
		if (two)
			memcpy(d + 2, &least, 2);
	}
}
