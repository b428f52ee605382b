/*
 * Models in every quantised type and in the mixtures: their logits are those of a model whose file holds the same
 * values in float32, on every instruction set that runs here, and graphs replay the bits of direct launches.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/infer/session.h"
#include "kernels/cpu/cpu.h"
#include "tests/support/ok.h"
#include "tests/support/quantised_case.h"
#include "tests/support/sanitized.h"
#include "tests/support/temp_file.h"

/* Relative to the logits' norm: float32 sums of the same products. */
static const double THRESHOLD = 2e-6;
/*
 * Of sums in digits, which no other instruction set has: relative to how far float32's sums in two orders are apart,
 * those of the portable path and of the widest.
 */
static const double ORDERS_THRESHOLD = 2;

static double distance(const float *got, const float *want, int n)
{
	double off = 0, norm = 0;
	for (int i = 0; i < n; i++) {
		double d = (double)got[i] - (double)want[i];
		off += d * d;
		norm += (double)want[i] * (double)want[i];
	}
	assert_true(norm > 0);
	return sqrt(off / norm);
}

static float *logits(const char *path, enum cpu_isa isa, enum fusion fusion, int *n)
{
	float *of;
	assert_int_equal(cpu_isa_force(isa), 0);
	of = quantised_logits(path, 0, fusion, GRAPH_MODE_DIRECT, n);
	*n *= QUANTISED_ROWS;
	return of;
}

static void compare(const char *what, const char *path, const char *float32, enum fusion fusion)
{
	float *want[CPU_ISA_COUNT] = {NULL};
	int n, also, widest = 0;
	for (int isa = 0; isa <= (int)cpu_isa_best(); isa++) {
		float *got = logits(path, (enum cpu_isa)isa, fusion, &n);
		double off, within = THRESHOLD;
		if (isa == CPU_ISA_AVX512VNNI) {
			within = ORDERS_THRESHOLD * distance(want[CPU_ISA_PORTABLE], want[widest], n);
		} else {
			widest = isa;
			want[isa] = logits(float32, (enum cpu_isa)isa, fusion, &also);
			assert_int_equal(n, also);
		}
		off = distance(got, want[widest], n);
		if (!(off <= within))
			fail_msg("%s, %s: logits are off by %.2g of their norm, not within %.2g", what,
				 cpu_isa_name((enum cpu_isa)isa), off, within);
		free(got);
	}
	for (int isa = 0; isa < CPU_ISA_COUNT; isa++)
		free(want[isa]);
	assert_int_equal(cpu_isa_force(cpu_isa_best()), 0);
}

/*
 * Modes that replay a token at a time; those that go on by themselves are test_generate.c's. Sanitized: one of them in
 * one fusion, since they differ in what replays, not in what it launches.
 */
static void compare_modes(const char *what, const char *path)
{
	const int first = SANITIZED ? GRAPH_MODE_DEVICE : GRAPH_MODE_PARAMS;
	const int last = SANITIZED ? GRAPH_MODE_DEVICE : GRAPH_MODE_PATCH;
	for (int fusion = FUSION_FULL; fusion <= (SANITIZED ? FUSION_FULL : FUSION_PERSISTENT); fusion++) {
		int n, also;
		float *direct = quantised_logits(path, 0, (enum fusion)fusion, GRAPH_MODE_DIRECT, &n);
		for (int mode = first; mode <= last; mode++) {
			float *got = quantised_logits(path, 0, (enum fusion)fusion, (enum graph_mode)mode, &also);
			assert_int_equal(n, also);
			if (memcmp(got, direct, (size_t)QUANTISED_ROWS * (size_t)n * sizeof *got))
				fail_msg("%s, fusion %s, %s: not the bits of direct", what,
					 fusion_name((enum fusion)fusion), graph_mode_name((enum graph_mode)mode));
			free(got);
		}
		free(direct);
	}
}

static void test_cases(void **state)
{
	(void)state;
	for (int i = 0; i < QUANTISED_CASES; i++) {
		struct temp_file quantised = temp_file_make(), float32 = temp_file_make();
		struct quantised_name name = quantised_name(&quantised_cases[i]);
		quantised_make(&quantised_cases[i], quantised.path);
		quantised_to_float32(quantised.path, float32.path, NULL);
		compare(name.text, quantised.path, float32.path, FUSION_FULL);
		compare(name.text, quantised.path, float32.path, FUSION_NONE);
		compare(name.text, quantised.path, float32.path, FUSION_PERSISTENT);
		compare_modes(name.text, quantised.path);
		temp_file_remove(&quantised);
		temp_file_remove(&float32);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
