/*
 * The K/V append and attention, decode and prefill, against a naive softmax in double over the decoded cache. Slots
 * that no query may read hold NaN, so a read beyond the window, the ring's live part or the last key shows.
 */
#include "tests/support/kernels_reference.h"

/* Relative to the RMS of the output: a few hundred keys, weights that sum to 1. */
static const double ATTENTION_THRESHOLD = 3e-6;

/* ---- append ---- */

/* To nearest, ties to even, by the definition of the format: mantissa bits and least exponent. */
static double round_to(double x, int mantissa, int least, double greatest)
{
	int e;
	double r;

	if (x == 0.0)
		return x;
	e = ilogb(x) < least ? least : ilogb(x);
	r = ldexp(nearbyint(ldexp(x, mantissa - e)), e - mantissa);
	return fabs(r) > greatest ? copysign((double)INFINITY, x) : r;
}

static double stored(float x, int type)
{
	if (type == TENSOR_F16)
		return round_to((double)x, 10, -14, 65504.0);
	return type == TENSOR_BF16 ? round_to((double)x, 7, -126, 3.4e38) : (double)x;
}

static double cached(const void *cache, int type, size_t i)
{
	switch (type) {
	case TENSOR_F32:
		return (double)((const float *)cache)[i];
	case TENSOR_F16:
		return decode_f16(((const uint16_t *)cache)[i]);
	default:
		return decode_bf16(((const uint16_t *)cache)[i]);
	}
}

static void test_kv_append(void **state)
{
	static const struct {
		int type, v_type, heads, hd, capacity, ring, tokens, pos, evicted;
	} cases[] = {
		{TENSOR_F32, TENSOR_F32, 1, 5, 9, 0, 3, 2, 0},
		{TENSOR_F16, TENSOR_F16, 2, 33, 9, 0, 4, 7, 3},
		{TENSOR_BF16, TENSOR_F16, 3, 64, 7, 7, 5, 12, 0},
		{TENSOR_F16, TENSOR_BF16, 1, 256, 8, 8, 1, 15, 0},
		{TENSOR_F16, TENSOR_F32, 2, 18, 6, 6, 17, 4, 0},
		{TENSOR_F16, TENSOR_F16, 4, 128, 300, 300, 290, 180, 0},
	};

	use_isa(state);
	for (size_t i = 0; i < COUNT(cases) * 3; i++) {
		const int threads = (int)(i % 3) + 1;
		const int heads = cases[i / 3].heads;
		const int hd = cases[i / 3].hd;
		const int capacity = cases[i / 3].capacity;
		const int ring = cases[i / 3].ring;
		const int type[2] = {cases[i / 3].type, cases[i / 3].v_type};
		const size_t rows = (size_t)cases[i / 3].tokens * (size_t)heads;
		const size_t n = (size_t)heads * (size_t)capacity * (size_t)hd;
		const struct step step = {.pos = cases[i / 3].pos, .evicted = cases[i / 3].evicted};
		struct cpu_team *team = team_begin(threads);
		float *rows_of[2];
		void *cache[2];
		unsigned char *written = take((size_t)capacity, 1);

		for (int c = 0; c < 2; c++) {
			static const float awkward[] = {65504.0f,  65519.9f,       65520.0f,   -1e30f,
							0x1p-24f,  0x1p-25f,       0x1.8p-24f, 0x1.ffcp-15f,
							0x1p-14f,  1.00048828125f, -0.0f,      1.00146484375f,
							0x1.01p0f, 0x1.03p0f,      1e-30f};

			rows_of[c] = random_floats(rows * (size_t)hd, 3.0f);
			for (size_t k = 0; k < rows * (size_t)hd; k++)
				if (random_below(3) == 0)
					rows_of[c][k] = awkward[(size_t)random_below((int)COUNT(awkward))];
			cache[c] = take(n, 4);
			memset(cache[c], 0xff, n * 4);
		}
		k_kv_append(&(struct kv_append_params){.at = {.device = &step, .host = {.pos = 1}},
						       .k = rows_of[0],
						       .v = rows_of[1],
						       .kv = {.k = cache[0],
							      .v = cache[1],
							      .type = type[0],
							      .v_type = type[1],
							      .n_kv_heads = heads,
							      .head_dim = hd,
							      .capacity = capacity,
							      .ring = ring},
						       .n_tokens = cases[i / 3].tokens});
		team_end(team);
		for (int t = cases[i / 3].tokens - 1; t >= 0; t--) {
			const int slot = ring ? (step.pos + t) % ring : step.pos + t - step.evicted;

			/* A later token has the slot. */
			if (written[slot])
				continue;
			written[slot] = 1;
			for (int k = 0; k < heads * hd; k++) {
				const size_t at = ((size_t)(k / hd) * (size_t)capacity + (size_t)slot) * (size_t)hd +
						  (size_t)(k % hd);

				for (int c = 0; c < 2; c++)
					assert_true(cached(cache[c], type[c], at) ==
						    stored(rows_of[c][t * heads * hd + k], type[c]));
			}
		}
		for (size_t k = 0; k < n * 4; k++) {
			for (int c = 0; c < 2; c++) {
				const size_t size = type[c] == TENSOR_F32 ? 4 : 2;
				const bool inside = k < n * size;
				const size_t slot = k / size / (size_t)hd % (size_t)capacity;

				if (!inside || !written[slot])
					assert_int_equal(((unsigned char *)cache[c])[k], 0xff);
			}
		}
		for (int c = 0; c < 2; c++) {
			free(rows_of[c]);
			free(cache[c]);
		}
		free(written);
	}
}

