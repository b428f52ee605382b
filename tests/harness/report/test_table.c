/* The summary: medians over repetitions, pairs by repetition, widths, and nothing hidden. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/measure/measured_row.h"
#include "harness/report/table.h"

#define CELL(arm)                                                                                                     \
	{                                                                                                             \
		.model = "m.gguf", .type_k = "f16", .type_v = "f16", .fusion = "full", .mode = (arm), .n_threads = 2, \
		.n_depth = 131072, .n_gen = 128                                                                       \
	}
static const struct cell cells[] = {
	CELL("direct"),
	CELL("graph-params"),
	CELL("graph-device"),
	CELL("graph-update"),
};
enum { N_CELLS = sizeof cells / sizeof *cells };

static void add(struct table *t, int cell, int repetition, double itl, enum run_status status, const char *reason,
		int fallbacks)
{
	struct run_row r;
	char label[CELL_LABEL_SIZE];
	row_init(&r);
	cell_label(&cells[cell], label);
	row_set_cell(&r, &cells[cell], label, NULL);
	r.model = "Gemma 4 with a long name that goes on and on, and then some";
	r.cell = cell;
	r.repetition = repetition;
	r.status = status;
	r.reason = reason;
	r.fallbacks = fallbacks;
	r.itl_median_us = itl;
	r.itl_p90_us = itl * 1.25;
	r.tokens_per_s = 1e6 / itl;
	r.submit_median_us = 1234.5;
	r.api_launches_per_token = 1000;
	r.bandwidth_share = 0.71;
	r.gemm_share = 0.99; /* of prompts */
	assert_int_equal(table_add(t, &r, NULL), 0);
}

static char *render(const struct table *t)
{
	enum { SIZE = 1 << 14 };
	char *text = calloc(SIZE, 1);
	FILE *f = tmpfile();
	assert_non_null(text);
	assert_non_null(f);
	table_write(t, f);
	rewind(f);
	assert_true(fread(text, 1, SIZE - 1, f) < SIZE - 1);
	assert_int_equal(fclose(f), 0);
	return text;
}

/* The line that holds the word, copied. */
static void line_with(const char *text, const char *word, char out[256])
{
	const char *at = strstr(text, word);
	assert_non_null(at);
	while (at > text && at[-1] != '\n')
		at--;
	snprintf(out, 256, "%.*s", (int)strcspn(at, "\n"), at);
}

static void test_lines(void **state)
{
	(void)state;
	struct table *t;
	char line[256];
	assert_int_equal(table_open(&t, cells, N_CELLS, NULL), 0);
	/* Pairs: 0.5, 0.9, 0.8 of direct: median 0.8, where the ratio of the medians is 0.45 / 0.5. */
	const double direct[] = {200000, 500000, 1000000}, device[] = {100000, 450000, 800000};
	for (int i = 0; i < 3; i++) {
		add(t, 0, i, direct[i], RUN_STATUS_OK, "", 0);
		add(t, 2, i, device[i], RUN_STATUS_OK, "", 0);
	}
	add(t, 1, 0, 200000, RUN_STATUS_OK, "8 of 8 tokens were launched directly: no", 8);
	add(t, 3, 0, 1, RUN_STATUS_WRONG, "logits differ", 0);
	char *text = render(t);
	line_with(text, " graph-device ", line);
	assert_non_null(strstr(line, "tg128 @ d131072"));
	assert_non_null(strstr(line, " -20% [-50,-10] "));
	assert_non_null(strstr(line, " 2.22 ±0.97 ")); /* 10, 2.222, 1.25: deviations 7.78, 0, 0.972 */
	assert_non_null(strstr(line, " 450000/562500 "));
	assert_non_null(strstr(line, " 1234 "));
	assert_non_null(strstr(line, " 1000 "));
	assert_non_null(strstr(line, " 71% "));
	line_with(text, " direct ", line);
	assert_null(strstr(line, " -0.0%"));
	line_with(text, " graph-params ", line);
	assert_string_equal(line + strlen(line) - 3, "ok*");
	line_with(text, " graph-update ", line);
	assert_string_equal(line + strlen(line) - 5, "wrong");
	assert_non_null(strstr(text, "* tg128 @ d131072 graph-params full: ok: 8 of 8 tokens"));
	assert_non_null(strstr(text, "graph-update full: wrong: logits differ"));
	/* 100 columns, of characters: continuation bytes of UTF-8 do not count. */
	int columns = 0, most = 0;
	for (const char *p = text; *p; p++) {
		columns = *p == '\n' ? 0 : columns + (((unsigned char)*p & 0xc0) != 0x80);
		most = columns > most ? columns : most;
	}
	assert_in_range(most, 80, 100);
	free(text);
	table_close(t);
}

