/*
 * A prompt's attention on tensor cores, against float64: random shapes, types, windows, rings and evicted prefixes.
 *
 * Two references. With the queries rounded as the kernel rounds them, what is left is the rounding of probabilities and
 * of sums, and an element may be off by no more than that; with the queries as they are, the result is what it claims
 * to be, each row of it within a tolerance of relative L2.
 *
 *   test_kernels_cuda_prefill              each test in a process of its own
 *   test_kernels_cuda_prefill NAME         one of them, here
 *   test_kernels_cuda_prefill --few [...]  a fraction of the shapes, for compute-sanitizer
 *   test_kernels_cuda_prefill --time       no test: microseconds and TFLOP/s of E4B's layers in both precisions
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
#include "kernels/cpu/cpu.h"
#include "tests/support/kernel_case.h"
#include "tests/support/no_gpu.h"
#include "tests/support/ok.h"

enum { SHARP = 200 }; /* queries so large that few keys count, whose scores 16 bits do not keep */

struct prefill_case {
	int type, v_type, n_heads, n_kv_heads, head_dim, capacity, ring, window, pos, evicted, n_tokens;
	float q_scale;
};

/* Scores' standard deviation is 1.4 at most, of queries of any magnitude but SHARP ones. */
static float scale_of(const struct prefill_case *c)
{
	return c->q_scale == SHARP ? 0.125f : 0.125f * 1.5f / c->q_scale;
}

static const char *describe(const struct prefill_case *c)
{
	static char text[200];
	snprintf(text, sizeof text,
		 "k %s v %s heads %d/%d head_dim %d capacity %d ring %d window %d pos %d evicted %d tokens %d q %g",
		 tensor_type_name((enum tensor_type)c->type), tensor_type_name((enum tensor_type)c->v_type), c->n_heads,
		 c->n_kv_heads, c->head_dim, c->capacity, c->ring, c->window, c->pos, c->evicted, c->n_tokens,
		 (double)c->q_scale);
	return text;
}

/* ---- the keys of a row, as logical positions ---- */

static int slot_of(const struct prefill_case *c, int pos)
{
	return c->ring ? pos % c->ring : pos - c->evicted;
}

static int first_of(const struct prefill_case *c, int pos)
{
	int oldest = c->ring ? 0 : c->evicted;
	return c->window && pos - c->window + 1 > oldest ? pos - c->window + 1 : oldest;
}

static int keys_of(const struct prefill_case *c, int pos)
{
	return pos + 1 - first_of(c, pos);
}

/* ---- references ---- */

/* To nearest with ties to even, subnormals included. */
static double round_to(int type, double x)
{
	int exponent;
	if (x == 0 || type == TENSOR_F32)
		return x;
	frexp(x, &exponent);
	int last = exponent - (type == TENSOR_F16 ? 11 : 8);
	if (type == TENSOR_F16 && last < -24)
		last = -24;
	return ldexp(rint(ldexp(x, -last)), last);
}

/* A row of queries over the power of two below its greatest, rounded, and times it again. */
static void round_row(int type, const float *q, float *to, int n)
{
	double most = 0;
	int exponent;
	for (int i = 0; i < n; i++)
		most = fmax(most, fabs((double)q[i]));
	frexp(most, &exponent);
	for (int i = 0; i < n; i++)
		to[i] = (float)ldexp(round_to(type, ldexp((double)q[i], 1 - exponent)), exponent - 1);
}

/* One row, over keys and values of its head as floats: (capacity, head_dim). scores: (capacity) scratch. */
static void reference_row(const struct prefill_case *c, int pos, const float *q, const float *keys, const float *values,
			  double *scores, double *y)
{
	size_t hd = (size_t)c->head_dim;
	int first = first_of(c, pos), n = keys_of(c, pos);
	double most = -HUGE_VAL, sum = 0;
	for (int j = 0; j < n; j++) {
		const float *key = keys + (size_t)slot_of(c, first + j) * hd;
		double dot = 0;
		for (size_t i = 0; i < hd; i++)
			dot += (double)q[i] * (double)key[i];
		scores[j] = dot * (double)scale_of(c);
		most = fmax(most, scores[j]);
	}
	memset(y, 0, hd * sizeof *y);
	for (int j = 0; j < n; j++) {
		const float *value = values + (size_t)slot_of(c, first + j) * hd;
		double weight = exp(scores[j] - most);
		sum += weight;
		for (size_t i = 0; i < hd; i++)
			y[i] += weight * (double)value[i];
	}
	for (size_t i = 0; i < hd; i++)
		y[i] /= sum;
}

