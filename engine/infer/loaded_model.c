#include "engine/infer/loaded_model.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "engine/device/device_host.h"
#include "engine/device/nvtx.h"
#include "engine/infer/placement_plan.h"

struct prefill_weights_name prefill_weights_name(int n_layers)
{
	struct prefill_weights_name name;
	const char *word = n_layers == PREFILL_WEIGHTS_AUTO       ? "auto"
			   : n_layers == PREFILL_WEIGHTS_CONVERT  ? "convert"
			   : n_layers == PREFILL_WEIGHTS_RESIDENT ? "resident"
								  : NULL;
	if (word)
		snprintf(name.text, sizeof name.text, "%s", word);
	else
		snprintf(name.text, sizeof name.text, "%d", n_layers);
	return name;
}

const char *persistent_limits_name(enum persistent_limits_by by)
{
	return by == PERSISTENT_LIMITS_MEASURED ? "measured" : "constant";
}

void load_options_default(struct load_options *o)
{
	*o = (struct load_options){
		.n_gpu_layers = -1,
		.k_type = TENSOR_F16,
		.v_type = TENSOR_F16,
		.pdl = true,
		.prefill = PREFILL_F16,
		.prefill_weights = PREFILL_WEIGHTS_AUTO,
	};
}

static int larger(int a, int b)
{
	return a > b ? a : b;
}

static int smaller(int a, int b)
{
	return a < b ? a : b;
}

static int batch_of(const struct load_options *o)
{
	return o->batch > 0 ? o->batch : LOADED_MODEL_BATCH;
}

int loaded_model_batch(const struct load_options *o, int context)
{
	return smaller(batch_of(o), context);
}

static bool is_router(const struct model *m, const struct gguf_tensor *t)
{
	for (int i = 0; i < m->n_layer; i++)
		if (m->layers[i].ffn_gate_inp == t)
			return true;
	return false;
}

int loaded_model_cuda_options(const struct model *m, int n_layers, const struct load_options *o,
			      struct cuda_open_options *out, struct error *err)
{
	enum { HEAD_DIMS = sizeof out->dims.head_dims / sizeof *out->dims.head_dims };
	*out = (struct cuda_open_options){
		.dims = {.k_type = o->k_type, .v_type = o->v_type, .n_embd = m->n_embd, .experts = m->n_expert > 0},
		.pdl = o->pdl,
		.prefill = o->prefill,
		.batch = batch_of(o),
		.n_in_max = larger(m->n_embd, m->n_ple),
		.memory = o->memory,
	};
	struct cuda_dims *dims = &out->dims;
	for (int i = 0; i < n_layers; i++) {
		const struct model_layer *l = &m->layers[i];
		out->n_in_max = larger(out->n_in_max, larger(l->n_ff, l->n_head * l->head_dim));
		int j = 0;
		while (j < dims->n_head_dims && dims->head_dims[j] != l->head_dim)
			j++;
		if (j < dims->n_head_dims)
			continue;
		if (j == HEAD_DIMS)
			return error_set(err, ERROR_UNSUPPORTED, "the CUDA kernels take at most %d head dimensions",
					 HEAD_DIMS);
		dims->head_dims[dims->n_head_dims++] = l->head_dim;
	}
	dims->n_in_max = out->n_in_max;
	for (size_t i = 0; i < m->file.n_tensors; i++) {
		const struct gguf_tensor *t = &m->file.tensors[i];
		if (t->n_dims < 2)
			continue;
		dims->weights |= 1u << t->type;
		dims->streams |= is_router(m, t) ? 0 : 1u << t->type;
	}
	return 0;
}

int loaded_model_divide(const struct model *m, int n_gpu_layers, bool head_on_host,
			struct model_range out[LOADED_PARTS_MAX], int *head_part)
{
	int all = m->n_layer;
	*head_part = 0;
	if (n_gpu_layers == 0 || (n_gpu_layers == all && !head_on_host)) {
		out[0] = model_whole(m);
		return 1;
	}
	*head_part = head_on_host;
	out[0] = (struct model_range){.end = n_gpu_layers, .embed = true, .head = !head_on_host};
	out[1] = (struct model_range){.begin = n_gpu_layers, .end = all, .head = head_on_host};
	return 2;
}

bool loaded_model_narrow(const struct load_options *o, bool gpu)
{
	return gpu && o->prefill == PREFILL_F16;
}

int loaded_model_prompt_layers(const struct model *m, int n_gpu_layers)
{
	return smaller(n_gpu_layers, model_first_reader(m));
}

/* A table that is only gathered from is not worth the memory of a device that lacks some already. */
struct weights_places loaded_model_places(const struct model *m, const struct load_options *o, int n_gpu_layers,
					  int n_parts)
{
	return (struct weights_places){
		.token_embd = n_parts > 1,
		.per_layer_token_embd = o->ple_on_host && n_gpu_layers,
		.n_prompts = smaller(larger(o->prefill_weights, 0), loaded_model_prompt_layers(m, n_gpu_layers)),
	};
}

