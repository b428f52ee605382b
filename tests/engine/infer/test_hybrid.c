/*
 * A model on two devices: for every number of layers on the first, the bits of the model on
 * one. Both are host devices here, with memory that the other cannot touch
 * (tests/support/guarded.h); the GPU's turn is in test_device_cuda.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/infer/loaded_model.h"
#include "engine/infer/session.h"
#include "tests/support/golden.h"
#include "tests/support/guarded.h"
#include "tests/support/ok.h"
#include "tests/support/quantised_case.h"
#include "tests/support/sanitized.h"
#include "tests/support/temp_file.h"

enum {
	PROMPT = 21, /* longer than the window, 16 */
	PER_ARM = 2, /* decoded tokens of a mode and a fusion: a capture and one that finds the graph */
	N_DECODE = PER_ARM * GRAPH_MODE_COUNT * 2,
	MORE = 7, /* a second chunk of a prompt, behind decoded tokens */
	AFTER = 2,
	ROWS = PROMPT + N_DECODE + MORE + AFTER,
	CONTEXT = ROWS + 1,
};

/* What sessions of this test differ in, beside the placement. */
struct variant {
	int batch;
	enum tensor_type k_type, v_type;
};
static const struct variant variants[] = {
	{PROMPT, TENSOR_F16, TENSOR_F16}, {5, TENSOR_F32, TENSOR_F32},   {16, TENSOR_BF16, TENSOR_F16},
	{1, TENSOR_F32, TENSOR_F16},      {6, TENSOR_Q8_0, TENSOR_Q8_0},
};
enum { VARIANTS = sizeof variants / sizeof *variants };

/* Two devices and a model on them; or on a plain host device, where n is 0. */
struct rig {
	struct device *far, *near;
	struct loaded_model *loaded;
	struct session *s;
};

static void rig_open(struct rig *r, const char *path, int n, bool head_on_host, const struct variant *v)
{
	struct load_options o;
	load_options_default(&o);
	o.n_gpu_layers = n;
	o.head_on_host = head_on_host;
	o.n_threads = 1;
	o.batch = v->batch;
	o.prefill = PREFILL_F32; /* the far device stands for a GPU */
	o.k_type = v->k_type;
	o.v_type = v->v_type;
	*r = (struct rig){0};
	if (n) {
		OK(guarded_open(&r->far, true, 1, e));
		OK(guarded_open(&r->near, false, 1, e));
	}
	OK(loaded_model_open_on(&r->loaded, path, &o, r->far, r->near, e));
	OK(session_open_on(&r->s, r->loaded, CONTEXT, e));
}

static void rig_close(struct rig *r)
{
	session_close(r->s);
	loaded_model_close(r->loaded);
	if (r->far) {
		device_close(r->far);
		device_close(r->near);
	}
}

static int token_at(int i, int n_vocab)
{
	return (int)((unsigned)(i + 1) * 2654435761u % (unsigned)n_vocab);
}

static void tokens_at(int first, int n, int n_vocab, int *out)
{
	for (int i = 0; i < n; i++)
		out[i] = token_at(first + i, n_vocab);
}

static void keep_row(struct session *s, float *rows, int i)
{
	const float *row;
	size_t vocab = (size_t)session_model(s)->n_vocab;
	OK(session_logits(s, &row, e));
	memcpy(rows + (size_t)i * vocab, row, vocab * sizeof *row);
}

static void decode(struct session *s, int i)
{
	struct token_timing t;
	OK(session_decode(s, token_at(i, session_model(s)->n_vocab), &t, e));
	if (t.event == GRAPH_EVENT_FALLBACK)
		fail_msg("fallback: %s", session_fallback_reason(s));
}

