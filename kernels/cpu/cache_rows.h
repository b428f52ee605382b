/* The host's way in and out of a cache's rows (kernels/cache_rows.h). */
#ifndef GEMMARK_KERNELS_CPU_CACHE_ROWS_H
#define GEMMARK_KERNELS_CPU_CACHE_ROWS_H

#include <math.h>
#include <string.h>

#include "kernels/cache_rows.h"
#include "kernels/cpu/half.h"
#include "kernels/cpu/inner.h"

/* Of `cache`, which is kv's k or v and of that type. */
static inline char *cache_row(void *cache, int type, const struct kv *kv, size_t head, size_t slot)
{
	return (char *)cache + (head * (size_t)kv->capacity + slot) * (size_t)cache_row_bytes(type, kv->head_dim);
}

/* 32 elements to as many int8; returns the scale. */
static inline uint16_t cache_store_block(const float *x, int8_t *q)
{
	uint32_t most = 0; /* magnitudes are ordered as their bits, NaN above all */

	for (int i = 0; i < CACHE_BLOCK; i++) {
		const uint32_t magnitude = half_to_bits(x[i]) & 0x7fffffff;

		most = magnitude > most ? magnitude : most;
	}
	const float d = half_from_bits(most) / CACHE_STEPS;
	const uint16_t scale = most > 0x7f800000 ? CACHE_NAN : half_f32_to_f16(d);
	if (scale == 0 || scale >= 0x7c00) {
		memset(q, 0, CACHE_BLOCK);
		return scale;
	}
	const float inverse = 1.0f / d;
	for (int i = 0; i < CACHE_BLOCK; i++)
		q[i] = (int8_t)roundf(x[i] * inverse);
	return scale;
}

static inline void cache_store(const struct cpu_inner *inner, const float *x, int type, char *row, size_t n)
{
	if (type != TENSOR_Q8_0) {
		inner->from_f32(x, type, row, n);
		return;
	}
	const size_t blocks = n / CACHE_BLOCK, end = (size_t)cache_row_bytes(type, (int)n);
	for (size_t b = 0; b < blocks; b++) {
		const uint16_t scale = cache_store_block(x + b * CACHE_BLOCK, (int8_t *)row + b * CACHE_BLOCK);

		memcpy(row + n + 2 * b, &scale, sizeof(scale));
	}
	memset(row + n + 2 * blocks, 0, end - n - 2 * blocks);
}

static inline void cache_load(const struct cpu_inner *inner, const char *row, int type, float *x, size_t n)
{
	inner->to_f32(row, type == TENSOR_Q8_0 ? row + n : NULL, type, x, n);
}

#endif
