/* The units of a comparison: which are pairs, how many there must be, and what one process a side can tell. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "harness/report/compare.h"
#include "tests/support/compared.h"
#include "tests/support/ok.h"

/* The cell that `status` is of. */
static const struct compare_cell *last_cell(void)
{
	for (int i = 0; i < compared.c.n; i++)
		if (!strcmp(compared.c.cells[i].cell.mode, "graph-device"))
			return &compared.c.cells[i];
	fail_msg("no cell of graph-device");
	return NULL;
}

/* Where a side lacks a unit its partner goes with it: the machine's drift is that of a pair, and of no other one. */
static void test_pairs_stay_pairs(void **state)
{
	(void)state;
	struct compare_options o = compared_options();
	struct compared_side base = compared_plain, head = compared_other(compared_plain);
	base.drift = head.drift = 0.05;
	base.status = head.status = RUN_STATUS_FAILED;
	base.status_process = 3;
	head.status_process = 8;
	OK(compared_run(&base, &head, COMPARED_PROCESSES, &o, e));
	const struct compare_cell *k = last_cell();
	const struct compare_value *v = &k->values[METRIC_TIME];
	assert_int_equal(k->ok_base, COMPARED_PROCESSES - 1);
	assert_int_equal(k->ok_head, COMPARED_PROCESSES - 1);
	assert_int_equal(v->n, COMPARED_PROCESSES - 2);
	assert_int_equal(v->m, COMPARED_PROCESSES - 2);
	assert_true(fabs(v->verdict.effect) < 0.005);
	assert_true(v->verdict.variability < 0.01);
	compared_free();
	/* Of runs of one process likewise. */
	base.status_process = head.status_process = 0;
	base.repetitions = head.repetitions = 12;
	base.drift = head.drift = 0;
	base.run_drift = head.run_drift = 0.05;
	base.status_repetition = 3;
	head.status_repetition = 8;
	OK(compared_run(&base, &head, 1, &o, e));
	v = &last_cell()->values[METRIC_TIME];
	assert_int_equal(v->n, 10);
	assert_true(fabs(v->verdict.effect) < 0.005);
	assert_true(v->verdict.variability < 0.01);
	compared_free();
}

/* The near end of the interval must be beyond what two processes differ by. */
static void test_one_process_doubts(void **state)
{
	(void)state;
	static const double effects[] = {0.055, -0.045};
	for (int i = 0; i < 2; i++) {
		struct compare_options o;
		struct compared_side base = compared_plain, head = compared_other(compared_plain);
		compare_options_default(&o);
		base.repetitions = head.repetitions = 30;
		base.noise = head.noise = 0.015;
		head.slower[0] = effects[i];
		OK(compared_run(&base, &head, 1, &o, e));
		const struct compare_cell *k = &compared.c.cells[0];
		const struct verdict *v = &k->values[METRIC_TIME].verdict;
		double near = i ? -v->high : v->low, far = i ? -v->low : v->high;
		assert_true(near > 0.01 && near < 0.05 && far > 0.05);
		assert_true(v->p_holm < o.verdict.alpha);
		assert_int_equal(k->outcome, COMPARE_UNCLEAR);
		compared_free();
		o.process = 0.01;
		OK(compared_run(&base, &head, 1, &o, e));
		assert_int_equal(compared.c.cells[0].outcome, i ? COMPARE_FASTER : COMPARE_SLOWER);
		compared_free();
	}
}

/* Two cells have nothing that can be called common. */
static void test_common_takes_three(void **state)
{
	(void)state;
	struct compare_options o = compared_options();
	struct compared_side base = compared_plain, head = compared_other(compared_plain);
	char text[COMPARE_SENTENCE_SIZE];
	base.cells = head.cells = 2;
	head.all = 0.03;
	OK(compared_run(&base, &head, COMPARED_PROCESSES, &o, e));
	assert_true(isnan(compared.c.common.effect));
	assert_true(isnan(compared.c.cells[0].relative.effect));
	assert_int_equal(compared.c.common_cells, 2);
	compare_common_sentence(&compared.c, text);
	assert_string_equal(text, "Common to all cells: not known; it takes 3 cells, and there are 2.");
	compared_free();
	base.cells = head.cells = 3;
	OK(compared_run(&base, &head, COMPARED_PROCESSES, &o, e));
	assert_true(fabs(compared.c.common.effect - 0.03) < 0.003);
	compared_free();
	/* And in each unit: the one in which a cell fails says nothing of it. */
	head.status = RUN_STATUS_FAILED;
	head.status_process = 5;
	OK(compared_run(&base, &head, COMPARED_PROCESSES, &o, e));
	assert_true(fabs(compared.c.common.effect - 0.03) < 0.003);
	assert_true(fabs(compared.c.common.p_least - ldexp(2, -(COMPARED_PROCESSES - 1))) < 1e-12);
	assert_true(fabs(compared.c.cells[0].relative.p_least - ldexp(2, -(COMPARED_PROCESSES - 1))) < 1e-12);
	compared_free();
}

