/* Prompt tests by mode of their chunks, on the scripted workload: what is measured, checked and recorded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/support/fake_sweep.h"

enum { DEPTH = 100, PROMPT = 20, PREFILL_US = 10, FETCH_US = 30 };

static struct fake_sweep x;

static int set_up(void **state)
{
	(void)state;
	fake_sweep_init(&x, 3);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	fake_sweep_free(&x);
	return 0;
}

static void sweep(const char *prefill_modes)
{
	assert_int_equal(matrix_add(&x.matrix, AXIS_PREFILL_MODE, prefill_modes, NULL), 0);
	fake_sweep_cells(&x, &(struct fake_axes){"direct", "full", "token", "100", 0, PROMPT});
	fake_sweep_run(&x, &x.fake.source);
}

static int is_direct(const struct kept_run *k)
{
	return cell_is_direct(&x.cells[k->row.cell]);
}

static void test_columns(void **state)
{
	(void)state;
	sweep("direct,graph-device");
	assert_int_equal(x.n_runs, 2 * 3);
	for (int i = 0; i < x.n_runs; i++) {
		const struct run_row *r = &x.runs[i].row;
		int direct = is_direct(&x.runs[i]), us = PROMPT * PREFILL_US / (direct ? 1 : 2);
		assert_string_equal(x.runs[i].status, "ok");
		assert_string_equal(r->mode, "direct");
		assert_string_equal(x.runs[i].hash, x.runs[0].hash);
		/* Behind a prompt that is not measured: no capture is in the time, or in the counts. */
		assert_true(r->prefill_us == us && r->ttft_us == us + FETCH_US);
		assert_true(r->api_launches_per_prompt == (direct ? 70 : 4));
		if (direct) {
			assert_true(r->captures == ROW_UNKNOWN && r->graph_nodes == ROW_UNKNOWN);
			assert_true(r->fallbacks == ROW_UNKNOWN);
			continue;
		}
		assert_true(r->captures == (r->repetition == 0) && r->fallbacks == 0);
		assert_true(r->repetition ? isnan(r->capture_us) : r->capture_us == 100);
		assert_true(r->graph_nodes == 70 && r->kernel_nodes == 60 && r->copy_nodes == 10 &&
			    r->positional_nodes == 9);
		assert_true(isnan(r->break_even_tokens) && r->launches_differ == (r->repetition ? 0 : ROW_UNKNOWN));
	}
	/* The depth, the reference, a prompt a direct run and two of the others. */
	assert_int_equal(x.fake.prefilled, DEPTH + PROMPT * (1 + 3 + 3 * 2));
}

/* The bits are those of the unit's direct prompt. */
static void test_wrong(void **state)
{
	(void)state;
	x.fake.wrong_mode = "graph-params";
	x.fake.wrong_pos = DEPTH + PROMPT - 1;
	sweep("graph-params,graph-device");
	assert_int_equal(fake_sweep_count(&x, NULL, "wrong"), 1);
	assert_int_equal(fake_sweep_count(&x, NULL, "ok"), 3);
	for (int i = 0; i < x.n_runs; i++)
		if (!strcmp(x.runs[i].status, "wrong")) {
			assert_string_equal(x.cells[x.runs[i].row.cell].prefill_mode, "graph-params");
			assert_non_null(strstr(x.runs[i].reason, "after the prompt"));
		}
}

static void test_fallbacks(void **state)
{
	(void)state;
	x.fake.fallback_mode = "graph-update";
	sweep("graph-update,graph-device");
	assert_int_equal(fake_sweep_count(&x, NULL, "ok"), 2 * 3);
	assert_int_equal(x.summary.with_fallbacks, 3);
	for (int i = 0; i < x.n_runs; i++) {
		int fell = !strcmp(x.cells[x.runs[i].row.cell].prefill_mode, "graph-update");
		assert_int_equal(x.runs[i].row.fallbacks, fell);
		assert_string_equal(x.runs[i].reason,
				    fell ? "1 of 2 chunks of the prompt were launched directly: instantiate said no"
					 : "");
	}
}

/* Where the placement cannot, the other cells are measured. */
static void test_unsupported(void **state)
{
	(void)state;
	x.fake.unsupported_mode = "graph-params";
	sweep("direct,graph-params,graph-device");
	assert_int_equal(fake_sweep_count(&x, NULL, "skipped"), 1);
	assert_int_equal(fake_sweep_count(&x, NULL, "ok"), 2 * 3);
	for (int i = 0; i < x.n_runs; i++)
		if (!strcmp(x.runs[i].status, "skipped"))
			assert_string_equal(x.runs[i].reason, "graph-params: not here");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_columns, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_wrong, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_fallbacks, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_unsupported, set_up, tear_down),
	};
	return cmocka_run_group_tests_name("prompts by mode", tests, NULL, NULL);
}
