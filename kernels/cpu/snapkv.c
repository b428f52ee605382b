/*
 * SnapKV's kernels: how much the observation window attends each key, which keys win,
 * and the move of the winners.
 *
 * Scores are products of tiles of queries and keys expanded to float32, as attention has them. They
 * are computed twice: once for the maximum and sum of each row's softmax, once for the probabilities,
 * so that nothing of the size rows times keys is stored.
 */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels/cpu/cache_rows.h"

enum {
	TILE_KEYS = 64,
	TILE_ROWS = 64,       /* query rows of a product; its scores stay in the first-level cache */
	COMPACT_ENTRIES = 64, /* that a thread moves at a time */
};

/* Shapes of a vote, and memory cut from one block of scratch. */
struct vote {
	const struct kv *kv;
	int n_heads;
	int group;
	int n_rows;     /* of a KV head */
	int window;     /* tokens */
	int n_keys;     /* up to the window's end */
	size_t width;   /* head_dim, padded */
	size_t stride;  /* floats between rows of queries and keys */
	float *queries; /* (n_kv_heads, n_rows, width), times the scale */
	float *totals;  /* (n_kv_heads, n_rows, 2): m and 1 / l over all splits */
	float *own;     /* threads times own_floats: what a thread works in */
	size_t own_floats;
};

/* A thread's: a tile of keys, a tile of scores, a row of sums. */
static float *thread_keys(const struct vote *v, int thread)
{
	return v->own + v->own_floats * (size_t)thread;
}

static void vote_init(struct vote *v, const struct kv *kv, const float *q, int n_heads, int window, int n_keys,
		      float scale, int threads)
{
	const struct cpu_inner *inner = cpu_inner();
	const size_t hd = (size_t)kv->head_dim;

	assert(kv->ring == 0 && window > 0 && window <= n_keys && n_keys <= kv->capacity);
	*v = (struct vote){
		.kv = kv,
		.n_heads = n_heads,
		.group = n_heads / kv->n_kv_heads,
		.n_rows = window * (n_heads / kv->n_kv_heads),
		.window = window,
		.n_keys = n_keys,
		.width = cpu_pad(hd),
		.stride = cpu_stride(hd),
		.own_floats = TILE_KEYS * cpu_stride(hd) + TILE_ROWS * TILE_KEYS + TILE_KEYS,
	};
	const size_t rows = (size_t)kv->n_kv_heads * (size_t)v->n_rows;
	v->queries =
		cpu_scratch((rows * v->stride + cpu_pad(2 * rows) + v->own_floats * (size_t)threads) * sizeof(float));
	v->totals = v->queries + rows * v->stride;
	v->own = v->totals + cpu_pad(2 * rows);
	for (int h = 0; h < kv->n_kv_heads; h++)
		for (int r = 0; r < v->n_rows; r++) {
			const size_t head = (size_t)(h * v->group + r % v->group);
			const size_t from = ((size_t)(r / v->group) * (size_t)n_heads + head) * hd;
			float *to = v->queries + ((size_t)h * (size_t)v->n_rows + (size_t)r) * v->stride;

			inner->scale(q + from, NULL, scale, to, kv->head_dim);
			memset(to + hd, 0, (v->width - hd) * sizeof(float));
		}
}

/* Slots first .. first + n of a KV head as float32 rows, zeros behind head_dim. */
static void load_keys(const struct cpu_inner *inner, const struct vote *v, int kv_head, int first, int n, float *keys)
{
	const struct kv *kv = v->kv;
	const size_t hd = (size_t)kv->head_dim;
	const char *from = cache_row(kv->k, kv->type, kv, (size_t)kv_head, (size_t)first);
	const size_t bytes = (size_t)cache_row_bytes(kv->type, kv->head_dim);

	for (int i = 0; i < n; i++) {
		float *to = keys + (size_t)i * v->stride;

		cache_load(inner, from + (size_t)i * bytes, kv->type, to, hd);
		memset(to + hd, 0, (v->width - hd) * sizeof(float));
	}
}

/* scores (n_rows, TILE_KEYS) of rows row .. row + n_rows of a KV head with n_keys loaded keys. */
static void multiply(const struct cpu_inner *inner, const struct vote *v, int kv_head, int row, int n_rows,
		     const float *keys, int n_keys, float *scores)
{
	const float *q = v->queries + ((size_t)kv_head * (size_t)v->n_rows + (size_t)row) * v->stride;

	inner->gemm(q, v->stride, n_rows, keys, v->stride, n_keys, (int)v->width, scores, TILE_KEYS);
}

static int smaller(int a, int b)
{
	return a < b ? a : b;
}

