/*
 * Decode attention: one query row a head over the cache, split along the keys.
 *
 * A CTA takes up to ATTENTION_HEADS query heads of one KV head (so that a key is read
 * once for them) and one split. Each warp takes batches of keys on its own, lanes across
 * head_dim, with a running maximum and sum; keys and values of the next batch are in flight while
 * one is worked on. The warps meet once at the end.
 *
 * Fused, the CTA of a KV head's splits that finishes last combines them, in the order of
 * the splits whoever it is: the result does not depend on it.
 */
#include "kernels/cuda/attention_geometry.h"
#include "kernels/cuda/device.cuh"

enum { WARPS = ATTENTION_THREADS / WARP, HEADS = ATTENTION_HEADS };

extern __shared__ __align__(16) char shared_memory[];

/* Splits of a (KV head, group of query heads) that have arrived; zero between launches. */
static __device__ unsigned tickets[ATTENTION_MAX_GROUPS];

/* What a lane holds of a row: VECS vectors of WIDTH consecutive elements, WARP * WIDTH apart. */
template <int HD, int T> struct lane_row {
	enum {
		SIZE = T == TENSOR_F32 ? 4 : 2,
		EACH = HD / WARP,
		LARGEST = 16 / SIZE,
		WIDTH = EACH % LARGEST == 0 ? (int)LARGEST
			: EACH % 4 == 0     ? 4
			: EACH % 2 == 0     ? 2
					    : 1,
		VECS = EACH / WIDTH,
		VEC_BYTES = WIDTH * SIZE,
		VEC_WORDS = (VEC_BYTES + 3) / 4,
		WORDS = VECS * VEC_WORDS,
	};
	unsigned w[WORDS];

	static __device__ __forceinline__ int index(int vec, int lane)
	{
		return (vec * WARP + lane) * WIDTH;
	}

	__device__ __forceinline__ void load(const void *cache, long long row)
	{
		const char *p = (const char *)cache + row * HD * SIZE + (int)(threadIdx.x % WARP) * VEC_BYTES;
#pragma unroll
		for (int v = 0; v < VECS; v++, p += WARP * VEC_BYTES) {
			unsigned *to = w + v * VEC_WORDS;
			if (VEC_BYTES == 16) {
				const uint4 u = *(const uint4 *)p;
				to[0] = u.x;
				to[1 % VEC_WORDS] = u.y;
				to[2 % VEC_WORDS] = u.z;
				to[3 % VEC_WORDS] = u.w;
			} else if (VEC_BYTES == 8) {
				const uint2 u = *(const uint2 *)p;
				to[0] = u.x;
				to[1 % VEC_WORDS] = u.y;
			} else {
				to[0] = VEC_BYTES == 4 ? *(const unsigned *)p : *(const unsigned short *)p;
			}
		}
	}

	__device__ __forceinline__ float at(int vec, int k) const
	{
		if (T == TENSOR_F32)
			return __uint_as_float(w[vec * VEC_WORDS + k]);
		const float2 f = pair_to_f32<T>(w[vec * VEC_WORDS + k / 2]);
		return k % 2 ? f.y : f.x;
	}
};

/*
 * Sums N (8 or 16) values over the warp; lane l gets the sum of v[l * N / 32]. Each step
 * gives away the half of the values that belongs to the other half of the lanes.
 */
template <int N> INLINE float sum_and_spread(float *v)
{
	const int lane = threadIdx.x % WARP;
#pragma unroll
	for (int n = N / 2, d = WARP / 2; n; n /= 2, d /= 2) {
		const bool upper = lane & d;
#pragma unroll
		for (int i = 0; i < n; i++) {
			const float give = upper ? v[i] : v[i + n];
			v[i] = (upper ? v[i + n] : v[i]) + __shfl_xor_sync(ALL_LANES, give, d);
		}
	}
#pragma unroll
	for (int d = WARP / N / 2; d; d /= 2)
		v[0] += __shfl_xor_sync(ALL_LANES, v[0], d);
	return v[0];
}

