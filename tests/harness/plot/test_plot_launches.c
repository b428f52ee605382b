/*
 * The figure over launches a token, with the real gnuplot, on results written here: which combinations it joins, and
 * the effects, worked out by hand from how the values are made.
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
	return folder_make(folder, "plot-launches");
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(folder);
}

struct fusion {
	const char *model, *name;
	int launches;
	int gain; /* percent of direct's time, per mille more a repetition */
};

static void write_runs(FILE *runs, const struct fusion *f, long depth, int *id)
{
	for (int mode = 0; mode < 2; mode++)
		for (int r = 0; r < 3; r++)
			fprintf(runs,
				"r%d,ok,%d,%s,%s.gguf,gemma4,Q8_0,0,4,%ld,%s,%s,5,f16,f16,1,512,GPU,abc,%.9g,9,%d,"
				"2026-11-23T00:00:00Z\n",
				(*id)++, r, f->model, f->model, depth, mode ? "graph-device" : "direct", f->name,
				mode ? (double)(1000 + depth) * (100 - f->gain - r) / 100 : (double)(1000 + depth),
				mode ? 2 : f->launches);
}

/* The first n_deep fusions have the deeper depth alone. */
static void write_results(const struct fusion *fusions, int n, int n_deep)
{
	FILE *runs = folder_open(folder, "runs.csv", "wb"), *tokens = folder_open(folder, "tokens.csv", "wb");
	int id = 0;
	fputs("run_id,status,repetition,model,model_path_name,arch,weight_type,n_prompt,n_gen,n_depth,mode,fusion,"
	      "n_gpu_layers,type_k,type_v,n_threads,n_ubatch,device,commit,itl_median_us,submit_median_us,"
	      "api_launches_per_token,started_utc\n",
	      runs);
	fputs("run_id,phase,token_index,submit_us,itl_us,graph_event\n", tokens);
	for (int i = 0; i < n; i++) {
		write_runs(runs, &fusions[i], 64, &id); /* not the smallest depth */
		if (i < n_deep)
			continue;
		write_runs(
			runs,
			&(struct fusion){fusions[i].model, fusions[i].name, fusions[i].launches, fusions[i].gain + 10},
			0, &id);
	}
	assert_int_equal(fclose(runs) | fclose(tokens), 0);
}

static void draw(void)
{
	struct error err = {""};
	const struct plot_request request = {
		.dir = folder, .formats = PLOT_FORMAT_SVG, .gnuplot = "gnuplot", .timeout_s = 60};
	if (plot_results(&request, &err))
		fail_msg("%s", err.text);
}

/* Whether the mode's curve has a row there: launches, runs, median, min, max. */
static bool has_point(const char *name, int launches, double gain)
{
	char line[256];
	bool inside = false, found = false;
	FILE *f = folder_open(folder, name, "r");
	while (fgets(line, sizeof line, f)) {
		double x, median, least, most;
		int count, runs;
		if (line[0] == '#')
			inside = !strcmp(line, "# graph-device\n");
		else if (inside &&
			 sscanf(line, "%lf %d %d %lf %lf %lf", &x, &count, &runs, &median, &least, &most) == 6 &&
			 count == launches) {
			found = true;
			assert_int_equal(runs, 3);
			assert_true(median < -gain - 1 + 1e-6 && median > -gain - 1 - 1e-6);
			assert_true(least < -gain - 2 + 1e-6 && most > -gain - 1e-6);
		}
	}
	fclose(f);
	return found;
}

static void check_point(const char *name, int launches, double gain)
{
	if (!has_point(name, launches, gain))
		fail_msg("%s has no point at %d launches", name, launches);
}

static void fusions_are_joined(void **state)
{
	(void)state;
	static const struct fusion fusions[] = {
		{"M", "none", 1034, 12}, {"M", "persistent", 1, 0}, {"M", "full", 467, 5}};
	char text[1 << 16];
	write_results(fusions, 3, 0);
	draw();
	for (int i = 0; i < 3; i++)
		check_point("plots/launches.dat", fusions[i].launches, fusions[i].gain + 10);
	FILE *f = folder_open(folder, "plots/launches.svg", "r");
	text[fread(text, 1, sizeof text - 1, f)] = '\0';
	fclose(f);
	static const char *const parts[] = {"context depth 0 ", ">467<", ">1034<", "graph-device<",
					    "fusions persistent, full, none"};
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
		if (!strstr(text, parts[i]))
			fail_msg("launches.svg lacks '%s'", parts[i]);
}

static void models_are_not_mixed(void **state)
{
	(void)state;
	static const struct fusion fusions[] = {
		{"A", "none", 100, 3}, {"B", "none", 100, 20}, {"A", "full", 10, 2}, {"B", "full", 10, 15}};
	write_results(fusions, 4, 0);
	draw();
	check_point("plots/launches-A.gguf-A.dat", 100, 13);
	check_point("plots/launches-B.gguf-B.dat", 10, 25);
}

/* The smallest depth is that of any fusion, and what was not measured there is left out. */
static void depth_is_the_smallest_of_all(void **state)
{
	(void)state;
	static const struct fusion fusions[] = {
		{"M", "persistent", 1, 0}, {"M", "none", 1034, 12}, {"M", "full", 467, 5}};
	write_results(fusions, 3, 1);
	draw();
	assert_false(has_point("plots/launches.dat", 1, 0));
	check_point("plots/launches.dat", 1034, 22);
	check_point("plots/launches.dat", 467, 15);
}

static void one_fusion_gives_none(void **state)
{
	(void)state;
	static const struct fusion one[] = {{"M", "full", 467, 5}};
	write_results(one, 1, 0);
	draw();
	assert_true(folder_has(folder, "plots/overhead.svg"));
	assert_false(folder_has(folder, "plots/launches.svg"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(fusions_are_joined),
		TEST(models_are_not_mixed),
		TEST(depth_is_the_smallest_of_all),
		TEST(one_fusion_gives_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
