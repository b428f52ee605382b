/*
 * llama-bench's formats, read back by other programs: jansson, libcsv, and SQLite through its shell. Names with
 * everything that needs quoting, modes that a comparison must not average, and what is left out.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "harness/measure/measured_row.h"
#include "harness/report/llama_bench.h"
#include "harness/report/llama_output.h"
#include "tests/support/folder.h"
#include "tests/support/read_csv.h"

#define NAME "It's \"E4B\", 'tiny';\nDROP | TABLE --\\\xff"
/* As base/text.h makes names: U+FFFD for a line end, and for what is no UTF-8. */
#define CLEAN_NAME                          \
	"It's \"E4B\", 'tiny';\xef\xbf\xbd" \
	"DROP | TABLE --\\\xef\xbf\xbd"

/* What llama.cpp's compare-llama-bench.py has to find, of its versions from 2025 to 2026 together: its key... */
static const char *const key_fields[] = {
	"cpu_info",       "gpu_info",      "backends",   "n_gpu_layers", "n_cpu_moe",    "tensor_buft_overrides",
	"model_filename", "model_type",    "n_batch",    "n_ubatch",     "embeddings",   "cpu_mask",
	"cpu_strict",     "poll",          "n_threads",  "type_k",       "type_v",       "use_mmap",
	"load_mode",      "no_kv_offload", "split_mode", "main_gpu",     "tensor_split", "flash_attn",
	"n_prompt",       "n_gen",         "n_depth",    "fit_target",   "fit_min_ctx"};
/* ...and what else llama-bench writes. */
static const char *const other_fields[] = {"build_commit", "build_number",  "model_size", "model_n_params", "devices",
					   "lazy_mode",    "no_op_offload", "no_host",    "repack",         "test_time",
					   "avg_ns",       "stddev_ns",     "avg_ts",     "stddev_ts"};
/* ...and what is null where there is no rate. */
static const char *const rate_fields[] = {"avg_ns", "stddev_ns", "avg_ts", "stddev_ts", "submit_median_us"};
enum { N_KEYS = sizeof key_fields / sizeof *key_fields, N_OTHERS = sizeof other_fields / sizeof *other_fields };

#define OF_MODEL .model = "d/m.gguf", .type_k = "f16", .type_v = "f16"
#define GENERATION OF_MODEL, .n_depth = 4096, .n_gen = 128
static const struct cell cells[] = {
	{OF_MODEL, .fusion = "full", .mode = "direct", .n_prompt = 512},
	{GENERATION, .fusion = "full", .mode = "direct"},
	{GENERATION, .fusion = "full", .mode = "graph-device"},
	{GENERATION, .fusion = "none", .mode = "graph-device"},
	{GENERATION, .fusion = "none", .mode = "graph-params"},
	{GENERATION, .fusion = "full", .mode = "direct", .snapkv = "1024,window=64"},
};
enum { N_CELLS = sizeof cells / sizeof *cells, N_RATED = 4 };

static char folder[FOLDER_BYTES];
static struct llama_bench *bench;
static json_t *records;

static void add_run(const struct cell *of, int cell, int repetition, enum run_status status, double rate,
		    const char *commit)
{
	struct run_row r;
	char label[CELL_LABEL_SIZE];
	struct workload_facts f = {.model = NAME,
				   .arch = "gemma4",
				   .weight_type = "Q8_0",
				   .device = "NVIDIA H100",
				   .n_threads = 1,
				   .n_gpu_layers = 42,
				   .model_bytes = 8123456789,
				   .model_parameters = 7000000001,
				   .weight_bytes_per_token = -1,
				   .host_weight_bytes_per_token = -1,
				   .gpu_weight_bytes_per_token = -1,
				   .crossing_bytes_per_token = -1,
				   .kv_bytes = -1};
	static int order;
	char id[32];
	row_init(&r);
	cell_label(&of[cell], label);
	row_set_cell(&r, &of[cell], label, &f);
	snprintf(id, sizeof id, "run-%s-%d", commit, order++);
	r.run_id = id;
	r.repetition = repetition;
	r.model_path_name = "m \"x\", 'y'.gguf";
	r.cell = cell;
	r.status = status;
	r.reason = status == RUN_STATUS_OK ? "" : "it's no \"ok\"";
	r.commit = commit;
	r.started_utc = "2026-01-02T03:04:05Z";
	r.tokens_per_s = rate;
	r.submit_median_us = rate / 10;
	assert_int_equal(llama_bench_add(bench, &r, NULL), 0);
}

