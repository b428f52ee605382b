/*
 * The fused kernels against the composition that defines them in kernels/params.h, bit for bit, in
 * every output. The primitives have references of their own in test_kernels_{products,vectors}.c; qkv_prepare and
 * attention are with their primitives in test_kernels_attention.c.
 */
#include <stdio.h>

#include "tests/support/kernels_reference.h"

/* Of few tokens products are loops of their own, which threads share where there are rows enough. */
enum { MOST_TOKENS = 3, F_N = 96, F_OUT = 710 };
static int f_tokens;

static void norm_by_parts(const float *x, const float *weight, float *y, int rows, int n)
{
	k_rms_norm(&(struct rms_norm_params){.x = x,
					     .weight = weight,
					     .y = y,
					     .n_rows = rows,
					     .n = n,
					     .x_stride = n,
					     .y_stride = n,
					     .eps = 1e-6f,
					     .scale = 1.0f});
}

static void matmul_by_parts(const struct weight *w, const float *x, float *y)
{
	k_matmul(&(struct matmul_params){
		.w = *w, .x = x, .y = y, .n_tokens = f_tokens, .x_stride = w->n_in, .y_stride = w->n_out});
}

static void test_norm_matmul(void **state)
{
	struct test_weight w[3];
	float *y[3];
	float *parts;
	float *normed;
	float *normed_parts;
	float *x;
	float *weight;

	use_isa(state);
	parts = take((size_t)f_tokens * F_OUT, 4);
	normed = take((size_t)f_tokens * F_N, 4);
	normed_parts = take((size_t)f_tokens * F_N, 4);
	x = random_floats((size_t)f_tokens * F_N, 1.0f);
	weight = random_floats(F_N, 1.0f);
	for (int i = 0; i < 3; i++) {
		w[i] = weight_make(layouts[i + 1], F_N, F_OUT - i, 1);
		y[i] = take((size_t)f_tokens * F_OUT, 4);
	}
	norm_by_parts(x, weight, normed_parts, f_tokens, F_N);
	for (int cap = 0; cap <= 5; cap += 5) {
		k_norm_matmul(&(struct norm_matmul_params){.x = x,
							   .weight = weight,
							   .normed = normed,
							   .w = {w[0].w, w[1].w, w[2].w},
							   .y = {y[0], y[1], y[2]},
							   .n_matmuls = 3,
							   .n_tokens = f_tokens,
							   .n = F_N,
							   .eps = 1e-6f,
							   .cap = (float)cap});
		assert_memory_equal(normed, normed_parts, (size_t)f_tokens * F_N * 4);
		for (int i = 0; i < 3; i++) {
			const int n = f_tokens * (F_OUT - i);

			matmul_by_parts(&w[i].w, normed_parts, parts);
			if (i == 0 && cap)
				k_softcap(&(struct softcap_params){.x = parts, .n = n, .cap = (float)cap});
			assert_memory_equal(y[i], parts, (size_t)n * 4);
		}
	}
	for (int i = 0; i < 3; i++) {
		weight_free(&w[i]);
		free(y[i]);
	}
	free(x);
	free(weight);
	free(parts);
	free(normed);
	free(normed_parts);
}

static void test_norm_add(void **state)
{
	const size_t bytes = (size_t)f_tokens * F_N * 4;
	float *parts;
	float *normed;
	float *a;
	float *b;
	float *weight;

	use_isa(state);
	parts = take(bytes, 1);
	normed = take(bytes, 1);
	a = random_floats((size_t)f_tokens * F_N, 1.0f);
	b = random_floats((size_t)f_tokens * F_N, 3.0f);
	weight = random_floats(F_N, 1.0f);
	norm_by_parts(b, weight, parts, f_tokens, F_N);
	k_add(&(struct add_params){.a = a, .b = parts, .y = parts, .n = f_tokens * F_N, .scale = 0.3f});
	k_norm_add(&(struct norm_add_params){.a = a,
					     .b = b,
					     .weight = weight,
					     .normed = normed,
					     .y = a,
					     .n_rows = f_tokens,
					     .n = F_N,
					     .eps = 1e-6f,
					     .scale = 0.3f});
	assert_memory_equal(a, parts, bytes);
	free(a);
	free(b);
	free(weight);
	free(parts);
	free(normed);
}

