/* Reports of made-up sweeps whose findings are known: what they say, of which rows, and what they leave out. */
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
#include "tests/support/ok.h"
#include "tests/support/report_case.h"
#include "tests/support/report_said.h"

enum { SIDES = 8 };

/* One of several processes is a unit: their medians are paired, in each the runs of a repetition. */
static void of_process(void *ctx, struct run_row *row)
{
	static const double change[] = {0.9, 0.94, 0.92};
	if (report_said_is_mode(row, "graph-device"))
		row->itl_median_us = 1000 * change[*(int *)ctx] * (row->repetition == 1 ? 1.5 : 1);
}

static void test_processes(void **state)
{
	(void)state;
	int process = 0;
	struct report_case c = {.modes = report_said_two_modes,
				.fusions = report_said_full,
				.depths = report_said_depths,
				.n_depths = 1,
				.repetitions = 3,
				.edit = of_process,
				.ctx = &process};
	struct result_set **head = report_said_add(&c, "a");
	process = 1;
	report_said_add(&c, "b");
	process = 2;
	report_said_add(&c, "c");
	report_said_make(head, 3, NULL, 0, NULL);
	ROW("graph-device", "-8.0 %", "-10.0 to -6.0", " 3 |");
	report_said_expect("3 directories, a to c: 18 rows 20260101T000000Z-00000 to -00005, commit abc1234");
	report_said_expect_not("One process");
	report_said_expect_not("processs");
}

/* Directories of one name in several folders, as a script of processes makes them. */
static void test_one_name(void **state)
{
	(void)state;
	const struct report_case c = {.modes = report_said_two_modes,
				      .fusions = report_said_full,
				      .depths = report_said_depths,
				      .n_depths = 1,
				      .repetitions = 1};
	static const char *const outer[] = {"1", "2", "3"};
	struct result_set *head[3];
	for (int i = 0; i < 3; i++) {
		char inner[16];
		snprintf(inner, sizeof inner, "%s/base", outer[i]);
		report_said_add(&c, outer[i]);
		head[i] = *report_said_add(&c, inner);
	}
	report_said_make(head, 3, NULL, 0, NULL);
	report_said_expect("3 directories named base: 6 rows 20260101T000000Z-00000 to -00001, commit abc1234");
	/* And of one comparison there is no family. */
	report_said_expect("sign-flip test of its pairs of runs leaves chance");
	report_said_expect_not("all 1 ");
}

static void with_snapkv(void *ctx, struct run_row *row)
{
	(void)ctx;
	row->kv_bytes = 64 << 20;
	if (row->repetition)
		return;
	/* Of the first repetition another cell is made. */
	row->snapkv = "1024,window=64,pool=7";
	row->snapkv_budget = 1024;
	row->kv_bytes = 8 << 20;
	row->evict_us = 3500;
	row->kl_divergence = 0.5;
	row->top1_agreement = 0.875;
	row->quality_tokens = 8;
	row->itl_median_us = 500;
	row->bandwidth_share = 1.25;
	row->weight_bytes_per_token = 2400000;
	row->n_gpu_layers = 0;
	row->achieved_gb_s = 125;
	row->bandwidth_gb_s = 100;
	row->sm_clock_mhz = 1980;
	row->throttle_reasons = "sw_power_cap";
	row->telemetry_samples = 2;
}

