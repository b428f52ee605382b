/* What a placement's axes stand for here: threads, layers and chunks in force, and which file a path means. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/hash.h"
#include "base/text.h"
#include "engine/cuda/device_cuda.h"
#include "engine/infer/loaded_model.h"
#include "engine/infer/placement_plan.h"
#include "engine/model/model.h"
#include "harness/cli/axis_options.h"
#include "harness/cli/engine_machine.h"

/* A path that was named, and the file behind it. */
struct model_identity {
	const char *path; /* the matrix's */
	dev_t device;
	ino_t inode;
	uint64_t opened; /* gguf_identity of what was looked at */
	uint64_t hash;   /* 0: not read yet */
	int n_layer;     /* 0: not looked at yet */
	int n_context;   /* trained */
	int chunk;       /* of prompts where a GPU has all layers */
};

void axis_resolution_free(struct axis_resolution *r)
{
	free(r->models);
	r->models = NULL;
	r->n_models = 0;
}

static const struct model_identity *identity_of(const struct axis_resolution *r, const char *path)
{
	struct stat s;
	if (stat(path, &s))
		return NULL;
	for (int i = 0; i < r->n_models; i++)
		if (r->models[i].inode == s.st_ino && r->models[i].device == s.st_dev)
			return &r->models[i];
	return NULL;
}

uint64_t axis_resolution_hash(const struct axis_resolution *r, const char *path)
{
	const struct model_identity *m = identity_of(r, path);
	return m ? m->hash : 0;
}

int axis_resolution_context(const struct axis_resolution *r, const char *path)
{
	const struct model_identity *m = identity_of(r, path);
	return m ? m->n_context : 0;
}

int axis_resolution_check(const struct axis_resolution *r, const char *path, const struct gguf *file, struct error *err)
{
	for (int i = 0; i < r->n_models; i++)
		if (!strcmp(r->models[i].path, path) && r->models[i].n_layer &&
		    r->models[i].opened != gguf_identity(file))
			return error_set(
				err, ERROR_INPUT,
				"%s: is not the file that the sweep began with; run again when nobody writes it",
				text_show_path(path).text);
	return 0;
}

/* The entry of the path, in place of which that of another path to the same file serves. */
static int find_model(struct axis_resolution *r, const char *path, struct model_identity **out, struct error *err)
{
	struct stat s;
	for (int i = 0; i < r->n_models; i++)
		if (r->models[i].path == path || !strcmp(r->models[i].path, path)) {
			*out = &r->models[i];
			return 0;
		}
	/* What cannot be opened is said where it is opened. */
	if (stat(path, &s))
		s = (struct stat){0};
	for (int i = 0; i < r->n_models; i++)
		if (s.st_ino && r->models[i].inode == s.st_ino && r->models[i].device == s.st_dev) {
			*out = &r->models[i];
			return 0;
		}
	struct model_identity *grown = realloc(r->models, ((size_t)r->n_models + 1) * sizeof *grown);
	if (!grown)
		return error_set(err, ERROR_MEMORY, "no memory for %d models", r->n_models + 1);
	r->models = grown;
	*out = &grown[r->n_models++];
	**out = (struct model_identity){.path = path, .device = s.st_dev, .inode = s.st_ino};
	return 0;
}

/* Of a model in several files: of their hashes, in order, whichever of them is named. */
static int hash_parts(const struct gguf *g, uint64_t *hash, struct error *err)
{
	*hash = 0;
	for (int i = 0; i < g->n_parts; i++) {
		uint64_t part;
		int rc = hash_file(gguf_part_path(g, i), &part, NULL, err);
		if (rc)
			return rc;
		*hash = hash_bytes(&part, sizeof part, *hash);
	}
	return 0;
}

/* Planned with the largest caches, for all that a sweep may ask of the model: a model has one such chunk. */
static int whole_chunk(struct axis_resolution *r, const struct model *m)
{
	struct load_options o;
	load_options_default(&o);
	o.k_type = o.v_type = TENSOR_F32;
	o.head_on_host = r->head_on_host;
	o.persistent = r->persistent;
	if (!r->gpu_memory && device_cuda_free_memory(&r->gpu_memory, NULL))
		r->gpu_memory = 0;
	return placement_plan_batch(m, &o, m->n_layer, r->gpu_memory);
}

static int settle(void *ctx, struct cell *c, struct error *err)
{
	struct axis_resolution *r = ctx;
	struct model_identity *of = NULL;
	const char *reason;
	int gpu = engine_gpu(&reason) != NULL, rc = find_model(r, c->model, &of, err);
	if (!rc && !of->n_layer) {
		struct model model;
		if ((rc = model_open(&model, c->model, err)))
			return rc;
		of->n_layer = model.n_layer;
		of->n_context = model.n_context;
		of->opened = gguf_identity(&model.file);
		of->chunk = gpu ? whole_chunk(r, &model) : LOADED_MODEL_BATCH;
		if (r->hash && model.file.n_parts > 1)
			rc = hash_parts(&model.file, &of->hash, err);
		model_close(&model);
	}
	if (!rc && r->hash && !of->hash)
		rc = hash_file(of->path, &of->hash, NULL, err);
	if (rc)
		return rc;
	c->model = of->path;
	if (of->hash)
		snprintf(c->model_hash, sizeof c->model_hash, "%016" PRIx64, of->hash);
	if (c->n_gpu_layers == -1)
		c->n_gpu_layers = gpu ? of->n_layer : 0;
	else if (gpu && c->n_gpu_layers > of->n_layer)
		c->n_gpu_layers = of->n_layer;
	if (!c->n_ubatch) {
		/* "auto" comes to all layers where the chunk was found to fit beside them. */
		bool whole = c->n_gpu_layers == of->n_layer || c->n_gpu_layers == AXIS_LAYERS_AUTO;
		c->n_ubatch = gpu && whole ? of->chunk : LOADED_MODEL_BATCH;
		if (r->chunk_most && c->n_ubatch > r->chunk_most)
			c->n_ubatch = r->chunk_most;
	}
	/* Where the host has nothing to do, one number of threads is as good as another. */
	if (c->n_gpu_layers == of->n_layer && gpu && !r->head_on_host)
		c->n_threads = 1;
	else if (!c->n_threads)
		c->n_threads = engine_default_threads();
	return 0;
}

struct cell_resolver axis_resolver(struct axis_resolution *r)
{
	return (struct cell_resolver){r, settle};
}
