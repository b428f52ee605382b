/* How a model is loaded, and what its sessions share: devices, cache types, chunks. */
#ifndef GEMMARK_ENGINE_INFER_LOAD_OPTIONS_H
#define GEMMARK_ENGINE_INFER_LOAD_OPTIONS_H

#include <stdbool.h>

#include "engine/cuda/device_cuda.h"
#include "engine/device/device_host.h"
#include "kernels/params.h"

/* Where the products of prompts, in float16, have the layers' weights from. */
enum prefill_weights {
	PREFILL_WEIGHTS_AUTO,     /* as placement_plan_weights has it */
	PREFILL_WEIGHTS_CONVERT,  /* from those that decoding reads, converted for each chunk of a prompt */
	PREFILL_WEIGHTS_RESIDENT, /* from a second copy, made at load */
	PREFILL_WEIGHTS_COUNT,
};

/* "auto", "convert", "resident"; -1 for none of them */
const char *prefill_weights_name(enum prefill_weights w);
int prefill_weights_parse(const char *name);

struct load_options {
	int n_threads; /* host device threads; 0: one a physical core */
	enum host_products host_products;
	int n_gpu_layers;        /* -1: all where there is a GPU; 0: none; N: the first N, or all if there are fewer */
	int batch;               /* longest prefill chunk; <= 0: as placement_plan_batch has it */
	enum tensor_type k_type; /* of the caches: one that caches may have */
	enum tensor_type v_type;
	/* Of the GPU; without one they change nothing. */
	bool head_on_host; /* the output head runs on the host, whatever the layers do */
	bool ple_on_host;  /* the per-layer embedding table stays in host memory, read by the GPU */
	bool pdl;          /* programmatic dependent launch, where the card has it */
	enum prefill_precision prefill;
	enum prefill_weights prefill_weights;
	/* What choices that are left open plan for. */
	int context;       /* positions that a session will hold at most; fewer than the model was trained for: those */
	size_t gpu_memory; /* bytes of the GPU; 0: what it has free */
};

/* f16 cache, float32 products on the host, all layers where they can go, the batch that suits; PLE on the device, PDL,
 * f16 prefill with the weights that suit. */
void load_options_default(struct load_options *o);

#endif
