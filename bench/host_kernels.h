/* Benchmarks of kernels/cpu by instruction set and number of threads. */
#ifndef GEMMARK_BENCH_HOST_KERNELS_H
#define GEMMARK_BENCH_HOST_KERNELS_H

void host_kernels_register(void);

#endif
