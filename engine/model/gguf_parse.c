/*
 * The GGUF parser: checks and indexes the bytes of a file. Opening it is gguf.c,
 * reading values gguf_get.c.
 *
 * One pass over the header with a cursor that never moves past the end: counts and
 * lengths are compared with the bytes that remain before anything is allocated or
 * skipped, so the work and the memory are proportional to the file. Names are then
 * sorted (never hashed: a hostile file cannot choose collisions), which gives both
 * the lookup and the duplicates. Last, tensors are sorted by offset, which gives the
 * overlaps.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/gguf_internal.h"

#define DAMAGED "the file is damaged or cut short: download or convert it again"
#define CONVERT "convert the model to one of" TENSOR_TYPE_NAMES

enum {
	HEADER_BYTES = 4 + 4 + 8 + 8,
	MIN_KV_BYTES = 8 + 1 + 4 + 1,
	MIN_TENSOR_BYTES = 8 + 1 + 4 + 8 + 4 + 8,
	MAX_KEY_BYTES = 65535,
	MAX_TENSOR_NAME_BYTES = 64,
	MAX_ARRAY_DEPTH = 8,
	DEFAULT_ALIGNMENT = 32,
	MIN_ALIGNMENT = 8,
	MAX_ALIGNMENT = 65536,
};

/* Where the parser is, for reading and for messages. */
struct cursor {
	const char *path;
	const unsigned char *bytes;
	size_t size;
	size_t at;
	const char *part; /* "header", "metadata key", "tensor" */
	uint64_t index;
	struct gguf_string name; /* of the key or tensor; size 0 while not known */
	struct error *err;
};

struct placed {
	uint64_t offset; /* from the start of the data section */
	uint64_t info;   /* where the file describes it */
	struct gguf_tensor *tensor;
};

static int fail(const struct cursor *c, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

static int fail(const struct cursor *c, int code, const char *format, ...)
{
	struct text_shown path = text_show_path(c->path);
	char what[320];
	va_list args;
	va_start(args, format);
	vsnprintf(what, sizeof what, format, args);
	va_end(args);
	if (c->name.size > 0)
		return error_set(c->err, code, "%s: %s %s, at byte %zu: %s", path.text, c->part,
				 gguf_show(c->name).text, c->at, what);
	if (c->index != UINT64_MAX)
		return error_set(c->err, code, "%s: %s %" PRIu64 ", at byte %zu: %s", path.text, c->part, c->index,
				 c->at, what);
	return error_set(c->err, code, "%s: %s, at byte %zu: %s", path.text, c->part, c->at, what);
}

static size_t remaining(const struct cursor *c)
{
	return c->size - c->at;
}

/* A little-endian integer of n bytes. */
static int take_uint(struct cursor *c, size_t n, uint64_t *out, const char *what)
{
	*out = 0;
	if (remaining(c) < n)
		return fail(c, ERROR_INPUT, "the file ends inside %s; " DAMAGED, what);
	for (size_t i = 0; i < n; i++)
		*out |= (uint64_t)c->bytes[c->at + i] << 8 * i;
	c->at += n;
	return 0;
}

static int take_u32(struct cursor *c, uint32_t *out, const char *what)
{
	uint64_t value;
	int rc = take_uint(c, 4, &value, what);
	*out = (uint32_t)value;
	return rc;
}

static int take_u64(struct cursor *c, uint64_t *out, const char *what)
{
	return take_uint(c, 8, out, what);
}

static int take_string(struct cursor *c, struct gguf_string *out, const char *what)
{
	uint64_t size;
	int rc = take_u64(c, &size, what);
	if (rc)
		return rc;
	if (size > remaining(c))
		return fail(c, ERROR_INPUT, "%s claims %" PRIu64 " bytes where the file has %zu left; " DAMAGED, what,
			    size, remaining(c));
	*out = (struct gguf_string){(const char *)c->bytes + c->at, size};
	c->at += size;
	return 0;
}

/* A key or a tensor's name: of a sane length, and one that a C string can ask for. */
static int take_name(struct cursor *c, struct gguf_string *out, size_t limit)
{
	int rc = take_string(c, out, "the name");
	if (rc)
		return rc;
	if (out->size == 0 || out->size > limit)
		return fail(c, ERROR_INPUT, "a name of %zu bytes instead of 1 to %zu; " DAMAGED, out->size, limit);
	c->name = *out;
	if (memchr(out->data, 0, out->size))
		return fail(c, ERROR_INPUT, "a name with a zero byte in it; " DAMAGED);
	return 0;
}

static int take_value_type(struct cursor *c, enum gguf_value_type *out, const char *what)
{
	uint32_t type;
	int rc = take_u32(c, &type, what);
	if (rc)
		return rc;
	if (type > GGUF_FLOAT64) {
		c->at -= 4;
		return fail(c, ERROR_INPUT, "%s is %" PRIu32 ", which GGUF does not know; " DAMAGED, what, type);
	}
	*out = type;
	return 0;
}

static int skip_strings(struct cursor *c, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		struct gguf_string s;
		int rc = take_string(c, &s, "a string");
		if (rc)
			return rc;
	}
	return 0;
}