/* A prompt, every mode and fusion, a second chunk of which only the last row is asked, and tokens behind it. */
static void scenario(struct session *s, float *rows)
{
	int n_vocab = session_model(s)->n_vocab, tokens[PROMPT];
	tokens_at(0, PROMPT, n_vocab, tokens);
	OK(session_prefill(s, tokens, PROMPT, rows, e));
	OK(session_checkpoint(s, e));
	int i = PROMPT;
	for (int fusion = FUSION_NONE; fusion <= FUSION_FULL; fusion++) {
		for (int mode = 0; mode < GRAPH_MODE_COUNT; mode++) {
			session_set_fusion(s, (enum fusion)fusion);
			session_set_mode(s, (enum graph_mode)mode);
			for (int k = 0; k < PER_ARM; k++) {
				decode(s, i);
				keep_row(s, rows, i++);
			}
		}
	}
	tokens_at(i, MORE, n_vocab, tokens);
	OK(session_prefill(s, tokens, MORE, NULL, e));
	i += MORE;
	keep_row(s, rows, i - 1);
	for (int k = 0; k < AFTER; k++) {
		decode(s, i);
		keep_row(s, rows, i++);
	}
}

/* Back to the checkpoint, and from there a few tokens in one mode. */
static void rewound(struct session *s, float *rows)
{
	OK(session_rewind(s, PROMPT, e));
	session_set_mode(s, GRAPH_MODE_DEVICE);
	for (int k = 0; k < PER_ARM; k++) {
		decode(s, PROMPT + k);
		keep_row(s, rows, PROMPT + k);
	}
}

static void expect_rows(const float *got, const float *want, int from, int to, size_t vocab, const char *what)
{
	for (int i = from; i < to; i++) {
		if (i >= PROMPT + N_DECODE && i < PROMPT + N_DECODE + MORE - 1)
			continue; /* not asked for */
		const float *a = got + (size_t)i * vocab, *b = want + (size_t)i * vocab;
		if (memcmp(a, b, vocab * sizeof *a))
			fail_msg("%s: token %d: not the bits of one device (relative L2 %.3g)", what, i,
				 relative_l2(a, b, vocab));
	}
}

/* first .. last layers in front. both: the head in both places for each, else in one and the other by turns. */
static void every_split(const char *name, const struct golden *g, int first, int last, bool both)
{
	size_t vocab = (size_t)g->n_vocab, n = ROWS * vocab;
	float *want[VARIANTS], *got = malloc(n * sizeof *got);
	for (int v = 0; v < VARIANTS; v++) {
		struct rig r;
		want[v] = malloc(n * sizeof *want[v]);
		rig_open(&r, g->path, 0, false, &variants[v]);
		scenario(r.s, want[v]);
		rig_close(&r);
	}
	for (int layers = first; layers <= last; layers++) {
		for (int head = both ? 0 : layers % 2; head < 2; head += both ? 1 : 2) {
			struct rig r;
			int v = (layers + 2 * head) % VARIANTS;
			char what[96];
			snprintf(what, sizeof what, "%s, %d layers on the first device, head %s, batch %d", name,
				 layers, head ? "behind" : "in front", variants[v].batch);
			rig_open(&r, g->path, layers, head, &variants[v]);
			memset(got, 0, n * sizeof *got);
			scenario(r.s, got);
			expect_rows(got, want[v], 0, ROWS, vocab, what);
			rewound(r.s, got);
			expect_rows(got, want[v], PROMPT, PROMPT + PER_ARM, vocab, what);
			rig_close(&r);
		}
	}
	for (int v = 0; v < VARIANTS; v++)
		free(want[v]);
	free(got);
}

static void test_every_split(void **state)
{
	(void)state;
	/* Four of them are one model in four types. */
	for (int i = 0; i < GOLDEN_MODELS; i++) {
		struct golden g;
		golden_load(&g, golden_names[i]);
		every_split(golden_names[i], &g, 1, g.n_layer, strstr(golden_names[i], "q8_0"));
		golden_free(&g);
	}
}

/*
 * Layers in Q4_K, Q5_0, Q6_K and Q8_0 on the second device, as a host reads them. Those on the first, up to FRONT, have
 * float32: for a GPU they are repacked, which a host device in its place does not read.
 */
static void test_every_split_of_few_bits(void **state)
{
	(void)state;
	static const struct quantised_case few_bits = {"gemma4-e4b-tiny", TENSOR_Q4_K, SYNTH_MIX_Q4_K_M};
	enum { FRONT = 6 };
	struct temp_file all = temp_file_make(), t = temp_file_make();
	struct golden g;
	quantised_make(&few_bits, all.path);
	quantised_front_to_float32(all.path, t.path, FRONT);
	golden_load(&g, "gemma4-e4b-tiny.q8_0"); /* of the same shape */
	snprintf(g.path, sizeof g.path, "%s", t.path);
	every_split(quantised_name(&few_bits).text, &g, SANITIZED ? FRONT : 1, FRONT, false);
	golden_free(&g);
	temp_file_remove(&all);
	temp_file_remove(&t);
}

