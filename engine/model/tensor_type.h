/*
 * The element types that this program has, as one table: TENSOR_TYPES of kernels/params.h with what the host needs of a
 * row. Whatever lists, names, sizes or parses types reads it, so that a new type is a row there, its layout in
 * kernels/cpu/inner_quants.h and its kernels.
 */
#ifndef GEMMARK_ENGINE_MODEL_TENSOR_TYPE_H
#define GEMMARK_ENGINE_MODEL_TENSOR_TYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/params.h"

struct tensor_traits {
	enum tensor_type type; /* its number in GGUF */
	const char *name;      /* "Q8_0": in GGUF tools and messages */
	const char *word;      /* "q8_0": in options and records */
	int block;             /* elements; rows are whole blocks */
	int block_bytes;
	bool cache;    /* a K/V cache may be of it */
	bool quants;   /* one of TENSOR_QUANT_TYPES */
	int file_type; /* general.file_type of a file that is mostly of it */
};

/* In the order of TENSOR_TYPES: cache types first. */
extern const struct tensor_traits tensor_types[];
extern const int tensor_type_count;

/* For texts that are put together when compiling: " F32 F16 BF16 Q8_0 ...", " f32 f16 bf16 q8_0 ...", " f32 f16 bf16".
 */
#define TENSOR_TYPE_NAME(NAME, word, number, block, block_bytes, file_type, a, b) " " #NAME
#define TENSOR_TYPE_WORD(NAME, word, number, block, block_bytes, file_type, a, b) " " #word
#define TENSOR_TYPE_NAMES TENSOR_TYPES(TENSOR_TYPE_NAME, , )
#define TENSOR_TYPE_WORDS TENSOR_TYPES(TENSOR_TYPE_WORD, , )
#define TENSOR_CACHE_TYPE_WORDS TENSOR_CACHE_TYPES(TENSOR_TYPE_WORD, , )

/* Of a type that is in the table. */
const struct tensor_traits *tensor_type_traits(enum tensor_type type);
/* GGUF's number to its row; null where this program has no such type. */
const struct tensor_traits *tensor_type_find(uint32_t number);
/* A name or word, in any case; null for none of the table. */
const struct tensor_traits *tensor_type_parse(const char *word);
/* The name of a type that GGUF gives the number to and this program does not have; null where it gives it to none. */
const char *tensor_type_foreign_name(uint32_t number);

const char *tensor_type_name(enum tensor_type type);
/* Bytes of a head's key or value in a K/V cache of that type, one position's: kernels/cache_rows.h. */
size_t tensor_type_cache_row(enum tensor_type type, int head_dim);
/* Bytes of n elements, n a multiple of the type's block. Does not overflow where tensor_type_fits. */
size_t tensor_type_bytes(enum tensor_type type, size_t n);
bool tensor_type_fits(enum tensor_type type, uint64_t n);

#endif
