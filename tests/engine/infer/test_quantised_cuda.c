/*
 * Models in every quantised type and in the mixtures on a GPU: the host's logits in all fusions, and the same bits in
 * every mode. Exits with 77 where there is no GPU.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/cuda/device_cuda.h"
#include "tests/support/apart.h"
#include "tests/support/no_gpu.h"
#include "tests/support/quantised_case.h"
#include "tests/support/temp_file.h"

static const double TOLERANCE =
	1e-4; /* relative L2 of a row, float32 cache and prefill, as test_golden_cuda.c has it */

static double worst_row_of(const float *got, const float *want, int n_rows, int n)
{
	double worst = 0;
	for (int r = 0; r < n_rows; r++) {
		double off = 0, norm = 0;
		for (int i = r * n; i < (r + 1) * n; i++) {
			double d = (double)got[i] - (double)want[i];
			off += d * d;
			norm += (double)want[i] * (double)want[i];
		}
		double row = sqrt(off / norm);
		worst = row > worst || row != row ? row : worst;
	}
	return worst;
}

/* A token's kernel needs what cards have from compute capability 9.0 on. */
static int last_fusion(void)
{
	struct cuda_gpu gpu;
	assert_int_equal(device_cuda_gpu(&gpu, NULL), 0);
	return gpu.compute_capability >= 90 ? FUSION_PERSISTENT : FUSION_FULL;
}

static void check(const struct quantised_case *c)
{
	struct temp_file t = temp_file_make();
	struct quantised_name name = quantised_name(c);
	int n;
	quantised_make(c, t.path);
	float *host = quantised_logits(t.path, 0, FUSION_FULL, GRAPH_MODE_DIRECT, &n);
	for (int fusion = FUSION_NONE; fusion <= last_fusion(); fusion++) {
		float *direct = quantised_logits(t.path, -1, (enum fusion)fusion, GRAPH_MODE_DIRECT, &n);
		double worst = worst_row_of(direct, host, QUANTISED_ROWS, n);
		print_message("%-32s fusion %-10s worst row: %.2g of host\n", name.text,
			      fusion_name((enum fusion)fusion), worst);
		if (!(worst <= TOLERANCE))
			fail_msg("%s, fusion %s: worst row %.3g of host", name.text, fusion_name((enum fusion)fusion),
				 worst);
		for (int mode = 0; mode < GRAPH_MODE_COUNT; mode++) {
			float *got = quantised_logits(t.path, -1, (enum fusion)fusion, (enum graph_mode)mode, &n);
			if (memcmp(got, direct, (size_t)QUANTISED_ROWS * (size_t)n * sizeof *got))
				fail_msg("%s, fusion %s, %s: not the bits of direct", name.text,
					 fusion_name((enum fusion)fusion), graph_mode_name((enum graph_mode)mode));
			free(got);
		}
		free(direct);
	}
	free(host);
	temp_file_remove(&t);
}

/* Every CASES_APART-th case from one on: apart, since a card without a kept cubin compiles fusions for each. */
enum { CASES_APART = 4 };

static void test_cases(void **state)
{
	for (int i = *(const int *)*state; i < QUANTISED_CASES; i += CASES_APART)
		check(&quantised_cases[i]);
}

/* Prompts in float16, of experts on tensor cores: those of a model of the same values in float32. */
static void test_mixtures_prompts(void **state)
{
	(void)state;
	for (int i = 0; i < QUANTISED_CASES; i++) {
		if (!strstr(quantised_cases[i].arch, "a4b"))
			continue;
		struct temp_file t = temp_file_make(), float32 = temp_file_make();
		struct quantised_name name = quantised_name(&quantised_cases[i]);
		int n;
		quantised_make(&quantised_cases[i], t.path);
		quantised_to_float32(t.path, float32.path, NULL);
		float *got = quantised_prompt_logits(t.path, &n), *want = quantised_prompt_logits(float32.path, &n);
		double worst = worst_row_of(got, want, QUANTISED_PROMPT, n);
		print_message("%-32s prompt in float16, worst row: %.2g of the same values'\n", name.text, worst);
		if (!(worst <= TOLERANCE))
			fail_msg("%s: worst row of a prompt %.3g of the same values'", name.text, worst);
		free(got);
		free(want);
		temp_file_remove(&t);
		temp_file_remove(&float32);
	}
}

int main(int argc, char **argv)
{
	static int from[CASES_APART] = {0, 1, 2, 3};
	const struct CMUnitTest tests[] = {
		{"cases_from_0", test_cases, NULL, NULL, &from[0]},
		{"cases_from_1", test_cases, NULL, NULL, &from[1]},
		{"cases_from_2", test_cases, NULL, NULL, &from[2]},
		{"cases_from_3", test_cases, NULL, NULL, &from[3]},
		{"mixtures_prompts", test_mixtures_prompts, NULL, NULL, NULL},
	};
	const struct apart apart = {"quantised models on a GPU", tests, CASES_APART + 1, CASES_APART + 1, no_gpu};
	return apart_main(argc, argv, &apart, NULL);
}
