/*
 * The experts' products of a prompt on a GPU, the kernels themselves on the processor, from weights of every type as
 * they are loaded: against the values that blocks stand for, rounded to float16, and sums in double. Where no GPU is,
 * that is what tests them; test_kernels_cuda_prompt.c does on one.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/infer/loaded_model.h"
#include "engine/infer/session.h"
#include "kernels/cpu/half.h"
#include "kernels/cuda/experts_mma_geometry.h"
#include "tests/emulated/blocks.h"
#include "tests/emulated/draws.h"
#include "tests/support/golden.h"
#include "tests/support/guarded.h"
#include "tests/support/ok.h"
#include "tests/support/quantised_case.h"
#include "tests/support/synth_case.h"
#include "tests/support/temp_file.h"

/* Relative to the Euclidean norms of row and activations: sums of exact products in float32, and weights of sums that
 * float32 does not hold, which may be the other of two float16. */
static const double THRESHOLD = 2e-6;
static const double ONE_F16 = 0x1p-11; /* of a result that is rounded to it, relative */

static const struct cuda_card card = {
	.n_sm = 3, .compute_capability = 90, .shared_per_sm = 232448, .shared_per_block = 101376};

static uint64_t drawn = 7;

static void *room(size_t bytes)
{
	void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
	assert_non_null(p);
	return p;
}

struct matrix {
	struct weight w;
	void *data, *scales;
	float *values; /* (n_expert, n_out, n_in), as tensor cores are given them */
};

static float rounded(float v)
{
	return half_f16_to_f32(half_f32_to_f16(v));
}

static void fill_quants(struct matrix *m, int type, size_t n)
{
	m->data = room(n / (size_t)quant_block(type) * quant_block_bytes(type));
	assert_true(draw_planes(type, n, m->data, m->values, &drawn));
	for (size_t i = 0; i < n; i++)
		m->values[i] = rounded(m->values[i]);
}

static void fill_q8_0(struct matrix *m, size_t n)
{
	int8_t *q = m->data = room(n);
	uint16_t *scales = m->scales = room(n / 32 * 2);
	for (size_t i = 0; i < n; i++) {
		if (i % 32 == 0)
			scales[i / 32] = draw_half(&drawn);
		q[i] = (int8_t)(draw_bits(&drawn) >> 24);
		m->values[i] = rounded(half_f16_to_f32(scales[i / 32]) * (float)q[i]);
	}
}

static struct matrix matrix_make(int type, int n_in, int n_out, int n_expert)
{
	size_t n = (size_t)n_in * (size_t)n_out * (size_t)n_expert;
	struct matrix m = {.values = room(n * sizeof(float))};
	if (quant_block(type)) {
		fill_quants(&m, type, n);
	} else if (type == TENSOR_Q8_0) {
		fill_q8_0(&m, n);
	} else {
		m.data = room(n * 4);
		for (size_t i = 0; i < n; i++) {
			float v = (float)draw_uniform(&drawn);
			uint16_t h = type == TENSOR_F16 ? half_f32_to_f16(v) : half_f32_to_bf16(v);
			if (type == TENSOR_F32)
				((float *)m.data)[i] = v;
			else
				((uint16_t *)m.data)[i] = h;
			m.values[i] = rounded(type == TENSOR_F32   ? v
					      : type == TENSOR_F16 ? half_f16_to_f32(h)
								   : half_bf16_to_f32(h));
		}
	}
	m.w = (struct weight){
		.data = m.data, .scales = m.scales, .type = type, .n_in = n_in, .n_out = n_out, .n_expert = n_expert};
	return m;
}

static void matrix_free(struct matrix *m)
{
	free(m->data);
	free(m->scales);
	free(m->values);
}

enum { EXPERTS = 4, PAIRS_MAX = 160, USED = 2 };

/* Pairs of each expert: none, few, whole tiles and one more; the rows of a stage, of several and of several MMA_PARTS,
 * the latter for types that have them; columns of a tile, of part of one and of one and a part. */
