/*
 * --prefill-rows: what is computed of a prompt changes, its FLOPs and its time with it, and no bit of what follows.
 * --prefill-mode: how it is launched does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/infer/session.h"
#include "engine/model/model_flops.h"
#include "harness/cli/options.h"
#include "tests/support/command.h"
#include "tests/support/fake_sweep.h"
#include "tests/support/folder.h"
#include "tests/support/golden.h"
#include "tests/support/ok.h"
#include "tests/support/read_csv.h"

/* Half of its layers own no K/V. */
#define MODEL "golden/gemma4-e2b-tiny.q8_0.gguf"

static char folder[FOLDER_BYTES];

static int set_up(void **state)
{
	(void)state;
	return folder_make(folder, "rows");
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(folder);
}

/* ---- the engine ---- */

enum { PROMPT = 50, BATCH = 16, N_DECODE = 20 };

/* The last row's logits and those of tokens behind it: (1 + N_DECODE, n_vocab). */
static void run_session(struct session *s, enum prefill_rows rows, float *every, float *out)
{
	size_t vocab = (size_t)session_model(s)->n_vocab;
	int tokens[PROMPT];
	const float *row;
	for (int i = 0; i < PROMPT; i++)
		tokens[i] = (7 * i + 3) % (int)vocab;
	OK(session_rewind(s, 0, e));
	OK(session_set_prefill_rows(s, rows, e));
	OK(session_prefill(s, tokens, PROMPT, every, e));
	for (int i = 0; i <= N_DECODE; i++) {
		if (i)
			OK(session_decode(s, 11 * i % (int)vocab, NULL, e));
		OK(session_logits(s, &row, e));
		memcpy(out + (size_t)i * vocab, row, vocab * sizeof *row);
	}
}

static void test_same_bits(void **state)
{
	(void)state;
	for (int m = 0; m < GOLDEN_MODELS; m++) {
		struct golden g;
		struct session *s;
		struct session_options o;
		golden_load(&g, golden_names[m]);
		session_options_default(&o);
		o.load.n_gpu_layers = 0;
		o.load.n_threads = 1;
		o.load.batch = BATCH;
		o.context = PROMPT + N_DECODE;
		OK(session_open(&s, g.path, &o, e));
		size_t n = (1 + N_DECODE) * (size_t)g.n_vocab;
		float *last = malloc(n * sizeof *last), *all = malloc(n * sizeof *all);
		float *every = malloc(PROMPT * (size_t)g.n_vocab * sizeof *every);
		for (int mode = 0; mode < GRAPH_MODE_COUNT; mode++) {
			/* Graphs that were captured before its memory was there, and behind it. */
			session_set_mode(s, (enum graph_mode)mode);
			run_session(s, PREFILL_ROWS_LAST, NULL, last);
			assert_int_equal(session_prefill_rows(s), PREFILL_ROWS_LAST);
			run_session(s, PREFILL_ROWS_ALL, NULL, all);
			assert_memory_equal(all, last, n * sizeof *all);
			run_session(s, PREFILL_ROWS_ALL, every, all);
			assert_memory_equal(all, last, n * sizeof *all);
			assert_memory_equal(every + (PROMPT - 1) * (size_t)g.n_vocab, last,
					    (size_t)g.n_vocab * sizeof *last);
		}
		free(last);
		free(all);
		free(every);
		session_close(s);
		golden_free(&g);
	}
}

/* No room for the rows: said, and prompts go on as before. */
static void test_no_memory(void **state)
{
	(void)state;
	struct golden g;
	struct session *s;
	struct session_options o;
	struct error err;
	golden_load(&g, golden_names[0]);
	session_options_default(&o);
	o.load.n_gpu_layers = 0;
	o.load.n_threads = 1;
	o.context = PROMPT + N_DECODE;
	OK(session_open(&s, g.path, &o, e));
	float *out = malloc((1 + N_DECODE) * (size_t)g.n_vocab * sizeof *out);
	device_fail(session_device(s), DEVICE_FAULT_ALLOC, 0, 1);
	assert_int_equal(session_set_prefill_rows(s, PREFILL_ROWS_ALL, &err), ERROR_MEMORY);
	assert_non_null(strstr(err.text, "logits of 70 rows of a prompt"));
	assert_int_equal(session_prefill_rows(s), PREFILL_ROWS_LAST);
	run_session(s, PREFILL_ROWS_LAST, NULL, out);
	run_session(s, PREFILL_ROWS_ALL, NULL, out);
	free(out);
	session_close(s);
	golden_free(&g);
}

