/*
 * Rows of a cache in Q8_0: what quantising gives, by the definition of the format; that every kernel that writes one
 * stores the same bytes; that every kernel that reads one computes what it does from those values in float32, to the
 * bit, which the kernels' own tests compare with double; and that an eviction moves bytes.
 */
#include "kernels/cpu/cache_rows.h"

#include "tests/support/kernels_reference.h"

enum { HD = 96, ROW = 112, HEADS = 6, KV_HEADS = 2, CAPACITY = 150 };

/* Of products of int8 up to 127 and scales up to 1: softmaxes of more than one key. */
static const float SCALE = 1.0f / 4096;

/* ---- the format ---- */

static void test_row_bytes(void **state)
{
	(void)state;
	static const int want[][4] = {{32, 128, 64, 48},    {64, 256, 128, 80},    {96, 384, 192, 112},
				      {128, 512, 256, 144}, {256, 1024, 512, 272}, {512, 2048, 1024, 544}};
	for (size_t i = 0; i < COUNT(want); i++) {
		assert_int_equal(cache_row_bytes(TENSOR_F32, want[i][0]), want[i][1]);
		assert_int_equal(cache_row_bytes(TENSOR_F16, want[i][0]), want[i][2]);
		assert_int_equal(cache_row_bytes(TENSOR_BF16, want[i][0]), want[i][2]);
		assert_int_equal(cache_row_bytes(TENSOR_Q8_0, want[i][0]), want[i][3]);
	}
	assert_false(cache_row_possible(TENSOR_Q8_0, 33));
	assert_true(cache_row_possible(TENSOR_Q8_0, 64));
	assert_true(cache_row_possible(TENSOR_F16, 33));
}

/* The nearest half, ties to even, by the definition. */
static double nearest_half(double x)
{
	if (x == 0)
		return 0;
	const int e = ilogb(x) < -14 ? -14 : ilogb(x);
	return ldexp(nearbyint(ldexp(x, 10 - e)), e - 10);
}

static void check_block(const float *x)
{
	int8_t q[CACHE_BLOCK];
	const uint16_t scale = cache_store_block(x, q);
	double most = 0;

	for (int i = 0; i < CACHE_BLOCK; i++)
		most = fmax(most, fabs((double)x[i]));
	const double d = nearest_half(most / 127);
	/* The quotient is first rounded to float32: where that lies on the border of two halves, either may be. */
	assert_true(fabs(decode_f16(scale) - d) <= (fabs(nearest_half(most / 127 * (1 + 1e-7)) - d) +
						    fabs(nearest_half(most / 127 * (1 - 1e-7)) - d)));
	for (int i = 0; i < CACHE_BLOCK; i++) {
		const double steps = scale ? (double)x[i] / (most / 127) : 0;

		assert_true(fabs(q[i] - steps) <= 0.5 + 1e-4); /* two roundings of a product of up to 127 */
		assert_true(abs(q[i]) <= 127);
	}
}

static void test_blocks(void **state)
{
	(void)state;
	float x[CACHE_BLOCK];
	int8_t q[CACHE_BLOCK];
	for (int round = 0; round < 3000; round++) {
		const float scale = ldexpf(1, random_below(50) - 32);
		for (int i = 0; i < CACHE_BLOCK; i++)
			x[i] = random_below(8) ? random_float() * scale : 0;
		check_block(x);
	}
	/* Halves go away from zero: of a greatest magnitude of 127 these are steps and a half. */
	memset(x, 0, sizeof x);
	x[0] = 127, x[1] = 2.5f, x[2] = -2.5f, x[3] = 3.5f, x[4] = -0.5f, x[5] = 0.49999997f;
	assert_int_equal(cache_store_block(x, q), 0x3c00);
	assert_int_equal(q[0], 127);
	assert_int_equal(q[1], 3);
	assert_int_equal(q[2], -3);
	assert_int_equal(q[3], 4);
	assert_int_equal(q[4], -1);
	assert_int_equal(q[5], 0);
	/* Nothing; what is too small for a scale; what is beyond it; and what is no number. */
	static const struct {
		float x;
		uint16_t scale;
	} ends[] = {{0, 0}, {1e-7f, 0}, {-8319008.0f, 0x7bff}, {8.4e6f, 0x7c00}, {-INFINITY, 0x7c00}, {NAN, CACHE_NAN}};
	for (size_t k = 0; k < COUNT(ends); k++) {
		memset(x, 0, sizeof x);
		memset(q, 1, sizeof q);
		x[3] = 1e-9f;
		x[17] = ends[k].x;
		assert_int_equal(cache_store_block(x, q), ends[k].scale);
		assert_int_equal(q[17], ends[k].scale == 0x7bff ? -127 : 0);
		assert_int_equal(q[3], 0);
	}
}

/* ---- who writes ---- */

