/*
 * gemmark quality as it is called, on a small model with a vocabulary: its numbers are those of gemmark eval for the
 * same tokens and the same eviction, a second run has the same bytes, its conditions are said, and what it refuses.
 */
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/hash.h"
#include "engine/text/tokenizer.h"
#include "harness/cli/engine_quality.h"
#include "harness/cli/options.h"
#include "tests/support/command.h"
#include "tests/support/folder.h"
#include "tests/support/ok.h"
#include "tests/support/other_files.h"
#include "tests/support/vocabulary_model.h"

enum { CONTEXT = 280, CONTINUATION = 9, BEGIN = 2 };

static char folder[FOLDER_BYTES], model[FOLDER_BYTES + 16], text[FOLDER_BYTES + 16], out[FOLDER_BYTES + 16];

static int set_up(void **state)
{
	(void)state;
	if (folder_make(folder, "quality"))
		return -1;
	snprintf(model, sizeof model, "%s/m.gguf", folder);
	snprintf(text, sizeof text, "%s/text.txt", folder);
	snprintf(out, sizeof out, "%s/out-1", folder);
	vocabulary_model("golden/gemma4-e2b-tiny.q8_0.gguf", "vectors/tokenizer-gemma4.gguf", NULL, model);
	FILE *f = folder_open(folder, "text.txt", "w");
	for (int i = 0; i < 400; i++)
		fprintf(f, "The graph of %d tokens is launched %s.\n", i * 37 % 91, i % 3 ? "again" : "once");
	return fclose(f);
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(folder);
}

/* more: up to 30 words and a null. */
static int quality(char **more)
{
	char *words[40] = {"quality", "-m", model, "-ngl", "0", "-t", "1", "--text", text, NULL};
	int n = 9;
	for (int i = 0; more[i]; i++)
		words[n++] = more[i];
	words[n] = NULL;
	return command_run(folder, cmd_quality, words);
}

static size_t contents(const char *name, char *to, size_t size)
{
	FILE *f = folder_open(folder, name, "r");
	size_t n = fread(to, 1, size - 1, f);
	to[n] = '\0';
	fclose(f);
	return n;
}

/* Mean negative log probability of the tokens behind the prompt's next one, as eval has it. */
static double evaluate(const int *tokens, char *snapkv)
{
	static char list[8 * (CONTEXT + CONTINUATION + 1)];
	char csv[FOLDER_BYTES + 16], prefill[16], line[128];
	char *words[] = {"eval",      "-m",    model,      "-ngl", "0",          "-t", "1",       "--tokens", list,
			 "--prefill", prefill, "--snapkv", snapkv, "--logprobs", csv,  "--force", NULL};
	double sum = 0;
	int n = 0;
	*list = '\0';
	for (int i = 0; i < CONTEXT + CONTINUATION + 1; i++)
		snprintf(list + strlen(list), sizeof list - strlen(list), "%s%d", i ? "," : "", tokens[i]);
	snprintf(csv, sizeof csv, "%s/p.csv", folder);
	snprintf(prefill, sizeof prefill, "%d", CONTEXT);
	assert_int_equal(command_run(folder, cmd_eval, words), 0);
	FILE *f = fopen(csv, "r");
	assert_non_null(f);
	while (fgets(line, sizeof line, f)) {
		int position;
		double p;
		if (sscanf(line, "0,%d,%*d,%*d,%lf", &position, &p) == 2 && position > CONTEXT) {
			sum -= p;
			n++;
		}
	}
	fclose(f);
	assert_int_equal(n, CONTINUATION);
	return sum / n;
}

static struct token_ids text_tokens(void)
{
	static char bytes[1 << 16];
	struct gguf g;
	struct tokenizer *t;
	struct token_ids ids = {0};
	size_t n = contents("text.txt", bytes, sizeof bytes);
	OK(gguf_open(&g, model, e));
	OK(tokenizer_open(&t, &g, e));
	OK(tokenizer_encode(t, bytes, n, false, &ids, e));
	tokenizer_close(t);
	gguf_close(&g);
	return ids;
}

