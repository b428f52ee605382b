/*
 * Models in every quantised type and in the mixtures: their logits are those of a model whose file holds the same
 * values in float32.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/infer/session.h"
#include "tests/support/ok.h"
#include "tests/support/quantised_case.h"
#include "tests/support/temp_file.h"

/* Relative to the logits' norm: float32 sums of the same products. */
static const double THRESHOLD = 2e-6;

static void compare(const char *what, const char *path, const char *float32, enum fusion fusion)
{
	int n, also;
	float *got = quantised_logits(path, 0, fusion, GRAPH_MODE_DIRECT, &n);
	float *want = quantised_logits(float32, 0, fusion, GRAPH_MODE_DIRECT, &also);
	double off = 0, norm = 0;
	assert_int_equal(n, also);
	for (int i = 0; i < QUANTISED_ROWS * n; i++) {
		double d = (double)got[i] - (double)want[i];
		off += d * d;
		norm += (double)want[i] * (double)want[i];
	}
	if (!(norm > 0 && sqrt(off) <= THRESHOLD * sqrt(norm)))
		fail_msg("%s: logits are off by %.2g of their norm", what, sqrt(off / norm));
	free(got);
	free(want);
}

static void test_logits_are_those_of_the_values(void **state)
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
		temp_file_remove(&quantised);
		temp_file_remove(&float32);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_logits_are_those_of_the_values),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
