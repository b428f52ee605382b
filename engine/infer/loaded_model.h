/*
 * A model's weights on the devices that run them: what takes long to load, for the sessions that
 * share it. A session owns the rest: cache, activations, graphs.
 *
 * On one device the model is one part. On two, the first layers are the first part's, the
 * others the second's, which is the host's; the head is either's.
 *
 * One thread for a loaded model and all its sessions, whose work goes through one stream a device.
 */
#ifndef GEMMARK_ENGINE_INFER_LOADED_MODEL_H
#define GEMMARK_ENGINE_INFER_LOADED_MODEL_H

#include "base/error.h"
#include "engine/device/device.h"
#include "engine/infer/load_options.h"
#include "engine/infer/weights.h"
#include "engine/model/model.h"

struct loaded_part {
	struct device *device;
	bool owns_device;
	struct model_range range; /* what it has the weights of */
	struct weights weights;
};

enum {
	LOADED_PARTS_MAX = 2,
	LOADED_MODEL_BATCH = 512, /* longest chunk where nothing else is asked for: what suits the host */
};

struct loaded_model {
	struct model model;
	struct loaded_part parts[LOADED_PARTS_MAX];
	int n_parts;
	int head_part;
	struct load_options options; /* as given; batch, prefill_weights, their context and the GPU's memory resolved */
	int n_gpu_layers;
	char device_name[32];   /* "host", "cuda", "cuda+host" */
	char gpu_reason[256];   /* why -1 chose the host; empty where it did not */
	struct error no_memory; /* why the GPU's memory was not measured for sessions in fusion persistent; empty: it
				   was, or nobody asked for it */
	double load_us;
	int n_sessions; /* open ones */
};

int loaded_model_open(struct loaded_model **out, const char *path, const struct load_options *o, struct error *err);

/*
 * The same on devices that the caller opened and closes, after the model: `first` in the place of the GPU, `host` in
 * that of the host device, whose kernels must read host memory. Either may be null where o has nothing for it
 * to do. n_gpu_layers must not be -1.
 */
int loaded_model_open_on(struct loaded_model **out, const char *path, const struct load_options *o,
			 struct device *first, struct device *host, struct error *err);

/* After its last session. */
void loaded_model_close(struct loaded_model *m);

/* ---- what the layers' place decides; placement_plan.h counts with the same functions ---- */

/* Which part has what, n_gpu_layers (0 to all) being on the first. Returns how many parts there are. */
int loaded_model_divide(const struct model *m, int n_gpu_layers, bool head_on_host,
			struct model_range out[LOADED_PARTS_MAX], int *head_part);
/* Whether prompts' products take float16 on a GPU, or on the host. */
bool loaded_model_narrow(const struct load_options *o, bool gpu);
/* Layers that can have weights for prompts of their own: of the GPU's those that compute all rows of a prompt. */
int loaded_model_prompt_layers(const struct model *m, int n_gpu_layers);
/* The tables that stay in host memory, and how many layers have weights for prompts; PREFILL_WEIGHTS_AUTO: none. */
struct weights_places loaded_model_places(const struct model *m, const struct load_options *o, int n_gpu_layers,
					  int n_parts);
/* What the CUDA kernels of the first n_layers are specialised for, and how large a prompt's products get. */
int loaded_model_cuda_options(const struct model *m, int n_layers, const struct load_options *o,
			      struct cuda_open_options *out, struct error *err);
/* Longest chunk of a session with this context; o->batch <= 0: LOADED_MODEL_BATCH at most. */
int loaded_model_batch(const struct load_options *o, int context);

/* Threads of the host device; 1 where the model has no part there. */
int loaded_model_threads(const struct loaded_model *m);

#endif
