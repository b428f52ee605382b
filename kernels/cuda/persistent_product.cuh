/*
 * The products of a token's kernel.
 *
 * A job is 16 rows of one matrix, or 8 of gate and 8 of up, and a slice of their columns; block b has the jobs that are
 * dealt to it, every n_blocks-th. Weights come through the ring of stages (persistent_copy.cuh), tiled. Of a slice's
 * chunks of columns a warp has every WARPS-th, in all of the block's jobs: so it waits for its own activations alone
 * and keeps them in a corner of shared memory that is its own. Of Q8_0 and of fewer bits a chunk of activations is
 * three digits of 8 bits and a scale, and the tensor cores multiply them as integers.
 */
#ifndef GEMMARK_KERNELS_CUDA_PERSISTENT_PRODUCT_CUH
#define GEMMARK_KERNELS_CUDA_PERSISTENT_PRODUCT_CUH

#include "kernels/cuda/persistent_copy.cuh"
#include "kernels/cuda/persistent_quants.cuh"
#include "kernels/cuda/persistent_stream.cuh"
#ifdef EXPERTS
#include "kernels/cuda/persistent_experts.cuh"
#endif

/* ---- the stream ---- */

/*
 * The stream takes p.in; what is left in the corner is x of the product but for the factor of its norm, of which sum
 * is this thread's part of the squares. Every block has the whole stream, and a thread the same part always.
 */
template <int N>
INLINE void advance_stream(const struct persistent_program &g, const struct persistent_product &p, struct token &t,
			   float *trace, void *corner, float &sum)
{
	const struct extent e(g.n_embd / 4);
	float *const h_shared = shared_floats(g.h_at);
	fetch_chunks<N>(corner, p.pre_norm, 1, e);
	if (p.in) {
		chunks<N> x, h, post;
		const float *post_norm = p.post_norm;
#ifdef EXPERTS
		if (p.beside) {
			await_beside<N>(g, p, t, e);
			post_norm = p.in_norm;
		}
#endif
		load_chunks(post, post_norm, 1, e);
		await_parts(p.in, p.n_parts, e, t.parity, x);
		/* Also where there is no norm: one way through all of this keeps it in registers. */
		float norm = rms_factor(consumers_sum(g, t, sum_of_squares(x)), g);
#ifdef EXPERTS
		if (p.beside) {
			add_beside(g, e, norm, x, post);
			norm = rms_factor(consumers_sum(g, t, sum_of_squares(x)), g);
		}
#endif
		const float factor = p.post_norm ? norm : 1.0f;
		load_stream(h, h_shared, e);
#pragma unroll
		for (int c = 0; c < N; c++)
#pragma unroll
			for (int i = 0; i < 2; i++)
				h.v[c][i] = scaled(plus(h.v[c][i], times(scaled(x.v[c][i], factor), post.v[c][i])),
						   p.scale);
		store_chunks(h_shared, h, e);
	}
	chunks<N> x, h; /* from there again: across that, the compiler would keep it in memory that is far away */
	load_stream(h, h_shared, e);
	sum = sum_of_squares(h);
	async_copies_wait();
	x = get_chunks<N>(corner);
#pragma unroll
	for (int c = 0; c < N; c++)
#pragma unroll
		for (int i = 0; i < 2; i++)
			x.v[c][i] = times(h.v[c][i], x.v[c][i]);
	put_chunks(corner, x);
	if (trace && p.trace >= 0 && blockIdx.x == 0) {
		trace += (long long)p.trace * g.n_embd;
		if (p.output == PERSISTENT_LOGITS) {
			chunks<N> normed;
			const float factor = p.pre_norm ? rms_factor(consumers_sum(g, t, sum), g) : 1.0f;
#pragma unroll
			for (int c = 0; c < N; c++)
#pragma unroll
				for (int i = 0; i < 2; i++)
					normed.v[c][i] = scaled(x.v[c][i], factor);
			store_chunks(trace, normed, e);
		} else {
			store_chunks(trace, h, e);
		}
	}
}

/* ---- jobs ---- */

/* Thread r of a job's 16 leaves its row, whose product is v; the others of its warp take part. */
INLINE void leave_row(const struct persistent_program &g, const struct persistent_product &p, const struct token &t,
		      int job, int r, bool mine, float v, float up)
{
	const int tile = job >> p.shift, n_out = p.w[0].n_out;
	if (p.output == PERSISTENT_GATED) {
		const float other = __shfl_xor_sync(ALL_LANES, v, 8);
#ifdef EXPERTS
		if (p.n_used) {
			const int row = job / p.n_used * (TILE_ROWS / 2) + r, expert = job % p.n_used;
			if (r < 8 && mine && row < n_out / 2)
				publish(p.y[0] + expert * p.expert_chunks * TILE_CHUNK + row,
					activate_near(v, g.act) * other * expert_weights(g)[expert], t.parity);
			return;
		}
#endif
		const int row = tile * (TILE_ROWS / 2) + r;
		if (r < 8 && mine && row < n_out)
			publish(p.y[0] + row, activate_near(v, g.act) * other, t.parity);
		return;
	}
	const int row = tile * TILE_ROWS + r;
	if (!mine || (p.n_w == 1 && row >= n_out)) /* of several the rows that fill tiles up have a place */
		return;
	if (p.output == PERSISTENT_LOGITS) {
		p.y[0][row] = g.cap > 0.0f ? softcap_near(v, g.cap) : v;
		return;
	}
	if (p.output == PERSISTENT_TIMES)
		v = activate_near(v, g.act) * up;
	publish(p.y[0] + (long long)(job & ((1 << p.shift) - 1)) * n_out + row, v, t.parity);
}

