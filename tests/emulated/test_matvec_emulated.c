/*
 * Decode's products on a GPU with quantised weights, and embeddings of them: the kernels themselves, on the processor,
 * from planes as they are loaded, against the values that blocks stand for. Where no GPU is, that is what tests them;
 * test_kernels_cuda_products.c does on one.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/quant_values.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cuda/matvec_geometry.h"
#include "tests/emulated/blocks.h"

/* Relative to the Euclidean norms of row and activations: digits of 23 bits, sums in float32. */
static const double THRESHOLD = 1e-6;

enum { SMS = 3 };

static const struct cuda_card card = {
	.n_sm = SMS, .compute_capability = 90, .shared_per_sm = 232448, .shared_per_block = 232448};

static const int types[] = {
#define X(NAME, word, number, block, block_bytes, file_type, a, b) TENSOR_##NAME,
	TENSOR_QUANT_TYPES(X, , )
#undef X
};
enum { N_TYPES = sizeof types / sizeof *types };

static uint64_t random_state;

static uint32_t bits(void *ctx)
{
	(void)ctx;
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(random_state >> 32);
}

static uint16_t half(void *ctx)
{
	uint32_t r = bits(ctx), exponent = (r >> 20 & 15) == 0 ? 0 : 8 + (r >> 24) % 7;
	return (uint16_t)((r & 0x8000) | exponent << 10 | (r & 0x3ff));
}

static float *floats(size_t n)
{
	float *x = malloc(n * sizeof *x);
	assert_non_null(x);
	for (size_t i = 0; i < n; i++)
		x[i] = (float)((double)bits(NULL) / 2147483648.0 - 1.0);
	return x;
}

struct matrix {
	struct weight w; /* planes */
	float *values;   /* (n_expert, n_out, n_in) */
	void *planes;
};

static struct matrix matrix_make(int type, int n_in, int n_out, int n_expert)
{
	size_t n = (size_t)n_in * (size_t)n_out * (size_t)n_expert, block = (size_t)quant_block(type);
	size_t bytes = n / block * quant_block_bytes(type);
	unsigned char *blocks = malloc(bytes);
	struct matrix m = {.values = malloc(n * sizeof(float)), .planes = aligned_alloc(16, (bytes + 15) / 16 * 16)};
	assert_true(blocks && m.values && m.planes);
	quant_fill(type, blocks, n / block, bits, half, NULL);
	for (size_t i = 0; i < n; i++)
		m.values[i] = quant_value(type, blocks + i / block * quant_block_bytes(type), (int)(i % block));
	struct cpu_planes to = cpu_planes_at((enum tensor_type)type, m.planes, n / 32);
	cpu_planes((enum tensor_type)type, blocks, n / 32, &to);
	free(blocks);
	m.w = (struct weight){.data = m.planes, .type = type, .n_in = n_in, .n_out = n_out, .n_expert = n_expert};
	return m;
}