/* Each layer's input, whichever device it was on. */
static void test_hidden_states(void **state)
{
	(void)state;
	struct golden g;
	golden_load(&g, "gemma4-e2b-tiny.q8_0");
	size_t n = ((size_t)g.n_layer + 1) * (size_t)g.n_embd;
	float *want = malloc(n * sizeof *want), *got = malloc(n * sizeof *got);
	for (int way = 0; way < 2; way++) { /* by prefill, by a replayed token */
		for (int layers = 0; layers <= g.n_layer; layers += layers ? 3 : 2) {
			struct rig r;
			rig_open(&r, g.path, layers, layers % 2, &variants[1]);
			float *hidden = layers ? got : want;
			memset(hidden, 0, n * sizeof *hidden);
			session_set_mode(r.s, GRAPH_MODE_DEVICE);
			if (way == 0)
				session_trace(r.s, hidden);
			OK(session_prefill(r.s, g.tokens, PROMPT, NULL, e));
			session_trace(r.s, hidden);
			if (way == 1)
				OK(session_decode(r.s, g.tokens[PROMPT], NULL, e));
			if (layers && memcmp(got, want, n * sizeof *got))
				fail_msg("way %d, %d layers in front: other hidden states", way, layers);
			rig_close(&r);
		}
	}
	free(want);
	free(got);
	golden_free(&g);
}

/* Modes alternating token by token, over a change of the attention bucket and many wraps of the rings. */
static void test_long_run(void **state)
{
	(void)state;
	enum { TOKENS = 150, LAYERS = 8 }; /* in the middle of the sharing layers: 6 .. 11 read 4 and 5 */
	struct golden g;
	golden_load(&g, "gemma4-e4b-tiny.q8_0");
	size_t vocab = (size_t)g.n_vocab;
	float *want = malloc(TOKENS * vocab * sizeof *want), *got = malloc(vocab * sizeof *got);
	for (int layers = 0; layers <= LAYERS; layers += LAYERS) {
		struct load_options o;
		struct device *far = NULL, *near = NULL;
		struct loaded_model *m;
		struct session *s;
		load_options_default(&o);
		o.n_gpu_layers = layers;
		o.n_threads = 2;
		if (layers) {
			OK(guarded_open(&far, true, 1, e));
			OK(guarded_open(&near, false, 2, e));
		}
		OK(loaded_model_open_on(&m, g.path, &o, far, near, e));
		OK(session_open_on(&s, m, TOKENS, e));
		assert_int_equal(session_threads(s), 2); /* the host's */
		if (layers) {
			struct error err;
			assert_int_equal(session_queue_begin(s, 4, false, &err), ERROR_UNSUPPORTED);
			assert_non_null(strstr(err.text, "two devices"));
		}
		for (int i = 0; i < TOKENS; i++) {
			session_set_mode(s, (enum graph_mode)(layers ? i % GRAPH_MODE_COUNT : 0));
			session_set_fusion(s, (enum fusion)(i / 7 % 2));
			decode(s, i);
			keep_row(s, layers ? got : want, layers ? 0 : i);
			if (layers && memcmp(got, want + (size_t)i * vocab, vocab * sizeof *got))
				fail_msg("token %d differs", i);
		}
		session_close(s);
		loaded_model_close(m);
		if (layers) {
			device_close(far);
			device_close(near);
		}
	}
	free(want);
	free(got);
	golden_free(&g);
}

