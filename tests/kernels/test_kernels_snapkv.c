/*
 * SnapKV's kernels on the host against plain computations in double: the softmax of the window's queries and
 * the votes over every cache type, odd sizes and splits; the selection against a naive one, with ties; the move
 * of rows, byte for byte. Slots that must not be read hold NaN.
 */
#include "tests/support/kernels_reference.h"

/* Relative to the RMS of the output: sums of up to a thousand probabilities. */
static const double VOTE_THRESHOLD = 3e-6;

struct vote_case {
	int type;
	int n_heads, n_kv_heads, hd;
	int capacity, n_keys, window, split_len;
	float scale;
};

static const struct vote_case vote_cases[] = {
	{TENSOR_F32, 1, 1, 1, 2, 2, 1, 1, 1.0f},           {TENSOR_F32, 3, 1, 5, 40, 37, 7, 10, 0.7f},
	{TENSOR_F16, 4, 2, 64, 300, 300, 64, 128, 1.0f},   {TENSOR_BF16, 4, 4, 33, 130, 129, 128, 64, 0.3f},
	{TENSOR_F16, 8, 1, 256, 200, 190, 16, 1000, 0.1f}, {TENSOR_F16, 8, 2, 512, 150, 131, 3, 65, 0.05f},
	{TENSOR_BF16, 12, 3, 96, 700, 641, 33, 64, 0.2f},
};

/* Keys of slots 0 .. n_keys with their values in double, NaN behind. */
static void *keys_make(const struct vote_case *c, double **values)
{
	const size_t n = (size_t)c->n_kv_heads * (size_t)c->capacity * (size_t)c->hd;
	char *keys = take(n, 4);

	*values = take(n, sizeof(double));
	memset(keys, 0xff, n * 4);
	for (size_t i = 0; i < n; i++) {
		if ((int)(i / (size_t)c->hd % (size_t)c->capacity) >= c->n_keys)
			continue;
		if (c->type == TENSOR_F32) {
			const float f = random_float();

			memcpy(keys + i * 4, &f, 4);
			(*values)[i] = (double)f;
		} else {
			const uint16_t h = c->type == TENSOR_F16 ? random_f16() : random_bf16();

			memcpy(keys + i * 2, &h, 2);
			(*values)[i] = c->type == TENSOR_F16 ? decode_f16(h) : decode_bf16(h);
		}
	}
	return keys;
}

/* scores (n_keys) of one row; keys beyond its own position have none. Returns how many it attends. */
static int row_scores(const struct vote_case *c, const float *q, const double *keys, int kv_head, int row,
		      double *scores)
{
	const int group = c->n_heads / c->n_kv_heads;
	const int attended = c->n_keys - c->window + row / group + 1;
	const float *query =
		q +
		((size_t)(row / group) * (size_t)c->n_heads + (size_t)(kv_head * group + row % group)) * (size_t)c->hd;

	for (int j = 0; j < attended; j++) {
		const double *key = keys + ((size_t)kv_head * (size_t)c->capacity + (size_t)j) * (size_t)c->hd;

		scores[j] = 0.0;
		for (int i = 0; i < c->hd; i++)
			scores[j] += (double)query[i] * key[i];
		scores[j] *= (double)c->scale;
	}
	return attended;
}

/* The greatest score of [from, to) and the sum of exp(score - m). */
static double softmax_sum(const double *scores, int from, int to, double *m)
{
	double sum = 0.0;

	*m = -(double)INFINITY;
	for (int j = from; j < to; j++)
		*m = scores[j] > *m ? scores[j] : *m;
	for (int j = from; j < to; j++)
		sum += exp(scores[j] - *m);
	return sum;
}

static void check_stats(const struct vote_case *c, const float *q, const double *keys, const float *stats, int n_splits)
{
	const int rows = c->window * (c->n_heads / c->n_kv_heads);
	double *scores = take((size_t)c->n_keys, sizeof(double));

	for (int i = 0; i < c->n_kv_heads * rows * n_splits; i++) {
		const int split = i % n_splits, row = i / n_splits % rows, head = i / n_splits / rows;
		const int attended = row_scores(c, q, keys, head, row, scores);
		const int from = split * c->split_len;
		const int to = from + c->split_len < attended ? from + c->split_len : attended;
		double m, l;

		if (from >= to) {
			assert_true(stats[2 * i + 1] == 0.0f);
			continue;
		}
		l = softmax_sum(scores, from, to, &m);
		/* The maximum need not be the same score, where two are equal but for rounding. */
		if (!(fabs((double)stats[2 * i] - m) <= VOTE_THRESHOLD * (1 + fabs(m))) ||
		    !(fabs((double)stats[2 * i + 1] - l) <= 10 * VOTE_THRESHOLD * l))
			fail_msg("head %d, row %d, split %d: %g and %g, expected %g and %g", head, row, split,
				 (double)stats[2 * i], (double)stats[2 * i + 1], m, l);
	}
	free(scores);
}

