/*
 * Matrices of TENSOR_QUANT_TYPES on a GPU: as many bytes as in a file, but in planes, one behind the other at struct
 * weight's data, so that a lane reads a block of 32 elements in aligned words and its neighbours what follows. C and
 * CUDA; kernels/cpu/planes.c makes them of files' blocks.
 *
 *     low    16 bytes a block: four bits each. Word j of them has in its bytes' lower halves elements 4 j .. 4 j + 3,
 *            in the upper ones 16 + 4 j ..; of IQ4_NL, whose bits select bytes, they are its lower and its upper 16
 * bits high   of five bits 4 bytes a block: bit 8 b + w is element 4 w + b's bit 4; of Q6_K 8 bytes, a word for each 16
 *            elements: bits 8 b + 2 j and the next are element 4 j + b's
 *     side   2 bytes a block, d; of Q4_1 and Q5_1 d and m; of Q4_K and Q5_K six bits scale, six bits minimum and, of
 *            part i, bits 4 i .. 4 i + 3 of d and m; of Q6_K two signed scales
 *     d      of Q6_K alone: 2 bytes for 256 elements
 *
 * Where a type's elements have a sign, their highest bit is turned over: they are two's complements.
 */
#ifndef GEMMARK_KERNELS_CUDA_QUANTS_GEOMETRY_H
#define GEMMARK_KERNELS_CUDA_QUANTS_GEOMETRY_H

#include "kernels/cuda/shared.h"
#include "kernels/params_operands.h"

enum { QUANTS_BLOCK = 32 };

SHARED_CONSTANT int quants_has(int type)
{
	switch (type) {
#define X(NAME, word, number, block, block_bytes, file_type, a, b) case TENSOR_##NAME:
		TENSOR_QUANT_TYPES(X, , )
#undef X
		return 1;
	}
	return 0;
}

/* In 256s, each part with a scale and a minimum. */
SHARED_CONSTANT int quants_in_parts(int type)
{
	return type == TENSOR_Q4_K || type == TENSOR_Q5_K;
}

SHARED_CONSTANT int quants_have_least(int type)
{
	return quants_in_parts(type) || type == TENSOR_Q4_1 || type == TENSOR_Q5_1;
}

SHARED_CONSTANT int quants_have_five(int type)
{
	return type == TENSOR_Q5_0 || type == TENSOR_Q5_1 || type == TENSOR_Q5_K;
}

/* Bytes of a block in the planes high and side. */
SHARED_CONSTANT int quants_high_bytes(int type)
{
	return type == TENSOR_Q6_K ? 8 : quants_have_five(type) ? 4 : 0;
}

SHARED_CONSTANT int quants_side_bytes(int type)
{
	return type == TENSOR_Q4_1 || type == TENSOR_Q5_1 ? 4 : 2;
}

/* Where the planes begin in a matrix of so many blocks of 32. */
SHARED_CONSTANT long long quants_high_at(long long n_blocks)
{
	return n_blocks * 16;
}

SHARED_CONSTANT long long quants_side_at(int type, long long n_blocks)
{
	return n_blocks * (16 + quants_high_bytes(type));
}

SHARED_CONSTANT long long quants_d_at(int type, long long n_blocks)
{
	return n_blocks * (16 + quants_high_bytes(type) + quants_side_bytes(type));
}

/* Elements that rows are a multiple of. */
SHARED_CONSTANT int quants_row_multiple(int type)
{
	return quants_in_parts(type) || type == TENSOR_Q6_K ? 256 : QUANTS_BLOCK;
}

#endif
