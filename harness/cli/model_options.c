#include "harness/cli/model_options.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "engine/cuda/device_cuda.h"
#include "engine/infer/loaded_model.h"
#include "harness/cli/engine_source.h"
#include "harness/cli/gpu_layers.h"
#include "harness/cli/option_values.h"
#include "harness/cli/sampling_values.h"
#include "harness/cli/trained_context.h"

static int set_model(void *ctx, const char *value, struct error *err)
{
	(void)err;
	((struct model_options *)ctx)->model = value;
	return 0;
}

static int set_snapkv(void *ctx, const char *value, struct error *err)
{
	return snapkv_parse(value, &((struct model_options *)ctx)->snapkv, err);
}

static int set_batch(void *ctx, const char *value, struct error *err)
{
	return options_int(value, "--batch", 1, 1 << 16, &((struct model_options *)ctx)->batch, err);
}

static int set_ubatch(void *ctx, const char *value, struct error *err)
{
	return options_int(value, "--ubatch-size", 1, 1 << 16, &((struct model_options *)ctx)->ubatch, err);
}

static int set_threads(void *ctx, const char *value, struct error *err)
{
	return options_int(value, "--threads", 0, 4096, &((struct model_options *)ctx)->session.load.n_threads, err);
}

static int set_gpu_layers(void *ctx, const char *value, struct error *err)
{
	return gpu_layers_parse(value, &((struct model_options *)ctx)->session.load.n_gpu_layers, err);
}

static int set_device_memory(void *ctx, const char *value, struct error *err)
{
	return gpu_layers_bytes(value, &((struct model_options *)ctx)->device_memory, err);
}

static int set_mode(void *ctx, const char *value, struct error *err)
{
	return options_mode(value, &((struct model_options *)ctx)->session.mode, err);
}

static int set_fusion(void *ctx, const char *value, struct error *err)
{
	return options_fusion(value, &((struct model_options *)ctx)->session.fusion, err);
}

static int set_k_type(void *ctx, const char *value, struct error *err)
{
	return options_cache_type(value, &((struct model_options *)ctx)->session.load.k_type, err);
}

static int set_v_type(void *ctx, const char *value, struct error *err)
{
	return options_cache_type(value, &((struct model_options *)ctx)->session.load.v_type, err);
}

static int set_head(void *ctx, const char *value, struct error *err)
{
	return options_head(value, &((struct model_options *)ctx)->session.load.head_on_host, err);
}

static int set_ple(void *ctx, const char *value, struct error *err)
{
	return options_ple(value, &((struct model_options *)ctx)->session.load.ple_on_host, err);
}

static int set_pdl(void *ctx, const char *value, struct error *err)
{
	return options_pdl(value, &((struct model_options *)ctx)->session.load.pdl, err);
}

static int set_persistent_limits(void *ctx, const char *value, struct error *err)
{
	return options_persistent_limits(value, &((struct model_options *)ctx)->session.load.limits_by, err);
}

static int set_prefill_precision(void *ctx, const char *value, struct error *err)
{
	((struct model_options *)ctx)->prefill_named = true;
	return options_prefill_precision(value, &((struct model_options *)ctx)->session.load.prefill, err);
}

static int set_prefill_weights(void *ctx, const char *value, struct error *err)
{
	return options_prefill_weights(value, &((struct model_options *)ctx)->session.load.prefill_weights, err);
}

static int set_host_products(void *ctx, const char *value, struct error *err)
{
	return options_host_products(value, &((struct model_options *)ctx)->session.load.host_products, err);
}

static int set_temperature(void *ctx, const char *value, struct error *err)
{
	struct model_options *o = ctx;
	if (!o->sampling_named)
		o->sampling_named = "--temp";
	return sampling_temperature(value, &o->sampling, err);
}

static int set_top_k(void *ctx, const char *value, struct error *err)
{
	struct model_options *o = ctx;
	o->sampling_named = "--top-k";
	return sampling_top_k(value, &o->sampling, err);
}

