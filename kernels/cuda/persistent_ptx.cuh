/*
 * What the kernel of a whole token needs of PTX beside ptx.cuh: barriers in shared memory and bulk copies that
 * complete on them, loads and stores that other multiprocessors see at once. Apart, as ptx.cuh is. sm_90 and newer.
 */
#ifndef GEMMARK_KERNELS_CUDA_PERSISTENT_PTX_CUH
#define GEMMARK_KERNELS_CUDA_PERSISTENT_PTX_CUH

#include "kernels/cuda/persistent_geometry.h"
#include "kernels/cuda/ptx.cuh"

extern __shared__ __align__(128) char shared_memory[];

/* ---- barriers in shared memory ---- */

INLINE void barrier_init(unsigned long long *b, int arrivals)
{
	asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(b)), "r"(arrivals) : "memory");
}

/* Behind the last init, for copies; other threads also need a barrier of the block's. */
INLINE void barriers_are_ready()
{
	asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
	asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/* Arrives, and as many bytes of copies must arrive too. */
INLINE void barrier_expect(unsigned long long *b, unsigned bytes)
{
	asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(b)), "r"(bytes)
		     : "memory");
}

/* As many times. */
INLINE void barrier_arrive(unsigned long long *b, int times)
{
	asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(b)), "r"(times) : "memory");
}

#define BARRIER_ASKS(name, instruction, longest)                                                    \
	INLINE bool name(unsigned long long *b, unsigned parity)                                    \
	{                                                                                           \
		unsigned done;                                                                      \
		asm volatile("{\n\t"                                                                \
			     ".reg .pred p;\n\t"                                                    \
			     "mbarrier." instruction ".parity.shared::cta.b64 p, [%1], %2" longest ";\n\t" \
			     "selp.u32 %0, 1, 0, p;\n\t"                                            \
			     "}"                                                                    \
			     : "=r"(done)                                                           \
			     : "r"(shared_address(b)), "r"(parity)                                  \
			     : "memory");                                                           \
		return done;                                                                        \
	}

/* Whether the phase of that parity is complete; may wait a while for it. */
BARRIER_ASKS(barrier_try, "try_wait", "")
/* The same, at once. */
BARRIER_ASKS(barrier_test, "test_wait", "")
/* The same, waiting for up to a tenth of a second or so. */
BARRIER_ASKS(barrier_try_long, "try_wait", ", 100000000")
#undef BARRIER_ASKS

/* Of the threads that compute. */
INLINE void consumers_sync()
{
	asm volatile("bar.sync 1, %0;" ::"r"((int)PERSISTENT_CONSUMERS) : "memory");
}

/* ---- copies into shared memory ---- */

INLINE unsigned long long evict_first()
{
	unsigned long long policy;
	asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
	return policy;
}

INLINE unsigned long long evict_normal()
{
	unsigned long long policy;
	asm volatile("createpolicy.fractional.L2::evict_normal.b64 %0, 1.0;" : "=l"(policy));
	return policy;
}

/* Addresses and bytes are multiples of 16. */
INLINE void bulk_copy(void *to, const void *from, unsigned bytes, unsigned long long *b, unsigned long long policy)
{
	asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint "
		     "[%0], [%1], %2, [%3], %4;" ::"r"(shared_address(to)),
		     "l"(from), "r"(bytes), "r"(shared_address(b)), "l"(policy)
		     : "memory");
}

/* Into the L2: the same, but nobody is told. */
INLINE void bulk_prefetch(const void *from, unsigned bytes, unsigned long long policy)
{
	asm volatile("cp.async.bulk.prefetch.L2.global.L2::cache_hint [%0], %1, %2;" ::"l"(from), "r"(bytes), "l"(policy)
		     : "memory");
}

INLINE unsigned cycles()
{
	unsigned t;
	asm volatile("mov.u32 %0, %%clock;" : "=r"(t)::"memory");
	return t;
}

/* 16 bytes, which are there for this thread behind async_copies_wait. */
INLINE void async_copy(void *to, const void *from)
{
	asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(to)), "l"(from) : "memory");
}

INLINE void async_copies_wait()
{
	asm volatile("cp.async.wait_all;" ::: "memory");
}

/* What is read once and kept nowhere near: the L1 is small, and has better things to keep. */
INLINE float4 load_once(const float4 *p)
{
	float4 v;
	asm volatile("ld.global.nc.L1::no_allocate.v4.f32 {%0, %1, %2, %3}, [%4];"
		     : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
		     : "l"(p));
	return v;
}

/* ---- memory that other multiprocessors write and read meanwhile ---- */

INLINE uint4 load_now4(const float *p)
{
	uint4 v;
	asm volatile("ld.relaxed.gpu.global.v4.u32 {%0, %1, %2, %3}, [%4];"
		     : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
		     : "l"(p)
		     : "memory");
	return v;
}

INLINE unsigned load_now(const void *p)
{
	unsigned v;
	asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(v) : "l"(p) : "memory");
	return v;
}

INLINE unsigned long long load_now64(const unsigned long long *p)
{
	unsigned long long v;
	asm volatile("ld.relaxed.gpu.global.u64 %0, [%1];" : "=l"(v) : "l"(p) : "memory");
	return v;
}

INLINE void load_now64x2(const unsigned long long *p, unsigned long long &a, unsigned long long &b)
{
	asm volatile("ld.relaxed.gpu.global.v2.u64 {%0, %1}, [%2];" : "=l"(a), "=l"(b) : "l"(p) : "memory");
}

INLINE void store_now(void *p, unsigned v)
{
	asm volatile("st.relaxed.gpu.global.u32 [%0], %1;" ::"l"(p), "r"(v) : "memory");
}

INLINE void store_now4(void *p, uint4 v)
{
	asm volatile("st.relaxed.gpu.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(p), "r"(v.x), "r"(v.y), "r"(v.z),
		     "r"(v.w)
		     : "memory");
}

/* Two behind each other, each as a whole. */
INLINE void store_now64x2(unsigned long long *p, unsigned long long a, unsigned long long b)
{
	asm volatile("st.relaxed.gpu.global.v2.u64 [%0], {%1, %2};" ::"l"(p), "l"(a), "l"(b) : "memory");
}

INLINE float exp2_near(float x)
{
	float y;
	asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
	return y;
}

/* Byte i of a word with its sign, in one instruction, which __byte_perm is not. */
INLINE unsigned signed_byte_step(unsigned i)
{
	return 0x1111u * i;
}

INLINE unsigned signed_byte_selector(unsigned i)
{
	return 0x8880u + signed_byte_step(i);
}

INLINE int signed_byte(unsigned word, unsigned selector)
{
	unsigned v;
	asm("prmt.b32 %0, %1, 0, %2;" : "=r"(v) : "r"(word), "r"(selector));
	return (int)v;
}

/* ---- integer products ---- */

/* c += a b; a: (16, 32), b: (32, 8) of signed bytes. */
INLINE void multiply_add_s8(int (&c)[4], unsigned a0, unsigned a1, unsigned a2, unsigned a3, unsigned b0, unsigned b1)
{
	asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
	    "{%0, %1, %2, %3};"
	    : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
	    : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

/* ---- a wait that is in vain ---- */

/* Ends the kernel; the host gets an error for it and for whatever comes after. */
INLINE void give_up()
{
	asm volatile("trap;");
}

#endif
