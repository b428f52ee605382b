/*
 * A head; then a record for each layer's cache, part after part, each with its keys and values behind it; then the
 * observed queries, part after part. Readers go through the bytes twice: to check, and to take.
 */
#include "engine/infer/kv_snapshot.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { HEAD_MARK = 0x564b4d47 }; /* "GMKV" */

struct head {
	uint32_t mark;
	int32_t n_layer;
	int32_t n_parts;
	int32_t pos;
	int32_t evicted;
	int32_t floor;
	int32_t window;   /* of the observed queries; 0: none are here */
	int32_t reserved; /* 0 */
};

/* Entries [first, end) of each KV head, K's and then V's: (n_kv_heads, end - first, head_dim). Global: slots. */
struct record {
	int32_t part;
	int32_t layer;
	int32_t type_k;
	int32_t type_v;
	int32_t n_kv_heads;
	int32_t head_dim;
	int32_t first;
	int32_t end;
};

/* ---- what there is ---- */

/* Whether the cache holds that layer's entries itself. */
static bool owns(const struct kv_cache *c, int layer)
{
	return c->model->layers[layer].kv_source == layer && c->layers[layer].k;
}

static struct record describe(const struct kv_snapshot_state *s, int part, int layer)
{
	const struct kv_cache *c = s->caches[part];
	const struct kv *kv = &c->layers[layer];
	struct record r = {.part = part,
			   .layer = layer,
			   .type_k = kv->type,
			   .type_v = kv->v_type,
			   .n_kv_heads = kv->n_kv_heads,
			   .head_dim = kv->head_dim,
			   .end = kv->ring ? c->pos : c->pos - c->evicted};
	/* Older ones made room for what was written last, be it ahead of pos. */
	if (kv->ring && c->high > kv->ring)
		r.first = c->high - kv->ring;
	if (r.first > r.end)
		r.first = r.end;
	return r;
}

static size_t row_bytes(int type, const struct record *r)
{
	return tensor_type_cache_row((enum tensor_type)type, r->head_dim);
}

static size_t entries_bytes(const struct record *r)
{
	return (size_t)r->n_kv_heads * (size_t)(r->end - r->first) *
	       (row_bytes(r->type_k, r) + row_bytes(r->type_v, r));
}

/* Of all layers of the cache's range that read a global one: what SnapKV observes there. */
static size_t query_bytes(const struct kv_cache *c, int window)
{
	size_t row = 0;
	for (int i = c->begin; i < c->end; i++)
		if (!c->model->layers[i].sliding)
			row += (size_t)c->model->layers[i].n_head * (size_t)c->model->layers[i].head_dim;
	return (size_t)window * row * sizeof(float);
}

/* Where all of it was observed, and the prompt ends here. */
int kv_snapshot_window(const struct kv_snapshot_state *s)
{
	for (int i = 0; i < s->n; i++)
		if (!snapkv_observes(&s->snapkv[i]) || s->snapkv[i].end != s->caches[i]->pos ||
		    s->snapkv[i].seen < s->snapkv[i].options.window)
			return 0;
	return s->snapkv[0].options.window;
}

size_t kv_snapshot_bytes(const struct kv_snapshot_state *s)
{
	size_t sum = sizeof(struct head);
	int window = kv_snapshot_window(s);
	for (int p = 0; p < s->n; p++) {
		for (int i = 0; i < s->caches[p]->end; i++) {
			if (!owns(s->caches[p], i))
				continue;
			const struct record r = describe(s, p, i);
			sum += sizeof r + entries_bytes(&r);
		}
		if (window)
			sum += query_bytes(s->caches[p], window);
	}
	return sum;
}

/* ---- between a device and bytes ---- */

enum direction { TO_BYTES, TO_DEVICE };

/* Entries [first, first + n) of one head; a run of a ring goes on at its front. */
static int move_rows(struct device *d, const struct kv *kv, char *cache, size_t row, int first, int n, char *bytes,
		     enum direction to, struct error *err)
{
	int rc = 0;
	for (int done = 0; done < n && !rc;) {
		int slot = kv->ring ? (first + done) % kv->ring : first + done, run = n - done;
		if (run > kv->capacity - slot)
			run = kv->capacity - slot;
		char *at = cache + (size_t)slot * row, *from = bytes + (size_t)done * row;
		rc = to == TO_BYTES ? device_download(d, from, at, (size_t)run * row, err)
				    : device_upload(d, at, from, (size_t)run * row, err);
		done += run;
	}
	return rc;
}

