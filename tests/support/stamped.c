#include "tests/support/stamped.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/infer/session.h"
#include "tests/support/golden.h"
#include "tests/support/ok.h"

static struct session *open_at(const struct golden *g, int gpu_layers, int prompt, enum fusion fusion,
			       enum graph_mode mode)
{
	struct session_options o;
	struct session *s;
	session_options_default(&o);
	o.load.n_gpu_layers = gpu_layers;
	o.context = prompt + 3;
	o.mode = mode;
	OK(session_open(&s, g->path, &o, e));
	OK(session_prefill(s, g->tokens, prompt, NULL, e));
	session_set_fusion(s, fusion);
	return s;
}

static void expect_label(const struct token_timeline *t, int *phase, const char *kind, int layer)
{
	assert_true(*phase < t->n_phases);
	assert_string_equal(phase_kind_name(t->phases[*phase].kind), kind);
	assert_int_equal(t->phases[(*phase)++].layer, layer);
}

/* All that a layer of the model has, in its order. */
static void check_labels(const struct token_timeline *t, const struct model *m)
{
	int phase = 0;
	if (m->n_ple)
		expect_label(t, &phase, "ple_model_proj", -1);
	for (int i = 0; i < m->n_layer; i++) {
		expect_label(t, &phase, "qkv", i);
		if (i == 0 && m->n_ple)
			expect_label(t, &phase, "ple", -1);
		expect_label(t, &phase, "attention", i);
		expect_label(t, &phase, "attn_output", i);
		if (m->n_expert)
			expect_label(t, &phase, "router", i);
		expect_label(t, &phase, "ffn_gate_up", i);
		expect_label(t, &phase, "ffn_down", i);
		if (m->n_expert) {
			expect_label(t, &phase, "experts_gate_up", i);
			expect_label(t, &phase, "experts_down", i);
		}
		if (m->n_ple) {
			expect_label(t, &phase, "ple_gate", i);
			expect_label(t, &phase, "ple_proj", i);
		}
	}
	expect_label(t, &phase, "head", -1);
	assert_int_equal(phase, t->n_phases);
}

/* The same of kernels, one after the other: those of a kind behind each other are one step. */
static void expect_kernels(const struct token_timeline *t, int *phase, const char *kind, int layer)
{
	int n = 0;
	for (; *phase < t->n_phases && !strcmp(phase_kind_name(t->phases[*phase].kind), kind) &&
	       t->phases[*phase].layer == layer;
	     n++)
		++*phase;
	if (!n)
		fail_msg("no kernel of %s in layer %d, kernel %d of %d", kind, layer, *phase, t->n_phases);
}

static void check_kernels(const struct token_timeline *t, const struct model *m)
{
	int phase = 0;
	expect_kernels(t, &phase, "embed", -1);
	if (m->n_ple) {
		expect_kernels(t, &phase, "ple_model_proj", -1);
		expect_kernels(t, &phase, "ple", -1);
	}
	for (int i = 0; i < m->n_layer; i++) {
		static const char *const all[] = {"qkv",  "qkv_prepare", "attention", "attn_output",
						  "norm", "ffn_gate_up", "ffn_down",  "norm"};
		static const char *const experts[] = {"router", "experts_gate_up", "experts_down", "norm"};
		static const char *const ple[] = {"ple_gate", "ple_proj", "norm"};
		for (size_t k = 0; k < sizeof all / sizeof *all; k++)
			expect_kernels(t, &phase, all[k], i);
		for (size_t k = 0; m->n_expert && k < sizeof experts / sizeof *experts; k++)
			expect_kernels(t, &phase, experts[k], i);
		for (size_t k = 0; m->n_ple && k < sizeof ple / sizeof *ple; k++)
			expect_kernels(t, &phase, ple[k], i);
	}
	expect_kernels(t, &phase, "head", -1);
	assert_int_equal(phase, t->n_phases);
}

