/*
 * Attention in a token's kernel: the norms, RoPE and appending that qkv_prepare does, and one query row over the cache.
 *
 * A block takes up to HEADS query heads of one KV head and a split of the keys; its warps take KEYS keys in turn, each
 * with a running maximum and sum of its own. The token's own key and value, which only a kernel to come may read from
 * the cache, a block makes from the projections, as the cache will have them. Splits' sums go to the warps that
 * combine them; where there is one split, it is all.
 */
#ifndef GEMMARK_KERNELS_CUDA_PERSISTENT_ATTENTION_CUH
#define GEMMARK_KERNELS_CUDA_PERSISTENT_ATTENTION_CUH

#include "kernels/cuda/persistent_vector.cuh"
#include "kernels/cuda/rope.cuh"

/* ---- a row of the cache among the lanes of a warp ---- */

template <int BYTES> struct words {
};
template <> struct words<2> {
	unsigned short w[1];
};
template <> struct __align__(4) words<4>
{
	unsigned w[1];
};
template <> struct __align__(8) words<8>
{
	unsigned w[2];
};
template <> struct __align__(16) words<16>
{
	unsigned w[4];
};

/* A lane has vectors of WIDTH elements, number j at (j * WARP + lane) * WIDTH. */
template <int HD, int TYPE> struct lane_row {
	enum {
		BYTES = TYPE == TENSOR_F32 ? 4 : 2,
		EACH = HD / WARP,
		WIDEST = 16 / BYTES,
		WIDTH = EACH % WIDEST == 0 ? WIDEST
			: EACH % 4 == 0    ? 4
			: EACH % 2 == 0    ? 2
					   : 1,
		VECS = EACH / WIDTH,
	};
	words<WIDTH * BYTES> v[VECS];

	__device__ __forceinline__ void load(const char *row)
	{
		const int lane = threadIdx.x % WARP;
#pragma unroll
		for (int j = 0; j < VECS; j++)
			v[j] = *(const words<WIDTH * BYTES> *)(row + (j * WARP + lane) * WIDTH * BYTES);
	}

	/* Element i of the lane's. */
	__device__ __forceinline__ float get(int i) const
	{
		const int j = i / WIDTH, e = i % WIDTH;
		if (TYPE == TENSOR_F32)
			return __uint_as_float(v[j].w[e]);
		const unsigned w = v[j].w[e / 2];
		const unsigned short half = (unsigned short)(e % 2 ? w >> 16 : w);
		return TYPE == TENSOR_F16 ? f16_to_f32(half) : bf16_to_f32(half);
	}

	/* Which element of the row that is. */
	static __device__ __forceinline__ int index(int i)
	{
		return (i / WIDTH * WARP + (int)threadIdx.x % WARP) * WIDTH + i % WIDTH;
	}
};

/* ---- what a block works on ---- */

struct attention_item {
	int kv_head;
	int head0; /* of n_heads query heads */
	int n_heads;
	int split;
	int begin; /* of n keys, counted from the first attended one */
	int n;
	bool newest;  /* the last of them is the token's own */
	bool appends; /* and this block's to store */
};

struct attention_keys {
	struct span all;
	int n_keys;
	int length; /* of a split */
	int n_splits;
	int heads; /* of a KV head that are attended together: one where blocks suffice, else HEADS */
	int parts; /* groups of them */
	int n_items;
};

INLINE struct attention_keys keys_of(const struct persistent_attention &p, const struct step &step, int n_blocks)
{
	struct attention_keys k;
	k.all = attended(p.kv, p.window, step.pos, step.evicted);
	k.n_keys = k.all.end - k.all.first;
	const int wanted = min(p.most_splits, (k.n_keys + PERSISTENT_SPLIT_KEYS - 1) / PERSISTENT_SPLIT_KEYS);
	k.length = (k.n_keys + wanted - 1) / wanted;
	k.n_splits = (k.n_keys + k.length - 1) / k.length;
	k.heads = p.n_heads * k.n_splits <= n_blocks ? 1 : PERSISTENT_HEADS;
	k.parts = (p.n_heads / p.kv.n_kv_heads + k.heads - 1) / k.heads;
	k.n_items = p.kv.n_kv_heads * k.parts * k.n_splits;
	return k;
}