static void test_vote(void **state)
{
	use_isa(state);
	for (size_t i = 0; i < COUNT(vote_cases); i++) {
		const struct vote_case *c = &vote_cases[i];
		const int rows = c->window * (c->n_heads / c->n_kv_heads), candidates = c->n_keys - c->window;
		const int n_splits = (c->n_keys + c->split_len - 1) / c->split_len;
		const size_t n_stats = (size_t)c->n_kv_heads * (size_t)rows * (size_t)n_splits * 2;
		double *keys, *scores = take((size_t)c->n_keys, sizeof(double));
		void *cache = keys_make(c, &keys);
		float *q = random_floats((size_t)c->window * (size_t)c->n_heads * (size_t)c->hd, 2.0f);
		float *stats = take(n_stats, 4), *first = take(n_stats, 4);
		float *had = random_floats((size_t)c->n_kv_heads * (size_t)candidates, 1.0f);
		const struct kv kv = {.k = cache,
				      .type = c->type,
				      .v_type = c->type,
				      .n_kv_heads = c->n_kv_heads,
				      .head_dim = c->hd,
				      .capacity = c->capacity};
		const struct snapkv_softmax_params softmax = {.q = q,
							      .kv = kv,
							      .stats = stats,
							      .n_heads = c->n_heads,
							      .window = c->window,
							      .n_keys = c->n_keys,
							      .split_len = c->split_len,
							      .n_splits = n_splits,
							      .scale = c->scale};

		for (int threads = 1; threads <= 3; threads++) {
			struct cpu_team *team = team_begin(threads);

			memset(stats, 0xff, n_stats * 4);
			k_snapkv_softmax(&softmax);
			team_end(team);
			if (threads == 1) {
				check_stats(c, q, keys, stats, n_splits);
				memcpy(first, stats, n_stats * 4);
			}
			assert_memory_equal(first, stats, n_stats * 4);
		}
		for (int add = 0; add <= 1; add++) {
			const size_t n = (size_t)c->n_kv_heads * (size_t)candidates;
			struct output o = add ? output_of(had, n) : output_make(n);
			const struct snapkv_vote_params vote = {.q = q,
								.kv = kv,
								.stats = stats,
								.scores = o.y,
								.n_heads = c->n_heads,
								.window = c->window,
								.n_keys = c->n_keys,
								.n_splits = n_splits,
								.scale = c->scale,
								.add = add};

			for (size_t k = 0; k < n; k++)
				o.expect[k] = add ? (double)had[k] : 0.0;
			for (int r = 0; r < c->n_kv_heads * rows; r++) {
				const int head = r / rows;
				const int attended = row_scores(c, q, keys, head, r % rows, scores);
				double m;
				const double l = softmax_sum(scores, 0, attended, &m);

				for (int j = 0; j < candidates; j++)
					o.expect[head * candidates + j] += exp(scores[j] - m) / l;
			}
			check_everywhere(run_snapkv_vote, &vote, &o, VOTE_THRESHOLD);
			output_free(&o);
		}
		free(keys);
		free(scores);
		free(cache);
		free(q);
		free(stats);
		free(first);
		free(had);
	}
}

/* One winner after the other, the first of the best ones each time. */
static void naive_select(const float *scores, int n, int window, int budget, int pool, int *kept)
{
	float *pooled = take((size_t)n, sizeof(*pooled));
	bool *won = take((size_t)n, sizeof(*won));

	for (int j = 0; j < n; j++)
		for (int i = j - pool / 2; i <= j + pool / 2; i++)
			if (i >= 0 && i < n && scores[i] > pooled[j])
				pooled[j] = scores[i];
	for (int k = 0; k < budget - window; k++) {
		int best = -1;

		for (int j = 0; j < n; j++)
			if (!won[j] && (best < 0 || pooled[j] > pooled[best]))
				best = j;
		won[best] = true;
	}
	for (int j = 0; j < n; j++)
		if (won[j])
			*kept++ = j;
	for (int w = 0; w < window; w++)
		*kept++ = n + w;
	free(pooled);
	free(won);
}

