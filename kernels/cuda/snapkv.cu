/*
 * SnapKV's kernels: the votes of the observation window, the selection, the move of what won.
 *
 * Scores are float32 products, as prefill's attention has them, of tiles of 128 rows and 128 keys: slices of
 * 8 elements of head_dim in shared memory, two of them, so that one is loaded while the other is multiplied; 8 by 8
 * products a thread. They are computed twice, for the rows' maxima and sums and for the probabilities, and never
 * stored. Every sum has a fixed order; the only atomics count integers.
 */
#include "kernels/cuda/cache_rows.cuh"
#include "kernels/cuda/snapkv_geometry.h"

enum {
	TILE_ROWS = SNAPKV_ROWS,
	TILE_KEYS = SNAPKV_KEYS,
	SLICE = 8,
	STRIDE = 128 + 4, /* floats of a slice's row: of all rows or keys one element */
	EACH = 8,         /* rows and keys of a thread */
};
static_assert(TILE_ROWS == 128 && TILE_KEYS == 128 && SNAPKV_THREADS == 256, "the mapping of threads below");

struct slices {
	float q[2][SLICE * STRIDE];
	float k[2][SLICE * STRIDE];
};

/* A thread's rows and keys of a tile: two runs of four, so that 16 threads read 256 bytes in a row. */
INLINE int place(int thread, int i)
{
	return i / 4 * 64 + thread * 4 + i % 4;
}

/* The query of a row of a KV head. */
INLINE const float *query_row(const float *q, const struct kv &kv, int n_heads, int kv_head, int row)
{
	const int group = n_heads / kv.n_kv_heads;
	return q + ((long long)(row / group) * n_heads + kv_head * group + row % group) * kv.head_dim;
}

INLINE const void *key_row(const struct kv &kv, int kv_head, int slot)
{
	return cache_row(kv.k, kv.type, kv, kv_head, slot);
}

/* Elements i .. i + 4 of a row, zeros where there is none. */
INLINE float4 fetch(const void *row, int type, int head_dim, int i)
{
	if (!row)
		return make_float4(0, 0, 0, 0);
	if (type == TENSOR_F32)
		return *(const float4 *)((const float *)row + i);
	if (type == TENSOR_Q8_0)
		return steps_to_f32(*(const unsigned *)((const char *)row + i),
				    scale_at((const char *)row, head_dim, i));
	const uint2 u = *(const uint2 *)((const unsigned short *)row + i);
	const bool f16 = type == TENSOR_F16;
	const float2 a = f16 ? pair_to_f32<TENSOR_F16>(u.x) : pair_to_f32<TENSOR_BF16>(u.x);
	const float2 b = f16 ? pair_to_f32<TENSOR_F16>(u.y) : pair_to_f32<TENSOR_BF16>(u.y);
	return make_float4(a.x, a.y, b.x, b.y);
}

/* Four elements of a row or key, into as many rows of a slice. */
INLINE void put(float *to, float4 v)
{
	to[0] = v.x, to[STRIDE] = v.y, to[2 * STRIDE] = v.z, to[3 * STRIDE] = v.w;
}

/*
 * s = the tile's products. A thread loads row (or key) thread % 128 of the tile, the slice's first or second four
 * elements. Null: there is none, and the products are 0. Begins and ends with all threads having
 * left the slices.
 */
