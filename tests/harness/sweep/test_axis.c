/* The table of axes: what is made from it agrees, for every axis that is in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/record/row.h"
#include "harness/record/sweep_file.h"
#include "harness/sweep/matrix.h"

/* A cell whose every value is another one than any default: "3", "4", ... and "w0", "w1", ... */
static void fill(struct cell *c, char words[AXIS_COUNT][8])
{
	*c = (struct cell){0};
	for (int a = 0; a < AXIS_COUNT; a++) {
		snprintf(words[a], 8, "w%d", a);
		if (axes[a].kind == AXIS_INT)
			cell_set_int(c, (enum axis_id)a, 3 + a);
		else
			cell_set_word(c, (enum axis_id)a, words[a]);
	}
}

/* Each axis has its own column, and a row leads back to the cell that it was made of. */
static void test_rows(void **state)
{
	(void)state;
	struct cell c, back;
	char words[AXIS_COUNT][8], number[AXIS_TEXT_SIZE], text[COLUMN_TEXT_SIZE];
	struct run_row row;
	fill(&c, words);
	row_init(&row);
	row_set_axes(&row, &c);
	for (int a = 0; a < AXIS_COUNT; a++) {
		int found = 0;
		for (int i = 0; i < row_n_columns; i++) {
			if (strcmp(row_columns[i].name, axes[a].column))
				continue;
			found++;
			assert_int_equal(row_columns[i].type, axes[a].kind == AXIS_INT ? COLUMN_INT : COLUMN_TEXT);
			assert_string_equal(column_text(&row, &row_columns[i], text),
					    cell_text(&c, (enum axis_id)a, number));
		}
		assert_int_equal(found, 1);
		assert_int_equal(axis_find(axes[a].name), a);
	}
	assert_int_equal(axis_find("repetitions"), -1);
	row_cell(&row, &back);
	assert_true(cell_same(&c, &back));
	/* One value differs: that axis differs, and cells do from its level on. */
	for (int a = 0; a < AXIS_COUNT; a++) {
		struct cell other = c;
		if (axes[a].kind == AXIS_INT)
			cell_set_int(&other, (enum axis_id)a, 2);
		else
			cell_set_word(&other, (enum axis_id)a, "other");
		row_set_axes(&row, &other);
		row_cell(&row, &back);
		for (int b = 0; b < AXIS_COUNT; b++)
			assert_int_equal(cell_same_value(&c, &back, (enum axis_id)b), a != b);
		for (int l = 0; l <= AXIS_LEVEL_MODE; l++)
			assert_int_equal(cell_same_to(&c, &back, (enum axis_level)l), (int)axes[a].level > l);
	}
}

/* A row of a file that is older than an axis has the value that stands for its absence. */
static void test_absent(void **state)
{
	(void)state;
	struct run_row row;
	struct cell c;
	char number[AXIS_TEXT_SIZE];
	row_init(&row);
	row_cell(&row, &c);
	for (int a = 0; a < AXIS_COUNT; a++)
		if (axes[a].absent)
			assert_string_equal(cell_text(&c, (enum axis_id)a, number), axes[a].absent);
	/* Known: SnapKV and sync came after the first files. */
	assert_string_equal(cell_text(&c, AXIS_SNAPKV, number), "off");
	assert_string_equal(cell_text(&c, AXIS_SYNC, number), "token");
	/* -ngl auto is what was asked for, whatever came of it. */
	row.n_gpu_layers = 12;
	row.n_gpu_layers_asked = AXIS_LAYERS_AUTO;
	row_cell(&row, &c);
	assert_string_equal(cell_text(&c, AXIS_GPU_LAYERS, number), "auto");
}

