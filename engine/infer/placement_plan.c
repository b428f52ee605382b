#include "engine/infer/placement_plan.h"

#include <stdlib.h>

#include "engine/cuda/device_cuda.h"
#include "engine/device/graph.h"
#include "engine/infer/crossing.h"
#include "engine/infer/forward.h"
#include "engine/infer/kv_cache.h"
#include "engine/infer/loaded_model.h"
#include "engine/infer/persistent.h"
#include "engine/infer/pipeline.h"
#include "engine/infer/weights.h"

enum { GPU_BATCH = 2048 };

/* What a plan without a GPU is for. As many tiles as on any card of eight multiprocessors or more. */
static const struct cuda_card h100 = {
	.n_sm = 132, .compute_capability = 90, .shared_per_sm = 228 << 10, .shared_per_block = 227 << 10};

static void merge(struct byte_count *to, const struct byte_count *from)
{
	to->bytes += from->bytes;
	to->taken += from->taken;
}

/* The side of an item that a device's allocations are on. */
static struct byte_count *side(struct placement_plan *p, enum placement_item item, bool gpu)
{
	return gpu ? &p->items[item].gpu : &p->items[item].host;
}

/* described: the caller closes it, also after a failure. */
static int add_weights(struct placement_plan *p, const struct model *m, const struct model_range *r, bool gpu,
		       const struct weights_places *places, struct weights *described, struct error *err)
{
	static const enum placement_item items[WEIGHTS_GROUP_COUNT] = {
		[WEIGHTS_LAYERS] = PLACEMENT_LAYERS,       [WEIGHTS_EMBEDDING] = PLACEMENT_EMBEDDING,
		[WEIGHTS_PLE_TABLE] = PLACEMENT_PLE_TABLE, [WEIGHTS_PLE_PROJECTION] = PLACEMENT_PLE_PROJECTION,
		[WEIGHTS_HEAD] = PLACEMENT_HEAD,           [WEIGHTS_PROMPTS] = PLACEMENT_PROMPT_WEIGHTS,
	};
	struct weights_bytes w;
	int rc = weights_describe(described, &w, m, r, !gpu, places, err);
	for (int g = 0; g < WEIGHTS_GROUP_COUNT && !rc; g++) {
		merge(side(p, items[g], gpu), &w.device[g]);
		p->items[items[g]].pinned += w.mapped[g];
		p->items[items[g]].in_place += w.in_place[g];
	}
	return rc;
}

/* How many of the first layers' weights for prompts, of `most`, find room. */
static int prompt_layers_within(const struct model *m, int most, size_t room)
{
	for (int i = 0; i < most; i++) {
		const struct model_range r = {.begin = i, .end = i + 1};
		const struct weights_places places = {.n_prompts = i + 1};
		struct weights_bytes w;
		if (weights_measure(&w, m, &r, false, &places, NULL) || w.device[WEIGHTS_PROMPTS].taken > room)
			return i;
		room -= w.device[WEIGHTS_PROMPTS].taken;
	}
	return most;
}

static int card_of(struct persistent_card *card, const struct model *m, const struct load_options *o, struct error *err)
{
	struct cuda_open_options cuda;
	int rc = loaded_model_cuda_options(m, m->n_layer, o, &cuda, err);
	card->card = o->card;
	if (!rc && !card->card.n_sm && device_cuda_card(&card->card, NULL))
		card->card = h100;
	card->card.memory = o->memory;
	if (!rc)
		card->chunks = cuda_persistent_chunks(&cuda.dims, &card->card);
	return rc;
}

