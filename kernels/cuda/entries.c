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
#define X(name, source)                                                           \
	{"k_" #name "_f32", SOURCE(source)}, {"k_" #name "_f16", SOURCE(source)}, \
		{"k_" #name "_bf16", SOURCE(source)}, {"k_" #name "_q8_0", SOURCE(source)},
		TYPED_ENTRIES(X)
#undef X
#define PREFILL(hd) {"k_attention_prefill_" #hd, SOURCE("prefill")},
			HEAD_DIMS(PREFILL)
#undef PREFILL
#define SPLIT(hd, k, v) {"k_attention_split_" #hd "_" #k "_" #v, SOURCE("attention")},
#define FUSED(hd, k, v) {"k_attention_" #hd "_" #k "_" #v, SOURCE("attention")},
				HEAD_DIMS(SPLITS) HEAD_DIMS(FUSEDS)};
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

int cuda_type_index(int type)
{
	return type == TENSOR_F32 ? 0 : type == TENSOR_F16 ? 1 : type == TENSOR_BF16 ? 2 : type == TENSOR_Q8_0 ? 3 : -1;
}

static const char *const type_suffix[] = {"F32", "F16", "BF16"};

int cuda_options(const struct cuda_dims *dims, char options[CUDA_MAX_OPTIONS][CUDA_OPTION_BYTES])
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
	if (dims->k_type < 0) {
		for (int i = 0; i < 3; i++)
			snprintf(options[n++], CUDA_OPTION_BYTES, "-DKV_%s_%s", type_suffix[i], type_suffix[i]);
		return n;
	}
	int k = cuda_type_index(dims->k_type), v = cuda_type_index(dims->v_type);
	if (k < 0 || k > 2 || v < 0 || v > 2)
		return -1;
	snprintf(options[n++], CUDA_OPTION_BYTES, "-DKV_%s_%s", type_suffix[k], type_suffix[v]);
	return n;
}
