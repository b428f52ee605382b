#include "harness/cli/engine_source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/device/device_host.h"
#include "engine/infer/forward.h"
#include "engine/infer/gemm_ceiling.h"
#include "harness/cli/axis_options.h"
#include "harness/cli/changed_file.h"
#include "harness/cli/engine_context.h"
#include "harness/cli/engine_machine.h"
#include "harness/cli/engine_text.h"
#include "harness/cli/engine_workload.h"
#include "harness/cli/gpu_layers.h"
#include "harness/measure/progress.h"

const char *const engine_modes[] = {"direct",      "graph-params", "graph-update", "graph-device",
				    "graph-patch", "graph-loop",   "graph-while",  NULL};
const char *const engine_fusions[] = {"none", "full", "persistent", NULL};
#define X(NAME, word, number, block, block_bytes, file_type, a, b) #word,
const char *const engine_cache_types[] = {TENSOR_CACHE_TYPES(X, , ) NULL};
#undef X

enum {
	MAX_BANDWIDTHS = 64,
	BANDWIDTH_PASSES = 5,
};

struct engine_source {
	struct workload_source base;
	struct engine_settings settings;
	struct engine_model model; /* of the placement opened last */
	char *path;                /* its file */
	bool memory_known;         /* settings.device_memory is what it stands for */
	struct environment_bandwidth measured[MAX_BANDWIDTHS];
	int n_measured;
	bool memory_measured; /* or tried to */
	struct cuda_memory memory;
	struct error no_memory;  /* why it is zeroes */
	struct error other_file; /* what was to be loaded is not what was resolved; empty: it was */
};

static int cache_type_parse(const char *name, enum tensor_type *out, struct error *err)
{
	const struct tensor_traits *t = tensor_type_parse(name);
	if (!t || !t->cache)
		return error_set(err, ERROR_UNSUPPORTED, "cache type %s is not in this build", name);
	*out = t->type;
	return 0;
}

static void unload(struct engine_source *s)
{
	loaded_model_close(s->model.loaded);
	token_ids_free(&s->model.text_ids);
	free(s->path);
	s->model.loaded = NULL;
	s->path = NULL;
	s->model.broken = false;
}

size_t engine_source_device_memory(struct workload_source *base, size_t asked)
{
	struct engine_source *s = (struct engine_source *)base;
	size_t bytes = 0;
	unload(s);
	if (device_cuda_free_memory(&bytes, NULL))
		asked = bytes = 0;
	s->settings.device_memory = asked ? asked : bytes;
	s->memory_known = true;
	return s->settings.device_memory;
}

/* -ngl auto to a number, for the placement's context. What it comes from is printed. */
static int settle_layers(struct engine_source *s, const struct placement *p, struct load_options *o, struct error *err)
{
	struct placement_plan plan = {0};
	struct model m;
	size_t memory = s->settings.device_memory;
	int rc = 0;
	if (!s->memory_known)
		memory = engine_source_device_memory(&s->base, memory);
	progress_clear();
	if (!memory) {
		fprintf(stderr, "-ngl auto: no GPU: all layers on the host\n");
	} else if (!(rc = model_open(&m, p->cell->model, err))) {
		size_t logits = s->settings.all_rows && !o->head_on_host ? forward_all_rows_bytes(&m, o->batch) : 0;
		rc = gpu_layers_choose(&m, o, p->context, memory > logits ? memory - logits : 0, stderr, &plan, err);
		model_close(&m);
	}
	o->n_gpu_layers = plan.n_gpu_layers;
	return rc;
}

