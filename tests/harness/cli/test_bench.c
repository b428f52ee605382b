/* gemmark bench as it is called, on a small real model: every mode, the files, the exit codes. */
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "harness/cli/options.h"
#include "tests/support/bench_folder.h"
#include "tests/support/command.h"
#include "tests/support/folder.h"
#include "tests/support/read_csv.h"

#define MODEL "golden/gemma4-e2b-tiny.q8_0.gguf"

static double real_at(const struct csv_rows *r, int row, const char *column)
{
	const char *text = csv_at(r, row, column);
	assert_true(*text);
	return strtod(text, NULL);
}

/* The decoding rows' share is of the bandwidth that env.json names, and of the bytes that they say were read. */
static void check_bandwidth(const struct csv_rows *runs, const json_t *env)
{
	const json_t *measured = json_array_get(json_object_get(env, "bandwidth"), 0);
	double read_gb_s = json_real_value(json_object_get(measured, "read_gb_s"));
	assert_int_equal(json_integer_value(json_object_get(measured, "threads")), 1);
	assert_true(read_gb_s > 0.1);
	for (int r = 1; r < runs->n_rows; r++) {
		assert_true(fabs(real_at(runs, r, "bandwidth_gb_s") - read_gb_s) < 1e-6 * read_gb_s);
		if (!strcmp(csv_at(runs, r, "n_gen"), "0"))
			continue;
		double bytes = real_at(runs, r, "weight_bytes_per_token") + real_at(runs, r, "kv_bytes_per_token");
		double gb_s = bytes / 1e9 / (real_at(runs, r, "itl_median_us") / 1e6);
		assert_true(fabs(real_at(runs, r, "achieved_gb_s") - gb_s) < 1e-6 * gb_s);
		assert_true(fabs(real_at(runs, r, "bandwidth_share") - gb_s / read_gb_s) < 1e-6 * gb_s / read_gb_s);
	}
}

static void test_sweep(void **state)
{
	(void)state;
	char *words[] = {
		"-m",       MODEL,       "-p",     "8",      "-n",     "12",
		"-d",       "0-80+40",   "-r",     "2",      "-ctk",   "f16,f32",
		"--fusion", "none,full", "--mode", "direct", "--mode", "graph-params,graph-update,graph-device",
		NULL};
	assert_int_equal(bench_folder_run("run", words), 0);
	char path[128];
	struct csv_rows runs, tokens;
	bench_folder_path("run/runs.csv", path);
	assert_int_equal(csv_read(&runs, path), 0);
	/* 2 types x 3 depths x 2 fusions x (1 prompt + 4 modes) x 2 repetitions */
	assert_int_equal(runs.n_rows - 1, 2 * 3 * 2 * 5 * 2);
	int measured = 0;
	for (int r = 1; r < runs.n_rows; r++) {
		assert_string_equal(csv_at(&runs, r, "status"), "ok");
		assert_string_equal(csv_at(&runs, r, "reason"), "");
		assert_string_equal(csv_at(&runs, r, "device"), "host");
		assert_string_equal(csv_at(&runs, r, "head_device"), "host");
		assert_string_equal(csv_at(&runs, r, "host_weight_bytes_per_token"),
				    csv_at(&runs, r, "weight_bytes_per_token"));
		assert_string_equal(csv_at(&runs, r, "gpu_weight_bytes_per_token"), "");
		assert_string_equal(csv_at(&runs, r, "crossing_bytes_per_token"), "");
		assert_string_equal(csv_at(&runs, r, "arch"), "gemma4");
		assert_string_equal(csv_at(&runs, r, "weight_type"), "Q8_0");
		assert_string_equal(csv_at(&runs, r, "file_type"), "Q8_0");
		assert_true(strtod(csv_at(&runs, r, "tokens_per_s"), NULL) > 0);
		double flops = strtod(csv_at(&runs, r, "prefill_tflop_s"), NULL) *
			       strtod(csv_at(&runs, r, "prefill_us"), NULL) * 1e6;
		if (strcmp(csv_at(&runs, r, "n_gen"), "12")) {
			assert_true(fabs(flops - strtod(csv_at(&runs, r, "prefill_flops"), NULL)) < 1e-6 * flops);
			assert_true(flops > 0 && strtod(csv_at(&runs, r, "gemm_share"), NULL) > 0);
			continue;
		}
		assert_string_equal(csv_at(&runs, r, "prefill_flops"), "");
		assert_string_equal(csv_at(&runs, r, "gemm_tflop_s"), "");
		measured += 12 + atoi(csv_at(&runs, r, "warmup_tokens"));
		int direct = !strcmp(csv_at(&runs, r, "mode"), "direct");
		double launches = strtod(csv_at(&runs, r, "api_launches_per_token"), NULL);
		double kernels = strtod(csv_at(&runs, r, "kernels_per_token"), NULL);
		double updates = strtod(csv_at(&runs, r, "node_updates_per_token"), NULL);
		if (direct)
			assert_true(launches == kernels && kernels > 50);
		else
			assert_true(launches <= 2 && kernels > 50);
		if (!strcmp(csv_at(&runs, r, "mode"), "graph-params"))
			assert_true(updates == atoi(csv_at(&runs, r, "positional_nodes")) && updates > 0);
		if (!strcmp(csv_at(&runs, r, "mode"), "graph-device"))
			assert_true(updates == 0);
	}
	bench_folder_path("run/tokens.csv", path);
	assert_int_equal(csv_read(&tokens, path), 0);
	assert_int_equal(tokens.n_rows - 1, measured);
	csv_rows_free(&tokens);

	bench_folder_path("run/env.json", path);
	json_t *env = json_load_file(path, 0, NULL);
	json_t *model = json_array_get(json_object_get(env, "models"), 0);
	struct stat s;
	assert_int_equal(stat(MODEL, &s), 0);
	assert_int_equal(json_integer_value(json_object_get(model, "bytes")), s.st_size);
	check_bandwidth(&runs, env);
	csv_rows_free(&runs);
	json_decref(env);

	assert_true(bench_folder_said("out", "tg12 @ d80"));
	assert_true(bench_folder_said("out", "120 runs ok"));
	assert_true(bench_folder_said("out", " plot "));
	assert_false(bench_folder_said("out", "\033"));
	assert_false(bench_folder_said("errors", "\033"));
}

