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

/* A function of its own: what it takes of registers, its callers need not have beside theirs. */
#define APART static __device__ __noinline__

constexpr unsigned long long WAIT_NS = 10000000000ull; /* after which a wait is taken for one in vain */

/* Of a loop that waits, every time around. */
struct patience {
	unsigned times = 0;
	unsigned long long since = 0;

	__device__ __forceinline__ void wait()
	{
		if (++times % 4096)
			return;
		const unsigned long long now = nanoseconds();
		if (!since)
			since = now;
		else if (now - since > WAIT_NS)
			give_up();
	}
};

INLINE void barrier_wait(unsigned long long *b, unsigned parity)
{
	struct patience patience;
	while (!barrier_try(b, parity))
		patience.wait();
}

INLINE void publish(float *p, float v, unsigned parity)
{
	store_now(p, (__float_as_uint(v) & ~1u) | parity);
}

INLINE float await(const float *p, unsigned parity)
{
	struct patience patience;
	for (;;) {
		const unsigned v = load_now(p);
		if ((v & 1) == parity)
			return __uint_as_float(v & ~1u);
		patience.wait();
	}
}

/* ask(i, j): vector j of part i, of P parts of N vectors; null: there is none, and it is 0. All are asked for at once.
 */
template <int P, int N, class F> INLINE void await_all(const F &ask, unsigned parity, float4 (&v)[P * N])
{
	struct patience patience;
	uint4 u[P * N];
	unsigned missing = 0;
#pragma unroll
	for (int i = 0; i < P * N; i++) {
		u[i] = make_uint4(0, 0, 0, 0);
		if (ask(i / N, i % N))
			missing |= 1u << i;
	}
	while (missing) {
#pragma unroll
		for (int i = 0; i < P * N; i++)
			if (missing >> i & 1)
				u[i] = load_now4(ask(i / N, i % N));
#pragma unroll
		for (int i = 0; i < P * N; i++)
			if ((((u[i].x ^ parity) | (u[i].y ^ parity) | (u[i].z ^ parity) | (u[i].w ^ parity)) & 1) == 0)
				missing &= ~(1u << i);
		patience.wait();
	}
#pragma unroll
	for (int i = 0; i < P * N; i++)
		v[i] = make_float4(__uint_as_float(u[i].x & ~1u), __uint_as_float(u[i].y & ~1u),
				   __uint_as_float(u[i].z & ~1u), __uint_as_float(u[i].w & ~1u));
}

/* Vectors of four first, first + CONSUMERS .. of x; 0 from number n on. */
template <int N> INLINE void await_vecs(const float *x, int first, int n, unsigned parity, float4 (&v)[N])
{
	await_all<1, N>(
		[&](int, int j) {
			const int i = first + j * PERSISTENT_CONSUMERS;
			return i < n ? x + 4 * i : nullptr;
		},
		parity, v);
}

/* ---- values with a number ---- */

INLINE void publish_numbered(unsigned long long *p, float v, unsigned number)
{
	store_now64(p, (unsigned long long)number << 32 | __float_as_uint(v));
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

/* What a thread that computes knows of its token. */
struct token {
	struct step step;
	unsigned number;
	unsigned parity;
	float *scratch;        /* shared: (2, WARP) of sums, then (2, WARPS) of those that are left for later */
	unsigned n_sums = 0;   /* made so far */
	unsigned n_left = 0;   /* the same of sums that were left */
	unsigned n_groups = 0; /* of jobs */
};

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

/* Over the threads that compute. Every thread gets the sum. */
INLINE float consumers_sum(struct token &t, float v)
{
	const int lane = threadIdx.x % WARP;
	float *const scratch = t.scratch + (t.n_sums++ & 1) * WARP; /* the other one may still be read */
	v = warp_sum(v);
	if (lane == 0)
		scratch[threadIdx.x / WARP] = v;
	consumers_sync();
	return sum_of_warps(scratch);
}

/* A thread's part of a sum that left_sum makes of it behind the next barrier. */
INLINE void leave_sum(struct token &t, float v)
{
	v = warp_sum(v);
	if (threadIdx.x % WARP == 0)
		t.scratch[2 * WARP + (t.n_left & 1) * PERSISTENT_WARPS + threadIdx.x / WARP] = v;
	t.n_left++;
}

/* The sum that was left last. */
INLINE float left_sum(const struct token &t)
{
	return sum_of_warps(t.scratch + 2 * WARP + ((t.n_left - 1) & 1) * PERSISTENT_WARPS);
}

#endif
