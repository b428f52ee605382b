/*
 * The kernels of a GPU that write and read K/V caches in Q8_0, alone and beside other types, on the processor: bytes
 * that are written equal the host's of the same row; attention of a token and of prompts, SnapKV's votes and its move
 * against the host's kernels. Where no GPU is, that is what tests them; test_kernels_cuda_*.c do on one.
 */
#include <math.h>
#include <stdio.h>

#include "kernels/cpu/cache_rows.h"

#include "tests/emulated/blocks.h"
#include "tests/support/kernels_reference.h"

enum { SHARED = 232448 };

static const struct cuda_card card = {
	.n_sm = 4, .compute_capability = 90, .shared_per_sm = SHARED, .shared_per_block = SHARED};

static const float SCALE = 0.125f;

static void launch(int geometry, const struct cuda_launch *l, const void *params)
{
	assert_int_equal(geometry, CUDA_GEOMETRY_OK);
	if (emulated_launch(l->entry, params, l))
		fail_msg("%s is not emulated", l->entry);
}

static void run(enum kernel k, const void *params)
{
	struct cuda_launch l;
	launch(cuda_geometry(k, params, &card, &l), &l, params);
}

/* ---- caches ---- */

static void *aligned(size_t bytes)
{
	void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
	assert_non_null(p);
	memset(p, 0xff, bytes); /* NaN */
	return p;
}

static float *aligned_floats(size_t n, float scale)
{
	float *x = aligned(n * sizeof *x);
	for (size_t i = 0; i < n; i++)
		x[i] = random_float() * scale;
	return x;
}

static void fill_row(char *row, int type, int head_dim)
{
	float x[512];
	for (int i = 0; i < head_dim; i++)
		x[i] = random_float() * (i % 64 < 32 ? 1 : 0.05f);
	cache_store(cpu_inner(), x, type, row, (size_t)head_dim);
}

/* Slots begin .. end of each head, through a ring; the others are NaN. */
static struct kv cache_make(int type, int v_type, int n_kv_heads, int head_dim, int capacity, int ring, int begin,
			    int end)
{
	const size_t rows = (size_t)n_kv_heads * (size_t)capacity;
	struct kv kv = {.k = aligned(rows * (size_t)cache_row_bytes(type, head_dim)),
			.v = aligned(rows * (size_t)cache_row_bytes(v_type, head_dim)),
			.type = type,
			.v_type = v_type,
			.n_kv_heads = n_kv_heads,
			.head_dim = head_dim,
			.capacity = capacity,
			.ring = ring ? capacity : 0};
	for (int h = 0; h < n_kv_heads; h++)
		for (int i = begin; i < end; i++) {
			const size_t slot = (size_t)(ring ? i % capacity : i);
			fill_row(cache_row(kv.k, type, &kv, (size_t)h, slot), type, head_dim);
			fill_row(cache_row(kv.v, v_type, &kv, (size_t)h, slot), v_type, head_dim);
		}
	return kv;
}

static void cache_free(struct kv *kv)
{
	free(kv->k);
	free(kv->v);
}

/* ---- who writes ---- */

/* rows: (tokens, n_kv_heads, head_dim) */
static void check_stored(const struct kv *kv, void *cache, int type, const float *rows, int tokens, int slot0)
{
	const size_t n = (size_t)kv->head_dim, bytes = (size_t)cache_row_bytes(type, kv->head_dim);
	char *want = take(bytes, 1);
	for (int t = kv->ring && tokens > kv->ring ? tokens - kv->ring : 0; t < tokens; t++)
		for (int h = 0; h < kv->n_kv_heads; h++) {
			const size_t slot = (size_t)(kv->ring ? (slot0 + t) % kv->ring : slot0 + t);
			cache_store(cpu_inner(), rows + ((size_t)t * (size_t)kv->n_kv_heads + (size_t)h) * n, type,
				    want, n);
			assert_memory_equal(cache_row(cache, type, kv, (size_t)h, slot), want, bytes);
		}
	free(want);
}

static const int head_dims[] = {32, 64, 96, 128, 192, 256, 512};

