/* Sides that differ in an axis on purpose, or by a default that has changed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "harness/report/compare.h"
#include "tests/support/compared.h"
#include "tests/support/ok.h"

/* One mode against another, as if they were commits; a side with two values is refused. */
static void test_across(void **state)
{
	(void)state;
	struct compare_options o = compared_options();
	struct compared_side base = compared_plain, head = compared_other(compared_plain);
	struct error err = {""};
	base.cells = head.cells = 1; /* direct, of 1000 us */
	head.first_mode = 1;         /* graph-params */
	assert_int_equal(compared_run(&base, &head, COMPARED_PROCESSES, &o, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "matrices differ"));
	assert_non_null(strstr(err.text, "; mode direct here, graph-params in head)"));
	compared_free();
	OK(compare_across("mode", &o.across, e));
	head.slower[0] = -0.04;
	OK(compared_run(&base, &head, COMPARED_PROCESSES, &o, e));
	assert_int_equal(compared.c.n, 1);
	assert_int_equal(compared.c.cells[0].outcome, COMPARE_FASTER);
	assert_string_equal(compared.c.cells[0].cell.mode, "base:head");
	assert_string_equal(compared.c.cells[0].base_row->mode, "direct");
	assert_string_equal(compared.c.cells[0].head_row->mode, "graph-params");
	compared_free();
	base.cells = head.cells = 2;
	head.first_mode = 0;
	assert_int_equal(compared_run(&base, &head, COMPARED_PROCESSES, &o, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "/base-0: has mode direct and graph-params, and compared across mode a side "
					 "has one; measure each into a directory of its own, as with gemmark bench "
					 "--mode direct --out DIR"));
	compared_free();
	/* A number of the program's own choice, whose default has changed. */
	o = compared_options();
	base.cells = head.cells = 1;
	head.ubatch = 2048;
	assert_int_equal(compared_run(&base, &head, COMPARED_PROCESSES, &o, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "; chunks of 512 here, 2048 in head)"));
	compared_free();
	OK(compare_across("n_ubatch", &o.across, e));
	OK(compared_run(&base, &head, COMPARED_PROCESSES, &o, e));
	assert_int_equal(compared.c.n, 1);
	assert_int_equal(compared.c.cells[0].head_row->n_ubatch, 2048);
	assert_true(cell_is_default(&compared.c.cells[0].cell, AXIS_UBATCH));
	compared_free();
	assert_int_equal(compare_across("n_depth", &o.across, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "'n_depth' is none of n_gpu_layers, "));
	assert_int_equal(compare_across("speed", &o.across, &err), ERROR_INPUT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_across, compared_set_up, compared_tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
