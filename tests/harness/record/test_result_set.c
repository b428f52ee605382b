/*
 * Run directories read back: what the recorder wrote comes back whole, what an older version wrote comes back with what
 * absent columns mean, and what is malformed is refused with its place.
 */
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness/record/recorder.h"
#include "harness/record/result_set.h"
#include "tests/support/folder.h"

enum { REPETITIONS = 3, WARMUP = 2, MEASURED = 5 };

static char folder[FOLDER_BYTES], run[FOLDER_BYTES + 8];

static int set_up(void **state)
{
	(void)state;
	alarm(60);
	int rc = folder_make(folder, "result-set");
	snprintf(run, sizeof run, "%s/run", folder);
	return rc;
}

static int tear_down(void **state)
{
	(void)state;
	alarm(0);
	return folder_remove(folder);
}

static void open_set(struct result_set *s)
{
	struct error err = {""};
	if (result_set_open(s, run, &err))
		fail_msg("%s", err.text);
}

static double itl_of(int order, int token)
{
	return 1000 * order + 7 * token + 0.125;
}

static void make_row(struct run_row *row, int order, const char *id, const char *mode, int depth, int repetition,
		     int attempt)
{
	row_init(row);
	row->run_id = id;
	row->status = RUN_STATUS_OK;
	row->order = order;
	row->repetition = repetition;
	row->attempt = attempt;
	row->model = "Gemma, \"tiny\"";
	row->model_path_name = "m.gguf";
	row->type_k = row->type_v = "f16";
	row->fusion = "full";
	row->sync = SYNC_TOKEN;
	row->snapkv = SNAPKV_OFF;
	row->mode = mode;
	row->n_depth = depth;
	row->n_prompt = 0;
	row->n_gen = MEASURED;
	row->n_gpu_layers = 0;
	row->n_threads = 2;
	row->commit = "abc1234";
	row->warmup_tokens = WARMUP;
	row->itl_median_us = itl_of(order, 2);
}

static int put_run(struct recorder *r, const struct run_row *row)
{
	struct token_record t[WARMUP + MEASURED];
	struct telemetry_sample look[2] = {{.time_us = 1 + (double)row->order}, {.time_us = 2, .measured = 1}};
	struct error err = {""};
	for (int i = 0; i < WARMUP + MEASURED; i++) {
		int warm = i < WARMUP;
		t[i] = (struct token_record){.phase = warm ? TOKEN_PHASE_WARMUP : TOKEN_PHASE_MEASURE,
					     .index = warm ? i : i - WARMUP,
					     .pos = i,
					     .event = i ? TOKEN_EVENT_REPLAY : TOKEN_EVENT_CAPTURE,
					     .itl_us = warm ? NAN : itl_of((int)row->order, i - WARMUP),
					     .submit_us = 3,
					     .gpu_us = NAN,
					     .wall_us = NAN,
					     .host_us = NAN};
	}
	for (int i = 0; i < 2; i++) {
		gpu_reading_init(&look[i].gpu);
		look[i].cpu_mhz = look[i].load_average = NAN;
		look[i].gpu.throttle_reasons = 5;
	}
	assert_int_equal(recorder_telemetry(r, row->run_id, look, 2, &err), 0);
	return recorder_run(r, row, t, row->status == RUN_STATUS_SKIPPED ? 0 : WARMUP + MEASURED, &err);
}

/* Two modes, two depths, the deeper one first; one repetition of which was run again. */
static void write_sweep(void)
{
	struct recorder *r;
	struct error err = {""};
	int order = 0;
	if (recorder_open(&r, run, &err))
		fail_msg("%s", err.text);
	for (int depth = 64; depth >= 0; depth -= 64)
		for (int rep = 0; rep < REPETITIONS; rep++)
			for (int mode = 1; mode >= 0; mode--) {
				struct run_row row;
				char id[32];
				snprintf(id, sizeof id, "run-%02d", order);
				make_row(&row, order, id, mode ? "graph-device" : "direct", depth, rep, 0);
				assert_int_equal(put_run(r, &row), 0);
				order++;
			}
	struct run_row row;
	make_row(&row, order, "again", "direct", 64, 1, 1);
	assert_int_equal(put_run(r, &row), 0);
	json_t *env =
		json_pack("{s:{s:s}, s:{s:s, s:n}, s:n}", "cpu", "model", "C", "gpu", "name", "G", "nvml", "seed");
	assert_int_equal(run_directory_save_json(recorder_directory(r), "env.json", env, &err), 0);
	json_decref(env);
	assert_int_equal(recorder_close(r, &err), 0);
}

