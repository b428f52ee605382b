#include "tests/support/vote_case.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/model/gguf.h"
#include "kernels/cpu/cpu.h"

static const float SCALE = 0.125f;
/* Votes below are no votes: what exp gives for the farthest scores may be flushed to 0. */
static const double NO_VOTE = 1e-30;

static const char *describe(const struct vote_case *c, int fault)
{
	static char text[200];
	snprintf(text, sizeof text,
		 "%s heads %d/%d head_dim %d capacity %d keys %d window %d splits %d x %d q %g fault %d",
		 tensor_type_name((enum tensor_type)c->type), c->n_heads, c->n_kv_heads, c->head_dim, c->capacity,
		 c->n_keys, c->window, c->n_splits, c->split_len, (double)c->q_scale, fault);
	return text;
}

static int rows_of(const struct vote_case *c)
{
	return c->window * (c->n_heads / c->n_kv_heads);
}

static size_t row_of(const struct vote_case *c)
{
	return tensor_type_cache_row((enum tensor_type)c->type, c->head_dim);
}

/* k alone is read: v is a buffer of one element. */
static struct kv keys(struct pair *p, const struct vote_case *c)
{
	struct kv kv = pair_cache(p, PAIR_INPUT, c->type, c->type, c->n_kv_heads, c->head_dim, c->capacity, false);
	for (int h = 0; h < c->n_kv_heads; h++)
		pair_fill_rows(p, kv.k, c->type, c->head_dim, (size_t)h * (size_t)c->capacity, (size_t)c->n_keys);
	return kv;
}

static size_t queries_of(const struct vote_case *c)
{
	return (size_t)c->window * (size_t)c->n_heads * (size_t)c->head_dim;
}

/* What the host gets where the fault is in its operands. */
static const float *other_queries(struct pair *p, const struct vote_case *c, const float *q, enum vote_fault fault)
{
	size_t n = queries_of(c), hd = (size_t)c->head_dim;
	if (fault != VOTE_ROW_OFF)
		return q;
	float *other = pair_buffer(p, "other q", PAIR_INPUT, TENSOR_F32, n, 0);
	memcpy(other, q, n * sizeof *q);
	for (size_t i = n - hd; i < n; i++)
		other[i] *= 0.5f;
	return other;
}

static struct kv other_keys(struct pair *p, const struct vote_case *c, struct kv kv, enum vote_fault fault)
{
	if (fault != VOTE_KEY_OFF)
		return kv;
	size_t n = (size_t)c->n_kv_heads * (size_t)c->capacity * row_of(c);
	size_t row = row_of(c), at = (size_t)((c->n_keys - c->window) / 2) * row;
	char *other = pair_buffer(p, "other k", PAIR_INPUT, PAIR_BYTES, n, 0);
	memcpy(other, kv.k, n);
	memcpy(other + at, other + at + row, row);
	kv.k = other;
	return kv;
}

/* Relative, of a probability and of sums of them: as tolerance_attention has it, and the sum over rows. */
static double allowed(const struct vote_case *c, const float *q)
{
	return tolerance_attention(q, c->head_dim, c->window * c->n_heads, c->n_keys, SCALE) + sum_of(rows_of(c));
}

static void check(struct pair *p, bool planted, double relative)
{
	if (planted)
		pair_check_wrong(p, relative);
	else
		pair_check(p, relative);
}

static size_t stats_of(const struct vote_case *c)
{
	return (size_t)c->n_kv_heads * (size_t)rows_of(c) * (size_t)c->n_splits * 2;
}

static struct snapkv_softmax_params softmax_params(const struct vote_case *c, const float *q, struct kv kv,
						   float *stats)
{
	return (struct snapkv_softmax_params){
		.q = q,
		.kv = kv,
		.stats = stats,
		.n_heads = c->n_heads,
		.window = c->window,
		.n_keys = c->n_keys,
		.split_len = c->split_len,
		.n_splits = c->n_splits,
		.scale = SCALE,
	};
}