/* What the kept sweeps are, in their order, with reasons for what cannot run; nothing is written. */
static void test_dry_run(void **state)
{
	(void)state;
	char path[128];
	char *quick[] = {"-m", MODEL, "-ngl", "0,3", "@../ci/quick.args", "--dry-run", NULL};
	assert_int_equal(bench_folder_run("run", quick), 0);
	assert_true(bench_folder_said("out", "dry run of 80 cells")); /* 2 placements, 5 depths, 2 fusions, 4 modes */
	assert_true(bench_folder_said("out", "tg16 @ d2048         graph-update none  3 runs, "));
	assert_true(bench_folder_said("out", "\n120 runs, about "));
	assert_true(bench_folder_said("out", "; 40 cells skipped"));
	assert_true(bench_folder_said("out", "skipped: -ngl 3: no GPU"));
	char *full[] = {"-m", MODEL, "-ngl", "0", "@../ci/full.args", "--dry-run", NULL};
	assert_int_equal(bench_folder_run("run", full), 0);
	assert_true(bench_folder_said("out", "dry run of 60 cells")); /* 6 depths, 2 fusions, a prompt and 4 modes */
	assert_true(bench_folder_said("out", "pp512 @ d16384       direct       none  5 runs, "));
	/* Modes that only a GPU has: as the sweep, which test_skipped runs. */
	char *all[] = {"-m",   MODEL, "-p",     "0",   "-n",       "2",    "-r",        "1",
		       "-ngl", "0",   "--mode", "all", "--fusion", "none", "--dry-run", NULL};
	assert_int_equal(bench_folder_run("run", all), 0);
	assert_true(bench_folder_said("out", "\n5 runs, about "));
	assert_true(bench_folder_said("out", "; 2 cells skipped"));
	assert_true(bench_folder_said("out", "graph-while  none  skipped: graph-while needs every layer on the GPU: "));
	char *loops[] = {"-m", MODEL, "-ngl", "0", "-n", "2", "-p", "0", "--mode", "graph-loop", "--dry-run", NULL};
	assert_int_equal(bench_folder_run("run", loops), 2);
	assert_true(
		bench_folder_said("out", "skipped: graph-loop needs every layer on the GPU: the host's own tokens"));
	assert_true(bench_folder_said("out", "\n0 runs; 1 cell skipped: the sweep would measure nothing, and end with "
					     "exit code 2\n"));
	assert_false(bench_folder_said("out", "about"));
	loops[10] = NULL;
	assert_int_equal(bench_folder_run("loops", loops), 2);
	assert_true(bench_folder_said("out", "0 runs ok, 1 skipped"));
	bench_folder_path("run", path);
	assert_int_equal(access(path, F_OK), -1);
	char *mixed[] = {"-m", MODEL, "--dry-run", "-o", "json", NULL};
	assert_int_equal(bench_folder_run("run", mixed), 2);
}

