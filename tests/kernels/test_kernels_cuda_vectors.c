/*
 * The CUDA device's vector kernels against the host's, whose own tests compare it with references in
 * double: odd sizes, unaligned data, strides, head dimensions, caches. Tolerances are
 * stated, and derived, where a kernel is tested.
 *
 *   test_kernels_cuda_vectors              each test in a process of its own
 *   test_kernels_cuda_vectors NAME         one of them, here
 *   test_kernels_cuda_vectors --few [...]  a fraction of the shapes, for compute-sanitizer
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

static void test_moe_route(void **state)
{
	(void)state;
	static const struct {
		int n_tokens, n_expert, n_used;
	} cases[] = {{1, 1, 1}, {3, 5, 2}, {200, 128, 8}, {1, 128, 8}, {2, 4, 4}, {17, 33, 7}, {5, 300, 16}};
	struct pair *p = kernel_case_open();
	for (size_t i = 0; i < COUNT(cases) * 4; i++) {
		size_t t = (size_t)cases[i / 4].n_tokens, e = (size_t)cases[i / 4].n_expert,
		       u = (size_t)cases[i / 4].n_used;
		float *logits = pair_buffer(p, "logits", PAIR_INPUT, TENSOR_F32, t * e, 0);
		for (size_t k = 0; k < t * e; k++) /* with ties in every second case */
			logits[k] = i % 2 ? rintf(pair_float(p, 8)) / 2 : pair_float(p, 8);
		struct moe_route_params m = {
			.logits = logits,
			.expert_scale = i / 2 % 2 ? pair_floats(p, "expert_scale", e, 1, 0) : NULL,
			.ids = pair_buffer(p, "ids", PAIR_EXACT, PAIR_INT, t * u, 0),
			.weights = pair_buffer(p, "weights", PAIR_OUTPUT, TENSOR_F32, t * u, 0),
			.n_tokens = (int)t,
			.n_expert = (int)e,
			.n_used = (int)u,
		};
		pair_run(p, KERNEL_moe_route, &m, NULL, "tokens %zu experts %zu used %zu ties %zu scale %d", t, e, u,
			 i % 2, m.expert_scale != NULL);
		/* Quotients of exponentials, whose arguments, up to 16, are rounded. */
		pair_magnitude(p, m.weights);
		pair_check(p, sum_of((double)e) + 2 * 16 * U + FUNCTION);
	}
	kernel_case_close(p);
}

static void test_moe_sum(void **state)
{
	(void)state;
	static const int cases[][3] = {{1, 1, 5}, {1, 8, 2816}, {33, 3, 259}, {2, 2, 1}, {100, 8, 64}};
	struct pair *p = kernel_case_open();
	for (size_t i = 0; i < COUNT(cases); i++) {
		size_t t = (size_t)cases[i][0], u = (size_t)cases[i][1], n = (size_t)cases[i][2];
		struct moe_sum_params m = {
			.x = pair_floats(p, "x", t * u * n, 2, 0),
			.weights = pair_floats(p, "weights", t * u, 1, 0),
			.y = pair_buffer(p, "y", PAIR_OUTPUT, TENSOR_F32, t * n, 0),
			.n_tokens = (int)t,
			.n_used = (int)u,
			.n = (int)n,
		};
		double *magnitude = pair_magnitude(p, m.y);
		for (size_t k = 0; k < t * n; k++) {
			for (size_t j = k / n * u; j < (k / n + 1) * u; j++)
				magnitude[k] = hypot(magnitude[k], (double)(m.weights[j] * m.x[j * n + k % n]));
		}
		pair_run(p, KERNEL_moe_sum, &m, NULL, "tokens %zu used %zu n %zu", t, u, n);
		pair_check(p, sum_of((double)u));
	}
	kernel_case_close(p);
}

