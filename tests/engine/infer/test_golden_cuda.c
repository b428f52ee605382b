/*
 * The engine on a GPU: against the golden files, the host device and itself in every mode; its fallbacks and its
 * settings. Exits with 77 where there is no GPU.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/infer/session.h"
#include "tests/support/apart.h"
#include "tests/support/edited_model.h"
#include "tests/support/forced.h"
#include "tests/support/fusions.h"
#include "tests/support/kv_fault_case.h"
#include "tests/support/no_gpu.h"
#include "tests/support/ok.h"
#include "tests/support/sampled_run.h"
#include "tests/support/separate_experts.h"
#include "tests/support/temp_file.h"

static const double TOLERANCE = 1e-4; /* relative L2, float32 cache and prefill */

static struct session *open_cached(const struct golden *g, int gpu_layers, enum tensor_type cache)
{
	struct session_options o;
	session_options_default(&o);
	o.load.n_gpu_layers = gpu_layers;
	o.load.n_threads = 4;
	o.context = g->n_tokens;
	o.load.batch = g->n_tokens;
	o.load.k_type = o.load.v_type = cache;
	o.load.prefill = PREFILL_F32;
	struct session *s;
	struct error err;
	if (session_open(&s, g->path, &o, &err))
		fail_msg("%s", err.text);
	return s;
}

static struct session *open_session(const struct golden *g, int gpu_layers)
{
	return open_cached(g, gpu_layers, TENSOR_F32);
}

/* Where it starts to go wrong: the first row off, and its first logits. */
static void first_wrong_row(const struct golden *g, const float *got, const float *host)
{
	size_t vocab = (size_t)g->n_vocab;
	for (int i = 0; i < g->n_tokens; i++) {
		const float *a = got + (size_t)i * vocab, *b = host + (size_t)i * vocab;
		double row = relative_l2(a, b, vocab);
		if (row <= TOLERANCE)
			continue;
		print_message("    row %d: %.3g of host; logits", i, row);
		for (int k = 0; k < 4; k++)
			print_message(" %.6g/%.6g", (double)a[k], (double)b[k]);
		print_message("\n");
		return;
	}
}

/* A model at every prefill split, fusion and mode: against golden and host, and the modes bit for bit. */
static void check_golden(const struct golden *golden, const char *name)
{
	struct golden g = *golden;
	size_t vocab = (size_t)g.n_vocab, n = (size_t)g.n_tokens * vocab;
	float *host = malloc(n * sizeof *host), *direct = malloc(n * sizeof *direct), *got = malloc(n * sizeof *got);
	struct session *on_host = open_session(&g, 0), *s = open_session(&g, -1);
	const int splits[] = {0, 1, 7, g.n_prompt, g.n_tokens};
	int wrong = 0;
	assert_string_equal(session_device_name(s), "cuda");
	teacher_force(on_host, &g, 7, g.n_tokens, host);
	for (int fusion = FUSION_NONE; fusion < FUSION_COUNT; fusion++) {
		double worst = 0, from_host = 0;
		if (!fusion_set(s, (enum fusion)fusion)) {
			print_message("golden %-26s has no fusion %s here\n", name, fusion_name((enum fusion)fusion));
			continue;
		}
		for (size_t k = 0; k < sizeof splits / sizeof *splits; k++) {
			for (int mode = 0; mode < GRAPH_MODE_COUNT; mode++) {
				session_set_mode(s, (enum graph_mode)mode);
				teacher_force(s, &g, splits[k], g.n_tokens, mode ? got : direct);
				if (!mode || !memcmp(got, direct, n * sizeof *got))
					continue;
				size_t at = 0;
				while (!memcmp(got + at, direct + at, sizeof *got))
					at++;
				wrong++;
				print_message(
					"%s, %s, fusion %s, prefill %d: not the bits of direct from token %zu on, "
					"logit %zu: %.9g, not %.9g\n",
					name, graph_mode_name((enum graph_mode)mode), fusion_name((enum fusion)fusion),
					splits[k], at / vocab, at % vocab, (double)got[at], (double)direct[at]);
			}
			double a = worst_row(direct, g.logits, g.n_tokens, vocab),
			       b = worst_row(direct, host, g.n_tokens, vocab);
			if (!(a <= TOLERANCE) || !(b <= TOLERANCE)) {
				wrong++;
				print_message("%s, fusion %s, prefill %d: worst row %.3g of golden, %.3g of host\n",
					      name, fusion_name((enum fusion)fusion), splits[k], a, b);
				first_wrong_row(&g, direct, host);
			}
			worst = a > worst || a != a ? a : worst;
			from_host = b > from_host || b != b ? b : from_host;
		}
		print_message("golden %-26s fusion %-10s worst row: %.2g of golden, %.2g of host\n", name,
			      fusion_name((enum fusion)fusion), worst, from_host);
	}
	/* Direct launches would have the bits, too. */
	if (session_stats(s).graph.fallbacks) {
		wrong++;
		print_message("%s: %d tokens fell back: %s\n", name, (int)session_stats(s).graph.fallbacks,
			      session_fallback_reason(s));
	}
	session_close(s);
	session_close(on_host);
	free(host);
	free(direct);
	free(got);
	assert_int_equal(wrong, 0);
}

