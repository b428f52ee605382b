/*
 * The forward pass: which kernels, in which order, over which buffers. forward.c, and
 * forward_prompt.c for prompts in float16, know the models' mathematics; nothing here names a backend.
 *
 * A chunk of prefill runs the primitives over up to `batch` rows, or forward_prompt.c's kernels. A decoded token is
 * emitted as a graph_emit function, so that graph.c can launch it, capture it, or emit it
 * again. Both go stage by stage: a stage is what one device does in a row. A model on one
 * device is one stage, from the embedding gather to the logits.
 */
#ifndef GEMMARK_ENGINE_INFER_FORWARD_H
#define GEMMARK_ENGINE_INFER_FORWARD_H

#include <stdbool.h>

#include "engine/device/graph.h"
#include "engine/infer/crossing.h"
#include "engine/infer/kv_cache.h"
#include "engine/infer/persistent.h"
#include "engine/infer/sampling.h"
#include "engine/infer/snapkv.h"
#include "engine/infer/weights.h"
#include "engine/model/model.h"

/* persistent: as a token's program (persistent.h); prompts, which it does not do, as full. */
enum fusion { FUSION_NONE, FUSION_FULL, FUSION_PERSISTENT, FUSION_COUNT };

/* "none", "full", "persistent"; -1 for none of them */
const char *fusion_name(enum fusion f);
int fusion_parse(const char *name);

enum { PROMPT_ROWS_LEAST = 9 }; /* of prompts in float16: the device's products of fewer rows are float32 */

/* Activations, on the device. T = batch rows. */
struct forward_scratch {
	int *tokens;             /* (T) */
	float *h;                /* (T, n_embd): the residual stream */
	float *normed;           /* (T, n_embd) */
	float *sub;              /* (T, n_embd): a sublayer's output */
	float *sub_norm;         /* (T, n_embd): the same, normed */
	float *q;                /* (T, max n_head * head_dim) */
	float *k;                /* (T, max n_head_kv * head_dim) */
	float *v;                /* as k */
	float *attn;             /* as q */
	float *partial;          /* (max n_head, max splits of any device, max head_dim + 2) */
	float *gate;             /* (T, max n_ff) */
	float *up;               /* as gate */
	float *ple;              /* (T, n_layer - ple_first, n_ple) */
	float *ple_proj;         /* as ple; where the device embeds */
	float *ple_gate;         /* (T, n_ple) */
	float *router;           /* (T, n_expert) */
	float *routed;           /* (T, n_embd): the experts' weighted sum */
	float *dense;            /* (T, n_embd): the dense branch beside the experts */
	int *ids;                /* (T, n_expert_used) */
	float *expert_weights;   /* (T, n_expert_used) */
	float *expert_gate_up;   /* (T, n_expert_used, 2 * n_ff_expert) */
	float *expert_act;       /* (T, n_expert_used, n_ff_expert) */
	float *expert_out;       /* (T, n_expert_used, n_embd) */
	float *logits;           /* (logit_rows, n_vocab); where the device has the head */
	struct sampler *sampler; /* where the device has the head */
	float *trace;            /* (n_layer + 1, n_embd) */
	/* Of prompts in float16 alone. k, v, gate, up, ple_gate and what experts leave then have fewer rows. */
	void *products;     /* (T, q + 2 kv) float32, or (T, 2 * max n_ff) f16 */
	void *rows;         /* (T, max n_embd, n_ff, q, n_ple) f16: what a product takes */
	float *rows_scale;  /* (T) */
	float *gated_scale; /* (T): of rows that a gate left in rows */
	int *order;         /* (T, n_expert_used): pairs by expert */
	int *starts;        /* (n_expert + 1) */
	void *experts;      /* (T, n_expert_used, n_ff_expert) f16 */
};

/* What a device needs for its part of the model. */
struct forward {
	const struct model *model;
	struct model_range range; /* that part */
	const struct weights *weights;
	struct kv_cache *cache;
	struct snapkv *snapkv; /* gets the queries of prefilled tokens; null: nobody wants them */
	struct device *device;
	int batch;      /* longest chunk */
	int logit_rows; /* rows of logits computed at once; 0 without the head */
	int ple_first;  /* the first layer that scratch.ple has rows of */
	enum fusion fusion;
	bool narrow;         /* prompts' products take float16 */
	bool narrow_experts; /* those of their experts too */
	bool trace;          /* copy each layer's input (last row) and the final norm to scratch.trace */
	int bucket;          /* of the token that is about to be emitted; see forward_bucket */
	int bucket_most;     /* no layer has more splits in a larger one */
	bool varied;         /* its graph serves all buckets that splits_same_kernels has */
	struct forward_scratch scratch;
	struct persistent persistent; /* of forward_prepare */
	unsigned long long *stamps; /* the device's: where its tokens leave their time stamps; null: they leave none */
	void *arena;                /* what scratch points into */
	size_t arena_bytes;
	float *all_logits; /* (all_rows, n_vocab): of forward_head_all; null before forward_head_reserve */
	int all_rows;
};