/* ---- the axis ---- */

static void test_axis_of_prompts(void **state)
{
	(void)state;
	struct matrix m = {0};
	struct cell *cells;
	int n, all = 0;
	OK(matrix_add(&m, AXIS_MODEL, "m", e));
	OK(matrix_add(&m, AXIS_PREFILL_ROWS, "last,all", e));
	OK(matrix_add(&m, AXIS_MODE, "direct,graph-device", e));
	OK(matrix_add(&m, AXIS_PROMPT, "8", e));
	OK(matrix_add(&m, AXIS_GEN, "4", e));
	OK(matrix_add_pair(&m, "8,4", e));
	OK(matrix_defaults(&m, e));
	OK(matrix_cells(&m, NULL, &cells, &n, e));
	/* Two prompts; two modes of a generation, which has no rows; two modes of each of two pairs. */
	assert_int_equal(n, 2 + 2 + 4);
	for (int i = 0; i < n; i++) {
		all += cell_computes_all_rows(&cells[i]);
		assert_true(cells[i].n_prompt || !cell_computes_all_rows(&cells[i]));
	}
	assert_int_equal(all, 1 + 2);
	free(cells);
	matrix_free(&m);
	/* Its own value, not each of its values, as "all" is elsewhere. */
	OK(matrix_add(&m, AXIS_PREFILL_ROWS, "all", e));
	assert_int_equal(m.of[AXIS_PREFILL_ROWS].n, 1);
	assert_string_equal(m.of[AXIS_PREFILL_ROWS].words[0], "all");
	matrix_free(&m);
	struct error err;
	assert_int_equal(matrix_add(&m, AXIS_PREFILL_ROWS, "some", &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "--prefill-rows: 'some' is none of last, all"));
}

/* A workload that knows of none. */
static void test_unsupported(void **state)
{
	(void)state;
	struct fake_sweep x;
	fake_sweep_init(&x, 1);
	OK(matrix_add(&x.matrix, AXIS_PREFILL_ROWS, "last,all", e));
	fake_sweep_cells(&x, &(struct fake_axes){"direct", "full", "token", "0", 0, 8});
	fake_sweep_run(&x, &x.fake.source);
	assert_int_equal(x.n_runs, 2);
	for (int i = 0; i < 2; i++)
		assert_string_equal(x.runs[i].status,
				    cell_computes_all_rows(&x.cells[x.runs[i].row.cell]) ? "skipped" : "ok");
	fake_sweep_free(&x);
}

/* ---- bench and eval ---- */

static double real_at(const struct csv_rows *r, int row, const char *column)
{
	const char *text = csv_at(r, row, column);
	assert_true(*text);
	return strtod(text, NULL);
}

/* A prompt says what all of it launched, and when its first token was there; nothing of it is a token's. */
static void check_prompt(const struct csv_rows *r, int row)
{
	int direct = !strcmp(csv_at(r, row, "prefill_mode"), "direct");
	double launches = real_at(r, row, "api_launches_per_prompt"), kernels = real_at(r, row, "kernels_per_prompt");
	assert_true(real_at(r, row, "ttft_us") >= real_at(r, row, "prefill_us"));
	assert_true(kernels > 100);
	if (direct)
		assert_true(launches == kernels + real_at(r, row, "copies_per_prompt") &&
			    real_at(r, row, "node_updates_per_prompt") == 0);
	assert_int_equal(!*csv_at(r, row, "api_launches_per_token"), !atoi(csv_at(r, row, "n_gen")));
	assert_int_equal(!*csv_at(r, row, "kernels_per_token"), !atoi(csv_at(r, row, "n_gen")));
	assert_int_equal(strlen(csv_at(r, row, "launch_hash")), 16);
}

