/*
 * Decode's matrix products: one activation row times many weight rows, bound by the
 * memory that the weights come from.
 *
 * One CTA per SM, MATVEC_WARPS warps. Weight rows come in units of two. A CTA owns a
 * contiguous range of units; the range's (unit, chunk of 512 bytes a row) items,
 * flattened, are cut evenly between its warps, so no shape leaves warps idle. A warp streams its items
 * through a ring of stages in shared memory, the first of them asked for before griddepcontrol.wait, the others behind
 * the activations; a lane reads what it has copied itself, so nobody waits for others. Not through registers: all loads
 * of a loop with branches share one of the six counters that a warp waits by, and so the first to be used waits for the
 * last one asked for. Loops over stages are not unrolled: a kernel is short, and its instructions are fetched anew. Each
 * visit of a warp to a unit leaves a partial sum in shared memory; they are summed in the order of the warps: the result
 * depends on the grid only.
 *
 * Activations are staged in shared memory once per CTA, normed on the way where the
 * kernel says so, in the order in which lanes read them. For Q8_0 and TENSOR_QUANT_TYPES they become three
 * signed 8-bit digits and one scale per 32 (23 bits and a sign, relative to the
 * block's maximum: as accurate as float32), so that a product of four weights is three dp4a. Of the latter a lane
 * has a block of 32 (matvec_quants.cuh).
 */
#ifndef GEMMARK_KERNELS_CUDA_MATVEC_CUH
#define GEMMARK_KERNELS_CUDA_MATVEC_CUH

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/matvec_geometry.h"
#include "kernels/cuda/matvec_quants.cuh"

enum {
	MATVEC_WARPS = MATVEC_THREADS / WARP,
	STAGE_VECS = 8 /* activation vectors that a thread holds at once */
};

/* Digits cover +-127 * (1 + 256 + 65536), less what rounding may add. */
constexpr float DIGIT_LIMIT = 8355000.0f;

/* Two weight rows that are streamed together. */
struct row_pair {
	const char *a;
	const char *b;
	const unsigned short *scales_a;
	const unsigned short *scales_b;
	/* Of TENSOR_QUANT_TYPES, whose a and b are the matrices: blocks of each, and of them those in front of the rows. */
	unsigned n_blocks;
	unsigned before_a;
	unsigned before_b;
};

template <int T>
INLINE struct row_pair rows_of(const struct weight &wa, long long a, const struct weight &wb, long long b)
{
	struct row_pair r;
	if (quants_has(T)) {
		const unsigned row_blocks = (unsigned)wa.n_in / QUANTS_BLOCK;
		r.a = (const char *)wa.data;
		r.b = (const char *)wb.data;
		r.n_blocks = (unsigned)wa.n_expert * (unsigned)wa.n_out * row_blocks;
		r.before_a = (unsigned)a * row_blocks;
		r.before_b = (unsigned)b * row_blocks;
		r.scales_a = r.scales_b = nullptr;
		return r;
	}
	const long long row_bytes = (long long)wa.n_in * element_bytes(T);
	r.a = (const char *)wa.data + a * row_bytes;
	r.b = (const char *)wb.data + b * row_bytes;
	r.scales_a = (const unsigned short *)wa.scales + a * (wa.n_in / 32);
	r.scales_b = (const unsigned short *)wb.scales + b * (wb.n_in / 32);
	r.n_blocks = r.before_a = r.before_b = 0;
	return r;
}

/* What part of the units is this CTA's. */
struct unit_range {
	int first;
	int count;
};

/* Products below 2^32: products_matvec sees to it. */
INLINE struct unit_range units_of(int n_units, unsigned block, unsigned n_blocks)
{
	struct unit_range r;
	r.first = (int)((unsigned)n_units * block / n_blocks);
	r.count = (int)((unsigned)n_units * (block + 1) / n_blocks) - r.first;
	return r;
}

/* First item of a warp. */
INLINE int items_before(int n_items, int warp)
{
	return (int)((unsigned)n_items * (unsigned)warp / MATVEC_WARPS);
}

/* Shared memory of a kernel with n_in inputs and so many units: matvec_geometry.h. */
struct matvec_shared {
	void *x;
	float *scratch; /* (32) */
	float *norm;    /* (n_in) where NORM */
	char *stages;
	float *partial;
	int depth; /* stages of a warp */
};