static void test_sections(void **state)
{
	(void)state;
	const struct report_case c = {.modes = report_said_two_modes,
				      .fusions = report_said_full,
				      .depths = report_said_depths,
				      .n_depths = 2,
				      .repetitions = 2,
				      .tokens = 16,
				      .edit = with_snapkv,
				      .env = "{\"cpu\": {\"model\": \"C\", \"cores\": 2, \"caches\": [{\"bytes\": "
					     "1048576}, {\"bytes\": 33554432}]}, \"command_line\": "
					     "[\"bench\", \"@/home/somebody/quick.args\", \"-m\", "
					     "\"/home/somebody/my m.gguf\", \"--out=/home/somebody/it's\", \"-r\", "
					     "\"2\"]}"};
	report_said_make(report_said_add(&c, "sweep"), 1, NULL, 0, NULL);
	report_said_expect("SnapKV, tokens/s at depth 64: full cache 1000, 1024 kept 2000.");
	ROW("| 64 | 1024,window=64,pool=7 | graph-device |", "3.50", "0.500", "87.5 %", "| 8 |");
	report_said_expect("<b>Share of the memory's bandwidth</b>: at most 125 % (");
	report_said_expect(
		"- &#33; 4 cells: more than the memory gives; the model fits in the host's cache, so that this is "
		"no share of the memory's bandwidth: take a larger model to measure that.");
	ROW("| tg16 | graph-device |", "125.0 % !");
	report_said_expect("clock held back in 4 of 4 runs");
	ROW("SM clock, MHz", "1980", "| 4 |");
	/* 16 tokens around the median of the run, of the smallest and the largest depth. */
	ROW("| tg16 &#64; d64 | graph-device | SnapKV 1024,window=64,pool=7 | 16 | 492 | 500 |", "507", "█",
	    "| -00003 |");
	report_said_expect("<b>Environment</b>");
	ROW("| CPU | C |");
	/* Of a path its end. */
	report_said_expect("\ngemmark bench @quick.args -m 'my m.gguf' '--out=it'\\''s' -r 2\n");
	report_said_expect_not("somebody");
}

static void with_failures(void *ctx, struct run_row *row)
{
	(void)ctx;
	if (row->n_depth == 64 && report_said_is_mode(row, "graph-device")) {
		row->status = RUN_STATUS_WRONG;
		row->reason = "other bits at token 3";
	}
	if (row->n_depth == 256) {
		row->status = RUN_STATUS_SKIPPED;
		row->reason = "out of memory at a smaller depth";
		row->itl_median_us = NAN;
	}
}

static void test_not_ok(void **state)
{
	(void)state;
	const struct report_case c = {.modes = report_said_two_modes,
				      .fusions = report_said_full,
				      .depths = report_said_depths,
				      .n_depths = 3,
				      .repetitions = 1,
				      .edit = with_failures};
	report_said_make(report_said_add(&c, "sweep"), 1, NULL, 0, NULL);
	report_said_expect("**1 of 6 cells gave wrong results; 2 of 6 cells were skipped. ");
	ROW("tg8 &#64; d64 graph-device", "wrong", "other bits at token 3");
	ROW("tg8 &#64; d256 direct", "skipped", "out of memory at a smaller depth");
}

/* Every table and chart that is shown names its rows and their commit, or the file that it is from. */
static void expect_sources(void)
{
	int tables = 0, charts = 0;
	for (int s = 0; s < report_said_document.n; s++) {
		for (int i = 0; i < report_said_document.sections[s]->n; i++) {
			const struct document_block *b = report_said_document.sections[s]->blocks[i];
			const char *source = b->kind == DOCUMENT_TABLE ? b->table.source : b->chart.source;
			int shown = (b->kind == DOCUMENT_TABLE && b->table.n_rows) ||
				    (b->kind == DOCUMENT_CHART && chart_points(&b->chart));
			if (!shown || !b->formats)
				continue;
			tables += b->kind == DOCUMENT_TABLE;
			charts += b->kind == DOCUMENT_CHART;
			if (!(strstr(source, "commit abc1234") && strstr(source, "20260101T000000Z-000")) &&
			    !strstr(source, "env.json"))
				fail_msg("'%s': '%s' of section '%s'", b->table.title ? b->table.title : b->chart.title,
					 source, report_said_document.sections[s]->title);
		}
	}
	assert_true(tables >= 8);
	assert_true(charts >= 4);
}

static void test_sources(void **state)
{
	(void)state;
	const struct report_case c = {.modes = report_said_modes,
				      .fusions = report_said_full,
				      .depths = report_said_depths,
				      .n_depths = 3,
				      .repetitions = 3,
				      .tokens = 8,
				      .edit = report_said_crossing,
				      .env = "{\"cpu\": {\"model\": \"C\"}}"};
	report_said_make(report_said_add(&c, "sweep"), 1, NULL, 0, NULL);
	expect_sources();
}

struct change {
	int head, process;
	int silent; /* head's graph-device at 64 says nothing of its launches */
};

