/*
 * Tests that each run in a process of their own: on a GPU a kernel that faults or hangs takes its
 * process's context with it, and the other tests must still say what they see.
 */
#ifndef GEMMARK_TESTS_SUPPORT_APART_H
#define GEMMARK_TESTS_SUPPORT_APART_H

#include <stdbool.h>
#include <stddef.h>

struct CMUnitTest;

struct apart {
	const char *what; /* for the last line: "kernels on the GPU" */
	const struct CMUnitTest *tests;
	size_t n;
	int jobs; /* tests at a time */
	/* Whether they cannot run here; prints why. Called in each test's own process. */
	bool (*unavailable)(void);
};

/*
 * main's body. argv: [--few] [NAME], or --list, which prints their names. Without a name it runs every test in a
 * process of its own and prints what each printed; with one, that test here. *few, where few is not null, is set before
 * a test runs. Returns the exit code: 77 where the tests cannot run.
 */
int apart_main(int argc, char **argv, const struct apart *a, bool *few);

#endif
