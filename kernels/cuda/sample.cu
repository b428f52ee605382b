/*
 * The choice of the next token, in one launch: the composition that kernels/cpu/sample.c is, with the same integers.
 *
 * A CTA has a slice of the logits, and reads it again for each step; what a step finds it adds to counts in global
 * memory, and a barrier of all CTAs is behind it. Then each looks for the cut in the counts of all. The atomics add
 * whole numbers: their order does not matter. The CTA that is last in the last step draws the token, and
 * leaves the counts as zeros for the next launch.
 */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/sample_geometry.h"
#include "kernels/sampling.h"

enum {
	THREADS = SAMPLE_THREADS,
	WARPS = THREADS / WARP,
	EACH = SAMPLE_EACH,
	CHUNK = SAMPLE_CHUNK,
	LOW_BITS = 20, /* of a weight's lower part: sums of either part over a chunk have 32 bits */
	DIGITS_EACH = SAMPLING_DIGITS / THREADS,
	CUTS = 2,
};
static_assert((1ll << (SAMPLING_BITS - LOW_BITS)) * CHUNK < 1ll << 32 && (1ll << LOW_BITS) * CHUNK <= 1ll << 32,
	      "sums of parts of weights");
static_assert(SAMPLING_DIGITS % THREADS == 0 && (int)SAMPLE_CTAS <= (int)THREADS && WARPS <= (int)WARP,
	      "the mappings below");

typedef unsigned long long u64;

/* Zeros between launches, but for what a launch writes before it reads it, and the generation. */
struct sample_state {
	u64 counts[CUTS * SAMPLING_LEVELS][SAMPLING_DIGITS];
	u64 best[SAMPLE_CTAS];  /* of each CTA's slice: an order, and behind it the complement of the id */
	u64 above[SAMPLE_CTAS]; /* weight of what is in, but for ties with the cut */
	unsigned ties[SAMPLE_CTAS];
	unsigned nan[SAMPLE_CTAS];
	unsigned arrived, generation; /* of the barrier */
	unsigned finished;
};
static __device__ struct sample_state state;

struct sample_shared {
	unsigned low[SAMPLING_DIGITS], high[SAMPLING_DIGITS]; /* of a chunk's counts */
	u64 sums[WARPS];
	u64 before; /* what one thread found for all */
	unsigned found, ties;
	bool last;
};

/* What does not change from step to step. */
struct sample_row {
	const float *logits;
	int begin, end; /* of the CTA's slice */
	float greatest;
	struct sampling settings;
};

INLINE u64 weight_of(const struct sample_row &r, float x)
{
	return sampling_weight(x, r.greatest, r.settings.rate);
}

/* What a token that is in weighs in the draw. */
INLINE u64 drawn_weight(const struct sample_row &r, float x)
{
	const u64 w = weight_of(r, x);
	return w < r.settings.min_p ? 0 : w;
}

/* ---- over the CTA ---- */

/* Sum over the threads before this one; *total over all. Begins and ends with nobody using the sums. */
INLINE u64 sum_before(struct sample_shared &s, u64 v, u64 *total)
{
	const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
	u64 up_to = v;
#pragma unroll
	for (int d = 1; d < WARP; d *= 2) {
		const u64 below = __shfl_up_sync(ALL_LANES, up_to, d);
		up_to += lane >= d ? below : 0;
	}
	if (lane == WARP - 1)
		s.sums[warp] = up_to;
	__syncthreads();
	u64 before = 0, all = 0;
#pragma unroll
	for (int w = 0; w < WARPS; w++) {
		before += w < warp ? s.sums[w] : 0;
		all += s.sums[w];
	}
	__syncthreads();
	*total = all;
	return before + up_to - v;
}

INLINE u64 block_max(struct sample_shared &s, u64 v)
{
#pragma unroll
	for (int d = WARP / 2; d; d /= 2) {
		const u64 other = __shfl_xor_sync(ALL_LANES, v, d);
		v = v > other ? v : other;
	}
	if (threadIdx.x % WARP == 0)
		s.sums[threadIdx.x / WARP] = v;
	__syncthreads();
	u64 most = 0;
#pragma unroll
	for (int w = 0; w < WARPS; w++)
		most = most > s.sums[w] ? most : s.sums[w];
	__syncthreads();
	return most;
}

