/* Run directories: what comes back through another parser, and what a killed sweep leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#include "base/random.h"
#include "harness/measure/runner.h"
#include "harness/record/recorder.h"
#include "tests/support/fake_workload.h"
#include "tests/support/folder.h"
#include "tests/support/read_csv.h"

#define BAD "\xef\xbf\xbd" /* U+FFFD */

static char folder[FOLDER_BYTES];

static int set_up(void **state)
{
	(void)state;
	return folder_make(folder, "recorder");
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(folder);
}

static char *in_folder(const char *name)
{
	static char path[2][256];
	static int turn;
	turn = !turn;
	snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
	return path[turn];
}

/* The columns that plots and comparisons rely on, as results/SCHEMA.md has them. */
static const char runs_columns[] =
	"schema_version,run_id,status,reason,order,repetition,model,arch,weight_type,"
	"model_bytes,model_parameters,test,"
	"model_path_name,n_gpu_layers,type_k,type_v,n_threads,n_ubatch,snapkv,n_depth,n_prompt,n_gen,prefill_rows,"
	"fusion,sync,prefill_mode,mode,"
	"model_"
	"hash,"
	"device,commit,tokens_per_s,prefill_us,"
	"prefill_tokens_per_s,itl_median_us,itl_mad_us,itl_p50_us,itl_p90_us,itl_p99_us,itl_max_us,submit_median_us,"
	"submit_mad_us,submit_p50_us,submit_p90_us,submit_max_us,gpu_median_us,wall_median_us,capture_us,"
	"instantiate_us,upload_us,captures,fallbacks,graph_nodes,kernel_nodes,positional_nodes,"
	"api_launches_per_token,node_updates_per_token,kernels_per_token,copies_per_token,weight_bytes_per_token,"
	"kv_bytes_per_token,achieved_gb_s,bandwidth_gb_s,bandwidth_share,prefill_flops,prefill_tflop_s,gemm_tflop_s,"
	"gemm_share,"
	"memory_peak_bytes,kv_bytes,logits_hash,"
	"break_even_tokens,warmup_tokens,seed,started_utc,n_gpu_layers_asked,n_threads_asked,n_context,"
	"head_device,host_weight_bytes_per_token,gpu_weight_bytes_per_token,crossing_bytes_per_token,"
	"snapkv_budget,evicted_entries,evict_us,memory_before_evict_bytes,memory_after_evict_bytes,memory_bytes,"
	"kl_divergence,kl_divergence_max,top1_agreement,quality_tokens,"
	"host_median_us,"
	"sm_clock_mhz,memory_clock_mhz,power_w,energy_per_token_j,temperature_c,gpu_utilization,throttle_reasons,"
	"cpu_mhz,load_average,context_switches,involuntary_switches,minor_faults,major_faults,telemetry_samples,"
	"attempt,"
	"clock_low,until,submit_p99_us,copy_nodes,launch_hash,launches_differ,beyond_context,prefill_weights,"
	"context_source,context_prefilled_tokens,"
	"ttft_us,api_launches_per_prompt,node_updates_per_prompt,kernels_per_prompt,copies_per_prompt,text_hash,"
	"machine,gpu,file_type";
static const char tokens_columns[] =
	"schema_version,run_id,phase,token_index,pos,kv_len,submit_us,gpu_us,wall_us,itl_us,graph_event,"
	"api_launches,node_updates,kernels,copies,host_us";