static void test_read_back(void **state)
{
	(void)state;
	struct result_set s;
	struct error err = {""};
	write_sweep();
	open_set(&s);
	assert_int_equal(s.n_rows, 4 * REPETITIONS + 1);
	assert_true(s.same && !s.cut);
	assert_null(s.sweep);
	/* Cells stand in the axes' order: depth 0 before 64, direct before others. */
	static const struct {
		int depth;
		const char *mode;
	} cells[] = {{0, "direct"}, {0, "graph-device"}, {64, "direct"}, {64, "graph-device"}};
	assert_int_equal(s.n_cells, 4);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(s.cells[i].n_depth, cells[i].depth);
		assert_string_equal(s.cells[i].mode, cells[i].mode);
		assert_string_equal(s.cells[i].model, "m.gguf");
		assert_int_equal(s.cells[i].n_threads, 2);
	}
	for (size_t i = 0; i < s.n_rows; i++) {
		const struct run_row *row = &s.rows[i];
		assert_int_equal(row->order, i);
		assert_int_equal(result_set_find(&s, row->run_id), i);
		assert_string_equal(row->model, "Gemma, \"tiny\"");
		assert_int_equal(s.cells[row->cell].n_depth, row->n_depth);
		assert_string_equal(s.cells[row->cell].mode, row->mode);
		assert_int_equal(row->kv_bytes, ROW_UNKNOWN);
		assert_true(isnan(row->power_w));
		assert_int_equal(row->status, RUN_STATUS_OK);
		const struct column *itl = column_find(row_columns, row_n_columns, "itl_median_us");
		assert_true(fabs(column_number(row, itl) - itl_of((int)i, 2)) < 1e-6);
		/* The second repetition of direct at depth 64 was replaced by the last row. */
		assert_int_equal(s.counts[i], !(row->n_depth == 64 && row->repetition == 1 && row->attempt == 0 &&
						!strcmp(row->mode, "direct")));
		assert_int_equal(s.ranges[i].line, i + 2);
	}
	assert_int_equal(result_set_find(&s, "run-99"), -1);

	/* Tokens, runs in any order. */
	for (size_t k = s.n_rows; k-- > 0;) {
		struct token_record *t;
		struct telemetry_sample *looks;
		double *itl;
		size_t n;
		assert_int_equal(result_set_tokens(&s, k, &t, &n, &err), 0);
		assert_int_equal(n, WARMUP + MEASURED);
		for (int i = 0; i < WARMUP + MEASURED; i++) {
			assert_int_equal(t[i].pos, i);
			assert_int_equal(t[i].phase, i < WARMUP ? TOKEN_PHASE_WARMUP : TOKEN_PHASE_MEASURE);
			assert_int_equal(t[i].event, i ? TOKEN_EVENT_REPLAY : TOKEN_EVENT_CAPTURE);
			assert_true(isnan(t[i].gpu_us) && t[i].submit_us == 3);
		}
		free(t);
		assert_int_equal(result_set_itl(&s, k, &itl, &n, &err), 0);
		assert_int_equal(n, MEASURED);
		for (int i = 0; i < MEASURED; i++)
			assert_true(itl[i] == itl_of((int)k, i));
		free(itl);
		assert_int_equal(result_set_check_tokens(&s, k, &err), 0);
		assert_int_equal(result_set_telemetry(&s, k, &looks, &n, &err), 0);
		assert_int_equal(n, 2);
		assert_true(looks[0].time_us == 1 + (double)k && !looks[0].measured && looks[1].measured);
		assert_int_equal(looks[1].gpu.throttle_reasons, 5);
		free(looks);
	}
	assert_string_equal(result_set_commit(&s), "abc1234");
	assert_string_equal(result_set_machine(&s), "G");
	assert_string_equal(json_string_value(result_set_fact(&s, "cpu model")), "C");
	assert_null(result_set_fact(&s, "gpu nvml"));
	assert_null(result_set_fact(&s, "cpu model name"));
	assert_null(result_set_fact(&s, "no"));
	result_set_close(&s);
	result_set_close(&s);
}