static int set_top_p(void *ctx, const char *value, struct error *err)
{
	struct model_options *o = ctx;
	o->sampling_named = "--top-p";
	return sampling_top_p(value, &o->sampling, err);
}

static int set_min_p(void *ctx, const char *value, struct error *err)
{
	struct model_options *o = ctx;
	o->sampling_named = "--min-p";
	return sampling_min_p(value, &o->sampling, err);
}

static int set_seed(void *ctx, const char *name, const char *value, struct error *err)
{
	struct model_options *o = ctx;
	o->sampling_named = name;
	return sampling_seed(value, name, &o->sampling, err);
}

int model_options_sampling_seed(void *ctx, const char *value, struct error *err)
{
	return set_seed(ctx, "--sampling-seed", value, err);
}

int model_options_seed(void *ctx, const char *value, struct error *err)
{
	return set_seed(ctx, "--seed", value, err);
}

static const struct option_spec first[] = {
	{"-m, --model", "FILE", "the GGUF file", set_model},
	{0},
};

static const struct option_spec rest[] = {
	{"--snapkv", "off|BUDGET[,window=W][,pool=P]",
	 "of the prefilled tokens keep BUDGET entries, the last W among them; scores pooled over P keys "
	 "(default: off; 64, 7)",
	 set_snapkv},
	{"--temp", "T", "of generated tokens: the temperature; 0: always the token of the greatest logit (default: 0)",
	 set_temperature},
	{"--top-k", "K", "first, of those the K most probable; 0: all (default: 0)", set_top_k},
	{"--top-p", "P", "then the fewest, the most probable, whose probabilities add up to P (default: 1)", set_top_p},
	{"--min-p", "P", "then those P times as probable as the most probable one, or more (default: 0)", set_min_p},
	{"--mode", "MODE",
	 "how decoded tokens run: direct, graph-params, graph-update, graph-device, graph-patch, graph-loop, "
	 "graph-while (default: direct)",
	 set_mode},
	{"--fusion", "none|full|persistent",
	 "primitives, fused kernels or one kernel for a decoded token (default: full)", set_fusion},
	{"-b, --batch", "N", "longest prefill chunk in tokens (default: 512)", set_batch},
	{"-ub, --ubatch-size", "N", "the same, as gemmark bench calls it; of both the smaller", set_ubatch},
	{"-ngl, --n-gpu-layers", "N|auto",
	 "layers on the GPU, the first ones; the others run on the host; -1: all where there is a GPU;\n"
	 "auto: as many as its free memory takes, all or none with --fusion persistent (default: -1)",
	 set_gpu_layers},
	{"--device-memory", "BYTES", "of the GPU, for -ngl auto: 8G, 512M (default: what it has free)",
	 set_device_memory},
	{"--head", "gpu|cpu", "GPU: where the output head runs (default: gpu)", set_head},
	{"-ctk, --cache-type-k", "TYPE", "K cache, one of" TENSOR_CACHE_TYPE_WORDS " (default: f16)", set_k_type},
	{"-ctv, --cache-type-v", "TYPE", "V cache, one of" TENSOR_CACHE_TYPE_WORDS " (default: f16)", set_v_type},
	{"-t, --threads", "N", "host threads; 0: one a physical core, within the CPU quota (default: 0)", set_threads},
	{"--prefill-precision", "f16|f32", "GPU: of a prompt's matrix products, for 9 tokens and more (default: f16)",
	 set_prefill_precision},
	{"--prefill-weights", "auto|resident|convert|N",
	 "GPU: these products' weights: a copy in f16 that stays, or one made for each chunk; N: the first N layers' "
	 "stay; auto: of as many as leave memory ample (default: auto)",
	 set_prefill_weights},
	{"--host-products", "f32|bf16",
	 "host: of a prompt's matrix products with Q8_0 and BF16 weights, for 9 tokens and more; bf16 takes a "
	 "CPU with AVX512_BF16 (default: f32)",
	 set_host_products},
	{"--ple", "device|host", "GPU: where the per-layer embedding table is (default: device)", set_ple},
	{"--pdl", "on|off", "GPU: programmatic dependent launch, on cards that have it (default: on)", set_pdl},
	{"--persistent-limits", "measured|constant",
	 "GPU: how much memory --fusion persistent asks for ahead: as its memory was measured, or as suits an H100 "
	 "(default: measured)",
	 set_persistent_limits},
	{0},
};

