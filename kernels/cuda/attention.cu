/*
 * Decode attention: one query row a head over the cache, split along the keys.
 *
 * A CTA takes up to ATTENTION_HEADS query heads of one KV head (so that a key is read
 * once for them) and one split, tile by tile with a running maximum and sum: scores, softmax, values
 * (attention_tile.cuh). A warp has the keys and the values of the next tile in flight while it works on one.
 *
 * How long a split is follows from the position, so that whatever the grid was made for, its CTAs have about as many
 * keys each. Sums of the splits are combined in the order of the splits, whoever does it: by the CTA of a KV head's
 * splits that finishes last, or by a kernel of their own, which many splits are worth.
 */
#include "kernels/cuda/attention_tile_q8.cuh"

extern __shared__ __align__(16) char shared_memory[];

/* Splits of a (KV head, group of query heads) that have arrived; zero between launches. */
static __device__ unsigned tickets[ATTENTION_MAX_GROUPS];

INLINE int ceil_div(int n, int by)
{
	return (n + by - 1) / by;
}

/* ---- combining ---- */

/* What a warp has of a head: greatest score, sum of probabilities, and a lane's WIDTH columns of the sums. */
template <int WIDTH> struct partial_sum {
	float m, l;
	float sum[WIDTH];
};

/*
 * Sums up splits first, first + stride .. of a head. row: floats of a split, head_dim sums, m and l. The lane's columns
 * are `column` or, in pairs 2 * WARP apart, those that start with it. ALL: every split has keys, so its sums are loaded
 * before that is known. A split without keys has written neither sums nor m.
 */
template <int WIDTH, bool ALL, int AHEAD>
INLINE partial_sum<WIDTH> add_splits(const float *from, int row, int first, int stride, int n_splits, int column,
				     bool active)
{
	const int lane = threadIdx.x % WARP;
	partial_sum<WIDTH> r;
	r.m = NEGATIVE_INFINITY;
	r.l = 0.0f;
#pragma unroll
	for (int w = 0; w < WIDTH; w++)
		r.sum[w] = 0.0f;
	for (int begin = first; begin < n_splits; begin += WARP * stride) {
		const int n = min((int)WARP, ceil_div(n_splits - begin, stride));
		float x[AHEAD][WIDTH], factor = 0.0f;
		const auto factor_of = [&](int i) { return __shfl_sync(ALL_LANES, factor, i % WARP); };
		const auto load = [&](int i) {
#pragma unroll
			for (int k = 0; k < AHEAD; k++) {
				const float *p = from + (long long)(begin + (i + k) * stride) * row + column;
#pragma unroll
				for (int w = 0; w < WIDTH; w++)
					x[k][w] = 0.0f;
				const bool empty = !ALL && factor_of(i + k) == 0.0f;
				if (i + k >= n || !active || empty)
					continue;
				if (WIDTH == 1)
					x[k][0] = __ldcg(p);
#pragma unroll
				for (int w = 0; w + 1 < WIDTH; w += 2) {
					const float2 v = __ldcg((const float2 *)(p + w * WARP));
					x[k][w] = v.x;
					x[k][w + 1] = v.y;
				}
			}
		};
		if (ALL)
			load(0);
		const int own = begin + lane * stride;
		float m = NEGATIVE_INFINITY, l = 0.0f;
		if (own < n_splits) {
			m = __ldcg(from + (long long)own * row + row - 2);
			l = __ldcg(from + (long long)own * row + row - 1);
		}
		if (l == 0.0f)
			m = NEGATIVE_INFINITY;
		const float top = fmaxf(r.m, warp_max(m));
		if (top == NEGATIVE_INFINITY)
			continue;
		factor = l == 0.0f ? 0.0f : expf(m - top);
		const float shrink = expf(r.m - top);
		r.m = top;
		r.l = r.l * shrink + warp_sum(l * factor);
#pragma unroll
		for (int w = 0; w < WIDTH; w++)
			r.sum[w] *= shrink;
		for (int i = 0; i < n; i += AHEAD) {
			if (!ALL || i > 0)
				load(i);
#pragma unroll
			for (int k = 0; k < AHEAD; k++) {
				const float f = factor_of(i + k);
#pragma unroll
				for (int w = 0; w < WIDTH; w++)
					r.sum[w] = fmaf(f, x[k][w], r.sum[w]); /* behind the last: 0 */
			}
		}
	}
	return r;
}

