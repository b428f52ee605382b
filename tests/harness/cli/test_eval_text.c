/*
 * gemmark eval --text: its windows against logits of the same tokens that gemmark eval --tokens wrote, window by
 * window, the tokens being another tokeniser's; and how a text is cut.
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
#include <jansson.h>

#include "harness/cli/options.h"
#include "harness/cli/text_windows.h"
#include "tests/support/command.h"
#include "tests/support/edited_model.h"
#include "tests/support/folder.h"
#include "tests/support/other_files.h"
#include "tests/support/vocabulary_model.h"

enum { VOCAB = 512, MAX_TOKENS = 1024 };

static char folder[FOLDER_BYTES], model[FOLDER_BYTES + 16], logits[FOLDER_BYTES + 16], text[FOLDER_BYTES + 16],
	csv[FOLDER_BYTES + 16];

static int set_up(void **state)
{
	(void)state;
	if (folder_make(folder, "text"))
		return -1;
	snprintf(model, sizeof model, "%s/m.gguf", folder);
	snprintf(logits, sizeof logits, "%s/logits.f32", folder);
	snprintf(text, sizeof text, "%s/text.txt", folder);
	snprintf(csv, sizeof csv, "%s/tokens.csv", folder);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(folder);
}

/* ---- how a text is cut ---- */

static void cuts_as_llama_cpp_does(void **state)
{
	(void)state;
	struct text_windows w;
	struct error err = {""};
	static const struct {
		size_t n_tokens;
		int context, stride, most, length, step, first, n;
	} cuts[] = {
		{1024, 512, 0, 0, 512, 512, 256, 2},     {1535, 512, 0, 0, 512, 512, 256, 2},
		{1536, 512, 0, 0, 512, 512, 256, 3},     {288768, 512, 0, 0, 512, 512, 256, 564},
		{288768, 512, 0, 10, 512, 512, 256, 10}, {20, 5, 0, 0, 5, 5, 2, 4},
		{641, 512, 256, 0, 640, 256, 383, 1},    {897, 512, 256, 0, 640, 256, 383, 2},
		{896, 512, 256, 0, 640, 256, 383, 1},    {2000, 512, 512, 0, 768, 512, 255, 3},
		{2000, 512, 512, 2, 768, 512, 255, 2},   {100, 8, 1, 0, 8, 1, 6, 92},
	};
	for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
		assert_int_equal(
			text_windows_plan(cuts[i].n_tokens, cuts[i].context, cuts[i].stride, cuts[i].most, &w, &err),
			0);
		assert_int_equal(w.length, cuts[i].length);
		assert_int_equal(w.step, cuts[i].step);
		assert_int_equal(w.first, cuts[i].first);
		assert_int_equal(w.n, cuts[i].n);
		assert_true((size_t)((w.n - 1) * w.step + w.length) <= cuts[i].n_tokens);
	}
	assert_int_equal(text_windows_plan(1023, 512, 0, 0, &w, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "has 1023 tokens, and its perplexity with windows of 512 takes 1024"));
	assert_int_equal(text_windows_plan(640, 512, 256, 0, &w, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "takes 641"));
	assert_int_equal(text_windows_plan(9999, 512, 513, 0, &w, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "--ppl-stride 513"));
}

/* ---- what is made of it ---- */

/* The long text of the vectors into a file, and its tokens (n), with `begin` in front where that is one. */
static int take_text(const char *kind, int begin, int tokens[MAX_TOKENS])
{
	char path[64];
	snprintf(path, sizeof path, "vectors/tokenizer-%s.json", kind);
	json_t *pairs = json_load_file(path, JSON_ALLOW_NUL, NULL), *pair = json_array_get(pairs, 3);
	const json_t *ids = json_array_get(pair, 1);
	int n = 0;
	if (begin >= 0)
		tokens[n++] = begin;
	for (size_t i = 0; i < json_array_size(ids); i++)
		tokens[n++] = (int)json_integer_value(json_array_get(ids, i));
	assert_int_equal(folder_put(folder, "/text.txt", json_string_value(json_array_get(pair, 0))), 0);
	json_decref(pairs);
	assert_true(n > 300);
	return n;
}

