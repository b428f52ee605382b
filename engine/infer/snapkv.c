#include "engine/infer/snapkv.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/text.h"

enum {
	SPLIT_KEYS = 128, /* keys of a split of the softmax, at least: a tile of the CUDA kernels */
	MAX_SPLITS = 64,  /* enough to fill a GPU, for they are times rows / 128; a vote reads all of a row's */
};

/* ---- options ---- */

static struct text_shown shown(const char *text)
{
	return text_show(text, strlen(text));
}

static int scan(const char *text, const char *what, int least, int most, int *out, const char **end, struct error *err)
{
	long long v = 0;
	const char *p = text;
	for (; *p >= '0' && *p <= '9' && v <= most; p++)
		v = v * 10 + (*p - '0');
	if (p == text || v < least || v > most)
		return error_set(err, ERROR_INPUT, "snapkv '%s': %s is a number from %d to %d", shown(text).text, what,
				 least, most);
	*out = (int)v;
	*end = p;
	return 0;
}

int snapkv_parse(const char *text, struct snapkv_options *out, struct error *err)
{
	static const char window[] = ",window=", pool[] = ",pool=";
	struct snapkv_options o = {.window = SNAPKV_WINDOW, .pool = SNAPKV_POOL};
	if (!strcmp(text, "off")) {
		*out = (struct snapkv_options){0};
		return 0;
	}
	const char *p = text;
	int rc = scan(text, "the budget, or off,", 1, SNAPKV_MAX_BUDGET, &o.budget, &p, err);
	while (!rc && *p) {
		if (!strncmp(p, window, sizeof window - 1))
			rc = scan(p + sizeof window - 1, "window", 1, SNAPKV_MAX_WINDOW, &o.window, &p, err);
		else if (!strncmp(p, pool, sizeof pool - 1))
			rc = scan(p + sizeof pool - 1, "pool", 1, SNAPKV_MAX_POOL, &o.pool, &p, err);
		else
			break;
	}
	if (rc)
		return rc;
	if (*p)
		return error_set(err, ERROR_INPUT,
				 "snapkv '%s': unexpected '%s'; write off or BUDGET[,window=W][,pool=P]",
				 shown(text).text, shown(p).text);
	if (o.window > o.budget)
		return error_set(err, ERROR_INPUT,
				 "snapkv '%s': the budget includes the window of %d; write a larger one, or window=W",
				 shown(text).text, o.window);
	if (o.pool % 2 == 0)
		return error_set(err, ERROR_INPUT, "snapkv '%s': pool is centred on a key, so it is odd",
				 shown(text).text);
	*out = o;
	return 0;
}

void snapkv_name(const struct snapkv_options *o, char out[SNAPKV_NAME_BYTES])
{
	if (o->budget)
		snprintf(out, SNAPKV_NAME_BYTES, "%d,window=%d,pool=%d", o->budget, o->window, o->pool);
	else
		snprintf(out, SNAPKV_NAME_BYTES, "off");
}

/* ---- observing ---- */

static int first_of_window(const struct snapkv *s)
{
	return s->end - s->options.window;
}

static size_t row_floats(const struct model *m, int layer)
{
	return (size_t)m->layers[layer].n_head * (size_t)m->layers[layer].head_dim;
}

/* Whether the part has queries of that layer on a global cache. */
static bool observed(const struct snapkv *s, int layer)
{
	return layer >= s->begin && layer < s->end_layer && !s->model->layers[layer].sliding;
}

int snapkv_open(struct snapkv *s, const struct snapkv_options *o, const struct model *m, const struct model_range *r,
		struct device *d, int end, struct error *err)
{
	*s = (struct snapkv){
		.options = *o, .model = m, .begin = r->begin, .end_layer = r->end, .device = d, .end = end};
	if (!o->budget || end <= o->budget)
		return 0;
	assert(m->n_layer > 0);
	size_t total = 0, at = 0;
	for (int i = 0; i < m->n_layer; i++)
		total += observed(s, i) ? (size_t)o->window * row_floats(m, i) : 0;
	s->layers = calloc((size_t)m->n_layer, sizeof *s->layers);
	if (!s->layers)
		return error_set(err, ERROR_MEMORY, "no memory for the queries of %d layers", m->n_layer);
	if (!total)
		return 0;
	void *queries;
	int rc = device_alloc(d, total * sizeof *s->queries, &queries, err);
	if (rc) {
		snapkv_close(s);
		return error_prefix(err, rc, "SnapKV: queries of a window of %d tokens", o->window);
	}
	s->queries = queries;
	for (int i = 0; i < m->n_layer; i++) {
		if (!observed(s, i))
			continue;
		s->layers[i] = s->queries + at;
		at += (size_t)o->window * row_floats(m, i);
	}
	return 0;
}

void snapkv_close(struct snapkv *s)
{
	if (s->queries)
		device_free(s->device, s->queries);
	free(s->layers);
	*s = (struct snapkv){0};
}

