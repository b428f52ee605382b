#include "tests/support/quantised_case.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/model/gguf_write.h"
#include "kernels/cpu/cpu.h"
#include "tests/support/ok.h"
#include "tests/support/synth_case.h"

const struct quantised_case quantised_cases[QUANTISED_CASES] = {
#define X(NAME, word, number, block, block_bytes, file_type, a, b) {"gemma4-e4b-tiny", TENSOR_##NAME, SYNTH_MIX_NONE},
	TENSOR_QUANT_TYPES(X, , )
#undef X
#define X(NAME, word, file_type, base) {"gemma4-e4b-tiny", TENSOR_##base, SYNTH_MIX_##NAME},
		SYNTH_MIXES(X)
#undef X
			{"qwen3-tiny", TENSOR_Q4_K, SYNTH_MIX_Q4_K_M},
	{"gemma4-26b-a4b-tiny", TENSOR_Q4_0, SYNTH_MIX_NONE},
	{"gemma4-26b-a4b-tiny", TENSOR_Q5_K, SYNTH_MIX_Q5_K_M},
};

struct quantised_name quantised_name(const struct quantised_case *c)
{
	struct quantised_name n;
	snprintf(n.text, sizeof n.text, "%s %s", c->arch, synth_mix_name(c->mix, c->type));
	return n;
}

void quantised_make(const struct quantised_case *c, const char *path)
{
	struct synth_options options;
	struct synth_plan plan;
	synth_options_default(&options, c->arch);
	options.type = options.ple_type = c->type;
	options.mix = c->mix;
	OK(synth_plan_init(&plan, &options, e));
	synth_case_write(&plan, path, 1);
	synth_plan_free(&plan);
}

/* Which tensors stay as they are. */
struct kept {
	const char *part; /* those with that in their names; null: none of them */
	int layer;        /* those of layers from there on */
};

static bool is_kept(const struct kept *k, const char *name)
{
	int layer;
	return (k->part && strstr(name, k->part)) || (sscanf(name, "blk.%d.", &layer) == 1 && layer >= k->layer);
}

static void to_float32(const char *from, const char *path, const struct kept *kept)
{
	struct gguf g;
	struct gguf_writer *w;
	OK(gguf_open(&g, from, e));
	OK(gguf_writer_open(&w, path, true, e));
	bool *copied = calloc(g.n_tensors, sizeof *copied);
	assert_non_null(copied);
	for (size_t i = 0; i < g.n_kv; i++)
		gguf_writer_copy(w, &g.kv[i]);
	for (size_t i = 0; i < g.n_tensors; i++) {
		const struct gguf_tensor *t = &g.tensors[i];
		char name[SYNTH_NAME_BYTES] = {0};
		assert_true(t->name.size < sizeof name);
		memcpy(name, t->name.data, t->name.size);
		copied[i] = is_kept(kept, name);
		gguf_writer_tensor(w, name, copied[i] ? t->type : TENSOR_F32, t->n_dims, t->ne);
	}
	OK(gguf_writer_begin(w, e));
	for (size_t i = 0; i < g.n_tensors; i++) {
		const struct gguf_tensor *t = &g.tensors[i];
		size_t n = (size_t)(t->ne[0] * t->ne[1] * t->ne[2]);
		if (copied[i]) {
			OK(gguf_writer_data(w, (int)i, t->data, e));
			continue;
		}
		float *x = malloc(n * sizeof *x);
		assert_non_null(x);
		cpu_to_f32(t->data, t->type, x, n);
		OK(gguf_writer_data(w, (int)i, x, e));
		free(x);
	}
	OK(gguf_writer_end(w, e));
	free(copied);
	gguf_close(&g);
}

void quantised_to_float32(const char *from, const char *path, const char *but)
{
	to_float32(from, path, &(struct kept){.part = but, .layer = INT_MAX});
}

void quantised_front_to_float32(const char *from, const char *path, int n)
{
	to_float32(from, path, &(struct kept){.layer = n});
}

static struct session *open_on(const char *path, int gpu_layers, enum prefill_precision prefill, int *prompt)
{
	struct session_options o;
	struct session *s;
	session_options_default(&o);
	o.load.n_gpu_layers = gpu_layers;
	o.load.k_type = o.load.v_type = TENSOR_F32;
	o.load.prefill = prefill;
	o.context = QUANTISED_ROWS;
	OK(session_open(&s, path, &o, e));
	for (int i = 0; i < QUANTISED_PROMPT; i++)
		prompt[i] = (i * 37 + 5) % session_model(s)->n_vocab;
	return s;
}

float *quantised_logits(const char *path, int gpu_layers, enum fusion fusion, enum graph_mode mode, int *n_vocab)
{
	int prompt[QUANTISED_PROMPT];
	struct session *s = open_on(path, gpu_layers, PREFILL_F32, prompt);
	session_set_fusion(s, fusion);
	session_set_mode(s, mode);
	int n = *n_vocab = session_model(s)->n_vocab;
	float *logits = malloc((size_t)QUANTISED_ROWS * (size_t)n * sizeof *logits);
	assert_non_null(logits);
	OK(session_prefill(s, prompt, QUANTISED_PROMPT, logits, e));
	for (int i = QUANTISED_PROMPT; i < QUANTISED_ROWS; i++) {
		struct token_timing t;
		const float *row;
		OK(session_decode(s, (i * 11 + 1) % n, &t, e));
		OK(session_logits(s, &row, e));
		if (t.event == GRAPH_EVENT_FALLBACK)
			fail_msg("%s", session_fallback_reason(s));
		memcpy(logits + (size_t)i * (size_t)n, row, (size_t)n * sizeof *row);
	}
	session_close(s);
	return logits;
}

float *quantised_prompt_logits(const char *path, int *n_vocab)
{
	int prompt[QUANTISED_PROMPT];
	struct session *s = open_on(path, -1, PREFILL_F16, prompt);
	*n_vocab = session_model(s)->n_vocab;
	float *logits = malloc((size_t)QUANTISED_PROMPT * (size_t)*n_vocab * sizeof *logits);
	assert_non_null(logits);
	OK(session_prefill(s, prompt, QUANTISED_PROMPT, logits, e));
	session_close(s);
	return logits;
}
