/*
 * Decode's products on a GPU, and embeddings: the kernels themselves, on the processor, from weights as they are
 * loaded (of few bits in planes), against the values that they stand for. Where no GPU is, that is what tests them;
 * test_kernels_cuda_products.c does on one.
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

#include "kernels/cpu/half.h"
#include "kernels/cuda/matvec_geometry.h"
#include "tests/emulated/blocks.h"
#include "tests/emulated/draws.h"

/* Relative to the Euclidean norms of row and activations: digits of 23 bits, sums in float32. */
static const double THRESHOLD = 1e-6;

enum { SMS = 3 };

static const struct cuda_card card = {
	.n_sm = SMS, .compute_capability = 90, .shared_per_sm = 232448, .shared_per_block = 232448};

static uint64_t drawn;

static float *floats(size_t n)
{
	float *x = malloc(n * sizeof *x);
	assert_non_null(x);
	for (size_t i = 0; i < n; i++)
		x[i] = (float)draw_uniform(&drawn);
	return x;
}

struct matrix {
	struct weight w; /* planes, or elements */
	float *values;   /* (n_expert, n_out, n_in) */
	void *data;
	uint16_t *scales; /* of Q8_0 */
	size_t bytes;
};

/* Elements of a multiple of which rows are, and the bytes of so many: scales apart. */
static int block_of(int type)
{
	return quant_block(type) ? quant_block(type) : type == TENSOR_Q8_0 ? 32 : 1;
}

static size_t bytes_of(int type)
{
	return quant_block(type) ? quant_block_bytes(type) : type == TENSOR_Q8_0 ? 32 : type == TENSOR_F32 ? 4 : 2;
}

static void make_elements(struct matrix *m, int type, size_t n)
{
	int8_t *steps = m->data;
	uint16_t *halves = m->data;
	for (size_t i = 0; type == TENSOR_Q8_0 && i < n / 32; i++)
		m->scales[i] = draw_half(&drawn);
	for (size_t i = 0; i < n; i++) {
		uint32_t r = draw_bits(&drawn);
		if (type == TENSOR_Q8_0) {
			steps[i] = (int8_t)((int)(r % 255) - 127);
			m->values[i] = half_f16_to_f32(m->scales[i / 32]) * steps[i];
		} else if (type == TENSOR_F32) {
			m->values[i] = (float)r / 2147483648.0f - 1.0f;
			memcpy((float *)m->data + i, &m->values[i], sizeof(float));
		} else if (type == TENSOR_F16) {
			halves[i] = draw_half(&drawn);
			m->values[i] = half_f16_to_f32(halves[i]);
		} else {
			halves[i] = half_f32_to_bf16((float)r / 2147483648.0f - 1.0f);
			m->values[i] = half_bf16_to_f32(halves[i]);
		}
	}
}

static struct matrix matrix_make(int type, int n_in, int n_out, int n_expert)
{
	size_t n = (size_t)n_in * (size_t)n_out * (size_t)n_expert, bytes = n / (size_t)block_of(type) * bytes_of(type);
	struct matrix m = {.values = malloc(n * sizeof(float)),
			   .data = aligned_alloc(16, (bytes + 15) / 16 * 16),
			   .scales = malloc((n / 32 + 1) * sizeof(uint16_t)),
			   .bytes = bytes};
	assert_true(m.values && m.data && m.scales);
	if (quant_block(type))
		assert_true(draw_planes(type, n, m.data, m.values, &drawn));
	else
		make_elements(&m, type, n);
	m.w = (struct weight){.data = m.data,
			      .scales = type == TENSOR_Q8_0 ? m.scales : NULL,
			      .type = type,
			      .n_in = n_in,
			      .n_out = n_out,
			      .n_expert = n_expert};
	return m;
}

static void matrix_free(struct matrix *m)
{
	free(m->values);
	free(m->data);
	free(m->scales);
}

struct expected {
	double value, norm;
};

static struct expected product(const struct matrix *m, size_t row, const float *x)
{
	struct expected e = {0};
	double rows = 0, xs = 0;
	for (int k = 0; k < m->w.n_in; k++) {
		double w = (double)m->values[row * (size_t)m->w.n_in + (size_t)k];
		e.value += w * (double)x[k];
		rows += w * w;
		xs += (double)x[k] * (double)x[k];
	}
	e.norm = sqrt(rows * xs);
	return e;
}