/* What was wrong before, and is right now, is not held against head. */
static void test_wrong_in_base(void **state)
{
	(void)state;
	struct compare_options o = compared_options();
	struct compared_side base = compared_plain, head = compared_other(compared_plain);
	base.status = RUN_STATUS_WRONG;
	OK(compared_run(&base, &head, COMPARED_PROCESSES, &o, e));
	assert_int_equal(compared.c.count[COMPARE_WRONG], 0);
	assert_int_equal(last_cell()->outcome, COMPARE_GAINED);
	assert_int_equal(compare_exit_code(&compared.c), 0);
	compared_free();
	/* One of head's runs is enough. */
	head.status = RUN_STATUS_WRONG;
	head.status_process = COMPARED_PROCESSES;
	base.status = RUN_STATUS_OK;
	OK(compared_run(&base, &head, COMPARED_PROCESSES, &o, e));
	assert_int_equal(last_cell()->outcome, COMPARE_WRONG);
	assert_int_equal(compare_exit_code(&compared.c), 4);
	compared_free();
}

/* The same by its interval is not yet found if it were not: both stand in the sentence, with what each means. */
static void test_same_but_noisy(void **state)
{
	(void)state;
	struct compare_options o = compared_options();
	struct compared_side base = compared_plain, head = compared_other(compared_plain);
	char text[COMPARE_SENTENCE_SIZE], said[64];
	double most = 0;
	base.noise = head.noise = 0.008;
	OK(compared_run(&base, &head, COMPARED_PROCESSES, &o, e));
	assert_true(compared.c.count[COMPARE_SAME] > 0);
	for (int i = 0; i < compared.c.n; i++)
		if (compared.c.cells[i].outcome == COMPARE_SAME)
			most = fmax(most, compared.c.cells[i].values[METRIC_TIME].verdict.detectable);
	assert_true(most > 0.02);
	compare_sentence(&compared.c, text);
	snprintf(said, sizeof said, "so noisy that only a slow-down of %.1f %% is sure", 100 * most);
	assert_non_null(strstr(text, "the same within 1 % by the"));
	if (!strstr(text, said))
		fail_msg("%s: not '%s'", text, said);
	compared_free();
	/* Where it would be found nothing is to be said. */
	base.noise = head.noise = 0.002;
	OK(compared_run(&base, &head, COMPARED_PROCESSES, &o, e));
	compare_sentence(&compared.c, text);
	assert_string_equal(text, "All 4 cells are the same within 1 %.");
	compared_free();
}

/* What a unit varies by, whatever pairs share. */
static void test_variation(void **state)
{
	(void)state;
	struct compare_options o = compared_options();
	struct compared_side base = compared_plain, head = compared_other(compared_plain);
	base.drift = head.drift = 0.02;
	base.noise = head.noise = 0.01;
	OK(compared_run(&base, &head, COMPARED_PROCESSES, &o, e));
	assert_true(compare_variation(&compared.c) > 0.007 && compare_variation(&compared.c) < 0.013);
	compared_free();
	OK(compared_run(&base, &head, 1, &o, e));
	assert_true(isnan(compare_variation(&compared.c)));
	compared_free();
}

/* A model of another content is another one, whatever its name, unless it is said that the sides were not alike. */
static void test_model_contents(void **state)
{
	(void)state;
	struct compare_options o = compared_options();
	struct compared_side head = compared_other(compared_plain);
	struct error err = {""};
	head.content = 1;
	head.slower[0] = 0.05;
	assert_int_equal(compared_run(&compared_plain, &head, COMPARED_PROCESSES, &o, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "in base alone 4, in head alone 4"));
	compared_free();
	o.allow_env_diff = 1;
	OK(compared_run(&compared_plain, &head, COMPARED_PROCESSES, &o, e));
	assert_int_equal(compared.c.n, COMPARED_CELLS);
	for (int i = 0; i < COMPARED_CELLS; i++)
		assert_int_equal(compared.c.cells[i].values[METRIC_TIME].m, COMPARED_PROCESSES);
	assert_int_equal(compared.c.count[COMPARE_SLOWER], 1);
	compared_free();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_pairs_stay_pairs, compared_set_up, compared_tear_down),
		cmocka_unit_test_setup_teardown(test_one_process_doubts, compared_set_up, compared_tear_down),
		cmocka_unit_test_setup_teardown(test_common_takes_three, compared_set_up, compared_tear_down),
		cmocka_unit_test_setup_teardown(test_wrong_in_base, compared_set_up, compared_tear_down),
		cmocka_unit_test_setup_teardown(test_same_but_noisy, compared_set_up, compared_tear_down),
		cmocka_unit_test_setup_teardown(test_variation, compared_set_up, compared_tear_down),
		cmocka_unit_test_setup_teardown(test_model_contents, compared_set_up, compared_tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