/* ---- over the grid ---- */

/* Behind it is seen what any CTA wrote in front of it. */
INLINE void grid_barrier()
{
	__syncthreads();
	if (threadIdx.x == 0) {
		const unsigned now = load_acquire(&state.generation);
		if (arrive(&state.arrived) == gridDim.x - 1) {
			state.arrived = 0;
			store_release(&state.generation, now + 1);
		} else {
			while (load_acquire(&state.generation) == now)
				;
		}
	}
	__syncthreads();
}

/* Whether this CTA is the last one to come here, which then sees what the others wrote. */
INLINE bool is_last(struct sample_shared &s)
{
	__syncthreads();
	if (threadIdx.x == 0) {
		s.last = arrive(&state.finished) == gridDim.x - 1;
		if (s.last)
			state.finished = 0;
	}
	__syncthreads();
	return s.last;
}

/* ---- the steps ---- */

/* The first of the slice's ranking. */
INLINE void find_best(struct sample_shared &s, const struct sample_row &r)
{
	u64 best = 0;
	bool nan = false;
	for (int base = r.begin; base < r.end; base += CHUNK)
#pragma unroll
		for (int j = 0; j < EACH; j++) {
			const int i = base + j * THREADS + (int)threadIdx.x;
			if (i < r.end) {
				const float x = r.logits[i];
				const u64 v = (u64)sampling_order(x) << 32 | ~(unsigned)i;
				best = best > v ? best : v;
				nan |= x != x;
			}
		}
	best = block_max(s, best);
	nan = __syncthreads_or(nan);
	if (threadIdx.x == 0) {
		state.best[blockIdx.x] = best;
		state.nan[blockIdx.x] = nan;
	}
}

/* The same of all slices; *wrong: see struct sampled. */
INLINE int best_of_all(struct sample_shared &s, float *greatest, bool *wrong)
{
	const bool has = threadIdx.x < gridDim.x;
	const u64 best = block_max(s, has ? __ldcg(&state.best[threadIdx.x]) : 0);
	*greatest = sampling_logit((unsigned)(best >> 32));
	*wrong = __syncthreads_or(has && __ldcg(&state.nan[threadIdx.x])) || !sampling_can_draw(*greatest);
	return (int)~(unsigned)best;
}

/*
 * Adds what of the slice is above `cut` and begins as `prefix` does to the counts of its next digit. BY_WEIGHT: its
 * weight, else 1.
 */
template <bool BY_WEIGHT>
INLINE void count(struct sample_shared &s, const struct sample_row &r, int level, unsigned prefix, unsigned mask,
		  struct sampling_cut cut)
{
	u64 *const to = state.counts[(BY_WEIGHT ? SAMPLING_LEVELS : 0) + level];
	const unsigned digit = sampling_mask(level);
	const int shift = sampling_shift(level);
#pragma unroll 1
	for (int base = r.begin; base < r.end; base += CHUNK) {
#pragma unroll
		for (int j = 0; j < DIGITS_EACH; j++)
			s.low[j * THREADS + threadIdx.x] = s.high[j * THREADS + threadIdx.x] = 0;
		__syncthreads();
#pragma unroll
		for (int j = 0; j < EACH; j++) {
			const int i = base + j * THREADS + (int)threadIdx.x;
			const float x = i < r.end ? r.logits[i] : 0.0f;
			const unsigned order = sampling_order(x), at = (order & digit) >> shift;
			if (i >= r.end || (order & mask) != prefix || order <= cut.order)
				continue;
			if (!BY_WEIGHT) {
				atomicAdd(&s.low[at], 1u);
				continue;
			}
			const u64 w = weight_of(r, x);
			if (w) {
				atomicAdd(&s.low[at], (unsigned)w & ((1u << LOW_BITS) - 1));
				atomicAdd(&s.high[at], (unsigned)(w >> LOW_BITS));
			}
		}
		__syncthreads();
#pragma unroll
		for (int j = 0; j < DIGITS_EACH; j++) {
			const int at = j * THREADS + (int)threadIdx.x;
			const u64 v = s.low[at] + ((u64)s.high[at] << LOW_BITS);
			if (v)
				atomicAdd(&to[at], v);
		}
		__syncthreads();
	}
	/* Those at an earlier cut, once. */
	if (BY_WEIGHT && cut.ties && (cut.order & mask) == prefix && blockIdx.x == 0 && threadIdx.x == 0)
		atomicAdd(&to[(cut.order & digit) >> shift], cut.ties * weight_of(r, sampling_logit(cut.order)));
}