static void check(const char *what, int type, int row, float got, struct expected e, double scale)
{
	if (!(fabs((double)got - e.value) <= THRESHOLD * scale * e.norm))
		fail_msg("%s, type %d, row %d: %.9g, expected %.9g within %.2g", what, type, row, (double)got, e.value,
			 THRESHOLD * scale * e.norm);
}

static void launch(int geometry, const struct cuda_launch *l, const void *params)
{
	assert_int_equal(geometry, CUDA_GEOMETRY_OK);
	if (emulated_launch(l->entry, params, l))
		fail_msg("%s is not emulated", l->entry);
}

/* On such a card; streams: whether it must be by the kernel that streams weights of that type. */
static void launch_on(const struct cuda_card *on, enum kernel k, const void *params, int streams)
{
	struct cuda_launch l;
	int geometry = cuda_geometry(k, params, on, &l);
	if (streams && strstr(l.entry, "_any"))
		fail_msg("%s does not stream", l.entry);
	assert_true(l.shared_bytes <= on->shared_per_block);
	/* Two on a multiprocessor would leave another one without. */
	assert_true(!streams || l.shared_bytes >= on->shared_per_sm / 2);
	launch(geometry, &l, params);
}

static void launch_kernel(enum kernel k, const void *params)
{
	launch_on(&card, k, params, 0);
}

/* Widths of a part of a chunk of 1024, of one and a half, of three. */
static const int widths[] = {256, 1536, 3072, 32, 1056};
enum { N_WIDTHS = sizeof widths / sizeof *widths };

static void test_matmul(void **state)
{
	(void)state;
	for (int i = 0; i < DRAW_TYPES * N_WIDTHS; i++) {
		int type = draw_types[i % DRAW_TYPES], n_in = widths[i / DRAW_TYPES];
		if (n_in % block_of(type))
			continue;
		enum { N_OUT = 38 };
		/* An odd number of rows where they have an even number of scales: scales are read by twos. */
		int n_out = N_OUT - (n_in % 512 == 0);
		struct matrix m = matrix_make(type, n_in, n_out, 1);
		float *x = floats((size_t)n_in), y[N_OUT];
		launch_on(&card, KERNEL_matmul, &(struct matmul_params){.w = m.w, .x = x, .y = y, .n_tokens = 1}, 1);
		for (int r = 0; r < n_out; r++)
			check("matmul", type, r, y[r], product(&m, (size_t)r, x), 1);
		free(x);
		matrix_free(&m);
	}
}

/* An odd number of scales of two bytes is no stream of words: the kernel that takes any weights. */
static void test_matmul_odd_scales(void **state)
{
	(void)state;
	for (int i = 0; i < DRAW_TYPES; i++) {
		enum { N_OUT = 5 };
		int type = draw_types[i], n_in = block_of(type) < 32 ? 32 : block_of(type);
		bool pairs = type == TENSOR_Q8_0 || type == TENSOR_Q6_K ||
			     (block_of(type) == 32 && quants_side_bytes(type) == 2);
		struct matrix m = matrix_make(type, n_in, N_OUT, 1);
		float *x = floats((size_t)n_in), y[N_OUT];
		struct matmul_params p = {.w = m.w, .x = x, .y = y, .n_tokens = 1};
		struct cuda_launch l;
		assert_int_equal(cuda_geometry(KERNEL_matmul, &p, &card, &l), CUDA_GEOMETRY_OK);
		assert_int_equal(strcmp(l.entry, "k_matmul_any") == 0, pairs);
		launch_kernel(KERNEL_matmul, &p);
		for (int r = 0; r < N_OUT; r++)
			check("matmul of odd scales", type, r, y[r], product(&m, (size_t)r, x), 1);
		free(x);
		matrix_free(&m);
	}
}

