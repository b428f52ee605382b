#include "engine/infer/kv_fault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_VALUES = 1 << 20 };

/* The greatest number of a type that holds less than float32 does; 0 of the others. */
static float narrow_limit(enum tensor_type type)
{
	return type == TENSOR_F16 ? 65504.0f : 0.0f;
}

struct found {
	bool infinite;
	bool nan;
};

static void look(struct found *f, enum tensor_type type, const void *values, size_t n)
{
	const uint16_t *half = values;
	const uint32_t *whole = values;
	uint32_t infinity = type == TENSOR_F16 ? 0x7c00 : type == TENSOR_BF16 ? 0x7f80 : 0x7f800000;
	for (size_t i = 0; i < n; i++) {
		uint32_t magnitude = type == TENSOR_F32 ? whole[i] & 0x7fffffff : half[i] & 0x7fffu;
		f->infinite |= magnitude == infinity;
		f->nan |= magnitude > infinity;
	}
}

/* The entries in front of the cache's position; slots that were never written are not read. */
static int look_at(struct found *f, const struct kv_cache *c, const struct kv *kv, bool values, void *chunk,
		   struct error *err)
{
	enum tensor_type type = (enum tensor_type)(values ? kv->v_type : kv->type);
	const char *from = values ? kv->v : kv->k;
	int entries = kv->ring ? (c->pos < kv->ring ? c->pos : kv->ring) : c->pos - c->evicted;
	size_t row = (size_t)entries * (size_t)kv->head_dim, stride = (size_t)kv->capacity * (size_t)kv->head_dim;
	for (int h = 0; h < kv->n_kv_heads; h++)
		for (size_t done = 0; done < row; done += CHUNK_VALUES) {
			size_t n = row - done < CHUNK_VALUES ? row - done : CHUNK_VALUES;
			const char *at = from + tensor_type_bytes(type, (size_t)h * stride + done);
			int rc = device_download(c->device, chunk, at, tensor_type_bytes(type, n), err);
			if (rc)
				return rc;
			look(f, type, chunk, n);
		}
	return 0;
}

/* The cache that has the layer's entries first-hand; null where none does. */
static const struct kv_cache *owner(struct kv_cache *const *caches, int n, int layer)
{
	for (int i = 0; i < n; i++)
		if (layer >= caches[i]->begin && layer < caches[i]->end && caches[i]->layers[layer].capacity)
			return caches[i];
	return NULL;
}

int kv_fault_find(struct kv_cache *const *caches, int n, struct kv_fault *out, struct error *err)
{
	const struct model *m = caches[0]->model;
	*out = (struct kv_fault){.layer = -1};
	void *chunk = malloc(CHUNK_VALUES * sizeof(float));
	if (!chunk)
		return error_set(err, ERROR_MEMORY, "no memory to look through the cache");
	int rc = 0;
	for (int i = 0; i < m->n_layer && !rc && out->layer < 0; i++) {
		const struct kv_cache *c = m->layers[i].kv_source == i ? owner(caches, n, i) : NULL;
		for (int values = 0; c && values < 2 && !rc && out->layer < 0; values++) {
			const struct kv *kv = &c->layers[i];
			struct found f = {0};
			enum tensor_type type = (enum tensor_type)(values ? kv->v_type : kv->type);
			bool narrow = narrow_limit(type) > 0;
			rc = look_at(&f, c, kv, values, chunk, err);
			out->narrow |= narrow;
			if (!f.infinite && !f.nan)
				continue;
			out->layer = i;
			out->values = values;
			out->type = type;
			out->beyond = f.infinite && narrow;
		}
	}
	free(chunk);
	return rc;
}

/* "bf16 or f32": the cache types that hold what float32 does */
static void wide_types(char *out, size_t size)
{
	size_t used = 0;
	out[0] = 0;
	for (int i = tensor_type_count - 1; i >= 0; i--)
		if (tensor_types[i].cache && narrow_limit(tensor_types[i].type) == 0 && used < size)
			used += (size_t)snprintf(out + used, size - used, "%s%s", used ? " or " : "",
						 tensor_types[i].word);
}

int kv_fault_explain(struct kv_cache *const *caches, int n, int code, struct error *err)
{
	struct kv_fault f;
	struct error why = *err, ignored;
	char types[64];
	if (kv_fault_find(caches, n, &f, &ignored) || f.layer < 0)
		return code;
	wide_types(types, sizeof types);
	const char *what = f.values ? "V" : "K";
	const char *word = tensor_type_traits(f.type)->word;
	if (f.beyond)
		return error_set(err, code,
				 "%.200s: layer %d has a %s beyond %g, the most that its %s cache holds; use -ct%c %s",
				 why.text, f.layer, what, (double)narrow_limit(f.type), word, f.values ? 'v' : 'k',
				 types);
	if (f.narrow)
		return error_set(err, code,
				 "%.200s: the first layer whose cache holds no numbers is %d (%s, %s); where an f16 "
				 "cache lost a number beyond its range before, -ctk and -ctv %s tell",
				 why.text, f.layer, what, word, types);
	return error_set(err, code, "%.200s: the first layer whose cache holds no numbers is %d (%s, %s)", why.text,
			 f.layer, what, word);
}
