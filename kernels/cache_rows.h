/*
 * Rows of a K/V cache: a KV head's key or value of one position, in head_dim elements. C and CUDA.
 *
 * F32, F16 and BF16: the elements. Q8_0: head_dim int8, then the scales of their blocks of 32 as float16, then zeros up
 * to whole 16 bytes, so that rows are read, and moved by bulk copies, in aligned vectors of 16 bytes: of heads of 256
 * and 512 these are the 34 bytes a block that files have, of 128 they are 36. An element is its int8 times the scale.
 *
 * A block's scale is its greatest magnitude over 127, its int8 the elements times the inverse of that quotient (in
 * float32, before the scale is rounded), to nearest with halves away from zero: the bytes depend on the block alone,
 * and not on who quantises it. Where the scale is not finite, or rounds to 0, the int8 are 0: what is beyond the
 * type's range reads as NaN, and NaN's scale is 0x7e00.
 */
#ifndef GEMMARK_KERNELS_CACHE_ROWS_H
#define GEMMARK_KERNELS_CACHE_ROWS_H

#include "kernels/cuda/shared.h"
#include "kernels/params.h"

enum {
	CACHE_BLOCK = 32,
	CACHE_STEPS = 127, /* of a block's greatest magnitude */
	CACHE_NAN = 0x7e00,
};

SHARED_CONSTANT int cache_row_bytes(int type, int head_dim)
{
	return type == TENSOR_F32    ? head_dim * 4
	       : type == TENSOR_Q8_0 ? (head_dim + head_dim / CACHE_BLOCK * 2 + 15) / 16 * 16
				     : head_dim * 2;
}

/* Whether a row is whole blocks. */
SHARED_CONSTANT int cache_row_possible(int type, int head_dim)
{
	return type != TENSOR_Q8_0 || head_dim % CACHE_BLOCK == 0;
}

#endif