/* graph-device at 64 is 6 % slower in head and launches more; every process has a speed of its own. */
static void changed(void *ctx, struct run_row *row)
{
	const struct change *c = ctx;
	row->itl_median_us = 1000 * (1 + 0.001 * (c->process % 4));
	if (c->head && report_said_is_mode(row, "graph-device") && row->n_depth == 64) {
		row->itl_median_us *= 1.06;
		row->api_launches_per_token = c->silent ? NAN : 107;
	}
}

static void compare(int slower, int silent, struct comparison *c)
{
	struct change change;
	struct report_case of = {.modes = report_said_two_modes,
				 .fusions = report_said_full,
				 .depths = report_said_depths,
				 .n_depths = 3,
				 .repetitions = 1,
				 .edit = changed,
				 .ctx = &change};
	struct compare_options o;
	for (int i = 0; i < 2 * SIDES; i++) {
		char name[16];
		change = (struct change){.head = i >= SIDES && slower, .process = i, .silent = silent};
		snprintf(name, sizeof name, "%s-%d", i < SIDES ? "base" : "head", i % SIDES);
		report_said_add(&of, name);
	}
	compare_options_default(&o);
	OK(compare_run(report_said_sets, SIDES, report_said_sets + SIDES, SIDES, &o, c, e));
	report_said_make(report_said_sets + SIDES, SIDES, report_said_sets, SIDES, c);
}

static void test_change(void **state)
{
	(void)state;
	struct comparison c;
	compare(1, 0, &c);
	report_said_expect("**1 of 6 cells is slower (tg8 &#64; d64 graph-device full: +6.0 %)");
	report_said_expect("Common to all 6 cells: ");
	report_said_expect("**1 of 6 cells changed**\n\n| cell |");
	/* The changed one is alone in front of the fold. */
	const char *row =
		strstr(report_said_markdown, "| tg8 &#64; d64 graph-device | slower, launches more | +6.0 % |");
	const char *fold = strstr(report_said_markdown, "<details><summary>5 more</summary>");
	assert_non_null(row);
	assert_non_null(fold);
	assert_true(row < fold);
	ROW("driver calls a token", "tg8 &#64; d64 graph-device", "| 100 | 107 |");
	/* Of eight units an interval is what it is called. */
	report_said_expect("\n| cell | verdict | change | 95 % interval |");
	expect_sources();
	compare_free(&c);
}

/* What head does not say any more is a change, and is called what it is. */
static void test_change_unknown(void **state)
{
	(void)state;
	struct comparison c;
	compare(1, 1, &c);
	report_said_expect("| tg8 &#64; d64 graph-device | slower, differs in driver calls a token |");
	ROW("driver calls a token", "tg8 &#64; d64 graph-device", "| 100 | not known |");
	report_said_expect("counts and hashes that differ: 1;");
	compare_free(&c);
}

/* Two bytes a character. */
static void with_long_texts(void *ctx, struct run_row *row)
{
	static char text[2][1002];
	(void)ctx;
	for (int i = 0; i < 500; i++)
		memcpy(text[0] + 2 * i, "\xc3\xa9", 3);
	snprintf(text[1], sizeof text[1], "x%.1000s", text[0]);
	/* Limits are even numbers of bytes: those with one in front are cut inside. */
	row->model = row->commit = row->device = row->reason = text[1];
	row->fusion = row->n_depth ? text[0] : text[1];
	row->snapkv = text[1];
	if (report_said_is_mode(row, "graph-device"))
		row->mode = text[1];
}

static void test_long_texts(void **state)
{
	(void)state;
	const struct report_case c = {.modes = report_said_two_modes,
				      .fusions = report_said_full,
				      .depths = report_said_depths,
				      .n_depths = 2,
				      .repetitions = 2,
				      .tokens = 4,
				      .edit = with_long_texts};
	report_said_make(report_said_add(&c, "sweep"), 1, NULL, 0, NULL);
	report_said_expect("\xc3\xa9...");
	report_said_expect_not("&#92;x"); /* half a character, escaped */
	report_said_expect_not("\\x");
}

static const char *only_mode;

