/* Launch geometry of the attention of a prompt on tensor cores: what kernels and host share. C and CUDA. */
#ifndef GEMMARK_KERNELS_CUDA_PREFILL_MMA_GEOMETRY_H
#define GEMMARK_KERNELS_CUDA_PREFILL_MMA_GEOMETRY_H

#include "kernels/cuda/shared.h"

/*
 * A warp has 16 query rows, a part of the result's columns and a part of each tile's keys. Of the eight warps those of
 * the same rows are column parts (where a row's sums would not fit a warp's registers) times key parts: 1, or 2 in a
 * CTA of half the rows, for prompts that would not fill the card.
 */
enum {
	PREFILL_MMA_WARPS = 8,
	PREFILL_MMA_THREADS = PREFILL_MMA_WARPS * 32,
	PREFILL_MMA_ROWS = 16, /* of a warp: of a tensor core's product */
	PREFILL_MMA_PAD = 16,  /* bytes behind a key or value in shared memory: eight in a row are in different banks */
};

SHARED_CONSTANT int prefill_mma_column_parts(int head_dim)
{
	return head_dim > 256 ? 2 : 1;
}

/* Query rows of a CTA. */
SHARED_CONSTANT int prefill_mma_rows(int head_dim, int key_parts)
{
	return PREFILL_MMA_ROWS * PREFILL_MMA_WARPS / prefill_mma_column_parts(head_dim) / key_parts;
}

/*
 * Keys of a tile. Two tiles of keys and values are in shared memory, of which a block of compute capability 8.6, 8.9 or
 * 12.0 has 99 KB, others 163 and more.
 */
SHARED_CONSTANT int prefill_mma_keys(int head_dim, int compute_capability)
{
	const int small = compute_capability == 86 || compute_capability == 89 || compute_capability >= 120;
	return head_dim > 256 && small ? 16 : head_dim > 128 ? 32 : 64;
}

/* Bytes from a key or value to the next. */
SHARED_CONSTANT int prefill_mma_stride(int head_dim)
{
	return head_dim * 2 + PREFILL_MMA_PAD;
}

/* Bytes of one tile's keys, or values. */
SHARED_CONSTANT int prefill_mma_tile(int head_dim, int compute_capability)
{
	return prefill_mma_keys(head_dim, compute_capability) * prefill_mma_stride(head_dim);
}

/* Two tiles; behind them what column parts tell each other: scores of 16 rows, float32. */
SHARED_CONSTANT int prefill_mma_shared_bytes(int head_dim, int key_parts, int compute_capability)
{
	const int own = prefill_mma_keys(head_dim, compute_capability) / key_parts;
	const int scores = PREFILL_MMA_WARPS * PREFILL_MMA_ROWS * own * 4;
	return 4 * prefill_mma_tile(head_dim, compute_capability) +
	       (prefill_mma_column_parts(head_dim) > 1 ? scores : 0);
}

/* A warp multiplies keys by 16. */
SHARED_CONSTANT int prefill_mma_possible(int head_dim, int key_parts, int compute_capability)
{
	return prefill_mma_keys(head_dim, compute_capability) / key_parts >= 16;
}

#endif