/* ---- attention ---- */

struct attention_case {
	int type, v_type;
	int n_heads, n_kv_heads, hd;
	int capacity, ring, window;
	int pos, evicted;
	int n_tokens;            /* prefill: rows pos .. pos + n_tokens - 1 */
	int split_len, n_splits; /* decode, of the last of them */
	float q_scale;
};

static const struct attention_case cases[] = {
	/* global: one key; a few; many tiles; evicted; large scores; long splits, and splits beyond the end */
	{TENSOR_F32, TENSOR_F32, 1, 1, 8, 4, 0, 0, 0, 0, 1, 4, 2, 1.0f},
	{TENSOR_F16, TENSOR_F16, 8, 1, 256, 80, 0, 0, 0, 0, 70, 16, 6, 1.0f},
	{TENSOR_F32, TENSOR_F32, 4, 2, 20, 300, 0, 0, 130, 0, 150, 100, 3, 1.0f},
	{TENSOR_F16, TENSOR_F32, 6, 2, 64, 200, 0, 0, 250, 100, 40, 7, 40, 1.0f},
	{TENSOR_BF16, TENSOR_F16, 2, 2, 33, 128, 0, 0, 3, 0, 9, 1, 16, 60.0f},
	{TENSOR_F16, TENSOR_BF16, 5, 1, 512, 70, 0, 0, 64, 0, 1, 64, 2, 1.0f},
	/* sliding, through the ring: before the window is full, at its edge, just past, wrapped often */
	{TENSOR_F16, TENSOR_F16, 8, 1, 256, 48, 48, 32, 0, 0, 16, 8, 4, 1.0f},
	{TENSOR_F32, TENSOR_F32, 4, 2, 24, 32, 32, 32, 31, 0, 1, 10, 4, 1.0f},
	{TENSOR_F32, TENSOR_F16, 4, 4, 64, 32, 32, 32, 32, 0, 1, 10, 4, 1.0f},
	{TENSOR_F16, TENSOR_F16, 8, 2, 64, 100, 100, 37, 1234, 0, 64, 5, 8, 1.0f},
	{TENSOR_BF16, TENSOR_BF16, 3, 1, 40, 7, 7, 5, 1000003, 0, 3, 2, 3, 1.0f},
	{TENSOR_F16, TENSOR_F16, 2, 1, 128, 700, 700, 512, 900, 0, 180, 128, 4, 30.0f},
	/* evicted says nothing about a ring; a window without a ring */
	{TENSOR_F32, TENSOR_F32, 2, 1, 16, 20, 20, 8, 50, 30, 12, 3, 3, 1.0f},
	{TENSOR_F32, TENSOR_F32, 2, 1, 16, 90, 0, 8, 50, 0, 33, 3, 3, 1.0f},
	/* fewer splits than split_len alone would make: exactly three times as long, one key more, and all in one */
	{TENSOR_F32, TENSOR_F32, 3, 1, 16, 200, 0, 0, 191, 0, 1, 16, 4, 1.0f},
	{TENSOR_F16, TENSOR_F16, 8, 1, 32, 200, 0, 0, 192, 0, 1, 16, 4, 1.0f},
	{TENSOR_BF16, TENSOR_BF16, 4, 2, 32, 70, 70, 50, 333, 0, 1, 16, 2, 1.0f},
	{TENSOR_F16, TENSOR_F16, 2, 2, 32, 200, 0, 0, 250, 100, 1, 7, 1, 1.0f},
};