static void put_file(const char *name, const char *text)
{
	char path[64];
	snprintf(path, sizeof path, "/run/%s", name);
	assert_int_equal(folder_put(folder, path, text), 0);
}

#define OLD_HEADER \
	"run_id,status,repetition,model_path_name,n_gpu_layers,type_k,type_v,n_threads,n_depth,n_prompt,n_gen,fusion"
#define OLD_ROW "0,m.gguf,0,f16,f16,2,0,0,3,full"

/* What the first version wrote, columns in another order, and one of a version to come. */
static void test_other_versions(void **state)
{
	(void)state;
	struct result_set s;
	struct token_record *t;
	struct telemetry_sample *looks;
	size_t n;
	struct error err = {""};
	put_file("runs.csv", "zeta," OLD_HEADER ",itl_median_us\n"
			     "future,r0,ok," OLD_ROW ",2.5\n"
			     "future,r1,failed,1,m.gguf,,f16,f16,,0,0,3,full,\n");
	put_file("tokens.csv", "itl_us,run_id,token_index,graph_event,phase\n"
			       "2.5,r0,2,direct,measure\n1.5,r0,0,direct,measure\n2,r0,1,direct,measure\n"
			       "9,nobody,1,direct,measure\n,r0,0,direct,warmup\n");
	open_set(&s);
	assert_false(s.same);
	assert_int_equal(s.n_rows, 2);
	assert_int_equal(s.rows[0].schema_version, 1);
	assert_int_equal(s.rows[0].attempt, 0);
	assert_string_equal(s.rows[0].sync, SYNC_TOKEN);
	assert_string_equal(s.rows[0].snapkv, SNAPKV_OFF);
	assert_string_equal(s.rows[0].mode, MODE_REFERENCE);
	assert_string_equal(s.rows[0].reason, "");
	assert_true(s.rows[0].itl_median_us == 2.5 && isnan(s.rows[1].itl_median_us));
	assert_int_equal(s.rows[0].order, ROW_UNKNOWN);
	assert_int_equal(s.rows[1].n_threads, ROW_UNKNOWN);
	assert_int_equal(s.rows[1].status, RUN_STATUS_FAILED);
	assert_null(s.env);
	assert_null(result_set_commit(&s));
	assert_null(result_set_machine(&s));
	assert_int_equal(result_set_tokens(&s, 0, &t, &n, &err), 0);
	assert_int_equal(n, 4);
	assert_true(isnan(t[0].itl_us) && t[1].itl_us == 1.5 && t[2].itl_us == 2 && t[3].itl_us == 2.5);
	assert_true(isnan(t[3].host_us) && t[3].kernels < 0);
	free(t);
	assert_int_equal(s.tokens.n_others, 1);
	/* Two ranges: another run's line is between. */
	size_t n_ranges;
	assert_non_null(detail_file_ranges(&s.tokens, 0, &n_ranges));
	assert_int_equal(n_ranges, 2);
	assert_int_equal(result_set_tokens(&s, 1, &t, &n, &err), 0);
	assert_true(n == 0 && !t);
	assert_int_equal(result_set_telemetry(&s, 0, &looks, &n, &err), 0);
	assert_true(n == 0 && !looks);
	result_set_close(&s);
	/* A header alone is a set without rows. */
	put_file("runs.csv", OLD_HEADER "\n");
	open_set(&s);
	assert_int_equal(s.n_rows + (size_t)s.n_cells, 0);
	result_set_close(&s);
	/* Cut off in its last line. */
	put_file("runs.csv", OLD_HEADER "\nr0,ok," OLD_ROW "\nr1,ok,0,m.gg");
	open_set(&s);
	assert_true(s.n_rows == 1 && s.cut);
	result_set_close(&s);
}

static void expect_refused(const char *part)
{
	struct result_set s;
	struct error err = {""};
	int rc = result_set_open(&s, run, &err);
	result_set_close(&s);
	assert_int_equal(rc, ERROR_INPUT);
	if (!strstr(err.text, part) || !strstr(err.text, run))
		fail_msg("'%s' lacks '%s'", err.text, part);
}

