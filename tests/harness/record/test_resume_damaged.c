/*
 * Going on in a directory that was edited or damaged: runs that are whole keep all that is theirs, byte for byte, the
 * others are dropped and said to be. The process is killed before and behind every call that changes the disk
 * (gemmark_wrap): whole runs are whole at each of them, and going on ends as it would have.
 */
#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness/record/recorder.h"
#include "harness/record/result_set.h"
#include "tests/support/folder.h"
#include "tests/support/ok.h"

enum { RUNS = 9, WARMUP = 2, MEASURED = 4, LOOKS = 3, FILES = 3, MOST = 1 << 16 };
static const char *const names[FILES] = {"runs.csv", "tokens.csv", "telemetry.csv"};

static char folder[FOLDER_BYTES], run[FOLDER_BYTES + 8];
static char whole[FILES][MOST]; /* what the recorder wrote */

/* ---- where it is killed ---- */

static int calls, killed_at; /* killed_at: the call, counted from 1; negative: behind it; 0: never */

static void count(int behind)
{
	calls += !behind;
	if (killed_at && killed_at == (behind ? -calls : calls))
		_exit(9);
}

#define KILL_IN(type, function, parameters, arguments)     \
	type __real_##function parameters;                 \
	type __wrap_##function parameters;                 \
	type __wrap_##function parameters                  \
	{                                                  \
		count(0);                                  \
		type result = __real_##function arguments; \
		count(1);                                  \
		return result;                             \
	}
KILL_IN(int, ftruncate, (int fd, off_t size), (fd, size))
KILL_IN(int, fsync, (int fd), (fd))
KILL_IN(int, renameat, (int from, const char *a, int to, const char *b), (from, a, to, b))
KILL_IN(int, fflush, (FILE * f), (f))

/* ---- the directory ---- */

static char *at(const char *name)
{
	static char path[FOLDER_BYTES + 64];
	snprintf(path, sizeof path, "%s/%s", run, name);
	return path;
}

static void read_file(const char *name, char text[MOST])
{
	FILE *f = fopen(at(name), "r");
	assert_non_null(f);
	size_t n = fread(text, 1, MOST - 1, f);
	assert_true(n < MOST - 1);
	text[n] = '\0';
	fclose(f);
}