struct attention_data {
	struct kv kv;
	double *k, *v; /* the caches' values */
	float *q;      /* (n_tokens, n_heads, hd) */
	double *y;     /* as q: expected, of the rows that were asked for */
};

static int slot_of(const struct attention_case *c, int pos)
{
	return c->ring ? pos % c->ring : pos - c->evicted;
}

static int first_of(const struct attention_case *c, int pos)
{
	const int oldest = c->ring ? 0 : c->evicted;

	return c->window && pos - c->window + 1 > oldest ? pos - c->window + 1 : oldest;
}

/* Softmax over positions first .. end of one head's scores; returns the maximum and the sum, adds p * v to out. */
static void naive(const struct attention_case *c, const struct attention_data *d, const float *q, int kv_head,
		  int first, int end, double *m, double *l, double *out)
{
	const size_t hd = (size_t)c->hd;
	double *scores = take((size_t)(end - first), sizeof(*scores));

	*m = -(double)INFINITY;
	*l = 0.0;
	for (int p = first; p < end; p++) {
		const size_t at = ((size_t)kv_head * (size_t)c->capacity + (size_t)slot_of(c, p)) * hd;
		double s = 0.0;

		for (size_t k = 0; k < hd; k++)
			s += (double)q[k] * d->k[at + k];
		scores[p - first] = s * 0.125;
		*m = s * 0.125 > *m ? s * 0.125 : *m;
	}
	for (size_t k = 0; k < hd; k++)
		out[k] = 0.0;
	for (int p = first; p < end; p++) {
		const size_t at = ((size_t)kv_head * (size_t)c->capacity + (size_t)slot_of(c, p)) * hd;
		const double e = exp(scores[p - first] - *m);

		*l += e;
		for (size_t k = 0; k < hd; k++)
			out[k] += e * d->v[at + k];
	}
	free(scores);
}

static void *cache_make(const struct attention_case *c, int type)
{
	const size_t n = (size_t)c->n_kv_heads * (size_t)c->capacity * (size_t)c->hd;
	unsigned char *live = take((size_t)c->capacity, 1);
	char *cache = take(n, type == TENSOR_F32 ? 4 : 2);

	for (int p = first_of(c, c->pos); p < c->pos + c->n_tokens; p++)
		live[slot_of(c, p)] = 1;
	for (size_t i = 0; i < n; i++) {
		const bool dead = !live[i / (size_t)c->hd % (size_t)c->capacity];

		if (type == TENSOR_F32)
			((float *)cache)[i] = dead ? NAN : random_float();
		else
			((uint16_t *)cache)[i] = dead ? 0xffff : type == TENSOR_F16 ? random_f16() : random_bf16();
	}
	free(live);
	return cache;
}

static double *cache_values(const struct attention_case *c, const void *cache, int type)
{
	const size_t n = (size_t)c->n_kv_heads * (size_t)c->capacity * (size_t)c->hd;
	double *values = take(n, sizeof(*values));

	for (size_t i = 0; i < n; i++)
		values[i] = cached(cache, type, i);
	return values;
}

/* What is expected of the tokens from that one on. */
static struct attention_data data_make(const struct attention_case *c, int first_token)
{
	const size_t hd = (size_t)c->hd;
	const size_t n = (size_t)c->n_tokens * (size_t)c->n_heads * hd;
	struct attention_data d = {.q = random_floats(n, 4.0f * c->q_scale), .y = take(n, sizeof(double))};

	d.kv = (struct kv){.k = cache_make(c, c->type),
			   .v = cache_make(c, c->v_type),
			   .type = c->type,
			   .v_type = c->v_type,
			   .n_kv_heads = c->n_kv_heads,
			   .head_dim = c->hd,
			   .capacity = c->capacity,
			   .ring = c->ring};
	d.k = cache_values(c, d.kv.k, c->type);
	d.v = cache_values(c, d.kv.v, c->v_type);
	for (int i = first_token * c->n_heads; i < c->n_tokens * c->n_heads; i++) {
		const int pos = c->pos + i / c->n_heads;
		const int kv_head = i % c->n_heads / (c->n_heads / c->n_kv_heads);
		double m;
		double l;

		naive(c, &d, d.q + (size_t)i * hd, kv_head, first_of(c, pos), pos + 1, &m, &l, d.y + (size_t)i * hd);
		for (size_t k = 0; k < hd; k++)
			d.y[(size_t)i * hd + k] /= l;
	}
	return d;
}

