/* Launch geometry and shared memory of the experts' products of a prompt: what kernels and host share. C and CUDA. */
#ifndef GEMMARK_KERNELS_CUDA_EXPERTS_MMA_GEOMETRY_H
#define GEMMARK_KERNELS_CUDA_EXPERTS_MMA_GEOMETRY_H

#include "kernels/cuda/shared.h"

enum {
	MMA_ROWS = 64,     /* pairs of a tile */
	MMA_COLUMNS = 128, /* rows of the weights; of gate and up half of each */
	MMA_DEPTH = 64,    /* elements that a stage holds of each of them */
	MMA_STAGES = 4,
	MMA_THREADS = 128, /* a warp for every 32 columns */
};

/* Bytes of a stage: the pairs' rows in float16, then the weights', then, of Q8_0, two scales a row. */
SHARED_INLINE int mma_weights_at(void)
{
	return MMA_ROWS * MMA_DEPTH * 2;
}

SHARED_INLINE int mma_scales_at(int is_q8)
{
	return mma_weights_at() + MMA_COLUMNS * MMA_DEPTH * (is_q8 ? 1 : 2);
}

SHARED_INLINE int mma_stage_bytes(int is_q8)
{
	return mma_scales_at(is_q8) + (is_q8 ? MMA_COLUMNS * 4 : 0);
}

/* Tiles that n_pairs pairs of n_expert experts have at most: each expert's last one may be short. */
SHARED_INLINE int mma_tiles_most(int n_pairs, int n_expert)
{
	const int touched = n_pairs < n_expert ? n_pairs : n_expert;
	return (n_pairs - touched) / MMA_ROWS + touched;
}

#endif
