/*
 * Reading GGUF files, versions 2 and 3, little-endian.
 *
 * gguf_open maps the file and checks all of it that it will ever point into: after
 * it returns 0 every key, string, array and tensor of the struct lies inside the
 * mapping, so that nothing that uses them has to check again. The file is untrusted:
 * a bad one ends in ERROR_INPUT and one line, never in a crash, a large allocation
 * or a long wait.
 *
 * Source: the GGUF specification of ggml (docs/gguf.md).
 */
#ifndef GEMMARK_ENGINE_MODEL_GGUF_H
#define GEMMARK_ENGINE_MODEL_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/model/tensor_type.h"

enum gguf_value_type {
	GGUF_UINT8,
	GGUF_INT8,
	GGUF_UINT16,
	GGUF_INT16,
	GGUF_UINT32,
	GGUF_INT32,
	GGUF_FLOAT32,
	GGUF_BOOL,
	GGUF_STRING,
	GGUF_ARRAY,
	GGUF_UINT64,
	GGUF_INT64,
	GGUF_FLOAT64,
};

enum { GGUF_MAX_DIMS = 4 };

/* Not zero-terminated; points into the mapping. */
struct gguf_string {
	const char *data;
	size_t size;
};

/* A metadata entry. Values stay in the file: read them through the getters. */
struct gguf_kv {
	struct gguf_string key;
	enum gguf_value_type type;
	enum gguf_value_type item_type; /* of an array; nested arrays are GGUF_ARRAY */
	uint64_t n_items;               /* of an array */
	const unsigned char *value;     /* the value, or the array's first item */
};

struct gguf_tensor {
	struct gguf_string name;
	enum tensor_type type;
	int n_dims;
	int64_t ne[GGUF_MAX_DIMS]; /* ne[0] is the innermost; 1 beyond n_dims */
	const void *data;          /* into the mapping, aligned as the file promises */
	size_t bytes;
};

struct gguf {
	const char *path; /* the caller's string, copied */
	int version;
	uint32_t alignment;
	struct gguf_kv *kv;
	size_t n_kv;
	struct gguf_tensor *tensors;
	size_t n_tensors;
	const unsigned char *map; /* of the first part */
	size_t map_bytes;         /* of all parts */
	int n_parts;              /* files that it is split into; 1: it is not */
	void *owned;              /* internal: indexes, and what gguf_close gives back */
};

/*
 * Returns 0, ERROR_IO, ERROR_MEMORY, ERROR_INPUT or ERROR_UNSUPPORTED (a quantised type by
 * name, big endian, another version). Where somebody cuts the file short while it is open, the
 * process gets SIGBUS, as with any mapping: gguf_mapped_path tells a handler whether it is that.
 */
int gguf_open(struct gguf *g, const char *path, struct error *err);

/*
 * Of the files as they were when they were opened, all parts: device, inode, size and time of modification in one
 * number. Two of one path are the same where nothing was written or replaced between. 0 over caller's bytes.
 */
uint64_t gguf_identity(const struct gguf *g);
/*
 * ERROR_INPUT where the file has been written to since it was opened: what was read of it may be of two files. The
 * message ends in the remedy: what to do is the caller's to know.
 */
int gguf_check(const struct gguf *g, const char *remedy, struct error *err);

/*
 * A file may be one of several that a model is split into (split.no and split.count in each, NAME-00001-of-00003.gguf
 * their names): gguf_open opens all of them, whichever is named, with the keys of the first and the tensors of all.
 * ERROR_INPUT says which part is missing or is none of the same model.
 */
/* The path of part i (0 to n_parts - 1); g->path where there is one. */
const char *gguf_part_path(const struct gguf *g, int i);
/* The part that holds a tensor, and where its data begins in that file. */
int gguf_tensor_part(const struct gguf *g, const struct gguf_tensor *t, uint64_t *offset);

/* The path, escaped, of the open file that is mapped at this address; null: none. Async-signal-safe. */
const char *gguf_mapped_path(const void *address);

/*
 * As gguf_open, over bytes, aligned as malloc aligns, that stay the caller's and must
 * outlive g; `path` names them in messages.
 */
int gguf_open_memory(struct gguf *g, const void *bytes, size_t n_bytes, const char *path, struct error *err);

/* Also valid on a zeroed struct and after a failed open. */
void gguf_close(struct gguf *g);

/* Null where there is none. */
const struct gguf_kv *gguf_find(const struct gguf *g, const char *key);
const struct gguf_tensor *gguf_find_tensor(const struct gguf *g, const char *name);

/*
 * Typed reads of one entry. Numbers convert between all integer types when the
 * value fits; ERROR_INPUT names the key, what it holds and what was expected. A
 * missing key is ERROR_INPUT too: ask gguf_find first where it is optional.
 * gguf_get_*_at read item i of an array.
 */
int gguf_get_int(const struct gguf *g, const char *key, int64_t *out, struct error *err);
int gguf_get_float(const struct gguf *g, const char *key, double *out, struct error *err);
int gguf_get_bool(const struct gguf *g, const char *key, bool *out, struct error *err);
int gguf_get_string(const struct gguf *g, const char *key, struct gguf_string *out, struct error *err);
int gguf_get_int_at(const struct gguf *g, const char *key, uint64_t i, int64_t *out, struct error *err);
int gguf_get_float_at(const struct gguf *g, const char *key, uint64_t i, double *out, struct error *err);
int gguf_get_bool_at(const struct gguf *g, const char *key, uint64_t i, bool *out, struct error *err);
/* All of an array of strings, in order, in one pass: out: (n), the array's n_items. */
int gguf_get_strings(const struct gguf *g, const char *key, struct gguf_string *out, uint64_t n, struct error *err);

#endif
