/*
 * The blocks of quantised types as the gguf package reads them (vectors/quants.bin, made by vectors/make_quants.py):
 * the same bits on every instruction set, and products of them.
 */
#include "tests/support/kernels_reference.h"

#include <stdio.h>

#include "engine/model/tensor_type.h"

/* Relative to the RMS of the products: float32 sums of up to 512 products. */
static const double PRODUCT_THRESHOLD = 2e-6;

struct vector_case {
	const struct tensor_traits *type;
	size_t n; /* elements */
	unsigned char *blocks;
	float *values; /* (n) */
};

enum { MAX_CASES = 16 };

struct vectors {
	struct vector_case cases[MAX_CASES];
	int n;
};

static void read_exactly(FILE *f, void *to, size_t bytes)
{
	assert_int_equal(fread(to, 1, bytes, f), bytes);
}

static struct vectors vectors_read(void)
{
	struct vectors v = {0};
	FILE *f = fopen("vectors/quants.bin", "rb");
	uint32_t head[2];

	assert_non_null(f);
	while (fread(head, sizeof(head), 1, f) == 1) {
		struct vector_case *c = &v.cases[v.n++];

		assert_true(v.n <= MAX_CASES);
		c->type = tensor_type_find(head[0]);
		c->n = head[1];
		assert_non_null(c->type);
		assert_int_equal(c->n % (size_t)c->type->block, 0);
		c->blocks = take(tensor_type_bytes(c->type->type, c->n), 1);
		c->values = take(c->n, sizeof(float));
		read_exactly(f, c->blocks, tensor_type_bytes(c->type->type, c->n));
		read_exactly(f, c->values, c->n * sizeof(float));
	}
	fclose(f);
	return v;
}

static void vectors_free(struct vectors *v)
{
	for (int i = 0; i < v->n; i++) {
		free(v->cases[i].blocks);
		free(v->cases[i].values);
	}
}

/* None of the types is missing from the file. */
static void test_vectors_are_of_every_quantised_type(void **state)
{
	static const enum tensor_type types[] = {
#define X(NAME, word, number, block, block_bytes, file_type, a, b) TENSOR_##NAME,
		TENSOR_QUANT_TYPES(X, , )
#undef X
	};
	struct vectors v = vectors_read();

	(void)state;
	assert_int_equal(v.n, COUNT(types));
	for (size_t i = 0; i < COUNT(types); i++) {
		int found = 0;

		for (int j = 0; j < v.n; j++)
			found += v.cases[j].type->type == types[i];
		assert_int_equal(found, 1);
	}
	vectors_free(&v);
}

static void test_values_are_the_packages(void **state)
{
	struct vectors v;

	use_isa(state);
	v = vectors_read();
	for (int i = 0; i < v.n; i++) {
		const struct vector_case *c = &v.cases[i];
		float *got = take(c->n, sizeof(*got));

		cpu_to_f32(c->blocks, c->type->type, got, c->n);
		for (size_t k = 0; k < c->n; k++)
			if (memcmp(&got[k], &c->values[k], sizeof(*got)))
				fail_msg("%s: element %zu is %a, the package has %a", c->type->name, k, (double)got[k],
					 (double)c->values[k]);
		free(got);
	}
	vectors_free(&v);
}

/* Element k of rows of 512 elements of the file: its scales' ends would be all that a sum has, so each row apart. */
static void test_products_are_of_those_values(void **state)
{
	enum { WIDTH = 512, TOKENS = 11 };
	struct vectors v;
	float *x;

	use_isa(state);
	v = vectors_read();
	x = random_floats(TOKENS * WIDTH, 1.0f);
	for (int i = 0; i < v.n; i++) {
		const struct vector_case *c = &v.cases[i];
		const int rows = (int)(c->n / WIDTH);
		float *y = take((size_t)rows * TOKENS, sizeof(*y));

		for (int tokens = 1; tokens <= TOKENS; tokens += TOKENS - 1) {
			k_matmul(&(struct matmul_params){
				.w = {.data = c->blocks,
				      .type = c->type->type,
				      .n_in = WIDTH,
				      .n_out = rows,
				      .n_expert = 1},
				.x = x,
				.y = y,
				.n_tokens = tokens,
				.x_stride = WIDTH,
				.y_stride = rows,
			});
			for (int t = 0; t < tokens; t++)
				for (int r = 0; r < rows; r++) {
					double sum = 0, squares = 0;

					for (int k = 0; k < WIDTH; k++) {
						const double product =
							(double)c->values[r * WIDTH + k] * (double)x[t * WIDTH + k];

						sum += product;
						squares += product * product;
					}
					if (fabs((double)y[t * rows + r] - sum) > PRODUCT_THRESHOLD * sqrt(squares))
						fail_msg("%s: row %d of token %d is %g, not %g", c->type->name, r, t,
							 (double)y[t * rows + r], sum);
				}
		}
		free(y);
	}
	free(x);
	vectors_free(&v);
}