INLINE void multiply(struct slices &in, const float *q, float scale, const void *key, int type, int head_dim,
		     float (*s)[EACH])
{
	const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
	const int d0 = threadIdx.x / TILE_KEYS * 4, at = d0 * STRIDE + threadIdx.x % TILE_KEYS;

#pragma unroll
	for (int i = 0; i < EACH; i++)
#pragma unroll
		for (int j = 0; j < EACH; j++)
			s[i][j] = 0.0f;
	float4 qv = fetch(q, TENSOR_F32, head_dim, d0), kv = fetch(key, type, head_dim, d0);
	int now = 0;
#pragma unroll 1
	for (int d = 0; d < head_dim; d += SLICE, now ^= 1) {
		float *const qs = in.q[now], *const ks = in.k[now];
		put(qs + at, make_float4(qv.x * scale, qv.y * scale, qv.z * scale, qv.w * scale));
		put(ks + at, kv);
		__syncthreads();
		if (d + SLICE < head_dim) {
			qv = fetch(q, TENSOR_F32, head_dim, d0 + d + SLICE);
			kv = fetch(key, type, head_dim, d0 + d + SLICE);
		}
#pragma unroll
		for (int k = 0; k < SLICE; k++) {
			float a[EACH], b[EACH];
#pragma unroll
			for (int h = 0; h < 2; h++) {
				const float4 x = *(const float4 *)(qs + k * STRIDE + h * 64 + ty * 4);
				const float4 y = *(const float4 *)(ks + k * STRIDE + h * 64 + tx * 4);
				a[4 * h] = x.x, a[4 * h + 1] = x.y, a[4 * h + 2] = x.z, a[4 * h + 3] = x.w;
				b[4 * h] = y.x, b[4 * h + 1] = y.y, b[4 * h + 2] = y.z, b[4 * h + 3] = y.w;
			}
#pragma unroll
			for (int i = 0; i < EACH; i++)
#pragma unroll
				for (int j = 0; j < EACH; j++)
					s[i][j] = fmaf(a[i], b[j], s[i][j]);
		}
	}
	__syncthreads();
}

/* Over the 16 threads that share a row. */
INLINE float row_max(float v)
{
#pragma unroll
	for (int d = 8; d; d /= 2)
		v = fmaxf(v, __shfl_xor_sync(ALL_LANES, v, d));
	return v;
}

INLINE float row_sum(float v)
{
#pragma unroll
	for (int d = 8; d; d /= 2)
		v += __shfl_xor_sync(ALL_LANES, v, d);
	return v;
}

/* Grid: (splits, tiles of rows of each KV head). */
extern "C" __global__ void __launch_bounds__(SNAPKV_THREADS, 2)
	k_snapkv_softmax(const __grid_constant__ struct snapkv_softmax_params p)
{
	__shared__ __align__(16) struct slices slices;
	__shared__ float2 stats[TILE_ROWS]; /* each row's m and l so far; of the 16 threads that share it */
	const struct kv &kv = p.kv;
	const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
	const int group = p.n_heads / kv.n_kv_heads, n_rows = p.window * group;
	const int tiles = (n_rows + TILE_ROWS - 1) / TILE_ROWS;
	const int kv_head = (int)blockIdx.y / tiles, row0 = (int)blockIdx.y % tiles * TILE_ROWS;
	const int begin = (int)blockIdx.x * p.split_len, end = min(begin + p.split_len, p.n_keys);
	const int load_row = row0 + (int)threadIdx.x % TILE_ROWS;
	const float *const q = load_row < n_rows ? query_row(p.q, kv, p.n_heads, kv_head, load_row) : nullptr;

	let_next_start();
	wait_for_earlier();
	if (threadIdx.x < TILE_ROWS)
		stats[threadIdx.x] = make_float2(NEGATIVE_INFINITY, 0.0f);
	for (int first = begin; first < end; first += TILE_KEYS) {
		const int load_key = first + (int)threadIdx.x % TILE_KEYS;
		float s[EACH][EACH];
		multiply(slices, q, p.scale, load_key < end ? key_row(kv, kv_head, load_key) : nullptr, kv.type,
			 kv.head_dim, s);
#pragma unroll
		for (int i = 0; i < EACH; i++) {
			const int r = place(ty, i);
			/* Keys up to the row's own token's; rows that are not there attend what they like. */
			const int attended = min(end, p.n_keys - p.window + (row0 + r) / group + 1) - first;
			const float2 old = stats[r];
			float m = NEGATIVE_INFINITY, l = 0.0f;
#pragma unroll
			for (int j = 0; j < EACH; j++)
				if (place(tx, j) < attended)
					m = fmaxf(m, s[i][j]);
			m = fmaxf(row_max(m), old.x);
#pragma unroll
			for (int j = 0; j < EACH; j++)
				if (place(tx, j) < attended)
					l += expf(s[i][j] - m);
			l = row_sum(l);
			if (old.y != 0.0f)
				l += old.y * expf(old.x - m);
			__syncwarp(); /* all 16 have read what one of them replaces */
			if (tx == 0)
				stats[r] = make_float2(m, l);
			__syncwarp();
		}
	}
	__syncthreads();
	const int row = row0 + (int)threadIdx.x;
	if (threadIdx.x < TILE_ROWS && row < n_rows)
		((float2 *)p.stats)[((long long)kv_head * n_rows + row) * p.n_splits + blockIdx.x] = stats[threadIdx.x];
}

