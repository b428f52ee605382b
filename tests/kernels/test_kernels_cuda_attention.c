/*
 * The CUDA device's attention against the host's, whose own tests compare it with references in
 * double: types, head dimensions, head ratios, windows, rings, splits. Tolerances are
 * stated, and derived, where a kernel is tested.
 *
 *   test_kernels_cuda_attention              each test in a process of its own
 *   test_kernels_cuda_attention NAME         one of them, here
 *   test_kernels_cuda_attention --few [...]  a fraction of the shapes, for compute-sanitizer
 *   test_kernels_cuda_attention --time       how long a call takes, by depth and number of splits; no test
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
#include "tests/support/no_gpu.h"

static const int cache_types[] = {TENSOR_F32, TENSOR_F16, TENSOR_BF16, TENSOR_Q8_0};
enum { N_TYPES = COUNT(cache_types) };

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
	struct kv kv =
		pair_cache(p, PAIR_INPUT, c->type, c->v_type, c->n_kv_heads, c->head_dim, c->capacity, c->ring > 0);
	for (int pos = first_of(c, c->pos); pos < c->pos + c->n_tokens; pos++) {
		for (int h = 0; h < c->n_kv_heads; h++) {
			size_t at = (size_t)h * (size_t)c->capacity + (size_t)slot_of(c, pos);
			pair_fill_rows(p, kv.k, c->type, c->head_dim, at, 1);
			pair_fill_rows(p, kv.v, c->v_type, c->head_dim, at, 1);
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
	int longest = n_keys / c->n_splits + c->split_len;
	pair_check(p, tolerance_attention(split.q, c->head_dim, c->n_heads, longest, SCALE));
	struct attention_params m = {.split = split_params(p, c, PAIR_SCRATCH, on_device)};
	m.y = pair_buffer(p, "y", PAIR_OUTPUT, TENSOR_F32, n, 0);
	pair_run(p, KERNEL_attention, &m, NULL, "%s", describe(c));
	pair_magnitude_rows(p, m.y, (size_t)c->head_dim);
	pair_check(p, tolerance_attention(m.split.q, c->head_dim, c->n_heads, n_keys, SCALE));
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
	pair_check(p, tolerance_attention(m.q, c->head_dim, c->n_tokens * c->n_heads,
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
	/* As many as split_len makes, some without keys behind them; or fewer, which are longer. */
	c.n_splits = (n_keys + c.split_len - 1) / c.split_len + pair_between(p, 0, 3);
	if (pair_between(p, 0, 1))
		c.n_splits = pair_between(p, 1, c.n_splits);
	return c;
}

/*
 * E4B at depth 4000 and 512, global and sliding, through its bucket's splits. Then single keys; windows before they are
 * full, at their edge and behind it; lengths around tiles of 32 keys and splits of 16; one split, as many as the last
 * CTA combines, one more, those of whole cards; groups of 8, 3, 1 and 16 query heads.
 */
