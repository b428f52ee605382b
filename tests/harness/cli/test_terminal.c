/*
 * Whatever bytes an argument or a file has, nothing that a command prints steers the terminal: no control byte, no C1
 * control, no direction override, valid UTF-8, and one line for a complaint.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "harness/cli/options.h"
#include "tests/support/command.h"
#include "tests/support/folder.h"
#include "tests/support/renamed_model.h"

#define GOLDEN "golden/qwen3-tiny.q8_0.gguf"
/* Escape sequences of 7 and of 8 bits, line ends, a right-to-left override, half a character. */
#define H                           \
	"\x1b[31mR\r\n\x07\xc2\x9b" \
	"2J\xe2\x80\xae\x7f\xff\xe2\x82"

static char folder[FOLDER_BYTES];

static int set_up(void **state)
{
	(void)state;
	return folder_make(folder, "terminal");
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(folder);
}

/* Fails where the file of the folder has what may steer a terminal. Returns its lines. */
static int check_clean(const char *name, const char *what)
{
	static const char *const wrong[] = {"\xc2\x9b", "\xe2\x80\xae", "\xff"};
	static char text[1 << 17];
	FILE *f = folder_open(folder, name, "r");
	size_t n = fread(text, 1, sizeof text - 1, f);
	int lines = 0;
	fclose(f);
	text[n] = '\0';
	assert_true(strlen(text) == n);
	for (size_t i = 0; i < n; i++) {
		lines += text[i] == '\n';
		if (((unsigned char)text[i] < ' ' && text[i] != '\n') || text[i] == 0x7f)
			fail_msg("%s: byte 0x%02x in %s: %s", what, (unsigned char)text[i], name, text);
	}
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		if (strstr(text, wrong[i]))
			fail_msg("%s: bytes %zu of the list in %s: %s", what, i, name, text);
	return lines;
}

static void refuse(int (*command)(int, char **), char **words)
{
	char what[200] = "";
	for (int i = 0; words[i]; i++)
		snprintf(what + strlen(what), sizeof what - strlen(what), "%s ", words[i]);
	int code = command_run(folder, command, words);
	int lines = check_clean("errors", what);
	check_clean("out", what);
	if (code != 2 || lines != 1)
		fail_msg("%s: code %d, %d lines", what, code, lines);
}

