/*
 * Models that are split into several files: finding the others by the name of one, and joining them. Each is checked
 * as any file is; what is checked here is that they belong together.
 *
 * Source: the GGUF specification's naming of shards, and the keys split.no, split.count and split.tensors.count that
 * gguf-split writes.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/model/gguf_internal.h"

enum { MAX_PARTS = 99999, SUFFIX_BYTES = 32 };

static void suffix(char out[SUFFIX_BYTES], int i, int n)
{
	snprintf(out, SUFFIX_BYTES, "-%05d-of-%05d.gguf", i + 1, n);
}

/* *n: 1 where the file is no part. */
static int read_place(const struct gguf *g, int *i, int *n, struct error *err)
{
	int64_t count, no;
	int rc;
	*i = 0;
	*n = 1;
	if (!gguf_find(g, "split.count"))
		return 0;
	if ((rc = gguf_get_int(g, "split.count", &count, err)))
		return rc;
	if (count < 0 || count > MAX_PARTS)
		return error_set(err, ERROR_INPUT,
				 "%s: split.count is %" PRId64 ", expected at most %d; split the model again",
				 text_show_path(g->path).text, count, MAX_PARTS);
	if (count <= 1)
		return 0;
	if ((rc = gguf_get_int(g, "split.no", &no, err)))
		return rc;
	if (no < 0 || no >= count)
		return error_set(err, ERROR_INPUT,
				 "%s: split.no is %" PRId64 ", expected 0 to %" PRId64 "; split the model again",
				 text_show_path(g->path).text, no, count - 1);
	*i = (int)no;
	*n = (int)count;
	return 0;
}

static bool same_entry(const struct gguf_kv *a, const struct gguf_kv *b)
{
	size_t n = gguf_kv_value_bytes(a);
	return a->type == b->type && n == gguf_kv_value_bytes(b) && !memcmp(a->value, b->value, n);
}

/* Opens part i, which is to be of the same model as `of`, part `known` of n. */
static int open_part(struct gguf *part, const char *path, const struct gguf *of, int i, int known, int n,
		     struct error *err)
{
	static const char total[] = "split.tensors.count";
	int no, count, rc;
	if (access(path, F_OK))
		return error_set(
			err, ERROR_INPUT,
			"%s: is part %d of %d of a model, and part %d, %s, is missing; put all parts in one folder",
			text_show_path(of->path).text, known + 1, n, i + 1, text_show_path(path).text);
	if ((rc = gguf_open_one(part, path, err)))
		return rc;
	if ((rc = read_place(part, &no, &count, err)))
		return rc;
	const struct gguf_kv *a = gguf_find(part, total), *b = gguf_find(of, total);
	if (no != i || count != n || (a && b && !same_entry(a, b)))
		return error_set(err, ERROR_INPUT,
				 "%s: is not part %d of %d of the model of %s; download or split the model again",
				 text_show_path(path).text, i + 1, n, text_show_path(of->path).text);
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	return gguf_name_order(**(const struct gguf_string *const *)a, **(const struct gguf_string *const *)b);
}

static int join_tensors(struct gguf *g, struct gguf_owned *owned, struct error *err)
{
	size_t n = 0;
	int64_t promised;
	int rc;
	for (int i = 0; i < owned->n_parts; i++)
		n += owned->parts[i].n_tensors;
	g->tensors = calloc(n + 1, sizeof *g->tensors);
	owned->tensor_index = calloc(n + 1, sizeof *owned->tensor_index);
	if (!g->tensors || !owned->tensor_index)
		return error_set(err, ERROR_MEMORY, "%s: no memory for %zu tensors; close other programs",
				 text_show_path(g->path).text, n);
	for (int i = 0; i < owned->n_parts; i++) {
		const struct gguf *part = &owned->parts[i];
		for (size_t k = 0; k < part->n_tensors; k++) {
			g->tensors[g->n_tensors] = part->tensors[k];
			owned->tensor_index[g->n_tensors] = &g->tensors[g->n_tensors].name;
			g->n_tensors++;
		}
	}
	qsort(owned->tensor_index, n, sizeof *owned->tensor_index, compare_names);
	for (size_t i = 1; i < n; i++)
		if (!compare_names(&owned->tensor_index[i - 1], &owned->tensor_index[i]))
			return error_set(
				err, ERROR_INPUT,
				"%s: two of the %d parts of the model have the tensor %s; split the model again",
				text_show_path(g->path).text, owned->n_parts, gguf_show(*owned->tensor_index[i]).text);
	if (!gguf_find(g, "split.tensors.count"))
		return 0;
	if ((rc = gguf_get_int(g, "split.tensors.count", &promised, err)))
		return rc;
	if (promised < 0 || (uint64_t)promised != n)
		return error_set(err, ERROR_INPUT,
				 "%s: the %d parts of the model have %zu tensors, but split.tensors.count is %" PRId64
				 "; download or split the model again",
				 text_show_path(g->path).text, owned->n_parts, n, promised);
	return 0;
}