/* more: up to 16 words and a null. */
static int eval(const char *option, const char *value, char **more)
{
	char *words[32] = {"eval", "-m", model, "-ngl", "0", "-t", "1", "--force", (char *)option, (char *)value, NULL};
	int n = 10;
	for (int i = 0; more[i]; i++)
		words[n++] = more[i];
	return command_run(folder, cmd_eval, words);
}

/* -log p of each token (n) behind the first, by the logits of all of them. */
static void losses_of(const int *tokens, int n, double *losses)
{
	static char list[8 * MAX_TOKENS];
	static float row[VOCAB];
	size_t used = 0;
	for (int i = 0; i < n; i++)
		used += (size_t)snprintf(list + used, sizeof list - used, "%s%d", i ? "," : "", tokens[i]);
	assert_int_equal(eval("--tokens", list, (char *[]){"-o", logits, NULL}), 0);
	FILE *f = folder_open(folder, "logits.f32", "r");
	for (int i = 0; i < n; i++) {
		double sum = 0;
		assert_int_equal(fread(row, sizeof *row, VOCAB, f), VOCAB);
		for (int v = 0; v < VOCAB; v++)
			sum += exp((double)row[v]);
		if (i + 1 < n)
			losses[i + 1] = log(sum) - (double)row[tokens[i + 1]];
	}
	fclose(f);
}

static double printed(const char *word, double *error)
{
	char line[256], *end;
	double x = NAN;
	FILE *f = folder_open(folder, "out", "r");
	while (fgets(line, sizeof line, f)) {
		if (strncmp(line, word, strlen(word)) != 0)
			continue;
		x = strtod(line + strlen(word), &end);
		if (error)
			*error = strncmp(end, " +/- ", 5) ? NAN : strtod(end + 5, NULL);
	}
	fclose(f);
	return x;
}

/* Where each window begins, how long it is, and which of its tokens is the first that counts. */
static void check_windows(const char *kind, int begin, int length, int step, int first, int n_windows, char **more)
{
	int tokens[MAX_TOKENS], scored = 0;
	double losses[MAX_TOKENS], loss = 0, squared = 0, error;
	char line[256], wanted[64];
	take_text(kind, begin, tokens);
	more[0] = "--logprobs";
	more[1] = csv;
	assert_int_equal(eval("--text", text, more), 0);
	double perplexity = printed("perplexity", &error);
	assert_true(command_said(folder, "out", "note        the weights are random") == false);
	assert_true(printed("windows", NULL) == n_windows);
	int n_scored = (int)printed("scored", NULL);
	FILE *f = folder_open(folder, "tokens.csv", "r");
	assert_non_null(fgets(line, sizeof line, f));
	assert_string_equal(line, "window,position,index,token,logprob\n");
	for (int w = 0; w < n_windows; w++) {
		int window[MAX_TOKENS];
		memcpy(window, tokens + w * step, (size_t)length * sizeof *window);
		if (begin >= 0)
			window[0] = begin;
		losses_of(window, length, losses);
		for (int i = first; i < length; i++) {
			assert_non_null(fgets(line, sizeof line, f));
			snprintf(wanted, sizeof wanted, "%d,%d,%d,%d,", w, i, w * step + i, window[i]);
			if (strncmp(line, wanted, strlen(wanted)) != 0)
				fail_msg("expected %s in: %s", wanted, line);
			double p = strtod(line + strlen(wanted), NULL);
			if (!(fabs(p + losses[i]) < 1e-4 * (1 + losses[i])))
				fail_msg("log p of %s is %g, and should be %g", wanted, p, -losses[i]);
			loss += losses[i];
			squared += losses[i] * losses[i];
			scored++;
		}
	}
	assert_null(fgets(line, sizeof line, f));
	fclose(f);
	assert_int_equal(n_scored, scored);
	double mean = loss / scored, expected = exp(mean);
	double spread = sqrt((squared / scored - mean * mean) / (scored - 1)) * expected;
	if (!(fabs(perplexity - expected) < 1e-3 * expected) || !(fabs(error - spread) < 1e-2 * spread))
		fail_msg("perplexity %g +/- %g, which is %g +/- %g", perplexity, error, expected, spread);
}

