/*
 * The CUDA device's matrix products against the host's, whose own tests compare it with references in
 * double: types, odd sizes, unaligned data, strides, experts. Tolerances are
 * stated, and derived, where a kernel is tested.
 *
 *   test_kernels_cuda_products              each test in a process of its own
 *   test_kernels_cuda_products NAME         one of them, here
 *   test_kernels_cuda_products --few [...]  a fraction of the shapes, for compute-sanitizer
 *
 * Exit code 77 without a GPU.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/model/gguf.h"
#include "kernels/tiles.h"
#include "tests/support/kernel_case.h"

struct shape {
	int n_in, n_out;
};

/* Odd and small ones; lengths around a chunk (128, 256 or 512 elements); E4B's; others' widths. */
static const struct shape shapes[] = {
	{1, 1},        {7, 5},        {31, 3},     {33, 101},    {32, 1},      {32, 3},       {64, 97},
	{96, 200},     {128, 129},    {160, 77},   {256, 10752}, {512, 131},   {544, 33},     {1056, 193},
	{2080, 130},   {2816, 704},   {704, 2816}, {1536, 6144}, {2560, 2048}, {2560, 3072},  {2560, 10240},
	{10240, 2560}, {2560, 256},   {256, 2560}, {2048, 2560}, {4096, 2560}, {2560, 10752}, {3840, 15361},
	{15360, 3840}, {21504, 1000}, {511, 9},    {513, 10},    {1000, 1003},
};

static bool possible(struct pair_layout l, int n_in)
{
	return n_in % pair_layout_block(l) == 0;
}

static bool too_large_for_few(struct shape s)
{
	return kernel_case_few && (int64_t)s.n_in * s.n_out > 300000;
}

static void matmul_case(struct pair *p, struct pair_layout l, struct shape s, int n_tokens, size_t offset)
{
	int x_stride = s.n_in + (n_tokens > 1 ? n_tokens % 3 : 0),
	    y_stride = s.n_out + (n_tokens > 1 ? n_tokens % 5 : 0);
	struct matmul_params m = {
		.w = pair_weight(p, l, s.n_in, s.n_out, 1, offset),
		.x = pair_floats(p, "x", (size_t)n_tokens * (size_t)x_stride, 2, offset),
		.y = pair_buffer(p, "y", PAIR_OUTPUT, TENSOR_F32, (size_t)n_tokens * (size_t)y_stride, offset),
		.n_tokens = n_tokens,
		.x_stride = x_stride,
		.y_stride = y_stride,
	};
	pair_run(p, KERNEL_matmul, &m, NULL, "%s n_in %d n_out %d tokens %d strides %d %d offset %zu", l.name, s.n_in,
		 s.n_out, n_tokens, x_stride, y_stride, offset);
	tolerance_matmul(p, &m);
	pair_check(p, sum_of(s.n_in));
}

static void test_matmul(void **state)
{
	(void)state;
	struct pair *p = kernel_case_open();
	for (size_t i = 0; i < COUNT(shapes) * PAIR_LAYOUTS; i++) {
		struct pair_layout l = pair_layouts[i % PAIR_LAYOUTS];
		struct shape s = shapes[i / PAIR_LAYOUTS];
		if (!possible(l, s.n_in) || too_large_for_few(s) || left_out(i))
			continue;
		matmul_case(p, l, s, 1, 0);
		if (s.n_in < 600)
			matmul_case(p, l, s, 1, 4); /* no 16-byte loads */
	}
	for (int i = 0; i < (kernel_case_few ? 10 : 150); i++) {
		struct pair_layout l = pair_layouts[pair_between(p, 0, PAIR_LAYOUTS - 1)];
		int block = pair_layout_block(l),
		    n_in = pair_between(p, 1, block > 32 ? 12 : 100) * (block > 1 ? block : 8);
		matmul_case(p, l, (struct shape){n_in, pair_between(p, 1, 900)}, 1, 0);
	}
	kernel_case_close(p);
}

/* The head: more rows than any other matrix has, an odd number of them. */
static void test_matmul_head(void **state)
{
	(void)state;
	struct pair *p = kernel_case_open();
	matmul_case(p, pair_layouts[3], (struct shape){kernel_case_few ? 64 : 2560, kernel_case_few ? 40001 : 262143},
		    1, 0);
	kernel_case_close(p);
}

