/*
 * gemmark generate as it is called: its text is that of the tokens which gemmark eval --generate gives behind the
 * tokens that another tokeniser makes of the prompt, in every mode; where it ends, and what it refuses.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "engine/model/gguf.h"
#include "harness/cli/options.h"
#include "tests/support/command.h"
#include "tests/support/edited_model.h"
#include "tests/support/folder.h"
#include "tests/support/ok.h"
#include "tests/support/other_files.h"
#include "tests/support/vocabulary_model.h"

enum { GENERATED = 12 };

static char folder[FOLDER_BYTES], model[FOLDER_BYTES + 16], file[FOLDER_BYTES + 16];

static int set_up(void **state)
{
	(void)state;
	if (folder_make(folder, "generate"))
		return -1;
	snprintf(model, sizeof model, "%s/m.gguf", folder);
	snprintf(file, sizeof file, "%s/prompt.txt", folder);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(folder);
}

/* more: up to 16 words and a null. */
static int generate(char **more)
{
	char *words[32] = {"generate", "-m", model, "-ngl", "0", "-t", "1", NULL};
	int n = 7;
	for (int i = 0; more[i]; i++)
		words[n++] = more[i];
	return command_run(folder, cmd_generate, words);
}

/* All of a file of the folder, ended by a zero byte. */
static const char *contents(const char *name)
{
	static char text[1 << 14];
	FILE *f = folder_open(folder, name, "r");
	text[fread(text, 1, sizeof text - 1, f)] = '\0';
	fclose(f);
	return text;
}

/* A text of the vectors (`at`), and its tokens as an argument of eval. */
static void take_pair(const char *kind, int at, bool bos, char text[512], char list[4096])
{
	char path[64];
	snprintf(path, sizeof path, "vectors/tokenizer-%s.json", kind);
	json_t *pairs = json_load_file(path, JSON_ALLOW_NUL, NULL), *pair = json_array_get(pairs, (size_t)at);
	const json_t *ids = json_array_get(pair, 1);
	snprintf(text, 512, "%s", json_string_value(json_array_get(pair, 0)));
	assert_int_equal(strlen(text), json_string_length(json_array_get(pair, 0)));
	snprintf(list, 4096, "%s", bos ? "2" : "");
	for (size_t i = 0; i < json_array_size(ids); i++)
		snprintf(list + strlen(list), 4096 - strlen(list), "%s%lld", *list ? "," : "",
			 (long long)json_integer_value(json_array_get(ids, i)));
	json_decref(pairs);
}

/* The tokens that eval generates (*n), up to GENERATED. */
static void evaluate(char *list, char **more, int ids[GENERATED], int *n)
{
	char count[8], line[256],
		*words[32] = {"eval", "-m", model, "-ngl", "0", "-t", "1", "--tokens", list, "--generate", count, NULL};
	int argc = 11;
	snprintf(count, sizeof count, "%d", GENERATED);
	for (int i = 0; more[i]; i++)
		words[argc++] = more[i];
	assert_int_equal(command_run(folder, cmd_eval, words), 0);
	FILE *f = folder_open(folder, "out", "r");
	*n = 0;
	while (fgets(line, sizeof line, f))
		for (char *at = strncmp(line, "generated ", 10) ? NULL : line + 10; at && *n < GENERATED;
		     at = strchr(at + 1, ','))
			ids[(*n)++] = (int)strtol(at + (*at == ','), NULL, 10);
	fclose(f);
	assert_int_equal(*n, GENERATED);
}

