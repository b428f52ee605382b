/*
 * What a model is: its shape from the file's metadata, and its tensors, checked to
 * be there with the right shape. Nothing is on a device yet; see weights.h.
 *
 * Supported: general.architecture gemma4 (dense, per-layer embeddings, K = V, MoE),
 * gemma3 (text) and qwen3 (dense).
 */
#ifndef GEMMARK_ENGINE_MODEL_MODEL_H
#define GEMMARK_ENGINE_MODEL_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/model/gguf.h"
#include "engine/model/rope.h"

enum model_arch { MODEL_GEMMA4, MODEL_GEMMA3, MODEL_QWEN3 };

/* One layer. Tensor fields are null where the layer has none; shapes are (outer, inner). */
struct model_layer {
	bool sliding;
	int n_head;
	int n_head_kv;
	int head_dim;
	int n_ff;
	int kv_source; /* the layer whose cache this one attends; its own index if it owns one */
	bool v_is_k;   /* v is k's projection before k's norm */
	/* Of q . k: 1 on gemma4, 1/sqrt(head_dim) on gemma3 and qwen3, 1/sqrt(n_embd/n_head) on gemma3 of 62 layers,
	 * times the square of RoPE's attention factor: it scales q and k alike, and nothing but their product sees it.
	 */
	float attention_scale;

	const struct gguf_tensor *attn_norm;           /* (n_embd) */
	const struct gguf_tensor *attn_q;              /* (n_head * head_dim, n_embd) */
	const struct gguf_tensor *attn_k;              /* (n_head_kv * head_dim, n_embd); null when shared */
	const struct gguf_tensor *attn_v;              /* as attn_k; null when shared or v_is_k */
	const struct gguf_tensor *attn_output;         /* (n_embd, n_head * head_dim) */
	const struct gguf_tensor *attn_q_norm;         /* (head_dim) */
	const struct gguf_tensor *attn_k_norm;         /* (head_dim) */
	const struct gguf_tensor *post_attention_norm; /* (n_embd) with post_norms */
	const struct gguf_tensor *ffn_norm;            /* (n_embd) */
	const struct gguf_tensor *ffn_gate;            /* (n_ff, n_embd) */
	const struct gguf_tensor *ffn_up;              /* (n_ff, n_embd) */
	const struct gguf_tensor *ffn_down;            /* (n_embd, n_ff) */
	const struct gguf_tensor *post_ffw_norm;       /* (n_embd) with post_norms */
	const struct gguf_tensor *inp_gate;            /* (n_ple, n_embd) */
	const struct gguf_tensor *proj;                /* (n_embd, n_ple) */
	const struct gguf_tensor *post_norm;           /* (n_embd) */
	const struct gguf_tensor *layer_output_scale;  /* (1) or null */
	/* MoE */
	const struct gguf_tensor *ffn_gate_inp;        /* (n_expert, n_embd) */
	const struct gguf_tensor *ffn_gate_inp_scale;  /* (n_embd) */
	const struct gguf_tensor *ffn_gate_up_exps;    /* (n_expert, 2 * n_ff_expert, n_embd), gate rows first */
	const struct gguf_tensor *ffn_gate_exps;       /* (n_expert, n_ff_expert, n_embd) where gate_up is null */
	const struct gguf_tensor *ffn_up_exps;         /* as ffn_gate_exps, and of its type */
	const struct gguf_tensor *ffn_down_exps;       /* (n_expert, n_embd, n_ff_expert) */
	const struct gguf_tensor *ffn_down_exps_scale; /* (n_expert), null for 1 */
	const struct gguf_tensor *pre_ffw_norm_2;      /* (n_embd) */
	const struct gguf_tensor *post_ffw_norm_1;     /* (n_embd) */
	const struct gguf_tensor *post_ffw_norm_2;     /* (n_embd) */
};

struct model {
	struct gguf file;
	enum model_arch arch;
	char name[96]; /* general.name, or the architecture; a name as base/text.h has it */

	int n_layer;
	int n_embd;
	int n_vocab;
	int n_context; /* trained */
	int n_ple;     /* width of the per-layer embeddings, 0: none */
	int n_expert;  /* 0: dense */
	int n_expert_used;
	int n_ff_expert;
	int window; /* of sliding layers, 0: none */
	int n_shared_kv;
	float eps;
	float embed_scale;
	float softcap;              /* 0: none */
	enum activation activation; /* of gates: the FFN's, the experts', the per-layer embeddings' */
	bool v_norm;                /* V is normed, without a weight */
	bool post_norms; /* a sublayer's output is normed before it is added: post_attention_norm, post_ffw_norm */
	double rope_base;
	double rope_base_swa;
	struct rope_scaling rope_scaling; /* of global layers; sliding ones see no far position and are not scaled */

	const struct gguf_tensor *token_embd;           /* (n_vocab, n_embd) */
	const struct gguf_tensor *output;               /* (n_vocab, n_embd); token_embd when tied */
	const struct gguf_tensor *output_norm;          /* (n_embd) */
	const struct gguf_tensor *rope_freqs;           /* (head_dim / 2) of global layers, or null */
	const struct gguf_tensor *per_layer_token_embd; /* (n_vocab, n_layer * n_ple) */
	const struct gguf_tensor *per_layer_model_proj; /* (n_layer * n_ple, n_embd) */
	const struct gguf_tensor *per_layer_proj_norm;  /* (n_ple) */
	struct model_layer *layers;                     /* (n_layer) */
};

/* Returns 0, or what gguf_open returns, or ERROR_INPUT that names the key or tensor. */
int model_open(struct model *m, const char *path, struct error *err);
/* The part after the file is open: for a model whose m->file came from gguf_open_memory. */
int model_read(struct model *m, struct error *err);
/* Also valid on a zeroed struct, and after model_read failed. */
void model_close(struct model *m);

/* "gemma4", "gemma3", "qwen3" */
const char *model_arch_name(enum model_arch a);

/* "Q4_K_M", as the file itself says; null where it does not, or says what is none of the known ones. */
const char *model_file_type(const struct model *m);

/* What one device runs of a model: layers [begin, end), and what comes before and behind all layers. */
struct model_range {
	int begin;
	int end;
	bool embed; /* the embedding, with the per-layer ones of all layers */
	bool head;  /* the final norm and the output matrix */
};

struct model_range model_whole(const struct model *m);
/* The first of the layers at the end that write no cache: later tokens never see what they compute. */
int model_first_reader(const struct model *m);
/* Whether a layer in [begin, end) attends this layer's cache. The layer itself may be outside. */
bool model_attends(const struct model *m, int begin, int end, int layer);

/* Weight bytes that one decoded token reads, as the file stores them; MoE counts the experts used. */
size_t model_decode_bytes(const struct model *m);
/* The part of a range. */
size_t model_range_bytes(const struct model *m, const struct model_range *r);
/* The part of one layer. */
size_t model_layer_bytes(const struct model *m, int layer);
/* Slots of a layer's cache: `context` on global layers, the ring on sliding ones: window - 1 + slack, where
 * slack is how many positions may be appended at once before the oldest window is overwritten. */
int model_kv_slots(const struct model *m, int layer, int context, int slack);
/* Cache bytes for so many positions, all layers. */
size_t model_kv_bytes(const struct model *m, int context, int slack, enum tensor_type k_type, enum tensor_type v_type);
/* Of the caches that layers [begin, end) attend, those of earlier layers included. */
size_t model_range_kv_bytes(const struct model *m, int begin, int end, int context, int slack, enum tensor_type k_type,
			    enum tensor_type v_type);

#endif
