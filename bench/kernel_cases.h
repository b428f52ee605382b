/*
 * Each kernel at a model's shapes, as a case of two devices (bench/pair.h): what it is given, what it moves and
 * computes, and how far the devices may be apart. The tests of the kernels have odd shapes; these are those that run.
 */
#ifndef GEMMARK_BENCH_KERNEL_CASES_H
#define GEMMARK_BENCH_KERNEL_CASES_H

#include "bench/tolerance.h"

enum { CASE_PARAMS_WORDS = 128, CASE_NAME_BYTES = 128 };

/* A case takes of it what it needs. */
struct case_shape {
	struct pair_layout layout; /* of matrices */
	int n_in;                  /* or the width of rows */
	int n_out[3];              /* rows of up to three matrices */
	int n_expert, n_used;
	int n_heads, n_kv_heads, head_dim;
	int window;   /* of attention; 0: global */
	int n_keys;   /* that the last token attends, the window not regarded */
	int n_tokens; /* or rows */
	int type;     /* of the cache, or of what is written */
	float cap;    /* softcap behind the product; 0: none */
	bool owns;    /* its layer has a cache */
	bool v_is_k;
	int budget; /* SnapKV's */
};

/* The kernel with its operands in buffers of the pair. */
struct case_subject {
	enum kernel kernel;
	uint64_t params[CASE_PARAMS_WORDS];
	double bytes; /* read and written, each once */
	double flops; /* 0: not worth a figure */
};

struct case_kind {
	const char *name; /* the kernel's */
	void (*build)(struct pair *p, const struct case_shape *s, struct case_subject *out);
	/* After pair_run: gives the outputs their magnitudes; returns how far they may be apart. */
	double (*allow)(struct pair *p, const struct case_shape *s, const struct case_subject *c);
	int check_tokens; /* more are timed, and not compared: the host would take minutes; 0: all are */
};

extern const struct case_kind case_embed, case_matmul, case_norm_matmul, case_norm_gated, case_matmul_gated,
	case_matmul_experts, case_experts_gated;
extern const struct case_kind case_rms_norm, case_norm_add, case_add, case_gated, case_softcap, case_sample, case_rope,
	case_qkv_prepare, case_kv_append, case_moe_route, case_moe_sum;
extern const struct case_kind case_attention, case_attention_split, case_attention_combine, case_attention_prefill,
	case_snapkv_softmax, case_snapkv_vote, case_snapkv_select, case_snapkv_compact;
extern const struct case_kind case_dequant, case_to_f16, case_scale_rows, case_prompt_norm, case_prompt_residual,
	case_prompt_gated, case_prompt_matmul, case_prompt_qkv, case_moe_sort, case_prompt_experts_gated,
	case_prompt_experts_matmul;

/* A case of the family. */
struct family_case {
	char name[CASE_NAME_BYTES]; /* "norm_matmul/gemma4-e4b/q8_0/qkv_sliding" */
	const struct case_kind *kind;
	struct case_shape shape;
	bool prompt; /* of prompts in float16, which the host device does not run */
};

/* Calls add with each; stops where it returns non-zero, and returns that. */
int family_cases(int (*add)(void *ctx, const struct family_case *c), void *ctx);

/* ---- what the cases share ---- */

void case_params(struct case_subject *c, enum kernel k, const void *params, size_t bytes);
/* An allow: the host's bits. */
double case_exact(struct pair *p, const struct case_shape *s, const struct case_subject *c);
/* A matrix's in memory. */
double case_weight_bytes(const struct weight *w);
/* A buffer of floats that the kernel changes. */
float *case_in_place(struct pair *p, const char *name, size_t n, float scale);
float *case_inverse_frequencies(struct pair *p, int head_dim);

#endif