static void matrix_free(struct matrix *m)
{
	free(m->values);
	free(m->planes);
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
	for (int i = 0; i < N_TYPES * N_WIDTHS; i++) {
		int type = types[i % N_TYPES], n_in = widths[i / N_TYPES];
		if (n_in % quant_block(type))
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

/* What no whole word ends with: the kernel that takes any weights. */
static void test_matmul_odd_scales(void **state)
{
	(void)state;
	for (int i = 0; i < N_TYPES; i++) {
		enum { N_IN = 256, N_OUT = 5 };
		struct matrix m = matrix_make(types[i], N_IN, N_OUT, 1);
		float *x = floats(N_IN), y[N_OUT];
		launch_kernel(KERNEL_matmul, &(struct matmul_params){.w = m.w, .x = x, .y = y, .n_tokens = 1});
		for (int r = 0; r < N_OUT; r++)
			check("matmul of odd scales", types[i], r, y[r], product(&m, (size_t)r, x), 1);
		free(x);
		matrix_free(&m);
	}
}

/* Cards whose shared memory has room for so many stages, and one too small for any. */
static void test_matmul_stages(void **state)
{
	(void)state;
	for (int i = 0; i < N_TYPES * (MATVEC_STAGES + 1); i++) {
		enum { N_IN = 3072, N_OUT = 50, UNITS = 9 };
		int type = types[i % N_TYPES], stages = i / N_TYPES;
		int bytes = matvec_stages_at(type, N_IN, 0) + matvec_partial_bytes(UNITS) +
			    stages * MATVEC_THREADS / 32 * matvec_stage_bytes(type);
		struct cuda_card small = {.n_sm = SMS,
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
	for (int i = 0; i < N_TYPES; i++) {
		enum { N_IN = 512, N_OUT = 9 };
		struct matrix m = matrix_make(types[i], N_IN, N_OUT, 1);
		size_t bytes = (size_t)N_IN * N_OUT / (size_t)quant_block(types[i]) * quant_block_bytes(types[i]);
		float *x = floats(N_IN), y[N_OUT];
		char *moved = aligned_alloc(16, (bytes + 31) / 16 * 16);
		assert_non_null(moved);
		memcpy(moved + 4, m.planes, bytes);
		m.w.data = moved + 4;
		launch_kernel(KERNEL_matmul, &(struct matmul_params){.w = m.w, .x = x, .y = y, .n_tokens = 1});
		for (int r = 0; r < N_OUT; r++)
			check("matmul of unaligned rows", types[i], r, y[r], product(&m, (size_t)r, x), 1);
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

static void test_norm_matmul_and_gated(void **state)
{
	(void)state;
	for (int i = 0; i < N_TYPES; i++) {
		enum { N_IN = 1536, N_OUT = 21 };
		int type = types[i];
		struct matrix a = matrix_make(type, N_IN, N_OUT, 1), b = matrix_make(type, N_IN, N_OUT, 1);
		float *x = floats(N_IN), *weight = floats(N_IN), *n = normed(x, weight, N_IN);
		float y[2][N_OUT];
		launch_kernel(KERNEL_norm_matmul, &(struct norm_matmul_params){.x = x,
									       .weight = weight,
									       .w = {a.w, b.w},
									       .y = {y[0], y[1]},
									       .n_matmuls = 2,
									       .n_tokens = 1,
									       .n = N_IN,
									       .eps = 1e-6f});
		for (int r = 0; r < N_OUT; r++) {
			check("norm_matmul", type, r, y[0][r], product(&a, (size_t)r, n), 2);
			check("norm_matmul", type, r, y[1][r], product(&b, (size_t)r, n), 2);
		}
		launch_kernel(KERNEL_norm_gated, &(struct norm_gated_params){.x = x,
									     .weight = weight,
									     .w_gate = a.w,
									     .w_up = b.w,
									     .y = y[0],
									     .n_tokens = 1,
									     .n = N_IN,
									     .act = ACTIVATION_SILU,
									     .eps = 1e-6f});
		for (int r = 0; r < N_OUT; r++) {
			struct expected gate = product(&a, (size_t)r, n), up = product(&b, (size_t)r, n);
			double act = gate.value / (1 + exp(-gate.value));
			/* The steepest slope of SiLU is below 1.13. */
			struct expected e = {act * up.value, 1.13 * gate.norm * fabs(up.value) + fabs(act) * up.norm};
			check("norm_gated", type, r, y[0][r], e, 3);
		}
		free(x);
		free(weight);
		free(n);
		matrix_free(&a);
		matrix_free(&b);
	}
}

static void test_matmul_experts(void **state)
{
	(void)state;
	static const int ids[] = {4, 0, 2, 3};
	for (int i = 0; i < N_TYPES; i++) {
		enum { N_IN = 512, N_OUT = 10, N_EXPERT = 5, TOKENS = 2, USED = 2 };
		int type = types[i];
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

/* The same bits. */
static void test_embed(void **state)
{
	(void)state;
	static const int tokens[] = {3, 0, 6};
	for (int i = 0; i < N_TYPES; i++) {
		enum { WIDTH = 768, VOCAB = 7, TOKENS = 3 };
		struct matrix m = matrix_make(types[i], WIDTH, VOCAB, 1);
		float *y = floats((size_t)TOKENS * WIDTH);
		launch_kernel(
			KERNEL_embed,
			&(struct embed_params){.tokens = tokens, .table = m.w, .y = y, .n_tokens = TOKENS, .scale = 1});
		for (int k = 0; k < TOKENS * WIDTH; k++)
			if (y[k] != m.values[tokens[k / WIDTH] * WIDTH + k % WIDTH])
				fail_msg("embed, type %d: element %d is %a, not %a", types[i], k, (double)y[k],
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
		cmocka_unit_test(test_matmul_stages),
		cmocka_unit_test(test_matmul_any),
		cmocka_unit_test(test_norm_matmul_and_gated),
		cmocka_unit_test(test_matmul_experts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