static void test_matmul_tokens(void **state)
{
	(void)state;
	static const int tokens[] = {2, 3, 8, 9, 17, 64, 65, 130};
	struct pair *p = kernel_case_open();
	for (size_t i = 0; i < COUNT(shapes) * PAIR_LAYOUTS; i++) {
		struct pair_layout l = pair_layouts[i % PAIR_LAYOUTS];
		struct shape s = shapes[i / PAIR_LAYOUTS];
		if (!possible(l, s.n_in) || (int64_t)s.n_in * s.n_out > (kernel_case_few ? 30000 : 3000000) ||
		    left_out(i))
			continue;
		matmul_case(p, l, s, tokens[i % COUNT(tokens)], s.n_in < 600 && i % 2 ? 4 : 0);
	}
	kernel_case_close(p);
}

/*
 * Through cuBLASLt, which takes 9 tokens and more. f16 promises a float32 sum of the products of operands rounded
 * to nearest: the host gets them rounded. Tensor cores cut off where they add, so each of their
 * roundings is twice as wide.
 */
static void prefill_case(struct pair *p, struct pair_layout l, struct shape s, int n, enum prefill_precision precision)
{
	size_t n_x = (size_t)n * (size_t)s.n_in;
	bool f16 = precision == PREFILL_F16;
	struct matmul_params m = {
		.w = pair_weight(p, l, s.n_in, s.n_out, 1, 0),
		.x = pair_floats(p, "x", n_x, 2, 0),
		.y = pair_buffer(p, "y", PAIR_OUTPUT, TENSOR_F32, (size_t)n * (size_t)s.n_out, 0),
		.n_tokens = n,
		.x_stride = s.n_in,
		.y_stride = s.n_out,
	};
	struct matmul_params rounded = m;
	if (f16) {
		float *x = pair_buffer(p, "x in f16", PAIR_INPUT, TENSOR_F32, n_x, 0);
		for (int t = 0; t < n; t++)
			pair_row_as_f16(m.x + (size_t)t * (size_t)s.n_in, x + (size_t)t * (size_t)s.n_in,
					(size_t)s.n_in);
		rounded.w = pair_weight_as_f16(p, &m.w);
		rounded.x = x;
	}
	pair_run(p, KERNEL_matmul, &m, &rounded, "%s prefill %s n_in %d n_out %d tokens %d", l.name,
		 prefill_precision_name(precision), s.n_in, s.n_out, n);
	tolerance_matmul(p, &m);
	pair_check(p, f16 ? 2 * sum_of(s.n_in) : sum_of(s.n_in));
}

static void test_matmul_prefill(void **state)
{
	(void)state;
	static const struct shape wide[] = {{64, 64},    {96, 200},    {2560, 2048},
					    {2560, 257}, {256, 10752}, {10240, 2560}};
	static const int tokens[] = {9, 16, 33, 128, 200};
	for (int precision = PREFILL_F16; precision <= PREFILL_F32; precision++) {
		struct pair *p = pair_open(&(struct cuda_open_options){
			.dims = {.n_head_dims = 1, .head_dims = {64}, .k_type = -1, .v_type = -1},
			.pdl = true,
			.prefill = (enum prefill_precision)precision,
			.batch = 200,
			.n_in_max = 10240,
		});
		for (size_t i = 0; i < COUNT(wide) * COUNT(tokens) * PAIR_LAYOUTS; i++) {
			struct shape s = wide[i / PAIR_LAYOUTS % COUNT(wide)];
			int n = tokens[i / PAIR_LAYOUTS / COUNT(wide)];
			struct pair_layout l = pair_layouts[i % PAIR_LAYOUTS];
			if (possible(l, s.n_in) && !too_large_for_few(s) && !left_out(i) &&
			    (int64_t)s.n_in * s.n_out * n <= 1000000000)
				prefill_case(p, l, s, n, (enum prefill_precision)precision);
		}
		kernel_case_close(p);
	}
}

/* The host's: norm(x) * weight, (n), the caller frees it. */
static float *normed_on_host(const float *x, const float *weight, int n, float eps)
{
	double squares = 0;
	for (int i = 0; i < n; i++)
		squares += (double)x[i] * (double)x[i];
	double factor = 1 / sqrt(squares / n + (double)eps);
	float *y = malloc((size_t)n * sizeof *y);
	assert_non_null(y);
	for (int i = 0; i < n; i++)
		y[i] = (float)((double)x[i] * factor * (double)weight[i]);
	return y;
}

