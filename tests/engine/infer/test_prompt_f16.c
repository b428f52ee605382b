/*
 * Prompts in float16 (forward_prompt.c) against the golden files: a host device that stands for a GPU runs the
 * kernels' host forms, so that everything but the GPU's own arithmetic is seen here. The GPU's turn is in
 * test_golden_cuda.c.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/device/device_ops.h"
#include "engine/infer/forward_pass.h"
#include "engine/infer/loaded_model.h"
#include "engine/infer/pipeline.h"
#include "engine/infer/session.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/half.h"
#include "tests/support/forced.h"
#include "tests/support/guarded.h"
#include "tests/support/ok.h"
#include "tests/support/sanitized.h"

/*
 * Relative L2, and nats. Operands of 11 bits are off by 2^-12 each, and a row goes through some ten products a layer,
 * of random weights here: seen were 7e-3 over a file and 2.1e-2 in a row; operands of bfloat16 have 5e-2 and 1.4e-1.
 */
static const double MEDIAN = 1e-2, ALL = 2e-2, ROW = 4e-2, DIVERGENCE = 1e-3;

/*
 * A router whose last expert taken and first one left are this close may take the other one, and the row is another
 * altogether. Logits of routers are off by up to 1e-3 here.
 */
static const float TIE = 1e-3f;

struct rig {
	struct device *far, *near;
	struct loaded_model *loaded;
	struct session *session;
	struct device_ops ops;
	const struct device_ops *plain;
	int products[KERNEL_COUNT];    /* launches of each kernel */
	float gaps[GOLDEN_TOKENS_MAX]; /* of a row's routers the smallest, in a chunk of all rows */
};

static struct rig *counted;

static int descending(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;
	return (x < y) - (x > y);
}

static int note_gaps(struct device *d, const struct moe_route_params *p, struct error *err)
{
	size_t n = (size_t)p->n_expert;
	float *logits = malloc((size_t)p->n_tokens * n * sizeof *logits);
	int rc = device_download(d, logits, p->logits, (size_t)p->n_tokens * n * sizeof *logits, err);
	for (int t = 0; t < p->n_tokens && !rc; t++) {
		float *row = logits + (size_t)t * n;
		qsort(row, n, sizeof *row, descending);
		counted->gaps[t] = fminf(counted->gaps[t], row[p->n_used - 1] - row[p->n_used]);
	}
	free(logits);
	return rc;
}

static int count_launch(struct device *d, enum kernel k, const void *params, struct error *err)
{
	counted->products[k]++;
	int rc = counted->plain->launch(d, k, params, err);
	return rc || k != KERNEL_moe_route ? rc : note_gaps(d, params, err);
}

static void rig_open_as(struct rig *r, const struct golden *g, int n_layers, int batch,
			enum prefill_precision precision, int weights)
{
	struct load_options o;
	load_options_default(&o);
	o.n_gpu_layers = n_layers;
	o.n_threads = 1;
	o.batch = batch;
	o.k_type = o.v_type = TENSOR_F32;
	o.prefill = precision;
	o.prefill_weights = weights;
	*r = (struct rig){0};
	for (int t = 0; t < GOLDEN_TOKENS_MAX; t++)
		r->gaps[t] = INFINITY;
	OK(guarded_open(&r->far, true, 1, e));
	OK(guarded_open(&r->near, false, 1, e));
	r->plain = r->far->ops;
	r->ops = *r->plain;
	r->ops.launch = count_launch;
	r->far->ops = &r->ops;
	counted = r;
	OK(loaded_model_open_on(&r->loaded, g->path, &o, r->far, r->near, e));
	OK(session_open_on(&r->session, r->loaded, g->n_tokens, e));
}

static void rig_open(struct rig *r, const struct golden *g, int n_layers, int batch, int weights)
{
	rig_open_as(r, g, n_layers, batch, PREFILL_F16, weights);
}

