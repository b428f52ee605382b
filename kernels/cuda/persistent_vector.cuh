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

/* Vectors of four first, first + stride .. of x; 0 from number n on. All are asked for at once. */
template <int N>
INLINE void await_vecs(const float *x, int first, int stride, int n, unsigned parity, float4 (&v)[N])
{
	struct patience patience;
	uint4 u[N];
	unsigned missing = 0;
#pragma unroll
	for (int j = 0; j < N; j++) {
		u[j] = make_uint4(0, 0, 0, 0);
		if (first + j * stride < n)
			missing |= 1u << j;
	}
	while (missing) {
#pragma unroll
		for (int j = 0; j < N; j++)
			if (missing >> j & 1)
				u[j] = load_now4(x + 4 * (first + j * stride));
#pragma unroll
		for (int j = 0; j < N; j++)
			if ((((u[j].x ^ parity) | (u[j].y ^ parity) | (u[j].z ^ parity) | (u[j].w ^ parity)) & 1) == 0)
				missing &= ~(1u << j);
		patience.wait();
	}
#pragma unroll
	for (int j = 0; j < N; j++)
		v[j] = make_float4(__uint_as_float(u[j].x & ~1u), __uint_as_float(u[j].y & ~1u),
				   __uint_as_float(u[j].z & ~1u), __uint_as_float(u[j].w & ~1u));
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
	float *scratch;      /* shared, (2, WARP) */
	unsigned n_sums = 0; /* made so far */
};

/* Over the threads that compute. Every thread gets the sum. */
INLINE float consumers_sum(struct token &t, float v)
{
	const int lane = threadIdx.x % WARP;
	float *const scratch = t.scratch + (t.n_sums++ & 1) * WARP; /* the other one may still be read */
	v = warp_sum(v);
	if (lane == 0)
		scratch[threadIdx.x / WARP] = v;
	consumers_sync();
	return warp_sum(lane < PERSISTENT_WARPS ? scratch[lane] : 0.0f);
}

#endif
