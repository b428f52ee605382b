/* RoPE far from the beginning: the arithmetic of published code (engine/model/rope.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/far_case.h"

static void test_angles_are_float32(void **state)
{
	(void)state;
	far_case(0, 1e-5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_angles_are_float32),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