/* Blocks of no more rows than they have sums for, and of as many as 32 bits divide. */
static void test_matmul_of_many_rows(void **state)
{
	(void)state;
	static float x[256];
	struct cuda_launch l;
	struct matmul_params p = {
		.w = {.data = x, .type = TENSOR_Q4_0, .n_in = 256, .n_expert = 1}, .x = x, .y = x, .n_tokens = 1};
	p.w.n_out = 2 * SMS * MATVEC_MAX_UNITS;
	assert_int_equal(cuda_geometry(KERNEL_matmul, &p, &card, &l), CUDA_GEOMETRY_OK);
	assert_string_equal(l.entry, "k_matmul_q4_0");
	assert_int_equal(l.grid[0], SMS);
	p.w.n_out += 2;
	assert_int_equal(cuda_geometry(KERNEL_matmul, &p, &card, &l), CUDA_GEOMETRY_OK);
	assert_int_equal(l.grid[0], SMS + 1);
	p.w.n_out = INT32_MAX - 1;
	assert_int_equal(cuda_geometry(KERNEL_matmul, &p, &card, &l), CUDA_GEOMETRY_OK);
	assert_string_equal(l.entry, "k_matmul_any");
}

/* Cards whose shared memory has room for so many stages, and one too small for any. A warp has more items than stages.
 */
static void test_matmul_stages(void **state)
{
	(void)state;
	for (int i = 0; i < DRAW_TYPES * (MATVEC_STAGES + 1); i++) {
		enum { N_IN = 3072, N_OUT = 74, UNITS = 37 };
		int type = draw_types[i % DRAW_TYPES], stages = i / DRAW_TYPES;
		assert_true(UNITS * matvec_chunks(type, N_IN) > 6 * MATVEC_THREADS / 32);
		int bytes = matvec_stages_at(type, N_IN, 0) + matvec_partial_bytes(UNITS) +
			    stages * MATVEC_THREADS / 32 * matvec_stage_bytes(type);
		struct cuda_card small = {.n_sm = 1,
					  .compute_capability = 80,
					  .shared_per_sm = (size_t)bytes,
					  .shared_per_block = (size_t)bytes};
		struct matrix m = matrix_make(type, N_IN, N_OUT, 1);
		float *x = floats(N_IN), y[N_OUT];
		launch_on(&small, KERNEL_matmul, &(struct matmul_params){.w = m.w, .x = x, .y = y, .n_tokens = 1},
			  stages > 0);
		for (int r = 0; r < N_OUT; r++)
			check("matmul of few stages", type, r, y[r], product(&m, (size_t)r, x), 1);
		free(x);
		matrix_free(&m);
	}
}

/* Where rows are not aligned for it, the kernel that takes any weights. */
static void test_matmul_any(void **state)
{
	(void)state;
	for (int i = 0; i < DRAW_TYPES; i++) {
		enum { N_IN = 512, N_OUT = 9 };
		struct matrix m = matrix_make(draw_types[i], N_IN, N_OUT, 1);
		float *x = floats(N_IN), y[N_OUT];
		char *moved = aligned_alloc(16, (m.bytes + 31) / 16 * 16);
		assert_non_null(moved);
		memcpy(moved + 4, m.data, m.bytes);
		m.w.data = moved + 4;
		launch_kernel(KERNEL_matmul, &(struct matmul_params){.w = m.w, .x = x, .y = y, .n_tokens = 1});
		for (int r = 0; r < N_OUT; r++)
			check("matmul of unaligned rows", draw_types[i], r, y[r], product(&m, (size_t)r, x), 1);
		free(moved);
		free(x);
		matrix_free(&m);
	}
}

static float *normed(const float *x, const float *weight, int n)
{
	double squares = 0;
	float *y = malloc((size_t)n * sizeof *y);
	assert_non_null(y);
	for (int k = 0; k < n; k++)
		squares += (double)x[k] * (double)x[k];
	for (int k = 0; k < n; k++)
		y[k] = (float)((double)x[k] / sqrt(squares / n + 1e-6) * (double)weight[k]);
	return y;
}

/* The steepest slope of SiLU is below 1.13. */
static struct expected gated(struct expected gate, struct expected up)
{
	double act = gate.value / (1 + exp(-gate.value));
	return (struct expected){act * up.value, 1.13 * gate.norm * fabs(up.value) + fabs(act) * up.norm};
}

