/* What tests of the emulated products draw: random numbers, and weights of few bits as GPUs have them. */
#ifndef GEMMARK_TESTS_EMULATED_DRAWS_H
#define GEMMARK_TESTS_EMULATED_DRAWS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "bench/quant_values.h"
#include "kernels/cpu/cpu.h"
#include "kernels/params_operands.h"

/* All types of weights. */
static const int draw_types[] = {
#define X(NAME, word, number, block, block_bytes, file_type, a, b) TENSOR_##NAME,
	TENSOR_TYPES(X, , )
#undef X
};
enum { DRAW_TYPES = sizeof draw_types / sizeof *draw_types };

/* state: a uint64_t, as quant_fill hands it on. */
static inline uint32_t draw_bits(void *state)
{
	uint64_t *s = state;
	*s = *s * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*s >> 32);
}

/* A float16 of a magnitude up to 1; one in 16 is subnormal. */
static inline uint16_t draw_half(void *state)
{
	uint32_t r = draw_bits(state), exponent = (r >> 20 & 15) == 0 ? 0 : 8 + (r >> 24) % 7;
	return (uint16_t)((r & 0x8000) | exponent << 10 | (r & 0x3ff));
}

/* From -1 up to 1. */
static inline double draw_uniform(uint64_t *state)
{
	return (double)draw_bits(state) / 2147483648.0 - 1.0;
}

/* n elements of one of TENSOR_QUANT_TYPES, in planes, and what each stands for. False without memory. */
static inline bool draw_planes(int type, size_t n, void *planes, float *values, uint64_t *state)
{
	size_t block = (size_t)quant_block(type), each = quant_block_bytes(type);
	unsigned char *blocks = malloc(n / block * each);
	if (!blocks)
		return false;
	quant_fill(type, blocks, n / block, draw_bits, draw_half, state);
	for (size_t i = 0; i < n; i++)
		values[i] = quant_value(type, blocks + i / block * each, (int)(i % block));
	struct cpu_planes to = cpu_planes_at((enum tensor_type)type, planes, n / 32);
	cpu_planes((enum tensor_type)type, blocks, n / 32, &to);
	free(blocks);
	return true;
}

#endif
