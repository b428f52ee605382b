#include "harness/cli/axis_options.h"

#include <assert.h>
#include <string.h>

#include "harness/cli/engine_source.h"
#include "harness/cli/snapkv_axis.h"

/* What a word axis takes of the engine's words, or of its own; null: any word. */
static const char *const *words_of(enum axis_id a)
{
	switch (a) {
	case AXIS_MODE:
	case AXIS_PREFILL_MODE:
		return engine_modes;
	case AXIS_FUSION:
		return engine_fusions;
	case AXIS_TYPE_K:
	case AXIS_TYPE_V:
		return engine_cache_types;
	default:
		return axes[a].words;
	}
}

/* Items of numbers and ranges as in every list; "auto" beside them. */
static int add_layers(struct matrix *m, const char *value, struct error *err)
{
	for (const char *at = value; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
		char item[64];
		size_t n = strcspn(at, ",");
		if (n >= sizeof item)
			return error_set(err, ERROR_INPUT, "-ngl: '%s' is not a number, a range or auto", at);
		memcpy(item, at, n);
		item[n] = 0;
		int rc = strcmp(item, "auto")
				 ? matrix_add(m, AXIS_GPU_LAYERS, item, err)
				 : axis_ints_append(&m->of[AXIS_GPU_LAYERS], "-ngl", AXIS_LAYERS_AUTO, err);
		if (rc)
			return rc;
	}
	return 0;
}

static int apply(void *ctx, enum axis_id a, const char *value, struct error *err)
{
	struct matrix *m = &((struct axes_context *)ctx)->matrix;
	if (a == AXIS_GPU_LAYERS)
		return add_layers(m, value, err);
	if (a == AXIS_SNAPKV)
		return snapkv_axis_add(&m->of[a], value, err);
	if (axes[a].kind == AXIS_WORD) {
		char option[AXIS_TEXT_SIZE];
		return axis_words_add(&m->of[a], axis_option(a, option), value, words_of(a), err);
	}
	return matrix_add(m, a, value, err);
}

#define AXIS_APPLY(ID, ...)                                                  \
	int axis_apply_##ID(void *ctx, const char *value, struct error *err) \
	{                                                                    \
		return apply(ctx, AXIS_##ID, value, err);                    \
	}
AXIS_LIST(AXIS_APPLY)
#undef AXIS_APPLY

#define AXIS_APPLY(ID, ...) [AXIS_##ID] = axis_apply_##ID,
static int (*const applies[AXIS_COUNT])(void *ctx, const char *value, struct error *err) = {AXIS_LIST(AXIS_APPLY)};
#undef AXIS_APPLY

void axis_options_join(const struct option_spec *own, unsigned without, struct option_spec out[AXIS_OPTIONS_MAX])
{
	int n = 0;
	for (int a = 0; a < AXIS_COUNT; a++) {
		const struct option_spec *o = own;
		while (o->names && o->apply != applies[a])
			o++;
		if (!o->names && !(without >> a & 1))
			out[n++] = (struct option_spec){axes[a].option, axes[a].argument, axes[a].help, applies[a]};
	}
	while (own->names) {
		assert(n + 1 < AXIS_OPTIONS_MAX);
		out[n++] = *own++;
	}
	out[n] = (struct option_spec){0};
}