template <int T, bool NORM> INLINE struct matvec_shared shared_of(char *memory, int n_in, int units)
{
	const int at = matvec_stages_at(T, n_in, NORM);
	struct matvec_shared s;
	s.x = memory;
	s.scratch = (float *)(memory + matvec_x_bytes(T, n_in));
	s.norm = s.scratch + 32;
	s.stages = memory + at;
	s.depth = matvec_stages(T, (int)shared_bytes() - at - matvec_partial_bytes(units));
	s.partial = (float *)(s.stages + s.depth * (MATVEC_WARPS * matvec_stage_bytes(T)));
	return s;
}

/* ---- activations in shared memory ---- */

/* Four activations as three signed digits each, and the scale of their block. */
struct digits {
	unsigned high, mid, low;
	float scale;
	int sum; /* of the four, in units of the scale */
};

/* Called by whole warps: a block of 32 is eight neighbouring lanes. */
INLINE struct digits digits_of(float4 v)
{
	struct digits d = {0, 0, 0, 0.0f, 0};
	/* Maximum of magnitudes by their bits: a NaN is greater than all and so is not lost. */
	unsigned m = __float_as_uint(v.x) & 0x7fffffffu;
	m = max(m, __float_as_uint(v.y) & 0x7fffffffu);
	m = max(m, __float_as_uint(v.z) & 0x7fffffffu);
	m = max(m, __float_as_uint(v.w) & 0x7fffffffu);
#pragma unroll
	for (int e = 1; e < 8; e *= 2)
		m = max(m, __shfl_xor_sync(ALL_LANES, m, e));
	const float amax = __uint_as_float(m);
	const float inverse = amax >= 1e-30f ? DIGIT_LIMIT / amax : 0.0f;
	const int q[4] = {__float2int_rn(v.x * inverse), __float2int_rn(v.y * inverse), __float2int_rn(v.z * inverse),
			  __float2int_rn(v.w * inverse)};
#pragma unroll
	for (int k = 0; k < 4; k++) {
		const int d2 = (int)(signed char)(q[k] & 255);
		const int rest = (q[k] - d2) >> 8;
		const int d1 = (int)(signed char)(rest & 255);
		d.low |= (unsigned)(q[k] & 255) << (8 * k);
		d.mid |= (unsigned)(rest & 255) << (8 * k);
		d.high |= (unsigned)((rest - d1) >> 8 & 255) << (8 * k);
	}
	d.scale = amax * (1.0f / DIGIT_LIMIT);
	d.sum = q[0] + q[1] + q[2] + q[3];
	return d;
}

/* stage_put for TENSOR_QUANT_TYPES: of each digit of a chunk first all lanes' first 16, then their others. */
template <int T> INLINE void quants_put(void *x_shared, int n_chunks, int i, float4 v)
{
	const struct digits d = digits_of(v);
	const int block = i / 8, lane = block % WARP;
	unsigned *const digits = (unsigned *)x_shared + (block / WARP * 6 + i / 4 % 2) * 128 + lane * 4 + i % 4;
	float *const scales = (float *)x_shared + n_chunks * 6 * 128;
	digits[0] = d.high;
	digits[2 * 128] = d.mid;
	digits[4 * 128] = d.low;
	if (i % 8 == 0)
		scales[block] = d.scale;
	if (quants_have_least(T)) {
		int sum = d.sum;
#pragma unroll
		for (int e = 1; e < 8; e *= 2)
			sum += __shfl_xor_sync(ALL_LANES, sum, e);
		if (i % 8 == 0)
			scales[n_chunks * WARP + block] = (float)sum * d.scale;
	}
}

/*
 * Four consecutive activations 4 * i .. to where lanes read them. x_shared as laid out by
 * matvec_x_bytes in matvec_geometry.h. Called by whole warps: a block of 32 is eight neighbouring lanes.
 */
template <int T> INLINE void stage_put(void *x_shared, int n_chunks, int i, float4 v)
{
	if (T == TENSOR_F32) {
		((float4 *)x_shared)[i] = v;
		return;
	}
	if (quants_has(T)) {
		quants_put<T>(x_shared, n_chunks, i, v);
		return;
	}
	if (T != TENSOR_Q8_0) { /* a lane reads 8 elements: two vectors, each next to its neighbour lane's */
		((float4 *)x_shared)[i / 64 * 64 + i % 2 * 32 + i % 64 / 2] = v;
		return;
	}
	const struct digits d = digits_of(v);
	unsigned *digits = (unsigned *)x_shared + (i / 128) * 3 * 128 + i % 128;
	digits[0] = d.high;
	digits[128] = d.mid;
	digits[256] = d.low;
	if (i % 8 == 0)
		((float *)x_shared)[n_chunks * 3 * 128 + i / 8] = d.scale;
}