static void test_writers(void **state)
{
	(void)state;
	static const float awkward[] = {0,        -0.0f,     1e-30f, 8.4e6f, -8319008.0f, 1e38f,
					INFINITY, -INFINITY, NAN,    127,    2.5f};
	static const int types[][2] = {
		{TENSOR_Q8_0, TENSOR_Q8_0}, {TENSOR_F16, TENSOR_Q8_0}, {TENSOR_Q8_0, TENSOR_F16}};
	enum { HEADS = 3, KV_HEADS = 2, TOKENS = 6, CAPACITY = 5, POS = 13 };
	for (size_t i = 0; i < COUNT(head_dims) * COUNT(types); i++) {
		const int hd = head_dims[i / COUNT(types)], *type = types[i % COUNT(types)];
		const int stride = (HEADS + 2 * KV_HEADS) * hd;
		const size_t n = (size_t)(TOKENS * KV_HEADS * hd);
		float *k = aligned_floats(n, 3), *v = aligned_floats(n, 3), *norm = aligned_floats((size_t)hd, 1),
		      *q = aligned_floats((size_t)(TOKENS * HEADS * hd), 1),
		      *inv_freq = aligned_floats((size_t)hd / 2, 1),
		      *rows = aligned_floats((size_t)(TOKENS * stride), 1);
		struct kv kv = cache_make(type[0], type[1], KV_HEADS, hd, CAPACITY, 1, 0, 0);
		const struct at at = {.host = {.pos = POS}};
		run(KERNEL_qkv_prepare, &(struct qkv_prepare_params){.at = at,
								     .q = q,
								     .k = k,
								     .v = v,
								     .v_raw = v,
								     .q_norm = norm,
								     .k_norm = norm,
								     .inv_freq = inv_freq,
								     .kv = kv,
								     .n_tokens = TOKENS,
								     .n_heads = HEADS,
								     .head_dim = hd,
								     .v_norm = 1,
								     .eps = 1e-6f});
		check_stored(&kv, kv.k, type[0], k, TOKENS, POS);
		check_stored(&kv, kv.v, type[1], v, TOKENS, POS);
		run(KERNEL_prompt_qkv, &(struct prompt_qkv_params){.at = at,
								   .rows = rows,
								   .q = q,
								   .k_out = k,
								   .v_out = v,
								   .q_norm = norm,
								   .k_norm = norm,
								   .inv_freq = inv_freq,
								   .kv = kv,
								   .n_tokens = TOKENS,
								   .n_heads = HEADS,
								   .head_dim = hd,
								   .stride = stride,
								   .owns = 1,
								   .v_norm = 1,
								   .eps = 1e-6f});
		check_stored(&kv, kv.k, type[0], k, TOKENS, POS);
		check_stored(&kv, kv.v, type[1], v, TOKENS, POS);
		for (size_t j = 0; j < n; j++)
			if (!random_below(40))
				k[j] = awkward[random_below((int)COUNT(awkward))];
		/* What is no number is another one in f16. */
		if (type[0] == TENSOR_Q8_0)
			run(KERNEL_kv_append,
			    &(struct kv_append_params){.at = at, .k = k, .v = v, .kv = kv, .n_tokens = TOKENS});
		if (type[0] == TENSOR_Q8_0)
			check_stored(&kv, kv.k, type[0], k, TOKENS, POS);
		cache_free(&kv);
		free(k);
		free(v);
		free(norm);
		free(q);
		free(inv_freq);
		free(rows);
	}
}

/* As the kernel of a whole token has them. */
static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(head_dims) * 8; i++) {
		const int hd = head_dims[i / 8];
		const size_t n = (size_t)hd, bytes = (size_t)cache_row_bytes(TENSOR_Q8_0, hd);
		float *x = aligned_floats(n, 3), *rounded = aligned(n * 4), *got = aligned(n * 4),
		      *want = aligned(n * 4);
		char *row = aligned(bytes), *stored = aligned(bytes);
		for (size_t j = 0; i % 8 == 7 && j < n; j += 37)
			x[j] = j % 2 ? 1e30f : 0;
		const struct emulated_rows_params p = {
			.x = x, .row = row, .rounded = rounded, .read = got, .head_dim = hd};
		const struct cuda_launch l = {.entry = "k_emulated_rows", .grid = {1, 1, 1}, .block = {32, 1, 1}};
		launch(CUDA_GEOMETRY_OK, &l, &p);
		cache_store(cpu_inner(), x, TENSOR_Q8_0, stored, n);
		cache_load(cpu_inner(), stored, TENSOR_Q8_0, want, n);
		assert_memory_equal(row, stored, bytes);
		for (size_t j = 0; j < n; j++) {
			const bool none = isnan(want[j]);
			assert_true(none ? isnan(rounded[j]) && isnan(got[j])
					 : rounded[j] == want[j] && got[j] == want[j]);
		}
		free(x);
		free(rounded);
		free(got);
		free(want);
		free(row);
		free(stored);
	}
}

/* ---- who reads ---- */

/* Relative to the root mean square of the wanted. */
static void compare(const char *what, const float *got, const float *want, size_t n, double relative)
{
	double squares = 0;
	for (size_t i = 0; i < n; i++)
		squares += (double)want[i] * (double)want[i];
	const double limit = relative * sqrt(squares / (double)n);
	for (size_t i = 0; i < n; i++)
		if (!(fabs((double)got[i] - (double)want[i]) <= limit))
			fail_msg("%s: element %zu: %.9g, expected %.9g within %.3g", what, i, (double)got[i],
				 (double)want[i], limit);
}