/* m and 1 / l of a tile's rows over all splits, a warp a row. Rows that are not there: 0, so that they have no vote. */
INLINE void combine(const struct snapkv_vote_params &p, int kv_head, int row0, int n_rows, float2 *totals)
{
	const int lane = threadIdx.x % WARP;
	for (int r = (int)threadIdx.x / WARP; r < TILE_ROWS; r += SNAPKV_THREADS / WARP) {
		if (row0 + r >= n_rows) {
			if (lane == 0)
				totals[r] = make_float2(0.0f, 0.0f);
			continue;
		}
		const float2 *from = (const float2 *)p.stats + ((long long)kv_head * n_rows + row0 + r) * p.n_splits;
		float m = NEGATIVE_INFINITY, l = 0.0f;
		for (int i = lane; i < p.n_splits; i += WARP)
			m = fmaxf(m, from[i].x);
		m = warp_max(m);
		for (int i = lane; i < p.n_splits; i += WARP) {
			const float2 split = from[i];
			if (split.y != 0.0f)
				l += split.y * expf(split.x - m);
		}
		l = warp_sum(l);
		if (lane == 0)
			totals[r] = make_float2(m, 1.0f / l);
	}
}

/* Grid: (tiles of candidates, KV heads). */
extern "C" __global__ void __launch_bounds__(SNAPKV_THREADS, 2)
	k_snapkv_vote(const __grid_constant__ struct snapkv_vote_params p)
{
	__shared__ __align__(16) struct slices slices;
	__shared__ float2 totals[TILE_ROWS];
	__shared__ float sums[16][TILE_KEYS]; /* of each key, over the rows of a row of threads; a thread's own */
	const struct kv &kv = p.kv;
	const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
	const int n_rows = p.window * (p.n_heads / kv.n_kv_heads), candidates = p.n_keys - p.window;
	const int kv_head = blockIdx.y, first = (int)blockIdx.x * TILE_KEYS;
	const int load_key = first + (int)threadIdx.x % TILE_KEYS;
	const void *const key = load_key < candidates ? key_row(kv, kv_head, load_key) : nullptr;

	let_next_start();
	wait_for_earlier();
#pragma unroll
	for (int j = 0; j < EACH; j++)
		sums[ty][place(tx, j)] = 0.0f;
	for (int row0 = 0; row0 < n_rows; row0 += TILE_ROWS) {
		const int load_row = row0 + (int)threadIdx.x % TILE_ROWS;
		float s[EACH][EACH];
		multiply(slices, load_row < n_rows ? query_row(p.q, kv, p.n_heads, kv_head, load_row) : nullptr,
			 p.scale, key, kv.type, kv.head_dim, s);
		combine(p, kv_head, row0, n_rows, totals);
		__syncthreads();
		float votes[EACH];
#pragma unroll
		for (int j = 0; j < EACH; j++)
			votes[j] = sums[ty][place(tx, j)];
#pragma unroll
		for (int i = 0; i < EACH; i++) {
			const float2 total = totals[place(ty, i)];
#pragma unroll
			for (int j = 0; j < EACH; j++)
				votes[j] += expf(s[i][j] - total.x) * total.y;
		}
#pragma unroll
		for (int j = 0; j < EACH; j++)
			sums[ty][place(tx, j)] = votes[j];
		__syncthreads(); /* totals are written again */
	}

	if (threadIdx.x < TILE_KEYS && load_key < candidates) {
		float *const out = p.scores + (long long)kv_head * candidates + load_key;
		float sum = p.add ? *out : 0.0f;
#pragma unroll
		for (int t = 0; t < 16; t++)
			sum += sums[t][threadIdx.x];
		*out = sum;
	}
}