/* Each ends with exit code 2. %: the folder. */
static void test_arguments(void **state)
{
	(void)state;
	static const struct {
		int (*command)(int, char **);
		const char *words[12];
	} all[] = {
		{cmd_eval, {"eval", "-m", H, "--tokens", "1"}},
		{cmd_eval, {"eval", "-m", GOLDEN, "--tokens", H}},
		{cmd_eval, {"eval", "-m", GOLDEN, "-ngl", "0", "--tokens", "1", "-o", "/nowhere/" H}},
		{cmd_eval, {"eval", "-m", GOLDEN, "--tokens", "1", "--mode", H}},
		{cmd_eval, {"eval", "-m", GOLDEN, "--tokens", "1", "--snapkv", "64" H}},
		{cmd_eval, {"eval", "--batch", H}},
		{cmd_eval, {"eval", "--device-memory", H}},
		{cmd_eval, {"eval", "-ctk", H}},
		{cmd_eval, {"eval", "--" H}},
		{cmd_eval, {"eval", H}},
		{cmd_eval, {"eval", "@" H}},
		{cmd_bench, {"bench", "-m", H}},
		{cmd_bench, {"bench", "-m", GOLDEN, "-d", H}},
		{cmd_bench, {"bench", "-m", GOLDEN, "-d", "1-" H}},
		{cmd_bench, {"bench", "-m", GOLDEN, "--mode", H}},
		{cmd_bench, {"bench", "-m", GOLDEN, "--snapkv", H}},
		{cmd_bench, {"bench", "-m", GOLDEN, "-o", H}},
		{cmd_bench, {"bench", "-m", GOLDEN, "--until", H}},
		{cmd_bench, {"bench", "-m", GOLDEN, "--until", "stable=" H}},
		{cmd_bench, {"bench", "-m", GOLDEN, "-p", "0", "-n", "1", "-r", "1", "--out", "/dev/null/" H}},
		{cmd_bench, {"bench", "--resume", H}},
		{cmd_model, {"model", H}},
		{cmd_model, {"model", "make", "--arch", H}},
		{cmd_model, {"model", "make", "--arch", "qwen3-tiny", "-o", "/nowhere/" H}},
		{cmd_model, {"model", "make", "--type", H}},
		{cmd_model, {"model", "show", H}},
		{cmd_model, {"model", "show", GOLDEN, "-c", H}},
		{cmd_model, {"model", "show", "a" H, H}},
		{cmd_plot, {"plot", H}},
		{cmd_plot, {"plot", ".", "--format", H}},
		{cmd_plot, {"plot", "a" H, H}},
		{cmd_compare, {"compare", H, H}},
		{cmd_compare, {"compare", H}},
		{cmd_report, {"report", H, "-o", "/nowhere/x"}},
		{cmd_report, {"report", ".", "--base", H, "-o", "/nowhere/" H}},
		{cmd_compare, {"compare", "a", "b", "-o", H}},
		{cmd_compare, {"compare", "a", "b", "--calibration", "/dev/null/" H}},
		{cmd_kernels, {"kernels", "--compile-only", "--arch", H}},
		{cmd_compare, {"compare", H, H}},
		{cmd_compare, {"compare", H}},
		{cmd_report, {"report", H, "-o", "/nowhere/x"}},
		{cmd_report, {"report", ".", "--base", H, "-o", "/nowhere/" H}},
		{cmd_compare, {"compare", "a", "b", "-o", H}},
		{cmd_compare, {"compare", "a", "b", "--calibration", "/dev/null/" H}},
		{cmd_kernels, {"kernels", "--compile-only", "--head-dims", H}},
		{cmd_selftest, {"selftest", "--noise", H}},
		{cmd_selftest, {"selftest", "--inject", H}},
		{cmd_selftest, {"selftest", "--out", "/dev/null/" H}},
		{cmd_env, {"env", "-t", H}},
		{cmd_env, {"env", H}},
	};
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		char *words[12];
		memcpy(words, all[i].words, sizeof words);
		refuse(all[i].command, words);
	}
}

static char *put(const char *name, const char *text, char path[FOLDER_BYTES + 64])
{
	snprintf(path, FOLDER_BYTES + 64, "/%s", name);
	assert_int_equal(folder_put(folder, path, text), 0);
	snprintf(path, FOLDER_BYTES + 64, "%s/%s", folder, name);
	return path;
}

static void test_files(void **state)
{
	(void)state;
	char path[FOLDER_BYTES + 64], at[FOLDER_BYTES + 65];
	char *tokens[] = {"eval", "-m", GOLDEN, "--tokens", put("ids", "2 17 " H " 5\n", path), NULL};
	refuse(cmd_eval, tokens);
	snprintf(at, sizeof at, "@%s", put("words", "--tokens\n'" H "'\n", path));
	char *words[] = {"eval", at, NULL}, *loops[] = {"eval", "-m", at, at, NULL};
	refuse(cmd_eval, words);
	refuse(cmd_eval, loops);
	snprintf(at, sizeof at, "@%s", put("name" H, "'", path));
	char *open_quote[] = {"eval", at, NULL};
	refuse(cmd_eval, open_quote);

	/* A header, a cell, a status, JSON. */
	char *plot[] = {"plot", folder, NULL}, *resume[] = {"bench", "--resume", folder, NULL};
	put("runs.csv", "\"a\xc2\x9b\xe2\x80\xae\xff\",\"a\xc2\x9b\xe2\x80\xae\xff\"\n\"1\"\n", path);
	refuse(cmd_plot, plot);
	put("env.json", "{\"command_line\": \x1b}", path);
	refuse(cmd_bench, resume);
	put("env.json", "{\"command_line\": [\"bench\", \"-m\", \"a\\u001b\\n\\u009b\"]}", path);
	refuse(cmd_bench, resume);
	put("env.json", "{\"command_line\": [\"bench\", \"--mode\", \"a\\u001b\\n\\u009b\"]}", path);
	refuse(cmd_bench, resume);
}

