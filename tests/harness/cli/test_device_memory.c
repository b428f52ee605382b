/*
 * What a sweep plans for of a GPU's memory, on a GPU that is made up: it is recorded where something depends on it, and
 * a sweep that goes on plans with it, whatever is free by then.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "engine/infer/placement_plan.h"
#include "engine/infer/session_internal.h"
#include "harness/cli/options.h"
#include "kernels/cuda/memory_geometry.h"
#include "tests/support/bench_folder.h"
#include "tests/support/fake_gpu.h"
#include "tests/support/ok.h"
#include "tests/support/read_csv.h"

#define MODEL "golden/qwen3-tiny.q8_0.gguf"
#define FREE "3221225472" /* at first; 2 GiB of it stay free */

/* Of the named run's rows, n of which are ok: where they have the weights from. */
static void check_rows(const char *name, int n, const char *weights)
{
	char path[BENCH_FOLDER_PATH], file[BENCH_FOLDER_PATH];
	struct csv_rows runs;
	snprintf(file, sizeof file, "%s/runs.csv", name);
	bench_folder_path(file, path);
	assert_int_equal(csv_read(&runs, path), 0);
	assert_int_equal(runs.n_rows - 1, n);
	for (int r = 1; r <= n; r++) {
		assert_string_equal(csv_at(&runs, r, "status"), "ok");
		assert_string_equal(csv_at(&runs, r, "prefill_weights"), weights);
	}
	csv_rows_free(&runs);
}

/* As if it had been killed behind its first row. */
static void drop_second_row(const char *name)
{
	char path[BENCH_FOLDER_PATH], line[16384];
	char file[BENCH_FOLDER_PATH];
	snprintf(file, sizeof file, "%s/runs.csv", name);
	bench_folder_path(file, path);
	FILE *f = fopen(path, "r");
	assert_non_null(f);
	assert_non_null(fgets(line, sizeof line, f));
	assert_non_null(fgets(line, sizeof line, f));
	long end = ftell(f);
	fclose(f);
	assert_int_equal(truncate(path, end), 0);
}

static void test_weights(void **state)
{
	(void)state;
	char path[BENCH_FOLDER_PATH], sweep_path[BENCH_FOLDER_PATH];
	bench_folder_path("run", path);
	bench_folder_path("run/sweep.json", sweep_path);
	setenv("FAKE_CUDA_FREE", FREE, 1);
	char *words[] = {"-m", MODEL, "-p", "0", "-n", "1", "-r", "2", "--mode", "direct", "-b", "4", "-ub", "4", NULL};
	assert_int_equal(bench_folder_run("run", words), 0);
	check_rows("run", 2, "resident");
	assert_true(bench_folder_said("run/sweep.json", "\"device_memory\": " FREE));
	assert_false(bench_folder_said("run/env.json", "persistent"));

	setenv("FAKE_CUDA_FREE", "1073741824", 1);
	assert_int_equal(bench_folder_run("less", words), 0);
	check_rows("less", 2, "convert");
	drop_second_row("run");
	char *alone[] = {"bench", "--resume", path, NULL};
	assert_int_equal(bench_folder_call(cmd_bench, alone), 0);
	assert_true(bench_folder_said("out", "1 run ok; 1 was there already"));
	check_rows("run", 2, "resident");
	char *other[] = {"bench", "--resume", path,     "-m", MODEL, "-p",  "0", "-n", "1", "-r",
			 "2",     "--mode",   "direct", "-b", "4",   "-ub", "4", "-t", "1", "--device-memory",
			 "4G",    NULL};
	assert_int_equal(bench_folder_call(cmd_bench, other), 2);
	assert_true(bench_folder_said("errors", "device_memory: " FREE " there, 4294967296 here"));

	/* One that did not record it goes on with what there is. */
	json_t *sweep = json_load_file(sweep_path, 0, NULL);
	assert_int_equal(json_object_del(sweep, "device_memory"), 0);
	assert_int_equal(json_dump_file(sweep, sweep_path, JSON_INDENT(2)), 0);
	json_decref(sweep);
	drop_second_row("run");
	assert_int_equal(bench_folder_call(cmd_bench, alone), 0);
	assert_true(bench_folder_said("out", "1 run ok; 1 was there already"));
}