/* Of a width that a block holds in its registers at once, and of a greater one. */
static void norm_matmul_and_gated(int type, int n_in, int n_out)
{
	enum { MATRICES = 3, MOST = 21 };
	static const double cap = 2;
	struct matrix m[MATRICES];
	float *x = floats((size_t)n_in), *weight = floats((size_t)n_in), *n = normed(x, weight, n_in);
	float *left = floats((size_t)n_in), y[MATRICES][MOST];
	struct norm_matmul_params p = {.x = x,
				       .weight = weight,
				       .normed = left,
				       .n_matmuls = MATRICES,
				       .n_tokens = 1,
				       .n = n_in,
				       .eps = 1e-6f,
				       .cap = (float)cap};
	for (int i = 0; i < MATRICES; i++) {
		m[i] = matrix_make(type, n_in, n_out - (i == 1) * 2, 1);
		p.w[i] = m[i].w;
		p.y[i] = y[i];
	}
	launch_on(&card, KERNEL_norm_matmul, &p, 1);
	for (int i = 0; i < MATRICES; i++)
		for (int r = 0; r < m[i].w.n_out; r++) {
			struct expected e = product(&m[i], (size_t)r, n);
			if (!i) /* a slope of 1 at most */
				e.value = cap * tanh(e.value / cap);
			check("norm_matmul", type, r, y[i][r], e, 2);
		}
	for (int k = 0; k < n_in; k++)
		if (!(fabs((double)left[k] - (double)n[k]) <= 1e-6 * fabs((double)n[k])))
			fail_msg("norm_matmul, type %d: normed %d is %.9g, expected %.9g", type, k, (double)left[k],
				 (double)n[k]);
	launch_on(&card, KERNEL_norm_gated,
		  &(struct norm_gated_params){.x = x,
					      .weight = weight,
					      .w_gate = m[0].w,
					      .w_up = m[2].w,
					      .y = y[0],
					      .n_tokens = 1,
					      .n = n_in,
					      .act = ACTIVATION_SILU,
					      .eps = 1e-6f},
		  1);
	for (int r = 0; r < n_out; r++)
		check("norm_gated", type, r, y[0][r], gated(product(&m[0], (size_t)r, n), product(&m[2], (size_t)r, n)),
		      3);
	free(x);
	free(weight);
	free(n);
	free(left);
	for (int i = 0; i < MATRICES; i++)
		matrix_free(&m[i]);
}

static void test_norm_matmul_and_gated(void **state)
{
	(void)state;
	for (int i = 0; i < DRAW_TYPES; i++) {
		norm_matmul_and_gated(draw_types[i], 1536, 21);
		norm_matmul_and_gated(draw_types[i], 16384 + 1536, 3);
	}
}

static void test_matmul_gated(void **state)
{
	(void)state;
	for (int i = 0; i < DRAW_TYPES; i++) {
		enum { N_IN = 768, N_OUT = 10 };
		int type = draw_types[i];
		struct matrix m = matrix_make(type, N_IN, N_OUT, 1);
		float *x = floats(N_IN), *up = floats(N_OUT), y[N_OUT];
		launch_on(&card, KERNEL_matmul_gated,
			  &(struct matmul_gated_params){.w = m.w,
							.x = x,
							.up = up,
							.y = y,
							.n_tokens = 1,
							.up_stride = N_OUT,
							.act = ACTIVATION_SILU},
			  1);
		for (int r = 0; r < N_OUT; r++)
			check("matmul_gated", type, r, y[r],
			      gated(product(&m, (size_t)r, x), (struct expected){(double)up[r], 0}), 1);
		free(x);
		free(up);
		matrix_free(&m);
	}
}

/* Matrices of two types are no stream: the kernel that takes any weights has them. */
static void test_norm_matmul_of_types(void **state)
{
	(void)state;
	enum { N_IN = 256, N_OUT = 6 };
	struct matrix a = matrix_make(TENSOR_Q4_0, N_IN, N_OUT, 1), b = matrix_make(TENSOR_Q5_0, N_IN, N_OUT, 1);
	float *x = floats(N_IN), *weight = floats(N_IN), *left = floats(N_IN);
	struct cuda_launch l;
	struct norm_matmul_params both = {.x = x,
					  .weight = weight,
					  .normed = left,
					  .w = {a.w, b.w},
					  .y = {left, left},
					  .n_matmuls = 2,
					  .n_tokens = 1,
					  .n = N_IN};
	struct norm_gated_params gate_up = {
		.x = x, .weight = weight, .w_gate = a.w, .w_up = b.w, .y = left, .n_tokens = 1, .n = N_IN};
	assert_int_equal(cuda_geometry(KERNEL_norm_matmul, &both, &card, &l), CUDA_GEOMETRY_OK);
	assert_string_equal(l.entry, "k_norm_matmul_any");
	assert_int_equal(cuda_geometry(KERNEL_norm_gated, &gate_up, &card, &l), CUDA_GEOMETRY_OK);
	assert_string_equal(l.entry, "k_norm_gated_any");
	free(x);
	free(weight);
	free(left);
	matrix_free(&a);
	matrix_free(&b);
}

