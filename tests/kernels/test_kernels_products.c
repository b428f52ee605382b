/*
 * Matrix products and experts against a reference in double written from the definition in kernels/params.h, on
 * every instruction set that runs here.
 */
#include "kernels/cpu/inner.h"
#include "tests/support/kernels_reference.h"

/* Relative to the RMS of the output. Float32 sums of up to 2080 products: a few units in the last place. */
static const double MATMUL_THRESHOLD = 2e-6;
static const double ELEMENTWISE_THRESHOLD = 1e-6;

static double dot(const double *w, const float *x, int n)
{
	double sum = 0.0;

	for (int k = 0; k < n; k++)
		sum += w[k] * (double)x[k];
	return sum;
}

static void test_matmul(void **state)
{
	static const int shapes[][3] = {
		/* n_in, n_out, n_tokens */
		{1, 1, 1},      {7, 5, 1},      {31, 3, 2},    {33, 101, 3},    {511, 9, 1},    {513, 10, 9},
		{32, 4, 1},     {64, 97, 17},   {96, 200, 70}, {544, 33, 12},   {1056, 193, 5}, {1056, 193, 8},
		{2080, 130, 1}, {2080, 130, 2}, {512, 131, 1}, {1024, 129, 33},
	};

	use_isa(state);
	for (size_t i = 0; i < COUNT(shapes) * COUNT(layouts); i++) {
		const struct layout layout = layouts[i % COUNT(layouts)];
		const int *shape = shapes[i / COUNT(layouts)];
		const int n_in = shape[0];
		const int n_out = shape[1];
		const int x_stride = n_in + 3;
		const int y_stride = n_out + 5;
		struct test_weight t;
		struct output o;
		float *x;

		if (n_in % layout_block(layout) != 0)
			continue;
		t = weight_make(layout, n_in, n_out, 1);
		x = random_floats((size_t)shape[2] * (size_t)x_stride, 2.0f);
		o = output_make((size_t)shape[2] * (size_t)y_stride);
		for (int j = 0; j < shape[2]; j++)
			for (int r = 0; r < n_out; r++)
				o.expect[j * y_stride + r] =
					dot(t.values + (size_t)r * (size_t)n_in, x + j * x_stride, n_in);
		check_everywhere(run_matmul,
				 &(struct matmul_params){.w = t.w,
							 .x = x,
							 .y = o.y,
							 .n_tokens = shape[2],
							 .x_stride = x_stride,
							 .y_stride = y_stride},
				 &o, MATMUL_THRESHOLD);
		free(x);
		output_free(&o);
		weight_free(&t);
	}
}

/*
 * A token's row has the same bits alone and among others; where a token is of digits (cpu_has_digits), among fewer than
 * CPU_PROMPT_TOKENS: of more it has those of floats, of the ISA without.
 */
static void test_matmul_tokens(void **state)
{
	enum { N_IN = 1280, N_OUT = 99, TOKENS = 13 };
	float *x;
	float *y;
	float *one;

	use_isa(state);
	const enum cpu_isa isa = cpu_isa_current();
	y = take((size_t)TOKENS * N_OUT, 4);
	one = take(N_OUT, 4);
	x = random_floats((size_t)TOKENS * N_IN, 1.0f);
	for (size_t i = 0; i < COUNT(layouts); i++) {
		struct test_weight t = weight_make(layouts[i], N_IN, N_OUT, 1);
		struct matmul_params p = {
			.w = t.w, .x = x, .y = y, .n_tokens = TOKENS, .x_stride = N_IN, .y_stride = N_OUT};
		const int digits = cpu_has_digits(&t.w);

		for (int many = 0; many <= digits; many++) {
			p.x = x;
			p.y = y;
			p.n_tokens = digits && !many ? CPU_PROMPT_TOKENS - 1 : TOKENS;
			k_matmul(&p);
			if (many)
				assert_int_equal(cpu_isa_force(CPU_ISA_AVX512), 0);
			p.y = one;
			const int n = p.n_tokens;
			p.n_tokens = 1;
			for (int j = 0; j < n; j++) {
				p.x = x + j * N_IN;
				k_matmul(&p);
				assert_memory_equal(one, y + j * N_OUT, N_OUT * sizeof(float));
			}
			if (many)
				assert_int_equal(cpu_isa_force(isa), 0);
		}
		weight_free(&t);
	}
	free(x);
	free(y);
	free(one);
}