static void test_gated_matmuls(void **state)
{
	enum { UP_STRIDE = F_OUT + 9 };
	const size_t bytes = (size_t)f_tokens * F_OUT * 4;
	struct test_weight gate_w;
	struct test_weight up_w;
	float *normed;
	float *buffers[5];
	float *x;
	float *weight;
	float *up;

	use_isa(state);
	normed = take((size_t)f_tokens * F_N, 4);
	x = random_floats((size_t)f_tokens * F_N, 1.0f);
	up = random_floats((size_t)f_tokens * UP_STRIDE, 1.0f);
	weight = random_floats(F_N, 1.0f);
	gate_w = weight_make(layouts[4], F_N, F_OUT, 1);
	up_w = weight_make(layouts[2], F_N, F_OUT, 1);
	for (size_t i = 0; i < COUNT(buffers); i++)
		buffers[i] = take(bytes, 1);
	for (int act = ACTIVATION_GELU_TANH; act <= ACTIVATION_SILU; act++) {
		norm_by_parts(x, weight, normed, f_tokens, F_N);
		matmul_by_parts(&gate_w.w, normed, buffers[0]);
		matmul_by_parts(&up_w.w, normed, buffers[1]);
		k_gated(&(struct gated_params){.gate = buffers[0],
					       .up = buffers[1],
					       .y = buffers[0],
					       .n_rows = 1,
					       .n = f_tokens * F_OUT,
					       .act = act});
		k_norm_gated(&(struct norm_gated_params){.x = x,
							 .weight = weight,
							 .normed = normed,
							 .w_gate = gate_w.w,
							 .w_up = up_w.w,
							 .gate = buffers[2],
							 .up = buffers[3],
							 .y = buffers[2],
							 .n_tokens = f_tokens,
							 .n = F_N,
							 .act = act,
							 .eps = 1e-6f});
		assert_memory_equal(buffers[2], buffers[0], bytes);

		matmul_by_parts(&gate_w.w, x, buffers[0]);
		k_gated(&(struct gated_params){.gate = buffers[0],
					       .up = up,
					       .y = buffers[1],
					       .n_rows = f_tokens,
					       .n = F_OUT,
					       .gate_stride = F_OUT,
					       .up_stride = UP_STRIDE,
					       .y_stride = F_OUT,
					       .act = act});
		k_matmul_gated(&(struct matmul_gated_params){.w = gate_w.w,
							     .x = x,
							     .up = up,
							     .gate = buffers[3],
							     .y = buffers[4],
							     .n_tokens = f_tokens,
							     .up_stride = UP_STRIDE,
							     .act = act});
		assert_memory_equal(buffers[4], buffers[1], bytes);
	}
	for (size_t i = 0; i < COUNT(buffers); i++)
		free(buffers[i]);
	weight_free(&gate_w);
	weight_free(&up_w);
	free(x);
	free(up);
	free(weight);
	free(normed);
}

static void test_experts_gated(void **state)
{
	enum { USED = 2, FF = 33 };
	static const int ids[MOST_TOKENS * USED] = {0, 3, 3, 1, 1, 0};
	struct test_weight t;
	float *gate_up;
	float *parts;
	float *y;
	float *y_parts;
	float *x;

	use_isa(state);
	gate_up = take((size_t)f_tokens * USED * 2 * FF, 4);
	parts = take((size_t)f_tokens * USED * 2 * FF, 4);
	y = take((size_t)f_tokens * USED * FF, 4);
	y_parts = take((size_t)f_tokens * USED * FF, 4);
	x = random_floats((size_t)f_tokens * F_N, 1.0f);
	t = weight_make(layouts[3], F_N, 2 * FF, 4);
	k_experts_gated(&(struct experts_gated_params){
		.w = t.w, .ids = ids, .x = x, .gate_up = gate_up, .y = y, .n_tokens = f_tokens, .n_used = USED});
	k_matmul_experts(&(struct matmul_experts_params){
		.w = t.w, .ids = ids, .x = x, .y = parts, .n_tokens = f_tokens, .n_used = USED});
	k_gated(&(struct gated_params){.gate = parts,
				       .up = parts + FF,
				       .y = y_parts,
				       .n_rows = f_tokens * USED,
				       .n = FF,
				       .gate_stride = 2 * FF,
				       .up_stride = 2 * FF,
				       .y_stride = FF});
	assert_memory_equal(y, y_parts, (size_t)f_tokens * USED * FF * 4);
	weight_free(&t);
	free(x);
	free(gate_up);
	free(parts);
	free(y);
	free(y_parts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH_ISA(test_norm_matmul),
		EACH_INNER(test_norm_add),
		EACH_ISA(test_gated_matmuls),
		EACH_ISA(test_experts_gated),
	};

	int failed = 0;
	for (f_tokens = 1; f_tokens <= MOST_TOKENS; f_tokens++) {
		char name[32];
		snprintf(name, sizeof name, "%d tokens", f_tokens);
		failed += cmocka_run_group_tests_name(name, tests, NULL, NULL);
	}
	return failed != 0;
}
