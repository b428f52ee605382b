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

enum { OF_STREAM, OF_ROWS, PHASES, N_OUT = 2 * PERSISTENT_GROUP * TILE_ROWS, SEEDS = 4 };

static const double THRESHOLD = 4e-6; /* relative to the root of a row's squared products' sum */

static void *fresh(size_t bytes)
{
	void *p = NULL;
	assert_int_equal(posix_memalign(&p, 256, bytes), 0);
	memset(p, 0, bytes);
	return p;
}

struct matrix {
	struct weight w;
	float *values; /* (N_OUT, n_in) */
};

static struct matrix matrix_make(int type, int n_in, uint64_t *state)
{
	size_t n = (size_t)n_in * N_OUT;
	struct matrix m = {.values = malloc(n * sizeof *m.values)};
	void *data = fresh(n * 4), *scales = fresh(n / 32 * 2);
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

/* So many chunks of columns in a row, of the stream and of another vector. stages: of the ring; 0: of an H100's. */
static void check_products(int type, int chunks, int stages, bool refused)
{
	int n = chunks * TILE_CHUNK;
	uint64_t state = (uint64_t)(type * 100 + chunks);
	float *table = fresh((size_t)n * sizeof *table), *h = fresh((size_t)n * sizeof *h);
	float *vector = fresh((size_t)n * sizeof *vector), *scratch = fresh(2 * (size_t)n * sizeof *scratch);
	struct matrix m[PHASES];
	float *left[PHASES];
	for (int i = 0; i < n; i++) {
		table[i] = (float)draw_uniform(&state);
		/* As if token number 1 had left it: the last bit is what is waited for. */
		uint32_t one = (draw_bits(&state) >> 9 | 0x3f800000) | 1;
		memcpy(&vector[i], &one, sizeof one);
	}
	for (int i = 0; i < PHASES; i++) {
		m[i] = matrix_make(type, n, &state);
		left[i] = fresh(N_OUT * sizeof(float));
	}
	for (unsigned seed = 0; seed < SEEDS; seed++) {
		struct persistent_phase phases[PHASES];
		struct persistent_copy copies[PHASES];
		unsigned number[2] = {1, 0};
		for (int i = 0; i < PHASES; i++)
			phases[i] = (struct persistent_phase){
				.kind = PERSISTENT_PRODUCT,
				.of.product = {.y = {left[i]},
					       .in = i == OF_STREAM ? NULL : vector,
					       .w = {m[i].w},
					       .output = i == OF_STREAM ? PERSISTENT_LOGITS : PERSISTENT_STORE,
					       .scale = 1,
					       .n_w = 1,
					       .stream = i == OF_STREAM,
					       .trace = -1}};
		struct persistent_program g = {
			.phases = phases,
			.copies = copies,
			.state = number,
			.token_embd = {.data = table, .type = TENSOR_F32, .n_in = n, .n_out = 1, .n_expert = 1},
			.h = h,
			.normed = scratch,
			.sub_norm = scratch + n,
			.n_phases = PHASES,
			.n_embd = n,
			.embed_scale = 1,
			.eps = 1e-6f,
			.n_blocks = 1,
			.k_type = TENSOR_F32,
			.v_type = TENSOR_F32,
		};
		const char *why;
		emulated_card_bytes = stages ? 32 << 10 : EMULATED_SHARED_BYTES;
		while ((why = emulated_plan(&g, phases, copies, 1, NULL)) &&
		       emulated_card_bytes < EMULATED_SHARED_BYTES)
			emulated_card_bytes += 1 << 10;
		if (refused) {
			assert_non_null(why);
			assert_non_null(strstr(why, "less shared memory left"));
			break;
		}
		assert_null(why);
		if (stages)
			assert_int_equal(g.n_stages, stages);
		char *tiled = fresh((size_t)g.tiled_bytes);
		g.tiled = tiled;
		for (int i = 0; i < PHASES; i++)
			emulated_persistent_tile(&(struct persistent_tile_params){.w = {m[i].w},
										  .y = tiled + copies[i].at,
										  .rows = {N_OUT},
										  .n_w = 1,
										  .n_tiles = copies[i].n_jobs,
										  .tile_bytes = copies[i].job_bytes});
		emulated_persistent(&(struct persistent_params){.program = &g,
								.n_blocks = 1,
								.shared_bytes = g.shared_bytes,
								.k_type = TENSOR_F32,
								.v_type = TENSOR_F32},
				    seed);
		for (int i = 0; i < PHASES; i++) {
			double error = worst_error(&m[i], i == OF_STREAM ? table : vector, left[i]);
			if (!(error <= THRESHOLD))
				fail_msg("type %d, rows of %d chunks, %d stages, %d on their way, seed %u: product %d "
					 "is off by %.3g",
					 type, chunks, g.n_stages, copies[i].limit, seed, i, error);
		}
		free(tiled);
	}
	for (int i = 0; i < PHASES; i++) {
		matrix_free(&m[i]);
		free(left[i]);
	}
	free(table);
	free(h);
	free(vector);
	free(scratch);
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