/* What is no complaint: names and paths in tables. */
static void test_tables(void **state)
{
	(void)state;
	char path[FOLDER_BYTES + 64], out[FOLDER_BYTES + 64];
	snprintf(path, sizeof path, "%s/m" H, folder);
	renamed_model(GOLDEN, path, H, NULL);
	char *show[] = {"model", "show", path, "--tensors", "--device-memory", "1G", "-c", "64", NULL};
	assert_int_equal(command_run(folder, cmd_model, show), 0);
	check_clean("out", "show");
	snprintf(out, sizeof out, "%s/o" H, folder);
	char *eval[] = {"eval", "-m", path, "--tokens", "1,2", "-ngl", "0", "-o", out, NULL};
	assert_int_equal(command_run(folder, cmd_eval, eval), 0);
	check_clean("out", "eval");
	char *make[] = {"model", "make", "--arch", "qwen3-tiny", "-o", strcat(out, "2"), NULL};
	assert_int_equal(command_run(folder, cmd_model, make), 0);
	check_clean("out", "make");
	char *dry[] = {"bench", "-m", path, "-ngl", "0", "-p", "0", "-n", "1", "--dry-run", NULL};
	assert_int_equal(command_run(folder, cmd_bench, dry), 0);
	check_clean("out", "dry run");
	char *bench[] = {"bench", "-m", path,    "-ngl",           "0", "-p", "0", "-n", "1",
			 "-r",    "1",  "--out", strcat(out, "3"), NULL};
	assert_int_equal(command_run(folder, cmd_bench, bench), 0);
	check_clean("out", "bench");
	check_clean("errors", "bench");

	/* The engine would drop this tensor, or refuse it by name. */
	snprintf(path, sizeof path, "%s/extra", folder);
	renamed_model(GOLDEN, path, "x", "blk.0." H);
	char *extra[] = {"model", "show", path, "--tensors", NULL};
	command_run(folder, cmd_model, extra);
	check_clean("out", "a tensor's name");
	check_clean("errors", "a tensor's name");
}

/* A mark at the start of a file is none of its text. */
static void test_byte_order_mark(void **state)
{
	(void)state;
	char path[FOLDER_BYTES + 64], at[FOLDER_BYTES + 65];
	char *tokens[] = {"eval",
			  "-m",
			  GOLDEN,
			  "-ngl",
			  "0",
			  "--tokens",
			  put("ids",
			      "\xef\xbb\xbf"
			      "2 3 4\n",
			      path),
			  NULL};
	assert_int_equal(command_run(folder, cmd_eval, tokens), 0);
	assert_true(command_said(folder, "out", "tokens      3 "));
	snprintf(at, sizeof at, "@%s", put("words", "\xef\xbb\xbf--tokens 5,6", path));
	char *words[] = {"eval", "-m", GOLDEN, "-ngl", "0", at, NULL};
	assert_int_equal(command_run(folder, cmd_eval, words), 0);
	assert_true(command_said(folder, "out", "tokens      2 "));
	/* Elsewhere it is no number. */
	char *twice[] = {"eval",
			 "-m",
			 GOLDEN,
			 "--tokens",
			 put("ids",
			     "\xef\xbb\xbf\xef\xbb\xbf"
			     "2\n",
			     path),
			 NULL};
	assert_int_equal(command_run(folder, cmd_eval, twice), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_arguments, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_files, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_tables, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_byte_order_mark, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
