/* Figures of gemmark quality, with the real gnuplot, from a summary written here: what is in them, and what is refused.
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

static const char head[] = "context,policy,budget,window,pool,measure,asked,question,third,seeds,mean,low,high,best\n";
/* As the first studies had it: what later ones say besides changes no figure. */
static const char study[] = "{\"model\": \"M\", \"device\": \"host\", \"cache_k\": \"F16\", \"cache_v\": \"BF16\", "
			    "\"commit\": \"c0ffee\", \"sinks\": 4, \"seeds\": 8, \"continuation\": 64, \"needles\": 3}";
static char folder[FOLDER_BYTES], notes[2048];

static int set_up(void **state)
{
	(void)state;
	*notes = '\0';
	return folder_make(folder, "plot-quality") || folder_put(folder, "/study.json", study);
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(folder);
}

static void note(void *ctx, const char *line)
{
	(void)ctx;
	snprintf(notes + strlen(notes), sizeof notes - strlen(notes), "%s\n", line);
}

static int draw(struct error *err)
{
	const struct plot_request request = {
		.dir = folder, .formats = PLOT_FORMAT_SVG, .gnuplot = "gnuplot", .timeout_s = 60, .note = note};
	return plot_results(&request, err);
}

static const char *contents(const char *name)
{
	static char text[1 << 16];
	char path[128];
	snprintf(path, sizeof path, "/plots/%s", name);
	FILE *f = folder_open(folder, path, "r");
	text[fread(text, 1, sizeof text - 1, f)] = '\0';
	fclose(f);
	return text;
}

static void has(const char *name, const char *text)
{
	if (!strstr(contents(name), text))
		fail_msg("%s has no '%s':\n%s", name, text, contents(name));
}

/* Rows in the order of no file that the program writes. */
static void draws_a_line_a_policy(void **state)
{
	(void)state;
	struct error err = {""};
	char rows[4096];
	int n = snprintf(rows, sizeof rows, "%s", head);
	for (int budget = 256; budget >= 64; budget /= 4)
		for (int p = 0; p < 2; p++) {
			const char *what = p ? "snapkv,%d,32,7" : "recency,%d,32,";
			char of[64];
			snprintf(of, sizeof of, what, budget);
			n += snprintf(rows + n, sizeof rows - (size_t)n,
				      "1024,%s,kl,,,,8,%.9g,%.9g,%.9g,0\n1024,%s,exact,before,,,8,0.%d,0,1,0\n"
				      "1024,%s,exact,before,verbatim,,8,0.99,0,1,0\n"
				      "1024,%s,exact,before,,2,8,0.%d,0.5,1,0\n"
				      "1024,%s,logprob,before,,,8,-2.5,-4,-2,0\n",
				      of, 0.5 / budget + p, 0.25 / budget + p, 1.0 / budget + p, of, 3 + 2 * p, of, of,
				      6 + p, of);
		}
	snprintf(rows + n, sizeof rows - (size_t)n,
		 "1024,full,,,,kl,,,,8,0,0,0,0\n1024,full,,,,exact,before,,,8,0.75,0.5,1,0\n"
		 "1024,full,,,,exact,before,,2,8,1,1,1,0\n");
	assert_int_equal(folder_put(folder, "/summary.csv", rows), 0);
	if (draw(&err))
		fail_msg("%s", err.text);
	/* x, budget, texts, mean, low, high: by ascending budget, the lines as they first come; the full cache is 0. */
	const char *dat = contents("quality-divergence.dat");
	const char *recency = strstr(dat, "# recency\n"), *snapkv = strstr(dat, "# snapkv\n");
	assert_true(recency && snapkv && recency < snapkv);
	assert_non_null(strstr(recency, " 64 8 0.0078125 0.00390625 0.015625 NaN NaN\n"));
	assert_non_null(strstr(recency, " 256 8 0.001953125 0.0009765625 0.00390625 NaN NaN\n"));
	assert_non_null(strstr(snapkv, " 64 8 1.0078125 1.00390625 1.015625 NaN NaN\n"));
	assert_null(strstr(dat, "full cache"));
	has("quality-divergence.gp", "M \xc2\xb7 cache K F16, V BF16");
	has("quality-divergence.gp", "prompts of 1024 tokens, the last 32 kept by all");
	has("quality-divergence.gp", "votes pooled over 7");
	has("quality-divergence.gp", "divergence from the full cache, by budget");
	assert_null(strstr(contents("quality-divergence.gp"), "budget 64"));
	has("quality-found-before.dat", "# full cache\n");
	has("quality-found-before.dat", " 64 8 0.75 0.5 1 NaN NaN\n");
	has("quality-found-before.dat", " 256 8 0.3 0 1 NaN NaN\n");
	has("quality-found-before.dat", " 64 8 0.5 0 1 NaN NaN\n");
	assert_null(strstr(contents("quality-found-before.dat"), "0.99"));
	has("quality-thirds-before.dat", "# budget 256, snapkv\n0 0 NaN NaN NaN\n1 0 NaN NaN NaN\n2 8 70 50 100\n");
	has("quality-thirds-before.dat",
	    "# budget 64, full cache\n0 0 NaN NaN NaN\n1 0 NaN NaN NaN\n2 8 100 100 100\n");
	has("quality-loss-before.dat", " 256 8 2.5 2 4 NaN NaN\n");
	has("quality-thirds-before.svg", "third of the prompt that the needle is in");
	assert_true(folder_has(folder, "/plots/quality-divergence.svg"));
	assert_false(folder_has(folder, "/plots/quality-found-behind.svg"));
	assert_string_equal(notes, "quality-agreement: not drawn: no row has a value\n"
				   "quality-perplexity: not drawn: no row has a value\n");
}

