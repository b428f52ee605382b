/*
 * The contract between the forward pass and whatever runs its kernels.
 *
 * A kernel is an id and one POD struct of parameters, passed by value. The CUDA
 * device launches `k_NAME(const struct NAME_params p)`, the host device calls
 * `void k_NAME(const struct NAME_params *p)`; both read the same bytes, so this
 * header is compiled by the C compiler and by NVRTC and may include nothing but its
 * parts, params_NAME.h.
 *
 * Pointers are addresses on the device that runs the kernel, and are never owned.
 * Activations are float32. Shapes are written (outer, ..., inner), strides are in
 * floats. y may alias an input only where the kernel says so.
 *
 * Position: a struct that starts with `struct at at` depends on the token's
 * position. `at.device`, where it is not null, wins over `at.host`. That is what
 * lets one captured graph serve every position (graph-device, graph-loop), and what tells
 * which nodes to set otherwise (graph-params, graph-patch).
 */
#ifndef GEMMARK_KERNELS_PARAMS_H
#define GEMMARK_KERNELS_PARAMS_H

#include "kernels/params_graph.h"
#include "kernels/params_operands.h"
#include "kernels/params_persistent.h"
#include "kernels/params_prompt.h"
#include "kernels/params_sampling.h"

/* ---- primitives: --fusion none launches these one by one ---- */

/* y[t] = row(token t) * scale. tokens null: one row, of the step's token. */
struct embed_params {
	struct at at;
	const int *tokens;   /* (n_tokens) or null */
	struct weight table; /* (vocab, width) */
	float *y;            /* (n_tokens, width) */
	int n_tokens;
	float scale;
};

/* y = x / sqrt(mean(x^2) + eps) * weight * scale, a row at a time. y may be x. */
struct rms_norm_params {
	const float *x;      /* (n_rows, n), rows x_stride apart */
	const float *weight; /* (n) or null for 1 */
	float *y;            /* (n_rows, n), rows y_stride apart */
	int n_rows;
	int n;
	int x_stride;
	int y_stride;
	float eps;
	float scale;
};

/* y[t] = w . x[t] */
struct matmul_params {
	struct weight w;
	const float *x; /* (n_tokens, w.n_in), rows x_stride apart */
	float *y;       /* (n_tokens, w.n_out), rows y_stride apart */
	int n_tokens;
	int x_stride;
	int y_stride;
};

/* In place, NEOX pairs (j, j + head_dim / 2), angle = pos * inv_freq[j]: a product in float32, as published (rope.h).
 */
struct rope_params {
	struct at at;          /* position of row 0; row t is at pos + t */
	float *x;              /* (n_tokens, n_heads, head_dim) */
	const float *inv_freq; /* (head_dim / 2) */
	int n_tokens;
	int n_heads;
	int head_dim;
	int reserved;
};

/* Stores n_tokens rows of k and v at their slots. */
struct kv_append_params {
	struct at at;
	const float *k; /* (n_tokens, n_kv_heads, head_dim) */
	const float *v; /* as k; may be the same memory only if both are equal */
	struct kv kv;
	int n_tokens;
	int reserved;
};

/*
 * Decode attention of one query row over the cache, split along the keys. Global
 * layers (window 0) attend slots 0 .. pos - evicted; sliding ones the positions
 * pos - window < p <= pos, through the ring. A split is the least multiple of split_len long of which
 * n_splits take all keys: split s takes keys [s * length, (s + 1) * length) counted from the first
 * attended one; a split beyond the end writes l = 0 and is ignored by the combine.
 */
struct attention_split_params {
	struct at at;
	const float *q; /* (n_heads, head_dim) */
	struct kv kv;
	float *partial; /* (n_heads, n_splits, head_dim + 2): sum of p * v, then m = max score, l = sum of p */
	int n_heads;    /* head h reads KV head h / (n_heads / n_kv_heads) */
	int window;
	int split_len; /* keys; what a split's length is a multiple of */
	int n_splits;
	float scale;
	int reserved;
};

/* y = the splits' partial sums, rescaled to the common maximum and divided. */
struct attention_combine_params {
	const float *partial; /* as attention_split_params */
	float *y;             /* (n_heads, head_dim) */
	int n_heads;
	int head_dim;
	int n_splits;
	int reserved;
};

/* Causal attention of n_tokens query rows whose own K/V are already appended. A device may round queries and
 * probabilities to the types of k and v where these have 16 bits, if it was opened for that. */
struct attention_prefill_params {
	struct at at;   /* position of row 0 */
	const float *q; /* (n_tokens, n_heads, head_dim) */
	struct kv kv;
	float *y; /* (n_tokens, n_heads, head_dim) */
	int n_tokens;
	int n_heads;
	int window;
	float scale;
};

/* y = (a + b) * scale; y may be a or b. */
struct add_params {
	const float *a; /* (n) */
	const float *b; /* (n) */
	float *y;       /* (n) */
	int n;
	float scale;
};

