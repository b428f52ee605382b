/*
 * Products in bfloat16 against sums in double of operands rounded here, where the processor has the instructions.
 * Rounded or not is a thousand times the threshold: what must stay float32 shows, too.
 */
#include "tests/support/kernels_reference.h"

/* Relative to the RMS of the output, as in test_kernels_products.c: the sums are float32. */
static const double THRESHOLD = 2e-6;

/* Those of processors that have the instructions; the second makes few tokens' products of digits. */
#define WITH_BF16(test) ISA_TEST(test, CPU_ISA_AVX512, "avx512"), ISA_TEST(test, CPU_ISA_AVX512VNNI, "avx512vnni")

static void begin(void **state)
{
	use_isa(state);
	if (!cpu_has_bf16()) {
		print_message("no AVX512_BF16 here\n");
		skip();
	}
	assert_int_equal(cpu_bf16_use(1), 0);
}

static void end(void)
{
	assert_int_equal(cpu_bf16_use(0), 1);
}

/* To 8 bits, nearest, ties to even. */
static double rounded(double x)
{
	int e;

	if (x == 0.0)
		return x;
	frexp(x, &e);
	return ldexp(nearbyint(ldexp(x, 8 - e)), e - 8);
}

static double dot(const double *w, const double *x, int n)
{
	double sum = 0.0;

	for (int k = 0; k < n; k++)
		sum += w[k] * x[k];
	return sum;
}

/* The weights as they are multiplied, in place. */
static void narrow_weight(struct test_weight *t)
{
	const size_t n = (size_t)t->w.n_in * (size_t)t->w.n_out * (size_t)t->w.n_expert;

	for (size_t i = 0; i < n; i++)
		t->values[i] = rounded(t->values[i]);
}

/* And the activations. */
static double *operands(const float *x, size_t n, bool narrow)
{
	double *to = take(n, sizeof(*to));

	for (size_t i = 0; i < n; i++)
		to[i] = narrow ? rounded((double)x[i]) : (double)x[i];
	return to;
}

static bool narrow(int type, int n_tokens)
{
	return n_tokens >= 9 && (type == TENSOR_Q8_0 || type == TENSOR_BF16);
}

static void test_matmul(void **state)
{
	static const int shapes[][3] = {
		/* n_in, n_out, n_tokens */
		{1, 1, 9},     {7, 5, 10},    {31, 3, 11},    {33, 101, 12},  {64, 97, 17},   {96, 200, 70},
		{511, 9, 13},  {513, 10, 9},  {544, 33, 16},  {1023, 2, 9},   {1025, 97, 15}, {1056, 193, 14},
		{1024, 96, 9}, {2080, 99, 9}, {1056, 193, 8}, {1056, 193, 1}, {3072, 5, 65},
	};

	begin(state);
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
		double *wide;

		if (n_in % layout_block(layout) != 0)
			continue;
		t = weight_make(layout, n_in, n_out, 1);
		x = random_floats((size_t)shape[2] * (size_t)x_stride, 2.0f);
		if (narrow(layout.type, shape[2]))
			narrow_weight(&t);
		wide = operands(x, (size_t)shape[2] * (size_t)x_stride, narrow(layout.type, shape[2]));
		o = output_make((size_t)shape[2] * (size_t)y_stride);
		for (int j = 0; j < shape[2]; j++)
			for (int r = 0; r < n_out; r++)
				o.expect[j * y_stride + r] =
					dot(t.values + (size_t)r * (size_t)n_in, wide + j * x_stride, n_in);
		check_everywhere(run_matmul,
				 &(struct matmul_params){.w = t.w,
							 .x = x,
							 .y = o.y,
							 .n_tokens = shape[2],
							 .x_stride = x_stride,
							 .y_stride = y_stride},
				 &o, THRESHOLD);
		free(x);
		free(wide);
		output_free(&o);
		weight_free(&t);
	}
	end();
}

/* A token's row has the same bits among few others and among many. */
static void test_matmul_tokens(void **state)
{
	enum { N_IN = 2080, N_OUT = 99, FEW = 9, TOKENS = 8 * FEW };
	float *x;
	float *y;
	float *part;

	begin(state);
	x = random_floats((size_t)TOKENS * N_IN, 1.0f);
	y = take((size_t)TOKENS * N_OUT, 4);
	part = take((size_t)FEW * N_OUT, 4);
	for (size_t i = 0; i < COUNT(layouts); i++) {
		const int n_in = N_IN / layout_block(layouts[i]) * layout_block(layouts[i]);
		struct test_weight t = weight_make(layouts[i], n_in, N_OUT, 1);
		struct matmul_params p = {
			.w = t.w, .x = x, .y = y, .n_tokens = TOKENS, .x_stride = N_IN, .y_stride = N_OUT};

		k_matmul(&p);
		p.y = part;
		p.n_tokens = FEW;
		for (int j = 0; j < TOKENS; j += FEW) {
			p.x = x + (size_t)j * N_IN;
			k_matmul(&p);
			assert_memory_equal(part, y + (size_t)j * N_OUT, FEW * N_OUT * sizeof(float));
		}
		weight_free(&t);
	}
	free(x);
	free(y);
	free(part);
	end();
}

/* Expert 5 has one row and 6 two of them: rounded as those of many are. */
static void test_experts(void **state)
{
	enum { EXPERTS = 7, USED = 2, N_OUT = 101 };
	static const int shapes[][3] = {
		/* n_in, n_tokens, x_per_expert */
		{64, 9, 0},
		{1056, 23, 0},
		{96, 40, 1},
		{1056, 8, 0},
	};

	begin(state);
	for (size_t i = 0; i < COUNT(shapes) * COUNT(layouts); i++) {
		const struct layout layout = layouts[i % COUNT(layouts)];
		const int *shape = shapes[i / COUNT(layouts)];
		const int n_in = shape[0];
		const int pairs = shape[1] * USED;
		const int rows = shape[2] ? pairs : shape[1];
		struct test_weight t;
		float *x;
		double *wide;
		struct output o;
		int *ids;

		if (n_in % layout_block(layout) != 0)
			continue;
		t = weight_make(layout, n_in, N_OUT, EXPERTS);
		x = random_floats((size_t)rows * (size_t)n_in, 1.0f);
		if (narrow(layout.type, shape[1]))
			narrow_weight(&t);
		wide = operands(x, (size_t)rows * (size_t)n_in, narrow(layout.type, shape[1]));
		o = output_make((size_t)pairs * N_OUT);
		ids = take((size_t)pairs, sizeof(*ids));

		for (int j = 0; j < pairs; j++) {
			const double *xj = wide + (size_t)(shape[2] ? j : j / USED) * (size_t)n_in;

			ids[j] = j == 4 ? 5 : j == 7 || j == 10 ? 6 : j % USED * 2 + j / USED % 2;
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
				 &o, THRESHOLD);
		free(ids);
		free(x);
		free(wide);
		output_free(&o);
		weight_free(&t);
	}
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_BF16(test_matmul),
		WITH_BF16(test_matmul_tokens),
		WITH_BF16(test_experts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
