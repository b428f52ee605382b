/* Launch geometry of the streaming products, dense and of experts: what kernels and host share. C and CUDA. */
#ifndef GEMMARK_KERNELS_CUDA_MATVEC_GEOMETRY_H
#define GEMMARK_KERNELS_CUDA_MATVEC_GEOMETRY_H

#include "kernels/cuda/quants_geometry.h"
#include "kernels/cuda/shared.h"
#include "kernels/params.h"

enum {
	MATVEC_THREADS = 512,
	MATVEC_BOUND = 640,      /* threads that the compiler leaves registers for: 96 each, so that a CTA of a
				     small kernel (16384 registers) fits beside */
	MATVEC_MAX_UNITS = 2048, /* per CTA: bounds its partial sums to 16 KB */
	MATVEC_STAGES = 4,       /* of a warp, where there is room: some 64 KB on their way to a multiprocessor */
};

/* A chunk is 512 bytes of a weight row, 16 a lane; of TENSOR_QUANT_TYPES so many of their four bits: a lane's block. */
SHARED_INLINE int matvec_chunk_elements(int type)
{
	return quants_has(type) ? 32 * QUANTS_BLOCK : type == TENSOR_Q8_0 ? 512 : type == TENSOR_F32 ? 128 : 256;
}

SHARED_INLINE int matvec_chunks(int type, int n_in)
{
	return (n_in + matvec_chunk_elements(type) - 1) / matvec_chunk_elements(type);
}

SHARED_INLINE int matvec_padded(int type, int n_in)
{
	return matvec_chunks(type, n_in) * matvec_chunk_elements(type);
}

/*
 * Staged activations: floats, or for Q8_0 and TENSOR_QUANT_TYPES per chunk three planes of digits, then all scales, and
 * for types with minima the sums of all blocks.
 */
SHARED_INLINE int matvec_x_bytes(int type, int n_in)
{
	const int padded = matvec_padded(type, n_in);
	if (type != TENSOR_Q8_0 && !quants_has(type))
		return padded * 4;
	return padded * 3 + padded / 32 * (quants_have_least(type) ? 8 : 4);
}

/* ---- shared memory: x, sums of warps, a norm's weights, the stages of all warps, partial sums ---- */

/* A stage of a warp: an item of each plane for two rows, what has two bytes as the words that it is in. */
SHARED_CONSTANT int matvec_stage_bytes(int type)
{
	const int words = type == TENSOR_Q6_K ? 2 : type == TENSOR_Q8_0 || quants_has(type) ? 1 : 0;
	return 2 * 32 * (16 + quants_high_bytes(type) + 4 * words);
}

/* What is in front of the stages; normed: of a kernel that norms x. */
SHARED_INLINE int matvec_stages_at(int type, int n_in, int normed)
{
	return matvec_x_bytes(type, n_in) + (32 + (normed ? n_in : 0)) * 4;
}

/* Partial sums of so many units of a CTA, and of those that two warps share. */
SHARED_INLINE int matvec_partial_bytes(int units)
{
	return (units + MATVEC_THREADS / 32) * 2 * 4;
}

/* How many stages of each warp so many bytes are enough for. */
SHARED_INLINE int matvec_stages(int type, int bytes)
{
	const int each = MATVEC_THREADS / 32 * matvec_stage_bytes(type);
	int n = 0;
	while (n < MATVEC_STAGES && (n + 1) * each <= bytes)
		n++;
	return n;
}

#endif