static void test_embed(void **state)
{
	(void)state;
	static const int widths[] = {32, 96, 256, 2560, 10752, 83, 6};
	enum { VOCAB = 50, TOKENS = 9 };
	struct pair *p = kernel_case_open();
	for (size_t i = 0; i < COUNT(widths) * PAIR_LAYOUTS; i++) {
		struct pair_layout l = pair_layouts[i % PAIR_LAYOUTS];
		int width = widths[i / PAIR_LAYOUTS];
		if (width % pair_layout_block(l))
			continue;
		for (int way = 0; way < 3; way++) { /* the host's step, the device's, a list */
			int n = way == 2 ? TOKENS : 1;
			struct embed_params m = {
				.at = pair_at(p, (struct step){.token = pair_between(p, 2, VOCAB - 1)}, way == 1),
				.table = pair_weight(p, l, width, VOCAB, 1, 0),
				.y = pair_buffer(p, "y", PAIR_EXACT, TENSOR_F32, (size_t)n * (size_t)width, 0),
				.n_tokens = n,
				.scale = 50.6f,
			};
			if (way == 2) {
				int *tokens = pair_buffer(p, "tokens", PAIR_INPUT, PAIR_INT, TOKENS, 0);
				for (int t = 0; t < TOKENS; t++)
					tokens[t] = pair_between(p, 0, VOCAB - 1);
				m.tokens = tokens;
			}
			pair_run(p, KERNEL_embed, &m, NULL, "%s width %d %s", l.name, width,
				 way == 0   ? "host's step"
				 : way == 1 ? "device's step"
					    : "list of tokens");
			pair_check(p, 0);
		}
	}
	kernel_case_close(p);
}

static void test_rms_norm(void **state)
{
	(void)state;
	static const int cases[][2] = {{1, 1},     {3, 7},   {2, 257}, {1, 1536}, {40, 1003}, {1, 2560},  {5, 256},
				       {300, 512}, {64, 32}, {7, 96},  {2, 5376}, {3, 12288}, {2, 20004}, {42, 256}};
	struct pair *p = kernel_case_open();
	for (size_t i = 0; i < COUNT(cases) * 8; i++) {
		size_t rows = (size_t)cases[i / 8][0], n = (size_t)cases[i / 8][1], stride = n + (i & 4 ? 2 : 0);
		float *in = pair_buffer(p, "x", i & 1 ? PAIR_OUTPUT : PAIR_INPUT, TENSOR_F32, rows * stride, 0);
		for (size_t k = 0; k < rows * stride; k++)
			in[k] = pair_float(p, 5);
		struct rms_norm_params m = {
			.x = in,
			.weight = i & 2 ? pair_floats(p, "weight", n, 1, i & 4) : NULL,
			.y = i & 1 ? in : pair_buffer(p, "y", PAIR_OUTPUT, TENSOR_F32, rows * stride, 0),
			.n_rows = (int)rows,
			.n = (int)n,
			.x_stride = (int)stride,
			.y_stride = (int)stride,
			.eps = i & 2 ? 1e-6f : 1e-3f,
			.scale = 0.75f,
		};
		pair_run(p, KERNEL_rms_norm, &m, NULL, "rows %zu n %zu stride %zu weight %d in place %zu", rows, n,
			 stride, m.weight != NULL, i & 1);
		/* The root of a sum of squares, which is known better than a sum of random signs. */
		pair_magnitude(p, m.y);
		pair_check(p, sum_of((double)n));
	}
	kernel_case_close(p);
}

static void test_norm_add(void **state)
{
	(void)state;
	static const int cases[][2] = {{1, 1},    {3, 7},    {1, 2560},  {42, 256},
				       {128, 96}, {5, 5376}, {2, 20004}, {9, 1003}};
	struct pair *p = kernel_case_open();
	for (size_t i = 0; i < COUNT(cases) * 2; i++) {
		size_t rows = (size_t)cases[i / 2][0], n = (size_t)cases[i / 2][1];
		float *a = pair_buffer(p, "a", i & 1 ? PAIR_OUTPUT : PAIR_INPUT, TENSOR_F32, rows * n, 0);
		for (size_t k = 0; k < rows * n; k++)
			a[k] = pair_float(p, 5);
		struct norm_add_params m = {
			.a = a,
			.b = pair_floats(p, "b", rows * n, 3, 0),
			.weight = pair_floats(p, "weight", n, 1, 0),
			.normed = pair_buffer(p, "normed", PAIR_SCRATCH, TENSOR_F32, rows * n, 0),
			.y = i & 1 ? a : pair_buffer(p, "y", PAIR_OUTPUT, TENSOR_F32, rows * n, 0),
			.n_rows = (int)rows,
			.n = (int)n,
			.eps = 1e-6f,
			.scale = 0.3f,
		};
		double *magnitude = pair_magnitude(p, m.y);
		for (size_t k = 0; k < rows * n; k++)
			magnitude[k] = fabs((double)(a[k] * m.scale));
		pair_run(p, KERNEL_norm_add, &m, NULL, "rows %zu n %zu in place %zu", rows, n, i & 1);
		for (size_t k = 0; k < rows * n; k++)
			magnitude[k] += fabs((double)(m.normed[k] * m.scale));
		pair_check(p, sum_of((double)n));
	}
	kernel_case_close(p);
}