static void test_malformed_runs(void **state)
{
	(void)state;
	static const struct {
		const char *text, *part;
	} cases[] = {
		{"", "runs.csv: empty"},
		{"\n\n", "runs.csv: empty"},
		{"run_id,status\n", "no column 'repetition'"},
		{OLD_HEADER ",status\n", "two columns are called 'status'"},
		{OLD_HEADER "\nr0,ok," OLD_ROW "\n\"r\n1\",well,0,m.gguf,0,f16,f16,2,0,0,3,full\n",
		 "runs.csv: line 3, column 'status': 'well' is not one of ok, skipped, failed"},
		{OLD_HEADER "\n,ok," OLD_ROW "\n", "line 2, column 'run_id': is empty"},
		{OLD_HEADER "\nr0,," OLD_ROW "\n", "line 2, column 'status': is empty"},
		{OLD_HEADER "\nr0,ok,-1,m.gguf,0,f16,f16,2,0,0,3,full\n", "column 'repetition': is not a whole number"},
		{OLD_HEADER "\nr0,ok,,m.gguf,0,f16,f16,2,0,0,3,full\n", "column 'repetition'"},
		{OLD_HEADER "\nr0,ok,0,m.gguf,0,f16,f16,2,4294967296,0,3,full\n", "column 'n_depth'"},
		{OLD_HEADER "\nr0,ok,0,m.gguf,0,f16,f16,1e3,0,0,3,full\n",
		 "column 'n_threads': '1e3' is not a whole number; restore the line, or take it out"},
		{OLD_HEADER ",itl_median_us\nr0,ok," OLD_ROW ",nan\n", "'nan' is not a finite number"},
		/* A number is one without spaces around it, and no time is below zero. */
		{OLD_HEADER "\nr0,ok,0,m.gguf,0,f16,f16, 2,0,0,3,full\n",
		 "column 'n_threads': ' 2' is not a whole number"},
		{OLD_HEADER "\nr0,ok,0,m.gguf,0,f16,f16,2 ,0,0,3,full\n",
		 "column 'n_threads': '2 ' is not a whole number"},
		{OLD_HEADER ",itl_median_us\nr0,ok," OLD_ROW ",12.5\t\n", "'12.5\\t' is not a finite number from 0 up"},
		{OLD_HEADER ",itl_median_us\nr0,ok," OLD_ROW ",-12.5\n",
		 "column 'itl_median_us': '-12.5' is not a finite number from 0 up"},
		{OLD_HEADER ",prefill_us\nr0,ok," OLD_ROW ",-1e-9\n", "column 'prefill_us': '-1e-9' is not"},
		{OLD_HEADER ",schema_version\nr0,ok," OLD_ROW ",2\n", "line 2 is of schema version 2"},
		{OLD_HEADER "\nr0,ok," OLD_ROW "\nr0,ok,1,m.gguf,0,f16,f16,2,0,0,3,full\n",
		 "lines 2 and 3 have the same run_id"},
		{OLD_HEADER "\nr0,ok," OLD_ROW "\nr1,ok," OLD_ROW "\n",
		 "lines 2 and 3 are the same cell, repetition and attempt"},
		{OLD_HEADER "\nr0,ok\n", "line 2 has 2 fields where the header has 12"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		put_file("runs.csv", cases[i].text);
		expect_refused(cases[i].part);
	}
	put_file("runs.csv", OLD_HEADER "\nr0,ok," OLD_ROW "\n");
	put_file("env.json", "{\"a\": 1");
	expect_refused("env.json: line 1");
	put_file("env.json", "{}");
	put_file("sweep.json", "[1,");
	expect_refused("sweep.json: line 1");
}

static void test_malformed_tokens(void **state)
{
	(void)state;
	static const char header[] = "run_id,phase,token_index,itl_us,graph_event\n";
	static const struct {
		const char *text, *part;
		int opens; /* the file as a whole can be read */
	} cases[] = {
		{"", "tokens.csv: empty", 0},
		{"run_id,phase,token_index,itl_us\n", "no column 'graph_event'", 0},
		{"r1,measure,0,2,direct\nr0,measure,0,2,sideways\n",
		 "tokens.csv: line 3, column 'graph_event': 'sideways' is not one of direct, capture", 1},
		{"r0,measure,0,2\n", "line 2 has 4 fields", 1},
		{"r0,measure,0,x,direct\n", "line 2, column 'itl_us'", 1},
		{"r0,measure,-1,2,direct\n", "line 2, column 'token_index'", 1},
		{"r0,measure,,2,direct\n", "run r0: a token without token_index", 1},
		{"r0,,0,2,direct\n", "run r0: a token without phase", 1},
		{"r0,measure,0,2,\n", "run r0: a token without graph_event", 1},
		{"r0,measure,0,2,direct\nr0,measure,0,3,direct\n", "run r0: token 0 of its measure is there twice", 1},
		{"r0,measure,0,2,dir\x1b"
		 "ect\n",
		 "line 2 has a byte 0x1b", 1},
	};
	put_file("runs.csv", OLD_HEADER "\nr0,ok," OLD_ROW "\nr1,ok,1,m.gguf,0,f16,f16,2,0,0,3,full\n");
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct result_set s;
		struct token_record *t;
		struct error err = {""};
		char text[512];
		size_t n;
		snprintf(text, sizeof text, "%s%s", cases[i].opens ? header : "", cases[i].text);
		put_file("tokens.csv", text);
		open_set(&s);
		assert_int_equal(result_set_tokens(&s, 0, &t, &n, &err), ERROR_INPUT);
		if (!strstr(err.text, cases[i].part))
			fail_msg("'%s' lacks '%s'", err.text, cases[i].part);
		assert_true(!t && n == 0);
		/* The other run's are as they were. */
		if (cases[i].opens) {
			assert_int_equal(result_set_tokens(&s, 1, &t, &n, &err), 0);
			assert_int_equal(n, i == 2);
			free(t);
		}
		result_set_close(&s);
	}
}

