/* Part of params.h: what the parameters of kernels are made of. */
#ifndef GEMMARK_KERNELS_PARAMS_OPERANDS_H
#define GEMMARK_KERNELS_PARAMS_OPERANDS_H

/*
 * Element types, a row each: what lists types anywhere takes them from here, in this order. X(NAME, word on command
 * lines and in entries, number in GGUF, elements of a block, its bytes, number of a file that is mostly of it in
 * general.file_type, a, b); a and b are the caller's. A block of Q8_0: one fp16 scale, then 32 int8. Those of the types
 * behind it are what kernels/cpu/inner_quants.h reads.
 */
#define TENSOR_CACHE_TYPES(X, a, b)       \
	X(F32, f32, 0, 1, 4, 0, a, b)     \
	X(F16, f16, 1, 1, 2, 1, a, b)     \
	X(BF16, bf16, 30, 1, 2, 32, a, b) \
	X(Q8_0, q8_0, 8, 32, 34, 7, a, b)
/* Elements of fewer bits than a byte, in blocks of 32 or 256: the last ones of the table. */
#define TENSOR_QUANT_TYPES(X, a, b)             \
	X(Q4_0, q4_0, 2, 32, 18, 2, a, b)       \
	X(Q4_1, q4_1, 3, 32, 20, 3, a, b)       \
	X(Q5_0, q5_0, 6, 32, 22, 8, a, b)       \
	X(Q5_1, q5_1, 7, 32, 24, 9, a, b)       \
	X(IQ4_NL, iq4_nl, 20, 32, 18, 25, a, b) \
	X(Q4_K, q4_k, 12, 256, 144, 14, a, b)   \
	X(Q5_K, q5_k, 13, 256, 176, 16, a, b)   \
	X(Q6_K, q6_k, 14, 256, 210, 18, a, b)
#define TENSOR_TYPES(X, a, b)       \
	TENSOR_CACHE_TYPES(X, a, b) \
	TENSOR_QUANT_TYPES(X, a, b)

enum tensor_type {
#define X(NAME, word, number, block, block_bytes, file_type, a, b) TENSOR_##NAME = (number),
	TENSOR_TYPES(X, , )
#undef X
};

enum activation {
	ACTIVATION_GELU_TANH = 0,
	ACTIVATION_SILU = 1,
};

/* All that changes from token to token. */
struct step {
	int token;
	int pos;     /* logical position, from 0; what RoPE sees */
	int evicted; /* entries that SnapKV removed in front of pos on global layers */
	int reserved;
};

struct at {
	const struct step *device; /* null: use host */
	struct step host;
};

/*
 * A weight matrix, (n_expert, n_out, n_in) row-major; n_expert is 1 outside MoE.
 * Q8_0 comes in two layouts: file blocks of 34 bytes (scales null), or planes:
 * data int8 (n_expert, n_out, n_in), scales fp16 (n_expert, n_out, n_in / 32).
 * TENSOR_QUANT_TYPES have scales null: the host reads file blocks, GPUs planes
 * in as many bytes (kernels/cuda/quants_geometry.h).
 */
struct weight {
	const void *data;
	const void *scales;
	int type; /* enum tensor_type */
	int n_in;
	int n_out;
	int n_expert;
};

/*
 * One layer's K/V cache, each of k and v (n_kv_heads, capacity) rows of head_dim elements: kernels/cache_rows.h.
 * ring == 0: slot = pos - evicted. ring > 0 (== capacity): slot = pos % ring.
 */
struct kv {
	void *k;
	void *v;
	int type; /* of TENSOR_CACHE_TYPES; the same for k and v unless v_type differs */
	int v_type;
	int n_kv_heads;
	int head_dim;
	int capacity;
	int ring;
};

#endif