static void test_add(void **state)
{
	(void)state;
	static const int sizes[] = {1, 15, 255, 256, 257, 2560, 300001};
	struct pair *p = kernel_case_open();
	for (size_t i = 0; i < COUNT(sizes); i++) {
		size_t n = (size_t)sizes[i];
		struct add_params m = {
			.a = pair_floats(p, "a", n, 3, 0),
			.b = pair_floats(p, "b", n, 1, i % 2 ? 4 : 0),
			.y = pair_buffer(p, "y", PAIR_EXACT, TENSOR_F32, n, 0),
			.n = sizes[i],
			.scale = 0.7f,
		};
		pair_run(p, KERNEL_add, &m, NULL, "n %zu", n);
		pair_check(p, 0);
	}
	kernel_case_close(p);
}

static void test_gated(void **state)
{
	(void)state;
	static const int cases[][2] = {{1, 1}, {3, 13}, {1, 6144}, {5, 9001}, {70000, 3}, {16, 256}};
	struct pair *p = kernel_case_open();
	for (size_t i = 0; i < COUNT(cases) * 4; i++) {
		size_t rows = (size_t)cases[i / 4][0], n = (size_t)cases[i / 4][1], stride = n + 3, all = rows * stride;
		float *gate = pair_buffer(p, "gate", i & 1 ? PAIR_OUTPUT : PAIR_INPUT, TENSOR_F32, all, 0);
		for (size_t k = 0; k < all; k++)
			gate[k] = pair_float(p, 12);
		struct gated_params m = {
			.gate = gate,
			.up = pair_floats(p, "up", rows * (n + 1), 1, 0),
			.y = i & 1 ? gate : pair_buffer(p, "y", PAIR_OUTPUT, TENSOR_F32, all, 0),
			.n_rows = (int)rows,
			.n = (int)n,
			.gate_stride = (int)stride,
			.up_stride = (int)n + 1,
			.y_stride = (int)stride,
			.act = i & 2 ? ACTIVATION_SILU : ACTIVATION_GELU_TANH,
		};
		/* The sigmoid is at most 1, and known to FUNCTION of that. */
		double *magnitude = pair_magnitude(p, m.y);
		for (size_t r = 0; r < rows; r++)
			for (size_t k = 0; k < n; k++)
				magnitude[r * stride + k] =
					fabs((double)(gate[r * stride + k] * m.up[r * (n + 1) + k]));
		pair_run(p, KERNEL_gated, &m, NULL, "rows %zu n %zu act %d in place %zu", rows, n, m.act, i & 1);
		pair_check(p, FUNCTION);
	}
	kernel_case_close(p);
}

static void test_softcap(void **state)
{
	(void)state;
	static const int sizes[] = {1, 17, 256, 262144};
	struct pair *p = kernel_case_open();
	for (size_t i = 0; i < COUNT(sizes); i++) {
		float *x = pair_buffer(p, "x", PAIR_OUTPUT, TENSOR_F32, (size_t)sizes[i], 0);
		for (int k = 0; k < sizes[i]; k++)
			x[k] = pair_float(p, 200) * powf(10, (float)-pair_between(p, 0, 6));
		struct softcap_params m = {.x = x, .n = sizes[i], .cap = 30};
		pair_run(p, KERNEL_softcap, &m, NULL, "n %d", sizes[i]);
		pair_magnitude(p, x); /* each relative to itself, the smallest too */
		pair_check(p, FUNCTION);
	}
	kernel_case_close(p);
}

static const int cache_types[] = {TENSOR_F32, TENSOR_F16, TENSOR_BF16, TENSOR_Q8_0};
enum { N_TYPES = COUNT(cache_types), N_PAIRS = N_TYPES * N_TYPES };

