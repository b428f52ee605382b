/*
 * The CUDA kernels of prompts in float16 against the host's, which are compositions of kernels with tests of their own
 * and sums in double: shapes of models and odd ones, experts with no token and with all. Tolerances are stated, and
 * derived, where a kernel is tested; what is rounded to float16 may be one step off.
 *
 *   test_kernels_cuda_prompt              each test in a process of its own
 *   test_kernels_cuda_prompt NAME         one of them, here
 *   test_kernels_cuda_prompt --few [...]  a fraction of the shapes, for compute-sanitizer
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
#include "kernels/cpu/cache_rows.h"
#include "tests/support/kernel_case.h"

static float *scales(struct pair *p, int n)
{
	return pair_scales(p, n, -6, 8);
}

/* Scales that a kernel finds: the host's, where no largest is within a rounding of a power of two. */
static float *scales_found(struct pair *p, int n)
{
	return pair_buffer(p, "y's scales", PAIR_EXACT, TENSOR_F32, (size_t)n, 0);
}

/* ---- conversions ---- */

/* Roundings to nearest of the same values: the same bits. */
static void test_dequant(void **state)
{
	(void)state;
	static const int shapes[][2] = {{32, 5}, {64, 130}, {1536, 97}, {2560, 64}, {2816, 40}, {1000, 7}};
	struct pair *p = kernel_case_open();
	for (size_t i = 0; i < COUNT(shapes) * PAIR_LAYOUTS * 2; i++) {
		struct pair_layout l = pair_layouts[i / 2 % PAIR_LAYOUTS];
		int n_in = shapes[i / 2 / PAIR_LAYOUTS][0], n_out = shapes[i / 2 / PAIR_LAYOUTS][1], first = n_out / 3;
		int type = i % 2 ? TENSOR_F32 : TENSOR_F16;
		if (n_in % pair_layout_block(l) || left_out(i))
			continue;
		struct dequant_params m = {
			.w = pair_weight(p, l, n_in, n_out, 1, 0),
			.y = pair_buffer(p, "y", PAIR_EXACT, type, (size_t)(n_out - first) * (size_t)n_in, 0),
			.first_row = first,
			.n_rows = n_out - first,
			.y_type = type,
		};
		pair_run(p, KERNEL_dequant, &m, NULL, "%s n_in %d n_out %d to %d", l.name, n_in, n_out, type);
		pair_check(p, 0);
	}
	kernel_case_close(p);
}

/* Rows far beyond what float16 holds and far below it, and one of zeros. */
static void test_to_f16(void **state)
{
	(void)state;
	static const int shapes[][3] = {{3, 2048, 2048}, {9, 4096, 4096}, {20, 64, 72}, {5, 13, 17}, {1, 7, 7}};
	static const int powers[] = {0, 40, -40, -90, 100};
	struct pair *p = kernel_case_open();
	for (size_t i = 0; i < COUNT(shapes); i++) {
		int rows = shapes[i][0], n = shapes[i][1], stride = shapes[i][2];
		float *x = pair_floats(p, "x", (size_t)rows * (size_t)stride, 3, 0);
		for (int r = 0; r < rows; r++)
			for (int k = 0; k < stride; k++) {
				float *at = x + (size_t)r * (size_t)stride + (size_t)k;
				*at = r == 7 ? 0 : ldexpf(*at, powers[r % (int)COUNT(powers)]);
			}
		struct to_f16_params m = {
			.x = x,
			.y = pair_buffer(p, "y", PAIR_EXACT, TENSOR_F16, (size_t)rows * (size_t)n, 0),
			.y_scale = scales_found(p, rows),
			.n_rows = rows,
			.n = n,
			.x_stride = stride,
		};
		pair_run(p, KERNEL_to_f16, &m, NULL, "rows %d n %d stride %d", rows, n, stride);
		pair_check(p, 0);
	}
	kernel_case_close(p);
}

static void test_scale_rows(void **state)
{
	(void)state;
	static const int shapes[][3] = {{3, 2048, 2048}, {20, 64, 72}, {70000, 3, 5}, {1, 257, 257}};
	struct pair *p = kernel_case_open();
	for (size_t i = 0; i < COUNT(shapes); i++) {
		int rows = shapes[i][0], n = shapes[i][1], stride = shapes[i][2];
		size_t all = (size_t)rows * (size_t)stride;
		float *y = pair_buffer(p, "y", PAIR_EXACT, TENSOR_F32, all, 0);
		for (size_t k = 0; k < all; k++)
			y[k] = pair_float(p, 3);
		struct scale_rows_params m = {
			.y = y, .scale = scales(p, rows), .n_rows = rows, .n = n, .y_stride = stride};
		pair_run(p, KERNEL_scale_rows, &m, NULL, "rows %d n %d stride %d", rows, n, stride);
		pair_check(p, 0);
	}
	kernel_case_close(p);
}