/* With a cap the norm's weights make most logits about as large as it. */
static void norm_matmul_case(struct pair *p, struct pair_layout l, int n, const int n_out[3], int n_matmuls, float cap)
{
	float *norm_weight = pair_buffer(p, "norm weight", PAIR_INPUT, TENSOR_F32, (size_t)n, 0);
	struct norm_matmul_params m = {
		.x = pair_floats(p, "x", (size_t)n, 3, 0),
		.weight = norm_weight,
		.normed = pair_buffer(p, "normed", PAIR_OUTPUT, TENSOR_F32, (size_t)n, 0),
		.n_matmuls = n_matmuls,
		.n_tokens = 1,
		.n = n,
		.eps = 1e-6f,
		.cap = cap,
	};
	double *norms[3];
	for (int i = 0; i < n_matmuls; i++) {
		m.w[i] = pair_weight(p, l, n, n_out[i], 1, 0);
		m.y[i] = pair_buffer(p,
				     i == 0   ? "y[0]"
				     : i == 1 ? "y[1]"
					      : "y[2]",
				     PAIR_OUTPUT, TENSOR_F32, (size_t)n_out[i], 0);
		norms[i] = pair_row_norms(&m.w[i]);
	}
	double squares = 0;
	for (int r = 0; r < n_out[0]; r++)
		squares += norms[0][r] * norms[0][r];
	float width = cap > 0 ? cap * sqrtf(3) / (float)sqrt(squares / n_out[0]) : 1;
	for (int i = 0; i < n; i++)
		norm_weight[i] = pair_float(p, width);
	pair_run(p, KERNEL_norm_matmul, &m, NULL, "%s n %d matmuls %d of %d %d %d rows, cap %g", l.name, n, n_matmuls,
		 n_out[0], n_out[1], n_out[2], (double)cap);
	float *x = normed_on_host(m.x, m.weight, n, m.eps);
	for (int i = 0; i < n_matmuls; i++) {
		tolerance_product(p, m.y[i], 0, &m.w[i], 0, norms[i], x, 0);
		free(norms[i]);
	}
	double *normed = pair_magnitude(p, m.normed);
	for (int i = 0; i < n; i++)
		normed[i] = 0;
	free(x);
	/* The cap's slope is at most 1. */
	pair_check(p, sum_of(n) + (cap > 0 ? FUNCTION : 0));
}

static void test_norm_matmul(void **state)
{
	(void)state;
	static const int outs[][3] = {{1, 1, 1},     {3, 7, 5},        {64, 32, 32},
				      {101, 99, 33}, {2048, 512, 512}, {4096, 1024, 1024}};
	static const int widths[] = {32, 96, 256, 544, 2560, 5376};
	struct pair *p = kernel_case_open();
	for (size_t i = 0; i < COUNT(outs) * COUNT(widths) * PAIR_LAYOUTS; i++) {
		struct pair_layout l = pair_layouts[i % PAIR_LAYOUTS];
		int n = widths[i / PAIR_LAYOUTS % COUNT(widths)];
		const int *n_out = outs[i / PAIR_LAYOUTS / COUNT(widths)];
		if (!possible(l, n) || left_out(i) || too_large_for_few((struct shape){n, 2 * n_out[0]}))
			continue;
		norm_matmul_case(p, l, n, n_out, 3, 0);
		norm_matmul_case(p, l, n, n_out, 2, 0);
		norm_matmul_case(p, l, n, n_out, 1, i % 2 ? 30 : 0);
	}
	norm_matmul_case(p, pair_layouts[0], 37, outs[3], 3, 0);
	norm_matmul_case(p, pair_layouts[2], 131, outs[3], 2, 5);
	if (!kernel_case_few)
		norm_matmul_case(p, pair_layouts[3], 2560, (const int[3]){262144, 0, 0}, 1, 30);
	kernel_case_close(p);
}

/* The steepest slope of GELU and of SiLU. */
static const double SLOPE = 1.13;

/*
 * The magnitude of y = act(g) * u, of g and u given as product_magnitude has it: the error of each times what it is
 * multiplied with.
 */
static double gated_error(double gate_magnitude, double up_magnitude, double u, double y)
{
	double act = u != 0 ? fabs(y / u) : 0;
	return SLOPE * gate_magnitude * fabs(u) + act * up_magnitude;
}

