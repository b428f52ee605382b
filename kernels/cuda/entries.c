/* Names and sources of the entries, and the options that they are compiled with for a model. */
#include "kernels/cuda/entries.h"

#include <assert.h>
#include <stdio.h>

#include "kernels/cuda/cuda_kernels.h"

#define SOURCE(name) "kernels/cuda/" name ".cu"

const struct cuda_entry cuda_entries[] = {
#define X(name, source) {"k_" #name, SOURCE(source)},
	PLAIN_ENTRIES(X)
#undef X
#define TYPED(NAME, word, number, block, block_bytes, file_type, name, source) {"k_" #name "_" #word, SOURCE(source)},
#define X(name, source) TENSOR_TYPES(TYPED, name, source)
		TYPED_ENTRIES(X)
#undef X
#undef TYPED
#define PREFILL(hd) {"k_attention_prefill_" #hd, SOURCE("prefill")},
			HEAD_DIMS(PREFILL)
#undef PREFILL
#define SPLIT(hd, k, v) {"k_attention_split_" #hd "_" #k "_" #v, SOURCE("attention")},
#define FUSED(hd, k, v) {"k_attention_" #hd "_" #k "_" #v, SOURCE("attention")},
#define MMA(hd, k, v) {"k_attention_mma_" #hd "_" #k "_" #v, SOURCE("prefill_mma")},
#define MMA_HALF(hd, k, v) {"k_attention_mma_half_" #hd "_" #k "_" #v, SOURCE("prefill_mma")},
#define PERSISTENT(hd, k, v) {"k_persistent_" #k "_" #v, SOURCE("persistent")},
				HEAD_DIMS(SPLITS) HEAD_DIMS(FUSEDS) HEAD_DIMS(MMAS) HEAD_DIMS(MMA_HALFS)
					CACHE_TYPES(PERSISTENT, )};
const int cuda_n_entries = ENTRY_COUNT;
static_assert(sizeof cuda_entries / sizeof *cuda_entries == ENTRY_COUNT, "every entry has its name");

#define X(hd) static_assert(hd % 32 == 0 && hd <= 512, "whole warps, and as many values a lane as the kernels hold");
HEAD_DIMS(X)
#undef X

#define X(hd) hd,
static const int head_dims[] = {HEAD_DIMS(X)};
#undef X
enum { N_HEAD_DIMS = sizeof head_dims / sizeof *head_dims };

int cuda_head_dim_index(int head_dim)
{
	for (int i = 0; i < N_HEAD_DIMS; i++)
		if (head_dims[i] == head_dim)
			return i;
	return -1;
}

static const char *const type_names[] = {
#define X(NAME, word, number, block, block_bytes, file_type, a, b) #NAME,
	TENSOR_TYPES(X, , )
#undef X
};

static const int type_numbers[] = {
#define X(NAME, word, number, block, block_bytes, file_type, a, b) number,
	TENSOR_TYPES(X, , )
#undef X
};

int cuda_type_index(int type)
{
	switch (type) {
#define X(NAME, word, number, block, block_bytes, file_type, a, b) \
	case TENSOR_##NAME:                                        \
		return CUDA_TYPE_##word;
		TENSOR_TYPES(X, , )
#undef X
	}
	return -1;
}

int cuda_cache_type_index(int type)
{
	int i = cuda_type_index(type);
	return i < CUDA_N_CACHE_TYPES ? i : -1;
}

static_assert(CUDA_TYPE_f32 == 0, "what products_matvec is given as the first entry");
enum { PAIRS = CUDA_N_CACHE_TYPES * CUDA_N_CACHE_TYPES };
#define X(hd, k, v)                                                                                            \
	static_assert(ENTRY_attention_##hd##_##k##_##v ==                                                      \
			      ENTRY_attention_32_f32_f32 + CUDA_TYPE_##k * CUDA_N_CACHE_TYPES + CUDA_TYPE_##v, \
		      "pairs are in the order of the types, and all there are");
