/*
 * NVRTC compiles gemmark_replay_cost's kernels; only those of the patch need of the driver what it has since CUDA 12.4.
 * Skipped without NVRTC.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/replay_patch.h"

static struct nvrtc *n;

/* The bytes are the caller's. */
static char *compile(const struct nvrtc_source *unit, const char *arch, size_t *bytes)
{
	const char *options[] = {arch, "--std=c++17"};
	struct error err = {""};
	void *cubin = NULL;
	if (nvrtc_compile(n, unit, options, 2, &cubin, bytes, NULL, &err))
		fail_msg("%s, %s: %s", unit->name, arch, err.text);
	return cubin;
}

static bool names(const char *cubin, size_t bytes, const char *symbol)
{
	return memmem(cubin, bytes, symbol, strlen(symbol) + 1) != NULL;
}

static void test_all_compile(void **state)
{
	static const char *const archs[] = {"--gpu-architecture=sm_80", "--gpu-architecture=sm_90"};
	(void)state;
	for (size_t i = 0; i < sizeof archs / sizeof *archs; i++) {
		size_t bytes;
		char *cubin = compile(&replay_graph_source, archs[i], &bytes);
		assert_true(names(cubin, bytes, "node_small") && names(cubin, bytes, "node_large"));
		assert_true(names(cubin, bytes, "gate"));
		assert_false(names(cubin, bytes, "cudaGraphKernelNodeSetParam"));
		free(cubin);
		cubin = compile(&replay_patch_source, archs[i], &bytes);
		assert_true(names(cubin, bytes, "patch_param") && names(cubin, bytes, "patch_grid"));
		assert_true(names(cubin, bytes, "cudaGraphKernelNodeSetParam"));
		assert_true(names(cubin, bytes, "cudaGraphKernelNodeSetGridDim"));
		free(cubin);
	}
}

int main(void)
{
	struct error err = {""};
	if (nvrtc_open(&n, &err)) {
		printf("SKIP: %s\n", err.text);
		return 77;
	}
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_compile)};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	nvrtc_close(n);
	return failed;
}