static void test_golden(void **state)
{
	const char *name = golden_names[*(int *)*state];
	struct golden g;
	golden_load(&g, name);
	check_golden(&g, name);
	golden_free(&g);
}

/*
 * Caches in Q8_0: the modes bit for bit, and the host's logits but for what is rounded the other way. An element within
 * a float32's error of the border of two steps is one in ten thousand; but each that falls the other way moves the
 * layers above it, and theirs then fall by more, up to what rounding itself does: two computations are at most as far
 * apart as either is from an f32 cache. Kernels are held closer, on the same keys: test_kernels_cuda_*.
 */
static void test_q8_0_cache(void **state)
{
	const char *name = golden_names[*(int *)*state];
	struct golden g;
	golden_load(&g, name);
	size_t vocab = (size_t)g.n_vocab, n = (size_t)g.n_tokens * vocab;
	float *host = malloc(n * sizeof *host), *direct = malloc(n * sizeof *direct), *got = malloc(n * sizeof *got);
	struct session *on_host = open_cached(&g, 0, TENSOR_Q8_0), *s = open_cached(&g, -1, TENSOR_Q8_0);
	struct session *unrounded = open_cached(&g, 0, TENSOR_F32);
	teacher_force(unrounded, &g, 7, g.n_tokens, got);
	session_close(unrounded);
	teacher_force(on_host, &g, 7, g.n_tokens, host);
	double rounding = relative_l2(host, got, n);
	for (int fusion = FUSION_NONE; fusion < FUSION_COUNT; fusion++) {
		if (!fusion_set(s, (enum fusion)fusion))
			continue;
		for (int mode = 0; mode < GRAPH_MODE_COUNT; mode++) {
			session_set_mode(s, (enum graph_mode)mode);
			teacher_force(s, &g, 7, g.n_tokens, mode ? got : direct);
			if (mode)
				assert_memory_equal(got, direct, n * sizeof *got);
		}
		double off = relative_l2(direct, host, n);
		print_message("golden %-26s q8_0 cache, fusion %-10s: %.2g of host, whose rounding is %.2g\n", name,
			      fusion_name((enum fusion)fusion), off, rounding);
		assert_true(off <= rounding);
	}
	assert_int_equal(session_stats(s).graph.fallbacks, 0);
	session_close(s);
	session_close(on_host);
	free(host);
	free(direct);
	free(got);
	golden_free(&g);
}

static void test_sampled(void **state)
{
	const char *name = golden_names[*(int *)*state];
	sampled_run_check(name, -1);
	sampled_run_check(name, 3);
}

