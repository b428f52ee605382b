/* What gemmark plot refuses: results that are damaged, or that no sweep writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/cli/options.h"
#include "harness/plot/plot.h"
#include "tests/support/folder.h"

#define RUNS_HEADER                                                                                                    \
	"submit_median_us,schema_version,run_id,status,reason,repetition,model,model_path_name,arch,weight_type,"      \
	"n_prompt,n_gen,n_depth,mode,fusion,n_gpu_layers,type_k,type_v,n_threads,device,commit,itl_median_us,started_" \
	"utc\n"
#define TOKENS_HEADER "run_id,phase,token_index,submit_us,itl_us,graph_event\n"

static char folder[FOLDER_BYTES];

static int set_up(void **state)
{
	(void)state;
	return folder_make(folder, "refused");
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(folder);
}

static void on_path(void *ctx, const char *path)
{
	(void)ctx;
	fail_msg("%s was written", path);
}

static void write_file(const char *name, const char *bytes, size_t n)
{
	FILE *f = folder_open(folder, name, "wb");
	assert_int_equal(fwrite(bytes, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

/* One line, exit code 2 of the program, and no picture. */
static void expect_refusal(const char *part)
{
	struct error err = {0};
	struct plot_request request = {
		.dir = folder, .formats = PLOT_FORMAT_SVG, .gnuplot = "gnuplot", .timeout_s = 60, .wrote = on_path};
	int rc = plot_results(&request, &err);
	assert_true(rc == ERROR_INPUT || rc == ERROR_IO);
	if (!strstr(err.text, part))
		fail_msg("'%s' lacks '%s'", err.text, part);
	assert_null(strchr(err.text, '\n'));
	char *argv[] = {"plot", folder, "--format", "svg", NULL};
	assert_int_equal(cmd_plot(4, argv), 2);
}

static void hostile_results_are_refused(void **state)
{
	(void)state;
	static const char row[] = "1,1,r0,ok,,0,m,m,a,w,0,4,0,direct,full,0,f16,f16,2,d,c,5,t\n";
	static const char twin[] = "1,1,r1,ok,,0,m,m,a,w,0,4,0,direct,full,0,f16,f16,2,d,c,5,t\n";
	static const char failed[] = "1,1,r0,failed,why,0,m,m,a,w,0,4,0,direct,full,0,f16,f16,2,d,c,5,t\n";
	static const char negative[] = "1,1,r0,ok,,0,m,m,a,w,0,4,0,direct,full,0,f16,f16,2,d,c,-5,t\n";
	char text[2048];

	expect_refusal("runs.csv: No such file"); /* an empty directory */
	write_file("runs.csv", "run_id,status\nr0,ok\n", 20);
	expect_refusal("no column 'repetition'");
	snprintf(text, sizeof text, "%s%s", RUNS_HEADER, row);
	write_file("runs.csv", text, strlen(text));
	write_file("tokens.csv", "run_id,phase\n", 13);
	expect_refusal("no column 'token_index'");
	snprintf(text, sizeof text, "%sr0,measure,0,1,2,sideways\n", TOKENS_HEADER);
	write_file("tokens.csv", text, strlen(text));
	expect_refusal("graph_event");
	snprintf(text, sizeof text, "%sr0,measure,0,1,2\n", TOKENS_HEADER);
	write_file("tokens.csv", text, strlen(text));
	expect_refusal("line 2 has 5 fields");
	write_file("tokens.csv", TOKENS_HEADER, strlen(TOKENS_HEADER));

	snprintf(text, sizeof text, "%s%s%s", RUNS_HEADER, row, twin);
	write_file("runs.csv", text, strlen(text));
	expect_refusal("the same cell, repetition and attempt");
	snprintf(text, sizeof text, "%s%s%s", RUNS_HEADER, row, row);
	write_file("runs.csv", text, strlen(text));
	expect_refusal("same run_id");
	snprintf(text, sizeof text, "%s%s", RUNS_HEADER, failed);
	write_file("runs.csv", text, strlen(text));
	expect_refusal("nothing to plot");
	snprintf(text, sizeof text, "%s%s", RUNS_HEADER, negative);
	write_file("runs.csv", text, strlen(text));
	expect_refusal("column 'itl_median_us': '-5' is not a finite number from 0 up");
	write_file("runs.csv", "\x00\x01\xfe\xff garbage", 12);
	expect_refusal("not a text file");
	char *huge = malloc(300000);
	assert_non_null(huge);
	memset(huge, 'm', 300000);
	memcpy(huge, RUNS_HEADER "\"", strlen(RUNS_HEADER) + 1);
	write_file("runs.csv", huge, 300000);
	free(huge);
	expect_refusal("longer than 65536 bytes");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(hostile_results_are_refused, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