static void test_select(void **state)
{
	/* levels: distinct scores; 0: any */
	static const struct {
		int heads, n_keys, window, budget, pool, levels;
	} cases[] = {
		{1, 2, 1, 1, 1, 0},         {1, 3, 1, 2, 1, 0},        {2, 50, 5, 49, 7, 0},
		{3, 400, 64, 64, 7, 0},     {2, 1000, 64, 128, 7, 0},  {2, 1000, 1, 500, 1, 3},
		{1, 700, 16, 300, 1, 1},    {4, 333, 33, 100, 255, 0}, {2, 2100, 10, 2000, 3, 2},
		{1, 5000, 64, 1024, 7, 40},
	};

	use_isa(state);
	for (size_t i = 0; i < COUNT(cases); i++) {
		const int heads = cases[i].heads, n = cases[i].n_keys - cases[i].window, budget = cases[i].budget;
		const size_t all = (size_t)heads * (size_t)n;
		float *scores = take(all, 4), *pooled = take(all, 4);
		int *kept = take((size_t)(heads * budget), sizeof(*kept)),
		    *want = take((size_t)(heads * budget), sizeof(*want));

		for (size_t k = 0; k < all; k++)
			scores[k] = cases[i].levels   ? (float)random_below(cases[i].levels) * 0.1f
				    : random_below(4) ? fabsf(random_float()) * 0x1p-20f
						      : fabsf(random_float()) * 60.0f;
		for (int h = 0; h < heads; h++)
			naive_select(scores + (size_t)h * (size_t)n, n, cases[i].window, budget, cases[i].pool,
				     want + (size_t)(h * budget));
		for (int threads = 1; threads <= 3; threads++) {
			struct cpu_team *team = team_begin(threads);

			memset(kept, 0xff, (size_t)(heads * budget) * sizeof(*kept));
			k_snapkv_select(&(struct snapkv_select_params){.scores = scores,
								       .pooled = pooled,
								       .kept = kept,
								       .n_kv_heads = heads,
								       .n_keys = cases[i].n_keys,
								       .window = cases[i].window,
								       .budget = budget,
								       .pool = cases[i].pool});
			team_end(team);
			assert_memory_equal(kept, want, (size_t)(heads * budget) * sizeof(*want));
		}
		free(scores);
		free(pooled);
		free(kept);
		free(want);
	}
}

static void test_compact(void **state)
{
	static const struct {
		int type, v_type, heads, hd, old_capacity, new_capacity, n_kept;
	} cases[] = {
		{TENSOR_F32, TENSOR_F32, 1, 1, 3, 2, 1},
		{TENSOR_F16, TENSOR_F32, 2, 33, 50, 40, 30},
		{TENSOR_BF16, TENSOR_F16, 3, 64, 100, 20, 20},
		{TENSOR_F16, TENSOR_F16, 2, 512, 40, 300, 39},
	};

	use_isa(state);
	for (size_t i = 0; i < COUNT(cases); i++) {
		const int heads = cases[i].heads, n_kept = cases[i].n_kept;
		const int types[2] = {cases[i].type, cases[i].v_type};
		size_t row[2], old_bytes[2], new_bytes[2];
		unsigned char *old[2], *new[2];
		int *kept = take((size_t)(heads * n_kept), sizeof(*kept));

		for (int h = 0; h < heads; h++)
			for (int s = 0, slot = random_below(2); s < n_kept; s++) {
				const int room = cases[i].old_capacity - slot - (n_kept - s);

				kept[h * n_kept + s] = slot;
				slot += 1 + (room > 0 ? random_below(2) : 0);
			}
		for (int c = 0; c < 2; c++) {
			row[c] = (size_t)cases[i].hd * (types[c] == TENSOR_F32 ? 4 : 2);
			old_bytes[c] = (size_t)heads * (size_t)cases[i].old_capacity * row[c];
			new_bytes[c] = (size_t)heads * (size_t)cases[i].new_capacity * row[c];
			old[c] = take(old_bytes[c], 1);
			new[c] = take(new_bytes[c], 1);
			for (size_t k = 0; k < old_bytes[c]; k++)
				old[c][k] = (unsigned char)random_bits();
			memset(new[c], 0xa5, new_bytes[c]);
		}
		k_snapkv_compact(&(struct snapkv_compact_params){
			.from = {.k = old[0],
				 .v = old[1],
				 .type = types[0],
				 .v_type = types[1],
				 .n_kv_heads = heads,
				 .head_dim = cases[i].hd,
				 .capacity = cases[i].old_capacity},
			.to = {.k = new[0],
			       .v = new[1],
			       .type = types[0],
			       .v_type = types[1],
			       .n_kv_heads = heads,
			       .head_dim = cases[i].hd,
			       .capacity = cases[i].new_capacity},
			.kept = kept,
			.n_kept = n_kept,
		});
		for (int c = 0; c < 2; c++) {
			for (size_t k = 0; k < new_bytes[c]; k++) {
				const size_t h = k / row[c] / (size_t)cases[i].new_capacity;
				const size_t s = k / row[c] % (size_t)cases[i].new_capacity;
				const size_t from = (h * (size_t)cases[i].old_capacity +
						     (size_t)kept[(int)h * n_kept + ((int)s < n_kept ? (int)s : 0)]) *
							    row[c] +
						    k % row[c];

				assert_int_equal(new[c][k], (int)s < n_kept ? old[c][from] : 0xa5);
			}
			free(old[c]);
			free(new[c]);
		}
		free(kept);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH_INNER(test_vote),
		EACH_INNER(test_select),
		EACH_INNER(test_compact),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
