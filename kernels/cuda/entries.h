/*
 * The table of entries: every name that a CUDA kernel is compiled under, and its source. A kernel
 * may have several, by weight type, head dim or cache types.
 */
#ifndef GEMMARK_KERNELS_CUDA_ENTRIES_H
#define GEMMARK_KERNELS_CUDA_ENTRIES_H

#include "kernels/params.h"

/* X(name, source): one entry. */
#define PLAIN_ENTRIES(X)                  \
	X(embed, "elementwise")           \
	X(kv_append, "elementwise")       \
	X(add, "elementwise")             \
	X(gated, "elementwise")           \
	X(softcap, "elementwise")         \
	X(rms_norm, "norm")               \
	X(norm_add, "norm")               \
	X(rope, "rope")                   \
	X(qkv_prepare, "rope")            \
	X(moe_route, "experts")           \
	X(moe_sum, "experts")             \
	X(matmul_tiled, "matmul")         \
	X(matmul_any, "matmul")           \
	X(norm_matmul_any, "matmul")      \
	X(norm_gated_any, "matmul")       \
	X(matmul_gated_any, "matmul")     \
	X(matmul_experts_any, "matmul")   \
	X(experts_gated_any, "matmul")    \
	X(attention_combine, "attention") \
	X(snapkv_softmax, "snapkv")       \
	X(snapkv_vote, "snapkv")          \
	X(snapkv_select, "snapkv")        \
	X(snapkv_compact, "snapkv")       \
	X(prompt_norm, "prompt")          \
	X(prompt_residual, "prompt")      \
	X(prompt_gated, "prompt")         \
	X(prompt_qkv, "prompt")           \
	X(moe_sort, "prompt")             \
	X(dequant_to_f16, "convert")      \
	X(dequant_to_f32, "convert")      \
	X(to_f16, "convert")              \
	X(scale_rows, "convert")          \
	X(persistent_tile, "tile")        \
	X(memory_read, "memory")          \
	X(memory_chain, "memory")         \
	X(sample, "sample")               \
	X(patch, "patch")                 \
	X(advance, "loop")                \
	X(advance_while, "loop")          \
	X(advance_relaunch, "loop")

/* X(name, source): an entry per weight type. */
#define TYPED_ENTRIES(X)                       \
	X(matmul, "matvec")                    \
	X(norm_matmul, "matvec")               \
	X(norm_gated, "matvec")                \
	X(matmul_gated, "matvec")              \
	X(matmul_experts, "experts")           \
	X(experts_gated, "experts")            \
	X(prompt_experts_gated, "experts_mma") \
	X(prompt_experts_matmul, "experts_mma")

#define HEAD_DIMS(X) X(32) X(64) X(96) X(128) X(192) X(256) X(512)

/* X(head_dim, k, v): an entry per pair of cache types; see cuda_cache_entry. */
#define CACHE_TYPES(X, hd) \
	X(hd, f32, f32)    \
	X(hd, f32, f16)    \
	X(hd, f32, bf16)   \
	X(hd, f32, q8_0)   \
	X(hd, f16, f32)    \
	X(hd, f16, f16)    \
	X(hd, f16, bf16)   \
	X(hd, f16, q8_0)   \
	X(hd, bf16, f32)   \
	X(hd, bf16, f16)   \
	X(hd, bf16, bf16)  \
	X(hd, bf16, q8_0)  \
	X(hd, q8_0, f32)   \
	X(hd, q8_0, f16)   \
	X(hd, q8_0, bf16)  \
	X(hd, q8_0, q8_0)

/* The same for those that tensor cores multiply. */
#define MMA_CACHE_TYPES(X, hd) \
	X(hd, f16, f16)        \
	X(hd, f16, bf16)       \
	X(hd, f16, q8_0)       \
	X(hd, bf16, f16)       \
	X(hd, bf16, bf16)      \
	X(hd, bf16, q8_0)      \
	X(hd, q8_0, f16)       \
	X(hd, q8_0, bf16)      \
	X(hd, q8_0, q8_0)

enum entry {
#define X(name, source) ENTRY_##name,
	PLAIN_ENTRIES(X)
#undef X
#define TYPED(NAME, word, number, block, block_bytes, file_type, name, b) ENTRY_##name##_##word,
#define X(name, source) TENSOR_TYPES(TYPED, name, )
		TYPED_ENTRIES(X)
#undef X
#undef TYPED
#define PREFILL(hd) ENTRY_attention_prefill_##hd,
			HEAD_DIMS(PREFILL)
#undef PREFILL
#define SPLIT(hd, k, v) ENTRY_attention_split_##hd##_##k##_##v,
#define FUSED(hd, k, v) ENTRY_attention_##hd##_##k##_##v,
#define SPLITS(hd) CACHE_TYPES(SPLIT, hd)
#define FUSEDS(hd) CACHE_TYPES(FUSED, hd)
#define MMA(hd, k, v) ENTRY_attention_mma_##hd##_##k##_##v,
#define MMA_HALF(hd, k, v) ENTRY_attention_mma_half_##hd##_##k##_##v,
#define MMAS(hd) MMA_CACHE_TYPES(MMA, hd)
#define MMA_HALFS(hd) MMA_CACHE_TYPES(MMA_HALF, hd)
				HEAD_DIMS(SPLITS) HEAD_DIMS(FUSEDS) HEAD_DIMS(MMAS) HEAD_DIMS(MMA_HALFS)
#define PERSISTENT(hd, k, v) ENTRY_persistent_##k##_##v,
					CACHE_TYPES(PERSISTENT, )
#undef PERSISTENT
#undef SPLIT
#undef FUSED
#undef MMA
#undef MMA_HALF
						ENTRY_COUNT
};

/* Types in the order of the entries' suffixes, F32 first; those of caches come before the others. */
enum cuda_type {
#define X(NAME, word, number, block, block_bytes, file_type, a, b) CUDA_TYPE_##word,
	TENSOR_TYPES(X, , )
#undef X
		CUDA_N_TYPES,
#define X(NAME, word, number, block, block_bytes, file_type, a, b) +1
	CUDA_N_CACHE_TYPES = 0 TENSOR_CACHE_TYPES(X, , ),
#undef X
};

/* enum cuda_type of an enum tensor_type; -1 where there is none. */
int cuda_type_index(int type);
/* The same for caches. */
int cuda_cache_type_index(int type);
int cuda_head_dim_index(int head_dim);
/* Of an attention's entries, the first of which is `first`; the types and the head dim are known. */
int cuda_cache_entry(int first, int head_dim, int k_type, int v_type);
/* The same of those of MMA_CACHE_TYPES; -1 for other types. */
int cuda_mma_entry(int first, int head_dim, int k_type, int v_type);

#endif