static int check_bools(const struct cursor *c, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		if (c->bytes[c->at + i] > 1)
			return fail(c, ERROR_INPUT, "boolean %" PRIu64 " is %d instead of 0 or 1; " DAMAGED, i,
				    c->bytes[c->at + i]);
	}
	return 0;
}

/* The item type and count of an array, the count within what the file can hold. */
static int take_array_head(struct cursor *c, enum gguf_value_type *type, uint64_t *n)
{
	int rc = take_value_type(c, type, "the array's item type");
	if (rc)
		return rc;
	rc = take_u64(c, n, "the array's length");
	if (rc)
		return rc;
	size_t item = gguf_value_type_bytes(*type);
	if (item == 0)
		item = *type == GGUF_STRING ? 8 : 4 + 8;
	if (*n > remaining(c) / item)
		return fail(c, ERROR_INPUT,
			    "an array claims %" PRIu64 " items of %s where the file has %zu bytes left; " DAMAGED, *n,
			    gguf_value_type_name(*type), remaining(c));
	return 0;
}

/* Moves past n values of a type, checking them; `depth` arrays are around them. */
static int skip_values(struct cursor *c, enum gguf_value_type type, uint64_t n, int depth)
{
	size_t item = gguf_value_type_bytes(type);
	if (item > 0) {
		if (n > remaining(c) / item)
			return fail(c, ERROR_INPUT, "the file ends inside the value; " DAMAGED);
		if (type == GGUF_BOOL) {
			int rc = check_bools(c, n);
			if (rc)
				return rc;
		}
		c->at += n * item;
		return 0;
	}
	if (type == GGUF_STRING)
		return skip_strings(c, n);
	if (depth >= MAX_ARRAY_DEPTH)
		return fail(c, ERROR_INPUT, "arrays nested more than %d deep, which no model needs; " DAMAGED,
			    MAX_ARRAY_DEPTH);
	for (uint64_t i = 0; i < n; i++) {
		enum gguf_value_type inner;
		uint64_t n_inner;
		int rc = take_array_head(c, &inner, &n_inner);
		if (rc == 0)
			rc = skip_values(c, inner, n_inner, depth + 1);
		if (rc)
			return rc;
	}
	return 0;
}

static int parse_kv(struct cursor *c, struct gguf_kv *kv)
{
	int rc = take_name(c, &kv->key, MAX_KEY_BYTES);
	if (rc)
		return rc;
	rc = take_value_type(c, &kv->type, "the value's type");
	if (rc)
		return rc;
	if (kv->type != GGUF_ARRAY) {
		kv->value = c->bytes + c->at;
		return skip_values(c, kv->type, 1, 0);
	}
	rc = take_array_head(c, &kv->item_type, &kv->n_items);
	if (rc)
		return rc;
	kv->value = c->bytes + c->at;
	return skip_values(c, kv->item_type, kv->n_items, 1);
}

static int take_shape(struct cursor *c, struct gguf_tensor *t, int64_t *n_elements)
{
	uint32_t n_dims;
	int rc = take_u32(c, &n_dims, "the number of dimensions");
	if (rc)
		return rc;
	if (n_dims < 1 || n_dims > GGUF_MAX_DIMS)
		return fail(c, ERROR_INPUT, "%" PRIu32 " dimensions instead of 1 to %d; " DAMAGED, n_dims,
			    GGUF_MAX_DIMS);
	t->n_dims = (int)n_dims;
	*n_elements = 1;
	for (int i = 0; i < GGUF_MAX_DIMS; i++) {
		uint64_t ne = 1;
		if (i < t->n_dims)
			rc = take_u64(c, &ne, "a dimension");
		if (rc)
			return rc;
		if (ne < 1 || ne > INT64_MAX || __builtin_mul_overflow(*n_elements, (int64_t)ne, n_elements))
			return fail(c, ERROR_INPUT,
				    "dimension %d is %" PRIu64 ", which makes no tensor that a file can hold; " DAMAGED,
				    i, ne);
		t->ne[i] = (int64_t)ne;
	}
	return 0;
}