/* y = act(gate) * up; y may be gate or up where the strides agree. */
struct gated_params {
	const float *gate; /* (n_rows, n), rows gate_stride apart */
	const float *up;   /* (n_rows, n), rows up_stride apart */
	float *y;          /* (n_rows, n), rows y_stride apart */
	int n_rows;
	int n;
	int gate_stride;
	int up_stride;
	int y_stride;
	int act; /* enum activation */
};

/* x = cap * tanh(x / cap), in place */
struct softcap_params {
	float *x; /* (n) */
	int n;
	float cap;
};

/*
 * softmax over the experts, the n_used best (ties to the lower index) in
 * descending order, renormalised to sum 1, times expert_scale[id].
 */
struct moe_route_params {
	const float *logits;       /* (n_tokens, n_expert) */
	const float *expert_scale; /* (n_expert) or null for 1 */
	int *ids;                  /* (n_tokens, n_used) */
	float *weights;            /* (n_tokens, n_used) */
	int n_tokens;
	int n_expert;
	int n_used;
	int reserved;
};

/* y[t][u] = w[ids[t][u]] . x[t] or, with x_per_expert, . x[t][u] */
struct matmul_experts_params {
	struct weight w;
	const int *ids; /* (n_tokens, n_used) */
	const float *x; /* (n_tokens, n_in) or (n_tokens, n_used, n_in) */
	float *y;       /* (n_tokens, n_used, n_out) */
	int n_tokens;
	int n_used;
	int x_per_expert;
	int reserved;
};

/* y[t] = sum over u of weights[t][u] * x[t][u], in the order of u */
struct moe_sum_params {
	const float *x;       /* (n_tokens, n_used, n) */
	const float *weights; /* (n_tokens, n_used) */
	float *y;             /* (n_tokens, n) */
	int n_tokens;
	int n_used;
	int n;
	int reserved;
};

/* ---- fused: --fusion full. Each is by definition the composition named ---- */

/* rms_norm(x -> normed), then up to three matmuls of it (q, k, v; or the head, with softcap) */
struct norm_matmul_params {
	const float *x;      /* (n_tokens, n) */
	const float *weight; /* (n) */
	float *normed;       /* (n_tokens, n) scratch */
	struct weight w[3];
	float *y[3]; /* y[i]: (n_tokens, w[i].n_out) */
	int n_matmuls;
	int n_tokens;
	int n;
	float eps;
	float cap; /* softcap on y[0] where > 0 */
	int reserved;
};

/*
 * What follows the projections: per-head norm of q and RoPE; where the layer owns
 * a cache (k not null) first v = v_raw, normed without a weight where v_norm is
 * set (v_raw is v where it is not), then k's norm and RoPE, and the append. In
 * place in q and k.
 */
struct qkv_prepare_params {
	struct at at;
	float *q;            /* (n_tokens, n_heads, head_dim) */
	float *k;            /* (n_tokens, n_kv_heads, head_dim) or null */
	float *v;            /* as k */
	const float *v_raw;  /* v's projection: v itself, or k where the model has K = V (read before k's norm) */
	const float *q_norm; /* (head_dim) */
	const float *k_norm; /* (head_dim) */
	const float *inv_freq;
	struct kv kv;
	int n_tokens;
	int n_heads;
	int head_dim;
	int v_norm;
	float eps;
	int reserved;
};

/* attention_split, then attention_combine */
struct attention_params {
	struct attention_split_params split;
	float *y; /* (n_heads, head_dim) */
};

/* y = (a + rms_norm(b) * weight) * scale; y may be a */
struct norm_add_params {
	const float *a;      /* (n_rows, n) */
	const float *b;      /* (n_rows, n) */
	const float *weight; /* (n) */
	float *normed;       /* (n_rows, n) scratch */
	float *y;            /* (n_rows, n) */
	int n_rows;
	int n;
	float eps;
	float scale;
};

/* rms_norm(x -> normed), gate and up matmuls, y = act(gate) * up */
struct norm_gated_params {
	const float *x;      /* (n_tokens, n) */
	const float *weight; /* (n) */
	float *normed;       /* (n_tokens, n) scratch */
	struct weight w_gate;
	struct weight w_up;
	float *gate; /* (n_tokens, w_gate.n_out) scratch */
	float *up;   /* as gate, scratch */
	float *y;    /* as gate; may be gate */
	int n_tokens;
	int n;
	int act;
	float eps;
};

/* y = act(w . x) * up: the per-layer embedding's gate */
struct matmul_gated_params {
	struct weight w;
	const float *x;  /* (n_tokens, w.n_in) */
	const float *up; /* (n_tokens, w.n_out), rows up_stride apart */
	float *gate;     /* (n_tokens, w.n_out) scratch */
	float *y;        /* (n_tokens, w.n_out); may be gate */
	int n_tokens;
	int up_stride;
	int act;
	int reserved;
};

