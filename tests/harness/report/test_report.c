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

#include "harness/record/calibration.h"
#include "harness/report/document_markdown.h"
#include "harness/report/report.h"
#include "tests/support/folder.h"
#include "tests/support/ok.h"
#include "tests/support/report_case.h"

enum { SIDES = 8 };

static char folder[FOLDER_BYTES];
static struct result_set sets[2 * SIDES];
static struct result_set *pointers[2 * SIDES];
static int n_sets;
static struct document document;
static char *markdown;

static int set_up(void **state)
{
	(void)state;
	n_sets = 0;
	document_init(&document);
	return folder_make(folder, "report");
}

static int tear_down(void **state)
{
	(void)state;
	free(markdown);
	markdown = NULL;
	document_free(&document);
	for (int i = 0; i < n_sets; i++)
		result_set_close(&sets[i]);
	return folder_remove(folder);
}

static struct result_set **add(const struct report_case *c, const char *name)
{
	char path[FOLDER_BYTES + 32];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	report_case_write(c, path);
	pointers[n_sets] = &sets[n_sets];
	OK(result_set_open(&sets[n_sets], path, e));
	return &pointers[n_sets++];
}

/* The document and its Markdown. comparison null: of one side. */
static void report(struct result_set **head, int n_head, struct result_set **base, int n_base,
		   const struct comparison *comparison)
{
	struct calibration none = {0};
	struct report_input in = {.head = head,
				  .n_head = n_head,
				  .base = base,
				  .n_base = n_base,
				  .comparison = comparison,
				  .calibration = &none};
	size_t n;
	OK(report_build(&document, &in, e));
	FILE *f = open_memstream(&markdown, &n);
	assert_non_null(f);
	OK(document_markdown(&document, DOCUMENT_MARKDOWN_MOST, f, e));
	assert_int_equal(fclose(f), 0);
}

static void expect_said(const char *text)
{
	if (!strstr(markdown, text))
		fail_msg("'%s' is not in:\n%.4000s", text, markdown);
}

static void expect_not_said(const char *text)
{
	if (strstr(markdown, text))
		fail_msg("'%s' is said", text);
}

/* The row of Markdown in which all of these stand; null-terminated. */
static void expect_row(const char *const *texts)
{
	for (const char *line = markdown; *line;) {
		size_t n = strcspn(line, "\n");
		char *row = strndup(line, n);
		int all = *row == '|';
		for (const char *const *t = texts; *t && all; t++)
			all = strstr(row, *t) != NULL;
		free(row);
		if (all)
			return;
		line += n + (line[n] == '\n');
	}
	fail_msg("no row has '%s', '%s'...", texts[0], texts[1]);
}
#define ROW(...) expect_row((const char *const[]){__VA_ARGS__, NULL})

static const char *const modes[] = {"direct", "graph-update", "graph-device", NULL};
static const char *const two_modes[] = {"direct", "graph-device", NULL};
static const char *const full[] = {"full", NULL};
static const int depths[] = {0, 64, 256};

static int is_mode(const struct run_row *row, const char *mode)
{
	return !strcmp(row->mode, mode);
}

/*
 * graph-device: 10 % faster at 0, 5 % at 64, 5 % slower at 256: of log(0.95) and log(1.05) the line between 2^6 and 2^8
 * is 0 at 2^7.0248, 130.2. graph-update: 20 % slower everywhere.
 */
static void crossing(void *ctx, struct run_row *row)
{
	(void)ctx;
	double change = row->n_depth == 0 ? 0.9 : row->n_depth == 64 ? 0.95 : 1.05;
	/* Every repetition is at another speed, all of it alike: pairs do not see that. */
	row->itl_median_us = (1000 + 10 * (double)row->repetition) * (is_mode(row, "graph-device")   ? change
								      : is_mode(row, "graph-update") ? 1.2
												     : 1);
	row->submit_median_us = is_mode(row, "direct") ? 500 : 20;
}

