/*
 * gemmark eval as it is called: its perplexity against one computed here from the logits that it wrote, and logits
 * that are no numbers, wherever they come up, in a sweep too.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/model/gguf.h"
#include "harness/cli/options.h"
#include "tests/support/command.h"
#include "tests/support/folder.h"
#include "tests/support/golden.h"
#include "tests/support/ok.h"
#include "tests/support/read_csv.h"
#include "tests/support/synth_case.h"

#define MODEL "golden/gemma4-e4b-tiny.f32.gguf"

enum { VOCAB = 512, LAYERS = 12 };

static char folder[FOLDER_BYTES], model[FOLDER_BYTES + 16], logits[FOLDER_BYTES + 16];

static int set_up(void **state)
{
	(void)state;
	if (folder_make(folder, "eval"))
		return -1;
	snprintf(model, sizeof model, "%s/m.gguf", folder);
	snprintf(logits, sizeof logits, "%s/logits.f32", folder);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(folder);
}

/* more: up to 16 words and a null. */
static int eval(const char *path, const char *tokens, char **more)
{
	char *words[32] = {"eval", "-m", (char *)path, "--tokens", (char *)tokens, "-ngl", "0",
			   "-t",   "1",  "-o",         logits,     "--force",      NULL};
	int n = 0;
	while (words[n])
		n++;
	for (int i = 0; more[i]; i++)
		words[n++] = more[i];
	return command_run(folder, cmd_eval, words);
}

/* The number behind a word at the beginning of a line that the command printed. */
static double printed(const char *word)
{
	char line[256];
	double x = NAN;
	FILE *f = folder_open(folder, "out", "r");
	while (fgets(line, sizeof line, f))
		if (!strncmp(line, word, strlen(word)))
			x = strtod(line + strlen(word), NULL);
	fclose(f);
	return x;
}

static void check_perplexity(const int *tokens, int n, char **more)
{
	char list[256] = "";
	for (int i = 0; i < n; i++)
		snprintf(list + strlen(list), sizeof list - strlen(list), "%s%d", i ? "," : "", tokens[i]);
	assert_int_equal(eval(MODEL, list, more), 0);
	FILE *f = folder_open(folder, "logits.f32", "r");
	static float row[VOCAB];
	/* The geometric mean of 1 / p over the n - 1 tokens that a row foretells; the last row foretells none. */
	double product = 1;
	for (int i = 0; i < n; i++) {
		assert_int_equal(fread(row, sizeof *row, VOCAB, f), VOCAB);
		double sum = 0;
		for (int v = 0; v < VOCAB; v++)
			sum += exp((double)row[v]);
		if (i + 1 < n)
			product *= sum / exp((double)row[tokens[i + 1]]);
	}
	assert_int_equal(fgetc(f), EOF);
	fclose(f);
	if (n == 1) {
		assert_true(isnan(printed("perplexity")));
		return;
	}
	double expected = pow(product, 1.0 / (n - 1));
	if (!(fabs(printed("perplexity") - expected) < 1e-5 * expected))
		fail_msg("perplexity %g of %d tokens, which is %g", printed("perplexity"), n, expected);
}

static void test_perplexity(void **state)
{
	(void)state;
	static const int tokens[] = {2, 17, 400, 99, 5, 200, 31, 8, 511};
	char *all[] = {NULL}, *chunks[] = {"--batch", "2", NULL}, *decoded[] = {"--prefill", "4", NULL},
	     *none[] = {"--prefill", "0", "--mode", "graph-device", NULL};
	check_perplexity(tokens, 9, all);
	check_perplexity(tokens, 9, chunks);
	check_perplexity(tokens, 9, decoded);
	check_perplexity(tokens, 9, none);
	check_perplexity(tokens, 2, all);
	check_perplexity(tokens, 1, all);
}