/* A golden model with n edits: a GPU against the host, which test_golden holds to the references of such models. */
static void check_edited(const char *golden, const char *what, const struct edit *edits, size_t n)
{
	struct temp_file t = temp_file_make();
	struct golden g;
	golden_load(&g, golden);
	edited_model(g.path, t.path, edits, n);
	snprintf(g.path, sizeof g.path, "%s", t.path);
	struct session *s = open_session(&g, 0);
	teacher_force(s, &g, 7, g.n_tokens, g.logits);
	session_close(s);
	check_golden(&g, what);
	golden_free(&g);
	temp_file_remove(&t);
}

static void test_rope_scaling(void **state)
{
	(void)state;
	const struct edit yarn[] = {
		{.kind = EDIT_STRING, .name = "qwen3.rope.scaling.type", .text = "yarn"},
		{.kind = EDIT_F32, .name = "qwen3.rope.scaling.factor", .value = 4},
		{.kind = EDIT_U32, .name = "qwen3.rope.scaling.original_context_length", .value = 16},
	};
	const struct edit linear[] = {
		{.kind = EDIT_STRING, .name = "gemma4.rope.scaling.type", .text = "linear"},
		{.kind = EDIT_F32, .name = "gemma4.rope.scaling.factor", .value = 8},
	};
	check_edited("qwen3-tiny.q8_0", "qwen3-tiny with yarn", yarn, 3);
	check_edited("gemma4-e4b-tiny.q8_0", "gemma4-e4b-tiny linear", linear, 2);
}

static void test_no_expert_scale(void **state)
{
	(void)state;
	enum { LAYERS = 6 };
	char names[LAYERS][48];
	struct edit drop[LAYERS];
	for (int i = 0; i < LAYERS; i++) {
		snprintf(names[i], sizeof names[i], "blk.%d.ffn_down_exps.scale", i);
		drop[i] = (struct edit){.kind = EDIT_DROP, .name = names[i]};
	}
	check_edited("gemma4-26b-a4b-tiny.q8_0", "26b-a4b without scales", drop, LAYERS);
}

/* Gate and up of the experts in two tensors, which loading joins. */
static void test_separate_experts(void **state)
{
	(void)state;
	struct temp_file t = temp_file_make();
	struct golden g;
	golden_load(&g, "gemma4-26b-a4b-tiny.q8_0");
	separate_experts(g.path, t.path);
	snprintf(g.path, sizeof g.path, "%s", t.path);
	check_golden(&g, "separate experts");
	golden_free(&g);
	temp_file_remove(&t);
}

