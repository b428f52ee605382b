/* In the place of kernels/cuda/ptx.cuh, for the emulation. */
#ifndef GEMMARK_KERNELS_CUDA_PTX_CUH
#define GEMMARK_KERNELS_CUDA_PTX_CUH

#include "kernels/cpu/half.h"
#include "tests/emulated/words.h"

INLINE void wait_for_earlier()
{
}
INLINE void let_next_start()
{
}
INLINE uint4 load_streaming(const void *p)
{
	return *(const uint4 *)p;
}
INLINE uint2 load_streaming_u64(const void *p)
{
	return *(const uint2 *)p;
}
INLINE unsigned load_streaming_u32(const void *p)
{
	return *(const unsigned *)p;
}
INLINE unsigned short load_streaming_u16(const void *p)
{
	return *(const unsigned short *)p;
}
INLINE void prefetch_l2(const void *)
{
}
unsigned arrive(unsigned *counter);
INLINE float f16_to_f32(unsigned short h)
{
	return half_f16_to_f32(h);
}
INLINE unsigned short f32_to_f16(float f)
{
	return half_f32_to_f16(f);
}
INLINE unsigned pack_f16(float lo, float hi)
{
	return half_f32_to_f16(lo) | (unsigned)half_f32_to_f16(hi) << 16;
}
INLINE unsigned short f32_to_bf16(float f)
{
	return half_f32_to_bf16(f);
}

#endif