/* All splits of heads head0 .. head0 + n_heads, by one CTA: a warp a head and columns. */
template <int HD, int AHEAD>
INLINE void combine_heads(const float *partial, float *y, int head0, int n_heads, int row_splits, int n_splits)
{
	enum { WIDTH = HD % 128 == 0 ? 4 : HD % 64 == 0 ? 2 : 1, BLOCKS = HD / (WARP * WIDTH) };
	const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
	for (int i = warp; i < n_heads * BLOCKS; i += WARPS) {
		const int head = head0 + i / BLOCKS;
		const int column = i % BLOCKS * WARP * WIDTH + lane * (WIDTH > 1 ? 2 : 1);
		const partial_sum<WIDTH> r = add_splits<WIDTH, true, AHEAD>(
			partial + (long long)head * row_splits * (HD + 2), HD + 2, 0, 1, n_splits, column, true);
		float *to = y + (long long)head * HD + column;
		if (WIDTH == 1)
			to[0] = r.sum[0] / r.l;
#pragma unroll
		for (int w = 0; w + 1 < WIDTH; w += 2)
			*(float2 *)(to + w * WARP) = make_float2(r.sum[w] / r.l, r.sum[w + 1] / r.l);
	}
}

/* Grid: (columns, heads). The warps share the splits. */
KERNEL(ATTENTION_THREADS) k_attention_combine(const __grid_constant__ struct attention_combine_params p)
{
	__shared__ float2 stats[WARPS];
	__shared__ float sums[WARPS][ATTENTION_COLUMNS];
	const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
	const int column = (int)blockIdx.x * ATTENTION_COLUMNS + lane;
	const int head = blockIdx.y;
	const int row = p.head_dim + 2;
	static_assert(ATTENTION_COLUMNS == WARP, "a lane a column");

	let_next_start();
	wait_for_earlier();
	const partial_sum<1> r = add_splits<1, false, 16>(p.partial + (long long)head * p.n_splits * row, row, warp,
							  WARPS, p.n_splits, column, column < p.head_dim);
	if (lane == 0)
		stats[warp] = make_float2(r.m, r.l);
	sums[warp][lane] = r.sum[0];
	__syncthreads();
	if (warp > 0 || column >= p.head_dim)
		return;
	float m = NEGATIVE_INFINITY, l = 0.0f, sum = 0.0f;
#pragma unroll
	for (int w = 0; w < WARPS; w++)
		m = fmaxf(m, stats[w].x);
#pragma unroll
	for (int w = 0; w < WARPS; w++) {
		const float f = expf(stats[w].x - m);
		l = fmaf(stats[w].y, f, l);
		sum = fmaf(sums[w][lane], f, sum);
	}
	p.y[(long long)head * p.head_dim + column] = sum / l;
}

/* ---- splits ---- */

/* Where a split's keys are in the cache of a KV head. */
struct split_keys {
	int n;       /* 0: it has none */
	int slot;    /* of the first */
	int n_valid; /* splits that have keys */
};

/* Of a step from before the wait, which may be any: no keys where the cache has not all of them. */
INLINE struct split_keys keys_of(const struct attention_split_params &p, const struct step &step, int split)
{
	const struct span all = attended(p.kv, p.window, step.pos, step.evicted);
	const int n_keys = all.end - all.first;
	const int length = p.split_len * ceil_div(n_keys, p.split_len * p.n_splits);
	const int before = split * length;
	struct split_keys s;
	s.n = max(min(length, n_keys - before), 0);
	s.slot = all.first + before;
	if (p.kv.ring > 0)
		s.slot %= p.kv.ring;
	s.n_valid = ceil_div(n_keys, length);
	if (s.slot < 0 || s.n > p.kv.capacity - (p.kv.ring > 0 ? 0 : s.slot))
		s.n = 0;
	return s;
}

