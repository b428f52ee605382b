/*
 * Kernels of one CTA at a time on the processor: its threads are contexts that run until they wait for others of their
 * warp or block. For kernels whose CTAs do not wait for each other; persistent ones are emulation.h's.
 */
#ifndef GEMMARK_TESTS_EMULATED_BLOCKS_H
#define GEMMARK_TESTS_EMULATED_BLOCKS_H

#include "kernels/cuda/cuda_kernels.h"

/* Of "k_emulated_rows", one warp: x (head_dim) to a row of Q8_0, what it keeps of them, and what it reads there. */
struct emulated_rows_params {
	const float *x;
	char *row;
	float *rounded;
	float *read;
	int head_dim;
};

/* Runs the entry that a launch names; 0, or -1 where blocks.cpp has none of that name. */
#ifdef __cplusplus
extern "C"
#endif
	int
	emulated_launch(const char *entry, const void *params, const struct cuda_launch *l);

#endif
