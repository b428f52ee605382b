/* The ring of stages in the plan of a token's kernel: how many pieces may be on their way, and who is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cuda/cuda_kernels.h"
#include "kernels/cuda/persistent_geometry.h"
#include "kernels/tiles.h"

/*
 * Whatever room a card leaves for stages, two of them are never on their way: their barriers are not counted yet. And a
 * warp that waits for its next piece, `apart` further on, knows that the stage's piece before has come: it was none of
 * those that may be on their way; or, where it makes sure of that itself, it was copied. Else the kernel is refused.
 */
static void check_stages(int type, int chunks, int apart, int far)
{
	static const uint16_t scales[2];
	int least = PERSISTENT_MAX_STAGES, most = 0, wanted = apart + !far;
	const char *why = NULL;
	if (wanted < PERSISTENT_MIN_STAGES)
		wanted = PERSISTENT_MIN_STAGES;
	for (size_t shared = 48 << 10; shared <= 232448; shared += 1024) {
		struct cuda_card card = {.n_sm = 132, .compute_capability = 90, .shared_per_block = shared};
		struct persistent_copy copy;
		int n_in = chunks * TILE_CHUNK;
		struct persistent_program g = {
			.n_embd = n_in, .n_phases = 1, .stream_chunks = 2, .slice_chunks = 2, .far_waits = far};
		struct persistent_phase phase = {.kind = PERSISTENT_PRODUCT,
						 .of.product = {.w = {{.type = type,
								       .scales = type == TENSOR_Q8_0 ? scales : NULL,
								       .n_in = n_in,
								       .n_out = 2560,
								       .n_expert = 1}},
								.n_w = 1,
								.stream = 1,
								.output = PERSISTENT_LOGITS}};
		const char *refused = cuda_persistent_plan(&g, &phase, &copy, &card);
		if (refused) {
			assert_true(least == PERSISTENT_MAX_STAGES); /* a card with more is not refused */
			why = refused;
			continue;
		}
		assert_true((size_t)g.shared_bytes <= shared);
		assert_true(copy.limit >= 1 && copy.limit <= g.n_stages - (far ? 2 : apart));
		assert_true(copy.first_limit >= 1 && copy.first_limit <= g.n_stages - (far ? 2 : apart));
		least = g.n_stages < least ? g.n_stages : least;
		most = g.n_stages > most ? g.n_stages : most;
	}
	if (least != wanted)
		fail_msg("type %d, %d chunks: the least ring has %d stages, not %d", type, chunks, least, wanted);
	assert_true(most > least);
	assert_non_null(strstr(why, wanted > PERSISTENT_MIN_STAGES ? "less shared memory left" : "no shared memory"));
}

static void test_few_stages(void **state)
{
	(void)state;
	static const struct {
		int type, chunks, apart;
	} rows[] = {
		{TENSOR_Q4_0, 10, 3}, /* pieces of 4, 4 and 2 chunks */
		{TENSOR_Q8_0, 10, 5},  {TENSOR_Q8_0, 16, 8},
		{TENSOR_Q8_0, 15, 8}, /* 7 is in piece 3 and alone: 8 pieces further on */
		{TENSOR_BF16, 10, 10}, {TENSOR_BF16, 15, 15},
		{TENSOR_BF16, 20, 10}, /* each has two */
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (int far = 0; far < 2; far++)
			check_stages(rows[i].type, rows[i].chunks, rows[i].apart, far);
}

/* Who is compiled so that warps make sure: wide rows in 16 bits, 32, and cards with little shared memory. */
static void test_far_waits(void **state)
{
	(void)state;
	const struct cuda_card little = {.n_sm = 170, .compute_capability = 120, .shared_per_block = 99 << 10};
	const struct cuda_card h100 = {.n_sm = 132, .compute_capability = 90, .shared_per_block = 232448};
	static const struct {
		int n_embd, type;
		int far, far_little;
	} models[] = {
		{2560, TENSOR_Q8_0, 0, 1}, {2560, TENSOR_BF16, 0, 1}, {3840, TENSOR_Q8_0, 0, 1},
		{3840, TENSOR_BF16, 1, 1}, {4096, TENSOR_F16, 1, 1},  {1536, TENSOR_F32, 1, 1},
		{5376, TENSOR_Q4_K, 0, 1},
	};
	for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
		struct cuda_dims dims = {.n_head_dims = 1,
					 .head_dims = {128},
					 .n_embd = models[i].n_embd,
					 .n_in_max = 4 * models[i].n_embd,
					 .streams = 1u << models[i].type | 1u << TENSOR_Q4_0};
		assert_int_equal(cuda_persistent_chunks(&dims, &h100).far, models[i].far);
		assert_int_equal(cuda_persistent_chunks(&dims, NULL).far, models[i].far);
		assert_int_equal(cuda_persistent_chunks(&dims, &little).far, models[i].far_little);
		char options[CUDA_MAX_OPTIONS][CUDA_OPTION_BYTES];
		int n = cuda_options(&dims, &h100, options), found = 0;
		for (int k = 0; k < n; k++)
			found += !strcmp(options[k], "-DFAR_WAITS");
		assert_int_equal(found, models[i].far);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_few_stages),
		cmocka_unit_test(test_far_waits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