/* Queries of which scores have a standard deviation of about 1.3, whatever the head's size. */
static float *queries(size_t n, int head_dim)
{
	return aligned_floats(n, 4 * sqrtf(64.0f / (float)head_dim));
}

/* Positions up to pos, `window` of them or all; splits of so many keys. */
struct decode_case {
	int type, v_type, n_heads, n_kv_heads, head_dim, pos, window, split_len, n_splits;
};

static void decode(const struct decode_case *c)
{
	char what[160];
	const int capacity = c->window ? c->window + 7 : c->pos + 3;
	struct kv kv = cache_make(c->type, c->v_type, c->n_kv_heads, c->head_dim, capacity, c->window > 0,
				  c->window && c->pos >= c->window ? c->pos - c->window + 1 : 0, c->pos + 1);
	const size_t n = (size_t)(c->n_heads * c->head_dim);
	float *q = queries(n, c->head_dim), *got = aligned(n * 4), *want = aligned(n * 4),
	      *partial = aligned((size_t)(c->n_heads * c->n_splits * (c->head_dim + 2)) * 4);
	struct attention_params p = {.split = {.at = {.host = {.pos = c->pos}},
					       .q = q,
					       .kv = kv,
					       .partial = partial,
					       .n_heads = c->n_heads,
					       .window = c->window,
					       .split_len = c->split_len,
					       .n_splits = c->n_splits,
					       .scale = SCALE},
				     .y = got};
	snprintf(what, sizeof what, "types %d %d heads %d/%d of %d, pos %d, window %d, %d splits", c->type, c->v_type,
		 c->n_heads, c->n_kv_heads, c->head_dim, c->pos, c->window, c->n_splits);
	run(KERNEL_attention, &p);
	p.y = want;
	k_attention(&p);
	/* Queries and probabilities in two parts of 11 bits, sums of float32; scores of up to about 5. */
	compare(what, got, want, n, 2e-5);
	memset(got, 0xff, n * 4);
	run(KERNEL_attention_split, &p.split);
	run(KERNEL_attention_combine, &(struct attention_combine_params){.partial = partial,
									 .y = got,
									 .n_heads = c->n_heads,
									 .head_dim = c->head_dim,
									 .n_splits = c->n_splits});
	compare(what, got, want, n, 2e-5);
	cache_free(&kv);
	free(q);
	free(got);
	free(want);
	free(partial);
}

static void test_decode(void **state)
{
	(void)state;
	/* One that Gemmark had before: whether the emulation is right. */
	decode(&(struct decode_case){TENSOR_F16, TENSOR_F16, 8, 2, 256, 70, 0, 16, 3});
	for (size_t i = 0; i < COUNT(head_dims); i++)
		decode(&(struct decode_case){TENSOR_Q8_0, TENSOR_Q8_0, 6, 2, head_dims[i], 70, 0, 16, 3});
	decode(&(struct decode_case){TENSOR_Q8_0, TENSOR_Q8_0, 4, 1, 512, 130, 0, 16, 1});
	decode(&(struct decode_case){TENSOR_Q8_0, TENSOR_Q8_0, 8, 1, 256, 500, 64, 16, 2});
	decode(&(struct decode_case){TENSOR_Q8_0, TENSOR_Q8_0, 2, 1, 128, 0, 0, 16, 2});
	decode(&(struct decode_case){TENSOR_F16, TENSOR_Q8_0, 4, 1, 256, 77, 0, 16, 2});
	decode(&(struct decode_case){TENSOR_Q8_0, TENSOR_BF16, 4, 1, 512, 40, 0, 16, 2});
}

static void prefill(const struct decode_case *c, int n_tokens)
{
	char what[160];
	const int capacity = c->window ? c->window + n_tokens + 7 : c->pos + n_tokens + 3;
	struct kv kv = cache_make(c->type, c->v_type, c->n_kv_heads, c->head_dim, capacity, c->window > 0,
				  c->window && c->pos >= c->window ? c->pos - c->window + 1 : 0, c->pos + n_tokens);
	const size_t n = (size_t)n_tokens * (size_t)(c->n_heads * c->head_dim);
	float *q = queries(n, c->head_dim), *got = aligned(n * 4), *want = aligned(n * 4);
	struct attention_prefill_params p = {.at = {.host = {.pos = c->pos}},
					     .q = q,
					     .kv = kv,
					     .y = want,
					     .n_tokens = n_tokens,
					     .n_heads = c->n_heads,
					     .window = c->window,
					     .scale = SCALE};
	struct cuda_launch l;
	snprintf(what, sizeof what, "prompt: types %d %d heads %d/%d of %d, pos %d, window %d, %d tokens", c->type,
		 c->v_type, c->n_heads, c->n_kv_heads, c->head_dim, c->pos, c->window, n_tokens);
	k_attention_prefill(&p);
	p.y = got;
	run(KERNEL_attention_prefill, &p);
	compare(what, got, want, n, 2e-5);
	memset(got, 0xff, n * 4);
	/* Operands of 11 bits, or 8: queries, keys, probabilities and values are off by up to half a step each. */
	const bool few = c->type == TENSOR_BF16 || c->v_type == TENSOR_BF16;
	launch(cuda_geometry_attention_mma(&p, &card, &l), &l, &p);
	compare(what, got, want, n, 4 * (few ? 0x1p-8 : 0x1p-11) * 3);
	cache_free(&kv);
	free(q);
	free(got);
	free(want);
}