static struct kv empty_cache(int type, int ring)
{
	const size_t bytes = (size_t)KV_HEADS * CAPACITY * (size_t)cache_row_bytes(type, HD);
	struct kv kv = {.k = take(bytes, 1),
			.v = take(bytes, 1),
			.type = type,
			.v_type = type,
			.n_kv_heads = KV_HEADS,
			.head_dim = HD,
			.capacity = CAPACITY,
			.ring = ring ? CAPACITY : 0};

	memset(kv.k, 0xff, bytes);
	memset(kv.v, 0xff, bytes);
	return kv;
}

static void cache_free(struct kv *kv)
{
	free(kv->k);
	free(kv->v);
}

/* rows: (tokens, KV_HEADS, HD), of which those from pos on are in the cache, and nothing else. */
static void check_stored(void *cache, const float *rows, int tokens, int pos)
{
	for (int slot = 0; slot < CAPACITY; slot++)
		for (int h = 0; h < KV_HEADS; h++) {
			const unsigned char *got = (unsigned char *)cache + (size_t)(h * CAPACITY + slot) * ROW;
			const int t = slot - pos;

			for (int b = 0; t >= 0 && t < tokens && b < HD / CACHE_BLOCK; b++) {
				int8_t q[CACHE_BLOCK];
				const float *from = rows + (size_t)(t * KV_HEADS + h) * HD + b * CACHE_BLOCK;
				const uint16_t scale = cache_store_block(from, q);

				assert_memory_equal(got + b * CACHE_BLOCK, q, CACHE_BLOCK);
				assert_memory_equal(got + HD + 2 * b, &scale, 2);
			}
			for (int i = t >= 0 && t < tokens ? HD + HD / 16 : 0; i < ROW; i++)
				assert_int_equal(got[i], t >= 0 && t < tokens ? 0 : 0xff);
		}
}

static void test_writers(void **state)
{
	enum { TOKENS = 5, POS = 31, EVICTED = 9, STRIDE = (HEADS + 2 * KV_HEADS) * HD };
	const struct at at = {.host = {.pos = POS, .evicted = EVICTED}};
	const size_t n = (size_t)TOKENS * KV_HEADS * HD;

	use_isa(state);
	float *k = random_floats(n, 3), *v = random_floats(n, 3), *inv_freq = random_floats(HD / 2, 1),
	      *norm = random_floats(HD, 1), *q = random_floats((size_t)TOKENS * HEADS * HD, 1),
	      *rows = random_floats((size_t)TOKENS * STRIDE, 1);
	struct kv kv = empty_cache(TENSOR_Q8_0, 0);
	k_kv_append(&(struct kv_append_params){.at = at, .k = k, .v = v, .kv = kv, .n_tokens = TOKENS});
	check_stored(kv.k, k, TOKENS, POS - EVICTED);
	check_stored(kv.v, v, TOKENS, POS - EVICTED);
	cache_free(&kv);

	kv = empty_cache(TENSOR_Q8_0, 0);
	k_qkv_prepare(&(struct qkv_prepare_params){.at = at,
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
						   .head_dim = HD,
						   .v_norm = 1,
						   .eps = 1e-6f});
	check_stored(kv.k, k, TOKENS, POS - EVICTED);
	check_stored(kv.v, v, TOKENS, POS - EVICTED);
	cache_free(&kv);

	kv = empty_cache(TENSOR_Q8_0, 0);
	k_prompt_qkv(&(struct prompt_qkv_params){.at = at,
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
						 .head_dim = HD,
						 .stride = STRIDE,
						 .owns = 1,
						 .v_norm = 1,
						 .eps = 1e-6f});
	check_stored(kv.k, k, TOKENS, POS - EVICTED);
	check_stored(kv.v, v, TOKENS, POS - EVICTED);
	cache_free(&kv);
	free(k);
	free(v);
	free(inv_freq);
	free(norm);
	free(q);
	free(rows);
}

/* ---- who reads ---- */

/* Random rows, each element's value beside them as float32. */
static void fill(struct kv *quantised, struct kv *plain)
{
	for (int half = 0; half < 2; half++)
		for (int r = 0; r < KV_HEADS * CAPACITY; r++) {
			unsigned char *row = (unsigned char *)(half ? quantised->v : quantised->k) + (size_t)r * ROW;
			float *values = (float *)(half ? plain->v : plain->k) + (size_t)r * HD;

			for (int b = 0; b < HD / CACHE_BLOCK; b++) {
				const uint16_t scale = random_f16() & 0x7fff;

				memcpy(row + HD + 2 * b, &scale, 2);
				for (int i = b * CACHE_BLOCK; i < (b + 1) * CACHE_BLOCK; i++) {
					const int8_t v = (int8_t)(random_below(255) - 127);

					memcpy(row + i, &v, 1);
					values[i] = (float)(decode_f16(scale) * v);
				}
			}
		}
}

