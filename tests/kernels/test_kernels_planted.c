/*
 * What the comparison of kernels notices: the host gets another operand than the device under test,
 * by as little as a real fault would change, and the case must be found wrong; and the same
 * case without the fault right. Runs with the host in the device's place everywhere, and on a GPU where there is one.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cache_rows.h"
#include "tests/support/kernel_case.h"
#include "tests/support/sample_pair.h"
#include "tests/support/vote_case.h"

static void check(struct pair *p, bool planted, double relative)
{
	if (planted)
		pair_check_wrong(p, relative);
	else
		pair_check(p, relative);
}

/* ---- products ---- */

enum product_fault {
	NO_FAULT,
	MISSING_PRODUCT,
	WRONG_ROW,
	X_IN_11_BITS,
	PRODUCT_FAULTS,
	X_UNROUNDED, /* where the device rounds: its own fault, the host has none */
};

/* To 11 significant bits, as TF32 and float16 have. */
static float round_11(float f)
{
	int exponent;
	float m = frexpf(f, &exponent);
	return ldexpf(rintf(m * 2048), exponent - 11);
}

static void product(struct pair *p, struct pair_layout l, int n_in, int n_tokens, enum product_fault fault)
{
	enum { N_OUT = 96 };
	size_t n_x = (size_t)n_tokens * (size_t)n_in;
	struct matmul_params m = {
		.w = pair_weight(p, l, n_in, N_OUT, 1, 0),
		.x = pair_floats(p, "x", n_x, 2, 0),
		.y = pair_buffer(p, "y", PAIR_OUTPUT, TENSOR_F32, (size_t)n_tokens * N_OUT, 0),
		.n_tokens = n_tokens,
		.x_stride = n_in,
		.y_stride = N_OUT,
	};
	struct matmul_params other = m;
	float *x = pair_buffer(p, "other x", PAIR_INPUT, TENSOR_F32, n_x, 0);
	memcpy(x, m.x, n_x * sizeof *x);
	other.x = x;
	if (fault == MISSING_PRODUCT) /* the last one of the last token */
		x[n_x - 1] = 0;
	else if (fault == WRONG_ROW)
		other.w.n_out = N_OUT - 1; /* the last row of the only or the last token stays unwritten */
	for (size_t i = 0; i < n_x && fault == X_IN_11_BITS; i++)
		x[i] = round_11(x[i]);
	pair_run(p, KERNEL_matmul, &m, &other, "%s n_in %d tokens %d fault %d", l.name, n_in, n_tokens, (int)fault);
	tolerance_matmul(p, &m);
	/* As the prompts' test has it: twice for tensor cores, which cut off. */
	check(p, fault != NO_FAULT, fault == X_UNROUNDED ? 2 * sum_of(n_in) : sum_of(n_in));
}

static void products(struct pair *p)
{
	static const int widths[] = {64, 512, 2560, 10240};
	for (int i = 0; i < PAIR_LAYOUTS * 4; i++)
		for (int fault = 0;
		     fault < PRODUCT_FAULTS && widths[i % 4] % pair_layout_block(pair_layouts[i / 4]) == 0; fault++)
			for (int tokens = 1; tokens <= 3; tokens += 2)
				product(p, pair_layouts[i / 4], widths[i % 4], tokens, (enum product_fault)fault);
}

/*
 * Prompts on the GPU: float16 operands that the host gets unrounded, float32 ones that it gets as TF32 would
 * have them.
 */
static void prefill(enum prefill_precision precision)
{
	enum { TOKENS = 20 };
	struct pair *p = pair_open(&(struct cuda_open_options){
		.dims = {.n_head_dims = 1, .head_dims = {64}, .k_type = -1, .v_type = -1},
		.pdl = true,
		.prefill = precision,
		.batch = TOKENS,
		.n_in_max = 10240,
	});
	for (int i = 0; i < PAIR_LAYOUTS; i++) {
		if (precision == PREFILL_F32) {
			product(p, pair_layouts[i], 2560, TOKENS, NO_FAULT);
			product(p, pair_layouts[i], 2560, TOKENS, X_IN_11_BITS);
			product(p, pair_layouts[i], 2560, TOKENS, MISSING_PRODUCT);
		} else {
			product(p, pair_layouts[i], 10240, TOKENS, X_UNROUNDED);
		}
	}
	kernel_case_close(p);
}