static void norm_gated_magnitude(struct pair *p, const struct norm_gated_params *g)
{
	float *x = normed_on_host(g->x, g->weight, g->n, g->eps);
	double *gate = pair_row_norms(&g->w_gate), *up = pair_row_norms(&g->w_up), *m = pair_magnitude(p, g->y),
	       most = 0;
	for (int k = 0; k < g->n; k++)
		most = fmax(most, fabs((double)x[k]));
	for (int r = 0; r < g->w_gate.n_out; r++)
		m[r] = gated_error(gate[r] * most, up[r] * most, (double)g->up[r], (double)g->y[r]);
	free(gate);
	free(up);
	free(x);
}

static void test_norm_gated(void **state)
{
	(void)state;
	struct pair *p = kernel_case_open();
	for (size_t i = 0; i < COUNT(shapes) * PAIR_LAYOUTS; i++) {
		struct pair_layout l = pair_layouts[i % PAIR_LAYOUTS];
		struct shape s = shapes[i / PAIR_LAYOUTS];
		size_t n = (size_t)s.n_in, n_out = (size_t)s.n_out;
		if (!possible(l, s.n_in) || too_large_for_few(s) || left_out(i))
			continue;
		bool in_place = i / PAIR_LAYOUTS % 2;
		struct norm_gated_params g = {
			.x = pair_floats(p, "x", n, 3, 0),
			.weight = pair_floats(p, "norm weight", n, 1, 0),
			.normed = pair_buffer(p, "normed", PAIR_SCRATCH, TENSOR_F32, n, 0),
			.w_gate = pair_weight(p, l, s.n_in, s.n_out, 1, 0),
			.w_up = pair_weight(p, l, s.n_in, s.n_out, 1, 0),
			.up = pair_buffer(p, "up", PAIR_SCRATCH, TENSOR_F32, n_out, 0),
			.y = pair_buffer(p, "y", PAIR_OUTPUT, TENSOR_F32, n_out, 0),
			.n_tokens = 1,
			.n = s.n_in,
			.act = i % 2 ? ACTIVATION_SILU : ACTIVATION_GELU_TANH,
			.eps = 1e-6f,
		};
		g.gate = in_place ? g.y : pair_buffer(p, "gate", PAIR_SCRATCH, TENSOR_F32, n_out, 0);
		pair_run(p, KERNEL_norm_gated, &g, NULL, "%s n %d n_out %d act %d y %s gate", l.name, s.n_in, s.n_out,
			 g.act, in_place ? "is" : "beside");
		norm_gated_magnitude(p, &g);
		pair_check(p, sum_of(s.n_in) + FUNCTION);
	}
	kernel_case_close(p);
}

static void test_matmul_gated(void **state)
{
	(void)state;
	struct pair *p = kernel_case_open();
	for (size_t i = 0; i < COUNT(shapes) * PAIR_LAYOUTS; i++) {
		struct pair_layout l = pair_layouts[i % PAIR_LAYOUTS];
		struct shape s = shapes[i / PAIR_LAYOUTS];
		size_t n_out = (size_t)s.n_out;
		if (!possible(l, s.n_in) || too_large_for_few(s) || left_out(i))
			continue;
		struct matmul_gated_params g = {
			.w = pair_weight(p, l, s.n_in, s.n_out, 1, 0),
			.x = pair_floats(p, "x", (size_t)s.n_in, 2, 0),
			.up = pair_floats(p, "up", n_out, 1, i % 2 ? 4 : 0),
			.y = pair_buffer(p, "y", PAIR_OUTPUT, TENSOR_F32, n_out, 0),
			.n_tokens = 1,
			.up_stride = 12345,
			.act = i % 2 ? ACTIVATION_SILU : ACTIVATION_GELU_TANH,
		};
		g.gate = g.y;
		pair_run(p, KERNEL_matmul_gated, &g, NULL, "%s n_in %d n_out %d act %d", l.name, s.n_in, s.n_out,
			 g.act);
		/* up is given, without an error of its own. */
		double *norms = pair_row_norms(&g.w), *magnitude = pair_magnitude(p, g.y);
		tolerance_product(p, g.y, 0, &g.w, 0, norms, g.x, 0);
		for (int r = 0; r < s.n_out; r++)
			magnitude[r] *= SLOPE * fabs((double)g.up[r]);
		free(norms);
		pair_check(p, sum_of(s.n_in) + FUNCTION);
	}
	kernel_case_close(p);
}

static int *expert_ids(struct pair *p, int n_tokens, int n_used, int n_expert)
{
	int *ids = pair_buffer(p, "ids", PAIR_INPUT, PAIR_INT, (size_t)n_tokens * (size_t)n_used, 0);
	for (int t = 0; t < n_tokens; t++) {
		int first = pair_between(p, 0, n_expert - 1);
		for (int u = 0; u < n_used; u++) /* distinct; the last expert and the first among them */
			ids[t * n_used + u] = (first + u * (n_expert / n_used)) % n_expert;
	}
	return ids;
}