static float *inverse_frequencies(struct pair *p, int head_dim)
{
	int half = head_dim / 2;
	float *f = pair_buffer(p, "inv_freq", PAIR_INPUT, TENSOR_F32, (size_t)half, 0);
	/* The last quarter does not turn, as the models' 1e30 divisor has it. */
	for (int j = 0; j < half; j++)
		f[j] = j >= half * 3 / 4 && j ? 1e-30f : powf(10000, -2.0f * (float)j / (float)head_dim);
	return f;
}

static void test_rope(void **state)
{
	(void)state;
	static const struct {
		int n_tokens, n_heads, head_dim, pos;
	} cases[] = {{1, 1, 2, 5},     {1, 8, 256, 100000}, {3, 2, 20, 0},     {37, 3, 128, 4095}, {1, 2, 512, 262143},
		     {5, 16, 64, 511}, {2, 1, 1024, 77},    {9, 4, 96, 12345}, {2, 4, 64, 20000},  {1, 8, 256, 131072}};
	struct pair *p = kernel_case_open();
	for (size_t i = 0; i < COUNT(cases) * 2; i++) {
		size_t n = (size_t)(cases[i / 2].n_tokens * cases[i / 2].n_heads * cases[i / 2].head_dim);
		float *x = pair_buffer(p, "x", PAIR_OUTPUT, TENSOR_F32, n, 0);
		for (size_t k = 0; k < n; k++)
			x[k] = pair_float(p, 1);
		struct rope_params m = {
			.at = pair_at(p, (struct step){.pos = cases[i / 2].pos, .evicted = 2}, i % 2),
			.x = x,
			.inv_freq = inverse_frequencies(p, cases[i / 2].head_dim),
			.n_tokens = cases[i / 2].n_tokens,
			.n_heads = cases[i / 2].n_heads,
			.head_dim = cases[i / 2].head_dim,
		};
		pair_run(p, KERNEL_rope, &m, NULL, "tokens %d heads %d head_dim %d pos %d step %s", m.n_tokens,
			 m.n_heads, m.head_dim, cases[i / 2].pos, i % 2 ? "device's" : "host's");
		pair_magnitude_pairs(p, x, (size_t)m.head_dim);
		pair_check(p, FUNCTION);
	}
	kernel_case_close(p);
}

static const struct {
	int heads, head_dim, capacity, ring, tokens, pos, evicted;
} append_cases[] = {
	{1, 5, 9, 0, 3, 2, 0},         {2, 33, 9, 0, 4, 7, 3},         {3, 64, 7, 1, 5, 12, 0},
	{1, 256, 8, 1, 1, 15, 0},      {2, 18, 6, 1, 17, 4, 0},        {4, 128, 300, 1, 290, 180, 0},
	{2, 512, 40, 0, 1, 1000, 970}, {8, 256, 640, 1, 128, 1000, 0},
};

static void test_kv_append(void **state)
{
	(void)state;
	/* Ties, overflow, subnormals. */
	static const float awkward[] = {65504.0f,       65519.9f,   65520.0f,  -1e30f,         0x1p-24f,
					0x1p-25f,       0x1.8p-24f, 0x1p-14f,  1.00048828125f, -0.0f,
					1.00146484375f, 0x1.01p0f,  0x1.03p0f, 1e-30f};
	struct pair *p = kernel_case_open();
	for (size_t i = 0; i < COUNT(append_cases) * N_PAIRS; i++) {
		int type = cache_types[i % N_TYPES], v_type = cache_types[i / N_TYPES % N_TYPES];
		int heads = append_cases[i / N_PAIRS].heads, hd = append_cases[i / N_PAIRS].head_dim;
		if (!cache_row_possible(type, hd) || !cache_row_possible(v_type, hd))
			continue;
		size_t n = (size_t)append_cases[i / N_PAIRS].tokens * (size_t)heads * (size_t)hd;
		float *rows[2];
		for (int c = 0; c < 2; c++) {
			rows[c] = pair_buffer(p, c ? "v" : "k", PAIR_INPUT, TENSOR_F32, n, 0);
			for (size_t k = 0; k < n; k++)
				rows[c][k] = pair_between(p, 0, 2)
						     ? pair_float(p, 3)
						     : awkward[pair_between(p, 0, (int)COUNT(awkward) - 1)];
		}
		struct kv_append_params m = {
			.at = pair_at(p,
				      (struct step){.pos = append_cases[i / N_PAIRS].pos,
						    .evicted = append_cases[i / N_PAIRS].evicted},
				      i % 2),
			.k = rows[0],
			.v = rows[1],
			.kv = pair_cache(p, PAIR_EXACT, type, v_type, heads, hd, append_cases[i / N_PAIRS].capacity,
					 append_cases[i / N_PAIRS].ring),
			.n_tokens = append_cases[i / N_PAIRS].tokens,
		};
		pair_run(p, KERNEL_kv_append, &m, NULL,
			 "k %s v %s heads %d head_dim %d capacity %d ring %d tokens %d pos %d",
			 tensor_type_name((enum tensor_type)type), tensor_type_name((enum tensor_type)v_type), heads,
			 hd, m.kv.capacity, m.kv.ring, m.n_tokens, append_cases[i / N_PAIRS].pos);
		pair_check(p, 0);
	}
	kernel_case_close(p);
}

