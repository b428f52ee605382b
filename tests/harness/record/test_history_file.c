/* The store of a history: what is added is read back, once, whatever the order; what is hostile or broken is refused.
 */
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness/record/column.h"
#include "harness/record/history_file.h"
#include "tests/support/folder.h"
#include "tests/support/history_sample.h"
#include "tests/support/ok.h"

static char folder[FOLDER_BYTES];
static struct run_directory store;

static int set_up(void **state)
{
	(void)state;
	struct error err;
	if (folder_make(folder, "history"))
		return -1;
	return run_directory_open(&store, folder, &err);
}

static int tear_down(void **state)
{
	(void)state;
	run_directory_close(&store);
	return folder_remove(folder);
}

static const char name[] = "f.jsonl";

static void add(const char *const *lines, int n, int expected)
{
	int added = -1;
	OK(history_append(&store, name, lines, n, &added, e));
	assert_int_equal(added, expected);
}

/* The file as text, which the caller frees. */
static char *content(void)
{
	FILE *f = folder_open(folder, name, "r");
	char *text = calloc(1, 1 << 20);
	assert_non_null(text);
	assert_true(fread(text, 1, (1 << 20) - 1, f) < (1 << 20) - 1);
	fclose(f);
	return text;
}

static void test_round_trip(void **state)
{
	(void)state;
	char a[SAMPLE_LINE], b[SAMPLE_LINE], c[SAMPLE_LINE];
	history_sample_line(a, (struct history_sample){.runs = "1003,1001,1002.5", .more = "\"order\":7,"});
	history_sample_line(b, (struct history_sample){.mode = "graph-device", .runs = "600.125"});
	history_sample_line(c, (struct history_sample){.commit = "4567def-dirty", .date = "2026-06-01", .env = ""});
	add((const char *const[]){a, b}, 2, 2);
	add((const char *const[]){c, a}, 2, 1);
	char *text = content(), expected[3 * SAMPLE_LINE + 4];
	snprintf(expected, sizeof expected, "%s\n%s\n%s\n", a, b, c);
	assert_string_equal(text, expected);
	free(text);
	assert_true(folder_has(folder, ".gitattributes"));

	struct history h;
	OK(history_read(&h, &store, name, NULL, e));
	assert_int_equal(h.n_records, 3);
	assert_int_equal(h.n_cells, 2);
	assert_int_equal(h.n_environments, 2);
	assert_string_equal(h.machine, "box");
	const struct history_record *r = h.records;
	assert_string_equal(r[0].commit, "0123abc");
	assert_int_equal(r[0].n_runs, 3);
	assert_true(r[0].runs[0] == 1003 && r[0].median == 1002.5);
	assert_int_equal(r[0].order, 7);
	assert_int_equal(r[0].tokens, 32);
	assert_int_equal(r[0].date, 1780221600); /* date -u -d 2026-05-31T10:00:00Z +%s */
	assert_int_equal(r[1].order, 0);
	assert_string_equal(h.cells[r[1].cell].axes.mode, "graph-device");
	assert_int_equal(h.cells[r[1].cell].axes.n_threads, 2);
	assert_string_equal(h.cells[r[1].cell].axes.model_hash, "0123456789abcdef");
	assert_true(r[2].dirty && !strcmp(r[2].commit, "4567def") && !r[0].dirty);
	assert_int_equal(h.environments[r[2].environment].n, 0);
	history_free(&h);
	history_free(&h);
}

/* What git makes of two branches: their lines, in any order, some of them twice. */
static void test_merged(void **state)
{
	(void)state;
	char lines[4][SAMPLE_LINE], file[8 * SAMPLE_LINE] = "";
	static const int order[] = {2, 0, 3, 0, 1, 2};
	struct history h;
	history_sample_line(lines[0], (struct history_sample){.run = "r0", .more = "\"order\":9,"});
	history_sample_line(lines[1], (struct history_sample){.run = "r0", .more = "\"order\":4,"}); /* numbered anew */
	history_sample_line(lines[2], (struct history_sample){.run = "r2"});
	history_sample_line(lines[3], (struct history_sample){.run = "r2", .commit = "4567def"});
	for (size_t i = 0; i < sizeof order / sizeof *order; i++)
		strcat(strcat(file, lines[order[i]]), i % 2 ? "\r\n" : "\n\n");
	folder_put(folder, "/f.jsonl", file);
	OK(history_read(&h, &store, name, NULL, e));
	assert_int_equal(h.n_records, 3);
	assert_int_equal(h.repeated, 3);
	for (int i = 0; i < 3; i++)
		if (!strcmp(h.records[i].run, "r0"))
			assert_int_equal(h.records[i].order, 4);
	history_free(&h);
}

