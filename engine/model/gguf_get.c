/*
 * Looking things up in a parsed GGUF file, and how its parts are called in messages.
 * The parser (gguf.c) has checked every value's bytes, so nothing here checks bounds
 * but an array's index.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engine/model/gguf_internal.h"

struct text_shown gguf_show(struct gguf_string s)
{
	return text_show(s.data, s.size);
}

int gguf_name_order(struct gguf_string a, struct gguf_string b)
{
	int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
	return order ? order : (a.size > b.size) - (a.size < b.size);
}

size_t gguf_value_type_bytes(enum gguf_value_type type)
{
	switch (type) {
	case GGUF_UINT8:
	case GGUF_INT8:
	case GGUF_BOOL:
		return 1;
	case GGUF_UINT16:
	case GGUF_INT16:
		return 2;
	case GGUF_UINT32:
	case GGUF_INT32:
	case GGUF_FLOAT32:
		return 4;
	case GGUF_UINT64:
	case GGUF_INT64:
	case GGUF_FLOAT64:
		return 8;
	case GGUF_STRING:
	case GGUF_ARRAY:
		break;
	}
	return 0;
}

const char *gguf_value_type_name(enum gguf_value_type type)
{
	static const char *const names[] = {"uint8",   "int8",   "uint16", "int16",  "uint32", "int32",  "float32",
					    "boolean", "string", "array",  "uint64", "int64",  "float64"};
	return names[type];
}

static const struct gguf_string *find(const struct gguf_string *const *index, size_t n, const char *name)
{
	struct gguf_string wanted = {name, strlen(name)};
	while (n > 0) {
		size_t half = n / 2;
		int order = gguf_name_order(*index[half], wanted);
		if (order == 0)
			return index[half];
		if (order < 0) {
			index += half + 1;
			n -= half + 1;
		} else {
			n = half;
		}
	}
	return NULL;
}

const struct gguf_kv *gguf_find(const struct gguf *g, const char *key)
{
	const struct gguf_owned *owned = g->owned;
	return owned ? (const struct gguf_kv *)find(owned->kv_index, g->n_kv, key) : NULL;
}

const struct gguf_tensor *gguf_find_tensor(const struct gguf *g, const char *name)
{
	const struct gguf_owned *owned = g->owned;
	return owned ? (const struct gguf_tensor *)find(owned->tensor_index, g->n_tensors, name) : NULL;
}

static int find_or_fail(const struct gguf *g, const char *key, const struct gguf_kv **kv, struct error *err)
{
	*kv = gguf_find(g, key);
	if (*kv)
		return 0;
	return error_set(err, ERROR_INPUT, "%s: metadata key %s is missing; " CONVERT_AGAIN,
			 g->path ? text_show_path(g->path).text : "(no file)", key);
}

static int wrong_type(const struct gguf *g, const struct gguf_kv *kv, const char *expected, struct error *err)
{
	struct text_shown path = text_show_path(g->path), key = gguf_show(kv->key);
	if (kv->type == GGUF_ARRAY)
		return error_set(err, ERROR_INPUT,
				 "%s: metadata key %s holds an array of %" PRIu64 " %s, expected %s; " CONVERT_AGAIN,
				 path.text, key.text, kv->n_items, gguf_value_type_name(kv->item_type), expected);
	return error_set(err, ERROR_INPUT, "%s: metadata key %s holds a %s, expected %s; " CONVERT_AGAIN, path.text,
			 key.text, gguf_value_type_name(kv->type), expected);
}

static uint64_t load(const unsigned char *p, size_t n)
{
	uint64_t v = 0;
	for (size_t i = 0; i < n; i++)
		v |= (uint64_t)p[i] << 8 * i;
	return v;
}

/* The end of n checked values that begin at p. */
static const unsigned char *values_end(const unsigned char *p, enum gguf_value_type type, uint64_t n)
{
	size_t item = gguf_value_type_bytes(type);
	if (item > 0)
		return p + n * item;
	for (uint64_t i = 0; i < n; i++) {
		if (type == GGUF_STRING)
			p += 8 + load(p, 8);
		else
			p = values_end(p + 12, (enum gguf_value_type)load(p, 4), load(p + 4, 8));
	}
	return p;
}

size_t gguf_kv_value_bytes(const struct gguf_kv *kv)
{
	bool array = kv->type == GGUF_ARRAY;
	return (size_t)(values_end(kv->value, array ? kv->item_type : kv->type, array ? kv->n_items : 1) - kv->value);
}

/* Returns false where the type is no integer; *fits tells whether the value is in int64_t. */
static bool read_int(enum gguf_value_type type, const unsigned char *p, int64_t *out, bool *fits)
{
	uint64_t v = load(p, gguf_value_type_bytes(type));
	*fits = true;
	switch (type) {
	case GGUF_INT8:
		*out = (int8_t)v;
		return true;
	case GGUF_INT16:
		*out = (int16_t)v;
		return true;
	case GGUF_INT32:
		*out = (int32_t)v;
		return true;
	case GGUF_UINT64:
		*fits = v <= INT64_MAX;
		*out = *fits ? (int64_t)v : 0;
		return true;
	case GGUF_UINT8:
	case GGUF_UINT16:
	case GGUF_UINT32:
	case GGUF_INT64:
		*out = (int64_t)v;
		return true;
	case GGUF_FLOAT32:
	case GGUF_BOOL:
	case GGUF_STRING:
	case GGUF_ARRAY:
	case GGUF_FLOAT64:
		break;
	}
	return false;
}

