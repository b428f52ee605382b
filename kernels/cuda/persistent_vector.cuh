/*
 * How blocks of a token's kernel hand values to each other: no barrier, the data says that it is there.
 *
 * A vector's elements have the parity of the token's number in the last bit of their mantissa, which no reader uses:
 * it is 0 in what they compute with, so the bits of a token do not depend on its number. Each element is written once
 * a token, so whatever is there before that is the last token's and has the other parity. What a token may leave out
 * (sums of splits, whose number depends on the position) has beside each value the number of its token and phase.
 *
 * Loads and stores are relaxed: no value promises anything about another one.
 */
#ifndef GEMMARK_KERNELS_CUDA_PERSISTENT_VECTOR_CUH
#define GEMMARK_KERNELS_CUDA_PERSISTENT_VECTOR_CUH

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/persistent_ptx.cuh"

INLINE void barrier_wait(unsigned long long *b, unsigned parity)
{
	while (!barrier_try(b, parity))
		;
}

INLINE void publish(float *p, float v, unsigned parity)
{
	store_now(p, (__float_as_uint(v) & ~1u) | parity);
}

/* Four behind each other, from a multiple of 16 bytes on. */
INLINE void publish4(float *p, float4 v, unsigned parity)
{
	store_now4(p, make_uint4((__float_as_uint(v.x) & ~1u) | parity, (__float_as_uint(v.y) & ~1u) | parity,
				 (__float_as_uint(v.z) & ~1u) | parity, (__float_as_uint(v.w) & ~1u) | parity));
}

INLINE float await(const float *p, unsigned parity)
{
	unsigned v;
	do
		v = load_now(p);
	while ((v & 1) != parity);
	return __uint_as_float(v & ~1u);
}

constexpr float LOG2_E = 1.4426950408889634f;

/* 2^x, to two units in the last place. */
INLINE float power_of_two(float x)
{
	return exp2_near(x);
}

/* activate and softcap, to some units in the last place. */
INLINE float activate_near(float g, int act)
{
	return g * __fdividef(1.0f, 1.0f + power_of_two(activation_argument(g, act) * -LOG2_E));
}

INLINE float softcap_near(float x, float cap)
{
	return cap * tanhf(__fdividef(x, cap));
}

/* 1 / sqrt(x), to a unit in the last place or two. */
INLINE float reciprocal_root(float x)
{
	return rsqrtf(x);
}

/* ---- values with a number ---- */

INLINE unsigned long long numbered(float v, unsigned number)
{
	return (unsigned long long)number << 32 | __float_as_uint(v);
}

INLINE void publish_numbered2(unsigned long long *p, float a, float b, unsigned number)
{
	store_now64x2(p, numbered(a, number), numbered(b, number));
}

INLINE bool is_numbered(unsigned long long v, unsigned number)
{
	return (unsigned)(v >> 32) == number;
}

INLINE float numbered_value(unsigned long long v)
{
	return __uint_as_float((unsigned)v);
}

/* ---- the block ---- */

/* What a thread that computes knows of its token; the rest is in the block's copy of the program. */
struct token {
	unsigned parity;
	/* Which of two places is next: of sums, of sums that are left for later, of jobs' sums. Bits of one register.
	 */
	unsigned next = 0;

	enum { SUMS = 1, LEFT = 2, GROUPS = 4 };

	__device__ __forceinline__ int place(unsigned of) const
	{
		return next & of ? 1 : 0;
	}
};

INLINE float *shared_floats(int at)
{
	return (float *)(shared_memory + at);
}

/* Of the block's phase, where there are any; one thread knows and leaves them. */
INLINE void stamp(const struct persistent_program &g, enum persistent_stamp s)
{
	if (threadIdx.x == 0 && g.stamps)
		g.stamps[s] = nanoseconds();
}

/* The same: what tells that there are none is a constant, at no cost of a load or a register. */
INLINE void stamp(const struct persistent_params &params, const struct persistent_program &g, enum persistent_stamp s)
{
	if (params.stamps)
		stamp(g, s);
}

/* Of what each warp left there. */
INLINE float sum_of_warps(const float *left)
{
	float sum = 0.0f;
#pragma unroll
	for (int w = 0; w < PERSISTENT_WARPS; w++)
		sum += left[w];
	return sum;
}

/*
 * Over the threads that compute. Every thread gets the sum. scratch: (2, WARP) of sums, then (2, WARPS) of those that
 * are left for later.
 */
INLINE float consumers_sum(const struct persistent_program &g, struct token &t, float v)
{
	const int lane = threadIdx.x % WARP;
	float *const scratch =
		shared_floats(g.scratch_at) + t.place(t.SUMS) * WARP; /* the other one may still be read */
	t.next ^= t.SUMS;
	v = warp_sum(v);
	if (lane == 0)
		scratch[threadIdx.x / WARP] = v;
	consumers_sync();
	return sum_of_warps(scratch);
}

/* A thread's part of a sum that left_sum makes of it behind the next barrier. */
INLINE void leave_sum(const struct persistent_program &g, struct token &t, float v)
{
	v = warp_sum(v);
	if (threadIdx.x % WARP == 0)
		shared_floats(g.scratch_at)[2 * WARP + t.place(t.LEFT) * PERSISTENT_WARPS + threadIdx.x / WARP] = v;
	t.next ^= t.LEFT;
}

/* The sum that was left last. */
INLINE float left_sum(const struct persistent_program &g, const struct token &t)
{
	return sum_of_warps(shared_floats(g.scratch_at) + 2 * WARP + (1 - t.place(t.LEFT)) * PERSISTENT_WARPS);
}

#endif
