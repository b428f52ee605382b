/*
 * From GGUF metadata to struct model. Every number that later sizes
 * memory or indexes a tensor is bounded here, once. The tensors are model_tensors.c's.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/model_internal.h"

enum {
	MAX_LAYERS = 1024,
	MAX_CONTEXT = 1 << 28,
	MAX_HEADS = 1024,
	MAX_HEAD_DIM = 1024,
	MAX_EXPERTS = 1024,
};

const struct architecture model_architectures[] = {
	[MODEL_GEMMA4] = {.name = "gemma4",
			  .activation = ACTIVATION_GELU_TANH,
			  .v_norm = true,
			  .post_norms = true,
			  .scaled_embedding = true,
			  .v_may_be_k = true,
			  .sliding = true,
			  .sliding_widths = true,
			  .softcap = true,
			  .shared_kv = true,
			  .ple = true,
			  .experts = true,
			  .rope_factors = true,
			  .output_scale = true},
	[MODEL_GEMMA3] = {.name = "gemma3",
			  .activation = ACTIVATION_GELU_TANH,
			  .post_norms = true,
			  .scaled_embedding = true,
			  .scaled_attention = true,
			  .n_layer_embd_scaled = 62, /* the 27B's; its files do not say so */
			  .sliding = true,
			  .period = 6,
			  .rope_base_swa = 10000},
	[MODEL_QWEN3] = {.name = "qwen3",
			 .activation = ACTIVATION_SILU,
			 .scaled_attention = true,
			 .head_dim_may_be_left = true},
};
enum { N_ARCHITECTURES = sizeof model_architectures / sizeof *model_architectures };

const char *model_arch_name(enum model_arch a)
{
	return model_architectures[a].name;
}

const char *reader_key(struct reader *r, const char *suffix)
{
	snprintf(r->key, sizeof r->key, "%s.%s", model_arch_name(r->m->arch), suffix);
	const struct gguf_kv *kv = gguf_find(r->g, r->key);
	if (kv)
		r->key_read[kv - r->g->kv] = true;
	return r->key;
}

bool reader_has(struct reader *r, const char *suffix)
{
	return gguf_find(r->g, reader_key(r, suffix)) != NULL;
}

static int bounded(struct reader *r, int64_t value, int64_t min, int64_t max, int *out)
{
	if (value < min || value > max)
		return error_set(r->err, ERROR_INPUT,
				 "%s: %s is %" PRId64 ", expected %" PRId64 " to %" PRId64 "; " CONVERT_AGAIN,
				 r->g->path, r->key, value, min, max);
	*out = (int)value;
	return 0;
}

int reader_int(struct reader *r, const char *suffix, int64_t min, int64_t max, int *out)
{
	int64_t value;
	int rc = gguf_get_int(r->g, reader_key(r, suffix), &value, r->err);
	return rc ? rc : bounded(r, value, min, max, out);
}

int reader_int_or(struct reader *r, const char *suffix, int64_t min, int64_t max, int fallback, int *out)
{
	if (reader_has(r, suffix))
		return reader_int(r, suffix, min, max, out);
	*out = fallback;
	return 0;
}

/* A value that may be one for all layers or an array with one a layer. */
static int read_layer_int(struct reader *r, const char *suffix, int layer, int64_t min, int64_t max, int *out)
{
	const struct gguf_kv *kv = gguf_find(r->g, reader_key(r, suffix));
	if (!kv || kv->type != GGUF_ARRAY)
		return reader_int(r, suffix, min, max, out);
	if (kv->n_items < (uint64_t)r->m->n_layer)
		return error_set(r->err, ERROR_INPUT, "%s: %s has %" PRIu64 " items for %d layers; " CONVERT_AGAIN,
				 r->g->path, r->key, kv->n_items, r->m->n_layer);
	int64_t value;
	int rc = gguf_get_int_at(r->g, r->key, (uint64_t)layer, &value, r->err);
	return rc ? rc : bounded(r, value, min, max, out);
}

int reader_float(struct reader *r, const char *suffix, double min, double max, double *out)
{
	int rc = gguf_get_float(r->g, reader_key(r, suffix), out, r->err);
	if (rc)
		return rc;
	if (!(*out >= min && *out <= max))
		return error_set(r->err, ERROR_INPUT, "%s: %s is %g, expected %g to %g; " CONVERT_AGAIN, r->g->path,
				 r->key, *out, min, max);
	return 0;
}

int reader_float_or(struct reader *r, const char *suffix, double min, double max, double fallback, double *out)
{
	if (reader_has(r, suffix))
		return reader_float(r, suffix, min, max, out);
	*out = fallback;
	return 0;
}