static int too_large(const struct gguf *g, const struct gguf_kv *kv, const unsigned char *p, struct error *err)
{
	return error_set(err, ERROR_INPUT,
			 "%s: metadata key %s holds %" PRIu64 ", expected at most %" PRId64 "; " CONVERT_AGAIN,
			 text_show_path(g->path).text, gguf_show(kv->key).text, load(p, 8), INT64_MAX);
}

int gguf_get_int(const struct gguf *g, const char *key, int64_t *out, struct error *err)
{
	const struct gguf_kv *kv;
	int rc = find_or_fail(g, key, &kv, err);
	if (rc)
		return rc;
	bool fits;
	int64_t value;
	if (!read_int(kv->type, kv->value, &value, &fits))
		return wrong_type(g, kv, "an integer", err);
	if (!fits)
		return too_large(g, kv, kv->value, err);
	*out = value;
	return 0;
}

/* Returns false where the type is no floating-point one. */
static bool read_float(enum gguf_value_type type, const unsigned char *p, double *out)
{
	if (type == GGUF_FLOAT32) {
		uint32_t bits = (uint32_t)load(p, 4);
		float value;
		memcpy(&value, &bits, sizeof value);
		*out = value;
		return true;
	}
	if (type == GGUF_FLOAT64) {
		uint64_t bits = load(p, 8);
		memcpy(out, &bits, sizeof *out);
		return true;
	}
	return false;
}

int gguf_get_float(const struct gguf *g, const char *key, double *out, struct error *err)
{
	const struct gguf_kv *kv;
	int rc = find_or_fail(g, key, &kv, err);
	if (rc)
		return rc;
	return read_float(kv->type, kv->value, out) ? 0 : wrong_type(g, kv, "a float32 or float64", err);
}

int gguf_get_bool(const struct gguf *g, const char *key, bool *out, struct error *err)
{
	const struct gguf_kv *kv;
	int rc = find_or_fail(g, key, &kv, err);
	if (rc)
		return rc;
	if (kv->type != GGUF_BOOL)
		return wrong_type(g, kv, "a boolean", err);
	*out = *kv->value;
	return 0;
}

int gguf_get_string(const struct gguf *g, const char *key, struct gguf_string *out, struct error *err)
{
	const struct gguf_kv *kv;
	int rc = find_or_fail(g, key, &kv, err);
	if (rc)
		return rc;
	if (kv->type != GGUF_STRING)
		return wrong_type(g, kv, "a string", err);
	*out = (struct gguf_string){(const char *)kv->value + 8, (size_t)load(kv->value, 8)};
	return 0;
}

static int find_item(const struct gguf *g, const char *key, uint64_t i, const struct gguf_kv **kv, const char *expected,
		     struct error *err)
{
	int rc = find_or_fail(g, key, kv, err);
	if (rc)
		return rc;
	if ((*kv)->type != GGUF_ARRAY)
		return wrong_type(g, *kv, expected, err);
	if (i >= (*kv)->n_items)
		return error_set(err, ERROR_INPUT,
				 "%s: metadata key %s has %" PRIu64 " items, expected item %" PRIu64 "; " CONVERT_AGAIN,
				 text_show_path(g->path).text, gguf_show((*kv)->key).text, (*kv)->n_items, i);
	return 0;
}

int gguf_get_int_at(const struct gguf *g, const char *key, uint64_t i, int64_t *out, struct error *err)
{
	const struct gguf_kv *kv;
	int rc = find_item(g, key, i, &kv, "an array of integers", err);
	if (rc)
		return rc;
	/* size 0 (strings, arrays) stays at the first item, which read_int then refuses by its type */
	const unsigned char *p = kv->value + i * gguf_value_type_bytes(kv->item_type);
	bool fits;
	int64_t value;
	if (!read_int(kv->item_type, p, &value, &fits))
		return wrong_type(g, kv, "an array of integers", err);
	if (!fits)
		return too_large(g, kv, p, err);
	*out = value;
	return 0;
}

int gguf_get_float_at(const struct gguf *g, const char *key, uint64_t i, double *out, struct error *err)
{
	const struct gguf_kv *kv;
	int rc = find_item(g, key, i, &kv, "an array of floats", err);
	if (rc)
		return rc;
	const unsigned char *p = kv->value + i * gguf_value_type_bytes(kv->item_type);
	return read_float(kv->item_type, p, out) ? 0 : wrong_type(g, kv, "an array of floats", err);
}

int gguf_get_strings(const struct gguf *g, const char *key, struct gguf_string *out, uint64_t n, struct error *err)
{
	const struct gguf_kv *kv;
	int rc = n ? find_item(g, key, n - 1, &kv, "an array of strings", err) : 0;
	if (rc || !n)
		return rc;
	if (kv->item_type != GGUF_STRING)
		return wrong_type(g, kv, "an array of strings", err);
	const unsigned char *p = kv->value;
	for (uint64_t i = 0; i < n; i++) {
		out[i] = (struct gguf_string){(const char *)p + 8, (size_t)load(p, 8)};
		p += 8 + out[i].size;
	}
	return 0;
}

int gguf_get_bool_at(const struct gguf *g, const char *key, uint64_t i, bool *out, struct error *err)
{
	const struct gguf_kv *kv;
	int rc = find_item(g, key, i, &kv, "an array of booleans", err);
	if (rc)
		return rc;
	if (kv->item_type != GGUF_BOOL)
		return wrong_type(g, kv, "an array of booleans", err);
	*out = kv->value[i];
	return 0;
}
