/*
 * What gguf.c (files), gguf_parts.c, gguf_parse.c, gguf_get.c and gguf_write.c share and nobody
 * else needs.
 */
#ifndef GEMMARK_ENGINE_MODEL_GGUF_INTERNAL_H
#define GEMMARK_ENGINE_MODEL_GGUF_INTERNAL_H

#include <sys/stat.h>

#include "base/text.h"
#include "engine/model/gguf.h"

/* What to do about a file whose metadata or tensors are not what converters write. */
#define CONVERT_AGAIN "convert the model again with a current converter"

/* Behind struct gguf's `owned`. The indexes are sorted by gguf_name_order. */
struct gguf_owned {
	char *path;
	struct gguf_mapping *mapping;            /* null over caller's bytes */
	const struct gguf_string **kv_index;     /* each the key of a struct gguf_kv */
	const struct gguf_string **tensor_index; /* each the name of a struct gguf_tensor */
	struct gguf *parts;                      /* of a split model, else null; they own the keys and their index */
	int n_parts;
};

/* One file, whether or not it is a part. */
int gguf_open_one(struct gguf *g, const char *path, struct error *err);

/* Where g, a file, is a part of a model: puts in its place the model of all parts. On failure g is closed. */
int gguf_join_parts(struct gguf *g, struct error *err);

/* Fills g from its mapping; path and owned are set. On failure the rest is left for gguf_close. */
int gguf_parse(struct gguf *g, struct error *err);

/* A string of the file, for a message. */
struct text_shown gguf_show(struct gguf_string s);

/* Any total order of byte strings; not that of locales. */
int gguf_name_order(struct gguf_string a, struct gguf_string b);

/* Bytes of a value of fixed size; 0 for strings and arrays. */
size_t gguf_value_type_bytes(enum gguf_value_type type);
/* Bytes that a checked entry's value takes in the file; of an array from its first item, as kv->value. */
size_t gguf_kv_value_bytes(const struct gguf_kv *kv);
/* "uint8", ..., "string", "array" */
const char *gguf_value_type_name(enum gguf_value_type type);

#endif
