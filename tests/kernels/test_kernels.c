/*
 * Every primitive kernel but attention (test_kernels_attention.c) against a reference in double
 * written from its definition in kernels/params.h, on every instruction set that runs here. The fused ones are in
 * test_kernels_fused.c.
 */
#include "tests/support/kernels_reference.h"

/* Relative to the RMS of the output. Float32 sums of up to 2080 products: a few units in the last place. */
static const double MATMUL_THRESHOLD = 2e-6;
static const double NORM_THRESHOLD = 1e-6;
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

		if (layout.type == TENSOR_Q8_0 && n_in % 32 != 0)
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

/* A token's row has the same bits alone and among others. */
static void test_matmul_tokens(void **state)
{
	enum { N_IN = 1056, N_OUT = 99, TOKENS = 13 };
	float *x;
	float *y;
	float *one;

	use_isa(state);
	y = take((size_t)TOKENS * N_OUT, 4);
	one = take(N_OUT, 4);
	x = random_floats((size_t)TOKENS * N_IN, 1.0f);
	for (size_t i = 0; i < COUNT(layouts); i++) {
		struct test_weight t = weight_make(layouts[i], N_IN, N_OUT, 1);
		struct matmul_params p = {
			.w = t.w, .x = x, .y = y, .n_tokens = TOKENS, .x_stride = N_IN, .y_stride = N_OUT};

		k_matmul(&p);
		p.y = one;
		p.n_tokens = 1;
		for (int j = 0; j < TOKENS; j++) {
			p.x = x + j * N_IN;
			k_matmul(&p);
			assert_memory_equal(one, y + j * N_OUT, N_OUT * sizeof(float));
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
		{64, 1, 0}, {544, 1, 1}, {544, 11, 0}, {96, 40, 1}, {64, 2, 0}, {64, 300, 0},
	};

	use_isa(state);
	for (size_t i = 0; i < COUNT(shapes) * COUNT(layouts); i++) {
		const int *shape = shapes[i / COUNT(layouts)];
		const int n_in = shape[0];
		const int pairs = shape[1] * USED;
		const int rows = shape[2] ? pairs : shape[1];
		struct test_weight t = weight_make(layouts[i % COUNT(layouts)], n_in, N_OUT, EXPERTS);
		float *x = random_floats((size_t)rows * (size_t)n_in, 1.0f);
		struct output o = output_make((size_t)pairs * N_OUT);
		int *ids = take((size_t)pairs, sizeof(*ids));

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

static void test_embed(void **state)
{
	enum { VOCAB = 50, TOKENS = 9 };

	use_isa(state);
	for (size_t i = 0; i < COUNT(layouts); i++) {
		const int width = layouts[i].type == TENSOR_Q8_0 ? 96 : 83;
		struct test_weight t = weight_make(layouts[i], width, VOCAB, 1);
		const struct step here = {.token = 17};
		struct output one = output_make((size_t)width);
		struct output many = output_make((size_t)width * TOKENS);
		struct embed_params p = {.table = t.w, .scale = 3.25f, .n_tokens = 1};
		int tokens[TOKENS];

		/* The device's step wins over the host's. */
		p.at = (struct at){.device = &here, .host = {.token = 3}};
		p.y = one.y;
		for (int k = 0; k < width; k++)
			one.expect[k] = t.values[17 * width + k] * 3.25;
		check_everywhere(run_embed, &p, &one, 1e-7);
		p.at.device = NULL;
		for (int k = 0; k < width; k++)
			one.expect[k] = t.values[3 * width + k] * 3.25;
		check_everywhere(run_embed, &p, &one, 1e-7);
		for (int j = 0; j < TOKENS; j++) {
			tokens[j] = random_below(VOCAB);
			for (int k = 0; k < width; k++)
				many.expect[j * width + k] = t.values[tokens[j] * width + k] * 3.25;
		}
		p.tokens = tokens;
		p.n_tokens = TOKENS;
		p.y = many.y;
		check_everywhere(run_embed, &p, &many, 1e-7);
		output_free(&one);
		output_free(&many);
		weight_free(&t);
	}
}

static void expect_rms_norm(double *y, const float *x, const float *weight, int n, double eps, double scale)
{
	double squares = 0.0;

	for (int k = 0; k < n; k++)
		squares += (double)x[k] * (double)x[k];
	for (int k = 0; k < n; k++)
		y[k] = (double)x[k] / sqrt(squares / n + eps) * (weight ? (double)weight[k] : 1.0) * scale;
}

static void test_rms_norm(void **state)
{
	static const int shapes[][2] = {{1, 1}, {3, 7}, {2, 257}, {1, 1536}, {40, 1003}};

	use_isa(state);
	for (size_t i = 0; i < COUNT(shapes) * 4; i++) {
		const int rows = shapes[i / 4][0];
		const int n = shapes[i / 4][1];
		const int stride = n + 2;
		const bool weighted = i % 2;
		const bool in_place = i / 2 % 2;
		float *x = random_floats((size_t)rows * (size_t)stride, 5.0f);
		float *weight = random_floats((size_t)n, 1.0f);
		struct output o = in_place ? output_of(x, (size_t)rows * (size_t)stride)
					   : output_make((size_t)rows * (size_t)stride);

		for (int r = 0; r < rows; r++)
			expect_rms_norm(o.expect + r * stride, x + r * stride, weighted ? weight : NULL, n, 1e-6, 0.5);
		check_everywhere(run_rms_norm,
				 &(struct rms_norm_params){.x = in_place ? o.y : x,
							   .weight = weighted ? weight : NULL,
							   .y = o.y,
							   .n_rows = rows,
							   .n = n,
							   .x_stride = stride,
							   .y_stride = stride,
							   .eps = 1e-6f,
							   .scale = 0.5f},
				 &o, NORM_THRESHOLD);
		free(x);
		free(weight);
		output_free(&o);
	}
}

static void test_rope(void **state)
{
	static const int shapes[][4] = {
		/* n_tokens, n_heads, head_dim, pos */
		{1, 1, 2, 5},
		{1, 8, 256, 100000},
		{3, 2, 20, 0},
		{37, 3, 128, 4095},
	};

	use_isa(state);
	for (size_t i = 0; i < COUNT(shapes); i++) {
		const int heads = shapes[i][1];
		const int hd = shapes[i][2];
		const int half = hd / 2;
		const size_t n = (size_t)shapes[i][0] * (size_t)heads * (size_t)hd;
		const struct step step = {.pos = shapes[i][3], .evicted = 2};
		float *x = random_floats(n, 1.0f);
		float *inv_freq = take((size_t)half, 4);
		struct output o = output_of(x, n);

		/* The last quarter does not turn, as the models' 1e30 divisor has it. */
		for (int j = 0; j < half; j++)
			inv_freq[j] = j >= half * 3 / 4 && j ? 1e-30f : powf(10000.0f, -2.0f * (float)j / (float)hd);
		for (size_t k = 0; k < n; k += (size_t)hd) {
			const int t = (int)(k / (size_t)(heads * hd));

			for (int j = 0; j < half; j++) {
				/* The contract's angle is rounded to float. */
				const float angle = (float)(step.pos + t) * inv_freq[j];
				const double a = (double)x[k + (size_t)j];
				const double b = (double)x[k + (size_t)(j + half)];

				o.expect[k + (size_t)j] = a * cos((double)angle) - b * sin((double)angle);
				o.expect[k + (size_t)(j + half)] = a * sin((double)angle) + b * cos((double)angle);
			}
		}
		check_everywhere(run_rope,
				 &(struct rope_params){.at = {.device = &step, .host = {.pos = 77}},
						       .x = o.y,
						       .inv_freq = inv_freq,
						       .n_tokens = shapes[i][0],
						       .n_heads = heads,
						       .head_dim = hd},
				 &o, 1e-6);
		free(x);
		free(inv_freq);
		output_free(&o);
	}
}

static void test_add(void **state)
{
	static const int sizes[] = {1, 15, 1536, 300001};

	use_isa(state);
	for (size_t i = 0; i < COUNT(sizes); i++) {
		const size_t n = (size_t)sizes[i];
		float *a = random_floats(n, 1.0f);
		float *b = random_floats(n, 100.0f);
		struct output o = output_make(n);
		struct output in_place = output_of(a, n);
		struct add_params p = {.a = a, .b = b, .y = o.y, .n = sizes[i], .scale = 0.75f};

		for (size_t k = 0; k < n; k++)
			in_place.expect[k] = o.expect[k] = ((double)a[k] + (double)b[k]) * 0.75;
		check_everywhere(run_add, &p, &o, ELEMENTWISE_THRESHOLD);
		p.a = b;
		p.b = p.y = in_place.y;
		check_everywhere(run_add, &p, &in_place, ELEMENTWISE_THRESHOLD);
		free(a);
		free(b);
		output_free(&o);
		output_free(&in_place);
	}
}

static double activate(double g, int act)
{
	if (act == ACTIVATION_SILU)
		return g / (1.0 + exp(-g));
	return 0.5 * g * (1.0 + tanh(sqrt(2.0 / acos(-1.0)) * (g + 0.044715 * g * g * g)));
}

static void test_gated(void **state)
{
	static const int shapes[][2] = {{1, 1}, {3, 13}, {1, 6144}, {5, 9001}};

	use_isa(state);
	for (size_t i = 0; i < COUNT(shapes) * 4; i++) {
		const int act = i % 2 ? ACTIVATION_SILU : ACTIVATION_GELU_TANH;
		const bool in_place = i / 2 % 2;
		const int rows = shapes[i / 4][0];
		const int n = shapes[i / 4][1];
		const int stride = n + 3;
		const size_t all = (size_t)rows * (size_t)stride;
		float *gate = random_floats(all, 12.0f);
		float *up = random_floats((size_t)rows * (size_t)(n + 1), 1.0f);
		struct output o = in_place ? output_of(gate, all) : output_make(all);

		for (int r = 0; r < rows; r++)
			for (int k = 0; k < n; k++)
				o.expect[r * stride + k] =
					activate((double)gate[r * stride + k], act) * (double)up[r * (n + 1) + k];
		check_everywhere(run_gated,
				 &(struct gated_params){.gate = in_place ? o.y : gate,
							.up = up,
							.y = o.y,
							.n_rows = rows,
							.n = n,
							.gate_stride = stride,
							.up_stride = n + 1,
							.y_stride = stride,
							.act = act},
				 &o, ELEMENTWISE_THRESHOLD);
		free(gate);
		free(up);
		output_free(&o);
	}
}

/* Element by element: the exponential's own accuracy, and what the far ends do. */
static void test_gated_accuracy(void **state)
{
	enum { N = 20001 };
	float *gate;
	float *up;
	float *y;
	struct gated_params p;

	use_isa(state);
	gate = take(N, 4);
	up = take(N, 4);
	y = take(N, 4);
	p = (struct gated_params){.gate = gate, .up = up, .y = y, .n_rows = 1, .n = N, .act = ACTIVATION_SILU};
	for (int i = 0; i < N; i++) {
		gate[i] = -80.0f + 160.0f * (float)i / (N - 1);
		up[i] = 1.0f;
	}
	k_gated(&p);
	for (int i = 0; i < N; i++) {
		const double expect = activate((double)gate[i], ACTIVATION_SILU);

		if (!(fabs((double)y[i] - expect) <= 4e-7 * fabs(expect)))
			fail_msg("silu(%.9g) = %.9g, expected %.9g", (double)gate[i], (double)y[i], expect);
	}
	p.n = 6;
	for (int act = ACTIVATION_GELU_TANH; act <= ACTIVATION_SILU; act++) {
		static const float ends[6] = {-1000.0f, -1e9f, 1000.0f, 1e9f, 0.0f, NAN};

		p.act = act;
		memcpy(gate, ends, sizeof(ends));
		k_gated(&p);
		for (int i = 0; i < 2; i++)
			assert_true(fabsf(y[i]) < 1e-20f);
		assert_true(y[2] == 1000.0f && y[3] == 1e9f && y[4] == 0.0f && isnan(y[5]));
	}
	free(gate);
	free(up);
	free(y);
}

static void test_softcap(void **state)
{
	static const int sizes[] = {1, 17, 262144};

	use_isa(state);
	for (size_t i = 0; i < COUNT(sizes); i++) {
		const size_t n = (size_t)sizes[i];
		float *x = random_floats(n, 200.0f);
		struct output o;

		for (size_t k = 0; k < n; k++)
			x[k] *= powf(10.0f, (float)-random_below(7));
		o = output_of(x, n);
		for (size_t k = 0; k < n; k++)
			o.expect[k] = 30.0 * tanh((double)x[k] / 30.0);
		check_everywhere(run_softcap, &(struct softcap_params){.x = o.y, .n = sizes[i], .cap = 30.0f}, &o,
				 ELEMENTWISE_THRESHOLD);
		for (size_t k = 0; k < n; k++)
			assert_true(fabs((double)o.y[k] - o.expect[k]) <= 6e-7 * fabs(o.expect[k]));
		free(x);
		output_free(&o);
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

/* ---- what is not a kernel ---- */

static void test_repack(void **state)
{
	enum { BLOCKS = 77 };
	struct test_weight t;
	int8_t *q;
	uint16_t *d;
	float *y;

	use_isa(state);
	q = take(BLOCKS * 32, 1);
	d = take(BLOCKS, 2);
	y = take(BLOCKS * 32, 4);
	t = weight_make(layouts[3], BLOCKS * 32, 1, 1);
	cpu_repack_q8_0(t.data, q, d, BLOCKS);
	for (int i = 0; i < BLOCKS * 32; i++)
		assert_true(decode_f16(d[i / 32]) * q[i] == t.values[i]);
	cpu_to_f32(t.data, TENSOR_Q8_0, y, BLOCKS * 32);
	for (int i = 0; i < BLOCKS * 32; i++)
		assert_true((double)y[i] == t.values[i]);
	weight_free(&t);
	free(q);
	free(d);
	free(y);
}

/* Every 16-bit pattern. */
static void test_to_f32(void **state)
{
	enum { N = 65536 };
	uint16_t *h;
	float *y;

	use_isa(state);
	h = take(N, 2);
	y = take(N, 4);
	for (int i = 0; i < N; i++)
		h[i] = (uint16_t)i;
	cpu_to_f32(h, TENSOR_F16, y, N);
	for (int i = 0; i < N; i++)
		assert_true((double)y[i] == decode_f16(h[i]) || (isnan(y[i]) && isnan(decode_f16(h[i]))));
	cpu_to_f32(h + 1, TENSOR_BF16, y, N - 1);
	for (int i = 0; i < N - 1; i++)
		assert_true((double)y[i] == decode_bf16(h[i + 1]) || (isnan(y[i]) && isnan(decode_bf16(h[i + 1]))));
	free(h);
	free(y);
}

static void test_isa(void **state)
{
	(void)state;
	assert_int_equal(cpu_isa_force(cpu_isa_best()), 0);
	assert_int_equal(cpu_isa_current(), cpu_isa_best());
	assert_int_equal(cpu_isa_force(CPU_ISA_PORTABLE), 0);
	assert_int_equal(cpu_isa_current(), CPU_ISA_PORTABLE);
	assert_int_equal(cpu_isa_force(CPU_ISA_COUNT), -1);
	assert_int_equal(cpu_isa_current(), CPU_ISA_PORTABLE);
	assert_string_equal(cpu_isa_name(CPU_ISA_AVX512), "avx512");
}

static void test_bandwidth(void **state)
{
	(void)state;
	assert_true(cpu_read_bandwidth(1 << 24, 2, 2) > 1e8);
	assert_true(cpu_read_bandwidth(100, 1, 1) == 0.0);
	assert_true(cpu_read_bandwidth(1 << 24, 0, 1) == 0.0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH_ISA(test_matmul),
		EACH_ISA(test_matmul_tokens),
		EACH_ISA(test_matmul_experts),
		EACH_ISA(test_embed),
		EACH_ISA(test_rms_norm),
		EACH_ISA(test_rope),
		EACH_ISA(test_add),
		EACH_ISA(test_gated),
		EACH_ISA(test_gated_accuracy),
		EACH_ISA(test_softcap),
		EACH_ISA(test_moe_route),
		EACH_ISA(test_moe_route_extreme),
		EACH_ISA(test_moe_sum),
		EACH_ISA(test_repack),
		EACH_ISA(test_to_f32),
		cmocka_unit_test(test_isa),
		cmocka_unit_test(test_bandwidth),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
