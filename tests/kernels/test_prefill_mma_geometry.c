/*
 * Which kernel takes a prompt's attention on tensor cores, on cards of every architecture: that its tiles fit the card,
 * its blocks cover the rows, and its entry is of the shapes and types asked for. No GPU is needed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cuda/cuda_kernels.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

#define CARD(sm, cc, per_sm, per_block)                                                    \
	{                                                                                  \
		.n_sm = (sm), .compute_capability = (cc), .shared_per_sm = (per_sm) << 10, \
		.shared_per_block = (per_block) << 10                                      \
	}
static const struct cuda_card cards[] = {
	CARD(108, 80, 164, 163), CARD(84, 86, 100, 99),    CARD(142, 89, 100, 99),
	CARD(132, 90, 228, 227), CARD(148, 100, 228, 227), CARD(188, 120, 100, 99),
};

static struct attention_prefill_params params(int head_dim, int type, int v_type, int n_heads, int n_kv_heads,
					      int n_tokens)
{
	static _Alignas(16) float memory[4];
	return (struct attention_prefill_params){
		.q = memory,
		.y = memory,
		.kv = {.k = memory,
		       .v = memory,
		       .type = type,
		       .v_type = v_type,
		       .n_kv_heads = n_kv_heads,
		       .head_dim = head_dim,
		       .capacity = 8192},
		.n_tokens = n_tokens,
		.n_heads = n_heads,
		.scale = 1,
	};
}

static const char *type_word(int type)
{
	return type == TENSOR_F16 ? "f16" : "bf16";
}

/* Rows of a block, by head dimension: its warps' registers hold as many. */
static int64_t rows_of(int head_dim, bool half)
{
	return (head_dim > 256 ? 64 : 128) / (half ? 2 : 1);
}

static void test_entries(void **state)
{
	(void)state;
	static const int head_dims[] = {32, 64, 96, 128, 192, 256, 512};
	static const int types[] = {TENSOR_F16, TENSOR_BF16};
	static const int tokens[] = {1, 9, 512, 2048, 4096};
	static const int heads[][2] = {{8, 2}, {1, 1}, {6, 2}, {64, 1}, {32, 16}};
	int halves = 0, wholes = 0;
	for (size_t i = 0; i < COUNT(cards) * COUNT(head_dims) * 4 * COUNT(tokens) * COUNT(heads); i++) {
		size_t n = i;
		const int *h = heads[n % COUNT(heads)], n_tokens = tokens[(n /= COUNT(heads)) % COUNT(tokens)];
		int type = types[(n /= COUNT(tokens)) % 2], v_type = types[(n /= 2) % 2];
		int hd = head_dims[(n /= 2) % COUNT(head_dims)];
		const struct cuda_card *card = &cards[n / COUNT(head_dims)];
		struct attention_prefill_params p = params(hd, type, v_type, h[0], h[1], n_tokens);
		struct cuda_launch l;
		char name[64];
		assert_int_equal(cuda_geometry_attention_mma(&p, card, &l), CUDA_GEOMETRY_OK);
		bool half = strstr(l.entry, "half");
		snprintf(name, sizeof name, "k_attention_mma_%s%d_%s_%s", half ? "half_" : "", hd, type_word(type),
			 type_word(v_type));
		assert_string_equal(l.entry, name);
		assert_string_equal(l.entry, cuda_entries[l.entry_id].name);
		assert_string_equal(cuda_entries[l.entry_id].source, "kernels/cuda/prefill_mma.cu");
		assert_true(l.shared_bytes <= card->shared_per_block);
		int64_t rows = (int64_t)n_tokens * (h[0] / h[1]), block = rows_of(hd, half);
		assert_int_equal(l.grid[0], (rows + block - 1) / block * h[1]);
		assert_int_equal(l.grid[1] * l.grid[2], 1);
		halves += half;
		wholes += !half;
	}
	assert_true(halves > 0 && wholes > 0);
}

/* E4B on 132 multiprocessors: all of them work on 2048 tokens, and on 512 as many as can. */
static void test_fills_the_card(void **state)
{
	(void)state;
	static const struct {
		int head_dim, n_tokens;
		unsigned blocks;
	} want[] = {{256, 512, 64}, {256, 2048, 128}, {512, 512, 128}, {512, 2048, 256}};
	for (size_t i = 0; i < COUNT(want); i++) {
		struct attention_prefill_params p =
			params(want[i].head_dim, TENSOR_F16, TENSOR_F16, 8, 2, want[i].n_tokens);
		struct cuda_launch l;
		assert_int_equal(cuda_geometry_attention_mma(&p, &cards[3], &l), CUDA_GEOMETRY_OK);
		assert_int_equal(l.grid[0], want[i].blocks);
	}
}

static void test_refusals(void **state)
{
	(void)state;
	struct cuda_launch l;
	struct attention_prefill_params good = params(256, TENSOR_F16, TENSOR_F16, 8, 2, 100), p = good;
	assert_int_equal(cuda_geometry_attention_mma(&p, &cards[3], &l), CUDA_GEOMETRY_OK);
	p.n_tokens = 0;
	assert_int_equal(cuda_geometry_attention_mma(&p, &cards[3], &l), CUDA_GEOMETRY_NOTHING);
	p = good, p.kv.type = TENSOR_F32;
	assert_int_equal(cuda_geometry_attention_mma(&p, &cards[3], &l), CUDA_GEOMETRY_UNSUPPORTED);
	p = good, p.kv.v_type = TENSOR_F32;
	assert_int_equal(cuda_geometry_attention_mma(&p, &cards[3], &l), CUDA_GEOMETRY_UNSUPPORTED);
	p = good, p.kv.head_dim = 48;
	assert_int_equal(cuda_geometry_attention_mma(&p, &cards[3], &l), CUDA_GEOMETRY_UNSUPPORTED);
	p = good, p.n_heads = 7;
	assert_int_equal(cuda_geometry_attention_mma(&p, &cards[3], &l), CUDA_GEOMETRY_UNSUPPORTED);
	p = good, p.q++;
	assert_int_equal(cuda_geometry_attention_mma(&p, &cards[3], &l), CUDA_GEOMETRY_UNSUPPORTED);
	p = good, p.scale = -1; /* a row's greatest product would not be its greatest score */
	assert_int_equal(cuda_geometry_attention_mma(&p, &cards[3], &l), CUDA_GEOMETRY_UNSUPPORTED);
	const struct cuda_card tiny = CARD(132, 90, 48, 47);
	assert_int_equal(cuda_geometry_attention_mma(&good, &tiny, &l), CUDA_GEOMETRY_UNSUPPORTED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_entries),
		cmocka_unit_test(test_fills_the_card),
		cmocka_unit_test(test_refusals),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