void model_options_join(const struct option_spec *own, struct option_spec out[MODEL_OPTIONS_MAX])
{
	const struct option_spec *const tables[] = {first, own, rest};
	int n = 0;
	for (int i = 0; i < 3; i++) {
		for (const struct option_spec *o = tables[i]; o->names; o++) {
			assert(n < MODEL_OPTIONS_MAX - 1);
			out[n++] = *o;
		}
	}
	out[n] = (struct option_spec){0};
}

void model_options_default(struct model_options *o)
{
	*o = (struct model_options){0};
	session_options_default(&o->session);
	sampling_options_default(&o->sampling);
}

/* Not more where nobody asks: every row has logits, a megabyte of them. */
static void settle_chunk(struct model_options *o, const char *command)
{
	int *chunk = &o->session.load.batch;
	*chunk = o->ubatch ? o->ubatch : o->batch ? o->batch : LOADED_MODEL_BATCH;
	if (o->batch && *chunk > o->batch) {
		fprintf(stderr, "gemmark %s: -ub %d: lowered to %d, as -b says\n", command, *chunk, o->batch);
		*chunk = o->batch;
	}
}

int model_options_settle(struct model_options *o, const char *command, struct error *err)
{
	if (!o->model)
		return error_set(err, ERROR_INPUT, "-m FILE is missing; see gemmark %s --help", command);
	if (o->sampling_named && strcmp(o->sampling_named, "--temp") != 0 && o->sampling.temperature == 0)
		return error_set(err, ERROR_INPUT,
				 "%s: at temperature 0 the greatest logit's token is taken anyway; add --temp, as 1",
				 o->sampling_named);
	settle_chunk(o, command);
	return 0;
}

int model_options_layers(struct model_options *o, const char *command, struct error *err)
{
	struct load_options load = session_load_options(&o->session);
	struct placement_plan plan = {0};
	struct model m;
	struct error why;
	size_t bytes;
	int rc = 0;
	if (o->session.load.n_gpu_layers != AXIS_LAYERS_AUTO)
		return 0;
	if (load.persistent && load.limits_by == PERSISTENT_LIMITS_MEASURED && !device_cuda_measure(&load.memory, NULL))
		o->session.load.memory = load.memory;
	if (device_cuda_free_memory(&bytes, &why)) {
		fprintf(stderr, "gemmark %s: -ngl auto: all layers on the host: %s\n", command, why.text);
	} else if (!(rc = model_open(&m, o->model, err))) {
		rc = gpu_layers_choose(&m, &load, o->session.context, o->device_memory ? o->device_memory : bytes,
				       stderr, &plan, err);
		model_close(&m);
	}
	o->session.load.n_gpu_layers = plan.n_gpu_layers;
	return rc;
}

void model_options_remark(const struct model_options *o, const struct session *s, const char *command)
{
	struct error why;
	if (session_loop_check(s, o->session.mode, &why))
		fprintf(stderr, "gemmark %s: %s; it goes on itself here, and the tokens are the same\n", command,
			why.text);
	if (*session_gpu_reason(s))
		fprintf(stderr, "gemmark %s: on the host: %s\n", command, session_gpu_reason(s));
	if (*session_memory_reason(s))
		fprintf(stderr, "gemmark %s: the limits of an H100 for fusion persistent: %s\n", command,
			session_memory_reason(s));
	if (o->prefill_named && !session_gpu_layers(s))
		engine_settings_no_gpu(command);
	trained_context_warn(command, o->model, session_model(s)->n_context, o->session.context, "");
}