/* Tokens (n) as text, from the file's own pieces: U+2581 is a space, <0x41> a byte. */
static void text_of(const int *ids, int n, char out[1024])
{
	struct gguf g;
	static struct gguf_string pieces[512];
	OK(gguf_open(&g, model, e));
	OK(gguf_get_strings(&g, "tokenizer.ggml.tokens", pieces, 512, e));
	for (int i = 0; i < n; i++) {
		const struct gguf_string *p = &pieces[ids[i]];
		int64_t kind;
		OK(gguf_get_int_at(&g, "tokenizer.ggml.token_type", (uint64_t)ids[i], &kind, e));
		if (kind == 3)
			continue;
		if (kind == 6) {
			*out++ = (char)strtol(p->data + 3, NULL, 16);
			continue;
		}
		for (size_t k = 0; k < p->size;) {
			bool space = k + 3 <= p->size && !memcmp(p->data + k, "\xe2\x96\x81", 3);
			*out++ = space ? ' ' : p->data[k];
			k += space ? 3 : 1;
		}
	}
	*out = '\0';
	gguf_close(&g);
}

/* Words of texts that look like no option and hold several kinds of pieces. */
enum { PAIR = 3 }; /* the text that the vocabularies were trained on is too long for an argument here */

static void writes_the_text_of_the_tokens(void **state)
{
	(void)state;
	char text[512], list[4096], wanted[1024], first[1024] = "";
	int ids[GENERATED], n;
	vocabulary_model("golden/gemma4-e2b-tiny.q8_0.gguf", "vectors/tokenizer-gemma4.gguf", NULL, model);
	static char *const arms[][4] = {
		{"--mode", "direct", "--fusion", "none"},       {"--mode", "graph-params", "--fusion", "full"},
		{"--mode", "graph-update", "--fusion", "full"}, {"--mode", "graph-device", "--fusion", "none"},
		{"--mode", "graph-loop", "--fusion", "full"},   {"--mode", "direct", "--fusion", "persistent"},
	};
	static char *const drawn[] = {"--temp", "0.9", "--top-k", "200", "--top-p", "0.95", "--min-p", "0.001"};
	for (int at = PAIR + 1; at < PAIR + 4; at++) {
		take_pair("gemma4", at, true, text, list);
		for (size_t i = 0; i < sizeof arms / sizeof *arms; i++) {
			char *more[24] = {arms[i][0], arms[i][1], arms[i][2], arms[i][3]};
			for (int k = 0; k < 8 && i % 2; k++)
				more[4 + k] = drawn[k];
			evaluate(list, more, ids, &n);
			text_of(ids, n, wanted);
			int argc = i % 2 ? 12 : 4;
			char *words[32];
			memcpy(words, more, sizeof more);
			words[argc] = "-n";
			words[argc + 1] = "12";
			words[argc + 2] = "--ignore-eos";
			words[argc + 3] = "--";
			words[argc + 4] = text;
			words[argc + 5] = NULL;
			assert_int_equal(generate(words), 0);
			assert_string_equal(contents("out"), wanted);
			assert_true(command_said(folder, "errors", "; generated 12, "));
			assert_true(command_said(folder, "errors", "; as many as -n says\n"));
			assert_int_equal(
				command_said(folder, "errors", "gemmark generate: graph-loop needs every layer"),
				!strcmp(arms[i][1], "graph-loop"));
			if (!*first)
				snprintf(first, sizeof first, "%s", wanted);
		}
	}
	assert_true(*first);
}

/* SentencePiece puts a space in front of a text, and takes it off again; behind a prompt no text begins. */
static void keeps_the_first_space(void **state)
{
	(void)state;
	char text[512], list[4096], wanted[1024], seed[8];
	int ids[GENERATED], n, spaces = 0;
	vocabulary_model("golden/gemma3-tiny.q8_0.gguf", "vectors/tokenizer-llama-prefix.gguf", NULL, model);
	take_pair("llama-prefix", PAIR + 1, true, text, list);
	for (int i = 0; i < 64 && spaces < 2; i++) {
		snprintf(seed, sizeof seed, "%d", i);
		evaluate(list, (char *[]){"--temp", "1e6", "--sampling-seed", seed, NULL}, ids, &n);
		text_of(ids, 1, wanted);
		if (*wanted != ' ')
			continue;
		spaces++;
		assert_int_equal(generate((char *[]){"--temp", "1e6", "--seed", seed, "-n", "1", "--ignore-eos", "--",
						     text, NULL}),
				 0);
		assert_string_equal(contents("out"), wanted);
	}
	assert_int_equal(spaces, 2);
}