static void add(int cell, enum run_status status, double rate, const char *commit)
{
	static int repetition; /* never the same one twice */
	add_run(cells, cell, repetition++, status, rate, commit);
}

/* Four cells have rates, of which one loses a repetition; one is wrong once, and one never runs. */
static void collect(const char *commit, double faster)
{
	struct llama_facts facts = {
		.cpu = "CPU, \"quick\"", .gpu = "NVIDIA H100", .settings = "ple-host", .build_number = 77};
	json_decref(records);
	assert_int_equal(llama_bench_open(&bench, cells, N_CELLS, &facts, NULL), 0);
	add(0, RUN_STATUS_OK, 1000 * faster, commit);
	add(1, RUN_STATUS_OK, 100 * faster, commit);
	add(1, RUN_STATUS_OK, 200 * faster, commit);
	add(2, RUN_STATUS_OK, 400 * faster, commit);
	add(2, RUN_STATUS_FAILED, NAN, commit);
	add(3, RUN_STATUS_OK, 500 * faster, commit);
	add(3, RUN_STATUS_WRONG, 500 * faster, commit);
	add(4, RUN_STATUS_SKIPPED, NAN, commit);
	add(5, RUN_STATUS_OK, 800 * faster, commit);
	assert_int_equal(llama_bench_records(bench, &records, NULL), 0);
	llama_bench_close(bench);
}

static int set_up(void **state)
{
	(void)state;
	records = NULL;
	if (folder_make(folder, "llama"))
		return -1;
	collect("0123456789", 1);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	json_decref(records);
	return folder_remove(folder);
}

static void in_folder(const char *name, char out[128])
{
	snprintf(out, 128, "%s/%s", folder, name);
}

static void write_out(const char *format, const char *name)
{
	char path[128];
	in_folder(name, path);
	FILE *f = fopen(path, "a");
	assert_non_null(f);
	assert_int_equal(llama_output_write(records, (enum llama_format)llama_format_parse(format), f, NULL), 0);
	assert_int_equal(fclose(f), 0);
}

static const char *string_of(const json_t *record, const char *field)
{
	const char *s = json_string_value(json_object_get(record, field));
	assert_non_null(s);
	return s;
}

static double number_of(const json_t *record, const char *field)
{
	assert_true(json_is_number(json_object_get(record, field)));
	return json_number_value(json_object_get(record, field));
}

static void near(double x, double expected)
{
	assert_true(fabs(x - expected) <= 1e-6 * fabs(expected));
}

static void check_records(const json_t *list)
{
	static const char *const statuses[N_CELLS] = {"ok", "ok", "failed", "wrong", "skipped", "ok"};
	assert_int_equal(json_array_size(list), N_CELLS);
	for (size_t r = 0; r < N_CELLS; r++) {
		const json_t *record = json_array_get(list, r);
		for (int i = 0; i < N_KEYS; i++) /* nulls are equal to nothing, and the row would be lost */
			if (!json_object_get(record, key_fields[i]) ||
			    json_is_null(json_object_get(record, key_fields[i])))
				fail_msg("%s is not there", key_fields[i]);
		for (int i = 0; i < N_OTHERS; i++)
			if (!json_object_get(record, other_fields[i]))
				fail_msg("%s is not there", other_fields[i]);
		assert_string_equal(string_of(record, "model_type"), CLEAN_NAME " Q8_0");
		assert_string_equal(string_of(record, "cpu_info"), "CPU, \"quick\"");
		assert_string_equal(string_of(record, "model_filename"), "m \"x\", 'y'.gguf");
		assert_int_equal(number_of(record, "model_size"), 8123456789);
		assert_int_equal(number_of(record, "model_n_params"), 7000000001);
		assert_int_equal(number_of(record, "build_number"), 77);
		assert_int_equal(number_of(record, "n_gpu_layers"), 42);
		assert_string_equal(string_of(record, "status"), statuses[r]);
		assert_string_equal(string_of(record, "reason"), strcmp(statuses[r], "ok") ? "it's no \"ok\"" : "");
		assert_int_equal(number_of(record, "repetitions") > 0, r != 3 && r != 4);
		for (int i = 0; (r == 3 || r == 4) && i < 5; i++)
			assert_true(json_is_null(json_object_get(record, rate_fields[i])));
	}
	const json_t *prompt = json_array_get(list, 0), *direct = json_array_get(list, 1),
		     *graph = json_array_get(list, 2);
	assert_string_equal(string_of(prompt, "test"), "pp512");
	assert_string_equal(string_of(direct, "test"), "tg128 @ d4096");
	assert_string_equal(string_of(prompt, "backends"), "CUDA direct full ple-host");
	assert_string_equal(string_of(graph, "backends"), "CUDA graph-device full ple-host");
	assert_int_equal(number_of(prompt, "n_prompt"), 512);
	assert_int_equal(number_of(direct, "n_depth"), 4096);
	assert_string_equal(string_of(json_array_get(list, 5), "backends"),
			    "CUDA direct full snapkv=1024,window=64 ple-host");
	near(number_of(prompt, "avg_ns"), 512e6);
	near(number_of(prompt, "avg_ts"), 1000);
	assert_true(number_of(prompt, "stddev_ts") == 0);
	/* 128 tokens at 100 and 200 a second: 1.28 and 0.64 s; their deviation is half their distance times sqrt 2. */
	near(number_of(direct, "avg_ns"), 0.96e9);
	near(number_of(direct, "stddev_ns"), 0.32e9 * sqrt(2));
	near(number_of(direct, "avg_ts"), 150);
	near(number_of(direct, "stddev_ts"), 50 * sqrt(2));
	near(number_of(direct, "submit_median_us"), 15);
	assert_int_equal(number_of(direct, "repetitions"), 2);
	assert_int_equal(number_of(graph, "repetitions"), 1);
	assert_true(json_is_null(json_object_get(direct, "bandwidth_share")));
}