/* The line of generated ids; up to 255 bytes. */
static void read_generated(char ids[256])
{
	static const char word[] = "generated   ";
	char line[256];
	FILE *f = folder_open(folder, "out", "r");
	*ids = 0;
	while (fgets(line, sizeof line, f))
		if (!strncmp(line, word, strlen(word)))
			snprintf(ids, 256, "%s", line + strlen(word));
	fclose(f);
}

/* Behind tokens that were given, prefilled or decoded: the golden continuation; drawn, another one for each option. */
static void test_generate(void **state)
{
	(void)state;
	struct golden g;
	char prompt[2048] = "", expected[256] = "", ids[256], first[256];
	golden_load(&g, "gemma4-e4b-tiny.f32");
	assert_true(g.n_tokens >= g.n_prompt + 8);
	for (int i = 0; i < g.n_prompt; i++)
		snprintf(prompt + strlen(prompt), sizeof prompt - strlen(prompt), "%s%d", i ? "," : "", g.tokens[i]);
	for (int i = 0; i < 8; i++)
		snprintf(expected + strlen(expected), sizeof expected - strlen(expected), "%d%s",
			 g.tokens[g.n_prompt + i], i < 7 ? "," : "\n");
	golden_free(&g);
	char *greedy[] = {"--generate", "8", "-ctk", "f32", "-ctv", "f32", NULL},
	     *decoded[] = {"--generate", "8", "-ctk",   "f32",          "-ctv", "f32",
			   "--prefill",  "5", "--mode", "graph-device", NULL};
	assert_int_equal(eval(MODEL, prompt, greedy), 0);
	read_generated(ids);
	assert_string_equal(ids, expected);
	assert_int_equal(eval(MODEL, prompt, decoded), 0);
	read_generated(ids);
	assert_string_equal(ids, expected);

	char *drawn[] = {"--generate", "8", "--temp", "9", "--mode", "direct", NULL, NULL, NULL};
	assert_int_equal(eval(MODEL, prompt, drawn), 0);
	read_generated(first);
	static char *const modes[] = {"graph-update", "graph-while", "graph-loop"};
	for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
		drawn[5] = modes[i];
		assert_int_equal(eval(MODEL, prompt, drawn), 0);
		read_generated(ids);
		assert_string_equal(ids, first);
		/* No sweep measures that, and nobody takes it for a GPU's loop. */
		char said[160];
		snprintf(said, sizeof said,
			 "gemmark eval: %s needs every layer on the GPU: the host's own tokens cannot go on without "
			 "the host; it goes on itself here, and the tokens are the same\n",
			 modes[i]);
		assert_int_equal(command_said(folder, "errors", said), i > 0);
	}
	/* The third of them, if it is none of the first two, and nothing behind it. */
	char third[16], up_to[256];
	int n = 0, tokens[3];
	assert_int_equal(sscanf(first, "%d,%d,%d%n", &tokens[0], &tokens[1], &tokens[2], &n), 3);
	assert_true(tokens[2] != tokens[0] && tokens[2] != tokens[1]);
	snprintf(up_to, sizeof up_to, "%.*s\n", n, first);
	snprintf(third, sizeof third, "%d", tokens[2]);
	drawn[6] = "--stop-token";
	drawn[7] = third;
	for (size_t i = 0; i < 2; i++) {
		drawn[5] = i ? "direct" : "graph-loop";
		assert_int_equal(eval(MODEL, prompt, drawn), 0);
		read_generated(ids);
		assert_string_equal(ids, up_to);
	}
	drawn[7] = "512";
	assert_int_equal(eval(MODEL, prompt, drawn), 2);
	assert_true(command_said(folder, "errors", "--stop-token 512 is not in the vocabulary of 512"));
	drawn[5] = "graph-update";
	static char *const more[][2] = {
		{"--sampling-seed", "18446744073709551615"}, {"--top-k", "3"}, {"--top-p", "0.2"}, {"--min-p", "0.9"}};
	for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
		drawn[6] = more[i][0];
		drawn[7] = more[i][1];
		assert_int_equal(eval(MODEL, prompt, drawn), 0);
		read_generated(ids);
		assert_true(*ids);
		assert_string_not_equal(ids, first);
	}
	drawn[6] = "--temp";
	drawn[7] = "0";
	assert_int_equal(eval(MODEL, prompt, drawn), 0);
	read_generated(ids);
	assert_string_not_equal(ids, first);
}

