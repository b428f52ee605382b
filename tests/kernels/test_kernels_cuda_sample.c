/*
 * The CUDA device's choice of a token against the host's, whose own tests compare it with its definition: the same
 * token, also where float32 decides. All options on all kinds of logits; sizes around those of a CTA's chunk; settings
 * and position in either memory; one launch behind the other, each with what the one before left.
 *
 *   test_kernels_cuda_sample              each test in a process of its own
 *   test_kernels_cuda_sample NAME         one of them, here
 *   test_kernels_cuda_sample --few [...]  a fraction of the shapes, for compute-sanitizer
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

#include "engine/cuda/device_cuda.h"
#include "tests/support/kernel_case.h"
#include "tests/support/ok.h"
#include "tests/support/sample_pair.h"

static void test_sample(void **state)
{
	(void)state;
	static const int sizes[] = {1, 2, 33, 511, 4095, 4096, 4097, 8193, 20001, 100000, 262144};
	struct pair *p = kernel_case_open();
	for (int i = 0; i < 600; i++) {
		int n = sizes[(size_t)i % COUNT(sizes)];
		if (!left_out((size_t)i) && !(kernel_case_few && n > 10000))
			sample_pair(p, n, i, i * 29 + 1, i * 7, i % 2, i / 2 % 2);
	}
	pair_close(p);
}

/* NaN, infinities, nothing but -infinity; behind each a row that is right. */
static void test_wrong(void **state)
{
	(void)state;
	struct pair *p = kernel_case_open();
	for (int i = 0; i < 24; i++) {
		sample_pair_wrong(p, i % 2 ? 9000 : 50, i / 2 % 4, i * 5 + 1);
		sample_pair(p, 9000, i, i * 5 + 1, i, false, false);
	}
	pair_close(p);
}

/* More CTAs' worth than the card has room for: slices of several chunks. */
static void test_many(void **state)
{
	(void)state;
	struct pair *p = kernel_case_open();
	for (int i = 0; i < (kernel_case_few ? 1 : 12); i++)
		sample_pair(p, (1 << 20) + 77 * i, i, i * 29 + 2, i, false, true);
	pair_close(p);
}

/* Position and settings from the device, each launch with the counters that the one before left. */
static void test_replayed(void **state)
{
	(void)state;
	for (int pdl = 0; pdl < 2; pdl++) {
		struct cuda_open_options o = {.dims = {.n_head_dims = 1, .head_dims = {64}, .k_type = -1, .v_type = -1},
					      .pdl = pdl,
					      .batch = 1,
					      .n_in_max = 64};
		struct device *d;
		OK(device_cuda_open(&d, &o, e));
		sample_replayed(d);
		device_close(d);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		{"sample", test_sample, NULL, NULL, NULL},
		{"sample_wrong", test_wrong, NULL, NULL, NULL},
		{"sample_many", test_many, NULL, NULL, NULL},
		{"sample_replayed", test_replayed, NULL, NULL, NULL},
	};
	return kernel_case_main(argc, argv, "CUDA sampling", tests, COUNT(tests));
}