/* ---- norms ---- */

static const int widths[] = {8, 72, 256, 1536, 2560, 2816, 3840, 5376, 8192};

/* A sum of n squares under a root, and a product of four: half the sum's relative error, and a few roundings. */
static void test_prompt_norm(void **state)
{
	(void)state;
	struct pair *p = kernel_case_open();
	for (size_t i = 0; i < COUNT(widths) * 2; i++) {
		int n = widths[i / 2], rows = 1 + (int)(i * 7 % 12);
		size_t all = (size_t)rows * (size_t)n;
		if (left_out(i))
			continue;
		struct prompt_norm_params m = {
			.x = pair_floats(p, "x", all, 3, 0),
			.weight = i % 2 ? pair_floats(p, "weight", (size_t)n, 2, 0) : NULL,
			.y = pair_buffer(p, "y", PAIR_OUTPUT, TENSOR_F16, all, 0),
			.y_scale = scales_found(p, rows),
			.n_rows = rows,
			.n = n,
			.eps = 1e-6f,
			.scale = 0.37f,
		};
		pair_run(p, KERNEL_prompt_norm, &m, NULL, "n %d rows %d", n, rows);
		pair_check(p, sum_of(n));
	}
	kernel_case_close(p);
}

static void test_prompt_residual(void **state)
{
	(void)state;
	struct pair *p = kernel_case_open();
	for (size_t i = 0; i < COUNT(widths) * 6; i++) {
		int n = widths[i / 6], rows = 1 + (int)(i * 5 % 9);
		bool weighted = i % 2, normed = i / 2 % 3 == 2, written = i / 2 % 3;
		size_t all = (size_t)rows * (size_t)n;
		if (left_out(i))
			continue;
		float *h = pair_buffer(p, "h", PAIR_OUTPUT, TENSOR_F32, all, 0);
		for (size_t k = 0; k < all; k++)
			h[k] = pair_float(p, 4);
		struct prompt_residual_params m = {
			.h = h,
			.b = pair_floats(p, "b", all, 3, 0),
			.b_scale = i % 4 > 1 ? scales(p, rows) : NULL,
			.weight = weighted ? pair_floats(p, "weight", (size_t)n, 2, 0) : NULL,
			.next = normed ? pair_floats(p, "next", (size_t)n, 2, 0) : NULL,
			.y = written ? pair_buffer(p, "y", PAIR_OUTPUT, TENSOR_F16, all, 0) : NULL,
			.y_scale = written ? scales_found(p, rows) : NULL,
			.n_rows = rows,
			.n = n,
			.eps = 1e-6f,
			.scale = 0.37f,
		};
		pair_run(p, KERNEL_prompt_residual, &m, NULL, "n %d rows %d weight %d next %d y %d", n, rows, weighted,
			 normed, written);
		/* Two norms, one in the other, and the addition between them. */
		pair_check(p, 3 * sum_of(n));
	}
	kernel_case_close(p);
}

/* ---- gates ---- */

static void test_prompt_gated(void **state)
{
	(void)state;
	/* rows, n, gate_stride, up_stride, up_type: gate and up of one product, and a per-layer embedding. */
	static const int shapes[][5] = {
		{9, 10240, 20480, 20480, TENSOR_F16}, {17, 256, 256, 10752, TENSOR_F32}, {3, 8, 16, 24, TENSOR_F16},
		{70, 2112, 4224, 4224, TENSOR_F16},   {11, 72, 80, 88, TENSOR_F32},
	};
	struct pair *p = kernel_case_open();
	for (size_t i = 0; i < COUNT(shapes) * 2; i++) {
		const int *s = shapes[i / 2];
		size_t rows = (size_t)s[0], all = rows * (size_t)s[1];
		if (left_out(i))
			continue;
		float *up = s[4] == TENSOR_F32 ? pair_floats(p, "up", rows * (size_t)s[3], 2, 0) : NULL;
		for (size_t k = 0; up && s[1] == 72 && k < rows * (size_t)s[3]; k++)
			up[k] *= 1e5f; /* beyond what float16 holds */
		struct prompt_gated_params m = {
			.gate = pair_halves(p, "gate", rows * (size_t)s[2]),
			.up = up ? (void *)up : pair_halves(p, "up", rows * (size_t)s[3]),
			.x_scale = scales(p, s[0]),
			.y = pair_buffer(p, "y", PAIR_OUTPUT, TENSOR_F16, all, 0),
			.y_scale = scales_found(p, s[0]),
			.n_rows = s[0],
			.n = s[1],
			.gate_stride = s[2],
			.up_stride = s[3],
			.up_type = s[4],
			.act = i % 2 ? ACTIVATION_SILU : ACTIVATION_GELU_TANH,
		};
		pair_run(p, KERNEL_prompt_gated, &m, NULL, "rows %d n %d strides %d %d up %d act %d", s[0], s[1], s[2],
			 s[3], s[4], m.act);
		pair_check(p, FUNCTION);
	}
	kernel_case_close(p);
}