/* The split's first tile comes to the L2. */
template <int HD, int KT, int VT>
INLINE void prefetch(const struct attention_split_params &p, const struct split_keys &s, int kv_head)
{
	enum {
		KEY_BYTES = cache_row_bytes(KT, HD),
		VALUE_BYTES = cache_row_bytes(VT, HD),
		LINE = 128,
		KEY_LINES = (KEY_BYTES + LINE - 1) / LINE,
		LINES = KEY_LINES + (VALUE_BYTES + LINE - 1) / LINE,
	};
	for (int i = threadIdx.x; i < min(s.n, (int)TILE) * LINES; i += ATTENTION_THREADS) {
		const int line = i % LINES;
		int slot = s.slot + i / LINES;
		if (slot >= p.kv.capacity)
			slot -= p.kv.capacity;
		const long long row = (long long)kv_head * p.kv.capacity + slot;
		prefetch_l2(line < KEY_LINES ? (const char *)p.kv.k + row * KEY_BYTES + line * LINE
					     : (const char *)p.kv.v + row * VALUE_BYTES + (line - KEY_LINES) * LINE);
	}
}

/* In shared memory: what tiles are multiplied with and, of Q8_0, the tiles. */
template <int HD, int KT, int VT> struct operands {
	typename key_tile<HD, KT>::queries queries;
	typename value_tile<HD, VT>::probabilities probabilities;
};

/* Dynamic where it is more than may be static. */
template <int HD, int KT, int VT> INLINE operands<HD, KT, VT> &shared_operands()
{
	if constexpr (attention_shared_bytes(HD, KT, VT) > 0) {
		static_assert(sizeof(operands<HD, KT, VT>) <= (size_t)attention_shared_bytes(HD, KT, VT), "it fits");
		return *(operands<HD, KT, VT> *)shared_memory;
	} else {
		__shared__ operands<HD, KT, VT> o;
		return o;
	}
}

