/*
 * A model on a GPU and the host, for every number of layers on the GPU: against the host
 * alone, the GPU alone, and itself in every mode. Exits with 77 where there is no GPU.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/cuda/device_cuda.h"
#include "engine/infer/loaded_model.h"
#include "engine/infer/placement_plan.h"
#include "engine/infer/session.h"
#include "tests/support/apart.h"
#include "tests/support/forced.h"
#include "tests/support/no_gpu.h"
#include "tests/support/ok.h"
#include "tests/support/quantised_case.h"
#include "tests/support/temp_file.h"

static const double TOLERANCE = 1e-4; /* relative L2 of a row of logits; float32 cache and prefill */

enum {
	PROMPT = 20, /* longer than the window, in chunks of BATCH */
	BATCH = 12,  /* enough rows for cuBLASLt */
	N_DECODE = 6,
	ROWS = PROMPT + N_DECODE,
};

static struct load_options options(int gpu_layers, bool head_on_host)
{
	struct load_options o;
	load_options_default(&o);
	o.n_gpu_layers = gpu_layers;
	o.head_on_host = head_on_host;
	o.n_threads = 4;
	o.batch = BATCH;
	o.k_type = o.v_type = TENSOR_F32;
	o.prefill = PREFILL_F32;
	return o;
}

/* Every mode and fusion of one placement; returns the largest difference to the host or the GPU alone. */
static double one_split(struct loaded_model *m, const struct golden *g, const float *host, const float *gpu,
			const char *what)
{
	size_t vocab = (size_t)g->n_vocab, n = ROWS * vocab;
	float *direct = malloc(n * sizeof *direct), *got = malloc(n * sizeof *got);
	struct session *s;
	double worst = 0;
	OK(session_open_on(&s, m, g->n_tokens, e));
	for (int fusion = FUSION_NONE; fusion <= FUSION_FULL; fusion++) {
		session_set_fusion(s, (enum fusion)fusion);
		for (int mode = 0; mode < GRAPH_MODE_COUNT; mode++) {
			session_set_mode(s, (enum graph_mode)mode);
			teacher_force(s, g, PROMPT, ROWS, mode ? got : direct);
			if (mode && memcmp(got, direct, n * sizeof *got))
				fail_msg("%s, fusion %s, %s: not the bits of direct", what,
					 fusion_name((enum fusion)fusion), graph_mode_name((enum graph_mode)mode));
		}
		double a = worst_row(direct, host, ROWS, vocab), b = worst_row(direct, gpu, ROWS, vocab),
		       c = a > b ? a : b;
		if (!(a <= TOLERANCE) || !(b <= TOLERANCE))
			fail_msg("%s, fusion %s: worst row %.3g of the host's, %.3g of the GPU's", what,
				 fusion_name((enum fusion)fusion), a, b);
		worst = c > worst ? c : worst;
	}
	session_close(s);
	free(direct);
	free(got);
	return worst;
}

static void every_split(const char *name, const struct golden *g)
{
	size_t n = ROWS * (size_t)g->n_vocab;
	float *host = malloc(n * sizeof *host), *gpu = malloc(n * sizeof *gpu);
	struct load_options o = options(0, false);
	struct loaded_model *on_host, *on_gpu;
	struct session *s;
	double worst = 0;
	OK(loaded_model_open(&on_host, g->path, &o, e));
	OK(session_open_on(&s, on_host, g->n_tokens, e));
	teacher_force(s, g, PROMPT, ROWS, host);
	session_close(s);
	o = options(g->n_layer, false);
	OK(loaded_model_open(&on_gpu, g->path, &o, e));
	OK(session_open_on(&s, on_gpu, g->n_tokens, e));
	assert_string_equal(session_device_name(s), "cuda");
	teacher_force(s, g, PROMPT, ROWS, gpu);
	session_close(s);
	for (int layers = 1; layers <= g->n_layer; layers++) {
		for (int head_on_host = layers == g->n_layer; head_on_host < 2; head_on_host++) {
			struct loaded_model *m;
			char what[96];
			o = options(layers, head_on_host);
			OK(loaded_model_open_on(&m, g->path, &o, on_gpu->parts[0].device, on_host->parts[0].device, e));
			assert_string_equal(m->device_name, "cuda+host");
			snprintf(what, sizeof what, "%s, %d layers on the GPU, head on the %s", name, layers,
				 head_on_host ? "host" : "GPU");
			double split = one_split(m, g, host, gpu, what);
			worst = split > worst ? split : worst;
			loaded_model_close(m);
		}
	}
	print_message("hybrid %-26s worst row of all placements: %.2g\n", name, worst);
	loaded_model_close(on_gpu);
	loaded_model_close(on_host);
	free(host);
	free(gpu);
}

static void test_golden(void **state)
{
	const char *name = golden_names[*(int *)*state];
	struct golden g;
	golden_load(&g, name);
	every_split(name, &g);
	golden_free(&g);
}

/* Each device repacks the matrices of its layers its own way, in Q4_K, Q5_0, Q6_K and Q8_0. */
static void test_few_bits(void **state)
{
	(void)state;
	static const struct quantised_case few_bits = {"gemma4-e4b-tiny", TENSOR_Q4_K, SYNTH_MIX_Q4_K_M};
	struct temp_file t = temp_file_make();
	struct golden g;
	quantised_make(&few_bits, t.path);
	golden_load(&g, "gemma4-e4b-tiny.q8_0"); /* of the same shape */
	snprintf(g.path, sizeof g.path, "%s", t.path);
	every_split(quantised_name(&few_bits).text, &g);
	golden_free(&g);
	temp_file_remove(&t);
}

