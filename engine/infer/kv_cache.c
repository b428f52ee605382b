#include "engine/infer/kv_cache.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cache_rows.h"

static size_t entries_bytes(const struct kv *kv, int type, int n)
{
	return (size_t)kv->n_kv_heads * (size_t)n * tensor_type_cache_row((enum tensor_type)type, kv->head_dim);
}

static size_t half_bytes(const struct kv *kv, int type)
{
	return entries_bytes(kv, type, kv->capacity);
}

/* The cache of one layer, as the range has it; zeroed where it attends none. */
static struct kv describe(const struct model *m, const struct model_range *r, int i, int context, int slack,
			  enum tensor_type k_type, enum tensor_type v_type)
{
	const struct model_layer *l = &m->layers[i];
	if (!model_attends(m, r->begin, r->end, i))
		return (struct kv){0};
	int slots = model_kv_slots(m, i, context, slack);
	return (struct kv){.type = k_type,
			   .v_type = v_type,
			   .n_kv_heads = l->n_head_kv,
			   .head_dim = l->head_dim,
			   .capacity = slots,
			   .ring = l->sliding ? slots : 0};
}

void kv_cache_describe(struct kv *layers, const struct model *m, const struct model_range *r, int context, int slack,
		       enum tensor_type k_type, enum tensor_type v_type)
{
	memset(layers, 0, (size_t)m->n_layer * sizeof *layers);
	for (int i = 0; i < r->end; i++) {
		int source = m->layers[i].kv_source;
		layers[i] = source == i ? describe(m, r, i, context, slack, k_type, v_type) : layers[source];
	}
}

void kv_cache_measure(struct kv_cache_bytes *out, const struct model *m, const struct model_range *r, int context,
		      int slack, enum tensor_type k_type, enum tensor_type v_type)
{
	*out = (struct kv_cache_bytes){0};
	for (int i = 0; i < r->end; i++) {
		const struct kv kv = describe(m, r, i, context, slack, k_type, v_type);
		if (!kv.capacity)
			continue;
		struct byte_count *to = i < r->begin ? &out->mirrored : &out->own;
		out->n_mirrored += i < r->begin;
		out->n_own += i >= r->begin;
		byte_count_add(to, half_bytes(&kv, k_type));
		byte_count_add(to, half_bytes(&kv, v_type));
		if (kv.ring) {
			byte_count_add(&out->checkpoint, half_bytes(&kv, k_type));
			byte_count_add(&out->checkpoint, half_bytes(&kv, v_type));
		}
	}
}

static int check_type(const char *what, const struct model *m, enum tensor_type type, struct error *err)
{
	if (!tensor_type_traits(type)->cache)
		return error_set(err, ERROR_INPUT, "the %s cache cannot be %s; use one of" TENSOR_CACHE_TYPE_WORDS,
				 what, tensor_type_name(type));
	for (int i = 0; i < m->n_layer; i++)
		if (!cache_row_possible((int)type, m->layers[i].head_dim))
			return error_set(err, ERROR_INPUT,
					 "the %s cache cannot be %s: heads of %d elements are no whole blocks of %d; "
					 "use f16",
					 what, tensor_type_name(type), m->layers[i].head_dim, CACHE_BLOCK);
	return 0;
}

/* Unique in the process, so that no graph outlives its pointers unnoticed. */
static uint64_t next_generation(void)
{
	static uint64_t generations;
	return ++generations;
}

