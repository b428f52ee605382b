/*
 * gemmark bench --kv-cache on a small real model: every row has the bits of a sweep that prefills each context,
 * wherever its own came from; again and after a kill nothing is prefilled; what is damaged is refused and measured
 * anew.
 */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness/cli/options.h"
#include "tests/support/command.h"
#include "tests/support/folder.h"
#include "tests/support/read_csv.h"

#define MODEL "golden/gemma4-e2b-tiny.q8_0.gguf"
#define EACH_CELL "-m", MODEL, "-ub", "16", "-p", "0,8", "-n", "4", "-r", "1", "-d", "0,16,48,64,100"
#define SNAPKV "--snapkv", "off,40,window=8,48,window=32"

static char folder[FOLDER_BYTES];

static int set_up(void **state)
{
	(void)state;
	return folder_make(folder, "contexts");
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(folder);
}

static const char *in_folder(const char *name, char out[192])
{
	snprintf(out, 192, "%s/%s", folder, name);
	return out;
}

/* The runs of a sweep into the folder `name`, with --kv-cache. */
static struct csv_rows sweep(const char *name, const char *cache)
{
	char path[192];
	struct csv_rows r;
	char *words[] = {EACH_CELL, SNAPKV, "--kv-cache", (char *)cache, NULL};
	assert_int_equal(command_out(folder, cmd_bench, "bench", name, words), 0);
	snprintf(path, sizeof path, "%s/%s/runs.csv", folder, name);
	assert_int_equal(csv_read(&r, path), 0);
	return r;
}

static int same_cell(const struct csv_rows *a, int i, const struct csv_rows *b, int k)
{
	static const char *const key[] = {"test", "mode", "snapkv", "repetition"};
	for (size_t c = 0; c < sizeof key / sizeof *key; c++)
		if (strcmp(csv_at(a, i, key[c]), csv_at(b, k, key[c])))
			return 0;
	return 1;
}

/* What bits decide: logits, what was evicted, and how near the full cache it stayed. */
static void expect_same_bits(const struct csv_rows *a, const struct csv_rows *b)
{
	static const char *const equal[] = {"status",         "logits_hash", "evicted_entries", "kl_divergence",
					    "top1_agreement", "kv_bytes",    "beyond_context"};
	assert_int_equal(a->n_rows, b->n_rows);
	for (int i = 1; i < a->n_rows; i++) {
		int found = 0;
		for (int k = 1; k < b->n_rows; k++) {
			if (!same_cell(a, i, b, k))
				continue;
			found++;
			for (size_t c = 0; c < sizeof equal / sizeof *equal; c++)
				if (strcmp(csv_at(a, i, equal[c]), csv_at(b, k, equal[c])))
					fail_msg("%s %s %s: %s is %s, and %s", csv_at(a, i, "test"),
						 csv_at(a, i, "mode"), csv_at(a, i, "snapkv"), equal[c],
						 csv_at(a, i, equal[c]), csv_at(b, k, equal[c]));
		}
		assert_int_equal(found, 1);
	}
}

/* Rows at a depth whose context came from there; -1 tokens: any number was computed. */
static int rows_from(const struct csv_rows *r, const char *source, int tokens)
{
	int n = 0;
	for (int i = 1; i < r->n_rows; i++) {
		const char *count = csv_at(r, i, "context_prefilled_tokens");
		n += !strcmp(csv_at(r, i, "context_source"), source) && (tokens < 0 || atoi(count) == tokens);
		/* Of no depth nothing is said. */
		assert_int_equal(!*count, !strcmp(csv_at(r, i, "n_depth"), "0"));
	}
	return n;
}

static int rows_at_depth(const struct csv_rows *r)
{
	int n = 0;
	for (int i = 1; i < r->n_rows; i++)
		n += strcmp(csv_at(r, i, "n_depth"), "0") != 0;
	return n;
}

static void test_same_bits_from_anywhere(void **state)
{
	(void)state;
	char cache[192];
	in_folder("kv-new", cache);
	struct csv_rows off = sweep("off", "off"), memory = sweep("memory", "memory"), first = sweep("first", cache);
	assert_int_equal(rows_from(&off, "prefill", -1), rows_at_depth(&off));
	assert_true(rows_from(&memory, "memory", 0) > 0);
	assert_int_equal(rows_from(&memory, "disk", -1), 0);
	expect_same_bits(&memory, &off);
	expect_same_bits(&first, &off);
	struct csv_rows again = sweep("again", cache);
	assert_int_equal(rows_from(&again, "disk", 0), rows_at_depth(&again));
	assert_false(command_said(folder, "errors", "--kv-cache"));
	expect_same_bits(&again, &off);
	csv_rows_free(&off);
	csv_rows_free(&memory);
	csv_rows_free(&first);
	csv_rows_free(&again);
}