static void test_bench(void **state)
{
	(void)state;
	char path[128], hash[2][24];
	double flops[2] = {0, 0}, kernels[2][2];
	struct csv_rows r;
	struct model m;
	char *words[] = {"-m", MODEL, "-p",  "100",   "-n", "4",      "-pg",    "100,4",          "-ub",
			 "32", "-d",  "32",  "-r",    "1",  "--mode", "direct", "--prefill-rows", "last,all",
			 "-o", "csv", "-oe", "table", NULL};
	assert_int_equal(command_out(folder, cmd_bench, "bench", "run", words), 0);
	assert_true(command_said(folder, "errors", "pp100 @ d32, all rows"));
	assert_true(command_said(folder, "out", "prefill_rows=all"));
	snprintf(path, sizeof path, "%s/run/runs.csv", folder);
	assert_int_equal(csv_read(&r, path), 0);
	assert_int_equal(r.n_rows - 1, 2 + 1 + 2);
	OK(model_open(&m, MODEL, e));
	for (int i = 1; i < r.n_rows; i++) {
		int all = !strcmp(csv_at(&r, i, "prefill_rows"), "all");
		assert_string_equal(csv_at(&r, i, "status"), "ok");
		if (!atoi(csv_at(&r, i, "n_prompt"))) {
			assert_string_equal(csv_at(&r, i, "prefill_rows"), "last");
			assert_string_equal(csv_at(&r, i, "ttft_us"), "");
			assert_string_equal(csv_at(&r, i, "api_launches_per_prompt"), "");
			continue;
		}
		check_prompt(&r, i);
		double expected = model_prefill_flops(&m, 32, 100, 32, all);
		flops[all] = strtod(csv_at(&r, i, "prefill_flops"), NULL);
		assert_true(flops[all] > expected * (1 - 1e-8) && flops[all] < expected * (1 + 1e-8));
		kernels[all][!atoi(csv_at(&r, i, "n_gen"))] = real_at(&r, i, "kernels_per_prompt");
		if (!atoi(csv_at(&r, i, "n_gen")))
			snprintf(hash[all], sizeof hash[all], "%s", csv_at(&r, i, "logits_hash"));
	}
	/* Half the layers are readers, and the head is one row in a hundred. */
	assert_true(flops[1] > 1.5 * flops[0]);
	/* Of one prompt, whatever is behind it; all rows also go through the head, chunk by chunk. */
	assert_true(kernels[0][0] == kernels[0][1] && kernels[1][0] == kernels[1][1] && kernels[1][0] > kernels[0][0]);
	/* Rows are independent on the host. */
	assert_string_equal(hash[0], hash[1]);
	model_close(&m);
	csv_rows_free(&r);
}

/* The chunks of a prompt test in every mode: the same bits and kernels, in fewer calls, and captured before. */
static void test_modes(void **state)
{
	(void)state;
	char path[128];
	struct csv_rows r;
	char *words[] = {"-m",
			 MODEL,
			 "-p",
			 "100",
			 "-n",
			 "2",
			 "-pg",
			 "100,2",
			 "-ub",
			 "32",
			 "-d",
			 "32",
			 "-r",
			 "2",
			 "--mode",
			 "direct",
			 "--prefill-mode",
			 "direct,graph-params,graph-update,graph-device",
			 "-o",
			 "csv",
			 "-oe",
			 "table",
			 NULL};
	assert_int_equal(command_out(folder, cmd_bench, "bench", "modes", words), 0);
	assert_true(command_said(folder, "errors", "graph-device"));
	assert_true(command_said(folder, "out", "prefill_mode=graph-device"));
	snprintf(path, sizeof path, "%s/modes/runs.csv", folder);
	assert_int_equal(csv_read(&r, path), 0);
	assert_int_equal(r.n_rows - 1, 2 * (4 + 1 + 1));
	int direct = 0, rows = 0;
	for (int i = 1; i < r.n_rows; i++)
		if (!atoi(csv_at(&r, i, "n_gen")) && !strcmp(csv_at(&r, i, "prefill_mode"), "direct"))
			direct = i;
	assert_true(direct > 0);
	for (int i = 1; i < r.n_rows; i++) {
		const char *mode = csv_at(&r, i, "prefill_mode");
		assert_string_equal(csv_at(&r, i, "status"), "ok");
		assert_string_equal(csv_at(&r, i, "reason"), "");
		assert_string_equal(csv_at(&r, i, "mode"), "direct");
		if (atoi(csv_at(&r, i, "n_gen"))) {
			assert_string_equal(mode, "direct");
			continue;
		}
		check_prompt(&r, i);
		assert_string_equal(csv_at(&r, i, "logits_hash"), csv_at(&r, direct, "logits_hash"));
		assert_string_equal(csv_at(&r, i, "kernels_per_prompt"), csv_at(&r, direct, "kernels_per_prompt"));
		if (!strcmp(mode, "direct"))
			continue;
		int device = !strcmp(mode, "graph-device"), params = !strcmp(mode, "graph-params");
		/* Chunks of 32, 32, 32 and 4; a graph for the first three, and one with the head behind it. */
		assert_true(real_at(&r, i, "api_launches_per_prompt") == 4 * (1 + device));
		assert_int_equal(real_at(&r, i, "node_updates_per_prompt") > 0, params);
		assert_true(real_at(&r, i, "captures") == (*csv_at(&r, i, "repetition") == '0' ? 2 : 0));
		assert_true(real_at(&r, i, "fallbacks") == 0 && real_at(&r, i, "graph_nodes") > 50);
		/* The last row of the stream and of its per-layer embeddings, which the layers behind go on with alone.
		 */
		assert_true(real_at(&r, i, "copy_nodes") == 2);
		assert_true(real_at(&r, i, "kernel_nodes") == real_at(&r, i, "graph_nodes") - 2);
		rows++;
	}
	assert_int_equal(rows, 3 * 2);
	csv_rows_free(&r);
}