static int prompt_tokens(const char *said)
{
	int n = 0;
	const char *at = strstr(said, "prompt of ");
	assert_true(at && sscanf(at, "prompt of %d token", &n) == 1);
	return n;
}

static void takes_a_prompt_from_files(void **state)
{
	(void)state;
	char wanted[4096];
	vocabulary_model("golden/qwen3-tiny.q8_0.gguf", "vectors/tokenizer-qwen2.gguf", NULL, model);
	assert_int_equal(generate((char *[]){"The kernel's\n\ntokens", "-n", "6", NULL}), 0);
	snprintf(wanted, sizeof wanted, "%s", contents("out"));
	assert_true(*wanted);
	assert_int_equal(folder_put(folder, "/prompt.txt", "The kernel's\n\ntokens"), 0);
	assert_int_equal(generate((char *[]){"-f", file, "-n", "6", NULL}), 0);
	assert_string_equal(contents("out"), wanted);
	for (int i = 0; i < 2; i++) {
		assert_non_null(freopen(file, "r", stdin));
		assert_int_equal(
			generate(i ? (char *[]){"-", "-n", "6", NULL} : (char *[]){"-f", "-", "-n", "6", NULL}), 0);
		assert_string_equal(contents("out"), wanted);
	}
	/* A line's end is a token, at the end too. */
	assert_int_equal(generate((char *[]){"The kernel", "-n", "1", NULL}), 0);
	snprintf(wanted, sizeof wanted, "%s", contents("errors"));
	assert_int_equal(folder_put(folder, "/prompt.txt", "The kernel\n"), 0);
	assert_int_equal(generate((char *[]){"-f", file, "-n", "1", NULL}), 0);
	assert_int_equal(prompt_tokens(contents("errors")), prompt_tokens(wanted) + 1);
}

static void draws_by_its_seed(void **state)
{
	(void)state;
	char first[4096];
	vocabulary_model("golden/gemma4-e2b-tiny.q8_0.gguf", "vectors/tokenizer-gemma4.gguf", NULL, model);
	char *words[] = {"The quick", "--temp", "1.5", "--seed", "7", "-n", "16", "--ignore-eos", NULL};
	assert_int_equal(generate(words), 0);
	snprintf(first, sizeof first, "%s", contents("out"));
	assert_int_equal(generate(words), 0);
	assert_string_equal(contents("out"), first);
	words[4] = "8";
	assert_int_equal(generate(words), 0);
	assert_string_not_equal(contents("out"), first);
}