/* ---- attention: the host leaves out the oldest key, or turns one key a little ---- */

enum attention_fault { ALL_KEYS = 1, KEY_MISSING, KEY_OFF, VALUE_OFF, ATTENTION_FAULTS };

static void attention(struct pair *p, int type, int head_dim, int n_keys, int n_tokens, enum attention_fault fault)
{
	enum { HEADS = 4, KV_HEADS = 2 };
	size_t n = (size_t)(n_tokens * HEADS * head_dim), rows_all = (size_t)(KV_HEADS * n_keys);
	struct attention_prefill_params m = {
		.at = pair_at(p, (struct step){.pos = n_keys - n_tokens}, false),
		/* Scores of about 1: no key is lost among others. */
		.q = pair_floats(p, "q", n, 24 / sqrtf((float)head_dim), 0),
		.kv = pair_cache(p, PAIR_INPUT, type, type, KV_HEADS, head_dim, n_keys, false),
		.y = pair_buffer(p, "y", PAIR_OUTPUT, TENSOR_F32, n, 0),
		.n_tokens = n_tokens,
		.n_heads = HEADS,
		.window = n_keys,
		.scale = 0.125f,
	};
	pair_fill_rows(p, m.kv.k, type, head_dim, 0, rows_all);
	pair_fill_rows(p, m.kv.v, type, head_dim, 0, rows_all);
	struct attention_prefill_params other = m;
	struct kv copy = pair_cache(p, PAIR_INPUT, type, type, KV_HEADS, head_dim, n_keys, false);
	size_t row = (size_t)cache_row_bytes(type, head_dim);
	memcpy(copy.k, m.kv.k, rows_all * row);
	memcpy(copy.v, m.kv.v, rows_all * row);
	if (fault == KEY_MISSING) {
		other.window = n_keys - 1;
	} else if (fault != ALL_KEYS) { /* one row of one head in the middle becomes the next one */
		char *rows = fault == KEY_OFF ? copy.k : copy.v;
		size_t at = (size_t)(n_keys / 2) * row;
		memcpy(rows + at, rows + at + row, row);
		other.kv = copy;
	}
	if (n_tokens > 1) {
		pair_run(p, KERNEL_attention_prefill, &m, &other, "type %d head_dim %d keys %d tokens %d fault %d",
			 type, head_dim, n_keys, n_tokens, (int)fault);
	} else {
		struct attention_params on_gpu = {
			.split =
				{
					.at = m.at,
					.q = m.q,
					.kv = m.kv,
					.n_heads = HEADS,
					.window = m.window,
					.split_len = 64,
					.n_splits = (n_keys + 63) / 64,
					.scale = m.scale,
				},
			.y = m.y,
		};
		on_gpu.split.partial = pair_buffer(p, "partial", PAIR_SCRATCH, TENSOR_F32,
						   (size_t)(HEADS * on_gpu.split.n_splits * (head_dim + 2)), 0);
		struct attention_params on_host = on_gpu;
		on_host.split.kv = other.kv;
		on_host.split.window = other.window;
		pair_run(p, KERNEL_attention, &on_gpu, &on_host, "type %d head_dim %d keys %d fault %d", type, head_dim,
			 n_keys, (int)fault);
	}
	pair_magnitude_rows(p, m.y, (size_t)head_dim);
	check(p, fault != ALL_KEYS, tolerance_attention(m.q, head_dim, HEADS * n_tokens, n_keys, m.scale));
}

static void attentions(struct pair *p)
{
	static const int types[] = {TENSOR_F32, TENSOR_F16, TENSOR_BF16, TENSOR_Q8_0};
	static const int head_dims[] = {64, 256, 512};
	static const int lengths[] = {2, 100, 1000};
	for (int i = 0; i < 36; i++)
		for (int fault = ALL_KEYS; fault < ATTENTION_FAULTS; fault++)
			for (int tokens = 1; tokens <= 2; tokens++)
				attention(p, types[i % 4], head_dims[i / 4 % 3], lengths[i / 12], tokens,
					  (enum attention_fault)fault);
}

/* ---- the rest ---- */

