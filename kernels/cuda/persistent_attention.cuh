/*
 * Attention in a token's kernel: the norms, RoPE and appending that qkv_prepare does, and one query row over the cache
 * (persistent_keys.cuh says who has which keys).
 *
 * Warps work in teams that take a split's pieces in turn: a team's warps have a head each, or, of one head, half of the
 * piece's keys each. A warp makes its query from the projection itself, and one warp a head also the token's own key
 * and value, as the cache will have them: so nobody waits for another warp before all are summed. Splits' sums go to
 * the warps that combine them; where there is one split, it is all.
 */
#ifndef GEMMARK_KERNELS_CUDA_PERSISTENT_ATTENTION_CUH
#define GEMMARK_KERNELS_CUDA_PERSISTENT_ATTENTION_CUH

#include "kernels/cuda/persistent_keys.cuh"
#include "kernels/cuda/persistent_rows.cuh"

/* ---- what a warp attends ---- */

/* A running softmax of a head. */
template <int HD> struct running {
	lane_dims<HD> sum;
	float greatest, l;

	__device__ __forceinline__ void clear()
	{
		sum.clear();
		greatest = NEGATIVE_INFINITY;
		l = 0.0f;
	}

	/* Makes place for scores up to that. */
	__device__ __forceinline__ void raise(float to)
	{
		const float shrink = power_of_two(greatest - to);
		greatest = to;
		l *= shrink;
		sum.scale(shrink);
	}
};

/* Sums of two values over the warp: in five steps, and every lane gets both. */
INLINE void warp_sums(float (&v)[2])
{
	const bool second = threadIdx.x & 16;
	float s = (second ? v[1] : v[0]) + __shfl_xor_sync(ALL_LANES, second ? v[0] : v[1], 16);
	s += __shfl_xor_sync(ALL_LANES, s, 8);
	s += __shfl_xor_sync(ALL_LANES, s, 4);
	s += __shfl_xor_sync(ALL_LANES, s, 2);
	s += __shfl_xor_sync(ALL_LANES, s, 1);
	v[0] = __shfl_sync(ALL_LANES, s, 0);
	v[1] = __shfl_sync(ALL_LANES, s, 16);
}

/* Sums of four values over the warp: in six steps, and every lane gets all. */
INLINE void warp_sums(float (&v)[4])
{
	const int lane = threadIdx.x % WARP;
	const bool second = lane & 16, odd = lane & 8;
	float a = second ? v[2] : v[0], b = second ? v[3] : v[1];
	a += __shfl_xor_sync(ALL_LANES, second ? v[0] : v[2], 16);
	b += __shfl_xor_sync(ALL_LANES, second ? v[1] : v[3], 16);
	float s = odd ? b : a;
	s += __shfl_xor_sync(ALL_LANES, odd ? a : b, 8);
	s += __shfl_xor_sync(ALL_LANES, s, 4);
	s += __shfl_xor_sync(ALL_LANES, s, 2);
	s += __shfl_xor_sync(ALL_LANES, s, 1);
#pragma unroll
	for (int i = 0; i < 4; i++)
		v[i] = __shfl_sync(ALL_LANES, s, i * 8);
}