CACHE_TYPES(X, 32)
#undef X
static_assert(ENTRY_attention_64_f32_f32 == ENTRY_attention_32_f32_f32 + PAIRS, "and no others");

int cuda_cache_entry(int first, int head_dim, int k_type, int v_type)
{
	return first + cuda_head_dim_index(head_dim) * PAIRS + cuda_cache_type_index(k_type) * CUDA_N_CACHE_TYPES +
	       cuda_cache_type_index(v_type);
}

enum { MMA_TYPES = 3, MMA_PAIRS = MMA_TYPES * MMA_TYPES };
static_assert(CUDA_TYPE_f16 == 1 && CUDA_TYPE_bf16 == 2 && CUDA_TYPE_q8_0 == 3 && CUDA_N_CACHE_TYPES == 1 + MMA_TYPES,
	      "all caches but f32");
#define X(hd, k, v)                                                                                                 \
	static_assert(ENTRY_attention_mma_##hd##_##k##_##v == ENTRY_attention_mma_32_f16_f16 +                      \
								      (CUDA_TYPE_##k - CUDA_TYPE_f16) * MMA_TYPES + \
								      CUDA_TYPE_##v - CUDA_TYPE_f16,                \
		      "pairs are in the order of the types, and all there are");
MMA_CACHE_TYPES(X, 32)
#undef X
static_assert(ENTRY_attention_mma_64_f16_f16 == ENTRY_attention_mma_32_f16_f16 + MMA_PAIRS, "and no others");

int cuda_mma_entry(int first, int head_dim, int k_type, int v_type)
{
	int k = cuda_cache_type_index(k_type) - CUDA_TYPE_f16, v = cuda_cache_type_index(v_type) - CUDA_TYPE_f16;
	return k < 0 || v < 0 ? -1 : first + cuda_head_dim_index(head_dim) * MMA_PAIRS + k * MMA_TYPES + v;
}

int cuda_options(const struct cuda_dims *dims, const struct cuda_card *card,
		 char options[CUDA_MAX_OPTIONS][CUDA_OPTION_BYTES])
{
	int n = 0;
	if (dims->n_head_dims < 1 || dims->n_head_dims > 8)
		return -1;
	snprintf(options[n++], CUDA_OPTION_BYTES, "--std=c++17");
	snprintf(options[n++], CUDA_OPTION_BYTES, "--device-as-default-execution-space");
	for (int i = 0; i < dims->n_head_dims; i++) {
		if (cuda_head_dim_index(dims->head_dims[i]) < 0)
			return -1;
		snprintf(options[n++], CUDA_OPTION_BYTES, "-DHEAD_DIM_%d", dims->head_dims[i]);
	}
	struct persistent_chunks chunks = cuda_persistent_chunks(dims, card);
	snprintf(options[n++], CUDA_OPTION_BYTES, "-DSTREAM_CHUNKS=%d", chunks.stream);
	snprintf(options[n++], CUDA_OPTION_BYTES, "-DSLICE_CHUNKS=%d", chunks.slice);
	if (chunks.far)
		snprintf(options[n++], CUDA_OPTION_BYTES, "-DFAR_WAITS");
	if (dims->experts)
		snprintf(options[n++], CUDA_OPTION_BYTES, "-DEXPERTS");
	for (int i = 0; i < CUDA_N_TYPES; i++)
		if (!dims->weights || dims->weights >> type_numbers[i] & 1)
			snprintf(options[n++], CUDA_OPTION_BYTES, "-DWEIGHTS_%s", type_names[i]);
	if (dims->k_type < 0) {
		for (int i = 0; i < CUDA_N_CACHE_TYPES; i++)
			snprintf(options[n++], CUDA_OPTION_BYTES, "-DKV_%s_%s", type_names[i], type_names[i]);
		return n;
	}
	int k = cuda_cache_type_index(dims->k_type), v = cuda_cache_type_index(dims->v_type);
	if (k < 0 || v < 0)
		return -1;
	snprintf(options[n++], CUDA_OPTION_BYTES, "-DKV_%s_%s", type_names[k], type_names[v]);
	return n;
}
