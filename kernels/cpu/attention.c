/*
 * Attention over the K/V cache, decode and prefill.
 *
 * Both are one routine: some query rows that share a KV head against a range of keys, in tiles of
 * TILE_KEYS keys with a running maximum and sum (online softmax). A tile of keys and one of
 * values are expanded to float32 once for all the rows. Decode's rows are the query heads of a KV
 * head, its range one split; prefill's are those heads for a block of tokens, its range
 * the keys that any of them attends. Keys are counted by logical index and found through the ring.
 */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels/cpu/cache_rows.h"

enum {
	TILE_KEYS = 64,
	BLOCK_ROWS = 64,             /* query rows that prefill aims at in a block */
	PARALLEL_PRODUCTS = 1 << 16, /* multiplications in decode that are worth sharing out */
	PARALLEL_SUMS = 1 << 15,     /* and additions */
};

/* The keys of a cache that a position sees, as indices: logical positions, or slots where nothing wraps. */
struct span {
	int first;
	int end;
};

/* An attending block: its rows, and scratch of one thread. */
struct block {
	const struct kv *kv;
	int kv_head;
	int n_rows;
	size_t width;       /* head_dim, padded */
	size_t stride;      /* floats between rows of q, keys, values and sums */
	float *q;           /* (n_rows, width), times the scale */
	float *scores;      /* (n_rows, TILE_KEYS) */
	float *keys;        /* (TILE_KEYS, width) */
	float *values;      /* (TILE_KEYS, width) */
	float *sums;        /* (n_rows, width): sum of p * v */
	float *m;           /* (n_rows): greatest score */
	float *l;           /* (n_rows): sum of p */
	struct span *spans; /* (n_rows): the keys that a row attends */
};

static size_t block_bytes(int n_rows, int head_dim)
{
	const size_t rows = (size_t)n_rows;
	const size_t stride = cpu_stride((size_t)head_dim);
	const size_t floats = rows * (2 * stride + TILE_KEYS) + 2 * TILE_KEYS * stride + 2 * cpu_pad(rows);

	return (floats * sizeof(float) + rows * sizeof(struct span) + 63) / 64 * 64;
}

static void block_init(struct block *b, void *memory, const struct kv *kv, int kv_head, int n_rows)
{
	const size_t rows = (size_t)n_rows;

	b->kv = kv;
	b->kv_head = kv_head;
	b->n_rows = n_rows;
	b->width = cpu_pad((size_t)kv->head_dim);
	b->stride = cpu_stride((size_t)kv->head_dim);
	b->q = memory;
	b->scores = b->q + rows * b->stride;
	b->keys = b->scores + rows * TILE_KEYS;
	b->values = b->keys + TILE_KEYS * b->stride;
	b->sums = b->values + TILE_KEYS * b->stride;
	b->m = b->sums + rows * b->stride;
	b->l = b->m + cpu_pad(rows);
	b->spans = (struct span *)(b->l + cpu_pad(rows));
}

static void block_set_row(const struct cpu_inner *inner, struct block *b, int row, const float *q, float scale,
			  struct span span)
{
	const size_t hd = (size_t)b->kv->head_dim;
	float *dst = b->q + (size_t)row * b->stride;

	inner->scale(q, NULL, scale, dst, b->kv->head_dim);
	memset(dst + hd, 0, (b->width - hd) * sizeof(float));
	memset(b->sums + (size_t)row * b->stride, 0, b->width * sizeof(float));
	b->m[row] = -INFINITY;
	b->l[row] = 0.0f;
	b->spans[row] = span;
}

/* Keys or values first .. first + n of a head as float32 rows `stride` apart, zeros behind head_dim. */
static void load_rows(const struct cpu_inner *inner, const struct block *b, void *cache, int type, int first, int n,
		      float *dst)
{
	const struct kv *kv = b->kv;
	const size_t hd = (size_t)kv->head_dim;
	const size_t bytes = (size_t)cache_row_bytes(type, kv->head_dim);

	while (n > 0) {
		const int slot = kv->ring > 0 ? first % kv->ring : first;
		const int run = kv->ring > 0 && n > kv->ring - slot ? kv->ring - slot : n;
		const char *src = cache_row(cache, type, kv, (size_t)b->kv_head, (size_t)slot);

		assert(slot >= 0 && slot + run <= kv->capacity);
		for (int i = 0; i < run; i++) {
			float *row = dst + (size_t)i * b->stride;

			cache_load(inner, src + (size_t)i * bytes, type, row, hd);
			memset(row + hd, 0, (b->width - hd) * sizeof(float));
		}
		dst += (size_t)run * b->stride;
		first += run;
		n -= run;
	}
}