static void data_free(struct attention_data *d)
{
	free(d->kv.k);
	free(d->kv.v);
	free(d->k);
	free(d->v);
	free(d->q);
	free(d->y);
}

/* Scores in the thousands are only known to their own rounding, which the exponential turns into relative error. */
static double threshold_of(const struct attention_case *c)
{
	return c->q_scale > 1.0f ? 100 * ATTENTION_THRESHOLD : ATTENTION_THRESHOLD;
}

static void test_prefill(void **state)
{
	use_isa(state);
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct attention_case *c = &cases[i];
		const size_t n = (size_t)c->n_tokens * (size_t)c->n_heads * (size_t)c->hd;
		const struct step step = {.pos = c->pos, .evicted = c->evicted};
		struct attention_data d = data_make(c, 0);
		struct output o = output_make(n);

		memcpy(o.expect, d.y, n * sizeof(double));
		check_everywhere(run_attention_prefill,
				 &(struct attention_prefill_params){.at = {.device = &step, .host = {.pos = 1}},
								    .q = d.q,
								    .kv = d.kv,
								    .y = o.y,
								    .n_tokens = c->n_tokens,
								    .n_heads = c->n_heads,
								    .window = c->window,
								    .scale = 0.125f},
				 &o, threshold_of(c));
		output_free(&o);
		data_free(&d);
	}
}

static int split_keys(const struct attention_case *c, int n_keys)
{
	int length = c->split_len;

	while (length * c->n_splits < n_keys)
		length += c->split_len;
	return length;
}

static void test_decode(void **state)
{
	use_isa(state);
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct attention_case *c = &cases[i];
		const int pos = c->pos + c->n_tokens - 1;
		const size_t hd = (size_t)c->hd;
		const size_t row = hd + 2;
		const size_t last = (size_t)(c->n_tokens - 1) * (size_t)c->n_heads * hd;
		const struct step step = {.pos = pos, .evicted = c->evicted};
		const int first = first_of(c, pos);
		const int length = split_keys(c, pos + 1 - first);
		struct attention_data d = data_make(c, c->n_tokens - 1);
		struct output o = output_make((size_t)c->n_heads * hd);
		struct output partial = output_make((size_t)(c->n_heads * c->n_splits) * row);
		struct attention_params p = {
			.split = {.at = {.device = &step, .host = {.pos = 1}},
				  .q = d.q + last,
				  .kv = d.kv,
				  .partial = partial.y,
				  .n_heads = c->n_heads,
				  .window = c->window,
				  .split_len = c->split_len,
				  .n_splits = c->n_splits,
				  .scale = 0.125f},
			.y = o.y,
		};

		memcpy(o.expect, d.y + last, (size_t)c->n_heads * hd * sizeof(double));
		output_reset(&partial);
		check_everywhere(run_attention, &p, &o, threshold_of(c));
		/* On its own the split leaves what the contract says, and NaN elsewhere does not matter. */
		for (int threads = 1; threads <= 3; threads++) {
			struct cpu_team *team = team_begin(threads);

			output_reset(&partial);
			k_attention_split(&p.split);
			team_end(team);
			if (threads == 1)
				memcpy(partial.first, partial.memory, (partial.n + 2 * GUARD) * 4);
			assert_memory_equal(partial.first, partial.memory, (partial.n + 2 * GUARD) * 4);
		}
		for (int h = 0; h < c->n_heads; h++) {
			double *expect = take(hd, sizeof(*expect));

			for (int s = 0; s < c->n_splits; s++) {
				const float *got = partial.y + (size_t)(h * c->n_splits + s) * row;
				const int from = first + s * length;
				const int end = from + length < pos + 1 ? from + length : pos + 1;
				double m;
				double l;

				if (from > pos) {
					assert_true(got[hd + 1] == 0.0f);
					continue;
				}
				naive(c, &d, d.q + last + (size_t)h * hd, h / (c->n_heads / c->n_kv_heads), from, end,
				      &m, &l, expect);
				assert_true(fabs((double)got[hd] - m) <= 2e-6 * (fabs(m) + 1.0));
				assert_true(fabs((double)got[hd + 1] - l) <= threshold_of(c) * l);
				for (size_t k = 0; k < hd; k++)
					assert_true(fabs((double)got[k] - expect[k]) <= 4 * threshold_of(c) * l);
			}
			free(expect);
		}
		output_free(&partial);
		output_free(&o);
		data_free(&d);
	}
}