struct experts_shape {
	int n_in, n_out, n_expert, n_used, n_tokens;
};
static const struct experts_shape experts_shapes[] = {
	{32, 2, 3, 1, 1},      {64, 66, 4, 2, 1},      {64, 66, 4, 2, 7},      {96, 202, 8, 8, 3},
	{544, 34, 5, 3, 11},   {704, 2816, 16, 8, 1},  {2816, 1408, 16, 8, 1}, {2816, 1408, 16, 8, 3},
	{160, 78, 128, 8, 40}, {64, 130, 128, 8, 200}, {256, 66, 4, 2, 7},
};

static void test_matmul_experts(void **state)
{
	(void)state;
	struct pair *p = kernel_case_open();
	for (size_t i = 0; i < COUNT(experts_shapes) * PAIR_LAYOUTS * 2; i++) {
		const struct experts_shape *s = &experts_shapes[i / PAIR_LAYOUTS / 2];
		struct pair_layout l = pair_layouts[i / 2 % PAIR_LAYOUTS];
		int odd = (int)(i / 2 % 2), per_expert = (int)(i % 2), pairs = s->n_tokens * s->n_used;
		if (!possible(l, s->n_in) || left_out(i / 2) ||
		    too_large_for_few((struct shape){s->n_in, s->n_out * s->n_expert}))
			continue;
		struct matmul_experts_params m = {
			.w = pair_weight(p, l, s->n_in, s->n_out + odd, s->n_expert, 0),
			.ids = expert_ids(p, s->n_tokens, s->n_used, s->n_expert),
			.x = pair_floats(p, "x", (size_t)(per_expert ? pairs : s->n_tokens) * (size_t)s->n_in, 2, 0),
			.y = pair_buffer(p, "y", PAIR_OUTPUT, TENSOR_F32, (size_t)pairs * (size_t)(s->n_out + odd), 0),
			.n_tokens = s->n_tokens,
			.n_used = s->n_used,
			.x_per_expert = per_expert,
		};
		pair_run(p, KERNEL_matmul_experts, &m, NULL,
			 "%s n_in %d n_out %d experts %d used %d tokens %d x per expert %d", l.name, s->n_in,
			 s->n_out + odd, s->n_expert, s->n_used, s->n_tokens, per_expert);
		double *norms = pair_row_norms(&m.w);
		for (int j = 0; j < pairs; j++)
			tolerance_product(p, m.y, m.w.n_out, &m.w, m.ids[j], norms,
					  m.x + (size_t)(per_expert ? j : j / s->n_used) * (size_t)s->n_in, j);
		free(norms);
		pair_check(p, sum_of(s->n_in));
	}
	kernel_case_close(p);
}

static void experts_magnitude(struct pair *p, const struct experts_gated_params *m)
{
	double *norms = pair_row_norms(&m->w), *magnitude = pair_magnitude(p, m->y);
	int n_ff = m->w.n_out / 2;
	for (int j = 0; j < m->n_tokens * m->n_used; j++) {
		const float *x = m->x + (size_t)(j / m->n_used) * (size_t)m->w.n_in;
		const float *up = m->gate_up + (size_t)j * (size_t)m->w.n_out + n_ff;
		const double *norm = norms + (size_t)m->ids[j] * (size_t)m->w.n_out;
		double most = 0;
		for (int k = 0; k < m->w.n_in; k++)
			most = fmax(most, fabs((double)x[k]));
		for (int r = 0; r < n_ff; r++) {
			size_t at = (size_t)j * (size_t)n_ff + (size_t)r;
			magnitude[at] =
				gated_error(norm[r] * most, norm[n_ff + r] * most, (double)up[r], (double)m->y[at]);
		}
	}
	free(norms);
}