/* The placement's model, unless it is the one that is loaded. */
static int load(struct engine_source *s, const struct placement *p, struct error *err)
{
	struct load_options o;
	load_options_default(&o);
	o.n_threads = p->cell->n_threads;
	o.n_gpu_layers = p->cell->n_gpu_layers;
	o.batch = p->cell->n_ubatch;
	o.head_on_host = s->settings.head_on_host;
	o.ple_on_host = s->settings.ple_on_host;
	o.pdl = s->settings.pdl;
	o.prefill = s->settings.prefill;
	o.prefill_weights = s->settings.prefill_weights;
	o.host_products = s->settings.host_products;
	o.context = p->context;
	o.persistent = s->settings.persistent;
	o.limits_by = s->settings.limits_by;
	if (o.persistent && o.n_gpu_layers && o.limits_by == PERSISTENT_LIMITS_MEASURED) {
		o.memory = engine_source_memory(&s->base, NULL);
		o.limits_by = o.memory.bytes_s > 0 ? PERSISTENT_LIMITS_MEASURED : PERSISTENT_LIMITS_CONSTANT;
	}
	/* All of a sweep's placements plan for the same memory, or how many layers have weights for prompts would
	 * depend on what was loaded before. */
	if (!s->memory_known && o.n_gpu_layers && o.prefill_weights == PREFILL_WEIGHTS_AUTO)
		engine_source_device_memory(&s->base, s->settings.device_memory);
	o.gpu_memory = s->settings.device_memory;
	int rc = cache_type_parse(p->cell->type_k, &o.k_type, err);
	if (!rc)
		rc = cache_type_parse(p->cell->type_v, &o.v_type, err);
	if (!rc && o.n_gpu_layers == AXIS_LAYERS_AUTO)
		rc = settle_layers(s, p, &o, err);
	if (rc)
		return rc;
	const struct load_options *was = s->model.loaded ? &s->model.loaded->options : NULL;
	/* Weights for prompts were chosen beside the context that was known then. */
	bool fits = was && (o.prefill_weights != PREFILL_WEIGHTS_AUTO || p->context <= was->context);
	if (fits && !s->model.broken && !strcmp(s->path, p->cell->model) && was->n_threads == o.n_threads &&
	    was->n_gpu_layers == o.n_gpu_layers && was->k_type == o.k_type && was->v_type == o.v_type &&
	    (o.batch <= 0 || was->batch == o.batch))
		return 0;
	unload(s);
	if (!(s->path = strdup(p->cell->model)))
		return error_set(err, ERROR_MEMORY, "no memory for a path");
	rc = loaded_model_open(&s->model.loaded, p->cell->model, &o, err);
	if (!rc && s->settings.resolution) {
		rc = axis_resolution_check(s->settings.resolution, p->cell->model, &s->model.loaded->model.file,
					   &s->other_file);
		if (rc)
			error_set(err, rc, "%s", s->other_file.text);
	}
	if (!rc && s->settings.text)
		rc = engine_text_tokens(s->settings.text, &s->model.loaded->model, &s->model.text_ids, err);
	if (rc) {
		unload(s);
		return rc;
	}
	s->model.bandwidth = s->model.loaded->n_gpu_layers
				     ? device_cuda_bandwidth(s->model.loaded->parts[0].device)
				     : engine_source_bandwidth(&s->base, loaded_model_threads(s->model.loaded)).bytes_s;
	s->model.gemm = s->settings.gemm_ceiling ? gemm_ceiling_measure(s->model.loaded) : 0;
	return 0;
}

static int engine_open(struct workload_source *base, const struct placement *p, struct workload **out,
		       struct error *err)
{
	struct engine_source *s = (struct engine_source *)base;
	int rc = load(s, p, err);
	return rc ? rc : engine_workload_open(out, &s->model, p, err);
}

void engine_settings_default(struct engine_settings *e)
{
	struct load_options o;
	load_options_default(&o);
	*e = (struct engine_settings){.head_on_host = o.head_on_host,
				      .ple_on_host = o.ple_on_host,
				      .pdl = o.pdl,
				      .limits_by = o.limits_by,
				      .prefill = o.prefill,
				      .prefill_weights = o.prefill_weights,
				      .host_products = o.host_products};
}

enum persistent_sessions engine_persistent(char *const *fusions, int n)
{
	int persistent = 0;
	for (int i = 0; i < n; i++)
		persistent += !strcmp(fusions[i], fusion_name(FUSION_PERSISTENT));
	return !persistent       ? PERSISTENT_SESSIONS_NONE
	       : persistent == n ? PERSISTENT_SESSIONS_ALL
				 : PERSISTENT_SESSIONS_SOME;
}

int engine_settings_check(const struct engine_settings *e, struct error *err)
{
	if (e->prefill_weights <= 0 || e->prefill == PREFILL_F16)
		return 0;
	return error_set(err, ERROR_INPUT,
			 "--prefill-weights %s: they are in f16; leave --prefill-precision %s or this out",
			 prefill_weights_name(e->prefill_weights).text, prefill_precision_name(e->prefill));
}

void engine_settings_no_gpu(const char *command)
{
	fprintf(stderr,
		"gemmark %s: --prefill-precision is of GPUs, and no layer is on one; of the host's products "
		"--host-products is\n",
		command);
}