/* Where nothing depends on it. */
static void test_not_recorded(void **state)
{
	(void)state;
	static char *const more[][2] = {{"-ngl", "0"}, {"--prefill-weights", "convert"}};
	char name[8] = "0";
	for (size_t i = 0; i < sizeof more / sizeof *more; i++, name[0]++) {
		char file[16];
		char *words[] = {"-m",     MODEL, "-p", "0",   "-n", "1",        "-r",       "1", "--mode",
				 "direct", "-b",  "4",  "-ub", "4",  more[i][0], more[i][1], NULL};
		assert_int_equal(bench_folder_run(name, words), 0);
		snprintf(file, sizeof file, "%s/sweep.json", name);
		assert_false(bench_folder_said(file, "device_memory"));
	}
}

/* ---- the tiles of fusion persistent ---- */

enum { CHUNK = 4 };

/* Bytes of the GPU that all layers need beside so long a context; 0: beside any that MODEL promises. */
static size_t needed(enum persistent_sessions persistent, int prefill_weights, int context)
{
	struct model m;
	struct load_options o;
	struct placement_plan p;
	load_options_default(&o);
	o.batch = CHUNK;
	o.persistent = persistent;
	o.prefill_weights = prefill_weights;
	OK(model_open(&m, MODEL, e));
	OK(placement_plan(&p, &m, &o, m.n_layer, context ? context : placement_plan_context(&m, &o), e));
	model_close(&m);
	return placement_plan_gpu_need(&p);
}

static void set_free(size_t bytes)
{
	char text[24];
	snprintf(text, sizeof text, "%zu", bytes);
	setenv("FAKE_CUDA_FREE", text, 1);
}

static int bench_limits(const char *name, char *fusion, char *limits, char *more)
{
	char *words[] = {"-m",
			 MODEL,
			 "-p",
			 "0",
			 "-n",
			 "1",
			 "-r",
			 "1",
			 "--mode",
			 "direct",
			 "-b",
			 "4",
			 "-ub",
			 "4",
			 "-ngl",
			 "auto",
			 "--fusion",
			 fusion,
			 "--persistent-limits",
			 limits,
			 more,
			 NULL};
	return bench_folder_run(name, words);
}

static int bench_fusion(const char *name, char *fusion, char *more)
{
	return bench_limits(name, fusion, "measured", more);
}

/* Of the named run's rows, the one of that fusion; "": none. */
static void check_fusion(const char *name, const char *fusion, const char *status, const char *weights)
{
	char path[BENCH_FOLDER_PATH], file[BENCH_FOLDER_PATH];
	struct csv_rows runs;
	int found = 0;
	snprintf(file, sizeof file, "%s/runs.csv", name);
	bench_folder_path(file, path);
	assert_int_equal(csv_read(&runs, path), 0);
	for (int r = 1; r < runs.n_rows; r++)
		if (!strcmp(csv_at(&runs, r, "fusion"), fusion)) {
			found++;
			assert_string_equal(csv_at(&runs, r, "status"), status);
			assert_string_equal(csv_at(&runs, r, "prefill_weights"), weights);
		}
	assert_int_equal(found, 1);
	csv_rows_free(&runs);
}

static json_int_t number(const json_t *of, const char *name)
{
	const json_t *n = json_object_get(of, name);
	assert_true(json_is_integer(n));
	return json_integer_value(n);
}

