#include "engine/infer/weights.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cuda/quants_geometry.h"

/* Keeps the first error; later calls do nothing and return null. */
struct loader {
	struct weights *w;
	const struct model *m;
	struct error *err;
	int rc;
	bool host_memory;             /* of the device */
	struct weights_bytes *counts; /* not null: nothing is allocated or moved, only counted */
	enum weights_group group;     /* of what is being loaded */
};

/* What counted weights point to in the place of a device's memory: nobody reads it. One for each kind of layers. */
static const struct {
	_Alignas(64) char bytes[64];
} nowhere[2];

/* host: null for memory of the device; else it receives where the host writes what the device reads. */
static void *reserve(struct loader *l, size_t bytes, void **host)
{
	struct weights *w = l->w;
	if (l->rc)
		return NULL;
	if (l->counts) {
		if (host)
			l->counts->mapped[l->group] += bytes;
		else
			byte_count_add(&l->counts->device[l->group], bytes);
		return (void *)(uintptr_t)nowhere;
	}
	if (w->n_allocations == w->cap_allocations) {
		int cap = w->cap_allocations ? 2 * w->cap_allocations : 64;
		void **grown = realloc(w->allocations, (size_t)cap * sizeof *grown);
		if (!grown) {
			l->rc = error_set(l->err, ERROR_MEMORY, "no memory for the list of weights");
			return NULL;
		}
		w->allocations = grown;
		w->cap_allocations = cap;
	}
	void *p;
	l->rc = host ? device_alloc_mapped(w->device, bytes, &p, host, l->err)
		     : device_alloc(w->device, bytes, &p, l->err);
	if (l->rc)
		return NULL;
	w->allocations[w->n_allocations++] = p;
	return p;
}

static void *allocate(struct loader *l, size_t bytes)
{
	return reserve(l, bytes, NULL);
}

static const void *place(struct loader *l, const void *bytes, size_t n)
{
	struct device *d = l->w->device;
	if (l->rc)
		return NULL;
	if (l->host_memory) {
		if (l->counts)
			l->counts->in_place[l->group] += n;
		return bytes;
	}
	void *p = allocate(l, n);
	if (p && !l->counts)
		l->rc = device_upload(d, p, bytes, n, l->err);
	return p;
}

/* A matrix is brought to its place this much at a time, so that loading needs no second copy of it. */
enum { CHUNK_BYTES = 32 << 20 };

/* Where a converted matrix goes: written through host where that is not null, else uploaded. */
struct target {
	char *device;
	char *host;
};

static struct target target(struct loader *l, size_t bytes, bool on_host)
{
	struct target t = {0};
	void *host = NULL;
	t.device = reserve(l, bytes, on_host ? &host : NULL);
	t.host = host;
	if (t.device && on_host)
		l->w->mapped_bytes += bytes;
	return t;
}

static void put(struct loader *l, const struct target *t, size_t offset, const void *bytes, size_t n)
{
	struct device *d = l->w->device;
	if (l->rc)
		return;
	if (t->host)
		memcpy(t->host + offset, bytes, n);
	else
		l->rc = device_upload(d, t->device + offset, bytes, n, l->err);
}

/*
 * A matrix as files have it: one tensor, or two of the same type and shape whose rows follow each other in every
 * expert (gate, then up). A part is what is contiguous of it.
 */
struct source {
	const struct gguf_tensor *tensors[2];
	int n_tensors;
	int n_parts;
	size_t part_bytes;
};

static struct source source(const struct gguf_tensor *first, const struct gguf_tensor *second)
{
	struct source s = {{first, second}, second ? 2 : 1, 1, first->bytes};
	if (second) {
		s.n_parts = 2 * (int)first->ne[2];
		s.part_bytes = first->bytes / (size_t)first->ne[2];
	}
	return s;
}

static const char *source_part(const struct source *s, int i)
{
	const struct gguf_tensor *t = s->tensors[i % s->n_tensors];
	return (const char *)t->data + (size_t)(i / s->n_tensors) * s->part_bytes;
}

static size_t source_bytes(const struct source *s)
{
	return (size_t)s->n_parts * s->part_bytes;
}

