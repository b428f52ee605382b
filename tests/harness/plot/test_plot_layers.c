/*
 * The figure over layers on the GPU, with the real gnuplot, on results written here: which
 * combinations it joins, and the rates, worked out by hand from how the values are made.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/plot/plot.h"
#include "tests/support/folder.h"

static char folder[FOLDER_BYTES];

static int set_up(void **state)
{
	(void)state;
	return folder_make(folder, "plot-layers");
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(folder);
}

struct place {
	int layers;
	const char *device;
	int threads, chunks;
};

/* Microseconds of a token: the fastest repetition is 1. */
static double itl(int layers, long depth, int mode, int repetition)
{
	static const double times[] = {1.1, 1, 1.5};
	return (100000.0 - 2000 * layers + (double)depth + 100 * mode) * times[repetition];
}

static void write_results(const struct place *places, int n, const long *depths, int n_depths)
{
	FILE *runs = folder_open(folder, "runs.csv", "wb"), *tokens = folder_open(folder, "tokens.csv", "wb");
	int id = 0;
	fputs("run_id,status,repetition,model,model_path_name,arch,weight_type,n_prompt,n_gen,n_depth,mode,fusion,"
	      "n_gpu_layers,type_k,type_v,n_threads,n_ubatch,device,commit,itl_median_us,submit_median_us,"
	      "started_utc\n",
	      runs);
	fputs("run_id,phase,token_index,submit_us,itl_us,graph_event\n", tokens);
	for (int p = 0; p < n; p++)
		for (int k = 0; k < n_depths; k++)
			for (int mode = 0; mode < 2; mode++)
				for (int r = 0; r < 3; r++)
					fprintf(runs,
						"r%d,ok,%d,M,m.gguf,gemma4,Q8_0,0,4,%ld,%s,full,%d,f16,f16,%d,%d,%s,"
						"abc,%."
						"9g,"
						"9,2026-11-23T00:00:00Z\n",
						id++, r, depths[k], mode ? "graph-device" : "direct", places[p].layers,
						places[p].threads, places[p].chunks, places[p].device,
						itl(places[p].layers, depths[k], mode, r));
	for (int i = 0; i < id; i++)
		fprintf(tokens, "r%d,measure,0,9,1000,direct\n", i);
	assert_int_equal(fclose(runs) | fclose(tokens), 0);
}

static void draw(unsigned formats)
{
	struct error err = {""};
	const struct plot_request request = {.dir = folder, .formats = formats, .gnuplot = "gnuplot", .timeout_s = 60};
	if (plot_results(&request, &err))
		fail_msg("%s", err.text);
}

/* The rows of one curve: layers, runs, median, min, max; returns how many. */
static int read_curve(const char *name, const char *mode, long depth, double rows[8][5])
{
	char line[256], title[64];
	int n = 0, inside = 0;
	FILE *f = folder_open(folder, name, "r");
	snprintf(title, sizeof title, "# %s, depth %ld\n", mode, depth);
	while (fgets(line, sizeof line, f)) {
		double *row = rows[n];
		if (line[0] == '#')
			inside = !strcmp(line, title);
		else if (inside && n < 7)
			n += sscanf(line, "%lf %lf %lf %lf %lf", row, row + 1, row + 2, row + 3, row + 4) == 5;
	}
	fclose(f);
	return n;
}

static void near(double value, double expected)
{
	assert_true(value > expected * (1 - 1e-6) && value < expected * (1 + 1e-6));
}

static void check_curve(const char *name, const char *mode, int index, long depth, const int *layers, int n)
{
	double rows[8][5];
	assert_int_equal(read_curve(name, mode, depth, rows), n);
	for (int i = 0; i < n; i++) {
		near(rows[i][0] + 1, layers[i] + 1);
		near(rows[i][1], 3);
		near(rows[i][2], 1e6 / itl(layers[i], depth, index, 0));
		near(rows[i][3], 1e6 / itl(layers[i], depth, index, 2));
		near(rows[i][4], 1e6 / itl(layers[i], depth, index, 1));
	}
}

