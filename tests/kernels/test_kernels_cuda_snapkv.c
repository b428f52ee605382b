/*
 * The CUDA device's SnapKV kernels against the host's, whose own tests compare them with plain
 * computations in double: types, head dimensions, head ratios, windows that are no whole tile, splits; the
 * selection with ties, to the last index; the move, byte for byte.
 *
 *   test_kernels_cuda_snapkv              each test in a process of its own
 *   test_kernels_cuda_snapkv NAME         one of them, here
 *   test_kernels_cuda_snapkv --few [...]  a fraction of the shapes, for compute-sanitizer
 *
 * Exit code 77 without a GPU.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/model/gguf.h"
#include "tests/support/vote_case.h"

static const int cache_types[] = {TENSOR_F32, TENSOR_F16, TENSOR_BF16, TENSOR_Q8_0};
enum { N_TYPES = COUNT(cache_types) };
static const int head_dims[] = {32, 64, 96, 128, 192, 256, 512};

/* The last tile of rows and of keys whole, one more, one less; one split, splits of no whole tile, too many. */
static const struct vote_case vote_cases[] = {
	{TENSOR_F16, 8, 2, 512, 2200, 2112, 64, 128, 17, 0.5f},
	{TENSOR_F16, 8, 2, 512, 1100, 1100, 64, 1024, 2, 4},
	{TENSOR_F32, 1, 1, 32, 300, 257, 1, 1000, 1, 4},
	{TENSOR_BF16, 4, 4, 64, 400, 385, 128, 100, 4, 4},
	{TENSOR_F32, 16, 1, 512, 260, 260, 100, 128, 3, 1},
	{TENSOR_F16, 3, 3, 96, 130, 130, 129, 128, 2, 4},
	{TENSOR_BF16, 32, 4, 128, 700, 640, 33, 64, 11, 0.5f},
	{TENSOR_F16, 2, 1, 192, 200, 200, 200, 64, 4, 4},
	{TENSOR_F32, 8, 1, 256, 5, 5, 3, 128, 1, 4},
	{TENSOR_F16, 6, 2, 256, 1500, 1409, 64, 1, 1409, 4},
	{TENSOR_F16, 5, 1, 64, 1000, 993, 64, 33, 31, 200},
	{TENSOR_Q8_0, 8, 2, 512, 2200, 2112, 64, 128, 17, 0.5f},
	{TENSOR_Q8_0, 3, 3, 96, 130, 130, 129, 128, 2, 4},
};

static struct vote_case random_case(struct pair *p, size_t i)
{
	static const int groups[] = {1, 2, 3, 4, 5, 8, 16};
	struct vote_case c = {
		.type = cache_types[i % N_TYPES],
		.head_dim = head_dims[i / N_TYPES % COUNT(head_dims)],
		.n_kv_heads = pair_between(p, 1, 3),
		.window = pair_between(p, 1, kernel_case_few ? 20 : 90),
		.split_len = pair_between(p, 1, 4) * 64 - pair_between(p, 0, 1) * 7,
		.q_scale = pair_between(p, 0, 7) ? 4 : 100,
	};
	c.n_heads = c.n_kv_heads * groups[pair_between(p, 0, (int)COUNT(groups) - 1)];
	c.n_keys = c.window + pair_between(p, 1, kernel_case_few ? 150 : 500);
	c.capacity = c.n_keys + pair_between(p, 0, 10);
	c.n_splits = (c.n_keys + c.split_len - 1) / c.split_len + pair_between(p, 0, 1);
	return c;
}

static void all_votes(void (*test)(struct pair *, const struct vote_case *))
{
	struct pair *p = kernel_case_open();
	for (size_t i = 0; i < COUNT(vote_cases); i++)
		if (!left_out(i))
			test(p, &vote_cases[i]);
	for (size_t i = 0; i < COUNT(head_dims) * N_TYPES * (kernel_case_few ? 1 : 3); i++) {
		struct vote_case c = random_case(p, i);
		if (!left_out(i))
			test(p, &c);
	}
	kernel_case_close(p);
}

static void softmax(struct pair *p, const struct vote_case *c)
{
	vote_case_softmax(p, c, VOTE_RIGHT);
}

static void vote(struct pair *p, const struct vote_case *c)
{
	vote_case_vote(p, c, false, VOTE_RIGHT);
	vote_case_vote(p, c, true, VOTE_RIGHT);
}

static void test_softmax(void **state)
{
	(void)state;
	all_votes(softmax);
}

static void test_vote(void **state)
{
	(void)state;
	all_votes(vote);
}

static void test_select(void **state)
{
	(void)state;
	/* heads, n_keys, window, budget, pool; distinct scores, 0: any */
	static const struct select_case cases[] = {
		{1, 2, 1, 1, 1, 0},         {1, 3, 1, 2, 1, 0},          {2, 50, 5, 49, 7, 0},
		{3, 400, 64, 64, 7, 0},     {2, 1000, 64, 128, 7, 0},    {2, 1000, 1, 500, 1, 3},
		{1, 700, 16, 300, 1, 1},    {4, 333, 33, 100, 255, 0},   {2, 2100, 10, 2000, 3, 2},
		{1, 5000, 64, 1024, 7, 40}, {1, 4100, 4, 2000, 1, 1},    {2, 4160, 64, 1000, 7, 0},
		{3, 4161, 64, 4160, 7, 5},  {2, 40001, 64, 4096, 7, 0},  {1, 70000, 64, 1024, 7, 300},
		{4, 9000, 1, 2, 1, 0},      {1, 20000, 64, 19000, 1, 2}, {2, 8257, 64, 65, 255, 7},
	};
	struct pair *p = kernel_case_open();
	for (size_t i = 0; i < COUNT(cases); i++)
		if (!kernel_case_few || cases[i].n_keys < 10000)
			select_case(p, &cases[i], SELECT_RIGHT);
	kernel_case_close(p);
}

static void test_compact(void **state)
{
	(void)state;
	struct pair *p = kernel_case_open();
	for (int i = 0; i < N_TYPES * N_TYPES * (int)COUNT(head_dims); i++) {
		int old = pair_between(p, 2, 300);
		struct compact_case c = {
			.type = cache_types[i % N_TYPES],
			.v_type = cache_types[i / N_TYPES % N_TYPES],
			.n_kv_heads = pair_between(p, 1, 4),
			.head_dim = head_dims[i / (N_TYPES * N_TYPES)],
			.old_capacity = old,
			.n_kept = pair_between(p, 1, old - 1),
		};
		c.new_capacity = c.n_kept + pair_between(p, 0, 40);
		if (!left_out((size_t)i))
			compact_case(p, &c, false);
	}
	kernel_case_close(p);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		{"snapkv_softmax", test_softmax, NULL, NULL, NULL},
		{"snapkv_vote", test_vote, NULL, NULL, NULL},
		{"snapkv_select", test_select, NULL, NULL, NULL},
		{"snapkv_compact", test_compact, NULL, NULL, NULL},
	};
	return kernel_case_main(argc, argv, "CUDA SnapKV", tests, COUNT(tests));
}
