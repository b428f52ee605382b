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

#endif