int kv_cache_open(struct kv_cache *c, const struct model *m, const struct model_range *r, struct device *d, int context,
		  int slack, enum tensor_type k_type, enum tensor_type v_type, struct error *err)
{
	*c = (struct kv_cache){.device = d,
			       .model = m,
			       .begin = r->begin,
			       .end = r->end,
			       .capacity = context,
			       .slack = slack,
			       .checkpoint = -1};
	int rc;
	if ((rc = check_type("K", m, k_type, err)) || (rc = check_type("V", m, v_type, err)))
		return rc;
	if (context < 1 || slack < 1)
		return error_set(err, ERROR_INPUT, "a cache of %d positions in chunks of %d makes no sense", context,
				 slack);
	size_t need = model_range_kv_bytes(m, r->begin, r->end, context, slack, k_type, v_type);
	size_t available = device_memory(d).free;
	if (available && need > available)
		return error_set(err, ERROR_MEMORY,
				 "a K/V cache of %d positions needs %zu bytes, the %s device has %zu free; "
				 "use a smaller context or a q8_0 cache",
				 context, need, device_name(d), available);
	c->layers = calloc((size_t)m->n_layer, sizeof *c->layers);
	if (!c->layers)
		return error_set(err, ERROR_MEMORY, "no memory for the cache of %d layers", m->n_layer);
	kv_cache_describe(c->layers, m, r, context, slack, k_type, v_type);
	for (int i = 0; i < r->end; i++) {
		struct kv *kv = &c->layers[i];
		int source = m->layers[i].kv_source;
		if (source != i)
			*kv = c->layers[source];
		if (source != i || !kv->capacity)
			continue;
		if ((rc = device_alloc(d, half_bytes(kv, k_type), &kv->k, err)) ||
		    (rc = device_alloc(d, half_bytes(kv, v_type), &kv->v, err))) {
			rc = error_prefix(err, rc, "a K/V cache of %d positions (%zu bytes)", context, need);
			kv_cache_close(c);
			return rc;
		}
		c->bytes += half_bytes(kv, k_type) + half_bytes(kv, v_type);
	}
	c->generation = next_generation();
	return 0;
}

void kv_cache_close(struct kv_cache *c)
{
	for (int i = 0; c->layers && i < c->model->n_layer; i++) {
		if (c->model->layers[i].kv_source != i)
			continue;
		device_free(c->device, c->layers[i].k);
		device_free(c->device, c->layers[i].v);
	}
	for (int i = 0; c->saved && i < 2 * c->model->n_layer; i++)
		device_free(c->device, c->saved[i]);
	free(c->saved);
	free(c->layers);
	*c = (struct kv_cache){.checkpoint = -1};
}

int kv_cache_check(const struct kv_cache *c, int n, struct error *err)
{
	if (n <= c->capacity - (c->pos - c->evicted))
		return 0;
	return error_set(err, ERROR_INPUT,
			 "position %d + %d tokens exceed the cache of %d positions; open it with more", c->pos, n,
			 c->capacity + c->evicted);
}

void kv_cache_advance(struct kv_cache *c, int n)
{
	c->pos += n;
	if (c->pos > c->high)
		c->high = c->pos;
}

static int copy_rings(struct kv_cache *c, int restore, struct error *err)
{
	for (int i = 0; i < c->model->n_layer; i++) {
		const struct kv *kv = &c->layers[i];
		if (!c->saved[2 * i])
			continue;
		void *const live[2] = {kv->k, kv->v};
		const size_t bytes[2] = {half_bytes(kv, kv->type), half_bytes(kv, kv->v_type)};
		for (int j = 0; j < 2; j++) {
			void *saved = c->saved[2 * i + j];
			int rc = device_copy(c->device, restore ? live[j] : saved, restore ? saved : live[j], bytes[j],
					     err);
			if (rc)
				return rc;
		}
	}
	return 0;
}

static int allocate_saved(struct kv_cache *c, struct error *err)
{
	c->saved = calloc(2 * (size_t)c->model->n_layer, sizeof *c->saved);
	if (!c->saved)
		return error_set(err, ERROR_MEMORY, "no memory for a checkpoint of %d layers", c->model->n_layer);
	for (int i = 0; i < c->model->n_layer; i++) {
		const struct kv *kv = &c->layers[i];
		if (!kv->ring || c->model->layers[i].kv_source != i)
			continue;
		int rc;
		if ((rc = device_alloc(c->device, half_bytes(kv, kv->type), &c->saved[2 * i], err)) ||
		    (rc = device_alloc(c->device, half_bytes(kv, kv->v_type), &c->saved[2 * i + 1], err))) {
			for (int j = 0; j < 2 * c->model->n_layer; j++)
				device_free(c->device, c->saved[j]);
			free(c->saved);
			c->saved = NULL;
			return error_prefix(err, rc, "checkpoint of the sliding layers");
		}
	}
	return 0;
}

