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

/*
 * Until a warp's piece is there. A barrier tells the parity of its last phase: of a stage whose piece before has not even
 * come it tells that of the one before that, which passes for this one. The plan sees to it that the piece before has
 * come by then (pieces_within), or else this is compiled so that a warp first waits until it was given back.
 */
INLINE void await_piece(const struct stages &s, const struct stage &there)
{
#ifdef FAR_WAITS
	barrier_wait(s.empty + there.at, there.parity ^ 1);
#endif
	barrier_wait(s.full + there.at, there.parity);
}

/* A warp gives a piece back, of which it has so many of the shares. */
INLINE void give_back(const struct stages &s, const struct stage &stage, int shares)
{
	__syncwarp();
	if (threadIdx.x % WARP == 0)
		barrier_arrive(s.empty + stage.at, shares);
}

/* The block's first job of a product, a persistent_product or the copy of it; behind all jobs if it has none. */
template <class P> INLINE int first_job(const P &p, int n_blocks)
{
	const int at = (int)blockIdx.x - p.rotate, job = at < 0 ? at + n_blocks : at;
	return job < p.stride ? job : p.n_jobs;
}

#ifdef EXPERTS
/* In the block's shared memory: numbers of the experts that a token takes, then their weights. */
INLINE int *chosen_experts(const struct persistent_program &g)
{
	return (int *)(shared_memory + g.chosen_at);
}

INLINE float *expert_weights(const struct persistent_program &g)
{
	return (float *)(chosen_experts(g) + PERSISTENT_CHOSEN);
}

/* What places in jobs of experts have in common. */
struct experts_jobs {
	const char *tiled;
	const int *chosen;
	long long expert_bytes;
	int n_used, n_slices, each, stride;
};
#endif

/* A place in a block's jobs of a product, piece by piece. */
struct place {
	const char *at;
	int left;    /* bytes of its job; 0 behind the last one */
	int n_jobs;  /* behind it */
	int n_piece; /* bytes of pieces but a job's last one */
	int n_job;
	long long skip; /* bytes from a job's end to the next job */
#ifdef EXPERTS
	int job, expert, end; /* of the job: number of the expert among the chosen ones, and where its last one's is */

	/* The job's first expert, if there is one. */
	__device__ __forceinline__ void open_job(const struct experts_jobs &e)
	{
		const int first = job % e.n_slices * e.each;
		expert = first;
		end = min(first + e.each, e.n_used);
		open_expert(e);
	}

	__device__ __forceinline__ void open_expert(const struct experts_jobs &e)
	{
		left = expert < end ? n_job : 0;
		if (left)
			at = e.tiled + e.chosen[expert] * e.expert_bytes + (long long)(job / e.n_slices) * n_job;
	}

	__device__ __forceinline__ void begin(const struct persistent_copy &c, const struct experts_jobs &e,
					      int n_blocks)
	{
		begin(c, e.tiled, n_blocks);
		job = first_job(c, n_blocks);
		if (left)
			open_job(e);
	}

	__device__ __forceinline__ void next(const struct experts_jobs &e)
	{
		const int n = bytes();
		at += n;
		left -= n;
		if (left)
			return;
		if (++expert < end) {
			open_expert(e);
		} else if (n_jobs > 0) {
			n_jobs--;
			job += e.stride;
			open_job(e);
		}
	}
#endif

	__device__ __forceinline__ void begin(const struct persistent_copy &c, const void *tiled, int n_blocks)
	{
		const int first = first_job(c, n_blocks);
		const bool any = first < c.n_jobs;
#ifdef EXPERTS
		if (c.from)
			tiled = c.from;
#endif
		at = (const char *)tiled + c.at + (long long)first * c.job_bytes;
		left = any ? c.job_bytes : 0;
		n_jobs = any ? (c.n_jobs - 1 - first) / c.stride : 0;
		n_piece = c.piece_bytes;
		n_job = c.job_bytes;
		skip = (long long)(c.stride - 1) * c.job_bytes;
	}

	__device__ __forceinline__ int bytes() const
	{
		return min(left, n_piece);
	}