/* What a session in that fusion allocates beside another. w: as weights_describe has it. */
static int add_persistent(struct placement_plan *p, const struct model *m, const struct load_options *o,
			  const struct model_range *r, bool gpu, const struct weights *w, struct error *err)
{
	struct persistent_card card;
	struct persistent_bytes bytes = {0};
	struct kv_cache cache = {.layers = calloc((size_t)m->n_layer, sizeof *cache.layers)};
	const struct forward f = {.model = m, .range = *r, .weights = w, .cache = &cache};
	int rc = cache.layers ? 0 : error_set(err, ERROR_MEMORY, "no memory for the cache of %d layers", m->n_layer);
	if (!rc && (!gpu || !(rc = card_of(&card, m, o, err)))) {
		kv_cache_describe(cache.layers, m, r, p->context, p->batch, p->k_type, p->v_type);
		rc = persistent_measure(&bytes, &f, gpu ? &card : NULL, &p->no_persistent);
		if (rc && rc != ERROR_UNSUPPORTED)
			error_set(err, rc, "%s", p->no_persistent.text);
		rc = rc == ERROR_UNSUPPORTED ? 0 : rc;
		if (gpu)
			p->persistent = bytes.shape;
	}
	byte_count_add(side(p, PLACEMENT_ACTIVATIONS, gpu), bytes.program);
	byte_count_add(side(p, PLACEMENT_TILED, gpu), bytes.tiled);
	free(cache.layers);
	return rc;
}

/* One device's part, as open_part of pipeline.c opens it. */
static int add_part(struct placement_plan *p, const struct model *m, const struct load_options *o,
		    const struct model_range *r, bool gpu, const struct weights_places *places, struct error *err)
{
	struct kv_cache_bytes kv;
	struct weights w;
	int rc = add_weights(p, m, r, gpu, places, &w, err);
	if (!rc && o->persistent)
		rc = add_persistent(p, m, o, r, gpu, &w, err);
	weights_close(&w);
	kv_cache_measure(&kv, m, r, p->context, p->batch, p->k_type, p->v_type);
	merge(side(p, PLACEMENT_KV, gpu), &kv.own);
	merge(side(p, PLACEMENT_KV_MIRRORED, gpu), &kv.mirrored);
	merge(side(p, PLACEMENT_KV_CHECKPOINT, gpu), &kv.checkpoint);
	byte_count_add(side(p, PLACEMENT_ACTIVATIONS, gpu),
		       forward_scratch_bytes(m, r, p->context, p->batch, loaded_model_narrow(o, gpu)));
	*(gpu ? &p->n_kv_gpu : &p->n_kv_host) += kv.n_own;
	p->n_kv_mirrored += kv.n_mirrored;
	return rc;
}

static int add_prompts(struct placement_plan *p, const struct model *m, const struct load_options *o, struct error *err)
{
	struct cuda_open_options cuda;
	int rc = loaded_model_cuda_options(m, p->n_gpu_layers, o, &cuda, err);
	if (rc)
		return rc;
	const struct cuda_prefill_bytes bytes = device_cuda_prefill_bytes(&cuda);
	struct byte_count *to = &p->items[PLACEMENT_PROMPTS].gpu;
	byte_count_add(to, bytes.workspace);
	byte_count_add(to, bytes.weights);
	byte_count_add(to, bytes.activations);
	byte_count_add(to, bytes.scales);
	return 0;
}

static int prefill_weights_of(const struct model *m, int n_prompt_layers, int n_gpu_layers)
{
	bool all = n_prompt_layers && n_prompt_layers == loaded_model_prompt_layers(m, n_gpu_layers);
	return all ? PREFILL_WEIGHTS_RESIDENT : n_prompt_layers;
}