/* ---- selection ---- */

enum {
	SELECT_THREADS = SNAPKV_SELECT_THREADS,
	SELECT_WARPS = SELECT_THREADS / WARP,
	DIGITS = 2048, /* of 11, 11 and 9 bits: a score's sign is 0 */
	RUN = 4,       /* consecutive candidates that a thread places at a time */
};
static_assert(DIGITS == 2 * SELECT_THREADS && (int)SELECT_WARPS == (int)WARP,
	      "two digits a thread, a partial sum a lane");

/* Sum of v over the threads before this one; *total over all. scratch (WARP): free again after the next barrier. */
INLINE unsigned sum_before(unsigned v, unsigned *scratch, unsigned *total)
{
	const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
	unsigned up_to = v;
#pragma unroll
	for (int d = 1; d < WARP; d *= 2) {
		const unsigned below = __shfl_up_sync(ALL_LANES, up_to, d);
		up_to += lane >= d ? below : 0;
	}
	if (lane == WARP - 1)
		scratch[warp] = up_to;
	__syncthreads();
	unsigned warps = scratch[lane];
	const unsigned own = warps;
#pragma unroll
	for (int d = 1; d < WARP; d *= 2) {
		const unsigned below = __shfl_up_sync(ALL_LANES, warps, d);
		warps += lane >= d ? below : 0;
	}
	*total = __shfl_sync(ALL_LANES, warps, WARP - 1);
	return __shfl_sync(ALL_LANES, warps - own, warp) + up_to - v;
}

/*
 * The k-th greatest of n orders, 1 <= k <= n; *ties: how many of those equal to it are among the k. Radix
 * select: a digit at a time, from the most significant.
 */
INLINE unsigned kth(const unsigned *x, int n, unsigned k, unsigned *counts, unsigned *scratch, unsigned *found,
		    unsigned *ties)
{
	unsigned prefix = 0, mask = 0;
	const int high = DIGITS - 1 - 2 * (int)threadIdx.x; /* of this thread's digits; threads before it have higher */
#pragma unroll 1
	for (int shift = 20; shift >= 0; shift -= shift > 9 ? 11 : 9) {
		const unsigned digits = shift ? DIGITS - 1 : 511;
		counts[2 * threadIdx.x] = counts[2 * threadIdx.x + 1] = 0;
		__syncthreads();
#pragma unroll 4
		for (int i = threadIdx.x; i < n; i += SELECT_THREADS) {
			const unsigned order = x[i];
			if ((order & mask) == prefix)
				atomicAdd(&counts[order >> shift & digits], 1u);
		}
		__syncthreads();
		const unsigned a = counts[high], b = counts[high - 1];
		unsigned all, before = sum_before(a + b, scratch, &all);
		if (before < k && k <= before + a + b) { /* in one thread */
			const bool lower = k > before + a;
			found[0] = (unsigned)(high - lower);
			found[1] = k - before - (lower ? a : 0);
		}
		__syncthreads();
		prefix |= found[0] << shift;
		mask |= digits << shift;
		k = found[1];
	}
	*ties = k;
	return prefix;
}

