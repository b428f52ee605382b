/*
 * The kernel of a whole token on a GPU: 10,000 tokens in turn have their bits, in every mode; its time stamps are in
 * order, and change none; a card that can must run it. Its logits are test_golden_cuda.c's. Exits with 77 where there
 * is no GPU, or one from before compute capability 9.0.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "engine/cuda/device_cuda.h"
#include "tests/support/alternating.h"
#include "tests/support/apart.h"
#include "tests/support/no_gpu.h"
#include "tests/support/stamped.h"

enum { OLDEST_CC = 90, TOKENS = 10000, ALL = 9999 };

static void test_e4b(void **state)
{
	(void)state;
	alternating_check("gemma4-e4b-tiny.q8_0", ALL, FUSION_PERSISTENT, TOKENS);
}

static void test_other_fusions(void **state)
{
	(void)state;
	alternating_check("gemma4-e4b-tiny.q8_0", ALL, FUSION_NONE, TOKENS);
	alternating_check("gemma4-e4b-tiny.q8_0", ALL, FUSION_FULL, TOKENS);
}

static void test_other_models(void **state)
{
	(void)state;
	alternating_check("gemma4-e4b-tiny.bf16", ALL, FUSION_PERSISTENT, TOKENS / 10);
	alternating_check("gemma4-e2b-tiny.q8_0", ALL, FUSION_PERSISTENT, TOKENS / 10);
	alternating_check("gemma4-26b-a4b-tiny.q8_0", ALL, FUSION_PERSISTENT, TOKENS);
	alternating_check("gemma4-31b-tiny.q8_0", ALL, FUSION_PERSISTENT, TOKENS / 10);
	alternating_check("gemma3-tiny.q8_0", ALL, FUSION_PERSISTENT, TOKENS / 10);
	alternating_check("qwen3-tiny.q8_0", ALL, FUSION_PERSISTENT, TOKENS / 10);
}

static void test_stamps(void **state)
{
	(void)state;
	stamped_check("gemma4-e4b-tiny.q8_0", ALL, FUSION_PERSISTENT, GRAPH_MODE_DIRECT);
	stamped_check("gemma4-e4b-tiny.q8_0", ALL, FUSION_PERSISTENT, GRAPH_MODE_DEVICE);
	stamped_check("qwen3-tiny.q8_0", ALL, FUSION_PERSISTENT, GRAPH_MODE_DIRECT);
	stamped_check("gemma4-26b-a4b-tiny.q8_0", ALL, FUSION_PERSISTENT, GRAPH_MODE_DIRECT);
	static const enum fusion launched[] = {FUSION_NONE, FUSION_FULL};
	for (int i = 0; i < 2; i++) {
		stamped_check("gemma4-e4b-tiny.q8_0", ALL, launched[i], GRAPH_MODE_DIRECT);
		stamped_check("gemma4-26b-a4b-tiny.q8_0", ALL, launched[i], GRAPH_MODE_DEVICE);
		stamped_check("qwen3-tiny.q8_0", ALL, launched[i], GRAPH_MODE_DEVICE);
	}
}

static bool no_card(void)
{
	struct cuda_gpu gpu;
	if (no_gpu())
		return true;
	if (device_cuda_gpu(&gpu, NULL) || gpu.compute_capability >= OLDEST_CC)
		return false;
	printf("%s has compute capability %d.%d: no kernel of a whole token\n", gpu.name, gpu.compute_capability / 10,
	       gpu.compute_capability % 10);
	return true;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_e4b),
		cmocka_unit_test(test_other_fusions),
		cmocka_unit_test(test_other_models),
		cmocka_unit_test(test_stamps),
	};
	const struct apart apart = {"a token's kernel on a GPU", tests, sizeof tests / sizeof *tests, 1, no_card};
	return apart_main(argc, argv, &apart, NULL);
}
