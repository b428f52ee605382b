/* Rows of float16 with a scale, as kernels/params_prompt.h says: what writes them. */
#ifndef GEMMARK_KERNELS_CUDA_ROWS_F16_CUH
#define GEMMARK_KERNELS_CUDA_ROWS_F16_CUH

#include "kernels/cuda/device.cuh"

/* As block_sum. */
INLINE float block_max(float v, float *scratch)
{
	const int lane = threadIdx.x % WARP;
	v = warp_max(v);
	if (lane == 0)
		scratch[threadIdx.x / WARP] = v;
	__syncthreads();
	return warp_max(lane < (int)blockDim.x / WARP ? scratch[lane] : 0.0f);
}

/* The scale of a row whose largest magnitude that is. */
INLINE float scale_of(float largest)
{
	return __uint_as_float(__float_as_uint(fmaxf(largest, 0x1p-60f)) & 0x7f800000u) * 0.25f;
}

/* What two sums over scaled rows make: not beyond what float16 holds. */
INLINE float within_f16(float y)
{
	return y > 65504.0f ? 65504.0f : y < -65504.0f ? -65504.0f : y;
}

#endif
