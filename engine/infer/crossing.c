#include "engine/infer/crossing.h"

#include <stdlib.h>

enum { ROW_ALIGNMENT = 64 }; /* bytes, of the start of each part */

/* The next count floats behind *used bytes of base; null, and only counted, where base is. */
static float *next(char *base, size_t *used, size_t count)
{
	float *p = base ? (float *)(void *)(base + *used) : NULL;
	*used += (count * sizeof(float) + ROW_ALIGNMENT - 1) & ~(size_t)(ROW_ALIGNMENT - 1);
	return p;
}

/* Returns the bytes that batch rows take. e->k may be null: then they are only counted. */
static size_t lay_out(struct crossing_end *e, const struct model *m, int layer, size_t batch, void *base)
{
	size_t used = 0;
	e->h = next(base, &used, batch * (size_t)m->n_embd);
	if (layer < m->n_layer && m->n_ple)
		e->ple = next(base, &used, batch * (size_t)(m->n_layer - layer) * (size_t)m->n_ple);
	for (int i = 0; i < layer; i++) {
		if (!model_attends(m, layer, m->n_layer, i))
			continue;
		size_t kv = batch * (size_t)m->layers[i].n_head_kv * (size_t)m->layers[i].head_dim;
		float *k = next(base, &used, kv), *v = next(base, &used, kv);
		if (!e->k)
			continue;
		e->k[i] = k;
		e->v[i] = v;
	}
	return used;
}

size_t crossing_bytes(const struct model *m, int layer, int batch)
{
	struct crossing_end e = {0};
	return lay_out(&e, m, layer, (size_t)batch, NULL);
}

size_t crossing_token_bytes(const struct model *m, int layer)
{
	size_t floats = (size_t)m->n_embd + (size_t)(m->n_layer - layer) * (size_t)m->n_ple;
	for (int i = 0; i < layer; i++)
		if (model_attends(m, layer, m->n_layer, i))
			floats += 2 * (size_t)m->layers[i].n_head_kv * (size_t)m->layers[i].head_dim;
	return floats * sizeof(float);
}

static int open_end(struct crossing_end *e, const struct model *m, struct error *err)
{
	e->k = calloc(2 * (size_t)m->n_layer, sizeof *e->k);
	if (!e->k)
		return error_set(err, ERROR_MEMORY, "no memory for the crossing between two devices");
	e->v = e->k + m->n_layer;
	return 0;
}

int crossing_open(struct crossing *c, const struct model *m, int layer, int batch, struct device *pinned, bool gives,
		  struct error *err)
{
	*c = (struct crossing){.layer = layer, .device = pinned};
	int rc;
	if ((rc = open_end(&c->from, m, err)) || (rc = open_end(&c->to, m, err)))
		goto fail;
	size_t bytes = crossing_bytes(m, layer, batch);
	void *host;
	if ((rc = device_alloc_mapped(pinned, bytes, &c->memory, &host, err))) {
		error_prefix(err, rc, "what crosses in front of layer %d, chunks of %d tokens", layer, batch);
		goto fail;
	}
	lay_out(&c->from, m, layer, (size_t)batch, gives ? c->memory : host);
	lay_out(&c->to, m, layer, (size_t)batch, gives ? host : c->memory);
	return 0;
fail:
	crossing_close(c);
	return rc;
}

void crossing_close(struct crossing *c)
{
	if (c->memory)
		device_free(c->device, c->memory);
	free(c->from.k);
	free(c->to.k);
	*c = (struct crossing){0};
}