/* Grid: (splits, groups of heads). y null: partial sums only. */
template <int HD, int KT, int VT, bool FUSED> INLINE void attention(const struct attention_split_params &p, float *y)
{
	typedef key_tile<HD, KT> keys;
	typedef value_tile<HD, VT> values;
	typedef value_part<HD, VT> part;
	enum { STAGED = KT == TENSOR_Q8_0 || VT == TENSOR_Q8_0 };
	typename keys::queries &queries = shared_operands<HD, KT, VT>().queries;
	typename values::probabilities &probabilities = shared_operands<HD, KT, VT>().probabilities;
	__shared__ float scores[SLICES][HEADS][SCORE_ROW];
	__shared__ __align__(8) float shrinks[HEADS];
	__shared__ float sums[HEADS];
	__shared__ bool last;
	const struct kv &kv = p.kv;
	const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
	const int g = lane / 4, t = lane % 4;
	const int slice = warp % SLICES, half = warp / SLICES;
	const int element = warp * part::WARP_DIMS + g * part::RUN;
	const bool has_values = part::WARPS_BUSY == WARPS || warp < part::WARPS_BUSY;
	const int group = p.n_heads / kv.n_kv_heads;
	const int parts = ceil_div(group, HEADS);
	const int kv_head = (int)blockIdx.y / parts;
	const int first_of_group = (int)blockIdx.y % parts * HEADS;
	const int head0 = kv_head * group + first_of_group;
	const int n_heads = min((int)HEADS, group - first_of_group);
	const int split = blockIdx.x;

	let_next_start();
	/*
	 * The step is read while earlier kernels still run, which no kernel writes today, and once more behind the
	 * wait, beside the first keys: should it be another then, they are loaded again.
	 */
	struct step soon = step_of(p.at);
	struct split_keys at = keys_of(p, soon, split);
	prefetch<HD, KT, VT>(p, at, kv_head);
	wait_for_earlier();
	const struct step step = step_of(p.at);
	float *const partial = p.partial + ((long long)head0 * p.n_splits + split) * (HD + 2);
	const long long head_at = (long long)kv_head * kv.capacity;
	const char *const head_keys = (const char *)kv.k + head_at * cache_row_bytes(KT, HD);
	const char *const head_values = (const char *)kv.v + head_at * cache_row_bytes(VT, HD);
	const int ring = kv.ring > 0 ? kv.ring : 0x7fffffff;
	const auto slot_of = [&](int key) { /* keys beyond the split repeat its last */
					    const int slot = at.slot + min(key, at.n - 1);
					    return slot >= ring ? slot - ring : slot;
	};
	keys k;
	values v;
	/* Also behind the last tile: where copies are counted, each tile has its group. */
	const auto load_keys = [&](int base) {
		if (base < at.n)
			k.load(
				queries, head_keys, [&](int key) { return slot_of(base + half * 16 + key); }, slice);
		if (STAGED)
			commit_copies();
	};
	const auto load_value = [&](int base, int i) {
		v.load(probabilities, head_values, i, slot_of(base + values::key(i)), element);
	};
	const auto load_values = [&](int base) {
		if (has_values && base < at.n)
#pragma unroll
			for (int i = 0; i < values::AHEAD; i++)
				load_value(base, i);
		if (STAGED)
			commit_copies();
	};
	for (;;) {
		load_keys(0);
		load_values(0);
		if (step.pos == soon.pos && step.evicted == soon.evicted)
			break;
		if (STAGED)
			wait_for_copies(); /* to where the others go */
		soon = step;
		at = keys_of(p, soon, split);
	}
	if (at.n == 0) {
		if (!FUSED && (int)threadIdx.x < n_heads)
			*(float2 *)(partial + (long long)threadIdx.x * p.n_splits * (HD + 2) + HD) =
				make_float2(NEGATIVE_INFINITY, 0.0f);
		return;
	}
	keys::store_query(queries, warp < n_heads ? p.q + (long long)(head0 + warp) * HD : nullptr, p.scale);
	v.clear();
	__syncthreads();

	/* The warp's head; the sum is over the lane's keys. */
	float m = NEGATIVE_INFINITY, l = 0.0f;
	for (int base = 0; base < at.n; base += TILE) {
		float s[4];
		k.score(queries, slice, s);
		load_keys(base + TILE);
#pragma unroll
		for (int i = 0; i < 4; i++)
			scores[slice][2 * t + i % 2][half * 16 + g + i / 2 * 8] = s[i];
		__syncthreads();

		float score = 0.0f;
#pragma unroll
		for (int i = 0; i < SLICES; i++)
			score += scores[i][warp][lane];
		score = base + lane < at.n ? score * queries.unit[warp] : NEGATIVE_INFINITY;
		const float greatest = fmaxf(m, warp_max(score));
		const float shrink = expf(m - greatest);
		const float prob = expf(score - greatest);
		l = l * shrink + prob;
		m = greatest;
		values::store_probability(probabilities, warp, lane, prob);
		if (lane == 0)
			shrinks[warp] = shrink;
		__syncthreads();

		if (has_values)
			v.add(probabilities, shrinks, [&](int i) { load_value(base, i); });
		load_values(base + TILE);
	}

	const bool alone = FUSED && at.n_valid == 1;
	l = warp_sum(l);
	if (lane == 0) {
		sums[warp] = l;
		if (!alone && warp < n_heads)
			*(float2 *)(partial + (long long)warp * p.n_splits * (HD + 2) + HD) = make_float2(m, l);
	}
	if (alone)
		__syncthreads();
	if (has_values) {
		float out[2][part::DIMS];
		v.finish(out);
#pragma unroll
		for (int i = 0; i < 2; i++) {
			const int head = 2 * t + i;
			if (head >= n_heads)
				break;
			float *to = alone ? y + (long long)(head0 + head) * HD
					  : partial + (long long)head * p.n_splits * (HD + 2);
			const float by = alone ? sums[head] : 1.0f;
#pragma unroll
			for (int d = 0; d < part::DIMS; d += 2)
				*(float2 *)(to + element + d / part::RUN * CACHE_BLOCK + d % part::RUN) =
					make_float2(out[i][d] / by, out[i][d + 1] / by);
		}
	}
	if (!FUSED || alone)
		return;

	__syncthreads();
	if (threadIdx.x == 0) {
		last = arrive(&tickets[blockIdx.y]) == (unsigned)at.n_valid - 1;
		if (last)
			tickets[blockIdx.y] = 0;
	}
	__syncthreads();
	if (last)
		combine_heads<HD, KT == TENSOR_Q8_0 && VT == TENSOR_Q8_0 ? 8 : 16>(p.partial, y, head0, n_heads,
										   p.n_splits, at.n_valid);
}