/* A fault at any step of any mode: one counted fallback, and the token is the direct one. */
static void test_faults_fall_back(void **state)
{
	(void)state;
	static const struct {
		enum device_fault step;
		enum graph_mode mode;
		int token;
	} faults[] = {
		{DEVICE_FAULT_CAPTURE_BEGIN, GRAPH_MODE_PARAMS, 0}, {DEVICE_FAULT_CAPTURE_END, GRAPH_MODE_DEVICE, 0},
		{DEVICE_FAULT_INSTANTIATE, GRAPH_MODE_DEVICE, 0},   {DEVICE_FAULT_UPLOAD, GRAPH_MODE_PARAMS, 0},
		{DEVICE_FAULT_REPLAY, GRAPH_MODE_DEVICE, 0},        {DEVICE_FAULT_REPLAY, GRAPH_MODE_UPDATE, 3},
		{DEVICE_FAULT_SET_PARAMS, GRAPH_MODE_PARAMS, 3},    {DEVICE_FAULT_CAPTURE_BEGIN, GRAPH_MODE_UPDATE, 3},
		{DEVICE_FAULT_CAPTURE_END, GRAPH_MODE_UPDATE, 3},   {DEVICE_FAULT_UPDATE, GRAPH_MODE_UPDATE, 3},
		{DEVICE_FAULT_CAPTURE_END, GRAPH_MODE_PATCH, 0},    {DEVICE_FAULT_UPLOAD, GRAPH_MODE_PATCH, 0},
		{DEVICE_FAULT_CAPTURE_END, GRAPH_MODE_LOOP, 0},     {DEVICE_FAULT_REPLAY, GRAPH_MODE_LOOP, 3},
		{DEVICE_FAULT_CAPTURE_END, GRAPH_MODE_WHILE, 0},    {DEVICE_FAULT_INSTANTIATE, GRAPH_MODE_WHILE, 0},
	};
	enum { TOKENS = 6 };
	struct golden g;
	golden_load(&g, "gemma4-e4b-tiny.q8_0");
	size_t vocab = (size_t)g.n_vocab;
	float *want = malloc(TOKENS * vocab * sizeof *want);
	for (int f = -1; f < (int)(sizeof faults / sizeof *faults); f++) {
		struct session *s = open_session(&g, -1);
		session_set_mode(s, f < 0 ? GRAPH_MODE_DIRECT : faults[f].mode);
		OK(session_prefill(s, g.tokens, 20, NULL, e));
		for (int i = 0; i < TOKENS; i++) {
			struct token_timing t;
			const float *row;
			if (f >= 0 && i == faults[f].token)
				device_fail(session_device(s), faults[f].step,
					    faults[f].step == DEVICE_FAULT_SET_PARAMS ? 3 : 0, 1);
			OK(session_decode(s, g.tokens[20 + i], &t, e));
			OK(session_logits(s, &row, e));
			if (f < 0)
				memcpy(want + (size_t)i * vocab, row, vocab * sizeof *row);
			else if (memcmp(want + (size_t)i * vocab, row, vocab * sizeof *row))
				fail_msg("fault %d: token %d is not the direct one", f, i);
			assert_int_equal(t.event == GRAPH_EVENT_FALLBACK, f >= 0 && i == faults[f].token);
		}
		assert_int_equal(session_stats(s).graph.fallbacks, f >= 0);
		session_close(s);
	}
	free(want);
	golden_free(&g);
}

static void test_overflow_is_named(void **state)
{
	(void)state;
	kv_fault_cases(-1);
	kv_fault_cases(1); /* and three on the host */
	kv_fault_cases(3);
}

