/* How a model is loaded, and what its sessions share: devices, cache types, chunks. */
#ifndef GEMMARK_ENGINE_INFER_LOAD_OPTIONS_H
#define GEMMARK_ENGINE_INFER_LOAD_OPTIONS_H

#include <limits.h>
#include <stdbool.h>

#include "engine/cuda/device_cuda.h"
#include "engine/device/device_host.h"
#include "kernels/params.h"

/*
 * How many of a GPU's layers, the first ones, have their weights a second time, made at load, for the products of
 * prompts in float16. The others' are converted from those that decoding reads, for each chunk of a prompt.
 */
enum {
	PREFILL_WEIGHTS_AUTO = -1,          /* as placement_plan_weights has it */
	PREFILL_WEIGHTS_CONVERT = 0,        /* none */
	PREFILL_WEIGHTS_RESIDENT = INT_MAX, /* all */
};

/* "auto", "convert", "resident", or the number */
struct prefill_weights_name {
	char text[12];
};
struct prefill_weights_name prefill_weights_name(int n_layers);

/* How many of the sessions decode in fusion persistent, whose tiles of weights then need room on the GPU too. */
enum persistent_sessions {
	PERSISTENT_SESSIONS_NONE,
	PERSISTENT_SESSIONS_SOME, /* the others' placement is as if there were none where the tiles find no room */
	PERSISTENT_SESSIONS_ALL,  /* all layers go on the GPU, or the placement is none */
};

/* How much memory those ask for ahead (kernels/cuda/persistent_limits.c). */
enum persistent_limits_by {
	PERSISTENT_LIMITS_MEASURED, /* as the GPU's memory was measured */
	PERSISTENT_LIMITS_CONSTANT, /* as suits an H100 */
};
/* "measured", "constant" */
const char *persistent_limits_name(enum persistent_limits_by by);

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
	int prefill_weights; /* layers, or PREFILL_WEIGHTS_ */
	/* What choices that are left open plan for. */
	int context;       /* positions that a session will hold at most; fewer than the model was trained for: those */
	size_t gpu_memory; /* bytes of the GPU; 0: what it has free */
	enum persistent_sessions persistent;
	struct cuda_card card; /* that those would run on; n_sm 0: the GPU, or an H100 where there is none */
	enum persistent_limits_by limits_by;
	struct cuda_memory memory; /* of the GPU; zeroes: measured when it is needed */
};

/* f16 cache, float32 products on the host, all layers where they can go, the batch that suits; PLE on the device, PDL,
 * f16 prefill with the weights that suit. */
void load_options_default(struct load_options *o);

#endif