/* ---- products ---- */

/*
 * Through cuBLASLt: float32 sums of products of operands of 11 bits, which are exact. Tensor cores cut off where
 * they add, so each of their roundings is twice as wide; as in test_kernels_cuda_products.c.
 */
static void test_prompt_matmul(void **state)
{
	(void)state;
	static const int shapes[][3] = {{64, 64, 9},     {128, 200, 33},  {2560, 3072, 20}, {2560, 256, 130},
					{256, 2560, 17}, {10240, 256, 9}, {1536, 2056, 64}};
	struct pair *p = pair_open(&(struct cuda_open_options){
		.dims = {.n_head_dims = 1, .head_dims = {64}, .k_type = -1, .v_type = -1},
		.pdl = true,
		.prefill = PREFILL_F16,
		.batch = 200,
		.n_in_max = 10240,
	});
	for (size_t i = 0; i < COUNT(shapes) * PAIR_LAYOUTS * 2; i++) {
		struct pair_layout l = pair_layouts[i / 2 % PAIR_LAYOUTS];
		const int *s = shapes[i / 2 / PAIR_LAYOUTS];
		int n_in = s[0], n_out = s[1], n = s[2], stride = n_out + 8 * (int)(i % 3);
		int type = i % 2 ? TENSOR_F32 : TENSOR_F16;
		if (n_in % pair_layout_block(l) || left_out(i) || (kernel_case_few && (int64_t)n_in * n_out > 300000))
			continue;
		struct prompt_matmul_params m = {
			.w = pair_weight(p, l, n_in, n_out, 1, 0),
			.x = pair_halves(p, "x", (size_t)n * (size_t)n_in),
			.y = pair_buffer(p, "y", PAIR_OUTPUT, type, (size_t)n * (size_t)stride, 0),
			.scale = i % 4 == 1 ? scales(p, n) : NULL,
			.n_tokens = n,
			.y_stride = stride,
			.y_type = type,
		};
		pair_run(p, KERNEL_prompt_matmul, &m, NULL, "%s n_in %d n_out %d tokens %d stride %d to %d", l.name,
			 n_in, n_out, n, stride, type);
		pair_magnitude_rows(p, m.y, (size_t)stride);
		pair_check(p, 2 * sum_of(n_in));
	}
	kernel_case_close(p);
}

/* ---- q, k and v ---- */

struct rows_case {
	int tokens, heads, kv_heads, head_dim, ring;
	int k_type, v_type;
	bool owns, v_is_k, v_norm, out, on_device;
};

/* The GPU's cache has the bytes that the host makes of what the GPU has beside it; without a ring. */
static void check_rows(struct pair *p, const struct rows_case *c, const float *rows, const void *cache, int type,
		       int slot0)
{
	const float *got = pair_got(p, rows);
	const char *cached = pair_got(p, cache);
	size_t bytes = (size_t)cache_row_bytes(type, c->head_dim), hd = (size_t)c->head_dim;
	char want[4 * 512];
	for (int i = 0; i < c->tokens * c->kv_heads; i++) {
		int t = i / c->kv_heads, h = i % c->kv_heads;
		size_t slot = (size_t)(h * (c->tokens + 40) + slot0 + t);
		cache_store(cpu_inner(), got + (size_t)i * hd, type, want, hd);
		if (memcmp(cached + slot * bytes, want, bytes))
			fail_msg("head_dim %d, type %d: token %d, head %d: not the host's bytes", c->head_dim, type, t,
				 h);
	}
}

