/*
 * Tensor cores and what feeds them, compute capability 8.0 and up: products of 16-bit matrices, loads of their 8 by 8
 * parts from shared memory, copies into it. Apart, so that kernels can also be compiled for a machine without them.
 *
 * Fragments are PTX's for m16n8k16. Lane l has, of the rows (or columns) l / 4 and l / 4 + 8, elements 2 (l % 4) and
 * the next, two to a register, lower first.
 */
#ifndef GEMMARK_KERNELS_CUDA_MMA_CUH
#define GEMMARK_KERNELS_CUDA_MMA_CUH

#include "kernels/cuda/device.cuh"

/* threadIdx.x and blockIdx.x, read anew: what is derived from them is computed again, and takes no registers meanwhile.
 */
INLINE unsigned thread_anew()
{
	unsigned i;
	asm volatile("mov.u32 %0, %%tid.x;" : "=r"(i));
	return i;
}

INLINE unsigned block_anew()
{
	unsigned i;
	asm volatile("mov.u32 %0, %%ctaid.x;" : "=r"(i));
	return i;
}

/* shared_address, kept: the compiler does not see how to compute it again, and spills fewer registers. */
INLINE unsigned kept_shared_address(const void *p)
{
	unsigned a;
	asm("{ .reg .u64 wide; cvta.to.shared.u64 wide, %1; cvt.u32.u64 %0, wide; }" : "=r"(a) : "l"(p));
	return a;
}

/* 16 bytes at such an address. */
INLINE uint4 load_shared(unsigned from)
{
	uint4 v;
	asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
		     : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
		     : "r"(from)
		     : "memory");
	return v;
}

INLINE void store_shared(unsigned to, uint4 v)
{
	asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w)
		     : "memory");
}

/* Until all copies of this thread have landed: others see them behind the next barrier. */
INLINE void wait_for_copies()
{
	asm volatile("cp.async.wait_all;" ::: "memory");
}

/* Of `threads` threads, whole warps; id 1 .. 15, 0 is __syncthreads's. */
INLINE void barrier_of(int id, int threads)
{
	asm volatile("barrier.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

/* Four matrices of 8 rows of 16 bytes: lane l gives the address of row l % 8 of matrix l / 8. */
INLINE void load_matrices(unsigned from, unsigned (&m)[4])
{
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
		     : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
		     : "r"(from)
		     : "memory");
}

/* Each of them transposed. */
INLINE void load_matrices_transposed(unsigned from, unsigned (&m)[4])
{
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
		     : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
		     : "r"(from)
		     : "memory");
}

/* c += a b; a: (16, 16), b: (16, 8), of type T, c: (16, 8) float32: sums of the exact products. */
template <int T>
INLINE void multiply_add(float (&c)[4], unsigned a0, unsigned a1, unsigned a2, unsigned a3, unsigned b0, unsigned b1)
{
	if (T == TENSOR_F16)
		asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
		    "{%0, %1, %2, %3};"
		    : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
		    : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
	else
		asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
		    "{%0, %1, %2, %3};"
		    : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
		    : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

template <int T> INLINE void multiply_add(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1)
{
	multiply_add<T>(c, a[0], a[1], a[2], a[3], b0, b1);
}

/* Two float16 each. */
INLINE unsigned subtract_f16x2(unsigned a, unsigned b)
{
	unsigned d;
	asm("sub.rn.f16x2 %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b));
	return d;
}

INLINE unsigned multiply_f16x2(unsigned a, unsigned b)
{
	unsigned d;
	asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b));
	return d;
}

/* Rounded once. */
INLINE unsigned multiply_add_f16x2(unsigned a, unsigned b, unsigned c)
{
	unsigned d;
	asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
	return d;
}

/* Two floats rounded to type T, the first one lower. */
template <int T> INLINE unsigned pair_from_f32(float low, float high)
{
	unsigned w;
	if (T == TENSOR_F16)
		asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(w) : "f"(high), "f"(low));
	else
		asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(w) : "f"(high), "f"(low));
	return w;
}

/* 2^x to about two units in the last place; 0 where it would be subnormal. */
INLINE float power_of_two(float x)
{
	float y;
	asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
	return y;
}

#endif
