/* What fake_cuda.c, the made-up GPU, and fake_cuda_graph.c, its kernels and graphs, know of each other. */
#ifndef GEMMARK_TESTS_SUPPORT_FAKE_CUDA_H
#define GEMMARK_TESTS_SUPPORT_FAKE_CUDA_H

#include <stdbool.h>

#include "engine/cuda/cuda_driver.h"

enum { INVALID_CONTEXT = 201, NO_BINARY = 209, NOT_SUPPORTED = 801 };

struct cu_function {
	char name[64];
};

/* fake_MemAlloc for cuMemAlloc, and so on, of those that do something: each defined in either file. */
#define X(name, version, params) int fake_##name params;
CUDA_DRIVER_FUNCTIONS(X)
#undef X

/* Whether FAKE_CUDA says that it is, in this way. */
bool fake_broken(const char *how);
bool fake_no_context(void);

bool fake_capturing(void);
/* To the capture: the driver's code. */
int fake_capture_copy(void);
/* That kernels took so far, beside what they do. */
long long fake_passed_ns(void);
/* Lets the time pass that the memory takes for so many bytes. */
void fake_pass_bytes(double bytes);

#endif
