/* What measures a card's memory reads all of what its rate is said to be of, and each of a chain's lines once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cuda/memory_geometry.h"
#include "tests/emulated/blocks.h"

enum { N_SM = 2, N_CHUNKS = 3, N_BLOCKS = N_SM * MEMORY_PER_SM };

static const struct cuda_card card = {.n_sm = N_SM, .compute_capability = 90};

static unsigned *words_of(size_t bytes)
{
	unsigned *words = malloc(bytes), seed = 1;
	assert_non_null(words);
	for (size_t i = 0; i < bytes / sizeof *words; i++)
		words[i] = seed = seed * 1664525u + 1013904223u;
	return words;
}

static void test_read(void **state)
{
	(void)state;
	const size_t chunk = MEMORY_CHUNK / sizeof(unsigned);
	unsigned *from = words_of((size_t)N_BLOCKS * N_CHUNKS * MEMORY_CHUNK), got[N_BLOCKS];
	unsigned long long cycles[N_BLOCKS] = {0};
	const struct memory_read_params p = {.from = from, .n_chunks = N_CHUNKS, .cycles = cycles, .words = got};
	struct cuda_launch l;
	assert_int_equal(cuda_memory_read_launch(&card, &l), CUDA_GEOMETRY_OK);
	assert_int_equal(l.grid[0], N_BLOCKS);
	assert_int_equal(emulated_launch(l.entry, &p, &l), 0);
	for (size_t b = 0; b < N_BLOCKS; b++) {
		unsigned want = 0;
		for (size_t c = 0; c < N_CHUNKS; c++)
			for (size_t i = 0; i < chunk; i++)
				want ^= from[(c * N_BLOCKS + b) * chunk + i];
		assert_int_equal(got[b], want);
		assert_true(cycles[b] > 0);
	}
	free(from);
}

static void test_chain(void **state)
{
	(void)state;
	unsigned *from = words_of((size_t)N_SM * MEMORY_REGION), got[N_SM];
	unsigned long long cycles[N_SM] = {0};
	const struct memory_chain_params p = {.from = from, .cycles = cycles, .words = got};
	struct cuda_launch l;
	assert_int_equal(cuda_memory_chain_launch(&card, &l), CUDA_GEOMETRY_OK);
	assert_int_equal(l.grid[0], N_SM);
	assert_int_equal(emulated_launch(l.entry, &p, &l), 0);
	for (size_t b = 0; b < N_SM; b++) {
		unsigned want = 0;
		for (size_t i = 0; i < MEMORY_LOADS; i++)
			want ^= from[(b * MEMORY_REGION + i * MEMORY_STRIDE) / sizeof *from];
		assert_int_equal(got[b], want);
		assert_int_equal(cycles[b], 100); /* from one look at the clock to the next */
	}
	free(from);
}

/* Where the next load is depends on what the one before brought: here the mask lets it. */
static void test_dependence(void **state)
{
	(void)state;
	static unsigned from[2 * MEMORY_REGION / sizeof(unsigned)];
	unsigned got;
	unsigned long long cycles;
	const struct memory_chain_params p = {.from = from, .mask = 4, .cycles = &cycles, .words = &got};
	const struct cuda_card one = {.n_sm = 1, .compute_capability = 90};
	struct cuda_launch l;
	for (size_t i = 0; i < sizeof from / sizeof *from; i++)
		from[i] = 4;
	from[0] = 0;
	from[MEMORY_STRIDE / sizeof *from] = 4;
	from[2 * MEMORY_STRIDE / sizeof *from] = 0x80; /* which is passed by */
	assert_int_equal(cuda_memory_chain_launch(&one, &l), CUDA_GEOMETRY_OK);
	assert_int_equal(emulated_launch(l.entry, &p, &l), 0);
	assert_int_equal(got, MEMORY_LOADS % 2 ? 0 : 4); /* 255 fours and a zero */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_chain),
		cmocka_unit_test(test_dependence),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
