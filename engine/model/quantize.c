#include "engine/model/quantize.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels/cpu/half.h"

enum { BLOCK = 32, LANES = 8, LARGE = QUANTIZE_BLOCK_MAX, PARTS = LARGE / BLOCK, SIXTEENTHS = LARGE / 16 };

static void put_half(unsigned char *out, float f)
{
	uint16_t half = half_f32_to_f16(f);
	memcpy(out, &half, sizeof half);
}

static float rounded_to_half(float f)
{
	return half_f16_to_f32(half_f32_to_f16(f));
}

/* 0 for 0 */
static float inverse(float f)
{
	return f != 0 ? 1 / f : 0;
}

/* To nearest, halves up, within 0 .. most. */
static int level(float f, int most)
{
	int q = (int)floorf(f + 0.5f);
	return q < 0 ? 0 : q > most ? most : q;
}

/* The element of the largest magnitude, with its sign. */
static float extreme(const float *x, int n)
{
	float most = 0;
	for (int i = 0; i < n; i++)
		most = fabsf(x[i]) > fabsf(most) ? x[i] : most;
	return most;
}

/* The largest magnitude becomes 127; the scale is stored as fp16. */
static void quantize_q8_0(const float x[BLOCK], unsigned char *out)
{
	float lane_max[LANES] = {0};
	for (int r = 0; r < BLOCK; r += LANES)
		for (int i = 0; i < LANES; i++) {
			float a = fabsf(x[r + i]);
			lane_max[i] = a > lane_max[i] ? a : lane_max[i];
		}
	float max = 0;
	for (int i = 0; i < LANES; i++)
		max = lane_max[i] > max ? lane_max[i] : max;

	float scale = max / 127, by = scale > 0 ? 1 / scale : 0;
	put_half(out, scale);
	/* Adding 1.5 * 2^23 leaves the integer, rounded to nearest even, in the low bits: low byte zero at 0. */
	for (int i = 0; i < BLOCK; i++)
		out[2 + i] = (unsigned char)half_to_bits(x[i] * by + 12582912.0f);
}

/* Four bits of each element at `low`; bit 4, where there is one, at `high`. */
static void put_levels(const int q[BLOCK], unsigned char *low, unsigned char *high)
{
	for (int i = 0; i < BLOCK / 2; i++)
		low[i] = (unsigned char)((q[i] & 15) | (q[i + BLOCK / 2] & 15) << 4);
	for (int i = 0; high && i < BLOCK; i += 8) {
		high[i / 8] = 0;
		for (int j = 0; j < 8; j++)
			high[i / 8] |= (unsigned char)((q[i + j] >> 4 & 1) << j);
	}
}

/* The extreme becomes the lowest level, of which there is one more below zero than above. */
static void quantize_signed(const float x[BLOCK], int bits, unsigned char *out)
{
	int q[BLOCK], half = 1 << (bits - 1);
	float d = extreme(x, BLOCK) / (float)-half, by = inverse(d);
	for (int i = 0; i < BLOCK; i++)
		q[i] = level(x[i] * by + (float)half, 2 * half - 1);
	put_half(out, d);
	put_levels(q, out + (bits == 5 ? 6 : 2), bits == 5 ? out + 2 : NULL);
}

/* The least becomes 0, the greatest the highest level. */
static void quantize_unsigned(const float x[BLOCK], int bits, unsigned char *out)
{
	float least = x[0], greatest = x[0];
	for (int i = 1; i < BLOCK; i++) {
		least = x[i] < least ? x[i] : least;
		greatest = x[i] > greatest ? x[i] : greatest;
	}
	int q[BLOCK], most = (1 << bits) - 1;
	float d = (greatest - least) / (float)most, by = inverse(d);
	for (int i = 0; i < BLOCK; i++)
		q[i] = level((x[i] - least) * by, most);
	put_half(out, d);
	put_half(out + 2, least);
	put_levels(q, out + (bits == 5 ? 8 : 4), bits == 5 ? out + 4 : NULL);
}

