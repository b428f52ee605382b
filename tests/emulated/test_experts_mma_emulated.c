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

#include "bench/quant_values.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/half.h"
#include "tests/emulated/blocks.h"

/* Relative to the Euclidean norms of row and activations: sums of exact products in float32, and weights of sums that
 * float32 does not hold, which may be the other of two float16. */
static const double THRESHOLD = 2e-6;
static const double ONE_F16 = 0x1p-11; /* of a result that is rounded to it, relative */

static const struct cuda_card card = {
	.n_sm = 3, .compute_capability = 90, .shared_per_sm = 232448, .shared_per_block = 101376};

static const int types[] = {
#define X(NAME, word, number, block, block_bytes, file_type, a, b) TENSOR_##NAME,
	TENSOR_TYPES(X, , )
#undef X
};
enum { N_TYPES = sizeof types / sizeof *types };

static uint64_t random_state = 7;

static uint32_t bits(void *ctx)
{
	(void)ctx;
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(random_state >> 32);
}

/* One in 16 subnormal. */
static uint16_t half(void *ctx)
{
	uint32_t r = bits(ctx), exponent = (r >> 20 & 15) == 0 ? 0 : 8 + (r >> 24) % 7;
	return (uint16_t)((r & 0x8000) | exponent << 10 | (r & 0x3ff));
}

static double uniform(void)
{
	return (double)bits(NULL) / 2147483648.0 - 1.0;
}

static void *room(size_t bytes)
{
	void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
	assert_non_null(p);
	return p;
}

struct matrix {
	struct weight w;
	void *data, *scales;
	double *values; /* (n_expert, n_out, n_in), as tensor cores are given them */
};

static double rounded(float v)
{
	return (double)half_f16_to_f32(half_f32_to_f16(v));
}

static void fill_quants(struct matrix *m, int type, size_t n)
{
	size_t block = (size_t)quant_block(type), bytes = n / block * quant_block_bytes(type);
	unsigned char *blocks = room(bytes);
	m->data = room(bytes);
	quant_fill(type, blocks, n / block, bits, half, NULL);
	for (size_t i = 0; i < n; i++)
		m->values[i] =
			rounded(quant_value(type, blocks + i / block * quant_block_bytes(type), (int)(i % block)));
	struct cpu_planes to = cpu_planes_at((enum tensor_type)type, m->data, n / 32);
	cpu_planes((enum tensor_type)type, blocks, n / 32, &to);
	free(blocks);
}

static void fill_q8_0(struct matrix *m, size_t n)
{
	int8_t *q = m->data = room(n);
	uint16_t *scales = m->scales = room(n / 32 * 2);
	for (size_t i = 0; i < n; i++) {
		if (i % 32 == 0)
			scales[i / 32] = half(NULL);
		q[i] = (int8_t)(bits(NULL) >> 24);
		m->values[i] = rounded(half_f16_to_f32(scales[i / 32]) * (float)q[i]);
	}
}