static void write_file(const char *name, const char *text)
{
	FILE *f = fopen(at(name), "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void restore(void)
{
	for (int i = 0; i < FILES; i++)
		write_file(names[i], whole[i]);
}

static void make_run(struct recorder *r, int i)
{
	struct token_record tokens[WARMUP + MEASURED];
	struct telemetry_sample looks[LOOKS] = {
		{.time_us = 1}, {.time_us = 2, .measured = 1}, {.time_us = 3, .measured = 1}};
	struct run_row row;
	char id[16];
	snprintf(id, sizeof id, "run-%d", i);
	row_init(&row);
	row.run_id = id;
	row.status = RUN_STATUS_OK;
	row.reason = "several\nlines, \"quoted\"";
	row.order = row.repetition = i;
	row.n_prompt = 0;
	row.n_gen = MEASURED;
	row.warmup_tokens = WARMUP;
	row.telemetry_samples = 2;
	/* Where the last column is empty, a line without its end is unfinished. */
	assert_int_equal(column_set_text(&row, &row_columns[row_n_columns - 1], "0"), 0);
	for (int t = 0; t < WARMUP + MEASURED; t++)
		tokens[t] = (struct token_record){
			.phase = t < WARMUP ? TOKEN_PHASE_WARMUP : TOKEN_PHASE_MEASURE,
			.index = t < WARMUP ? t : t - WARMUP,
			.itl_us = 100 * i + t,
			.host_us = 1,
		};
	for (int k = 0; k < LOOKS; k++) {
		gpu_reading_init(&looks[k].gpu);
		looks[k].load_average = 0.5;
	}
	OK(recorder_telemetry(r, id, looks, LOOKS, e));
	OK(recorder_run(r, &row, tokens, WARMUP + MEASURED, e));
}

static int set_up(void **state)
{
	(void)state;
	struct recorder *r;
	int rc = folder_make(folder, "damaged");
	snprintf(run, sizeof run, "%s/run", folder);
	killed_at = 0;
	OK(recorder_open(&r, run, e));
	for (int i = 0; i < RUNS; i++)
		make_run(r, i);
	OK(recorder_close(r, e));
	for (int i = 0; i < FILES; i++)
		read_file(names[i], whole[i]);
	return rc;
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(folder);
}

/* Whether the record that begins at text is of the run; its end goes into *end. Quotes around it or not. */
static int is_of(const char *text, const char *id, const char **end)
{
	int quoted = 0;
	const char *c = text;
	for (; *c && (*c != '\n' || quoted); c++)
		quoted ^= *c == '"';
	*end = c + (*c == '\n');
	char wanted[32];
	snprintf(wanted, sizeof wanted, "\"%s\"", id);
	const char *found = strstr(text, wanted);
	return found && found < *end;
}

/* The file's text without the records of a run. */
static void without(const char *text, const char *id, char out[MOST])
{
	size_t used = 0;
	for (const char *end; *text; text = end)
		if (!is_of(text, id, &end)) {
			memcpy(out + used, text, (size_t)(end - text));
			used += (size_t)(end - text);
		}
	out[used] = '\0';
}

static int keep(void *ctx, const struct run_row *row, struct error *err)
{
	(void)err;
	(*(char **)ctx)[row->order] = 1;
	return 0;
}

/* Goes on without measuring anything; which runs were kept. */
static void go_on(struct resume_dropped *dropped, char kept[RUNS])
{
	struct recorder *r;
	memset(kept, 0, RUNS);
	OK(recorder_resume(&r, run, keep, &kept, dropped, e));
	OK(recorder_close(r, e));
}

static void expect_files(const char *const *gone)
{
	static char expected[MOST], part[MOST], is[MOST];
	for (int i = 0; i < FILES; i++) {
		strcpy(expected, whole[i]);
		for (const char *const *id = gone; *id; id++) {
			without(expected, *id, part);
			strcpy(expected, part);
		}
		read_file(names[i], is);
		assert_string_equal(is, expected);
	}
	/* No temporary is left. */
	DIR *d = opendir(run);
	assert_non_null(d);
	for (struct dirent *entry; (entry = readdir(d));)
		assert_null(strstr(entry->d_name, ".tmp"));
	closedir(d);
}

/* Which inodes the files have: those that need nothing are left as they are. */
static void inodes(ino_t out[FILES])
{
	for (int i = 0; i < FILES; i++) {
		struct stat s;
		assert_int_equal(stat(at(names[i]), &s), 0);
		out[i] = s.st_ino;
	}
}

static void test_whole(void **state)
{
	(void)state;
	struct resume_dropped dropped;
	char kept[RUNS], text[RESUME_TEXT_SIZE];
	ino_t before[FILES], after[FILES];
	inodes(before);
	go_on(&dropped, kept);
	assert_string_equal(resume_dropped_text(&dropped, text), "");
	for (int i = 0; i < RUNS; i++)
		assert_true(kept[i]);
	inodes(after);
	assert_memory_equal(before, after, sizeof before);
	expect_files((const char *const[]){NULL});
}

/* Whichever row is taken out, all other runs keep their tokens and their telemetry. */
static void test_row_taken_out(void **state)
{
	(void)state;
	static char part[MOST];
	for (int i = 0; i < RUNS; i++) {
		struct resume_dropped dropped;
		char kept[RUNS], id[16], text[RESUME_TEXT_SIZE];
		snprintf(id, sizeof id, "run-%d", i);
		restore();
		without(whole[0], id, part);
		write_file("runs.csv", part);
		go_on(&dropped, kept);
		for (int k = 0; k < RUNS; k++)
			assert_int_equal(kept[k], k != i);
		expect_files((const char *const[]){id, NULL});
		assert_int_equal(dropped.lines, WARMUP + MEASURED + LOOKS);
		assert_string_equal(resume_dropped_text(&dropped, text), "9 lines of no finished run left out");
	}
}

/* Changes the n-th record of a run in a file: another text in the place of `from`, or no record where that is null. */
static void damage(const char *name, const char *id, int n, const char *from, const char *to)
{
	static char text[MOST], out[MOST];
	size_t used = 0;
	int seen = 0, done = 0;
	read_file(name, text);
	for (const char *at_record = text, *end; *at_record; at_record = end) {
		int hit = is_of(at_record, id, &end) && seen++ == n;
		size_t length = (size_t)(end - at_record);
		const char *found = hit && from ? strstr(at_record, from) : NULL;
		done += hit;
		if (hit && !from)
			continue;
		if (from && hit) {
			assert_true(found && found < end);
			memcpy(out + used, at_record, (size_t)(found - at_record));
			used += (size_t)(found - at_record);
			used += (size_t)sprintf(out + used, "%s", to);
			at_record = found + strlen(from);
			length = (size_t)(end - at_record);
		}
		memcpy(out + used, at_record, length);
		used += length;
	}
	out[used] = '\0';
	assert_int_equal(done, 1);
	write_file(name, out);
}

static const struct {
	const char *file;
	int n; /* of the run's records */
	const char *from, *to, *why;
} damages[] = {
	{"tokens.csv", 0, NULL, NULL, "run run-4: token 0 of its warmup is missing"},
	{"tokens.csv", 3, NULL, NULL, "run run-4: token 1 of its measure is missing"},
	{"tokens.csv", 5, NULL, NULL, "run run-4: 2 + 3 tokens where its row says 2 + 4"},
	{"tokens.csv", 1, "\"warmup\"", "\"warm\"", "column 'phase': 'warm' is not one of warmup, measure"},
	{"tokens.csv", 3, "\"403\"", "\"4o3\"", "column 'itl_us': '4o3' is not a finite number"},
	{"tokens.csv", 3, "\"measure\",\"1\"", "\"measure\",\"0\"", "token 0 of its measure is there twice"},
	{"tokens.csv", 2, "\"measure\"", "\"measure", "quote"},
	{"tokens.csv", 2, "\"measure\",", "", "has 15 fields where the header has 16"},
	{"tokens.csv", 4, "\"run-4\"", "\"run-x\"", "token 2 of its measure is missing"},
	{"telemetry.csv", 1, NULL, NULL, "run run-4: 1 measured looks where its row says 2"},
	{"telemetry.csv", 0, "\"warmup\"", "\"measure\"", "run run-4: 3 measured looks where its row says 2"},
	{"telemetry.csv", 2, "\"measure\"", "\"between\"", "column 'phase'"},
	{"runs.csv", 0, "\"ok\"", "\"interrupted\"", NULL},
};

static void test_damage(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
		struct resume_dropped dropped;
		char kept[RUNS], text[RESUME_TEXT_SIZE];
		restore();
		damage(damages[i].file, "run-4", damages[i].n, damages[i].from, damages[i].to);
		go_on(&dropped, kept);
		for (int k = 0; k < RUNS; k++)
			assert_int_equal(kept[k], k != 4);
		expect_files((const char *const[]){"run-4", "run-x", NULL});
		resume_dropped_text(&dropped, text);
		const char *wanted = damages[i].why ? "1 run is measured again: 1 damaged (" : "again: 1 interrupted";
		if (!strstr(text, wanted) || (damages[i].why && !strstr(text, damages[i].why)))
			fail_msg("'%s' does not say '%s'", text, damages[i].why);
	}
	/* All of it together, and every other run. */
	struct resume_dropped dropped;
	char kept[RUNS], text[RESUME_TEXT_SIZE];
	restore();
	damage("tokens.csv", "run-0", 1, NULL, NULL);
	damage("telemetry.csv", "run-2", 1, NULL, NULL);
	damage("runs.csv", "run-6", 0, NULL, NULL);
	damage("runs.csv", "run-8", 0, "\"ok\"", "\"interrupted\"");
	go_on(&dropped, kept);
	for (int k = 0; k < RUNS; k++)
		assert_int_equal(kept[k], k % 2 || k == 4);
	expect_files((const char *const[]){"run-0", "run-2", "run-6", "run-8", NULL});
	assert_non_null(
		strstr(resume_dropped_text(&dropped, text), "3 runs are measured again: 1 interrupted, 2 damaged ("));
	assert_non_null(strstr(text, "; ...); 9 lines of no finished run left out"));
}

/* An editor that left the last line without its end, or put a mark in front, took nothing away. */
static void test_edited(void **state)
{
	(void)state;
	static char text[MOST];
	struct resume_dropped dropped;
	char kept[RUNS];
	for (int i = 0; i < FILES; i++) {
		snprintf(text, sizeof text, "\xef\xbb\xbf%s", whole[i]);
		text[strlen(text) - 1] = '\0';
		write_file(names[i], text);
	}
	go_on(&dropped, kept);
	for (int k = 0; k < RUNS; k++)
		assert_true(kept[k]);
	expect_files((const char *const[]){NULL});
}

/* A sweep that was killed leaves an unfinished line in each: it is cut off, and no file is written anew for that. */
static void test_unfinished(void **state)
{
	(void)state;
	struct resume_dropped dropped;
	char kept[RUNS];
	ino_t before[FILES], after[FILES];
	for (int i = 0; i < FILES; i++) {
		FILE *f = fopen(at(names[i]), "a");
		assert_non_null(f);
		fputs(i ? "\"1\",\"run-9\",\"warm" : "\"1\",\"run-9\",\"o", f);
		fclose(f);
	}
	inodes(before);
	go_on(&dropped, kept);
	inodes(after);
	assert_memory_equal(before, after, sizeof before);
	expect_files((const char *const[]){NULL});
	assert_int_equal(dropped.lines, 3);
}

static int refuse(void *ctx, const struct run_row *row, struct error *err)
{
	(void)ctx;
	return row->order == 7 ? error_set(err, ERROR_INPUT, "not ours") : 0;
}

/* What is refused is not touched. */
static void test_refused(void **state)
{
	(void)state;
	static char before[FILES][MOST], after[MOST];
	struct resume_dropped dropped;
	struct recorder *r;
	struct error err = {""};
	damage("tokens.csv", "run-4", 1, NULL, NULL);
	damage("runs.csv", "run-2", 0, NULL, NULL);
	for (int i = 0; i < FILES; i++)
		read_file(names[i], before[i]);
	assert_int_equal(recorder_resume(&r, run, refuse, NULL, &dropped, &err), ERROR_INPUT);
	assert_string_equal(err.text, "not ours");
	for (int i = 0; i < FILES; i++) {
		read_file(names[i], after);
		assert_string_equal(before[i], after);
	}
	char *cells = strchr(whole[1], '\n');
	snprintf(after, sizeof after,
		 "\"schema_version\",\"run_id\",\"phase\",\"token_index\",\"itl_us\",\"graph_event\"%s", cells);
	restore();
	write_file("tokens.csv", after);
	assert_int_equal(recorder_resume(&r, run, refuse, NULL, &dropped, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "tokens.csv: its columns are not this version's"));
}

/* Every row that is there has all its tokens, and those that are whole are there. */
static void check_whole_runs(void)
{
	struct result_set s;
	OK(result_set_open(&s, run, e));
	for (size_t i = 0; i < s.n_rows; i++) {
		/* Those that are damaged may still be there. */
		if (!strcmp(s.rows[i].run_id, "run-1") || s.rows[i].status == RUN_STATUS_INTERRUPTED)
			continue;
		OK(result_set_check_tokens(&s, i, e));
		struct telemetry_sample *looks;
		size_t n;
		OK(result_set_telemetry(&s, i, &looks, &n, e));
		assert_int_equal(n, LOOKS);
		free(looks);
	}
	for (int i = 0; i < RUNS; i++) {
		char id[16];
		snprintf(id, sizeof id, "run-%d", i);
		if (i != 1 && i != 3 && i != 8)
			assert_true(result_set_find(&s, id) >= 0);
	}
	result_set_close(&s);
}

static void test_killed(void **state)
{
	(void)state;
	struct resume_dropped dropped;
	char kept[RUNS];
	int n = 1;
	for (int at_call = 1; at_call <= n; at_call++)
		for (int behind = 0; behind < 2; behind++) {
			restore();
			damage("tokens.csv", "run-1", 2, NULL, NULL);
			damage("runs.csv", "run-3", 0, NULL, NULL);
			damage("runs.csv", "run-8", 0, "\"ok\"", "\"interrupted\"");
			pid_t child = fork();
			assert_true(child >= 0);
			if (child == 0) {
				calls = 0;
				killed_at = behind ? -at_call : at_call;
				go_on(&dropped, kept);
				/* It was not: there are fewer calls. */
				_exit(0);
			}
			int status;
			assert_int_equal(waitpid(child, &status, 0), child);
			assert_true(WIFEXITED(status));
			check_whole_runs();
			if (WEXITSTATUS(status) == 9)
				n = at_call + 1;
			else
				assert_int_equal(WEXITSTATUS(status), 0);
			go_on(&dropped, kept);
			for (int k = 0; k < RUNS; k++)
				assert_int_equal(kept[k], k != 1 && k != 3 && k != 8);
			expect_files((const char *const[]){"run-1", "run-3", "run-8", NULL});
		}
	/* Three files, each flushed, forced, renamed, its name forced. */
	assert_true(n > 9);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_whole),      TEST(test_row_taken_out), TEST(test_damage), TEST(test_edited),
		TEST(test_unfinished), TEST(test_refused),       TEST(test_killed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