static void test_readers(void **state)
{
	enum { TOKENS = 7, WINDOW = 20, SPLITS = 4, KEYS = 140 };

	use_isa(state);
	for (int ring = 0; ring < 2; ring++) {
		struct kv kv[2] = {empty_cache(TENSOR_Q8_0, ring), empty_cache(TENSOR_F32, ring)};
		const struct at at = {.host = {.pos = ring ? 1000 : KEYS - TOKENS}};
		const size_t n = (size_t)TOKENS * HEADS * HD, n_votes = (size_t)KV_HEADS * (KEYS - WINDOW),
			     n_stats = (size_t)KV_HEADS * WINDOW * HEADS / KV_HEADS * SPLITS * 2;
		float *q = random_floats((size_t)WINDOW * HEADS * HD, 4), *y[2], *prefill[2], *votes[2], *stats[2],
		      *partial = take((size_t)HEADS * SPLITS * (HD + 2), 4);

		fill(&kv[0], &kv[1]);
		for (int i = 0; i < 2; i++) {
			y[i] = take(n, 4);
			prefill[i] = take(n, 4);
			votes[i] = take(n_votes, 4);
			stats[i] = take(n_stats, 4);
			k_attention(&(struct attention_params){.split = {.at = at,
									 .q = q,
									 .kv = kv[i],
									 .partial = partial,
									 .n_heads = HEADS,
									 .window = ring ? 100 : 0,
									 .split_len = 16,
									 .n_splits = SPLITS,
									 .scale = SCALE},
							       .y = y[i]});
			k_attention_prefill(&(struct attention_prefill_params){.at = at,
									       .q = q,
									       .kv = kv[i],
									       .y = prefill[i],
									       .n_tokens = TOKENS,
									       .n_heads = HEADS,
									       .window = ring ? 100 : 0,
									       .scale = SCALE});
			if (ring)
				continue;
			k_snapkv_softmax(&(struct snapkv_softmax_params){.q = q,
									 .kv = kv[i],
									 .stats = stats[i],
									 .n_heads = HEADS,
									 .window = WINDOW,
									 .n_keys = KEYS,
									 .split_len = 35,
									 .n_splits = SPLITS,
									 .scale = SCALE});
			k_snapkv_vote(&(struct snapkv_vote_params){.q = q,
								   .kv = kv[i],
								   .stats = stats[i],
								   .scores = votes[i],
								   .n_heads = HEADS,
								   .window = WINDOW,
								   .n_keys = KEYS,
								   .n_splits = SPLITS,
								   .scale = SCALE});
		}
		assert_memory_equal(y[0], y[1], (size_t)HEADS * HD * 4);
		assert_memory_equal(prefill[0], prefill[1], n * 4);
		assert_memory_equal(stats[0], stats[1], n_stats * 4);
		assert_memory_equal(votes[0], votes[1], n_votes * 4);
		assert_true(prefill[0][0] != 0 && (ring || votes[0][0] != 0));
		for (int i = 0; i < 2; i++) {
			free(y[i]);
			free(prefill[i]);
			free(votes[i]);
			free(stats[i]);
			cache_free(&kv[i]);
		}
		free(q);
		free(partial);
	}
}

static void test_moved(void **state)
{
	enum { KEPT = 40 };
	int kept[KV_HEADS * KEPT];

	use_isa(state);
	struct kv from = empty_cache(TENSOR_Q8_0, 0), to = empty_cache(TENSOR_Q8_0, 0);
	for (size_t i = 0; i < (size_t)KV_HEADS * CAPACITY * ROW; i++) {
		((unsigned char *)from.k)[i] = (unsigned char)random_bits();
		((unsigned char *)from.v)[i] = (unsigned char)random_bits();
	}
	for (int i = 0; i < KV_HEADS * KEPT; i++)
		kept[i] = i % KEPT * 3 + i / KEPT;
	k_snapkv_compact(&(struct snapkv_compact_params){.from = from, .to = to, .kept = kept, .n_kept = KEPT});
	for (int h = 0; h < KV_HEADS; h++)
		for (int s = 0; s < CAPACITY; s++)
			for (int i = 0; i < ROW; i++) {
				const size_t at = (size_t)(h * CAPACITY + s) * ROW + (size_t)i,
					     old = (size_t)(h * CAPACITY + (s < KEPT ? kept[h * KEPT + s] : 0)) * ROW +
						   (size_t)i;

				assert_int_equal(((unsigned char *)to.k)[at],
						 s < KEPT ? ((unsigned char *)from.k)[old] : 0xff);
				assert_int_equal(((unsigned char *)to.v)[at],
						 s < KEPT ? ((unsigned char *)from.v)[old] : 0xff);
			}
	cache_free(&from);
	cache_free(&to);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_row_bytes), cmocka_unit_test(test_blocks), EACH_INNER(test_writers),
		EACH_INNER(test_readers),         EACH_INNER(test_moved),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
