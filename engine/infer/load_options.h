/* How a model is loaded, and what its sessions share: devices, cache types, chunks. */
#ifndef GEMMARK_ENGINE_INFER_LOAD_OPTIONS_H
#define GEMMARK_ENGINE_INFER_LOAD_OPTIONS_H

#include <stdbool.h>

#include "engine/cuda/device_cuda.h"
#include "kernels/params.h"

struct load_options {
	int n_threads;           /* host device threads; 0: one a physical core */
	int n_gpu_layers;        /* -1: all where there is a GPU; 0: none; N: the first N, or all if there are fewer */
	int batch;               /* longest prefill chunk; <= 0: as placement_plan_batch has it */
	enum tensor_type k_type; /* of the caches: one that caches may have */
	enum tensor_type v_type;
	/* Of the GPU; without one they change nothing. */
	bool head_on_host; /* the output head runs on the host, whatever the layers do */
	bool ple_on_host;  /* the per-layer embedding table stays in host memory, read by the GPU */
	bool pdl;          /* programmatic dependent launch, where the card has it */
	enum prefill_precision prefill;
};

/* f16 cache, all layers where they can go, the batch that suits; PLE on the device, PDL, bf16 prefill. */
void load_options_default(struct load_options *o);

#endif