int kv_cache_save(struct kv_cache *c, struct error *err)
{
	int rc = c->saved ? 0 : allocate_saved(c, err);
	if (rc)
		return rc;
	c->checkpoint = -1;
	rc = copy_rings(c, 0, err);
	if (!rc) {
		c->checkpoint = c->pos;
		c->saved_high =
			c->high; /* what lay ahead of pos has overwritten old positions in the saved rings too */
	}
	return rc;
}

static bool owns_global(const struct kv_cache *c, int layer)
{
	return c->model->layers[layer].kv_source == layer && c->layers[layer].k && !c->layers[layer].ring;
}

/* Of one layer, in every cache that holds it. */
struct replacement {
	const struct kv *from[KV_CACHES_MAX], *to[KV_CACHES_MAX]; /* null where the cache has no such layer */
};

static int replace_layer(struct kv_cache *const *c, int n, int layer, struct kv *const *new, kv_cache_move *move,
			 void *ctx, struct error *err)
{
	struct replacement r = {{0}, {0}};
	bool any = false;
	int rc = 0;
	for (int i = 0; i < n && !rc; i++) {
		struct device *d = c[i]->device;
		struct kv *kv = &new[i][layer];
		if (!owns_global(c[i], layer))
			continue;
		r.from[i] = &c[i]->layers[layer];
		r.to[i] = kv;
		any = true;
		if (!(rc = device_alloc(d, half_bytes(kv, kv->type), &kv->k, err)))
			rc = device_alloc(d, half_bytes(kv, kv->v_type), &kv->v, err);
	}
	return !rc && any && move ? move(ctx, layer, r.from, r.to, err) : rc;
}

/* What is freed: the old memory, or, where the new is not taken, that. */
static void settle(struct kv_cache *c, struct kv *new, int capacity, bool taken)
{
	for (int i = 0; i < c->model->n_layer; i++) {
		if (!owns_global(c, i))
			continue;
		struct kv old = taken ? c->layers[i] : new[i];
		if (taken) {
			c->bytes += half_bytes(&new[i], new[i].type) + half_bytes(&new[i], new[i].v_type);
			c->bytes -= half_bytes(&old, old.type) + half_bytes(&old, old.v_type);
			c->layers[i] = new[i];
		}
		device_free(c->device, old.k);
		device_free(c->device, old.v);
	}
	if (!taken)
		return;
	for (int i = 0; i < c->end; i++)
		c->layers[i] = c->layers[c->model->layers[i].kv_source];
	c->capacity = capacity;
	c->generation = next_generation();
}

/*
 * New memory for the global layers, `capacity` entries each, what move leaves in it (null: nothing), and then no
 * old one.
 */
static int replace_global(struct kv_cache *const *c, int n, int capacity, kv_cache_move *move, void *ctx,
			  struct error *err)
{
	struct kv *new[KV_CACHES_MAX];
	int n_layer = c[0]->model->n_layer, rc = 0;
	assert(n > 0 && n <= KV_CACHES_MAX);
	struct kv *all = calloc((size_t)n * (size_t)n_layer, sizeof *all);
	if (!all)
		return error_set(err, ERROR_MEMORY, "no memory for the cache of %d layers", n_layer);
	for (int i = 0; i < n; i++) {
		new[i] = all + (size_t)i *(size_t)n_layer;
		for (int layer = 0; layer < n_layer; layer++) {
			new[i][layer] = c[i]->layers[layer];
			new[i][layer].k = new[i][layer].v = NULL;
			new[i][layer].capacity = capacity;
		}
	}
	for (int layer = 0; layer < n_layer && !rc; layer++)
		rc = replace_layer(c, n, layer, new, move, ctx, err);
	for (int i = 0; i < n; i++)
		settle(c[i], new[i], capacity, !rc);
	free(all);
	return rc ? error_prefix(err, rc, "a K/V cache of %d entries on global layers", capacity) : 0;
}