static void test_matmul_experts(void **state)
{
	(void)state;
	static const int ids[] = {4, 0, 2, 3};
	for (int i = 0; i < DRAW_TYPES; i++) {
		enum { N_IN = 512, N_OUT = 10, N_EXPERT = 5, TOKENS = 2, USED = 2 };
		int type = draw_types[i];
		struct matrix m = matrix_make(type, N_IN, N_OUT, N_EXPERT);
		float *x = floats((size_t)TOKENS * N_IN), y[TOKENS * USED * N_OUT];
		launch_kernel(KERNEL_matmul_experts,
			      &(struct matmul_experts_params){
				      .w = m.w, .ids = ids, .x = x, .y = y, .n_tokens = TOKENS, .n_used = USED});
		for (int r = 0; r < TOKENS * USED * N_OUT; r++)
			check("matmul_experts", type, r, y[r],
			      product(&m, (size_t)(ids[r / N_OUT] * N_OUT + r % N_OUT),
				      x + (size_t)(r / N_OUT / USED) * N_IN),
			      1);
		free(x);
		matrix_free(&m);
	}
}

static void test_experts_gated(void **state)
{
	(void)state;
	static const int ids[] = {4, 0, 2, 3};
	for (int i = 0; i < DRAW_TYPES; i++) {
		enum { N_IN = 512, N_FF = 5, N_EXPERT = 5, TOKENS = 2, USED = 2 };
		int type = draw_types[i];
		struct matrix m = matrix_make(type, N_IN, 2 * N_FF, N_EXPERT);
		float *x = floats((size_t)TOKENS * N_IN), y[TOKENS * USED * N_FF];
		launch_kernel(KERNEL_experts_gated, &(struct experts_gated_params){.w = m.w,
										   .ids = ids,
										   .x = x,
										   .y = y,
										   .n_tokens = TOKENS,
										   .n_used = USED,
										   .act = ACTIVATION_SILU});
		for (int r = 0; r < TOKENS * USED * N_FF; r++) {
			size_t row = (size_t)(ids[r / N_FF] * 2 * N_FF + r % N_FF);
			const float *of = x + (size_t)(r / N_FF / USED) * N_IN;
			check("experts_gated", type, r, y[r], gated(product(&m, row, of), product(&m, row + N_FF, of)),
			      2);
		}
		free(x);
		matrix_free(&m);
	}
}

/* The same bits. */
static void test_embed(void **state)
{
	(void)state;
	static const int tokens[] = {3, 0, 6};
	for (int i = 0; i < DRAW_TYPES; i++) {
		enum { WIDTH = 768, VOCAB = 7, TOKENS = 3 };
		struct matrix m = matrix_make(draw_types[i], WIDTH, VOCAB, 1);
		float *y = floats((size_t)TOKENS * WIDTH);
		launch_kernel(
			KERNEL_embed,
			&(struct embed_params){.tokens = tokens, .table = m.w, .y = y, .n_tokens = TOKENS, .scale = 1});
		for (int k = 0; k < TOKENS * WIDTH; k++)
			if (y[k] != m.values[tokens[k / WIDTH] * WIDTH + k % WIDTH])
				fail_msg("embed, type %d: element %d is %a, not %a", draw_types[i], k, (double)y[k],
					 (double)m.values[tokens[k / WIDTH] * WIDTH + k % WIDTH]);
		free(y);
		matrix_free(&m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_embed),
		cmocka_unit_test(test_matmul),
		cmocka_unit_test(test_matmul_odd_scales),
		cmocka_unit_test(test_matmul_of_many_rows),
		cmocka_unit_test(test_matmul_stages),
		cmocka_unit_test(test_matmul_any),
		cmocka_unit_test(test_norm_matmul_and_gated),
		cmocka_unit_test(test_norm_matmul_of_types),
		cmocka_unit_test(test_matmul_gated),
		cmocka_unit_test(test_matmul_experts),
		cmocka_unit_test(test_experts_gated),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
