/*
 * Snapshots on a GPU: what goes on from one has the bits of a prefill from the start, in every mode, with every cache
 * type, with layers on the host, evicted before and behind.
 *
 *   test_kv_snapshot_cuda                each test in a process of its own
 *   test_kv_snapshot_cuda NAME           one of them, here
 *
 * Exit code 77 without a GPU.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/support/apart.h"
#include "tests/support/golden.h"
#include "tests/support/no_gpu.h"
#include "tests/support/snapshot_case.h"

enum { ALL = 9999 }; /* layers: without a GPU an error, not the host */

static void goes_on(const char *name, int n, enum tensor_type k, enum tensor_type v, int step)
{
	struct golden g;
	char what[128];
	golden_load(&g, name);
	snprintf(what, sizeof what, "%s, %s/%s, %d layers on the GPU", name, tensor_type_name(k), tensor_type_name(v),
		 n);
	snapshot_goes_on(snapshot_on_gpu(g.path, n, k, v), what, step);
	golden_free(&g);
}

static void test_model(void **state)
{
	goes_on(golden_names[*(int *)*state], ALL, TENSOR_F16, TENSOR_F16, 1);
}

static void test_cache_types(void **state)
{
	(void)state;
	goes_on("gemma4-e2b-tiny.q8_0", ALL, TENSOR_F32, TENSOR_F32, SNAPSHOT_ARMS - 1);
	goes_on("gemma4-e2b-tiny.q8_0", ALL, TENSOR_BF16, TENSOR_BF16, SNAPSHOT_ARMS - 1);
	goes_on("gemma4-e2b-tiny.q8_0", ALL, TENSOR_F16, TENSOR_F32, SNAPSHOT_ARMS - 1);
	goes_on("gemma4-e2b-tiny.q8_0", ALL, TENSOR_Q8_0, TENSOR_Q8_0, 1);
	goes_on("gemma4-e2b-tiny.q8_0", ALL, TENSOR_Q8_0, TENSOR_F16, SNAPSHOT_ARMS - 1);
}

static void test_hybrid(void **state)
{
	(void)state;
	for (int n = 1; n < 12; n += 3)
		goes_on("gemma4-e4b-tiny.q8_0", n, TENSOR_F16, TENSOR_BF16, SNAPSHOT_ARMS - 1);
}

static void test_snapkv(void **state)
{
	(void)state;
	struct golden g;
	golden_load(&g, "gemma4-e4b-tiny.q8_0");
	snapshot_goes_on_evicted(snapshot_on_gpu(g.path, ALL, TENSOR_F16, TENSOR_F16));
	snapshot_goes_on_evicted(snapshot_on_gpu(g.path, 4, TENSOR_F16, TENSOR_F16));
	snapshot_goes_on_evicted(snapshot_on_gpu(g.path, 4, TENSOR_Q8_0, TENSOR_Q8_0));
	golden_free(&g);
}

#define MODEL(i)                                                      \
	{                                                             \
		"model_" #i, test_model, NULL, NULL, &golden_index[i] \
	}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		MODEL(0),
		MODEL(1),
		MODEL(2),
		MODEL(3),
		MODEL(4),
		MODEL(5),
		MODEL(6),
		MODEL(7),
		{"cache_types", test_cache_types, NULL, NULL, NULL},
		{"hybrid", test_hybrid, NULL, NULL, NULL},
		{"snapkv", test_snapkv, NULL, NULL, NULL},
	};
	const struct apart apart = {"snapshots on a GPU", tests, sizeof tests / sizeof *tests, 6, no_gpu};
	return apart_main(argc, argv, &apart, NULL);
}