/* A cache's elements as floats; `rounded`: what tensor cores multiply, which of Q8_0 is float16. */
static void elements(const struct kv *kv, const void *cache, int type, bool rounded, float *to)
{
	size_t hd = (size_t)kv->head_dim, rows = (size_t)kv->n_kv_heads * (size_t)kv->capacity;
	for (size_t r = 0; r < rows; r++)
		cache_load(cpu_inner(), (const char *)cache + r * (size_t)cache_row_bytes(type, kv->head_dim), type,
			   to + r * hd, hd);
	for (size_t i = 0; type == TENSOR_Q8_0 && rounded && i < rows * hd; i++)
		to[i] = isnan(to[i]) ? to[i] : (float)round_to(TENSOR_F16, (double)to[i]);
}

/* y: (n_tokens, n_heads, head_dim). rounded: with keys and values as tensor cores multiply them */
static void reference(const struct prefill_case *c, const struct attention_prefill_params *m, const float *q,
		      bool rounded, double *y)
{
	size_t hd = (size_t)c->head_dim, head = (size_t)c->capacity * hd, n = (size_t)c->n_kv_heads * head;
	float *keys = malloc(n * sizeof *keys), *values = malloc(n * sizeof *values);
	double *scores = malloc((size_t)c->capacity * sizeof *scores);
	assert_true(keys && values && scores);
	elements(&m->kv, m->kv.k, c->type, rounded, keys);
	elements(&m->kv, m->kv.v, c->v_type, rounded, values);
	for (int t = 0; t < c->n_tokens; t++) {
		for (int h = 0; h < c->n_heads; h++) {
			size_t at = ((size_t)t * (size_t)c->n_heads + (size_t)h) * hd;
			size_t kv = (size_t)(h / (c->n_heads / c->n_kv_heads)) * head;
			reference_row(c, c->pos + t, q + at, keys + kv, values + kv, scores, y + at);
		}
	}
	free(keys);
	free(values);
	free(scores);
}

static double distance(const float *got, const double *want, int n)
{
	double off = 0, all = 0;
	for (int i = 0; i < n; i++) {
		off += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
		all += want[i] * want[i];
	}
	return sqrt(off / all);
}

/* ---- a case ---- */

/* Of two rows in three one half is smaller: halves of long rows are multiplied apart, over one power of two. */
static float *queries(struct pair *p, const struct prefill_case *c)
{
	size_t hd = (size_t)c->head_dim, n = (size_t)c->n_tokens * (size_t)c->n_heads * hd;
	float *q = pair_floats(p, "q", n, c->q_scale, 0);
	for (size_t i = 0; i < n; i++)
		if (i / hd % 3 == 1 + i % hd / (hd / 2))
			q[i] *= 0.2f;
	return q;
}

/* Slots that no row attends keep their NaNs. */
static struct attention_prefill_params inputs(struct pair *p, const struct prefill_case *c, bool on_device)
{
	size_t hd = (size_t)c->head_dim, n = (size_t)c->n_tokens * (size_t)c->n_heads * hd;
	struct kv kv =
		pair_cache(p, PAIR_INPUT, c->type, c->v_type, c->n_kv_heads, c->head_dim, c->capacity, c->ring > 0);
	for (int pos = first_of(c, c->pos); pos < c->pos + c->n_tokens; pos++) {
		for (int h = 0; h < c->n_kv_heads; h++) {
			size_t at = (size_t)h * (size_t)c->capacity + (size_t)slot_of(c, pos);
			pair_fill_rows(p, kv.k, c->type, c->head_dim, at, 1);
			pair_fill_rows(p, kv.v, c->v_type, c->head_dim, at, 1);
		}
	}
	return (struct attention_prefill_params){
		.at = pair_at(p, (struct step){.pos = c->pos, .evicted = c->evicted}, on_device),
		.q = queries(p, c),
		.kv = kv,
		.y = pair_buffer(p, "y", PAIR_OUTPUT, TENSOR_F32, n, 0),
		.n_tokens = c->n_tokens,
		.n_heads = c->n_heads,
		.window = c->window,
		.scale = scale_of(c),
	};
}

