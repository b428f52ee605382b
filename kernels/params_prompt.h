/*
 * Part of params.h: prompts whose products take float16, weights and activations rounded to it, to nearest, with sums
 * in float32.
 *
 * Rows of float16 are dense where no stride is named, their widths multiples of 8, addresses aligned to 16 bytes.
 *
 * A model's activations may leave float16's range, so a row has a scale: it stands for its elements times that, a
 * power of two that leaves the largest of them at 4 to 8 (no scale is below 2^-62). Sums over such rows lack it until
 * what takes them multiplies by it; scale null: by 1. Of a product of two nobody looks for the largest: prompt_gated.
 */
#ifndef GEMMARK_KERNELS_PARAMS_PROMPT_H
#define GEMMARK_KERNELS_PARAMS_PROMPT_H

#include "kernels/params_operands.h"

/* y = rows first_row .. first_row + n_rows of w, all experts' counted through, (n_rows, w.n_in) of y_type */
struct dequant_params {
	struct weight w;
	void *y;
	int first_row;
	int n_rows;
	int y_type; /* TENSOR_F32 or TENSOR_F16 */
	int reserved;
};

/* y = x */
struct to_f16_params {
	const float *x; /* (n_rows, n), rows x_stride apart */
	void *y;        /* (n_rows, n) f16 */
	float *y_scale; /* (n_rows) */
	int n_rows;
	int n;
	int x_stride;
	int reserved;
};

/* y *= scale */
struct scale_rows_params {
	float *y;           /* (n_rows, n), rows y_stride apart */
	const float *scale; /* (n_rows) */
	int n_rows;
	int n;
	int y_stride;
	int reserved;
};

/* y = x / sqrt(mean(x^2) + eps) * weight * scale */
struct prompt_norm_params {
	const float *x;      /* (n_rows, n) */
	const float *weight; /* (n) or null for 1 */
	void *y;             /* (n_rows, n) f16 */
	float *y_scale;      /* (n_rows) */
	int n_rows;
	int n;
	float eps;
	float scale;
};

/* A sublayer's end and the next one's start: h = (h + rms_norm(b) * weight) * scale, then y = rms_norm(h) * next.
 * weight null: b is added as it is. next null: y = h. y null: no y. y_scale may be b_scale. */
struct prompt_residual_params {
	float *h;             /* (n_rows, n) */
	const float *b;       /* (n_rows, n) */
	const float *b_scale; /* (n_rows) or null */
	const float *weight;  /* (n) or null */
	const float *next;    /* (n) or null */
	void *y;              /* (n_rows, n) f16 or null */
	float *y_scale;       /* (n_rows) */
	int n_rows;
	int n;
	float eps;
	float scale;
};

/*
 * y = act(gate) * up; gate, and up of float16, are sums over rows of x_scale. No CTA sees a row's largest: y_scale is
 * x_scale once for each factor that lacks it, and what still does not fit float16 is its largest.
 */
struct prompt_gated_params {
	const void *gate;     /* (n_rows, n) f16, rows gate_stride elements apart */
	const void *up;       /* (n_rows, n) of up_type, rows up_stride elements apart */
	const float *x_scale; /* (n_rows) */
	void *y;              /* (n_rows, n) f16 */
	float *y_scale;       /* (n_rows), not x_scale */
	int n_rows;
	int n;
	int gate_stride;
	int up_stride;
	int up_type; /* TENSOR_F32 or TENSOR_F16 */
	int act;
};

/* y[t] = w . x[t] * scale[t] */
struct prompt_matmul_params {
	struct weight w;
	const void *x;      /* (n_tokens, w.n_in) f16 */
	void *y;            /* (n_tokens, w.n_out) of y_type, rows y_stride elements apart */
	const float *scale; /* (n_tokens), with y of float32, or null: y's rows lack it */
	int n_tokens;
	int y_stride;
	int y_type; /* TENSOR_F32 or TENSOR_F16: the sum rounded once more */
	int reserved;
};

/*
 * As qkv_prepare, from one product's rows [q | k | v]: q is written apart, k and v to the cache alone unless k_out
 * and v_out, (n_tokens, n_kv_heads, head_dim), are not null. owns 0: the rows are q's; v_is_k: they are [q | k].
 */
struct prompt_qkv_params {
	struct at at;
	const float *rows;  /* (n_tokens, stride) */
	const float *scale; /* (n_tokens) or null */
	float *q;           /* (n_tokens, n_heads, head_dim) */
	float *k_out;
	float *v_out;
	const float *q_norm; /* (head_dim) */
	const float *k_norm; /* (head_dim) */
	const float *inv_freq;
	struct kv kv;
	int n_tokens;
	int n_heads;
	int head_dim;
	int stride;
	int owns;
	int v_is_k;
	int v_norm;
	float eps;
};

/* Pairs of a token and an expert, by expert: order[starts[e] .. starts[e + 1]) are the i with ids[i] = e, ascending. */
struct moe_sort_params {
	const int *ids; /* (n_pairs) */
	int *order;     /* (n_pairs) */
	int *starts;    /* (n_expert + 1) */
	int n_pairs;
	int n_expert;
};

/* y[i] = act(gate . x[t]) * (up . x[t]), t = order[i] / n_used, by the pair's expert; Q8_0 in planes.
 * y[i] is scaled as by prompt_gated: by scale[t] squared. */
struct prompt_experts_gated_params {
	struct weight w;    /* (n_expert, 2 * n_ff, n_in), gate rows first */
	const int *order;   /* as moe_sort leaves them */
	const int *starts;  /* likewise */
	const void *x;      /* (n_tokens, n_in) f16 */
	const float *scale; /* (n_tokens), of x */
	void *y;            /* (n_pairs, n_ff) f16 */
	int n_tokens;
	int n_used;
	int act;
	int reserved;
};

/* y[order[i]] = w . x[i], x as prompt_experts_gated leaves it */
struct prompt_experts_matmul_params {
	struct weight w; /* (n_expert, n_out, n_in) */
	const int *order;
	const int *starts;
	const void *x;      /* (n_pairs, n_in) f16 */
	const float *scale; /* (n_tokens), once: x[i]'s is its square */
	float *y;           /* (n_pairs, n_out) */
	int n_pairs;
	int n_used;
};

#endif