/* What was measured with changes is another measurement than without, whatever both are called. */
static void test_dirty(void **state)
{
	(void)state;
	char a[SAMPLE_LINE], b[SAMPLE_LINE];
	struct history h;
	history_sample_line(a, (struct history_sample){.commit = "4567def"});
	history_sample_line(b, (struct history_sample){.commit = "4567def-dirty", .runs = "1001"});
	add((const char *const[]){a, b}, 2, 2);
	OK(history_read(&h, &store, name, NULL, e));
	assert_int_equal(h.n_records, 2);
	assert_true(!h.records[0].dirty && h.records[1].dirty);
	history_free(&h);
}

/* One writer at a time: the second one waits, and adds behind the first. */
static void test_lock(void **state)
{
	(void)state;
	char a[SAMPLE_LINE];
	struct run_directory other;
	int status;
	history_sample_line(a, (struct history_sample){0});
	OK(run_directory_open(&other, folder, e));
	OK(run_directory_lock(&other, 0, "", e));
	pid_t child = fork();
	assert_true(child >= 0);
	if (!child) {
		struct error err = {""};
		int added, rc = history_append(&store, name, (const char *const[]){a}, 1, &added, &err);
		_exit(rc || added != 1);
	}
	usleep(200000);
	assert_false(folder_has(folder, name));
	run_directory_unlock(&other);
	run_directory_close(&other);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && !WEXITSTATUS(status));
	assert_true(folder_has(folder, name));
}

/* A killed writer leaves part of a line; an editor a last line without its end. */
static void test_cut(void **state)
{
	(void)state;
	char a[SAMPLE_LINE], b[SAMPLE_LINE], file[3 * SAMPLE_LINE];
	struct history h;
	history_sample_line(a, (struct history_sample){0});
	history_sample_line(b, (struct history_sample){.run = "r2"});
	/* Wherever: behind an object in the line, too, of which the last is the line's end but one. */
	for (int n = 1, end = (int)strlen(b); n < end; n += n + 30 < end ? 11 : 1) {
		struct error err = {""};
		snprintf(file, sizeof file, "%s\n%.*s", a, n, b);
		folder_put(folder, "/f.jsonl", file);
		if (history_read(&h, &store, name, NULL, &err))
			fail_msg("%d bytes of a line: %s", n, err.text);
		assert_true(h.cut && h.n_records == 1);
		history_free(&h);
	}
	add((const char *const[]){b}, 1, 1);
	char *text = content();
	snprintf(file, sizeof file, "%s\n%s\n", a, b);
	assert_string_equal(text, file);
	free(text);
	/* Of a line that is longer than what is added, nothing is left. */
	char longer[SAMPLE_LINE];
	history_sample_line(longer,
			    (struct history_sample){.run = "r3", .runs = "1000,1000,1000,1000,1000,1000,1000,1000"});
	snprintf(file, sizeof file, "%s\n%.*s", a, (int)strlen(longer) - 1, longer);
	folder_put(folder, "/f.jsonl", file);
	add((const char *const[]){b}, 1, 1);
	text = content();
	snprintf(file, sizeof file, "%s\n%s\n", a, b);
	assert_string_equal(text, file);
	free(text);
	folder_put(folder, "/f.jsonl", a);
	add((const char *const[]){b}, 1, 1);
	text = content();
	assert_string_equal(text, file);
	free(text);
}

