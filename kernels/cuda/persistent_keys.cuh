/*
 * Who attends which keys in a token's kernel, and their way into shared memory: a block has up to HEADS query heads of
 * one KV head and a split of the keys; the split's cached keys come in pieces through the ring of stages, keys first,
 * then their values. The token's own key is in no piece: only a kernel to come may read it from the cache.
 */
#ifndef GEMMARK_KERNELS_CUDA_PERSISTENT_KEYS_CUH
#define GEMMARK_KERNELS_CUDA_PERSISTENT_KEYS_CUH

#include "kernels/cuda/cache_rows.cuh"
#include "kernels/cuda/persistent_copy.cuh"

struct attention_keys {
	struct span all;
	int n_keys;
	int length; /* of a split */
	int n_splits;
	int heads; /* of a KV head that are attended together: one where blocks suffice */
	int parts; /* groups of them */
	int n_items;
};

/* P: persistent_attention, or the copy of it. */
template <class P> INLINE struct attention_keys keys_of(const P &p, const struct step &step, int n_blocks)
{
	struct attention_keys k;
	const int group = p.n_heads / p.kv.n_kv_heads;
	k.all = attended(p.kv, p.window, step.pos, step.evicted);
	k.n_keys = k.all.end - k.all.first;
	const int wanted = min(p.most_splits, (k.n_keys + PERSISTENT_SPLIT_KEYS - 1) / PERSISTENT_SPLIT_KEYS);
	k.length = (k.n_keys + wanted - 1) / wanted;
	k.n_splits = (k.n_keys + k.length - 1) / k.length;
	k.heads = p.n_heads * k.n_splits <= n_blocks || group == 1 ? 1 : group == 2 ? 2 : PERSISTENT_HEADS;
	k.parts = (group + k.heads - 1) / k.heads;
	k.n_items = p.kv.n_kv_heads * k.parts * k.n_splits;
	return k;
}

struct attention_item {
	int kv_head;
	int head0; /* of n_heads query heads */
	int n_heads;
	int split;
	int begin; /* of n cached keys, counted from the first attended one */
	int n;
	bool newest;  /* and the token's own */
	bool appends; /* which is this block's to store, where the layer has a cache */
};

template <class P> INLINE struct attention_item item_of(const P &p, const struct attention_keys &k, int i)
{
	struct attention_item m;
	const int group = p.n_heads / p.kv.n_kv_heads, g = i / k.n_splits;
	const int part = g % k.parts;
	m.kv_head = g / k.parts;
	m.head0 = m.kv_head * group + part * k.heads;
	m.n_heads = min(k.heads, group - part * k.heads);
	m.split = i - g * k.n_splits;
	m.begin = m.split * k.length;
	m.newest = m.split == k.n_splits - 1;
	m.n = m.newest ? k.n_keys - 1 - m.begin : k.length;
	m.appends = m.newest && part == 0;
	return m;
}

/* Rows slot .. slot + n of a cache, which may go on at its beginning. */
INLINE void copy_rows(char *to, void *cache, int type, const struct kv &kv, int kv_head, int slot, int n,
		      unsigned long long *full, unsigned long long policy)
{
	const int bytes = cache_row_bytes(type, kv.head_dim);
	const int there = kv.ring > 0 ? min(n, kv.ring - slot) : n;
	bulk_copy(to, cache_row(cache, type, kv, kv_head, slot), (unsigned)(there * bytes), full, policy);
	if (there < n)
		bulk_copy(to + there * bytes, cache_row(cache, type, kv, kv_head, 0), (unsigned)((n - there) * bytes),
			  full, policy);
}

/* One thread's: all of a block's keys of one attention. */
INLINE void fill_keys(const struct persistent_copy &c, const struct step &step, struct filling &f)
{
	const int n_blocks = f.g.n_blocks;
	const struct attention_keys k = keys_of(c, step, n_blocks);
	/* What warps ask for themselves, but not from the memory. */
	bulk_prefetch(c.q_norm, (unsigned)(c.kv.head_dim * 4), f.keys_policy);
	bulk_prefetch(c.k_norm, (unsigned)(c.kv.head_dim * 4), f.keys_policy);
	const int row = cache_row_bytes(c.kv.type, c.kv.head_dim), v_row = cache_row_bytes(c.kv.v_type, c.kv.head_dim);
#pragma unroll 1
	for (int i = blockIdx.x; i < k.n_items; i += n_blocks) {
		const struct attention_item m = item_of(c, k, i);
		int slot = k.all.first + m.begin;
		if (c.kv.ring > 0)
			slot %= c.kv.ring;
#pragma unroll 1
		for (int left = m.n; left > 0; left -= c.piece_keys) {
			const int n = min(left, c.piece_keys);
			unsigned long long *full;
			char *const to = f.begin(n * (row + v_row), c.limit, full);
			copy_rows(to, c.kv.k, c.kv.type, c.kv, m.kv_head, slot, n, full, f.keys_policy);
			copy_rows(to + c.piece_keys * row, c.kv.v, c.kv.v_type, c.kv, m.kv_head, slot, n, full,
				  f.keys_policy);
			slot += n;
			if (c.kv.ring > 0 && slot >= c.kv.ring)
				slot -= c.kv.ring;
		}
	}
}

#endif