static const struct attention_case fixed_cases[] = {
	{TENSOR_F16, TENSOR_F16, 8, 2, 512, 4200, 0, 0, 4000, 0, 1, 128, 32, 1},
	{TENSOR_F16, TENSOR_F16, 8, 2, 256, 1023, 1023, 512, 4000, 0, 1, 128, 4, 1},
	{TENSOR_F16, TENSOR_F16, 8, 2, 256, 1023, 1023, 512, 100, 0, 1, 128, 1, 1},
	{TENSOR_F32, TENSOR_F32, 8, 2, 512, 520, 0, 0, 511, 0, 1, 128, 4, 1},
	{TENSOR_BF16, TENSOR_BF16, 32, 4, 512, 2100, 0, 0, 2050, 0, 1, 128, 32, 1},
	{TENSOR_F16, TENSOR_F16, 8, 2, 512, 4200, 0, 0, 4000, 0, 1, 16, 66, 1},
	{TENSOR_F16, TENSOR_F16, 8, 2, 256, 1023, 1023, 512, 4000, 0, 1, 16, 16, 1},
	{TENSOR_F16, TENSOR_F16, 8, 2, 256, 1023, 1023, 512, 0, 0, 1, 16, 4, 1},
	{TENSOR_BF16, TENSOR_BF16, 8, 2, 512, 16, 0, 0, 0, 0, 1, 16, 4, 4},
	{TENSOR_F32, TENSOR_F32, 8, 1, 256, 16, 0, 0, 9, 9, 1, 16, 1, 4},
	{TENSOR_F16, TENSOR_F16, 8, 2, 256, 530, 530, 512, 510, 0, 1, 16, 16, 1},
	{TENSOR_F16, TENSOR_F16, 8, 2, 256, 530, 530, 512, 511, 0, 1, 16, 16, 1},
	{TENSOR_BF16, TENSOR_BF16, 8, 2, 256, 530, 530, 512, 512, 0, 1, 16, 16, 1},
	{TENSOR_F16, TENSOR_F16, 8, 2, 256, 512, 512, 512, 1023, 0, 1, 16, 16, 1},
	{TENSOR_F16, TENSOR_F16, 8, 1, 128, 40, 0, 0, 30, 0, 1, 32, 2, 1},
	{TENSOR_F16, TENSOR_F16, 8, 1, 128, 40, 0, 0, 31, 0, 1, 32, 2, 1},
	{TENSOR_BF16, TENSOR_BF16, 8, 1, 128, 40, 0, 0, 32, 0, 1, 32, 1, 1},
	{TENSOR_F16, TENSOR_F16, 6, 2, 192, 300, 0, 0, 270, 0, 1, 16, 17, 1},
	{TENSOR_F16, TENSOR_F16, 6, 2, 96, 300, 0, 0, 271, 0, 1, 16, 17, 1},
	{TENSOR_BF16, TENSOR_BF16, 3, 3, 64, 700, 0, 0, 650, 20, 1, 16, 33, 1},
	{TENSOR_F16, TENSOR_F16, 16, 1, 512, 2200, 0, 0, 2170, 0, 1, 16, 132, 1},
	{TENSOR_F32, TENSOR_F32, 16, 1, 512, 600, 0, 0, 520, 0, 1, 16, 33, 1},
	{TENSOR_F16, TENSOR_F16, 8, 8, 32, 5000, 0, 0, 4900, 0, 1, 16, 256, 1},
	{TENSOR_F16, TENSOR_F16, 16, 8, 256, 1100, 1100, 1024, 5000, 0, 1, 16, 32, 1},
	{TENSOR_F16, TENSOR_F16, 8, 2, 512, 3000, 0, 0, 2900, 0, 1, 16, 1, 1},
	{TENSOR_Q8_0, TENSOR_Q8_0, 8, 2, 512, 4200, 0, 0, 4000, 0, 1, 128, 32, 1},
	{TENSOR_Q8_0, TENSOR_Q8_0, 8, 2, 512, 4200, 0, 0, 4000, 0, 1, 16, 132, 1},
	{TENSOR_Q8_0, TENSOR_Q8_0, 8, 2, 256, 1023, 1023, 512, 4000, 0, 1, 16, 16, 1},
	{TENSOR_Q8_0, TENSOR_Q8_0, 8, 2, 256, 530, 530, 512, 511, 0, 1, 16, 16, 1},
	{TENSOR_Q8_0, TENSOR_Q8_0, 8, 8, 128, 5000, 0, 0, 4900, 0, 1, 16, 256, 1},
	{TENSOR_Q8_0, TENSOR_Q8_0, 8, 1, 256, 16, 0, 0, 9, 9, 1, 16, 1, 4},
};