/*
 * Where `wanted` tokens of the ranking are in; BY_WEIGHT: their share of what `cut` left. Without: the first digits
 * are counted, and a barrier was behind that.
 */
template <bool BY_WEIGHT>
INLINE struct sampling_cut cut_off(struct sample_shared &s, const struct sample_row &r, u64 wanted,
				   struct sampling_cut cut)
{
	const int high =
		SAMPLING_DIGITS - 1 - DIGITS_EACH * (int)threadIdx.x; /* threads before this have higher ones */
	unsigned prefix = 0, mask = 0;
#pragma unroll 1
	for (int level = 0; level < SAMPLING_LEVELS; level++) {
		if (BY_WEIGHT || level) {
			count<BY_WEIGHT>(s, r, level, prefix, mask, cut);
			grid_barrier();
		}
		const u64 *const from = state.counts[(BY_WEIGHT ? SAMPLING_LEVELS : 0) + level];
		u64 v[DIGITS_EACH], mine = 0, total;
#pragma unroll
		for (int j = 0; j < DIGITS_EACH; j++)
			mine += v[j] = __ldcg(&from[high - j]);
		u64 before = sum_before(s, mine, &total);
		if (BY_WEIGHT && level == 0)
			wanted = sampling_share(total, r.settings.top_p);
		if (before < wanted && wanted <= before + mine) { /* in one thread */
			unsigned found = (unsigned)high;
#pragma unroll
			for (int j = 0; j < DIGITS_EACH - 1; j++)
				if (wanted > before + v[j] && found == (unsigned)(high - j)) {
					before += v[j];
					found--;
				}
			s.found = found;
			s.before = before;
		}
		__syncthreads();
		prefix |= s.found << sampling_shift(level);
		mask |= sampling_mask(level);
		wanted -= s.before; /* it is written again behind other barriers */
	}
	if (BY_WEIGHT) {
		const u64 each = weight_of(r, sampling_logit(prefix));
		wanted = (wanted + each - 1) / each;
	}
	struct sampling_cut found;
	found.order = prefix;
	found.ties = (unsigned)wanted;
	return found;
}

/* What of the slice is left. */
INLINE void find_left(struct sample_shared &s, const struct sample_row &r, struct sampling_cut cut)
{
	u64 above = 0, all;
	int ties = 0;
#pragma unroll 1
	for (int base = r.begin; base < r.end; base += CHUNK)
#pragma unroll
		for (int j = 0; j < EACH; j++) {
			const int i = base + j * THREADS + (int)threadIdx.x;
			if (i < r.end) {
				const float x = r.logits[i];
				const unsigned order = sampling_order(x);
				above += order > cut.order ? drawn_weight(r, x) : 0;
				ties += order == cut.order;
			}
		}
	sum_before(s, above, &all);
	if (threadIdx.x == 0)
		state.above[blockIdx.x] = all;
	sum_before(s, (u64)ties, &all);
	if (threadIdx.x == 0)
		state.ties[blockIdx.x] = (unsigned)all;
}

/* Of `wanted` ties, `before` of which are taken, so many of the next n. */
INLINE unsigned taken_of(unsigned wanted, u64 before, unsigned n)
{
	const unsigned rest = before < wanted ? wanted - (unsigned)before : 0;
	return n < rest ? n : rest;
}

