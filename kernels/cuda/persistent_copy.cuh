/*
 * The way of a token's weights and keys into shared memory: a ring of stages, and the thread that fills them, one piece
 * after the other, phase after phase, without a look at activations: so the memory is busy while the others wait for
 * each other. The ring is deep, but only so many pieces are on their way at once as the phase's limit says: what the
 * others poll for queues behind them in the L2.
 */
#ifndef GEMMARK_KERNELS_CUDA_PERSISTENT_COPY_CUH
#define GEMMARK_KERNELS_CUDA_PERSISTENT_COPY_CUH

#include "kernels/cuda/persistent_vector.cuh"

struct stages {
	char *memory;             /* (n, bytes) */
	unsigned long long *full; /* (n): a stage's copies are there */
	unsigned long long *empty;
	int n;
	int bytes; /* of a stage */
};

INLINE struct stages stages_of(char *shared, const struct persistent_program &g, const struct persistent_layout &l)
{
	struct stages s;
	s.memory = shared;
	s.full = (unsigned long long *)(shared + l.barriers);
	s.empty = s.full + PERSISTENT_MAX_STAGES;
	s.n = g.n_stages;
	s.bytes = g.stage_bytes;
	return s;
}

/* Where a warp is in the ring. */
struct stage {
	int at = 0;
	unsigned parity = 0;

	__device__ __forceinline__ void next(const struct stages &s)
	{
		if (++at == s.n) {
			at = 0;
			parity ^= 1;
		}
	}

	/* n stages further on */
	__device__ __forceinline__ struct stage after(int n, const struct stages &s) const
	{
		struct stage t = *this;
		t.at += n;
		while (t.at >= s.n) {
			t.at -= s.n;
			t.parity ^= 1;
		}
		return t;
	}
};

/* A warp gives a piece back, of which it has so many of the shares. */
INLINE void give_back(const struct stages &s, const struct stage &stage, int shares)
{
	__syncwarp();
	if (threadIdx.x % WARP == 0)
		barrier_arrive(s.empty + stage.at, shares);
}

/* The thread that fills. */
struct filling {
	const struct stages &s;
	unsigned long long weights_policy, keys_policy;
	struct stage own, oldest;
	int on_their_way = 0;

	__device__ __forceinline__ filling(const struct stages &stages) : s(stages)
	{
		weights_policy = evict_first();
		keys_policy = evict_normal();
	}

	/* Waits until a piece may be copied; returns where to, and what its bytes complete on. */
	__device__ __forceinline__ char *begin(int bytes, int limit, unsigned long long *&full)
	{
		const int at = own.at;
		barrier_wait(s.empty + at, own.parity ^ 1);
		/* Never all of the ring: a piece's barrier is not used again before the piece is counted. */
		while (on_their_way >= limit) {
			barrier_wait(s.full + oldest.at, oldest.parity);
			oldest.next(s);
			on_their_way--;
		}
		on_their_way++;
		own.next(s);
		full = s.full + at;
		barrier_expect(full, (unsigned)bytes);
		return s.memory + at * s.bytes;
	}
};

/* The block's first job of a product, a persistent_product or the copy of it; behind all jobs if it has none. */
template <class P> INLINE int first_job(const P &p, int n_blocks)
{
	const int at = (int)blockIdx.x - p.rotate, job = at < 0 ? at + n_blocks : at;
	return job < p.stride ? job : p.n_jobs;
}

/* One thread's: all of a block's jobs of one product. */
INLINE void fill_product(const struct persistent_copy &c, const void *tiled, int n_blocks, struct filling &f)
{
	int n = 0;
#pragma unroll 1
	for (int job = first_job(c, n_blocks); job < c.n_jobs; job += c.stride, n++) {
		const int limit = n < c.first_jobs ? c.first_limit : c.limit;
		const char *from = (const char *)tiled + c.at + (long long)job * c.job_bytes;
#pragma unroll 1
		for (int left = c.job_bytes; left > 0; left -= c.piece_bytes, from += c.piece_bytes) {
			const int bytes = min(left, c.piece_bytes);
			unsigned long long *full;
			char *const to = f.begin(bytes, limit, full);
			bulk_copy(to, from, (unsigned)bytes, full, f.weights_policy);
		}
	}
}

#endif