static void place_raw(struct loader *l, const struct source *s, bool on_host, struct weight *to)
{
	struct target at = target(l, source_bytes(s), on_host);
	for (int i = 0; i < s->n_parts && !l->counts; i++)
		put(l, &at, (size_t)i * s->part_bytes, source_part(s, i), s->part_bytes);
	to->data = at.device;
}

/* Q8_0 as planes, which devices read in wide aligned loads; see cpu_repack_q8_0. */
static void place_planes(struct loader *l, const struct source *s, bool on_host, struct weight *to)
{
	enum { CHUNK = CHUNK_BYTES / 32 }; /* blocks */
	size_t block = tensor_type_bytes(TENSOR_Q8_0, 32), n_blocks = source_bytes(s) / block;
	size_t part = s->part_bytes / block, room = part < CHUNK ? part : CHUNK;
	struct target q = target(l, n_blocks * 32, on_host), d = target(l, n_blocks * sizeof(uint16_t), on_host);
	to->data = q.device;
	to->scales = d.device;
	if (l->counts)
		return;
	int8_t *q_part = malloc(room * 32);
	uint16_t *d_part = malloc(room * sizeof *d_part);
	if ((!q_part || !d_part) && !l->rc)
		l->rc = error_set(l->err, ERROR_MEMORY, "no memory to repack weights");
	for (int i = 0; i < s->n_parts; i++) {
		for (size_t done = 0; done < part && !l->rc; done += CHUNK) {
			size_t n = part - done < CHUNK ? part - done : CHUNK, at = (size_t)i * part + done;
			cpu_repack_q8_0(source_part(s, i) + done * block, q_part, d_part, n);
			put(l, &q, at * 32, q_part, n * 32);
			put(l, &d, at * sizeof *d_part, d_part, n * sizeof *d_part);
		}
	}
	free(q_part);
	free(d_part);
}

/* TENSOR_QUANT_TYPES as planes in as many bytes; see cpu_planes. */
static void place_quants(struct loader *l, const struct source *s, bool on_host, struct weight *to)
{
	const struct tensor_traits *t = tensor_type_traits((enum tensor_type)to->type);
	const size_t each = (size_t)t->block / QUANTS_BLOCK, bytes = (size_t)t->block_bytes; /* of a file's block */
	const size_t n_blocks = source_bytes(s) / bytes * each, part = s->part_bytes / bytes * each;
	const size_t chunk = CHUNK_BYTES / 32, room = part < chunk ? part : chunk; /* a multiple of each */
	struct target at = target(l, source_bytes(s), on_host);
	to->data = at.device;
	if (l->counts)
		return;
	char *buffer = malloc(room / each * bytes);
	if (!buffer && !l->rc)
		l->rc = error_set(l->err, ERROR_MEMORY, "no memory to repack weights");
	const int high = quants_high_bytes(to->type), side = quants_side_bytes(to->type);
	const long long all = (long long)n_blocks;
	for (int i = 0; i < s->n_parts; i++)
		for (size_t done = 0; done < part && !l->rc; done += chunk) {
			size_t n = part - done < chunk ? part - done : chunk, first = (size_t)i * part + done;
			struct cpu_planes p = cpu_planes_at(t->type, buffer, n);
			cpu_planes(t->type, source_part(s, i) + done / each * bytes, n, &p);
			put(l, &at, first * 16, p.low, n * 16);
			if (high)
				put(l, &at, (size_t)quants_high_at(all) + first * (size_t)high, p.high,
				    n * (size_t)high);
			put(l, &at, (size_t)quants_side_at(to->type, all) + first * (size_t)side, p.side,
			    n * (size_t)side);
			if (to->type == TENSOR_Q6_K)
				put(l, &at, (size_t)quants_d_at(to->type, all) + first / each * 2, p.d, n / each * 2);
		}
	free(buffer);
}

static bool fits_bf16(const struct gguf_tensor *t)
{
	enum { PART = 4096 }; /* most matrices that do not fit say so in the first */
	const uint32_t *bits = t->data;
	size_t n = t->bytes / sizeof *bits;
	uint32_t lost = 0;
	for (size_t done = 0; done < n && !lost; done += PART)
		for (size_t i = done; i < n && i < done + PART; i++)
			lost |= bits[i] & 0xffff;
	return lost == 0;
}