/* Lines that are refused, each with its place; nothing of a file with one is added to. */
static void test_refused(void **state)
{
	(void)state;
	static const struct {
		struct history_sample sample;
		const char *text, *said;
	} bad[] = {
		{.sample = {.runs = "NaN"}, .said = "line 2, column"},
		{.sample = {.runs = "1e999"}, .said = "line 2, column"},
		{.sample = {.runs = "-1"}, .said = "line 2: has no runs"},
		{.sample = {.runs = "0"}, .said = "line 2: has no runs"},
		{.sample = {.runs = "1e16"}, .said = "line 2: has no runs"},
		{.sample = {.runs = ""}, .said = "line 2: has no runs"},
		{.sample = {.runs = "\"1\""}, .said = "line 2: has no runs"},
		{.sample = {.runs = "1000],\"mads\":[1,2"}, .said = "line 2: has mads"},
		{.sample = {.runs = "1000],\"mads\":[-1"}, .said = "line 2: has mads"},
		{.sample = {.runs = "1000],\"runs\":[1"}, .said = "duplicate"},
		{.sample = {.machine = "another"}, .said = "line 2: is of another machine"},
		{.sample = {.machine = ""}, .said = "line 2: has no machine"},
		{.sample = {.date = "yesterday"}, .said = "line 2: has no date"},
		{.sample = {.more = "\"order\":-1,"}, .said = "line 2: has an order"},
		{.sample = {.mode = ""}, .said = "line 2: a cell lacks an axis"},
		{.sample = {.mode = "direct\",\"warp\":\"9"}, .said = "line 2: a cell has an axis that"},
		{.sample = {.env = "\"driver\":570"}, .said = "line 2: has a fact"},
		{.sample = {.runs = "1001"}, .said = "lines 1 and 2 are the same cell"},
		{.sample = {.env = "\"driver\":\"580\""}, .said = "lines 1 and 2 are the same cell"},
		{.text = "[]", .said = "line 2: is no JSON object"},
		{.text = "{}", .said = "line 2: has no version"},
		{.text = "{\"v\":2}", .said = "line 2 is of version 2"},
		{.text = "<<<<<<< HEAD", .said = "line 2, column"},
		{.text = "{\"v\":1}}", .said = "line 2, column"},
		{.text = "{\"v\":1,\"machine\":\"\\u0000\"}", .said = "line 2, column"},
	};
	char good[SAMPLE_LINE], line[SAMPLE_LINE], file[3 * SAMPLE_LINE];
	history_sample_line(good, (struct history_sample){0});
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct history h;
		struct error err = {""};
		int added = -1;
		history_sample_line(line, bad[i].sample);
		snprintf(file, sizeof file, "%s\n%s\n", good, bad[i].text ? bad[i].text : line);
		folder_put(folder, "/f.jsonl", file);
		int rc = history_read(&h, &store, name, NULL, &err);
		history_free(&h);
		if (rc != ERROR_INPUT || !strstr(err.text, bad[i].said) || !strstr(err.text, "f.jsonl"))
			fail_msg("%d, %s: %s", rc, err.text, bad[i].said);
		rc = history_append(&store, name, (const char *const[]){good}, 1, &added, &err);
		assert_true(rc == ERROR_INPUT && added == 0);
		char *text = content();
		assert_string_equal(text, file);
		free(text);
	}
}

/* Two cells of one process in one series are nobody's wrong line. */
static void test_joined_within(void **state)
{
	(void)state;
	char a[SAMPLE_LINE], b[SAMPLE_LINE];
	struct history h;
	struct error err = {""};
	static const struct history_join modes = {{"mode"}, 1}, driver = {{"driver"}, 1};
	history_sample_line(a, (struct history_sample){0});
	history_sample_line(b, (struct history_sample){.mode = "graph-device", .runs = "600"});
	add((const char *const[]){a, b}, 2, 2);
	assert_int_equal(history_read(&h, &store, name, &modes, &err), ERROR_INPUT);
	history_free(&h);
	assert_non_null(strstr(err.text, "--across mode"));
	assert_null(strstr(err.text, "take one of them out"));
	OK(history_read(&h, &store, name, &driver, e));
	assert_int_equal(h.n_records, 2);
	history_free(&h);
	/* What is broken stays so. */
	char file[2 * SAMPLE_LINE];
	history_sample_line(b, (struct history_sample){.runs = "600"});
	snprintf(file, sizeof file, "%s\n%s\n", a, b);
	folder_put(folder, "/f.jsonl", file);
	assert_int_equal(history_read(&h, &store, name, &modes, &err), ERROR_INPUT);
	history_free(&h);
	assert_non_null(strstr(err.text, "take one of them out"));
}

static void test_bounds(void **state)
{
	(void)state;
	struct history h;
	struct error err = {""};
	FILE *f = folder_open(folder, name, "w");
	fputs("{\"v\":1,\"machine\":\"", f);
	for (int i = 0; i < HISTORY_LINE_BYTES; i++)
		fputc('x', f);
	fputs("\"}\n", f);
	fclose(f);
	assert_int_equal(history_read(&h, &store, name, NULL, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "line 1: is longer"));
	history_free(&h);
	f = folder_open(folder, name, "w");
	for (int i = 0; i < 50000; i++)
		fputc('[', f);
	fputs("}", f); /* as if it were whole */
	fclose(f);
	assert_int_equal(history_read(&h, &store, name, NULL, &err), ERROR_INPUT);
	history_free(&h);
	f = folder_open(folder, name, "w");
	assert_int_equal(ftruncate(fileno(f), (off_t)HISTORY_FILE_BYTES + 1), 0);
	fclose(f);
	assert_int_equal(history_read(&h, &store, name, NULL, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "larger than"));
	history_free(&h);
}

