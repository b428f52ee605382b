/*
 * The products of a token's kernel.
 *
 * A block owns a contiguous range of a product's units (two weight rows), whose chunks of 512 bytes a row are cut
 * evenly between its warps, as matvec.cuh does it. But the weights come through shared memory: one warp copies them
 * there, phase after phase, without a look at activations, so that the memory is busy while the others wait for each
 * other. A stage takes up to CHUNKS chunks for each of the two warps of a pair; every pair has its own ring of them.
 *
 * The copying warp goes on as soon as a stage is free, but leaves only a few on their way: what the others poll for
 * queues behind them.
 */
#ifndef GEMMARK_KERNELS_CUDA_PERSISTENT_PRODUCT_CUH
#define GEMMARK_KERNELS_CUDA_PERSISTENT_PRODUCT_CUH

#include "kernels/cuda/matvec.cuh"
#include "kernels/cuda/persistent_vector.cuh"

/* ---- who has what ---- */

INLINE struct unit_range product_range(const struct persistent_product &p, int n_blocks)
{
	int block = (int)blockIdx.x + p.rotate;
	if (block >= n_blocks)
		block -= n_blocks;
	return units_of(p.n_units, (unsigned)block, (unsigned)n_blocks);
}

/* A warp's way through the chunks of its block's units. */
struct walk {
	int item, end;
	int unit, chunk; /* of item */

	__device__ __forceinline__ bool more() const
	{
		return item < end;
	}

	/* Chunks of the next part: all of one unit. */
	__device__ __forceinline__ int length(int n_chunks) const
	{
		return min(min((int)PERSISTENT_CHUNKS, n_chunks - chunk), end - item);
	}

	__device__ __forceinline__ void advance(int n, int n_chunks)
	{
		item += n;
		chunk += n;
		if (chunk == n_chunks) {
			chunk = 0;
			unit++;
		}
	}
};

INLINE int part_begin(int n_items, int warp)
{
	return n_items * warp / PERSISTENT_WARPS;
}

INLINE struct walk walk_of(int n_units, int n_chunks, int warp)
{
	struct walk w;
	w.item = part_begin(n_units * n_chunks, warp);
	w.end = part_begin(n_units * n_chunks, warp + 1);
	w.unit = w.item / n_chunks;
	w.chunk = w.item - w.unit * n_chunks;
	return w;
}

/* Matrix and number of a unit's rows. */
struct unit_rows {
	int matrix; /* of row a; gate, and b is up's, where they are gated */
	int a, b;
};

INLINE struct unit_rows rows_of_unit(const struct persistent_product &p, int u)
{
	struct unit_rows r = {0, u, u};
	if (p.output == PERSISTENT_GATED)
		return r;
	const int units0 = (p.w[0].n_out + 1) / 2, units1 = p.n_w > 1 ? (p.w[1].n_out + 1) / 2 : 0;
	int n_out = p.w[0].n_out;
	if (u >= units0) {
		r.matrix = 1;
		u -= units0;
		n_out = p.w[1].n_out;
		if (u >= units1) {
			r.matrix = 2;
			u -= units1;
			n_out = p.w[2].n_out;
		}
	}
	r.a = 2 * u;
	r.b = min(2 * u + 1, n_out - 1);
	return r;
}

INLINE struct row_pair weights_of_unit(const struct persistent_product &p, int u)
{
	const struct unit_rows r = rows_of_unit(p, u);
	if (p.output == PERSISTENT_GATED)
		return rows_of(p.w[0], r.a, p.w[1], r.b);
	return r.matrix == 0   ? rows_of(p.w[0], r.a, p.w[0], r.b)
	       : r.matrix == 1 ? rows_of(p.w[1], r.a, p.w[1], r.b)
			       : rows_of(p.w[2], r.a, p.w[2], r.b);
}

/* ---- stages ---- */

