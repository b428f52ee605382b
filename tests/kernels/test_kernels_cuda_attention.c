/*
 * The CUDA device's attention against the host's, whose own tests compare it with references in
 * double: types, head dimensions, head ratios, windows, rings, splits. Tolerances are
 * stated, and derived, where a kernel is tested.
 *
 *   test_kernels_cuda_attention              each test in a process of its own
 *   test_kernels_cuda_attention NAME         one of them, here
 *   test_kernels_cuda_attention --few [...]  a fraction of the shapes, for compute-sanitizer
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
#include "tests/support/kernel_case.h"

static const int cache_types[] = {TENSOR_F32, TENSOR_F16, TENSOR_BF16};

static const float SCALE = 0.125f;

struct attention_case {
	int type, v_type, n_heads, n_kv_heads, head_dim, capacity, ring, window, pos, evicted, n_tokens;
	int split_len, n_splits; /* decode */
	float q_scale;
};

static const char *describe(const struct attention_case *c)
{
	static char text[200];
	snprintf(text, sizeof text,
		 "k %s v %s heads %d/%d head_dim %d capacity %d ring %d window %d pos %d evicted %d tokens %d splits "
		 "%d x %d q %g",
		 tensor_type_name((enum tensor_type)c->type), tensor_type_name((enum tensor_type)c->v_type), c->n_heads,
		 c->n_kv_heads, c->head_dim, c->capacity, c->ring, c->window, c->pos, c->evicted, c->n_tokens,
		 c->n_splits, c->split_len, (double)c->q_scale);
	return text;
}

static int slot_of(const struct attention_case *c, int pos)
{
	return c->ring ? pos % c->ring : pos - c->evicted;
}

static int first_of(const struct attention_case *c, int pos)
{
	int oldest = c->ring ? 0 : c->evicted;
	return c->window && pos - c->window + 1 > oldest ? pos - c->window + 1 : oldest;
}

/* Slots that no row attends keep their NaNs. */
static struct kv filled_cache(struct pair *p, const struct attention_case *c)
{
	struct kv kv = kernel_case_cache(p, PAIR_INPUT, c->type, c->v_type, c->n_kv_heads, c->head_dim, c->capacity,
					 c->ring > 0);
	size_t hd = (size_t)c->head_dim;
	for (int pos = first_of(c, c->pos); pos < c->pos + c->n_tokens; pos++) {
		for (int h = 0; h < c->n_kv_heads; h++) {
			size_t at = ((size_t)h * (size_t)c->capacity + (size_t)slot_of(c, pos)) * hd;
			pair_fill(p, kv.k, c->type, at, hd);
			pair_fill(p, kv.v, c->v_type, at, hd);
		}
	}
	return kv;
}

static int keys_of(const struct attention_case *c, int pos)
{
	return pos + 1 - first_of(c, pos);
}

static struct attention_split_params split_params(struct pair *p, const struct attention_case *c,
						  enum pair_role partial, bool on_device)
{
	int pos = c->pos + c->n_tokens - 1;
	size_t rows = (size_t)(c->n_heads * c->n_splits);
	return (struct attention_split_params){
		.at = pair_at(p, (struct step){.pos = pos, .evicted = c->evicted}, on_device),
		.q = pair_floats(p, "q", (size_t)(c->n_heads * c->head_dim), c->q_scale, 0),
		.kv = filled_cache(p, c),
		.partial = pair_buffer(p, "partial", partial, TENSOR_F32, rows * (size_t)(c->head_dim + 2), 0),
		.n_heads = c->n_heads,
		.window = c->window,
		.split_len = c->split_len,
		.n_splits = c->n_splits,
		.scale = SCALE,
	};
}

/* Maxima are off by as much as a score: absolutely, where sums are relatively. */
static void partial_magnitude(struct pair *p, const struct attention_case *c, const float *partial)
{
	size_t row = (size_t)c->head_dim + 2;
	double *m = pair_magnitude(p, partial);
	for (size_t r = 0; r < (size_t)(c->n_heads * c->n_splits); r++) {
		double squares = 0;
		for (size_t i = 0; i < row - 2; i++)
			squares += (double)partial[r * row + i] * (double)partial[r * row + i];
		for (size_t i = 0; i < row - 2; i++)
			m[r * row + i] = sqrt(squares / (double)(row - 2));
		m[r * row + row - 2] = 1;
	}
}

