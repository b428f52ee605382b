/*
 * gemmark bench --text: the logits of its runs are those of the text's tokens, which another tokeniser made; what it
 * records of the text, and that a sweep goes on with the same one alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/hash.h"
#include "harness/cli/options.h"
#include "tests/support/bench_folder.h"
#include "tests/support/folder.h"
#include "tests/support/read_csv.h"
#include "tests/support/vocabulary_model.h"

enum { VOCAB = 512, DEPTH = 40, TOKENS = 6 };

static char gemma[BENCH_FOLDER_PATH], qwen[BENCH_FOLDER_PATH], text[BENCH_FOLDER_PATH];

static int set_up(void **state)
{
	int rc = bench_folder_set_up(state);
	bench_folder_path("gemma.gguf", gemma);
	bench_folder_path("qwen.gguf", qwen);
	bench_folder_path("text.txt", text);
	return rc;
}

/* The text of the vectors into the file, and so many of its tokens as a list. */
static void take_text(const char *kind, int bos, int n, char list[4096])
{
	char path[64];
	snprintf(path, sizeof path, "vectors/tokenizer-%s.json", kind);
	json_t *pairs = json_load_file(path, JSON_ALLOW_NUL, NULL), *pair = json_array_get(pairs, 3);
	assert_int_equal(folder_put(bench_folder, "/text.txt", json_string_value(json_array_get(pair, 0))), 0);
	*list = '\0';
	for (int i = 0; i < n; i++)
		snprintf(list + strlen(list), 4096 - strlen(list), "%s%lld", i ? "," : "",
			 bos >= 0 && !i ? (long long)bos
					: (long long)json_integer_value(
						  json_array_get(json_array_get(pair, 1), (size_t)(i - (bos >= 0)))));
	json_decref(pairs);
}

/* What the column logits_hash is of a generation of these tokens: the chain over the last TOKENS rows. */
static void hash_of(char *model, char *list, char out[17])
{
	static float row[VOCAB];
	char logits[BENCH_FOLDER_PATH], depth[8];
	uint64_t hash = 0;
	bench_folder_path("logits.f32", logits);
	snprintf(depth, sizeof depth, "%d", DEPTH);
	assert_int_equal(
		bench_folder_call(cmd_eval, (char *[]){"eval", "-m", model, "-ngl", "0", "-t", "1", "--tokens", list,
						       "--prefill", depth, "-o", logits, "--force", NULL}),
		0);
	FILE *f = folder_open(bench_folder, "logits.f32", "r");
	for (int i = 0; i < DEPTH + TOKENS; i++) {
		assert_int_equal(fread(row, sizeof *row, VOCAB, f), VOCAB);
		if (i >= DEPTH)
			hash = hash_bytes(row, sizeof row, hash);
	}
	fclose(f);
	snprintf(out, 17, "%016llx", (unsigned long long)hash);
}

static void test_feeds_each_model_its_tokens(void **state)
{
	(void)state;
	char list[4096], gemma_hash[17], qwen_hash[17], path[BENCH_FOLDER_PATH];
	vocabulary_model("golden/gemma4-e2b-tiny.q8_0.gguf", "vectors/tokenizer-gemma4.gguf", NULL, gemma);
	vocabulary_model("golden/qwen3-tiny.q8_0.gguf", "vectors/tokenizer-qwen2.gguf", NULL, qwen);
	take_text("qwen2", -1, DEPTH + TOKENS, list);
	hash_of(qwen, list, qwen_hash);
	take_text("gemma4", 2, DEPTH + TOKENS, list);
	hash_of(gemma, list, gemma_hash);
	assert_int_equal(bench_folder_run("run", (char *[]){"-m", gemma, "-m", qwen, "-ngl", "0", "--text", text, "-p",
							    "0", "-n", "6", "-d", "40", "-r", "2", "--mode",
							    "direct,graph-device", NULL}),
			 0);
	struct csv_rows runs;
	bench_folder_path("run/runs.csv", path);
	assert_int_equal(csv_read(&runs, path), 0);
	assert_int_equal(runs.n_rows, 1 + 2 * 2 * 2);
	char hash[17];
	FILE *f = folder_open(bench_folder, "text.txt", "r");
	static char bytes[4096];
	size_t n = fread(bytes, 1, sizeof bytes, f);
	fclose(f);
	snprintf(hash, sizeof hash, "%016llx", (unsigned long long)hash_bytes(bytes, n, 0));
	for (int r = 1; r < runs.n_rows; r++) {
		bool is_gemma = strstr(csv_at(&runs, r, "model_path_name"), "gemma") != NULL;
		assert_string_equal(csv_at(&runs, r, "status"), "ok");
		assert_string_equal(csv_at(&runs, r, "logits_hash"), is_gemma ? gemma_hash : qwen_hash);
		assert_string_equal(csv_at(&runs, r, "text_hash"), hash);
	}
	csv_rows_free(&runs);
	assert_true(bench_folder_said("run/sweep.json", hash));
	hash[8] = '\0';
	char heading[32];
	snprintf(heading, sizeof heading, "text-%s", hash);
	assert_true(bench_folder_said("out", heading));
}