static void rig_close(struct rig *r)
{
	session_close(r->session);
	loaded_model_close(r->loaded);
	r->far->ops = r->plain;
	device_close(r->far);
	device_close(r->near);
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double median_row(const float *a, const float *b, int n_rows, size_t n)
{
	double rows[GOLDEN_TOKENS_MAX];
	for (int i = 0; i < n_rows; i++)
		rows[i] = relative_l2(a + (size_t)i * n, b + (size_t)i * n, n);
	qsort(rows, (size_t)n_rows, sizeof *rows, ascending);
	return rows[n_rows / 2];
}

static double log_sum(const float *row, size_t n)
{
	double sum = 0, top = (double)row[argmax(row, (int)n)];
	for (size_t i = 0; i < n; i++)
		sum += exp((double)row[i] - top);
	return top + log(sum);
}

/* Kullback-Leibler, of the reference from what was computed. */
static double divergence(const float *a, const float *reference, size_t n)
{
	double sum = 0, log_a = log_sum(a, n), log_reference = log_sum(reference, n);
	for (size_t i = 0; i < n; i++) {
		double log_p = (double)reference[i] - log_reference;
		sum += exp(log_p) * (log_p - ((double)a[i] - log_a));
	}
	return sum;
}

/* The golden rows without those whose router has a tie, and how many are left. */
static int settled(const struct golden *g, const float *gaps, const float *rows, float *to)
{
	int n = 0;
	for (int t = 0; t < g->n_tokens; t++)
		if (gaps[t] >= TIE)
			memcpy(to + (size_t)n++ * (size_t)g->n_vocab, rows + (size_t)t * (size_t)g->n_vocab,
			       (size_t)g->n_vocab * sizeof *to);
	return n;
}

/* gaps: of the reference's routers */
static void check(const struct golden *g, const float *gaps, const float *logits, int n_layers, int batch)
{
	size_t vocab = (size_t)g->n_vocab, all_rows = (size_t)g->n_tokens * vocab;
	float *got = malloc(all_rows * sizeof *got), *want = malloc(all_rows * sizeof *want);
	int n = settled(g, gaps, logits, got), same = 0;
	settled(g, gaps, g->logits, want);
	assert_true(n >= g->n_tokens * 9 / 10);
	double all = relative_l2(got, want, (size_t)n * vocab), nats = 0;
	double median = median_row(got, want, n, vocab), worst = worst_row(got, want, n, vocab);
	for (int t = 0; t < n; t++) {
		const float *a = got + (size_t)t * vocab, *b = want + (size_t)t * vocab;
		nats += divergence(a, b, vocab) / n;
		same += argmax(a, g->n_vocab) == argmax(b, g->n_vocab);
	}
	print_message("%s, %d layers, chunks of %d: %.2g, median row %.2g, worst %.2g, %.2g nats, %d of %d best; with "
		      "%d ties %.2g\n",
		      strrchr(g->path, '/') + 1, n_layers, batch, all, median, worst, nats, same, n, g->n_tokens - n,
		      relative_l2(logits, g->logits, all_rows));
	if (!(median <= MEDIAN) || !(all <= ALL) || !(worst <= ROW) || !(nats <= DIVERGENCE) || same < n - n / 50)
		fail_msg("%s, %d layers, chunks of %d: relative L2 %.3g, median row %.3g, worst %.3g, %.3g nats, %d of "
			 "%d best",
			 g->path, n_layers, batch, all, median, worst, nats, same, n);
	free(want);
	free(got);
}

/* Chunks that end anywhere, all layers or some, with weights of either kind or some of each: these change no bit. */
static void test_golden(void **state)
{
	struct golden g;
	golden_load(&g, golden_names[*(int *)*state]);
	size_t n = (size_t)g.n_tokens * (size_t)g.n_vocab;
	float *logits = malloc(n * sizeof *logits), *resident = malloc(n * sizeof *resident);
	const int batches[] = {g.n_tokens, 20, 9};
	struct rig exact;
	rig_open_as(&exact, &g, g.n_layer, g.n_tokens, PREFILL_F32, PREFILL_WEIGHTS_CONVERT);
	teacher_force(exact.session, &g, g.n_tokens, g.n_tokens, logits);
	assert_true(relative_l2(logits, g.logits, n) <= 1e-4);
	rig_close(&exact);
	for (int k = 0; k < 3; k += SANITIZED ? 2 : 1)
		for (int half = 0; half < 2; half++) {
			struct rig r;
			int n_layers = half ? g.n_layer / 2 : g.n_layer;
			rig_open(&r, &g, n_layers, batches[k], PREFILL_WEIGHTS_CONVERT);
			teacher_force(r.session, &g, g.n_tokens, g.n_tokens, logits);
			check(&g, exact.gaps, logits, n_layers, batches[k]);
			assert_true(r.products[KERNEL_prompt_matmul] > 0);
			assert_int_equal(r.products[KERNEL_prompt_experts_gated] > 0,
					 r.loaded->parts[0].weights.layers[0].gate_up_exps.data && r.session &&
						 r.loaded->model.n_embd % 64 == 0 &&
						 r.loaded->model.n_ff_expert % 64 == 0);
			assert_int_equal(r.loaded->parts[0].weights.prompt_bytes, 0);
			rig_close(&r);
			int converted = r.products[KERNEL_prompt_matmul];
			const int weights[] = {n_layers / 4 + 1, PREFILL_WEIGHTS_RESIDENT};
			size_t before = 0;
			for (int w = 0; w < 2; w++) {
				rig_open(&r, &g, n_layers, batches[k], weights[w]);
				teacher_force(r.session, &g, g.n_tokens, g.n_tokens, resident);
				/* More of them are joined, in more memory. */
				assert_true(r.products[KERNEL_prompt_matmul] < converted);
				assert_true(r.loaded->parts[0].weights.prompt_bytes > before);
				converted = r.products[KERNEL_prompt_matmul];
				before = r.loaded->parts[0].weights.prompt_bytes;
				if (memcmp(resident, logits, n * sizeof *logits))
					fail_msg("%s, %d layers, chunks of %d: weights %s change bits: %.3g", g.path,
						 n_layers, batches[k], prefill_weights_name(weights[w]).text,
						 relative_l2(resident, logits, n));
				rig_close(&r);
			}
		}
	free(resident);
	free(logits);
	golden_free(&g);
}

/*
 * A prompt whose last row alone is asked for: that row goes through the layers that own no cache as a decoded token
 * does, and is what it is among all rows but for rounding. What is decoded behind it sees the same cache.
 */
static void test_last_row(void **state)
{
	struct golden g;
	golden_load(&g, golden_names[*(int *)*state]);
	size_t vocab = (size_t)g.n_vocab;
	float *all = malloc((size_t)g.n_tokens * vocab * sizeof *all);
	const float *last;
	struct rig r;
	rig_open(&r, &g, g.n_layer, g.n_tokens, PREFILL_WEIGHTS_RESIDENT);
	OK(session_prefill(r.session, g.tokens, g.n_prompt, all, e));
	OK(session_rewind(r.session, 0, e));
	memset(r.products, 0, sizeof r.products);
	OK(session_prefill(r.session, g.tokens, g.n_prompt, NULL, e));
	int reader = model_first_reader(&r.loaded->model), readers = g.n_layer - reader;
	assert_int_equal(r.products[KERNEL_prompt_qkv], reader);
	assert_int_equal(r.products[KERNEL_attention], readers);
	assert_int_equal(r.products[KERNEL_attention_prefill], reader);
	/* One norm in front of the first layer, and none else apart: the others are in what ends a sublayer. */
	if (!r.loaded->model.n_expert)
		assert_int_equal(r.products[KERNEL_prompt_norm], 1);
	OK(session_logits(r.session, &last, e));
	double off = relative_l2(last, all + (size_t)(g.n_prompt - 1) * vocab, vocab);
	print_message("%s: last row alone %.2g\n", golden_names[*(int *)*state], off);
	assert_true(off <= MEDIAN / 4);
	rig_close(&r);
	free(all);
	golden_free(&g);
}

/* Rows that float16 could not hold keep its 11 bits. */
static void test_scales(void **state)
{
	(void)state;
	enum { N = 24 };
	static const float most[] = {1e7f, 65536, 7.9999995f, 4, 1, 3e-9f, 0};
	for (size_t i = 0; i < sizeof most / sizeof *most; i++) {
		float x[N], scale = NAN;
		uint16_t y[N];
		for (int k = 0; k < N; k++)
			x[k] = (k % 2 ? -most[i] : most[i]) / (float)(k + 1);
		k_to_f16(
			&(struct to_f16_params){.x = x, .y = y, .y_scale = &scale, .n_rows = 1, .n = N, .x_stride = N});
		for (int k = 0; k < N; k++) {
			double back = (double)half_f16_to_f32(y[k]) * (double)scale;
			assert_true(fabs(back - (double)x[k]) <= 0x1p-11 * fabs((double)x[k]));
			assert_true(fabsf(half_f16_to_f32(y[k])) <= 8);
		}
		assert_true(most[i] == 0 || fabsf(half_f16_to_f32(y[0])) >= 4);
	}
}

/* A product of two sums that float16 cannot hold is its largest number, of either sign. */
static void test_products_stay_finite(void **state)
{
	(void)state;
	enum { N = 4 };
	const float gate[N] = {300, 300, 200, 300}, up[N] = {300, -300, 300, 200}, scale = 1;
	const uint16_t want[N] = {0x7bff, 0xfbff, half_f32_to_f16(60000), half_f32_to_f16(60000)};
	uint16_t g[N], u[N], y[N];
	float y_scale = NAN;
	for (int i = 0; i < N; i++) {
		g[i] = half_f32_to_f16(gate[i]);
		u[i] = half_f32_to_f16(up[i]);
	}
	k_prompt_gated(&(struct prompt_gated_params){.gate = g,
						     .up = u,
						     .x_scale = &scale,
						     .y = y,
						     .y_scale = &y_scale,
						     .n_rows = 1,
						     .n = N,
						     .gate_stride = N,
						     .up_stride = N,
						     .up_type = TENSOR_F16,
						     .act = ACTIVATION_GELU_TANH});
	assert_memory_equal(y, want, sizeof want);
}

/* Experts' kernels take rows in stages of 64, whole ones. */
static void test_experts_that_fit(void **state)
{
	(void)state;
	static const struct {
		int n_embd, n_ff_expert;
		bool fit;
	} shapes[] = {{128, 128, true}, {64, 64, true}, {128, 96, false}, {96, 128, false}, {128, 32, false}};
	struct golden g;
	struct rig r;
	golden_load(&g, "gemma4-26b-a4b-tiny.q8_0");
	rig_open(&r, &g, g.n_layer, g.n_tokens, PREFILL_WEIGHTS_CONVERT);
	struct model m = r.loaded->model;
	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
		m.n_embd = shapes[i].n_embd;
		m.n_ff_expert = shapes[i].n_ff_expert;
		if (pass_prompt_experts_fit(&m) != shapes[i].fit)
			fail_msg("%d, %d: not %d", m.n_embd, m.n_ff_expert, shapes[i].fit);
	}
	rig_close(&r);
	golden_free(&g);
}

/* Precision and weights that cannot be had together are an error, and not a choice of ours. */
static void test_refused(void **state)
{
	(void)state;
	struct golden g;
	struct load_options o;
	struct loaded_model *m;
	struct error err;
	golden_load(&g, "qwen3-tiny.q8_0");
	load_options_default(&o);
	o.n_gpu_layers = 0;
	o.prefill = PREFILL_F32;
	o.prefill_weights = PREFILL_WEIGHTS_RESIDENT;
	assert_int_equal(loaded_model_open(&m, g.path, &o, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "resident"));
	golden_free(&g);
}

int main(void)
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
		GOLDEN_TEST(test_last_row, 0),
		GOLDEN_TEST(test_last_row, 4),
		GOLDEN_TEST(test_last_row, 7),
		GOLDEN_TEST(test_last_row, 8),
		cmocka_unit_test(test_scales),
		cmocka_unit_test(test_products_stay_finite),
		cmocka_unit_test(test_experts_that_fit),
		cmocka_unit_test(test_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