int kv_cache_evict(struct kv_cache *const *c, int n, int kept, int window, kv_cache_move *move, void *ctx,
		   struct error *err)
{
	int pos = c[0]->pos, evicted = pos - kept;
	assert(window >= 0 && window <= kept && kept < pos);
	if (c[0]->evicted)
		return error_set(err, ERROR_INPUT,
				 "%d entries were evicted already; reset the session before the next prompt",
				 c[0]->evicted);
	int rc = replace_global(c, n, c[0]->capacity - evicted, move, ctx, err);
	for (int i = 0; i < n && !rc; i++) {
		c[i]->evicted = evicted;
		c[i]->floor = pos - window;
	}
	return rc;
}

int kv_cache_restore(struct kv_cache *const *c, int n, struct error *err)
{
	if (!c[0]->evicted)
		return 0;
	int rc = replace_global(c, n, c[0]->capacity + c[0]->evicted, NULL, NULL, err);
	for (int i = 0; i < n && !rc; i++)
		c[i]->evicted = c[i]->floor = 0;
	return rc;
}

int kv_cache_resume(struct kv_cache *const *c, int n, int pos, int evicted, int floor, struct error *err)
{
	assert(!c[0]->pos && !c[0]->evicted && evicted < c[0]->capacity);
	int rc = evicted ? replace_global(c, n, c[0]->capacity - evicted, NULL, NULL, err) : 0;
	for (int i = 0; i < n && !rc; i++) {
		c[i]->pos = c[i]->high = pos;
		c[i]->evicted = evicted;
		c[i]->floor = floor;
		c[i]->checkpoint = -1;
	}
	return rc;
}

/* Whether going back to pos needs the rings as they were saved. */
static bool needs_saved(const struct kv_cache *c, int pos)
{
	/* Enough of the oldest window must not have been overwritten by what lies ahead of pos. */
	int oldest = pos - c->model->window + 1;
	if (oldest < 0)
		oldest = 0;
	int ring = 0;
	for (int i = 0; i < c->model->n_layer; i++)
		if (c->layers[i].ring)
			ring = c->layers[i].ring;
	return pos != 0 && ring && oldest + ring < c->high;
}

int kv_cache_rewind_check(const struct kv_cache *c, int pos, struct error *err)
{
	if (pos < 0 || pos > c->pos)
		return error_set(err, ERROR_INPUT, "cannot rewind from position %d to %d", c->pos, pos);
	if (pos != 0 && pos < c->floor)
		return error_set(err, ERROR_INPUT,
				 "cannot rewind to %d: %d entries before position %d were evicted; rewind to 0 "
				 "and prefill again",
				 pos, c->evicted, c->floor);
	if (needs_saved(c, pos) && pos != c->checkpoint)
		return error_set(err, ERROR_INPUT,
				 "cannot rewind to %d: sliding layers were written up to %d and hold %d positions; "
				 "checkpoint there first",
				 pos, c->high, c->model->window - 1 + c->slack);
	return 0;
}

int kv_cache_rewind(struct kv_cache *c, int pos, struct error *err)
{
	int rc = kv_cache_rewind_check(c, pos, err);
	if (rc)
		return rc;
	if (needs_saved(c, pos)) {
		if ((rc = copy_rings(c, 1, err)))
			return rc;
		c->high = c->saved_high;
	}
	if (pos == 0) {
		if ((rc = kv_cache_restore(&c, 1, err)))
			return rc;
		c->high = 0; /* all that will ever be read is written again */
	}
	c->pos = pos;
	if (c->checkpoint > pos)
		c->checkpoint = -1;
	return 0;
}

size_t kv_cache_bytes_read(const struct kv_cache *c, int pos)
{
	size_t sum = 0;
	for (int i = c->begin; i < c->end; i++) {
		const struct kv *kv = &c->layers[i];
		int n = kv->ring ? pos + 1 : pos + 1 - c->evicted;
		if (kv->ring && n > c->model->window)
			n = c->model->window;
		sum += entries_bytes(kv, kv->type, n) + entries_bytes(kv, kv->v_type, n);
	}
	return sum;
}