static bool takes_tensor_cores(const struct prefill_case *c)
{
	return c->type != TENSOR_F32 && c->v_type != TENSOR_F32;
}

/* Relative L2 of a row; float32 as the other kernel's. */
static double tolerance(const struct prefill_case *c)
{
	if (!takes_tensor_cores(c))
		return 1e-5;
	return c->type == TENSOR_BF16 || c->v_type == TENSOR_BF16 ? 1e-2 : 2e-3;
}

struct tally {
	int cases, wrong;
	double worst; /* row, of the tolerance */
	char what[200];
};

static void check(struct pair *p, const struct prefill_case *c, bool on_device, struct tally *tally)
{
	size_t hd = (size_t)c->head_dim, n = (size_t)c->n_tokens * (size_t)c->n_heads * hd;
	struct attention_prefill_params m = inputs(p, c, on_device), other = m;
	int rounded_to = !takes_tensor_cores(c) ? TENSOR_F32 : c->type == TENSOR_Q8_0 ? TENSOR_F16 : c->type;
	float *q = pair_buffer(p, "rounded q", PAIR_INPUT, TENSOR_F32, n, 0);
	double *want = malloc(n * sizeof *want), most = 0;
	assert_non_null(want);
	for (size_t row = 0; row < n; row += hd)
		round_row(rounded_to, m.q + row, q + row, c->head_dim);
	other.q = q;
	pair_run(p, KERNEL_attention_prefill, &m, &other, "%s", describe(c));

	const float *got = pair_got(p, m.y);
	reference(c, &m, m.q, false, want);
	for (size_t row = 0; row < n; row += hd) {
		double off = distance(got + row, want + row, c->head_dim);
		most = off > most || off != off ? off : most;
	}
	bool wrong = c->q_scale != SHARP && !(most <= tolerance(c));
	/* With one key there is no probability but 1. */
	bool exact = takes_tensor_cores(c) && most < 0x1p-18 && keys_of(c, c->pos) > 2;
	if (wrong || exact)
		print_message("WRONG %s: worst row %.3g of float64%s\n", describe(c), most,
			      exact ? ": nothing was rounded" : "");
	tally->cases++;
	tally->wrong += wrong || exact;
	if (c->q_scale != SHARP && !(most / tolerance(c) <= tally->worst)) {
		tally->worst = most / tolerance(c);
		snprintf(tally->what, sizeof tally->what, "%.3g: %.170s", most, describe(c));
	}

	reference(c, &m, q, takes_tensor_cores(c), want);
	for (size_t i = 0; i < n; i++)
		m.y[i] = (float)want[i];
	pair_magnitude_rows(p, m.y, hd);
	/*
	 * Probabilities round by at most a unit, by 0.6 of it in the root of their mean squares, independently: as in
	 * tolerance_attention, allowed are 8 such deviations. Tensor cores cut off: sums count twice.
	 */
	double unit = !takes_tensor_cores(c) ? 0 : c->v_type == TENSOR_BF16 ? 0x1p-8 : 0x1p-11;
	pair_check(p, 5 * unit + 2 * tolerance_attention(q, c->head_dim, c->n_tokens * c->n_heads,
							 keys_of(c, c->pos + c->n_tokens - 1), scale_of(c)));
	free(want);
}

/* ---- draws ---- */

/* Multiplications of one of the reference's products. */
static double work(const struct prefill_case *c)
{
	return (double)c->n_tokens * c->n_heads * c->head_dim * keys_of(c, c->pos + c->n_tokens - 1);
}

/* A window in a ring as long as it and some slack, a global cache with or without evictions, or a window alone. */
static void place(struct pair *p, struct prefill_case *c)
{
	static const int windows[] = {1, 5, 32, 100, 128, 512};
	int kind = pair_between(p, 0, 3), window = windows[pair_between(p, 0, (int)COUNT(windows) - 1)];
	if (kind < 2) {
		c->window = window;
		c->capacity = c->ring = c->window + c->n_tokens - 1 + pair_between(p, 0, 20);
		c->pos = pair_between(p, 0, kind ? 3 * c->ring : 200000);
		return;
	}
	c->pos = pair_between(p, 0, kernel_case_few ? 60 : 700);
	c->evicted = kind == 2 ? 0 : pair_between(p, 0, c->pos);
	c->capacity = c->pos + c->n_tokens - c->evicted + pair_between(p, 0, 10);
	if (kind == 3 && pair_between(p, 0, 1))
		c->window = window;
}

