/*
 * Launch geometry that kernels and host share, so that both compute shared-memory
 * layouts with the same lines. C and CUDA.
 */
#ifndef GEMMARK_KERNELS_CUDA_GEOMETRY_H
#define GEMMARK_KERNELS_CUDA_GEOMETRY_H

#include "kernels/params.h"

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define GEOMETRY static __host__ __device__ __forceinline__
#else
#define GEOMETRY static inline
#endif

enum {
	MATVEC_THREADS = 512,
	MATVEC_BOUND = 640,      /* threads that the compiler leaves registers for: 96 each, so that a CTA of a
				     small kernel (16384 registers) fits beside */
	MATVEC_MAX_UNITS = 2048, /* per CTA: bounds its partial sums to 16 KB */

	ATTENTION_THREADS = 256,
	ATTENTION_HEADS = 4,         /* query heads of one KV head that a CTA takes */
	ATTENTION_MAX_GROUPS = 1024, /* KV heads times their groups of query heads */

	PREFILL_THREADS = 256,
	PREFILL_KEYS = 64,   /* keys of a tile */
	PREFILL_SLICE = 32,  /* elements of head_dim that are multiplied at a time */
	PREFILL_VALUES = 16, /* values in shared memory at a time */
	PREFILL_PAD = 4,     /* floats; keeps rows in different banks */

	NORM_HELD = 3, /* vectors of a row that a thread keeps in registers; longer rows are read twice */

	ANY_THREADS = 256, /* of the products that take any weights: a warp a row */

	TILE = 64, /* tokens and outputs of a tiled product's tile */
	TILE_THREADS = 256,

	SNAPKV_THREADS = 256,
	SNAPKV_ROWS = 128, /* of a tile of scores */
	SNAPKV_KEYS = 128,
	SNAPKV_SELECT_THREADS = 1024,
};

/* A chunk is 512 bytes of a weight row, 16 a lane. */
GEOMETRY int matvec_chunk_elements(int type)
{
	return type == TENSOR_Q8_0 ? 512 : type == TENSOR_F32 ? 128 : 256;
}

GEOMETRY int matvec_chunks(int type, int n_in)
{
	return (n_in + matvec_chunk_elements(type) - 1) / matvec_chunk_elements(type);
}

GEOMETRY int matvec_padded(int type, int n_in)
{
	return matvec_chunks(type, n_in) * matvec_chunk_elements(type);
}

/* Staged activations: floats, or for Q8_0 per chunk three planes of digits, then all scales. */
GEOMETRY int matvec_x_bytes(int type, int n_in)
{
	const int padded = matvec_padded(type, n_in);
	return type == TENSOR_Q8_0 ? padded * 3 + padded / 32 * 4 : padded * 4;
}

/* Query rows of a prefill CTA: its sums are 64 registers a thread. */
GEOMETRY int prefill_rows(int head_dim)
{
	return head_dim > 256 ? 32 : 64;
}

/* Slices of queries and keys, probabilities, values; the keys that each row attends, and its running maximum and sum.
 */
GEOMETRY int prefill_shared_bytes(int head_dim)
{
	const int rows = prefill_rows(head_dim);
	return ((rows + PREFILL_KEYS) * (PREFILL_SLICE + PREFILL_PAD) + rows * (PREFILL_KEYS + PREFILL_PAD) +
		PREFILL_VALUES * head_dim + rows * 4) *
	       4;
}

#endif