void vote_case_softmax(struct pair *p, const struct vote_case *c, enum vote_fault fault)
{
	float *stats = pair_buffer(p, "stats", PAIR_OUTPUT, TENSOR_F32, stats_of(c), 0);
	const float *q = pair_floats(p, "q", queries_of(c), c->q_scale, 0);
	struct kv kv = keys(p, c);
	struct snapkv_softmax_params m = softmax_params(c, q, kv, stats);
	struct snapkv_softmax_params other =
		softmax_params(c, other_queries(p, c, q, fault), other_keys(p, c, kv, fault), stats);
	other.n_keys -= fault == VOTE_WINDOW_SLID;
	pair_run(p, KERNEL_snapkv_softmax, &m, &other, "%s", describe(c, (int)fault));
	/* Maxima are off by as much as a score: absolutely, where sums are relatively. */
	double *magnitude = pair_magnitude(p, stats);
	for (size_t i = 0; i < stats_of(c); i++)
		magnitude[i] = i % 2 ? (double)stats[i] : 1;
	check(p, fault != VOTE_RIGHT, allowed(c, q));
}

void vote_case_vote(struct pair *p, const struct vote_case *c, bool add, enum vote_fault fault)
{
	int candidates = c->n_keys - c->window;
	size_t n = (size_t)c->n_kv_heads * (size_t)candidates;
	const float *q = pair_floats(p, "q", queries_of(c), c->q_scale, 0);
	struct kv kv = keys(p, c);
	float *stats = pair_buffer(p, "stats", PAIR_INPUT, TENSOR_F32, stats_of(c), 0);
	float *scores = pair_buffer(p, "scores", PAIR_OUTPUT, TENSOR_F32, n, 0);
	struct snapkv_softmax_params softmax = softmax_params(c, q, kv, stats);
	k_snapkv_softmax(&softmax);
	for (size_t i = 0; i < n && add; i++)
		scores[i] = 0.5f + pair_float(p, 0.5f);
	struct snapkv_vote_params m = {
		.q = q,
		.kv = kv,
		.stats = stats,
		.scores = scores,
		.n_heads = c->n_heads,
		.window = c->window,
		.n_keys = c->n_keys,
		.n_splits = c->n_splits,
		.scale = SCALE,
		.add = add,
	};
	struct snapkv_vote_params other = m;
	other.q = other_queries(p, c, q, fault);
	other.kv = other_keys(p, c, kv, fault);
	other.n_keys -= fault == VOTE_WINDOW_SLID;
	other.window -= fault == VOTE_WINDOW_SLID;
	pair_run(p, KERNEL_snapkv_vote, &m, &other, "%s add %d", describe(c, (int)fault), add);
	double *magnitude = pair_magnitude(p, scores);
	for (size_t i = 0; i < n; i++)
		magnitude[i] = (double)scores[i] + NO_VOTE;
	check(p, fault != VOTE_RIGHT, allowed(c, q));
}

/* ---- selection ---- */