static void has_the_numbers_of_eval(void **state)
{
	(void)state;
	static char csv[1 << 16];
	struct token_ids ids = text_tokens();
	assert_int_equal(quality((char *[]){"--contexts", "280", "--continuation", "9", "--seeds", "2", "--needles",
					    "0", "--budgets", "40,100", "--windows", "16", "--pools", "3", "--policies",
					    "snapkv,random", "-o", out, NULL}),
			 0);
	contents("out-1/quality.csv", csv, sizeof csv);
	int full = 0, snapkv = 0, others = 0;
	for (char *line = strtok(csv, "\n"); line; line = strtok(NULL, "\n")) {
		int tokens[CONTEXT + CONTINUATION + 1] = {BEGIN}, seed, start, budget;
		double kl, most, top1, nll;
		char policy[16];
		if (sscanf(line, "280,full,,,,%d,%d,9,%lf,%lf,%lf,%lf", &seed, &start, &kl, &most, &top1, &nll) == 6) {
			assert_true(kl == 0 && most == 0 && top1 == 1);
			budget = 0;
			full++;
		} else if (sscanf(line, "280,%15[a-z],%d,16,%*[^,],%d,%d,9,%lf,%lf,%lf,%lf", policy, &budget, &seed,
				  &start, &kl, &most, &top1, &nll) == 8 ||
			   sscanf(line, "280,%15[a-z],%d,16,,%d,%d,9,%lf,%lf,%lf,%lf", policy, &budget, &seed, &start,
				  &kl, &most, &top1, &nll) == 8) {
			assert_true(kl > 0 && most > kl && top1 >= 0 && top1 <= 1);
			snapkv += !strcmp(policy, "snapkv");
			others += !strcmp(policy, "random");
			if (strcmp(policy, "snapkv") != 0)
				continue;
		} else {
			continue;
		}
		memcpy(tokens + 1, ids.ids + start, sizeof tokens - sizeof *tokens);
		double want = evaluate(tokens, budget == 0    ? "off"
					       : budget == 40 ? "40,window=16,pool=3"
							      : "100,window=16,pool=3");
		/* Token by token, and many at once. */
		if (!(fabs(nll - want) <= 1e-4))
			fail_msg("%s: eval has %.9g", line, want);
	}
	assert_int_equal(full, 2);
	assert_int_equal(snapkv, 4);
	assert_int_equal(others, 4);
	token_ids_free(&ids);
}

enum { N_POLICIES = 4 };

/* Of each policy and seed, as quality.csv has them. */
struct values {
	char of[N_POLICIES][2][96];
};

static const char *const policies[N_POLICIES] = {"snapkv", "recency", "random", "stride"};

/* The whole text in two seeds, which differ in nothing but what the random policy draws. */
static struct values study(int number, int n_tokens, char *budget, char *sinks, char *seed)
{
	static char csv[1 << 14];
	struct values v;
	char context[16], name[32];
	int found = 0;
	snprintf(context, sizeof context, "%d", n_tokens - CONTINUATION - 1);
	snprintf(name, sizeof name, "out-%d/quality.csv", number);
	snprintf(out, sizeof out, "%s/out-%d", folder, number);
	assert_int_equal(quality((char *[]){"--contexts", context, "--continuation", "9", "--seeds", "2", "--needles",
					    "0", "--budgets", budget, "--windows", "16", "--sinks", sinks, "--seed",
					    seed, "-o", out, NULL}),
			 0);
	contents(name, csv, sizeof csv);
	for (char *line = strtok(csv, "\n"); line; line = strtok(NULL, "\n"))
		for (int p = 0; p < N_POLICIES; p++)
			for (int k = 0; k < 2; k++) {
				char begin[64];
				int n = snprintf(begin, sizeof begin, "%s,%s,%s,16,%s,%d,0,9,", context, policies[p],
						 budget, p ? "" : "7", k);
				if (strncmp(line, begin, (size_t)n) != 0)
					continue;
				snprintf(v.of[p][k], sizeof v.of[p][k], "%s", line + n);
				found++;
			}
	assert_int_equal(found, 2 * N_POLICIES);
	return v;
}