/*
 * Two CTAs a multiprocessor, so that one works while another waits; of the widest rows, or of float32's half as wide,
 * one has as much in flight, and has no registers left for a second.
 */
static constexpr int ctas_of(int hd, int kt, int vt)
{
	if (kt == TENSOR_Q8_0 && vt == TENSOR_Q8_0)
		return attention_ctas(hd, 1);
	return hd > 256 || (hd > 128 && (kt == TENSOR_F32 || vt == TENSOR_F32)) ? 1 : 2;
}

#define SPLIT_KERNEL(hd, kt, vt) extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, ctas_of(hd, kt, vt))

#define ENTRY(hd, k, kt, v, vt)                                                                     \
	SPLIT_KERNEL(hd, kt, vt)                                                                    \
	k_attention_split_##hd##_##k##_##v(const __grid_constant__ struct attention_split_params p) \
	{                                                                                           \
		attention<hd, kt, vt, false>(p, nullptr);                                           \
	}                                                                                           \
	SPLIT_KERNEL(hd, kt, vt)                                                                    \
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
#ifdef KV_F32_Q8_0
#define F32_Q8_0(hd) ENTRY(hd, f32, TENSOR_F32, q8_0, TENSOR_Q8_0)
#else
#define F32_Q8_0(hd)
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
#ifdef KV_F16_Q8_0
#define F16_Q8_0(hd) ENTRY(hd, f16, TENSOR_F16, q8_0, TENSOR_Q8_0)
#else
#define F16_Q8_0(hd)
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
#ifdef KV_BF16_Q8_0
#define BF16_Q8_0(hd) ENTRY(hd, bf16, TENSOR_BF16, q8_0, TENSOR_Q8_0)
#else
#define BF16_Q8_0(hd)
#endif
#ifdef KV_Q8_0_F32
#define Q8_0_F32(hd) ENTRY(hd, q8_0, TENSOR_Q8_0, f32, TENSOR_F32)
#else
#define Q8_0_F32(hd)
#endif
#ifdef KV_Q8_0_F16
#define Q8_0_F16(hd) ENTRY(hd, q8_0, TENSOR_Q8_0, f16, TENSOR_F16)
#else
#define Q8_0_F16(hd)
#endif
#ifdef KV_Q8_0_BF16
#define Q8_0_BF16(hd) ENTRY(hd, q8_0, TENSOR_Q8_0, bf16, TENSOR_BF16)
#else
#define Q8_0_BF16(hd)
#endif
#ifdef KV_Q8_0_Q8_0
#define Q8_0_Q8_0(hd) ENTRY(hd, q8_0, TENSOR_Q8_0, q8_0, TENSOR_Q8_0)
#else
#define Q8_0_Q8_0(hd)
#endif

#define ENTRIES(hd)  \
	F32_F32(hd)  \
	F32_F16(hd)  \
	F32_BF16(hd) \
	F32_Q8_0(hd) \
	F16_F32(hd)  \
	F16_F16(hd)  \
	F16_BF16(hd) \
	F16_Q8_0(hd) \
	BF16_F32(hd) BF16_F16(hd) BF16_BF16(hd) BF16_Q8_0(hd) Q8_0_F32(hd) Q8_0_F16(hd) Q8_0_BF16(hd) Q8_0_Q8_0(hd)

#include "kernels/cuda/head_dims.cuh"