static void of_one_mode(void *ctx, struct run_row *row)
{
	(void)ctx;
	row->itl_median_us = !strcmp(only_mode, "direct") ? 1000 : row->n_depth == 64 ? 900 : 1000;
	row->itl_median_us += 0.5 * (double)row->repetition;
}

/* One mode against another as if they were commits: cells are told apart by the rest, and both are named once. */
static void test_across(void **state)
{
	(void)state;
	struct comparison c;
	struct compare_options o;
	for (int i = 0; i < 2; i++) {
		const char *mode[] = {i ? "graph-device" : "direct", NULL};
		const struct report_case of = {.modes = mode,
					       .fusions = report_said_full,
					       .depths = report_said_depths,
					       .n_depths = 3,
					       .repetitions = SIDES,
					       .edit = of_one_mode};
		only_mode = mode[0];
		report_said_add(&of, mode[0]);
	}
	compare_options_default(&o);
	OK(compare_across("mode", &o.across, e));
	OK(compare_run(report_said_sets, 1, report_said_sets + 1, 1, &o, &c, e));
	report_said_make(report_said_sets + 1, 1, report_said_sets, 1, &c);
	report_said_expect("The sides differ on purpose, in mode: direct in base, graph-device in head.");
	ROW("| tg8 &#64; d64 | faster | -10.0 % |");
	report_said_expect_not("base:head"); /* of characters */
	report_said_expect_not("base:\xe2\x81\xa0head");
	int curves = 0;
	for (int i = 0; i < report_said_document.sections[1]->n; i++)
		if (report_said_document.sections[1]->blocks[i]->kind == DOCUMENT_CHART)
			curves += chart_points(&report_said_document.sections[1]->blocks[i]->chart);
	assert_int_equal(curves, 3);
	compare_free(&c);
}

/* A prompt alone at depth 0, with tokens behind it at 64, nothing but tokens at 256. */
static void with_prompts(void *ctx, struct run_row *row)
{
	(void)ctx;
	if (row->n_depth == 256)
		return;
	row->n_prompt = 512;
	row->tokens_per_s = 520 / 0.25;
	if (row->n_depth == 64) {
		row->tokens_per_s = report_said_is_mode(row, "graph-device") ? 520 / 0.2 : 520 / 0.25;
		return;
	}
	row->n_gen = 0;
	row->n_prompt = report_said_is_mode(row, "direct") ? 512 : 256; /* prompts are direct */
	row->mode = "direct";
	row->prefill_us = 125000;
	row->ttft_us = 126000;
	row->api_launches_per_prompt = 777;
	row->kernels_per_prompt = 770;
	row->prefill_tokens_per_s = 4096;
	row->prefill_tflop_s = 100;
	row->gemm_share = 0.5;
}

static void test_prompts(void **state)
{
	(void)state;
	const struct report_case c = {.modes = report_said_two_modes,
				      .fusions = report_said_full,
				      .depths = report_said_depths,
				      .n_depths = 3,
				      .repetitions = 3,
				      .edit = with_prompts};
	report_said_make(report_said_add(&c, "sweep"), 1, NULL, 0, NULL);
	report_said_expect("<b>Prefill</b>: up to 4096 tokens/s");
	report_said_expect("Prompts alone: up to 4096 tokens/s; section Prefill has them.");
	ROW("| pp512 |", "125", "126", "4096", "100", "50 %", "777", "770");
	ROW("| pp512+tg8 &#64; d64 graph-device |", "200", "200 to 200", "2600", "-20.0 %", "-20.0 to -20.0",
	    "too few runs to tell: 3 pairs measured, 7 needed");
	/* Modes, charts and crossovers are of tokens alone. */
	ROW("| graph-device | +0.00 % | too few runs: 3 of 7 pairs | 1000 |");
	report_said_expect("<b>A prompt and the tokens behind it, in one time</b>: up to 2600 tokens/s");
	report_said_expect_not("prompt tokens");
}

static void prompts_alone(void *ctx, struct run_row *row)
{
	with_prompts(ctx, row);
	row->n_prompt = 512;
	row->energy_per_token_j = row->repetition ? 0 : 0.25;
}