static bool same(const struct values *a, const struct values *b, int policy)
{
	return !strcmp(a->of[policy][0], b->of[policy][0]) && !strcmp(a->of[policy][1], b->of[policy][1]);
}

/*
 * Which entries the engine keeps, not what the policies say of them (test_kv_policy): where a budget is the window and
 * the sinks, no policy has a choice, but SnapKV, which knows no sinks. Where it is more, each has its own.
 */
static void evicts_by_each_policy(void **state)
{
	(void)state;
	FILE *f = folder_open(folder, "text.txt", "w");
	for (int i = 0; i < 25; i++)
		fprintf(f, "The graph of %d tokens is launched %s.\n", i * 37 % 91, i % 3 ? "again" : "once");
	assert_int_equal(fclose(f), 0);
	struct token_ids ids = text_tokens();
	int n = (int)ids.n;
	token_ids_free(&ids);
	struct values no_choice = study(1, n, "40", "24", "1"), few = study(2, n, "40", "2", "1"),
		      none = study(3, n, "40", "0", "1"), drawn_again = study(4, n, "40", "2", "2");
	for (int p = 0; p < N_POLICIES; p++) {
		const char *name = policies[p];
		for (int q = 0; q < p; q++)
			if (!strcmp(few.of[p][0], few.of[q][0]) || !strcmp(none.of[p][0], none.of[q][0]))
				fail_msg("%s and %s keep the same", name, policies[q]);
		if ((p >= 2 && strcmp(no_choice.of[p][0], no_choice.of[1][0]) != 0) ||
		    strcmp(no_choice.of[p][0], no_choice.of[p][1]) != 0)
			fail_msg("%s has a choice beside 24 sinks and a window of 16 of 40", name);
		/* Its seeds are the text's: another draw. */
		bool alike = !strcmp(few.of[p][0], few.of[p][1]), draws = !strcmp(name, "random");
		if (alike == draws)
			fail_msg("%s keeps %s in two seeds", name, draws ? "the same" : "others");
		if (same(&few, &drawn_again, p) == draws)
			fail_msg("%s keeps %s by another --seed", name, draws ? "the same" : "others");
		if (same(&few, &none, p) != !p || same(&few, &no_choice, p) != !p)
			fail_msg("%s %s sinks", name, p ? "keeps no" : "keeps");
	}
}

/* Whatever was asked before: questions are longer than a sliding window, which they push out. */
static void goes_back_behind_the_eviction(void **state)
{
	(void)state;
	enum { WINDOW = 16, FED = 40, KEPT = 60, TIMES = 4 };
	struct session_options o;
	struct session *s;
	struct gguf g;
	struct tokenizer *t;
	struct engine_quality subject;
	struct quality_subject *q = &subject.subject;
	struct token_ids ids = text_tokens();
	session_options_default(&o);
	o.load.n_gpu_layers = 0;
	o.load.n_threads = 1;
	o.context = CONTEXT + QUALITY_BEHIND_MAX;
	OK(session_open(&s, model, &o, e));
	OK(gguf_open(&g, model, e));
	OK(tokenizer_open(&t, &g, e));
	engine_quality_init(&subject, s, t);
	size_t row = (size_t)q->n_vocab;
	float *logits = malloc(TIMES * row * sizeof *logits);
	assert_non_null(logits);
	for (int p = QUALITY_FULL; p <= QUALITY_STRIDE; p++) {
		const struct quality_choice choice = {
			.of = {CONTEXT, (enum quality_policy)p, KEPT, WINDOW, p == QUALITY_SNAPKV ? 7 : -1},
			.sinks = 4};
		OK(q->ops->base(q, ids.ids, CONTEXT - WINDOW, e));
		OK(q->ops->prompt(q, ids.ids + CONTEXT - WINDOW, WINDOW, WINDOW, e));
		OK(q->ops->evict(q, &choice, e));
		OK(q->ops->mark(q, e));
		for (int i = 0; i < TIMES; i++) {
			const int *fed = ids.ids + CONTEXT + (i == 1 ? 7 : 0);
			if (i == TIMES - 1)
				OK(q->ops->evict(q, &choice, e));
			else if (i)
				OK(q->ops->back(q, e));
			assert_int_equal(session_position(s), CONTEXT);
			OK(q->ops->feed(q, fed, FED - 1, NULL, e));
			OK(q->ops->feed(q, fed + FED - 1, 1, logits + (size_t)i * row, e));
		}
		assert_memory_not_equal(logits, logits + row, row * sizeof *logits);
		for (int i = 2; i < TIMES; i++)
			if (memcmp(logits, logits + (size_t)i * row, row * sizeof *logits))
				fail_msg("%s, %d: the same question, and another answer", quality_policies[p], i);
	}
	free(logits);
	engine_quality_free(&subject);
	session_close(s);
	tokenizer_close(t);
	gguf_close(&g);
	token_ids_free(&ids);
}

