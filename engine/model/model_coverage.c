/*
 * That a model covers its file. Which keys and tensors there are is known from whoever asked for them (struct
 * reader); this file knows only the exceptions: what changes no number of the text model, and values that ask for
 * nothing.
 *
 * Source of the keys: the GGUF specification of ggml (docs/gguf.md) and the constants of its Python package.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/model/model_internal.h"

/* Keys of the architecture that change no logit, whatever they hold. One that ends in a dot stands for all behind it.
 */
static const char *const harmless[] = {
	"vocab_size",                           /* of the tokenizer; the embedding's rows count */
	"context_length",                       /* trained */
	"expert_feed_forward_length",           /* of experts that the tensors show not to be there */
	"expert_shared_feed_forward_length",    /* so too */
	"rope.scaling.original_context_length", /* where nothing scales */
	"rope.scaling.finetuned",               /* history */
	"vision.",
	"audio.",
	"mm.",
};

/* Keys that ask for nothing where they hold one of two values. */
static const struct neutral {
	const char *suffix;
	double values[2];
} neutral[] = {
	{"attention.causal", {1, 1}},
	{"attention.clamp_kqv", {0, 0}},
	{"attention.max_alibi_bias", {0, 0}},
	{"attention.shared_kv_layers", {0, 0}},
	{"attention.sliding_window", {0, 0}},
	{"attn_logit_softcapping", {0, 0}},
	{"embedding_length_per_layer_input", {0, 0}},
	{"expert_count", {0, 0}},
	{"expert_gating_func", {1, 1}}, /* softmax */
	{"expert_group_count", {0, 1}},
	{"expert_group_used_count", {0, 1}},
	{"expert_shared_count", {0, 0}},
	{"expert_used_count", {0, 0}},
	{"expert_weights_norm", {1, 1}}, /* as gemma4's are */
	{"expert_weights_scale", {0, 1}},
	{"final_logit_softcapping", {0, 0}},
	{"leading_dense_block_count", {0, 0}},
	{"logit_scale", {0, 1}},
	{"nextn_predict_layers", {0, 0}},
	{"pooling_type", {0, 0}},
	{"residual_scale", {0, 1}},
	{"router_logit_softcapping", {0, 0}},
	{"rope.scale_linear", {0, 1}}, /* the older name of rope.scaling.factor */
	{"rope.scaling.alpha", {0, 0}},
	{"rope.scaling.factor", {0, 1}},
	{"use_parallel_residual", {0, 0}},
};

/* Tensors of the encoders that a file may hold beside the text model: images, sound, and their projectors. */
static const char *const other_models[] = {"v.", "a.", "mm."};

static bool begins(struct gguf_string s, const char *prefix)
{
	size_t n = strlen(prefix);
	return s.size >= n && !memcmp(s.data, prefix, n);
}

static bool is(struct gguf_string s, const char *name)
{
	return s.size == strlen(name) && begins(s, name);
}

/* False where the entry is no number. key: its name as a string. */
static bool number(const struct gguf *g, const struct gguf_kv *kv, const char *key, double *out)
{
	struct error ignored;
	int64_t i;
	bool b;
	if (kv->type == GGUF_FLOAT32 || kv->type == GGUF_FLOAT64)
		return gguf_get_float(g, key, out, &ignored) == 0;
	if (kv->type == GGUF_BOOL) {
		int rc = gguf_get_bool(g, key, &b, &ignored);
		*out = rc == 0 && b;
		return rc == 0;
	}
	if (kv->type == GGUF_STRING || kv->type == GGUF_ARRAY || gguf_get_int(g, key, &i, &ignored))
		return false;
	*out = (double)i;
	return true;
}