/* Keys begin .. end of a piece. All rows are asked for before the first is used. */
template <int HD, int KT, int VT>
INLINE void attend_keys(const char *keys, const char *values, int begin, int end, const lane_dims<HD> &q,
			running<HD> &r)
{
	/* Of the widest rows fewer at once: what does not fit into registers is far away. */
	enum { KEYS = HD > 256 ? 2 : 4 };
	enum { ROW = cache_row_bytes(KT, HD), V_ROW = cache_row_bytes(VT, HD) };
#pragma unroll 1
	for (int base = begin; base < end; base += KEYS) {
		float score[KEYS], greatest = r.greatest;
		row_words<HD, KT> key[KEYS];
		row_words<HD, VT> value[KEYS];
		lane_dims<HD> x;
#pragma unroll
		for (int i = 0; i < KEYS; i++)
			key[i].load(keys + min(base + i, end - 1) * ROW);
#pragma unroll
		for (int i = 0; i < KEYS; i++)
			value[i].load(values + min(base + i, end - 1) * V_ROW);
#pragma unroll
		for (int i = 0; i < KEYS; i++) {
			x.read(key[i]);
			score[i] = q.dot(x);
		}
		warp_sums(score);
#pragma unroll
		for (int i = 0; i < KEYS; i++) {
			score[i] = base + i < end ? score[i] : NEGATIVE_INFINITY;
			greatest = fmaxf(greatest, score[i]);
		}
		r.raise(greatest);
#pragma unroll
		for (int i = 0; i < KEYS; i++) {
			const float weight = power_of_two(score[i] - greatest);
			r.l += weight;
			x.read(value[i]);
			r.sum.add(weight, x);
		}
	}
}

/* What a warp needs of its item, and where it is in it. */
struct attention_part {
	int n_teams, team;
	int member; /* of a team: the head, or the half */
	int shares; /* of a piece */
	bool one_head;
	int head;
	bool works;  /* on some key */
	bool newest; /* on the token's own too */
};

INLINE struct attention_part part_of(const struct attention_keys &k, const struct attention_item &m, int n_pieces)
{
	struct attention_part t;
	const int warp = threadIdx.x / WARP, size = k.heads == 1 ? 2 : k.heads;
	t.one_head = k.heads == 1;
	t.n_teams = PERSISTENT_WARPS / size;
	t.team = warp / size;
	t.member = warp - t.team * size;
	t.shares = PERSISTENT_PIECE_SHARES / size;
	t.head = m.head0 + (t.one_head ? 0 : min(t.member, m.n_heads - 1));
	/* The last team has the fewest pieces. */
	t.newest = m.newest && t.team == t.n_teams - 1 && (!t.one_head || t.member == 0);
	t.works = t.newest || (t.team < t.n_teams && t.team < n_pieces);
	return t;
}

struct attention_memory {
	float *sums;          /* (WARPS, head_dim) */
	float2 *stats;        /* (WARPS): greatest score, sum of probabilities */
	const float2 *angles; /* of the layer's kind */
	float *corner;        /* (corner_bytes) of the warp's own */
};

/* The token's own key and value, which is r's sum: as they were projected. */
template <int HD, int KT, int VT>
INLINE void attend_newest(const struct persistent_attention &p, const struct attention_item &m, bool appends,
			  const struct step &step, float eps, const float *k_norm, const float2 *angles,
			  const lane_dims<HD> &q, lane_dims<HD> &k, running<HD> &r)
{
	const int slot = append_slot(p.kv, step.pos, step.evicted);
	k.norm(k_norm, eps);
	k.turn(angles);
	if constexpr (KT == TENSOR_Q8_0)
		k.quantise(appends ? cache_row(p.kv.k, KT, p.kv, m.kv_head, slot) : nullptr);
	else
		k.template round<KT>();
	r.greatest = warp_sum(q.dot(k));
	r.l = 1.0f;
	if (p.v_norm)
		r.sum.norm(nullptr, eps);
	if constexpr (VT == TENSOR_Q8_0)
		r.sum.quantise(appends ? cache_row(p.kv.v, VT, p.kv, m.kv_head, slot) : nullptr);
	else
		r.sum.template round<VT>();
	if (appends) {
		if constexpr (KT != TENSOR_Q8_0)
			k.template store<KT>(cache_row(p.kv.k, KT, p.kv, m.kv_head, slot));
		if constexpr (VT != TENSOR_Q8_0)
			r.sum.template store<VT>(cache_row(p.kv.v, VT, p.kv, m.kv_head, slot));
	}
}

/* Sums of a split's head: head_dim of them, then the greatest score and the sum of probabilities. */
INLINE unsigned long long *split_row(const struct persistent_program &g, const struct persistent_attention &p, int head,
				     int split)
{
	return (unsigned long long *)g.partial + ((long long)head * p.most_splits + split) * (p.kv.head_dim + 2);
}