/* Of weights that the file says are random it is no measure; of others it is one, and nothing is said. */
static void test_random_weights(void **state)
{
	(void)state;
	char *none[] = {NULL};
	synth_case_make("qwen3-tiny", TENSOR_Q8_0, 1, 1, model);
	assert_int_equal(eval(model, "2,17,4", none), 0);
	assert_true(printed("perplexity") > 1);
	assert_true(command_said(folder, "out",
				 "the weights are random, as the file says: the perplexity means nothing\n"));
	assert_int_equal(eval(model, "2", none), 0);
	assert_false(command_said(folder, "out", "random"));
	assert_int_equal(eval(MODEL, "2,17,4", none), 0);
	assert_false(command_said(folder, "out", "random"));
}

/* ---- no numbers ---- */

/* The model with an element of a tensor replaced: that of `row`, `at` elements from its beginning. */
static void spoil(const char *tensor, int row, int at, float value)
{
	struct gguf g;
	OK(gguf_open(&g, MODEL, e));
	const struct gguf_tensor *t = gguf_find_tensor(&g, tensor);
	assert_true(t && t->type == TENSOR_F32 && t->ne[1] == VOCAB);
	long offset = (long)((const unsigned char *)t->data - g.map) + (row * (long)t->ne[0] + at) * (long)sizeof value;
	FILE *f = folder_open(folder, "m.gguf", "w+");
	assert_int_equal(fwrite(g.map, 1, g.map_bytes, f), g.map_bytes);
	assert_int_equal(fseek(f, offset, SEEK_SET), 0);
	assert_int_equal(fwrite(&value, sizeof value, 1, f), 1);
	assert_int_equal(fclose(f), 0);
	gguf_close(&g);
}

/* Token BAD has a per-layer embedding in the last layer that is none: its own row of logits is, and no other one. */
enum { BAD = 300 };

static int width_of_ple(void)
{
	struct gguf g;
	OK(gguf_open(&g, MODEL, e));
	const struct gguf_tensor *t = gguf_find_tensor(&g, "per_layer_token_embd.weight");
	assert_non_null(t);
	int n = (int)t->ne[0] / LAYERS;
	gguf_close(&g);
	return n;
}

static void check_wrong(const char *tokens, int bad, char **more)
{
	char after[32], of[32];
	int code = eval(model, tokens, more);
	if (code != 4)
		fail_msg("exit code %d for %s, where the logits behind number %d are no numbers", code, tokens, bad);
	snprintf(after, sizeof after, "after token %d is ", bad);
	snprintf(of, sizeof of, "of position %d is ", bad);
	assert_true(command_said(folder, "errors", after) || command_said(folder, "errors", of));
	assert_true(command_said(folder, "errors", "nan") || command_said(folder, "errors", "inf"));
	assert_false(folder_has(folder, "out"));
	assert_false(folder_has(folder, "logits.f32") || folder_has(folder, "logits.f32.part"));
}

static void test_not_finite_in_a_prompt(void **state)
{
	(void)state;
	static const float values[] = {NAN, INFINITY, -INFINITY};
	char *all[] = {NULL}, *chunks[] = {"--batch", "3", NULL};
	for (int i = 0; i < 3; i++) {
		spoil("per_layer_token_embd.weight", BAD, (LAYERS - 1) * width_of_ple() + 1, values[i]);
		/* In the middle, at the end and the beginning of a chunk; the last one of all. */
		check_wrong("300,2,17,4,99,5,200", 0, all);
		check_wrong("2,17,4,300,99,5,200", 3, all);
		check_wrong("2,17,4,99,5,200,300", 6, all);
		check_wrong("2,300,17,4,99,5,200", 1, chunks);
		check_wrong("2,17,300,4,99,5,200", 2, chunks);
		check_wrong("2,17,4,300,99,5,200", 3, chunks);
		check_wrong("2,17,4,99,300,5,200", 4, chunks);
		/* All others are untouched: what the tests above see is one row. */
		assert_int_equal(eval(model, "2,17,4,99,5,200", all), 0);
		assert_int_equal(remove(logits), 0);
	}
}

