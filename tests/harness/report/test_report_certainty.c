/* Reports of made-up sweeps: how sure they are of what the runs say, and what they do not say. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/report/document_markdown.h"
#include "harness/report/report.h"
#include "tests/support/report_case.h"
#include "tests/support/report_said.h"

static void test_crossover(void **state)
{
	(void)state;
	const struct report_case c = {.modes = report_said_modes,
				      .fusions = report_said_full,
				      .depths = report_said_depths,
				      .n_depths = 3,
				      .repetitions = 8,
				      .edit = report_said_crossing};
	report_said_make(report_said_add(&c, "sweep"), 1, NULL, 0, NULL);
	report_said_expect(DOCUMENT_MARKER
			   "\n### Gemmark: Made on host, commit abc1234\n\n**graph-update is slower in all 3 cells, "
			   "by 20.0 %; graph-device against direct launches: 2 faster, 1 slower of 3 cells "
			   "(-10.0 to +5.0 %).**\n");
	report_said_expect("with Holm's correction over all 6 comparisons");
	report_said_expect("bar: 95 % interval.");
	ROW("| graph-device | -10.0 to +5.0 % | 2 faster, 1 slower |", "130 (130 to 130)");
	ROW("| graph-update | +20.0 % | all 3 slower |", "| none |");
	report_said_expect("1 of 2 curves change their sign");
	ROW("graph-device", "130, slower from there", "130 to 130");
	ROW("graph-update", "none within 0 to 256 (slower)", "beyond 256");
	ROW("tg8 &#64; d64", "graph-device", "1035", "983", "-5.0 %", "-5.0 to -5.0", "| 8 | faster |");
	/* 500 us of host time and 20. */
	report_said_expect("<b>Host cost</b>: direct 500, graph-update 20, graph-device 20 us a token");
	report_said_expect("●");
	report_said_expect("sweep: 72 rows 20260101T000000Z-00000 to -00071, commit abc1234");
	/* Nothing of it was measured. */
	report_said_expect_not("SnapKV:");
	report_said_expect_not("<b>Telemetry");
	report_said_expect_not("<b>Prefill");
	report_said_expect_not("<b>Share of");
	report_said_expect_not("<b>Layers on");
	report_said_expect_not("<b>Environment");
	report_said_expect_not("are not ok");
	report_said_expect_not("<b>Tokens");
	report_said_expect("not calibrated here");
}

/* What so few runs say is shown, and is no verdict, nor is their range an interval of 95 %. */
static void test_too_few_to_tell(void **state)
{
	(void)state;
	struct report_case c = {.modes = report_said_modes,
				.fusions = report_said_full,
				.depths = report_said_depths,
				.n_depths = 3,
				.repetitions = 4,
				.edit = report_said_crossing};
	report_said_make(report_said_add(&c, "sweep"), 1, NULL, 0, NULL);
	/* 2 / 2^n below 5 % of 6 cells: 8 pairs. */
	report_said_expect(
		"**Too few runs to tell: 4 pairs measured, 8 needed. Measured against direct launches: graph-update "
		"(+20.0 % in 3 cells), graph-device (-10.0 to +5.0 % in 3 cells).**");
	report_said_expect("bar: range of 4 pairs, which holds the true median 88 times in 100.");
	report_said_expect_not("bar: 95 %");
	ROW("| graph-device | -10.0 to +5.0 % | too few runs: 4 of 8 pairs |");
	ROW("| graph-device | too few runs to tell | 4 runs measured, 8 needed |");
	ROW("tg8 &#64; d64", "graph-device", "-5.0 to -5.0", "| 4 | too few runs |");
	report_said_expect_not("130");
	report_said_expect_not("change their sign");
}

/* Ten cells with one sign are a finding over all of them, where three pairs are none of a single one. */
static void ten_alike(void *ctx, struct run_row *row)
{
	const double *change = ctx;
	if (report_said_is_mode(row, "graph-device"))
		row->itl_median_us = 1000 * (1 + (row->n_depth == 9 ? change[1] : change[0]) +
					     0.0001 * (double)(row->n_depth + row->repetition));
}