/* Prompts of one unit are compared by their time, and each says how it is launched. */
static void test_prompts(void **state)
{
	(void)state;
	struct cell two[2] = {cells[0], cells[0]};
	struct table *t;
	char line[256];
	for (int i = 0; i < 2; i++) {
		two[i].mode = "direct";
		two[i].n_prompt = 512;
		two[i].n_gen = two[i].n_depth = 0;
	}
	two[1].prefill_mode = "graph-device";
	assert_int_equal(table_open(&t, two, 2, NULL), 0);
	for (int i = 0; i < 2; i++)
		for (int repetition = 0; repetition < 4; repetition++) {
			struct run_row r;
			row_init(&r);
			row_set_axes(&r, &two[i]);
			r.cell = i;
			r.repetition = repetition;
			r.status = RUN_STATUS_OK;
			r.reason = "";
			r.prefill_us = (i ? 700 : 1000) + repetition;
			r.tokens_per_s = 512 / r.prefill_us * 1e6;
			assert_int_equal(table_add(t, &r, NULL), 0);
		}
	char *text = render(t);
	line_with(text, " graph-device ", line);
	assert_non_null(strstr(line, "pp512 "));
	assert_non_null(strstr(line, " -30% "));
	line_with(text, " direct ", line);
	assert_null(strstr(line, "%"));
	assert_non_null(strstr(text, "vs direct: change of itl,\n  of a prompt's time, the median over pairs"));
	free(text);
	table_close(t);
}

/* Placements that differ in the layers on the GPU alone are told apart. */
static void test_placements(void **state)
{
	(void)state;
	struct cell two[2] = {cells[0], cells[0]};
	struct table *t;
	two[1].n_gpu_layers = 22;
	assert_int_equal(table_open(&t, two, 2, NULL), 0);
	for (int i = 0; i < 2; i++) {
		struct run_row r;
		row_init(&r);
		r.cell = i;
		r.repetition = 0;
		r.status = RUN_STATUS_OK;
		r.device = "NVIDIA H100 80GB HBM3+host";
		r.n_gpu_layers = i ? 22 : 0;
		r.n_threads = 16;
		assert_int_equal(table_add(t, &r, NULL), 0);
	}
	char *text = render(t);
	assert_non_null(strstr(text, "on NVIDIA H100 80GB HBM3+host, 16 threads, KV"));
	assert_non_null(strstr(text, "on NVIDIA H100 80GB HBM3+host, 22 GPU layers, 16 threads, KV"));
	free(text);
	table_close(t);
}

/* Queued tokens have a column only where there are any, and their own direct run to compare with. */
static void test_sync(void **state)
{
	(void)state;
	struct cell four[4] = {cells[0], cells[2], cells[0], cells[2]};
	const double itl[4] = {1000, 900, 500, 400};
	struct table *t;
	char line[256];
	four[2].sync = four[3].sync = SYNC_NONE;
	for (int n = 2; n <= 4; n += 2) {
		assert_int_equal(table_open(&t, four, n, NULL), 0);
		for (int i = 0; i < 3 * n; i++)
			add(t, i % n, i / n, itl[i % n], RUN_STATUS_OK, "", 0);
		char *text = render(t);
		assert_int_equal(strstr(text, " sync ") != NULL, n == 4);
		line_with(text, "graph-device", line);
		assert_non_null(strstr(line, " -10% [-10,-10] "));
		if (n == 4) {
			line_with(text, " none ", line);
			assert_non_null(strstr(line, "direct"));
			line_with(strstr(text, line) + strlen(line), " none ", line);
			assert_non_null(strstr(line, " -20% [-20,-20] "));
		}
		free(text);
		table_close(t);
	}
}

/* A run that was repeated counts once, as its latest attempt. */
static void test_attempts(void **state)
{
	(void)state;
	struct table *t;
	char line[256];
	assert_int_equal(table_open(&t, cells, N_CELLS, NULL), 0);
	add(t, 1, 0, 2000, RUN_STATUS_OK, "", 0);
	add(t, 1, 1, 9000, RUN_STATUS_OK, "", 0);
	add(t, 1, 1, 2000, RUN_STATUS_OK, "", 0);
	char *text = render(t);
	line_with(text, " graph-params ", line);
	assert_non_null(strstr(line, " 2000/2500 "));
	assert_non_null(strstr(text, "1 run was repeated because the SM clock was low"));
	free(text);
	table_close(t);
}

