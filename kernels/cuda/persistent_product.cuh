/*
 * The products of a token's kernel.
 *
 * A job is 16 rows of one matrix, or 8 of gate and 8 of up, and a range of their columns; block b has the jobs that are
 * dealt to it, every n_blocks-th. Weights come through shared memory: one warp copies them there, phase after phase,
 * without a look at activations, so that the memory is busy while the others wait for each other. A stage holds a slice
 * of a job's columns, in four copies of four rows; the ring of stages is deep, but only so many bytes are on their way
 * at once as the phase's limit says: what the others poll for queues behind them.
 *
 * The warps that compute share a slice's columns out; a lane has 16 bytes of two rows at a time. Of Q8_0, a block of
 * activations is three digits of 8 bits and a scale, and the tensor cores multiply them as integers.
 */
#ifndef GEMMARK_KERNELS_CUDA_PERSISTENT_PRODUCT_CUH
#define GEMMARK_KERNELS_CUDA_PERSISTENT_PRODUCT_CUH

#include "kernels/cuda/matvec.cuh"
#include "kernels/cuda/persistent_copy.cuh"

/* ---- activations ---- */

/*
 * Four consecutive activations 4 * i .. of a split to where lanes read them. Of Q8_0: a segment of 64 is three digits
 * of 64 bytes; the scales of blocks, behind all of the n segments. Called by whole warps: a block is eight lanes.
 */
template <int T> INLINE void put_activations(void *x_shared, int n_segments, int i, float4 v)
{
	if (T != TENSOR_Q8_0) {
		((float4 *)x_shared)[i] = v;
		return;
	}
	const struct digits d = digits_of(v);
	unsigned *const to = (unsigned *)x_shared + i / 16 * 48 + i % 16;
	to[0] = d.high;
	to[16] = d.mid;
	to[32] = d.low;
	if (i % 8 == 0)
		((float *)x_shared)[n_segments * 48 + i / 8] = d.scale;
}

/* The split's columns of p.in, as they are. */
template <int T>
INLINE void stage_input(const struct persistent_product &p, const struct columns &c, const struct token &t,
			void *x_shared)
{
	enum { AT_ONCE = 3 };
	const int n = c.end - c.begin, n_segments = persistent_segments(T, n);
	const int n_vecs = n_segments * PERSISTENT_SEGMENT / element_bytes(T) / 4;
	for (int base = 0; base < n_vecs; base += AT_ONCE * PERSISTENT_CONSUMERS) {
		float4 v[AT_ONCE];
		await_vecs(p.in + c.begin, base + (int)threadIdx.x, n / 4, t.parity, v);
#pragma unroll
		for (int j = 0; j < AT_ONCE; j++) {
			const int i = base + j * PERSISTENT_CONSUMERS + (int)threadIdx.x;
			if (i >= n_vecs) /* of Q8_0 whole warps */
				break;
			put_activations<T>(x_shared, n_segments, i, v[j]);
		}
	}
}

INLINE float4 times(float4 v, float s, float4 w)
{
	return make_float4(v.x * s * w.x, v.y * s * w.y, v.z * s * w.z, v.w * s * w.w);
}

INLINE float4 plus(float4 a, float4 b)
{
	return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}

INLINE float squares(float4 v)
{
	return v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
}

/* Of the stream and of norms: a thread's vectors, of which number j is at threadIdx.x + j * CONSUMERS. */
template <int VECS> struct held {
	float4 v[VECS];
};

template <int VECS> INLINE void load_held(held<VECS> &to, const float *from, int n_vecs)
{
#pragma unroll
	for (int j = 0; j < VECS; j++) {
		const int i = (int)threadIdx.x + j * PERSISTENT_CONSUMERS;
		to.v[j] = from && i < n_vecs ? ((const float4 *)from)[i] : make_float4(0, 0, 0, 0);
	}
}

template <int VECS> INLINE float sum_of_squares(const held<VECS> &x)
{
	float sum = 0.0f;
#pragma unroll
	for (int j = 0; j < VECS; j++)
		sum += squares(x.v[j]);
	return sum;
}

INLINE float rms_factor(float sum, const struct persistent_program &g)
{
	return 1.0f / sqrtf(sum / (float)g.n_embd + g.eps);
}

