/*
 * Files that are whole and no model of a next token: each is told what it is and which file to give instead. Which
 * architectures there are model.c knows; that one of these is missing from it would say less.
 *
 * Source: general.type and the architectures of the gguf package's constants, and the keys that llama.cpp's converters
 * write for adapters, projectors and models of embeddings.
 */
#include <stdio.h>
#include <string.h>

#include "engine/model/model_internal.h"

/* Architectures whose models turn a text into a vector, or read the text that another part writes. */
static const char *const encoders[] = {
	"bert",         "modern-bert",  "nomic-bert",      "nomic-bert-moe", "neo-bert",  "eurobert",
	"jina-bert-v2", "jina-bert-v3", "gemma-embedding", "llama-embed",    "t5encoder",
};

static bool is(struct gguf_string s, const char *name)
{
	return s.size == strlen(name) && !memcmp(s.data, name, s.size);
}

static bool is_one_of(struct gguf_string s, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (is(s, names[i]))
			return true;
	return false;
}

/* Empty where there is none, or it is no string. */
static struct gguf_string string_of(const struct reader *r, const char *key)
{
	struct gguf_string s = {"", 0};
	struct error ignored;
	if (gguf_find(r->g, key) && gguf_get_string(r->g, key, &s, &ignored))
		s = (struct gguf_string){"", 0};
	return s;
}

static bool says_yes(const struct reader *r, const char *key)
{
	bool yes = false;
	struct error ignored;
	return gguf_find(r->g, key) && !gguf_get_bool(r->g, key, &yes, &ignored) && yes;
}

static int refuse_adapter(struct reader *r, struct gguf_string arch)
{
	struct gguf_string kind = string_of(r, "adapter.type");
	return error_set(r->err, ERROR_UNSUPPORTED,
			 "%s: is an adapter (%s) for a model of the architecture '%s', not a model; give the model's "
			 "file, or merge the adapter into the model and give what that makes",
			 text_show_path(r->g->path).text, kind.size ? gguf_show(kind).text : "of no type",
			 gguf_show(arch).text);
}

static int refuse_control_vector(struct reader *r)
{
	struct gguf_string model = string_of(r, "controlvector.model_hint");
	return error_set(r->err, ERROR_UNSUPPORTED,
			 "%s: is a control vector for a model of the architecture '%s', not a model; give the model's "
			 "file: control vectors are not applied",
			 text_show_path(r->g->path).text, model.size ? gguf_show(model).text : "unknown");
}

static int refuse_projector(struct reader *r)
{
	bool vision = says_yes(r, "clip.has_vision_encoder"), audio = says_yes(r, "clip.has_audio_encoder");
	return error_set(r->err, ERROR_UNSUPPORTED,
			 "%s: is the encoder and projector of %s that goes beside a text model, not a model; give the "
			 "text model's file, whose name has no mmproj",
			 text_show_path(r->g->path).text,
			 vision && audio ? "images and sound"
			 : audio         ? "sound"
					 : "images");
}

/* How an embedding is made of the hidden states: a model that predicts tokens has no such key, or 0, none. */
static int64_t pooling_of(const struct reader *r, struct gguf_string arch)
{
	char key[128];
	int64_t pooling = 0;
	struct error ignored;
	snprintf(key, sizeof key, "%.*s.pooling_type", (int)(arch.size < 64 ? arch.size : 64), arch.data);
	if (gguf_find(r->g, key) && gguf_get_int(r->g, key, &pooling, &ignored))
		return 0;
	return pooling;
}

int model_refuse_other(struct reader *r)
{
	struct gguf_string type = string_of(r, "general.type"), arch = string_of(r, "general.architecture");
	/* Old converters wrote no general.type. */
	if (is(type, "adapter") || gguf_find(r->g, "adapter.type"))
		return refuse_adapter(r, arch);
	if (is(arch, "controlvector"))
		return refuse_control_vector(r);
	if (is(type, "mmproj") || is(type, "clip-vision") || is(arch, "clip"))
		return refuse_projector(r);
	if (type.size && !is(type, "model"))
		return error_set(r->err, ERROR_UNSUPPORTED,
				 "%s: general.type is '%s', not 'model'; give the .gguf of a model",
				 text_show_path(r->g->path).text, gguf_show(type).text);
	if (is_one_of(arch, encoders, sizeof encoders / sizeof *encoders) || pooling_of(r, arch) > 0)
		return error_set(r->err, ERROR_UNSUPPORTED,
				 "%s: is a model of embeddings ('%s'), which predicts no tokens; give a model that "
				 "generates text",
				 text_show_path(r->g->path).text, gguf_show(arch).text);
	return 0;
}
