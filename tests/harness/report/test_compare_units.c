/* The units of a comparison: which are pairs, how many there must be, and what one process a side can tell. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "harness/report/compare.h"
#include "tests/support/compared.h"
#include "tests/support/ok.h"

/* The cell that `status` is of. */
static const struct compare_cell *last_cell(void)
{
	for (int i = 0; i < pair.c.n; i++)
		if (!strcmp(pair.c.cells[i].cell.mode, "graph-device"))
			return &pair.c.cells[i];
	fail_msg("no cell of graph-device");
	return NULL;
}

/* Where a side lacks a unit its partner goes with it: the machine's drift is that of a pair, and of no other one. */
static void test_pairs_stay_pairs(void **state)
{
	(void)state;
	struct compare_options o = paired();
	struct made base = plain, head = other(plain);
	base.drift = head.drift = 0.05;
	base.status = head.status = RUN_STATUS_FAILED;
	base.status_process = 3;
	head.status_process = 8;
	OK(compare(&base, &head, PROCESSES, &o, e));
	const struct compare_cell *k = last_cell();
	const struct compare_value *v = &k->values[METRIC_TIME];
	assert_int_equal(k->ok_base, PROCESSES - 1);
	assert_int_equal(k->ok_head, PROCESSES - 1);
	assert_int_equal(v->n, PROCESSES - 2);
	assert_int_equal(v->m, PROCESSES - 2);
	assert_true(fabs(v->verdict.effect) < 0.005);
	assert_true(v->verdict.variability < 0.01);
	done();
	/* Of runs of one process likewise. */
	base.status_process = head.status_process = 0;
	base.repetitions = head.repetitions = 12;
	base.drift = head.drift = 0;
	base.run_drift = head.run_drift = 0.05;
	base.status_repetition = 3;
	head.status_repetition = 8;
	OK(compare(&base, &head, 1, &o, e));
	v = &last_cell()->values[METRIC_TIME];
	assert_int_equal(v->n, 10);
	assert_true(fabs(v->verdict.effect) < 0.005);
	assert_true(v->verdict.variability < 0.01);
	done();
}

/* The near end of the interval must be beyond what two processes differ by. */
static void test_one_process_doubts(void **state)
{
	(void)state;
	static const double effects[] = {0.055, -0.045};
	for (int i = 0; i < 2; i++) {
		struct compare_options o;
		struct made base = plain, head = other(plain);
		compare_options_default(&o);
		base.repetitions = head.repetitions = 30;
		base.noise = head.noise = 0.015;
		head.slower[0] = effects[i];
		OK(compare(&base, &head, 1, &o, e));
		const struct compare_cell *k = &pair.c.cells[0];
		const struct verdict *v = &k->values[METRIC_TIME].verdict;
		double near = i ? -v->high : v->low, far = i ? -v->low : v->high;
		assert_true(near > 0.01 && near < 0.05 && far > 0.05);
		assert_true(v->p_holm < o.verdict.alpha);
		assert_int_equal(k->outcome, COMPARE_UNCLEAR);
		done();
		o.process = 0.01;
		OK(compare(&base, &head, 1, &o, e));
		assert_int_equal(pair.c.cells[0].outcome, i ? COMPARE_FASTER : COMPARE_SLOWER);
		done();
	}
}

/* Two cells have nothing that can be called common. */
static void test_common_takes_three(void **state)
{
	(void)state;
	struct compare_options o = paired();
	struct made base = plain, head = other(plain);
	char text[COMPARE_SENTENCE_SIZE];
	base.cells = head.cells = 2;
	head.all = 0.03;
	OK(compare(&base, &head, PROCESSES, &o, e));
	assert_true(isnan(pair.c.common.effect));
	assert_true(isnan(pair.c.cells[0].relative.effect));
	assert_int_equal(pair.c.common_cells, 2);
	compare_common_sentence(&pair.c, text);
	assert_string_equal(text, "Common to all cells: not known; it takes 3 cells, and there are 2.");
	done();
	base.cells = head.cells = 3;
	OK(compare(&base, &head, PROCESSES, &o, e));
	assert_true(fabs(pair.c.common.effect - 0.03) < 0.003);
	done();
	/* And in each unit: the one in which a cell fails says nothing of it. */
	head.status = RUN_STATUS_FAILED;
	head.status_process = 5;
	OK(compare(&base, &head, PROCESSES, &o, e));
	assert_true(fabs(pair.c.common.effect - 0.03) < 0.003);
	assert_true(fabs(pair.c.common.p_least - ldexp(2, -(PROCESSES - 1))) < 1e-12);
	assert_true(fabs(pair.c.cells[0].relative.p_least - ldexp(2, -(PROCESSES - 1))) < 1e-12);
	done();
}

/* What was wrong before, and is right now, is not held against head. */
static void test_wrong_in_base(void **state)
{
	(void)state;
	struct compare_options o = paired();
	struct made base = plain, head = other(plain);
	base.status = RUN_STATUS_WRONG;
	OK(compare(&base, &head, PROCESSES, &o, e));
	assert_int_equal(pair.c.count[COMPARE_WRONG], 0);
	assert_int_equal(last_cell()->outcome, COMPARE_GAINED);
	assert_int_equal(compare_exit_code(&pair.c), 0);
	done();
	/* One of head's runs is enough. */
	head.status = RUN_STATUS_WRONG;
	head.status_process = PROCESSES;
	base.status = RUN_STATUS_OK;
	OK(compare(&base, &head, PROCESSES, &o, e));
	assert_int_equal(last_cell()->outcome, COMPARE_WRONG);
	assert_int_equal(compare_exit_code(&pair.c), 4);
	done();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_pairs_stay_pairs, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_one_process_doubts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_common_takes_three, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_wrong_in_base, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