static void test_matmul_experts(void **state)
{
	enum { EXPERTS = 7, USED = 3, N_OUT = 101 };
	static const int shapes[][3] = {
		/* n_in, n_tokens, x_per_expert */
		{64, 1, 0},   {544, 1, 1}, {544, 11, 0}, {96, 40, 1}, {64, 2, 0},
		{64, 300, 0}, {768, 1, 1}, {768, 9, 0},  {800, 6, 0}, {768, 5, 1},
	};

	use_isa(state);
	for (size_t i = 0; i < COUNT(shapes) * COUNT(layouts); i++) {
		const struct layout layout = layouts[i % COUNT(layouts)];
		const int *shape = shapes[i / COUNT(layouts)];
		const int n_in = shape[0];
		const int pairs = shape[1] * USED;
		const int rows = shape[2] ? pairs : shape[1];
		struct test_weight t;
		float *x;
		struct output o;
		int *ids;

		if (n_in % layout_block(layout) != 0)
			continue;
		t = weight_make(layout, n_in, N_OUT, EXPERTS);
		x = random_floats((size_t)rows * (size_t)n_in, 1.0f);
		o = output_make((size_t)pairs * N_OUT);
		ids = take((size_t)pairs, sizeof(*ids));

		for (int j = 0; j < pairs; j++) {
			const float *xj = x + (size_t)(shape[2] ? j : j / USED) * (size_t)n_in;

			/* Expert 4 is never used; the three of a token differ. */
			ids[j] = (j % USED * 2 + j / USED % 2 * 5) % EXPERTS;
			ids[j] = ids[j] == 4 ? 3 : ids[j];
			for (int r = 0; r < N_OUT; r++)
				o.expect[j * N_OUT + r] =
					dot(t.values + ((size_t)ids[j] * N_OUT + (size_t)r) * (size_t)n_in, xj, n_in);
		}
		check_everywhere(run_matmul_experts,
				 &(struct matmul_experts_params){.w = t.w,
								 .ids = ids,
								 .x = x,
								 .y = o.y,
								 .n_tokens = shape[1],
								 .n_used = USED,
								 .x_per_expert = shape[2]},
				 &o, MATMUL_THRESHOLD);
		free(ids);
		free(x);
		output_free(&o);
		weight_free(&t);
	}
}