static unsigned char *slurp(const char *name, size_t *n)
{
	FILE *f = folder_open(folder, name, "rb");
	unsigned char *bytes = malloc(1 << 22);
	*n = fread(bytes, 1, 1 << 22, f);
	fclose(f);
	return bytes;
}

/* The rows that are there are those of all, and the perplexity is over them. */
static void test_eval(void **state)
{
	(void)state;
	char out[2][128], tokens[] = "2,17,4,99,250,3,8,41,5,6,7,200,100,90,80,70,60,50,40,30";
	enum { N = 20, PREFILLED = 12 };
	for (int last = 0; last < 2; last++) {
		snprintf(out[last], sizeof out[last], "%s/logits%d", folder, last);
		char *words[] = {"eval",    "-m", MODEL, "--tokens", tokens,           "--prefill",           "12",
				 "-b",      "5",  "-t",  "1",        "--prefill-rows", last ? "last" : "all", "-o",
				 out[last], NULL};
		assert_int_equal(command_run(folder, cmd_eval, words), 0);
		assert_true(command_said(folder, "out", last ? "of which the last row's logits" : "(12 prefilled)"));
		assert_true(command_said(folder, "out", last ? "float32 [9][" : "float32 [20]["));
	}
	size_t n_all, n_last;
	unsigned char *all = slurp("logits0", &n_all), *some = slurp("logits1", &n_last);
	size_t row = n_all / N;
	assert_int_equal(n_last, row * (N - PREFILLED + 1));
	assert_memory_equal(some, all + row * (PREFILLED - 1), n_last);
	free(all);
	free(some);
	/* One row has no next token. */
	char *alone[] = {"eval", "-m", MODEL, "--tokens", tokens, "-t", "1", "--prefill-rows", "last", NULL};
	assert_int_equal(command_run(folder, cmd_eval, alone), 0);
	assert_false(command_said(folder, "out", "perplexity"));
	/* Nothing is prefilled: all is decoded, and all is there. */
	char *none[] = {"eval", "-m",        MODEL, "--tokens",       tokens, "-t",
			"1",    "--prefill", "0",   "--prefill-rows", "last", NULL};
	assert_int_equal(command_run(folder, cmd_eval, none), 0);
	assert_true(command_said(folder, "out", "perplexity"));
	char *bad[] = {"eval", "-m", MODEL, "--tokens", tokens, "--prefill-rows", "most", NULL};
	assert_int_equal(command_run(folder, cmd_eval, bad), 2);
	assert_true(command_said(folder, "errors", "rows 'most' is unknown"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_bits),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_axis_of_prompts),
		cmocka_unit_test(test_unsupported),
		cmocka_unit_test(test_modes),
		cmocka_unit_test(test_bench),
		cmocka_unit_test(test_eval),
	};
	return cmocka_run_group_tests_name("--prefill-rows", tests, set_up, tear_down);
}