/* Another text, or none, is another workload: a comparison says so, and a report what the tokens were of. */
static void test_says_what_was_fed(void **state)
{
	(void)state;
	char list[4096], base[BENCH_FOLDER_PATH], head[BENCH_FOLDER_PATH], report[BENCH_FOLDER_PATH];
	vocabulary_model("golden/gemma4-e2b-tiny.q8_0.gguf", "vectors/tokenizer-gemma4.gguf", NULL, gemma);
	take_text("gemma4", 2, 1, list);
	bench_folder_path("base", base);
	bench_folder_path("head", head);
	bench_folder_path("report.md", report);
	char *words[] = {"-m", gemma, "-ngl",   "0",      "-p",     "0",  "-n", "4",
			 "-r", "2",   "--mode", "direct", "--text", text, NULL};
	assert_int_equal(bench_folder_run("head", words), 0);
	words[12] = NULL;
	assert_int_equal(bench_folder_run("base", words), 0);
	bench_folder_call(cmd_compare, (char *[]){"compare", base, head, NULL});
	assert_true(bench_folder_said("out", "text_hash: none in base, ") ||
		    bench_folder_said("errors", "text_hash: none"));
	bench_folder_call(cmd_compare, (char *[]){"compare", head, head, NULL});
	assert_false(bench_folder_said("out", "text_hash") || bench_folder_said("errors", "text_hash"));
	assert_int_equal(bench_folder_call(cmd_report, (char *[]){"report", head, "-o", report, NULL}), 0);
	assert_true(bench_folder_said("report.md", "then decodes tokens of one text (XXH3-64 "));
	assert_int_equal(bench_folder_call(cmd_report, (char *[]){"report", base, "-o", report, NULL}), 0);
	assert_true(bench_folder_said("report.md", "then decodes tokens of one seeded stream, "));
}

static void test_skips_what_is_too_long(void **state)
{
	(void)state;
	char list[4096];
	vocabulary_model("golden/gemma4-e2b-tiny.q8_0.gguf", "vectors/tokenizer-gemma4.gguf", NULL, gemma);
	take_text("gemma4", 2, 1, list);
	assert_int_equal(bench_folder_run("run", (char *[]){"-m", gemma, "-ngl", "0", "--prompt-file", text, "-p", "0",
							    "-n", "4", "-d", "0,500", "-r", "1", "--mode", "direct",
							    "-o", "csv", NULL}),
			 0);
	assert_true(bench_folder_said("run/runs.csv",
				      "text.txt has 436 tokens, and this test takes 500: give a longer text"));
	assert_int_equal(bench_folder_call(cmd_bench, (char *[]){"bench", "-t", "1", "-m", gemma, "-ngl", "0", "--text",
								 text, "-p", "0", "-n", "4", "-d", "0,420", "--mode",
								 "direct", "--dry-run", NULL}),
			 0);
	assert_true(bench_folder_said("out", "text.txt has 436 tokens, and this test takes 452: give a longer text"));
	/* A model of random weights has no vocabulary. */
	assert_int_equal(bench_folder_run("none", (char *[]){"-m", "golden/qwen3-tiny.q8_0.gguf", "-ngl", "0", "--text",
							     text, "-p", "0", "-n", "4", "--mode", "direct", NULL}),
			 2);
	assert_true(bench_folder_said("none/runs.csv", "tokenizer.ggml.tokens"));
	assert_int_equal(bench_folder_run("never", (char *[]){"-m", gemma, "--text", "/nowhere/text", NULL}), 2);
	assert_true(bench_folder_said("errors", "--text: /nowhere/text: No such file or directory"));
	assert_int_equal(bench_folder_run("never", (char *[]){"-m", gemma, "--text", "", NULL}), 2);
	assert_true(bench_folder_said("errors", "--text: an empty name"));
}

static void test_goes_on_with_the_same_text(void **state)
{
	(void)state;
	char list[4096], path[BENCH_FOLDER_PATH];
	vocabulary_model("golden/gemma4-e2b-tiny.q8_0.gguf", "vectors/tokenizer-gemma4.gguf", NULL, gemma);
	take_text("gemma4", 2, 1, list);
	bench_folder_path("run", path);
	assert_int_equal(bench_folder_run("run", (char *[]){"-m", gemma, "-ngl", "0", "--text", text, "-p", "0", "-n",
							    "4", "-r", "1", "--mode", "direct", NULL}),
			 0);
	assert_int_equal(bench_folder_call(cmd_bench, (char *[]){"bench", "--resume", path, NULL}), 0);
	assert_int_equal(folder_put(bench_folder, "/text.txt",
				    "Another text, of other tokens, and long enough for 32 of "
				    "them and four more: all of it is the graph of the graphs."),
			 0);
	assert_int_equal(bench_folder_call(cmd_bench, (char *[]){"bench", "--resume", path, NULL}), 2);
	assert_true(bench_folder_said("errors", "text_hash"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_feeds_each_model_its_tokens, set_up, bench_folder_tear_down),
		cmocka_unit_test_setup_teardown(test_says_what_was_fed, set_up, bench_folder_tear_down),
		cmocka_unit_test_setup_teardown(test_skips_what_is_too_long, set_up, bench_folder_tear_down),
		cmocka_unit_test_setup_teardown(test_goes_on_with_the_same_text, set_up, bench_folder_tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