static void check_samples(const json_t *record)
{
	const json_t *ns = json_object_get(record, "samples_ns"), *ts = json_object_get(record, "samples_ts");
	assert_int_equal(json_array_size(ns), 2);
	assert_int_equal(json_array_size(ts), 2);
	assert_int_equal(json_integer_value(json_array_get(ns, 0)), 1280000000);
	near(json_number_value(json_array_get(ts, 1)), 200);
}

static void test_json(void **state)
{
	(void)state;
	char path[128];
	write_out("json", "x.json");
	in_folder("x.json", path);
	json_t *list = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
	check_records(list);
	check_samples(json_array_get(list, 1));
	assert_true(json_is_false(json_object_get(json_array_get(list, 0), "embeddings")));
	json_decref(list);
}

static void test_jsonl(void **state)
{
	(void)state;
	char path[128], *line = NULL;
	size_t size = 0;
	write_out("jsonl", "x.jsonl");
	in_folder("x.jsonl", path);
	FILE *f = fopen(path, "r");
	json_t *list = json_array();
	while (getline(&line, &size, f) > 0)
		assert_int_equal(json_array_append_new(list, json_loads(line, JSON_REJECT_DUPLICATES, NULL)), 0);
	free(line);
	fclose(f);
	check_records(list);
	check_samples(json_array_get(list, 1));
	json_decref(list);
}

/* Text to the types that check_records expects. */
static json_t *typed(const char *text, enum llama_type type)
{
	if (type == LLAMA_TEXT)
		return json_string(text);
	if (!*text)
		return json_null();
	return type == LLAMA_REAL ? json_real(strtod(text, NULL)) : json_integer(strtoll(text, NULL, 10));
}

static void test_csv(void **state)
{
	(void)state;
	char path[128];
	struct csv_rows rows;
	write_out("csv", "x.csv");
	in_folder("x.csv", path);
	assert_int_equal(csv_read(&rows, path), 0);
	assert_int_equal(rows.n_rows, 1 + N_CELLS);
	json_t *list = json_array();
	for (int r = 1; r < rows.n_rows; r++) {
		assert_int_equal(csv_width(&rows, r), csv_width(&rows, 0));
		json_t *record = json_object();
		for (int i = 0; i < llama_n_fields; i++)
			json_object_set_new(record, llama_fields[i].name,
					    typed(csv_at(&rows, r, llama_fields[i].name), llama_fields[i].type));
		json_array_append_new(list, record);
	}
	check_records(list);
	json_decref(list);
	csv_rows_free(&rows);
}