/* 0: q alone; 1: with k and v, v not normed; 2: v normed; 3: v is k's projection. */
static void test_qkv_prepare(void **state)
{
	(void)state;
	static const int head_dims[] = {32, 64, 96, 128, 192, 256, 512};
	static const int heads[][2] = {{1, 1}, {4, 2}, {8, 2}, {16, 1}, {5, 5}};
	struct pair *p = kernel_case_open();
	for (size_t i = 0; i < COUNT(head_dims) * COUNT(heads) * 4; i++) {
		int variant = (int)(i % 4), hd = head_dims[i / 4 % COUNT(head_dims)];
		int n_heads = heads[i / 4 / COUNT(head_dims)][0], n_kv = heads[i / 4 / COUNT(head_dims)][1];
		int tokens = (int[]){1, 3, 1, 20}[i / 4 % 4], ring = i / 8 % 2, capacity = ring ? 13 : 64;
		struct step step = {.pos = ring ? 1234 : 30, .evicted = ring ? 0 : 11};
		if (left_out(i))
			continue;
		float *rows[3];
		size_t n[3] = {(size_t)(tokens * n_heads * hd), (size_t)(tokens * n_kv * hd),
			       (size_t)(tokens * n_kv * hd)};
		for (int r = 0; r < 3; r++) {
			rows[r] = pair_buffer(p, r == 0 ? "q" : r == 1 ? "k" : "v", PAIR_OUTPUT, TENSOR_F32, n[r], 0);
			/* v is written where v_raw is k, and read else. */
			for (size_t k = 0; k < n[r] && !(r == 2 && variant == 3); k++)
				rows[r][k] = pair_float(p, 2);
		}
		struct qkv_prepare_params m = {
			.at = pair_at(p, step, i % 2),
			.q = rows[0],
			.k = variant ? rows[1] : NULL,
			.v = variant ? rows[2] : NULL,
			.v_raw = variant == 3 ? rows[1]
				 : variant    ? rows[2]
					      : NULL,
			.q_norm = pair_floats(p, "q_norm", (size_t)hd, 1, 0),
			.k_norm = pair_floats(p, "k_norm", (size_t)hd, 1, 0),
			.inv_freq = inverse_frequencies(p, hd),
			/* Of Q8_0 test_qkv_prepare_q8_0: what is rounded the other way is a step off. */
			.kv = pair_cache(p, PAIR_OUTPUT, cache_types[i % 3], cache_types[i / 3 % 3], n_kv, hd, capacity,
					 ring),
			.n_tokens = tokens,
			.n_heads = n_heads,
			.head_dim = hd,
			.v_norm = variant >= 2,
			.eps = 1e-6f,
		};
		pair_run(p, KERNEL_qkv_prepare, &m, NULL,
			 "variant %d heads %d/%d head_dim %d tokens %d ring %d caches %s %s", variant, n_heads, n_kv,
			 hd, tokens, m.kv.ring, tensor_type_name((enum tensor_type)m.kv.type),
			 tensor_type_name((enum tensor_type)m.kv.v_type));
		/* Normed, and q and k turned; v each relative to itself. */
		pair_magnitude_pairs(p, m.q, (size_t)hd);
		pair_magnitude_pairs(p, rows[1], (size_t)hd);
		pair_magnitude_pairs(p, m.kv.k, (size_t)hd);
		pair_magnitude(p, rows[2]);
		pair_magnitude(p, m.kv.v);
		pair_check(p, sum_of(hd) + FUNCTION);
	}
	kernel_case_close(p);
}