/* Every token that is missing, there twice or of no phase is found, whichever it is. */
static void test_check_tokens(void **state)
{
	(void)state;
	struct result_set s;
	struct error err = {""};
	char text[4096];
	for (int gone = -1; gone < 5; gone++) {
		int used = snprintf(text, sizeof text, "run_id,phase,token_index,itl_us,graph_event\n");
		for (int i = 0; i < 5; i++)
			if (i != gone)
				used += snprintf(text + used, sizeof text - (size_t)used, "r0,%s,%d,1,direct\n",
						 i < 2 ? "warmup" : "measure", i < 2 ? i : i - 2);
		put_file("tokens.csv", text);
		for (int ok = 0; ok < 2; ok++) {
			snprintf(text, sizeof text, OLD_HEADER ",warmup_tokens\nr0,%s," OLD_ROW ",2\n",
				 ok ? "ok" : "interrupted");
			put_file("runs.csv", text);
			open_set(&s);
			/* Of a run that was interrupted any number was measured, without a hole. */
			int whole = gone < 0 || (gone == 4 && !ok);
			assert_int_equal(result_set_check_tokens(&s, 0, &err), whole ? 0 : ERROR_INPUT);
			if (!whole)
				assert_non_null(strstr(err.text, "run r0"));
			result_set_close(&s);
		}
	}
}

/* Files that are too large are not read, however small a part of them is there. */
static void test_bounds(void **state)
{
	(void)state;
	struct result_set s;
	struct token_record *t;
	size_t n;
	struct error err = {""};
	put_file("runs.csv", OLD_HEADER "\nr0,ok," OLD_ROW "\n");
	put_file("tokens.csv", "run_id,phase,token_index,itl_us,graph_event\n");
	char path[sizeof run + 16];
	snprintf(path, sizeof path, "%s/tokens.csv", run);
	assert_int_equal(truncate(path, (off_t)10 << 30), 0);
	open_set(&s);
	assert_int_equal(result_set_tokens(&s, 0, &t, &n, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "larger than 4294967296 bytes"));
	result_set_close(&s);
	snprintf(path, sizeof path, "%s/runs.csv", run);
	assert_int_equal(truncate(path, (off_t)10 << 30), 0);
	expect_refused("larger than 268435456 bytes");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_read_back),        TEST(test_other_versions), TEST(test_malformed_runs),
		TEST(test_malformed_tokens), TEST(test_check_tokens),   TEST(test_bounds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
