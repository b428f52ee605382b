/*
 * Decode's matrix products: one activation row times many weight rows, bound by the
 * memory that the weights come from.
 *
 * One CTA per SM, MATVEC_WARPS warps. Weight rows come in units of two. A CTA owns a
 * contiguous range of units; the range's (unit, chunk of 512 bytes a row) items,
 * flattened, are cut evenly between its warps, so no shape leaves warps idle. A warp streams its items
 * through DEPTH register stages of two 16-byte loads a lane (64 KB in flight per SM),
 * the first of them issued before griddepcontrol.wait. Each visit of a warp to a unit leaves a partial
 * sum in shared memory; they are summed in the order of the warps: the result depends on the grid only.
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
	STAGE_VECS = 4 /* activation vectors that a thread holds at once */
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

/* x of the CTA, multiplied by weight / rms where NORM. normed, where not null, gets the same in its plain order. */
template <int T, bool NORM>
INLINE void stage_x(void *x_shared, float *scratch, const float *x, const float *weight, float eps, int n,
		    float *normed)
{
	const int n_vecs = n / 4;
	const int n_chunks = matvec_chunks(T, n);
	const int n_padded = matvec_padded(T, n) / 4;
	const int group = STAGE_VECS * MATVEC_THREADS;
	float4 v[STAGE_VECS];
	float scale = 1.0f;

	if (NORM) {
		float sum = 0.0f;
		for (int base = 0; base < n_vecs; base += group) {
#pragma unroll
			for (int j = 0; j < STAGE_VECS; j++) {
				const int i = base + j * MATVEC_THREADS + (int)threadIdx.x;
				v[j] = i < n_vecs ? ((const float4 *)x)[i] : make_float4(0, 0, 0, 0);
			}
#pragma unroll
			for (int j = 0; j < STAGE_VECS; j++)
				sum += v[j].x * v[j].x + v[j].y * v[j].y + v[j].z * v[j].z + v[j].w * v[j].w;
		}
		scale = 1.0f / sqrtf(block_sum(sum, scratch) / (float)n + eps);
	}
	for (int base = 0; base < n_padded; base += group) {
		if (!NORM || n_vecs > group) {
#pragma unroll
			for (int j = 0; j < STAGE_VECS; j++) {
				const int i = base + j * MATVEC_THREADS + (int)threadIdx.x;
				v[j] = i < n_vecs ? ((const float4 *)x)[i] : make_float4(0, 0, 0, 0);
			}
		}
#pragma unroll
		for (int j = 0; j < STAGE_VECS; j++) {
			const int i = base + j * MATVEC_THREADS + (int)threadIdx.x;
			/* Whole warps: n_padded is a multiple of 32. */
			if (i >= n_padded)
				break;
			if (NORM && i < n_vecs) {
				const float4 w = ((const float4 *)weight)[i];
				v[j].x = v[j].x * scale * w.x;
				v[j].y = v[j].y * scale * w.y;
				v[j].z = v[j].z * scale * w.z;
				v[j].w = v[j].w * scale * w.w;
				if (normed)
					((float4 *)normed)[i] = v[j];
			}
			stage_put<T>(x_shared, n_chunks, i, v[j]);
		}
	}
	__syncthreads();
}

/* ---- the stream ---- */