static void test_experts_gated(void **state)
{
	(void)state;
	struct pair *p = kernel_case_open();
	for (size_t i = 0; i < COUNT(experts_shapes) * PAIR_LAYOUTS; i++) {
		const struct experts_shape *s = &experts_shapes[i / PAIR_LAYOUTS];
		struct pair_layout l = pair_layouts[i % PAIR_LAYOUTS];
		size_t pairs = (size_t)s->n_tokens * (size_t)s->n_used;
		if (!possible(l, s->n_in) || left_out(i) ||
		    too_large_for_few((struct shape){s->n_in, s->n_out * s->n_expert}))
			continue;
		struct experts_gated_params m = {
			.w = pair_weight(p, l, s->n_in, s->n_out, s->n_expert, 0),
			.ids = expert_ids(p, s->n_tokens, s->n_used, s->n_expert),
			.x = pair_floats(p, "x", (size_t)s->n_tokens * (size_t)s->n_in, 2, 0),
			.gate_up = pair_buffer(p, "gate_up", PAIR_SCRATCH, TENSOR_F32, pairs * (size_t)s->n_out, 0),
			.y = pair_buffer(p, "y", PAIR_OUTPUT, TENSOR_F32, pairs * (size_t)s->n_out / 2, 0),
			.n_tokens = s->n_tokens,
			.n_used = s->n_used,
			.act = i % 2 ? ACTIVATION_SILU : ACTIVATION_GELU_TANH,
		};
		pair_run(p, KERNEL_experts_gated, &m, NULL, "%s n_in %d n_out %d experts %d used %d tokens %d act %d",
			 l.name, s->n_in, s->n_out, s->n_expert, s->n_used, s->n_tokens, m.act);
		experts_magnitude(p, &m);
		pair_check(p, sum_of(s->n_in) + FUNCTION);
	}
	kernel_case_close(p);
}

/* The same bytes: of one matrix, of three below each other, of gate and up in turn; all rows filled up. */
static void test_persistent_tile(void **state)
{
	(void)state;
	static const int outs[][3] = {{1, 1, 1}, {17, 3, 40}, {64, 32, 32}, {250, 130, 16}};
	static const int widths[] = {32, 256, 288, 2560, 2816};
	struct pair *p = kernel_case_open();
	for (size_t i = 0; i < COUNT(outs) * COUNT(widths) * PAIR_LAYOUTS * 3; i++) {
		struct pair_layout l = pair_layouts[i / 3 % PAIR_LAYOUTS];
		int n_in = widths[i / 3 / PAIR_LAYOUTS % COUNT(widths)], way = (int)(i % 3);
		const int *n_out = outs[i / 3 / PAIR_LAYOUTS / COUNT(widths)];
		if (left_out(i) || (l.type == TENSOR_Q8_0 && !l.planes) || !possible(l, n_in))
			continue;
		struct persistent_tile_params m = {
			.n_w = way == 0   ? 1
			       : way == 1 ? 3
					  : 2,
			.gated = way == 2,
			.tile_bytes =
				i % 2 ? (tile_chunks(n_in) + 1) * tile_unit_bytes(l.type) /* slices that are not even */
				      : tile_row_bytes(l.type, n_in),
		};
		for (int w = 0; w < m.n_w; w++) {
			m.w[w] = pair_weight(p, l, n_in, n_out[m.gated ? 0 : w], 1, 0);
			m.rows[w] = m.w[w].n_out;
			m.n_tiles += m.gated ? 0 : tile_count(m.rows[w]);
		}
		if (m.gated)
			m.n_tiles = (m.w[0].n_out + 7) / 8;
		size_t bytes = (size_t)m.tile_bytes * (size_t)m.n_tiles;
		m.y = pair_buffer(p, "y", PAIR_EXACT, TENSOR_F16, bytes / 2, 0);
		pair_run(p, KERNEL_persistent_tile, &m, NULL, "%s n_in %d n_out %d way %d", l.name, n_in, n_out[0],
			 way);
		pair_check(p, 0);
	}
	kernel_case_close(p);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		{"matmul", test_matmul, NULL, NULL, NULL},
		{"matmul_head", test_matmul_head, NULL, NULL, NULL},
		{"matmul_tokens", test_matmul_tokens, NULL, NULL, NULL},
		{"matmul_prefill", test_matmul_prefill, NULL, NULL, NULL},
		{"norm_matmul", test_norm_matmul, NULL, NULL, NULL},
		{"norm_gated", test_norm_gated, NULL, NULL, NULL},
		{"matmul_gated", test_matmul_gated, NULL, NULL, NULL},
		{"matmul_experts", test_matmul_experts, NULL, NULL, NULL},
		{"experts_gated", test_experts_gated, NULL, NULL, NULL},
		{"persistent_tile", test_persistent_tile, NULL, NULL, NULL},
	};
	return kernel_case_main(argc, argv, "CUDA matrix products", tests, COUNT(tests));
}