static int ascending(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* The last of the ties that won gives way to the last of those that lost. */
static void swap_ties(int *kept, const float *pooled, const struct select_case *c)
{
	int n = c->n_keys - c->window, wanted = c->budget - c->window, last = -1, lost = n - 1;
	bool *won = calloc((size_t)n, sizeof *won);
	assert_non_null(won);
	for (int i = 0; i < wanted; i++) {
		won[kept[i]] = true;
		if (last < 0 || pooled[kept[i]] <= pooled[kept[last]])
			last = i;
	}
	while (lost >= 0 && (won[lost] || pooled[lost] < pooled[kept[last]]))
		lost--;
	assert_true(last >= 0 && lost >= 0);
	kept[last] = lost;
	qsort(kept, (size_t)wanted, sizeof *kept, ascending);
	free(won);
}

void select_case(struct pair *p, const struct select_case *c, enum select_fault fault)
{
	size_t n = (size_t)c->n_kv_heads * (size_t)(c->n_keys - c->window);
	float *scores = pair_buffer(p, "scores", PAIR_INPUT, TENSOR_F32, n, 0);
	for (size_t i = 0; i < n; i++)
		scores[i] = c->levels               ? (float)pair_between(p, 0, c->levels - 1) * 0.1f
			    : pair_between(p, 0, 3) ? fabsf(pair_float(p, 0x1p-20f))
						    : fabsf(pair_float(p, 60));
	struct snapkv_select_params m = {
		.scores = scores,
		.pooled = pair_buffer(p, "pooled", PAIR_EXACT, TENSOR_F32, n, 0),
		.kept = pair_buffer(p, "kept", PAIR_EXACT, PAIR_INT, (size_t)c->n_kv_heads * (size_t)c->budget, 0),
		.n_kv_heads = c->n_kv_heads,
		.n_keys = c->n_keys,
		.window = c->window,
		.budget = c->budget,
		.pool = c->pool,
	};
	struct snapkv_select_params other = m;
	if (fault == SELECT_SCORE_OFF) {
		float *off = pair_buffer(p, "other scores", PAIR_INPUT, TENSOR_F32, n, 0);
		size_t most = 0;
		memcpy(off, scores, n * sizeof *off);
		for (size_t i = 0; i < n; i++)
			most = off[i] > off[most] ? i : most;
		off[most] = nextafterf(off[most], 0);
		other.scores = off;
	}
	other.pool += fault == SELECT_POOL_WIDER ? 2 : 0;
	pair_run(p, KERNEL_snapkv_select, &m, &other, "heads %d keys %d window %d budget %d pool %d levels %d fault %d",
		 c->n_kv_heads, c->n_keys, c->window, c->budget, c->pool, c->levels, (int)fault);
	if (fault == SELECT_TIES)
		swap_ties(m.kept, m.pooled, c);
	check(p, fault != SELECT_RIGHT, 0);
}

/* ---- the move ---- */

static struct kv cache(struct pair *p, enum pair_role role, const struct compact_case *c, int capacity)
{
	return pair_cache(p, role, c->type, c->v_type, c->n_kv_heads, c->head_dim, capacity, false);
}

void compact_case(struct pair *p, const struct compact_case *c, bool planted)
{
	size_t n = (size_t)(c->n_kv_heads * c->n_kept);
	int *kept = pair_buffer(p, "kept", PAIR_INPUT, PAIR_INT, n, 0);
	int *other_kept = pair_buffer(p, "other kept", PAIR_INPUT, PAIR_INT, n, 0);
	struct snapkv_compact_params m = {
		.from = cache(p, PAIR_INPUT, c, c->old_capacity),
		.to = cache(p, PAIR_EXACT, c, c->new_capacity),
		.kept = kept,
		.n_kept = c->n_kept,
	};
	/* Slots that are not kept stay NaN. */
	for (int h = 0; h < c->n_kv_heads; h++) {
		for (int s = 0, slot = 0; s < c->n_kept; s++, slot++) {
			int room = c->old_capacity - slot - (c->n_kept - s);
			slot += room > 0 ? pair_between(p, 0, room < 3 ? room : 3) : 0;
			size_t at = (size_t)h * (size_t)c->old_capacity + (size_t)slot;
			kept[h * c->n_kept + s] = slot;
			pair_fill_rows(p, m.from.k, c->type, c->head_dim, at, 1);
			pair_fill_rows(p, m.from.v, c->v_type, c->head_dim, at, 1);
		}
	}
	memcpy(other_kept, kept, n * sizeof *kept);
	if (planted)
		other_kept[n / 2] += other_kept[n / 2] + 1 < c->old_capacity ? 1 : -1;
	struct snapkv_compact_params other = m;
	other.kept = other_kept;
	pair_run(p, KERNEL_snapkv_compact, &m, &other,
		 "k %s v %s heads %d head_dim %d capacity %d to %d entries %d planted %d",
		 tensor_type_name((enum tensor_type)c->type), tensor_type_name((enum tensor_type)c->v_type),
		 c->n_kv_heads, c->head_dim, c->old_capacity, c->new_capacity, c->n_kept, planted);
	check(p, planted, 0);
}
