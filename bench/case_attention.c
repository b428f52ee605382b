/* Attention of a token and of a prompt, and SnapKV's kernels. */
#include "bench/kernel_cases.h"

#include <string.h>

#include "engine/model/tensor_type.h"
#include "kernels/cpu/cpu.h"

enum {
	RING_SLACK = 511,   /* slots of a ring beyond its window, at least: chunks of 512 rows */
	SNAPKV_SPLIT = 128, /* keys, at least, and */
	SNAPKV_SPLITS = 64, /* splits at most, as engine/infer/snapkv.c has them */
	SNAPKV_POOL = 7,
};

static const float SCALE = 0.125f;
/* Votes below are no votes: what exp gives for the farthest scores may be flushed to 0. */
static const double NO_VOTE = 1e-30;

/* Of a key or value. */
static double row_bytes(const struct case_shape *s)
{
	return (double)tensor_type_cache_row((enum tensor_type)s->type, s->head_dim);
}

static int seen(const struct case_shape *s)
{
	return s->window && s->window < s->n_keys ? s->window : s->n_keys;
}

/* Bytes of k and v that one row sees. */
static double seen_bytes(const struct case_shape *s)
{
	return 2.0 * seen(s) * s->n_kv_heads * row_bytes(s);
}

static struct kv filled(struct pair *p, const struct case_shape *s)
{
	int slack = s->n_tokens > RING_SLACK ? s->n_tokens - 1 : RING_SLACK;
	int capacity = s->window ? s->window + slack : s->n_keys;
	struct kv kv = pair_cache(p, PAIR_INPUT, s->type, s->type, s->n_kv_heads, s->head_dim, capacity, s->window > 0);
	size_t n = (size_t)s->n_kv_heads * (size_t)capacity;
	pair_fill_rows(p, kv.k, s->type, s->head_dim, 0, n);
	pair_fill_rows(p, kv.v, s->type, s->head_dim, 0, n);
	return kv;
}

/* Magnitudes up to 4, of few bits: no device's rounding of a query changes them. */
static float *queries(struct pair *p, size_t n)
{
	float *q = pair_buffer(p, "q", PAIR_INPUT, TENSOR_F32, n, 0);
	for (size_t i = 0; i < n; i++)
		q[i] = (float)pair_between(p, -64, 64) / 16;
	return q;
}

/* ---- a token ---- */

/* Of the bucket, as engine/infer/splits.c has them. */
static int splits_of(const struct case_shape *s, const struct device_splits *d)
{
	int keys = DEVICE_SPLIT_KEYS;
	while (keys < s->n_keys)
		keys *= 2;
	keys = s->window && s->window < keys ? s->window : keys;
	int n = (keys + d->keys - 1) / d->keys;
	return n < d->most ? n : d->most;
}

static struct attention_split_params split_params(struct pair *p, const struct case_shape *s, enum pair_role partial)
{
	struct device_splits d = device_splits(pair_timed_device(p), s->n_heads, s->n_kv_heads, s->head_dim);
	int n_splits = splits_of(s, &d);
	size_t rows = (size_t)s->n_heads * (size_t)n_splits;
	return (struct attention_split_params){
		.at = pair_at(p, (struct step){.pos = s->n_keys - 1}, true),
		.q = queries(p, (size_t)s->n_heads * (size_t)s->head_dim),
		.kv = filled(p, s),
		.partial = pair_buffer(p, "partial", partial, TENSOR_F32, rows * (size_t)(s->head_dim + 2), 0),
		.n_heads = s->n_heads,
		.window = s->window,
		.split_len = d.unit,
		.n_splits = n_splits,
		.scale = SCALE,
	};
}

static void count_token(const struct case_shape *s, int n_splits, struct case_subject *c)
{
	c->bytes = seen_bytes(s) + 4.0 * s->n_heads * s->head_dim + 8.0 * s->n_heads * n_splits * (s->head_dim + 2);
	c->flops = 4.0 * s->n_heads * seen(s) * (double)s->head_dim;
}

static void build_attention(struct pair *p, const struct case_shape *s, struct case_subject *c)
{
	struct attention_params m = {.split = split_params(p, s, PAIR_SCRATCH)};
	m.y = pair_buffer(p, "y", PAIR_OUTPUT, TENSOR_F32, (size_t)s->n_heads * (size_t)s->head_dim, 0);
	case_params(c, KERNEL_attention, &m, sizeof m);
	count_token(s, m.split.n_splits, c);
	c->bytes += 4.0 * s->n_heads * s->head_dim;
}