/* What a split's head leaves: sums of head_dim, of which this lane has four from d on. */
template <int HD>
INLINE void leave_sums_of(const struct persistent_program &g, const struct persistent_attention &p,
			  const struct attention_keys &k, int head, int split, int d, float4 sum, float greatest,
			  float l, unsigned parity, unsigned number)
{
	if (k.n_splits == 1) {
		const float4 v = make_float4(__fdividef(sum.x, l), __fdividef(sum.y, l), __fdividef(sum.z, l),
					     __fdividef(sum.w, l));
		publish4(p.y + (long long)head * HD + d, v, parity);
		return;
	}
	unsigned long long *const row = split_row(g, p, head, split);
	publish_numbered2(row + d, sum.x, sum.y, number);
	publish_numbered2(row + d + 2, sum.z, sum.w, number);
	if (d == 0)
		publish_numbered2(row + HD, greatest, l, number);
}

/* The warps' sums together: every step-th warp's from h on are head h's. */
template <int HD>
INLINE void leave_split(const struct persistent_program &g, const struct persistent_attention &p,
			const struct attention_keys &k, const struct attention_item &m,
			const struct attention_memory &s, unsigned parity, unsigned number)
{
	const int step = k.heads, n = PERSISTENT_WARPS / step;
#pragma unroll 1
	for (int i = threadIdx.x; i < m.n_heads * (HD / 4); i += PERSISTENT_CONSUMERS) {
		const int h = i / (HD / 4), d = i % (HD / 4) * 4;
		float2 stat[PERSISTENT_WARPS];
		float greatest = NEGATIVE_INFINITY, l = 0.0f;
		float4 sum = make_float4(0, 0, 0, 0);
#pragma unroll
		for (int w = 0; w < PERSISTENT_WARPS; w++)
			stat[w] = w < n ? s.stats[h + w * step] : make_float2(NEGATIVE_INFINITY, 0.0f);
#pragma unroll
		for (int w = 0; w < PERSISTENT_WARPS; w++)
			greatest = fmaxf(greatest, stat[w].x);
#pragma unroll
		for (int w = 0; w < PERSISTENT_WARPS; w++) {
			const bool has = stat[w].y > 0.0f; /* else its sums may be anything */
			const float f = has ? power_of_two(stat[w].x - greatest) : 0.0f;
			float4 v = make_float4(0, 0, 0, 0);
			if (has)
				v = *(const float4 *)(s.sums + (h + w * step) * HD + d);
			l = fmaf(stat[w].y, f, l);
			sum = make_float4(fmaf(v.x, f, sum.x), fmaf(v.y, f, sum.y), fmaf(v.z, f, sum.z),
					  fmaf(v.w, f, sum.w));
		}
		leave_sums_of<HD>(g, p, k, m.head0 + h, m.split, d, sum, greatest, l, parity, number);
	}
}