static bool narrows(const struct source *s)
{
	for (int i = 0; i < s->n_tensors; i++)
		if (s->tensors[i]->type != TENSOR_F32 || !fits_bf16(s->tensors[i]))
			return false;
	return true;
}

static void place_narrowed(struct loader *l, const struct source *s, bool on_host, struct weight *to)
{
	enum { CHUNK = CHUNK_BYTES / 2 }; /* values */
	size_t n_values = source_bytes(s) / sizeof(float), part_values = s->part_bytes / sizeof(float);
	size_t room = part_values < CHUNK ? part_values : CHUNK;
	struct target at = target(l, n_values * sizeof(uint16_t), on_host);
	to->type = TENSOR_BF16;
	to->data = at.device;
	if (l->counts)
		return;
	uint16_t *part = malloc(room * sizeof *part);
	if (!part && !l->rc)
		l->rc = error_set(l->err, ERROR_MEMORY, "no memory to narrow weights");
	for (int k = 0; k < s->n_parts; k++) {
		const uint32_t *bits = (const uint32_t *)(const void *)source_part(s, k);
		for (size_t done = 0; done < part_values && !l->rc; done += CHUNK) {
			size_t n = part_values - done < CHUNK ? part_values - done : CHUNK;
			for (size_t i = 0; i < n; i++)
				part[i] = (uint16_t)(bits[done + i] >> 16);
			put(l, &at, ((size_t)k * part_values + done) * sizeof *part, part, n * sizeof *part);
		}
	}
	free(part);
	l->w->n_narrowed++;
	l->w->narrowed_bytes += n_values * (sizeof(float) - sizeof *part);
}

static struct weight source_at(struct loader *l, const struct source *s, bool on_host)
{
	struct weight to = {0};
	if (l->rc)
		return to;
	const struct gguf_tensor *t = s->tensors[0];
	struct weights *w = l->w;
	size_t narrowed = w->narrowed_bytes;
	to.type = t->type;
	to.n_in = (int)t->ne[0];
	to.n_out = s->n_tensors * (int)t->ne[1];
	to.n_expert = (int)t->ne[2];
	if (l->host_memory && s->n_tensors == 1)
		to.data = place(l, t->data, t->bytes);
	else if (l->host_memory)
		place_raw(l, s, false, &to);
	else if (t->type == TENSOR_Q8_0)
		place_planes(l, s, on_host, &to);
	else if (tensor_type_traits(t->type)->quants)
		place_quants(l, s, on_host, &to);
	else if (narrows(s))
		place_narrowed(l, s, on_host, &to);
	else
		place_raw(l, s, on_host, &to);
	w->bytes += source_bytes(s) - (w->narrowed_bytes - narrowed);
	return to;
}

static struct weight matrix_at(struct loader *l, const struct gguf_tensor *t, bool on_host)
{
	if (!t)
		return (struct weight){0};
	struct source s = source(t, NULL);
	return source_at(l, &s, on_host);
}

static struct weight matrix(struct loader *l, const struct gguf_tensor *t)
{
	return matrix_at(l, t, false);
}

static struct weight gate_up_exps(struct loader *l, const struct model_layer *from)
{
	if (!from->ffn_gate_exps)
		return matrix(l, from->ffn_gate_up_exps);
	struct source s = source(from->ffn_gate_exps, from->ffn_up_exps);
	return source_at(l, &s, false);
}

static const float *vector(struct loader *l, const struct gguf_tensor *t)
{
	if (!t || l->rc)
		return NULL;
	l->w->bytes += t->bytes;
	return place(l, t->data, t->bytes);
}