static int resolve_layers(struct loaded_model *m, struct error *err)
{
	const struct load_options *o = &m->options;
	int n = o->n_gpu_layers, all = m->model.n_layer;
	if (n < -1 || o->n_threads < 0)
		return error_set(err, ERROR_INPUT, "%d GPU layers with %d threads makes no sense", n, o->n_threads);
	struct error why = {0};
	if (n == -1 && device_cuda_probe(&why)) {
		text_escape(m->gpu_reason, sizeof m->gpu_reason, why.text);
		n = 0;
	}
	struct model_range ranges[LOADED_PARTS_MAX];
	m->n_gpu_layers = n == -1 || n > all ? all : n;
	m->n_parts = loaded_model_divide(&m->model, m->n_gpu_layers, o->head_on_host, ranges, &m->head_part);
	for (int i = 0; i < m->n_parts; i++)
		m->parts[i].range = ranges[i];
	return 0;
}

/* A device that somebody else opened stands for a GPU of unknown memory. */
static int settle_prompts(struct loaded_model *m, const struct device *first, struct error *err)
{
	struct load_options *o = &m->options;
	bool open = o->batch <= 0 || o->prefill_weights == PREFILL_WEIGHTS_AUTO;
	size_t memory = o->gpu_memory;
	if (o->prefill_weights > 0 && o->prefill != PREFILL_F16)
		return error_set(err, ERROR_INPUT,
				 "prompts in %s take no resident weights; use them in f16, or convert the weights",
				 prefill_precision_name(o->prefill));
	if (open && m->n_gpu_layers && !first && !memory && device_cuda_free_memory(&memory, NULL))
		memory = 0;
	o->batch = placement_plan_batch(&m->model, o, m->n_gpu_layers, memory);
	o->prefill_weights = placement_plan_weights(&m->model, o, m->n_gpu_layers, memory);
	o->context = placement_plan_context(&m->model, o);
	return 0;
}

/* Where it cannot be measured, the constants do; no_memory says why. */
static void measure_memory(struct loaded_model *m, const struct device *first)
{
	struct load_options *o = &m->options;
	bool wanted = o->persistent && m->n_gpu_layers && o->limits_by == PERSISTENT_LIMITS_MEASURED;
	if (!wanted)
		o->memory = (struct cuda_memory){0};
	else if (!first && o->memory.bytes_s == 0)
		device_cuda_measure(&o->memory, &m->no_memory);
}

static int open_host(struct device **out, const struct load_options *o, struct error *err)
{
	int rc = device_host_open(out, o->n_threads, err);
	if (!rc && (rc = device_host_set_products(*out, o->host_products, err))) {
		device_close(*out);
		*out = NULL;
	}
	return rc;
}

static int open_devices(struct loaded_model *m, struct error *err)
{
	const struct load_options *o = &m->options;
	for (int i = 0; i < m->n_parts; i++) {
		struct loaded_part *part = &m->parts[i];
		bool gpu = i == 0 && m->n_gpu_layers > 0;
		int rc;
		if (!part->device) {
			struct cuda_open_options cuda;
			if (!gpu)
				rc = open_host(&part->device, o, err);
			else if (!(rc = loaded_model_cuda_options(&m->model, part->range.end, o, &cuda, err)) &&
				 (rc = device_cuda_open(&part->device, &cuda, err)))
				error_prefix(err, rc, "-ngl %d", o->n_gpu_layers);
			if (rc)
				return rc;
			part->owns_device = true;
		}
		size_t used = strlen(m->device_name);
		snprintf(m->device_name + used, sizeof m->device_name - used, "%s%s", used ? "+" : "",
			 device_name(part->device));
	}
	return 0;
}

static int load_weights(struct loaded_model *m, struct error *err)
{
	const struct weights_places places = loaded_model_places(&m->model, &m->options, m->n_gpu_layers, m->n_parts);
	int rc = 0;
	for (int i = 0; i < m->n_parts && !rc; i++) {
		struct loaded_part *part = &m->parts[i];
		rc = weights_open(&part->weights, &m->model, &part->range, part->device, &places, err);
	}
	return rc;
}

int loaded_model_open_on(struct loaded_model **out, const char *path, const struct load_options *o,
			 struct device *first, struct device *host, struct error *err)
{
	*out = NULL;
	struct loaded_model *m = calloc(1, sizeof *m);
	if (!m)
		return error_set(err, ERROR_MEMORY, "no memory for a model");
	int64_t t0 = clock_ns();
	m->options = *o;
	nvtx_push("load", 0);
	int rc;
	if ((rc = model_open(&m->model, path, err)) || (rc = resolve_layers(m, err)) ||
	    (rc = settle_prompts(m, first, err)))
		goto fail;
	measure_memory(m, first);
	m->parts[0].device = m->n_gpu_layers ? first : host;
	m->parts[1].device = host;
	if ((rc = open_devices(m, err)) || (rc = load_weights(m, err)))
		goto fail;
	m->load_us = (double)(clock_ns() - t0) * 1e-3;
	nvtx_pop();
	*out = m;
	return 0;
fail:
	nvtx_pop();
	loaded_model_close(m);
	return rc;
}

int loaded_model_open(struct loaded_model **out, const char *path, const struct load_options *o, struct error *err)
{
	return loaded_model_open_on(out, path, o, NULL, NULL, err);
}

void loaded_model_close(struct loaded_model *m)
{
	if (!m)
		return;
	assert(m->n_sessions == 0);
	for (int i = m->n_parts - 1; i >= 0; i--) {
		struct loaded_part *part = &m->parts[i];
		weights_close(&part->weights);
		if (part->owns_device)
			device_close(part->device);
	}
	model_close(&m->model);
	free(m);
}

int loaded_model_threads(const struct loaded_model *m)
{
	const struct device *last = m->parts[m->n_parts - 1].device;
	return device_has_host_memory(last) ? device_host_threads(last) : 1;
}
