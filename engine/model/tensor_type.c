#include "engine/model/tensor_type.h"

#include <assert.h>
#include <strings.h>

#include "kernels/cache_rows.h"

enum {
#define X(NAME, word, number, block, block_bytes, file_type, a, b) +1
	N_TYPES = 0 TENSOR_TYPES(X, , ),
	N_CACHE_TYPES = 0 TENSOR_CACHE_TYPES(X, , ),
	N_QUANT_TYPES = 0 TENSOR_QUANT_TYPES(X, , ),
#undef X
#define X(NAME, word, number, block, block_bytes, file_type, a, b) INDEX_##NAME,
	INDEX_FIRST = -1,
	TENSOR_TYPES(X, , )
#undef X
};

const struct tensor_traits tensor_types[] = {
#define X(NAME, word, number, block, block_bytes, file_type, a, b) \
	{TENSOR_##NAME,                                            \
	 #NAME,                                                    \
	 #word,                                                    \
	 block,                                                    \
	 block_bytes,                                              \
	 INDEX_##NAME < N_CACHE_TYPES,                             \
	 INDEX_##NAME >= N_TYPES - N_QUANT_TYPES,                  \
	 file_type},
	TENSOR_TYPES(X, , )
#undef X
};
const int tensor_type_count = N_TYPES;

/* Numbers that GGUF has given, less those of the table. Those without a name were taken back. */
static const char *const foreign_names[] = {
	[2] = "Q4_0",     [3] = "Q4_1",   [4] = "Q4_2",        [5] = "Q4_3",        [6] = "Q5_0",
	[7] = "Q5_1",     [9] = "Q8_1",   [10] = "Q2_K",       [11] = "Q3_K",       [12] = "Q4_K",
	[13] = "Q5_K",    [14] = "Q6_K",  [15] = "Q8_K",       [16] = "IQ2_XXS",    [17] = "IQ2_XS",
	[18] = "IQ3_XXS", [19] = "IQ1_S", [20] = "IQ4_NL",     [21] = "IQ3_S",      [22] = "IQ2_S",
	[23] = "IQ4_XS",  [24] = "I8",    [25] = "I16",        [26] = "I32",        [27] = "I64",
	[28] = "F64",     [29] = "IQ1_M", [31] = "Q4_0_4_4",   [32] = "Q4_0_4_8",   [33] = "Q4_0_8_8",
	[34] = "TQ1_0",   [35] = "TQ2_0", [36] = "IQ4_NL_4_4", [37] = "IQ4_NL_4_8", [38] = "IQ4_NL_8_8",
	[39] = "MXFP4",   [40] = "NVFP4", [41] = "Q1_0",
};

const struct tensor_traits *tensor_type_find(uint32_t number)
{
	for (int i = 0; i < N_TYPES; i++)
		if ((uint32_t)tensor_types[i].type == number)
			return &tensor_types[i];
	return NULL;
}

const struct tensor_traits *tensor_type_parse(const char *word)
{
	for (int i = 0; i < N_TYPES; i++)
		if (!strcasecmp(tensor_types[i].word, word))
			return &tensor_types[i];
	return NULL;
}

const char *tensor_type_foreign_name(uint32_t number)
{
	return number < sizeof foreign_names / sizeof *foreign_names && !tensor_type_find(number)
		       ? foreign_names[number]
		       : NULL;
}

const struct tensor_traits *tensor_type_traits(enum tensor_type type)
{
	const struct tensor_traits *t = tensor_type_find((uint32_t)type);
	assert(t);
	return t;
}

const char *tensor_type_name(enum tensor_type type)
{
	return tensor_type_traits(type)->name;
}

size_t tensor_type_bytes(enum tensor_type type, size_t n)
{
	const struct tensor_traits *t = tensor_type_traits(type);
	return n / (size_t)t->block * (size_t)t->block_bytes;
}

size_t tensor_type_cache_row(enum tensor_type type, int head_dim)
{
	return (size_t)cache_row_bytes((int)type, head_dim);
}

bool tensor_type_fits(enum tensor_type type, uint64_t n)
{
	const struct tensor_traits *t = tensor_type_traits(type);
	return n / (uint64_t)t->block <= SIZE_MAX / (size_t)t->block_bytes;
}