INLINE struct attention_item item_of(const struct persistent_attention &p, const struct attention_keys &k, int i)
{
	struct attention_item m;
	const int group = p.n_heads / p.kv.n_kv_heads, g = i / k.n_splits;
	const int part = g % k.parts;
	m.kv_head = g / k.parts;
	m.head0 = m.kv_head * group + part * k.heads;
	m.n_heads = min(k.heads, group - part * k.heads);
	m.split = i % k.n_splits;
	m.begin = m.split * k.length;
	m.n = min(k.length, k.n_keys - m.begin);
	m.newest = m.begin + m.n == k.n_keys;
	m.appends = m.newest && p.owns && part == 0;
	return m;
}

template <int HD> struct attention_memory {
	float *q;      /* (HEADS, HD), scaled */
	char *key;     /* (HD) as the cache has it */
	char *value;   /* (HD) */
	float *sums;   /* (WARPS, HD) */
	float2 *stats; /* (WARPS, HEADS): m, l */

	__device__ __forceinline__ attention_memory(void *x)
	{
		q = (float *)x;
		key = (char *)(q + PERSISTENT_HEADS * HD);
		value = key + HD * 4;
		sums = (float *)(value + HD * 4);
		stats = (float2 *)(sums + PERSISTENT_WARPS * HD);
	}
};

/* ---- before attention ---- */

/* A head's projection by a warp, normed: pairs (j, j + HD / 2), of which a lane has every WARPth. */
template <int HD> struct head_pairs {
	enum { HALF = HD / 2, EACH = (HALF + WARP - 1) / WARP };
	float2 v[EACH];
	float2 angles[EACH]; /* cos, sin */

	static __device__ __forceinline__ int pair(int k)
	{
		return k * WARP + (int)threadIdx.x % WARP;
	}

	/* norm null: without a weight. What is waited for is asked for at once, and what is not before it. */
	__device__ __forceinline__ void load(const float *x, const float *norm, bool normed, float eps, unsigned parity)
	{
		float2 w[EACH];
		struct patience patience;
		bool all;
#pragma unroll
		for (int k = 0; k < EACH; k++)
			w[k] = norm && pair(k) < HALF ? make_float2(norm[pair(k)], norm[HALF + pair(k)])
						      : make_float2(1.0f, 1.0f);
		do {
			all = true;
#pragma unroll
			for (int k = 0; k < EACH; k++) {
				unsigned a = parity, b = parity;
				if (pair(k) < HALF) {
					a = load_now(x + pair(k));
					b = load_now(x + HALF + pair(k));
				}
				v[k] = make_float2(__uint_as_float(a & ~1u), __uint_as_float(b & ~1u));
				all = all && (((a ^ parity) | (b ^ parity)) & 1) == 0;
			}
			patience.wait();
		} while (!all);
		__syncwarp();
		float sum = 0.0f;
#pragma unroll
		for (int k = 0; k < EACH; k++) {
			if (pair(k) >= HALF)
				v[k] = make_float2(0.0f, 0.0f);
			sum += v[k].x * v[k].x + v[k].y * v[k].y;
		}
		if (!normed)
			return;
		const float factor = 1.0f / sqrtf(warp_sum(sum) / (float)HD + eps);
#pragma unroll
		for (int k = 0; k < EACH; k++)
			v[k] = make_float2(v[k].x * factor * w[k].x, v[k].y * factor * w[k].y);
	}

	/* Before load, which waits: what turn needs. */
	__device__ __forceinline__ void aim(int pos, const float *inv_freq)
	{
#pragma unroll
		for (int k = 0; k < EACH; k++)
			angles[k] = pair(k) < HALF ? cos_sin(pos, inv_freq[pair(k)]) : make_float2(1.0f, 0.0f);
	}

	__device__ __forceinline__ void turn()
	{
#pragma unroll
		for (int k = 0; k < EACH; k++)
			v[k] = rotate(v[k], angles[k]);
	}

	__device__ __forceinline__ void store(void *to, int type, float scale) const
	{
#pragma unroll
		for (int k = 0; k < EACH; k++)
			if (pair(k) < HALF) {
				store_element(to, type, pair(k), v[k].x * scale);
				store_element(to, type, HALF + pair(k), v[k].y * scale);
			}
	}
};

INLINE char *cache_row(void *cache, int type, const struct kv &kv, int kv_head, int slot)
{
	return (char *)cache + ((long long)kv_head * kv.capacity + slot) * kv.head_dim * element_bytes(type);
}