/* Their table is the first screen, and no section has it again. */
static void test_prompts_alone(void **state)
{
	(void)state;
	static const char *const direct[] = {"direct", NULL};
	const struct report_case c = {.modes = direct,
				      .fusions = report_said_full,
				      .depths = report_said_depths,
				      .n_depths = 1,
				      .repetitions = 3,
				      .edit = prompts_alone};
	report_said_make(report_said_add(&c, "sweep"), 1, NULL, 0, NULL);
	const char *once = strstr(report_said_markdown, "**Prompts: medians over runs**");
	assert_non_null(once);
	assert_null(strstr(once + 1, "**Prompts: medians over runs**"));
	report_said_expect_not("section Prefill");
	report_said_expect_not("Times per token are medians");
	/* Two prompts of three were too short for the counter: no energy of theirs is told. */
	report_said_expect_not("energy, J a token |");
	ROW("| energy a token, J | 0.250 | 0.250 | 0.250 | 1 |");
}

/* Layers by repetition; each depth has its rate; what crosses is of the mixed placement alone. */
static void on_both(void *ctx, struct run_row *row)
{
	int device = report_said_is_mode(row, "graph-device");
	(void)ctx;
	row->n_gpu_layers = row->repetition ? 42 : 22;
	row->tokens_per_s = row->repetition ? 300 : (device ? 40 : 60) + (double)row->n_depth / 64;
	if (!row->repetition)
		row->crossing_bytes_per_token = 40960;
}

/* Rates of modes are not one range: that would hide which of them is faster. */
static void test_modes_on_both(void **state)
{
	(void)state;
	const struct report_case c = {.modes = report_said_two_modes,
				      .fusions = report_said_full,
				      .depths = report_said_depths,
				      .n_depths = 2,
				      .repetitions = 2,
				      .edit = on_both};
	report_said_make(report_said_add(&c, "sweep"), 1, NULL, 0, NULL);
	report_said_expect("Layers on GPU and host: on both devices direct 60 to 61, graph-device 40 to 41 tokens/s.");
}

/* Prompts whose chunks are replayed as graphs, a fifth faster. */
static void with_replayed_prompts(void *ctx, struct run_row *row)
{
	(void)ctx;
	int replayed = report_said_is_mode(row, "graph-device");
	row->n_gen = 0;
	row->n_prompt = 512;
	row->mode = "direct";
	row->prefill_mode = replayed ? "graph-device" : "direct";
	row->prefill_us = replayed ? 100000 : 125000;
	row->prefill_tokens_per_s = row->tokens_per_s = 512 / row->prefill_us * 1e6;
	row->api_launches_per_prompt = replayed ? 2 : 777;
}

static void test_replayed_prompts(void **state)
{
	(void)state;
	const struct report_case c = {.modes = report_said_two_modes,
				      .fusions = report_said_full,
				      .depths = report_said_depths,
				      .n_depths = 1,
				      .repetitions = 8,
				      .edit = with_replayed_prompts};
	report_said_make(report_said_add(&c, "sweep"), 1, NULL, 0, NULL);
	ROW("| pp512, prefill mode graph-device |", "100", "5120", "| 2 |", "-20.0 %", "-20.0 to -20.0", "faster");
	ROW("| pp512, prefill mode direct |", "125", "4096", "777");
	report_said_expect("Prompts: medians over runs; against direct: over pairs of runs");
}

/* Two runs a side cannot be told apart, and that is said. */
static void test_too_few(void **state)
{
	(void)state;
	struct comparison c;
	struct compare_options o;
	const struct report_case of = {.modes = report_said_two_modes,
				       .fusions = report_said_full,
				       .depths = report_said_depths,
				       .n_depths = 3,
				       .repetitions = 2,
				       .edit = report_said_crossing};
	report_said_add(&of, "base");
	report_said_add(&of, "head");
	compare_options_default(&o);
	OK(compare_run(report_said_sets, 1, report_said_sets + 1, 1, &o, &c, e));
	report_said_make(report_said_sets + 1, 1, report_said_sets, 1, &c);
	/* 2 / 2^n below 1 % of 6 cells: 11 pairs. */
	report_said_expect(
		"2 repetitions a side at most: too few to call any of 6 cells different, whatever they say; 11 "
		"would do.");
	report_said_expect("One process a side");
	report_said_expect("\n| cell | verdict | change | interval |");
	report_said_expect("95 % bootstrap interval (of 2 units a side it holds the true change less often)");
	compare_free(&c);
}

