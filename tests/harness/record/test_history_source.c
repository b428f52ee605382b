/* What of a results directory, and of another tool's CSV file, becomes a history's lines. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "harness/record/history_source.h"
#include "tests/support/compared.h"
#include "tests/support/ok.h"

static struct compared_side side(void)
{
	struct compared_side m = compared_plain;
	m.commit = "0123abc";
	m.own_runs = 1;
	m.repetitions = 3;
	m.gpu = "H100";
	m.driver = "570.1";
	return m;
}

/* The lines of one directory, read as the store reads them. */
static int lines_of(const struct compared_side *m, const char *machine, const char *date, struct history *h,
		    struct history_lines *lines, struct error *err)
{
	char path[160];
	struct result_set s;
	const struct history_dates dates = {.date = date, .folder = compared_folder};
	compared_make("base", 0, m);
	compared_path(path, "base", 0);
	*lines = (struct history_lines){0};
	*h = (struct history){.path = "lines"};
	OK(result_set_open(&s, path, e));
	int rc = history_from_results(lines, &s, machine, &dates, 5, err);
	for (int i = 0; i < lines->n && !rc; i++)
		rc = history_take(h, lines->lines[i].text, strlen(lines->lines[i].text), (size_t)i + 1, err);
	result_set_close(&s);
	return rc;
}

static void test_results(void **state)
{
	(void)state;
	struct compared_side m = side();
	struct history h;
	struct history_lines lines;
	struct error err = {""};
	char path[160];
	struct result_set s;
	m.noise = 0.01;
	if (lines_of(&m, NULL, "2026-05-31", &h, &lines, &err))
		fail_msg("%s", err.text);
	assert_int_equal(h.n_records, COMPARED_CELLS);
	assert_string_equal(h.machine, "box, H100");
	assert_string_equal(lines.lines[0].file, "box-H100--m.gguf-00000000.jsonl");
	compared_path(path, "base", 0);
	OK(result_set_open(&s, path, e));
	for (int i = 0; i < h.n_records; i++) {
		const struct history_record *r = &h.records[i];
		const struct history_cell *c = &h.cells[r->cell];
		assert_int_equal(r->n_runs, 3);
		assert_int_equal(r->order, 5);
		assert_int_equal(r->tokens, COMPARED_TOKENS);
		assert_string_equal(c->metric, "itl");
		assert_memory_equal(r->run, "s1.0-", 5);
		assert_int_equal(strlen(r->run), 5 + 8);
		/* The runs are the rows' own medians. */
		for (int k = 0; k < 3; k++) {
			int found = 0;
			for (size_t row = 0; row < s.n_rows; row++)
				found |= !strcmp(s.rows[row].mode, c->axes.mode) &&
					 fabs(s.rows[row].itl_median_us - r->runs[k]) < 1e-5 * r->runs[k];
			assert_true(found);
		}
		const struct history_environment *env = &h.environments[r->environment];
		int driver = 0;
		for (int k = 0; k < env->n; k++)
			driver |= !strcmp(env->names[k], "driver") && !strcmp(env->values[k], "570.1");
		assert_true(driver);
	}
	result_set_close(&s);
	history_lines_free(&lines);
	history_free(&h);
}

/* Processes that began in the same second are two, whatever their runs are called; each of them is one, however often.
 */
static void test_same_second(void **state)
{
	(void)state;
	struct compared_side m = side();
	struct history h = {.path = "lines"};
	m.own_runs = 0;
	for (int process = 0; process < 2; process++)
		compared_make("head", process, &m);
	for (int i = 0; i < 3; i++) {
		const struct history_dates dates = {.date = "2026-05-31", .folder = compared_folder};
		struct history_lines lines = {0};
		struct result_set s;
		char path[160];
		compared_path(path, "head", i % 2);
		OK(result_set_open(&s, path, e));
		OK(history_from_results(&lines, &s, NULL, &dates, i, e));
		for (int k = 0; k < lines.n; k++) {
			struct error err = {""};
			int rc =
				history_take(&h, lines.lines[k].text, strlen(lines.lines[k].text), (size_t)k + 1, &err);
			if (rc != (i == 2))
				fail_msg("%d, directory %d: %s", rc, i, err.text);
		}
		history_lines_free(&lines);
		result_set_close(&s);
	}
	assert_int_equal(h.n_records, 2 * COMPARED_CELLS);
	assert_int_equal(h.repeated, COMPARED_CELLS);
	history_free(&h);
}

