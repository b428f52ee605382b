/*
 * Products of TENSOR_QUANT_TYPES at the ends of the ranges of activations and weights, against sums in double: what an
 * instruction set that splits activations into digits could lose. Every instruction set is held to it.
 */
#include "tests/support/kernels_reference.h"

#include <float.h>

static const int types[] = {
#define X(NAME, word, number, block, block_bytes, file_type, a, b) TENSOR_##NAME,
	TENSOR_QUANT_TYPES(X, , )
#undef X
};

enum { ROWS = 9, BLOCK = 32 };

/* Relative to the root of the products' squares: float32 sums (test_quants). */
static const double SUM_THRESHOLD = 2e-6;
/* Relative to a sum: where nothing cancels hundreds of roundings go to the same side. */
static const double SAME_SIDE_THRESHOLD = 2e-6;
/* Of an activation, relative to the greatest of its block: some halves of 2^-22. */
static const double DIGIT_THRESHOLD = 4 * 0x1p-23;
/* Of an activation, and of a sum: float32's least numbers. */
static const double LEAST = 0x1p-148;

struct matrix {
	struct weight w;
	unsigned char *blocks; /* no byte behind them: a read over the end is seen under ASan and valgrind */
	double *values;        /* (ROWS, n_in) */
};

static uint32_t all_ones(void *ctx)
{
	(void)ctx;
	return 0xffffffff;
}

static uint32_t all_zeros(void *ctx)
{
	(void)ctx;
	return 0;
}

static uint16_t half_one(void *ctx)
{
	(void)ctx;
	return 0x3c00;
}

static uint16_t half_least(void *ctx)
{
	(void)ctx;
	return 0x0001;
}

static struct matrix matrix_make(int type, int n_in, uint32_t (*bits)(void *), uint16_t (*half)(void *))
{
	const size_t n = (size_t)ROWS * (size_t)n_in, block = (size_t)quant_block(type),
		     bytes = quant_block_bytes(type);
	struct matrix m = {.blocks = take(n / block, bytes), .values = take(n, sizeof(double))};

	quant_fill(type, m.blocks, n / block, bits, half, NULL);
	if (type == TENSOR_Q6_K && bits == all_zeros) /* its quants; but its scales are such bits too */
		for (size_t b = 0; b < n / block; b++)
			memset(m.blocks + b * bytes + 192, 0x7f, 16);
	for (size_t i = 0; i < n; i++)
		m.values[i] = (double)quant_value(type, m.blocks + i / block * bytes, (int)(i % block));
	m.w = (struct weight){.data = m.blocks, .type = type, .n_in = n_in, .n_out = ROWS, .n_expert = 1};
	return m;
}

static void matrix_free(struct matrix *m)
{
	free(m->blocks);
	free(m->values);
}

/* y: (n_tokens, ROWS) */
static void multiply(const struct matrix *m, const float *x, float *y, int n_tokens)
{
	k_matmul(&(struct matmul_params){
		.w = m->w, .x = x, .y = y, .n_tokens = n_tokens, .x_stride = m->w.n_in, .y_stride = ROWS});
}

static void check_product(const struct matrix *m, const float *x, const char *what)
{
	float y[ROWS];

	multiply(m, x, y, 1);
	for (int r = 0; r < ROWS; r++) {
		const double *w = m->values + r * m->w.n_in;
		double sum = 0, squares = 0, greatest = 0, lost = 0, least = m->w.n_in * LEAST;

		for (int k = 0; k < m->w.n_in; k++) {
			const double p = w[k] * (double)x[k];

			if (k % BLOCK == 0) {
				greatest = 0;
				for (int i = k; i < k + BLOCK; i++)
					greatest = fmax(greatest, fabs((double)x[i]));
			}
			sum += p;
			squares += p * p;
			lost += w[k] * w[k] * greatest * greatest;
			least += fabs(w[k]) * LEAST;
		}
		const double within = SUM_THRESHOLD * sqrt(squares) + DIGIT_THRESHOLD * sqrt(lost) +
				      SAME_SIDE_THRESHOLD * fabs(sum) + least;
		if (!(fabs((double)y[r] - sum) <= within))
			fail_msg("type %d, %d columns, %s: row %d is %.9g, not %.9g within %.3g", m->w.type, m->w.n_in,
				 what, r, (double)y[r], sum, within);
	}
}

enum activations {
	ZEROS,
	ONES,
	ALTERNATING,
	GREATEST_INTEGERS,
	HUGE_ONES,
	TINY_ONES,
	SUBNORMAL,
	ONE_IN_A_BLOCK,
	A_SCALE_A_BLOCK,
	ZERO_BLOCKS,
	ACTIVATIONS
};
static const char *const names[] = {
	"zeros", "ones",      "alternating",          "greatest integers", "huge",
	"tiny",  "subnormal", "one great in a block", "a scale a block",   "blocks of zeros"};