/* The vector that a norm multiplies with, before the wait. A group of copies; a thread copies what it will read. */
INLINE void ask_norm(float *to, const float *weight, int n)
{
#pragma unroll 1
	for (int i = threadIdx.x; i < n / 4; i += MATVEC_THREADS)
		copy_async(shared_address((float4 *)to + i), (const float4 *)weight + i, true);
	commit_copies();
}

/* Until at most n groups of this thread's copies are on their way. */
INLINE void wait_for_copies_but(int n)
{
	static_assert(MATVEC_STAGES == 4, "as many cases");
	switch (n) {
	case 0:
		return wait_for_copies_but<0>();
	case 1:
		return wait_for_copies_but<1>();
	case 2:
		return wait_for_copies_but<2>();
	case 3:
		return wait_for_copies_but<3>();
	default:
		return wait_for_copies_but<4>();
	}
}

/*
 * x of the CTA, where NORM divided by its rms and multiplied by what ask_norm asked for, behind which are the groups of
 * all stages. normed, where not null, gets the same in its plain order. then: what is asked for behind x.
 */
template <int T, bool NORM, class THEN>
INLINE void stage_x(const struct matvec_shared &s, const float *x, float eps, int n, float *normed, const THEN &then)
{
	const int n_vecs = n / 4;
	const int n_chunks = matvec_chunks(T, n);
	const int n_padded = matvec_padded(T, n) / 4;
	const int group = STAGE_VECS * MATVEC_THREADS;
	float4 v[STAGE_VECS];
	float scale = 1.0f;
	const auto ask = [&](int base) {
#pragma unroll
		for (int j = 0; j < STAGE_VECS; j++) {
			const int i = base + j * MATVEC_THREADS + (int)threadIdx.x;
			v[j] = i < n_vecs ? ((const float4 *)x)[i] : make_float4(0, 0, 0, 0);
		}
	};

	ask(0);
	then();
	if (NORM) {
		float sum = 0.0f;
#pragma unroll 1
		for (int base = 0; base < n_vecs; base += group) {
			if (base > 0)
				ask(base);
#pragma unroll
			for (int j = 0; j < STAGE_VECS; j++)
				sum += v[j].x * v[j].x + v[j].y * v[j].y + v[j].z * v[j].z + v[j].w * v[j].w;
		}
		scale = 1.0f / sqrtf(block_sum(sum, s.scratch) / (float)n + eps);
		wait_for_copies_but(s.depth);
	}
#pragma unroll 1
	for (int base = 0; base < n_padded; base += group) {
		if (base > 0 || (NORM && n_vecs > group))
			ask(base);
		/* Not unrolled: its many instructions would be fetched for each vector. */
#pragma unroll 1
		for (int j = 0; j < STAGE_VECS; j++) {
			const int i = base + j * MATVEC_THREADS + (int)threadIdx.x;
			/* Whole warps: n_padded is a multiple of 32. */
			if (i >= n_padded)
				break;
			float4 f = v[0];
			if (NORM && i < n_vecs) {
				const float4 w = ((const float4 *)s.norm)[i];
				f = make_float4(f.x * scale * w.x, f.y * scale * w.y, f.z * scale * w.z,
						f.w * scale * w.w);
				if (normed)
					((float4 *)normed)[i] = f;
			}
			stage_put<T>(s.x, n_chunks, i, f);
#pragma unroll
			for (int k = 1; k < STAGE_VECS; k++)
				v[k - 1] = v[k];
		}
	}
	__syncthreads();
}

/* ---- the stream ---- */