/* The bytes that the host makes of the keys and values that the GPU has. */
static void test_qkv_prepare_q8_0(void **state)
{
	(void)state;
	static const int head_dims[] = {32, 64, 96, 128, 192, 256, 512};
	enum { HEADS = 8, KV_HEADS = 2, TOKENS = 3, CAPACITY = 64, POS = 30, EVICTED = 11 };
	struct pair *p = kernel_case_open();
	for (size_t i = 0; i < COUNT(head_dims) * 3; i++) {
		int hd = head_dims[i / 3],
		    types[2] = {i % 3 == 1 ? TENSOR_F16 : TENSOR_Q8_0, i % 3 == 2 ? TENSOR_BF16 : TENSOR_Q8_0};
		size_t n = (size_t)(TOKENS * KV_HEADS * hd), row_bytes[2];
		float *rows[3];
		for (int r = 0; r < 3; r++) {
			size_t all = r ? n : (size_t)(TOKENS * HEADS * hd);
			rows[r] = pair_buffer(p, r == 0 ? "q" : r == 1 ? "k" : "v", PAIR_OUTPUT, TENSOR_F32, all, 0);
			for (size_t k = 0; k < all; k++)
				rows[r][k] = pair_float(p, 2);
		}
		struct qkv_prepare_params m = {
			.at = pair_at(p, (struct step){.pos = POS, .evicted = EVICTED}, i % 2),
			.q = rows[0],
			.k = rows[1],
			.v = rows[2],
			.v_raw = rows[2],
			.q_norm = pair_floats(p, "q_norm", (size_t)hd, 1, 0),
			.k_norm = pair_floats(p, "k_norm", (size_t)hd, 1, 0),
			.inv_freq = inverse_frequencies(p, hd),
			.kv = pair_cache(p, PAIR_SCRATCH, types[0], types[1], KV_HEADS, hd, CAPACITY, false),
			.n_tokens = TOKENS,
			.n_heads = HEADS,
			.head_dim = hd,
			.v_norm = 1,
			.eps = 1e-6f,
		};
		pair_run(p, KERNEL_qkv_prepare, &m, NULL, "head_dim %d caches %s %s", hd,
			 tensor_type_name((enum tensor_type)types[0]), tensor_type_name((enum tensor_type)types[1]));
		pair_magnitude_pairs(p, m.q, (size_t)hd);
		pair_magnitude_pairs(p, rows[1], (size_t)hd);
		pair_magnitude(p, rows[2]);
		for (int c = 0; c < 2; c++) {
			const float *of = pair_got(p, rows[1 + c]);
			const char *cache = pair_got(p, c ? m.kv.v : m.kv.k);
			char want[4 * 512];
			row_bytes[c] = (size_t)cache_row_bytes(types[c], hd);
			for (int t = 0; t < TOKENS; t++)
				for (int h = 0; h < KV_HEADS; h++) {
					size_t slot = (size_t)(h * CAPACITY + POS - EVICTED + t);
					cache_store(cpu_inner(), of + (size_t)(t * KV_HEADS + h) * (size_t)hd, types[c],
						    want, (size_t)hd);
					if (memcmp(cache + slot * row_bytes[c], want, row_bytes[c]))
						fail_msg("head_dim %d, %s of token %d, head %d: not the host's bytes",
							 hd, c ? "V" : "K", t, h);
				}
		}
		pair_check(p, sum_of(hd) + FUNCTION);
	}
	kernel_case_close(p);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		{"moe_route", test_moe_route, NULL, NULL, NULL},
		{"moe_sum", test_moe_sum, NULL, NULL, NULL},
		{"embed", test_embed, NULL, NULL, NULL},
		{"rms_norm", test_rms_norm, NULL, NULL, NULL},
		{"norm_add", test_norm_add, NULL, NULL, NULL},
		{"add", test_add, NULL, NULL, NULL},
		{"gated", test_gated, NULL, NULL, NULL},
		{"softcap", test_softcap, NULL, NULL, NULL},
		{"rope", test_rope, NULL, NULL, NULL},
		{"kv_append", test_kv_append, NULL, NULL, NULL},
		{"qkv_prepare", test_qkv_prepare, NULL, NULL, NULL},
		{"qkv_prepare_q8_0", test_qkv_prepare_q8_0, NULL, NULL, NULL},
	};
	return kernel_case_main(argc, argv, "CUDA vector kernels", tests, COUNT(tests));
}