static void says_the_same_again(void **state)
{
	(void)state;
	static char first[1 << 16], again[1 << 16];
	static const char *const names[] = {"quality.csv", "needles.csv", "summary.csv", "study.json"};
	for (int i = 1; i <= 2; i++) {

		snprintf(out, sizeof out, "%s/out-%d", folder, i);
		assert_int_equal(
			quality((char *[]){"--contexts", "300", "--continuation", "2", "--seeds", "1", "--needles", "1",
					   "--budgets", "40", "--windows", "8", "--seed", "9", "-o", out, NULL}),
			0);
	}
	for (int i = 0; i < 4; i++) {
		char name[64];
		snprintf(name, sizeof name, "out-1/%s", names[i]);
		assert_true(contents(name, first, sizeof first) > 40);
		snprintf(name, sizeof name, "out-2/%s", names[i]);
		contents(name, again, sizeof again);
		assert_string_equal(first, again);
	}
	assert_true(command_said(folder, "out", "prompts of 300 tokens, a window of 8 kept by all"));
	assert_true(command_said(folder, "out", "best by needles found, asked behind: 40 none surely\n"));
}

static json_t *load(const char *name)
{
	char path[FOLDER_BYTES + 32];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	json_t *o = json_load_file(path, 0, NULL);
	assert_non_null(o);
	return o;
}

static const char *member(const json_t *o, const char *name)
{
	const char *word = json_string_value(json_object_get(o, name));
	if (!word)
		fail_msg("no text '%s'", name);
	return word;
}

/* Without them a study cannot be held against another. */
static void says_under_which_conditions(void **state)
{
	(void)state;
	static const char *const wanted[][2] = {
		{"model_path_name", "m.gguf"}, {"weight_type", "Q8_0"},  {"device", "host"}, {"head_device", "host"},
		{"cache_k", "BF16"},           {"cache_v", "F16"},       {"mode", "direct"}, {"fusion", "full"},
		{"prefill_precision", "f32"},  {"host_products", "f32"}, {"ple", "device"},  {"pdl", "off"},
	};
	uint64_t hash;
	char hex[17];
	snprintf(out, sizeof out, "%s/out-1", folder);
	OK(hash_file(model, &hash, NULL, e));
	snprintf(hex, sizeof hex, "%016" PRIx64, hash);
	assert_int_equal(
		quality((char *[]){
			"--contexts",          "300", "--continuation", "1",       "--seeds", "1",  "--needles", "0",
			"--budgets",           "40",  "--policies",     "recency", "-ub",     "96", "-ctk",      "bf16",
			"--prefill-precision", "f32", "--pdl",          "off",     "-o",      out,  NULL}),
		0);
	json_t *study = load("out-1/study.json"), *env = load("out-1/env.json");
	for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
		assert_string_equal(member(study, wanted[i][0]), wanted[i][1]);
	assert_string_equal(member(study, "model_hash"), hex);
	assert_int_equal(json_integer_value(json_object_get(study, "n_ubatch")), 96);
	assert_int_equal(json_integer_value(json_object_get(study, "n_gpu_layers")), 0);
	assert_true(json_is_null(json_object_get(study, "prefill_weights")));
	/* The machine's are gemmark env's; here is that they are of this run. */
	const json_t *file = json_array_get(json_object_get(env, "models"), 0);
	assert_string_equal(member(file, "file"), "m.gguf");
	assert_string_equal(member(file, "xxh3_64"), hex);
	assert_true(*member(json_object_get(env, "cpu"), "isa"));
	assert_true(json_object_get(env, "gpu") && json_object_get(env, "gpu_reason"));
	assert_string_equal(json_string_value(json_array_get(json_object_get(env, "command_line"), 0)), "quality");
	json_decref(study);
	json_decref(env);
	/* It has a command line, which is no sweep's. */
	assert_int_equal(command_run(folder, cmd_bench, (char *[]){"bench", "--resume", out, NULL}), 2);
	assert_true(command_said(folder, "errors", " is of gemmark quality, and sweeps alone go on"));
}