static int refuse_arch(struct reader *r, struct gguf_string name)
{
	char known[128];
	size_t used = 0;
	for (int a = 0; a < N_ARCHITECTURES && used < sizeof known; a++)
		used += (size_t)snprintf(known + used, sizeof known - used, "%s%s",
					 a == 0                     ? ""
					 : a == N_ARCHITECTURES - 1 ? " and "
								    : ", ",
					 model_architectures[a].name);
	return error_set(r->err, ERROR_UNSUPPORTED,
			 "%s: the architecture '%s' is not supported; %s are: give a model of one of these",
			 text_show_path(r->g->path).text, gguf_show(name).text, known);
}

static int read_arch(struct reader *r)
{
	struct gguf_string s;
	int rc = gguf_get_string(r->g, "general.architecture", &s, r->err);
	if (rc)
		return rc;
	int a = 0;
	while (a < N_ARCHITECTURES &&
	       (s.size != strlen(model_architectures[a].name) || memcmp(s.data, model_architectures[a].name, s.size)))
		a++;
	if (a == N_ARCHITECTURES)
		return refuse_arch(r, s);
	r->m->arch = (enum model_arch)a;
	r->arch = &model_architectures[a];
	struct gguf_string name = s;
	const struct gguf_kv *kv = gguf_find(r->g, "general.name");
	if (kv && kv->type == GGUF_STRING) {
		rc = gguf_get_string(r->g, "general.name", &name, r->err);
		if (rc)
			return rc;
	}
	text_name(r->m->name, sizeof r->m->name, name.data, name.size);
	return 0;
}

/*
 * Keys of YaRN that change its published form. What they hold otherwise is read in more than one way by the programs
 * that write and read them, so it is refused.
 */
static int refuse_yarn_variants(struct reader *r)
{
	static const struct {
		const char *suffix;
		double usual;
	} variants[] = {
		{"rope.scaling.attn_factor", 1},
		{"rope.scaling.yarn_attn_factor", 1},
		{"rope.scaling.yarn_ext_factor", 1},
		{"rope.scaling.yarn_log_multiplier", 0},
	};
	for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
		double value;
		int rc = reader_float_or(r, variants[i].suffix, -1e6, 1e6, variants[i].usual, &value);
		if (rc)
			return rc;
		if (value != variants[i].usual)
			return error_set(r->err, ERROR_UNSUPPORTED,
					 "%s: %s is %g; YaRN is computed as published, where it is %g", r->g->path,
					 r->key, value, variants[i].usual);
	}
	return 0;
}

static int read_rope_scaling(struct reader *r)
{
	enum { MAX_FACTOR = 1000000 };
	static const char type_key[] = "rope.scaling.type";
	struct rope_scaling *s = &r->m->rope_scaling;
	struct gguf_string type;
	int rc;
	*s = (struct rope_scaling){.factor = 1};
	if (!reader_has(r, type_key))
		return 0; /* a factor without a type is left for model_refuse_unread */
	if ((rc = gguf_get_string(r->g, reader_key(r, type_key), &type, r->err)))
		return rc;
	if (type.size == 4 && !memcmp(type.data, "none", 4)) {
		reader_key(r, "rope.scaling.factor");
		reader_key(r, "rope.scaling.original_context_length");
		return 0;
	}
	if (type.size == 6 && !memcmp(type.data, "linear", 6))
		s->type = ROPE_SCALING_LINEAR;
	else if (type.size == 4 && !memcmp(type.data, "yarn", 4))
		s->type = ROPE_SCALING_YARN;
	else
		return error_set(r->err, ERROR_UNSUPPORTED,
				 "%s: %s is '%s', which is not supported; use a model with none, linear or yarn",
				 r->g->path, r->key, gguf_show(type).text);
	if ((rc = reader_float(r, "rope.scaling.factor", 1, MAX_FACTOR, &s->factor)))
		return rc;
	/* Where yarn's file does not say, it is the trained context, as its publishers have it. */
	int original;
	if ((rc = reader_int_or(r, "rope.scaling.original_context_length", 1, MAX_CONTEXT, r->m->n_context, &original)))
		return rc;
	s->original_context = original;
	if (s->type != ROPE_SCALING_YARN)
		return 0;
	if (r->m->rope_base <= 1) {
		reader_key(r, "rope.freq_base");
		return error_set(r->err, ERROR_INPUT, "%s: %s is %g, expected more than 1 with yarn; " CONVERT_AGAIN,
				 r->g->path, r->key, r->m->rope_base);
	}
	if ((rc = reader_float_or(r, "rope.scaling.yarn_beta_fast", 1e-3, 1e6, 32, &s->beta_fast)) ||
	    (rc = reader_float_or(r, "rope.scaling.yarn_beta_slow", 1e-3, s->beta_fast, 1, &s->beta_slow)))
		return rc;
	return refuse_yarn_variants(r);
}

