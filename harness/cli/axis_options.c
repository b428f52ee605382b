#include "harness/cli/axis_options.h"

#include <string.h>

#include "harness/cli/engine_workload.h"
#include "harness/cli/gpu_layers.h"
#include "harness/cli/snapkv_axis.h"

enum { MAX_THREADS = 4096 };

static struct matrix *matrix(void *ctx)
{
	return &((struct axes *)ctx)->matrix;
}

int axis_model(void *ctx, const char *value, struct error *err)
{
	return word_axis_add(&matrix(ctx)->models, "-m", value, NULL, err);
}

int axis_n_prompt(void *ctx, const char *value, struct error *err)
{
	return int_axis_add(&matrix(ctx)->n_prompt, "-p", value, 0, AXIS_MAX_TOKENS, err);
}

int axis_n_gen(void *ctx, const char *value, struct error *err)
{
	return int_axis_add(&matrix(ctx)->n_gen, "-n", value, 0, AXIS_MAX_TOKENS, err);
}

int axis_n_depth(void *ctx, const char *value, struct error *err)
{
	return int_axis_add(&matrix(ctx)->n_depth, "-d", value, 0, AXIS_MAX_TOKENS, err);
}

int axis_mode(void *ctx, const char *value, struct error *err)
{
	return word_axis_add(&matrix(ctx)->modes, "--mode", value, engine_modes, err);
}

int axis_fusion(void *ctx, const char *value, struct error *err)
{
	return word_axis_add(&matrix(ctx)->fusions, "--fusion", value, engine_fusions, err);
}

int axis_sync(void *ctx, const char *value, struct error *err)
{
	return word_axis_add(&matrix(ctx)->syncs, "--sync", value, matrix_syncs, err);
}

/* Items of numbers and ranges as in every list; "auto" beside them. */
int axis_gpu_layers(void *ctx, const char *value, struct error *err)
{
	struct int_axis *a = &matrix(ctx)->n_gpu_layers;
	for (const char *at = value; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
		char item[64];
		size_t n = strcspn(at, ",");
		if (n >= sizeof item)
			return error_set(err, ERROR_INPUT, "-ngl: '%s' is not a number, a range or auto", at);
		memcpy(item, at, n);
		item[n] = 0;
		int is_auto = !strcmp(item, "auto");
		int rc = int_axis_add(a, "-ngl", is_auto ? "-2" : item, is_auto ? GPU_LAYERS_AUTO : -1, GPU_LAYERS_MAX,
				      err);
		if (rc)
			return rc;
	}
	return 0;
}

int axis_type_k(void *ctx, const char *value, struct error *err)
{
	return word_axis_add(&matrix(ctx)->types_k, "-ctk", value, engine_cache_types, err);
}

int axis_type_v(void *ctx, const char *value, struct error *err)
{
	return word_axis_add(&matrix(ctx)->types_v, "-ctv", value, engine_cache_types, err);
}

int axis_snapkv(void *ctx, const char *value, struct error *err)
{
	return snapkv_axis_add(&matrix(ctx)->snapkv, value, err);
}

int axis_threads(void *ctx, const char *value, struct error *err)
{
	return int_axis_add(&matrix(ctx)->n_threads, "-t", value, 0, MAX_THREADS, err);
}

int axis_defaults(struct matrix *m, struct error *err)
{
	int rc = 0;
	const struct {
		struct int_axis *axis;
		const char *value;
	} ints[] = {
		{&m->n_prompt, "512"}, {&m->n_gen, "128"},       {&m->n_depth, "0"},
		{&m->n_threads, "0"},  {&m->n_gpu_layers, "-1"},
	};
	const struct {
		struct word_axis *axis;
		const char *value;
	} words[] = {
		{&m->modes, "direct,graph-params,graph-update,graph-device"},
		{&m->fusions, "full"},
		{&m->syncs, SYNC_TOKEN},
		{&m->types_k, "f16"},
		{&m->types_v, "f16"},
	};
	for (size_t i = 0; i < sizeof ints / sizeof *ints && !rc; i++)
		if (ints[i].axis->n == 0)
			rc = int_axis_add(ints[i].axis, "default", ints[i].value, -1, AXIS_MAX_TOKENS, err);
	for (size_t i = 0; i < sizeof words / sizeof *words && !rc; i++)
		if (words[i].axis->n == 0)
			rc = word_axis_add(words[i].axis, "default", words[i].value, NULL, err);
	return rc;
}
