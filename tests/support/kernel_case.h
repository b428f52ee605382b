/*
 * What the tests of the CUDA kernels share: how a test program runs. How far two devices may be apart is in
 * bench/tolerance.h.
 */
#ifndef GEMMARK_TESTS_SUPPORT_KERNEL_CASE_H
#define GEMMARK_TESTS_SUPPORT_KERNEL_CASE_H

#include <stdbool.h>
#include <stddef.h>

#include "bench/tolerance.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

/* One in three shapes is enough where each costs a hundred times as much: set by --few. */
extern bool kernel_case_few;
static inline bool left_out(size_t i)
{
	return kernel_case_few && i % 3 != 1;
}

struct CMUnitTest;
/*
 * main's body: each test in a process of its own, or the one that argv names, here; --few before it;
 * or --list.
 * Returns 77 without a GPU.
 */
int kernel_case_main(int argc, char **argv, const char *what, const struct CMUnitTest *tests, size_t n);

/* A pair with the kernels of all head dimensions and cache types. */
struct pair *kernel_case_open(void);
/* Fails the running test if a case was wrong. */
void kernel_case_close(struct pair *p);

#endif