static int read_sliding(struct reader *r)
{
	struct model *m = r->m;
	int rc;
	/* Where no layer is of a kind, nobody asks for its widths, and they change nothing. */
	static const char *const widths[] = {"attention.key_length",       "attention.value_length",
					     "rope.dimension_count",       "attention.key_length_swa",
					     "attention.value_length_swa", "rope.dimension_count_swa"};
	for (size_t i = 0; r->arch->sliding_widths && i < sizeof widths / sizeof *widths; i++)
		reader_key(r, widths[i]);
	if ((rc = reader_int(r, "attention.sliding_window", 1, MAX_CONTEXT, &m->window)))
		return rc;
	if (!r->arch->rope_base_swa)
		return reader_float(r, "rope.freq_base_swa", 1, 1e12, &m->rope_base_swa);
	return reader_float_or(r, "rope.freq_base_swa", 1, 1e12, r->arch->rope_base_swa, &m->rope_base_swa);
}

/* The file's pattern: a boolean a layer, or after how many layers one is global; else the architecture's. */
static int read_pattern(struct reader *r, int i, bool *sliding)
{
	const struct gguf_kv *kv = gguf_find(r->g, reader_key(r, "attention.sliding_window_pattern"));
	int period = r->arch->period, rc = 0;
	if (kv && kv->type == GGUF_ARRAY && kv->n_items >= (uint64_t)r->m->n_layer)
		return gguf_get_bool_at(r->g, r->key, (uint64_t)i, sliding, r->err);
	if (!period || (kv && kv->type == GGUF_ARRAY))
		return error_set(r->err, ERROR_INPUT, "%s: %s must be an array of %d booleans", r->g->path, r->key,
				 r->m->n_layer);
	if (kv)
		rc = reader_int(r, "attention.sliding_window_pattern", 1, MAX_LAYERS, &period);
	*sliding = (i + 1) % period != 0;
	return rc;
}

static int read_experts(struct reader *r)
{
	struct model *m = r->m;
	int rc = reader_int_or(r, "expert_count", 0, MAX_EXPERTS, 0, &m->n_expert);
	if (rc || !m->n_expert)
		return rc;
	rc = reader_int(r, "expert_used_count", 1, m->n_expert, &m->n_expert_used);
	return rc ? rc : reader_int(r, "expert_feed_forward_length", 1, MODEL_MAX_WIDTH, &m->n_ff_expert);
}

static int read_globals(struct reader *r)
{
	struct model *m = r->m;
	const struct architecture *a = r->arch;
	double eps, softcap = 0, base;
	int rc;
	if ((rc = reader_int(r, "block_count", 1, MAX_LAYERS, &m->n_layer)) ||
	    (rc = reader_int(r, "context_length", 1, MAX_CONTEXT, &m->n_context)) ||
	    (rc = reader_int(r, "embedding_length", 1, MODEL_MAX_WIDTH, &m->n_embd)) ||
	    (rc = reader_float(r, "attention.layer_norm_rms_epsilon", 0, 1, &eps)) ||
	    (rc = reader_float(r, "rope.freq_base", 1, 1e12, &base)))
		return rc;
	m->eps = (float)eps;
	m->rope_base = m->rope_base_swa = base;
	m->embed_scale = a->scaled_embedding ? sqrtf((float)m->n_embd) : 1;
	m->activation = a->activation;
	m->v_norm = a->v_norm;
	m->post_norms = a->post_norms;
	if ((rc = read_rope_scaling(r)) ||
	    (a->softcap && (rc = reader_float_or(r, "final_logit_softcapping", 0, 1e6, 0, &softcap))) ||
	    (a->sliding && (rc = read_sliding(r))) ||
	    (a->shared_kv &&
	     (rc = reader_int_or(r, "attention.shared_kv_layers", 0, m->n_layer - 1, 0, &m->n_shared_kv))) ||
	    (a->ple && (rc = reader_int_or(r, "embedding_length_per_layer_input", 0, MODEL_MAX_WIDTH / m->n_layer, 0,
					   &m->n_ple))) ||
	    (a->experts && (rc = read_experts(r))))
		return rc;
	m->softcap = (float)softcap;
	return 0;
}