template <int HD, int KT, int VT>
INLINE void attend_item(const struct persistent_params &params, const struct persistent_program &g,
			const struct persistent_attention &p, const struct attention_keys &k,
			const struct attention_item &m, unsigned parity, unsigned number,
			const struct attention_memory &memory, const struct stages &s, struct stage &own)
{
	enum { ROW = cache_row_bytes(KT, HD) };
	const int warp = threadIdx.x / WARP, piece_keys = p.piece_keys;
	const int n_pieces = m.n > 0 ? (m.n + piece_keys - 1) / piece_keys : 0;
	const struct attention_part t = part_of(k, m, n_pieces);
	float *const own_sums = memory.sums + warp * HD;
	running<HD> r;
	r.clear();
	if (t.works) {
		lane_dims<HD> q, own_k;
		const long long kv_at = (long long)m.kv_head * HD;
		bool there;
		/* Norms, to where the warp has room until it leaves its sums. */
		const bool near = HD * 4 <= g.corner_bytes;
		lane_dims<HD>::fetch(own_sums, p.q_norm);
		if (t.newest && near)
			lane_dims<HD>::fetch(memory.corner, p.k_norm);
		do { /* all that is waited for at once */
			there = q.look(p.q + (long long)t.head * HD, parity);
			if (t.newest) {
				there = own_k.look(p.k + kv_at, parity) && there;
				there = r.sum.look(p.v_raw + kv_at, parity) && there;
			}
		} while (!__all_sync(ALL_LANES, there));
		stamp(params, g, PERSISTENT_INPUT);
		async_copies_wait();
		q.norm(own_sums, g.eps);
		q.turn(memory.angles);
		q.scale(p.scale * LOG2_E); /* scores are powers of two's */
		if (t.newest)
			attend_newest<HD, KT, VT>(p, m, m.appends && p.owns && t.member == 0, g.step, g.eps,
						  near ? memory.corner : p.k_norm, memory.angles, q, own_k, r);
#pragma unroll 1
		for (int i = t.team; i < n_pieces; i += t.n_teams) {
			const struct stage there = own.after(i, s);
			const char *const piece = s.memory + there.at * s.bytes;
			const int n = min(piece_keys, m.n - i * piece_keys);
			const int half = t.one_head ? (n + 1) / 2 : n, begin = t.member && t.one_head ? half : 0;
			await_piece(s, there);
			attend_keys<HD, KT, VT>(piece, piece + piece_keys * ROW, begin, begin ? n : half, q, r);
			give_back(s, there, t.shares);
		}
	}
	if (t.works)
		r.sum.leave(own_sums);
	if (threadIdx.x % WARP == 0)
		memory.stats[warp] = make_float2(r.greatest, r.l);
	own = own.after(n_pieces, s);
	consumers_sync();
	stamp(params, g, PERSISTENT_WORKED);
	leave_split<HD>(g, p, k, m, memory, parity, number);
	consumers_sync();
}

/* ---- splits together ---- */

/* Sums of some splits in the scale of the greatest score. */
struct combined {
	float greatest, l, sum;
};

INLINE void combine(struct combined &a, float greatest, float l, float sum)
{
	const float to = fmaxf(a.greatest, greatest);
	const float shrink = power_of_two(a.greatest - to), factor = power_of_two(greatest - to);
	a.greatest = to;
	a.l = a.l * shrink + l * factor;
	a.sum = a.sum * shrink + sum * factor;
}

/* WARP columns of a head over every WARPS-th split, from the warp's on. */
INLINE struct combined combine_splits(const struct persistent_program &g, const struct persistent_attention &p,
				      int n_splits, int head, int column, unsigned number)
{
	enum { AT_ONCE = 4 };
	const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, hd = p.kv.head_dim;
	struct combined a = {NEGATIVE_INFINITY, 0.0f, 0.0f};
#pragma unroll 1
	for (int base = warp; base < n_splits; base += AT_ONCE * PERSISTENT_WARPS) {
		const unsigned long long *const row = split_row(g, p, head, base);
		const int step = PERSISTENT_WARPS * (hd + 2); /* to the next one's row */
		const int n = min((int)AT_ONCE, (n_splits - base + PERSISTENT_WARPS - 1) / PERSISTENT_WARPS);
		unsigned long long x[AT_ONCE], m[AT_ONCE], l[AT_ONCE];
		bool all;
		/* Many are waited for by a part of them: what all blocks ask for delays what they ask for. */
		if (n > 2)
			do {
				all = true;
#pragma unroll
				for (int i = 0; i < AT_ONCE; i++)
					if (i < n)
						load_now64x2(row + i * step + hd, m[i], l[i]);
#pragma unroll
				for (int i = 0; i < AT_ONCE; i++)
					if (i < n)
						all = all && is_numbered(m[i], number);
			} while (!all);
		do {
			all = true;
#pragma unroll
			for (int i = 0; i < AT_ONCE; i++)
				if (i < n) {
					x[i] = load_now64(row + i * step + column + lane);
					load_now64x2(row + i * step + hd, m[i], l[i]);
				}
#pragma unroll
			for (int i = 0; i < AT_ONCE; i++)
				if (i < n)
					all = all && is_numbered(x[i], number) && is_numbered(m[i], number) &&
					      is_numbered(l[i], number);
		} while (!all);
#pragma unroll
		for (int i = 0; i < AT_ONCE; i++)
			if (i < n)
				combine(a, numbered_value(m[i]), numbered_value(l[i]), numbered_value(x[i]));
	}
	__syncwarp();
	return a;
}