void engine_settings_warn(const char *command, const struct engine_settings *e, const struct cell *cells, int n)
{
	const char *reason;
	bool gpu = !e->prefill_named;
	for (int i = 0; i < n; i++)
		gpu |= cells[i].n_gpu_layers != 0 && engine_gpu(&reason);
	if (!gpu)
		engine_settings_no_gpu(command);
}

void engine_settings_text(const struct engine_settings *e, char out[ENGINE_SETTINGS_TEXT])
{
	struct engine_settings d;
	engine_settings_default(&d);
	snprintf(out, ENGINE_SETTINGS_TEXT, "%s%s%s%s%s%s%s%s%s%s%s%s%.8s",
		 e->head_on_host != d.head_on_host ? " head-cpu" : "",
		 e->ple_on_host != d.ple_on_host ? " ple-host" : "", e->pdl != d.pdl ? " pdl-off" : "",
		 e->limits_by != d.limits_by ? " limits-" : "",
		 e->limits_by != d.limits_by ? persistent_limits_name(e->limits_by) : "",
		 e->prefill != d.prefill ? " prefill-" : "",
		 e->prefill != d.prefill ? prefill_precision_name(e->prefill) : "",
		 e->prefill_weights != d.prefill_weights ? " weights-" : "",
		 e->prefill_weights != d.prefill_weights ? prefill_weights_name(e->prefill_weights).text : "",
		 e->host_products != d.host_products ? " host-" : "",
		 e->host_products != d.host_products ? host_products_name(e->host_products) : "",
		 e->text ? " text-" : "", e->text ? e->text->hash : "");
	memmove(out, out + (*out == ' '), strlen(out) + (*out != ' '));
}

int engine_source_open(struct workload_source **out, const struct engine_settings *settings, struct error *err)
{
	struct engine_source *s = calloc(1, sizeof *s);
	*out = s ? &s->base : NULL;
	if (!s)
		return error_set(err, ERROR_MEMORY, "no memory for a workload");
	s->base.open = engine_open;
	s->model.program = engine_context_program();
	s->settings = *settings;
	s->model.text = settings->text;
	return 0;
}

void engine_source_close(struct workload_source *s)
{
	if (s)
		unload((struct engine_source *)s);
	free(s);
}

int engine_source_check(const struct workload_source *base, struct error *err)
{
	const struct engine_source *s = (const struct engine_source *)base;
	if (*s->other_file.text)
		return error_set(err, ERROR_INPUT, "%s", s->other_file.text);
	return s->model.loaded ? gguf_check(&s->model.loaded->model.file, changed_file_remedy(), err) : 0;
}

struct cuda_memory engine_source_memory(struct workload_source *base, const char **reason)
{
	struct engine_source *s = (struct engine_source *)base;
	if (!s->memory_measured && s->settings.limits_by == PERSISTENT_LIMITS_CONSTANT) {
		error_set(&s->no_memory, ERROR_UNSUPPORTED, "--persistent-limits constant");
	} else if (!s->memory_measured) {
		unload(s);
		device_cuda_measure(&s->memory, &s->no_memory);
	}
	s->memory_measured = true;
	if (reason)
		*reason = *s->no_memory.text ? s->no_memory.text : NULL;
	return s->memory;
}

struct environment_bandwidth engine_source_bandwidth(struct workload_source *base, int n_threads)
{
	struct engine_source *s = (struct engine_source *)base;
	if (n_threads <= 0)
		n_threads = engine_default_threads();
	for (int i = 0; i < s->n_measured; i++)
		if (s->measured[i].n_threads == n_threads)
			return s->measured[i];
	/* Four times the last-level cache, so that at most a quarter can come from it. */
	size_t bytes = 4 * environment_cache_bytes(NULL), least = (size_t)256 << 20, most = (size_t)1 << 30;
	bytes = bytes < least ? least : bytes > most ? most : bytes;
	struct environment_bandwidth b = {n_threads, device_host_read_bandwidth(bytes, n_threads, BANDWIDTH_PASSES)};
	if (s->n_measured < MAX_BANDWIDTHS)
		s->measured[s->n_measured++] = b;
	return b;
}

const struct environment_bandwidth *engine_source_bandwidths(struct workload_source *base, int *n)
{
	struct engine_source *s = (struct engine_source *)base;
	*n = s->n_measured;
	return s->measured;
}