struct stages {
	char *memory;             /* (PAIRS, n_stages, STAGE_BYTES) */
	unsigned long long *full; /* (PAIRS, MAX_STAGES): a stage's copies */
	unsigned long long *empty;
	int n; /* of a pair */
};

INLINE struct stages stages_of(char *shared, const struct persistent_layout &l, int n)
{
	struct stages s;
	s.memory = shared;
	s.full = (unsigned long long *)(shared + l.barriers);
	s.empty = s.full + PERSISTENT_PAIRS * PERSISTENT_MAX_STAGES;
	s.n = n;
	return s;
}

/* Where a pair is in its ring. */
struct stage {
	int at;
	unsigned parity;

	__device__ __forceinline__ void next(int n)
	{
		if (++at == n) {
			at = 0;
			parity ^= 1;
		}
	}
};

INLINE void copy_scales(char *to, const unsigned short *from, int n, unsigned long long *full,
			unsigned long long policy)
{
	const unsigned long long at = (unsigned long long)from;
	const unsigned skip = (unsigned)at & 15;
	bulk_copy(to, (const void *)(at - skip), (skip + 2 * n + 15) & ~15u, full, policy);
}

INLINE unsigned scales_bytes(const unsigned short *from, int n)
{
	return (((unsigned)(unsigned long long)from & 15) + 2 * n + 15) & ~15u;
}

/* A stage's barrier is remembered by a lane until its copies are no longer on their way. */
struct in_flight {
	int issued = 0, arrived = 0;
	int remembered = 0; /* lane i: of number i modulo WARP, barrier and parity */

	__device__ __forceinline__ void keep_below(int limit, unsigned long long *full)
	{
		while (issued - arrived >= limit) {
			const int m = __shfl_sync(ALL_LANES, remembered, arrived % WARP);
			barrier_wait(full + (m >> 1), m & 1);
			arrived++;
		}
	}

	__device__ __forceinline__ void add(int barrier, unsigned parity)
	{
		if ((int)threadIdx.x % WARP == issued % WARP)
			remembered = barrier << 1 | (int)parity;
		issued++;
	}
};

/* The copying warp through one product. Lane i walks as warp i does; lane i also knows where pair i is. */
INLINE void fill_product(const struct persistent_product &p, int n_blocks, const struct stages &s, struct stage &own,
			 struct in_flight &flight, unsigned long long policy)
{
	const int lane = threadIdx.x % WARP;
	const struct unit_range range = product_range(p, n_blocks);
	const int type = p.w[0].type, n_in = p.w[0].n_in;
	const int n_chunks = matvec_chunks(type, n_in), row_bytes = n_in * element_bytes(type);
	const bool scaled = type == TENSOR_Q8_0;
	const int first_pieces = p.first_pieces, first_limit = p.first_limit, limit = p.limit;
	struct walk w = walk_of(range.count, n_chunks, lane < PERSISTENT_WARPS ? lane : 0);
	struct row_pair rows = {};
	int known = -1, pieces = 0;