/* A cell that is not ok has no line, and is counted; a prompt's test has its own measure. */
static void test_kinds(void **state)
{
	(void)state;
	struct compared_side m = side();
	struct history h;
	struct history_lines lines;
	struct error err = {""};
	m.status = RUN_STATUS_FAILED;
	m.commit = "0123abc-dirty";
	if (lines_of(&m, "my machine", "2026-05-31", &h, &lines, &err))
		fail_msg("%s", err.text);
	assert_int_equal(h.n_records, COMPARED_CELLS - 1);
	assert_int_equal(lines.not_ok, 1);
	assert_int_equal(lines.dirty, COMPARED_CELLS - 1);
	assert_true(h.records[0].dirty);
	assert_string_equal(h.machine, "my machine");
	history_lines_free(&lines);
	history_free(&h);
}

static const char *fact(const struct history *h, int record, const char *name)
{
	const struct history_environment *e = &h->environments[h->records[record].environment];
	for (int i = 0; i < e->n; i++)
		if (!strcmp(e->names[i], name))
			return e->values[i];
	return "";
}

/* A prompt and tokens behind it have their time; what weights were for prompts is no matter of cells that have none. */
static void test_prompts(void **state)
{
	(void)state;
	const struct history_dates dates = {.date = "2026-05-31", .folder = compared_folder};
	for (int prompt = 0; prompt < 2; prompt++) {
		struct compared_side m = side();
		struct history h = {.path = "lines"};
		struct history_lines lines = {0};
		struct result_set s;
		char path[160];
		m.n_prompt = prompt ? 8 : 0;
		m.weights_asked = "auto";
		m.weights = "resident";
		compared_make("base", prompt, &m);
		compared_path(path, "base", prompt);
		OK(result_set_open(&s, path, e));
		for (size_t i = 0; i < s.n_rows; i++)
			s.rows[i].tokens_per_s = 4000;
		OK(history_from_results(&lines, &s, NULL, &dates, 0, e));
		assert_int_equal(lines.n, COMPARED_CELLS);
		OK(history_take(&h, lines.lines[0].text, strlen(lines.lines[0].text), 1, e));
		assert_string_equal(fact(&h, 0, "prefill_weights"), prompt ? "resident" : "auto");
		assert_string_equal(h.cells[0].metric, prompt ? "time" : "itl");
		if (prompt) /* 8 + 4 tokens at 4000 a second */
			assert_true(fabs(h.records[0].median - 3000) < 1e-3);
		history_lines_free(&lines);
		history_free(&h);
		result_set_close(&s);
	}
}

/* A run that was measured again does not count. */
static void test_attempts(void **state)
{
	(void)state;
	struct compared_side m = side();
	const struct history_dates dates = {.date = "2026-05-31", .folder = compared_folder};
	struct history h = {.path = "lines"};
	struct history_lines lines = {0};
	struct result_set s;
	char path[160];
	m.noise = 0.01;
	compared_make("base", 0, &m);
	compared_path(path, "base", 0);
	OK(result_set_open(&s, path, e));
	s.counts[0] = 0;
	OK(history_from_results(&lines, &s, NULL, &dates, 0, e));
	for (int i = 0; i < lines.n; i++)
		OK(history_take(&h, lines.lines[i].text, strlen(lines.lines[i].text), (size_t)i + 1, e));
	int fewer = 0;
	for (int i = 0; i < h.n_records; i++) {
		fewer += h.records[i].n_runs == 2;
		for (int k = 0; k < h.records[i].n_runs; k++)
			assert_true(fabs(h.records[i].runs[k] / s.rows[0].itl_median_us - 1) > 1e-7);
	}
	assert_int_equal(fewer, 1);
	history_lines_free(&lines);
	history_free(&h);
	result_set_close(&s);
}

static void test_refused(void **state)
{
	(void)state;
	static const struct {
		const char *commit, *until, *date, *said;
	} bad[] = {
		{"unknown", NULL, "2026-05-31", "no commit's name"},
		{"0123abc", "stable=0.5%", "2026-05-31", "depended on what it measured"},
		{"0123abc", NULL, "run", "is no date"},
		{"0123abc", NULL, NULL, "does not know it"},
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct compared_side m = side();
		struct history h;
		struct history_lines lines;
		struct error err = {""};
		m.commit = bad[i].commit;
		m.until = bad[i].until;
		int rc = lines_of(&m, NULL, bad[i].date, &h, &lines, &err);
		if (rc != ERROR_INPUT || !strstr(err.text, bad[i].said))
			fail_msg("%d, %s: %s", rc, err.text, bad[i].said);
		history_lines_free(&lines);
		history_free(&h);
		compared_free();
	}
}

/* ---- CSV ---- */

