/*
 * What a placement takes of each device's memory, before anything is loaded, and how many layers
 * a GPU has room for. Counts with the functions that the allocations themselves use:
 * weights_describe, kv_cache_measure, forward_scratch_bytes, persistent_measure, crossing_bytes. Needs no GPU.
 *
 * What a GPU's driver takes beside the allocations (module code, cuBLASLt's kernels, graphs, fragments) cannot be known
 * before: PLACEMENT_RESERVE_BYTES is kept free for it.
 */
#ifndef GEMMARK_ENGINE_INFER_PLACEMENT_PLAN_H
#define GEMMARK_ENGINE_INFER_PLACEMENT_PLAN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "engine/device/byte_count.h"
#include "engine/infer/load_options.h"
#include "engine/model/model.h"
#include "kernels/cuda/cuda_kernels.h"

#define PLACEMENT_RESERVE_BYTES ((size_t)512 << 20)

enum placement_item {
	PLACEMENT_LAYERS,
	PLACEMENT_EMBEDDING,
	PLACEMENT_PLE_TABLE,
	PLACEMENT_PLE_PROJECTION,
	PLACEMENT_HEAD,
	PLACEMENT_PROMPT_WEIGHTS, /* in float16, beside those that decoding reads */
	PLACEMENT_TILED,          /* once more, as fusion persistent reads them */
	PLACEMENT_KV,
	PLACEMENT_KV_MIRRORED,   /* of GPU layers that host layers read */
	PLACEMENT_KV_CHECKPOINT, /* copies of the rings */
	PLACEMENT_ACTIVATIONS,   /* what graphs read the position from, and fusion persistent's program of a token */
	PLACEMENT_PROMPTS,       /* products of a prompt's chunks */
	PLACEMENT_CROSSING,
	PLACEMENT_ITEM_COUNT,
};

struct placement_bytes {
	struct byte_count gpu;  /* allocated on the GPU */
	struct byte_count host; /* allocated by the host device */
	size_t pinned;          /* host memory that the GPU reads */
	size_t in_place;        /* read by the host where the file is mapped; allocates nothing */
};

struct placement_plan {
	int n_layer;
	int n_gpu_layers;
	int context;
	int batch;
	enum tensor_type k_type, v_type;
	bool head_on_host;
	int prefill_weights;                    /* CONVERT, RESIDENT, or of how many layers where it is some */
	int n_prompt_layers;                    /* that have weights for prompts */
	int n_kv_gpu, n_kv_host, n_kv_mirrored; /* caches */
	struct error no_persistent;             /* why sessions in that fusion cannot be had; empty: none were asked
						 for, or they can */
	struct persistent_shape persistent;     /* what those sessions' kernel would be; zeroes where there is none */
	struct placement_bytes items[PLACEMENT_ITEM_COUNT];
	struct placement_bytes sum;
};

/* Nobody's prompts are longer unless o->context says so: what a model promises beyond is not kept room for. */
#define PLACEMENT_CONTEXT 131072
/* The context that the two choices below leave room for. */
int placement_plan_context(const struct model *m, const struct load_options *o);

/*
 * The longest chunk of prompts for o->batch <= 0: 2048 where the whole model is on a GPU and that context
 * fits gpu_bytes (0: unknown, it does not) beside the reserve with that; else LOADED_MODEL_BATCH. A GPU's products are
 * far below their rate with fewer rows; the host's are not.
 */
int placement_plan_batch(const struct model *m, const struct load_options *o, int n_gpu_layers, size_t gpu_bytes);

/* What is kept free where weights for prompts are made though nobody asked for them: for what else a GPU is used for.
 */
#define PLACEMENT_AMPLE_BYTES ((size_t)2 << 30)
/*
 * Of how many layers o->prefill_weights is: CONVERT, RESIDENT where it is of all that can have them, or the number.
 * AUTO: of the most whose weights for prompts, and what that context and o->batch need, leave PLACEMENT_AMPLE_BYTES of
 * gpu_bytes free beside the reserve; of none where prompts are not in float16. Sessions in fusion persistent come
 * first, but for PERSISTENT_SESSIONS_SOME that gpu_bytes has room for with no context.
 */
int placement_plan_weights(const struct model *m, const struct load_options *o, int n_gpu_layers, size_t gpu_bytes);

/*
 * With the first n_gpu_layers (0 to all) on a GPU. Of o: batch, cache types, head_on_host, ple_on_host, prefill,
 * prefill_weights (AUTO: CONVERT), persistent (NONE, or what those sessions take is counted), card, memory.
 * context <= 0: what the model was trained for. ERROR_UNSUPPORTED where the CUDA kernels cannot run the layers.
 */
int placement_plan(struct placement_plan *p, const struct model *m, const struct load_options *o, int n_gpu_layers,
		   int context, struct error *err);

/*
 * The same with the chunks and the weights for prompts that suit so many layers and gpu_bytes (0: unknown), where o
 * leaves them open. PERSISTENT_SESSIONS_SOME: what they take is left out, and no_persistent says what it lacks, where
 * gpu_bytes has room for the rest alone.
 */
int placement_plan_suited(struct placement_plan *p, const struct model *m, const struct load_options *o,
			  int n_gpu_layers, int context, size_t gpu_bytes, struct error *err);

/* The most layers, with the chunks and the weights for prompts that suit them, that leave PLACEMENT_RESERVE_BYTES of
 * gpu_bytes free; 0 where not even one does. Fills *p for it. PERSISTENT_SESSIONS_ALL: all layers, fit or not, where
 * the card and the model allow that fusion; see placement_plan_check_persistent. */
int placement_plan_most(struct placement_plan *p, const struct model *m, const struct load_options *o, int context,
			size_t gpu_bytes, struct error *err);

/* Bytes of a GPU that a plan needs, the reserve included; 0 without GPU layers. */
size_t placement_plan_gpu_need(const struct placement_plan *p);

/* Whether a plan with room for sessions in fusion persistent fits gpu_bytes; ERROR_MEMORY says what it needs. Of other
 * plans it does. */
int placement_plan_check_persistent(const struct placement_plan *p, size_t gpu_bytes, struct error *err);

/*
 * Whether the host's part of a plan fits host_bytes (0: unknown, it does); ERROR_MEMORY says what it needs. What is
 * read in place does not count: the page cache gives it back.
 */
int placement_plan_check_host(const struct placement_plan *p, size_t host_bytes, struct error *err);

#endif