template <int VECS> INLINE void store_trace(float *to, const held<VECS> &x, int n_vecs)
{
#pragma unroll
	for (int j = 0; j < VECS; j++) {
		const int i = (int)threadIdx.x + j * PERSISTENT_CONSUMERS;
		if (i < n_vecs)
			((float4 *)to)[i] = x.v[j];
	}
}

/* What p.in's splits sum to. */
template <int VECS>
INLINE void await_input(const struct persistent_product &p, int n_embd, const struct token &t, held<VECS> &x)
{
	/* Of the widest fewer at once: else they do not fit into registers. */
	enum { AT_ONCE = VECS > PERSISTENT_VECS / 2 ? 2 : PERSISTENT_SPLITS };
#pragma unroll
	for (int first = 0; first < PERSISTENT_SPLITS; first += AT_ONCE) {
		if (first && first >= p.n_parts)
			break;
		float4 v[AT_ONCE * VECS];
		await_all<AT_ONCE, VECS>(
			[&](int s, int j) {
				const int i = (int)threadIdx.x + j * PERSISTENT_CONSUMERS;
				return first + s < p.n_parts && 4 * i < n_embd
					       ? p.in + (long long)(first + s) * n_embd + 4 * i
					       : nullptr;
			},
			t.parity, v);
#pragma unroll
		for (int s = 0; s < AT_ONCE; s++) {
#pragma unroll
			for (int j = 0; j < VECS; j++)
				x.v[j] = first + s ? plus(x.v[j], v[s * VECS + j]) : v[s * VECS + j];
		}
	}
}

/*
 * The stream takes p.in; what is returned is x of the product but for the factor of its norm, of which sum is this
 * thread's part of the squares. Every block has the whole stream, and a thread the same part always.
 */
template <int VECS>
INLINE held<VECS> advance_stream(const struct persistent_program &g, const struct persistent_product &p,
				 struct token &t, float *h_shared, float *trace, float &sum)
{
	const int n_vecs = g.n_embd / 4;
	held<VECS> x, h, post, pre;
	load_held(post, p.post_norm, n_vecs);
	load_held(pre, p.pre_norm, n_vecs);
	load_held(h, h_shared, n_vecs);
	if (p.in) {
		await_input(p, g.n_embd, t, x);
		const float factor = p.post_norm ? rms_factor(consumers_sum(t, sum_of_squares(x)), g) : 1.0f;
#pragma unroll
		for (int j = 0; j < VECS; j++) {
			const int i = (int)threadIdx.x + j * PERSISTENT_CONSUMERS;
			const float4 u = p.post_norm ? times(x.v[j], factor, post.v[j]) : x.v[j];
			h.v[j] = make_float4((h.v[j].x + u.x) * p.scale, (h.v[j].y + u.y) * p.scale,
					     (h.v[j].z + u.z) * p.scale, (h.v[j].w + u.w) * p.scale);
			if (i < n_vecs)
				((float4 *)h_shared)[i] = h.v[j];
		}
	}
	x = h;
	sum = sum_of_squares(h);
	if (p.pre_norm) {
#pragma unroll
		for (int j = 0; j < VECS; j++)
			x.v[j] = times(h.v[j], 1.0f, pre.v[j]);
	}
	if (trace && p.trace >= 0 && blockIdx.x == 0) {
		trace += (long long)p.trace * g.n_embd;
		if (p.output == PERSISTENT_LOGITS) {
			held<VECS> normed;
			const float factor = p.pre_norm ? rms_factor(consumers_sum(t, sum), g) : 1.0f;
#pragma unroll
			for (int j = 0; j < VECS; j++)
				normed.v[j] = times(x.v[j], factor, make_float4(1, 1, 1, 1));
			store_trace(trace, normed, n_vecs);
		} else {
			store_trace(trace, h, n_vecs);
		}
	}
	return x;
}