/* Sums up splits 0 .. n_splits of heads head0 .. head0 + n_heads. */
INLINE void combine(const float *partial, float *y, int head0, int n_heads, int head_dim, int row_splits, int n_splits,
		    float *factors, float *total)
{
	const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
	const int row = head_dim + 2;

	for (int g = warp; g < n_heads; g += WARPS) {
		const float *from = partial + (long long)(head0 + g) * row_splits * row + head_dim;
		float m = NEGATIVE_INFINITY, l = 0.0f;
		for (int s = lane; s < n_splits; s += WARP)
			if (__ldcg(from + (long long)s * row + 1) != 0.0f)
				m = fmaxf(m, __ldcg(from + (long long)s * row));
		m = warp_max(m);
		for (int s = lane; s < n_splits; s += WARP) {
			const float part = __ldcg(from + (long long)s * row + 1);
			const float f = part != 0.0f ? expf(__ldcg(from + (long long)s * row) - m) : 0.0f;
			factors[g * n_splits + s] = f;
			l += part * f;
		}
		l = warp_sum(l);
		if (lane == 0)
			total[g] = l;
	}
	__syncthreads();
	for (int i = threadIdx.x; i < n_heads * head_dim; i += ATTENTION_THREADS) {
		const int g = i / head_dim, d = i % head_dim;
		const float *from = partial + (long long)(head0 + g) * row_splits * row + d;
		float sum = 0.0f;
#pragma unroll 8
		for (int s = 0; s < n_splits; s++) {
			const float f = factors[g * n_splits + s];
			if (f != 0.0f) /* a split without keys has written no sums */
				sum = fmaf(f, __ldcg(from + (long long)s * row), sum);
		}
		y[(long long)(head0 + g) * head_dim + d] = sum / total[g];
	}
}