/* One split of one KV head: all its rows. */
static void softmax_split(const struct cpu_inner *inner, const struct snapkv_softmax_params *p, const struct vote *v,
			  int kv_head, int split, int thread)
{
	float *keys = thread_keys(v, thread), *scores = keys + TILE_KEYS * v->stride;
	float *stats = p->stats + ((size_t)kv_head * (size_t)v->n_rows * (size_t)p->n_splits + (size_t)split) * 2;
	const size_t step = (size_t)p->n_splits * 2; /* from one row's to the next's */
	const int begin = split * p->split_len;
	const int end = smaller(begin + p->split_len, v->n_keys);

	for (int r = 0; r < v->n_rows; r++) {
		stats[(size_t)r * step] = -INFINITY;
		stats[(size_t)r * step + 1] = 0.0f;
	}
	for (int first = begin; first < end; first += TILE_KEYS) {
		const int n = smaller(TILE_KEYS, end - first);

		load_keys(inner, v, kv_head, first, n, keys);
		for (int row = 0; row < v->n_rows; row += TILE_ROWS) {
			const int n_rows = smaller(TILE_ROWS, v->n_rows - row);

			multiply(inner, v, kv_head, row, n_rows, keys, n, scores);
			for (int r = row; r < row + n_rows; r++) {
				const int attended = v->n_keys - v->window + r / v->group + 1 - first;
				float *s = scores + (size_t)(r - row) * TILE_KEYS;
				float *stat = stats + (size_t)r * step;

				if (attended <= 0)
					continue;
				const int seen = smaller(n, attended);
				const float m = inner->max(s, seen);
				if (m > stat[0]) {
					stat[1] = stat[1] != 0.0f ? stat[1] * expf(stat[0] - m) : 0.0f;
					stat[0] = m;
				}
				stat[1] += inner->exp_sum(s, seen, stat[0]);
			}
		}
	}
}

struct softmax_loop {
	const struct snapkv_softmax_params *p;
	struct vote v;
};

static void softmax_part(void *ctx, int begin, int end, int thread)
{
	const struct softmax_loop *l = ctx;
	const int heads = l->p->kv.n_kv_heads;

	for (int task = begin; task < end; task++)
		softmax_split(cpu_inner(), l->p, &l->v, task % heads, task / heads, thread);
}

void k_snapkv_softmax(const struct snapkv_softmax_params *p)
{
	const int tasks = p->kv.n_kv_heads * p->n_splits;
	struct softmax_loop l = {.p = p};

	vote_init(&l.v, &p->kv, p->q, p->n_heads, p->window, p->n_keys, p->scale, tasks > 1 ? cpu_threads() : 1);
	cpu_parallel(tasks, 1, softmax_part, &l);
}

/* m and 1 / l of every row over all splits. */
static void combine(const struct vote *v, const float *stats, int n_splits)
{
	for (int r = 0; r < v->kv->n_kv_heads * v->n_rows; r++) {
		const float *s = stats + (size_t)r * (size_t)n_splits * 2;
		float m = -INFINITY, l = 0.0f;

		for (int i = 0; i < n_splits; i++)
			if (s[2 * i + 1] != 0.0f && s[2 * i] > m)
				m = s[2 * i];
		for (int i = 0; i < n_splits; i++)
			if (s[2 * i + 1] != 0.0f)
				l += s[2 * i + 1] * expf(s[2 * i] - m);
		v->totals[2 * r] = m;
		v->totals[2 * r + 1] = 1.0f / l;
	}
}

/* Candidates first .. first + n of one KV head. */
static void vote_tile(const struct cpu_inner *inner, const struct snapkv_vote_params *p, const struct vote *v,
		      int kv_head, int first, int n, int thread)
{
	float *keys = thread_keys(v, thread), *scores = keys + TILE_KEYS * v->stride,
	      *sums = scores + TILE_ROWS * TILE_KEYS;
	float *out = p->scores + (size_t)kv_head * (size_t)(p->n_keys - p->window) + (size_t)first;

	load_keys(inner, v, kv_head, first, n, keys);
	memset(sums, 0, (size_t)n * sizeof(float));
	for (int row = 0; row < v->n_rows; row += TILE_ROWS) {
		const int n_rows = smaller(TILE_ROWS, v->n_rows - row);

		multiply(inner, v, kv_head, row, n_rows, keys, n, scores);
		for (int r = 0; r < n_rows; r++) {
			const float *total = v->totals + 2 * ((size_t)kv_head * (size_t)v->n_rows + (size_t)(row + r));
			float *s = scores + (size_t)r * TILE_KEYS;

			inner->exp_sum(s, n, total[0]);
			for (int j = 0; j < n; j++)
				sums[j] += s[j] * total[1];
		}
	}
	for (int j = 0; j < n; j++)
		out[j] = p->add ? out[j] + sums[j] : sums[j];
}

struct vote_loop {
	const struct snapkv_vote_params *p;
	struct vote v;
};