/* A row that is not ok says more than an earlier remark, the first such one most; fallbacks add up. */
static void test_what_is_said(void **state)
{
	(void)state;
	struct table *t;
	char line[256];
	assert_int_equal(table_open(&t, cells, N_CELLS, NULL), 0);
	add(t, 1, 0, 2000, RUN_STATUS_OK, "a remark", 0);
	add(t, 1, 1, 2000, RUN_STATUS_OK, "another remark", 0);
	add(t, 2, 0, 2000, RUN_STATUS_OK, "a remark", 0);
	add(t, 2, 1, 2000, RUN_STATUS_WRONG, "first failure", 0);
	add(t, 2, 2, 2000, RUN_STATUS_FAILED, "second failure", 0);
	/* The second run went well: the star stays. */
	add(t, 3, 0, 2000, RUN_STATUS_OK, "fell back", 4);
	add(t, 3, 1, 2000, RUN_STATUS_OK, "", 0);
	char *text = render(t);
	assert_non_null(strstr(text, "\ntg128 @ d131072 graph-params full: ok: a remark\n"));
	assert_non_null(strstr(text, "\ntg128 @ d131072 graph-device full: wrong: first failure\n"));
	assert_non_null(strstr(text, "\n* tg128 @ d131072 graph-update full: ok: fell back\n"));
	assert_null(strstr(text, "another"));
	assert_null(strstr(text, "second"));
	line_with(text, " graph-device ", line);
	assert_string_equal(line + strlen(line) - 6, " wrong");
	line_with(text, " graph-update ", line);
	assert_string_equal(line + strlen(line) - 4, " ok*");
	free(text);
	table_close(t);
}

/* What a token reads in powers of 1024, and a prompt's rate and share of the products' rate. */
static void test_units(void **state)
{
	(void)state;
	static const struct {
		int64_t bytes;
		const char *text;
	} reads[] = {{1 << 20, ", reads 1.0 MiB a token"},
		     {(int64_t)1500 << 20, ", reads 1.46 GiB a token"},
		     {1023 << 20, ", reads 1023.0 MiB a token"}};
	struct cell prompt = cells[0];
	prompt.n_prompt = 512;
	prompt.n_gen = 0;
	for (size_t i = 0; i < sizeof reads / sizeof *reads; i++) {
		struct table *t;
		struct run_row r;
		char line[256];
		assert_int_equal(table_open(&t, &prompt, 1, NULL), 0);
		row_init(&r);
		row_set_cell(&r, &prompt, "pp512", NULL);
		r.cell = 0;
		r.repetition = 0;
		r.status = RUN_STATUS_OK;
		r.weight_bytes_per_token = reads[i].bytes;
		r.tokens_per_s = 1234;
		r.prefill_tflop_s = 56.7;
		r.gemm_share = 0.42;
		r.bandwidth_share = 0.13;
		assert_int_equal(table_add(t, &r, NULL), 0);
		char *text = render(t);
		assert_non_null(strstr(text, reads[i].text));
		line_with(text, "pp512", line);
		assert_non_null(strstr(line, " 1234 "));
		assert_non_null(strstr(line, " 56.7 TFLOP/s "));
		assert_non_null(strstr(line, " 42% "));
		assert_null(strstr(line, "13%"));
		free(text);
		table_close(t);
	}
}

/* A mixture is called what its file calls it, and the type of most bytes is said beside that. */
static void test_types(void **state)
{
	(void)state;
	static const struct {
		const char *file, *weights, *says;
	} types[] = {
		{"Q4_K_M", "Q8_0", "(gemma3 Q4_K_M, mostly Q8_0) on"},
		{"Q8_0", "Q8_0", "(gemma3 Q8_0) on"},
		{NULL, "Q8_0", "(gemma3 Q8_0) on"},
		{"", "Q8_0", "(gemma3 Q8_0) on"},
		{"Q4_K_M", NULL, "(gemma3 Q4_K_M) on"},
	};
	for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
		struct table *t;
		struct run_row r;
		assert_int_equal(table_open(&t, cells, N_CELLS, NULL), 0);
		row_init(&r);
		r.cell = 0;
		r.repetition = 0;
		r.status = RUN_STATUS_OK;
		r.arch = "gemma3";
		r.file_type = types[i].file;
		r.weight_type = types[i].weights;
		assert_int_equal(table_add(t, &r, NULL), 0);
		char *text = render(t);
		if (!strstr(text, types[i].says))
			fail_msg("no '%s' in: %s", types[i].says, text);
		free(text);
		table_close(t);
	}
}

static void test_nothing(void **state)
{
	(void)state;
	struct table *t;
	assert_int_equal(table_open(&t, cells, N_CELLS, NULL), 0);
	char *text = render(t);
	assert_string_equal(text, "");
	free(text);
	table_close(t);
	table_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines), cmocka_unit_test(test_prompts),  cmocka_unit_test(test_placements),
		cmocka_unit_test(test_sync),  cmocka_unit_test(test_attempts), cmocka_unit_test(test_what_is_said),
		cmocka_unit_test(test_units), cmocka_unit_test(test_types),    cmocka_unit_test(test_nothing)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
