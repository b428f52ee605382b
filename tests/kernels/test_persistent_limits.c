/* What the kernel of a whole token asks for ahead, by what was measured of a card's memory. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cuda/cuda_kernels.h"
#include "kernels/cuda/memory_geometry.h"

/* What an H100 80GB HBM3 is measured as, and the limits that were tuned there. */
static const struct cuda_memory h100 = {.bytes_s = MEMORY_TUNED_BYTES_S,
					.bytes_cycle = MEMORY_TUNED_BYTES_CYCLE,
					.latency_cycles = MEMORY_TUNED_LATENCY_CYCLES};
static const struct persistent_limits tuned = {
	.in_flight = 1,
	.rate = 1,
	.small_bytes = 18432,
	.wide_bytes = 57344,
	.first_bytes = 18432,
	.busy_bytes = 90112,
	.busy_cycles = 500,
	.waiting_cycles = 680,
};

static struct cuda_memory times(double rate, double latency)
{
	return (struct cuda_memory){.bytes_s = h100.bytes_s * rate,
				    .bytes_cycle = h100.bytes_cycle * rate,
				    .latency_cycles = h100.latency_cycles * latency};
}

static void assert_limits(const struct persistent_limits *got, const struct persistent_limits *want)
{
	assert_true(got->in_flight == want->in_flight);
	assert_true(got->rate == want->rate);
	assert_int_equal(got->small_bytes, want->small_bytes);
	assert_int_equal(got->wide_bytes, want->wide_bytes);
	assert_int_equal(got->first_bytes, want->first_bytes);
	assert_int_equal(got->busy_bytes, want->busy_bytes);
	assert_int_equal(got->busy_cycles, want->busy_cycles);
	assert_int_equal(got->waiting_cycles, want->waiting_cycles);
}

/* Of twelve processes on one H100 80GB HBM3, what was farthest apart. */
static void test_h100(void **state)
{
	(void)state;
	static const struct cuda_memory measured[] = {{3095.3e9, 12.084, 717.4}, {3102.7e9, 12.127, 719.5}};
	for (size_t i = 0; i < 2; i++) {
		struct persistent_limits got;
		assert_null(cuda_persistent_limits(&got, &measured[i]));
		assert_limits(&got, &tuned);
	}
}

/* Which gets no more: it was slower with that. Of four processes on an H200 what was farthest apart, and beyond. */
static void test_faster(void **state)
{
	(void)state;
	const struct cuda_memory faster[] = {{4443e9, 17.51, 694}, {4454e9, 17.72, 696}, times(1.2, 1),
					     times(1, 1.3),        times(3, 2),          times(7, 7)};
	for (size_t i = 0; i < sizeof faster / sizeof *faster; i++) {
		struct persistent_limits got;
		assert_null(cuda_persistent_limits(&got, &faster[i]));
		assert_limits(&got, &tuned);
	}
}

/* Two measured numbers, of which either may be off, are one plan: on an H100 the one that was tuned. */
static void test_noise(void **state)
{
	(void)state;
	for (int r = -6; r <= 6; r++)
		for (int l = -6; l <= 6; l++) {
			const struct cuda_memory m = times(1 + r / 100.0, 1 + l / 100.0);
			struct persistent_limits got;
			assert_null(cuda_persistent_limits(&got, &m));
			assert_limits(&got, &tuned);
		}
}

static void test_table(void **state)
{
	(void)state;
	static const struct {
		double rate, latency;
		struct persistent_limits want;
	} cases[] = {
		/* An H100 PCIe: 2.0 TB/s and 114 multiprocessors. */
		{2.0 / 3.35 * 132 / 114, 1, {0.75, 0.75, 13824, 43008, 13824, 67584, 667, 907}},
		/* Latency makes up for a rate, but for the pace. */
		{0.8, 1.25, {1, 0.75, 18432, 57344, 18432, 67584, 667, 907}},
		{1, 0.8, {0.75, 1, 13824, 43008, 13824, 90112, 500, 680}},
		{0.9, 1, {1, 0.875, 18432, 57344, 18432, 78848, 571, 777}},
		/* What nobody tried is not tried here. */
		{0.2, 0.5, {0.5, 0.5, 9216, 28672, 9216, 45056, 1000, 1360}},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const struct cuda_memory m = times(cases[i].rate, cases[i].latency);
		struct persistent_limits got;
		assert_null(cuda_persistent_limits(&got, &m));
		assert_limits(&got, &cases[i].want);
	}
}

/* A faster memory never gets less to do, a slower one never more. */
static void test_monotonic(void **state)
{
	(void)state;
	for (int vary = 0; vary < 2; vary++) {
		struct persistent_limits last = {.busy_cycles = 10000, .waiting_cycles = 10000};
		for (int i = 13; i <= 790; i++) {
			const double by = i / 100.0;
			const struct cuda_memory m = vary ? times(by, 1) : times(1, by);
			struct persistent_limits l;
			assert_null(cuda_persistent_limits(&l, &m));
			assert_true(l.small_bytes >= last.small_bytes && l.wide_bytes >= last.wide_bytes);
			assert_true(l.first_bytes >= last.first_bytes && l.busy_bytes >= last.busy_bytes);
			assert_true(l.busy_cycles <= last.busy_cycles && l.waiting_cycles <= last.waiting_cycles);
			assert_true(l.in_flight >= 0.5 && l.in_flight <= 1 && l.rate >= 0.5 && l.rate <= 1);
			assert_true(l.in_flight * 4 == floor(l.in_flight * 4) && l.rate * 8 == floor(l.rate * 8));
			last = l;
		}
		assert_int_equal(last.wide_bytes, tuned.wide_bytes);
	}
}

/* The constants, and the reason. */
static void test_rubbish(void **state)
{
	(void)state;
	const struct {
		struct cuda_memory m;
		const char *why;
	} cases[] = {
		{{0}, "was not measured"},
		{{NAN, NAN, NAN}, "rate"},
		{{h100.bytes_s, NAN, h100.latency_cycles}, "rate"},
		{{h100.bytes_s, h100.bytes_cycle, NAN}, "latency"},
		{{h100.bytes_s, h100.bytes_cycle, 0}, "latency"},
		{{0, h100.bytes_cycle, h100.latency_cycles}, "rate"},
		{{INFINITY, INFINITY, h100.latency_cycles}, "rate"},
		{{h100.bytes_s, h100.bytes_cycle, INFINITY}, "latency"},
		{{-h100.bytes_s, h100.bytes_cycle, h100.latency_cycles}, "rate"},
		{{h100.bytes_s * 9, h100.bytes_cycle, h100.latency_cycles}, "rate"}, /* out of the L2, say */
		{{h100.bytes_s, h100.bytes_cycle / 9, h100.latency_cycles}, "rate"},
		{{h100.bytes_s, h100.bytes_cycle, h100.latency_cycles / 9}, "latency"},
		{{h100.bytes_s, h100.bytes_cycle, 1e9}, "latency"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct persistent_limits got;
		const char *why = cuda_persistent_limits(&got, &cases[i].m);
		assert_non_null(why);
		assert_non_null(strstr(why, cases[i].why));
		assert_limits(&got, &tuned);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_h100),  cmocka_unit_test(test_faster),    cmocka_unit_test(test_noise),
		cmocka_unit_test(test_table), cmocka_unit_test(test_monotonic), cmocka_unit_test(test_rubbish),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
