/*
 * Blocks of the quantised types from float32 values, for synthetic models: the whole range of every block is used, and
 * nothing is searched for that would lose less. What blocks hold is in kernels/cpu/inner_quants.h.
 */
#ifndef GEMMARK_ENGINE_MODEL_QUANTIZE_H
#define GEMMARK_ENGINE_MODEL_QUANTIZE_H

#include "engine/model/tensor_type.h"

enum { QUANTIZE_BLOCK_MAX = 256 };

/* One block of a type whose block has more than one element. The bytes are the same on every machine. */
void quantize_block(enum tensor_type type, const float *x, unsigned char *out);

#endif