/* Every cell has a label, that of a row whose numbers somebody took out too. */
static void test_labels(void **state)
{
	(void)state;
	static const struct {
		struct cell cell;
		const char *label;
	} cases[] = {
		{{.n_prompt = 512}, "pp512"},
		{{.n_gen = 128}, "tg128"},
		{{.n_prompt = 512, .n_gen = 128, .n_depth = 4096}, "pp512+tg128 @ d4096"},
		{{.n_depth = 0}, "no tokens"},
		{{.n_depth = 64}, "no tokens @ d64"},
		{{.n_prompt = 2147483647, .n_gen = 2147483647, .n_depth = 2147483647},
		 "pp2147483647+tg2147483647 @ d2147483647"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char out[CELL_LABEL_SIZE];
		memset(out, 'x', sizeof out);
		cell_label(&cases[i].cell, out);
		assert_non_null(memchr(out, 0, sizeof out));
		assert_string_equal(out, cases[i].label);
	}
}

/* Placements whose values come to the same are one; the first name of a model stays. */
static int resolve(void *ctx, struct cell *c, struct error *err)
{
	++*(int *)ctx;
	if (!c->n_threads)
		c->n_threads = 2;
	if (c->n_gpu_layers < 0)
		c->n_gpu_layers = 0;
	if (!strcmp(c->model, "bad"))
		return error_set(err, ERROR_INPUT, "bad: no such model");
	snprintf(c->model_hash, sizeof c->model_hash, "%016x", strstr(c->model, "other") ? 2 : 1);
	return 0;
}

static void test_resolved(void **state)
{
	(void)state;
	struct matrix m = {0};
	struct cell *cells;
	struct error err = {""};
	int n, calls = 0;
	const struct cell_resolver resolver = {&calls, resolve};
	assert_int_equal(matrix_add(&m, AXIS_MODEL, "./m,m,other/m", &err), 0);
	assert_int_equal(matrix_add(&m, AXIS_THREADS, "0,2,3", &err), 0);
	assert_int_equal(matrix_add(&m, AXIS_GPU_LAYERS, "0,-1", &err), 0);
	assert_int_equal(matrix_add(&m, AXIS_GEN, "4", &err), 0);
	assert_int_equal(matrix_defaults(&m, &err), 0);
	assert_int_equal(matrix_cells(&m, &resolver, &cells, &n, &err), 0);
	assert_int_equal(calls, 3 * 3 * 2);
	/* 2 models x 2 numbers of threads, each a prompt and a generation in four modes */
	assert_int_equal(n, 2 * 2 * (1 + 4));
	assert_string_equal(cells[0].model, "./m");
	assert_int_equal(cells[0].n_threads, 2);
	char name[CELL_MODEL_SIZE];
	cell_model_name(&cells[0], cells, n, name);
	assert_string_equal(name, "m#00000000");
	cell_model_name(&cells[0], cells, n / 2, name);
	assert_string_equal(name, "m");
	free(cells);
	/* Without anybody who knows, a value is what it says. */
	assert_int_equal(matrix_cells(&m, NULL, &cells, &n, &err), 0);
	assert_int_equal(n, 3 * 3 * 2 * (1 + 4));
	free(cells);
	assert_int_equal(matrix_add(&m, AXIS_MODEL, "bad", &err), 0);
	assert_int_equal(matrix_cells(&m, &resolver, &cells, &n, &err), ERROR_INPUT);
	assert_string_equal(err.text, "bad: no such model");
	matrix_free(&m);
}

/* sweep.json has every axis, and says nothing else of axes. */
static void test_sweep_file(void **state)
{
	(void)state;
	struct matrix m = {0};
	json_t *sweep;
	assert_int_equal(matrix_add(&m, AXIS_DEPTH, "0,512", NULL), 0);
	assert_int_equal(sweep_describe(&m, &sweep, NULL), 0);
	assert_int_equal(json_object_size(sweep), 1 + AXIS_COUNT);
	for (int a = 0; a < AXIS_COUNT; a++)
		assert_true(json_is_array(json_object_get(sweep, axes[a].name)));
	assert_int_equal(json_array_size(json_object_get(sweep, "n_depth")), 2);
	assert_string_equal(json_string_value(json_array_get(json_object_get(sweep, "snapkv"), 0)), "off");
	json_decref(sweep);
	matrix_free(&m);
}

/* A prompt test has one cell for all values of what only decoding knows. */
static void test_decode_only(void **state)
{
	(void)state;
	struct matrix m = {0};
	struct cell *cells;
	int n;
	assert_int_equal(matrix_add(&m, AXIS_MODEL, "m", NULL), 0);
	assert_int_equal(matrix_add(&m, AXIS_SYNC, "none,token", NULL), 0);
	assert_int_equal(matrix_add(&m, AXIS_MODE, "graph-device,graph-params", NULL), 0);
	assert_int_equal(matrix_add(&m, AXIS_PROMPT, "8", NULL), 0);
	assert_int_equal(matrix_add(&m, AXIS_GEN, "0", NULL), 0);
	assert_int_equal(matrix_defaults(&m, NULL), 0);
	assert_int_equal(matrix_cells(&m, NULL, &cells, &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_string_equal(cell_word(&cells[0], AXIS_SYNC), "token");
	assert_string_equal(cells[0].mode, "direct");
	free(cells);
	matrix_free(&m);
}

/* And only it has several of how its chunks are launched, in one unit; its mode is that. */
static void test_no_decode(void **state)
{
	(void)state;
	struct matrix m = {0};
	struct cell *cells;
	int n, prompts = 0;
	assert_int_equal(matrix_add(&m, AXIS_MODEL, "m", NULL), 0);
	assert_int_equal(matrix_add(&m, AXIS_PREFILL_MODE, "graph-device,direct,graph-params", NULL), 0);
	assert_int_equal(matrix_add(&m, AXIS_MODE, "graph-update", NULL), 0);
	assert_int_equal(matrix_add(&m, AXIS_PROMPT, "8", NULL), 0);
	assert_int_equal(matrix_add(&m, AXIS_GEN, "4", NULL), 0);
	assert_int_equal(matrix_add_pair(&m, "8,4", NULL), 0);
	assert_int_equal(matrix_defaults(&m, NULL), 0);
	assert_int_equal(matrix_cells(&m, NULL, &cells, &n, NULL), 0);
	assert_int_equal(n, 3 + 1 + 1);
	for (int i = 0; i < n; i++) {
		int prompt = cell_is_prompt(&cells[i]);
		const char *word = cell_word(&cells[i], AXIS_PREFILL_MODE);
		static const char *const words[] = {"graph-device", "direct", "graph-params"};
		assert_string_equal(cells[i].mode, prompt ? "direct" : "graph-update");
		assert_string_equal(word, prompt ? words[prompts] : "direct");
		assert_string_equal(cell_mode(&cells[i]), prompt ? word : "graph-update");
		assert_int_equal(cell_is_direct(&cells[i]), prompt && prompts == 1);
		assert_true(!prompt || cell_same_unit(&cells[0], &cells[i]));
		prompts += prompt;
	}
	assert_int_equal(prompts, 3);
	free(cells);
	matrix_free(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),       cmocka_unit_test(test_absent),      cmocka_unit_test(test_resolved),
		cmocka_unit_test(test_sweep_file), cmocka_unit_test(test_decode_only), cmocka_unit_test(test_no_decode),
		cmocka_unit_test(test_labels),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