static void against_itself(const char *env_of_base, const char *expected)
{
	struct comparison c;
	struct compare_options o;
	struct report_case of = {.modes = report_said_two_modes,
				 .fusions = report_said_full,
				 .depths = report_said_depths,
				 .n_depths = 1,
				 .repetitions = 2,
				 .env = "{\"cpu\": {\"model\": \"C\"}}"};
	report_said_add(&of, "head");
	of.env = env_of_base;
	report_said_add(&of, "base");
	compare_options_default(&o);
	OK(compare_run(report_said_sets + 1, 1, report_said_sets, 1, &o, &c, e));
	report_said_make(report_said_sets, 1, report_said_sets + 1, 1, &c);
	report_said_expect(expected);
	compare_free(&c);
}

static void test_environment(void **state)
{
	(void)state;
	against_itself("{\"cpu\": {\"model\": \"C\"}}", "<b>Environment</b>: the sides were measured alike");
}

/* What a side does not say of its machine is not called alike. */
static void test_environment_unknown(void **state)
{
	(void)state;
	against_itself(NULL, "<b>Environment</b>: not known of both sides");
}

static void test_all_is_well(void **state)
{
	(void)state;
	struct comparison c;
	compare(0, 0, &c);
	report_said_expect("**All 6 cells are the same within 1 %.**");
	report_said_expect("**No change shown**");
	report_said_expect("Counts are equal to the last digit");
	compare_free(&c);
}

static void no_time(void *ctx, struct run_row *row)
{
	report_said_crossing(ctx, row);
	if (report_said_is_mode(row, "graph-device"))
		row->itl_median_us = 0;
}

/* Whose spread is no number: it is in no table of noise, and the other mode's is. */
static void test_no_time(void **state)
{
	(void)state;
	const struct report_case of = {.modes = report_said_two_modes,
				       .fusions = report_said_full,
				       .depths = report_said_depths,
				       .n_depths = 3,
				       .repetitions = 3,
				       .edit = no_time};
	report_said_make(report_said_add(&of, "head"), 1, NULL, 0, NULL);
	report_said_expect("MAD of the median time per token");
	report_said_expect("from run to run direct");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_processes, report_said_set_up, report_said_tear_down),
		cmocka_unit_test_setup_teardown(test_one_name, report_said_set_up, report_said_tear_down),
		cmocka_unit_test_setup_teardown(test_sections, report_said_set_up, report_said_tear_down),
		cmocka_unit_test_setup_teardown(test_not_ok, report_said_set_up, report_said_tear_down),
		cmocka_unit_test_setup_teardown(test_sources, report_said_set_up, report_said_tear_down),
		cmocka_unit_test_setup_teardown(test_change, report_said_set_up, report_said_tear_down),
		cmocka_unit_test_setup_teardown(test_change_unknown, report_said_set_up, report_said_tear_down),
		cmocka_unit_test_setup_teardown(test_long_texts, report_said_set_up, report_said_tear_down),
		cmocka_unit_test_setup_teardown(test_across, report_said_set_up, report_said_tear_down),
		cmocka_unit_test_setup_teardown(test_prompts, report_said_set_up, report_said_tear_down),
		cmocka_unit_test_setup_teardown(test_prompts_alone, report_said_set_up, report_said_tear_down),
		cmocka_unit_test_setup_teardown(test_modes_on_both, report_said_set_up, report_said_tear_down),
		cmocka_unit_test_setup_teardown(test_replayed_prompts, report_said_set_up, report_said_tear_down),
		cmocka_unit_test_setup_teardown(test_too_few, report_said_set_up, report_said_tear_down),
		cmocka_unit_test_setup_teardown(test_environment, report_said_set_up, report_said_tear_down),
		cmocka_unit_test_setup_teardown(test_environment_unknown, report_said_set_up, report_said_tear_down),
		cmocka_unit_test_setup_teardown(test_all_is_well, report_said_set_up, report_said_tear_down),
		cmocka_unit_test_setup_teardown(test_no_time, report_said_set_up, report_said_tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
