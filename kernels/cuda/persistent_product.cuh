/*
 * The products of a token's kernel.
 *
 * A job is 16 rows of one matrix, or 8 of gate and 8 of up, and a slice of their columns; block b has the jobs that are
 * dealt to it, every n_blocks-th. Weights come through the ring of stages (persistent_copy.cuh), tiled. Of a slice's
 * chunks of columns a warp has every WARPS-th, in all of the block's jobs: so it waits for its own activations alone
 * and keeps them in registers. Of Q8_0 a chunk of activations is three digits of 8 bits and a scale, and the tensor
 * cores multiply them as integers.
 */
#ifndef GEMMARK_KERNELS_CUDA_PERSISTENT_PRODUCT_CUH
#define GEMMARK_KERNELS_CUDA_PERSISTENT_PRODUCT_CUH

#include "kernels/cuda/persistent_copy.cuh"
#include "kernels/cuda/persistent_operand.cuh"

/* What a warp has at most, of this model's stream and of slices of other vectors; see cuda_options. */
#ifndef STREAM_CHUNKS
#define STREAM_CHUNKS PERSISTENT_CHUNKS
#endif
#ifndef SLICE_CHUNKS
#define SLICE_CHUNKS PERSISTENT_CHUNKS
#endif

/* ---- the stream and other inputs ---- */

/* Of a warp's chunks (persistent_operand.cuh): which vector of four the lane's number i of a chunk is. */
INLINE int vec_of(int chunk, int i)
{
	const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
	return ((chunk * PERSISTENT_WARPS + warp) * 2 + i) * WARP + lane;
}

/*
 * How much of a vector is in the warp's chunks. Of models' widths all of a chunk or nothing, for all lanes alike: that
 * is what is fast.
 */
struct extent {
	int n_vecs; /* of the vector */
	int n_chunks;
	bool ragged; /* then the last of them not all */

	__device__ __forceinline__ extent(int vecs)
	{
		const int rest = vecs - (int)(threadIdx.x / WARP) * 2 * WARP;
		n_vecs = vecs;
		n_chunks = rest <= 0 ? 0 : (rest + PERSISTENT_WARPS * 2 * WARP - 1) / (PERSISTENT_WARPS * 2 * WARP);
		ragged = vecs % (2 * WARP) != 0;
	}

	__device__ __forceinline__ bool has(int chunk, int i) const
	{
		return chunk < n_chunks && (!ragged || vec_of(chunk, i) < n_vecs);
	}
};

/* from null, or behind its end: other. */
template <int N> INLINE void load_chunks(chunks<N> &to, const float *from, float other, const struct extent &e)
{
	const float4 *const own = (const float4 *)from + vec_of(0, 0);
#pragma unroll
	for (int c = 0; c < N; c++)
#pragma unroll
		for (int i = 0; i < 2; i++) {
			to.v[c][i] = make_float4(other, other, other, other);
			if (from && e.has(c, i))
				to.v[c][i] = load_once(own + vec_of(c, i) - vec_of(0, 0));
		}
}

/* The same into the warp's corner, meanwhile: async_copies_wait. */
template <int N> INLINE void fetch_chunks(void *corner, const float *from, float other, const struct extent &e)
{
	const float4 *const own = (const float4 *)from + vec_of(0, 0);
#pragma unroll
	for (int c = 0; c < N; c++)
#pragma unroll
		for (int i = 0; i < 2; i++) {
			float4 *const to = (float4 *)corner + (c * 2 + i) * WARP + threadIdx.x % WARP;
			if (from && e.has(c, i))
				async_copy(to, own + vec_of(c, i) - vec_of(0, 0));
			else
				*to = make_float4(other, other, other, other);
		}
}

/* What the block has of the stream. */
template <int N> INLINE void load_stream(chunks<N> &to, const float *h_shared, const struct extent &e)
{
#pragma unroll
	for (int c = 0; c < N; c++)
#pragma unroll
		for (int i = 0; i < 2; i++) {
			to.v[c][i] = make_float4(0, 0, 0, 0);
			if (e.has(c, i))
				to.v[c][i] = ((const float4 *)h_shared)[vec_of(c, i)];
		}
}

template <int N> INLINE void store_chunks(float *to, const chunks<N> &x, const struct extent &e)
{
#pragma unroll
	for (int c = 0; c < N; c++)
#pragma unroll
		for (int i = 0; i < 2; i++)
			if (e.has(c, i))
				((float4 *)to)[vec_of(c, i)] = x.v[c][i];
}

INLINE float4 plus(float4 a, float4 b)
{
	return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}

INLINE float4 times(float4 a, float4 b)
{
	return make_float4(a.x * b.x, a.y * b.y, a.z * b.z, a.w * b.w);
}

INLINE float4 scaled(float4 a, float s)
{
	return make_float4(a.x * s, a.y * s, a.z * s, a.w * s);
}

template <int N> INLINE float sum_of_squares(const chunks<N> &x)
{
	float sum = 0.0f;
#pragma unroll
	for (int c = 0; c < N; c++)
#pragma unroll
		for (int i = 0; i < 2; i++) {
			const float4 v = x.v[c][i];
			sum += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
		}
	return sum;
}