/* Allocates all scratch. Everything pointed to outlives f. narrow: prompts in float16, where the shapes allow it. */
int forward_open(struct forward *f, const struct model *m, const struct model_range *r, const struct weights *w,
		 struct kv_cache *cache, struct device *d, int batch, bool narrow, struct error *err);
/* Also valid on a zeroed struct. */
void forward_close(struct forward *f);
/* Bytes of that scratch, for a cache of so many positions. */
size_t forward_scratch_bytes(const struct model *m, const struct model_range *r, int context, int batch, bool narrow);

/* A part of the forward's range that runs in a row, and what it takes from and leaves for other devices. */
struct forward_stage {
	struct forward *forward;
	struct model_range range;
	const struct crossing_end *in;  /* null where the range embeds */
	const struct crossing_end *out; /* null where it is the last */
};

/* A chunk on its way through the stages. */
struct forward_rows {
	int n;    /* tokens of the chunk */
	int pos;  /* of the first; that of `at` */
	int kept; /* so many of the last ones are still computed; the caller starts with all */
};

/* The rows of a chunk that the output head takes, and so those that the last layers are computed for. */
enum head_rows { HEAD_ROWS_NONE, HEAD_ROWS_LAST, HEAD_ROWS_ALL };

/*
 * Enqueues the stage for the chunk, at the position of its first row; where it embeds, the ids are in scratch.tokens.
 * Behind the last stage the residual stream of the chunk's last n_out (0 .. n) tokens is in the first rows of its
 * scratch.h. Layers at the end that read other layers' caches and write none (20 of E2B's 35) run for those n_out only,
 * and for those of the last rows whose queries SnapKV observes. The caller advances the cache, and waits for a stage
 * before it enqueues the next.
 */
int forward_chunk(const struct forward_stage *g, struct forward_rows *r, int n_out, const struct at *at,
		  struct error *err);
/* Bytes that forward_head_reserve allocates. */
size_t forward_all_rows_bytes(const struct model *m, int batch);
/* Memory for forward_head_all, once; a captured token knows nothing of it. ERROR_MEMORY. */
int forward_head_reserve(struct forward *f, struct error *err);
/*
 * Enqueues the head for rows [0, n) of scratch.h, in as few products as that memory lets it: what they say is kept of
 * the last row alone, in the first one of scratch.logits.
 */
int forward_head_all(struct forward *f, int n, struct error *err);
/* Enqueues the head for rows [first, first + n) of scratch.h, n <= logit_rows, into scratch.logits. */
int forward_head(struct forward *f, int first, int n, struct error *err);

/* A chunk through the only stage and the head, as a graph has it. */
struct forward_prompt {
	const struct forward_stage *stage;
	int n;
	int pos;
	enum head_rows head; /* all: behind forward_head_reserve */
};
/* Whether its nodes are the same whatever its position: SnapKV observes none of its rows. */
bool forward_prompt_repeats(const struct forward_prompt *c);
/* steps: (GRAPH_STEPS), as graph_run_chunk takes them. key: all of it but the mode. */
void forward_prompt_describe(const struct forward_prompt *c, struct graph_key *key, struct step *steps);
/* A graph_emit: ctx is the chunk. As forward_chunk and behind it forward_head or forward_head_all. */
int forward_prompt(void *ctx, const struct at *at, struct error *err);

/*
 * The attention bucket of a token, from which the number of splits of every layer follows: how many times
 * DEVICE_SPLIT_KEYS keys its global layers have at most, a power of two; no more than make a difference.
 */
int forward_bucket(const struct forward *f, const struct step *step);
/* What the tokens to come need beside f, in its fusion: ERROR_UNSUPPORTED says why they cannot be had in it. */
int forward_prepare(struct forward *f, struct error *err);
/* A graph_emit: ctx is the stage, whose forward's bucket must be that of the token. Logits land in scratch.logits. */
int forward_token(void *ctx, const struct at *at, struct error *err);
/* The same, and behind it the choice of the next token, where the stage has the head: scratch.sampler says how. */
int forward_token_chosen(void *ctx, const struct at *at, struct error *err);

#endif
