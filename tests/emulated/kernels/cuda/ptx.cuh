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
INLINE void prefetch_l2(const void *)
{
}
/* Static variables are not far apart. */
INLINE unsigned shared_address(const void *p)
{
	return (unsigned)((uintptr_t)p - (uintptr_t)shared_memory);
}

INLINE unsigned shared_bytes()
{
	return emulated_shared_bytes;
}

INLINE char *shared_pointer(unsigned a)
{
	return shared_memory + (int)a;
}

/* Copies are late: they happen when they are waited for. */
template <int BYTES> INLINE void copy_async(unsigned to, const void *from, bool valid)
{
	emulated_copy(shared_pointer(to), from, valid ? BYTES : 0, BYTES);
}

INLINE void copy_async(unsigned to, const void *from, bool valid)
{
	copy_async<16>(to, from, valid);
}

INLINE void commit_copies()
{
	emulated_commit();
}

template <int N> INLINE void wait_for_copies_but()
{
	emulated_wait(N);
}

unsigned arrive(unsigned *counter);
/* Of graph.cpp. */
struct CUgraphExec_st *current_graph();
unsigned long long nanoseconds();
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