static double allow_attention(struct pair *p, const struct case_shape *s, const struct case_subject *c)
{
	struct attention_params m;
	memcpy(&m, c->params, sizeof m);
	pair_magnitude_rows(p, m.y, (size_t)s->head_dim);
	return tolerance_attention(m.split.q, s->head_dim, s->n_heads, seen(s), SCALE);
}

const struct case_kind case_attention = {"attention", build_attention, allow_attention, 0};

static void build_split(struct pair *p, const struct case_shape *s, struct case_subject *c)
{
	struct attention_split_params m = split_params(p, s, PAIR_OUTPUT);
	pair_mark_partial(p, m.partial, (size_t)s->n_heads * (size_t)m.n_splits, s->head_dim);
	case_params(c, KERNEL_attention_split, &m, sizeof m);
	count_token(s, m.n_splits, c);
}

/* Maxima are off by as much as a score: absolutely, where sums are relatively. */
static double allow_split(struct pair *p, const struct case_shape *s, const struct case_subject *c)
{
	struct attention_split_params m;
	memcpy(&m, c->params, sizeof m);
	size_t hd = (size_t)s->head_dim, row = hd + 2;
	double *magnitude = pair_magnitude(p, m.partial);
	for (size_t r = 0; r < (size_t)s->n_heads * (size_t)m.n_splits; r++) {
		double squares = 0;
		for (size_t i = 0; i < hd; i++)
			squares += (double)m.partial[r * row + i] * (double)m.partial[r * row + i];
		for (size_t i = 0; i < hd; i++)
			magnitude[r * row + i] = sqrt(squares / (double)hd);
		magnitude[r * row + hd] = 1;
	}
	return tolerance_attention(m.q, s->head_dim, s->n_heads, seen(s) / m.n_splits + m.split_len, SCALE);
}

const struct case_kind case_attention_split = {"attention_split", build_split, allow_split, 0};

static void build_combine(struct pair *p, const struct case_shape *s, struct case_subject *c)
{
	struct device_splits d = device_splits(pair_timed_device(p), s->n_heads, s->n_kv_heads, s->head_dim);
	int n_splits = splits_of(s, &d);
	size_t rows = (size_t)s->n_heads * (size_t)n_splits, hd = (size_t)s->head_dim, row = hd + 2;
	float *partial = pair_buffer(p, "partial", PAIR_INPUT, TENSOR_F32, rows * row, 0);
	for (size_t r = 0; r < rows; r++) {
		for (size_t i = 0; i < hd; i++)
			partial[r * row + i] = pair_float(p, 10);
		partial[r * row + hd] = pair_float(p, 20);
		partial[r * row + hd + 1] = 1 + pair_float(p, 0.9f);
	}
	struct attention_combine_params m = {
		.partial = partial,
		.y = pair_buffer(p, "y", PAIR_OUTPUT, TENSOR_F32, (size_t)s->n_heads * hd, 0),
		.n_heads = s->n_heads,
		.head_dim = s->head_dim,
		.n_splits = n_splits,
	};
	case_params(c, KERNEL_attention_combine, &m, sizeof m);
	c->bytes = 4.0 * (double)(rows * row + (size_t)s->n_heads * hd);
}

/* Factors are exponentials of differences of up to 40, which are rounded; values are 10 at most. */
static double allow_combine(struct pair *p, const struct case_shape *s, const struct case_subject *c)
{
	struct attention_combine_params m;
	memcpy(&m, c->params, sizeof m);
	pair_magnitude_rows(p, m.y, (size_t)s->head_dim);
	return 2 * (sum_of(m.n_splits) + 2 * 40 * U) + FUNCTION;
}

const struct case_kind case_attention_combine = {"attention_combine", build_combine, allow_combine, 0};

/* ---- a prompt ---- */

