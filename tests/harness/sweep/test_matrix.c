/* Axes and cells: every syntax, every error, and the keys of what comes out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/sweep/matrix.h"
#include "harness/sweep/plan.h"

static void check_ints(const char *list, int min, int max, int n, const int *expected)
{
	struct axis_values a = {0};
	struct error err = {""};
	assert_int_equal(axis_ints_add(&a, "-d", list, min, max, &err), 0);
	assert_int_equal(a.n, n);
	for (int i = 0; i < n; i++)
		assert_int_equal(a.ints[i], expected[i]);
	axis_ints_free(&a);
}

#define CHECK_INTS(list, min, max, ...) \
	check_ints(list, min, max, (int)(sizeof((int[]){__VA_ARGS__}) / sizeof(int)), (int[]){__VA_ARGS__})

static void test_ints(void **state)
{
	(void)state;
	CHECK_INTS("5", 0, 10, 5);
	CHECK_INTS("0", 0, 10, 0);
	CHECK_INTS("3,1,2", 0, 10, 3, 1, 2);
	CHECK_INTS("2-5", 0, 10, 2, 3, 4, 5);
	CHECK_INTS("7-7", 0, 10, 7);
	CHECK_INTS("0-4096+1024", 0, 5000, 0, 1024, 2048, 3072, 4096);
	CHECK_INTS("0-10+4", 0, 10, 0, 4, 8);
	CHECK_INTS("1-64*2", 1, 64, 1, 2, 4, 8, 16, 32, 64);
	CHECK_INTS("3-100*3", 1, 100, 3, 9, 27, 81);
	CHECK_INTS("512,1-3,0-8+4", 0, 512, 512, 1, 2, 3, 0, 4, 8);
	CHECK_INTS("1,1,1-2", 0, 10, 1, 2);
	CHECK_INTS("-1,0,99", -1, 99, -1, 0, 99);
	CHECK_INTS("-1-2", -1, 9, -1, 0, 1, 2);
	CHECK_INTS("1000000-2147483640*2147", 0, 2147483647, 1000000, 2147000000);
}

static void test_ints_append(void **state)
{
	(void)state;
	struct axis_values a = {0};
	assert_int_equal(axis_ints_add(&a, "-d", "1,2", 0, 10, NULL), 0);
	assert_int_equal(axis_ints_add(&a, "-d", "2,5", 0, 10, NULL), 0);
	assert_int_equal(a.n, 3);
	assert_int_equal(a.ints[2], 5);
	axis_ints_free(&a);
}

static void test_int_errors(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"",
		"x",
		"1,",
		",1",
		"1,,2",
		"1.5",
		"1 ",
		"-",
		"1-",
		"1-x",
		"1-4+",
		"1-4*",
		"1-4+0",
		"1-4*1",
		"0-4*2",
		"1-4*0",
		"4-1",
		"1-4/2",
		"1-4+1x",
		"99",
		"-1",
		"0-99",
		"+1",
		"0x10",
		"1-2-3",
		"1--2",
		"1e3",
		"1-4+-1",
		"999999999999999999999",
		"1-999999999999999999999",
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct axis_values a = {0};
		struct error err = {""};
		if (axis_ints_add(&a, "--depth", bad[i], 0, 10, &err) != ERROR_INPUT)
			fail_msg("'%s' was taken", bad[i]);
		assert_non_null(strstr(err.text, "--depth"));
		assert_null(strchr(err.text, '\n'));
		axis_ints_free(&a);
	}
	struct axis_values a = {0};
	struct error err = {""};
	assert_int_equal(axis_ints_add(&a, "-n", "1,2,3-y,4", 0, 10, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "'3-y'"));
	axis_ints_free(&a);
	a = (struct axis_values){0};
	assert_int_equal(axis_ints_add(&a, "-n", "0-1000000", 0, 1000000, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "more than 1024"));
	axis_ints_free(&a);
}

static void test_words(void **state)
{
	(void)state;
	static const char *const allowed[] = {"direct", "graph-device", NULL};
	struct axis_values a = {0};
	struct error err = {""};
	assert_int_equal(axis_words_add(&a, "--mode", "graph-device,direct,graph-device", allowed, &err), 0);
	assert_int_equal(a.n, 2);
	assert_string_equal(a.words[0], "graph-device");
	assert_string_equal(a.words[1], "direct");
	struct axis_values every = {0};
	assert_int_equal(axis_words_add(&every, "--mode", "direct,all", allowed, &err), 0);
	int n_allowed = 0;
	while (allowed[n_allowed])
		n_allowed++;
	assert_int_equal(every.n, n_allowed);
	for (int i = 0; i < n_allowed; i++)
		assert_string_equal(every.words[i], allowed[i]);
	axis_words_free(&every);
	assert_int_equal(axis_words_add(&every, "-m", "all", NULL, &err), 0);
	assert_string_equal(every.words[0], "all");
	axis_words_free(&every);
	const char *const own[] = {"last", "all", NULL};
	assert_int_equal(axis_words_add(&every, "--prefill-rows", "all", own, &err), 0);
	assert_int_equal(every.n, 1);
	assert_string_equal(every.words[0], "all");
	axis_words_free(&every);
	assert_int_equal(axis_words_add(&a, "--mode", "direc", allowed, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "'direc'"));
	assert_non_null(strstr(err.text, "direct, graph-device; all is each of them"));
	assert_int_equal(axis_words_add(&a, "--prefill-rows", "some", own, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "none of last, all"));
	assert_null(strstr(err.text, "each"));
	assert_int_equal(axis_words_add(&a, "--mode", "direct,", allowed, &err), ERROR_INPUT);
	assert_int_equal(axis_words_add(&a, "--mode", "", allowed, &err), ERROR_INPUT);
	assert_int_equal(axis_words_add(&a, "-m", "any thing,other", NULL, &err), 0);
	assert_int_equal(a.n, 4);
	axis_words_free(&a);
}

static void fill(struct matrix *m)
{
	*m = (struct matrix){0};
	assert_int_equal(matrix_add(m, AXIS_MODEL, "a/x.gguf,b.gguf", NULL), 0);
	assert_int_equal(matrix_add(m, AXIS_MODE, "direct,graph-params,graph-device", NULL), 0);
	assert_int_equal(matrix_add(m, AXIS_FUSION, "none,full", NULL), 0);
	assert_int_equal(matrix_add(m, AXIS_SYNC, SYNC_TOKEN, NULL), 0);
	assert_int_equal(matrix_add(m, AXIS_TYPE_K, "f16,f32", NULL), 0);
	assert_int_equal(matrix_add(m, AXIS_TYPE_V, "f16", NULL), 0);
	assert_int_equal(matrix_add(m, AXIS_PROMPT, "0,512", NULL), 0);
	assert_int_equal(matrix_add(m, AXIS_GEN, "128,32", NULL), 0);
	assert_int_equal(matrix_add(m, AXIS_DEPTH, "0,4096", NULL), 0);
	assert_int_equal(matrix_add(m, AXIS_GPU_LAYERS, "0", NULL), 0);
	assert_int_equal(matrix_add(m, AXIS_THREADS, "1,2", NULL), 0);
}

static int same_key(const struct cell *a, const struct cell *b)
{
	return cell_same_unit(a, b) && !strcmp(a->mode, b->mode);
}

static void test_cells(void **state)
{
	(void)state;
	struct matrix m;
	fill(&m);
	struct cell *cells;
	int n;
	struct error err = {""};
	assert_int_equal(matrix_cells(&m, NULL, &cells, &n, &err), 0);
	/* 2 models x 2 k types x 2 threads x 2 depths, each 1 prompt test and 2 x 3 runs of generation, times 2
	 * fusions. */
	assert_int_equal(n, 16 * (1 + 2 * 3) * 2);
	int groups = 0, units = 0;
	for (int i = 0; i < n; i++) {
		groups += i == 0 || !cell_same_group(&cells[i - 1], &cells[i]);
		units += i == 0 || !cell_same_unit(&cells[i - 1], &cells[i]);
		assert_true((cells[i].n_prompt > 0) != (cells[i].n_gen > 0));
		if (cells[i].n_prompt)
			assert_string_equal(cells[i].mode, "direct");
		for (int j = 0; j < i; j++)
			assert_false(same_key(&cells[i], &cells[j]));
	}
	assert_int_equal(groups, 16);
	assert_int_equal(units, 16 * 3 * 2);
	free(cells);
	matrix_free(&m);
}