static void all_attention(void (*test)(struct pair *, const struct attention_case *, bool))
{
	static const int head_dims[] = {32, 64, 96, 128, 192, 256, 512};
	struct pair *p = kernel_case_open();
	for (size_t i = 0; i < COUNT(fixed_cases); i++)
		if (!left_out(i) || fixed_cases[i].capacity < 100)
			test(p, &fixed_cases[i], i % 2);
	for (size_t i = 0; i < COUNT(head_dims) * N_TYPES; i++) {
		for (int k = 0; k < (kernel_case_few ? 1 : 12); k++) {
			struct attention_case c = random_case(p, cache_types[i % N_TYPES], cache_types[i % N_TYPES],
							      head_dims[i / N_TYPES]);
			test(p, &c, k % 2);
		}
	}
	kernel_case_close(p);
	/* K and V of different types: other entries, compiled for the pair. */
	for (int t = 0; t < N_TYPES * N_TYPES; t++) {
		int type = cache_types[t % N_TYPES], v_type = cache_types[t / N_TYPES];
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
		kernel_case_close(p);
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
	static const int cases[][3] = {{1, 64, 1},    {8, 256, 4},  {8, 512, 128},  {5, 96, 7},   {32, 512, 33},
				       {4, 20, 1024}, {3, 32, 257}, {16, 512, 132}, {2, 192, 16}, {2, 64, 17}};
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
	kernel_case_close(p);
}

/* ---- time ---- */

enum {
	CACHE_BYTES = 544 << 20, /* of layers that take turns, so that nothing read is in the L2 */
	CALLS = 128,             /* of a graph, one for each layer's cache */
	REPLAYS = 5,
};

/* What the calls share. */
struct timed {
	struct device *device;
	struct device_event *begin, *end;
	char *caches;
	float *q, *y, *partial;
};

static void ok(int rc, const struct error *err)
{
	if (!rc)
		return;
	printf("%s\n", err->text);
	exit(1);
}

static void enqueue(const struct timed *t, struct attention_split_params split, bool fused)
{
	struct error err;
	struct attention_params both = {.split = split, .y = t->y};
	struct attention_combine_params combine = {.partial = split.partial,
						   .y = t->y,
						   .n_heads = split.n_heads,
						   .head_dim = split.kv.head_dim,
						   .n_splits = split.n_splits};
	if (fused) {
		ok(device_launch(t->device, KERNEL_attention, &both, &err), &err);
		return;
	}
	ok(device_launch(t->device, KERNEL_attention_split, &split, &err), &err);
	ok(device_launch(t->device, KERNEL_attention_combine, &combine, &err), &err);
}

/* Microseconds a call: calls on one cache after the other in a graph, the best replay. */
static double time_calls(const struct timed *t, struct attention_split_params split, bool fused)
{
	const struct kv *kv = &split.kv;
	size_t half = (size_t)kv->n_kv_heads * (size_t)kv->capacity *
		      tensor_type_cache_row((enum tensor_type)kv->type, kv->head_dim);
	size_t n_caches = CACHE_BYTES / (2 * half);
	struct device_graph *g;
	struct device_exec *x;
	struct error err;
	double best = INFINITY;
	ok(device_capture_begin(t->device, DEVICE_GRAPH_PLAIN, &err), &err);
	for (size_t i = 0; i < CALLS; i++) {
		split.kv.k = t->caches + i % n_caches * 2 * half;
		split.kv.v = t->caches + (i % n_caches * 2 + 1) * half;
		enqueue(t, split, fused);
	}
	ok(device_capture_end(t->device, &g, &err), &err);
	ok(device_instantiate(t->device, g, &x, &err), &err);
	ok(device_exec_upload(t->device, x, &err), &err);
	for (int i = 0; i < REPLAYS; i++) {
		double us;
		ok(device_event_record(t->device, t->begin, &err), &err);
		ok(device_replay(t->device, x, &err), &err);
		ok(device_event_record(t->device, t->end, &err), &err);
		ok(device_synchronize(t->device, &err), &err);
		ok(device_event_elapsed(t->device, t->begin, t->end, &us, &err), &err);
		best = us < best ? us : best;
	}
	device_exec_destroy(t->device, x);
	device_graph_destroy(t->device, g);
	return best / CALLS;
}

/* E4B's two kinds of layer: a row a depth, a column a number of splits. */
static void time_layer(const struct timed *t, int type, int head_dim, int window)
{
	static const int depths[] = {0, 128, 512, 1024, 4096, 16384, 65536};
	static const int splits[] = {1, 4, 8, 16, 32, 66, 132, 256};
	enum { HEADS = 8, KV_HEADS = 2 };
	struct device_splits d = device_splits(t->device, HEADS, KV_HEADS, head_dim);
	size_t row = tensor_type_cache_row((enum tensor_type)type, head_dim);
	printf("decode attention, cache %s, head_dim %d, window %d; us a call, fused / split and combine; the device's "
	       "most splits: %d, fused up to %d\n",
	       tensor_type_name((enum tensor_type)type), head_dim, window, d.most, d.fused);
	printf("decode attention  depth  MB read");
	for (size_t s = 0; s < COUNT(splits); s++)
		printf("  %3d splits   ", splits[s]);
	printf("\n");
	for (size_t i = 0; i < COUNT(depths); i++) {
		int n_keys = window && depths[i] >= window ? window : depths[i] + 1;
		int capacity = window ? 2 * window - 1 : depths[i] + 64;
		struct attention_split_params p = {
			.at.host.pos = depths[i],
			.q = t->q,
			.kv = {.type = type,
			       .v_type = type,
			       .n_kv_heads = KV_HEADS,
			       .head_dim = head_dim,
			       .capacity = capacity,
			       .ring = window ? capacity : 0},
			.partial = t->partial,
			.n_heads = HEADS,
			.window = window,
			.split_len = d.unit,
			.scale = SCALE,
		};
		printf("decode attention %6d %8.3f", depths[i], 2e-6 * n_keys * KV_HEADS * (double)row);
		for (size_t s = 0; s < COUNT(splits); s++) {
			p.n_splits = splits[s];
			if (splits[s] > 4 && (splits[s] / 2 + 1) * d.unit > n_keys)
				break; /* half of them have no keys */
			double fused = time_calls(t, p, true);
			printf("  %6.2f/%6.2f", fused, time_calls(t, p, false));
		}
		printf("\n");
	}
}

static void time_attention(int type)
{
	enum { PARTIALS = 8 * 256 * (512 + 2), QUERIES = 8 * 512, BLOCK = 1 << 20 };
	struct timed t;
	struct error err;
	void *memory;
	float *block = malloc(BLOCK * sizeof *block);
	ok(device_cuda_open(&t.device,
			    &(struct cuda_open_options){
				    .dims = {.n_head_dims = 2, .head_dims = {256, 512}, .k_type = type, .v_type = type},
				    .pdl = true,
				    .batch = 1,
				    .n_in_max = 32},
			    &err),
	   &err);
	ok(device_event_create(t.device, &t.begin, &err), &err);
	ok(device_event_create(t.device, &t.end, &err), &err);
	ok(device_alloc(t.device, CACHE_BYTES, &memory, &err), &err);
	t.caches = memory;
	ok(device_alloc(t.device, (2 * QUERIES + PARTIALS) * sizeof(float), &memory, &err), &err);
	t.q = memory;
	t.y = t.q + QUERIES;
	t.partial = t.y + QUERIES;
	/* 1.0 in float16, about 0.008 in float32, and int8 of 60 and 0 with scales of 1. */
	for (int i = 0; i < BLOCK; i++)
		((uint32_t *)block)[i] = 0x3c003c00;
	for (size_t at = 0; at < CACHE_BYTES; at += BLOCK * sizeof *block)
		ok(device_upload(t.device, t.caches + at, block, BLOCK * sizeof *block, &err), &err);
	ok(device_upload(t.device, t.q, block, QUERIES * sizeof *block, &err), &err);
	time_layer(&t, type, 256, 512);
	time_layer(&t, type, 512, 0);
	device_event_destroy(t.device, t.begin);
	device_event_destroy(t.device, t.end);
	device_free(t.device, t.caches);
	device_free(t.device, t.q);
	device_close(t.device);
	free(block);
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--time")) {
		if (no_gpu())
			return 77;
		time_attention(TENSOR_F16);
		time_attention(TENSOR_Q8_0);
		return 0;
	}
	const struct CMUnitTest tests[] = {
		{"attention", test_attention, NULL, NULL, NULL},
		{"attention_combine", test_attention_combine, NULL, NULL, NULL},
		{"attention_prefill", test_attention_prefill, NULL, NULL, NULL},
	};
	return kernel_case_main(argc, argv, "CUDA attention", tests, COUNT(tests));
}
