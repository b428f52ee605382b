/*
 * The figures of SnapKV, with the real gnuplot, on results written here: that cells with other budgets are not
 * mixed, and what is drawn, worked out by hand from how the values are made.
 */
#include <math.h>
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
static const char *const modes[] = {"direct", "graph-device"};
static const long depths[] = {256, 1024, 4096};

static int set_up(void **state)
{
	(void)state;
	return folder_make(folder, "plot-snapkv");
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(folder);
}

/* Made-up values. budget 0: off. */
static double rate(int budget, long depth, int mode, int repetition)
{
	static const double offsets[] = {0, 1, 7}; /* the median is not the mean */
	return 100.0 + budget / 16.0 - (double)depth / 64 + 10 * mode + offsets[repetition];
}

static double kv_bytes(int budget, long depth)
{
	return 1048576.0 * (budget && budget < depth ? budget : (double)depth);
}

static double divergence(int budget, long depth)
{
	return (double)depth / budget / 100;
}

static void write_row(FILE *runs, int *id, const char *snapkv, int budget, long depth, int mode, int r)
{
	fprintf(runs,
		"r%d,ok,%d,m,m.gguf,gemma4,Q8_0,0,16,%ld,%s,full,42,f16,f16,1,GPU,d4ce5da,%.9g,50,,%.9g,%.0f,\"%s\",",
		(*id)++, r, depth, modes[mode], 1e6 / rate(budget, depth, mode, r), rate(budget, depth, mode, r),
		kv_bytes(budget, depth), snapkv);
	if (budget && budget < depth)
		fprintf(runs, "%d,%.9g,%.9g\n", budget, divergence(budget, depth), 1 - divergence(budget, depth));
	else
		fprintf(runs, budget ? "%d,,\n" : ",,\n", budget);
}

/* budgets: (n) with their names; ends with a null. */
static void write_results(const char *const *names, const int *budgets)
{
	FILE *runs = folder_open(folder, "runs.csv", "wb"), *tokens = folder_open(folder, "tokens.csv", "wb");
	int id = 0;
	fputs("run_id,status,repetition,model,model_path_name,arch,weight_type,n_prompt,n_gen,n_depth,mode,fusion,"
	      "n_gpu_layers,type_k,type_v,n_threads,device,commit,itl_median_us,submit_median_us,started_utc,"
	      "tokens_per_s,kv_bytes,snapkv,snapkv_budget,kl_divergence,top1_agreement\n",
	      runs);
	fputs("run_id,phase,token_index,submit_us,itl_us,graph_event\n", tokens);
	for (int s = 0; names[s]; s++)
		for (int k = 0; k < 3; k++)
			for (int mode = 0; mode < 2; mode++)
				for (int r = 2; r >= 0; r--)
					write_row(runs, &id, names[s], budgets[s], depths[k], mode, r);
	assert_int_equal(fclose(runs), 0);
	assert_int_equal(fclose(tokens), 0);
}

struct seen {
	int n_notes;
	char notes[32][256];
};

static void on_note(void *ctx, const char *line)
{
	struct seen *s = ctx;
	assert_true(s->n_notes < 32);
	snprintf(s->notes[s->n_notes++], sizeof s->notes[0], "%s", line);
}

static void plot(struct seen *seen)
{
	struct error err = {""};
	struct plot_request request = {.dir = folder,
				       .formats = PLOT_FORMAT_PNG,
				       .gnuplot = "gnuplot",
				       .timeout_s = 60,
				       .note = on_note,
				       .ctx = seen};
	*seen = (struct seen){0};
	if (plot_results(&request, &err))
		fail_msg("%s", err.text);
}

/* The row of a block with this value in its second column; false: the block has none. */
static bool find_row(const char *file, const char *series, long x, double row[6])
{
	char line[512], current[128] = "", path[128];
	snprintf(path, sizeof path, "plots/%s", file);
	FILE *f = folder_open(folder, path, "r");
	bool known = false, found = false;
	while (!found && fgets(line, sizeof line, f)) {
		line[strcspn(line, "\n")] = '\0';
		if (line[0] == '#') {
			snprintf(current, sizeof current, "%.120s", line + 2);
			known = known || !strcmp(current, series);
			continue;
		}
		char *at = line;
		for (int i = 0; i < 6; i++)
			row[i] = strtod(at, &at);
		found = line[0] && !strcmp(current, series) && row[1] == (double)x;
	}
	fclose(f);
	if (!known)
		fail_msg("%s has no series '%s'", file, series);
	return found;
}

