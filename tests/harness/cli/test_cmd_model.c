/*
 * `gemmark model`: what make and show print, how wide, and that every bad argument is one
 * line that names it and exit code 2. And the progress bar's line.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness/cli/options.h"
#include "harness/cli/progress.h"
#include "tests/support/edited_model.h"
#include "tests/support/temp_file.h"

enum { MAX_ARGS = 16 };

/* Runs `gemmark model ...`, words separated by spaces, with stdout and stderr in a file. */
static int run_command(const char *words, char *output, size_t size)
{
	char copy[512], *argv[MAX_ARGS + 1];
	int argc = 0;
	snprintf(copy, sizeof copy, "%s", words);
	for (char *save, *w = strtok_r(copy, " ", &save); w && argc < MAX_ARGS; w = strtok_r(NULL, " ", &save))
		argv[argc++] = w;
	argv[argc] = NULL;
	FILE *f = tmpfile();
	assert_non_null(f);
	fflush(NULL);
	int out = dup(1), error = dup(2);
	dup2(fileno(f), 1);
	dup2(fileno(f), 2);
	int rc = cmd_model(argc, argv);
	fflush(NULL);
	dup2(out, 1);
	dup2(error, 2);
	close(out);
	close(error);
	rewind(f);
	size_t n = fread(output, 1, size - 1, f);
	output[n] = 0;
	fclose(f);
	return rc;
}

static void test_command(void **state)
{
	(void)state;
	struct temp_file t = temp_file_make();
	char words[256];
	static char out[65536];
	snprintf(words, sizeof words, "model make --arch gemma4-e2b-tiny --type Q8_0 -o %s", t.path);
	assert_int_equal(run_command(words, out, sizeof out), 0);

	snprintf(words, sizeof words, "model show %s -c 16,4096 -ctk f32 -ctv f16 --tensors", t.path);
	assert_int_equal(run_command(words, out, sizeof out), 0);
	/* 16: (4 x 32 + 1 x 64) elements a position, 6 bytes each; 4096: the sliding layers stay at their window. */
	assert_non_null(strstr(out, " 16 positions          18432 bytes"));
	assert_non_null(strstr(out, " 4096 positions        1585152 bytes"));
	assert_non_null(strstr(out, "blk.9.ffn_down.weight"));
	assert_non_null(strstr(out, "\n  file type       Q8_0\n"));
	assert_non_null(strstr(out, "of layer 4"));
	for (const char *line = out; *line; line += strcspn(line, "\n") + 1)
		if (strcspn(line, "\n") > 80)
			fail_msg("wider than 80 columns: %.*s", (int)strcspn(line, "\n"), line);

	/* Rows of 48 and 80 bytes, of keys and of values. */
	snprintf(words, sizeof words, "model show %s -c 16 -ctk q8_0 -ctv q8_0", t.path);
	assert_int_equal(run_command(words, out, sizeof out), 0);
	assert_non_null(strstr(out, " 16 positions           8704 bytes"));

	snprintf(words, sizeof words, "model show %s --device-memory 800M -c 64", t.path);
	assert_int_equal(run_command(words, out, sizeof out), 0);
	assert_non_null(strstr(out, "layers: GPU 10, host 0"));
	assert_non_null(strstr(out, "10 of 10 layers on the GPU, head on the GPU"));
	snprintf(words, sizeof words, "model show %s --device-memory 512M -c 64,128", t.path);
	assert_int_equal(run_command(words, out, sizeof out), 0);
	assert_non_null(strstr(out, "0 of 10 layers on the GPU, head on the host\n  1 would need "));
	snprintf(words, sizeof words, "model show %s --device-memory 1G -ngl 3 --head cpu", t.path);
	assert_int_equal(run_command(words, out, sizeof out), 0);
	assert_non_null(strstr(out, "3 of 10 layers on the GPU, head on the host"));
	for (const char *line = out; *line; line += strcspn(line, "\n") + 1)
		if (strcspn(line, "\n") > 80)
			fail_msg("wider than 80 columns: %.*s", (int)strcspn(line, "\n"), line);

	/* A line of its own where that fusion is asked for, and alone it has all layers or none. */
	snprintf(words, sizeof words, "model show %s --device-memory 800M -c 64 --fusion none,full", t.path);
	assert_int_equal(run_command(words, out, sizeof out), 0);
	assert_null(strstr(out, "tiles"));
	snprintf(words, sizeof words, "model show %s --device-memory 800M -c 64 --fusion full,persistent", t.path);
	assert_int_equal(run_command(words, out, sizeof out), 0);
	assert_non_null(strstr(out, "\n  weights in tiles: fusion persistent "));
	for (const char *line = out; *line; line += strcspn(line, "\n") + 1)
		if (strcspn(line, "\n") > 80)
			fail_msg("wider than 80 columns: %.*s", (int)strcspn(line, "\n"), line);
	snprintf(words, sizeof words, "model show %s --device-memory 513M -c 64 --fusion persistent", t.path);
	assert_int_equal(run_command(words, out, sizeof out), 2);
	assert_non_null(strstr(out, "\n  weights in tiles: fusion persistent "));
	assert_non_null(strstr(out, "10 of 10 layers do not fit: "));
	assert_non_null(strstr(out, "fusion persistent needs all 10 layers on the GPU"));
	snprintf(words, sizeof words, "model show %s --device-memory 800M -ngl 3 --fusion persistent", t.path);
	assert_int_equal(run_command(words, out, sizeof out), 0);
	assert_non_null(strstr(out, "\n  left out: fusion persistent needs the whole model on one device"));

	static const struct {
		const char *words, *says;
	} bad[] = {
		{"model", "make or show"},
		{"model shwo", "show?"},
		{"model make --arch gemma4-e4 -o x", "gemma4-e4b"},
		{"model make --arch gemma4-e4b", "-o"},
		{"model make -o x", "--arch"},
		{"model make --arch gemma4-e4b -o x --type q5_9", "q8_0"},
		{"model make --arch gemma4-e4b -o x --layers 7", "multiple of 6"},
		{"model make --arch gemma4-e4b-tiny -o /nowhere/at/all/x", "/nowhere/at/all/x"},
		{"model show", "which file"},
		{"model show no-such-file.gguf", "no-such-file.gguf"},
		{"model show golden/qwen3-tiny.json", "qwen3-tiny.json"},
		{"model show x -ctk q4_0", "q8_0"},
		{"model show x -c 10,y", "y"},
		{"model show x --device-memory 8Q", "8Q"},
		{"model show x --device-memory 0", "512M"},
		{"model show x --device-memory -8G", "512M"},
		{"model show x --device-memory 99999999999T", "512M"},
		{"model show x -ngl all", "auto"},
		{"model show x --fusion full,persistant", "persistent"},
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		int rc = run_command(bad[i].words, out, sizeof out);
		char *newline = strchr(out, '\n');
		if (rc != 2 || !strstr(out, bad[i].says) || !newline || newline[1])
			fail_msg("%s: %d, %s", bad[i].words, rc, out);
	}
	temp_file_remove(&t);
}