static int read_head_dim(struct reader *r, struct model_layer *l)
{
	bool own = l->sliding && r->arch->sliding_widths;
	const char *key = own ? "attention.key_length_swa" : "attention.key_length";
	const char *value = own ? "attention.value_length_swa" : "attention.value_length";
	const char *rope = own ? "rope.dimension_count_swa" : "rope.dimension_count";
	int value_length, rope_dim, rc;
	if (r->arch->head_dim_may_be_left && !reader_has(r, key)) {
		l->head_dim = r->m->n_embd / l->n_head;
	} else if ((rc = reader_int(r, key, 2, MAX_HEAD_DIM, &l->head_dim))) {
		return rc;
	}
	if ((rc = reader_int_or(r, value, 1, MAX_HEAD_DIM, l->head_dim, &value_length)))
		return rc;
	if (value_length != l->head_dim)
		return error_set(r->err, ERROR_UNSUPPORTED,
				 "%s: %s is %d and differs from the key length %d; use another model", r->g->path,
				 r->key, value_length, l->head_dim);
	if ((rc = reader_int_or(r, rope, 1, MAX_HEAD_DIM, l->head_dim, &rope_dim)))
		return rc;
	if (rope_dim != l->head_dim || l->head_dim % 2)
		return error_set(r->err, ERROR_UNSUPPORTED,
				 "%s: %s is %d: RoPE must cover the even head_dim %d; use another model", r->g->path,
				 r->key, rope_dim, l->head_dim);
	return 0;
}

static int read_layer(struct reader *r, int i)
{
	struct model *m = r->m;
	struct model_layer *l = &m->layers[i];
	int rc;
	if (r->arch->sliding && (rc = read_pattern(r, i, &l->sliding)))
		return rc;
	if ((rc = read_layer_int(r, "attention.head_count", i, 1, MAX_HEADS, &l->n_head)) ||
	    (rc = read_layer_int(r, "attention.head_count_kv", i, 1, MAX_HEADS, &l->n_head_kv)) ||
	    (rc = read_head_dim(r, l)) ||
	    (rc = read_layer_int(r, "feed_forward_length", i, 1, MODEL_MAX_WIDTH, &l->n_ff)))
		return rc;
	double factor = l->sliding ? 1 : rope_attention_factor(&m->rope_scaling);
	double width = l->head_dim;
	if (m->n_layer == r->arch->n_layer_embd_scaled)
		width = (double)m->n_embd / l->n_head;
	double scale = r->arch->scaled_attention ? 1 / sqrt(width) : 1;
	l->attention_scale = (float)(scale * factor * factor);
	if (l->n_head % l->n_head_kv)
		return error_set(r->err, ERROR_INPUT,
				 "%s: layer %d has %d heads, no multiple of its %d KV heads; " CONVERT_AGAIN,
				 r->g->path, i, l->n_head, l->n_head_kv);
	l->kv_source = i;
	int first_shared = m->n_layer - m->n_shared_kv;
	if (i < first_shared)
		return 0;
	for (int j = first_shared - 1; j >= 0; j--) {
		const struct model_layer *source = &m->layers[j];
		if (source->sliding != l->sliding)
			continue;
		if (source->head_dim != l->head_dim || l->n_head % source->n_head_kv)
			return error_set(r->err, ERROR_INPUT, "%s: layer %d cannot share the cache of layer %d",
					 r->g->path, i, j);
		l->kv_source = j;
		l->n_head_kv = source->n_head_kv;
		return 0;
	}
	return error_set(r->err, ERROR_INPUT, "%s: layer %d shares a cache, but no layer before %d is of its kind",
			 r->g->path, i, first_shared);
}

int model_open(struct model *m, const char *path, struct error *err)
{
	*m = (struct model){0};
	int rc = gguf_open(&m->file, path, err);
	if (rc)
		return rc;
	rc = model_read(m, err);
	if (rc)
		model_close(m);
	return rc;
}

static int read_all(struct reader *r)
{
	struct model *m = r->m;
	int rc;
	if (!r->key_read || !r->tensor_read)
		return error_set(r->err, ERROR_MEMORY, "%s: no memory to read it; close other programs", r->g->path);
	if ((rc = model_refuse_other(r)) || (rc = read_arch(r)) || (rc = read_globals(r)))
		return rc;
	m->layers = calloc((size_t)m->n_layer, sizeof *m->layers);
	if (!m->layers)
		return error_set(r->err, ERROR_MEMORY, "%s: no memory for %d layers", r->g->path, m->n_layer);
	for (int i = 0; i < m->n_layer; i++)
		if ((rc = read_layer(r, i)))
			return rc;
	if ((rc = model_find_globals(r)))
		return rc;
	for (int i = 0; i < m->n_layer; i++)
		if ((rc = model_find_layer(r, i)))
			return rc;
	return model_refuse_unread(r);
}

int model_read(struct model *m, struct error *err)
{
	struct reader r = {.m = m,
			   .g = &m->file,
			   .key_read = calloc(m->file.n_kv + 1, sizeof *r.key_read),
			   .tensor_read = calloc(m->file.n_tensors + 1, sizeof *r.tensor_read),
			   .err = err};
	int rc = read_all(&r);
	free(r.key_read);
	free(r.tensor_read);
	return rc;
}

void model_close(struct model *m)
{
	free(m->layers);
	gguf_close(&m->file);
	*m = (struct model){0};
}