static void test_bad_input(void **state)
{
	(void)state;
	char *no_model[] = {"-n", "4", NULL}, *missing[] = {"-m", "missing.gguf", NULL};
	char *no_gguf[] = {"-m", "test_bench.c", NULL}, *bad_range[] = {"-m", MODEL, "-d", "0-10+0", NULL};
	char *bad_mode[] = {"-m", MODEL, "--mode", "grph", NULL},
	     *nothing[] = {"-m", MODEL, "-p", "0", "-n", "0", NULL};
	assert_int_equal(bench_folder_run("run", no_model), 2);
	assert_true(bench_folder_said("errors", "-m"));
	assert_int_equal(bench_folder_run("run", missing), 2);
	assert_true(bench_folder_said("errors", "missing.gguf"));
	assert_int_equal(bench_folder_run("run", no_gguf), 2);
	assert_int_equal(bench_folder_run("run", bad_range), 2);
	assert_true(bench_folder_said("errors", "0-10+0"));
	assert_int_equal(bench_folder_run("run", bad_mode), 2);
	assert_true(bench_folder_said("errors", "'grph'"));
	assert_int_equal(bench_folder_run("run", nothing), 2);
	char path[128];
	bench_folder_path("run", path);
	assert_int_equal(access(path, F_OK), -1);
	/* Results are never written over. */
	char *good[] = {"-m", MODEL, "-p", "0", "-n", "1", "-r", "1", "--mode", "direct", NULL};
	assert_int_equal(bench_folder_run("run", good), 0);
	assert_int_equal(bench_folder_run("run", good), 2);
	assert_true(bench_folder_said("errors", "not empty"));
}

/* What this build cannot do is a row with its reason, and the rest of the sweep runs. */
static void test_skipped(void **state)
{
	(void)state;
	char *words[] = {"-m", MODEL, "-p", "0", "-n", "4", "-r", "1", "-ngl", "3,0", "--mode", "direct", NULL};
	assert_int_equal(bench_folder_run("run", words), 0);
	char path[128];
	struct csv_rows runs;
	bench_folder_path("run/runs.csv", path);
	assert_int_equal(csv_read(&runs, path), 0);
	assert_int_equal(runs.n_rows, 3);
	for (int r = 1; r < 3; r++) {
		int gpu = !strcmp(csv_at(&runs, r, "n_gpu_layers_asked"), "3");
		assert_string_equal(csv_at(&runs, r, "status"), gpu ? "skipped" : "ok");
		assert_true(!gpu || strstr(csv_at(&runs, r, "reason"), "-ngl 3"));
	}
	csv_rows_free(&runs);
	assert_true(bench_folder_said("out", "1 run ok, 1 skipped"));
	/* All modes: those that only a GPU has are such rows. */
	char *all[] = {"-m",   MODEL, "-p",     "0",   "-n",       "2",    "-r", "1",
		       "-ngl", "0",   "--mode", "all", "--fusion", "none", NULL};
	assert_int_equal(bench_folder_run("all", all), 0);
	bench_folder_path("all/runs.csv", path);
	assert_int_equal(csv_read(&runs, path), 0);
	assert_int_equal(runs.n_rows, 8);
	for (int r = 1; r < 8; r++) {
		const char *mode = csv_at(&runs, r, "mode");
		int loops = !strcmp(mode, "graph-loop") || !strcmp(mode, "graph-while");
		assert_string_equal(csv_at(&runs, r, "status"), loops ? "skipped" : "ok");
		assert_true(!loops || strstr(csv_at(&runs, r, "reason"), "needs every layer on the GPU"));
	}
	csv_rows_free(&runs);
	assert_true(bench_folder_said("out", "5 runs ok, 2 skipped"));
	/* Nothing but skipped rows is no success. */
	char *only[] = {"-m", MODEL, "-p", "0", "-n", "4", "-r", "1", "-ngl", "3", "--mode", "direct", NULL};
	assert_int_equal(bench_folder_run("other", only), 2);
}