/* Grid: (splits, groups of heads). y null: partial sums only. */
template <int HD, int KT, int VT, bool FUSED> INLINE void attention(const struct attention_split_params &p, float *y)
{
	typedef lane_row<HD, KT> key_row;
	typedef lane_row<HD, VT> value_row;
	enum {
		EACH = HD / WARP,
		BATCH = EACH * 4 * (KT == TENSOR_F32 || VT == TENSOR_F32) > 32 || EACH * 2 > 32 ? 2 : 4,
		VALUES = BATCH * HEADS,
		PER_VALUE = WARP / VALUES, /* lanes that hold the same score */
	};
	float *const q = (float *)shared_memory;        /* (HEADS, HD) */
	float *const stats = q + HEADS * HD;            /* (2, WARPS, HEADS): maxima, sums */
	float *const merge = stats + 2 * WARPS * HEADS; /* (WARPS, HEADS, HD); then combine's factors */
	__shared__ bool last;
	__shared__ float total[HEADS];
	const struct kv &kv = p.kv;
	const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
	const int group = p.n_heads / kv.n_kv_heads;
	const int parts = (group + HEADS - 1) / HEADS;
	const int kv_head = (int)blockIdx.y / parts;
	const int first_of_group = (int)blockIdx.y % parts * HEADS;
	const int head0 = kv_head * group + first_of_group;
	const int n_heads = min((int)HEADS, group - first_of_group);
	const int split = blockIdx.x;

	let_next_start();
	wait_for_earlier();
	const struct step step = step_of(p.at);
	const struct span all = attended(kv, p.window, step.pos, step.evicted);
	const int n_keys = all.end - all.first;
	const int before = split * p.split_len; /* n_splits * split_len is at most the cache's capacity, rounded up */
	if (before >= n_keys) {
		if (!FUSED && (int)threadIdx.x < n_heads)
			p.partial[((long long)(head0 + (int)threadIdx.x) * p.n_splits + split) * (HD + 2) + HD + 1] =
				0.0f;
		return;
	}
	const int n = min(p.split_len, n_keys - before);
	const int ring = kv.ring > 0 ? kv.ring : 0x7fffffff;
	const int slot0 = kv.ring > 0 ? (all.first + before) % kv.ring : all.first + before;
	const long long head_row = (long long)kv_head * kv.capacity;

	key_row keys[BATCH];
	value_row values[BATCH];
	const auto row_of_key = [&](int key) { /* keys beyond the split repeat its last */
					       int slot = slot0 + min(key, n - 1);
					       while (slot >= ring)
						       slot -= ring;
					       return head_row + slot;
	};
	int base = warp * BATCH;
	if (base < n) {
#pragma unroll
		for (int j = 0; j < BATCH; j++)
			keys[j].load(kv.k, row_of_key(base + j));
#pragma unroll
		for (int j = 0; j < BATCH; j++)
			values[j].load(kv.v, row_of_key(base + j));
	}
	for (int i = threadIdx.x; i < HEADS * HD; i += ATTENTION_THREADS)
		q[i] = i / HD < n_heads ? p.q[(long long)head0 * HD + i] * p.scale : 0.0f;
	__syncthreads();

	/* A lane keeps m and l of one (key of the batch, head); acc is over its part of head_dim. */
	const int mine = lane / PER_VALUE;
	float m = NEGATIVE_INFINITY, l = 0.0f;
	float acc[HEADS][EACH];
#pragma unroll
	for (int g = 0; g < HEADS; g++)
#pragma unroll
		for (int e = 0; e < EACH; e++)
			acc[g][e] = 0.0f;

	for (; base < n; base += WARPS * BATCH) {
		const int next = base + WARPS * BATCH;
		float s[VALUES];
#pragma unroll
		for (int i = 0; i < VALUES; i++)
			s[i] = 0.0f;
#pragma unroll
		for (int v = 0; v < key_row::VECS; v++) {
#pragma unroll
			for (int g = 0; g < HEADS; g++) {
				const float *qv = q + g * HD + key_row::index(v, lane);
#pragma unroll
				for (int k = 0; k < key_row::WIDTH; k++) {
#pragma unroll
					for (int j = 0; j < BATCH; j++)
						s[j * HEADS + g] = fmaf(keys[j].at(v, k), qv[k], s[j * HEADS + g]);
				}
			}
		}
		if (next < n) {
#pragma unroll
			for (int j = 0; j < BATCH; j++)
				keys[j].load(kv.k, row_of_key(next + j));
		}
		float score = sum_and_spread<VALUES>(s);
		if (base + mine / HEADS >= n)
			score = NEGATIVE_INFINITY;
		float greatest = score;
#pragma unroll
		for (int d = WARP / 2; d >= PER_VALUE * HEADS; d /= 2)
			greatest = fmaxf(greatest, __shfl_xor_sync(ALL_LANES, greatest, d));
		greatest = fmaxf(greatest, m);
		const float shrink = expf(m - greatest);
		const float prob = expf(score - greatest);
		l = l * shrink + prob;
		m = greatest;
#pragma unroll
		for (int g = 0; g < HEADS; g++) {
			const float c = __shfl_sync(ALL_LANES, shrink, g * PER_VALUE);
#pragma unroll
			for (int e = 0; e < EACH; e++)
				acc[g][e] *= c;
		}
#pragma unroll
		for (int j = 0; j < BATCH; j++) {
			float pj[HEADS];
#pragma unroll
			for (int g = 0; g < HEADS; g++)
				pj[g] = __shfl_sync(ALL_LANES, prob, (j * HEADS + g) * PER_VALUE);
#pragma unroll
			for (int v = 0; v < value_row::VECS; v++)
#pragma unroll
				for (int k = 0; k < value_row::WIDTH; k++) {
					const float x = values[j].at(v, k);
#pragma unroll
					for (int g = 0; g < HEADS; g++)
						acc[g][v * value_row::WIDTH + k] =
							fmaf(pj[g], x, acc[g][v * value_row::WIDTH + k]);
				}
		}
		if (next < n) {
#pragma unroll
			for (int j = 0; j < BATCH; j++)
				values[j].load(kv.v, row_of_key(next + j));
		}
	}

	/* The warps meet. */
#pragma unroll
	for (int d = WARP / 2; d >= PER_VALUE * HEADS; d /= 2)
		l += __shfl_xor_sync(ALL_LANES, l, d);
	if (lane % PER_VALUE == 0 && mine < HEADS) {
		stats[warp * HEADS + mine] = m;
		stats[(WARPS + warp) * HEADS + mine] = l;
	}
	__syncthreads();
#pragma unroll
	for (int g = 0; g < HEADS; g++) {
		float top = NEGATIVE_INFINITY;
#pragma unroll
		for (int w = 0; w < WARPS; w++)
			top = fmaxf(top, stats[w * HEADS + g]);
		const float factor = expf(stats[warp * HEADS + g] - top);
#pragma unroll
		for (int v = 0; v < value_row::VECS; v++)
#pragma unroll
			for (int k = 0; k < value_row::WIDTH; k++)
				merge[(warp * HEADS + g) * HD + value_row::index(v, lane) + k] =
					acc[g][v * value_row::WIDTH + k] * factor;
	}
	__syncthreads();
	const int n_valid = (n_keys + p.split_len - 1) / p.split_len;
	const bool alone = FUSED && n_valid == 1;
	for (int i = threadIdx.x; i < n_heads * HD; i += ATTENTION_THREADS) {
		const int g = i / HD, d = i % HD;
		float top = NEGATIVE_INFINITY, sum_l = 0.0f, sum = 0.0f;
#pragma unroll
		for (int w = 0; w < WARPS; w++)
			top = fmaxf(top, stats[w * HEADS + g]);
#pragma unroll
		for (int w = 0; w < WARPS; w++) {
			sum_l += stats[(WARPS + w) * HEADS + g] * expf(stats[w * HEADS + g] - top);
			sum += merge[(w * HEADS + g) * HD + d];
		}
		if (alone) {
			y[(long long)(head0 + g) * HD + d] = sum / sum_l;
			continue;
		}
		float *to = p.partial + ((long long)(head0 + g) * p.n_splits + split) * (HD + 2);
		to[d] = sum;
		if (d == 0) {
			to[HD] = top;
			to[HD + 1] = sum_l;
		}
	}
	if (!FUSED || alone)
		return;

	__threadfence();
	__syncthreads();
	if (threadIdx.x == 0) {
		last = atomicAdd(&tickets[blockIdx.y], 1u) == (unsigned)n_valid - 1;
		if (last)
			tickets[blockIdx.y] = 0;
		__threadfence();
	}
	__syncthreads();
	if (last)
		combine(p.partial, y, head0, n_heads, HD, p.n_splits, n_valid, merge, total);
}