static void decode_case(struct pair *p, const struct attention_case *c, bool on_device)
{
	size_t n = (size_t)(c->n_heads * c->head_dim);
	int n_keys = keys_of(c, c->pos + c->n_tokens - 1);
	struct attention_split_params split = split_params(p, c, PAIR_OUTPUT, on_device);
	pair_mark_partial(p, split.partial, (size_t)(c->n_heads * c->n_splits), c->head_dim);
	pair_run(p, KERNEL_attention_split, &split, NULL, "%s", describe(c));
	partial_magnitude(p, c, split.partial);
	pair_check(p, kernel_case_attention(split.q, c->head_dim, c->n_heads, c->split_len, SCALE));
	struct attention_params m = {.split = split_params(p, c, PAIR_SCRATCH, on_device)};
	m.y = pair_buffer(p, "y", PAIR_OUTPUT, TENSOR_F32, n, 0);
	pair_run(p, KERNEL_attention, &m, NULL, "%s", describe(c));
	pair_magnitude_rows(p, m.y, (size_t)c->head_dim);
	pair_check(p, kernel_case_attention(m.split.q, c->head_dim, c->n_heads, n_keys, SCALE));
}

static void attention_prefill_case(struct pair *p, const struct attention_case *c, bool on_device)
{
	size_t n = (size_t)c->n_tokens * (size_t)c->n_heads * (size_t)c->head_dim;
	struct attention_prefill_params m = {
		.at = pair_at(p, (struct step){.pos = c->pos, .evicted = c->evicted}, on_device),
		.q = pair_floats(p, "q", n, c->q_scale, 0),
		.kv = filled_cache(p, c),
		.y = pair_buffer(p, "y", PAIR_OUTPUT, TENSOR_F32, n, 0),
		.n_tokens = c->n_tokens,
		.n_heads = c->n_heads,
		.window = c->window,
		.scale = SCALE,
	};
	pair_run(p, KERNEL_attention_prefill, &m, NULL, "%s", describe(c));
	pair_magnitude_rows(p, m.y, (size_t)c->head_dim);
	pair_check(p, kernel_case_attention(m.q, c->head_dim, c->n_tokens * c->n_heads,
					    keys_of(c, c->pos + c->n_tokens - 1), SCALE));
}

/* A window in a ring as long as it and some slack, a global cache with or without evictions, or a window alone. */
static struct attention_case random_case(struct pair *p, int type, int v_type, int head_dim)
{
	static const int windows[] = {1, 5, 32, 100, 128, 512};
	static const int groups[] = {1, 2, 3, 4, 5, 8, 16};
	static const int splits[] = {1, 7, 16, 64, 128, 128};
	struct attention_case c = {.type = type, .v_type = v_type, .head_dim = head_dim};
	c.n_kv_heads = pair_between(p, 1, 3);
	c.n_heads = c.n_kv_heads * groups[pair_between(p, 0, (int)COUNT(groups) - 1)];
	c.n_tokens = (int[]){1, 1, 2, 33, 70, 150}[pair_between(p, 0, kernel_case_few ? 2 : 5)];
	c.q_scale = pair_between(p, 0, 7) ? 4 : 200;
	int kind = pair_between(p, 0, 3);
	if (kind < 2) {
		c.window = windows[pair_between(p, 0, kernel_case_few ? 3 : (int)COUNT(windows) - 1)];
		c.capacity = c.ring = c.window + c.n_tokens - 1 + pair_between(p, 0, 20);
		c.pos = pair_between(p, 0, kind ? 3 * c.ring : 200000);
	} else {
		c.pos = pair_between(p, 0, kernel_case_few ? 60 : 700);
		c.evicted = kind == 2 ? 0 : pair_between(p, 0, c.pos);
		c.capacity = c.pos + c.n_tokens - c.evicted + pair_between(p, 0, 10);
		if (kind == 3 && pair_between(p, 0, 1))
			c.window = windows[pair_between(p, 0, (int)COUNT(windows) - 1)];
	}
	int last = c.pos + c.n_tokens - 1, n_keys = last + 1 - first_of(&c, last);
	c.split_len = splits[pair_between(p, 0, (int)COUNT(splits) - 1)];
	c.n_splits = (n_keys + c.split_len - 1) / c.split_len + pair_between(p, 0, 3);
	return c;
}