static void test_crossover(void **state)
{
	(void)state;
	const struct report_case c = {
		.modes = modes, .fusions = full, .depths = depths, .n_depths = 3, .repetitions = 4, .edit = crossing};
	report(add(&c, "sweep"), 1, NULL, 0, NULL);
	expect_said(DOCUMENT_MARKER
		    "\n### Gemmark: Made on host, commit abc1234\n\n**graph-update is slower in all 3 cells, "
		    "by 20.0 %; graph-device against direct launches: faster in 2 of 3, slower in 1 of 3 cells "
		    "(-10.0 % to +5.0 %).**\n");
	ROW("graph-device", "130, slower from there", "130 to 130");
	ROW("graph-update", "none within 0 to 256 (slower)", "beyond 256");
	ROW("tg8 &#64; d64", "graph-device", "1015", "964", "-5.0 %", "-5.0 to -5.0", "4");
	/* 500 us of host time and 20. */
	expect_said("<b>Host cost</b>: direct 500, graph-update 20, graph-device 20 us a token");
	expect_said("●");
	expect_said("sweep: 36 rows 20260101T000000Z-00000 to -00035, commit abc1234");
	/* Nothing of it was measured. */
	expect_not_said("SnapKV:");
	expect_not_said("<b>Telemetry");
	expect_not_said("<b>Prefill");
	expect_not_said("<b>Share of");
	expect_not_said("<b>Layers on");
	expect_not_said("<b>Environment");
	expect_not_said("are not ok");
	expect_not_said("<b>Tokens");
	expect_said("not calibrated here");
}

/* One of several processes is a unit: their medians are paired, in each the runs of a repetition. */
static void of_process(void *ctx, struct run_row *row)
{
	static const double change[] = {0.9, 0.94, 0.92};
	if (is_mode(row, "graph-device"))
		row->itl_median_us = 1000 * change[*(int *)ctx] * (row->repetition == 1 ? 1.5 : 1);
}

static void test_processes(void **state)
{
	(void)state;
	int process = 0;
	struct report_case c = {.modes = two_modes,
				.fusions = full,
				.depths = depths,
				.n_depths = 1,
				.repetitions = 3,
				.edit = of_process,
				.ctx = &process};
	struct result_set **head = add(&c, "a");
	process = 1;
	add(&c, "b");
	process = 2;
	add(&c, "c");
	report(head, 3, NULL, 0, NULL);
	ROW("graph-device", "-8.0 %", "-10.0 to -6.0", " 3 |");
	expect_said("3 directories, a to c: 18 rows 20260101T000000Z-00000 to -00005, commit abc1234");
	expect_not_said("One process");
	expect_not_said("processs");
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
	row->achieved_gb_s = 125;
	row->bandwidth_gb_s = 100;
	row->sm_clock_mhz = 1980;
	row->throttle_reasons = "sw_power_cap";
	row->telemetry_samples = 2;
}

static void test_sections(void **state)
{
	(void)state;
	const struct report_case c = {.modes = two_modes,
				      .fusions = full,
				      .depths = depths,
				      .n_depths = 2,
				      .repetitions = 2,
				      .tokens = 16,
				      .edit = with_snapkv,
				      .env = "{\"cpu\": {\"model\": \"C\", \"cores\": 2}, \"command_line\": "
					     "[\"bench\", \"-m\", \"/home/somebody/m.gguf\", \"-r\", \"2\"]}"};
	report(add(&c, "sweep"), 1, NULL, 0, NULL);
	expect_said("SnapKV, tokens/s at depth 64: full cache 1000, 1024 kept 2000.");
	ROW("| 64 | 1024,window=64,pool=7 | graph-device |", "3.50", "0.500", "87.5 %", "| 8 |");
	expect_said("<b>Share of the memory's bandwidth</b>: at most 125 % (");
	expect_said("more than the memory gives");
	expect_said("clock held back in 4 of 4 runs");
	ROW("SM clock, MHz", "1980", "| 4 |");
	/* 16 tokens around the median of the run, of the smallest and the largest depth. */
	ROW("| d64 | graph-device | SnapKV 1024,window=64,pool=7 | 492 | 500 |", "507", "| 16 |", "█",
	    "20260101T000000Z-00003");
	expect_said("<b>Environment</b>");
	ROW("| CPU | C |");
	/* Of a path its end. */
	expect_said("\ngemmark bench -m m.gguf -r 2\n");
	expect_not_said("somebody");
}