static int take_tensor_type(struct cursor *c, struct gguf_tensor *t, int64_t n_elements)
{
	uint32_t type;
	int rc = take_u32(c, &type, "the tensor's type");
	if (rc)
		return rc;
	c->at -= 4;
	const struct tensor_traits *traits = tensor_type_find(type);
	if (!traits) {
		const char *name = tensor_type_foreign_name(type);
		if (name)
			return fail(c, ERROR_UNSUPPORTED, "is %s, which this program does not read; " CONVERT, name);
		return fail(c, ERROR_INPUT, "type %" PRIu32 " is not one that GGUF knows; " DAMAGED " or " CONVERT,
			    type);
	}
	t->type = traits->type;
	if (t->ne[0] % traits->block != 0)
		return fail(c, ERROR_INPUT, "rows of %" PRId64 " are not whole %s blocks of %d; " DAMAGED, t->ne[0],
			    traits->name, traits->block);
	if (!tensor_type_fits(t->type, (uint64_t)n_elements))
		return fail(c, ERROR_INPUT, "%" PRId64 " elements are more than a file can hold; " DAMAGED, n_elements);
	t->bytes = tensor_type_bytes(t->type, (size_t)n_elements);
	c->at += 4;
	return 0;
}

static int parse_tensor(struct cursor *c, struct gguf_tensor *t, struct placed *place)
{
	*place = (struct placed){.info = c->at, .tensor = t};
	int rc = take_name(c, &t->name, MAX_TENSOR_NAME_BYTES);
	if (rc)
		return rc;
	int64_t n_elements = 0;
	rc = take_shape(c, t, &n_elements);
	if (rc == 0)
		rc = take_tensor_type(c, t, n_elements);
	if (rc == 0)
		rc = take_u64(c, &place->offset, "the data offset");
	return rc;
}

static int compare_names(const void *a, const void *b)
{
	return gguf_name_order(**(const struct gguf_string *const *)a, **(const struct gguf_string *const *)b);
}

/* Sorts n names and refuses equal ones. */
static int index_names(struct cursor *c, const struct gguf_string **index, size_t n)
{
	qsort(index, n, sizeof *index, compare_names);
	for (size_t i = 1; i < n; i++) {
		if (compare_names(&index[i - 1], &index[i]) != 0)
			continue;
		size_t first = (size_t)((const unsigned char *)index[i - 1]->data - c->bytes);
		size_t second = (size_t)((const unsigned char *)index[i]->data - c->bytes);
		c->name = *index[i];
		c->at = first > second ? first : second;
		return fail(c, ERROR_INPUT, "there twice, first at byte %zu; " DAMAGED,
			    first < second ? first : second);
	}
	return 0;
}

static int parse_metadata(struct gguf *g, struct gguf_owned *owned, struct cursor *c, uint64_t n)
{
	static_assert(offsetof(struct gguf_kv, key) == 0, "the index points at keys and finds entries");
	c->part = "metadata key";
	g->kv = calloc(n ? n : 1, sizeof *g->kv);
	owned->kv_index = calloc(n ? n : 1, sizeof *owned->kv_index);
	if (!g->kv || !owned->kv_index)
		return fail(c, ERROR_MEMORY, "no memory for %" PRIu64 " metadata entries; close other programs", n);
	g->n_kv = n;
	for (size_t i = 0; i < n; i++) {
		c->index = i;
		c->name.size = 0;
		int rc = parse_kv(c, &g->kv[i]);
		if (rc)
			return rc;
		owned->kv_index[i] = &g->kv[i].key;
	}
	size_t end = c->at;
	int rc = index_names(c, owned->kv_index, n);
	if (rc)
		return rc;
	c->at = end;

	g->alignment = DEFAULT_ALIGNMENT;
	if (!gguf_find(g, "general.alignment"))
		return 0;
	int64_t alignment;
	rc = gguf_get_int(g, "general.alignment", &alignment, c->err);
	if (rc)
		return rc;
	if (alignment < MIN_ALIGNMENT || alignment > MAX_ALIGNMENT || (alignment & (alignment - 1)) != 0)
		return error_set(c->err, ERROR_INPUT,
				 "%s: general.alignment is %" PRId64
				 " instead of a power of two from %d to %d; " DAMAGED,
				 text_show_path(c->path).text, alignment, MIN_ALIGNMENT, MAX_ALIGNMENT);
	g->alignment = (uint32_t)alignment;
	return 0;
}

static int compare_offsets(const void *a, const void *b)
{
	const struct placed *x = a, *y = b;
	return (x->offset > y->offset) - (x->offset < y->offset);
}