/* Of the layer's kind. */
static const float *inverse_frequencies(struct loader *l, const struct model_layer *layer)
{
	static const struct rope_scaling none = {.factor = 1};
	const struct model *m = l->m;
	const struct gguf_tensor *divisors = layer->sliding ? NULL : m->rope_freqs;
	size_t bytes = (size_t)layer->head_dim / 2 * sizeof(float);
	float *out = allocate(l, bytes);
	if (l->counts)
		return (const float *)(const void *)&nowhere[layer->sliding];
	float *host = malloc(bytes);
	if (!host && !l->rc)
		l->rc = error_set(l->err, ERROR_MEMORY, "no memory for RoPE frequencies");
	if (!l->rc) {
		rope_frequencies(layer->sliding ? &none : &m->rope_scaling,
				 layer->sliding ? m->rope_base_swa : m->rope_base, layer->head_dim,
				 divisors ? divisors->data : NULL, host);
		l->rc = device_upload(l->w->device, out, host, bytes, l->err);
	}
	free(host);
	return out;
}

static void load_layer(struct loader *l, int i, const float *const inv_freq[2])
{
	const struct model_layer *from = &l->m->layers[i];
	struct layer_weights *to = &l->w->layers[i];
	to->attn_norm = vector(l, from->attn_norm);
	to->q_norm = vector(l, from->attn_q_norm);
	to->k_norm = vector(l, from->attn_k_norm);
	to->post_attention_norm = vector(l, from->post_attention_norm);
	to->ffn_norm = vector(l, from->ffn_norm);
	to->post_ffw_norm = vector(l, from->post_ffw_norm);
	to->post_norm = vector(l, from->post_norm);
	to->inv_freq = inv_freq[from->sliding];
	to->q = matrix(l, from->attn_q);
	to->k = matrix(l, from->attn_k);
	to->v = matrix(l, from->attn_v);
	to->o = matrix(l, from->attn_output);
	to->gate = matrix(l, from->ffn_gate);
	to->up = matrix(l, from->ffn_up);
	to->down = matrix(l, from->ffn_down);
	to->inp_gate = matrix(l, from->inp_gate);
	to->proj = matrix(l, from->proj);
	to->output_scale = from->layer_output_scale ? *(const float *)from->layer_output_scale->data : 1.0f;
	to->router = matrix(l, from->ffn_gate_inp);
	to->router_scale = vector(l, from->ffn_gate_inp_scale);
	to->gate_up_exps = gate_up_exps(l, from);
	to->down_exps = matrix(l, from->ffn_down_exps);
	to->down_exps_scale = vector(l, from->ffn_down_exps_scale);
	to->pre_ffw_norm_2 = vector(l, from->pre_ffw_norm_2);
	to->post_ffw_norm_1 = vector(l, from->post_ffw_norm_1);
	to->post_ffw_norm_2 = vector(l, from->post_ffw_norm_2);
}

/* The matrices' rows behind each other, in float16; those that are not there have none. */
static struct weight for_prompts(struct loader *l, const struct weight *first, const struct weight *second,
				 const struct weight *third)
{
	const struct weight *const from[] = {first, second, third};
	struct weight to = {.type = TENSOR_F16, .n_in = first->n_in, .n_expert = 1};
	int n = 0;
	for (int i = 0; i < 3; i++) {
		to.n_out += from[i] ? from[i]->n_out : 0;
		n += from[i] && from[i]->n_out;
	}
	if (l->rc || !n)
		return (struct weight){0};
	if (n == 1 && first->type == TENSOR_F16)
		return *first;
	size_t row = (size_t)to.n_in * sizeof(uint16_t);
	char *at = allocate(l, (size_t)to.n_out * row);
	to.data = at;
	for (int i = 0; i < 3 && !l->rc && !l->counts; i++) {
		if (!from[i] || !from[i]->n_out)
			continue;
		const struct dequant_params p = {
			.w = *from[i], .y = at, .n_rows = from[i]->n_out, .y_type = TENSOR_F16};
		l->rc = device_launch(l->w->device, KERNEL_dequant, &p, l->err);
		at += (size_t)from[i]->n_out * row;
	}
	l->w->prompt_bytes += (size_t)to.n_out * row;
	return to;
}