/* qkv_prepare is the composition in params.h, without a cache, without and with v's norm, and with K = V. */
static void test_qkv_prepare(void **state)
{
	enum { TOKENS = 3, HEADS = 4, KV_HEADS = 2, HD = 32, CAPACITY = 8 };
	float *inv_freq;
	float *norms[2];

	use_isa(state);
	inv_freq = random_floats(HD / 2, 1.0f);
	norms[0] = random_floats(HD, 1.0f);
	norms[1] = random_floats(HD, 1.0f);
	for (int variant = 0; variant < 4; variant++) {
		const int rows[3] = {TOKENS * HEADS, TOKENS * KV_HEADS, TOKENS * KV_HEADS};
		const int n_heads[2] = {HEADS, KV_HEADS};
		const struct at at = {.host = {.pos = 7, .evicted = variant >= 2 ? 0 : 4}};
		float *fused[3];
		float *parts[3];
		struct kv kv[2];

		for (int i = 0; i < 3; i++) {
			fused[i] = random_floats((size_t)rows[i] * HD, 1.0f);
			parts[i] = take((size_t)rows[i] * HD, 4);
			memcpy(parts[i], fused[i], (size_t)rows[i] * HD * 4);
		}
		for (int i = 0; i < 2; i++) {
			kv[i] = (struct kv){.k = take(KV_HEADS * CAPACITY * HD, 2),
					    .v = take(KV_HEADS * CAPACITY * HD, 2),
					    .type = TENSOR_F16,
					    .v_type = TENSOR_BF16,
					    .n_kv_heads = KV_HEADS,
					    .head_dim = HD,
					    .capacity = CAPACITY,
					    .ring = variant >= 2 ? CAPACITY : 0};
		}
		k_qkv_prepare(&(struct qkv_prepare_params){.at = at,
							   .q = fused[0],
							   .k = variant ? fused[1] : NULL,
							   .v = variant ? fused[2] : NULL,
							   .v_raw = variant == 3 ? fused[1]
								    : variant    ? fused[2]
										 : NULL,
							   .q_norm = norms[0],
							   .k_norm = norms[1],
							   .inv_freq = inv_freq,
							   .kv = kv[0],
							   .n_tokens = TOKENS,
							   .n_heads = HEADS,
							   .head_dim = HD,
							   .v_norm = variant >= 2,
							   .eps = 1e-6f});
		if (variant == 3)
			memcpy(parts[2], parts[1], (size_t)rows[2] * HD * 4);
		for (int i = 0; i < 3 && (i == 0 || variant); i++) {
			if (i == 2 && variant < 2)
				continue;
			k_rms_norm(&(struct rms_norm_params){.x = parts[i],
							     .weight = i == 2 ? NULL : norms[i],
							     .y = parts[i],
							     .n_rows = rows[i],
							     .n = HD,
							     .x_stride = HD,
							     .y_stride = HD,
							     .eps = 1e-6f,
							     .scale = 1.0f});
			if (i < 2)
				k_rope(&(struct rope_params){.at = at,
							     .x = parts[i],
							     .inv_freq = inv_freq,
							     .n_tokens = TOKENS,
							     .n_heads = n_heads[i],
							     .head_dim = HD});
		}
		if (variant)
			k_kv_append(&(struct kv_append_params){
				.at = at, .k = parts[1], .v = parts[2], .kv = kv[1], .n_tokens = TOKENS});
		for (int i = 0; i < 3; i++) {
			assert_memory_equal(fused[i], parts[i], (size_t)rows[i] * HD * 4);
			free(fused[i]);
			free(parts[i]);
		}
		assert_memory_equal(kv[0].k, kv[1].k, KV_HEADS * CAPACITY * HD * 2);
		assert_memory_equal(kv[0].v, kv[1].v, KV_HEADS * CAPACITY * HD * 2);
		for (int i = 0; i < 2; i++) {
			free(kv[i].k);
			free(kv[i].v);
		}
	}
	free(inv_freq);
	free(norms[0]);
	free(norms[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH_INNER(test_kv_append),
		EACH_INNER(test_prefill),
		EACH_INNER(test_decode),
		EACH_INNER(test_qkv_prepare),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
