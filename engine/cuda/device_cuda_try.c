/*
 * What a CUDA device refuses, before there is one: of a card and its driver alone, with the few kernels that either may
 * not take. A model's own memory, and what only a launch or a capture shows, are not tried.
 */
#include <string.h>

#include "engine/cuda/device_cuda_internal.h"

static bool is_of_graphs(const char *source)
{
	return !strcmp(source, "kernels/cuda/patch.cu") || !strcmp(source, "kernels/cuda/loop.cu");
}

static bool is_persistent(const char *source)
{
	return !strcmp(source, "kernels/cuda/persistent.cu");
}

static bool is_either(const char *source)
{
	return is_of_graphs(source) || is_persistent(source);
}

static int try_on(struct cuda_device *c, const struct cuda_trial *t, struct cuda_refusals *out, struct error *err)
{
	const struct persistent_params p = {.n_blocks = t->n_blocks,
					    .shared_bytes = t->shared_bytes,
					    .k_type = t->dims.k_type,
					    .v_type = t->dims.v_type};
	bool (*wanted)(const char *) = !t->n_blocks ? is_of_graphs : t->graphs ? is_either : is_persistent;
	int rc = cuda_kernels_open_some(c, &t->dims, wanted, err);
	for (int k = 0; k < DEVICE_GRAPH_KINDS && !rc && t->graphs; k++)
		if (!cuda_can_graph(&c->base, (enum device_graph_kind)k, &out->graphs[k]))
			*out->graphs[k].text = '\0';
	if (!rc && t->n_blocks) {
		rc = cuda_check_persistent(c, &p, &out->persistent);
		if (!rc)
			*out->persistent.text = '\0';
		else if (rc == ERROR_UNSUPPORTED)
			rc = 0;
		else
			error_set(err, rc, "%s", out->persistent.text);
	}
	return rc;
}

int device_cuda_try(struct cuda_refusals *out, const struct cuda_trial *t, struct error *err)
{
	struct cuda_device *c;
	memset(out, 0, sizeof *out);
	int rc = cuda_open_bare(&c, err);
	if (rc)
		return rc;
	rc = try_on(c, t, out, err);
	device_close(&c->base);
	return rc;
}