static void rope(struct pair *p, bool planted)
{
	enum { HEAD_DIM = 128, HEADS = 3 };
	float *x = pair_buffer(p, "x", PAIR_OUTPUT, TENSOR_F32, (size_t)HEADS * HEAD_DIM, 0);
	float *f = pair_buffer(p, "inv_freq", PAIR_INPUT, TENSOR_F32, HEAD_DIM / 2, 0);
	for (int i = 0; i < HEADS * HEAD_DIM; i++)
		x[i] = pair_float(p, 1);
	for (int j = 0; j < HEAD_DIM / 2; j++)
		f[j] = powf(10000, -2.0f * (float)j / (float)HEAD_DIM);
	struct rope_params m = {
		.at = pair_at(p, (struct step){.pos = 100000}, false),
		.x = x,
		.inv_freq = f,
		.n_tokens = 1,
		.n_heads = HEADS,
		.head_dim = HEAD_DIM,
	};
	struct rope_params other = m;
	other.at.host.pos++;
	pair_run(p, KERNEL_rope, &m, planted ? &other : NULL, "planted %d", planted);
	pair_magnitude_pairs(p, x, HEAD_DIM);
	check(p, planted, FUNCTION);
}

/* A weight that is float16's. */
static void norm(struct pair *p, int n, bool planted)
{
	struct rms_norm_params m = {
		.x = pair_floats(p, "x", (size_t)n, 5, 0),
		.weight = pair_floats(p, "weight", (size_t)n, 1, 0),
		.y = pair_buffer(p, "y", PAIR_OUTPUT, TENSOR_F32, (size_t)n, 0),
		.n_rows = 1,
		.n = n,
		.x_stride = n,
		.y_stride = n,
		.eps = 1e-6f,
		.scale = 1,
	};
	struct rms_norm_params other = m;
	float *w = pair_buffer(p, "other weight", PAIR_INPUT, TENSOR_F32, (size_t)n, 0);
	for (int i = 0; i < n; i++)
		w[i] = round_11(m.weight[i]);
	other.weight = w;
	pair_run(p, KERNEL_rms_norm, &m, planted ? &other : NULL, "n %d planted %d", n, planted);
	pair_magnitude(p, m.y);
	check(p, planted, sum_of(n));
}

/* Capped logits of all sizes; a cap that is 1e-4 off. */
static void softcap(struct pair *p, bool planted)
{
	enum { N = 300 };
	float *x = pair_buffer(p, "x", PAIR_OUTPUT, TENSOR_F32, N, 0);
	for (int i = 0; i < N; i++)
		x[i] = pair_float(p, 200) * powf(10, (float)-pair_between(p, 0, 6));
	struct softcap_params m = {.x = x, .n = N, .cap = 30}, other = {.x = x, .n = N, .cap = 30.003f};
	pair_run(p, KERNEL_softcap, &m, planted ? &other : NULL, "planted %d", planted);
	pair_magnitude(p, x);
	check(p, planted, FUNCTION);
}

enum add_fault { ADD_RIGHT, ADD_SHORT, ADD_BEYOND, ADD_INPUT, ADD_FAULTS };

/* An element too few, one too many, an input written. */
static void add(struct pair *p, enum add_fault fault)
{
	enum { N = 1000 };
	struct add_params m = {
		.a = pair_floats(p, "a", N, 3, 0),
		.b = pair_floats(p, "b", N, 1, 0),
		.y = pair_buffer(p, "y", PAIR_EXACT, TENSOR_F32, N, 0),
		.n = N,
		.scale = 0.7f,
	};
	struct add_params on_gpu = m;
	if (fault == ADD_SHORT)
		on_gpu.n--;
	if (fault == ADD_BEYOND)
		on_gpu.n++;
	if (fault == ADD_INPUT)
		on_gpu.y = (float *)(uintptr_t)m.a;
	pair_run(p, KERNEL_add, &on_gpu, &m, "fault %d", (int)fault);
	check(p, fault != ADD_RIGHT, 0);
}