/* Links and pipes are neither read nor written through, and nothing waits for them. */
static void test_hostile(void **state)
{
	(void)state;
	char a[SAMPLE_LINE], path[2 * FOLDER_BYTES], target[2 * FOLDER_BYTES];
	struct history h;
	struct error err = {""};
	int added;
	history_sample_line(a, (struct history_sample){0});
	snprintf(path, sizeof path, "%s/%s", folder, name);
	snprintf(target, sizeof target, "%s/target", folder);
	folder_put(folder, "/target", "mine\n");
	assert_int_equal(symlink(target, path), 0);
	assert_int_equal(history_read(&h, &store, name, NULL, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "a symbolic link"));
	assert_int_equal(history_append(&store, name, (const char *const[]){a}, 1, &added, &err), ERROR_INPUT);
	struct stat s;
	assert_true(!stat(target, &s) && s.st_size == 5);
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(history_read(&h, &store, name, NULL, &err), ERROR_INPUT);
	assert_int_equal(history_append(&store, name, (const char *const[]){a}, 1, &added, &err), ERROR_INPUT);
	unlink(path);
}

static void test_names(void **state)
{
	(void)state;
	char out[HISTORY_NAME_SIZE], long_name[400], (*names)[HISTORY_NAME_SIZE];
	int n;
	history_file_name("vm, NVIDIA H100 80GB HBM3", "e4b.gguf", "9bb6b64a598f0dfc", out);
	assert_string_equal(out, "vm-NVIDIA-H100-80GB-HBM3--e4b.gguf-9bb6b64a.jsonl");
	history_file_name("../../etc/passwd", "..", "", out);
	assert_null(strchr(out, '/'));
	assert_true(out[0] != '.');
	history_file_name("\xff\xfe", "", "", out);
	assert_string_equal(out, "_--_.jsonl");
	memset(long_name, 'm', sizeof long_name);
	long_name[sizeof long_name - 1] = '\0';
	history_file_name(long_name, long_name, "0123456789abcdef", out);
	assert_true(strlen(out) < HISTORY_NAME_SIZE - 1 && !strcmp(out + strlen(out) - 6, ".jsonl"));
	folder_put(folder, "/b.jsonl", "");
	folder_put(folder, "/a.jsonl", "");
	folder_put(folder, "/.hidden.jsonl", "");
	folder_put(folder, "/notes.txt", "");
	OK(history_list(&store, &names, &n, e));
	assert_int_equal(n, 2);
	assert_string_equal(names[0], "a.jsonl");
	assert_string_equal(names[1], "b.jsonl");
	free(names);
}

/* An axis or a fact that is joined tells nothing apart any more. */
static void test_join(void **state)
{
	(void)state;
	char a[SAMPLE_LINE], b[SAMPLE_LINE];
	const struct history_join join = {{"mode", "driver"}, 2};
	struct history h;
	history_sample_line(a, (struct history_sample){0});
	history_sample_line(b,
			    (struct history_sample){.run = "r2", .mode = "graph-device", .env = "\"driver\":\"580\""});
	add((const char *const[]){a, b}, 2, 2);
	OK(history_read(&h, &store, name, NULL, e));
	assert_true(h.n_cells == 2 && h.n_environments == 2);
	history_free(&h);
	OK(history_read(&h, &store, name, &join, e));
	assert_true(h.n_cells == 1 && h.n_environments == 1 && h.n_records == 2);
	history_leave_out(&h, "0123abcd"); /* a longer name of the same */
	assert_int_equal(h.n_records, 0);
	history_free(&h);
}

/* Slots grow with the records, and each is found again. */
static void test_many(void **state)
{
	(void)state;
	enum { N = 1200 };
	struct history h = {.path = "many"};
	char line[SAMPLE_LINE], run[32];
	for (int twice = 0; twice < 2; twice++)
		for (int i = 0; i < N; i++) {
			struct error err = {""};
			snprintf(run, sizeof run, "r%d", i);
			history_sample_line(line, (struct history_sample){.run = run});
			assert_int_equal(history_take(&h, line, strlen(line), (size_t)i + 1, &err), twice);
		}
	assert_int_equal(h.n_records, N);
	assert_int_equal(h.repeated, N);
	history_free(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_round_trip, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_merged, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_dirty, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_lock, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_cut, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_joined_within, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bounds, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_hostile, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_names, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_join, set_up, tear_down),
		cmocka_unit_test(test_many),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