/* ROWS: struct row_pair operator()(int unit) const, units counted from the CTA's first. */
template <int T, class ROWS> struct weight_stream {
	enum { STAGE = matvec_stage_bytes(T), SCALES = 2 * WARP * 16 };

	const ROWS &rows;
	const char *ring; /* the warp's stages */
	unsigned ring_to; /* the lane's part of them, for copies */
	struct row_pair at;
	int depth; /* stages */
	int row_bytes;
	int n_chunks;
	int first; /* item */
	int end;
	int next; /* item to be issued, its unit and chunk */
	int unit;
	int chunk;

	__device__ __forceinline__ weight_stream(const ROWS &r, const struct matvec_shared &s, int n_in, int n_units)
		: rows(r)
	{
		const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
		depth = s.depth;
		ring = s.stages + warp * depth * STAGE;
		ring_to = shared_address(ring) + lane * 16;
		row_bytes = quants_has(T) ? n_in / 2 : n_in * element_bytes(T);
		n_chunks = matvec_chunks(T, n_in);
		first = items_before(n_units * n_chunks, warp);
		end = items_before(n_units * n_chunks, warp + 1);
		next = first;
		unit = (int)((unsigned)first / (unsigned)n_chunks);
		chunk = first - unit * n_chunks;
		if (first < end)
			at = rows(unit);
	}

	/* Asks for the next item, if there is one, as stage d; a group of copies either way. */
	__device__ __forceinline__ void issue(int d)
	{
		if (next < end) {
			const int lane = threadIdx.x % WARP;
			const int offset = chunk * 512 + lane * 16;
			const unsigned to = ring_to + d * STAGE;
			const bool inside = offset < row_bytes;
			if (quants_has(T)) {
				quants_copy<T>(to, at.a, at.before_a + offset / 16, at.b, at.before_b + offset / 16,
					       at.n_blocks, inside);
			} else {
				copy_async(to, at.a + offset, inside);
				copy_async(to + WARP * 16, at.b + offset, inside);
				if (T == TENSOR_Q8_0) {
					const unsigned scales_to = to + SCALES - lane * 12;
					copy_async<4>(scales_to, word_of(at.scales_a + offset / 32), inside);
					copy_async<4>(scales_to + WARP * 4, word_of(at.scales_b + offset / 32), inside);
				}
			}
			next++;
			if (++chunk == n_chunks) {
				chunk = 0;
				unit++;
				if (next < end)
					at = rows(unit);
			}
		}
		commit_copies();
	}

	/* In front of the wait: little, as activations queue behind it. */
	__device__ __forceinline__ void start()
	{
		issue(0);
	}

	/* Once they are asked for. */
	__device__ __forceinline__ void fill()
	{
#pragma unroll 1
		for (int d = 1; d < depth; d++)
			issue(d);
	}

	/* Chunk c of unit u, which is in stage d. */
	__device__ __forceinline__ void multiply(int d, const void *x_shared, int u, int c, float &acc_a,
						 float &acc_b) const
	{
		const int lane = threadIdx.x % WARP;
		const char *const stage = ring + d * STAGE;
		const uint4 *const w = (const uint4 *)stage + lane;
		if (quants_has(T)) {
			const struct row_pair of = rows(u);
			quants_multiply<T>(stage, of.before_a + c * WARP + lane, of.before_b + c * WARP + lane, x_shared,
					   n_chunks, c, acc_a, acc_b);
			return;
		}
		if (T == TENSOR_Q8_0) {
			const int4 *x = (const int4 *)x_shared + c * 96 + lane;
			const int4 high = x[0], mid = x[32], low = x[64];
			const float xs = ((const float *)x_shared)[n_chunks * 384 + c * 16 + lane / 2];
			const struct row_pair of = rows(u);
#pragma unroll
			for (int r = 0; r < 2; r++) {
				const uint4 v = w[r * WARP];
				int s0 = __dp4a((int)v.x, high.x, 0), s1 = __dp4a((int)v.x, mid.x, 0),
				    s2 = __dp4a((int)v.x, low.x, 0);
				s0 = __dp4a((int)v.y, high.y, s0);
				s1 = __dp4a((int)v.y, mid.y, s1);
				s2 = __dp4a((int)v.y, low.y, s2);
				s0 = __dp4a((int)v.z, high.z, s0);
				s1 = __dp4a((int)v.z, mid.z, s1);
				s2 = __dp4a((int)v.z, low.z, s2);
				s0 = __dp4a((int)v.w, high.w, s0);
				s1 = __dp4a((int)v.w, mid.w, s1);
				s2 = __dp4a((int)v.w, low.w, s2);
				/* |s| <= 2^18, so the sum of the upper two digits fits an int. */
				const float sum = fmaf((float)(s0 * 256 + s1), 256.0f, (float)s2);
				const unsigned word = ((const unsigned *)(stage + SCALES))[r * WARP + lane];
				const unsigned short *const from =
					(r == 0 ? of.scales_a : of.scales_b) + (c * 512 + lane * 16) / 32;
				const float scale = f16_to_f32(half_of(word, from)) * xs;
				if (r == 0)
					acc_a = fmaf(sum, scale, acc_a);
				else
					acc_b = fmaf(sum, scale, acc_b);
			}
			return;
		}
		if (T == TENSOR_F32) {
			const float4 x = ((const float4 *)x_shared)[c * 32 + lane];
			acc_a = dot4(w[0], x, acc_a);
			acc_b = dot4(w[WARP], x, acc_b);
			return;
		}
		const float4 x0 = ((const float4 *)x_shared)[c * 64 + lane];
		const float4 x1 = ((const float4 *)x_shared)[c * 64 + 32 + lane];
		acc_a = dot8(w[0], x0, x1, acc_a);
		acc_b = dot8(w[WARP], x0, x1, acc_b);
	}

	static __device__ __forceinline__ float dot4(uint4 u, float4 x, float acc)
	{
		acc = fmaf(__uint_as_float(u.x), x.x, acc);
		acc = fmaf(__uint_as_float(u.y), x.y, acc);
		acc = fmaf(__uint_as_float(u.z), x.z, acc);
		return fmaf(__uint_as_float(u.w), x.w, acc);
	}

	static __device__ __forceinline__ float dot8(uint4 u, float4 x0, float4 x1, float acc)
	{
		const float2 a = pair_to_f32<T>(u.x), b = pair_to_f32<T>(u.y), c = pair_to_f32<T>(u.z),
			     e = pair_to_f32<T>(u.w);
		acc = fmaf(a.x, x0.x, acc);
		acc = fmaf(a.y, x0.y, acc);
		acc = fmaf(b.x, x0.z, acc);
		acc = fmaf(b.y, x0.w, acc);
		acc = fmaf(c.x, x1.x, acc);
		acc = fmaf(c.y, x1.y, acc);
		acc = fmaf(e.x, x1.z, acc);
		return fmaf(e.y, x1.w, acc);
	}

	/* Both rows' sums over the warp in one set of shuffles: lanes 0-15 end with row a's, 16-31 with row b's. */
	static __device__ __forceinline__ void flush(float *partial, int u, float acc_a, float acc_b)
	{
		const int lane = threadIdx.x % WARP;
		const float give = lane < 16 ? acc_b : acc_a;
		float v = (lane < 16 ? acc_a : acc_b) + __shfl_xor_sync(ALL_LANES, give, 16);
#pragma unroll
		for (int d = 8; d; d /= 2)
			v += __shfl_xor_sync(ALL_LANES, v, d);
		/* Warp w's units lie behind warp w - 1's or begin with its last: adding w keeps them apart. */
		if (lane % 16 == 0)
			partial[(u + (int)threadIdx.x / WARP) * 2 + lane / 16] = v;
	}

	__device__ __forceinline__ void run(const void *x_shared, float *partial)
	{
		int u = (int)((unsigned)first / (unsigned)n_chunks);
		int c = first - u * n_chunks;
		int d = 0;
		float acc_a = 0.0f, acc_b = 0.0f;

#pragma unroll 1
		for (int item = first; item < end; item++) {
			wait_for_copies_but(depth - 1);
			multiply(d, x_shared, u, c, acc_a, acc_b);
			issue(d);
			if (++d == depth)
				d = 0;
			if (++c == n_chunks || item + 1 == end) {
				flush(partial, u, acc_a, acc_b);
				acc_a = acc_b = 0.0f;
				c = 0;
				u++;
			}
		}
		__syncthreads();
	}
};

/* A unit's sums once all warps are through: x of row a, y of row b. */
INLINE float2 unit_sums(const float *partial, int unit, int n_units, int n_chunks)
{
	const int n_items = n_units * n_chunks;
	float2 sum = make_float2(0.0f, 0.0f);
#pragma unroll
	for (int w = 0; w < MATVEC_WARPS; w++) {
		const int first = items_before(n_items, w), end = items_before(n_items, w + 1);
		if (first < end && first < (unit + 1) * n_chunks && end > unit * n_chunks) {
			const float2 part = ((const float2 *)partial)[unit + w];
			sum.x += part.x;
			sum.y += part.y;
		}
	}
	return sum;
}

#endif