static void test_together(void **state)
{
	(void)state;
	static const int many[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
	double change[] = {-0.05, -0.04};
	struct report_case c = {.modes = report_said_two_modes,
				.fusions = report_said_full,
				.depths = many,
				.n_depths = 10,
				.repetitions = 3,
				.edit = ten_alike,
				.ctx = change};
	report_said_make(report_said_add(&c, "sweep"), 1, NULL, 0, NULL);
	report_said_expect("**Too few runs to tell of a single cell: 3 pairs measured, 9 needed. Over its cells "
			   "together, each mode "
			   "against direct launches: graph-device is faster (-5.0 to -3.9 % in 10 cells).**");
}

/* Nine cells 5 % faster and one 60 % slower: as a whole nothing. */
static void test_together_unclear(void **state)
{
	(void)state;
	static const int many[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
	double change[] = {-0.05, 0.6};
	struct report_case c = {.modes = report_said_two_modes,
				.fusions = report_said_full,
				.depths = many,
				.n_depths = 10,
				.repetitions = 3,
				.edit = ten_alike,
				.ctx = change};
	report_said_make(report_said_add(&c, "sweep"), 1, NULL, 0, NULL);
	report_said_expect("Over its cells together, each mode against direct launches: graph-device cannot be told (");
}

/* Changes of cells by their depths 0, 1, ..., in every mode; behind the first `sound` the rates say the opposite. */
struct changes {
	const double *of;
	int sound;
};

static void by_depth(void *ctx, struct run_row *row)
{
	const struct changes *c = ctx;
	double repetition = 0.0001 * (double)row->repetition;
	if (report_said_is_mode(row, "direct")) {
		row->itl_median_us = 1000;
		row->tokens_per_s = 1000;
		return;
	}
	double change = c->of[row->n_depth];
	row->itl_median_us = 1000 * (1 + change + repetition);
	row->tokens_per_s = row->n_depth < c->sound ? 1e6 / row->itl_median_us : 1000 * (1 + change);
}

/* As many cells with three repetitions: too few of each, so modes are judged over them. */
static void make_together(const char *const *modes, int cells, const double *changes, int sound)
{
	static const int depths[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
	struct changes ctx = {changes, sound};
	const struct report_case c = {.modes = modes,
				      .fusions = report_said_full,
				      .depths = depths,
				      .n_depths = cells,
				      .repetitions = 3,
				      .edit = by_depth,
				      .ctx = &ctx};
	report_said_make(report_said_add(&c, "sweep"), 1, NULL, 0, NULL);
	report_said_expect("**Too few runs to tell");
}

static const double faster[] = {-0.05, -0.05, -0.05, -0.05, -0.05, -0.05, -0.05, -0.05, -0.05, -0.05};

/* Cells whose numbers contradict each other say nothing of their mode: of ten five are left, and it takes six. */
static void test_together_without_doubted(void **state)
{
	(void)state;
	make_together(report_said_two_modes, 10, faster, 5);
	report_said_expect("contradict each other");
	report_said_expect("Measured against direct launches: graph-device (");
	report_said_expect_not("is faster");
}

static void test_together_six_of_ten(void **state)
{
	(void)state;
	make_together(report_said_two_modes, 10, faster, 6);
	report_said_expect("Over its cells together, each mode against direct launches: graph-device is faster (");
}

/* Two modes are two chances: 2 / 2^7 and not 2 / 2^6 is below half of 5 %. */
static void test_together_of_two_modes(void **state)
{
	(void)state;
	make_together(report_said_modes, 7, faster, 7);
	report_said_expect("graph-update is faster (");
	report_said_expect("graph-device is faster (");
}

static void test_together_too_few_of_two(void **state)
{
	(void)state;
	make_together(report_said_modes, 6, faster, 6);
	report_said_expect("Measured against direct launches: graph-update (");
	report_said_expect_not("cannot be told");
}

/* The least change is the other way: 4 of 128 sums are as far from 0, 3.1 %, and 6.3 % by Holm over two modes. */
static void test_together_holm(void **state)
{
	(void)state;
	static const double changes[] = {-0.05, -0.05, -0.05, 0.01, -0.05, -0.05, -0.05};
	make_together(report_said_modes, 7, changes, 7);
	report_said_expect("graph-update cannot be told (");
	report_said_expect("graph-device cannot be told (");
}

static void test_together_one_mode(void **state)
{
	(void)state;
	static const double changes[] = {-0.05, -0.05, -0.05, 0.01, -0.05, -0.05, -0.05};
	make_together(report_said_two_modes, 7, changes, 7);
	report_said_expect("graph-device is faster (");
}

/* Of two depths nothing says where between them the sign changes. */
static void test_two_depths(void **state)
{
	(void)state;
	static const int ends[] = {64, 256};
	struct report_case c = {.modes = report_said_two_modes,
				.fusions = report_said_full,
				.depths = ends,
				.n_depths = 2,
				.repetitions = 8,
				.edit = report_said_crossing};
	report_said_make(report_said_add(&c, "sweep"), 1, NULL, 0, NULL);
	ROW("| graph-device | -5.0 to +5.0 % | 1 faster, 1 slower |");
	report_said_expect_not("Crossover: the depth");
	report_said_expect_not("| crossover |");
	report_said_expect_not("130");
}

/*
 * Equal modes, in which the repetitions of every cell differ by what noise does: signs of eight pairs, of which a few
 * agree, are of 21 cells no finding. Two of eight repetitions begin on the other side of 0.
 */
static void noise(void *ctx, struct run_row *row)
{
	const unsigned *signs = ctx;
	double size = 0.01 + 0.001 * (double)row->repetition;
	if (report_said_is_mode(row, "graph-device"))
		row->itl_median_us = 1000 * (1 + (signs[row->n_depth % 8] >> row->repetition & 1 ? size : -size));
}

static void test_chance(void **state)
{
	(void)state;
	static const int many[] = {0, 1, 2, 3, 4, 5, 6, 7};
	/* Of depth 3 all pairs agree, 2 times in 256 by chance: of 8 cells that is 6 times in 100. */
	static const unsigned signs[] = {0x01, 0x5a, 0xf1, 0xff, 0x3c, 0x0f, 0x33, 0xa5};
	const struct report_case c = {.modes = report_said_two_modes,
				      .fusions = report_said_full,
				      .depths = many,
				      .n_depths = 8,
				      .repetitions = 9,
				      .edit = noise,
				      .ctx = (void *)signs};
	report_said_make(report_said_add(&c, "sweep"), 1, NULL, 0, NULL);
	report_said_expect("**graph-device cannot be told from direct launches in any of 8 cells.**");
	ROW("| tg8 &#64; d3 | graph-device |", "| 9 | cannot tell |");
	/* The curve goes through 0, between cells of which nothing can be told. */
	ROW("| graph-device | cannot tell | the cells do not tell the signs |");
	report_said_expect("no crossover that can be told");
	report_said_expect_not("from there");
	report_said_expect("The instrument: not calibrated here");
}

/* Runs that are noisier than those that the instrument was looked at with say so; of repetitions 1 to 2 % apart. */
static void test_noisier_than_calibrated(void **state)
{
	(void)state;
	static const unsigned signs[] = {0x01, 0x5a, 0xf1, 0xff, 0x3c, 0x0f, 0x33, 0xa5};
	const struct report_case c = {.modes = report_said_two_modes + 1,
				      .fusions = report_said_full,
				      .depths = report_said_depths,
				      .n_depths = 3,
				      .repetitions = 9,
				      .edit = noise,
				      .ctx = (void *)signs};
	report_said_calibration = (struct calibration){
		.entries = 1, .sweeps = 20, .variation = 0.001, .variation_max = 0.01, .utc = "2026-05-31T10:00:00Z"};
	report_said_make(report_said_add(&c, "sweep"), 1, NULL, 0, NULL);
	report_said_expect("The instrument: calibrated here: 0 of 20 comparisons of equal things raised an alarm");
	/* +1 %, and -1.1 to -1.8 %: deviations from -1.18 % whose squares sum to 5.7e-4, over 8. */
	report_said_expect("; these runs are noisier: by 0.8");
}

/* Eight pairs say 10 % faster, and tokens/s beside them 20 % less: neither is a finding, and it is marked. */
static void contradictory(void *ctx, struct run_row *row)
{
	(void)ctx;
	int device = report_said_is_mode(row, "graph-device");
	row->itl_median_us = device ? 900 : 1000;
	row->tokens_per_s = device && row->n_depth == 64 ? 800 : 1e6 / row->itl_median_us;
}

static void test_doubted(void **state)
{
	(void)state;
	const struct report_case c = {.modes = report_said_two_modes,
				      .fusions = report_said_full,
				      .depths = report_said_depths,
				      .n_depths = 3,
				      .repetitions = 8,
				      .edit = contradictory};
	report_said_make(report_said_add(&c, "sweep"), 1, NULL, 0, NULL);
	report_said_expect("**graph-device against direct launches: 2 faster, 1 too noisy of 3 cells (-10.0 %).**");
	ROW("| tg8 &#64; d64 |", "| -10.0 % ! |", "| 8 | too noisy |");
	report_said_expect(
		"- &#33; tg8 &#64; d64 graph-device: faster than direct by the median over 8 pairs (-10.0 % of "
		"its time), by its tokens/s beside it, the medians over all runs, slower (-20.0 %): these "
		"contradict each other, and neither is to be trusted.");
	report_said_expect("d64 graph-device ! ");
}

static void mode_skipped(void *ctx, struct run_row *row)
{
	(void)ctx;
	if (!report_said_is_mode(row, "graph-device"))
		return;
	row->status = row->n_depth == 64 ? RUN_STATUS_FAILED : RUN_STATUS_SKIPPED;
	row->reason = "needs another device";
	row->itl_median_us = row->tokens_per_s = row->submit_median_us = row->api_launches_per_token = NAN;
}

/* A mode that has no value says why its row is empty, each reason once. */
static void test_mode_without_values(void **state)
{
	(void)state;
	const struct report_case c = {.modes = report_said_two_modes,
				      .fusions = report_said_full,
				      .depths = report_said_depths,
				      .n_depths = 3,
				      .repetitions = 2,
				      .edit = mode_skipped};
	report_said_make(report_said_add(&c, "sweep"), 1, NULL, 0, NULL);
	ROW("| graph-device |", "| skipped, failed |");
	report_said_expect_not("| direct | skipped");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_crossover, report_said_set_up, report_said_tear_down),
		cmocka_unit_test_setup_teardown(test_too_few_to_tell, report_said_set_up, report_said_tear_down),
		cmocka_unit_test_setup_teardown(test_together, report_said_set_up, report_said_tear_down),
		cmocka_unit_test_setup_teardown(test_together_unclear, report_said_set_up, report_said_tear_down),
		cmocka_unit_test_setup_teardown(test_together_without_doubted, report_said_set_up,
						report_said_tear_down),
		cmocka_unit_test_setup_teardown(test_together_six_of_ten, report_said_set_up, report_said_tear_down),
		cmocka_unit_test_setup_teardown(test_together_of_two_modes, report_said_set_up, report_said_tear_down),
		cmocka_unit_test_setup_teardown(test_together_too_few_of_two, report_said_set_up,
						report_said_tear_down),
		cmocka_unit_test_setup_teardown(test_together_holm, report_said_set_up, report_said_tear_down),
		cmocka_unit_test_setup_teardown(test_together_one_mode, report_said_set_up, report_said_tear_down),
		cmocka_unit_test_setup_teardown(test_two_depths, report_said_set_up, report_said_tear_down),
		cmocka_unit_test_setup_teardown(test_chance, report_said_set_up, report_said_tear_down),
		cmocka_unit_test_setup_teardown(test_noisier_than_calibrated, report_said_set_up,
						report_said_tear_down),
		cmocka_unit_test_setup_teardown(test_doubted, report_said_set_up, report_said_tear_down),
		cmocka_unit_test_setup_teardown(test_mode_without_values, report_said_set_up, report_said_tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