/* Of PERSISTENT_TIMES what thread r of 16 multiplies its row with. */
INLINE float await_up(const struct persistent_product &p, const struct token &t, int job, int r)
{
	const int row = (job >> p.shift) * TILE_ROWS + r;
	return row < p.w[0].n_out ? await(p.up + row, t.parity) : 0.0f;
}

static_assert(PERSISTENT_PIECE_SHARES == 4, "as unit_of has them");

/* Where of a job's pieces a warp's chunk of it is. */
struct unit_place {
	int piece;
	int at;     /* bytes of the piece that are before it */
	int shares; /* of the piece, that are the warp's */
};

template <int T> INLINE struct unit_place unit_of(int chunk, int n_chunks)
{
	enum { UNITS = persistent_piece_units(T) };
	struct unit_place u;
	u.piece = chunk / UNITS;
	u.at = chunk % UNITS * tile_unit_bytes(T);
	/* The last piece may have fewer. */
	if (UNITS <= 2) {
		u.shares = UNITS == 1 || (chunk % 2 == 0 && chunk == n_chunks - 1) ? PERSISTENT_PIECE_SHARES
										   : PERSISTENT_PIECE_SHARES / 2;
	} else {
		const int here = min(n_chunks - u.piece * UNITS, (int)UNITS);
		u.shares = here <= 1 ? PERSISTENT_PIECE_SHARES : here == 2 || (here == 3 && chunk % UNITS == 0) ? 2 : 1;
	}
	return u;
}

/* All of the block's jobs of a product. corner: the warp's own chunks. up: of the first group's jobs. */
template <int T, int N>
INLINE void multiply(const struct persistent_params &params, const struct persistent_program &g,
		     const struct persistent_product &p, struct token &t, void *corner, float up,
		     const struct stages &s, struct stage &own)
{
	const int warp = threadIdx.x / WARP;
	const int q = threadIdx.x / TILE_ROWS, r = threadIdx.x % TILE_ROWS;
	const int stride = p.stride;
	int job = first_job(p, g.n_blocks);
#ifdef EXPERTS
	/* Of several experts each one's pieces are its own. */
	int n_chunks = p.n_chunks, pieces = persistent_pieces(T, n_chunks);
	struct unit_place first = unit_of<T>(warp, n_chunks);
	if (p.n_used && !p.stream) {
		const int each = p.expert_chunks, expert = warp / each;
		const int n = min(p.experts_each, p.n_used - (job & ((1 << p.shift) - 1)) * p.experts_each);
		n_chunks = max(n, 0) * each;
		pieces = max(n, 0) * persistent_pieces(T, each);
		first = unit_of<T>(warp - expert * each, each);
		first.piece += expert * persistent_pieces(T, each);
	}
#else
	const int n_chunks = p.n_chunks, pieces = persistent_pieces(T, n_chunks);
#endif
	float factor = 1.0f;
	operand<T, N> a;
	if (warp < n_chunks)
		a.set(corner);

#pragma unroll 1
	for (int left = p.jobs_each + (job < p.jobs_rest), n = 0; left > 0; left -= PERSISTENT_GROUP, n++) {
		const int n_here = min(left, (int)PERSISTENT_GROUP);
		float *const partial =
			shared_floats(g.partial_at) + t.place(t.GROUPS) * PERSISTENT_GROUP * PERSISTENT_SUMS;
		t.next ^= t.GROUPS;
		const int own_job = job + q * stride;
		if (n && p.output == PERSISTENT_TIMES && q < n_here)
			up = await_up(p, t, own_job, r);
#pragma unroll 1
		for (int i = 0; i < n_here; i++) {
			if (warp < n_chunks) {
				a.clear();
#pragma unroll
				for (int c = 0; c < N; c++) {
					const int chunk = c * PERSISTENT_WARPS + warp;
					if (c && chunk >= n_chunks)
						break;
#ifdef EXPERTS
					const struct unit_place u = c ? unit_of<T>(chunk, n_chunks) : first;
#else
					const struct unit_place u = unit_of<T>(chunk, n_chunks);
#endif
					const struct stage there = own.after(u.piece, s);
					await_piece(s, there);
					a.multiply(s.memory + there.at * s.bytes + u.at, c);
					give_back(s, there, u.shares);
				}
				a.leave(partial + i * PERSISTENT_SUMS + warp * TILE_ROWS);
			}
			own = own.after(pieces, s);
		}
		consumers_sync();
		stamp(params, g, PERSISTENT_WORKED); /* the last group's stays */
		if (n == 0 && p.stream && p.pre_norm)
			factor = rms_factor(left_sum(g, t), g);
		if (warp * WARP < n_here * TILE_ROWS) {
			float v = 0.0f;
			const float *const from = partial + q * PERSISTENT_SUMS + r;
#pragma unroll
			for (int w = 0; w < PERSISTENT_WARPS; w++)
				v += w < n_chunks ? from[w * TILE_ROWS] : 0.0f;
			leave_row(g, p, t, q < n_here ? own_job : job, r, q < n_here, v * factor, up);
		}
		job += PERSISTENT_GROUP * stride;
	}
}

