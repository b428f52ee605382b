/*
 * The instructions that CUDA C++ has no word for. Apart, so that the kernels can also
 * be compiled for a machine without them.
 */
#ifndef GEMMARK_KERNELS_CUDA_PTX_CUH
#define GEMMARK_KERNELS_CUDA_PTX_CUH

#define INLINE static __device__ __forceinline__

/* ---- programmatic dependent launch; no-ops without the launch attribute ---- */

/* Until every earlier kernel of the stream is complete and its writes are visible. */
INLINE void wait_for_launches()
{
#if __CUDA_ARCH__ >= 900
	asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/* The next kernel may start as far as its own wait. */
INLINE void let_next_start()
{
#if __CUDA_ARCH__ >= 900
	asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/* Brings a line to the L2, before the wait: what is read there later is what was written last all the same. */
INLINE void prefetch_l2(const void *p)
{
	asm volatile("prefetch.global.L2 [%0];" ::"l"(p));
}

/* ---- copies into shared memory, asynchronous ---- */

/* An address for them. */
INLINE unsigned shared_address(const void *p)
{
	return (unsigned)__cvta_generic_to_shared(p);
}

/* Dynamic ones of the CTA. */
INLINE unsigned shared_bytes()
{
	unsigned n;
	asm("mov.u32 %0, %%dynamic_smem_size;" : "=r"(n));
	return n;
}

/* BYTES, 4, 8 or 16, or as many zeros where there is nothing to copy. */
template <int BYTES> INLINE void copy_async(unsigned to, const void *from, bool valid)
{
	if (BYTES == 16) /* not through the L1 */
		asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(valid ? 16 : 0)
			     : "memory");
	else
		asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(to), "l"(from), "n"(BYTES),
			     "r"(valid ? BYTES : 0)
			     : "memory");
}

/* 16 bytes. */
INLINE void copy_async(unsigned to, const void *from, bool valid)
{
	copy_async<16>(to, from, valid);
}

/* What this thread has asked for since the last such call is a group. */
INLINE void commit_copies()
{
	asm volatile("cp.async.commit_group;" ::: "memory");
}

/* Until at most the N latest groups of this thread are on their way. */
template <int N> INLINE void wait_for_copies_but()
{
	asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

/* ---- counters ---- */

/*
 * Adds 1 and returns what was there. What this thread has written or seen written before (behind a barrier: what its
 * CTA has) is seen by whoever adds after it.
 */
INLINE unsigned arrive(unsigned *counter)
{
	unsigned before;
	asm volatile("atom.add.acq_rel.gpu.global.u32 %0, [%1], 1;" : "=r"(before) : "l"(counter) : "memory");
	return before;
}

/* What was written in front of a store_release is seen behind the load_acquire that reads what that stored. */
INLINE unsigned load_acquire(const unsigned *p)
{
	unsigned v;
	asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(v) : "l"(p) : "memory");
	return v;
}

INLINE void store_release(unsigned *p, unsigned v)
{
	asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(p), "r"(v) : "memory");
}

/* ---- the graph, the time and the place ---- */

/* That this kernel is a node of, where it was launched on the device. */
INLINE struct CUgraphExec_st *current_graph()
{
	unsigned long long exec;
	asm("mov.u64 %0, %%current_graph_exec;" : "=l"(exec));
	return (struct CUgraphExec_st *)exec;
}

/* Nanoseconds of a clock that all multiprocessors share. */
INLINE unsigned long long nanoseconds()
{
	unsigned long long t;
	asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(t));
	return t;
}

INLINE unsigned multiprocessor()
{
	unsigned n;
	asm("mov.u32 %0, %%smid;" : "=r"(n));
	return n;
}

/* ---- the wait that kernels ask for ---- */

#ifdef TIMELINE
#include "kernels/cuda/stamps.cuh"
#else
INLINE void wait_for_earlier()
{
	wait_for_launches();
}
#endif

/* ---- conversions ---- */

INLINE float f16_to_f32(unsigned short h)
{
	float f;
	asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
	return f;
}

INLINE unsigned short f32_to_f16(float f)
{
	unsigned short h;
	asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(f));
	return h;
}

/* Two floats as a word of float16, lo in its lower half. */
INLINE unsigned pack_f16(float lo, float hi)
{
	unsigned v;
	asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(v) : "f"(hi), "f"(lo));
	return v;
}

INLINE unsigned short f32_to_bf16(float f)
{
	unsigned short h;
	asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(h) : "f"(f));
	return h;
}

#endif