static void vote_part(void *ctx, int begin, int end, int thread)
{
	const struct vote_loop *l = ctx;
	const int heads = l->p->kv.n_kv_heads, candidates = l->p->n_keys - l->p->window;

	for (int task = begin; task < end; task++) {
		const int first = task / heads * TILE_KEYS;

		vote_tile(cpu_inner(), l->p, &l->v, task % heads, first, smaller(TILE_KEYS, candidates - first),
			  thread);
	}
}

void k_snapkv_vote(const struct snapkv_vote_params *p)
{
	const int tiles = (p->n_keys - p->window + TILE_KEYS - 1) / TILE_KEYS;
	const int tasks = p->kv.n_kv_heads * tiles;
	struct vote_loop l = {.p = p};

	vote_init(&l.v, &p->kv, p->q, p->n_heads, p->window, p->n_keys, p->scale, tasks > 1 ? cpu_threads() : 1);
	combine(&l.v, p->stats, p->n_splits);
	cpu_parallel(tasks, 1, vote_part, &l);
}

/* Floats that are not negative are ordered as their bits are. */
static uint32_t order(float x)
{
	uint32_t u;

	memcpy(&u, &x, sizeof(u));
	return u;
}

/*
 * The k-th greatest of n orders, k >= 1, a byte at a time; *ties: how many of those equal to it are among the k.
 */
static uint32_t kth(const float *x, int n, int k, int *ties)
{
	uint32_t found = 0, mask = 0;

	for (int shift = 24; shift >= 0; shift -= 8) {
		int counts[256] = {0};
		int digit = 255;

		for (int i = 0; i < n; i++)
			if ((order(x[i]) & mask) == found)
				counts[order(x[i]) >> shift & 255]++;
		while (counts[digit] < k)
			k -= counts[digit--];
		found |= (uint32_t)digit << shift;
		mask |= 255u << shift;
	}
	*ties = k;
	return found;
}

static void select_head(const struct snapkv_select_params *p, int h)
{
	const int n = p->n_keys - p->window, wanted = p->budget - p->window, reach = p->pool / 2;
	const float *scores = p->scores + (size_t)h * (size_t)n;
	float *pooled = p->pooled + (size_t)h * (size_t)n;
	int *kept = p->kept + (size_t)h * (size_t)p->budget;
	int ties = 0;

	for (int j = 0; j < n; j++) {
		const int end = smaller(n, j + reach + 1);
		float most = 0.0f;

		for (int i = j > reach ? j - reach : 0; i < end; i++)
			most = order(scores[i]) > order(most) ? scores[i] : most;
		pooled[j] = most;
	}
	if (wanted > 0) {
		const uint32_t least = kth(pooled, n, wanted, &ties);

		for (int j = 0; j < n; j++)
			if (order(pooled[j]) > least || (order(pooled[j]) == least && ties-- > 0))
				*kept++ = j;
	}
	for (int w = 0; w < p->window; w++)
		*kept++ = n + w;
	assert(kept == p->kept + (size_t)(h + 1) * (size_t)p->budget);
}

static void select_part(void *ctx, int begin, int end, int thread)
{
	(void)thread;
	for (int h = begin; h < end; h++)
		select_head(ctx, h);
}

void k_snapkv_select(const struct snapkv_select_params *p)
{
	assert(p->window <= p->budget && p->budget < p->n_keys && p->pool % 2 == 1);
	cpu_parallel(p->n_kv_heads, 1, select_part, (void *)p);
}

/* Entries of all heads, one head's behind the other's. */
static void compact_part(void *ctx, int begin, int end, int thread)
{
	const struct snapkv_compact_params *p = ctx;
	const struct kv *from = &p->from, *to = &p->to;
	const size_t k_bytes = (size_t)cache_row_bytes(from->type, from->head_dim);
	const size_t v_bytes = (size_t)cache_row_bytes(from->v_type, from->head_dim);

	(void)thread;
	for (int i = begin; i < end; i++) {
		const size_t h = (size_t)(i / p->n_kept), s = (size_t)(i % p->n_kept), old = (size_t)p->kept[i];

		memcpy(cache_row(to->k, to->type, to, h, s), cache_row(from->k, from->type, from, h, old), k_bytes);
		memcpy(cache_row(to->v, to->v_type, to, h, s), cache_row(from->v, from->v_type, from, h, old), v_bytes);
	}
}

void k_snapkv_compact(const struct snapkv_compact_params *p)
{
	assert(p->from.ring == 0 && p->to.ring == 0);
	assert(p->from.type == p->to.type && p->from.v_type == p->to.v_type && p->n_kept <= p->to.capacity);
	cpu_parallel(p->from.n_kv_heads * p->n_kept, COMPACT_ENTRIES, compact_part, (void *)p);
}