/* Other cache types, chunks: other contexts, beside those that are there. */
static void test_other_options_are_other_contexts(void **state)
{
	(void)state;
	char cache[192], path[192];
	in_folder("kv2", cache);
	static char *const options[][2] = {{"-ctk", "f32"}, {"-ctv", "bf16"}, {"-ub", "32"}, {"--seed", "2"}};
	char *plain[] = {"-m", MODEL, "-p",     "0",      "-n",         "2",   "-r", "1",
			 "-d", "64",  "--mode", "direct", "--kv-cache", cache, NULL};
	assert_int_equal(command_out(folder, cmd_bench, "bench", "plain", plain), 0);
	for (int i = 0; i < 4; i++) {
		char name[16];
		struct csv_rows r;
		char *words[] = {"-m", MODEL,    "-p",     "0",          "-n",  "2",           "-r",          "1", "-d",
				 "64", "--mode", "direct", "--kv-cache", cache, options[i][0], options[i][1], NULL};
		snprintf(name, sizeof name, "other%d", i);
		assert_int_equal(command_out(folder, cmd_bench, "bench", name, words), 0);
		snprintf(path, sizeof path, "%s/%s/runs.csv", folder, name);
		assert_int_equal(csv_read(&r, path), 0);
		assert_string_equal(csv_at(&r, 1, "context_source"), "prefill");
		csv_rows_free(&r);
	}
}

/* One byte in the contents of each: refused by name, and the sweep is what it was. */
static void test_damaged(void **state)
{
	(void)state;
	char cache[192], path[512];
	in_folder("kv3", cache);
	struct csv_rows first = sweep("whole", cache);
	DIR *d = opendir(cache);
	for (struct dirent *e; (e = readdir(d));) {
		struct stat st;
		snprintf(path, sizeof path, "%s/%s", cache, e->d_name);
		if (stat(path, &st) || !S_ISREG(st.st_mode))
			continue;
		int fd = open(path, O_RDWR);
		unsigned char byte;
		assert_int_equal(pread(fd, &byte, 1, st.st_size - 100), 1);
		byte ^= 1;
		assert_int_equal(pwrite(fd, &byte, 1, st.st_size - 100), 1);
		close(fd);
	}
	closedir(d);
	struct csv_rows damaged = sweep("damaged", cache);
	assert_true(command_said(folder, "errors", "snapshot refused, prefilled instead"));
	assert_true(command_said(folder, "errors", "its contents were altered"));
	expect_same_bits(&damaged, &first);
	struct csv_rows mended = sweep("mended", cache);
	assert_int_equal(rows_from(&mended, "disk", 0), rows_at_depth(&mended));
	csv_rows_free(&first);
	csv_rows_free(&damaged);
	csv_rows_free(&mended);
}

/* Killed behind its first rows; resumed, what it had prefilled is not prefilled again. */
static void test_resume_after_kill(void **state)
{
	(void)state;
	char cache[192], out[192], runs_path[192];
	struct csv_rows r, off;
	in_folder("kv4", cache);
	in_folder("killed", out);
	in_folder("killed/runs.csv", runs_path);
	char *words[] = {"-m",         MODEL, "-ub", "16", "-p", "0",      "-n",
			 "32",         "-r",  "12",  "-d", "64", "--mode", "direct,graph-device",
			 "--kv-cache", cache, NULL};
	pid_t child = fork();
	assert_true(child >= 0);
	if (!child)
		_exit(command_out(folder, cmd_bench, "bench", "killed", words));
	while (csv_lines(runs_path) < 2)
		usleep(1000);
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	char *alone[] = {"bench", "--resume", out, NULL};
	assert_int_equal(command_run(folder, cmd_bench, alone), 0);
	words[15] = (char *)"off";
	assert_int_equal(command_out(folder, cmd_bench, "bench", "unkilled", words), 0);
	assert_int_equal(csv_read(&r, runs_path), 0);
	in_folder("unkilled/runs.csv", runs_path);
	assert_int_equal(csv_read(&off, runs_path), 0);
	assert_int_equal(r.n_rows - 1, 24);
	expect_same_bits(&r, &off);
	assert_true(rows_from(&r, "prefill", 64) >= 1);
	assert_true(rows_from(&r, "disk", 0) >= 1);
	assert_int_equal(rows_from(&r, "prefill", 64) + rows_from(&r, "disk", 0), 24);
	csv_rows_free(&r);
	csv_rows_free(&off);
}

/* Said before anything is measured, and nothing is begun. */
static void test_unusable(void **state)
{
	(void)state;
	char file[192];
	assert_int_equal(folder_put(folder, "/file", "x"), 0);
	static const struct {
		const char *cache, *limit, *why;
	} bad[] = {
		{"/proc/self/fd/nowhere/kv", "1G", "--kv-cache: "},
		{NULL, "1G", "is not a folder"},
		{"/nowhere/kv", "1G", "--kv-cache: /nowhere/kv: the folder that it would be in is not there"},
		{"", "1G", "name a directory, memory or off"},
		{"memory", "0", "is no number of bytes"},
		{"memory", "-1", "is no number of bytes"},
		{"memory", "1X", "is no number of bytes"},
	};
	in_folder("file", file);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		char *words[] = {"-m",
				 MODEL,
				 "-p",
				 "0",
				 "-n",
				 "2",
				 "-d",
				 "16",
				 "--kv-cache",
				 (char *)(bad[i].cache ? bad[i].cache : file),
				 "--kv-cache-limit",
				 (char *)bad[i].limit,
				 NULL};
		assert_int_equal(command_out(folder, cmd_bench, "bench", "never", words), 2);
		if (!command_said(folder, "errors", bad[i].why))
			fail_msg("%s %s", bad[i].cache, bad[i].limit);
		assert_false(folder_has(folder, "never"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_bits_from_anywhere),
		cmocka_unit_test(test_other_options_are_other_contexts),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_resume_after_kill),
		cmocka_unit_test(test_unusable),
	};
	return cmocka_run_group_tests_name("bench --kv-cache", tests, set_up, tear_down);
}