/* Scores of one row in a tile to probabilities; keys outside the row's span get 0. */
static void softmax_row(const struct cpu_inner *inner, struct block *b, int row, int first, int n)
{
	float *s = b->scores + (size_t)row * TILE_KEYS;
	const int lo = b->spans[row].first > first ? b->spans[row].first - first : 0;
	const int hi = b->spans[row].end - first < n ? b->spans[row].end - first : n;
	float m;

	if (lo >= hi) {
		memset(s, 0, (size_t)n * sizeof(float));
		return;
	}
	m = inner->max(s + lo, hi - lo);
	if (m > b->m[row]) {
		if (b->l[row] != 0.0f) {
			const float shrink = expf(b->m[row] - m);
			float *sums = b->sums + (size_t)row * b->stride;

			inner->scale(sums, NULL, shrink, sums, (int)b->width);
			b->l[row] *= shrink;
		}
		b->m[row] = m;
	}
	b->l[row] += inner->exp_sum(s + lo, hi - lo, b->m[row]);
	memset(s, 0, (size_t)lo * sizeof(float));
	memset(s + hi, 0, (size_t)(n - hi) * sizeof(float));
}

static void block_attend(const struct cpu_inner *inner, struct block *b, struct span keys)
{
	const int width = (int)b->width;

	for (int first = keys.first; first < keys.end; first += TILE_KEYS) {
		const int n = keys.end - first < TILE_KEYS ? keys.end - first : TILE_KEYS;

		load_rows(inner, b, b->kv->k, b->kv->type, first, n, b->keys);
		inner->gemm(b->q, b->stride, b->n_rows, b->keys, b->stride, n, width, b->scores, TILE_KEYS);
		for (int r = 0; r < b->n_rows; r++)
			softmax_row(inner, b, r, first, n);
		load_rows(inner, b, b->kv->v, b->kv->v_type, first, n, b->values);
		inner->weighted_sum(b->scores, TILE_KEYS, b->n_rows, b->values, b->stride, n, width, b->sums,
				    b->stride);
	}
}

/* What the token at pos attends. */
static struct span attended(const struct kv *kv, int window, int pos, int evicted)
{
	/* Without a ring indices are slots: everything moves down by what was evicted. */
	const int shift = kv->ring > 0 && window > 0 ? 0 : evicted;
	struct span s = {.first = 0, .end = pos - shift + 1};

	if (window > 0 && s.end > window)
		s.first = s.end - window;
	return s;
}

struct split_loop {
	const struct attention_split_params *p;
	struct span all;
	int split_keys;
	int group;
	size_t each;   /* bytes of scratch of a thread */
	char *scratch; /* of all threads */
};

/* One split of one KV head. */
static void split_task(const struct split_loop *l, int task, int thread)
{
	const struct attention_split_params *p = l->p;
	const struct cpu_inner *inner = cpu_inner();
	const struct kv *kv = &p->kv;
	const int n_keys = l->all.end - l->all.first;
	const size_t hd = (size_t)kv->head_dim;
	const int kv_head = task % kv->n_kv_heads;
	const int split = task / kv->n_kv_heads;
	const size_t before = (size_t)split * (size_t)l->split_keys;
	struct span keys = l->all;
	struct block b;

	if (before < (size_t)n_keys) {
		keys.first = l->all.first + (int)before;
		if (keys.end - keys.first > l->split_keys)
			keys.end = keys.first + l->split_keys;
		block_init(&b, l->scratch + l->each * (size_t)thread, kv, kv_head, l->group);
		for (int g = 0; g < l->group; g++)
			block_set_row(inner, &b, g, p->q + (size_t)(kv_head * l->group + g) * hd, p->scale, keys);
		block_attend(inner, &b, keys);
	}
	for (int g = 0; g < l->group; g++) {
		const size_t head = (size_t)(kv_head * l->group + g);
		float *out = p->partial + (head * (size_t)p->n_splits + (size_t)split) * (hd + 2);

		if (before >= (size_t)n_keys) {
			out[hd + 1] = 0.0f;
			continue;
		}
		memcpy(out, b.sums + (size_t)g * b.stride, hd * sizeof(float));
		out[hd] = b.m[g];
		out[hd + 1] = b.l[g];
	}
}

static void split_part(void *ctx, int begin, int end, int thread)
{
	for (int task = begin; task < end; task++)
		split_task(ctx, task, thread);
}

void k_attention_split(const struct attention_split_params *p)
{
	const struct step step = cpu_step(&p->at);
	const struct kv *kv = &p->kv;
	struct split_loop l = {
		.p = p,
		.all = attended(kv, p->window, step.pos, step.evicted),
		.group = p->n_heads / kv->n_kv_heads,
		.each = block_bytes(p->n_heads / kv->n_kv_heads, kv->head_dim),
	};
	const int n_tasks = kv->n_kv_heads * p->n_splits;
	const size_t products = (size_t)(l.all.end - l.all.first) * (size_t)kv->head_dim * (size_t)p->n_heads;
	const int parallel = products > PARALLEL_PRODUCTS;
	const size_t unit = (size_t)p->split_len * (size_t)p->n_splits;

	l.split_keys = p->split_len * (int)(((size_t)(l.all.end - l.all.first) + unit - 1) / unit);
	l.scratch = cpu_scratch(l.each * (size_t)(parallel ? cpu_threads() : 1));
	cpu_parallel(n_tasks, parallel ? 1 : n_tasks, split_part, &l);
}