static void test_moe_route(void **state)
{
	static const int shapes[][3] = {
		/* n_tokens, n_expert, n_used */
		{1, 1, 1},
		{3, 5, 2},
		{200, 128, 8},
		{2, 4, 4},
	};

	use_isa(state);
	for (size_t i = 0; i < COUNT(shapes) * 2; i++) {
		const int tokens = shapes[i / 2][0];
		const int experts = shapes[i / 2][1];
		const int used = shapes[i / 2][2];
		float *logits = random_floats((size_t)tokens * (size_t)experts, 4.0f);
		float *expert_scale = i % 2 ? random_floats((size_t)experts, 1.0f) : NULL;
		struct output o = output_make((size_t)tokens * (size_t)used);
		int *ids = take((size_t)tokens * (size_t)used, sizeof(*ids));

		/* Halves only: many ties. */
		for (int j = 0; j < tokens * experts; j++)
			logits[j] = rintf(logits[j] * 2.0f) / 2.0f;
		for (int t = 0; t < tokens; t++) {
			const float *l = logits + t * experts;
			double sum = 0.0;
			int u = 0;

			/* Rank of an expert: how many come before it. */
			for (int rank = 0; rank < used; rank++) {
				for (int e = 0; e < experts; e++) {
					int before = 0;

					for (int f = 0; f < experts; f++)
						before += l[f] > l[e] || (l[f] == l[e] && f < e);
					if (before == rank) {
						o.expect[t * used + u++] = e;
						sum += exp((double)l[e]);
					}
				}
			}
			for (u = 0; u < used; u++) {
				const int e = (int)o.expect[t * used + u];

				ids[t * used + u] = e;
				o.expect[t * used + u] =
					exp((double)l[e]) / sum * (expert_scale ? (double)expert_scale[e] : 1.0);
			}
		}
		{
			int *got = take((size_t)tokens * (size_t)used, sizeof(*got));

			check_everywhere(run_moe_route,
					 &(struct moe_route_params){.logits = logits,
								    .expert_scale = expert_scale,
								    .ids = got,
								    .weights = o.y,
								    .n_tokens = tokens,
								    .n_expert = experts,
								    .n_used = used},
					 &o, ELEMENTWISE_THRESHOLD);
			assert_memory_equal(got, ids, (size_t)tokens * (size_t)used * sizeof(*ids));
			free(got);
		}
		free(ids);
		free(logits);
		free(expert_scale);
		output_free(&o);
	}
}

/* Whatever the logits, the experts exist and differ; the products that follow rely on it. */
static void test_moe_route_extreme(void **state)
{
	static const float logits[2][4] = {{NAN, NAN, NAN, NAN}, {-900.0f, 900.0f, -900.0f, 500.0f}};
	int ids[2][3];
	float weights[2][3];

	use_isa(state);
	k_moe_route(&(struct moe_route_params){
		.logits = logits[0], .ids = ids[0], .weights = weights[0], .n_tokens = 2, .n_expert = 4, .n_used = 3});
	for (int u = 0; u < 3; u++) {
		assert_in_range(ids[0][u], 0, 3);
		for (int v = 0; v < u; v++)
			assert_int_not_equal(ids[0][u], ids[0][v]);
	}
	assert_true(isnan(weights[0][0]));
	assert_int_equal(ids[1][0], 1);
	assert_int_equal(ids[1][1], 3);
	assert_int_equal(ids[1][2], 0);
	assert_true(weights[1][0] == 1.0f && weights[1][2] == 0.0f);
}

static void test_moe_sum(void **state)
{
	static const int shapes[][3] = {{1, 1, 5}, {1, 8, 2816}, {33, 3, 259}};

	use_isa(state);
	for (size_t i = 0; i < COUNT(shapes); i++) {
		const int tokens = shapes[i][0];
		const int used = shapes[i][1];
		const int n = shapes[i][2];
		float *x = random_floats((size_t)(tokens * used) * (size_t)n, 1.0f);
		float *weights = random_floats((size_t)(tokens * used), 1.0f);
		struct output o = output_make((size_t)tokens * (size_t)n);

		for (int t = 0; t < tokens; t++) {
			for (int k = 0; k < n; k++) {
				o.expect[t * n + k] = 0.0;
				for (int u = t * used; u < (t + 1) * used; u++)
					o.expect[t * n + k] += (double)weights[u] * (double)x[u * n + k];
			}
		}
		check_everywhere(
			run_moe_sum,
			&(struct moe_sum_params){
				.x = x, .weights = weights, .y = o.y, .n_tokens = tokens, .n_used = used, .n = n},
			&o, ELEMENTWISE_THRESHOLD);
		free(x);
		free(weights);
		output_free(&o);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH_ISA(test_matmul),      EACH_ISA(test_matmul_tokens),       EACH_ISA(test_matmul_experts),
		EACH_INNER(test_moe_route), EACH_INNER(test_moe_route_extreme), EACH_INNER(test_moe_sum),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
