/* Which kernels of a whole token env.json speaks of, and why there is none, of cards that are made up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/cli/persistent_plans.h"
#include "kernels/cuda/memory_geometry.h"
#include "tests/support/ok.h"

static const struct cuda_card h100 = {
	.n_sm = 132, .compute_capability = 90, .shared_per_sm = 228 << 10, .shared_per_block = 227 << 10};

static struct matrix matrix_of(int *layers, char **fusions)
{
	static char *models[] = {"golden/qwen3-tiny.q8_0.gguf", "golden/gemma4-26b-a4b-tiny.q8_0.gguf"};
	static char *k[] = {"f16", "q8_0"}, *v[] = {"f32", "bf16", "q8_0"};
	struct matrix m = {0};
	m.of[AXIS_MODEL] = (struct axis_values){.words = models, .n = 2};
	m.of[AXIS_TYPE_K] = (struct axis_values){.words = k, .n = 2};
	m.of[AXIS_TYPE_V] = (struct axis_values){.words = v, .n = 3};
	m.of[AXIS_GPU_LAYERS] = (struct axis_values){.ints = layers, .n = 2};
	m.of[AXIS_FUSION] = (struct axis_values){.words = fusions, .n = 2};
	return m;
}

static void test_plans(void **state)
{
	(void)state;
	int layers[] = {0, -1};
	char *fusions[] = {"full", "persistent"};
	struct matrix m = matrix_of(layers, fusions);
	struct persistent_plans p;
	OK(persistent_plans_make(&p, &m, &h100, false, e));
	assert_int_equal(p.n, 12);
	for (int i = 0; i < 12; i++) {
		assert_string_equal(p.of[i].model, m.of[AXIS_MODEL].words[i / 6]);
		assert_string_equal(p.of[i].type_k, m.of[AXIS_TYPE_K].words[i / 3 % 2]);
		assert_string_equal(p.of[i].type_v, m.of[AXIS_TYPE_V].words[i % 3]);
		assert_null(p.of[i].reason);
		assert_int_equal(p.of[i].blocks, 132);
		assert_int_equal(p.of[i].compute_warps, 10);
		/* A mixture is asked for no weights ahead. */
		assert_int_equal(p.of[i].ahead_phases, i < 6);
		assert_int_equal(p.of[i].first_bytes, 18 << 10);
		assert_true(p.of[i].stages >= 4 && p.of[i].stages * p.of[i].stage_bytes < p.of[i].shared_bytes);
	}
	persistent_plans_free(&p);
}

/* Whether its kernel is compiled for a ring that is short for a job's pieces: not on an H100, but with less shared
 * memory. */
static void test_far_waits(void **state)
{
	(void)state;
	int layers[] = {0, -1};
	char *fusions[] = {"full", "persistent"};
	struct matrix m = matrix_of(layers, fusions);
	struct cuda_card small = h100;
	small.shared_per_block = 163 << 10;
	struct persistent_plans p;
	for (int is_small = 0; is_small < 2; is_small++) {
		OK(persistent_plans_make(&p, &m, is_small ? &small : &h100, false, e));
		assert_null(p.of[0].reason);
		assert_int_equal(p.of[0].far_waits, is_small);
		persistent_plans_free(&p);
	}
}

/* As measured of the card's memory, or as tuned. */
static void test_limits(void **state)
{
	(void)state;
	int layers[] = {0, -1};
	char *fusions[] = {"full", "persistent"};
	struct matrix m = matrix_of(layers, fusions);
	struct cuda_card fast = h100;
	fast.memory = (struct cuda_memory){0.5 * MEMORY_TUNED_BYTES_S, 0.5 * MEMORY_TUNED_BYTES_CYCLE,
					   2 * MEMORY_TUNED_LATENCY_CYCLES};
	for (int measured = 0; measured < 2; measured++) {
		struct persistent_plans p;
		OK(persistent_plans_make(&p, &m, measured ? &fast : &h100, false, e));
		assert_string_equal(p.of[0].limits, measured ? "measured" : "constant");
		assert_true(p.of[0].in_flight == 1 && p.of[0].rate == (measured ? 0.5 : 1));
		assert_int_equal(p.of[0].wide_bytes, 56 << 10);
		assert_int_equal(p.of[0].ahead_cycles, measured ? 1360 : 680);
		persistent_plans_free(&p);
	}
}

static void test_reasons(void **state)
{
	(void)state;
	int layers[] = {0, -1};
	char *fusions[] = {"full", "persistent"};
	struct matrix m = matrix_of(layers, fusions);
	struct persistent_plans p;
	struct cuda_card old = h100;
	old.compute_capability = 80;
	OK(persistent_plans_make(&p, &m, &old, false, e));
	assert_int_equal(p.n, 12);
	assert_non_null(strstr(p.of[11].reason, "compute capability 9.0"));
	assert_int_equal(p.of[11].blocks, 0);
	persistent_plans_free(&p);
	OK(persistent_plans_make(&p, &m, &h100, true, e)); /* the head on the host */
	assert_non_null(strstr(p.of[0].reason, "the whole model on one device"));
	persistent_plans_free(&p);
}

static void test_none(void **state)
{
	(void)state;
	int on_host[] = {0, 0}, layers[] = {0, 4};
	char *fusions[] = {"full", "persistent"}, *others[] = {"none", "full"};
	struct matrix m[] = {matrix_of(on_host, fusions), matrix_of(layers, others)};
	struct persistent_plans p;
	for (int i = 0; i < 2; i++) {
		OK(persistent_plans_make(&p, &m[i], &h100, false, e));
		assert_int_equal(p.n, 0);
		persistent_plans_free(&p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plans),   cmocka_unit_test(test_far_waits), cmocka_unit_test(test_limits),
		cmocka_unit_test(test_reasons), cmocka_unit_test(test_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