template <int T, int VECS> INLINE void stage_held(void *x_shared, const held<VECS> &x, int n)
{
	const int n_segments = persistent_segments(T, n);
	const int n_vecs = n_segments * PERSISTENT_SEGMENT / element_bytes(T) / 4;
#pragma unroll
	for (int j = 0; j < VECS; j++) {
		const int i = (int)threadIdx.x + j * PERSISTENT_CONSUMERS;
		if (i < n_vecs) /* of Q8_0 whole warps */
			put_activations<T>(x_shared, n_segments, i, x.v[j]);
	}
}

/* ---- multiplying ---- */

/* A lane's sums of rows lane / 4 and lane / 4 + 8; four lanes have a row. */
struct row_sums {
	float a = 0.0f, b = 0.0f;
};

/* A slice in shared memory: rows and scales of the lane. */
struct slice {
	const char *a, *b;
	const char *scales_a, *scales_b;
	int n; /* elements */
};

INLINE uint4 zero4()
{
	return make_uint4(0, 0, 0, 0);
}

/*
 * Segment i of a slice, segment x_at of the split. The columns of the tensor cores' product are the digits of the
 * segment's first block, one empty, and those of the second: a lane gives zeros where its columns are of the other one.
 * A lane has its row's sums with two of the digits of block lane % 4 / 2.
 */
template <int T>
INLINE void multiply_segment(const struct slice &w, int i, const void *x_shared, int x_at, int n_segments,
			     struct row_sums &sums)
{
	const int lane = threadIdx.x % WARP, row = lane / 4, part = lane % 4;
	uint4 a = *(const uint4 *)(w.a + i * PERSISTENT_SEGMENT);
	uint4 b = *(const uint4 *)(w.b + i * PERSISTENT_SEGMENT);
	if (T == TENSOR_Q8_0) {
		const bool has = row % 4 < 3 && row / 4 == part / 2;
		const int block = i * 2 + part / 2;
		uint4 x = zero4();
		if (has)
			x = ((const uint4 *)x_shared)[x_at * 12 + row % 4 * 4 + part];
		int c[4] = {0, 0, 0, 0};
		multiply_add_s8(c, a.x, b.x, a.y, b.y, x.x, x.y);
		multiply_add_s8(c, a.z, b.z, a.w, b.w, x.z, x.w);
		if (block * 32 >= w.n)
			return;
		/* Of lanes with an odd number the lowest digit, of the others the two above it. */
		const float scale = ((const float *)x_shared)[n_segments * 48 + x_at * 2 + part / 2] *
				    (part % 2 ? 1.0f / 256.0f : 256.0f);
		const float scale_a = f16_to_f32(*(const unsigned short *)(w.scales_a + block * 2));
		const float scale_b = f16_to_f32(*(const unsigned short *)(w.scales_b + block * 2));
		sums.a = fmaf((float)(c[0] * 256 + c[1]), scale_a * scale, sums.a);
		sums.b = fmaf((float)(c[2] * 256 + c[3]), scale_b * scale, sums.b);
		return;
	}
	enum { ELEMENTS = PERSISTENT_SEGMENT / (T == TENSOR_F32 ? 4 : 2) };
	if (i * ELEMENTS + part * (ELEMENTS / 4) >= w.n)
		return;
	const float4 *const x = (const float4 *)x_shared + (x_at * ELEMENTS + part * (ELEMENTS / 4)) / 4;
	if (T == TENSOR_F32) {
		sums.a = weight_stream<T, int>::dot4(a, x[0], sums.a);
		sums.b = weight_stream<T, int>::dot4(b, x[0], sums.b);
		return;
	}
	const float4 x0 = x[0], x1 = x[1];
	sums.a = weight_stream<T, int>::dot8(a, x0, x1, sums.a);
	sums.b = weight_stream<T, int>::dot8(b, x0, x1, sums.b);
}

