/*
 * gemmark_bench_kernels: every kernel by itself, and what a device's calls cost, as Google Benchmark's benchmarks.
 *
 *   gemmark_bench_kernels [--benchmark_filter=REGEX] [--benchmark_out=FILE.json] [...]     its own options
 *
 *   cuda/KERNEL/MODEL/...  host/KERNEL/MODEL/...    kernels at the Gemma 4 family's shapes: kernel_bench.h
 *   cuda/CALL/...          host/CALL/...            launches, graphs, copies: device_bench.h
 *   matvec/... gemm/... attention/... bandwidth/... the host's kernels by instruction set and threads
 *
 * Exit code 1 where anything computed what it should not; where nothing ran 2, and 77 without a GPU.
 */
#include <stdio.h>
#include <string.h>

#include "bench/device_bench.h"
#include "bench/host_kernels.h"
#include "bench/kernel_bench.h"
#include "bench/shim.h"
#include "engine/cuda/device_cuda.h"
#include "engine/device/device_host.h"

enum { SKIPPED = 77 };

static void say_machine(bool cuda)
{
	struct cuda_gpu gpu;
	struct error err;
	char driver[16];
	bench_fact("host_isa", device_host_isa());
	if (!cuda || device_cuda_gpu(&gpu, &err))
		return;
	snprintf(driver, sizeof driver, "%d.%d", gpu.driver / 1000, gpu.driver % 1000 / 10);
	bench_fact("gpu", gpu.name);
	bench_fact("cuda_driver", driver);
}

int main(int argc, char **argv)
{
	struct error err = {""};
	bool cuda = !device_cuda_probe(&err);
	if (!cuda)
		fprintf(stderr, "SKIP: the benchmarks cuda/...: %s\n", err.text);
	say_machine(cuda);
	host_kernels_register();
	device_bench_register(cuda);
	if (kernel_bench_register(cuda, &err)) {
		fprintf(stderr, "bench: %s\n", err.text);
		return 2;
	}
	int n = bench_run(argc, argv);
	int wrong = kernel_bench_close() + device_bench_close();
	if (n < 0)
		return 2;
	if (wrong)
		fprintf(stderr, "bench: %d results were wrong\n", wrong);
	return wrong ? 1 : n ? 0 : cuda ? 2 : SKIPPED;
}