static void test_cell_errors(void **state)
{
	(void)state;
	struct matrix m;
	fill(&m);
	struct cell *cells;
	int n;
	struct error err = {""};
	m.of[AXIS_PROMPT].n = 1; /* 0 */
	m.of[AXIS_GEN].n = 0;
	assert_int_equal(matrix_cells(&m, NULL, &cells, &n, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "-p or -n"));
	m.of[AXIS_GEN].n = 2;
	int models = m.of[AXIS_MODEL].n;
	m.of[AXIS_MODEL].n = 0;
	assert_int_equal(matrix_cells(&m, NULL, &cells, &n, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "-m"));
	m.of[AXIS_MODEL].n = models;
	assert_int_equal(matrix_add(&m, AXIS_DEPTH, "1-1000", &err), 0);
	assert_int_equal(matrix_add(&m, AXIS_GEN, "1-100", &err), 0);
	assert_int_equal(matrix_cells(&m, NULL, &cells, &n, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "100000"));
	matrix_free(&m);
}

static void test_labels(void **state)
{
	(void)state;
	char label[CELL_LABEL_SIZE];
	cell_label(&(struct cell){.n_prompt = 512}, label);
	assert_string_equal(label, "pp512");
	cell_label(&(struct cell){.n_gen = 128, .n_depth = 4096}, label);
	assert_string_equal(label, "tg128 @ d4096");
}