/* Runs statements from a file on the folder's database; what they select, as JSON. */
static json_t *sqlite(const char *script)
{
	char command[512], path[128];
	snprintf(command, sizeof command, "sqlite3 -batch -bail -json %s/db.sqlite <%s/%s >%s/selected 2>&1", folder,
		 folder, script, folder);
	int code = system(command);
	in_folder("selected", path);
	json_t *list = json_load_file(path, 0, NULL);
	if (code)
		fail_msg("sqlite3 (ci/setup.sh installs it) ended with %d: %s", code, command);
	return list;
}

static void put(const char *name, const char *text)
{
	char path[128];
	snprintf(path, sizeof path, "/%s", name);
	assert_int_equal(folder_put(folder, path, text), 0);
}

static void test_sql(void **state)
{
	(void)state;
	write_out("sql", "x.sql");
	assert_null(sqlite("x.sql")); /* says nothing */
	put("all.sql", "SELECT * FROM llama_bench ORDER BY rowid;");
	json_t *list = sqlite("all.sql");
	check_records(list);
	json_decref(list);
	put("types.sql", "SELECT DISTINCT typeof(avg_ns) AS a, typeof(avg_ts) AS b, typeof(build_commit) AS c, "
			 "typeof(bandwidth_share) AS d FROM llama_bench WHERE avg_ts IS NOT NULL;");
	list = sqlite("types.sql");
	assert_int_equal(json_array_size(list), 1);
	assert_string_equal(string_of(json_array_get(list, 0), "a"), "integer");
	assert_string_equal(string_of(json_array_get(list, 0), "b"), "real");
	assert_string_equal(string_of(json_array_get(list, 0), "c"), "text");
	assert_string_equal(string_of(json_array_get(list, 0), "d"), "null");
	json_decref(list);
}

/* As the script compares the two commits of a table. */
static void compare(const char *table)
{
	char query[4096];
	sprintf(query,
		"SELECT a.test, a.mode, COUNT(*) AS n, AVG(b.avg_ts) / AVG(a.avg_ts) AS speedup FROM %s a JOIN %s b "
		"ON a.build_commit = '0123456789' AND b.build_commit = 'fedcba9876'",
		table, table);
	for (int i = 0; i < N_KEYS; i++)
		sprintf(query + strlen(query), " AND a.%s = b.%s", key_fields[i], key_fields[i]);
	strcat(query, " GROUP BY a.backends, a.n_prompt, a.n_gen, a.n_depth;");
	put("query.sql", query);
	json_t *list = sqlite("query.sql");
	assert_int_equal(json_array_size(list), N_RATED);
	for (size_t i = 0; i < N_RATED; i++) {
		assert_int_equal(number_of(json_array_get(list, i), "n"), 1);
		near(number_of(json_array_get(list, i), "speedup"), 1.25);
	}
	json_decref(list);
}

/*
 * Two commits in one database, joined over the key: every cell that has rates finds its twin, and no other one. Of CSV
 * the script makes empty text, which is equal to itself, of what is null.
 */
static void test_compared(void **state)
{
	(void)state;
	char import[400];
	write_out("sql", "x.sql");
	write_out("csv", "a.csv");
	collect("fedcba9876", 1.25);
	write_out("sql", "x.sql");
	write_out("csv", "b.csv");
	assert_null(sqlite("x.sql"));
	compare("llama_bench");
	sprintf(import, ".import --csv %s/a.csv from_csv\n.import --csv --skip 1 %s/b.csv from_csv\n", folder, folder);
	put("import.sql", import);
	assert_null(sqlite("import.sql"));
	compare("from_csv");
}

static void test_markdown(void **state)
{
	(void)state;
	char path[128], text[8192];
	write_out("md", "x.md");
	in_folder("x.md", path);
	FILE *f = fopen(path, "r");
	text[fread(text, 1, sizeof text - 1, f)] = '\0';
	fclose(f);
	assert_non_null(strstr(text, "| tg128 @ d4096 |"));
	assert_non_null(strstr(text, "| 150.00 ± 70.71 |"));
	assert_non_null(strstr(text, "| 7.57 GiB | 7.00 B |"));
	assert_non_null(strstr(text, "It's \"E4B\", 'tiny';\xef\xbf\xbd"
				     "DROP \\| TABLE --\\\xef\xbf\xbd Q8_0 |"));
	assert_non_null(strstr(text, "build: 0123456789 (77)\n"));
	int lines = 0;
	for (const char *s = text; (s = strchr(s, '\n')); s++)
		lines++;
	assert_int_equal(lines, 2 + N_CELLS + 2);
	assert_non_null(strstr(text, "| status  | reason"));
	assert_non_null(strstr(text, "|                | wrong   | it's no \"ok\" |"));
	assert_non_null(strstr(text, "|  400.00 ± 0.00 | failed  | it's no \"ok\" |"));
}