static void test_env(void **state)
{
	(void)state;
	char *words[] = {"env", "-t", "1", "--json", NULL};
	assert_int_equal(bench_folder_call(cmd_env, words), 0);
	char path[128];
	bench_folder_path("out", path);
	json_t *env = json_load_file(path, 0, NULL);
	json_t *bandwidth = json_array_get(json_object_get(env, "bandwidth"), 0);
	assert_int_equal(json_integer_value(json_object_get(bandwidth, "threads")), 1);
	assert_true(json_real_value(json_object_get(bandwidth, "read_gb_s")) > 0.1);
	json_decref(env);
	words[3] = NULL;
	assert_int_equal(bench_folder_call(cmd_env, words), 0);
	assert_true(bench_folder_said("out", "bandwidth: threads 1, read_gb_s "));
	words[2] = "-5";
	assert_int_equal(bench_folder_call(cmd_env, words), 2);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, bench_folder_set_up, bench_folder_tear_down)

/* A row's value of a column for each run, joined by commas; duplicates of neighbours once. */
static const char *distinct(const struct csv_rows *runs, const char *column)
{
	static char text[400];
	text[0] = '\0';
	for (int r = 1; r < runs->n_rows; r++) {
		const char *value = csv_at(runs, r, column);
		if (!strstr(text, value))
			snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", *text ? "," : "", value);
	}
	return text;
}

static int same_file(const char *from, const char *to, int last_byte)
{
	static unsigned char bytes[1 << 22];
	FILE *f = fopen(from, "rb");
	size_t n = f ? fread(bytes, 1, sizeof bytes, f) : 0;
	if (!f || fclose(f) || !n || n == sizeof bytes)
		return -1;
	bytes[n - 1] ^= (unsigned char)last_byte;
	f = fopen(to, "wb");
	return !f || fwrite(bytes, 1, n, f) != n || fclose(f) ? -1 : 0;
}

/* Values that come to the same are one cell; files are told apart by what is in them. */
static void test_one_cell(void **state)
{
	(void)state;
	char path[128], default_threads[16], list[64], away[128], here[128], link_path[128], changed[128];
	struct csv_rows runs;
	/* What 0 threads are here. */
	char *probe[] = {"bench", "-m", MODEL,    "-p",     "0",     "-n", "1",
			 "-r",    "1",  "--mode", "direct", "--out", NULL, NULL};
	bench_folder_path("probe", path);
	probe[12] = path;
	assert_int_equal(bench_folder_call(cmd_bench, probe), 0);
	bench_folder_path("probe/runs.csv", path);
	assert_int_equal(csv_read(&runs, path), 0);
	snprintf(default_threads, sizeof default_threads, "%s", csv_at(&runs, 1, "n_threads"));
	csv_rows_free(&runs);

	bench_folder_path("sub", path);
	assert_int_equal(mkdir(path, 0777), 0);
	bench_folder_path("sub/m.gguf", away);
	bench_folder_path("m.gguf", here);
	bench_folder_path("changed.gguf", changed);
	bench_folder_path("link.gguf", link_path);
	assert_int_equal(same_file(MODEL, here, 0), 0);
	assert_int_equal(same_file(MODEL, away, 1), 0);    /* the same name, another file */
	assert_int_equal(same_file(MODEL, changed, 0), 0); /* another name, the same contents */
	assert_int_equal(link(here, link_path), 0);
	snprintf(list, sizeof list, "0,%s", default_threads);
	char both[400];
	snprintf(both, sizeof both, "%s,%s,%s/./m.gguf,%s,%s", here, away, bench_folder, link_path, changed);
	char *words[] = {"bench", "-m", both,   "-p", "0",      "-n",     "2",     "-r", "1",
			 "-t",    list, "-ngl", "0",  "--mode", "direct", "--out", NULL, NULL};
	char out[128];
	bench_folder_path("one", out);
	words[16] = out;
	assert_int_equal(bench_folder_call(cmd_bench, words), 0);
	bench_folder_path("one/runs.csv", path);
	assert_int_equal(csv_read(&runs, path), 0);
	assert_int_equal(runs.n_rows, 1 + 2);
	assert_string_equal(distinct(&runs, "model_path_name"), "m.gguf");
	assert_string_equal(distinct(&runs, "n_threads"), default_threads);
	assert_string_not_equal(csv_at(&runs, 1, "model_hash"), csv_at(&runs, 2, "model_hash"));
	/* People see which is which. */
	char shown[64];
	for (int r = 1; r < runs.n_rows; r++) {
		snprintf(shown, sizeof shown, "m.gguf#%.8s", csv_at(&runs, r, "model_hash"));
		assert_true(bench_folder_said("out", shown));
	}
	csv_rows_free(&runs);
	/* Going on finds each model's rows again. */
	char *again[] = {"bench", "--resume", out, NULL};
	assert_int_equal(bench_folder_call(cmd_bench, again), 0);
	assert_true(bench_folder_said("out", "2 were there already"));
}