template <int HD, int HEADS>
INLINE void prepare(const struct persistent_attention &p, const struct attention_item &m, const struct step &step,
		    unsigned parity, float eps, const attention_memory<HD> &s)
{
	const int warp = threadIdx.x / WARP;
	const int slot = append_slot(p.kv, step.pos, step.evicted);
	head_pairs<HD> x;
	if (warp < m.n_heads) {
		x.aim(step.pos, p.inv_freq);
		x.load(p.q + (long long)(m.head0 + warp) * HD, p.q_norm, true, eps, parity);
		x.turn();
		x.store(s.q + warp * HD, TENSOR_F32, p.scale);
	} else if (warp < HEADS) {
#pragma unroll
		for (int k = 0; k < x.EACH; k++)
			x.v[k] = make_float2(0.0f, 0.0f);
		x.store(s.q + warp * HD, TENSOR_F32, 0.0f);
	} else if (warp == HEADS && m.newest) {
		x.aim(step.pos, p.inv_freq);
		x.load(p.k + (long long)m.kv_head * HD, p.k_norm, true, eps, parity);
		x.turn();
		x.store(s.key, p.kv.type, 1.0f);
		if (m.appends)
			x.store(cache_row(p.kv.k, p.kv.type, p.kv, m.kv_head, slot), p.kv.type, 1.0f);
	} else if (warp == HEADS + 1 && m.newest) {
		x.load(p.v_raw + (long long)m.kv_head * HD, nullptr, p.v_norm, eps, parity);
		x.store(s.value, p.kv.v_type, 1.0f);
		if (m.appends)
			x.store(cache_row(p.kv.v, p.kv.v_type, p.kv, m.kv_head, slot), p.kv.v_type, 1.0f);
	}
}

/* ---- a split ---- */

/* A warp's running softmax of a head. */
template <int EACH> struct running {
	float m, l;
	float sum[EACH];
};

/* Keys that a warp attends at once, and their values. */
template <int HD, int KT, int VT> struct key_batch {
	enum { KEYS = HD > 256 ? 2 : 4 };
	lane_row<HD, KT> key[KEYS];
	lane_row<HD, VT> value[KEYS];
};

/* Those of the split from base on, but for the token's own; behind the last one that one again. */
template <int HD, int KT, int VT>
INLINE void load_cached(const struct persistent_attention &p, const struct attention_keys &k,
			const struct attention_item &m, int base, key_batch<HD, KT, VT> &b)
{
	const int ring = p.kv.ring > 0 ? p.kv.ring : 0x7fffffff;
	if (base >= m.n)
		return;
#pragma unroll
	for (int i = 0; i < b.KEYS; i++) {
		const int n = m.begin + min(base + i, m.n - 1);
		if (n == k.n_keys - 1)
			continue;
		const int slot = (k.all.first + n) % ring;
		b.key[i].load(cache_row(p.kv.k, KT, p.kv, m.kv_head, slot));
		b.value[i].load(cache_row(p.kv.v, VT, p.kv, m.kv_head, slot));
	}
}