/* Of E4B's 12 layers 6 .. 11 attend 4 (2 heads of 32) and 5 (2 heads of 64); 128 wide, PLE 32 wide. */
static void test_what_crosses(void **state)
{
	(void)state;
	static const struct {
		int layers;
		bool head_on_host;
		size_t floats;
	} cases[] = {
		{1, false, 128 + 11 * 32 + 128},
		{4, false, 128 + 8 * 32 + 128},
		{5, false, 128 + 7 * 32 + 2 * 64 + 128},           /* K and V of layer 4 */
		{6, false, 128 + 6 * 32 + 2 * 64 + 2 * 128 + 128}, /* and of 5 */
		{11, false, 128 + 1 * 32 + 2 * 128 + 128},         /* the last layer is global and reads 5 alone */
		{11, true, 128 + 1 * 32 + 2 * 128},
		{12, true, 128},
	};
	struct golden g;
	golden_load(&g, "gemma4-e4b-tiny.q8_0");
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct rig r;
		rig_open(&r, g.path, cases[i].layers, cases[i].head_on_host, &variants[0]);
		assert_int_equal(session_model(r.s)->n_ple, 32);
		assert_int_equal(session_stats(r.s).crossing_bytes, cases[i].floats * sizeof(float));
		OK(session_prefill(r.s, g.tokens, PROMPT, NULL, e));
		size_t before = guarded_crossed(r.far);
		OK(session_decode(r.s, g.tokens[PROMPT], NULL, e));
		assert_int_equal(guarded_crossed(r.far) - before, cases[i].floats * sizeof(float));
		rig_close(&r);
	}
	golden_free(&g);
}

/* The file's bytes of a layer, by the tensors' names; -1: of what is beside the layers. */
static size_t layer_bytes(const struct model *m, int layer)
{
	size_t sum = 0;
	for (size_t i = 0; i < m->file.n_tensors; i++) {
		const struct gguf_tensor *t = &m->file.tensors[i];
		char name[65];
		int of = -1;
		snprintf(name, sizeof name, "%.*s", (int)t->name.size, t->name.data);
		if (sscanf(name, "blk.%d.", &of) != 1)
			of = -1;
		bool used = strcmp(name, "rope_freqs.weight") && !strstr(name, "layer_output_scale");
		sum += used && of == layer ? t->bytes : 0;
	}
	return sum;
}

/* Each device has the weights of its layers, and those alone. */
static void test_weights_are_where_they_are_used(void **state)
{
	(void)state;
	struct golden g;
	golden_load(&g, "gemma4-e4b-tiny.q8_0");
	for (int layers = 1; layers <= g.n_layer; layers++) {
		for (int head = 0; head < 2; head++) {
			struct rig r;
			size_t bytes[2] = {0, 0};
			rig_open(&r, g.path, layers, head, &variants[0]);
			const struct model *m = session_model(r.s);
			for (int i = 0; i < g.n_layer; i++)
				bytes[i >= layers] += layer_bytes(m, i);
			bytes[0] += layer_bytes(m, -1) - (head ? m->output_norm->bytes : 0);
			bytes[1] += head ? m->output->bytes + m->output_norm->bytes : 0;
			for (int i = 0; i < r.loaded->n_parts; i++) {
				const struct weights *w = &r.loaded->parts[i].weights;
				assert_int_equal(w->bytes + w->narrowed_bytes, bytes[i]);
			}
			/* A matrix that is only gathered from takes no memory of the device. */
			bool gathered = head == 1;
			assert_int_equal(r.loaded->parts[0].weights.mapped_bytes, gathered ? m->token_embd->bytes : 0);
			assert_int_equal(r.loaded->n_parts, layers == g.n_layer && !head ? 1 : 2);
			rig_close(&r);
		}
	}
	golden_free(&g);
}