/* By one CTA, behind find_left of all. */
INLINE int draw(struct sample_shared &s, const struct sample_row &r, int n, int pos, struct sampling_cut cut)
{
	const u64 tie = cut.order ? drawn_weight(r, sampling_logit(cut.order)) : 0;
	const bool has = threadIdx.x < gridDim.x;
	u64 total;
	{ /* in which slice */
		const unsigned ties = has ? __ldcg(&state.ties[threadIdx.x]) : 0;
		const u64 earlier = sum_before(s, ties, &total);
		const u64 mine =
			(has ? __ldcg(&state.above[threadIdx.x]) : 0) + tie * taken_of(cut.ties, earlier, ties);
		const u64 before = sum_before(s, mine, &total);
		const u64 point = sampling_point(r.settings.seed, pos, total);
		if (before <= point && point - before < mine) { /* in one thread */
			s.found = threadIdx.x;
			s.before = point - before;
			s.ties = earlier < cut.ties ? cut.ties - (unsigned)earlier : 0;
		}
		__syncthreads();
	}
	u64 point = s.before;
	unsigned wanted = s.ties;
	const int slice = sample_slice(n, (int)gridDim.x);
#pragma unroll 1
	for (int base = (int)s.found * slice;; base += CHUNK) { /* in which chunk */
		const int first = base + (int)threadIdx.x * EACH;
		unsigned ties = 0;
		float x[EACH];
#pragma unroll
		for (int j = 0; j < EACH; j++) {
			x[j] = first + j < n ? r.logits[first + j] : NEGATIVE_INFINITY;
			ties += first + j < n && sampling_order(x[j]) == cut.order;
		}
		u64 all_ties;
		const u64 earlier = sum_before(s, ties, &all_ties);
		unsigned rest = taken_of(wanted, earlier, ties);
		u64 w[EACH], mine = 0;
#pragma unroll
		for (int j = 0; j < EACH; j++) {
			const unsigned order = sampling_order(x[j]);
			w[j] = order > cut.order ? drawn_weight(r, x[j]) : 0;
			if (order == cut.order && rest) {
				w[j] = tie;
				rest--;
			}
			mine += w[j];
		}
		u64 before = sum_before(s, mine, &total);
		if (point < total) {
			if (before <= point && point - before < mine) { /* in one thread */
				int j = 0;
#pragma unroll
				for (int k = 0; k < EACH - 1; k++)
					if (j == k && point - before >= w[k]) {
						before += w[k];
						j++;
					}
				s.found = (unsigned)(first + j);
			}
			__syncthreads();
			return (int)s.found;
		}
		point -= total;
		wanted -= taken_of(wanted, 0, (unsigned)all_ties);
	}
}

INLINE void clear_counts()
{
	ulonglong2 *const counts = (ulonglong2 *)state.counts;
	for (int i = threadIdx.x; i < (int)(sizeof state.counts / sizeof *counts); i += THREADS)
		counts[i] = make_ulonglong2(0, 0);
}

extern "C" __global__ void __launch_bounds__(SAMPLE_THREADS, 1) k_sample(const __grid_constant__ struct sample_params p)
{
	__shared__ struct sample_shared s;
	struct sample_row r;

	let_next_start();
	wait_for_earlier();
	const int slice = sample_slice(p.n, (int)gridDim.x), pos = step_of(p.at).pos;
	r.settings = p.device ? *p.device : p.host;
	r.logits = p.logits;
	r.begin = (int)blockIdx.x * slice;
	r.end = min(p.n, r.begin + slice);
	const bool greedy = r.settings.rate == 0.0f;
	const bool top_k = !greedy && r.settings.top_k > 0 && r.settings.top_k < p.n;
	const bool top_p = !greedy && r.settings.top_p < SAMPLING_ALL;
	struct sampling_cut cut;
	cut.order = cut.ties = 0;

	find_best(s, r);
	if (top_k)
		count<false>(s, r, 0, 0, 0, cut);
	if (!greedy)
		grid_barrier();
	else if (!is_last(s))
		return;
	bool wrong;
	int token = best_of_all(s, &r.greatest, &wrong);
	if (!greedy && !wrong) {
		if (top_k)
			cut = cut_off<false>(s, r, (u64)r.settings.top_k, cut);
		if (top_p)
			cut = cut_off<true>(s, r, 0, cut);
		find_left(s, r, cut);
		if (!is_last(s))
			return;
		token = draw(s, r, p.n, pos, cut);
	} else if (!greedy && blockIdx.x) {
		return;
	}
	if (top_k || top_p)
		clear_counts();
	if (threadIdx.x == 0) {
		p.out->token = token;
		if (wrong)
			p.out->wrong = 1;
	}
}
