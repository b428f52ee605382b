/*
 * Random-weight GGUF files of the published shapes.
 *
 * A plan says what such a file holds: every tensor's name, type, shape and the
 * distribution of its values. Nothing is generated until synth_write, so that the
 * plan of a 60 GB model costs a few kilobytes.
 *
 * A value depends on the seed, the tensor's name and the element's index alone: not
 * on the type (a Q8_0 file is the quantisation of the F32 file of the same seed), the
 * number of threads or the machine. Names, shapes and metadata are those that
 * llama.cpp's converter writes; the vocabulary is empty (tokenizer.ggml.model none).
 */
#ifndef GEMMARK_ENGINE_MODEL_SYNTH_H
#define GEMMARK_ENGINE_MODEL_SYNTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/model/gguf.h"
#include "engine/model/gguf_write.h"
#include "engine/model/synth_mix.h"

enum { SYNTH_NAME_BYTES = 48 };

struct synth_options {
	const char *arch;          /* a name of synth_arch_name */
	enum tensor_type type;     /* of matrices, as synth_mix.h has it; vectors and the MoE router are always F32 */
	enum synth_mix mix;        /* its type is `type` */
	enum tensor_type ple_type; /* of inp_gate, proj and per_layer_model_proj; published Q8_0 files hold F32 */
	uint64_t seed;
	/* 0: the arch's own. Layers come in whole periods of sliding and global ones where those are. */
	int n_layer;
	int n_vocab;
	int n_context;
	int window;
};

/* An arch's shape. Rows of the table in synth_arch.c; a plan's copy has the overrides applied. */
struct synth_shape {
	const char *arch;   /* "gemma4-e4b" */
	const char *name;   /* general.name without what the plan adds */
	const char *prefix; /* general.architecture, and of the keys: "gemma4" */
	int n_layer;
	int n_embd;
	int n_ff;
	int n_ff_shared; /* on layers that share KV */
	int n_head;
	int n_head_kv_swa;
	int n_head_kv;
	int head_dim_swa; /* of sliding layers */
	int head_dim;
	int window;
	int period;            /* every period-th layer is global; 1: all are */
	int shared_part;       /* of shared_of periods, the last ones own no K/V: fixes n_shared at any depth */
	int shared_of;         /* 0: none are shared */
	int n_ple;             /* 0: no per-layer embeddings */
	bool v_is_k;           /* global layers have no attn_v */
	bool post_norms;       /* a sublayer's output is normed before it is added */
	bool scaled_embedding; /* by sqrt(n_embd) */
	bool scaled_attention; /* by 1 / sqrt(head_dim) */
	bool output_scale;     /* a layer's */
	bool rope_freqs;       /* a quarter of a global layer's head rotates */
	bool sliding_keys;     /* of sliding layers: a pattern, widths and a RoPE base of their own */
	int n_expert;          /* 0: dense */
	int n_expert_used;     /* per token */
	int n_ff_expert;       /* of one expert */
	int n_vocab;           /* tokens */
	int n_context;         /* trained */
	int n_shared;          /* layers at the end that own no K/V; set in plans */
	bool tied;             /* no output tensor */
	float softcap;         /* 0: none */
	float rope_base;       /* global layers */
	float rope_factor;     /* linear scaling of theirs; 0: none */
};

enum synth_fill {
	SYNTH_FILL_NORMAL,     /* mean + spread * (nearly) standard normal */
	SYNTH_FILL_ROPE_FREQS, /* 1 for the first quarter, 1e30 behind: "proportional" RoPE */
};

struct synth_tensor {
	char name[SYNTH_NAME_BYTES];
	enum tensor_type type;
	int n_dims;
	int64_t ne[GGUF_MAX_DIMS]; /* ne[0] innermost; 1 beyond n_dims */
	enum synth_fill fill;
	bool round_bf16; /* values are representable in BF16, as those of a BF16 checkpoint are */
	float mean;
	float spread; /* standard deviation */
};

struct synth_plan {
	struct synth_options options; /* arch points into the table */
	struct synth_shape shape;
	struct synth_tensor *tensors;
	int n_tensors;
};

/* The i-th known arch; null at the end. */
const char *synth_arch_name(int i);

/* Q8_0, seed 1, the arch's own size. */
void synth_options_default(struct synth_options *o, const char *arch);

/* Returns 0, ERROR_INPUT for an unknown arch or a size that the arch cannot have, or ERROR_MEMORY. */
int synth_plan_init(struct synth_plan *p, const struct synth_options *o, struct error *err);
void synth_plan_free(struct synth_plan *p);

/* Whether layer i attends globally; whether it owns no K/V. */
bool synth_layer_global(const struct synth_shape *s, int i);
bool synth_layer_shared(const struct synth_shape *s, int i);

/* Elements of one tensor, and of all of them. */
int64_t synth_tensor_elements(const struct synth_tensor *t);
int64_t synth_plan_parameters(const struct synth_plan *p);
/* Size of the file to within a few kilobytes, never less than it. */
uint64_t synth_plan_bytes(const struct synth_plan *p);

/* All keys of the file. */
void synth_plan_metadata(const struct synth_plan *p, struct gguf_writer *w);
/* Whether a file's metadata says that it was made so, with random weights. */
bool synth_made(const struct gguf *g);

/* Values [first, first + n) of a tensor in its type; first is a multiple of 32 and of the type's block, n too unless it
 * reaches the end. */
void synth_tensor_fill(const struct synth_tensor *t, uint64_t seed, int64_t first, int64_t n, void *out);

/*
 * Called now and then while data is written, by one thread, with the bytes of tensor
 * data that are done; returns non-zero to give up.
 */
typedef int synth_progress(void *ctx, uint64_t done, uint64_t total);

/*
 * Writes the file with n_threads, 1 or more; replace: what has its name. progress may be null; it is called on the
 * calling thread. On failure nothing is left: ERROR_IO (free space is checked first), ERROR_MEMORY. A file-size limit
 * ends in ERROR_IO only where the process ignores SIGXFSZ.
 */
int synth_write(const struct synth_plan *p, const char *path, bool replace, int n_threads, synth_progress *progress,
		void *ctx, struct error *err);

#endif