/* A row at the next slot of the ring, and a value rounded the other way. */
static void append(struct pair *p, int k_type, bool planted)
{
	enum { HEADS = 2, HEAD_DIM = 32, RING = 9 };
	struct kv_append_params m = {
		.at = pair_at(p, (struct step){.pos = 31}, false),
		.k = pair_floats(p, "k", (size_t)HEADS * HEAD_DIM, 3, 0),
		.v = pair_floats(p, "v", (size_t)HEADS * HEAD_DIM, 3, 0),
		.kv = pair_cache(p, PAIR_EXACT, k_type, TENSOR_BF16, HEADS, HEAD_DIM, RING, true),
		.n_tokens = 1,
	};
	struct kv_append_params other = m;
	other.at.host.pos++;
	pair_run(p, KERNEL_kv_append, &m, planted ? &other : NULL, "planted %d", planted);
	check(p, planted, 0);
}

static void the_rest(struct pair *p)
{
	for (int planted = 0; planted < 2; planted++) {
		rope(p, planted);
		norm(p, 96, planted);
		norm(p, 2560, planted);
		softcap(p, planted);
		append(p, TENSOR_F16, planted);
		append(p, TENSOR_Q8_0, planted);
	}
	for (int fault = 0; fault < ADD_FAULTS; fault++)
		add(p, (enum add_fault)fault);
}

/* ---- SnapKV ---- */

static void snapkv(struct pair *p)
{
	static const struct vote_case votes[] = {
		{TENSOR_F32, 4, 2, 64, 300, 290, 16, 128, 3, 0.5f},
		{TENSOR_F16, 8, 2, 512, 400, 400, 64, 128, 4, 0.1f},
		{TENSOR_BF16, 6, 1, 128, 200, 150, 33, 64, 3, 0.5f},
		{TENSOR_Q8_0, 6, 1, 256, 200, 150, 33, 64, 3, 0.3f},
	};
	/* Enough of a level that some of it win and some lose. */
	static const struct select_case selections[] = {{1, 700, 16, 300, 1, 3}, {1, 5000, 64, 1024, 7, 40}};
	static const struct compact_case moves[] = {{TENSOR_F16, TENSOR_BF16, 2, 64, 50, 40, 30},
						    {TENSOR_Q8_0, TENSOR_Q8_0, 2, 128, 50, 40, 30},
						    {TENSOR_F32, TENSOR_F32, 1, 256, 9, 8, 8}};
	for (size_t i = 0; i < COUNT(votes); i++) {
		for (int fault = 0; fault < VOTE_FAULTS; fault++) {
			vote_case_softmax(p, &votes[i], (enum vote_fault)fault);
			vote_case_vote(p, &votes[i], fault % 2, (enum vote_fault)fault);
		}
	}
	for (size_t i = 0; i < COUNT(selections); i++)
		for (int fault = 0; fault < SELECT_FAULTS; fault++)
			select_case(p, &selections[i], (enum select_fault)fault);
	for (size_t i = 0; i < COUNT(moves); i++)
		for (int planted = 0; planted < 2; planted++)
			compact_case(p, &moves[i], planted);
}

static void sampling(struct pair *p)
{
	for (int fault = 0; fault < SAMPLE_FAULTS; fault++)
		sample_pair_planted(p, (enum sample_fault)fault);
	for (int i = 0; i < 16; i++) {
		sample_pair(p, 4097, i, i * 29 + 1, i, i % 2, i / 2 % 2);
		sample_pair_wrong(p, 50, i % 4, i * 5 + 1);
	}
}

static void on_both(void (*cases)(struct pair *))
{
	struct pair *p = pair_open(NULL);
	cases(p);
	kernel_case_close(p);
	if (device_cuda_probe(NULL))
		return;
	p = kernel_case_open();
	cases(p);
	kernel_case_close(p);
}

static void test_products(void **state)
{
	(void)state;
	on_both(products);
	if (device_cuda_probe(NULL))
		return;
	prefill(PREFILL_F16);
	prefill(PREFILL_F32);
}

static void test_attention(void **state)
{
	(void)state;
	on_both(attentions);
}

static void test_the_rest(void **state)
{
	(void)state;
	on_both(the_rest);
}

static void test_snapkv(void **state)
{
	(void)state;
	on_both(snapkv);
}

static void test_sampling(void **state)
{
	(void)state;
	on_both(sampling);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_products), cmocka_unit_test(test_attention), cmocka_unit_test(test_the_rest),
		cmocka_unit_test(test_snapkv),   cmocka_unit_test(test_sampling),
	};
	return cmocka_run_group_tests_name("planted faults", tests, NULL, NULL);
}