/* Opens the parts but the named one, which is there, and joins them in g. */
static int join(struct gguf *g, struct gguf_owned *owned, int known, struct error *err)
{
	char end[SUFFIX_BYTES];
	const struct gguf *named = &owned->parts[known];
	int n = owned->n_parts, rc = 0;
	suffix(end, known, n);
	size_t size = strlen(g->path), stem = size - strlen(end);
	if (size < strlen(end) || strcmp(g->path + stem, end))
		return error_set(err, ERROR_INPUT,
				 "%s: is part %d of %d of a model; name it ...%s and put the others beside it",
				 text_show_path(g->path).text, known + 1, n, end);
	char *path = malloc(size + SUFFIX_BYTES);
	if (!path)
		return error_set(err, ERROR_MEMORY, "%s: no memory to read it; close other programs",
				 text_show_path(g->path).text);
	memcpy(path, g->path, stem);
	for (int i = 0; i < n && !rc; i++) {
		suffix(path + stem, i, n);
		if (i != known)
			rc = open_part(&owned->parts[i], path, named, i, known, n, err);
	}
	free(path);
	if (rc)
		return rc;
	const struct gguf *first = &owned->parts[0];
	g->version = first->version;
	g->alignment = first->alignment;
	g->kv = first->kv;
	g->n_kv = first->n_kv;
	owned->kv_index = ((const struct gguf_owned *)first->owned)->kv_index;
	g->map = first->map;
	for (int i = 0; i < n; i++)
		g->map_bytes += owned->parts[i].map_bytes;
	return join_tensors(g, owned, err);
}

int gguf_join_parts(struct gguf *g, struct error *err)
{
	int i, n, rc = read_place(g, &i, &n, err);
	if (!rc && n == 1)
		return 0;
	struct gguf whole = {0};
	struct gguf_owned *owned = rc ? NULL : calloc(1, sizeof *owned);
	if (owned) {
		owned->path = strdup(g->path);
		owned->parts = calloc((size_t)n, sizeof *owned->parts);
		whole = (struct gguf){.path = owned->path, .n_parts = n, .owned = owned};
	}
	if (!rc && (!owned || !owned->path || !owned->parts))
		rc = error_set(err, ERROR_MEMORY, "%s: no memory for %d parts; close other programs",
			       text_show_path(g->path).text, n);
	if (rc) {
		gguf_close(g);
	} else {
		owned->n_parts = n;
		owned->parts[i] = *g;
		rc = join(&whole, owned, i, err);
	}
	if (rc)
		gguf_close(&whole);
	*g = whole;
	return rc;
}

const char *gguf_part_path(const struct gguf *g, int i)
{
	const struct gguf_owned *owned = g->owned;
	return owned->parts ? owned->parts[i].path : g->path;
}

int gguf_tensor_part(const struct gguf *g, const struct gguf_tensor *t, uint64_t *offset)
{
	const struct gguf_owned *owned = g->owned;
	uintptr_t at = (uintptr_t)t->data;
	int i = 0;
	*offset = at - (uintptr_t)g->map;
	for (; i < owned->n_parts; i++) {
		const struct gguf *part = &owned->parts[i];
		*offset = at - (uintptr_t)part->map;
		/* A part may be smaller than a tensor of another. */
		if (at >= (uintptr_t)part->map && t->bytes <= part->map_bytes && *offset <= part->map_bytes - t->bytes)
			break;
	}
	return i;
}