static struct prefill_case draw(struct pair *p, int type, int v_type)
{
	static const int head_dims[] = {32, 64, 96, 128, 192, 256, 512, 256, 512};
	static const int groups[] = {1, 2, 3, 4, 5, 7, 8, 16};
	static const int tokens[] = {1, 2, 9, 33, 70, 150, 513, 2048};
	for (;;) {
		struct prefill_case c = {.type = type, .v_type = v_type};
		c.head_dim = head_dims[pair_between(p, 0, (int)COUNT(head_dims) - 1)];
		c.n_kv_heads = pair_between(p, 1, 3);
		c.n_heads = c.n_kv_heads * groups[pair_between(p, 0, (int)COUNT(groups) - 1)];
		c.n_tokens = tokens[pair_between(p, 0, kernel_case_few ? 4 : (int)COUNT(tokens) - 1)];
		c.q_scale = pair_between(p, 0, 7) ? 1.5f : SHARP;
		place(p, &c);
		if (work(&c) < (kernel_case_few ? 4e6 : 6e7))
			return c;
	}
}

/*
 * As many blocks of all warps' rows as most cards have multiprocessors, but not twice as many of half as many rows: the
 * other kernel.
 */
static struct prefill_case draw_wide(struct pair *p, int type, int v_type)
{
	for (;;) {
		struct prefill_case c = draw(p, type, v_type);
		int group = c.n_heads / c.n_kv_heads, rows = c.head_dim > 256 ? 64 : 128;
		c.n_kv_heads = pair_between(p, 70, 130);
		c.n_heads = c.n_kv_heads * group;
		c.n_tokens = pair_between(p, rows / 2 / group + 1, rows / group);
		c.window = c.ring = c.evicted = 0;
		place(p, &c);
		if (work(&c) < 3e8)
			return c;
	}
}

/* Rows whose first tile or more are masked, a chunk that ends a tile, one key, a window longer than what there is. */
static const struct prefill_case corners[] = {
	{TENSOR_F16, TENSOR_F16, 8, 2, 256, 1023, 1023, 512, 4000, 0, 40, 1.5f},
	{TENSOR_F16, TENSOR_F16, 4, 4, 64, 600, 0, 5, 0, 0, 300, 1.5f},
	{TENSOR_BF16, TENSOR_BF16, 2, 1, 128, 129, 129, 1, 77, 0, 129, 1.5f},
	{TENSOR_F16, TENSOR_F16, 8, 2, 512, 64, 0, 0, 0, 0, 64, 1.5f},
	{TENSOR_F16, TENSOR_F16, 8, 2, 512, 96, 0, 0, 32, 0, 64, 1.5f},
	{TENSOR_F16, TENSOR_F16, 1, 1, 256, 1, 0, 0, 0, 0, 1, 1.5f},
	{TENSOR_BF16, TENSOR_BF16, 6, 2, 96, 300, 0, 0, 900, 700, 33, 1.5f},
	{TENSOR_BF16, TENSOR_BF16, 8, 2, 192, 100, 0, 512, 0, 0, 100, 1.5f},
	{TENSOR_F16, TENSOR_F16, 64, 2, 512, 200, 0, 0, 100, 0, 67, 1.5f},
	{TENSOR_Q8_0, TENSOR_Q8_0, 8, 2, 256, 1023, 1023, 512, 4000, 0, 40, 1.5f},
	{TENSOR_Q8_0, TENSOR_Q8_0, 8, 2, 512, 96, 0, 0, 32, 0, 64, 1.5f},
	{TENSOR_Q8_0, TENSOR_Q8_0, 6, 2, 96, 300, 0, 0, 900, 700, 33, 1.5f},
	{TENSOR_Q8_0, TENSOR_Q8_0, 1, 1, 256, 1, 0, 0, 0, 0, 1, 1.5f},
	/* Queries of magnitudes that 16 bits do not have. */
	{TENSOR_F16, TENSOR_F16, 8, 2, 256, 200, 0, 0, 130, 0, 20, 1e-9f},
	{TENSOR_F16, TENSOR_F16, 8, 2, 512, 200, 0, 0, 130, 0, 20, 1e6f},
};