	if (lane >= PERSISTENT_WARPS)
		w.end = w.item;
	for (;;) {
		const unsigned active = __ballot_sync(ALL_LANES, w.more());
		if (!active)
			return;
		for (int pair = 0; pair < PERSISTENT_PAIRS; pair++) {
			if (!(active >> (2 * pair) & 3))
				continue;
			flight.keep_below(pieces < first_pieces ? first_limit : limit, s.full);
			pieces++;
			const int at = __shfl_sync(ALL_LANES, own.at, pair);
			const unsigned parity = __shfl_sync(ALL_LANES, own.parity, pair);
			const int barrier = pair * PERSISTENT_MAX_STAGES + at;
			const bool mine = lane / 2 == pair && w.more();
			const int n = mine ? w.length(n_chunks) : 0;
			const int bytes = min(n * 512, row_bytes - w.chunk * 512);
			const int n_scales = min(n * 16, n_in / 32 - w.chunk * 16);
			const unsigned short *scales_a = nullptr, *scales_b = nullptr;
			unsigned total = 0;
			if (mine) {
				if (known != w.unit)
					rows = weights_of_unit(p, range.first + w.unit);
				known = w.unit;
				total = 2 * bytes;
				if (scaled) {
					scales_a = rows.scales_a + w.chunk * 16;
					scales_b = rows.scales_b + w.chunk * 16;
					total += scales_bytes(scales_a, n_scales) + scales_bytes(scales_b, n_scales);
				}
			}
			total += __shfl_xor_sync(ALL_LANES, total, 1);
			barrier_wait(s.empty + barrier, parity ^ 1);
			if (lane == 2 * pair)
				barrier_expect(s.full + barrier, total);
			__syncwarp();
			if (mine) {
				char *to = s.memory + (pair * s.n + at) * PERSISTENT_STAGE_BYTES +
					   lane % 2 * PERSISTENT_PART_BYTES;
				bulk_copy(to, rows.a + w.chunk * 512, bytes, s.full + barrier, policy);
				bulk_copy(to + PERSISTENT_ROW_BYTES, rows.b + w.chunk * 512, bytes, s.full + barrier,
					  policy);
				if (scaled) {
					to += 2 * PERSISTENT_ROW_BYTES;
					copy_scales(to, scales_a, n_scales, s.full + barrier, policy);
					copy_scales(to + PERSISTENT_SCALE_BYTES, scales_b, n_scales, s.full + barrier,
						    policy);
				}
				w.advance(n, n_chunks);
			}
			__syncwarp();
			flight.add(barrier, parity);
			if (lane == pair)
				own.next(s.n);
		}
	}
}

/* ---- activations ---- */

/* p.in, as it is, to where lanes read it. */
template <int T> INLINE void stage_input(const struct persistent_product &p, const struct token &t, void *x_shared)
{
	enum { AT_ONCE = 5 };
	const int n = p.w[0].n_in, n_chunks = matvec_chunks(T, n), n_padded = matvec_padded(T, n) / 4;
	for (int base = 0; base < n_padded; base += AT_ONCE * PERSISTENT_CONSUMERS) {
		float4 v[AT_ONCE];
		await_vecs(p.in, base + (int)threadIdx.x, PERSISTENT_CONSUMERS, n / 4, t.parity, v);
#pragma unroll
		for (int j = 0; j < AT_ONCE; j++) {
			const int i = base + j * PERSISTENT_CONSUMERS + (int)threadIdx.x;
			if (i >= n_padded) /* whole warps */
				break;
			stage_put<T>(x_shared, n_chunks, i, v[j]);
		}
	}
}