/* The third token that comes is made the text's end, or a turn's: two are shown. */
static void ends_with_the_text_or_the_turn(void **state)
{
	(void)state;
	char list[4096], text[512], two[1024], all[1024];
	char plain[FOLDER_BYTES + 16];
	int ids[GENERATED], n;
	snprintf(plain, sizeof plain, "%s/plain.gguf", folder);
	vocabulary_model("golden/gemma4-e2b-tiny.q8_0.gguf", "vectors/tokenizer-gemma4.gguf", NULL, model);
	take_pair("gemma4", PAIR + 1, true, text, list);
	evaluate(list, (char *[]){"--temp", "1", "--sampling-seed", "3", NULL}, ids, &n);
	assert_true(ids[2] != ids[0] && ids[2] != ids[1]);
	text_of(ids, 2, two);
	text_of(ids, n, all);
	assert_int_equal(rename(model, plain), 0);
	static const char *const keys[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"};
	for (int i = 0; i < 2; i++) {
		const struct edit end = {.kind = EDIT_U32, .name = keys[i], .value = ids[2]};
		edited_model(plain, model, &end, 1);
		static char *const modes[] = {"direct", "graph-device", "graph-loop"};
		for (int k = 0; k < 3; k++) {
			char *words[] = {"--temp", "1",  "--seed", "3",  "--mode", modes[k],
					 "-n",     "12", "--",     text, NULL};
			assert_int_equal(generate(words), 0);
			assert_string_equal(contents("out"), two);
			assert_true(command_said(folder, "errors", "; generated 3, "));
			assert_true(command_said(folder, "errors", "; the model ended\n"));
		}
		char *on[] = {"--temp", "1", "--seed", "3", "--ignore-eos", "-n", "12", "--", text, NULL};
		assert_int_equal(generate(on), 0);
		assert_string_equal(contents("out"), all);
	}
}

static void chats_in_the_turns_of_the_vocabulary(void **state)
{
	(void)state;
	char chat[4096];
	vocabulary_model("golden/gemma4-e2b-tiny.q8_0.gguf", "vectors/tokenizer-gemma4.gguf", NULL, model);
	assert_int_equal(generate((char *[]){"--chat", "The graph", "-n", "8", "--ignore-eos", NULL}), 0);
	snprintf(chat, sizeof chat, "%s", contents("out"));
	assert_true(command_said(folder, "errors",
				 "gemmark generate: no tokenizer.chat_template in the file: the turns are those of its "
				 "vocabulary's <|turn>, "));
	assert_int_equal(generate((char *[]){"--special", "<|turn>user\nThe graph<turn|>\n<|turn>model\n", "-n", "8",
					     "--ignore-eos", NULL}),
			 0);
	assert_string_equal(contents("out"), chat);
	assert_false(command_said(folder, "errors", "tokenizer.chat_template"));
	assert_int_equal(
		generate((char *[]){"<|turn>user\nThe graph<turn|>\n<|turn>model\n", "-n", "8", "--ignore-eos", NULL}),
		0);
	assert_string_not_equal(contents("out"), chat);
	vocabulary_model("golden/gemma4-e2b-tiny.q8_0.gguf", "vectors/tokenizer-gemma4.gguf",
			 "<|turn>{{ role }}\n{{ text }}<turn|>\n<|turn>model\n", model);
	assert_int_equal(generate((char *[]){"--chat", "The graph", "-n", "8", "--ignore-eos", NULL}), 0);
	assert_string_equal(contents("out"), chat);
	assert_false(command_said(folder, "errors", "tokenizer.chat_template"));
	vocabulary_model("golden/gemma4-e2b-tiny.q8_0.gguf", "vectors/tokenizer-gemma4.gguf", "{{ other }}", model);
	assert_int_equal(generate((char *[]){"--chat", "The graph", NULL}), 2);
	assert_true(command_said(folder, "errors", "tokenizer.chat_template has no <|turn>"));
}

/* What a pseudo terminal is sent, up to its size. */
static size_t on_a_terminal(char **words, char *shown, size_t size)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY), saved = dup(1);
	assert_true(master >= 0 && !grantpt(master) && !unlockpt(master));
	int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
	struct termios raw;
	assert_true(slave >= 0 && !tcgetattr(slave, &raw));
	cfmakeraw(&raw);
	assert_int_equal(tcsetattr(slave, TCSANOW, &raw), 0);
	fflush(stdout);
	dup2(slave, 1);
	int argc = 0;
	while (words[argc])
		argc++;
	int code = cmd_generate(argc, words);
	fflush(stdout);
	dup2(saved, 1);
	close(saved);
	/* Written in whole: what is there comes at once. */
	ssize_t n = read(master, shown, size);
	close(slave);
	close(master);
	assert_int_equal(code, 0);
	assert_true(n > 0);
	return (size_t)n;
}

static bool is_control(char c)
{
	return ((unsigned char)c < ' ' && c != '\n' && c != '\t') || c == 0x7f;
}

