/*
 * The figure of a token's time stamps, with the real gnuplot, on results written here; its numbers are worked out by
 * hand from them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness/plot/plot.h"
#include "tests/support/folder.h"

static char folder[FOLDER_BYTES];

static int set_up(void **state)
{
	(void)state;
	return folder_make(folder, "plot-timeline");
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(folder);
}

static const char *run_mode = "direct";

/* A run of each depth in run_mode: d0, d1, ... */
static void write_runs(const long *depths, int n)
{
	FILE *runs = folder_open(folder, "runs.csv", "wb"), *tokens = folder_open(folder, "tokens.csv", "wb");
	fputs("run_id,status,repetition,model,model_path_name,arch,weight_type,n_prompt,n_gen,n_depth,mode,fusion,"
	      "n_gpu_layers,type_k,type_v,n_threads,device,commit,itl_median_us,submit_median_us\n",
	      runs);
	fputs("run_id,phase,token_index,submit_us,itl_us,graph_event\n", tokens);
	for (int i = 0; i < n; i++) {
		fprintf(runs, "d%d,ok,%d,M,m.gguf,gemma4,Q8_0,0,4,%ld,%s,persistent,5,f16,f16,1,GPU 1,abc,1000,9\n", i,
			i, depths[i], run_mode);
		fprintf(tokens, "d%d,measure,0,9,1000,direct\n", i);
	}
	assert_int_equal(fclose(runs) | fclose(tokens), 0);
}

static FILE *open_timeline(void)
{
	FILE *f = folder_open(folder, "timeline.csv", "wb");
	fputs("run_id,block,sm,phase,layer,kind,entered_ns,input_ns,worked_ns,published_ns\n", f);
	return f;
}

/*
 * Five layers of qkv and attention between a projection and the head, 10 us a phase; block 0 on multiprocessor 1, where
 * it waits 1 us, works 6 and publishes 3, block 1 on 0, which has nothing to do in attention and waits the first 4 us
 * of all else, works 5 and publishes 1.
 */
static void write_token(FILE *f, const char *run)
{
	for (int block = 0; block < 2; block++)
		for (int phase = 0; phase < 12; phase++) {
			int layer = phase && phase < 11 ? (phase - 1) / 2 : -1, at = 10000 * phase;
			bool attends = layer >= 0 && phase % 2 == 0;
			fprintf(f, "%s,%d,%d,%d,", run, block, 1 - block, phase);
			if (layer >= 0)
				fprintf(f, "%d", layer);
			fprintf(f, ",%s,%d,",
				layer >= 0 ? (attends ? "attention" : "qkv")
				: phase    ? "head"
					   : "ple_model_proj",
				at);
			if (!block)
				fprintf(f, "%d,%d,%d\n", at + 1000, at + 7000, at + 10000);
			else if (attends)
				fprintf(f, ",,%d\n", at + 10000);
			else
				fprintf(f, "%d,%d,%d\n", at + 4000, at + 9000, at + 10000);
		}
}

static char noted[1024]; /* the notes of the last plot */

static void on_note(void *ctx, const char *line)
{
	(void)ctx;
	size_t used = strlen(noted);
	snprintf(noted + used, sizeof noted - used, "%s\n", line);
}

static int plot(unsigned formats, struct error *err)
{
	const struct plot_request request = {
		.dir = folder, .formats = formats, .gnuplot = "gnuplot", .timeout_s = 60, .note = on_note};
	*noted = '\0';
	return plot_results(&request, err);
}

static void draw(unsigned formats)
{
	struct error err = {""};
	if (plot(formats, &err))
		fail_msg("%s", err.text);
}

/* Lines of five numbers of block number `index` of the figure's data; returns how many. */
static int read_block(int index, double rows[64][5])
{
	char line[256];
	int n = 0, at = -1;
	FILE *f = folder_open(folder, "plots/timeline.dat", "r");
	while (fgets(line, sizeof line, f)) {
		at += line[0] == '#';
		double *row = rows[n];
		if (at == index && line[0] != '#' && n < 63)
			n += sscanf(line, "%lf %lf %lf %lf %lf", row, row + 1, row + 2, row + 3, row + 4) == 5;
	}
	fclose(f);
	return n;
}