static struct matrix matrix_make(int type, int n_in, int n_out, int n_expert)
{
	size_t n = (size_t)n_in * (size_t)n_out * (size_t)n_expert;
	struct matrix m = {.values = room(n * sizeof(double))};
	if (quant_block(type)) {
		fill_quants(&m, type, n);
	} else if (type == TENSOR_Q8_0) {
		fill_q8_0(&m, n);
	} else {
		m.data = room(n * 4);
		for (size_t i = 0; i < n; i++) {
			float v = (float)uniform();
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

/* Pairs of each expert: none, few, whole tiles, one more; rows of stages that come out even with MMA_PARTS and not;
 * columns of a tile and part of one. */
static const struct shape {
	int counts[EXPERTS];
	int n_in, n_out;
} shapes[] = {
	{{3, 0, 65, 2}, 256, 64}, {{0, 1, 0, 5}, 768, 96},  {{0, 0, 128, 0}, 512, 32},
	{{2, 9, 0, 1}, 64, 160},  {{0, 17, 0, 1}, 704, 16},
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
		int j = (int)(bits(NULL) % (uint32_t)(i + 1)), was = p.order[i];
		p.order[i] = p.order[j];
		p.order[j] = was;
	}
	for (int t = 0; t < p.n_tokens; t++)
		p.scale[t] = ldexpf(1, (int)(bits(NULL) % 5) - 2);
	size_t n = (size_t)(by_pair ? p.n : p.n_tokens) * (size_t)s->n_in;
	p.x = room(n * 2);
	for (size_t i = 0; i < n; i++)
		p.x[i] = half_f32_to_f16((float)uniform());
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
		double w = m->values[row * (size_t)m->w.n_in + (size_t)k], v = (double)half_f16_to_f32(x[k]);
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

static bool whole_blocks(int type, int n_in)
{
	return !quant_block(type) || n_in % quant_block(type) == 0;
}

static void compare_matmul(int type, const struct shape *s)
{
	struct matrix m = matrix_make(type, s->n_in, s->n_out, EXPERTS);
	struct pairs p = pairs_make(s, true);
	size_t n_out = (size_t)s->n_out, n_in = (size_t)s->n_in;
	float *y = room((size_t)p.n * n_out * sizeof *y);
	memset(y, 0xff, (size_t)p.n * n_out * sizeof *y);
	launch(KERNEL_prompt_experts_matmul, &(struct prompt_experts_matmul_params){.w = m.w,
										    .order = p.order,
										    .starts = p.starts,
										    .x = p.x,
										    .scale = p.scale,
										    .y = y,
										    .n_pairs = p.n,
										    .n_used = USED});
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
	for (int i = 0; i < N_TYPES * N_SHAPES; i++)
		if (whole_blocks(types[i % N_TYPES], shapes[i / N_TYPES].n_in))
			compare_matmul(types[i % N_TYPES], &shapes[i / N_TYPES]);
}

static void test_gated(void **state)
{
	(void)state;
	for (int i = 0; i < N_TYPES * N_SHAPES; i++)
		if (whole_blocks(types[i % N_TYPES], shapes[i / N_TYPES].n_in))
			compare_gated(types[i % N_TYPES], &shapes[i / N_TYPES]);
}

/* Rows of zeros but for a one: results are single weights, each in its place. */
static void test_single_weights(void **state)
{
	(void)state;
	static const struct shape s = {{0, 64, 64, 0}, 256, 8};
	for (int k = 0; k < N_TYPES; k++) {
		struct matrix m = matrix_make(types[k], s.n_in, s.n_out, EXPERTS);
		int others = 0;
		for (int from = 0; from < s.n_in; from += 64) {
			struct pairs p = pairs_make(&s, true);
			float y[128 * 8];
			memset(p.x, 0, (size_t)p.n * (size_t)s.n_in * 2);
			for (int i = 0; i < p.n; i++)
				p.x[i * s.n_in + from + i % 64] = half_f32_to_f16(1);
			for (int t = 0; t < p.n_tokens; t++)
				p.scale[t] = 1;
			launch(KERNEL_prompt_experts_matmul, &(struct prompt_experts_matmul_params){.w = m.w,
												    .order = p.order,
												    .starts = p.starts,
												    .x = p.x,
												    .scale = p.scale,
												    .y = y,
												    .n_pairs = p.n,
												    .n_used = USED});
			for (int i = 0; i < p.n * s.n_out; i++) {
				int pair = i / s.n_out, r = i % s.n_out;
				double want =
					m.values[(size_t)((p.expert[pair] * s.n_out + r) * s.n_in + from + pair % 64)];
				double got = (double)y[p.order[pair] * s.n_out + r];
				others += got != want;
				if (!(fabs(got - want) <= ONE_F16 * 2 * fabs(want) + 0x1p-24))
					fail_msg("type %d, row %d, element %d: %.9g, expected %.9g", types[k], r,
						 from + pair % 64, got, want);
			}
			free(p.x);
		}
		print_message("type %d: %d of %d are the other of two float16\n", types[k], others,
			      2 * s.n_in * s.n_out);
		assert_true(others <= 2 * s.n_in * s.n_out / 100);
		matrix_free(&m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_single_weights),
		cmocka_unit_test(test_matmul),
		cmocka_unit_test(test_gated),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
