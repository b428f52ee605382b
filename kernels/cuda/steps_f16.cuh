/* Int8 of a cache in Q8_0 as what tensor cores multiply. */
#ifndef GEMMARK_KERNELS_CUDA_STEPS_F16_CUH
#define GEMMARK_KERNELS_CUDA_STEPS_F16_CUH

#include "kernels/cuda/mma.cuh"

/* Four int8, exclusive-ored with 0x80808080, as float16: 1024 + 128 + it, less that. */
INLINE void steps_to_f16(unsigned word, unsigned &low, unsigned &high)
{
	low = subtract_f16x2(__byte_perm(word, 0x64646464u, 0x4140), 0x64806480u);
	high = subtract_f16x2(__byte_perm(word, 0x64646464u, 0x4342), 0x64806480u);
}

#endif