static void build_prefill(struct pair *p, const struct case_shape *s, struct case_subject *c)
{
	size_t n = (size_t)s->n_tokens * (size_t)s->n_heads * (size_t)s->head_dim;
	double keys = 0;
	struct attention_prefill_params m = {
		.at = {.host = {.pos = s->n_keys - s->n_tokens}},
		.q = queries(p, n),
		.y = pair_buffer(p, "y", PAIR_OUTPUT, TENSOR_F32, n, 0),
		.n_tokens = s->n_tokens,
		.n_heads = s->n_heads,
		.window = s->window,
		.scale = SCALE,
	};
	m.kv = filled(p, s);
	for (int t = 0; t < s->n_tokens; t++) {
		int own = m.at.host.pos + t + 1;
		keys += s->window && s->window < own ? s->window : own;
	}
	case_params(c, KERNEL_attention_prefill, &m, sizeof m);
	c->bytes = 8.0 * (double)n + 2.0 * m.kv.capacity * s->n_kv_heads * row_bytes(s);
	c->flops = 4.0 * keys * s->n_heads * s->head_dim;
}

/* Probabilities are rounded to the cache's type, by at most a unit; tensor cores cut off, so sums count twice: as
 * test_kernels_cuda_prefill.c derives it. */
static double allow_prefill(struct pair *p, const struct case_shape *s, const struct case_subject *c)
{
	struct attention_prefill_params m;
	memcpy(&m, c->params, sizeof m);
	pair_magnitude_rows(p, m.y, (size_t)s->head_dim);
	double unit = s->type == TENSOR_F32 ? 0 : s->type == TENSOR_BF16 ? 0x1p-8 : 0x1p-11;
	return 5 * unit + 2 * tolerance_attention(m.q, s->head_dim, s->n_tokens * s->n_heads, seen(s), SCALE);
}

const struct case_kind case_attention_prefill = {"attention_prefill", build_prefill, allow_prefill, 64};

/* ---- SnapKV: n_tokens is the observation window ---- */

static int snapkv_split(const struct case_shape *s)
{
	int keys = SNAPKV_SPLIT;
	while (keys * SNAPKV_SPLITS < s->n_keys)
		keys *= 2;
	return keys;
}

static int snapkv_splits(const struct case_shape *s)
{
	return (s->n_keys + snapkv_split(s) - 1) / snapkv_split(s);
}

static size_t stats_of(const struct case_shape *s)
{
	return (size_t)s->n_heads * (size_t)s->n_tokens * (size_t)snapkv_splits(s) * 2;
}

static struct snapkv_softmax_params softmax_params(struct pair *p, const struct case_shape *s, enum pair_role role)
{
	struct kv kv = pair_cache(p, PAIR_INPUT, s->type, s->type, s->n_kv_heads, s->head_dim, s->n_keys, false);
	pair_fill_rows(p, kv.k, s->type, s->head_dim, 0, (size_t)s->n_kv_heads * (size_t)s->n_keys);
	return (struct snapkv_softmax_params){
		.q = queries(p, (size_t)s->n_tokens * (size_t)s->n_heads * (size_t)s->head_dim),
		.kv = kv,
		.stats = pair_buffer(p, "stats", role, TENSOR_F32, stats_of(s), 0),
		.n_heads = s->n_heads,
		.window = s->n_tokens,
		.n_keys = s->n_keys,
		.split_len = snapkv_split(s),
		.n_splits = snapkv_splits(s),
		.scale = SCALE,
	};
}

static void count_votes(const struct case_shape *s, struct case_subject *c)
{
	c->bytes = (double)s->n_kv_heads * s->n_keys * row_bytes(s) + 4.0 * s->n_tokens * s->n_heads * s->head_dim +
		   4.0 * (double)stats_of(s);
	c->flops = 2.0 * s->n_tokens * s->n_heads * (double)s->n_keys * s->head_dim;
}

static double allow_votes(const struct case_shape *s, const float *q)
{
	return tolerance_attention(q, s->head_dim, s->n_tokens * s->n_heads, s->n_keys, SCALE) +
	       sum_of((double)s->n_tokens * s->n_heads / s->n_kv_heads);
}

static void build_softmax(struct pair *p, const struct case_shape *s, struct case_subject *c)
{
	struct snapkv_softmax_params m = softmax_params(p, s, PAIR_OUTPUT);
	case_params(c, KERNEL_snapkv_softmax, &m, sizeof m);
	count_votes(s, c);
}

