#include "tests/support/kernel_case.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/support/apart.h"
#include "tests/support/no_gpu.h"

bool kernel_case_few;

struct pair *kernel_case_open(void)
{
	return pair_open(&(struct cuda_open_options){
		.dims = {.n_head_dims = 7, .head_dims = {32, 64, 96, 128, 192, 256, 512}, .k_type = -1, .v_type = -1},
		.prefill = PREFILL_F32,
		.pdl = true,
		.batch = 1,
		.n_in_max = 32,
	});
}

void kernel_case_close(struct pair *p)
{
	int wrong = pair_close(p);
	if (wrong)
		fail_msg("%d cases wrong", wrong);
}

static bool unavailable(void)
{
	if (no_gpu())
		return true;
	/* The buffers of one case are those of the next: no page faults for them. */
	mallopt(M_MMAP_MAX, 0);
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
	return false;
}

int kernel_case_main(int argc, char **argv, const char *what, const struct CMUnitTest *tests, size_t n)
{
	/* Several at a time: most of their time goes into the inputs and the host's kernels. */
	const struct apart apart = {what, tests, n, 4, unavailable};
	return apart_main(argc, argv, &apart, &kernel_case_few);
}
