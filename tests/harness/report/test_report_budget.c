/*
 * A report of a large sweep: it fits GitHub's limit, says what it leaves out, and does the costly things once each.
 * Work is counted by stand-ins for what takes the time, not by a clock.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness/plot/gnuplot.h"
#include "harness/record/calibration.h"
#include "harness/report/crossover.h"
#include "harness/report/document_html.h"
#include "harness/report/document_markdown.h"
#include "harness/report/report.h"
#include "harness/stats/stats_estimate.h"
#include "tests/support/folder.h"
#include "tests/support/ok.h"
#include "tests/support/report_case.h"

enum { DEPTHS = 25, FUSIONS = 6, MODES = 4, CELLS = DEPTHS * FUSIONS * MODES, REPETITIONS = 6 };

static char folder[FOLDER_BYTES], path[FOLDER_BYTES + 8];
static struct result_set set;
static int bootstraps, crossovers, gnuplots;

/* The build puts these in the place of the real ones, see tests/CMakeLists.txt. */
int __wrap_stats_bootstrap_median(const double *d, int n, double level, uint64_t seed, struct stats_interval *out);
int __wrap_crossover_find(const int *depths, int n_depths, const double *effects, int n_units, double level,
			  uint64_t seed, struct crossover *out);
int __wrap_gnuplot_run(const char *program, const struct run_directory *dir, const char *script, const char *format,
		       int output, int timeout_s, struct error *err);

int __wrap_stats_bootstrap_median(const double *d, int n, double level, uint64_t seed, struct stats_interval *out)
{
	(void)level, (void)seed;
	*out = (struct stats_interval){INFINITY, -INFINITY};
	for (int i = 0; i < n; i++)
		*out = (struct stats_interval){fmin(out->low, d[i]), fmax(out->high, d[i])};
	bootstraps++;
	return 0;
}

int __wrap_crossover_find(const int *depths, int n_depths, const double *effects, int n_units, double level,
			  uint64_t seed, struct crossover *out)
{
	(void)depths, (void)n_depths, (void)effects, (void)level, (void)seed;
	*out = (struct crossover){.left = -1, .depth = NAN, .low = INFINITY, .high = INFINITY, .units = n_units};
	crossovers++;
	return 0;
}

int __wrap_gnuplot_run(const char *program, const struct run_directory *dir, const char *script, const char *format,
		       int output, int timeout_s, struct error *err)
{
	static const char picture[] = "<svg><g><path d='M1,1'/></g></svg>";
	(void)program, (void)dir, (void)script, (void)format, (void)timeout_s, (void)err;
	assert_int_equal(write(output, picture, sizeof picture - 1), sizeof picture - 1);
	gnuplots++;
	return 0;
}

/* Depths from 0 by powers of two, then by steps; 600 cells in all. */
static void edit(void *ctx, struct run_row *row)
{
	(void)ctx;
	double mode = !strcmp(row->mode, "direct") ? 1 : !strcmp(row->mode, "graph-update") ? 1.1 : 0.95;
	row->itl_median_us = (1000 + 0.01 * (double)row->n_depth) * mode * (1 + 0.001 * (double)(row->order % 7));
	row->itl_p90_us = row->itl_median_us * 1.02;
	row->bandwidth_share = 0.5;
	row->reason = row->order % 50 ? "" : "a remark that is as long as remarks are, of which a sweep may have many";
	row->sm_clock_mhz = 1980;
}

static int set_up(void **state)
{
	(void)state;
	static const char *const modes[] = {"direct", "graph-params", "graph-update", "graph-device", NULL};
	static const char *const fusions[] = {"none", "full", "a", "b", "c", "d", NULL};
	static int depths[DEPTHS];
	for (int i = 0; i < DEPTHS; i++)
		depths[i] = i < 2 ? 16 * i : i < 14 ? 16 << (i - 1) : 100000 + 10000 * i;
	struct report_case c = {.modes = modes,
				.fusions = fusions,
				.depths = depths,
				.n_depths = DEPTHS,
				.repetitions = REPETITIONS,
				.tokens = 2,
				.edit = edit,
				.env = "{\"cpu\": {\"model\": \"C\"}}"};
	int rc = folder_make(folder, "report-budget");
	snprintf(path, sizeof path, "%s/run", folder);
	assert_int_equal(report_case_write(&c, path), CELLS * REPETITIONS);
	return rc;
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(folder);
}

static void build(struct document *d)
{
	struct result_set *sets[] = {&set};
	struct calibration none = {0};
	struct report_input in = {.head = sets, .n_head = 1, .calibration = &none};
	document_init(d);
	OK(result_set_open(&set, path, e));
	bootstraps = crossovers = 0;
	OK(report_build(d, &in, e));
}