static const struct shape {
	int counts[EXPERTS];
	int n_in, n_out;
} shapes[] = {
	{{3, 0, 65, 2}, 64, 96},  {{0, 17, 0, 1}, 320, 16}, {{2, 9, 0, 1}, 192, 160},
	{{1, 0, 65, 0}, 256, 32}, {{0, 1, 0, 5}, 768, 144},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

struct pairs {
	int order[PAIRS_MAX], starts[EXPERTS + 1], expert[PAIRS_MAX]; /* expert: of the pairs as they are sorted */
	float scale[PAIRS_MAX];
	uint16_t *x;
	int n, n_tokens;
};

/* rows: of x; an even number of pairs, so that tokens have USED each. */
static struct pairs pairs_make(const struct shape *s, bool by_pair)
{
	struct pairs p = {0};
	for (int e = 0; e < EXPERTS; e++) {
		p.starts[e] = p.n;
		for (int i = 0; i < s->counts[e]; i++)
			p.expert[p.n++] = e;
	}
	p.starts[EXPERTS] = p.n;
	assert_true(p.n % USED == 0 && p.n <= PAIRS_MAX);
	p.n_tokens = p.n / USED;
	for (int i = 0; i < p.n; i++)
		p.order[i] = i;
	for (int i = p.n - 1; i > 0; i--) {
		int j = (int)(draw_bits(&drawn) % (uint32_t)(i + 1)), was = p.order[i];
		p.order[i] = p.order[j];
		p.order[j] = was;
	}
	for (int t = 0; t < p.n_tokens; t++)
		p.scale[t] = ldexpf(1, (int)(draw_bits(&drawn) % 5) - 2);
	size_t n = (size_t)(by_pair ? p.n : p.n_tokens) * (size_t)s->n_in;
	p.x = room(n * 2);
	for (size_t i = 0; i < n; i++)
		p.x[i] = half_f32_to_f16((float)draw_uniform(&drawn));
	return p;
}

struct expected {
	double value, norm;
};

static struct expected product(const struct matrix *m, size_t row, const uint16_t *x)
{
	struct expected e = {0};
	double rows = 0, xs = 0;
	for (int k = 0; k < m->w.n_in; k++) {
		double w = (double)m->values[row * (size_t)m->w.n_in + (size_t)k], v = (double)half_f16_to_f32(x[k]);
		e.value += w * v;
		rows += w * w;
		xs += v * v;
	}
	e.norm = sqrt(rows * xs);
	return e;
}

static void launch(enum kernel k, const void *params)
{
	struct cuda_launch l;
	assert_int_equal(cuda_geometry(k, params, &card, &l), CUDA_GEOMETRY_OK);
	if (emulated_launch(l.entry, params, &l))
		fail_msg("%s is not emulated", l.entry);
}

/* y: (n, n_out) */
static void launch_matmul(const struct matrix *m, const struct pairs *p, float *y)
{
	launch(KERNEL_prompt_experts_matmul, &(struct prompt_experts_matmul_params){.w = m->w,
										    .order = p->order,
										    .starts = p->starts,
										    .x = p->x,
										    .scale = p->scale,
										    .y = y,
										    .n_pairs = p->n,
										    .n_used = USED});
}

static bool in_parts(int type)
{
	return quant_block(type) == MMA_PARTS;
}

static void compare_matmul(int type, const struct shape *s)
{
	struct matrix m = matrix_make(type, s->n_in, s->n_out, EXPERTS);
	struct pairs p = pairs_make(s, true);
	size_t n_out = (size_t)s->n_out, n_in = (size_t)s->n_in;
	float *y = room((size_t)p.n * n_out * sizeof *y);
	memset(y, 0xff, (size_t)p.n * n_out * sizeof *y);
	launch_matmul(&m, &p, y);
	for (int i = 0; i < p.n; i++)
		for (size_t r = 0; r < n_out; r++) {
			struct expected e = product(&m, (size_t)p.expert[i] * n_out + r, p.x + (size_t)i * n_in);
			double once = (double)p.scale[p.order[i] / USED], by = once * once;
			double got = (double)y[(size_t)p.order[i] * n_out + r];
			if (!(fabs(got - e.value * by) <= THRESHOLD * e.norm * by))
				fail_msg("type %d, n_in %d, pair %d, row %d: %.9g, expected %.9g within %.2g", type,
					 s->n_in, i, (int)r, got, e.value * by, THRESHOLD * e.norm * by);
		}
	free(y);
	free(p.x);
	matrix_free(&m);
}

static void compare_gated(int type, const struct shape *s)
{
	struct matrix m = matrix_make(type, s->n_in, 2 * s->n_out, EXPERTS);
	struct pairs p = pairs_make(s, false);
	size_t n_ff = (size_t)s->n_out, n_in = (size_t)s->n_in;
	uint16_t *y = room((size_t)p.n * n_ff * sizeof *y);
	memset(y, 0xff, (size_t)p.n * n_ff * sizeof *y);
	launch(KERNEL_prompt_experts_gated, &(struct prompt_experts_gated_params){.w = m.w,
										  .order = p.order,
										  .starts = p.starts,
										  .x = p.x,
										  .scale = p.scale,
										  .y = y,
										  .n_tokens = p.n_tokens,
										  .n_used = USED,
										  .act = ACTIVATION_SILU});
	for (int i = 0; i < p.n; i++)
		for (size_t r = 0; r < n_ff; r++) {
			int t = p.order[i] / USED;
			const uint16_t *x = p.x + (size_t)t * n_in;
			size_t first = (size_t)p.expert[i] * 2 * n_ff + r;
			struct expected gate = product(&m, first, x), up = product(&m, first + n_ff, x);
			double g = gate.value * (double)p.scale[t], silu = g / (1 + exp(-g)) / (double)p.scale[t];
			double want = fmin(fmax(silu * up.value, -65504), 65504);
			/* An activation's slope is 1.1 at most. */
			double off = THRESHOLD * (1.1 * gate.norm * fabs(up.value) + fabs(silu) * up.norm) +
				     ONE_F16 * fabs(want) + 0x1p-25;
			double got = (double)half_f16_to_f32(y[(size_t)i * n_ff + r]);
			if (!(fabs(got - want) <= off))
				fail_msg("type %d, n_in %d, pair %d, row %d: %.9g, expected %.9g within %.2g", type,
					 s->n_in, i, (int)r, got, want, off);
		}
	free(y);
	free(p.x);
	matrix_free(&m);
}

static void test_matmul(void **state)
{
	(void)state;
	for (int i = 0; i < DRAW_TYPES * N_SHAPES; i++)
		if (in_parts(draw_types[i % DRAW_TYPES]) == (shapes[i / DRAW_TYPES].n_in % MMA_PARTS == 0))
			compare_matmul(draw_types[i % DRAW_TYPES], &shapes[i / DRAW_TYPES]);
}

static void test_gated(void **state)
{
	(void)state;
	for (int i = 0; i < DRAW_TYPES * N_SHAPES; i++)
		if (in_parts(draw_types[i % DRAW_TYPES]) == (shapes[i / DRAW_TYPES].n_in % MMA_PARTS == 0))
			compare_gated(draw_types[i % DRAW_TYPES], &shapes[i / DRAW_TYPES]);
}

/* Rows of zeros but for a one: results are single weights, each in its place. */
static void test_single_weights(void **state)
{
	(void)state;
	for (int k = 0; k < DRAW_TYPES; k++) {
		const struct shape s = {{0, MMA_DEPTH, 0, 0}, in_parts(draw_types[k]) ? MMA_PARTS : MMA_DEPTH, 8};
		struct matrix m = matrix_make(draw_types[k], s.n_in, s.n_out, EXPERTS);
		int others = 0;
		for (int from = 0; from < s.n_in; from += MMA_DEPTH) {
			struct pairs p = pairs_make(&s, true);
			float y[MMA_DEPTH * 8];
			memset(p.x, 0, (size_t)p.n * (size_t)s.n_in * 2);
			for (int i = 0; i < p.n; i++)
				p.x[i * s.n_in + from + i] = half_f32_to_f16(1);
			for (int t = 0; t < p.n_tokens; t++)
				p.scale[t] = 1;
			launch_matmul(&m, &p, y);
			for (int i = 0; i < p.n * s.n_out; i++) {
				int pair = i / s.n_out, r = i % s.n_out;
				double want = (double)m.values[(size_t)((p.expert[pair] * s.n_out + r) * s.n_in + from +
									pair % 64)];
				double got = (double)y[p.order[pair] * s.n_out + r];
				others += got != want;
				if (!(fabs(got - want) <= ONE_F16 * 2 * fabs(want) + 0x1p-24))
					fail_msg("type %d, row %d, element %d: %.9g, expected %.9g", draw_types[k], r,
						 from + pair, got, want);
			}
			free(p.x);
		}
		if (others > s.n_in * s.n_out / 100)
			fail_msg("type %d: %d of %d weights are the other of two float16", draw_types[k], others,
				 s.n_in * s.n_out);
		matrix_free(&m);
	}
}

/* ---- in a model ---- */

static bool on_host;
static int launches;

void __wrap_k_prompt_experts_gated(const struct prompt_experts_gated_params *p);
void __real_k_prompt_experts_gated(const struct prompt_experts_gated_params *p);
void __wrap_k_prompt_experts_matmul(const struct prompt_experts_matmul_params *p);
void __real_k_prompt_experts_matmul(const struct prompt_experts_matmul_params *p);

void __wrap_k_prompt_experts_gated(const struct prompt_experts_gated_params *p)
{
	if (on_host) {
		__real_k_prompt_experts_gated(p);
	} else {
		launch(KERNEL_prompt_experts_gated, p);
		launches++;
	}
}

void __wrap_k_prompt_experts_matmul(const struct prompt_experts_matmul_params *p)
{
	if (on_host)
		__real_k_prompt_experts_matmul(p);
	else
		launch(KERNEL_prompt_experts_matmul, p);
}

enum { TOKENS = 29, LAYERS = 6 };

/* Relative L2 of a row: sums in another order, after which activations in float16 may be the next ones. */
static const double OF_A_ROW = 4e-3;

/* A prompt's logits, the caller's, in float16 on a device that stands for a GPU. */
static float *prompt(const char *path, int batch, int *n_vocab)
{
	struct device *far, *near;
	struct load_options o;
	struct loaded_model *m;
	struct session *s;
	int tokens[TOKENS];
	OK(guarded_open(&far, true, 1, e));
	OK(guarded_open(&near, false, 1, e));
	load_options_default(&o);
	o.n_threads = 1;
	o.batch = batch;
	o.prefill = PREFILL_F16;
	o.prefill_weights = PREFILL_WEIGHTS_CONVERT;
	o.k_type = o.v_type = TENSOR_F32;
	o.n_gpu_layers = 999;
	OK(loaded_model_open_on(&m, path, &o, far, near, e));
	OK(session_open_on(&s, m, TOKENS, e));
	int n = *n_vocab = session_model(s)->n_vocab;
	float *logits = malloc(TOKENS * (size_t)n * sizeof *logits);
	assert_non_null(logits);
	for (int t = 0; t < TOKENS; t++)
		tokens[t] = (t * 37 + 5) % n;
	OK(session_prefill(s, tokens, TOKENS, logits, e));
	session_close(s);
	loaded_model_close(m);
	device_close(far);
	device_close(near);
	return logits;
}

/* Experts of a type in planes, all else in float32, in one chunk and in ragged ones: what experts of the same values in
 * float32 give, to the bit, and nearly what the host's kernels do. */
static void test_prompts(void **state)
{
	(void)state;
	static const struct {
		int type, batch;
	} cases[] = {{TENSOR_Q4_0, 20}, {TENSOR_Q5_1, TOKENS}};
	for (int i = 0; i < 2; i++) {
		struct temp_file all = temp_file_make(), experts = temp_file_make(), float32 = temp_file_make();
		int type = cases[i].type, batch = cases[i].batch, n;
		synth_case_make("gemma4-26b-a4b-tiny", (enum tensor_type)type, 1, 1, all.path);
		quantised_to_float32(all.path, experts.path, "_exps.weight");
		quantised_to_float32(all.path, float32.path, NULL);
		on_host = true;
		float *host = prompt(float32.path, batch, &n);
		on_host = false;
		launches = 0;
		float *got = prompt(experts.path, batch, &n), *want = prompt(float32.path, batch, &n);
		assert_int_equal(launches, 2 * ((TOKENS + batch - 1) / batch) * LAYERS);
		if (memcmp(got, want, TOKENS * (size_t)n * sizeof *got))
			fail_msg("type %d, chunks of %d: not the same values' bits, a row is off by %.3g", type, batch,
				 worst_row(got, want, TOKENS, n));
		double off = worst_row(got, host, TOKENS, n);
		print_message("type %d, chunks of %d: a row is off by %.2g at most\n", type, batch, off);
		if (!(off <= OF_A_ROW))
			fail_msg("type %d, chunks of %d: a row is off by %.3g", type, batch, off);
		free(host);
		free(got);
		free(want);
		temp_file_remove(&all);
		temp_file_remove(&experts);
		temp_file_remove(&float32);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_single_weights),
		cmocka_unit_test(test_matmul),
		cmocka_unit_test(test_gated),
		cmocka_unit_test(test_prompts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
