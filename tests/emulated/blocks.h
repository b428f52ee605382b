/*
 * Kernels of one CTA at a time on the processor: its threads are contexts that run until they wait for others of their
 * warp or block. For kernels whose CTAs do not wait for each other; persistent ones are emulation.h's.
 */
#ifndef GEMMARK_TESTS_EMULATED_BLOCKS_H
#define GEMMARK_TESTS_EMULATED_BLOCKS_H

#include "kernels/cuda/cuda_kernels.h"

/* Runs the entry that a launch names; 0, or -1 where blocks.cpp has none of that name. */
#ifdef __cplusplus
extern "C"
#endif
	int
	emulated_launch(const char *entry, const void *params, const struct cuda_launch *l);

#endif