/* The worst error of y, (tokens, n_out), over the root of the products' squares' sum. x: (tokens, n_in). */
static double worst_product(const struct test_weight *t, const float *x, const float *y, int tokens)
{
	double worst = 0;

	for (int i = 0; i < tokens * t->w.n_out; i++) {
		const double *row = t->values + (size_t)(i % t->w.n_out) * (size_t)t->w.n_in;
		const float *in = x + (size_t)(i / t->w.n_out) * (size_t)t->w.n_in;
		double sum = 0, squares = 0;

		for (int k = 0; k < t->w.n_in; k++) {
			const double product = row[k] * (double)in[k];

			sum += product;
			squares += product * product;
		}
		worst = fmax(worst, fabs((double)y[i] - sum) / sqrt(squares));
	}
	return worst;
}

/* Of random blocks as wide as a model's, a type a line: what results/README.md has of them. */
static void test_errors_of_each_type(void **state)
{
	enum { WIDTH = 2560, ROWS = 32, TOKENS = 11 };
	float *x, *y;

	use_isa(state);
	x = random_floats(TOKENS * WIDTH, 1.0f);
	y = take(TOKENS * ROWS, sizeof(*y));
	for (size_t i = 0; i < COUNT(layouts); i++) {
		struct test_weight t;
		double worst[2];

		if (layouts[i].planes)
			continue; /* the GPU's */
		t = weight_make(layouts[i], WIDTH, ROWS, 1);
		for (int many = 0; many < 2; many++) {
			const int tokens = many ? TOKENS : 1;

			k_matmul(&(struct matmul_params){
				.w = t.w, .x = x, .y = y, .n_tokens = tokens, .x_stride = WIDTH, .y_stride = ROWS});
			worst[many] = worst_product(&t, x, y, tokens);
			if (!(worst[many] <= PRODUCT_THRESHOLD))
				fail_msg("%s, %d tokens: off by %.3g", tensor_type_name(layouts[i].type), tokens,
					 worst[many]);
		}
		print_message("%-8s off by %.1e, of %d tokens %.1e\n", tensor_type_name(layouts[i].type), worst[0],
			      TOKENS, worst[1]);
		weight_free(&t);
	}
	free(x);
	free(y);
}

/* A token's row of an embedding, as the package reads it. */
static void test_embedding_rows_are_those_values(void **state)
{
	enum { WIDTH = 256 };
	static const int tokens[] = {3, 0, 7};
	struct vectors v;

	use_isa(state);
	v = vectors_read();
	for (int i = 0; i < v.n; i++) {
		const struct vector_case *c = &v.cases[i];
		float y[COUNT(tokens) * WIDTH];

		k_embed(&(struct embed_params){
			.tokens = tokens,
			.table = {.data = c->blocks,
				  .type = c->type->type,
				  .n_in = WIDTH,
				  .n_out = (int)(c->n / WIDTH),
				  .n_expert = 1},
			.y = y,
			.n_tokens = COUNT(tokens),
			.scale = 2,
		});
		for (size_t t = 0; t < COUNT(tokens); t++)
			for (int k = 0; k < WIDTH; k++)
				assert_true(y[t * WIDTH + (size_t)k] == 2 * c->values[tokens[t] * WIDTH + k]);
	}
	vectors_free(&v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors_are_of_every_quantised_type),
		EACH_INNER(test_values_are_the_packages),
		EACH_ISA(test_products_are_of_those_values),
		EACH_ISA(test_errors_of_each_type),
		EACH_INNER(test_embedding_rows_are_those_values),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