/* matmul_experts of the fused gate/up tensor (gate rows first), y = act(gate) * up */
struct experts_gated_params {
	struct weight w; /* (n_expert, 2 * n_ff, n_in) */
	const int *ids;  /* (n_tokens, n_used) */
	const float *x;  /* (n_tokens, n_in) */
	float *gate_up;  /* (n_tokens, n_used, 2 * n_ff) scratch */
	float *y;        /* (n_tokens, n_used, n_ff) */
	int n_tokens;
	int n_used;
	int act;
	int reserved;
};

/*
 * ---- SnapKV, once at the end of a prompt; engine/infer/snapkv.h says what it is for ----
 *
 * Scores are float32 products of the scaled query and the key, as float32's attention_prefill has them on that device,
 * and their softmax is float32. Devices add in different orders: votes agree to about 1e-6 of themselves, and
 * selections where no vote that wins is so close to one that loses. On one device they are the same bits, every time.
 */

/*
 * The observation window is the last `window` of n_keys tokens; token w of it stands in slot n_keys - window + w
 * and attends the slots up to its own. A KV head's rows are its window's queries: row w * group + g is query head
 * kv_head * group + g of token w. Caches are those of global layers: ring is 0.
 */

/* Greatest score m and l = sum of exp(score - m) of each row over each split of the keys; l = 0 where it has none. */
struct snapkv_softmax_params {
	const float *q; /* (window, n_heads, head_dim) */
	struct kv kv;
	float *stats; /* (n_kv_heads, window * group, n_splits, 2): m, l */
	int n_heads;
	int window;
	int n_keys;
	int split_len; /* split s has keys [s * split_len, (s + 1) * split_len) */
	int n_splits;
	float scale;
};

/* scores[h][j] = (add: itself +) the rows' softmax probabilities of key j, summed over rows in an order of the
 * device's. */
struct snapkv_vote_params {
	const float *q; /* as snapkv_softmax_params, and what that left in stats */
	struct kv kv;
	const float *stats;
	float *scores; /* (n_kv_heads, n_keys - window): the window's own keys are no candidates */
	int n_heads;
	int window;
	int n_keys;
	int n_splits;
	float scale;
	int add;
};

/*
 * pooled[h][j] = max of scores[h][j - pool / 2 .. j + pool / 2], cut off at 0 and n_keys - window. kept[h] = the
 * budget - window candidates with the greatest pooled scores, ties to the lower index, and the window's slots; in
 * ascending order. Scores are not negative. window <= budget < n_keys, pool odd.
 */
struct snapkv_select_params {
	const float *scores; /* (n_kv_heads, n_keys - window) */
	float *pooled;       /* as scores */
	int *kept;           /* (n_kv_heads, budget) */
	int n_kv_heads;
	int n_keys;
	int window;
	int budget;
	int pool;
	int reserved;
};

/* Slot s of KV head h in `to` = slot kept[h][s] in `from`, k and v. The caches share no memory, types are the same. */
struct snapkv_compact_params {
	struct kv from;
	struct kv to;
	const int *kept; /* (n_kv_heads, n_kept) */
	int n_kept;
	int reserved;
};

/* X(name, depends on position): struct name_params, k_name, KERNEL_name */
#define KERNEL_LIST(X)              \
	X(embed, 1)                 \
	X(rms_norm, 0)              \
	X(matmul, 0)                \
	X(rope, 1)                  \
	X(kv_append, 1)             \
	X(attention_split, 1)       \
	X(attention_combine, 0)     \
	X(attention_prefill, 1)     \
	X(add, 0)                   \
	X(gated, 0)                 \
	X(softcap, 0)               \
	X(moe_route, 0)             \
	X(matmul_experts, 0)        \
	X(moe_sum, 0)               \
	X(norm_matmul, 0)           \
	X(qkv_prepare, 1)           \
	X(attention, 1)             \
	X(norm_add, 0)              \
	X(norm_gated, 0)            \
	X(matmul_gated, 0)          \
	X(experts_gated, 0)         \
	X(dequant, 0)               \
	X(to_f16, 0)                \
	X(scale_rows, 0)            \
	X(prompt_norm, 0)           \
	X(prompt_residual, 0)       \
	X(prompt_gated, 0)          \
	X(prompt_matmul, 0)         \
	X(prompt_qkv, 1)            \
	X(moe_sort, 0)              \
	X(prompt_experts_gated, 0)  \
	X(prompt_experts_matmul, 0) \
	X(snapkv_softmax, 0)        \
	X(snapkv_vote, 0)           \
	X(snapkv_select, 0)         \
	X(snapkv_compact, 0)        \
	X(persistent, 1)            \
	X(persistent_tile, 0)       \
	X(sample, 1)                \
	X(patch, 0)                 \
	X(advance, 0)

enum kernel {
#define X(name, positional) KERNEL_##name,
	KERNEL_LIST(X)
#undef X
		KERNEL_COUNT
};

#endif