/* batch: of one head what load_cached left of the warp's first keys. */
template <int HD, int KT, int VT, int HEADS>
INLINE void attend_keys(const struct persistent_attention &p, const struct attention_keys &k,
			const struct attention_item &m, const attention_memory<HD> &s, key_batch<HD, KT, VT> &batch,
			running<HD / WARP> (&r)[HEADS])
{
	typedef lane_row<HD, KT> key_row;
	enum { EACH = HD / WARP, KEYS = key_batch<HD, KT, VT>::KEYS };
	const int warp = threadIdx.x / WARP;

	for (int base = warp * KEYS; base < m.n; base += PERSISTENT_WARPS * KEYS) {
		if (HEADS > 1 || base != warp * KEYS)
			load_cached(p, k, m, base, batch);
#pragma unroll
		for (int i = 0; i < KEYS; i++)
			if (m.begin + min(base + i, m.n - 1) == k.n_keys - 1) {
				batch.key[i].load(s.key);
				batch.value[i].load(s.value);
			}
		/* Scores of all heads first: keys need no registers any more when values do. */
		float score[HEADS][KEYS];
#pragma unroll
		for (int h = 0; h < HEADS; h++) {
#pragma unroll
			for (int i = 0; i < KEYS; i++)
				score[h][i] = 0.0f;
		}
#pragma unroll
		for (int e = 0; e < EACH; e++) {
#pragma unroll
			for (int h = 0; h < HEADS; h++) {
				const float q = s.q[h * HD + key_row::index(e)];
#pragma unroll
				for (int i = 0; i < KEYS; i++)
					score[h][i] = fmaf(q, batch.key[i].get(e), score[h][i]);
			}
		}
#pragma unroll
		for (int h = 0; h < HEADS; h++) {
			float greatest = r[h].m;
#pragma unroll
			for (int i = 0; i < KEYS; i++) {
				score[h][i] = base + i < m.n ? warp_sum(score[h][i]) : NEGATIVE_INFINITY;
				greatest = fmaxf(greatest, score[h][i]);
			}
			const float shrink = expf(r[h].m - greatest);
			r[h].m = greatest;
			r[h].l *= shrink;
#pragma unroll
			for (int e = 0; e < EACH; e++)
				r[h].sum[e] *= shrink;
#pragma unroll
			for (int i = 0; i < KEYS; i++) {
				score[h][i] = expf(score[h][i] - greatest);
				r[h].l += score[h][i];
			}
		}
#pragma unroll
		for (int e = 0; e < EACH; e++) {
#pragma unroll
			for (int i = 0; i < KEYS; i++) {
				const float v = batch.value[i].get(e);
#pragma unroll
				for (int h = 0; h < HEADS; h++)
					r[h].sum[e] = fmaf(score[h][i], v, r[h].sum[e]);
			}
		}
	}
}

/* Sums of a split's head: head_dim of them, then m and l. */
INLINE unsigned long long *split_row(const struct persistent_program &g, const struct persistent_attention &p, int head,
				     int split)
{
	return (unsigned long long *)g.partial + ((long long)head * p.most_splits + split) * (p.kv.head_dim + 2);
}

template <int HD, int KT, int VT, int HEADS>
INLINE void attend_split(const struct persistent_program &g, const struct persistent_attention &p,
			 const struct attention_keys &k, const struct attention_item &m, const struct step &step,
			 unsigned parity, unsigned number, void *x_shared)
{
	enum { EACH = HD / WARP };
	const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
	const attention_memory<HD> s(x_shared);
	running<EACH> r[HEADS];
#pragma unroll
	for (int h = 0; h < HEADS; h++) {
		r[h].m = NEGATIVE_INFINITY;
		r[h].l = 0.0f;
#pragma unroll
		for (int e = 0; e < EACH; e++)
			r[h].sum[e] = 0.0f;
	}
	struct key_batch<HD, KT, VT> first;
	if (HEADS == 1) /* of more there is no room for them while what they are for is waited for */
		load_cached(p, k, m, warp * first.KEYS, first);
	prepare<HD, HEADS>(p, m, step, parity, g.eps, s);
	consumers_sync();
	stamp(g, PERSISTENT_INPUT);
	attend_keys<HD, KT, VT, HEADS>(p, k, m, s, first, r);
	stamp(g, PERSISTENT_WORKED);
	if (lane == 0) {
#pragma unroll
		for (int h = 0; h < HEADS; h++)
			s.stats[warp * HEADS + h] = make_float2(r[h].m, r[h].l);
	}
#pragma unroll
	for (int h = 0; h < HEADS; h++) {
		if (h >= m.n_heads)
			break;
#pragma unroll
		for (int e = 0; e < EACH; e++)
			s.sums[warp * HD + lane_row<HD, VT>::index(e)] = r[h].sum[e];
		consumers_sync();
		float greatest = NEGATIVE_INFINITY, l = 0.0f, factor[PERSISTENT_WARPS];
#pragma unroll
		for (int w = 0; w < PERSISTENT_WARPS; w++)
			greatest = fmaxf(greatest, s.stats[w * HEADS + h].x);
#pragma unroll
		for (int w = 0; w < PERSISTENT_WARPS; w++) {
			const float2 stat = s.stats[w * HEADS + h];
			factor[w] = expf(stat.x - greatest);
			l = fmaf(stat.y, factor[w], l);
		}
		unsigned long long *const row = split_row(g, p, m.head0 + h, m.split);
		for (int d = threadIdx.x; d < HD; d += PERSISTENT_CONSUMERS) {
			float sum = 0.0f;
#pragma unroll
			for (int w = 0; w < PERSISTENT_WARPS; w++)
				sum = fmaf(s.sums[w * HD + d], factor[w], sum);
			if (k.n_splits == 1)
				publish(p.y + (long long)(m.head0 + h) * HD + d, sum / l, parity);
			else
				publish_numbered(row + d, sum, number);
		}
		if (k.n_splits > 1 && threadIdx.x < 2)
			publish_numbered(row + HD + threadIdx.x, threadIdx.x ? l : greatest, number);
		consumers_sync();
	}
}