static void rows_case(struct pair *p, const struct rows_case *c)
{
	size_t hd = (size_t)c->head_dim, tokens = (size_t)c->tokens;
	int stride = c->heads * c->head_dim + (c->owns ? c->kv_heads * c->head_dim * (c->v_is_k ? 1 : 2) : 0);
	size_t n_kv = tokens * (size_t)c->kv_heads * hd;
	bool q8_0 = c->k_type == TENSOR_Q8_0 || c->v_type == TENSOR_Q8_0;
	float *freq = pair_buffer(p, "frequencies", PAIR_INPUT, TENSOR_F32, hd / 2, 0);
	for (size_t j = 0; j < hd / 2; j++)
		freq[j] = powf(1e4f, -(float)j / (float)(hd / 2));
	struct prompt_qkv_params m = {
		.at = pair_at(p, (struct step){.pos = 1029, .evicted = c->ring ? 0 : 1000}, c->on_device),
		.rows = pair_floats(p, "rows", tokens * (size_t)stride, 2, 0),
		.scale = c->v_is_k ? NULL : scales(p, c->tokens),
		.q = pair_buffer(p, "q", PAIR_OUTPUT, TENSOR_F32, tokens * (size_t)c->heads * hd, 0),
		.q_norm = pair_floats(p, "q norm", hd, 2, 0),
		.k_norm = pair_floats(p, "k norm", hd, 2, 0),
		.inv_freq = freq,
		.kv = pair_cache(p, q8_0 ? PAIR_SCRATCH : PAIR_OUTPUT, c->k_type, c->v_type, c->kv_heads, c->head_dim,
				 c->ring ? c->ring : c->tokens + 40, c->ring),
		.n_tokens = c->tokens,
		.n_heads = c->heads,
		.head_dim = c->head_dim,
		.stride = stride,
		.owns = c->owns,
		.v_is_k = c->v_is_k,
		.v_norm = c->v_norm,
		.eps = 1e-6f,
	};
	if (c->out) {
		m.k_out = pair_buffer(p, "k", PAIR_OUTPUT, TENSOR_F32, n_kv, 0);
		m.v_out = pair_buffer(p, "v", PAIR_OUTPUT, TENSOR_F32, n_kv, 0);
	}
	pair_run(p, KERNEL_prompt_qkv, &m, NULL,
		 "tokens %d heads %d/%d of %d ring %d owns %d v_is_k %d v_norm %d out %d", c->tokens, c->heads,
		 c->kv_heads, c->head_dim, c->ring, c->owns, c->v_is_k, c->v_norm, c->out);
	/* A norm, and a turn by an angle whose own product is the same on both; an element with its pair's error. */
	pair_magnitude_pairs(p, m.q, hd);
	if (c->out)
		pair_magnitude_pairs(p, m.k_out, hd);
	if (q8_0) {
		check_rows(p, c, m.k_out, m.kv.k, c->k_type, 29);
		check_rows(p, c, m.v_out, m.kv.v, c->v_type, 29);
	}
	pair_check(p, sum_of(c->head_dim) + 4 * FUNCTION);
}

static void test_prompt_qkv(void **state)
{
	(void)state;
	static const struct rows_case cases[] = {
		{20, 8, 2, 256, 0, TENSOR_F16, TENSOR_F16, true, false, true, false, false},
		{33, 8, 2, 512, 0, TENSOR_BF16, TENSOR_BF16, true, true, true, true, false},
		{40, 16, 8, 256, 33, TENSOR_F32, TENSOR_F32, true, false, true, true, true},
		{9, 4, 4, 64, 0, TENSOR_F32, TENSOR_F32, true, false, false, false, true},
		{9, 6, 3, 96, 16, TENSOR_F16, TENSOR_F16, true, true, false, true, false},
		{17, 32, 8, 128, 0, TENSOR_F32, TENSOR_F32, true, false, false, false, false},
		{12, 8, 1, 256, 0, TENSOR_F16, TENSOR_F16, false, false, true, false, false},
		{10, 2, 1, 32, 0, TENSOR_F32, TENSOR_F32, true, false, true, true, false},
		{20, 8, 2, 256, 0, TENSOR_Q8_0, TENSOR_Q8_0, true, false, true, true, false},
		{9, 8, 2, 512, 0, TENSOR_Q8_0, TENSOR_F16, true, true, true, true, true},
		{9, 6, 3, 96, 0, TENSOR_BF16, TENSOR_Q8_0, true, false, true, true, false},
		{5, 4, 4, 32, 0, TENSOR_Q8_0, TENSOR_Q8_0, true, false, false, true, false},
	};
	struct pair *p = kernel_case_open();
	for (size_t i = 0; i < COUNT(cases); i++)
		if (!left_out(i))
			rows_case(p, &cases[i]);
	kernel_case_close(p);
}