INLINE float4 times(float4 v, float s, float4 w)
{
	return make_float4(v.x * s * w.x, v.y * s * w.y, v.z * s * w.z, v.w * s * w.w);
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

template <int VECS>
INLINE float rms_factor(struct token &t, const held<VECS> &x, const struct persistent_program &g)
{
	float sum = 0.0f;
#pragma unroll
	for (int j = 0; j < VECS; j++)
		sum += squares(x.v[j]);
	return 1.0f / sqrtf(consumers_sum(t, sum) / (float)g.n_embd + g.eps);
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

/* The stream takes p.in; x of the product. Every block has the whole stream, and a thread the same part always. */
template <int VECS>
INLINE held<VECS> advance_stream(const struct persistent_program &g, const struct persistent_product &p,
				  struct token &t, float *h_shared, float *trace)
{
	const int n_vecs = g.n_embd / 4;
	held<VECS> x, h, post, pre;
	load_held(post, p.post_norm, n_vecs);
	load_held(pre, p.pre_norm, n_vecs);
	if (!p.in)
		load_held(h, h_shared, n_vecs);
	if (p.in) {
		await_vecs(p.in, (int)threadIdx.x, PERSISTENT_CONSUMERS, n_vecs, t.parity, x.v);
		const float factor = p.post_norm ? rms_factor(t, x, g) : 1.0f;
#pragma unroll
		for (int j = 0; j < VECS; j++) {
			const int i = (int)threadIdx.x + j * PERSISTENT_CONSUMERS;
			const float4 u = p.post_norm ? times(x.v[j], factor, post.v[j]) : x.v[j];
			const float4 before = i < n_vecs ? ((const float4 *)h_shared)[i] : make_float4(0, 0, 0, 0);
			h.v[j] = make_float4((before.x + u.x) * p.scale, (before.y + u.y) * p.scale,
					     (before.z + u.z) * p.scale, (before.w + u.w) * p.scale);
			if (i < n_vecs)
				((float4 *)h_shared)[i] = h.v[j];
		}
	}
	x = h;
	if (p.pre_norm) {
		const float factor = rms_factor(t, h, g);
#pragma unroll
		for (int j = 0; j < VECS; j++)
			x.v[j] = times(h.v[j], factor, pre.v[j]);
	}
	if (trace && p.trace >= 0 && blockIdx.x == 0) {
		trace += (long long)p.trace * g.n_embd;
		if (p.output == PERSISTENT_LOGITS)
			store_trace(trace, x, n_vecs);
		else
			store_trace(trace, h, n_vecs);
	}
	return x;
}

template <int T, int VECS> INLINE void stage_held(void *x_shared, const held<VECS> &x, int n)
{
	const int n_chunks = matvec_chunks(T, n), n_padded = matvec_padded(T, n) / 4;
#pragma unroll
	for (int j = 0; j < VECS; j++) {
		const int i = (int)threadIdx.x + j * PERSISTENT_CONSUMERS;
		if (i < n_padded) /* whole warps */
			stage_put<T>(x_shared, n_chunks, i, x.v[j]);
	}
}

/* ---- multiplying ---- */

template <int T> INLINE float dot16(uint4 u, float4 x0, float4 x1, float acc)
{
	return weight_stream<T, int>::dot8(u, x0, x1, acc);
}

/* Sixteen bytes of a row a lane, of chunk c of x. */
template <int T>
INLINE void multiply_chunk(uint4 a, uint4 b, unsigned short scale_a, unsigned short scale_b, const void *x_shared, int c,
			   int n_chunks, float &acc_a, float &acc_b)
{
	const int lane = threadIdx.x % WARP;
	if (T == TENSOR_Q8_0) {
		const int4 *x = (const int4 *)x_shared + c * 96 + lane;
		const int4 high = x[0], mid = x[32], low = x[64];
		const float xs = ((const float *)x_shared)[n_chunks * 384 + c * 16 + lane / 2];
#pragma unroll
		for (int r = 0; r < 2; r++) {
			const uint4 u = r ? b : a;
			int s0 = __dp4a((int)u.x, high.x, 0), s1 = __dp4a((int)u.x, mid.x, 0),
			    s2 = __dp4a((int)u.x, low.x, 0);
			s0 = __dp4a((int)u.y, high.y, s0);
			s1 = __dp4a((int)u.y, mid.y, s1);
			s2 = __dp4a((int)u.y, low.y, s2);
			s0 = __dp4a((int)u.z, high.z, s0);
			s1 = __dp4a((int)u.z, mid.z, s1);
			s2 = __dp4a((int)u.z, low.z, s2);
			s0 = __dp4a((int)u.w, high.w, s0);
			s1 = __dp4a((int)u.w, mid.w, s1);
			s2 = __dp4a((int)u.w, low.w, s2);
			/* |s| <= 2^18, so the sum of the upper two digits fits an int. */
			const float sum = fmaf((float)(s0 * 256 + s1), 256.0f, (float)s2);
			const float scale = f16_to_f32(r ? scale_b : scale_a) * xs;
			if (r == 0)
				acc_a = fmaf(sum, scale, acc_a);
			else
				acc_b = fmaf(sum, scale, acc_b);
		}
		return;
	}
	if (T == TENSOR_F32) {
		const float4 x = ((const float4 *)x_shared)[c * 32 + lane];
		acc_a = weight_stream<T, int>::dot4(a, x, acc_a);
		acc_b = weight_stream<T, int>::dot4(b, x, acc_b);
		return;
	}
	const float4 x0 = ((const float4 *)x_shared)[c * 64 + lane];
	const float4 x1 = ((const float4 *)x_shared)[c * 64 + 32 + lane];
	acc_a = dot16<T>(a, x0, x1, acc_a);
	acc_b = dot16<T>(b, x0, x1, acc_b);
}

/* n chunks from chunk c on, of a part in shared memory. skip: bytes in front of the scales of row a and b. */
template <int T>
INLINE void multiply_part(const char *part, int skip_a, int skip_b, const void *x_shared, int c, int n, int n_chunks,
			  int row_bytes, float &acc_a, float &acc_b)
{
	const int lane = threadIdx.x % WARP;
	const char *a = part + lane * 16, *scales = part + 2 * PERSISTENT_ROW_BYTES + lane / 2 * 2;
#pragma unroll
	for (int k = 0; k < PERSISTENT_CHUNKS; k++) {
		if (k >= n)
			break;
		if ((c + k) * 512 + lane * 16 >= row_bytes)
			continue;
		const uint4 u = *(const uint4 *)(a + k * 512);
		const uint4 v = *(const uint4 *)(a + PERSISTENT_ROW_BYTES + k * 512);
		unsigned short scale_a = 0, scale_b = 0;
		if (T == TENSOR_Q8_0) {
			scale_a = *(const unsigned short *)(scales + skip_a + k * 32);
			scale_b = *(const unsigned short *)(scales + PERSISTENT_SCALE_BYTES + skip_b + k * 32);
		}
		multiply_chunk<T>(u, v, scale_a, scale_b, x_shared, c + k, n_chunks, acc_a, acc_b);
	}
}

/* A warp's part of the block's units. partial: sums of its visits, as weight_stream leaves them. */
template <int T>
INLINE void multiply(const struct persistent_product &p, const struct unit_range &range, const void *x_shared,
		     float *partial, const struct stages &s, struct stage &own)
{
	const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, pair = warp / 2;
	const int n_in = p.w[0].n_in, n_chunks = matvec_chunks(T, n_in);
	const int row_bytes = n_in * (T == TENSOR_F32 ? 4 : T == TENSOR_Q8_0 ? 1 : 2);
	const bool skewed = T == TENSOR_Q8_0 && n_in % 256; /* scales of rows are not aligned to 16 bytes */
	struct walk w = walk_of(range.count, n_chunks, warp), other = walk_of(range.count, n_chunks, warp ^ 1);
	int skip_a = 0, skip_b = 0;
	float acc_a = 0.0f, acc_b = 0.0f;

	while (w.more() || other.more()) {
		const int barrier = pair * PERSISTENT_MAX_STAGES + own.at;
		const char *part = s.memory + (pair * s.n + own.at) * PERSISTENT_STAGE_BYTES +
				   warp % 2 * PERSISTENT_PART_BYTES;
		/* Also where this warp has no part of it: else it might take another round for this one. */
		barrier_wait(s.full + barrier, own.parity);
		if (w.more()) {
			const int n = w.length(n_chunks);
			if (skewed) {
				const struct row_pair rows = weights_of_unit(p, range.first + w.unit);
				skip_a = (int)((unsigned long long)rows.scales_a & 15);
				skip_b = (int)((unsigned long long)rows.scales_b & 15);
			}
			multiply_part<T>(part, skip_a, skip_b, x_shared, w.chunk, n, n_chunks, row_bytes, acc_a, acc_b);
			if (w.chunk + n == n_chunks || w.item + n == w.end) {
				const float give = lane < 16 ? acc_b : acc_a;
				float v = (lane < 16 ? acc_a : acc_b) + __shfl_xor_sync(ALL_LANES, give, 16);
#pragma unroll
				for (int d = 8; d; d /= 2)
					v += __shfl_xor_sync(ALL_LANES, v, d);
				/* As in weight_stream::flush: a warp's number keeps its units apart from others'. */
				if (lane % 16 == 0)
					partial[(w.unit + warp) * 2 + lane / 16] = v;
				acc_a = acc_b = 0.0f;
			}
			w.advance(n, n_chunks);
		}
		if (other.more())
			other.advance(other.length(n_chunks), n_chunks);
		__syncwarp();
		if (lane == 0)
			barrier_arrive(s.empty + barrier);
		own.next(s.n);
	}
}

/* A unit's sums once all warps are through, in the order of the warps. */
INLINE float2 sums_of_unit(const float *partial, int unit, int n_items, int n_chunks)
{
	float2 sum = make_float2(0.0f, 0.0f);
#pragma unroll
	for (int w = 0; w < PERSISTENT_WARPS; w++) {
		const int first = part_begin(n_items, w), end = part_begin(n_items, w + 1);
		if (first < end && first < (unit + 1) * n_chunks && end > unit * n_chunks) {
			const float2 part = ((const float2 *)partial)[unit + w];
			sum.x += part.x;
			sum.y += part.y;
		}
	}
	return sum;
}

INLINE void leave_unit(const struct persistent_program &g, const struct persistent_product &p, const struct token &t,
		       int u, float2 v)
{
	const struct unit_rows r = rows_of_unit(p, u);
	if (p.output == PERSISTENT_GATED) {
		publish(p.y[0] + u, activate(v.x, g.act) * v.y, t.parity);
		return;
	}
	if (p.output == PERSISTENT_TIMES) {
		v.x = activate(v.x, g.act) * await(p.up + r.a, t.parity);
		v.y = activate(v.y, g.act) * await(p.up + r.b, t.parity);
	} else if (p.output == PERSISTENT_LOGITS) {
		if (g.cap > 0.0f)
			v = make_float2(softcap(v.x, g.cap), softcap(v.y, g.cap));
		p.y[0][r.a] = v.x;
		if (r.b > r.a)
			p.y[0][r.b] = v.y;
		return;
	}
	float *const y = r.matrix == 0 ? p.y[0] : r.matrix == 1 ? p.y[1] : p.y[2];
	publish(y + r.a, v.x, t.parity);
	if (r.b > r.a)
		publish(y + r.b, v.y, t.parity);
}

/* What of the block's shared memory a product takes. */
struct product_memory {
	void *x;
	float *h;
	float *partial;
};

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

APART void product(const struct persistent_program &g, const struct persistent_product &p, struct token &t,
		    const struct product_memory &m, const struct stages &s, struct stage &own, float *trace)
{
	const struct unit_range range = product_range(p, g.n_blocks);
	const int type = p.w[0].type;
	const auto stage_stream = [&](auto vecs) {
		const held<vecs.T> x = advance_stream<vecs.T>(g, p, t, m.h, trace);
		if (range.count)
			for_type(type, [&](auto w) { stage_held<w.T>(m.x, x, g.n_embd); });
	};
	if (p.stream) {
		/* Of E2B and E4B a thread holds half of what it does of the widest. */
		if (g.n_embd <= PERSISTENT_VECS / 2 * 4 * PERSISTENT_CONSUMERS)
			stage_stream(constant<PERSISTENT_VECS / 2>());
		else
			stage_stream(constant<PERSISTENT_VECS>());
	} else if (range.count) {
		for_type(type, [&](auto w) { stage_input<w.T>(p, t, m.x); });
	}
	if (!range.count)
		return;
	consumers_sync();
	for_type(type, [&](auto w) { multiply<w.T>(p, range, m.x, m.partial, s, own); });
	consumers_sync();
	const int n_chunks = matvec_chunks(type, p.w[0].n_in);
	for (int i = threadIdx.x; i < range.count; i += PERSISTENT_CONSUMERS)
		leave_unit(g, p, t, range.first + i, sums_of_unit(m.partial, i, range.count * n_chunks, n_chunks));
}

#endif