/* ROWS: struct row_pair operator()(int unit) const, units counted from the CTA's first. */
template <int T, class ROWS> struct weight_stream {
	/* Stages in flight per warp: some 64 KB a SM either way. */
	enum { DEPTH = quants_high_bytes(T) || quants_side_bytes(T) > 2 ? 3 : 4 };

	const ROWS &rows;
	uint4 w[DEPTH][2];
	unsigned scales[DEPTH]; /* Q8_0: fp16 of row a below, of row b above */
	struct quants_stage<T> quants[DEPTH]; /* TENSOR_QUANT_TYPES, which have neither of these */
	struct row_pair at;
	int row_bytes;
	int n_chunks;
	int first; /* item */
	int end;
	int next; /* item to be issued, its unit and chunk */
	int unit;
	int chunk;

	__device__ __forceinline__ weight_stream(const ROWS &r, int n_in, int n_units) : rows(r)
	{
		const int warp = threadIdx.x / WARP;
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

	__device__ __forceinline__ void issue(int d)
	{
		if (next >= end)
			return;
		const int lane = threadIdx.x % WARP;
		const int offset = chunk * 512 + lane * 16;
		if (quants_has(T)) {
			if (offset < row_bytes)
				quants[d].load(at.a, at.before_a + offset / 16, at.b, at.before_b + offset / 16,
					       at.n_blocks);
			else
				quants[d].clear();
		} else if (offset < row_bytes) {
			w[d][0] = load_streaming(at.a + offset);
			w[d][1] = load_streaming(at.b + offset);
			if (T == TENSOR_Q8_0)
				scales[d] = load_streaming_u16(at.scales_a + offset / 32) |
					    (unsigned)load_streaming_u16(at.scales_b + offset / 32) << 16;
		} else {
			w[d][0] = w[d][1] = make_uint4(0, 0, 0, 0);
			scales[d] = 0;
		}
		next++;
		if (++chunk == n_chunks) {
			chunk = 0;
			unit++;
			if (next < end)
				at = rows(unit);
		}
	}

	__device__ __forceinline__ void start()
	{
#pragma unroll
		for (int d = 0; d < DEPTH; d++)
			issue(d);
	}

	__device__ __forceinline__ void multiply(int d, const void *x_shared, int c, float &acc_a, float &acc_b) const
	{
		const int lane = threadIdx.x % WARP;
		if (quants_has(T)) {
			quants[d].multiply(x_shared, n_chunks, c, acc_a, acc_b);
			return;
		}
		if (T == TENSOR_Q8_0) {
			const int4 *x = (const int4 *)x_shared + c * 96 + lane;
			const int4 high = x[0], mid = x[32], low = x[64];
			const float xs = ((const float *)x_shared)[n_chunks * 384 + c * 16 + lane / 2];
#pragma unroll
			for (int r = 0; r < 2; r++) {
				const uint4 u = w[d][r];
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
				const float scale = f16_to_f32((unsigned short)(scales[d] >> (16 * r))) * xs;
				if (r == 0)
					acc_a = fmaf(sum, scale, acc_a);
				else
					acc_b = fmaf(sum, scale, acc_b);
			}
			return;
		}
		if (T == TENSOR_F32) {
			const float4 x = ((const float4 *)x_shared)[c * 32 + lane];
			acc_a = dot4(w[d][0], x, acc_a);
			acc_b = dot4(w[d][1], x, acc_b);
			return;
		}
		const float4 x0 = ((const float4 *)x_shared)[c * 64 + lane];
		const float4 x1 = ((const float4 *)x_shared)[c * 64 + 32 + lane];
		acc_a = dot8(w[d][0], x0, x1, acc_a);
		acc_b = dot8(w[d][1], x0, x1, acc_b);
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
		float acc_a = 0.0f, acc_b = 0.0f;

		for (int item = first; item < end; item += DEPTH) {
#pragma unroll
			for (int d = 0; d < DEPTH; d++) {
				if (item + d < end) {
					multiply(d, x_shared, c, acc_a, acc_b);
					issue(d);
					if (++c == n_chunks || item + d + 1 == end) {
						flush(partial, u, acc_a, acc_b);
						acc_a = acc_b = 0.0f;
						c = 0;
						u++;
					}
				}
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

/* Shared memory of a kernel with n inputs: x, then 32 floats of scratch, then partial sums. */
struct matvec_shared {
	void *x;
	float *scratch;
	float *partial;
};

template <int T> INLINE struct matvec_shared shared_of(char *memory, int n_in)
{
	struct matvec_shared s;
	s.x = memory;
	s.scratch = (float *)(memory + matvec_x_bytes(T, n_in));
	s.partial = s.scratch + 32;
	return s;
}

/* The vector that a norm multiplies with, read by every CTA right after the wait. */
INLINE void prefetch_norm(const float *weight, int n)
{
	for (int i = threadIdx.x * 32; i < n; i += MATVEC_THREADS * 32)
		prefetch_l2(weight + i);
}

/*
 * The kernel `name` for each type of weights, from a template of that name. Of TENSOR_QUANT_TYPES only for those that a
 * model has (cuda_options): all of them take some ten seconds to compile.
 */
#define MATVEC_ENTRY(NAME, word, name)                                                         \
	KERNEL(MATVEC_BOUND) k_##name##_##word(const __grid_constant__ struct name##_params p) \
	{                                                                                      \
		name<TENSOR_##NAME>(p);                                                        \
	}
#ifdef WEIGHTS_Q4_0
#define MATVEC_Q4_0(name) MATVEC_ENTRY(Q4_0, q4_0, name)
#else
#define MATVEC_Q4_0(name)
#endif
#ifdef WEIGHTS_Q4_1
#define MATVEC_Q4_1(name) MATVEC_ENTRY(Q4_1, q4_1, name)
#else
#define MATVEC_Q4_1(name)
#endif
#ifdef WEIGHTS_Q5_0
#define MATVEC_Q5_0(name) MATVEC_ENTRY(Q5_0, q5_0, name)
#else
#define MATVEC_Q5_0(name)
#endif
#ifdef WEIGHTS_Q5_1
#define MATVEC_Q5_1(name) MATVEC_ENTRY(Q5_1, q5_1, name)
#else
#define MATVEC_Q5_1(name)
#endif
#ifdef WEIGHTS_IQ4_NL
#define MATVEC_IQ4_NL(name) MATVEC_ENTRY(IQ4_NL, iq4_nl, name)
#else
#define MATVEC_IQ4_NL(name)
#endif
#ifdef WEIGHTS_Q4_K
#define MATVEC_Q4_K(name) MATVEC_ENTRY(Q4_K, q4_k, name)
#else
#define MATVEC_Q4_K(name)
#endif
#ifdef WEIGHTS_Q5_K
#define MATVEC_Q5_K(name) MATVEC_ENTRY(Q5_K, q5_k, name)
#else
#define MATVEC_Q5_K(name)
#endif
#ifdef WEIGHTS_Q6_K
#define MATVEC_Q6_K(name) MATVEC_ENTRY(Q6_K, q6_k, name)
#else
#define MATVEC_Q6_K(name)
#endif
#define MATVEC_ENTRIES(name)           \
	MATVEC_ENTRY(F32, f32, name)   \
	MATVEC_ENTRY(F16, f16, name)   \
	MATVEC_ENTRY(BF16, bf16, name) \
	MATVEC_ENTRY(Q8_0, q8_0, name) \
	MATVEC_Q4_0(name) \
	MATVEC_Q4_1(name) \
	MATVEC_Q5_0(name) \
	MATVEC_Q5_1(name) \
	MATVEC_IQ4_NL(name) \
	MATVEC_Q4_K(name) \
	MATVEC_Q5_K(name) \
	MATVEC_Q6_K(name)

#endif