/* Half of this vocabulary are bytes, and they are drawn alike: a file gets them, a terminal what stands for them. */
static void steers_no_terminal(void **state)
{
	(void)state;
	enum { BYTES = 4096 };
	char shown[BYTES], *words[] = {"generate",     "-m",     model, "-ngl",   "0", "-t", "1",  "The quick",
				       "--ignore-eos", "--temp", "1e6", "--seed", "3", "-n", "96", NULL};
	int controls = 0, escaped = 0;
	vocabulary_model("golden/gemma4-e2b-tiny.q8_0.gguf", "vectors/tokenizer-gemma4.gguf", NULL, model);
	assert_int_equal(command_run(folder, cmd_generate, words), 0);
	FILE *f = folder_open(folder, "out", "r");
	for (int c; (c = fgetc(f)) != EOF;)
		controls += is_control((char)c);
	fclose(f);
	assert_true(controls > 3);
	size_t n = on_a_terminal(words, shown, BYTES);
	assert_true(n < BYTES);
	for (size_t i = 0; i < n; i++) {
		if (is_control(shown[i]))
			fail_msg("byte %zu of what a terminal shows is 0x%02x", i, (unsigned char)shown[i]);
		escaped += i + 1 < n && shown[i] == '\\' && shown[i + 1] == 'x';
	}
	assert_true(escaped >= controls);
	assert_int_equal(shown[n - 1], '\n');
}

/* Nobody reads on: it ends at once, and does not say that it came to -n. */
static void ends_with_its_readers(void **state)
{
	(void)state;
	vocabulary_model("golden/qwen3-tiny.q8_0.gguf", "vectors/tokenizer-qwen2.gguf", NULL, model);
	int full = open("/dev/full", O_WRONLY), errors = open(file, O_CREAT | O_TRUNC | O_WRONLY, 0666), saved[2];
	assert_true(full >= 0 && errors >= 0);
	fflush(stdout);
	for (int i = 0; i < 2; i++) {
		saved[i] = dup(i + 1);
		dup2(i ? errors : full, i + 1);
		close(i ? errors : full);
	}
	char *words[] = {"generate", "-m", model, "-ngl", "0", "-n", "6", "--ignore-eos", "The kernel", NULL};
	int code = cmd_generate(9, words);
	bool failed = ferror(stdout);
	clearerr(stdout);
	fflush(stderr);
	for (int i = 0; i < 2; i++) {
		dup2(saved[i], i + 1);
		close(saved[i]);
	}
	assert_int_equal(code, 0); /* main looks at the stream, of every command */
	assert_true(failed);
	assert_true(command_said(folder, "prompt.txt", "; generated 1, standard output takes no more\n"));
}

/* Entries are evicted: another text, the same one in every mode. */
static void thins_out_a_prompt(void **state)
{
	(void)state;
	char thin[4096];
	static char prompt[800];
	for (int i = 0; i < 79; i++)
		memcpy(prompt + 10 * i, i % 3 ? "the graph " : "of tokens ", 10);
	vocabulary_model("golden/gemma4-e2b-tiny.q8_0.gguf", "vectors/tokenizer-gemma4.gguf", NULL, model);
	char *words[] = {prompt, "-n", "12", "--ignore-eos", "--snapkv", "24,window=8", "--mode", "direct", NULL};
	assert_int_equal(generate(words), 0);
	snprintf(thin, sizeof thin, "%s", contents("out"));
	words[7] = "graph-device";
	assert_int_equal(generate(words), 0);
	assert_string_equal(contents("out"), thin);
	words[4] = NULL;
	assert_int_equal(generate(words), 0);
	assert_string_not_equal(contents("out"), thin);
	assert_int_equal(generate((char *[]){"", "-n", "1", NULL}), 0); /* the vocabulary's first token alone */
	assert_true(command_said(folder, "errors", "prompt of 1 token, "));
}

/* What transformers goes on with, where ci/setup.sh --real-model fetched the model. */
static void goes_on_as_the_trained_model(void **state)
{
	(void)state;
	static char path[] = "../build/real-model/gemma-3-270m-q4_k_m.gguf";
	if (access(path, R_OK)) {
		print_message("SKIP: no %s; ci/setup.sh --real-model fetches it\n", path);
		skip();
	}
	static char *const modes[] = {"direct", "graph-loop"};
	for (int i = 0; i < 2; i++) {
		char *words[] = {"generate", "-m",     path, "-ngl", "0", "-n", "24", "The capital of France is",
				 "--mode",   modes[i], NULL};
		assert_int_equal(command_run(folder, cmd_generate, words), 0);
		assert_string_equal(contents("out"), " the capital of the country of France. It is the largest city in "
						     "France and the second largest city in Europe. It");
	}
}

