/*
 * gemmark_bench_kernels: every kernel by itself, and what a device's calls cost, as Google Benchmark's benchmarks.
 *
 *   gemmark_bench_kernels [--benchmark_filter=REGEX] [--benchmark_out=FILE.json] [...]     its own options
 *
 *   cuda/KERNEL/MODEL/...  host/KERNEL/MODEL/...    kernels at the Gemma 4 family's shapes: kernel_bench.h
 *   cuda/CALL/...          host/CALL/...            launches, graphs, copies: device_bench.h
 *   matvec/... gemm/... attention/... bandwidth/... the host's kernels by instruction set and threads
 *
 * The results' "context" says what they were measured on: machine.h.
 *
 * Exit code 1 where anything computed what it should not; where nothing ran 2, and 77 without a GPU.
 */
#include <stdio.h>

#include "bench/device_bench.h"
#include "bench/host_kernels.h"
#include "bench/kernel_bench.h"
#include "bench/machine.h"
#include "bench/shim.h"
#include "engine/cuda/device_cuda.h"

enum { SKIPPED = 77 };

int main(int argc, char **argv)
{
	struct bench_machine machine;
	struct error err = {""};
	if (bench_options(argc, argv))
		return 2;
	bool cuda = !device_cuda_probe(&err);
	if (!cuda)
		fprintf(stderr, "SKIP: the benchmarks cuda/...: %s\n", err.text);
	bench_machine_say(cuda, &machine);
	host_kernels_register();
	device_bench_register(cuda);
	if (kernel_bench_register(cuda, &machine, &err)) {
		fprintf(stderr, "bench: %s\n", err.text);
		return 2;
	}
	int n = bench_run();
	int wrong = kernel_bench_close() + device_bench_close();
	if (wrong)
		fprintf(stderr, "bench: %d results were wrong\n", wrong);
	return wrong ? 1 : n ? 0 : cuda ? 2 : SKIPPED;
}