static void refuse(char **words, const char *says)
{
	assert_int_equal(quality(words), 2);
	if (!command_said(folder, "errors", says))
		fail_msg("no '%s' of '%s %s'", says, words[0] ? words[0] : "", words[0] ? words[1] : "");
	assert_false(folder_has(folder, "out"));
	assert_int_equal(access("results", F_OK), -1);
}

static void refuses_what_it_cannot_do(void **state)
{
	(void)state;
	refuse((char *[]){"--budgets", "64,64", NULL}, "gemmark quality: --budgets: 64 is there twice; leave one out");
	refuse((char *[]){"--budgets", "64,", NULL}, "gemmark quality: --budgets: ");
	refuse((char *[]){"--budgets", "9999999999999999999999", NULL}, "is no list of at most 16 numbers");
	refuse((char *[]){"--pools", "4", NULL}, "gemmark quality: --pools: a pool of 4 is not centred on a key");
	refuse((char *[]){"--policies", "snapkv,full", NULL},
	       "gemmark quality: --policies: 'full' is no policy: snapkv, recency, random, stride");
	refuse((char *[]){"--policies", "random,random", NULL}, "random is there twice");
	refuse((char *[]){"--contexts", "100", NULL}, "evicts nothing of a prompt of 100 tokens");
	refuse((char *[]){"--contexts", "100000", NULL}, "a prompt of 100000 and 64 behind it need 100065");
	refuse((char *[]){"--budgets", "35", NULL}, "a budget of 35 has no room for the window of 32 and 4 sinks");
	refuse((char *[]){"--snapkv", "64", NULL}, "unknown option --snapkv");
	refuse((char *[]){"-o", folder, "--contexts", "300", "--budgets", "64", NULL},
	       "is no empty folder, and results are never overwritten");
	snprintf(text, sizeof text, "%s/none.txt", folder);
	refuse((char *[]){NULL}, "none.txt: No such file or directory; check the path");
	snprintf(text, sizeof text, "%s", folder);
	refuse((char *[]){NULL}, "is a directory; give a file");
	assert_int_equal(command_run(folder, cmd_quality, (char *[]){"quality", "-m", model, NULL}), 2);
	assert_true(command_said(folder, "errors", "gemmark quality: --text FILE is missing"));
}

static void names_a_file_that_is_no_model_of_text(void **state)
{
	(void)state;
	other_files_refused(folder, model, cmd_quality,
			    (char *[]){"quality", "-m", model, "-ngl", "0", "--text", text, NULL});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(has_the_numbers_of_eval, set_up, tear_down),
		cmocka_unit_test_setup_teardown(evicts_by_each_policy, set_up, tear_down),
		cmocka_unit_test_setup_teardown(goes_back_behind_the_eviction, set_up, tear_down),
		cmocka_unit_test_setup_teardown(says_the_same_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(says_under_which_conditions, set_up, tear_down),
		cmocka_unit_test_setup_teardown(refuses_what_it_cannot_do, set_up, tear_down),
		cmocka_unit_test_setup_teardown(names_a_file_that_is_no_model_of_text, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