static void combine_part(void *ctx, int begin, int end, int thread)
{
	const struct attention_combine_params *p = ctx;
	const size_t hd = (size_t)p->head_dim;
	const size_t row = hd + 2;

	(void)thread;
	for (int h = begin; h < end; h++) {
		const float *partial = p->partial + (size_t)h * (size_t)p->n_splits * row;
		float *restrict y = p->y + (size_t)h * hd;
		float m = -INFINITY;
		float l = 0.0f;

		for (int s = 0; s < p->n_splits; s++)
			if (partial[(size_t)s * row + hd + 1] != 0.0f && partial[(size_t)s * row + hd] > m)
				m = partial[(size_t)s * row + hd];
		memset(y, 0, hd * sizeof(float));
		for (int s = 0; s < p->n_splits; s++) {
			const float *restrict from = partial + (size_t)s * row;
			float shrink;

			if (from[hd + 1] == 0.0f)
				continue;
			shrink = expf(from[hd] - m);
			l += from[hd + 1] * shrink;
			for (size_t i = 0; i < hd; i++)
				y[i] += from[i] * shrink;
		}
		for (size_t i = 0; i < hd; i++)
			y[i] /= l;
	}
}

void k_attention_combine(const struct attention_combine_params *p)
{
	const int parallel = (size_t)p->n_heads * (size_t)p->n_splits * (size_t)p->head_dim > PARALLEL_SUMS;

	cpu_parallel(p->n_heads, parallel ? 1 : p->n_heads, combine_part, (void *)p);
}

/* Tokens t0 .. t0 + n of a prefill, for the query heads of one KV head. */
static void prefill_block(const struct cpu_inner *inner, const struct attention_prefill_params *p, int kv_head, int t0,
			  int n, void *memory)
{
	const struct step step = cpu_step(&p->at);
	const int group = p->n_heads / p->kv.n_kv_heads;
	const size_t hd = (size_t)p->kv.head_dim;
	struct span keys;
	struct block b;

	block_init(&b, memory, &p->kv, kv_head, n * group);
	for (int r = 0; r < n * group; r++) {
		const int t = t0 + r / group;
		const size_t head = (size_t)(kv_head * group + r % group);

		block_set_row(inner, &b, r, p->q + ((size_t)t * (size_t)p->n_heads + head) * hd, p->scale,
			      attended(&p->kv, p->window, step.pos + t, step.evicted));
	}
	keys.first = b.spans[0].first;
	keys.end = b.spans[n * group - 1].end;
	block_attend(inner, &b, keys);
	for (int r = 0; r < n * group; r++) {
		const int t = t0 + r / group;
		const size_t head = (size_t)(kv_head * group + r % group);

		inner->scale(b.sums + (size_t)r * b.stride, NULL, 1.0f / b.l[r],
			     p->y + ((size_t)t * (size_t)p->n_heads + head) * hd, (int)hd);
	}
}

struct prefill_loop {
	const struct attention_prefill_params *p;
	int block_tokens;
	int blocks;
	char *scratch; /* (threads, each) */
	size_t each;
};

static void prefill_part(void *ctx, int begin, int end, int thread)
{
	const struct prefill_loop *l = ctx;
	const struct attention_prefill_params *p = l->p;

	for (int task = begin; task < end; task++) {
		/* The last blocks attend the most keys: first, so that no thread is left alone with one. */
		const int t0 = (l->blocks - 1 - task / p->kv.n_kv_heads) * l->block_tokens;
		const int n = p->n_tokens - t0 < l->block_tokens ? p->n_tokens - t0 : l->block_tokens;

		prefill_block(cpu_inner(), p, task % p->kv.n_kv_heads, t0, n, l->scratch + l->each * (size_t)thread);
	}
}

void k_attention_prefill(const struct attention_prefill_params *p)
{
	const int group = p->n_heads / p->kv.n_kv_heads;
	const int block_tokens = BLOCK_ROWS / group > 0 ? BLOCK_ROWS / group : 1;
	struct prefill_loop l = {
		.p = p,
		.block_tokens = block_tokens,
		.blocks = (p->n_tokens + block_tokens - 1) / block_tokens,
		.each = block_bytes(block_tokens * group, p->kv.head_dim),
	};
	const int tasks = l.blocks * p->kv.n_kv_heads;

	l.scratch = cpu_scratch(l.each * (size_t)(tasks > 1 ? cpu_threads() : 1));
	cpu_parallel(tasks, 1, prefill_part, &l);
}