static json_t *environment_of(const char *name)
{
	char path[BENCH_FOLDER_PATH], file[BENCH_FOLDER_PATH];
	snprintf(file, sizeof file, "%s/env.json", name);
	bench_folder_path(file, path);
	return json_load_file(path, 0, NULL);
}

/* Of the named run's env.json: what is planned for fake_cuda.c's card of 4 multiprocessors, whose memory is three
 * quarters as fast as an H100's. */
static void check_plan(const char *name)
{
	json_t *env = environment_of(name), *plans = json_object_get(env, "persistent");
	const json_t *memory = json_object_get(env, "gpu_memory");
	const json_t *p = json_array_get(plans, 0);
	assert_int_equal(json_array_size(plans), 1);
	assert_string_equal(json_string_value(json_object_get(p, "model")), "qwen3-tiny.q8_0.gguf");
	assert_string_equal(json_string_value(json_object_get(p, "type_k")), "f16");
	assert_null(json_object_get(p, "reason"));
	assert_int_equal(number(p, "phases"), 4 * 5 + 1); /* QKV, attention, its output, gate and up, down; head */
	assert_int_equal(number(p, "blocks"), 4);
	assert_int_equal(number(p, "compute_warps"), 10);
	assert_int_equal(number(p, "stage_bytes"), 2 * 16 * 256 / 32 * 34); /* two chunks of 16 rows of Q8_0 */
	assert_string_equal(json_string_value(json_object_get(p, "limits")), "measured");
	assert_true(json_real_value(json_object_get(p, "in_flight")) == 0.75);
	assert_true(json_real_value(json_object_get(p, "rate")) == 0.75);
	assert_int_equal(number(p, "small_bytes"), 13824);
	assert_int_equal(number(p, "wide_bytes"), 42 << 10);
	assert_int_equal(number(p, "ahead_cycles"), 907);
	assert_null(json_object_get(memory, "reason"));
	assert_true(json_real_value(json_object_get(memory, "latency_cycles")) == MEMORY_TUNED_LATENCY_CYCLES);
	assert_true(json_real_value(json_object_get(memory, "read_gb_s")) > 400);
	assert_true(json_is_true(json_object_get(p, "ahead_phases")));
	assert_int_equal(number(p, "stream_chunks"), 1);
	/* As many stages as there is shared memory for. */
	json_int_t most = 227 << 10, shared = number(p, "shared_bytes");
	assert_true(shared <= most && shared > most - 8704 && shared > number(p, "stages") * 8704);
	assert_in_range(number(p, "stages"), 20, 24);
	assert_true(number(p, "tiled_bytes") > 700000 && number(p, "tiled_bytes") < 800000);
	json_decref(env);
}

/* Weights for prompts take what the tiles leave, of all cells of a sweep with that fusion, and of no other's. */
static void test_weights_beside_tiles(void **state)
{
	(void)state;
	char *const both = "full,persistent";
	set_free(needed(PERSISTENT_SESSIONS_NONE, PREFILL_WEIGHTS_RESIDENT, 0) + PLACEMENT_AMPLE_BYTES);
	assert_int_equal(bench_fusion("full", "full", "--dry-run"), 0);
	assert_true(bench_folder_said("out", "prefill weights resident"));
	assert_int_equal(bench_fusion("both", both, "--dry-run"), 0);
	assert_true(bench_folder_said("out", "prefill weights 1")); /* tiles are 0.7 MiB, and a layer's 0.26 */
	assert_int_equal(bench_fusion("both", both, NULL), 0);
	check_fusion("both", "full", "ok", "1");
	check_fusion("both", "persistent", "ok", "1");
	check_plan("both");
	char path[BENCH_FOLDER_PATH];
	bench_folder_path("both", path);
	char *again[] = {"bench", "--resume", path, NULL};
	assert_int_equal(bench_folder_call(cmd_bench, again), 0);
	assert_true(bench_folder_said("out", "2 were there already"));
	set_free(needed(PERSISTENT_SESSIONS_SOME, PREFILL_WEIGHTS_RESIDENT, 0) + PLACEMENT_AMPLE_BYTES);
	assert_int_equal(bench_fusion("more", both, "--dry-run"), 0);
	assert_true(bench_folder_said("out", "prefill weights resident"));
}