static void scores_the_second_halves(void **state)
{
	(void)state;
	vocabulary_model("golden/gemma4-e2b-tiny.q8_0.gguf", "vectors/tokenizer-gemma4.gguf", NULL, model);
	char *more[16] = {NULL, NULL, "-c", "64", NULL};
	check_windows("gemma4", 2, 64, 64, 33, 6, more);
	more[4] = "--chunks";
	more[5] = "2";
	check_windows("gemma4", 2, 64, 64, 33, 2, more);
	/* Chunks that do not end where scoring begins, and windows of an odd length. */
	more[3] = "51";
	more[6] = "-b";
	more[7] = "7";
	check_windows("gemma4", 2, 51, 51, 26, 2, more);
}

static void scores_the_end_of_strided_windows(void **state)
{
	(void)state;
	vocabulary_model("golden/gemma4-e2b-tiny.q8_0.gguf", "vectors/tokenizer-gemma4.gguf", NULL, model);
	char *more[16] = {NULL, NULL, "-c", "48", "--ppl-stride", "32", "--chunks", "3", NULL};
	check_windows("gemma4", 2, 64, 32, 32, 3, more);
}

/* A vocabulary that begins with nothing: the first token of a window stays. */
static void begins_windows_as_the_vocabulary_does(void **state)
{
	(void)state;
	vocabulary_model("golden/qwen3-tiny.q8_0.gguf", "vectors/tokenizer-qwen2.gguf", NULL, model);
	char *more[16] = {NULL, NULL, "-c", "32", "--chunks", "3", NULL};
	check_windows("qwen2", -1, 32, 32, 17, 3, more);
}

/* Decoded in windows that are cut, evicted and begun again: the same bits in every mode. */
static void decodes_windows_alike_in_every_mode(void **state)
{
	(void)state;
	int tokens[MAX_TOKENS];
	char first[1024], out[1024];
	vocabulary_model("golden/gemma4-e2b-tiny.q8_0.gguf", "vectors/tokenizer-gemma4.gguf", NULL, model);
	take_text("gemma4", 2, tokens);
	static char *const modes[] = {"direct", "graph-params", "graph-device", "graph-loop"};
	for (int i = 0; i < 4; i++) {
		assert_int_equal(eval("--text", text,
				      (char *[]){"-c", "64", "--prefill", "40", "--snapkv", "24,window=8", "--chunks",
						 "3", "--mode", modes[i], NULL}),
				 0);
		FILE *f = folder_open(folder, "out", "r");
		out[fread(out, 1, sizeof out - 1, f)] = '\0';
		fclose(f);
		if (!i)
			snprintf(first, sizeof first, "%s", out);
		assert_string_equal(out, first);
	}
	assert_int_equal(eval("--text", text,
			      (char *[]){"-c", "64", "--prefill", "40", "--chunks", "3", "--mode", "direct", NULL}),
			 0);
	assert_false(command_said(folder, "out", strstr(first, "perplexity")));
}

/* Of tokens that are given, too: all but the first. */
static void writes_probabilities_of_tokens(void **state)
{
	(void)state;
	char line[256];
	double loss = 0;
	vocabulary_model("golden/gemma4-e2b-tiny.q8_0.gguf", "vectors/tokenizer-gemma4.gguf", NULL, model);
	assert_int_equal(eval("--tokens", "2,17,400,99,5", (char *[]){"--logprobs", csv, "--prefill", "2", NULL}), 0);
	FILE *f = folder_open(folder, "tokens.csv", "r");
	assert_non_null(fgets(line, sizeof line, f));
	static const char *const begins[] = {"0,1,1,17,", "0,2,2,400,", "0,3,3,99,", "0,4,4,5,"};
	for (int i = 0; i < 4; i++) {
		assert_non_null(fgets(line, sizeof line, f));
		assert_memory_equal(line, begins[i], strlen(begins[i]));
		loss -= strtod(line + strlen(begins[i]), NULL);
	}
	assert_null(fgets(line, sizeof line, f));
	fclose(f);
	double expected = exp(loss / 4);
	assert_true(fabs(printed("perplexity", NULL) - expected) < 1e-4 * expected);
}