/* The warp's columns of a job. */
template <int T>
INLINE struct row_sums multiply_job(const struct persistent_product &p, int job, const struct columns &c,
				    const struct slicing &slicing, const struct strides &strides, const void *x_shared,
				    const struct stages &s, struct stage &own)
{
	const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, row = lane / 4;
	const int n_segments = persistent_segments(T, c.end - c.begin);
	const bool skewed = T == TENSOR_Q8_0 && !p.whole && p.w[0].n_in % 256; /* scales are not aligned to 16 bytes */
	struct row_sums sums;
	struct tile_row ta = {}, tb = {};
	if (skewed) {
		ta = row_of_tile(p, job >> p.shift, row);
		tb = row_of_tile(p, job >> p.shift, row + 8);
	}
	for (int i = 0; i < slicing.n; i++) {
		const struct columns k = persistent_slice(c, slicing, i);
		const int n_here = persistent_segments_in(T, k.end - k.begin);
		const int end = n_here * (warp + 1) / PERSISTENT_WARPS;
		const int x_at = (k.begin - c.begin) * element_bytes(T) / PERSISTENT_SEGMENT;
		struct slice w;
		w.a = s.memory + own.at * s.bytes + row * strides.row + lane % 4 * 16;
		w.b = w.a + 8 * strides.row;
		w.scales_a = s.memory + own.at * s.bytes + strides.scales + row * strides.scale;
		w.scales_b = w.scales_a + 8 * strides.scale;
		w.n = k.end - k.begin;
		if (skewed) {
			w.scales_a += scales_skip(*ta.w, ta.row, k.begin);
			w.scales_b += scales_skip(*tb.w, tb.row, k.begin);
		}
#pragma unroll
		for (int q = 0; q < PERSISTENT_QUARTERS; q++)
			barrier_wait(s.full + own.at * PERSISTENT_QUARTERS + q, own.parity);
#pragma unroll 4
		for (int j = n_here * warp / PERSISTENT_WARPS; j < end; j++)
			multiply_segment<T>(w, j, x_shared, x_at + j, n_segments, sums);
		__syncwarp();
		if (lane == 0)
			barrier_arrive(s.empty + own.at);
		own.next(s.n);
	}
#pragma unroll
	for (int d = 1; d < 4; d *= 2) {
		sums.a += __shfl_xor_sync(ALL_LANES, sums.a, d);
		sums.b += __shfl_xor_sync(ALL_LANES, sums.b, d);
	}
	return sums;
}

/* What of the block's shared memory a product takes. */
struct product_memory {
	void *x;
	float *h;
	float *partial; /* (2, GROUP, PERSISTENT_SUMS) */
};

/* Thread r of a job's 16 leaves its row, whose product is v; the others of its warp take part. */
INLINE void leave_row(const struct persistent_program &g, const struct persistent_product &p, const struct token &t,
		      int job, int r, bool mine, float v, float up)
{
	const struct tile_row row = row_of_tile(p, job >> p.shift, r);
	if (p.output == PERSISTENT_GATED) {
		const float other = __shfl_xor_sync(ALL_LANES, v, 8);
		if (r < 8 && row.real && mine)
			publish(p.y[0] + row.row, activate(v, g.act) * other, t.parity);
		return;
	}
	if (!row.real || !mine)
		return;
	if (p.output == PERSISTENT_LOGITS) {
		p.y[0][row.row] = g.cap > 0.0f ? softcap(v, g.cap) : v;
		return;
	}
	if (p.output == PERSISTENT_TIMES)
		v = activate(v, g.act) * up;
	const int m = (int)(row.w - p.w);
	float *const y = m == 0 ? p.y[0] : m == 1 ? p.y[1] : p.y[2];
	publish(y + (long long)(job & ((1 << p.shift) - 1)) * row.w->n_out + row.row, v, t.parity);
}