/* A block goes through its phases one by one: each of its stamps is behind the one before it. */
static void check_order(const struct token_timeline *t)
{
	bool begun = false;
	for (int b = 0; b < t->n_blocks; b++) {
		const int64_t *ns = t->ns + (size_t)b * (size_t)t->n_phases * PERSISTENT_STAMPS;
		int64_t last = 0;
		begun |= ns[0] == 0;
		for (int i = 0; i < t->n_phases * PERSISTENT_STAMPS; i++) {
			int what = i % PERSISTENT_STAMPS;
			if (ns[i] < 0 && (what == PERSISTENT_INPUT || what == PERSISTENT_WORKED))
				continue;
			assert_true(ns[i] >= last);
			last = ns[i];
		}
		assert_true(last > 0);
	}
	assert_true(begun);
}

/* Every product and every attention is somebody's. */
static void check_work(const struct token_timeline *t)
{
	for (int i = 0; i < t->n_phases; i++) {
		bool input = false, worked = false;
		for (int b = 0; b < t->n_blocks; b++) {
			const int64_t *ns = t->ns + ((size_t)b * (size_t)t->n_phases + (size_t)i) * PERSISTENT_STAMPS;
			input |= ns[PERSISTENT_INPUT] >= 0;
			worked |= ns[PERSISTENT_WORKED] >= 0;
		}
		assert_true(t->phases[i].kind == PHASE_PLE || (input && worked));
	}
}

/* One block on each multiprocessor of a GPU. */
static void check_places(const struct token_timeline *t, bool on_host)
{
	for (int b = 0; b < t->n_blocks; b++) {
		assert_true(on_host ? t->multiprocessors[b] == -1 : t->multiprocessors[b] >= 0);
		for (int other = 0; other < b; other++)
			assert_int_not_equal(t->multiprocessors[b], t->multiprocessors[other]);
	}
	assert_true(on_host ? t->n_blocks == 1 : t->n_blocks > 1);
}

static void check_timeline(struct session *s, const struct token_timeline *t, enum fusion fusion, int n_kernels)
{
	if (fusion == FUSION_PERSISTENT) {
		check_labels(t, session_model(s));
	} else {
		check_kernels(t, session_model(s));
		assert_int_equal(t->n_phases, n_kernels);
	}
	check_order(t);
	check_work(t);
	check_places(t, !session_gpu_layers(s));
}

void stamped_check(const char *name, int gpu_layers, enum fusion fusion, enum graph_mode mode)
{
	enum { PROMPT = 9 };
	struct golden g;
	struct token_timeline t;
	const float *row;
	golden_load(&g, name);
	size_t bytes = (size_t)g.n_vocab * sizeof(float);
	float *logits = malloc(2 * bytes);
	assert_non_null(logits);
	struct session *plain = open_at(&g, gpu_layers, PROMPT, fusion, mode);
	struct session *s = open_at(&g, gpu_layers, PROMPT, fusion, mode);
	struct token_timing timing;
	for (int i = 0; i < 2; i++) {
		OK(session_decode(plain, g.tokens[PROMPT + i], &timing, e));
		OK(session_logits(plain, &row, e));
		memcpy(logits + (size_t)i * (size_t)g.n_vocab, row, bytes);
	}
	OK(session_decode_stamped(s, g.tokens[PROMPT], &t, e));
	OK(session_logits(s, &row, e));
	assert_memory_equal(row, logits, bytes);
	int n_kernels = timing.kernels;
	check_timeline(s, &t, fusion, n_kernels);
	token_timeline_free(&t);
	OK(session_decode(s, g.tokens[PROMPT + 1], &timing, e));
	assert_int_equal(timing.event, mode == GRAPH_MODE_DIRECT ? GRAPH_EVENT_DIRECT : GRAPH_EVENT_CAPTURE);
	OK(session_logits(s, &row, e));
	assert_memory_equal(row, logits + g.n_vocab, bytes);
	size_t used = session_stats(s).memory.used;
	OK(session_rewind(s, PROMPT + 1, e));
	OK(session_decode_stamped(s, g.tokens[PROMPT + 1], &t, e));
	OK(session_logits(s, &row, e));
	assert_memory_equal(row, logits + g.n_vocab, bytes);
	check_timeline(s, &t, fusion, n_kernels);
	token_timeline_free(&t);
	assert_int_equal(session_stats(s).memory.used, used);
	session_close(plain);
	session_close(s);
	free(logits);
	golden_free(&g);
}