/* The caller frees. */
static char *markdown(const struct document *d, size_t most)
{
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);
	assert_non_null(f);
	OK(document_markdown(d, most, f, e));
	assert_int_equal(fclose(f), 0);
	assert_int_equal(strlen(text), n);
	return text;
}

static int count(const char *text, const char *what)
{
	int n = 0;
	for (const char *at = text; (at = strstr(at, what)); at += strlen(what))
		n++;
	return n;
}

/* Rows that are said to be left out of tables, and those that are there, by the table's title. */
static void check_rows(const char *text, const char *title, int rows)
{
	const char *at = strstr(text, title), *end;
	int shown = -2, left_out = 0, of = rows; /* its head and the line below */
	assert_non_null(at);
	end = strstr(at, "<sub>");
	assert_non_null(end);
	for (; at < end; at = strchr(at, '\n') + 1)
		if (*at == '|')
			shown++;
		else if (strstr(at, "rows are left out here") &&
			 strstr(at, "rows are left out here") < strchr(at, '\n'))
			assert_int_equal(sscanf(at, "%d of %d", &left_out, &of), 2);
	assert_int_equal(of, rows);
	if (shown + left_out != rows)
		fail_msg("%s: %d rows, and %d left out, of %d", title, shown, left_out, rows);
}

static void test_markdown(void **state)
{
	(void)state;
	struct document d;
	build(&d);
	/* Each of the 450 cells that are compared has one interval, each of the 18 curves one crossover. */
	assert_int_equal(bootstraps, CELLS / MODES * (MODES - 1));
	assert_int_equal(crossovers, FUSIONS * (MODES - 1));
	char *text = markdown(&d, DOCUMENT_MARKDOWN_MOST);
	size_t n = strlen(text);
	if (n > 65536)
		fail_msg("%zu bytes", n);
	/* Nor is room wasted: a row has less than 200. */
	if (n < 62000)
		fail_msg("%zu bytes of 65536", n);
	check_rows(text, "**Every cell: medians over runs, of tokens/s", CELLS);
	check_rows(text, "**Each cell against direct launches;", CELLS / MODES * (MODES - 1));
	check_rows(text, "**Host time of each cell**", CELLS);
	/* Whole are the first screen, and tables that are small. */
	check_rows(text, "**Crossover: the depth at which", FUSIONS * (MODES - 1));
	assert_non_null(strstr(text, "| graph-device | fusion full |"));
	assert_non_null(strstr(text, "●"));
	assert_null(strstr(text, "tables and paragraphs are left out"));
	assert_int_equal(count(text, "<details>"), count(text, "</details>"));
	free(text);
	document_free(&d);
	result_set_close(&set);
}

/* Whatever the limit is, it holds, and the report stays whole markup. */
static void test_any_limit(void **state)
{
	(void)state;
	struct document d;
	size_t before = 0;
	build(&d);
	for (size_t most = DOCUMENT_MARKDOWN_LEAST; most < 200000; most += most / 2) {
		char *text = markdown(&d, most);
		size_t n = strlen(text);
		if (n > most)
			fail_msg("%zu bytes of %zu", n, most);
		if (n < before)
			fail_msg("%zu bytes of %zu, and %zu of less", n, most, before);
		before = n;
		assert_int_equal(count(text, "<details>"), count(text, "</details>"));
		assert_int_equal(count(text, "```") % 2, 0);
		assert_int_equal(strncmp(text, DOCUMENT_MARKER "\n", strlen(DOCUMENT_MARKER) + 1), 0);
		free(text);
	}
	document_free(&d);
	result_set_close(&set);
}

/* All rows are in the HTML; figures are a bounded number. */
static void test_html(void **state)
{
	(void)state;
	struct document d;
	struct figure_maker m;
	char *text = NULL;
	size_t n;
	build(&d);
	gnuplots = 0;
	FILE *f = open_memstream(&text, &n);
	assert_non_null(f);
	OK(figure_maker_open(&m, "gnuplot", 1, e));
	OK(document_html(&d, &m, f, e));
	figure_maker_close(&m);
	assert_int_equal(fclose(f), 0);
	/* Two of the first chart, six a section of four sections and the strips, one of the drift. */
	assert_true(gnuplots >= 20);
	if (gnuplots > 40)
		fail_msg("%d figures", gnuplots);
	/* Of five tables each cell, or each that is compared, has a row. */
	assert_true(count(text, "<tr>") > 3 * CELLS);
	free(text);
	document_free(&d);
	result_set_close(&set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_markdown),
		cmocka_unit_test(test_any_limit),
		cmocka_unit_test(test_html),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