/* All of the block's jobs of a product, whose activations are in shared memory. */
template <int T>
INLINE void multiply(const struct persistent_params &params, const struct persistent_program &g,
		     const struct persistent_product &p, struct token &t, const struct columns &c, const struct product_memory &m,
		     const struct stages &s, struct stage &own)
{
	const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
	const int q = threadIdx.x / PERSISTENT_TILE, r = threadIdx.x % PERSISTENT_TILE;
	const struct slicing slicing = persistent_slicing(T, c);
	const struct strides strides = strides_of(p, s);
	float factor = 1.0f;

	for (int job = first_job(p, g.n_blocks), n = 0; job < p.n_jobs; job += PERSISTENT_GROUP * g.n_blocks, n++) {
		const int n_here = min((int)PERSISTENT_GROUP, (p.n_jobs - job + g.n_blocks - 1) / g.n_blocks);
		float *const partial = m.partial + (t.n_groups++ & 1) * PERSISTENT_GROUP * PERSISTENT_SUMS;
		const int own_job = job + q * g.n_blocks;
		float up = 0.0f;
		if (p.output == PERSISTENT_TIMES && q < n_here) {
			const struct tile_row row = row_of_tile(p, own_job, r);
			up = await(p.up + row.row, t.parity);
		}
		for (int i = 0; i < n_here; i++) {
			const struct row_sums sums =
				multiply_job<T>(p, job + i * g.n_blocks, c, slicing, strides, m.x, s, own);
			if (lane % 4 == 0) {
				float *const to = partial + i * PERSISTENT_SUMS + warp * PERSISTENT_TILE + lane / 4;
				to[0] = sums.a;
				to[8] = sums.b;
			}
		}
		consumers_sync();
		stamp(params, g, PERSISTENT_WORKED); /* the last group's stays */
		if (n == 0 && p.stream && p.pre_norm)
			factor = rms_factor(left_sum(t), g);
		if (warp * WARP < n_here * PERSISTENT_TILE) {
			float v = 0.0f;
			const float *const from = partial + q * PERSISTENT_SUMS + r;
#pragma unroll
			for (int w = 0; w < PERSISTENT_WARPS; w++)
				v += from[w * PERSISTENT_TILE];
			leave_row(g, p, t, q < n_here ? own_job : job, r, q < n_here, v * factor, up);
		}
	}
}

template <int VALUE> struct constant {
	enum { T = VALUE };
};

/* f(constant<TENSOR_ of the type of weights>) */
template <class F> INLINE void for_type(int type, const F &f)
{
	switch (type) {
	case TENSOR_Q8_0:
		f(constant<TENSOR_Q8_0>());
		break;
	case TENSOR_BF16:
		f(constant<TENSOR_BF16>());
		break;
	case TENSOR_F16:
		f(constant<TENSOR_F16>());
		break;
	case TENSOR_F32:
		f(constant<TENSOR_F32>());
		break;
	}
}

/* What the stream gives a product that has jobs: activations in shared memory, and its part of the squares left. */
template <int VECS>
INLINE void stage_stream(const struct persistent_program &g, const struct persistent_product &p, struct token &t,
			 const struct product_memory &m, float *trace, bool works)
{
	float sum;
	const held<VECS> x = advance_stream<VECS>(g, p, t, m.h, trace, sum);
	if (works) {
		leave_sum(t, sum);
		for_type(p.w[0].type, [&](auto w) { stage_held<w.T>(m.x, x, g.n_embd); });
	}
}

/* Apart, with a token of its own: what the widest holds does not fit beside what the others do. */
APART unsigned stage_wide(const struct persistent_program &g, const struct persistent_product &p, struct token t,
			  void *x, float *h, float *trace, bool works)
{
	const struct product_memory m = {x, h, nullptr};
	stage_stream<PERSISTENT_VECS>(g, p, t, m, trace, works);
	return t.n_sums;
}

INLINE void product(const struct persistent_params &params, const struct persistent_program &g,
		    const struct persistent_product &p, struct token &t, const struct product_memory &m,
		    const struct stages &s, struct stage &own)
{
	const int type = p.w[0].type, job = first_job(p, g.n_blocks);
	const bool works = job < p.n_jobs;
	const struct columns c = split_columns(p, job);
	if (p.stream) {
		/* Of E2B and E4B a thread holds less than half of what it does of the widest. */
		if (g.n_embd <= PERSISTENT_VECS / 2 * 4 * PERSISTENT_CONSUMERS) {
			stage_stream<PERSISTENT_VECS / 2>(g, p, t, m, params.trace, works);
		} else {
			t.n_sums = stage_wide(g, p, t, m.x, m.h, params.trace, works);
			t.n_left += works;
		}
	} else if (works) {
		for_type(type, [&](auto w) { stage_input<w.T>(p, c, t, m.x); });
	}
	if (works) {
		consumers_sync();
		stamp(params, g, PERSISTENT_INPUT);
		for_type(type, [&](auto w) { multiply<w.T>(params, g, p, t, c, m, s, own); });
	}
}

#endif