static struct pair *open_pair(int type, int v_type, int n_head_dims)
{
	return pair_open(&(struct cuda_open_options){
		.dims = {.n_head_dims = n_head_dims,
			 .head_dims = {32, 64, 96, 128, 192, 256, 512},
			 .k_type = type,
			 .v_type = v_type},
		.prefill = PREFILL_F16,
		.pdl = true,
		.batch = 1,
		.n_in_max = 32,
	});
}

static void finish(struct pair *p, const struct tally *tally)
{
	print_message("%d cases, worst row of float64 %s\n", tally->cases, tally->what);
	kernel_case_close(p);
	if (tally->wrong)
		fail_msg("%d of %d cases wrong", tally->wrong, tally->cases);
}

static void draws(int type, int v_type, int n)
{
	struct pair *p = open_pair(type, v_type, 7);
	struct tally tally = {0};
	for (int k = 0; k < (kernel_case_few ? 4 : n); k++) {
		bool wide = k % 8 == 7 && !kernel_case_few;
		struct prefill_case c = wide ? draw_wide(p, type, v_type) : draw(p, type, v_type);
		check(p, &c, k % 2, &tally);
	}
	for (size_t i = 0; i < COUNT(corners) && !kernel_case_few; i++)
		if (corners[i].type == type && corners[i].v_type == v_type)
			check(p, &corners[i], i % 2, &tally);
	finish(p, &tally);
}

static void test_f16(void **state)
{
	(void)state;
	draws(TENSOR_F16, TENSOR_F16, 64);
}

static void test_bf16(void **state)
{
	(void)state;
	draws(TENSOR_BF16, TENSOR_BF16, 64);
}

static void test_f16_bf16(void **state)
{
	(void)state;
	draws(TENSOR_F16, TENSOR_BF16, 40);
}

static void test_bf16_f16(void **state)
{
	(void)state;
	draws(TENSOR_BF16, TENSOR_F16, 40);
}

static void test_q8_0(void **state)
{
	(void)state;
	draws(TENSOR_Q8_0, TENSOR_Q8_0, 64);
}

static void test_q8_0_beside_others(void **state)
{
	(void)state;
	draws(TENSOR_Q8_0, TENSOR_F16, 16);
	draws(TENSOR_F16, TENSOR_Q8_0, 16);
	draws(TENSOR_BF16, TENSOR_Q8_0, 16);
}

/* Caches of float32 keep what they are for: nothing is rounded. */
static void test_f32_stays_exact(void **state)
{
	(void)state;
	draws(TENSOR_F32, TENSOR_F32, 8);
	draws(TENSOR_F32, TENSOR_F16, 8);
	draws(TENSOR_Q8_0, TENSOR_F32, 8);
}

/* ---- --time ---- */

enum { LAUNCHES = 10, REPETITIONS = 7 };

struct timed {
	const char *name;
	int head_dim, window;
};

