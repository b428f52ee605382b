/*
 * The ring of stages in the kernel of a whole token, on the processor: products whose rows are so wide that a warp
 * takes one piece of many, so that others go far ahead of what it waits for. However late each copy comes, a warp takes
 * what was copied for it.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cpu/half.h"
#include "kernels/cuda/persistent_geometry.h"
#include "kernels/tiles.h"
#include "tests/emulated/draws.h"
#include "tests/emulated/emulation.h"
#include "tests/emulated/plan.h"
#include "tests/emulated/products.h"

enum { OF_STREAM, OF_ROWS, PHASES, N_OUT = 2 * PERSISTENT_GROUP * TILE_ROWS, SEEDS = 4 };

static const double THRESHOLD = 4e-6; /* relative to the root of a row's squared products' sum */

struct matrix {
	struct weight w;
	float *values; /* (N_OUT, n_in) */
};

static struct matrix matrix_make(int type, int n_in, uint64_t *state)
{
	size_t n = (size_t)n_in * N_OUT;
	struct matrix m = {.values = malloc(n * sizeof *m.values)};
	void *data = products_fresh(n * 4), *scales = products_fresh(n / 32 * 2);
	assert_non_null(m.values);
	for (size_t i = 0; i < n; i++) {
		float v = (float)draw_uniform(state);
		if (type == TENSOR_Q8_0) {
			int8_t step = (int8_t)(draw_bits(state) >> 24);
			((int8_t *)data)[i] = step;
			((uint16_t *)scales)[i / 32] = 0x2000; /* 2^-7 */
			v = (float)step / 128;
		} else if (type == TENSOR_F32) {
			((float *)data)[i] = v;
		} else {
			((uint16_t *)data)[i] = half_f32_to_bf16(v);
			v = half_bf16_to_f32(((uint16_t *)data)[i]);
		}
		m.values[i] = v;
	}
	m.w = (struct weight){.data = data, .type = type, .n_in = n_in, .n_out = N_OUT, .n_expert = 1};
	if (type == TENSOR_Q8_0)
		m.w.scales = scales;
	else
		free(scales);
	return m;
}

static void matrix_free(struct matrix *m)
{
	free((void *)(uintptr_t)m->w.data);
	free((void *)(uintptr_t)m->w.scales);
	free(m->values);
}

static double worst_error(const struct matrix *m, const float *x, const float *y)
{
	double worst = 0;
	for (int r = 0; r < N_OUT; r++) {
		double sum = 0, squares = 0;
		for (int k = 0; k < m->w.n_in; k++) {
			double product = (double)m->values[(size_t)r * (size_t)m->w.n_in + (size_t)k] * (double)x[k];
			sum += product;
			squares += product * product;
		}
		worst = fmax(worst, fabs((double)y[r] - sum) / sqrt(squares));
	}
	return worst;
}

#ifdef FAR_WAITS
enum { FAR = 1 };
#else
enum { FAR = 0 };
#endif

/* Of the same products whatever the seed. */
struct products {
	int type, chunks; /* of columns in a row */
	int n;
	float *table, *h, *vector, *scratch;
	struct matrix m[PHASES];
	float *left[PHASES];
};

static void products_make(struct products *p, int type, int chunks)
{
	int n = chunks * TILE_CHUNK;
	uint64_t state = (uint64_t)(type * 100 + chunks);
	*p = (struct products){.type = type, .chunks = chunks, .n = n};
	p->table = products_fresh((size_t)n * sizeof *p->table);
	p->h = products_fresh((size_t)n * sizeof *p->h);
	p->vector = products_fresh((size_t)n * sizeof *p->vector);
	p->scratch = products_fresh(2 * (size_t)n * sizeof *p->scratch);
	for (int i = 0; i < n; i++)
		p->table[i] = (float)draw_uniform(&state);
	products_left(p->vector, n, &state);
	for (int i = 0; i < PHASES; i++) {
		p->m[i] = matrix_make(type, n, &state);
		p->left[i] = products_fresh(N_OUT * sizeof(float));
	}
}

static void products_free(struct products *p)
{
	for (int i = 0; i < PHASES; i++) {
		matrix_free(&p->m[i]);
		free(p->left[i]);
	}
	free(p->table);
	free(p->h);
	free(p->vector);
	free(p->scratch);
}

/* stages: of the ring, on the card with the least memory that is not refused; 0: of an H100's. */
static void check_once(struct products *p, int stages, bool refused, unsigned seed)
{
	struct persistent_phase phases[PHASES];
	struct persistent_copy copies[PHASES];
	unsigned number[2] = {1, 0};
	const char *why;
	for (int i = 0; i < PHASES; i++)
		phases[i] = (struct persistent_phase){
			.kind = PERSISTENT_PRODUCT,
			.of.product = {.y = {p->left[i]},
				       .in = i == OF_STREAM ? NULL : p->vector,
				       .w = {p->m[i].w},
				       .output = i == OF_STREAM ? PERSISTENT_LOGITS : PERSISTENT_STORE,
				       .scale = 1,
				       .n_w = 1,
				       .stream = i == OF_STREAM,
				       .trace = -1}};
	struct persistent_program g =
		products_program(phases, PHASES, copies, p->n, p->table, p->h, p->scratch, number);
	emulated_card_bytes = stages ? 32 << 10 : EMULATED_SHARED_BYTES;
	while ((why = emulated_plan(&g, phases, copies, 1, NULL)) && emulated_card_bytes < EMULATED_SHARED_BYTES)
		emulated_card_bytes += 1 << 10;
	if (refused) {
		assert_non_null(why);
		assert_non_null(strstr(why, "less shared memory left"));
		return;
	}
	assert_null(why);
	if (stages)
		assert_int_equal(g.n_stages, stages);
	for (int i = 0; i < PHASES; i++)
		memset(p->left[i], 0xff, N_OUT * sizeof(float)); /* NaN, of which no error is small */
	products_run(&g, seed);
	for (int i = 0; i < PHASES; i++) {
		double error = worst_error(&p->m[i], i == OF_STREAM ? p->table : p->vector, p->left[i]);
		if (!(error <= THRESHOLD))
			fail_msg("type %d, rows of %d chunks, %d stages, %d on their way, seed %u: product %d is off "
				 "by %.3g",
				 p->type, p->chunks, g.n_stages, copies[i].limit, seed, i, error);
	}
}

static void check_products(int type, int chunks, int stages, bool refused)
{
	struct products p;
	products_make(&p, type, chunks);
	for (unsigned seed = 0; seed < SEEDS; seed++)
		check_once(&p, stages, refused, seed);
	products_free(&p);
}

static void test_wide_rows(void **state)
{
	(void)state;
	static const struct {
		int type, chunks;
		bool refused[2]; /* not far, far */
	} rows[] = {
		{TENSOR_Q8_0, 15, {false, false}}, {TENSOR_BF16, 10, {false, false}}, {TENSOR_BF16, 15, {false, false}},
		{TENSOR_BF16, 16, {false, false}}, {TENSOR_BF16, 20, {false, false}}, {TENSOR_F32, 10, {true, false}},
		{TENSOR_F32, 11, {true, true}}, /* of the ring's ten stages */
	};
	/* Of the card with the least memory that is not refused: as many stages as a row has pieces, and one more. */
	check_products(TENSOR_Q8_0, 10, FAR ? 5 : 6, false);
	check_products(TENSOR_BF16, 11, FAR ? 11 : 12, false);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		check_products(rows[i].type, rows[i].chunks, 0, rows[i].refused[FAR]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wide_rows),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
