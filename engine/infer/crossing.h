/*
 * What one device leaves for the next between two layers: rows of the residual stream, of
 * the per-layer embeddings of the layers to come, and of the keys and values that those
 * layers attend. The bytes lie in host memory that both devices reach: the forward pass
 * copies into it and out of it, as part of its graphs.
 */
#ifndef GEMMARK_ENGINE_INFER_CROSSING_H
#define GEMMARK_ENGINE_INFER_CROSSING_H

#include <stddef.h>

#include "base/error.h"
#include "engine/device/device.h"
#include "engine/model/model.h"

/* The memory as one of the devices addresses it. T = batch rows. */
struct crossing_end {
	float *h;   /* (T, n_embd) */
	float *ple; /* (T, n_layer - layer, n_ple); null where the model has none or no layer follows */
	/*
	 * (n_layer) each, (T, n_head_kv * head_dim): of layers that are read behind the crossing, null elsewhere. As
	 * attention's input, not as the cache holds them: each device rounds them to its own cache.
	 */
	float **k;
	float **v;
};

struct crossing {
	int layer; /* the first one behind it; n_layer: only the head is */
	struct crossing_end from;
	struct crossing_end to;
	struct device *device;
	void *memory; /* of device */
};

/*
 * Between layers `layer` - 1 and `layer`, for chunks of at most batch rows. pinned: the device of the two that gives
 * the memory (its alloc_mapped); gives: whether it is the one that the rows come from.
 */
int crossing_open(struct crossing *c, const struct model *m, int layer, int batch, struct device *pinned, bool gives,
		  struct error *err);
/* The memory that crossing_open allocates. */
size_t crossing_bytes(const struct model *m, int layer, int batch);
/* What a decoded token takes across in front of a layer. */
size_t crossing_token_bytes(const struct model *m, int layer);
/* Also valid on a zeroed struct. */
void crossing_close(struct crossing *c);

#endif