static double allow_softmax(struct pair *p, const struct case_shape *s, const struct case_subject *c)
{
	struct snapkv_softmax_params m;
	memcpy(&m, c->params, sizeof m);
	double *magnitude = pair_magnitude(p, m.stats);
	for (size_t i = 0; i < stats_of(s); i++)
		magnitude[i] = i % 2 ? (double)m.stats[i] : 1;
	return allow_votes(s, m.q);
}

const struct case_kind case_snapkv_softmax = {"snapkv_softmax", build_softmax, allow_softmax, 0};

static void build_vote(struct pair *p, const struct case_shape *s, struct case_subject *c)
{
	struct snapkv_softmax_params softmax = softmax_params(p, s, PAIR_INPUT);
	size_t n = (size_t)s->n_kv_heads * (size_t)(s->n_keys - s->n_tokens);
	k_snapkv_softmax(&softmax);
	struct snapkv_vote_params m = {
		.q = softmax.q,
		.kv = softmax.kv,
		.stats = softmax.stats,
		.scores = pair_buffer(p, "scores", PAIR_OUTPUT, TENSOR_F32, n, 0),
		.n_heads = s->n_heads,
		.window = s->n_tokens,
		.n_keys = s->n_keys,
		.n_splits = softmax.n_splits,
		.scale = SCALE,
	};
	case_params(c, KERNEL_snapkv_vote, &m, sizeof m);
	count_votes(s, c);
	c->bytes += 4.0 * (double)n;
}

static double allow_vote(struct pair *p, const struct case_shape *s, const struct case_subject *c)
{
	struct snapkv_vote_params m;
	memcpy(&m, c->params, sizeof m);
	double *magnitude = pair_magnitude(p, m.scores);
	for (size_t i = 0; i < (size_t)s->n_kv_heads * (size_t)(s->n_keys - s->n_tokens); i++)
		magnitude[i] = (double)m.scores[i] + NO_VOTE;
	return allow_votes(s, m.q);
}

const struct case_kind case_snapkv_vote = {"snapkv_vote", build_vote, allow_vote, 0};

static void build_select(struct pair *p, const struct case_shape *s, struct case_subject *c)
{
	size_t n = (size_t)s->n_kv_heads * (size_t)(s->n_keys - s->n_tokens);
	float *scores = pair_buffer(p, "scores", PAIR_INPUT, TENSOR_F32, n, 0);
	for (size_t i = 0; i < n; i++)
		scores[i] = fabsf(pair_float(p, 60));
	struct snapkv_select_params m = {
		.scores = scores,
		.pooled = pair_buffer(p, "pooled", PAIR_EXACT, TENSOR_F32, n, 0),
		.kept = pair_buffer(p, "kept", PAIR_EXACT, PAIR_INT, (size_t)s->n_kv_heads * (size_t)s->budget, 0),
		.n_kv_heads = s->n_kv_heads,
		.n_keys = s->n_keys,
		.window = s->n_tokens,
		.budget = s->budget,
		.pool = SNAPKV_POOL,
	};
	case_params(c, KERNEL_snapkv_select, &m, sizeof m);
	c->bytes = 8.0 * (double)n + 4.0 * s->n_kv_heads * s->budget;
}

const struct case_kind case_snapkv_select = {"snapkv_select", build_select, case_exact, 0};

static void build_compact(struct pair *p, const struct case_shape *s, struct case_subject *c)
{
	int *kept = pair_buffer(p, "kept", PAIR_INPUT, PAIR_INT, (size_t)s->n_kv_heads * (size_t)s->budget, 0);
	struct case_shape global = *s;
	global.window = 0;
	for (int i = 0; i < s->n_kv_heads * s->budget; i++)
		kept[i] = (int)((int64_t)(i % s->budget) * s->n_keys / s->budget);
	struct snapkv_compact_params m = {
		.from = filled(p, &global),
		.to = pair_cache(p, PAIR_EXACT, s->type, s->type, s->n_kv_heads, s->head_dim, s->budget, false),
		.kept = kept,
		.n_kept = s->budget,
	};
	case_params(c, KERNEL_snapkv_compact, &m, sizeof m);
	c->bytes = 4.0 * s->n_kv_heads * s->budget * row_bytes(s);
}

const struct case_kind case_snapkv_compact = {"snapkv_compact", build_compact, case_exact, 0};