/* Gives each tensor its data: aligned, inside the file, apart from all others. */
static int place_tensors(struct gguf *g, struct cursor *c, struct placed *places)
{
	size_t padding = (g->alignment - c->at % g->alignment) % g->alignment;
	size_t base = padding < remaining(c) ? c->at + padding : c->size;
	size_t room = c->size - base;
	qsort(places, g->n_tensors, sizeof *places, compare_offsets);
	for (size_t i = 0; i < g->n_tensors; i++) {
		const struct placed *p = &places[i];
		c->name = p->tensor->name;
		c->at = p->info;
		if (p->offset % g->alignment != 0)
			return fail(c, ERROR_INPUT,
				    "data offset %" PRIu64 " is not a multiple of the alignment %" PRIu32 "; " DAMAGED,
				    p->offset, g->alignment);
		if (p->offset > room || p->tensor->bytes > room - p->offset)
			return fail(c, ERROR_INPUT,
				    "%zu bytes of data at offset %" PRIu64
				    " run past the end of the file, which has %zu bytes of data; " DAMAGED,
				    p->tensor->bytes, p->offset, room);
		if (i > 0 && p->offset < places[i - 1].offset + places[i - 1].tensor->bytes)
			return fail(c, ERROR_INPUT, "data at offset %" PRIu64 " overlaps that of %s; " DAMAGED,
				    p->offset, gguf_show(places[i - 1].tensor->name).text);
		p->tensor->data = c->bytes + base + p->offset;
	}
	return 0;
}

static int parse_tensors(struct gguf *g, struct gguf_owned *owned, struct cursor *c, uint64_t n)
{
	static_assert(offsetof(struct gguf_tensor, name) == 0, "the index points at names and finds tensors");
	c->part = "tensor";
	c->name.size = 0;
	c->index = 0;
	struct placed *places = calloc(n ? n : 1, sizeof *places);
	g->tensors = calloc(n ? n : 1, sizeof *g->tensors);
	owned->tensor_index = calloc(n ? n : 1, sizeof *owned->tensor_index);
	int rc = 0;
	if (!places || !g->tensors || !owned->tensor_index)
		rc = fail(c, ERROR_MEMORY, "no memory for %" PRIu64 " tensors; close other programs", n);
	g->n_tensors = n;
	for (size_t i = 0; i < n && rc == 0; i++) {
		c->index = i;
		c->name.size = 0;
		rc = parse_tensor(c, &g->tensors[i], &places[i]);
		owned->tensor_index[i] = &g->tensors[i].name;
	}
	size_t end = c->at;
	if (rc == 0)
		rc = index_names(c, owned->tensor_index, n);
	if (rc == 0) {
		c->at = end;
		rc = place_tensors(g, c, places);
	}
	free(places);
	return rc;
}

static int parse_header(struct gguf *g, struct cursor *c, uint64_t *n_tensors, uint64_t *n_kv)
{
	if (c->size == 0)
		return error_set(c->err, ERROR_INPUT, "%s: the file is empty; download or convert it again",
				 text_show_path(c->path).text);
	if (c->size < 4 || memcmp(c->bytes, "GGUF", 4) != 0)
		return error_set(c->err, ERROR_INPUT,
				 "%s: not a GGUF file (it does not begin with \"GGUF\"); give the .gguf of a model",
				 text_show_path(c->path).text);
	c->at = 4;
	uint32_t version;
	int rc = take_u32(c, &version, "the version");
	if (rc)
		return rc;
	uint32_t swapped = __builtin_bswap32(version);
	if (swapped >= 1 && swapped <= 0xffff)
		return error_set(c->err, ERROR_UNSUPPORTED,
				 "%s: a big-endian GGUF file (version %" PRIu32
				 "), which this program does not read; convert the model to little-endian",
				 text_show_path(c->path).text, swapped);
	if (version < 2 || version > 3)
		return error_set(c->err, ERROR_UNSUPPORTED,
				 "%s: GGUF version %" PRIu32
				 ", where this program reads 2 and 3; convert the model to version 3",
				 text_show_path(c->path).text, version);
	g->version = (int)version;
	rc = take_u64(c, n_tensors, "the number of tensors");
	if (rc == 0)
		rc = take_u64(c, n_kv, "the number of metadata keys");
	if (rc)
		return rc;
	if (*n_kv > remaining(c) / MIN_KV_BYTES)
		return fail(c, ERROR_INPUT,
			    "%" PRIu64 " metadata keys do not fit into the %zu bytes that follow; " DAMAGED, *n_kv,
			    remaining(c));
	if (*n_tensors > remaining(c) / MIN_TENSOR_BYTES)
		return fail(c, ERROR_INPUT, "%" PRIu64 " tensors do not fit into the %zu bytes that follow; " DAMAGED,
			    *n_tensors, remaining(c));
	return 0;
}

int gguf_parse(struct gguf *g, struct error *err)
{
	struct cursor c = {.path = g->path,
			   .bytes = g->map,
			   .size = g->map_bytes,
			   .part = "header",
			   .index = UINT64_MAX,
			   .err = err};
	uint64_t n_tensors = 0, n_kv = 0;
	int rc = parse_header(g, &c, &n_tensors, &n_kv);
	if (rc == 0)
		rc = parse_metadata(g, g->owned, &c, n_kv);
	if (rc == 0)
		rc = parse_tensors(g, g->owned, &c, n_tensors);
	return rc;
}