int placement_plan(struct placement_plan *p, const struct model *m, const struct load_options *o, int n_gpu_layers,
		   int context, struct error *err)
{
	context = context > 0 ? context : m->n_context;
	*p = (struct placement_plan){
		.n_layer = m->n_layer,
		.n_gpu_layers = n_gpu_layers,
		.context = context,
		.batch = loaded_model_batch(o, context),
		.k_type = o->k_type,
		.v_type = o->v_type,
		.head_on_host = o->head_on_host,
	};
	struct model_range ranges[LOADED_PARTS_MAX];
	struct pipeline_route route[PIPELINE_STAGES_MAX];
	int head_part, n_parts = loaded_model_divide(m, n_gpu_layers, o->head_on_host, ranges, &head_part);
	int n_stages = pipeline_route(m, ranges, n_parts, head_part, route), rc = 0;
	const struct weights_places places = loaded_model_places(m, o, n_gpu_layers, n_parts);
	p->n_prompt_layers = places.n_prompts;
	p->prefill_weights = prefill_weights_of(m, places.n_prompts, n_gpu_layers);
	for (int i = 0; i < n_parts && !rc; i++)
		rc = add_part(p, m, o, &ranges[i], i == 0 && n_gpu_layers > 0, &places, err);
	for (int i = 0; i < n_stages; i++) {
		bool gpu = route[i].part == 0 && n_gpu_layers > 0;
		byte_count_add(side(p, PLACEMENT_ACTIVATIONS, gpu), graph_cache_device_bytes());
		if (i)
			p->items[PLACEMENT_CROSSING].pinned += crossing_bytes(m, route[i].range.begin, p->batch);
	}
	if (n_gpu_layers && !rc)
		rc = add_prompts(p, m, o, err);
	for (int i = 0; i < PLACEMENT_ITEM_COUNT; i++) {
		merge(&p->sum.gpu, &p->items[i].gpu);
		merge(&p->sum.host, &p->items[i].host);
		p->sum.pinned += p->items[i].pinned;
		p->sum.in_place += p->items[i].in_place;
	}
	return rc;
}

size_t placement_plan_gpu_need(const struct placement_plan *p)
{
	return p->n_gpu_layers ? p->sum.gpu.taken + PLACEMENT_RESERVE_BYTES : 0;
}

/* o, but that sessions in fusion persistent, some of all, are not planned for where they find room with no context. */
static struct load_options within_reach(const struct model *m, const struct load_options *o, int n_gpu_layers,
					size_t gpu_bytes)
{
	struct load_options least = *o, reached = *o;
	struct placement_plan p;
	least.batch = 1;
	if (o->persistent == PERSISTENT_SESSIONS_SOME && gpu_bytes &&
	    (placement_plan(&p, m, &least, n_gpu_layers, 1, NULL) || placement_plan_gpu_need(&p) > gpu_bytes))
		reached.persistent = PERSISTENT_SESSIONS_NONE;
	return reached;
}

int placement_plan_context(const struct model *m, const struct load_options *o)
{
	int promised = m->n_context < PLACEMENT_CONTEXT ? m->n_context : PLACEMENT_CONTEXT;
	return o->context > promised ? o->context : promised;
}

int placement_plan_batch(const struct model *m, const struct load_options *o, int n_gpu_layers, size_t gpu_bytes)
{
	struct load_options longer;
	struct placement_plan p;
	if (o->batch > 0)
		return o->batch;
	if (!gpu_bytes || n_gpu_layers < m->n_layer || o->head_on_host)
		return LOADED_MODEL_BATCH;
	longer = within_reach(m, o, n_gpu_layers, gpu_bytes);
	longer.batch = GPU_BATCH;
	if (placement_plan(&p, m, &longer, m->n_layer, placement_plan_context(m, o), NULL))
		return LOADED_MODEL_BATCH;
	return placement_plan_gpu_need(&p) <= gpu_bytes ? GPU_BATCH : LOADED_MODEL_BATCH;
}

int placement_plan_weights(const struct model *m, const struct load_options *o, int n_gpu_layers, size_t gpu_bytes)
{
	struct placement_plan p;
	int most = loaded_model_prompt_layers(m, n_gpu_layers), n = o->prefill_weights;
	if (n == PREFILL_WEIGHTS_AUTO) {
		size_t room = gpu_bytes > PLACEMENT_AMPLE_BYTES ? gpu_bytes - PLACEMENT_AMPLE_BYTES : 0;
		const struct load_options reached = within_reach(m, o, n_gpu_layers, gpu_bytes);
		if (!most || !room || o->prefill != PREFILL_F16 ||
		    placement_plan(&p, m, &reached, n_gpu_layers, placement_plan_context(m, o), NULL) ||
		    placement_plan_gpu_need(&p) > room)
			return PREFILL_WEIGHTS_CONVERT;
		n = prompt_layers_within(m, most, room - placement_plan_gpu_need(&p));
	}
	return prefill_weights_of(m, n < most ? n : most, n_gpu_layers);
}

