/* Rotary position embedding of a pair of elements. */
#ifndef GEMMARK_KERNELS_CUDA_ROPE_CUH
#define GEMMARK_KERNELS_CUDA_ROPE_CUH

#include "kernels/cuda/device.cuh"

/* The angle is a float32 product, as everywhere; its reduction to half turns is exact to float32. */
INLINE float2 cos_sin(int pos, float inv_freq)
{
	const double half_turns = (double)((float)pos * inv_freq) * 0.31830988618379067154;
	float2 cs;
	sincospif((float)(half_turns - 2.0 * rint(half_turns * 0.5)), &cs.y, &cs.x);
	return cs;
}

INLINE float2 rotate(float2 v, float2 cs)
{
	return make_float2(v.x * cs.x - v.y * cs.y, v.x * cs.y + v.y * cs.x);
}

#endif
