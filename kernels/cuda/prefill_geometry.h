/* Launch geometry of the attention of a prompt: what kernels and host share. C and CUDA. */
#ifndef GEMMARK_KERNELS_CUDA_PREFILL_GEOMETRY_H
#define GEMMARK_KERNELS_CUDA_PREFILL_GEOMETRY_H

#include "kernels/cuda/shared.h"

enum {
	PREFILL_THREADS = 256,
	PREFILL_KEYS = 64,   /* keys of a tile */
	PREFILL_SLICE = 32,  /* elements of head_dim that are multiplied at a time */
	PREFILL_VALUES = 16, /* values in shared memory at a time */
	PREFILL_PAD = 4,     /* floats; keeps rows in different banks */
};

/* Query rows of a prefill CTA: its sums are 64 registers a thread. */
SHARED_INLINE int prefill_rows(int head_dim)
{
	return head_dim > 256 ? 32 : 64;
}

/* Slices of queries and keys, probabilities, values; the keys that each row attends, and its running maximum and sum.
 */
SHARED_INLINE int prefill_shared_bytes(int head_dim)
{
	const int rows = prefill_rows(head_dim);
	return ((rows + PREFILL_KEYS) * (PREFILL_SLICE + PREFILL_PAD) + rows * (PREFILL_KEYS + PREFILL_PAD) +
		PREFILL_VALUES * head_dim + rows * 4) *
	       4;
}

#endif