static void check_constant(const char *name, const char *reason)
{
	json_t *env = environment_of(name);
	const json_t *p = json_array_get(json_object_get(env, "persistent"), 0);
	const json_t *why = json_object_get(json_object_get(env, "gpu_memory"), "reason");
	assert_string_equal(json_string_value(json_object_get(p, "limits")), "constant");
	assert_true(json_real_value(json_object_get(p, "in_flight")) == 1);
	assert_true(json_real_value(json_object_get(p, "rate")) == 1);
	assert_int_equal(number(p, "wide_bytes"), 56 << 10);
	assert_int_equal(number(p, "ahead_cycles"), 680);
	assert_true(json_is_string(why) && strstr(json_string_value(why), reason));
	json_decref(env);
}

/* Where nobody wants a measurement, or it fails, an H100's limits do, and env.json says why. */
static void test_constant_limits(void **state)
{
	(void)state;
	set_free(needed(PERSISTENT_SESSIONS_ALL, PREFILL_WEIGHTS_CONVERT, 0));
	assert_int_equal(bench_limits("constant", "persistent", "constant", NULL), 0);
	check_constant("constant", "--persistent-limits constant");
	assert_true(bench_folder_said("constant/sweep.json", "\"persistent_limits\": \"constant\""));
	assert_true(bench_folder_said("out", "limits-constant"));
	setenv("FAKE_CUDA", "no-memory", 1);
	assert_int_equal(bench_fusion("failed", "persistent", NULL), 0);
	unsetenv("FAKE_CUDA");
	check_constant("failed", "its memory was measured at a rate that no memory has");
	assert_true(bench_folder_said("failed/sweep.json", "\"persistent_limits\": \"measured\""));
	assert_int_equal(bench_limits("none", "persistent", "guessed", NULL), 2);
	assert_true(bench_folder_said("errors", "guessed"));
}

/* A sweep of that fusion alone is refused; one of others too has their placement, and says what the tiles lack. */
static void test_tiles_do_not_fit(void **state)
{
	(void)state;
	static const char says[] = "fusion persistent needs all 4 layers on the GPU and their weights there once more";
	const size_t both = needed(PERSISTENT_SESSIONS_ALL, PREFILL_WEIGHTS_CONVERT, 0);
	set_free(both);
	assert_int_equal(bench_fusion("dry", "persistent", "--dry-run"), 0);
	assert_false(bench_folder_said("out", "skipped"));
	set_free(PLACEMENT_RESERVE_BYTES + (both - PLACEMENT_RESERVE_BYTES) / 4);
	assert_int_equal(bench_fusion("alone", "persistent", NULL), 2);
	check_fusion("alone", "persistent", "failed", "");
	assert_true(bench_folder_said("alone/runs.csv", says));
	assert_true(bench_folder_said("errors", "4 of 4 layers do not fit"));
	assert_int_equal(bench_fusion("dry", "persistent", "--dry-run"), 2);
	assert_true(bench_folder_said("out", says));
	assert_true(bench_folder_said("out", "0 runs; 1 cell skipped: the sweep would measure nothing"));

	/* Room for the weights once, beside the 32 positions of this sweep. */
	set_free(needed(PERSISTENT_SESSIONS_NONE, PREFILL_WEIGHTS_CONVERT, 32));
	assert_int_equal(bench_fusion("dry", "full,persistent", "--dry-run"), 0);
	assert_true(bench_folder_said("out", "4 of 4 layers"));
	assert_true(bench_folder_said("out", says));
	assert_true(bench_folder_said("out", "1 cell skipped"));
}