static void near(double value, double expected)
{
	if (!(fabs(value - expected) <= 1e-6 * fabs(expected)))
		fail_msg("%.9g instead of %.9g", value, expected);
}

static void figures_are_right(void **state)
{
	static const char *const names[] = {"1024,window=64,pool=7", "off", "512,window=64,pool=7", NULL};
	static const int budgets[] = {1024, 0, 512};
	static const char *const shown[] = {"SnapKV 1024", "full cache", "SnapKV 512"};
	struct seen seen;
	double row[6];
	char series[64];
	(void)state;
	write_results(names, budgets);
	plot(&seen);
	assert_int_equal(seen.n_notes, 3); /* tokens.csv is empty: no trace of any of the three */
	assert_true(folder_has(folder, "plots/snapkv-rate.png") && folder_has(folder, "plots/snapkv-memory.png"));
	assert_true(folder_has(folder, "plots/snapkv-divergence.png") &&
		    folder_has(folder, "plots/snapkv-agreement.png"));
	assert_true(folder_has(folder, "plots/latency-snapkv-off.png"));
	for (int s = 0; s < 3; s++)
		for (int k = 0; k < 3; k++) {
			for (int mode = 0; mode < 2; mode++) {
				snprintf(series, sizeof series, "%s, %s", shown[s], modes[mode]);
				assert_true(find_row("snapkv-rate.dat", series, depths[k], row));
				near(row[2], 3);
				near(row[3], rate(budgets[s], depths[k], mode, 1));
				near(row[4], rate(budgets[s], depths[k], mode, 0));
				near(row[5], rate(budgets[s], depths[k], mode, 2));
			}
			assert_true(find_row("snapkv-memory.dat", shown[s], depths[k], row));
			near(row[3], kv_bytes(budgets[s], depths[k]));
		}
	/* 256 tokens are within each budget: no series. 1024 are within one. */
	assert_true(find_row("snapkv-divergence.dat", "depth 4096", 512, row));
	near(row[3], divergence(512, 4096));
	assert_true(find_row("snapkv-divergence.dat", "depth 4096", 1024, row));
	near(row[3], divergence(1024, 4096));
	assert_true(find_row("snapkv-agreement.dat", "depth 1024", 512, row));
	near(row[3], 1 - divergence(512, 1024));
	assert_false(find_row("snapkv-divergence.dat", "depth 1024", 1024, row));
	FILE *f = folder_open(folder, "plots/snapkv-divergence.dat", "r");
	char line[256];
	while (fgets(line, sizeof line, f))
		assert_null(strstr(line, "depth 256"));
	fclose(f);
}

/* Other windows are lines of their own, not averaged into one. */
static void windows_are_told_apart(void **state)
{
	static const char *const names[] = {"512,window=64,pool=7", "512,window=32,pool=7", NULL};
	static const int budgets[] = {512, 512};
	struct seen seen;
	double row[6];
	(void)state;
	write_results(names, budgets);
	plot(&seen);
	assert_true(find_row("snapkv-rate.dat", "SnapKV 512,window=64,pool=7, direct", 4096, row));
	near(row[2], 3);
	assert_true(find_row("snapkv-rate.dat", "SnapKV 512,window=32,pool=7, direct", 4096, row));
	assert_true(find_row("snapkv-divergence.dat", "depth 4096, window=32,pool=7", 512, row));
	near(row[2], 3);
}

/* A sweep with the full cache alone has no such figure. */
static void nothing_without_eviction(void **state)
{
	static const char *const names[] = {"off", NULL};
	static const int budgets[] = {0};
	struct seen seen;
	(void)state;
	write_results(names, budgets);
	plot(&seen);
	assert_true(folder_has(folder, "plots/latency.png"));
	assert_false(folder_has(folder, "plots/snapkv-rate.png"));
	assert_int_equal(seen.n_notes, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(figures_are_right, set_up, tear_down),
		cmocka_unit_test_setup_teardown(windows_are_told_apart, set_up, tear_down),
		cmocka_unit_test_setup_teardown(nothing_without_eviction, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
