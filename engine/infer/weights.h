/*
 * A range of a model's tensors where a device's kernels can read them.
 *
 * On a device that reads host memory, matrices stay in the mapped file: loading
 * costs no copy, and the model must stay open as long as the weights; only experts whose
 * gate and up the file keeps apart are copied, into the one matrix that kernels read. Elsewhere
 * Q8_0 and the types of fewer bits are repacked to planes, float32 matrices whose every value bfloat16 can hold are
 * narrowed to it (no bit is lost), and everything is uploaded.
 */
#ifndef GEMMARK_ENGINE_INFER_WEIGHTS_H
#define GEMMARK_ENGINE_INFER_WEIGHTS_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/device/byte_count.h"
#include "engine/device/device.h"
#include "engine/model/model.h"

/* Pointers are device addresses; what a layer lacks is null or a weight with data null. */
struct layer_weights {
	const float *attn_norm;
	const float *q_norm;
	const float *k_norm;
	const float *post_attention_norm;
	const float *ffn_norm;
	const float *post_ffw_norm;
	const float *post_norm;
	const float *inv_freq; /* (head_dim / 2), of this layer's kind */
	struct weight q, k, v, o;
	struct weight gate, up, down;
	struct weight inp_gate, proj;
	/*
	 * For prompts' products, of the layers that weights_places asks for: F16, q's rows in front of k's and v's and
	 * gate's in front of up's. Data null where there is none.
	 */
	struct weight prompt_qkv, prompt_o, prompt_gate_up, prompt_down, prompt_inp_gate, prompt_proj;
	float output_scale; /* 1 where the layer has none */
	/* MoE */
	struct weight router; /* (n_expert, n_embd) */
	const float *router_scale;
	struct weight gate_up_exps, down_exps;
	const float *down_exps_scale;
	const float *pre_ffw_norm_2, *post_ffw_norm_1, *post_ffw_norm_2;
};

struct weights {
	struct device *device;
	struct weight token_embd;
	struct weight output;
	struct weight per_layer_token_embd;
	struct weight per_layer_model_proj;
	const float *output_norm;
	const float *per_layer_proj_norm;
	struct layer_weights *layers; /* (n_layer); zero outside the range */
	size_t bytes;                 /* that the device's kernels read weights from, in place or copied; once */
	size_t prompt_bytes;          /* of those for prompts beside them */
	size_t mapped_bytes;          /* the part of it in host memory that the device reads across the bus */
	int n_narrowed;               /* float32 matrices kept as bfloat16 */
	size_t narrowed_bytes;        /* that this saved */
	void **allocations;           /* owned, on the device */
	int n_allocations;
	int cap_allocations;
};

/* Where what goes that has a choice. */
struct weights_places {
	/* Tables that stay in host memory which the device reads: a token needs one row of them. */
	bool token_embd; /* no effect where the head is in the range too and tied to it */
	bool per_layer_token_embd;
	/* The model's first layers have their matrices also in float16, those that compute all of a prompt's rows, on a
	 * device with memory of its own. */
	int n_prompts;
};

/* Those of the range; the others' stay zero. The model and the device outlive the weights. */
int weights_open(struct weights *w, const struct model *m, const struct model_range *r, struct device *d,
		 const struct weights_places *places, struct error *err);
/* Also valid on a zeroed struct. */
void weights_close(struct weights *w);

enum weights_group {
	WEIGHTS_LAYERS,
	WEIGHTS_EMBEDDING, /* 0 where the head's matrix, on the same device, is the table too */
	WEIGHTS_PLE_TABLE,
	WEIGHTS_PLE_PROJECTION,
	WEIGHTS_HEAD,
	WEIGHTS_PROMPTS,
	WEIGHTS_GROUP_COUNT,
};

/* What weights_open allocates. */
struct weights_bytes {
	struct byte_count device[WEIGHTS_GROUP_COUNT];
	size_t mapped[WEIGHTS_GROUP_COUNT];   /* host memory that the device reads */
	size_t in_place[WEIGHTS_GROUP_COUNT]; /* allocates nothing: read where the file is mapped */
};

/*
 * The same pass as weights_open's, which allocates nothing and needs no device. host_memory: as the device's ops have
 * it. Reads the float32 matrices that bfloat16 can hold, to know that.
 */
int weights_measure(struct weights_bytes *out, const struct model *m, const struct model_range *r, bool host_memory,
		    const struct weights_places *places, struct error *err);
/* The same, and the weights as they would be: shapes and types, but pointers into nothing. weights_close, also after a
 * failure. */
int weights_describe(struct weights *w, struct weights_bytes *bytes, const struct model *m, const struct model_range *r,
		     bool host_memory, const struct weights_places *places, struct error *err);

#endif