static void load_prompts(struct loader *l, int i)
{
	struct layer_weights *w = &l->w->layers[i];
	l->group = WEIGHTS_PROMPTS;
	w->prompt_qkv = for_prompts(l, &w->q, &w->k, &w->v);
	w->prompt_o = for_prompts(l, &w->o, NULL, NULL);
	w->prompt_gate_up = for_prompts(l, &w->gate, &w->up, NULL);
	w->prompt_down = for_prompts(l, &w->down, NULL, NULL);
	w->prompt_inp_gate = for_prompts(l, &w->inp_gate, NULL, NULL);
	w->prompt_proj = for_prompts(l, &w->proj, NULL, NULL);
	l->group = WEIGHTS_LAYERS;
}

static void load_tables(struct loader *l, const struct model_range *r, const struct weights_places *places)
{
	const struct model *m = l->m;
	struct weights *w = l->w;
	bool tied = m->output == m->token_embd;
	l->group = WEIGHTS_HEAD;
	if (r->head) {
		w->output = matrix(l, m->output);
		w->output_norm = vector(l, m->output_norm);
	}
	if (r->embed) {
		l->group = WEIGHTS_EMBEDDING;
		w->token_embd = tied && r->head ? w->output : matrix_at(l, m->token_embd, places->token_embd);
		l->group = WEIGHTS_PLE_TABLE;
		w->per_layer_token_embd = matrix_at(l, m->per_layer_token_embd, places->per_layer_token_embd);
		l->group = WEIGHTS_PLE_PROJECTION;
		w->per_layer_model_proj = matrix(l, m->per_layer_model_proj);
		w->per_layer_proj_norm = vector(l, m->per_layer_proj_norm);
	}
}

static void load(struct loader *l, const struct model_range *r, const struct weights_places *places)
{
	const struct model *m = l->m;
	l->w->layers = calloc((size_t)m->n_layer, sizeof *l->w->layers);
	if (!l->w->layers) {
		l->rc = error_set(l->err, ERROR_MEMORY, "no memory for %d layers", m->n_layer);
		return;
	}
	load_tables(l, r, places);

	const float *inv_freq[2] = {NULL, NULL}; /* global, sliding */
	bool known[2] = {false, false};
	l->group = WEIGHTS_LAYERS;
	for (int i = r->begin; i < r->end && !l->rc; i++) {
		const struct model_layer *layer = &m->layers[i];
		if (!known[layer->sliding])
			inv_freq[layer->sliding] = inverse_frequencies(l, layer);
		known[layer->sliding] = true;
		load_layer(l, i, inv_freq);
		if (i < places->n_prompts && !l->host_memory && i < model_first_reader(m))
			load_prompts(l, i);
	}
	/* Weights are read before a kernel waits for those in front of it: see cuda_kernels.h. */
	if (places->n_prompts && !l->host_memory && !l->rc && !l->counts)
		l->rc = device_synchronize(l->w->device, l->err);
}

int weights_open(struct weights *w, const struct model *m, const struct model_range *r, struct device *d,
		 const struct weights_places *places, struct error *err)
{
	*w = (struct weights){.device = d};
	struct loader l = {.w = w, .m = m, .err = err, .host_memory = device_has_host_memory(d)};
	load(&l, r, places);
	if (l.rc) {
		error_prefix(err, l.rc, "loading %s", m->file.path);
		weights_close(w);
	}
	return l.rc;
}

int weights_describe(struct weights *w, struct weights_bytes *bytes, const struct model *m, const struct model_range *r,
		     bool host_memory, const struct weights_places *places, struct error *err)
{
	*w = (struct weights){0};
	*bytes = (struct weights_bytes){0};
	struct loader l = {.w = w, .m = m, .err = err, .host_memory = host_memory, .counts = bytes};
	load(&l, r, places);
	return l.rc;
}

int weights_measure(struct weights_bytes *out, const struct model *m, const struct model_range *r, bool host_memory,
		    const struct weights_places *places, struct error *err)
{
	struct weights w;
	int rc = weights_describe(&w, out, m, r, host_memory, places, err);
	weights_close(&w);
	return rc;
}

void weights_close(struct weights *w)
{
	for (int i = 0; i < w->n_allocations; i++)
		device_free(w->device, w->allocations[i]);
	free(w->allocations);
	free(w->layers);
	*w = (struct weights){0};
}