static void refuse(char **words, const char *says)
{
	assert_int_equal(generate(words), 2);
	if (!command_said(folder, "errors", says))
		fail_msg("expected '%s' in: %s", says, contents("errors"));
	assert_false(folder_has(folder, "out"));
}

static void refuses_what_it_cannot_do(void **state)
{
	(void)state;
	vocabulary_model("golden/qwen3-tiny.q8_0.gguf", "vectors/tokenizer-qwen2.gguf", NULL, model);
	refuse((char *[]){NULL}, "gemmark generate: a prompt is missing: give \"some text\", -f FILE, or - for");
	refuse((char *[]){"", NULL}, "gemmark generate: the prompt is empty");
	refuse((char *[]){"a", "b", NULL}, "gemmark generate: a second prompt, 'b'");
	refuse((char *[]){"a", "-f", file, NULL}, "gemmark generate: -f: the prompt is given already");
	refuse((char *[]){"-f", "/nowhere/prompt.txt", NULL},
	       "-f: /nowhere/prompt.txt: No such file or directory; check the path");
	refuse((char *[]){"-f", folder, NULL}, "is a directory; give a file");
	assert_int_equal(folder_put(folder, "/prompt.txt", ""), 0);
	refuse((char *[]){"-f", file, NULL}, "is empty; give a text to go on from");
	FILE *f = fopen(file, "wb");
	assert_non_null(f);
	assert_int_equal(fwrite("a\0b", 1, 3, f), 3);
	assert_int_equal(fclose(f), 0);
	refuse((char *[]){"-f", file, NULL}, "is no text: its byte 1 is 0; give a text file in UTF-8");
	refuse((char *[]){"a", "-n", "0", NULL}, "gemmark generate: -n: '0' is not a whole number");
	refuse((char *[]){"a", "--seed", "x", "--temp", "1", NULL},
	       "gemmark generate: --seed: 'x' is not a whole number");
	refuse((char *[]){"a", "--seed", "1", NULL}, "gemmark generate: --seed: at temperature 0");
	/* Vocabularies: none, and another model's. */
	vocabulary_model("golden/variants/qwen3-yarn.gguf", "vectors/tokenizer-qwen2.gguf", NULL, model);
	refuse((char *[]){"a", NULL}, "tokenizer.ggml.tokens has 512 pieces, and the embeddings 64 rows");
	const struct edit none = {.kind = EDIT_STRING, .name = "tokenizer.ggml.model", .text = "none"};
	edited_model("golden/qwen3-tiny.q8_0.gguf", model, &none, 1);
	refuse((char *[]){"a", NULL}, "has no vocabulary (tokenizer.ggml.model is none)");
	assert_int_equal(command_run(folder, cmd_generate, (char *[]){"generate", "a", NULL}), 2);
	assert_true(command_said(folder, "errors", "gemmark generate: -m FILE is missing"));
}

static void names_a_file_that_is_no_model_of_text(void **state)
{
	(void)state;
	other_files_refused(folder, model, cmd_generate, (char *[]){"generate", "-m", model, "-ngl", "0", "a", NULL});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_the_text_of_the_tokens),
		cmocka_unit_test(keeps_the_first_space),
		cmocka_unit_test(takes_a_prompt_from_files),
		cmocka_unit_test(draws_by_its_seed),
		cmocka_unit_test(ends_with_the_text_or_the_turn),
		cmocka_unit_test(chats_in_the_turns_of_the_vocabulary),
		cmocka_unit_test(steers_no_terminal),
		cmocka_unit_test(ends_with_its_readers),
		cmocka_unit_test(thins_out_a_prompt),
		cmocka_unit_test(goes_on_as_the_trained_model),
		cmocka_unit_test(refuses_what_it_cannot_do),
		cmocka_unit_test(names_a_file_that_is_no_model_of_text),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