int placement_plan_suited(struct placement_plan *p, const struct model *m, const struct load_options *o,
			  int n_gpu_layers, int context, size_t gpu_bytes, struct error *err)
{
	struct load_options suited = *o;
	suited.batch = placement_plan_batch(m, o, n_gpu_layers, gpu_bytes);
	suited.context = context;
	suited.prefill_weights = placement_plan_weights(m, &suited, n_gpu_layers, gpu_bytes);
	int rc = placement_plan(p, m, &suited, n_gpu_layers, context, err);
	if (rc || o->persistent != PERSISTENT_SESSIONS_SOME || !gpu_bytes)
		return rc;
	struct placement_plan others;
	struct error why;
	suited.persistent = PERSISTENT_SESSIONS_NONE;
	if (placement_plan_check_persistent(p, gpu_bytes, &why) &&
	    !(rc = placement_plan(&others, m, &suited, n_gpu_layers, context, err)) &&
	    placement_plan_gpu_need(&others) <= gpu_bytes) {
		*p = others;
		p->no_persistent = why;
	}
	return rc;
}

int placement_plan_most(struct placement_plan *p, const struct model *m, const struct load_options *o, int context,
			size_t gpu_bytes, struct error *err)
{
	/* What the GPU holds grows with its layers: bisect between what fits and the first that does not. */
	int fits = 0, fails = m->n_layer + 1, rc = 0;
	if (o->persistent == PERSISTENT_SESSIONS_ALL) {
		rc = placement_plan_suited(p, m, o, m->n_layer, context, gpu_bytes, err);
		if (rc || !*p->no_persistent.text)
			return rc;
	}
	while (fails - fits > 1 && !rc) {
		int n = fails == m->n_layer + 1 ? m->n_layer : fits + (fails - fits) / 2;
		rc = placement_plan_suited(p, m, o, n, context, gpu_bytes, err);
		if (placement_plan_gpu_need(p) <= gpu_bytes)
			fits = n;
		else
			fails = n;
	}
	return rc ? rc : placement_plan_suited(p, m, o, fits, context, gpu_bytes, err);
}

int placement_plan_check_persistent(const struct placement_plan *p, size_t gpu_bytes, struct error *err)
{
	const struct placement_bytes *tiled = &p->items[PLACEMENT_TILED];
	size_t need = placement_plan_gpu_need(p);
	if (!tiled->gpu.bytes || need <= gpu_bytes)
		return 0;
	const double mib = 1 << 20;
	return error_set(
		err, ERROR_MEMORY,
		"fusion persistent needs all %d layers on the GPU and their weights there once more, in tiles: with a "
		"context of %d positions %.1f MiB, %.1f of them tiles, and %.1f MiB are free; use a smaller context or "
		"cache type%s%s, or --fusion full, which needs no tiles",
		p->n_layer, p->context, (double)need / mib, (double)tiled->gpu.taken / mib, (double)gpu_bytes / mib,
		p->n_prompt_layers ? ", --prefill-weights convert" : "",
		p->items[PLACEMENT_PLE_TABLE].gpu.bytes ? ", --ple host" : "");
}

int placement_plan_check_host(const struct placement_plan *p, size_t host_bytes, struct error *err)
{
	size_t need = p->sum.host.bytes + p->sum.pinned;
	if (!host_bytes || need <= host_bytes)
		return 0;
	return error_set(
		err, ERROR_MEMORY,
		"a context of %d positions with %d of %d layers on the GPU needs %zu bytes of host memory, %zu "
		"are available; use a smaller context or cache type",
		p->context, p->n_gpu_layers, p->n_layer, need, host_bytes);
}