static void near(double value, double expected)
{
	if (value < expected - 1e-3 || value > expected + 1e-3)
		fail_msg("%g is not %g", value, expected);
}

static void expect_row(const double row[5], double a, double b, double c, double d, double e)
{
	const double expected[5] = {a, b, c, d, e};
	for (int i = 0; i < 5; i++)
		near(row[i], expected[i]);
}

static void test_numbers(void **state)
{
	(void)state;
	static const long depths[] = {128};
	double rows[64][5];
	write_runs(depths, 1);
	FILE *f = open_timeline();
	write_token(f, "d0");
	assert_int_equal(fclose(f), 0);
	draw(PLOT_FORMAT_SVG | PLOT_FORMAT_PNG);
	/* Layers 1 to 3: 6 phases of three parts of block 0, 3 of three and 3 of one of block 1. */
	assert_int_equal(read_block(0, rows), 6 * 3 + 3 * 3 + 3);
	expect_row(rows[0], 30, 31, 1, 3, 0);
	expect_row(rows[1], 31, 37, 1, 3, 1);
	expect_row(rows[2], 37, 40, 1, 3, 2);
	expect_row(rows[3], 40, 41, 1, 6, 0);
	expect_row(rows[18], 30, 34, 0, 3, 0);
	expect_row(rows[21], 40, 50, 0, 6, 0);
	/* The projection, five layers, the head: percent of both blocks' time. */
	assert_int_equal(read_block(1, rows), 7);
	expect_row(rows[0], 0, 10, 55, 20, 25);
	for (int i = 0; i < 5; i++)
		expect_row(rows[1 + i], 10 + 20 * i, 30 + 20 * i, 17.0 / 40 * 100, 7.0 / 40 * 100, 16.0 / 40 * 100);
	expect_row(rows[6], 110, 120, 55, 20, 25);
	/* Kinds: their number, us of the token that a block waits, works and publishes on average. */
	assert_int_equal(read_block(2, rows), 4);
	expect_row(rows[0], 1, 2, 2.5, 5.5, 2);
	expect_row(rows[1], 2, 3, 12.5, 27.5, 10);
	expect_row(rows[2], 3, 6, 27.5, 15, 7.5);
	expect_row(rows[3], 4, 16, 2.5, 5.5, 2);
	assert_true(folder_has(folder, "plots/timeline.png"));
	static char text[1 << 18];
	f = folder_open(folder, "plots/timeline.svg", "r");
	text[fread(text, 1, sizeof text - 1, f)] = '\0';
	fclose(f);
	static const char *const parts[] = {
		"token's 120 \xc2\xb5s go, at depth 128<",
		"layer 1<",
		"layer 3<",
		"multiprocessor<",
		"44.6 % of the multiprocessors",
		"attention<",
		"head<",
		"waits for its input<",
		"5.50<",
		"3.00<", /* attention's 15 in five phases */
		"fusion persistent",
		"GPU 1",
		"41.7 %<",
		"17.9 % publishing, 37.5 % waiting",
	};
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
		if (!strstr(text, parts[i]))
			fail_msg("timeline.svg lacks '%s'", parts[i]);
	/* A row for each multiprocessor. */
	f = folder_open(folder, "plots/timeline.gp", "r");
	text[fread(text, 1, sizeof text - 1, f)] = '\0';
	fclose(f);
	assert_non_null(strstr(text, "row_lo = -0.5\n"));
	assert_non_null(strstr(text, "row_hi = 1.5\n"));
}

/* A figure a depth, where there is a token of it. */
static void test_depths(void **state)
{
	(void)state;
	static const long depths[] = {0, 16, 4096};
	write_runs(depths, 3);
	FILE *f = open_timeline();
	write_token(f, "d0");
	write_token(f, "d2");
	assert_int_equal(fclose(f), 0);
	draw(PLOT_FORMAT_SVG);
	assert_true(folder_has(folder, "plots/timeline-d0.svg"));
	assert_false(folder_has(folder, "plots/timeline-d16.svg"));
	assert_true(folder_has(folder, "plots/timeline-d4096.svg"));
}