/* A head's columns by a block, WARP of them: its warps have splits each. */
INLINE void combine_all(const struct persistent_program &g, const struct persistent_attention &p, int n_splits,
			unsigned parity, unsigned number, float *sums)
{
	const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, columns = p.kv.head_dim / WARP;
#pragma unroll 1
	for (int i = blockIdx.x; i < p.n_heads * columns; i += g.n_blocks) {
		const int head = i / columns, column = i % columns * WARP;
		const struct combined a = combine_splits(g, p, n_splits, head, column, number);
		float *const own = sums + warp * 3 * WARP + lane;
		own[0] = a.greatest;
		own[WARP] = a.l;
		own[2 * WARP] = a.sum;
		consumers_sync();
		if (warp == 0) {
			float greatest = NEGATIVE_INFINITY, l = 0.0f, sum = 0.0f, of[PERSISTENT_WARPS];
#pragma unroll
			for (int w = 0; w < PERSISTENT_WARPS; w++) {
				of[w] = own[3 * w * WARP];
				greatest = fmaxf(greatest, of[w]);
			}
#pragma unroll
			for (int w = 0; w < PERSISTENT_WARPS; w++) {
				const float factor = power_of_two(of[w] - greatest); /* 0 of those without a split */
				l = fmaf(own[(3 * w + 1) * WARP], factor, l);
				sum = fmaf(own[(3 * w + 2) * WARP], factor, sum);
			}
			publish(p.y + (long long)head * p.kv.head_dim + column + lane, __fdividef(sum, l), parity);
		}
		consumers_sync();
	}
}

/* Of a block, in its scratch. */
struct attention_shares {
	struct attention_keys keys;
	struct attention_item item;
};

enum { SHARES_AT = 88 };
static_assert(2 * WARP + 2 * PERSISTENT_WARPS <= SHARES_AT &&
		      SHARES_AT * 4 + sizeof(struct attention_shares) <= PERSISTENT_SCRATCH * 4,
	      "behind the sums, which are needed meanwhile");

/* Returns how many splits there are: of more than one, combine_all has what they left. */
template <int HD, int KT, int VT>
INLINE int attention(const struct persistent_params &params, const struct persistent_program &g,
		     const struct persistent_attention &p, unsigned parity, unsigned number,
		     const struct attention_memory &memory, const struct stages &s, struct stage &own)
{
	/* One thread finds out, and all read it again when they need it: as registers it would be in memory far away.
	 */
	struct attention_shares &shares = *(struct attention_shares *)(shared_floats(g.scratch_at) + SHARES_AT);
	int i = blockIdx.x;
	if (threadIdx.x == 0) {
		shares.keys = keys_of(p, g.step, g.n_blocks);
		shares.item = item_of(p, shares.keys, i);
	}
	consumers_sync(); /* and what sums are left in, the product before may still be read in */
#pragma unroll 1
	while (i < shares.keys.n_items) {
		attend_item<HD, KT, VT>(params, g, p, shares.keys, shares.item, parity, number, memory, s, own);
		i += g.n_blocks;
		if (i < shares.keys.n_items) {
			if (threadIdx.x == 0)
				shares.item = item_of(p, shares.keys, i);
			consumers_sync();
		}
	}
	return shares.keys.n_splits;
}

#endif