/* ---- splits together ---- */

/* WARP columns of a head by a warp. */
INLINE void combine(const struct persistent_program &g, const struct persistent_attention &p, int n_splits, int head,
		    int column, unsigned parity, unsigned number)
{
	enum { AT_ONCE = 8 };
	const int lane = threadIdx.x % WARP, hd = p.kv.head_dim;
	float m = NEGATIVE_INFINITY, l = 0.0f, sum = 0.0f;
	for (int base = 0; base < n_splits; base += AT_ONCE) {
		const int n = min((int)AT_ONCE, n_splits - base);
		const unsigned long long *const own = split_row(g, p, head, base + min(lane, n - 1)) + hd;
		unsigned long long x[AT_ONCE], own_m = 0, own_l = 0;
		struct patience patience;
		for (;;) {
			bool all = true;
#pragma unroll
			for (int i = 0; i < AT_ONCE; i++)
				if (i < n)
					x[i] = load_now64(split_row(g, p, head, base + i) + column + lane);
			own_m = load_now64(own);
			own_l = load_now64(own + 1);
#pragma unroll
			for (int i = 0; i < AT_ONCE; i++)
				if (i < n)
					all = all && is_numbered(x[i], number);
			if (all && is_numbered(own_m, number) && is_numbered(own_l, number))
				break;
			patience.wait();
		}
		__syncwarp();
		const float split_m = lane < n ? numbered_value(own_m) : NEGATIVE_INFINITY;
		const float greatest = fmaxf(m, warp_max(split_m));
		const float factor = expf(split_m - greatest), shrink = expf(m - greatest);
		m = greatest;
		l = l * shrink + warp_sum(lane < n ? numbered_value(own_l) * factor : 0.0f);
		sum *= shrink;
#pragma unroll
		for (int i = 0; i < AT_ONCE; i++) {
			const float f = __shfl_sync(ALL_LANES, factor, i);
			if (i < n)
				sum = fmaf(f, numbered_value(x[i]), sum);
		}
	}
	publish(p.y + (long long)head * hd + column + lane, sum / l, parity);
}

template <int HD, int KT, int VT, int HEADS>
APART void attend(const struct persistent_program &g, const struct persistent_attention &p, struct step step,
		  unsigned parity, unsigned number, void *x_shared)
{
	/* Counted once more: handed over, they would be kept in memory. */
	const struct attention_keys k = keys_of(p, step, g.n_blocks);
	for (int i = blockIdx.x; i < k.n_items; i += g.n_blocks)
		attend_split<HD, KT, VT, HEADS>(g, p, k, item_of(p, k, i), step, parity, number, x_shared);
}

APART void combine_splits(const struct persistent_program &g, const struct persistent_attention &p, int n_splits,
			  unsigned parity, unsigned number)
{
	const int warp = threadIdx.x / WARP, columns = p.kv.head_dim / WARP;
	for (int i = (int)blockIdx.x + warp * g.n_blocks; i < p.n_heads * columns; i += PERSISTENT_WARPS * g.n_blocks)
		combine(g, p, n_splits, i / columns, i % columns * WARP, parity, number);
}

template <int HD, int KT, int VT>
INLINE void attention(const struct persistent_program &g, const struct persistent_attention &p, struct step step,
		      unsigned parity, unsigned number, void *x_shared)
{
	const struct attention_keys k = keys_of(p, step, g.n_blocks);
	if (k.heads == 1)
		attend<HD, KT, VT, 1>(g, p, step, parity, number, x_shared);
	else
		attend<HD, KT, VT, PERSISTENT_HEADS>(g, p, step, parity, number, x_shared);
	if (k.n_splits == 1)
		return;
	combine_splits(g, p, k.n_splits, parity, number);
}

#endif