static void test_not_finite_in_decoding(void **state)
{
	(void)state;
	static const char *const modes[] = {"direct", "graph-params", "graph-update", "graph-device"};
	spoil("per_layer_token_embd.weight", BAD, (LAYERS - 1) * width_of_ple(), NAN);
	for (int m = 0; m < 4; m++) {
		for (int full = 0; full < 2; full++) {
			char *some[] = {
				"--mode", (char *)modes[m], "--fusion", full ? "full" : "none", "--prefill", "3", NULL};
			check_wrong("2,17,4,300,99,5,200", 3, some);
			check_wrong("2,17,4,99,5,300,200", 5, some);
			check_wrong("2,17,4,99,5,200,300", 6, some);
			check_wrong("2,300,4,99,5,200,17", 1, some);
			assert_int_equal(eval(model, "2,17,4,99,5,200", some), 0);
			assert_int_equal(remove(logits), 0);
		}
	}
}

/* One logit of a row is enough, whichever it is. */
static void test_not_finite_in_one_logit(void **state)
{
	(void)state;
	static const int spoilt[] = {0, 255, VOCAB - 1};
	for (int i = 0; i < 3; i++) {
		char *all[] = {NULL}, *decoded[] = {"--prefill", "0", NULL}, text[32];
		snprintf(text, sizeof text, "logit %d ", spoilt[i]);
		spoil("token_embd.weight", spoilt[i], 7, NAN);
		check_wrong("2,17,4", 0, all);
		assert_true(command_said(folder, "errors", text));
		assert_true(command_said(folder, "errors", "though the caches hold numbers"));
		check_wrong("2,17,4", 0, decoded);
		assert_true(command_said(folder, "errors", text));
	}
}

/* Nor is a sweep's run on such a model a result: of a prompt, of decoded tokens, and of queued ones. */
static void test_not_finite_in_a_sweep(void **state)
{
	(void)state;
	char out[FOLDER_BYTES + 16], path[FOLDER_BYTES + 32];
	char *words[] = {"bench",  "-m",         model,   "-p",     "4",
			 "-n",     "4",          "-r",    "1",      "-t",
			 "1",      "-ngl",       "0",     "--mode", "direct,graph-device",
			 "--sync", "token,none", "--out", out,      NULL};
	snprintf(out, sizeof out, "%s/run", folder);
	spoil("token_embd.weight", VOCAB - 1, 7, NAN);
	assert_int_equal(command_run(folder, cmd_bench, words), 4);
	struct csv_rows rows;
	snprintf(path, sizeof path, "%s/runs.csv", out);
	assert_int_equal(csv_read(&rows, path), 0);
	assert_int_equal(rows.n_rows - 1, 5);
	for (int r = 1; r < rows.n_rows; r++) {
		assert_string_equal(csv_at(&rows, r, "status"), "wrong");
		assert_non_null(strstr(csv_at(&rows, r, "reason"), "logit 511 of position "));
		assert_string_equal(csv_at(&rows, r, "logits_hash"), "");
	}
	csv_rows_free(&rows);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_perplexity),
		TEST(test_generate),
		TEST(test_random_weights),
		TEST(test_not_finite_in_a_prompt),
		TEST(test_not_finite_in_decoding),
		TEST(test_not_finite_in_one_logit),
		TEST(test_not_finite_in_a_sweep),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