/* In any order of the rows; a GPU alone has one thread whatever the others have, and larger chunks. */
static void placements_are_joined(void **state)
{
	(void)state;
	static const struct place places[] = {
		{22, "GPU 1+host", 16, 512}, {42, "GPU 1", 1, 2048}, {0, "host", 16, 512}};
	static const long depths[] = {4096, 0};
	static const int layers[] = {0, 22, 42};
	write_results(places, 3, depths, 2);
	draw(PLOT_FORMAT_SVG | PLOT_FORMAT_PNG);
	for (int k = 0; k < 2; k++) {
		check_curve("plots/layers.dat", "direct", 0, depths[k], layers, 3);
		check_curve("plots/layers.dat", "graph-device", 1, depths[k], layers, 3);
	}
	assert_true(folder_has(folder, "plots/layers.png"));
	char text[1 << 16];
	FILE *f = folder_open(folder, "plots/layers.svg", "r");
	text[fread(text, 1, sizeof text - 1, f)] = '\0';
	fclose(f);
	static const char *const parts[] = {"layers on the GPU", "depth 0<", "depth 4096<", "direct<",
					    "graph-device<",     ">22<",     "GPU 1+host",  "16 threads",
					    "tokens/s",          "3 runs"};
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
		if (!strstr(text, parts[i]))
			fail_msg("layers.svg lacks '%s'", parts[i]);
	assert_null(strstr(text, "GPU layers"));
}

/* Threads of the host tell curves apart; the GPU alone belongs to each. */
static void threads_are_not_mixed(void **state)
{
	(void)state;
	static const struct place places[] = {{0, "host", 2, 512},
					      {3, "G+host", 2, 512},
					      {3, "G+host", 4, 512},
					      {5, "G", 1, 512},
					      {0, "host", 4, 512}};
	static const long depths[] = {0, 128, 256, 512, 1024};
	static const int layers[] = {0, 3, 5};
	double rows[8][5];
	write_results(places, 5, depths, 5);
	draw(PLOT_FORMAT_SVG);
	check_curve("plots/layers-t2.dat", "direct", 0, 0, layers, 3);
	check_curve("plots/layers-t4.dat", "graph-device", 1, 1024, layers, 3);
	/* Three columns at most: the ends and the middle. */
	assert_int_equal(read_curve("plots/layers-t2.dat", "direct", 256, rows), 3);
	assert_int_equal(read_curve("plots/layers-t2.dat", "direct", 128, rows), 0);
	assert_false(folder_has(folder, "plots/layers.svg"));
}

/* Chunks that were chosen tell curves apart on the GPU alone as well. */
static void chunks_are_not_mixed(void **state)
{
	(void)state;
	static const struct place places[] = {{0, "host", 2, 256}, {3, "G+host", 2, 256}, {5, "G", 1, 256},
					      {0, "host", 2, 512}, {3, "G+host", 2, 512}, {5, "G", 1, 512}};
	static const long depths[] = {0};
	static const int layers[] = {0, 3, 5};
	write_results(places, 6, depths, 1);
	draw(PLOT_FORMAT_SVG);
	check_curve("plots/layers-ub256.dat", "direct", 0, 0, layers, 3);
	check_curve("plots/layers-ub512.dat", "direct", 0, 0, layers, 3);
}

static void one_placement_gives_none(void **state)
{
	(void)state;
	static const struct place alone[] = {{5, "G", 1, 512}}, host[] = {{0, "host", 2, 512}, {0, "host", 4, 512}};
	static const long depths[] = {0};
	write_results(alone, 1, depths, 1);
	draw(PLOT_FORMAT_SVG);
	assert_true(folder_has(folder, "plots/latency.svg"));
	assert_false(folder_has(folder, "plots/layers.svg"));
	write_results(host, 2, depths, 1);
	draw(PLOT_FORMAT_SVG);
	assert_false(folder_has(folder, "plots/layers-t2.svg") || folder_has(folder, "plots/layers.svg"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(placements_are_joined),
		TEST(threads_are_not_mixed),
		TEST(chunks_are_not_mixed),
		TEST(one_placement_gives_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