/* Placements, groups and units stay together, every cell is there once, odd repetitions run backwards. */
static void test_plan(void **state)
{
	(void)state;
	struct matrix m;
	fill(&m);
	struct cell *cells;
	int n, differs = 0;
	assert_int_equal(matrix_cells(&m, NULL, &cells, &n, NULL), 0);
	struct plan a, b, c;
	assert_int_equal(plan_build(cells, n, 7, &a, NULL), 0);
	assert_int_equal(plan_build(cells, n, 7, &b, NULL), 0);
	assert_int_equal(plan_build(cells, n, 8, &c, NULL), 0);
	assert_int_equal(a.n_groups, 16);
	int placements = 0;
	int *seen = calloc((size_t)n, sizeof *seen);
	assert_non_null(seen);
	for (int g = 0; g < a.n_groups; g++) {
		const struct plan_group *group = &a.groups[g];
		assert_int_equal(group->n, n / 16);
		placements +=
			g == 0 || !cell_same_placement(&cells[group->sequence[0]], &cells[a.groups[g - 1].sequence[0]]);
		int units = 0;
		for (int i = 0; i < group->n; i++) {
			int cell = plan_cell(group, 0, i);
			seen[cell]++;
			assert_int_equal(cell, plan_cell(group, 1, group->n - 1 - i));
			assert_int_equal(cell, plan_cell(group, 2, i));
			assert_int_equal(cell, plan_cell(&b.groups[g], 0, i));
			differs += cell != plan_cell(&c.groups[g], 0, i);
			assert_true(cell_same_group(&cells[cell], &cells[group->sequence[0]]));
			units += i == 0 || !cell_same_unit(&cells[cell], &cells[group->sequence[i - 1]]);
		}
		assert_int_equal(units, 6);
	}
	assert_int_equal(placements, 8);
	for (int i = 0; i < n; i++)
		assert_int_equal(seen[i], 1);
	assert_true(differs > n / 2);
	free(seen);
	plan_free(&a);
	plan_free(&b);
	plan_free(&c);
	free(cells);
	matrix_free(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ints),   cmocka_unit_test(test_ints_append), cmocka_unit_test(test_int_errors),
		cmocka_unit_test(test_words),  cmocka_unit_test(test_cells),       cmocka_unit_test(test_cell_errors),
		cmocka_unit_test(test_labels), cmocka_unit_test(test_plan),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