/* A CTA per KV head. */
KERNEL(SNAPKV_SELECT_THREADS) k_snapkv_select(const __grid_constant__ struct snapkv_select_params p)
{
	__shared__ unsigned counts[DIGITS], scratch[2][WARP], found[2];
	const int n = p.n_keys - p.window, wanted = p.budget - p.window, reach = p.pool / 2;
	const unsigned *const scores = (const unsigned *)p.scores + (long long)blockIdx.x * n;
	unsigned *const pooled = (unsigned *)p.pooled + (long long)blockIdx.x * n;
	int *const kept = p.kept + (long long)blockIdx.x * p.budget;

	let_next_start();
	wait_for_earlier();
	/* Scores are not negative: their bits have their order. */
	for (int j = threadIdx.x; j < n; j += SELECT_THREADS) {
		const int last = min(n - 1, j + reach);
		unsigned most = 0;
#pragma unroll 4
		for (int i = max(0, j - reach); i <= last; i++)
			most = max(most, scores[i]);
		pooled[j] = most;
	}
	for (int w = threadIdx.x; w < p.window; w += SELECT_THREADS)
		kept[wanted + w] = n + w;
	if (!wanted)
		return;
	__syncthreads();

	unsigned ties;
	const unsigned least = kth(pooled, n, (unsigned)wanted, counts, scratch[0], found, &ties);
	unsigned greater = 0, equal = 0; /* before the candidates at hand */
	int turn = 0;                    /* two scratches: one barrier a turn */
#pragma unroll 1
	for (int base = 0; base < n; base += SELECT_THREADS * RUN, turn ^= 1) {
		const int j0 = base + (int)threadIdx.x * RUN;
		unsigned x[RUN], mine = 0, all; /* counts of equal ones above, greater ones below: 4096 at most */
#pragma unroll
		for (int i = 0; i < RUN; i++) {
			x[i] = j0 + i < n ? pooled[j0 + i] : 0;
			mine += j0 + i < n ? (x[i] > least) + ((unsigned)(x[i] == least) << 16) : 0;
		}
		const unsigned before = sum_before(mine, scratch[turn], &all);
		unsigned g = greater + (before & 0xffffu), e = equal + (before >> 16);
#pragma unroll
		for (int i = 0; i < RUN; i++) {
			if (j0 + i >= n)
				continue;
			if (x[i] > least || (x[i] == least && e < ties))
				kept[g + min(e, ties)] = j0 + i;
			g += x[i] > least;
			e += x[i] == least;
		}
		greater += all & 0xffffu;
		equal += all >> 16;
	}
}

/* ---- the move ---- */

/* Rows of whole 16 bytes. */
INLINE void copy_row(void *to, const void *from, long long to_row, long long from_row, int bytes)
{
	const uint4 *const a = (const uint4 *)((const char *)from + from_row * bytes);
	uint4 *const b = (uint4 *)((char *)to + to_row * bytes);
#pragma unroll 2
	for (int i = threadIdx.x % WARP; i < bytes / 16; i += WARP)
		b[i] = a[i];
}

/* Grid: (entries, KV heads); a warp an entry. */
KERNEL(SNAPKV_THREADS) k_snapkv_compact(const __grid_constant__ struct snapkv_compact_params p)
{
	const int s = (int)(blockIdx.x * (SNAPKV_THREADS / WARP) + threadIdx.x / WARP), head = blockIdx.y;

	let_next_start();
	wait_for_earlier();
	if (s >= p.n_kept)
		return;
	const long long from = (long long)head * p.from.capacity + p.kept[(long long)head * p.n_kept + s];
	const long long to = (long long)head * p.to.capacity + s;
	copy_row(p.to.k, p.from.k, to, from, cache_row_bytes(p.from.type, p.from.head_dim));
	copy_row(p.to.v, p.from.v, to, from, cache_row_bytes(p.from.v_type, p.from.head_dim));
}