/* bytes: the record's entries. Of them the last n are moved. */
static int move_entries(struct device *d, const struct kv *kv, const struct record *r, int n, char *bytes,
			enum direction to, struct error *err)
{
	void *const halves[2] = {kv->k, kv->v};
	const size_t rows[2] = {row_bytes(r->type_k, r), row_bytes(r->type_v, r)};
	int all = r->end - r->first, rc = 0;
	for (int half = 0; half < 2; half++) {
		size_t row = rows[half];
		for (int head = 0; head < r->n_kv_heads && !rc; head++) {
			char *cache = (char *)halves[half] + (size_t)head * (size_t)kv->capacity * row;
			rc = move_rows(d, kv, cache, row, r->end - n, n, bytes + (size_t)(all - n) * row, to, err);
			bytes += (size_t)all * row;
		}
	}
	return rc;
}

int kv_snapshot_save(const struct kv_snapshot_state *s, void *out, struct error *err)
{
	const struct kv_cache *first = s->caches[0];
	char *at = out;
	const struct head h = {.mark = HEAD_MARK,
			       .n_layer = first->model->n_layer,
			       .n_parts = s->n,
			       .pos = first->pos,
			       .evicted = first->evicted,
			       .floor = first->floor,
			       .window = kv_snapshot_window(s)};
	int rc = 0;
	memcpy(at, &h, sizeof h);
	at += sizeof h;
	for (int p = 0; p < s->n; p++) {
		const struct kv_cache *c = s->caches[p];
		for (int i = 0; i < c->end && !rc; i++) {
			if (!owns(c, i))
				continue;
			const struct record r = describe(s, p, i);
			memcpy(at, &r, sizeof r);
			at += sizeof r;
			rc = move_entries(c->device, &c->layers[i], &r, r.end - r.first, at, TO_BYTES, err);
			at += entries_bytes(&r);
		}
	}
	for (int p = 0; p < s->n && h.window && !rc; p++) {
		size_t bytes = query_bytes(s->caches[p], h.window);
		if (bytes)
			rc = device_download(s->caches[p]->device, at, s->snapkv[p].queries, bytes, err);
		at += bytes;
	}
	assert(rc || at == (char *)out + kv_snapshot_bytes(s));
	return rc;
}

/* ---- taking it ---- */

/* The next bytes of a snapshot; null, and nothing taken, where there are not so many. */
struct reader {
	const char *at;
	size_t left;
};

static const void *take(struct reader *r, size_t bytes)
{
	const char *at = r->at;
	if (bytes > r->left)
		return NULL;
	r->at += bytes;
	r->left -= bytes;
	return at;
}

static int cut(struct error *err)
{
	return error_set(err, ERROR_INPUT, "the snapshot ends before what it says it holds");
}

static int check_head(const struct kv_snapshot_state *s, const struct head *h, struct error *err)
{
	const struct kv_cache *c = s->caches[0];
	if (h->mark != HEAD_MARK || h->reserved)
		return error_set(err, ERROR_INPUT, "these bytes are no snapshot of a K/V cache");
	if (h->n_layer != c->model->n_layer || h->n_parts != s->n)
		return error_set(err, ERROR_INPUT,
				 "the snapshot is of %d layers in %d parts, the model has %d layers in %d", h->n_layer,
				 h->n_parts, c->model->n_layer, s->n);
	if (h->pos < 1 || h->evicted < 0 || h->evicted >= h->pos || h->floor < 0 || h->floor > h->pos ||
	    h->window < 0 || h->window > h->pos || h->window > SNAPKV_MAX_WINDOW || (h->evicted && h->window))
		return error_set(err, ERROR_INPUT, "the snapshot's position %d with %d entries evicted makes no sense",
				 h->pos, h->evicted);
	if (h->pos > c->capacity + c->evicted)
		return error_set(err, ERROR_INPUT, "the snapshot holds %d positions, the cache has room for %d", h->pos,
				 c->capacity + c->evicted);
	const struct snapkv *o = &s->snapkv[0];
	if (!snapkv_observes(o))
		return 0;
	if (h->evicted)
		return error_set(err, ERROR_INPUT, "SnapKV evicted %d entries of the snapshot already", h->evicted);
	if (h->pos > o->end - o->options.window && (h->pos != o->end || h->window != o->options.window))
		return error_set(err, ERROR_INPUT,
				 "SnapKV observes the tokens from position %d to %d, and the snapshot of position %d "
				 "has the queries of %d",
				 o->end - o->options.window, o->end, h->pos, h->window);
	return 0;
}

/* Entries that the cache takes of a record's. */
static int taken(const struct kv *kv, const struct record *r)
{
	int n = r->end - r->first;
	return kv->ring && n > kv->ring ? kv->ring : n;
}

