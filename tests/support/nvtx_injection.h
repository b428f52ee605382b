/*
 * A library that stands in for a profiler: NVTX loads it where NVTX_INJECTION64_PATH names it, and it
 * keeps the ranges that the process pushes.
 */
#ifndef GEMMARK_TESTS_SUPPORT_NVTX_INJECTION_H
#define GEMMARK_TESTS_SUPPORT_NVTX_INJECTION_H

#include <stdint.h>

struct nvtx_range {
	char domain[16];
	char name[24];
	int64_t payload;
	int depth; /* ranges open around it */
	int open;  /* 1: not popped yet */
};

/* The library's symbol nvtx_ranges: those since loading, in the order of their beginning, and how many. */
typedef const struct nvtx_range *nvtx_ranges_function(int *n);

#endif
