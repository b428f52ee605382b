/* What plots take of rows that share a cell and repetition: queued tokens apart, and of attempts the latest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/plot/plot_data.h"
#include "tests/support/folder.h"

static char folder[FOLDER_BYTES], runs_path[FOLDER_BYTES + 16], tokens_path[FOLDER_BYTES + 16];

static int set_up(void **state)
{
	(void)state;
	int rc = folder_make(folder, "attempts");
	snprintf(runs_path, sizeof runs_path, "%s/runs.csv", folder);
	snprintf(tokens_path, sizeof tokens_path, "%s/tokens.csv", folder);
	return rc;
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(folder);
}

static FILE *create(const char *path, const char *header)
{
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs(header, f) >= 0);
	return f;
}

static void put_run(FILE *f, const char *id, int repetition, int attempt, const char *sync, double itl)
{
	fprintf(f, "%s,ok,%d,m,m.gguf,a,w,0,4,0,direct,full,0,f16,f16,2,d,c,1,%g,t,%d,%s\n", id, repetition, itl,
		attempt, sync);
}

static void test_latest_attempt(void **state)
{
	(void)state;
	struct run_directory from;
	struct plot_data d;
	struct plot_summary s;
	struct error err = {""};
	FILE *f = create(runs_path, "run_id,status,repetition,model,model_path_name,arch,weight_type,n_prompt,n_gen,"
				    "n_depth,mode,fusion,n_gpu_layers,type_k,type_v,n_threads,device,commit,"
				    "submit_median_us,itl_median_us,started_utc,attempt,sync\n");
	put_run(f, "r0", 0, 0, "token", 100);
	put_run(f, "r1", 1, 0, "token", 900); /* at a low clock, twice */
	put_run(f, "r2", 1, 1, "token", 800);
	put_run(f, "r4", 0, 0, "none", 50);
	put_run(f, "r3", 1, 2, "token", 110);
	assert_int_equal(fclose(f), 0);
	f = create(tokens_path, "run_id,phase,token_index,submit_us,itl_us,graph_event\n");
	fputs("r1,measure,0,1,900,direct\nr3,measure,0,1,110,direct\n", f);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(run_directory_open(&from, folder, &err), 0);
	if (plot_data_load(&d, &from, &err))
		fail_msg("%s", err.text);
	assert_int_equal(d.n_panels, 2);
	assert_int_equal(d.n_tokens, 1);
	for (int p = 0; p < 2; p++) {
		int queued = !strcmp(plot_data_key(&d, p, AXIS_SYNC), "none");
		assert_int_equal(plot_data_summary(&d, p, 0, 0, PLOT_METRIC_ITL, &s, &err), 0);
		assert_int_equal(s.n, queued ? 1 : 2);
		assert_true(s.median == (queued ? 50 : 105) && s.max == (queued ? 50 : 110));
	}
	plot_data_free(&d);
	/* The same attempt twice is still refused. */
	f = fopen(runs_path, "a");
	put_run(f, "r5", 1, 2, "token", 1);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(plot_data_load(&d, &from, &err), ERROR_INPUT);
	run_directory_close(&from);
	assert_non_null(strstr(err.text, "the same cell, repetition and attempt"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_latest_attempt, set_up, tear_down)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