/* A fault in either device's graphs: one stage is launched directly, the token is the same, and it is counted. */
static void test_faults_fall_back(void **state)
{
	(void)state;
	static const struct {
		enum device_fault step;
		enum graph_mode mode;
		int token;
	} faults[] = {
		{DEVICE_FAULT_CAPTURE_END, GRAPH_MODE_DEVICE, 0}, {DEVICE_FAULT_INSTANTIATE, GRAPH_MODE_PARAMS, 0},
		{DEVICE_FAULT_REPLAY, GRAPH_MODE_DEVICE, 2},      {DEVICE_FAULT_UPDATE, GRAPH_MODE_UPDATE, 2},
		{DEVICE_FAULT_SET_PARAMS, GRAPH_MODE_PARAMS, 2},
	};
	enum { TOKENS = 5, LAYERS = 7 };
	struct golden g;
	golden_load(&g, "gemma4-e4b-tiny.q8_0");
	size_t vocab = (size_t)g.n_vocab;
	float *want = malloc(TOKENS * vocab * sizeof *want), *got = malloc(TOKENS * vocab * sizeof *got);
	for (int f = -1; f < (int)(sizeof faults / sizeof *faults); f++) {
		for (int device = 0; device < (f < 0 ? 1 : 2); device++) {
			struct rig r;
			rig_open(&r, g.path, LAYERS, false, &variants[0]);
			session_set_mode(r.s, f < 0 ? GRAPH_MODE_DIRECT : faults[f].mode);
			for (int i = 0; i < TOKENS; i++) {
				struct token_timing t;
				bool now = f >= 0 && i == faults[f].token;
				if (now)
					device_fail(device ? r.near : r.far, faults[f].step, 0, 1);
				OK(session_decode(r.s, g.tokens[i], &t, e));
				keep_row(r.s, f < 0 ? want : got, i);
				assert_int_equal(t.event == GRAPH_EVENT_FALLBACK, now);
			}
			if (f >= 0)
				assert_memory_equal(got, want, TOKENS * vocab * sizeof *got);
			assert_int_equal(session_stats(r.s).graph.fallbacks, f >= 0);
			assert_int_equal(*session_fallback_reason(r.s) != 0, f >= 0);
			rig_close(&r);
		}
	}
	free(want);
	free(got);
	golden_free(&g);
}

static void test_facts(void **state)
{
	(void)state;
	struct golden g;
	golden_load(&g, "gemma4-e4b-tiny.q8_0");
	struct rig r;
	struct token_timing t;
	rig_open(&r, g.path, 5, false, &variants[0]);
	assert_int_equal(session_gpu_layers(r.s), 5);
	assert_string_equal(session_device_name(r.s), "host+host");
	assert_ptr_equal(session_device(r.s), r.far);
	struct session_stats stats = session_stats(r.s);
	const struct model *m = session_model(r.s);
	size_t host = 0;
	for (int i = 5; i < g.n_layer; i++)
		host += model_layer_bytes(m, i);
	assert_int_equal(stats.host_decode_bytes, host);
	assert_int_equal(stats.decode_weight_bytes, model_decode_bytes(m));
	session_set_mode(r.s, GRAPH_MODE_DEVICE);
	for (int i = 0; i < 2; i++)
		OK(session_decode(r.s, g.tokens[i], &t, e));
	/* Three stages, each captured once and replayed. */
	assert_int_equal(session_stats(r.s).graph.captures, 3);
	assert_int_equal(t.event, GRAPH_EVENT_REPLAY);
	assert_int_equal(t.api_launches, 3 + 2); /* the head's stage does not depend on the position */
	assert_true(t.host_us > 0 && t.device_us > 0 && t.submit_us > 0);
	assert_true(t.wall_us >= t.host_us + t.device_us);
	rig_close(&r);
	golden_free(&g);
}

static void test_failed_allocations_leak_nothing(void **state)
{
	(void)state;
	struct golden g;
	golden_load(&g, "gemma4-e4b-tiny.q8_0");
	for (int device = 0; device < 2; device++) {
		struct rig r;
		rig_open(&r, g.path, 7, true, &variants[0]);
		struct device *d = device ? r.near : r.far;
		session_close(r.s);
		size_t used = device_memory(d).used;
		int after = 0;
		for (;; after++) {
			struct error err;
			device_fail(d, DEVICE_FAULT_ALLOC, after, 1);
			int rc = session_open_on(&r.s, r.loaded, CONTEXT, &err);
			if (!rc)
				break;
			assert_int_equal(rc, ERROR_MEMORY);
			assert_int_equal(device_memory(d).used, used);
		}
		assert_true(after > 3);
		rig_close(&r);
	}
	golden_free(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_split),
		cmocka_unit_test(test_every_split_of_few_bits),
		cmocka_unit_test(test_hidden_states),
		cmocka_unit_test(test_long_run),
		cmocka_unit_test(test_what_crosses),
		cmocka_unit_test(test_weights_are_where_they_are_used),
		cmocka_unit_test(test_faults_fall_back),
		cmocka_unit_test(test_facts),
		cmocka_unit_test(test_failed_allocations_leak_nothing),
	};
	return cmocka_run_group_tests_name("two devices", tests, NULL, NULL);
}