	__device__ __forceinline__ void next()
	{
		const int n = bytes();
		at += n;
		left -= n;
		if (left == 0 && n_jobs > 0) {
			n_jobs--;
			at += skip;
			left = n_job;
		}
	}
};

/* The thread that fills. */
struct filling {
	const struct persistent_program &g;
	const struct stages &s;
	unsigned long long weights_policy, keys_policy;
	struct stage own, oldest;
	int on_their_way = 0;
	/* Up to where the L2 has pieces, of which phase's product that is, and how many that are not copied yet. */
	struct place ahead;
	int ahead_phase = 0;
	int n_ahead = 0;
#ifdef EXPERTS
	struct experts_jobs experts;
#endif

	__device__ __forceinline__ filling(const struct persistent_program &program, const struct stages &stages)
	    : g(program), s(stages)
	{
		weights_policy = evict_first();
		keys_policy = evict_normal();
		ahead.left = 0;
#ifdef EXPERTS
		experts.chosen = chosen_experts(g);
		experts.n_used = 0;
#endif
	}

	__device__ __forceinline__ void begin_place(const struct persistent_copy &c, struct place &p)
	{
#ifdef EXPERTS
		experts.n_used = c.n_used;
		experts.tiled = (const char *)g.tiled + c.at;
		experts.expert_bytes = c.expert_bytes;
		experts.n_slices = c.n_slices;
		experts.each = c.experts_each;
		experts.stride = c.stride;
		if (c.n_used) {
			p.begin(c, experts, g.n_blocks);
			return;
		}
#endif
		p.begin(c, g.tiled, g.n_blocks);
	}

	__device__ __forceinline__ void next_piece(struct place &p)
	{
#ifdef EXPERTS
		if (experts.n_used) {
			p.next(experts);
			return;
		}
#endif
		p.next();
	}

	/* The L2 has nothing that is behind p, of that phase. */
	__device__ __forceinline__ void nothing_ahead(const struct place &p, int phase)
	{
		ahead = p;
		ahead_phase = phase;
	}

	/*
	 * One piece more for the L2, or on to the next product, past keys: a token needs few of them, or so many that
	 * they take the memory themselves.
	 */
	__device__ __forceinline__ void look_ahead()
	{
		if (ahead.left > 0) {
			bulk_prefetch(ahead.at, (unsigned)ahead.bytes(), weights_policy);
			next_piece(ahead);
			n_ahead++;
		} else if (g.ahead_phases && ahead_phase + 1 < g.n_phases) {
			const struct persistent_copy &c = g.copies[++ahead_phase];
			if (c.kind == PERSISTENT_PRODUCT)
				ahead.begin(c, g.tiled, g.n_blocks);
		}
	}

	/*
	 * Waits until a piece may be copied; returns where to, and what its bytes complete on. While the ring is full,
	 * which it is where blocks wait for each other, the memory goes on working for the L2, which is twice as
	 * large as all rings together.
	 */
	__device__ __forceinline__ char *begin(int bytes, int limit, unsigned long long *&full)
	{
		const int at = own.at;
		unsigned since = cycles();
		while (!barrier_test(s.empty + at, own.parity ^ 1))
			if (n_ahead < PERSISTENT_AHEAD && cycles() - since > (unsigned)g.ahead_cycles) {
				since = cycles();
				look_ahead();
			}
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

/* One thread's: all of a block's jobs of one product, which is the phase's. */
INLINE void fill_product(const struct persistent_copy &c, int phase, struct filling &f)
{
	const int few = c.first_jobs * persistent_job_pieces(c.job_bytes, c.piece_bytes);
	struct place p;
	f.begin_place(c, p);
	if (!f.n_ahead)
		f.nothing_ahead(p, phase);
#pragma unroll 1
	for (int n = 0; p.left > 0; n++) {
		unsigned long long *full;
		const int bytes = p.bytes();
		char *const to = f.begin(bytes, n < few ? c.first_limit : c.limit, full);
		bulk_copy(to, p.at, (unsigned)bytes, full, f.weights_policy);
		f.next_piece(p);
		if (f.n_ahead > 0)
			f.n_ahead--;
		else
			f.nothing_ahead(p, phase);
	}
}

#endif