/* ---- experts ---- */

enum ids { IDS_RANDOM, IDS_ONE, IDS_FEW };

/* Each token takes n_used different experts: any, those around one, or the first ones. */
static int *draw_ids(struct pair *p, int n_tokens, int n_used, int n_expert, enum ids kind)
{
	int *ids = pair_buffer(p, "ids", PAIR_INPUT, PAIR_INT, (size_t)(n_tokens * n_used), 0);
	for (int t = 0; t < n_tokens; t++) {
		int from = kind == IDS_RANDOM ? pair_between(p, 0, n_expert - 1) : kind == IDS_ONE ? n_expert / 2 : 0;
		int step = kind == IDS_RANDOM ? 1 + 2 * pair_between(p, 0, 3) : 1;
		for (int u = 0; u < n_used; u++)
			ids[t * n_used + u] = (from + u * step) % n_expert;
	}
	return ids;
}

static void test_moe_sort(void **state)
{
	(void)state;
	static const int shapes[][3] = {{1, 1, 1},      {9, 2, 8},    {300, 8, 128},
					{2048, 8, 128}, {33, 7, 257}, {513, 1, 40}};
	struct pair *p = kernel_case_open();
	for (size_t i = 0; i < COUNT(shapes) * 3; i++) {
		int n = shapes[i / 3][0] * shapes[i / 3][1], n_expert = shapes[i / 3][2];
		struct moe_sort_params m = {
			.ids = draw_ids(p, shapes[i / 3][0], shapes[i / 3][1], n_expert, (enum ids)(i % 3)),
			.order = pair_buffer(p, "order", PAIR_EXACT, PAIR_INT, (size_t)n, 0),
			.starts = pair_buffer(p, "starts", PAIR_EXACT, PAIR_INT, (size_t)n_expert + 1, 0),
			.n_pairs = n,
			.n_expert = n_expert,
		};
		pair_run(p, KERNEL_moe_sort, &m, NULL, "pairs %d experts %d ids %d", n, n_expert, (int)(i % 3));
		pair_check(p, 0);
	}
	kernel_case_close(p);
}

/* In ascending order of experts, by counting. */
static void sorted(struct pair *p, const int *ids, int n_pairs, int n_expert, int **order, int **starts)
{
	*order = pair_buffer(p, "order", PAIR_INPUT, PAIR_INT, (size_t)n_pairs, 0);
	*starts = pair_buffer(p, "starts", PAIR_INPUT, PAIR_INT, (size_t)n_expert + 1, 0);
	int n = 0;
	for (int e = 0; e < n_expert; e++) {
		(*starts)[e] = n;
		for (int i = 0; i < n_pairs; i++)
			if (ids[i] == e)
				(*order)[n++] = i;
	}
	(*starts)[n_expert] = n;
}

struct experts_case {
	int tokens, used, experts, n_in, n_out;
	enum ids ids;
};

/* Tiles that are full, short and missing; widths of several stages and of one, of blocks of 256 and not; columns of a
 * half tile. */
static const struct experts_case experts_cases[] = {
	{9, 2, 8, 128, 64, IDS_RANDOM},    {64, 1, 4, 64, 64, IDS_ONE},        {65, 1, 4, 256, 192, IDS_ONE},
	{100, 3, 5, 320, 128, IDS_FEW},    {40, 8, 128, 704, 192, IDS_RANDOM}, {130, 2, 3, 256, 64, IDS_RANDOM},
	{33, 4, 40, 2816, 64, IDS_RANDOM}, {65, 1, 3, 512, 96, IDS_FEW},       {70, 2, 6, 768, 160, IDS_RANDOM},
};
enum { EXPERTS_CASES = COUNT(experts_cases) };

/* Of these kernels: all but the blocks of Q8_0's file. */
static bool taken(struct pair_layout l, const struct experts_case *c)
{
	return (l.type != TENSOR_Q8_0 || l.planes) && c->n_in % pair_layout_block(l) == 0;
}