static void with_failures(void *ctx, struct run_row *row)
{
	(void)ctx;
	if (row->n_depth == 64 && is_mode(row, "graph-device")) {
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
	const struct report_case c = {.modes = two_modes,
				      .fusions = full,
				      .depths = depths,
				      .n_depths = 3,
				      .repetitions = 1,
				      .edit = with_failures};
	report(add(&c, "sweep"), 1, NULL, 0, NULL);
	expect_said("**1 of 6 cells gave wrong results; 2 of 6 cells were skipped. ");
	ROW("tg8 &#64; d64 graph-device", "wrong", "other bits at token 3");
	ROW("tg8 &#64; d256 direct", "skipped", "out of memory at a smaller depth");
}

/* Every table and chart that is shown names its rows and their commit, or the file that it is from. */
static void expect_sources(void)
{
	int tables = 0, charts = 0;
	for (int s = 0; s < document.n; s++) {
		for (int i = 0; i < document.sections[s]->n; i++) {
			const struct document_block *b = document.sections[s]->blocks[i];
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
					 source, document.sections[s]->title);
		}
	}
	assert_true(tables >= 8);
	assert_true(charts >= 4);
}

static void test_sources(void **state)
{
	(void)state;
	const struct report_case c = {.modes = modes,
				      .fusions = full,
				      .depths = depths,
				      .n_depths = 3,
				      .repetitions = 3,
				      .tokens = 8,
				      .edit = crossing,
				      .env = "{\"cpu\": {\"model\": \"C\"}}"};
	report(add(&c, "sweep"), 1, NULL, 0, NULL);
	expect_sources();
}

struct change {
	int head, process;
};

/* graph-device at 64 is 6 % slower in head and launches more; every process has a speed of its own. */
static void changed(void *ctx, struct run_row *row)
{
	const struct change *c = ctx;
	row->itl_median_us = 1000 * (1 + 0.001 * (c->process % 4));
	if (c->head && is_mode(row, "graph-device") && row->n_depth == 64) {
		row->itl_median_us *= 1.06;
		row->api_launches_per_token = 107;
	}
}

static void compare(int slower, struct comparison *c)
{
	struct change change;
	struct report_case of = {.modes = two_modes,
				 .fusions = full,
				 .depths = depths,
				 .n_depths = 3,
				 .repetitions = 1,
				 .edit = changed,
				 .ctx = &change};
	struct compare_options o;
	for (int i = 0; i < 2 * SIDES; i++) {
		char name[16];
		change = (struct change){.head = i >= SIDES && slower, .process = i};
		snprintf(name, sizeof name, "%s-%d", i < SIDES ? "base" : "head", i % SIDES);
		add(&of, name);
	}
	compare_options_default(&o);
	OK(compare_run(pointers, SIDES, pointers + SIDES, SIDES, &o, c, e));
	report(pointers + SIDES, SIDES, pointers, SIDES, c);
}

static void test_change(void **state)
{
	(void)state;
	struct comparison c;
	compare(1, &c);
	expect_said("**1 of 6 cells is slower (tg8 &#64; d64 graph-device full: +6.0 %)");
	expect_said("Common to all 6 cells: ");
	expect_said("**1 of 6 cells changed**\n\n| cell |");
	/* The changed one is alone in front of the fold. */
	const char *row = strstr(markdown, "| tg8 &#64; d64 graph-device | slower, launches more | +6.0 % |");
	const char *fold = strstr(markdown, "<details><summary>5 more</summary>");
	assert_non_null(row);
	assert_non_null(fold);
	assert_true(row < fold);
	ROW("driver calls a token", "tg8 &#64; d64 graph-device", "| 100 | 107 |");
	expect_sources();
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
	if (is_mode(row, "graph-device"))
		row->mode = text[1];
}