static void fill(enum activations kind, float *x, int n)
{
	for (int k = 0; k < n; k++) {
		const float any = random_float();

		switch (kind) {
		case ZEROS:
			x[k] = k % 2 ? 0.0f : -0.0f;
			break;
		case ONES:
			x[k] = 1;
			break;
		case ALTERNATING:
			x[k] = k % 2 ? 1 : -1;
			break;
		case GREATEST_INTEGERS: /* 8355000 and more, just above and just below where a scale doubles */
			x[k] = (k / BLOCK % 2 ? 1.99215f : 1.9922f);
			break;
		case HUGE_ONES:
			x[k] = any * 1e30f;
			break;
		case TINY_ONES:
			x[k] = any * 1e-36f;
			break;
		case SUBNORMAL:
			x[k] = any * 1e-40f;
			break;
		case ONE_IN_A_BLOCK:
			x[k] = k % BLOCK == k / BLOCK * 7 % BLOCK ? any * 1e6f : any;
			break;
		case A_SCALE_A_BLOCK:
			x[k] = ldexpf(any, k / BLOCK * 11 % 60 - 30);
			break;
		default:
			x[k] = k / BLOCK % 2 ? 0 : any;
		}
	}
}

/* Of 8-block units a last one with any number of blocks; and more than a span. */
static const int widths[] = {32, 96, 160, 256, 288, 512, 1280, 1504, 2560};

static void test_ranges(void **state)
{
	static uint32_t (*const bits[])(void *) = {quant_bits, all_ones, all_zeros, quant_bits};
	static uint16_t (*const halves[])(void *) = {quant_half, half_one, half_one, half_least};

	use_isa(state);
	for (size_t i = 0; i < COUNT(types) * COUNT(widths) * COUNT(bits); i++) {
		const int n = widths[i / COUNT(types) % COUNT(widths)], type = types[i % COUNT(types)];
		const size_t kind = i / COUNT(types) / COUNT(widths);
		struct matrix m;
		float *x;

		if (n % quant_block(type))
			continue;
		m = matrix_make(type, n, bits[kind], halves[kind]);
		x = take((size_t)n, sizeof(*x));
		for (int a = 0; a < ACTIVATIONS; a++) {
			fill((enum activations)a, x, n);
			check_product(&m, x, names[a]);
		}
		matrix_free(&m);
		free(x);
	}
}

/* A column alone: each digit, each quant, scale, minimum and zero, wherever it lies. */
static void test_columns(void **state)
{
	static const float digits[] = {1, -0.0078125f, 1.98f, -1.0078125f};

	use_isa(state);
	for (size_t i = 0; i < COUNT(types); i++) {
		const int n = 512 + (quant_block(types[i]) == BLOCK ? 96 : 0);
		struct matrix m = matrix_make(types[i], n, quant_bits, quant_half);
		float *x = take((size_t)n, sizeof(*x)), y[ROWS];

		for (int k = 0; k < n; k++) {
			x[k] = digits[k % COUNT(digits)];
			multiply(&m, x, y, 1);
			for (int r = 0; r < ROWS; r++) {
				const double *w = m.values + r * n;
				double greatest = 0;

				for (int j = k / BLOCK * BLOCK; j < k / BLOCK * BLOCK + BLOCK; j++)
					greatest = fmax(greatest, fabs(w[j]));
				if (!(fabs((double)y[r] - w[k] * (double)x[k]) <= 4e-7 * greatest * fabs((double)x[k])))
					fail_msg("type %d: column %d of row %d is %.9g, not %.9g", types[i], k, r,
						 (double)y[r], w[k] * (double)x[k]);
			}
			x[k] = 0;
		}
		matrix_free(&m);
		free(x);
	}
}

/* What is no number is none in any row's product, and in no other token's. */
static void test_no_numbers(void **state)
{
	static const float others[] = {NAN, INFINITY, -INFINITY};
	enum { WIDTH = 768, TOKENS = CPU_PROMPT_TOKENS - 1 };

	use_isa(state);
	for (size_t i = 0; i < COUNT(types) * COUNT(others); i++) {
		struct matrix m = matrix_make(types[i / COUNT(others)], WIDTH, quant_bits, quant_half);
		float *x = random_floats((size_t)TOKENS * WIDTH, 1.0f), y[TOKENS * ROWS];

		x[2 * WIDTH + 300] = others[i % COUNT(others)];
		multiply(&m, x, y, TOKENS);
		for (int j = 0; j < TOKENS * ROWS; j++)
			assert_int_equal(isfinite(y[j]), j / ROWS != 2);
		multiply(&m, x + 2 * WIDTH, y, 1);
		for (int r = 0; r < ROWS; r++)
			assert_false(isfinite(y[r]));
		matrix_free(&m);
		free(x);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {EACH_ISA(test_ranges), EACH_ISA(test_columns), EACH_ISA(test_no_numbers)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