static bool changes_nothing(const struct reader *r, const struct gguf_kv *kv, struct gguf_string suffix)
{
	for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++) {
		const char *name = harmless[i];
		if (name[strlen(name) - 1] == '.' ? begins(suffix, name) : is(suffix, name))
			return true;
	}
	char key[128];
	double value;
	snprintf(key, sizeof key, "%.*s", (int)kv->key.size, kv->key.data);
	if (kv->key.size >= sizeof key || !number(r->g, kv, key, &value))
		return false;
	if (is(suffix, "attention.scale")) {
		double factor = rope_attention_factor(&r->m->rope_scaling);
		double scale = (double)r->m->layers[0].attention_scale;
		if (!r->m->layers[0].sliding)
			scale /= factor * factor;
		return fabs(value - scale) <= 1e-6 * scale;
	}
	for (size_t i = 0; i < sizeof neutral / sizeof *neutral; i++)
		if (is(suffix, neutral[i].suffix))
			return value == neutral[i].values[0] || value == neutral[i].values[1];
	return false;
}

/* " = 5" */
static void show_value(const struct reader *r, const struct gguf_kv *kv, char *out, size_t size)
{
	char key[128];
	double value;
	struct gguf_string s;
	struct error ignored;
	snprintf(key, sizeof key, "%.*s", (int)kv->key.size, kv->key.data);
	out[0] = 0;
	if (kv->key.size >= sizeof key)
		return;
	if (kv->type == GGUF_STRING && !gguf_get_string(r->g, key, &s, &ignored))
		snprintf(out, size, " = %s", gguf_show(s).text);
	else if (number(r->g, kv, key, &value))
		snprintf(out, size, " = %g", value);
}

static int refuse_keys(struct reader *r)
{
	char prefix[32];
	snprintf(prefix, sizeof prefix, "%s.", model_arch_name(r->m->arch));
	for (size_t i = 0; i < r->g->n_kv; i++) {
		const struct gguf_kv *kv = &r->g->kv[i];
		size_t n = strlen(prefix);
		if (r->key_read[i] || !begins(kv->key, prefix))
			continue;
		if (changes_nothing(r, kv, (struct gguf_string){kv->key.data + n, kv->key.size - n}))
			continue;
		char value[128];
		show_value(r, kv, value, sizeof value);
		return error_set(r->err, ERROR_UNSUPPORTED,
				 "%s: the key %s%s is not one that this program computes for %s; its results would be "
				 "another model's: use a model without it",
				 text_show_path(r->g->path).text, gguf_show(kv->key).text, value,
				 model_arch_name(r->m->arch));
	}
	return 0;
}

static bool of_other_model(struct gguf_string name)
{
	for (size_t i = 0; i < sizeof other_models / sizeof *other_models; i++)
		if (begins(name, other_models[i]))
			return true;
	return false;
}

static int refuse_tensors(struct reader *r)
{
	enum { NAMED = 3 };
	char names[NAMED * (TEXT_SHOWN_SIZE + 2)] = "";
	size_t used = 0;
	int n = 0;
	for (size_t i = 0; i < r->g->n_tensors; i++) {
		struct gguf_string name = r->g->tensors[i].name;
		if (r->tensor_read[i] || of_other_model(name))
			continue;
		if (n++ < NAMED)
			used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "",
						 gguf_show(name).text);
	}
	if (n == 0)
		return 0;
	char more[32] = "";
	if (n > NAMED)
		snprintf(more, sizeof more, " and %d more", n - NAMED);
	return error_set(r->err, ERROR_UNSUPPORTED,
			 "%s: the tensor%s %s%s %s not part of the %s of %d layers that this program computes; its "
			 "results would be another model's: use a model without %s",
			 text_show_path(r->g->path).text, n > 1 ? "s" : "", names, more, n > 1 ? "are" : "is",
			 model_arch_name(r->m->arch), r->m->n_layer, n > 1 ? "them" : "it");
}

int model_refuse_unread(struct reader *r)
{
	int rc = refuse_keys(r);
	return rc ? rc : refuse_tensors(r);
}