bool snapkv_observes(const struct snapkv *s)
{
	return s->layers;
}

int snapkv_rows(const struct snapkv *s, int pos, int n)
{
	int first = first_of_window(s);
	if (!snapkv_observes(s) || pos >= s->end || pos + n <= first)
		return 0;
	return pos + n - (pos > first ? pos : first);
}

void snapkv_take(struct snapkv *s, struct emitter *e, int layer, int pos, int n, const float *q)
{
	if (!snapkv_observes(s) || !s->layers[layer])
		return;
	int first = first_of_window(s), from = pos > first ? pos : first, to = pos + n < s->end ? pos + n : s->end;
	size_t row = row_floats(s->model, layer);
	if (from < to)
		op_copy(e, s->layers[layer] + (size_t)(from - first) * row, q + (size_t)(from - pos) * row,
			(size_t)(to - from) * row * sizeof *q);
}

void snapkv_advance(struct snapkv *s, int pos, int n)
{
	int first = first_of_window(s), end = pos + n < s->end ? pos + n : s->end;
	if (snapkv_observes(s) && pos <= first + s->seen && end > first + s->seen)
		s->seen = end - first;
}

void snapkv_rewind(struct snapkv *s, int pos)
{
	int seen = pos - first_of_window(s);
	if (snapkv_observes(s) && seen < s->seen)
		s->seen = seen > 0 ? seen : 0;
}

/* ---- the vote ---- */

/* What a part computes in, on its device; one layer after the other. */
struct booth {
	struct snapkv *s;
	float *stats;  /* (n_kv_heads, window * group, n_splits, 2) of the layer that needs most */
	float *scores; /* (n_kv_heads, end - window), likewise */
	float *pooled; /* as scores */
	int *kept;     /* (n_kv_heads, budget), likewise */
	void *memory;
};

struct ballot {
	struct booth booths[KV_CACHES_MAX];
	int n;
	int n_splits;
	int split_len;
	void *across; /* host memory, between two booths, or for what the host selects; null where neither is */
};

static void ballot_close(struct ballot *b)
{
	for (int i = 0; i < b->n; i++)
		if (b->booths[i].memory)
			device_free(b->booths[i].s->device, b->booths[i].memory);
	free(b->across);
}

static int ballot_open(struct ballot *b, struct snapkv *s, int n, struct error *err)
{
	const struct model *m = s->model;
	size_t rows = 0, heads = 0, window = (size_t)s->options.window;
	for (int i = 0; i < m->n_layer; i++) {
		if (m->layers[i].sliding)
			continue;
		size_t layer_rows = window * (size_t)m->layers[i].n_head, layer_heads = (size_t)m->layers[i].n_head_kv;
		rows = layer_rows > rows ? layer_rows : rows;
		heads = layer_heads > heads ? layer_heads : heads;
	}
	*b = (struct ballot){.n = n, .split_len = SPLIT_KEYS};
	while ((b->n_splits = (s->end + b->split_len - 1) / b->split_len) > MAX_SPLITS)
		b->split_len *= 2;
	size_t stats = rows * (size_t)b->n_splits * 2, scores = heads * ((size_t)s->end - window);
	size_t kept = heads * (size_t)s->options.budget, larger = scores > kept ? scores : kept;
	int rc = 0;
	for (int i = 0; i < n && !rc; i++) {
		struct booth *o = &b->booths[i];
		o->s = &s[i];
		if (!s[i].queries)
			continue; /* no layer of its votes, and none of its caches is thinned out */
		rc = device_alloc(s[i].device, (stats + 2 * scores) * sizeof(float) + kept * sizeof(int), &o->memory,
				  err);
		if (rc)
			break;
		o->stats = o->memory;
		o->scores = o->stats + stats;
		o->pooled = o->scores + scores;
		o->kept = (int *)(o->pooled + scores);
	}
	if (!rc && (n > 1 || s->options.policy != KV_POLICY_SNAPKV) && !(b->across = malloc(larger * sizeof(float))))
		rc = error_set(err, ERROR_MEMORY, "no memory for votes on the host");
	if (rc) {
		ballot_close(b);
		return error_prefix(err, rc, "SnapKV: scores of %d keys", s->end);
	}
	return 0;
}

static int carry(const struct ballot *b, int from, int to, const void *src, void *dst, size_t bytes, struct error *err)
{
	struct device *a = b->booths[from].s->device, *z = b->booths[to].s->device;
	int rc = device_download(a, b->across, src, bytes, err);
	return rc ? rc : device_upload(z, dst, b->across, bytes, err);
}

