/*
 * Norms, RoPE and elementwise kernels against a reference in double written from the definition in
 * kernels/params.h, on every instruction set that runs here.
 */
#include "tests/support/kernels_reference.h"

/* Relative to the RMS of the output. */
static const double NORM_THRESHOLD = 1e-6;
static const double ELEMENTWISE_THRESHOLD = 1e-6;

static void test_embed(void **state)
{
	enum { VOCAB = 50, TOKENS = 9 };

	use_isa(state);
	for (size_t i = 0; i < COUNT(layouts); i++) {
		const int width = layout_block(layouts[i]) > 1 ? 3 * layout_block(layouts[i]) : 83;
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
			one.expect[k] = (double)(float)(t.values[17 * width + k] * 3.25);
		check_everywhere(run_embed, &p, &one, 1e-7);
		p.at.device = NULL;
		for (int k = 0; k < width; k++)
			one.expect[k] = (double)(float)(t.values[3 * width + k] * 3.25);
		check_everywhere(run_embed, &p, &one, 1e-7);
		for (int j = 0; j < TOKENS; j++) {
			tokens[j] = random_below(VOCAB);
			for (int k = 0; k < width; k++)
				many.expect[j * width + k] = (double)(float)(t.values[tokens[j] * width + k] * 3.25);
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
		{1, 1, 2, 5},       {1, 8, 256, 100000}, {3, 2, 20, 0},
		{37, 3, 128, 4095}, {2, 2, 64, 20000},   {1, 2, 256, 131072},
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
				/* The contract's angle, as published: a product in float32 (engine/model/rope.h). */
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH_INNER(test_embed), EACH_INNER(test_rms_norm),       EACH_INNER(test_rope),    EACH_INNER(test_add),
		EACH_INNER(test_gated), EACH_INNER(test_gated_accuracy), EACH_INNER(test_softcap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