/* Blocks wait for each other: where not all are resident at once, cells of that fusion are skipped, and no others. */
static void test_blocks_do_not_fit(void **state)
{
	(void)state;
	static const char says[] = "fusion persistent: fake GPU has no room for a block of ",
			  goes_on[] = " bytes of shared memory on each multiprocessor; use --fusion full";
	set_free((size_t)3 << 30);
	setenv("FAKE_CUDA", "crowded", 1);
	assert_int_equal(bench_fusion("crowded", "full,persistent,none", NULL), 0);
	assert_int_equal(bench_fusion("alone", "persistent", NULL), 2);
	/* A plan says so beforehand, in the same words. */
	assert_int_equal(bench_fusion("plan", "full,persistent,none", "--dry-run"), 0);
	assert_true(bench_folder_said("out", says) && bench_folder_said("out", goes_on));
	assert_true(bench_folder_said("out", "\n2 runs, about "));
	assert_true(bench_folder_said("out", "; 1 cell skipped"));
	assert_true(bench_folder_said("out", "What only a loaded model shows"));
	assert_int_equal(bench_fusion("plan", "persistent", "--dry-run"), 2);
	assert_true(bench_folder_said("out", "0 runs; 1 cell skipped"));
	unsetenv("FAKE_CUDA");
	check_fusion("crowded", "full", "ok", "resident");
	check_fusion("crowded", "none", "ok", "resident");
	check_fusion("crowded", "persistent", "skipped", "resident");
	check_fusion("alone", "persistent", "skipped", "resident");
	assert_true(bench_folder_said("crowded/runs.csv", says));
	assert_true(bench_folder_said("crowded/runs.csv", goes_on));
	assert_true(bench_folder_said("alone/runs.csv", says));
	assert_int_equal(bench_fusion("plan", "full,persistent", "--dry-run"), 0);
	assert_false(bench_folder_said("out", "skipped"));
	assert_int_equal(bench_fusion("roomy", "full,persistent", NULL), 0);
	check_fusion("roomy", "persistent", "ok", "resident");
}

/* A plan and its sweep where layers are on two devices, which take turns, or the driver lacks what modes need. */
static void test_plans_what_runs(void **state)
{
	(void)state;
	static const char two[] = "two devices take turns at every token: none can be queued behind another",
			  calls[] = "graph-loop: needs a newer driver: this one lacks the calls for it",
			  kernels[] = "graph-patch: needs kernels that this driver does not load: cuda device: loading "
				      "kernels/cuda/patch.cu for sm_90: CUDA_ERROR_FAKE 209 (made up)",
			  old[] = "graph-patch: needs a driver for CUDA 12.4 or newer; this one is for CUDA 12.2";
	static const struct {
		char *layers, *head;
		const char *driver, *why[2];
		int runs; /* of 8 cells */
	} cases[] = {
		{"2", "gpu", NULL, {two, calls}, 3},
		{"4", "cpu", NULL, {two, calls}, 3},
		{"4", "gpu", NULL, {calls, calls}, 6},
		{"4", "gpu", "old-driver", {old, old}, 4},
		{"4", "gpu", "no-patch", {kernels, calls}, 4},
		{"0", "gpu", NULL, {"graph-loop needs every layer on the GPU: the host's own tokens", ""}, 6},
	};
	set_free((size_t)3 << 30);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char name[] = {(char)('0' + i), '\0'}, text[64];
		int runs = cases[i].runs;
		char *words[] = {"-m",       MODEL,
				 "-p",       "0",
				 "-n",       "2",
				 "-r",       "1",
				 "-b",       "4",
				 "-ub",      "4",
				 "-ngl",     cases[i].layers,
				 "--head",   cases[i].head,
				 "--fusion", "none",
				 "--mode",   "direct,graph-device,graph-patch,graph-loop",
				 "--sync",   "token,none",
				 NULL,       NULL};
		if (cases[i].driver)
			setenv("FAKE_CUDA", cases[i].driver, 1);
		assert_int_equal(bench_folder_run(name, words), 0);
		snprintf(text, sizeof text, "\n%d runs ok", runs);
		assert_true(bench_folder_said("out", text));
		snprintf(text, sizeof text, ", %d skipped\n", 8 - runs);
		assert_true(bench_folder_said("out", text));
		words[22] = "--dry-run";
		assert_int_equal(bench_folder_run("plan", words), 0);
		unsetenv("FAKE_CUDA");
		snprintf(text, sizeof text, "\n%d runs, about ", runs);
		assert_true(bench_folder_said("out", text));
		snprintf(text, sizeof text, "; %d cells skipped", 8 - runs);
		assert_true(bench_folder_said("out", text));
		/* In the same words. */
		snprintf(text, sizeof text, "%s/runs.csv", name);
		for (int k = 0; k < 2; k++)
			assert_true(bench_folder_said("out", cases[i].why[k]) &&
				    bench_folder_said(text, cases[i].why[k]));
	}
}

