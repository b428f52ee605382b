#include "engine/infer/kv_fault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cache_rows.h"

enum { CHUNK_BYTES = 4 << 20 };

/* The greatest number of a type that holds less than float32 does; 0 of the others. */
static float narrow_limit(enum tensor_type type)
{
	const float f16 = 65504.0f;
	return type == TENSOR_F16 ? f16 : type == TENSOR_Q8_0 ? CACHE_STEPS * f16 : 0.0f;
}

struct found {
	bool infinite;
	bool nan;
};

static void look_at_values(struct found *f, enum tensor_type type, const void *values, size_t n)
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

/* Of Q8_0 the scales tell. */
static void look(struct found *f, enum tensor_type type, int head_dim, const char *rows, size_t n)
{
	size_t row = tensor_type_cache_row(type, head_dim), elements = (size_t)head_dim;
	if (type != TENSOR_Q8_0)
		look_at_values(f, type, rows, n * elements);
	for (size_t i = 0; type == TENSOR_Q8_0 && i < n; i++)
		look_at_values(f, TENSOR_F16, rows + i * row + elements, elements / CACHE_BLOCK);
}

/* The entries in front of the cache's position; slots that were never written are not read. */
static int look_at(struct found *f, const struct kv_cache *c, const struct kv *kv, bool values, void *chunk,
		   struct error *err)
{
	enum tensor_type type = (enum tensor_type)(values ? kv->v_type : kv->type);
	const char *from = values ? kv->v : kv->k;
	int entries = kv->ring ? (c->pos < kv->ring ? c->pos : kv->ring) : c->pos - c->evicted;
	size_t row = tensor_type_cache_row(type, kv->head_dim), all = (size_t)entries, most = CHUNK_BYTES / row;
	for (int h = 0; h < kv->n_kv_heads; h++)
		for (size_t done = 0; done < all; done += most) {
			size_t n = all - done < most ? all - done : most;
			const char *at = from + ((size_t)h * (size_t)kv->capacity + done) * row;
			int rc = device_download(c->device, chunk, at, n * row, err);
			if (rc)
				return rc;
			look(f, type, kv->head_dim, chunk, n);
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
	void *chunk = malloc(CHUNK_BYTES);
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
	if (kv_fault_find(caches, n, &f, &ignored))
		return code;
	if (f.layer < 0)
		return error_set(err, code,
				 "%.200s, though the caches hold numbers: what comes behind the last of them does "
				 "not, as damaged weights make it; download or convert the model again",
				 why.text);
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
				 "%.200s: the first layer whose cache holds no numbers is %d (%s, %s); where a cache "
				 "lost a number beyond its type's range before, -ctk and -ctv %s tell",
				 why.text, f.layer, what, word, types);
	return error_set(err, code, "%.200s: the first layer whose cache holds no numbers is %d (%s, %s)", why.text,
			 f.layer, what, word);
}
