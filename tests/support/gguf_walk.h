/*
 * Reads everything that an opened GGUF file offers and aborts where it breaks a
 * promise of engine/model/gguf.h. For the mutation test and the fuzz target, both of which
 * run under AddressSanitizer too.
 */
#ifndef GEMMARK_TESTS_SUPPORT_GGUF_WALK_H
#define GEMMARK_TESTS_SUPPORT_GGUF_WALK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/gguf.h"
#include "engine/model/gguf_internal.h"
#include "tests/support/shown_line.h"

static inline void promise(bool kept, const char *what)
{
	if (!kept) {
		fprintf(stderr, "broken promise: %s\n", what);
		abort();
	}
}

static inline bool inside(const struct gguf *g, const void *p, size_t n)
{
	uintptr_t at = (uintptr_t)p, start = (uintptr_t)g->map;
	return at >= start && at - start <= g->map_bytes && n <= g->map_bytes - (at - start);
}

/* One printable line, for failures alone. */
static inline void walk_error(int rc, const struct error *err)
{
	promise(rc < 0, "a failure is negative");
	promise(err->text[0] != 0, "a failure says something");
	promise(is_shown_line(err->text), "a message is one line that a terminal shows");
}

static inline char *walk_name(struct gguf_string s)
{
	char *name = malloc(s.size + 1);
	promise(name != NULL, "memory for a name");
	memcpy(name, s.data, s.size);
	name[s.size] = 0;
	return name;
}

static inline void walk_kv(const struct gguf *g, const struct gguf_kv *kv)
{
	struct error err = {{0}};
	struct gguf_string s = {0};
	int64_t integer = 0;
	double real = 0;
	bool boolean = false;
	char *key = walk_name(kv->key);
	promise(gguf_find(g, key) == kv, "a key is found");
	promise(inside(g, kv->value, gguf_kv_value_bytes(kv)), "a value lies in the file");

	int rc[4] = {gguf_get_int(g, key, &integer, &err), gguf_get_float(g, key, &real, &err),
		     gguf_get_bool(g, key, &boolean, &err), gguf_get_string(g, key, &s, &err)};
	int n_good = 0;
	for (int i = 0; i < 4; i++)
		n_good += rc[i] == 0;
	promise(n_good <= 1, "a value has one type");
	promise(kv->type == GGUF_ARRAY || n_good == 1 || kv->type == GGUF_UINT64, "a scalar can be read");
	promise(rc[3] != 0 || inside(g, s.data, s.size), "a string lies in the file");
	if (n_good < 4)
		walk_error(-1, &err);

	uint64_t last = kv->type == GGUF_ARRAY && kv->n_items > 0 ? kv->n_items - 1 : 0;
	int rc_int = gguf_get_int_at(g, key, last, &integer, &err);
	int rc_bool = gguf_get_bool_at(g, key, last, &boolean, &err);
	int rc_real = gguf_get_float_at(g, key, last, &real, &err);
	promise((rc_int && rc_real) || kv->type == GGUF_ARRAY, "only arrays have items");
	promise((rc_int != 0) + (rc_bool != 0) + (rc_real != 0) >= 2, "an item has one type");
	struct gguf_string *strings = calloc(last + 1, sizeof *strings);
	bool read = strings && !gguf_get_strings(g, key, strings, last + 1, &err);
	promise(!read || (rc_int && rc_bool && rc_real), "an item is a string or none");
	for (uint64_t i = 0; read && i <= last; i++)
		promise(inside(g, strings[i].data, strings[i].size), "a string of an array lies in the file");
	free(strings);
	rc_int = gguf_get_int_at(g, key, last + 1, &integer, &err);
	walk_error(rc_int, &err);
	free(key);
}

static inline void walk_tensor(const struct gguf *g, const struct gguf_tensor *t)
{
	char *name = walk_name(t->name);
	promise(gguf_find_tensor(g, name) == t, "a tensor is found");
	free(name);
	promise(inside(g, t->data, t->bytes), "a tensor lies in the file");
	promise((uintptr_t)t->data % 8 == 0 || (uintptr_t)g->map % 8 != 0, "a tensor is aligned");
	size_t n = 1;
	for (int i = 0; i < GGUF_MAX_DIMS; i++) {
		promise(t->ne[i] >= 1 && (i < t->n_dims || t->ne[i] == 1), "dimensions are positive");
		n *= (size_t)t->ne[i];
	}
	promise(tensor_type_bytes(t->type, n) == t->bytes, "a tensor has the bytes of its shape");
	promise(tensor_type_find((uint32_t)t->type) != NULL, "a tensor's type is one of the table");
	volatile unsigned char sink = ((const unsigned char *)t->data)[0];
	sink = ((const unsigned char *)t->data)[t->bytes - 1];
	(void)sink;
}

static inline void gguf_walk(const struct gguf *g)
{
	promise(g->version == 2 || g->version == 3, "the version is 2 or 3");
	for (size_t i = 0; i < g->n_kv; i++)
		walk_kv(g, &g->kv[i]);
	for (size_t i = 0; i < g->n_tensors; i++)
		walk_tensor(g, &g->tensors[i]);
	promise(gguf_find(g, "") == NULL && gguf_find_tensor(g, "") == NULL, "what is not there is not found");
}

#endif