/* The table in host memory and the one on the device hold the same bits; and PDL changes none. */
static void test_settings_change_no_bit(void **state)
{
	(void)state;
	struct golden g;
	golden_load(&g, "gemma4-e2b-tiny.q8_0");
	size_t n = (size_t)g.n_tokens * (size_t)g.n_vocab;
	float *logits[4];
	for (int i = 0; i < 4; i++) {
		struct session_options o;
		struct session *s;
		session_options_default(&o);
		o.context = o.load.batch = g.n_tokens;
		o.load.ple_on_host = i & 1;
		o.load.pdl = i & 2;
		o.mode = GRAPH_MODE_DEVICE;
		logits[i] = malloc(n * sizeof *logits[i]);
		OK(session_open(&s, g.path, &o, e));
		assert_int_equal(session_stats(s).mapped_bytes > 0, i & 1);
		teacher_force(s, &g, 12, g.n_tokens, logits[i]);
		if (i)
			assert_memory_equal(logits[i], logits[0], n * sizeof *logits[i]);
		session_close(s);
	}
	for (int i = 0; i < 4; i++)
		free(logits[i]);
	golden_free(&g);
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* Relative L2 without the `without` worst rows. */
static double settled_l2(const float *a, const struct golden *g, int without)
{
	size_t vocab = (size_t)g->n_vocab;
	double rows[GOLDEN_TOKENS_MAX], off = 0, all = 0;
	for (int t = 0; t < g->n_tokens; t++)
		rows[t] = relative_l2(a + (size_t)t * vocab, g->logits + (size_t)t * vocab, vocab);
	double sorted[GOLDEN_TOKENS_MAX];
	memcpy(sorted, rows, sizeof rows);
	qsort(sorted, (size_t)g->n_tokens, sizeof *sorted, ascending);
	for (int t = 0; t < g->n_tokens; t++) {
		double squares = 0;
		for (size_t i = 0; i < vocab; i++)
			squares += pow((double)g->logits[(size_t)t * vocab + i], 2);
		if (rows[t] > sorted[g->n_tokens - 1 - without])
			continue;
		off += squares * rows[t] * rows[t];
		all += squares;
	}
	return sqrt(off / all);
}

/*
 * Prompts in float16, with weights of either kind, with some of each, and in chunks of several lengths, within what
 * test_prompt_f16.c allows and derives, and finds of rows whose router has a tie; and the same bits every time.
 */
static void test_prompt_f16(void **state)
{
	struct golden g;
	golden_load(&g, golden_names[*(int *)*state]);
	size_t n = (size_t)g.n_tokens * (size_t)g.n_vocab;
	float *logits = malloc(n * sizeof *logits), *again = malloc(n * sizeof *again);
	const int weights[] = {PREFILL_WEIGHTS_CONVERT, PREFILL_WEIGHTS_RESIDENT, 3};
	for (size_t w = 0; w < sizeof weights / sizeof *weights; w++)
		for (int batch = 20; batch <= g.n_tokens; batch += g.n_tokens - 20) {
			struct session_options o;
			struct session *s;
			session_options_default(&o);
			o.context = g.n_tokens;
			o.load.batch = batch;
			o.load.k_type = o.load.v_type = TENSOR_F32;
			o.load.prefill_weights = weights[w];
			OK(session_open(&s, g.path, &o, e));
			teacher_force(s, &g, g.n_tokens, g.n_tokens, logits);
			teacher_force(s, &g, g.n_tokens, g.n_tokens, again);
			assert_memory_equal(again, logits, n * sizeof *logits);
			int ties = strstr(g.path, "a4b") ? 3 : 0;
			double off = settled_l2(logits, &g, ties);
			print_message("golden %-26s f16 prompt, weights %s, chunks of %d: %.2g\n",
				      golden_names[*(int *)*state], prefill_weights_name(weights[w]).text, batch, off);
			assert_true(off <= 2e-2);
			session_close(s);
		}
	free(again);
	free(logits);
	golden_free(&g);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		GOLDEN_TEST(test_golden, 0),
		GOLDEN_TEST(test_golden, 1),
		GOLDEN_TEST(test_golden, 2),
		GOLDEN_TEST(test_golden, 3),
		GOLDEN_TEST(test_golden, 4),
		GOLDEN_TEST(test_golden, 5),
		GOLDEN_TEST(test_golden, 6),
		GOLDEN_TEST(test_golden, 7),
		GOLDEN_TEST(test_golden, 8),
		GOLDEN_TEST(test_q8_0_cache, 3),
		GOLDEN_TEST(test_q8_0_cache, 4),
		GOLDEN_TEST(test_q8_0_cache, 7),
		GOLDEN_TEST(test_q8_0_cache, 8),
		GOLDEN_TEST(test_sampled, 0),
		GOLDEN_TEST(test_sampled, 4),
		GOLDEN_TEST(test_sampled, 7),
		GOLDEN_TEST(test_sampled, 8),
		GOLDEN_TEST(test_prompt_f16, 0),
		GOLDEN_TEST(test_prompt_f16, 1),
		GOLDEN_TEST(test_prompt_f16, 3),
		GOLDEN_TEST(test_prompt_f16, 4),
		GOLDEN_TEST(test_prompt_f16, 5),
		GOLDEN_TEST(test_prompt_f16, 6),
		GOLDEN_TEST(test_prompt_f16, 7),
		GOLDEN_TEST(test_prompt_f16, 8),
		cmocka_unit_test(test_rope_scaling),
		cmocka_unit_test(test_no_expert_scale),
		cmocka_unit_test(test_separate_experts),
		cmocka_unit_test(test_faults_fall_back),
		cmocka_unit_test(test_overflow_is_named),
		cmocka_unit_test(test_settings_change_no_bit),
	};
	const struct apart apart = {"the engine on a GPU", tests, sizeof tests / sizeof *tests, 4, no_gpu};
	return apart_main(argc, argv, &apart, NULL);
}