/* E4B at depth 4000 and 512, global and sliding, through its bucket's splits. */
static const struct attention_case e4b_cases[] = {
	{TENSOR_F16, TENSOR_F16, 8, 2, 512, 4200, 0, 0, 4000, 0, 1, 128, 32, 1},
	{TENSOR_F16, TENSOR_F16, 8, 2, 256, 1023, 1023, 512, 4000, 0, 1, 128, 4, 1},
	{TENSOR_F16, TENSOR_F16, 8, 2, 256, 1023, 1023, 512, 100, 0, 1, 128, 1, 1},
	{TENSOR_F32, TENSOR_F32, 8, 2, 512, 520, 0, 0, 511, 0, 1, 128, 4, 1},
	{TENSOR_BF16, TENSOR_BF16, 32, 4, 512, 2100, 0, 0, 2050, 0, 1, 128, 32, 1},
};

static void all_attention(void (*test)(struct pair *, const struct attention_case *, bool))
{
	static const int head_dims[] = {32, 64, 96, 128, 192, 256, 512};
	struct pair *p = kernel_case_open();
	for (size_t i = 0; i < COUNT(e4b_cases) && !kernel_case_few; i++)
		test(p, &e4b_cases[i], i % 2);
	for (size_t i = 0; i < COUNT(head_dims) * 3; i++) {
		for (int k = 0; k < (kernel_case_few ? 1 : 12); k++) {
			struct attention_case c =
				random_case(p, cache_types[i % 3], cache_types[i % 3], head_dims[i / 3]);
			test(p, &c, k % 2);
		}
	}
	pair_close(p);
	/* K and V of different types: other entries, compiled for the pair. */
	for (int t = 0; t < 9; t++) {
		int type = cache_types[t % 3], v_type = cache_types[t / 3];
		if (type == v_type || (kernel_case_few && t != 1))
			continue;
		p = pair_open(&(struct cuda_open_options){
			.dims = {.n_head_dims = 2, .head_dims = {64, 256}, .k_type = type, .v_type = v_type},
			.prefill = PREFILL_F32, /* test_kernels_cuda_prefill.c has the other one's */
			.pdl = true,
			.batch = 1,
			.n_in_max = 32,
		});
		for (int k = 0; k < (kernel_case_few ? 2 : 8); k++) {
			struct attention_case c = random_case(p, type, v_type, k % 2 ? 256 : 64);
			test(p, &c, k / 2 % 2);
		}
		pair_close(p);
	}
}

static void test_attention(void **state)
{
	(void)state;
	all_attention(decode_case);
}

static void test_attention_prefill(void **state)
{
	(void)state;
	all_attention(attention_prefill_case);
}

static void test_attention_combine(void **state)
{
	(void)state;
	static const int cases[][3] = {{1, 64, 1}, {8, 256, 4},   {8, 512, 128},
				       {5, 96, 7}, {32, 512, 33}, {4, 20, 1024}};
	struct pair *p = kernel_case_open();
	for (size_t i = 0; i < COUNT(cases); i++) {
		size_t heads = (size_t)cases[i][0], hd = (size_t)cases[i][1], splits = (size_t)cases[i][2],
		       row = hd + 2;
		float *partial = pair_buffer(p, "partial", PAIR_INPUT, TENSOR_F32, heads * splits * row, 0);
		for (size_t r = 0; r < heads * splits; r++) {
			bool empty = r % splits && pair_between(p, 0, 2) == 0; /* the rest of it stays NaN */
			for (size_t k = 0; k < hd && !empty; k++)
				partial[r * row + k] = pair_float(p, 10);
			if (!empty)
				partial[r * row + hd] = pair_float(p, 20);
			partial[r * row + hd + 1] = empty ? 0 : 1 + pair_float(p, 0.9f);
		}
		struct attention_combine_params m = {
			.partial = partial,
			.y = pair_buffer(p, "y", PAIR_OUTPUT, TENSOR_F32, heads * hd, 0),
			.n_heads = (int)heads,
			.head_dim = (int)hd,
			.n_splits = (int)splits,
		};
		pair_run(p, KERNEL_attention_combine, &m, NULL, "heads %zu head_dim %zu splits %zu", heads, hd, splits);
		/* Factors are exponentials of differences of up to 40, which are rounded; values are 10 at most. */
		pair_magnitude_rows(p, m.y, hd);
		pair_check(p, 2 * (sum_of((double)splits) + 2 * 40 * U) + FUNCTION);
	}
	pair_close(p);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		{"attention", test_attention, NULL, NULL, NULL},
		{"attention_combine", test_attention_combine, NULL, NULL, NULL},
		{"attention_prefill", test_attention_prefill, NULL, NULL, NULL},
	};
	return kernel_case_main(argc, argv, "CUDA attention", tests, COUNT(tests));
}