static int csv(const char *text, int more_is_better, struct history *h, struct error *err)
{
	char path[FOLDER_BYTES + 16];
	const struct history_csv of = {"box", "m.gguf", "ms", more_is_better};
	struct history_lines lines = {0};
	snprintf(path, sizeof path, "%s/n.csv", compared_folder);
	folder_put(compared_folder, "/n.csv", text);
	*h = (struct history){.path = "lines"};
	int rc = history_from_csv(&lines, path, &of, err);
	for (int i = 0; i < lines.n && rc >= 0; i++)
		rc = history_take(h, lines.lines[i].text, strlen(lines.lines[i].text), (size_t)i + 1, err);
	history_lines_free(&lines);
	return rc < 0 ? rc : 0;
}

static void test_csv(void **state)
{
	(void)state;
	struct history h;
	struct error err = {""};
	/* Columns in another order, more of them, CR LF, quotes; a commit measured twice, with the same value, too. */
	if (csv("cell,note,date,value,commit\r\n\"tg 1, \"\"x\"\"\",a,2026-05-31,12.5,0123abc\r\n"
		"\"tg 1, \"\"x\"\"\",b,2026-05-31,12.5,0123abc\r\npp,,2026-06-01T10:00:00+02:00,3e2,v1.2\r\n",
		1, &h, &err))
		fail_msg("%s", err.text);
	assert_int_equal(h.n_records, 3);
	assert_int_equal(h.n_cells, 2);
	assert_string_equal(h.cells[0].name, "tg 1, \"x\"");
	assert_string_equal(h.cells[0].unit, "ms");
	assert_true(h.cells[0].more_is_better);
	assert_true(h.records[0].median == 12.5 && h.records[2].median == 300);
	assert_int_equal(h.records[2].date, 1780300800); /* date -u -d 2026-06-01T10:00:00+02:00 +%s */
	history_free(&h);
}

static void test_csv_refused(void **state)
{
	(void)state;
	static const struct {
		const char *text, *said;
	} bad[] = {
		{"", "empty"},
		{"date,commit,cell\n", "value"},
		{"date,date,commit,cell,value\n", "date"},
		{"date,commit,cell,value\n2026-05-31,a,b,1\n2026-05-32,a,b,1\n", "line 3, column 'date'"},
		{"date,commit,cell,value\n2026-05-31,,b,1\n", "line 2, column 'commit'"},
		{"date,commit,cell,value\n2026-05-31,a,,1\n", "line 2, column 'cell'"},
		{"date,commit,cell,value\n2026-05-31,a,b,nan\n", "line 2, column 'value'"},
		{"date,commit,cell,value\n2026-05-31,a,b,-3\n", "line 2, column 'value'"},
		{"date,commit,cell,value\n2026-05-31,a,b,0\n", "line 2, column 'value'"},
		{"date,commit,cell,value\n2026-05-31,a,b,\n", "line 2, column 'value'"},
		{"date,commit,cell,value\n2026-05-31,a,b,1e16\n", "line 2, column 'value'"},
		{"date,commit,cell,value\n2026-05-31,a,b,12 us\n", "line 2, column 'value'"},
		{"date,commit,cell,value\n2026-05-31,a,b\n", "line 2"},
		{"date,commit,cell,value\n2026-05-31,a,b,1\n2026-06-01,a,b", "last line"},
		{"date,commit,cell,value\n2026-05-31,a,\"b\xe2\x80\xae\",1\n", "line 2, column 'cell'"},
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct history h;
		struct error err = {""};
		int rc = csv(bad[i].text, 0, &h, &err);
		if (rc != ERROR_INPUT || !strstr(err.text, bad[i].said) || !strstr(err.text, "n.csv"))
			fail_msg("%d, %s: %s", rc, err.text, bad[i].said);
		history_free(&h);
	}
	char path[FOLDER_BYTES + 16];
	struct error err = {""};
	struct history_lines lines = {0};
	const struct history_csv of = {"box", "m.gguf", "ms", 0};
	snprintf(path, sizeof path, "%s/pipe", compared_folder);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(history_from_csv(&lines, path, &of, &err), ERROR_INPUT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_results, compared_set_up, compared_tear_down),
		cmocka_unit_test_setup_teardown(test_same_second, compared_set_up, compared_tear_down),
		cmocka_unit_test_setup_teardown(test_kinds, compared_set_up, compared_tear_down),
		cmocka_unit_test_setup_teardown(test_prompts, compared_set_up, compared_tear_down),
		cmocka_unit_test_setup_teardown(test_attempts, compared_set_up, compared_tear_down),
		cmocka_unit_test_setup_teardown(test_refused, compared_set_up, compared_tear_down),
		cmocka_unit_test_setup_teardown(test_csv, compared_set_up, compared_tear_down),
		cmocka_unit_test_setup_teardown(test_csv_refused, compared_set_up, compared_tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