static void quantize_iq4_nl(const float x[BLOCK], unsigned char *out)
{
	static const float steps[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
	int q[BLOCK];
	float d = extreme(x, BLOCK) / steps[0], by = inverse(d);
	for (int i = 0; i < BLOCK; i++) {
		q[i] = 0;
		for (int j = 1; j < 16; j++)
			q[i] += x[i] * by > (steps[j - 1] + steps[j]) / 2;
	}
	put_half(out, d);
	put_levels(q, out + 2, NULL);
}

/* Scales and minima of six bits, in 12 bytes. */
static void put_scales(const int scale[PARTS], const int least[PARTS], unsigned char *out)
{
	for (int j = 0; j < PARTS / 2; j++) {
		out[j] = (unsigned char)(scale[j] | scale[j + 4] >> 4 << 6);
		out[j + 4] = (unsigned char)(least[j] | least[j + 4] >> 4 << 6);
		out[j + 8] = (unsigned char)((scale[j + 4] & 15) | (least[j + 4] & 15) << 4);
	}
}

/* Q4_K and Q5_K */
static void quantize_parts(const float x[LARGE], int bits, unsigned char *out)
{
	float width[PARTS], depth[PARTS], widest = 0, deepest = 0;
	int scale[PARTS], least[PARTS], most = (1 << bits) - 1;
	unsigned char *high = out + 16, *low = out + (bits == 5 ? 48 : 16);
	for (int j = 0; j < PARTS; j++) {
		float bottom = 0, top = x[BLOCK * j];
		for (int i = 0; i < BLOCK; i++) {
			bottom = x[BLOCK * j + i] < bottom ? x[BLOCK * j + i] : bottom;
			top = x[BLOCK * j + i] > top ? x[BLOCK * j + i] : top;
		}
		width[j] = top > bottom ? (top - bottom) / (float)most : 0;
		depth[j] = -bottom;
		widest = width[j] > widest ? width[j] : widest;
		deepest = depth[j] > deepest ? depth[j] : deepest;
	}
	float d = rounded_to_half(widest / 63), m = rounded_to_half(deepest / 63);
	for (int j = 0; j < PARTS; j++) {
		scale[j] = level(width[j] * inverse(widest / 63), 63);
		least[j] = level(depth[j] * inverse(deepest / 63), 63);
	}
	put_half(out, d);
	put_half(out + 2, m);
	put_scales(scale, least, out + 4);
	memset(out + 16, 0, (size_t)LARGE / 2 + (bits == 5 ? 32 : 0));
	for (int j = 0; j < PARTS; j++) {
		float by = inverse(d * (float)scale[j]);
		for (int i = 0; i < BLOCK; i++) {
			int q = level((x[BLOCK * j + i] + m * (float)least[j]) * by, most);
			low[j / 2 * 32 + i] |= (unsigned char)((q & 15) << j % 2 * 4);
			if (bits == 5)
				high[i] |= (unsigned char)(q >> 4 << j);
		}
	}
}

static void quantize_q6_k(const float x[LARGE], unsigned char *out)
{
	float part[SIXTEENTHS];
	for (int s = 0; s < SIXTEENTHS; s++)
		part[s] = extreme(x + 16 * s, 16) / -32;
	float d = rounded_to_half(extreme(part, SIXTEENTHS) / -128), by = inverse(d);
	memset(out, 0, 192);
	for (int s = 0; s < SIXTEENTHS; s++) {
		int scale = level(part[s] * by + 128, 255) - 128;
		float by_part = inverse(d * (float)scale);
		out[192 + s] = (unsigned char)scale;
		for (int i = 0; i < 16; i++) {
			int k = 16 * s + i, half = k / 128, quarter = k % 128 / 32;
			int q = level(x[k] * by_part + 32, 63);
			out[half * 64 + k % 64] |= (unsigned char)((q & 15) << quarter / 2 * 4);
			out[128 + half * 32 + k % 32] |= (unsigned char)(q >> 4 << 2 * quarter);
		}
	}
	put_half(out + 208, d);
}

void quantize_block(enum tensor_type type, const float *x, unsigned char *out)
{
	switch (type) {
	case TENSOR_F32:
	case TENSOR_F16:
	case TENSOR_BF16:
		break;
	case TENSOR_Q8_0:
		quantize_q8_0(x, out);
		return;
	case TENSOR_Q4_0:
		quantize_signed(x, 4, out);
		return;
	case TENSOR_Q5_0:
		quantize_signed(x, 5, out);
		return;
	case TENSOR_Q4_1:
		quantize_unsigned(x, 4, out);
		return;
	case TENSOR_Q5_1:
		quantize_unsigned(x, 5, out);
		return;
	case TENSOR_IQ4_NL:
		quantize_iq4_nl(x, out);
		return;
	case TENSOR_Q4_K:
		quantize_parts(x, 4, out);
		return;
	case TENSOR_Q5_K:
		quantize_parts(x, 5, out);
		return;
	case TENSOR_Q6_K:
		quantize_q6_k(x, out);
		return;
	}
	assert(!"a type of blocks");
}