static void check_header(const struct csv_rows *r, const char *columns)
{
	char *copy = strdup(columns), *rest = NULL;
	int n = 0;
	assert_non_null(copy);
	for (char *name = strtok_r(copy, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
		assert_true(n < csv_width(r, 0));
		assert_string_equal(r->fields[n++], name);
	}
	assert_int_equal(n, csv_width(r, 0));
	free(copy);
}

/* Every column of a look, from values that all differ. */
static void test_telemetry_columns(void **state)
{
	(void)state;
	struct recorder *rec;
	struct csv_rows r;
	const struct telemetry_sample looks[2] = {
		{.measured = 1,
		 .time_us = 1.5,
		 .gpu = {.sm_clock_mhz = 2,
			 .memory_clock_mhz = 3,
			 .power_w = 4,
			 .energy_j = 5,
			 .temperature_c = 6,
			 .utilization = 7,
			 .memory_utilization = 8,
			 .throttle_reasons = 4},
		 .cpu_mhz = 9,
		 .load_average = 10},
		{.time_us = 2.5, .gpu = {NAN, NAN, NAN, NAN, NAN, NAN, NAN, -1}, .cpu_mhz = NAN, .load_average = NAN},
	};
	static const char *const columns[][3] = {
		{"schema_version", "1", "1"},
		{"run_id", "x", "x"},
		{"phase", "measure", "warmup"},
		{"time_us", "1.5", "2.5"},
		{"sm_clock_mhz", "2", ""},
		{"memory_clock_mhz", "3", ""},
		{"power_w", "4", ""},
		{"energy_j", "5", ""},
		{"temperature_c", "6", ""},
		{"gpu_utilization", "7", ""},
		{"memory_utilization", "8", ""},
		{"throttle_reasons", "sw_power_cap", ""},
		{"cpu_mhz", "9", ""},
		{"load_average", "10", ""},
	};
	assert_int_equal(recorder_open(&rec, in_folder("run"), NULL), 0);
	assert_int_equal(recorder_telemetry(rec, "x", looks, 2, NULL), 0);
	assert_int_equal(recorder_close(rec, NULL), 0);
	assert_int_equal(csv_read(&r, in_folder("run/telemetry.csv")), 0);
	assert_int_equal(r.n_rows, 3);
	assert_int_equal(csv_width(&r, 0), (int)(sizeof columns / sizeof *columns));
	for (size_t c = 0; c < sizeof columns / sizeof *columns; c++)
		for (int i = 0; i < 2; i++)
			assert_string_equal(csv_at(&r, i + 1, columns[c][0]), columns[c][i + 1]);
	csv_rows_free(&r);
}

/* The same of a token. */
static void test_token_columns(void **state)
{
	(void)state;
	struct recorder *rec;
	struct run_row row;
	struct csv_rows r;
	const struct token_record token = {.phase = TOKEN_PHASE_MEASURE,
					   .index = 2,
					   .pos = 3,
					   .kv_len = 4,
					   .submit_us = 5.5,
					   .gpu_us = 6.5,
					   .wall_us = 7.5,
					   .itl_us = 8.5,
					   .event = TOKEN_EVENT_UPDATE,
					   .api_launches = 9,
					   .node_updates = 10,
					   .kernels = 11,
					   .copies = 12,
					   .host_us = 13.5,
					   .done_ns = 14};
	static const char *const columns[][2] = {
		{"schema_version", "1"},
		{"run_id", "x"},
		{"phase", "measure"},
		{"token_index", "2"},
		{"pos", "3"},
		{"kv_len", "4"},
		{"submit_us", "5.5"},
		{"gpu_us", "6.5"},
		{"wall_us", "7.5"},
		{"itl_us", "8.5"},
		{"graph_event", "update"},
		{"api_launches", "9"},
		{"node_updates", "10"},
		{"kernels", "11"},
		{"copies", "12"},
		{"host_us", "13.5"},
	};
	row_init(&row);
	row.run_id = "x";
	assert_int_equal(recorder_open(&rec, in_folder("run"), NULL), 0);
	assert_int_equal(recorder_run(rec, &row, &token, 1, NULL), 0);
	assert_int_equal(recorder_close(rec, NULL), 0);
	assert_int_equal(csv_read(&r, in_folder("run/tokens.csv")), 0);
	assert_int_equal(r.n_rows, 2);
	assert_int_equal(csv_width(&r, 0), (int)(sizeof columns / sizeof *columns));
	for (size_t c = 0; c < sizeof columns / sizeof *columns; c++)
		assert_string_equal(csv_at(&r, 1, columns[c][0]), columns[c][1]);
	csv_rows_free(&r);
}

static void test_read_back(void **state)
{
	(void)state;
	static const char nasty[] = "no memory, \"really\",\nnot\r\n one; byte,\"\" \t 50 % Gr\xc3\xb6\xc3\x9f\xe2\x82";
	static const char clean[] =
		"no memory, \"really\"," BAD "not" BAD BAD " one; byte,\"\" " BAD " 50 % Gr\xc3\xb6\xc3\x9f" BAD;
	struct recorder *rec;
	struct error err = {""};
	/* Parents are made too. */
	char *path = in_folder("a/b/run");
	assert_int_equal(recorder_open(&rec, path, &err), 0);
	struct run_row row;
	row_init(&row);
	row.run_id = "x-00001";
	row.status = RUN_STATUS_FAILED;
	row.reason = nasty;
	row.order = 0;
	row.itl_median_us = 1234567.890625;
	row.n_gpu_layers = -1;
	struct token_record tokens[2] = {
		{.phase = TOKEN_PHASE_WARMUP,
		 .pos = 7,
		 .kv_len = 8,
		 .itl_us = 0.25,
		 .gpu_us = NAN,
		 .kernels = 3,
		 .host_us = 0.5},
		{.phase = TOKEN_PHASE_MEASURE,
		 .index = 1,
		 .event = TOKEN_EVENT_FALLBACK,
		 .wall_us = 1e-3,
		 .host_us = NAN},
	};
	assert_int_equal(recorder_run(rec, &row, tokens, 2, &err), 0);
	row.run_id = "x-00002";
	row.reason = "";
	assert_int_equal(recorder_run(rec, &row, NULL, 0, &err), 0);
	assert_int_equal(recorder_close(rec, &err), 0);

	struct csv_rows r;
	assert_int_equal(csv_read(&r, in_folder("a/b/run/runs.csv")), 0);
	check_header(&r, runs_columns);
	assert_int_equal(r.n_rows, 3);
	assert_string_equal(csv_at(&r, 1, "schema_version"), "1");
	assert_string_equal(csv_at(&r, 1, "reason"), clean);
	assert_string_equal(csv_at(&r, 1, "order"), "0");
	assert_string_equal(csv_at(&r, 1, "n_gpu_layers"), "-1");
	assert_true(fabs(strtod(csv_at(&r, 1, "itl_median_us"), NULL) - 1234567.890625) < 0.001);
	/* Unknown is empty. */
	static const char *const unknown[] = {"submit_max_us", "captures", "model", "kv_bytes", "seed", "repetition"};
	for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
		assert_string_equal(csv_at(&r, 1, unknown[i]), "");
	assert_string_equal(csv_at(&r, 2, "reason"), "");
	assert_string_equal(csv_at(&r, 2, "run_id"), "x-00002");
	csv_rows_free(&r);

	assert_int_equal(csv_read(&r, in_folder("a/b/run/tokens.csv")), 0);
	check_header(&r, tokens_columns);
	assert_int_equal(r.n_rows, 3);
	assert_string_equal(csv_at(&r, 1, "phase"), "warmup");
	assert_string_equal(csv_at(&r, 1, "pos"), "7");
	assert_string_equal(csv_at(&r, 1, "kv_len"), "8");
	assert_string_equal(csv_at(&r, 1, "gpu_us"), "");
	assert_string_equal(csv_at(&r, 1, "itl_us"), "0.25");
	assert_string_equal(csv_at(&r, 1, "kernels"), "3");
	assert_string_equal(csv_at(&r, 1, "host_us"), "0.5");
	assert_string_equal(csv_at(&r, 2, "host_us"), "");
	assert_string_equal(csv_at(&r, 2, "phase"), "measure");
	assert_string_equal(csv_at(&r, 2, "token_index"), "1");
	assert_string_equal(csv_at(&r, 2, "graph_event"), "fallback");
	assert_string_equal(csv_at(&r, 2, "wall_us"), "0.001");
	csv_rows_free(&r);
}

static void test_refuses(void **state)
{
	(void)state;
	struct recorder *rec;
	struct error err = {""};
	assert_int_equal(recorder_open(&rec, in_folder("run"), &err), 0);
	assert_int_equal(recorder_close(rec, &err), 0);
	assert_int_equal(recorder_open(&rec, in_folder("run"), &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "not empty"));
	assert_null(rec);
	assert_int_equal(mkdir(in_folder("empty"), 0777), 0);
	assert_int_equal(recorder_open(&rec, in_folder("empty"), &err), 0);
	assert_int_equal(recorder_close(rec, &err), 0);
	assert_int_equal(recorder_open(&rec, in_folder("run/runs.csv/below"), &err), ERROR_IO);
	assert_int_equal(recorder_open(&rec, "", &err), ERROR_INPUT);
	assert_int_equal(recorder_close(NULL, &err), 0);
}

static int take_run(void *ctx, const struct run_row *row, const struct token_record *tokens, int n, struct error *err)
{
	return recorder_run(ctx, row, tokens, n, err);
}

/* A sweep on the scripted workload, a few milliseconds a run. Never returns. */
static void sweep_until_killed(const char *path)
{
	struct matrix m = {0};
	struct fake fake;
	struct runner_options o;
	struct cell *cells;
	int n;
	struct recorder *rec;
	struct runner_summary summary;
	fake_init(&fake);
	fake.sleep_us = 20;
	runner_options_default(&o);
	o.repetitions = 1000;
	if (matrix_add(&m, AXIS_MODEL, "m.gguf", NULL) || matrix_add(&m, AXIS_FUSION, "full", NULL) ||
	    matrix_add(&m, AXIS_SYNC, SYNC_TOKEN, NULL) || matrix_add(&m, AXIS_MODE, "direct,graph-device", NULL) ||
	    matrix_add(&m, AXIS_TYPE_K, "f16", NULL) || matrix_add(&m, AXIS_TYPE_V, "f16", NULL) ||
	    matrix_add(&m, AXIS_GEN, "16,24", NULL) || matrix_add(&m, AXIS_DEPTH, "0", NULL) ||
	    matrix_add(&m, AXIS_GPU_LAYERS, "0", NULL) || matrix_add(&m, AXIS_THREADS, "0", NULL) ||
	    matrix_cells(&m, NULL, &cells, &n, NULL) || recorder_open(&rec, path, NULL))
		_exit(1);
	struct runner_sink sink = {.ctx = rec, .run = take_run};
	_exit(runner_run(cells, n, &fake.source, &o, &sink, &summary, NULL) ? 1 : 2);
}

/* Rows of `run` in tokens, of a full width. */
static int tokens_of(const struct csv_rows *tokens, const char *run)
{
	int n = 0;
	for (int i = 1; i < tokens->n_rows; i++)
		n += csv_width(tokens, i) == csv_width(tokens, 0) && !strcmp(csv_at(tokens, i, "run_id"), run);
	return n;
}

static void test_killed(void **state)
{
	(void)state;
	uint64_t seed = 11;
	int rows = 0;
	for (int i = 0; i < 12; i++) {
		char name[16], file[48];
		snprintf(name, sizeof name, "k%d", i);
		char *path = in_folder(name);
		pid_t child = fork();
		assert_true(child >= 0);
		if (child == 0)
			sweep_until_killed(path);
		/* Not before the directory is there: earlier there is nothing to read. */
		snprintf(file, sizeof file, "%s/runs.csv", name);
		struct stat s;
		while (stat(in_folder(file), &s) || s.st_size == 0)
			usleep(200);
		/* Every other time with rows there, however slow the machine is. */
		for (off_t header = s.st_size; i % 2 && s.st_size == header; usleep(200))
			assert_int_equal(stat(in_folder(file), &s), 0);
		usleep((useconds_t)random_below(&seed, 40000));
		assert_int_equal(kill(child, SIGKILL), 0);
		int status;
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFSIGNALED(status));

		struct csv_rows runs, tokens;
		assert_int_equal(csv_read(&runs, in_folder(file)), 0);
		snprintf(file, sizeof file, "%s/tokens.csv", name);
		assert_int_equal(csv_read(&tokens, in_folder(file)), 0);
		check_header(&runs, runs_columns);
		check_header(&tokens, tokens_columns);
		for (int t = 1; t + 1 < tokens.n_rows; t++)
			assert_int_equal(csv_width(&tokens, t), csv_width(&tokens, 0));
		for (int r = 1; r < runs.n_rows; r++) {
			if (r + 1 == runs.n_rows && csv_width(&runs, r) < csv_width(&runs, 0))
				continue;
			int n = atoi(csv_at(&runs, r, "warmup_tokens")) + atoi(csv_at(&runs, r, "n_gen"));
			assert_int_equal(tokens_of(&tokens, csv_at(&runs, r, "run_id")), n);
			assert_string_equal(csv_at(&runs, r, "status"), "ok");
			rows++;
		}
		csv_rows_free(&runs);
		csv_rows_free(&tokens);
	}
	assert_true(rows >= 6);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_telemetry_columns), TEST(test_token_columns), TEST(test_read_back),
		TEST(test_refuses),           TEST(test_killed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