/* A prompt in other chunks: it is said everywhere, and computed so. */
static void test_ubatch(void **state)
{
	(void)state;
	char path[128];
	struct csv_rows runs;
	char *words[] = {"-m", MODEL, "-p",  "48",     "-n",     "2",      "-d", "0,70",
			 "-r", "1",   "-ub", "16,512", "--mode", "direct", NULL};
	assert_int_equal(bench_folder_run("ubatch", words), 0);
	assert_true(bench_folder_said("out", ", chunks of 16\n"));
	assert_false(bench_folder_said("out", ", chunks of 512\n")); /* a remark may name it */
	bench_folder_path("ubatch/runs.csv", path);
	assert_int_equal(csv_read(&runs, path), 0);
	assert_int_equal(runs.n_rows - 1, 2 * 2 * 2);
	int64_t memory[2] = {0};
	for (int r = 1; r < runs.n_rows; r++) {
		int small = !strcmp(csv_at(&runs, r, "n_ubatch"), "16");
		assert_true(small || !strcmp(csv_at(&runs, r, "n_ubatch"), "512"));
		assert_string_equal(csv_at(&runs, r, "status"), "ok");
		if (!strcmp(csv_at(&runs, r, "test"), "pp48 @ d70"))
			memory[small] = strtoll(csv_at(&runs, r, "memory_peak_bytes"), NULL, 10);
	}
	/* Fewer rows of activations are held at once. */
	assert_true(memory[1] > 0 && memory[1] < memory[0] / 2);
	csv_rows_free(&runs);
	char *bad[] = {"-m", MODEL, "-ub", "32769", NULL};
	assert_int_equal(bench_folder_run("ubatch-bad", bad), 2);
	assert_true(bench_folder_said("errors", "-ub: '32769' is outside 0 to 32768"));
}

/* Chunks that nobody named are what suits the host, at most what -b allows, and recorded as the number that they are.
 */
static void test_ubatch_chosen(void **state)
{
	(void)state;
	static const struct {
		char *option, *value;
		const char *chunk;
	} cases[] = {{"-ub", "0", "512"}, {"-b", "24", "24"}, {"-ub", "0,512", "512"}};
	for (int i = 0; i < 3; i++) {
		char path[128], name[16], file[32];
		struct csv_rows runs;
		char *words[] = {"-m", MODEL, "-ngl", "0", cases[i].option, cases[i].value, "-p", "30", "-n",
				 "0",  "-r",  "1",    NULL};
		snprintf(name, sizeof name, "chosen-%d", i);
		assert_int_equal(bench_folder_run(name, words), 0);
		snprintf(file, sizeof file, "%s/runs.csv", name);
		bench_folder_path(file, path);
		assert_int_equal(csv_read(&runs, path), 0);
		assert_int_equal(runs.n_rows - 1, 1);
		assert_string_equal(csv_at(&runs, 1, "n_ubatch"), cases[i].chunk);
		assert_string_equal(csv_at(&runs, 1, "prefill_weights"), ""); /* a GPU's */
		csv_rows_free(&runs);
	}
	char *exact[] = {"-m", MODEL, "--prefill-precision", "f32", "--prefill-weights", "resident", NULL};
	assert_int_equal(bench_folder_run("exact", exact), 2);
	assert_true(bench_folder_said("errors", "--prefill-weights resident"));
}

static void test_layers_without_gpu(void **state)
{
	(void)state;
	char path[128];
	struct csv_rows runs;
	char *words[] = {"-m", MODEL, "-p", "0", "-n", "1", "-r", "1", "-ngl", "0,-1", "--mode", "direct", NULL};
	bench_folder_path("layers/runs.csv", path);
	assert_int_equal(bench_folder_run("layers", words), 0);
	assert_int_equal(csv_read(&runs, path), 0);
	/* One cell on a machine without a GPU, two on one that has it. */
	assert_int_equal(runs.n_rows - 1, strcmp(distinct(&runs, "n_gpu_layers"), "0") ? 2 : 1);
	csv_rows_free(&runs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_cell, bench_folder_set_up, bench_folder_tear_down),
		cmocka_unit_test_setup_teardown(test_ubatch, bench_folder_set_up, bench_folder_tear_down),
		cmocka_unit_test_setup_teardown(test_ubatch_chosen, bench_folder_set_up, bench_folder_tear_down),
		cmocka_unit_test_setup_teardown(test_layers_without_gpu, bench_folder_set_up, bench_folder_tear_down),
		TEST(test_sweep),
		TEST(test_dry_run),
		TEST(test_bad_input),
		TEST(test_skipped),
		TEST(test_env),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