/* Without a compiler no device opens: a plan that asks for kernels says so, as the sweep does. */
static void test_no_compiler(void **state)
{
	(void)state;
	static const char says[] = "GEMMARK_NVRTC: /nowhere";
	set_free((size_t)3 << 30);
	setenv("GEMMARK_NVRTC", "/nowhere", 1);
	assert_int_equal(bench_fusion("sweep", "full,persistent", NULL), 2);
	assert_true(bench_folder_said("sweep/runs.csv", says));
	assert_int_equal(bench_fusion("plan", "full,persistent", "--dry-run"), 2);
	assert_true(bench_folder_said("out", says));
	assert_true(bench_folder_said("out", "0 runs; 2 cells skipped"));
}

/* Of a command that has one fusion. */
static void test_one_session(void **state)
{
	(void)state;
	char *words[] = {"eval", "-m",   MODEL,      "--tokens",   "1,2,3", "--generate", "2",
			 "-ngl", "auto", "--fusion", "persistent", "-b",    "4",          NULL};
	set_free(needed(PERSISTENT_SESSIONS_ALL, PREFILL_WEIGHTS_CONVERT, 0));
	assert_int_equal(bench_folder_call(cmd_eval, words), 0);
	assert_true(bench_folder_said("errors", "weights in tiles: fusion persistent"));
	assert_true(bench_folder_said("errors", "13 to 42 KiB are on their way"));
	assert_false(bench_folder_said("errors", "the limits of an H100"));
	setenv("FAKE_CUDA", "no-memory", 1);
	assert_int_equal(bench_folder_call(cmd_eval, words), 0);
	unsetenv("FAKE_CUDA");
	assert_true(bench_folder_said("errors", "18 to 56 KiB are on their way"));
	assert_true(
		bench_folder_said("errors", "gemmark eval: the limits of an H100 for fusion persistent: cuda device"));
	set_free(PLACEMENT_RESERVE_BYTES + (1 << 20));
	assert_int_equal(bench_folder_call(cmd_eval, words), 2);
	assert_true(bench_folder_said("errors", "gemmark eval: fusion persistent needs all 4 layers on the GPU"));
	words[10] = "full";
	assert_int_equal(bench_folder_call(cmd_eval, words), 0);
	assert_false(bench_folder_said("errors", "persistent"));
}

