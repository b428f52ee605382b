/* Launch geometry and shared memory of the experts' products of a prompt: what kernels and host share. C and CUDA. */
#ifndef GEMMARK_KERNELS_CUDA_EXPERTS_MMA_GEOMETRY_H
#define GEMMARK_KERNELS_CUDA_EXPERTS_MMA_GEOMETRY_H

#include "kernels/cuda/quants_geometry.h"

enum {
	MMA_ROWS = 64,     /* pairs of a tile */
	MMA_COLUMNS = 128, /* rows of the weights; of gate and up half of each */
	MMA_DEPTH = 64,    /* elements that a stage holds of each of them */
	MMA_THREADS = 128, /* a warp for every 32 columns */
	MMA_PARTS = 256,   /* elements that have their scales together, of types that quants_row_multiple says so of */
};

/* Whether scales of MMA_PARTS elements are computed ahead. */
SHARED_CONSTANT int mma_in_parts(int type)
{
	return quants_has(type) && quants_row_multiple(type) == MMA_PARTS;
}

/* What a stage has of a row of the weights: elements, or their lower four bits; the bits above those; scales. */
SHARED_CONSTANT int mma_data_bytes(int type)
{
	return quants_has(type)      ? MMA_DEPTH / 2
	       : type == TENSOR_Q8_0 ? MMA_DEPTH
	       : type == TENSOR_F32  ? MMA_DEPTH * 4
				     : MMA_DEPTH * 2;
}

SHARED_CONSTANT int mma_high_bytes(int type)
{
	return quants_has(type) ? MMA_DEPTH / QUANTS_BLOCK * quants_high_bytes(type) : 0;
}

SHARED_CONSTANT int mma_side_bytes(int type)
{
	return mma_in_parts(type)    ? 0
	       : quants_has(type)    ? MMA_DEPTH / QUANTS_BLOCK * quants_side_bytes(type)
	       : type == TENSOR_Q8_0 ? MMA_DEPTH / QUANTS_BLOCK * 2
				     : 0;
}

/* Where they are in a stage, behind the pairs' rows in float16. */
SHARED_CONSTANT int mma_data_at(void)
{
	return MMA_ROWS * MMA_DEPTH * 2;
}

SHARED_CONSTANT int mma_high_at(int type)
{
	return mma_data_at() + MMA_COLUMNS * mma_data_bytes(type);
}

SHARED_CONSTANT int mma_side_at(int type)
{
	return mma_high_at(type) + MMA_COLUMNS * mma_high_bytes(type);
}

SHARED_CONSTANT int mma_stage_bytes(int type)
{
	return mma_side_at(type) + MMA_COLUMNS * mma_side_bytes(type);
}

/* Two floats for each row and block, of the MMA_PARTS that are multiplied and the next: behind the stages. */
SHARED_CONSTANT int mma_scales_bytes(int type)
{
	return mma_in_parts(type) ? 2 * MMA_PARTS / QUANTS_BLOCK * MMA_COLUMNS * 8 : 0;
}

/* As many as the smallest cards' 99 KB hold, up to four. */
SHARED_CONSTANT int mma_stages(int type)
{
	const int fit = (99 * 1024 - mma_scales_bytes(type)) / mma_stage_bytes(type);
	return fit < 4 ? fit : 4;
}

SHARED_CONSTANT int mma_scales_at(int type)
{
	return mma_stage_bytes(type) * mma_stages(type);
}

SHARED_CONSTANT int mma_shared_bytes(int type)
{
	return mma_scales_at(type) + mma_scales_bytes(type);
}

/* Tiles that n_pairs pairs of n_expert experts have at most: each expert's last one may be short. */
SHARED_INLINE int mma_tiles_most(int n_pairs, int n_expert)
{
	const int touched = n_pairs < n_expert ? n_pairs : n_expert;
	return (n_pairs - touched) / MMA_ROWS + touched;
}

#endif