static void refuse(const char *option, const char *value, char **more, const char *says)
{
	assert_int_equal(eval(option, value, more), 2);
	if (!command_said(folder, "errors", says))
		fail_msg("'%s' was not said", says);
	assert_false(folder_has(folder, "out"));
}

static void refuses_what_it_cannot_do(void **state)
{
	(void)state;
	int tokens[MAX_TOKENS];
	char *none[] = {NULL};
	vocabulary_model("golden/gemma4-e2b-tiny.q8_0.gguf", "vectors/tokenizer-gemma4.gguf", NULL, model);
	take_text("gemma4", 2, tokens);
	refuse("--text", text, none,
	       "gemmark eval: the text has 436 tokens, and its perplexity with windows of 512 takes");
	refuse("--text", text, (char *[]){"-c", "3", NULL}, "eval: -c: '3' is not a whole number from 4");
	refuse("--text", text, (char *[]){"-c", "64", "-o", logits, NULL}, "-o: is of one sequence of tokens");
	refuse("--text", text, (char *[]){"--generate", "3", NULL}, "--generate: is of one sequence");
	refuse("--text", text, (char *[]){"--prefill-rows", "last", NULL}, "--prefill-rows last: is of one sequence");
	refuse("--text", text, (char *[]){"--tokens", "2", NULL}, "--text: --tokens is given already");
	refuse("--tokens", "2,3", (char *[]){"-c", "64", NULL}, "-c: is of the windows of a text; add --text");
	refuse("--tokens", "2,3", (char *[]){"--ppl-stride", "64", NULL}, "--ppl-stride: is of the windows");
	refuse("--text", "/nowhere/text", none, "--text: /nowhere/text: No such file or directory; check the path");
	refuse("--text", folder, none, "is a directory; give a file");
	refuse("--tokens", folder, none, "is a directory; give a file");
	refuse("--text", model, none, "is no text: its byte ");
	/* Of two the last one counts. */
	refuse("--text", text, (char *[]){"--text", "/nowhere/text", NULL}, "--text: /nowhere/text: No such file");
	refuse("--text", "/nowhere/text", (char *[]){"--text", text, NULL}, "the text has 436 tokens");
	refuse("--text", text, (char *[]){"-c", "64", "--logprobs", text, NULL}, "--logprobs: ");
	refuse("--text", text, (char *[]){"-c", "64", "--logprobs", model, NULL}, "--logprobs: ");
	const struct edit dropped = {.kind = EDIT_STRING, .name = "tokenizer.ggml.model", .text = "none"};
	edited_model("golden/gemma4-e2b-tiny.q8_0.gguf", model, &dropped, 1);
	refuse("--text", text, none, "has no vocabulary (tokenizer.ggml.model is none)");
}

static void names_a_file_that_is_no_model_of_text(void **state)
{
	(void)state;
	assert_int_equal(folder_put(folder, "/text.txt", "a"), 0);
	other_files_refused(folder, model, cmd_eval,
			    (char *[]){"eval", "-m", model, "-ngl", "0", "--text", text, NULL});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cuts_as_llama_cpp_does),
		cmocka_unit_test(scores_the_second_halves),
		cmocka_unit_test(scores_the_end_of_strided_windows),
		cmocka_unit_test(begins_windows_as_the_vocabulary_does),
		cmocka_unit_test(decodes_windows_alike_in_every_mode),
		cmocka_unit_test(writes_probabilities_of_tokens),
		cmocka_unit_test(refuses_what_it_cannot_do),
		cmocka_unit_test(names_a_file_that_is_no_model_of_text),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
