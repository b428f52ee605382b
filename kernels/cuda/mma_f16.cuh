/* Tensor cores in float16 and copies to shared memory that run ahead: compute capability 8.0 and up. */
#ifndef GEMMARK_KERNELS_CUDA_MMA_F16_CUH
#define GEMMARK_KERNELS_CUDA_MMA_F16_CUH

#include "kernels/cuda/ptx.cuh"

#define INLINE_MEMBER __device__ __forceinline__

INLINE unsigned shared_address(const void *p)
{
	return (unsigned)__cvta_generic_to_shared(p);
}

/* Zeros where there is nothing: from is not read then. */
INLINE void copy_async_16(unsigned to, const void *from, bool there)
{
	asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(there ? 16 : 0)
		     : "memory");
}

INLINE void copy_async_4(unsigned to, const void *from, bool there)
{
	asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(from), "r"(there ? 4 : 0)
		     : "memory");
}

INLINE void commit_copies()
{
	asm volatile("cp.async.commit_group;" ::: "memory");
}

/* Until at most N groups, the latest ones, are on their way. */
template <int N> INLINE void wait_for_copies()
{
	asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

/*
 * d += a . b over 16 elements, 16 rows of a and 8 columns of b. Of lane l, with g = l / 4 and q = l % 4: a0 and a2 are
 * row g, a1 and a3 row g + 8, elements 2q and 2q + 1, of a2 and a3 eight more; b0 and b1 the same elements of column g.
 * d: row g, columns 2q and 2q + 1, then row g + 8.
 */
INLINE void mma_f16(float d[4], unsigned a0, unsigned a1, unsigned a2, unsigned a3, unsigned b0, unsigned b1)
{
	asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
	    "{%0, %1, %2, %3};"
	    : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
	    : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

#endif