/* Nothing went well: the formats are still what they are. */
static void test_empty(void **state)
{
	(void)state;
	char path[128];
	json_decref(records);
	records = json_array();
	const char *const formats[] = {"md", "csv", "json", "jsonl", "sql"};
	for (int i = 0; i < 5; i++)
		write_out(formats[i], formats[i]);
	in_folder("json", path);
	json_t *list = json_load_file(path, 0, NULL);
	assert_true(json_is_array(list) && !json_array_size(list));
	json_decref(list);
	assert_null(sqlite("sql"));
	struct csv_rows rows;
	in_folder("csv", path);
	assert_int_equal(csv_read(&rows, path), 0);
	assert_int_equal(rows.n_rows, 1);
	csv_rows_free(&rows);
}

static void test_failures(void **state)
{
	(void)state;
	struct error err = {""};
	FILE *full = fopen("/dev/full", "w");
	assert_non_null(full);
	assert_int_equal(llama_output_write(records, LLAMA_FORMAT_SQL, full, &err), ERROR_IO);
	fclose(full);
	assert_int_equal(llama_format_parse("table"), -1);
	assert_int_equal(llama_format_parse("jsonl"), LLAMA_FORMAT_JSONL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

/* Queued tokens are another backend, and of a repetition that was run again the latest attempt counts. */
static void test_queued_and_repeated(void **state)
{
	(void)state;
	const struct llama_facts facts = {.cpu = "", .gpu = "", .settings = ""};
	struct cell two[2] = {cells[1], cells[1]};
	two[1].sync = SYNC_NONE;
	json_decref(records);
	assert_int_equal(llama_bench_open(&bench, two, 2, &facts, NULL), 0);
	for (int i = 0; i < 2; i++) {
		add_run(two, i, 0, RUN_STATUS_OK, 100, "c");
		add_run(two, i, 1, RUN_STATUS_OK, 10, "c");
		add_run(two, i, 1, RUN_STATUS_OK, 100, "c");
	}
	assert_int_equal(llama_bench_records(bench, &records, NULL), 0);
	llama_bench_close(bench);
	assert_int_equal(json_array_size(records), 2);
	for (int i = 0; i < 2; i++) {
		const json_t *r = json_array_get(records, (size_t)i);
		assert_int_equal(number_of(r, "repetitions"), 2);
		near(number_of(r, "avg_ts"), 100);
		assert_string_equal(string_of(r, "sync"), i ? "none" : "token");
		assert_int_equal(strstr(string_of(r, "backends"), " sync=none") != NULL, i);
	}
}

static void number_is(const json_t *record, const char *field, double expected)
{
	double x = number_of(record, field);
	if (!(fabs(x - expected) <= 1e-9 * fabs(expected)))
		fail_msg("%s is %.12g, not %.12g", field, x, expected);
}

/* Each field from values that all differ; of three runs means are no medians, and a deviation is one with n - 1. */
static void test_fields(void **state)
{
	(void)state;
	const struct llama_facts facts = {.cpu = "cpu", .gpu = "gpu", .settings = "ple-host", .build_number = 71};
	const struct workload_facts f = {.model = "name",
					 .arch = "arch",
					 .weight_type = "F16",
					 .file_type = "Q4_K_M",
					 .device = "NVIDIA H100+host",
					 .n_threads = 73,
					 .n_gpu_layers = 74,
					 .model_bytes = 75,
					 .model_parameters = 76,
					 .weight_bytes_per_token = 77};
	/* A made cell: no sweep has a prompt and generated tokens in one test, but both count in a rate. */
	const struct cell c = {.model = "dir/m.gguf",
			       .type_k = "f16",
			       .type_v = "bf16",
			       .fusion = "none",
			       .mode = "graph-params",
			       .n_ubatch = 72,
			       .n_depth = 4096,
			       .n_prompt = 100,
			       .n_gen = 200};
	static const double rates[] = {100, 300, 600}; /* of 300 tokens: 3, 1 and 0.5 s */
	json_decref(records);
	assert_int_equal(llama_bench_open(&bench, &c, 1, &facts, NULL), 0);
	for (int i = 0; i < 3; i++) {
		struct run_row r;
		double weight = i == 2 ? 100 : i; /* the median is the second run's, the mean nobody's */
		row_init(&r);
		row_set_cell(&r, &c, "tg", &f);
		r.status = RUN_STATUS_OK;
		r.reason = "";
		r.repetition = i;
		r.commit = "0123456789";
		r.started_utc = i ? "2026-01-02T03:05:00Z" : "2026-01-02T03:04:05Z";
		r.tokens_per_s = rates[i];
		r.itl_median_us = 1000 + weight;
		r.itl_p50_us = r.itl_p90_us = r.wall_median_us = 1;
		r.submit_median_us = 2000 + weight;
		r.api_launches_per_token = 3000 + weight;
		r.ttft_us = 4000 + weight;
		r.api_launches_per_prompt = 5000 + weight;
		r.kernels_per_token = 2;
		r.bandwidth_share = 4000 + weight;
		r.prefill_tflop_s = 5000 + weight;
		r.gemm_share = 6000 + weight;
		r.gemm_tflop_s = 3;
		assert_int_equal(llama_bench_add(bench, &r, NULL), 0);
	}
	assert_int_equal(llama_bench_records(bench, &records, NULL), 0);
	llama_bench_close(bench);
	const json_t *r = json_array_get(records, 0);
	assert_string_equal(string_of(r, "build_commit"), "0123456789");
	number_is(r, "build_number", 71);
	assert_string_equal(string_of(r, "cpu_info"), "cpu");
	assert_string_equal(string_of(r, "gpu_info"), "gpu");
	assert_string_equal(string_of(r, "backends"), "CUDA,CPU graph-params none ple-host");
	assert_string_equal(string_of(r, "model_filename"), "m.gguf");
	assert_string_equal(string_of(r, "model_type"), "name Q4_K_M");
	number_is(r, "model_size", 75);
	number_is(r, "model_n_params", 76);
	number_is(r, "n_batch", 72);
	number_is(r, "n_ubatch", 72);
	number_is(r, "n_threads", 73);
	number_is(r, "n_gpu_layers", 74);
	assert_string_equal(string_of(r, "type_k"), "f16");
	assert_string_equal(string_of(r, "type_v"), "bf16");
	number_is(r, "n_prompt", 100);
	number_is(r, "n_gen", 200);
	number_is(r, "n_depth", 4096);
	assert_string_equal(string_of(r, "test_time"), "2026-01-02T03:04:05Z"); /* of the first run */
	assert_string_equal(string_of(r, "test"), "tg");
	assert_string_equal(string_of(r, "mode"), "graph-params");
	assert_string_equal(string_of(r, "fusion"), "none");
	assert_string_equal(string_of(r, "snapkv"), "off");
	assert_string_equal(string_of(r, "settings"), "ple-host");
	assert_string_equal(string_of(r, "device"), "NVIDIA H100+host");
	number_is(r, "repetitions", 3);
	number_is(r, "avg_ns", 1.5e9);
	number_is(r, "stddev_ns", round(sqrt((1.5 * 1.5 + 0.5 * 0.5 + 1) / 2) * 1e9));
	number_is(r, "avg_ts", 1000.0 / 3);
	number_is(r, "stddev_ts", sqrt((pow(700, 2) + pow(100, 2) + pow(800, 2)) / 9 / 2));
	number_is(r, "itl_median_us", 1001);
	number_is(r, "submit_median_us", 2001);
	number_is(r, "api_launches_per_token", 3001);
	number_is(r, "ttft_us", 4001);
	number_is(r, "api_launches_per_prompt", 5001);
	number_is(r, "bandwidth_share", 4001);
	number_is(r, "prefill_tflop_s", 5001);
	number_is(r, "gemm_share", 6001);
	for (int i = 0; i < 3; i++) {
		const json_t *ns = json_array_get(json_object_get(r, "samples_ns"), (size_t)i);
		const json_t *ts = json_array_get(json_object_get(r, "samples_ts"), (size_t)i);
		assert_int_equal(json_integer_value(ns), (json_int_t)(300 / rates[i] * 1e9));
		near(json_number_value(ts), rates[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {TEST(test_fields),   TEST(test_json),
					   TEST(test_jsonl),    TEST(test_csv),
					   TEST(test_sql),      TEST(test_compared),
					   TEST(test_markdown), TEST(test_empty),
					   TEST(test_failures), TEST(test_queued_and_repeated)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