/* Of the runs of a depth it need not be the first that has the token. */
static void test_later_run(void **state)
{
	(void)state;
	static const long depths[] = {0, 0};
	write_runs(depths, 2);
	FILE *f = open_timeline();
	write_token(f, "d1");
	assert_int_equal(fclose(f), 0);
	draw(PLOT_FORMAT_SVG);
	assert_true(folder_has(folder, "plots/timeline.svg"));
}

/* A token is its own combination's alone. */
static void test_combinations(void **state)
{
	(void)state;
	static const long depths[] = {0, 0};
	write_runs(depths, 2);
	FILE *f = folder_open(folder, "runs.csv", "r");
	static char text[1 << 12];
	text[fread(text, 1, sizeof text - 1, f)] = '\0';
	fclose(f);
	char *second = strstr(strstr(text, "\nd1,"), ",persistent,");
	f = folder_open(folder, "runs.csv", "w");
	fprintf(f, "%.*s,full,%s", (int)(second - text), text, second + strlen(",persistent,"));
	assert_int_equal(fclose(f), 0);
	f = open_timeline();
	write_token(f, "d0");
	assert_int_equal(fclose(f), 0);
	draw(PLOT_FORMAT_SVG);
	assert_true(folder_has(folder, "plots/timeline-fusion-persistent.svg"));
	assert_false(folder_has(folder, "plots/timeline-fusion-full.svg"));
}

static const char *last_of(const char *text, const char *what)
{
	const char *last = strstr(text, what);
	assert_non_null(last);
	for (const char *next = last; (next = strstr(next + 1, what));)
		last = next;
	return last;
}

/* Where in the figure's width a text is. */
static double column_of(const char *svg, const char *text)
{
	const char *at = strstr(svg, text), *last = NULL;
	double x;
	assert_non_null(at);
	for (const char *p = svg; (p = strstr(p, "translate(")) && p < at; p++)
		last = p;
	assert_non_null(last);
	assert_int_equal(sscanf(last, "translate(%lf,", &x), 1);
	return x;
}

/* Kernels one by one publish nothing apart; launched directly and replayed they are a picture each. */
static void test_kernels(void **state)
{
	(void)state;
	static const long depths[] = {0, 0};
	static const char *const figures[] = {"plots/timeline.svg", "plots/timeline-replayed.svg"};
	static char text[1 << 18];
	write_runs(depths, 2);
	FILE *f = folder_open(folder, "runs.csv", "r");
	text[fread(text, 1, sizeof text - 1, f)] = '\0';
	fclose(f);
	f = folder_open(folder, "runs.csv", "w");
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		char *mode = strstr(line, ",direct,persistent,");
		if (!mode)
			fprintf(f, "%s\n", line);
		else
			fprintf(f, "%.*s,%s,full,%s\n", (int)(mode - line), line,
				line[1] == '0' ? "direct" : "graph-loop", mode + strlen(",direct,persistent,"));
	}
	assert_int_equal(fclose(f), 0);
	f = open_timeline();
	for (int run = 0; run < 2; run++)
		fprintf(f, "d%d,0,0,0,,embed,0,1000,2000,2000\nd%d,0,0,1,0,norm,2000,2500,4000,4000\n", run, run);
	assert_int_equal(fclose(f), 0);
	draw(PLOT_FORMAT_SVG);
	for (int i = 0; i < 2; i++) {
		f = folder_open(folder, figures[i], "r");
		text[fread(text, 1, sizeof text - 1, f)] = '\0';
		fclose(f);
		assert_int_equal(!!strstr(text, "at depth 0, replayed as a graph<"), i);
		assert_non_null(strstr(text, "waits for the kernels in front<"));
		assert_non_null(strstr(text, "62.5 % of the multiprocessors"));
		assert_non_null(strstr(text, "time working, 37.5 % waiting, 0.0 % between kernels<"));
		assert_null(strstr(text, "publish"));
		assert_non_null(strstr(text, "bars: all kernels of a kind, mean of the multiprocessors; columns"));
		/* The second half's bar ends where the token does, at 780 of 800 px, but for a gap that shows no time.
		 */
		double from, to;
		const char *bar = last_of(text, "rgb(142, 142, 142)' points = '");
		assert_int_equal(sscanf(bar, "%*[^0-9]142, 142, 142)' points = '%lf,%*f %lf,", &from, &to), 2);
		assert_true(from > 424 && from < 427 && to > 777 && to < 780);
		/* Room for the microseconds of a slow kernel beside what it waits. */
		const double works = column_of(text, "works<"), waits = column_of(text, "waits<");
		assert_true(works - waits > 100);
	}
}