/* Which has no interval: nothing says how far another would be off. */
static void draws_one_text(void **state)
{
	(void)state;
	struct error err = {""};
	char rows[1024], one[sizeof study], *seeds;
	snprintf(one, sizeof one, "%s", study);
	seeds = strstr(one, "\"seeds\": 8");
	assert_non_null(seeds);
	seeds[strlen("\"seeds\": ")] = '1';
	assert_int_equal(folder_put(folder, "/study.json", one), 0);
	snprintf(rows, sizeof rows,
		 "%s512,stride,64,16,,kl,,,,1,0.5,,,0\n512,stride,64,16,,logprob,behind,,,1,-2.5,,,0\n"
		 "512,stride,64,16,,exact,behind,,0,1,1,,,0\n512,full,,,,exact,behind,,0,1,1,,,0\n",
		 head);
	assert_int_equal(folder_put(folder, "/summary.csv", rows), 0);
	if (draw(&err))
		fail_msg("%s", err.text);
	has("quality-divergence.dat", " 64 1 0.5 0.5 0.5 NaN NaN\n");
	has("quality-loss-behind.dat", " 64 1 2.5 2.5 2.5 NaN NaN\n");
	has("quality-thirds-behind.dat", "# budget 64, full cache\n0 1 100 ");
	has("quality-divergence.gp", "of one text, so without intervals");
	assert_null(strstr(contents("quality-divergence.gp"), "bootstrap"));
	assert_true(folder_has(folder, "/plots/quality-divergence.svg"));
	assert_true(folder_has(folder, "/plots/quality-thirds-behind.svg"));
}

static void draws_a_set_a_window(void **state)
{
	(void)state;
	struct error err = {""};
	char rows[1024];
	snprintf(rows, sizeof rows,
		 "%s512,snapkv,64,16,1,kl,,,,8,0.5,0.4,0.6,0\n512,snapkv,64,16,7,kl,,,,8,0.25,0.2,0.3,0\n"
		 "512,snapkv,64,32,7,kl,,,,8,0.125,0.1,0.2,0\n",
		 head);
	assert_int_equal(folder_put(folder, "/summary.csv", rows), 0);
	if (draw(&err))
		fail_msg("%s", err.text);
	has("quality-divergence-context512-window16.dat", "# snapkv, pool 1\n1 64 8 0.5 0.4 0.6");
	has("quality-divergence-context512-window16.dat", "# snapkv, pool 7\n2 64 8 0.25 0.2 0.3");
	has("quality-divergence-context512-window16.gp", "budget 64");
	has("quality-divergence-context512-window16.gp", "divergence from the full cache, by policy");
	has("quality-divergence-context512-window32.dat", "# snapkv\n1 64 8 0.125 0.1 0.2");
	assert_null(strstr(contents("quality-divergence-context512-window16.gp"), "votes pooled"));
}

static void refuses_what_it_cannot_draw(void **state)
{
	(void)state;
	static const char *const bad[][2] = {
		{"1024,full,,,,kl,,,,8,0,0,0,0\n", "nothing was evicted: there is nothing to draw"},
		{"1024,snapkv,64,32,7,kl,,,,8,much,0,0,0\n", "line 2, column 'mean': 'much' is not"},
	};
	for (int i = 0; i < 2; i++) {
		struct error err = {""};
		char rows[512];
		snprintf(rows, sizeof rows, "%s%s", head, bad[i][0]);
		assert_int_equal(folder_put(folder, "/summary.csv", rows), 0);
		assert_int_equal(draw(&err), ERROR_INPUT);
		if (!strstr(err.text, bad[i][1]))
			fail_msg("expected '%s' in: %s", bad[i][1], err.text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(draws_a_line_a_policy, set_up, tear_down),
		cmocka_unit_test_setup_teardown(draws_one_text, set_up, tear_down),
		cmocka_unit_test_setup_teardown(draws_a_set_a_window, set_up, tear_down),
		cmocka_unit_test_setup_teardown(refuses_what_it_cannot_draw, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
