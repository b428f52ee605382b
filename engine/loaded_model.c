#include "engine/loaded_model.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/clock.h"
#include "engine/nvtx.h"

enum { DEFAULT_BATCH = 512 };

static int larger(int a, int b)
{
	return a > b ? a : b;
}

/* What the CUDA kernels are specialised for, and how large a prompt's products get. */
static int cuda_options_of(const struct model *m, const struct session_options *o, struct cuda_open_options *out,
			   struct error *err)
{
	enum { HEAD_DIMS = sizeof out->dims.head_dims / sizeof *out->dims.head_dims };
	*out = (struct cuda_open_options){
		.dims = {.k_type = o->k_type, .v_type = o->v_type, .n_embd = m->n_embd},
		.pdl = o->pdl,
		.prefill = o->prefill,
		.batch = o->batch,
		.n_in_max = larger(m->n_embd, m->n_ple),
	};
	struct cuda_dims *dims = &out->dims;
	for (int i = 0; i < m->n_layer; i++) {
		const struct model_layer *l = &m->layers[i];
		out->n_in_max = larger(out->n_in_max, larger(l->n_ff, l->n_head * l->head_dim));
		int j = 0;
		while (j < dims->n_head_dims && dims->head_dims[j] != l->head_dim)
			j++;
		if (j < dims->n_head_dims)
			continue;
		if (j == HEAD_DIMS)
			return error_set(err, ERROR_UNSUPPORTED, "the CUDA kernels take at most %d head dimensions",
					 HEAD_DIMS);
		dims->head_dims[dims->n_head_dims++] = l->head_dim;
	}
	return 0;
}

static int open_device(struct loaded_model *m, struct error *err)
{
	const struct session_options *o = &m->options;
	int n = o->n_gpu_layers, all = m->model.n_layer, rc;
	if (n < -1 || o->n_threads < 0)
		return error_set(err, ERROR_INPUT, "%d GPU layers with %d threads makes no sense", n, o->n_threads);
	if (n > 0 && n < all)
		return error_set(err, ERROR_UNSUPPORTED,
				 "-ngl %d of %d layers: hybrid is not there yet; use -ngl 0 (host) or -ngl -1 (GPU)", n,
				 all);
	struct error why = {0};
	if (n == -1 && device_cuda_probe(&why)) {
		snprintf(m->gpu_reason, sizeof m->gpu_reason, "%.255s", why.text);
		n = 0;
	}
	if (n == 0)
		return device_host_open(&m->device, o->n_threads, err);
	struct cuda_open_options cuda;
	if ((rc = cuda_options_of(&m->model, o, &cuda, err)))
		return rc;
	m->n_gpu_layers = all;
	rc = device_cuda_open(&m->device, &cuda, err);
	return rc ? error_prefix(err, rc, "-ngl %d", o->n_gpu_layers) : 0;
}

int loaded_model_open(struct loaded_model **out, const char *path, const struct session_options *o, struct error *err)
{
	*out = NULL;
	struct loaded_model *m = calloc(1, sizeof *m);
	if (!m)
		return error_set(err, ERROR_MEMORY, "no memory for a model");
	int64_t t0 = clock_ns();
	m->options = *o;
	if (m->options.batch <= 0)
		m->options.batch = DEFAULT_BATCH;
	nvtx_push("load", 0);
	int rc;
	if ((rc = model_open(&m->model, path, err)) || (rc = open_device(m, err)))
		goto fail;
	const struct model_range all = model_whole(&m->model);
	const struct weights_on_host on_host = {.per_layer_token_embd = o->ple_on_host && m->n_gpu_layers};
	if ((rc = weights_open(&m->weights, &m->model, &all, m->device, &on_host, err)))
		goto fail;
	m->load_us = (double)(clock_ns() - t0) * 1e-3;
	nvtx_pop();
	*out = m;
	return 0;
fail:
	nvtx_pop();
	loaded_model_close(m);
	return rc;
}

void loaded_model_close(struct loaded_model *m)
{
	if (!m)
		return;
	assert(m->n_sessions == 0);
	if (m->device) {
		weights_close(&m->weights);
		m->device->ops->close(m->device);
	}
	model_close(&m->model);
	free(m);
}