/* One kernel is launched directly, whichever mode's run it stands behind. */
static void test_one_launch(void **state)
{
	(void)state;
	static const long depths[] = {0};
	run_mode = "graph-loop";
	write_runs(depths, 1);
	run_mode = "direct";
	FILE *f = open_timeline();
	write_token(f, "d0");
	assert_int_equal(fclose(f), 0);
	draw(PLOT_FORMAT_SVG);
	assert_true(folder_has(folder, "plots/timeline.svg"));
	assert_false(folder_has(folder, "plots/timeline-replayed.svg"));
}

/* Blocks stand where there are no multiprocessors, and one phase of no layer is a token. */
static void test_host(void **state)
{
	(void)state;
	static const long depths[] = {0};
	static char text[1 << 16];
	write_runs(depths, 1);
	FILE *f = open_timeline();
	fputs("d0,0,,0,,head,0,1000,2000,4000\n", f);
	assert_int_equal(fclose(f), 0);
	draw(PLOT_FORMAT_SVG);
	f = folder_open(folder, "plots/timeline.svg", "r");
	text[fread(text, 1, sizeof text - 1, f)] = '\0';
	fclose(f);
	assert_non_null(strstr(text, "25.0 % of the blocks"));
	assert_non_null(strstr(text, "block<"));
}

static void test_without(void **state)
{
	(void)state;
	static const long depths[] = {0};
	struct error err = {""};
	write_runs(depths, 1);
	draw(PLOT_FORMAT_SVG);
	assert_true(folder_has(folder, "plots/latency.svg"));
	assert_false(folder_has(folder, "plots/timeline.svg"));
	/* Malformed, it is refused by name. */
	FILE *f = open_timeline();
	fputs("d0,0,,0,,head,5,1,2,3\n", f);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(plot(PLOT_FORMAT_SVG, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "timeline.csv: run d0"));
	/* Taken and not kept, it is told; a sweep without time stamps promises none. */
	char path[FOLDER_BYTES + 16];
	snprintf(path, sizeof path, "%s/timeline.csv", folder);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(folder_put(folder, "/sweep.json", "{}"), 0);
	draw(PLOT_FORMAT_SVG);
	assert_null(strstr(noted, "timeline"));
	assert_int_equal(folder_put(folder, "/sweep.json", "{\"timeline\": \"persistent\"}"), 0);
	draw(PLOT_FORMAT_SVG);
	assert_non_null(strstr(noted, " has no timeline.csv, though its sweep took time stamps: timeline, "));
	assert_false(folder_has(folder, "plots/timeline.svg"));
	/* All at once there is nothing to draw. */
	f = open_timeline();
	fputs("d0,0,,0,,head,0,0,0,0\n", f);
	assert_int_equal(fclose(f), 0);
	draw(PLOT_FORMAT_SVG);
	assert_false(folder_has(folder, "plots/timeline.svg"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {TEST(test_numbers),      TEST(test_depths),  TEST(test_later_run),
					   TEST(test_combinations), TEST(test_kernels), TEST(test_one_launch),
					   TEST(test_host),         TEST(test_without)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