/* Opened as the program does it: kernels are compiled for the GPU's layers alone. */
static void test_opened_by_options(void **state)
{
	(void)state;
	struct golden g;
	golden_load(&g, "gemma4-e4b-tiny.q8_0");
	size_t n = ROWS * (size_t)g.n_vocab;
	float *want = malloc(n * sizeof *want), *got = malloc(n * sizeof *got);
	for (int layers = 0; layers <= 3; layers += 3) { /* 0 .. 2 are sliding layers: one head dimension */
		struct session_options o;
		session_options_default(&o);
		o.load = options(layers, false);
		struct session *s;
		o.context = g.n_tokens;
		OK(session_open(&s, g.path, &o, e));
		assert_int_equal(session_gpu_layers(s), layers);
		assert_int_equal(session_threads(s), 4);
		teacher_force(s, &g, PROMPT, ROWS, layers ? got : want);
		session_close(s);
	}
	double worst = worst_row(got, want, ROWS, (size_t)g.n_vocab);
	if (!(worst <= TOLERANCE))
		fail_msg("3 layers on the GPU: worst row %.3g of the host's", worst);
	free(want);
	free(got);
	golden_free(&g);
}

/* A replay reads what the host has written by then, and the host what a replay wrote. */
static void test_graphs_copy_across(void **state)
{
	(void)state;
	enum { N = 5000 };
	const struct cuda_open_options o = {
		.dims = {.n_head_dims = 1, .head_dims = {64}, .k_type = TENSOR_F32, .v_type = TENSOR_F32},
		.pdl = true,
		.batch = 1,
		.n_in_max = 64,
	};
	struct device *d;
	void *x, *y, *in, *out, *to_in, *from_out;
	struct device_graph *graph;
	struct device_exec *exec;
	OK(device_cuda_open(&d, &o, e));
	OK(device_alloc(d, N * sizeof(float), &x, e));
	OK(device_alloc(d, N * sizeof(float), &y, e));
	OK(device_alloc_mapped(d, N * sizeof(float), &in, &to_in, e));
	OK(device_alloc_mapped(d, N * sizeof(float), &out, &from_out, e));
	const struct add_params p = {.a = x, .b = x, .y = y, .n = N, .scale = 1.5f};
	OK(device_capture_begin(d, DEVICE_GRAPH_PLAIN, e));
	OK(device_copy(d, x, in, N * sizeof(float), e));
	OK(device_launch(d, KERNEL_add, &p, e));
	OK(device_copy(d, out, y, N * sizeof(float), e));
	OK(device_capture_end(d, &graph, e));
	OK(device_instantiate(d, graph, &exec, e));
	OK(device_exec_upload(d, exec, e));
	const float *got = from_out;
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < N; i++)
			((float *)to_in)[i] = (float)(i + round);
		OK(device_replay(d, exec, e));
		OK(device_synchronize(d, e));
		for (int i = 0; i < N; i++)
			assert_true(got[i] == 3 * (float)(i + round));
	}
	device_exec_destroy(d, exec);
	device_graph_destroy(d, graph);
	device_free(d, x);
	device_free(d, y);
	device_free(d, in);
	device_free(d, out);
	device_close(d);
}

/* The GPU holds exactly the bytes that were planned. */
static void test_planned_bytes(void **state)
{
	(void)state;
	for (int i = 0; i < GOLDEN_MODELS; i++) {
		struct golden g;
		golden_load(&g, golden_names[i]);
		for (int layers = 1; layers <= g.n_layer; layers += layers == 1 ? g.n_layer / 2 : 1) {
			struct session_options o;
			session_options_default(&o);
			o.load = options(layers, layers % 2);
			struct placement_plan p;
			struct session *s;
			o.context = 100;
			o.load.prefill = layers % 2 ? PREFILL_F32 : PREFILL_F16;
			o.load.prefill_weights = layers % 2   ? PREFILL_WEIGHTS_CONVERT
						 : layers % 4 ? layers / 2
							      : PREFILL_WEIGHTS_RESIDENT;
			o.load.ple_on_host = layers % 3 == 0;
			OK(session_open(&s, g.path, &o, e));
			OK(placement_plan(&p, session_model(s), &o.load, layers, o.context, e));
			OK(session_prefill(s, g.tokens, PROMPT, NULL, e));
			OK(session_checkpoint(s, e));
			OK(session_decode(s, g.tokens[PROMPT], NULL, e));
			assert_int_equal(session_stats(s).memory.used, p.sum.gpu.bytes);
			session_close(s);
		}
		golden_free(&g);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_graphs_copy_across),
		cmocka_unit_test(test_opened_by_options),
		cmocka_unit_test(test_planned_bytes),
		cmocka_unit_test(test_few_bits),
		GOLDEN_TEST(test_golden, 0),
		GOLDEN_TEST(test_golden, 1),
		GOLDEN_TEST(test_golden, 2),
		GOLDEN_TEST(test_golden, 3),
		GOLDEN_TEST(test_golden, 4),
		GOLDEN_TEST(test_golden, 5),
		GOLDEN_TEST(test_golden, 6),
		GOLDEN_TEST(test_golden, 7),
		GOLDEN_TEST(test_golden, 8),
	};
	const struct apart apart = {"a GPU and the host", tests, sizeof tests / sizeof *tests, 4, no_gpu};
	return apart_main(argc, argv, &apart, NULL);
}