/* A CTA per head. */
KERNEL(ATTENTION_THREADS) k_attention_combine(const __grid_constant__ struct attention_combine_params p)
{
	__shared__ float total;
	let_next_start();
	wait_for_earlier();
	combine(p.partial, p.y, (int)blockIdx.x, 1, p.head_dim, p.n_splits, p.n_splits, (float *)shared_memory, &total);
}

#define ENTRY(hd, k, kt, v, vt)                                                                     \
	KERNEL(ATTENTION_THREADS)                                                                   \
	k_attention_split_##hd##_##k##_##v(const __grid_constant__ struct attention_split_params p) \
	{                                                                                           \
		attention<hd, kt, vt, false>(p, nullptr);                                           \
	}                                                                                           \
	KERNEL(ATTENTION_THREADS)                                                                   \
	k_attention_##hd##_##k##_##v(const __grid_constant__ struct attention_params p)             \
	{                                                                                           \
		attention<hd, kt, vt, true>(p.split, p.y);                                          \
	}

#ifdef KV_F32_F32
#define F32_F32(hd) ENTRY(hd, f32, TENSOR_F32, f32, TENSOR_F32)
#else
#define F32_F32(hd)
#endif
#ifdef KV_F32_F16
#define F32_F16(hd) ENTRY(hd, f32, TENSOR_F32, f16, TENSOR_F16)
#else
#define F32_F16(hd)
#endif
#ifdef KV_F32_BF16
#define F32_BF16(hd) ENTRY(hd, f32, TENSOR_F32, bf16, TENSOR_BF16)
#else
#define F32_BF16(hd)
#endif
#ifdef KV_F16_F32
#define F16_F32(hd) ENTRY(hd, f16, TENSOR_F16, f32, TENSOR_F32)
#else
#define F16_F32(hd)
#endif
#ifdef KV_F16_F16
#define F16_F16(hd) ENTRY(hd, f16, TENSOR_F16, f16, TENSOR_F16)
#else
#define F16_F16(hd)
#endif
#ifdef KV_F16_BF16
#define F16_BF16(hd) ENTRY(hd, f16, TENSOR_F16, bf16, TENSOR_BF16)
#else
#define F16_BF16(hd)
#endif
#ifdef KV_BF16_F32
#define BF16_F32(hd) ENTRY(hd, bf16, TENSOR_BF16, f32, TENSOR_F32)
#else
#define BF16_F32(hd)
#endif
#ifdef KV_BF16_F16
#define BF16_F16(hd) ENTRY(hd, bf16, TENSOR_BF16, f16, TENSOR_F16)
#else
#define BF16_F16(hd)
#endif
#ifdef KV_BF16_BF16
#define BF16_BF16(hd) ENTRY(hd, bf16, TENSOR_BF16, bf16, TENSOR_BF16)
#else
#define BF16_BF16(hd)
#endif

#define ENTRIES(hd) \
	F32_F32(hd) \
	F32_F16(hd) F32_BF16(hd) F16_F32(hd) F16_F16(hd) F16_BF16(hd) BF16_F32(hd) BF16_F16(hd) BF16_BF16(hd)

#ifdef HEAD_DIM_32
ENTRIES(32)
#endif
#ifdef HEAD_DIM_64
ENTRIES(64)
#endif
#ifdef HEAD_DIM_96
ENTRIES(96)
#endif
#ifdef HEAD_DIM_128
ENTRIES(128)
#endif
#ifdef HEAD_DIM_192
ENTRIES(192)
#endif
#ifdef HEAD_DIM_256
ENTRIES(256)
#endif
#ifdef HEAD_DIM_512
ENTRIES(512)
#endif