static void test_long_texts(void **state)
{
	(void)state;
	const struct report_case c = {.modes = two_modes,
				      .fusions = full,
				      .depths = depths,
				      .n_depths = 2,
				      .repetitions = 2,
				      .tokens = 4,
				      .edit = with_long_texts};
	report(add(&c, "sweep"), 1, NULL, 0, NULL);
	expect_said("\xc3\xa9...");
	expect_not_said("&#92;x"); /* half a character, escaped */
	expect_not_said("\\x");
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
					       .fusions = full,
					       .depths = depths,
					       .n_depths = 3,
					       .repetitions = SIDES,
					       .edit = of_one_mode};
		only_mode = mode[0];
		add(&of, mode[0]);
	}
	compare_options_default(&o);
	OK(compare_across("mode", &o.across, e));
	OK(compare_run(pointers, 1, pointers + 1, 1, &o, &c, e));
	report(pointers + 1, 1, pointers, 1, &c);
	expect_said("Not two commits, but mode: direct in base, graph-device in head.");
	ROW("| tg8 &#64; d64 | faster | -10.0 % |");
	expect_not_said("base:head"); /* of characters */
	expect_not_said("base:\xe2\x81\xa0head");
	int curves = 0;
	for (int i = 0; i < document.sections[1]->n; i++)
		if (document.sections[1]->blocks[i]->kind == DOCUMENT_CHART)
			curves += chart_points(&document.sections[1]->blocks[i]->chart);
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
		row->tokens_per_s = is_mode(row, "graph-device") ? 520 / 0.2 : 520 / 0.25;
		return;
	}
	row->n_gen = 0;
	row->n_prompt = is_mode(row, "direct") ? 512 : 256; /* prompts are direct */
	row->mode = "direct";
	row->prefill_us = 125000;
	row->prefill_tokens_per_s = 4096;
	row->prefill_tflop_s = 100;
	row->gemm_share = 0.5;
}

static void test_prompts(void **state)
{
	(void)state;
	const struct report_case c = {.modes = two_modes,
				      .fusions = full,
				      .depths = depths,
				      .n_depths = 3,
				      .repetitions = 3,
				      .edit = with_prompts};
	report(add(&c, "sweep"), 1, NULL, 0, NULL);
	expect_said("<b>Prefill</b>: up to 4096 tokens/s");
	ROW("| pp512 |", "125", "4096", "100", "50 %");
	ROW("| pp512+tg8 &#64; d64 graph-device |", "200", "2600", "-20.0 %");
	/* Modes, charts and crossovers are of tokens alone. */
	ROW("| graph-device | 1000 | +0.00 % | cannot tell in 1 of 1 |");
	expect_not_said("prompt tokens");
}

/* Two runs a side cannot be told apart, and that is said. */
static void test_too_few(void **state)
{
	(void)state;
	struct comparison c;
	struct compare_options o;
	const struct report_case of = {.modes = two_modes,
				       .fusions = full,
				       .depths = depths,
				       .n_depths = 3,
				       .repetitions = 2,
				       .edit = crossing};
	add(&of, "base");
	add(&of, "head");
	compare_options_default(&o);
	OK(compare_run(pointers, 1, pointers + 1, 1, &o, &c, e));
	report(pointers + 1, 1, pointers, 1, &c);
	/* 2 / 2^n below 1 % of 6 cells: 11 pairs. */
	expect_said("2 repetitions a side at most: too few to call any of 6 cells different, whatever they say; 11 "
		    "would do.");
	expect_said("One process a side");
	compare_free(&c);
}

static void test_all_is_well(void **state)
{
	(void)state;
	struct comparison c;
	compare(0, &c);
	expect_said("**6 of 6 cells are the same.**");
	expect_said("**No cell changed**");
	expect_said("Counts are equal to the last digit");
	compare_free(&c);
}

static void no_time(void *ctx, struct run_row *row)
{
	crossing(ctx, row);
	if (is_mode(row, "graph-device"))
		row->itl_median_us = 0;
}

/* Whose spread is no number: it is in no table of noise, and the other mode's is. */
static void test_no_time(void **state)
{
	(void)state;
	const struct report_case of = {.modes = two_modes,
				       .fusions = full,
				       .depths = depths,
				       .n_depths = 3,
				       .repetitions = 3,
				       .edit = no_time};
	add(&of, "head");
	report(pointers, 1, NULL, 0, NULL);
	expect_said("MAD of the median time per token");
	expect_said("from run to run direct");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_crossover, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_processes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_sections, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_not_ok, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_sources, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_change, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_long_texts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_across, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_prompts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_too_few, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_all_is_well, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_no_time, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
