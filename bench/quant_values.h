/* Elements of the blocks of TENSOR_QUANT_TYPES, one at a time, from what GGUF says of them: what kernels are checked
 * by. */
#ifndef GEMMARK_BENCH_QUANT_VALUES_H
#define GEMMARK_BENCH_QUANT_VALUES_H

#include <stddef.h>
#include <stdint.h>

/* Elements of a type's block, and its bytes; 0 for types that are none of TENSOR_QUANT_TYPES. */
int quant_block(int type);
size_t quant_block_bytes(int type);

/* Element k of a block: the exact value, rounded to float32 where that does not hold it. */
float quant_value(int type, const unsigned char *block, int k);

/* Random blocks; `half` gives their scales, of magnitudes up to 1. */
void quant_fill(int type, unsigned char *blocks, size_t n_blocks, uint32_t (*bits)(void *ctx),
		uint16_t (*half)(void *ctx), void *ctx);

#endif