static void *filled(struct device *d, size_t bytes, uint32_t low, uint32_t range)
{
	uint16_t *host = malloc(bytes);
	uint32_t random = 1;
	void *p;
	assert_non_null(host);
	for (size_t i = 0; i < bytes / 2; i++) {
		random = random * 1664525u + 1013904223u;
		host[i] = (uint16_t)(low + (random >> 8) % range + (random >> 31 << 15));
	}
	OK(device_alloc(d, bytes, &p, e));
	OK(device_upload(d, p, host, bytes, e));
	free(host);
	return p;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* Median of REPETITIONS; microseconds a launch. */
static double time_launches(struct device *d, const struct attention_prefill_params *p)
{
	struct device_event *from, *to;
	double us[REPETITIONS];
	OK(device_event_create(d, &from, e));
	OK(device_event_create(d, &to, e));
	for (int r = -1; r < REPETITIONS; r++) {
		OK(device_event_record(d, from, e));
		for (int i = 0; i < LAUNCHES; i++)
			OK(device_launch(d, KERNEL_attention_prefill, p, e));
		OK(device_event_record(d, to, e));
		OK(device_event_wait(d, to, e));
		double all;
		OK(device_event_elapsed(d, from, to, &all, e));
		if (r >= 0)
			us[r] = all / LAUNCHES;
	}
	device_event_destroy(d, from);
	device_event_destroy(d, to);
	qsort(us, REPETITIONS, sizeof *us, compare_doubles);
	return us[REPETITIONS / 2];
}

static double time_layer(const struct timed *layer, int n_tokens, int depth, enum prefill_precision precision)
{
	enum { HEADS = 8, KV_HEADS = 2 };
	struct device *d;
	OK(device_cuda_open(
		&d,
		&(struct cuda_open_options){
			.dims = {.n_head_dims = 2, .head_dims = {256, 512}, .k_type = TENSOR_F16, .v_type = TENSOR_F16},
			.prefill = precision,
			.pdl = true,
			.batch = 1,
			.n_in_max = 32,
		},
		e));
	int capacity = layer->window ? layer->window + n_tokens - 1 : depth + n_tokens;
	size_t hd = (size_t)layer->head_dim, rows = (size_t)n_tokens * HEADS;
	size_t cache = (size_t)KV_HEADS * (size_t)capacity * hd * 2;
	/* Numbers of magnitudes around 1: halves 0x2000 .. 0x3fff, the upper half of a float 0x3e00 .. 0x3fff. */
	struct attention_prefill_params p = {
		.at.host = {.pos = depth},
		.q = filled(d, rows * hd * 4, 0x3e00, 0x200),
		.kv = {.k = filled(d, cache, 0x2000, 0x1c00),
		       .v = filled(d, cache, 0x2000, 0x1c00),
		       .type = TENSOR_F16,
		       .v_type = TENSOR_F16,
		       .n_kv_heads = KV_HEADS,
		       .head_dim = layer->head_dim,
		       .capacity = capacity,
		       .ring = layer->window ? capacity : 0},
		.n_tokens = n_tokens,
		.n_heads = HEADS,
		.window = layer->window,
		.scale = 0.06f,
	};
	void *y;
	OK(device_alloc(d, rows * hd * 4, &y, e));
	p.y = y;
	double us = time_launches(d, &p);
	device_close(d);
	return us;
}

static int time_layers(void)
{
	static const struct timed layers[] = {{"window", 256, 512}, {"global", 512, 0}};
	if (no_gpu())
		return 77;
	printf("prompt attention  chunk  depth    f32 us  TFLOP/s   bf16 us  TFLOP/s   faster\n");
	for (int i = 0; i < 8; i++) {
		const struct timed *layer = &layers[i / 4];
		int n_tokens = i / 2 % 2 ? 2048 : 512, depth = i % 2 ? 8192 : 0;
		double keys = 0;
		for (int t = 0; t < n_tokens; t++)
			keys += layer->window && depth + t >= layer->window ? layer->window : depth + t + 1;
		double flops = 4 * 8 * keys * layer->head_dim;
		double exact = time_layer(layer, n_tokens, depth, PREFILL_F32);
		double rounded = time_layer(layer, n_tokens, depth, PREFILL_F16);
		printf("prompt attention %s %6d %6d %9.1f %8.1f %9.1f %8.1f %7.1fx\n", layer->name, n_tokens, depth,
		       exact, flops / exact * 1e-6, rounded, flops / rounded * 1e-6, exact / rounded);
	}
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		{"prefill_f16", test_f16, NULL, NULL, NULL},
		{"prefill_bf16", test_bf16, NULL, NULL, NULL},
		{"prefill_f16_bf16", test_f16_bf16, NULL, NULL, NULL},
		{"prefill_bf16_f16", test_bf16_f16, NULL, NULL, NULL},
		{"prefill_q8_0", test_q8_0, NULL, NULL, NULL},
		{"prefill_q8_0_mixed", test_q8_0_beside_others, NULL, NULL, NULL},
		{"prefill_f32", test_f32_stays_exact, NULL, NULL, NULL},
	};
	if (argc == 2 && !strcmp(argv[1], "--time"))
		return time_layers();
	return kernel_case_main(argc, argv, "CUDA prefill attention", tests, COUNT(tests));
}