/* What a session's device has planned, by what was measured at load, by what is said to have been, or by neither. */
static void test_loaded(void **state)
{
	(void)state;
	static const struct {
		enum persistent_limits_by by;
		struct cuda_memory memory;
		int ahead_cycles;
	} cases[] = {
		{PERSISTENT_LIMITS_MEASURED, {0}, 907},
		{PERSISTENT_LIMITS_MEASURED,
		 {0.5 * MEMORY_TUNED_BYTES_S, 0.5 * MEMORY_TUNED_BYTES_CYCLE, MEMORY_TUNED_LATENCY_CYCLES},
		 1360},
		{PERSISTENT_LIMITS_CONSTANT,
		 {0.5 * MEMORY_TUNED_BYTES_S, 0.5 * MEMORY_TUNED_BYTES_CYCLE, MEMORY_TUNED_LATENCY_CYCLES},
		 680},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct load_options o;
		struct loaded_model *m;
		struct session *s;
		load_options_default(&o);
		o.batch = CHUNK;
		o.persistent = PERSISTENT_SESSIONS_ALL;
		o.limits_by = cases[i].by;
		o.memory = cases[i].memory;
		OK(loaded_model_open(&m, MODEL, &o, e));
		assert_string_equal(m->no_memory.text, "");
		OK(session_open_on(&s, m, 32, e));
		session_set_fusion(s, FUSION_PERSISTENT);
		OK(session_prepare(s, e));
		/* The made-up GPU's memory is the host's. */
		const struct persistent_program *g = pipeline_head(&s->pipeline)->persistent.memory;
		assert_int_equal(g->n_blocks, 4);
		assert_int_equal(g->ahead_cycles, cases[i].ahead_cycles);
		session_close(s);
		loaded_model_close(m);
	}
}

/* Of the card that is there as measured, of one that is made up as tuned. */
static void test_shown(void **state)
{
	(void)state;
	char *words[] = {"model", "show", MODEL, "--fusion", "persistent", "--device", NULL, NULL};
	set_free((size_t)3 << 30);
	assert_int_equal(bench_folder_call(cmd_model, words), 0);
	char text[96];
	snprintf(text, sizeof text, "a cycle of a multiprocessor, a load in %d cycles", MEMORY_TUNED_LATENCY_CYCLES);
	assert_true(bench_folder_said("out", text));
	assert_true(bench_folder_said("out", "13 to 42 KiB are on their way"));
	setenv("FAKE_CUDA", "no-memory", 1);
	assert_int_equal(bench_folder_call(cmd_model, words), 0);
	unsetenv("FAKE_CUDA");
	assert_true(bench_folder_said("out", "the GPU's memory was not measured: cuda device"));
	assert_true(bench_folder_said("out", "18 to 56 KiB are on their way"));
	words[5] = "--device-memory";
	words[6] = "8G";
	assert_int_equal(bench_folder_call(cmd_model, words), 0);
	assert_false(bench_folder_said("out", "the GPU's memory"));
	assert_true(bench_folder_said("out", "18 to 56 KiB are on their way"));
}

static int set_up(void **state)
{
	char cache[BENCH_FOLDER_PATH];
	if (bench_folder_set_up(state))
		return -1;
	bench_folder_path("cache", cache);
	return !fake_gpu_load(cache);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_weights, set_up, bench_folder_tear_down),
		cmocka_unit_test_setup_teardown(test_not_recorded, set_up, bench_folder_tear_down),
		cmocka_unit_test_setup_teardown(test_weights_beside_tiles, set_up, bench_folder_tear_down),
		cmocka_unit_test_setup_teardown(test_constant_limits, set_up, bench_folder_tear_down),
		cmocka_unit_test_setup_teardown(test_tiles_do_not_fit, set_up, bench_folder_tear_down),
		cmocka_unit_test_setup_teardown(test_plans_what_runs, set_up, bench_folder_tear_down),
		cmocka_unit_test_setup_teardown(test_blocks_do_not_fit, set_up, bench_folder_tear_down),
		cmocka_unit_test_setup_teardown(test_no_compiler, set_up, bench_folder_tear_down),
		cmocka_unit_test_setup_teardown(test_loaded, set_up, bench_folder_tear_down),
		cmocka_unit_test_setup_teardown(test_shown, set_up, bench_folder_tear_down),
		cmocka_unit_test_setup_teardown(test_one_session, set_up, bench_folder_tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