static void test_prefill(void **state)
{
	(void)state;
	prefill(&(struct decode_case){TENSOR_F16, TENSOR_F16, 4, 2, 256, 40, 0, 0, 0}, 9);
	for (size_t i = 0; i < COUNT(head_dims); i++)
		prefill(&(struct decode_case){TENSOR_Q8_0, TENSOR_Q8_0, 4, 2, head_dims[i], 60, 0, 0, 0}, 20);
	prefill(&(struct decode_case){TENSOR_Q8_0, TENSOR_Q8_0, 8, 1, 256, 300, 50, 0, 0}, 40);
	prefill(&(struct decode_case){TENSOR_F16, TENSOR_Q8_0, 4, 1, 512, 80, 0, 0, 0}, 20);
	prefill(&(struct decode_case){TENSOR_Q8_0, TENSOR_BF16, 4, 1, 128, 150, 0, 0, 0}, 20);
}

static void test_snapkv(void **state)
{
	use_isa(state);
	enum { HEADS = 4, KV_HEADS = 2, KEYS = 150, CAPACITY = 153, WINDOW = 9, SPLITS = 2, KEPT = 40 };
	static const int dims[] = {32, 96, 256, 512};
	for (size_t i = 0; i < COUNT(dims); i++) {
		const int hd = dims[i];
		struct kv kv = cache_make(TENSOR_Q8_0, TENSOR_Q8_0, KV_HEADS, hd, CAPACITY, 0, 0, KEYS),
			  moved[2] = {cache_make(TENSOR_Q8_0, TENSOR_Q8_0, KV_HEADS, hd, KEPT, 0, 0, 0),
				      cache_make(TENSOR_Q8_0, TENSOR_Q8_0, KV_HEADS, hd, KEPT, 0, 0, 0)};
		const size_t rows = WINDOW * HEADS, n_votes = KV_HEADS * (KEYS - WINDOW);
		const size_t bytes = (size_t)(KV_HEADS * KEPT * cache_row_bytes(TENSOR_Q8_0, hd));
		float *q = aligned_floats(rows * (size_t)hd, 2), *stats = aligned(rows * SPLITS * 8),
		      *got = aligned(n_votes * 4), *want = aligned(n_votes * 4);
		int kept[KV_HEADS * KEPT];
		struct snapkv_softmax_params softmax = {.q = q,
							.kv = kv,
							.stats = stats,
							.n_heads = HEADS,
							.window = WINDOW,
							.n_keys = KEYS,
							.split_len = 128,
							.n_splits = SPLITS,
							.scale = SCALE};
		struct snapkv_vote_params vote = {.q = q,
						  .kv = kv,
						  .stats = stats,
						  .scores = want,
						  .n_heads = HEADS,
						  .window = WINDOW,
						  .n_keys = KEYS,
						  .n_splits = SPLITS,
						  .scale = SCALE};
		k_snapkv_softmax(&softmax);
		k_snapkv_vote(&vote);
		memset(stats, 0xff, rows * SPLITS * 8);
		vote.scores = got;
		run(KERNEL_snapkv_softmax, &softmax);
		run(KERNEL_snapkv_vote, &vote);
		compare("votes", got, want, n_votes, 1e-5);
		for (int k = 0; k < KV_HEADS * KEPT; k++)
			kept[k] = k % KEPT * 3 + k / KEPT;
		for (int k = 0; k < 2; k++) {
			const struct snapkv_compact_params p = {
				.from = kv, .to = moved[k], .kept = kept, .n_kept = KEPT};
			if (k)
				run(KERNEL_snapkv_compact, &p);
			else
				k_snapkv_compact(&p);
		}
		assert_memory_equal(moved[0].k, moved[1].k, bytes);
		assert_memory_equal(moved[0].v, moved[1].v, bytes);
		cache_free(&kv);
		cache_free(&moved[0]);
		cache_free(&moved[1]);
		free(q);
		free(stats);
		free(got);
		free(want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_writers),
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_decode),
		cmocka_unit_test(test_prefill),
		{"test_snapkv", test_snapkv, NULL, NULL, &test_isas[0]},
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
