/*
 * The CUDA device's choice of a token against the host's, whose own tests compare it with its definition: the same
 * token, also where float32 decides. All options on all kinds of logits; sizes around those of a CTA's chunk; settings
 * and position in either memory; one launch behind the other, each with what the one before left.
 *
 *   test_kernels_cuda_sample              each test in a process of its own
 *   test_kernels_cuda_sample NAME         one of them, here
 *   test_kernels_cuda_sample --few [...]  a fraction of the shapes, for compute-sanitizer
 *   test_kernels_cuda_sample --time       no test: microseconds of a choice in a graph, of Gemma's vocabulary
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
#include "tests/support/no_gpu.h"
#include "tests/support/ok.h"
#include "tests/support/sample_case.h"
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

/* ---- --time ---- */

enum { REPETITIONS = 21, LAUNCHES = 20, VOCAB = 262144 };

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* Median over replays of a graph of launches. */
static double time_choice(struct device *d, const struct sample_params *p)
{
	struct device_graph *g;
	struct device_exec *x;
	struct device_event *from, *to;
	double us[REPETITIONS];
	OK(device_capture_begin(d, DEVICE_GRAPH_PLAIN, e));
	for (int i = 0; i < LAUNCHES; i++)
		OK(device_launch(d, KERNEL_sample, p, e));
	OK(device_capture_end(d, &g, e));
	OK(device_instantiate(d, g, &x, e));
	OK(device_event_create(d, &from, e));
	OK(device_event_create(d, &to, e));
	for (int r = -1; r < REPETITIONS; r++) {
		double all;
		OK(device_event_record(d, from, e));
		OK(device_replay(d, x, e));
		OK(device_event_record(d, to, e));
		OK(device_event_wait(d, to, e));
		OK(device_event_elapsed(d, from, to, &all, e));
		if (r >= 0)
			us[r] = all / LAUNCHES;
	}
	device_event_destroy(d, from);
	device_event_destroy(d, to);
	device_exec_destroy(d, x);
	device_graph_destroy(d, g);
	qsort(us, REPETITIONS, sizeof *us, compare_doubles);
	return us[REPETITIONS / 2];
}

static int time_choices(void)
{
	static const struct sampling_options all[] = {{0, 0, 1, 0, 1},  {1, 0, 1, 0, 1},    {1, 0, 1, 0.05, 1},
						      {1, 40, 1, 0, 1}, {1, 0, 0.95, 0, 1}, {0.8, 40, 0.95, 0.05, 1}};
	static const char *const kinds[SAMPLE_KINDS] = {"normal", "flat", "peaked", "few values"};
	if (no_gpu())
		return 77;
	struct device *d;
	OK(device_cuda_open(
		&d,
		&(struct cuda_open_options){.dims = {.n_head_dims = 1, .head_dims = {64}, .k_type = -1, .v_type = -1},
					    .pdl = true,
					    .batch = 1,
					    .n_in_max = 64},
		e));
	void *on_device, *out;
	OK(device_alloc(d, VOCAB * sizeof(float), &on_device, e));
	OK(device_alloc(d, sizeof(struct sampled), &out, e));
	float *logits = malloc(VOCAB * sizeof *logits);
	assert_non_null(logits);
	printf("sampling of %d  temperature  top-k  top-p  min-p       us\n", VOCAB);
	for (int kind = 0; kinds[kind]; kind++) {
		uint64_t random = 1;
		sample_case_logits(logits, VOCAB, kind, &random);
		OK(device_upload(d, on_device, logits, VOCAB * sizeof *logits, e));
		for (size_t i = 0; i < COUNT(all); i++) {
			struct sample_params p = {
				.host = sampling_of(&all[i]), .logits = on_device, .out = out, .n = VOCAB};
			printf("sampling %-10s %11g %6d %6g %6g %8.1f\n", kinds[kind], all[i].temperature, all[i].top_k,
			       all[i].top_p, all[i].min_p, time_choice(d, &p));
		}
	}
	free(logits);
	device_close(d);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		{"sample", test_sample, NULL, NULL, NULL},
		{"sample_wrong", test_wrong, NULL, NULL, NULL},
		{"sample_many", test_many, NULL, NULL, NULL},
		{"sample_replayed", test_replayed, NULL, NULL, NULL},
	};
	if (argc == 2 && !strcmp(argv[1], "--time"))
		return time_choices();
	return kernel_case_main(argc, argv, "CUDA sampling", tests, COUNT(tests));
}
