#include "harness/cli/persistent_plans.h"

#include <stdlib.h>

#include "engine/infer/placement_plan.h"
#include "harness/cli/engine_source.h"
#include "harness/cli/option_values.h"

bool persistent_plans_asked(const struct matrix *m)
{
	const struct axis_values *layers = &m->of[AXIS_GPU_LAYERS], *fusions = &m->of[AXIS_FUSION];
	for (int i = 0; i < layers->n; i++)
		if (layers->ints[i])
			return engine_persistent(fusions->words, fusions->n) != PERSISTENT_SESSIONS_NONE;
	return false;
}

static void set_shape(struct environment_persistent *to, const struct persistent_shape *s)
{
	to->phases = s->n_phases;
	to->blocks = s->n_blocks;
	to->compute_warps = s->n_warps;
	to->stages = s->n_stages;
	to->stage_bytes = s->stage_bytes;
	to->shared_bytes = s->shared_bytes;
	to->in_flight = s->limits.in_flight;
	to->rate = s->limits.rate;
	to->small_bytes = s->limits.small_bytes;
	to->wide_bytes = s->limits.wide_bytes;
	to->first_bytes = s->limits.first_bytes;
	to->ahead_phases = s->ahead_phases;
	to->ahead_cycles = s->ahead_cycles;
	to->stream_chunks = s->chunks.stream;
	to->slice_chunks = s->chunks.slice;
	to->far_waits = s->chunks.far;
	to->tiled_bytes = s->tiled_bytes;
}

/* Of all layers: nothing of it depends on the context. */
static int make(struct environment_persistent *to, struct error *reason, const struct model *m, struct load_options *o,
		struct error *err)
{
	struct placement_plan plan;
	int rc = options_cache_type(to->type_k, &o->k_type, err);
	if (!rc)
		rc = options_cache_type(to->type_v, &o->v_type, err);
	if (rc)
		return rc;
	rc = placement_plan(&plan, m, o, m->n_layer, 0, reason);
	if (rc == ERROR_MEMORY)
		return error_set(err, rc, "%s", reason->text);
	if (!rc)
		*reason = plan.no_persistent;
	if (*reason->text)
		to->reason = reason->text;
	else
		set_shape(to, &plan.persistent);
	to->limits = persistent_limits_name(o->limits_by);
	return 0;
}

int persistent_plans_make(struct persistent_plans *out, const struct matrix *m, const struct cuda_card *card,
			  bool head_on_host, struct error *err)
{
	const struct axis_values *models = &m->of[AXIS_MODEL], *k = &m->of[AXIS_TYPE_K], *v = &m->of[AXIS_TYPE_V];
	*out = (struct persistent_plans){0};
	if (!persistent_plans_asked(m))
		return 0;
	size_t most = (size_t)models->n * (size_t)k->n * (size_t)v->n;
	out->of = calloc(most, sizeof *out->of);
	out->reasons = calloc(most, sizeof *out->reasons);
	if (!out->of || !out->reasons)
		return error_set(err, ERROR_MEMORY, "no memory for the plans of %zu kernels", most);
	struct load_options o;
	load_options_default(&o);
	o.head_on_host = head_on_host;
	o.persistent = PERSISTENT_SESSIONS_ALL;
	o.card = *card;
	o.memory = card->memory;
	o.limits_by = card->memory.bytes_s > 0 ? PERSISTENT_LIMITS_MEASURED : PERSISTENT_LIMITS_CONSTANT;
	int rc = 0;
	for (int i = 0; i < models->n && !rc; i++) {
		struct model model;
		if ((rc = model_open(&model, models->words[i], err)))
			break;
		for (int j = 0; j < k->n * v->n && !rc; j++) {
			struct environment_persistent *to = &out->of[out->n];
			*to = (struct environment_persistent){
				.model = models->words[i], .type_k = k->words[j / v->n], .type_v = v->words[j % v->n]};
			rc = make(to, &out->reasons[out->n++], &model, &o, err);
		}
		model_close(&model);
	}
	return rc;
}

void persistent_plans_free(struct persistent_plans *p)
{
	free(p->of);
	free(p->reasons);
	*p = (struct persistent_plans){0};
}