/* The votes of a part's layers that read that layer's cache: added to those there are, or the first. */
static int vote(const struct ballot *b, int part, int layer, const struct kv *kv, bool add, struct error *err)
{
	const struct booth *o = &b->booths[part];
	const struct snapkv *s = o->s;
	const struct model *m = s->model;
	struct emitter e = {.device = s->device, .err = err};
	for (int i = s->begin; i < s->end_layer; i++) {
		if (m->layers[i].kv_source != layer)
			continue;
		op_snapkv_softmax(&e, (struct snapkv_softmax_params){.q = s->layers[i],
								     .kv = *kv,
								     .stats = o->stats,
								     .n_heads = m->layers[i].n_head,
								     .window = s->options.window,
								     .n_keys = s->end,
								     .split_len = b->split_len,
								     .n_splits = b->n_splits,
								     .scale = m->layers[i].attention_scale});
		op_snapkv_vote(&e, (struct snapkv_vote_params){.q = s->layers[i],
							       .kv = *kv,
							       .stats = o->stats,
							       .scores = o->scores,
							       .n_heads = m->layers[i].n_head,
							       .window = s->options.window,
							       .n_keys = s->end,
							       .n_splits = b->n_splits,
							       .scale = m->layers[i].attention_scale,
							       .add = add});
		add = true;
	}
	return e.rc;
}

static int select_kept(const struct booth *o, int n_kv_heads, struct error *err)
{
	const struct snapkv *s = o->s;
	struct emitter e = {.device = s->device, .err = err};
	op_snapkv_select(&e, (struct snapkv_select_params){.scores = o->scores,
							   .pooled = o->pooled,
							   .kept = o->kept,
							   .n_kv_heads = n_kv_heads,
							   .n_keys = s->end,
							   .window = s->options.window,
							   .budget = s->options.budget,
							   .pool = s->options.pool});
	return e.rc;
}

/* What looks at no key: chosen here, for the last part that holds the layer's entries. */
static int appoint(const struct ballot *b, const struct booth *o, int layer, int n_kv_heads, struct error *err)
{
	const struct snapkv_options *options = &o->s->options;
	int *kept = b->across;
	for (int head = 0; head < n_kv_heads; head++) {
		const int place[] = {layer, head};
		kv_policy_select(options->policy, o->s->end, options->budget, options->window, options->sinks,
				 hash_bytes(place, sizeof place, options->seed), kept + head * options->budget);
	}
	return device_upload(o->s->device, o->kept, kept, (size_t)(n_kv_heads * options->budget) * sizeof *kept, err);
}

/* A kv_cache_move. */
static int elect(void *ctx, int layer, const struct kv *const *from, const struct kv *const *to, struct error *err)
{
	const struct ballot *b = ctx;
	const struct snapkv_options *o = &b->booths[0].s->options;
	int last = -1, rc = 0; /* the last part that holds the layer's entries selects */
	bool votes_count = o->policy == KV_POLICY_SNAPKV;
	size_t heads = (size_t)b->booths[0].s->model->layers[layer].n_head_kv;
	size_t votes = heads * (size_t)(b->booths[0].s->end - o->window) * sizeof(float);
	for (int i = 0; i < b->n && !rc; i++) {
		if (!from[i])
			continue;
		if (last >= 0 && votes_count)
			rc = carry(b, last, i, b->booths[last].scores, b->booths[i].scores, votes, err);
		if (!rc && votes_count)
			rc = vote(b, i, layer, from[i], last >= 0, err);
		last = i;
	}
	if (!rc)
		rc = votes_count ? select_kept(&b->booths[last], (int)heads, err)
				 : appoint(b, &b->booths[last], layer, (int)heads, err);
	for (int i = 0; i <= last && !rc; i++) {
		const struct booth *at = &b->booths[i];
		struct emitter e = {.device = at->s->device, .err = err};
		if (!from[i])
			continue;
		if (i != last && (rc = carry(b, last, i, b->booths[last].kept, at->kept,
					     heads * (size_t)o->budget * sizeof(int), err)))
			return rc;
		op_snapkv_compact(&e, (struct snapkv_compact_params){
					      .from = *from[i], .to = *to[i], .kept = at->kept, .n_kept = o->budget});
		rc = e.rc;
	}
	return rc;
}

int snapkv_evict(struct snapkv *s, struct kv_cache *const *c, int n, struct error *err)
{
	assert(snapkv_observes(s) && n <= KV_CACHES_MAX);
	if (c[0]->pos != s->end)
		return error_set(err, ERROR_INPUT,
				 "SnapKV evicts at position %d, where the prompt was to end, and this is position %d",
				 s->end, c[0]->pos);
	for (int i = 0; i < n; i++)
		if (s[i].queries && s[i].seen < s->options.window)
			return error_set(
				err, ERROR_INPUT,
				"SnapKV saw the queries of %d of the prompt's last %d tokens; prefill them all "
				"after the observation began",
				s[i].seen, s->options.window);
	struct ballot b;
	int rc = ballot_open(&b, s, n, err);
	if (rc)
		return rc;
	rc = kv_cache_evict(c, n, s->options.budget, s->options.window, elect, &b, err);
	ballot_close(&b);
	for (int i = 0; i < n && !rc; i++)
		rc = device_synchronize(s[i].device, err);
	return rc;
}