static void test_prompt_experts_gated(void **state)
{
	(void)state;
	struct pair *p = kernel_case_open();
	for (size_t i = 0; i < (size_t)EXPERTS_CASES * PAIR_LAYOUTS; i++) {
		const struct experts_case *c = &experts_cases[i / PAIR_LAYOUTS];
		struct pair_layout l = pair_layouts[i % PAIR_LAYOUTS];
		int n_pairs = c->tokens * c->used, *order, *starts;
		if (!taken(l, c) || (kernel_case_few && i / PAIR_LAYOUTS > 2))
			continue;
		sorted(p, draw_ids(p, c->tokens, c->used, c->experts, c->ids), n_pairs, c->experts, &order, &starts);
		struct prompt_experts_gated_params m = {
			.w = pair_weight(p, l, c->n_in, 2 * c->n_out, c->experts, 0),
			.order = order,
			.starts = starts,
			.x = pair_halves(p, "x", (size_t)c->tokens * (size_t)c->n_in),
			.scale = scales(p, c->tokens),
			.y = pair_buffer(p, "y", PAIR_OUTPUT, TENSOR_F16, (size_t)n_pairs * (size_t)c->n_out, 0),
			.n_tokens = c->tokens,
			.n_used = c->used,
			.act = i % 2 ? ACTIVATION_SILU : ACTIVATION_GELU_TANH,
		};
		pair_run(p, KERNEL_prompt_experts_gated, &m, NULL, "%s tokens %d used %d of %d n_in %d n_ff %d ids %d",
			 l.name, c->tokens, c->used, c->experts, c->n_in, c->n_out, (int)c->ids);
		/* The sums' errors, twice as tensor cores cut off, each times the other factor: both are about as wide
		 * as the result. */
		pair_check(p, 2 * 2.3 * sum_of(c->n_in) + FUNCTION);
	}
	kernel_case_close(p);
}

static void test_prompt_experts_matmul(void **state)
{
	(void)state;
	struct pair *p = kernel_case_open();
	for (size_t i = 0; i < (size_t)EXPERTS_CASES * PAIR_LAYOUTS; i++) {
		const struct experts_case *c = &experts_cases[i / PAIR_LAYOUTS];
		struct pair_layout l = pair_layouts[i % PAIR_LAYOUTS];
		int n_pairs = c->tokens * c->used, *order, *starts;
		if (!taken(l, c) || (kernel_case_few && i / PAIR_LAYOUTS > 2))
			continue;
		sorted(p, draw_ids(p, c->tokens, c->used, c->experts, c->ids), n_pairs, c->experts, &order, &starts);
		struct prompt_experts_matmul_params m = {
			.w = pair_weight(p, l, c->n_in, c->n_out, c->experts, 0),
			.order = order,
			.starts = starts,
			.x = pair_halves(p, "x", (size_t)n_pairs * (size_t)c->n_in),
			.scale = scales(p, c->tokens),
			.y = pair_buffer(p, "y", PAIR_OUTPUT, TENSOR_F32, (size_t)n_pairs * (size_t)c->n_out, 0),
			.n_pairs = n_pairs,
			.n_used = c->used,
		};
		pair_run(p, KERNEL_prompt_experts_matmul, &m, NULL, "%s pairs %d of %d n_in %d n_out %d ids %d", l.name,
			 n_pairs, c->experts, c->n_in, c->n_out, (int)c->ids);
		pair_magnitude_rows(p, m.y, (size_t)c->n_out);
		pair_check(p, 2 * sum_of(c->n_in));
	}
	kernel_case_close(p);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		{"dequant", test_dequant, NULL, NULL, NULL},
		{"to_f16", test_to_f16, NULL, NULL, NULL},
		{"scale_rows", test_scale_rows, NULL, NULL, NULL},
		{"prompt_norm", test_prompt_norm, NULL, NULL, NULL},
		{"prompt_residual", test_prompt_residual, NULL, NULL, NULL},
		{"prompt_gated", test_prompt_gated, NULL, NULL, NULL},
		{"prompt_matmul", test_prompt_matmul, NULL, NULL, NULL},
		{"prompt_qkv", test_prompt_qkv, NULL, NULL, NULL},
		{"moe_sort", test_moe_sort, NULL, NULL, NULL},
		{"prompt_experts_gated", test_prompt_experts_gated, NULL, NULL, NULL},
		{"prompt_experts_matmul", test_prompt_experts_matmul, NULL, NULL, NULL},
	};
	return kernel_case_main(argc, argv, "prompt kernels on the GPU", tests, COUNT(tests));
}