template <int N>
INLINE void multiply_any(const struct persistent_params &params, const struct persistent_program &g,
			 const struct persistent_product &p, struct token &t, void *corner, float up,
			 const struct stages &s, struct stage &own)
{
	switch (p.w[0].type) {
#define WEIGHTS(TYPE)                                                   \
	case TYPE:                                                      \
		multiply<TYPE, N>(params, g, p, t, corner, up, s, own); \
		break;
#ifdef WEIGHTS_Q8_0
		WEIGHTS(TENSOR_Q8_0)
#endif
#ifdef WEIGHTS_BF16
		WEIGHTS(TENSOR_BF16)
#endif
#ifdef WEIGHTS_F16
		WEIGHTS(TENSOR_F16)
#endif
#ifdef WEIGHTS_F32
		WEIGHTS(TENSOR_F32)
#endif
#ifdef WEIGHTS_Q4_0
		WEIGHTS(TENSOR_Q4_0)
#endif
#ifdef WEIGHTS_Q4_1
		WEIGHTS(TENSOR_Q4_1)
#endif
#ifdef WEIGHTS_Q5_0
		WEIGHTS(TENSOR_Q5_0)
#endif
#ifdef WEIGHTS_Q5_1
		WEIGHTS(TENSOR_Q5_1)
#endif
#ifdef WEIGHTS_IQ4_NL
		WEIGHTS(TENSOR_IQ4_NL)
#endif
#ifdef WEIGHTS_Q4_K
		WEIGHTS(TENSOR_Q4_K)
#endif
#ifdef WEIGHTS_Q5_K
		WEIGHTS(TENSOR_Q5_K)
#endif
#ifdef WEIGHTS_Q6_K
		WEIGHTS(TENSOR_Q6_K)
#endif
#undef WEIGHTS
	}
}

INLINE void product(const struct persistent_params &params, const struct persistent_program &g,
		    const struct persistent_product &p, struct token &t, const struct stages &s, struct stage &own)
{
	const int job = first_job(p, g.n_blocks), q = threadIdx.x / TILE_ROWS;
	const bool works = job < p.n_jobs;
	void *const corner = shared_memory + g.x_at + threadIdx.x / WARP * g.corner_bytes;
	float up = 0.0f;
	if (p.output == PERSISTENT_TIMES && q < p.jobs_each + (job < p.jobs_rest))
		up = await_up(p, t, job + q * p.stride, threadIdx.x % TILE_ROWS);
	if (p.stream) {
		float sum;
		advance_stream<STREAM_CHUNKS>(g, p, t, params.trace, corner, sum);
#ifdef EXPERTS
		if (p.output == PERSISTENT_ROUTED) {
			if (works)
				route(params, g, p, t, corner, sum, s, own);
			return;
		}
#endif
		if (works)
			leave_sum(g, t, sum);
	} else if (works) {
		const int at = (job & ((1 << p.shift) - 1)) * p.n_chunks * TILE_CHUNK;
		chunks<SLICE_CHUNKS> x;
		int n_vecs = min(p.w[0].n_in - at, p.n_chunks * TILE_CHUNK) / 4;
#ifdef EXPERTS
		if (p.n_used)
			n_vecs = expert_vecs(p, job & ((1 << p.shift) - 1));
#endif
		await_some<1>(p.in + at, 0, 1, extent(n_vecs), t.parity, x);
		put_chunks(corner, x);
	}
	if (works) {
		__syncwarp();
		stamp(params, g, PERSISTENT_INPUT);
		if (STREAM_CHUNKS != SLICE_CHUNKS && p.stream)
			multiply_any<STREAM_CHUNKS>(params, g, p, t, corner, up, s, own);
		else
			multiply_any<SLICE_CHUNKS>(params, g, p, t, corner, up, s, own);
	}
}

#endif