/* The name that it is published under, and not the type of most of its bytes. */
static void test_file_type(void **state)
{
	(void)state;
	struct temp_file t = temp_file_make();
	char words[256];
	static char out[65536];
	snprintf(words, sizeof words, "model make --arch gemma4-e2b-tiny --type q4_k_m -o %s", t.path);
	assert_int_equal(run_command(words, out, sizeof out), 0);
	snprintf(words, sizeof words, "model show %s", t.path);
	assert_int_equal(run_command(words, out, sizeof out), 0);
	assert_non_null(strstr(out, "\n  file type       Q4_K_M\n"));

	/* Of a file that does not say, nothing is made up. */
	static const struct edit drop = {.kind = EDIT_DROP, .name = "general.file_type"};
	edited_model("golden/qwen3-tiny.q8_0.gguf", t.path, &drop, 1);
	assert_int_equal(run_command(words, out, sizeof out), 0);
	assert_non_null(strstr(out, "\n  file type       none given that is known\n"));
	temp_file_remove(&t);
}

static void test_progress_line(void **state)
{
	(void)state;
	char line[PROGRESS_LINE_BYTES];
	progress_line(line, "x", 2000000000, 8000000000, 4);
	assert_string_equal(line, "x [###.........]  25%  2.0 of 8.0 GB  500 MB/s  0:12 left");
	progress_line(line, "x", 1000000000, 8000000000000, 10);
	assert_non_null(strstr(line, "22:13:10 left"));
	progress_line(line, "x", 0, 8000000000, 0);
	assert_string_equal(line, "x [............]   0%  0.0 of 8.0 GB  0 MB/s");
	progress_line(line, "gemma4-26b-a4b..", 899999999999, 900000000000, 1000000);
	assert_true(strlen(line) <= 79);
	progress_line(line, "x", 0, 0, 1);
	assert_non_null(strstr(line, "100%"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_command),
		cmocka_unit_test(test_file_type),
		cmocka_unit_test(test_progress_line),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