/*
 * Adds the parts first .. first + P of n_parts, each n_vecs long, to those before. A part is asked for again as a whole
 * until all of it is there.
 */
template <int P, int N>
INLINE void await_some(const float *in, int first, int n_parts, const struct extent &e, unsigned parity, chunks<N> &x)
{
	const unsigned flip = 0u - parity;
	const float *part[P];
	uint4 u[P][N][2];
	unsigned missing = 0;
#pragma unroll
	for (int k = 0; k < P; k++) {
		part[k] = in + 4 * ((long long)(first + k) * e.n_vecs + vec_of(0, 0));
		missing |= first + k < n_parts ? 1u << k : 0;
#pragma unroll
		for (int j = 0; j < N * 2; j++)
			u[k][j / 2][j % 2] = make_uint4(0, 0, 0, 0);
	}
	if (!e.n_chunks)
		missing = 0;
	while (missing) {
#pragma unroll
		for (int k = 0; k < P; k++)
			if (missing >> k & 1) {
#pragma unroll
				for (int j = 0; j < N * 2; j++)
					if (e.has(j / 2, j % 2))
						u[k][j / 2][j % 2] =
							load_now4(part[k] + 4 * (vec_of(j / 2, j % 2) - vec_of(0, 0)));
			}
#pragma unroll
		for (int k = 0; k < P; k++) {
			unsigned wrong = 0;
#pragma unroll
			for (int j = 0; j < N * 2; j++) {
				const uint4 v = u[k][j / 2][j % 2];
				if (e.has(j / 2, j % 2))
					wrong |= (v.x ^ flip) | (v.y ^ flip) | (v.z ^ flip) | (v.w ^ flip);
			}
			if (!(wrong & 1))
				missing &= ~(1u << k);
		}
	}
	__syncwarp();
#pragma unroll
	for (int k = 0; k < P; k++)
#pragma unroll
		for (int j = 0; j < N * 2; j++) {
			const uint4 w = u[k][j / 2][j % 2];
			const float4 v = make_float4(__uint_as_float(w.x & ~1u), __uint_as_float(w.y & ~1u),
						     __uint_as_float(w.z & ~1u), __uint_as_float(w.w & ~1u));
			float4 &to = x.v[j / 2][j % 2];
			to = first + k ? plus(to, v) : v;
		}
}

/* What p.in's parts sum to. */
template <int N>
INLINE void await_parts(const float *in, int n_parts, const struct extent &e, unsigned parity, chunks<N> &x)
{
	enum { AT_ONCE = N > 1 ? 2 : 4 }; /* of the widest fewer: registers */
#pragma unroll
	for (int first = 0; first < PERSISTENT_SPLITS; first += AT_ONCE)
		if (!first || first < n_parts)
			await_some<AT_ONCE>(in, first, n_parts, e, parity, x);
}

INLINE float rms_factor(float sum, const struct persistent_program &g)
{
	return reciprocal_root(__fdividef(sum, (float)g.n_embd) + g.eps);
}

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
		load_chunks(post, p.post_norm, 1, e);
		await_parts(p.in, p.n_parts, e, t.parity, x);
		/* Also where there is no norm: one way through all of this keeps it in registers. */
		const float norm = rms_factor(consumers_sum(g, t, sum_of_squares(x)), g);
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

/* All of the block's jobs of a product. corner: the warp's own chunks. up: of the first group's jobs. */
template <int T, int N>
INLINE void multiply(const struct persistent_params &params, const struct persistent_program &g,
		     const struct persistent_product &p, struct token &t, void *corner, float up,
		     const struct stages &s, struct stage &own)
{
	enum { UNITS = persistent_piece_units(T) };
	const int warp = threadIdx.x / WARP;
	const int q = threadIdx.x / TILE_ROWS, r = threadIdx.x % TILE_ROWS;
	const int n_chunks = p.n_chunks, stride = p.stride, pieces = persistent_pieces(T, n_chunks);
	int job = first_job(p, g.n_blocks);
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
					const struct stage there = own.after(chunk / UNITS, s);
					barrier_wait(s.full + there.at, there.parity);
					a.multiply(s.memory + there.at * s.bytes + chunk % UNITS * tile_unit_bytes(T),
						   c);
					/* The last unit may be alone. */
					give_back(s, there,
						  UNITS == 1 || (chunk % 2 == 0 && chunk == n_chunks - 1)
							  ? PERSISTENT_PIECE_SHARES
							  : PERSISTENT_PIECE_SHARES / 2);
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
		if (works)
			leave_sum(g, t, sum);
	} else if (works) {
		const int at = (job & ((1 << p.shift) - 1)) * p.n_chunks * TILE_CHUNK;
		chunks<SLICE_CHUNKS> x;
		await_some<1>(p.in + at, 0, 1, extent(min(p.w[0].n_in - at, p.n_chunks * TILE_CHUNK) / 4), t.parity, x);
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