static int check_record(const struct kv_cache *c, const struct head *h, const struct record *r, int part, int layer,
			struct error *err)
{
	const struct kv *kv = &c->layers[layer];
	if (r->part != part || r->layer != layer)
		return error_set(err, ERROR_INPUT, "the snapshot has layer %d of part %d where layer %d of part %d is",
				 r->layer, r->part, layer, part);
	if (r->type_k != kv->type || r->type_v != kv->v_type)
		return error_set(err, ERROR_INPUT,
				 "layer %d: the snapshot's types are %d and %d, the cache's %d and %d", layer,
				 r->type_k, r->type_v, kv->type, kv->v_type);
	if (r->n_kv_heads != kv->n_kv_heads || r->head_dim != kv->head_dim)
		return error_set(err, ERROR_INPUT, "layer %d: the snapshot has %d heads of %d, the cache %d of %d",
				 layer, r->n_kv_heads, r->head_dim, kv->n_kv_heads, kv->head_dim);
	int end = kv->ring ? h->pos : h->pos - h->evicted, window = c->model->window - 1;
	/* What attention may look back at must be there. */
	int need = kv->ring ? (end < window ? end : window) : end;
	if (r->end != end || r->first < 0 || r->first > end - need)
		return error_set(err, ERROR_INPUT, "layer %d: the snapshot has entries %d to %d, position %d needs %d",
				 layer, r->first, r->end, h->pos, need);
	return 0;
}

int kv_snapshot_check(const struct kv_snapshot_state *s, const void *in, size_t bytes, struct error *err)
{
	struct reader from = {in, bytes};
	struct head h;
	const void *at = take(&from, sizeof h);
	if (!at)
		return cut(err);
	memcpy(&h, at, sizeof h);
	int rc = check_head(s, &h, err);
	for (int p = 0; p < s->n && !rc; p++) {
		const struct kv_cache *c = s->caches[p];
		for (int i = 0; i < c->end && !rc; i++) {
			struct record r;
			if (!owns(c, i))
				continue;
			if (!(at = take(&from, sizeof r)))
				return cut(err);
			memcpy(&r, at, sizeof r);
			rc = check_record(c, &h, &r, p, i, err);
			if (!rc && !take(&from, entries_bytes(&r)))
				return cut(err);
		}
	}
	if (rc)
		return rc;
	for (int p = 0; p < s->n && h.window; p++)
		if (!take(&from, query_bytes(s->caches[p], h.window)))
			return cut(err);
	return from.left ? error_set(err, ERROR_INPUT, "the snapshot has %zu bytes more than it says", from.left) : 0;
}

static int take_entries(const struct kv_snapshot_state *s, struct reader *from, int pos, struct error *err)
{
	int rc = 0;
	for (int p = 0; p < s->n && !rc; p++) {
		struct kv_cache *c = s->caches[p];
		int high = pos;
		for (int i = 0; i < c->end && !rc; i++) {
			struct record r;
			if (!owns(c, i))
				continue;
			const struct kv *kv = &c->layers[i];
			memcpy(&r, take(from, sizeof r), sizeof r);
			int n = taken(kv, &r);
			/* Const as far as the bytes go: TO_DEVICE reads them. */
			char *bytes = (char *)(uintptr_t)take(from, entries_bytes(&r));
			rc = move_entries(c->device, kv, &r, n, bytes, TO_DEVICE, err);
			/* As if what is not there had been overwritten. */
			if (kv->ring && pos > n)
				high = pos - n + kv->ring;
		}
		c->high = high;
	}
	return rc;
}

static int take_queries(const struct kv_snapshot_state *s, struct reader *from, int window, struct error *err)
{
	int rc = 0;
	for (int p = 0; p < s->n && !rc; p++) {
		struct snapkv *o = &s->snapkv[p];
		size_t bytes = query_bytes(s->caches[p], window);
		if (bytes)
			rc = device_upload(o->device, o->queries, take(from, bytes), bytes, err);
		o->seen = window;
	}
	return rc;
}

int kv_snapshot_restore(const struct kv_snapshot_state *s, const void *in, size_t bytes, struct error *err)
{
	struct reader from = {in, bytes};
	struct head h;
	memcpy(&h, take(&from, sizeof h), sizeof h);
	int rc = kv_cache_resume(s->caches, s->n, h.pos, h.evicted, h.floor, err);
	if (rc)
		return rc;
	rc = take_entries(s, &from, h.pos, err);
	if (!rc && h.window && snapkv_observes(&s->snapkv[0]) && h.pos == s->snapkv[0].end)
		rc = take_queries(s, &from, h.window, err);
	for (int p = 0; p < s->n && !rc; p++)
		rc = device_synchronize(s->caches[p]->device, err);
	for (int p = 0; p < s->n && rc; p++)
		kv_cache_rewind(s->caches[p], 0, NULL);
	return rc;
}
