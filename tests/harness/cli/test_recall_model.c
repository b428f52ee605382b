/*
 * The model that ci/train-recall.py trained (tests/golden/recall): the engine's logits are those that the script
 * computed of the same file, all modes give the same bits behind an eviction, and gemmark quality finds with the full
 * cache what it hides, and not what recency evicted. On the host, and on a GPU where there is one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/infer/session.h"
#include "engine/text/tokenizer.h"
#include "harness/cli/options.h"
#include "harness/record/quality_file.h"
#include "tests/support/command.h"
#include "tests/support/folder.h"
#include "tests/support/fusions.h"
#include "tests/support/golden.h"
#include "tests/support/no_gpu.h"
#include "tests/support/ok.h"

enum { TOKENS = 1024, ROWS = 48, DECODED = 24, TEXT_TOKENS = 5000, TEXT_BYTES = 1 << 16 };

static char model[] = "golden/recall/recall.q8_0.gguf", text[] = "golden/recall/text.txt";
static char folder[FOLDER_BYTES], out[FOLDER_BYTES + 16];

static void read_file(const char *path, void *to, size_t bytes)
{
	FILE *f = fopen(path, "rb");
	if (!f)
		fail_msg("%s is missing", path);
	assert_int_equal(fread(to, 1, bytes, f), bytes);
	assert_int_equal(fgetc(f), EOF);
	fclose(f);
}

static int host = 0, gpu = 9999; /* layers on the GPU, which must be there */

/* On the device that the running test was given. */
static struct session *open_session(void **state)
{
	struct session_options o;
	struct session *s;
	session_options_default(&o);
	o.load.n_gpu_layers = *(int *)*state;
	o.load.n_threads = 2;
	o.context = TOKENS;
	o.load.k_type = o.load.v_type = TENSOR_F32;
	o.load.prefill = PREFILL_F32;
	OK(session_open(&s, model, &o, e));
	return s;
}

static void read_tokens(int *tokens)
{
	int32_t raw[TOKENS];
	read_file("golden/recall/tokens.i32", raw, sizeof raw);
	for (int i = 0; i < TOKENS; i++)
		tokens[i] = raw[i];
}

static void computes_what_trained_it(void **state)
{
	struct session *s = open_session(state);
	int tokens[TOKENS];
	size_t n_vocab = (size_t)session_model(s)->n_vocab;
	float *want = malloc(ROWS * n_vocab * sizeof *want), *got = malloc(TOKENS * n_vocab * sizeof *got);
	assert_non_null(want);
	assert_non_null(got);
	read_tokens(tokens);
	read_file("golden/recall/logits.f32", want, ROWS * n_vocab * sizeof *want);
	OK(session_prefill(s, tokens, TOKENS, got, e));
	double worst = worst_row(got + (TOKENS - ROWS) * n_vocab, want, ROWS, n_vocab);
	print_message("recall on %s: worst row %.2g\n", session_device_name(s), worst);
	assert_true(worst <= 1e-4);
	session_close(s);
	free(want);
	free(got);
}

/* The script's tokens are the engine's: every word of the language is a piece, digits are pieces of their own. */
static void reads_the_language(void **state)
{
	(void)state;
	static char words[TEXT_BYTES];
	struct gguf g;
	struct tokenizer *t;
	struct token_ids ids = {0};
	FILE *f = fopen(text, "rb");
	assert_non_null(f);
	size_t n = fread(words, 1, sizeof words, f);
	assert_true(n > 0 && n < sizeof words);
	fclose(f);
	OK(gguf_open(&g, model, e));
	OK(tokenizer_open(&t, &g, e));
	gguf_close(&g);
	OK(tokenizer_encode(t, words, n, false, &ids, e));
	assert_int_equal(ids.n, TEXT_TOKENS);
	token_ids_free(&ids);
	tokenizer_close(t);
}

/* Behind an eviction, whatever the mode. */
static void has_the_same_bits_in_all_modes(void **state)
{
	static const struct snapkv_options evict = {.budget = 128, .window = 32, .pool = 7};
	enum { FROM = TOKENS - DECODED };
	struct session *s = open_session(state);
	struct session_eviction done;
	int tokens[TOKENS];
	size_t n_vocab = (size_t)session_model(s)->n_vocab;
	float *rows = malloc(2 * DECODED * n_vocab * sizeof *rows);
	assert_non_null(rows);
	read_tokens(tokens);
	OK(session_observe(s, &evict, FROM, e));
	OK(session_prefill(s, tokens, FROM, NULL, e));
	OK(session_evict(s, &done, e));
	assert_int_equal(session_evicted(s), FROM - evict.budget);
	OK(session_checkpoint(s, e));
	for (int run = 0; run < FUSION_COUNT * GRAPH_MODE_COUNT; run++) {
		enum graph_mode mode = (enum graph_mode)(run % GRAPH_MODE_COUNT);
		enum fusion fusion = (enum fusion)(run / GRAPH_MODE_COUNT);
		float *to = rows + (mode == GRAPH_MODE_DIRECT ? 0 : DECODED * n_vocab);
		if (!fusion_set(s, fusion))
			continue;
		session_set_mode(s, mode);
		OK(session_rewind(s, FROM, e));
		for (int i = 0; i < DECODED; i++) {
			struct token_timing t;
			const float *row;
			OK(session_decode(s, tokens[FROM + i], &t, e));
			OK(session_logits(s, &row, e));
			assert_int_not_equal(t.event, GRAPH_EVENT_FALLBACK);
			memcpy(to + (size_t)i * n_vocab, row, n_vocab * sizeof *row);
		}
		if (memcmp(to, rows, DECODED * n_vocab * sizeof *to))
			fail_msg("%s, fusion %s differs from direct", graph_mode_name(mode), fusion_name(fusion));
	}
	session_close(s);
	free(rows);
}

/* Of all questions asked behind the eviction, of needles in that third of the prompt. */
static double found(const struct quality_summary_row *rows, int n, enum quality_policy policy, int third)
{
	for (int i = 0; i < n; i++)
		if (rows[i].of.policy == policy && rows[i].measure == QUALITY_EXACT &&
		    rows[i].asked == QUALITY_BEHIND && rows[i].third == third && rows[i].question < 0)
			return rows[i].mean;
	fail_msg("nothing of %s in third %d", quality_policies[policy], third);
	return 0;
}

static void finds_what_is_not_evicted(void **state)
{
	char layers[16];
	struct run_directory d;
	struct quality_summary_row *rows;
	int n;
	snprintf(layers, sizeof layers, "%d", *(int *)*state);
	snprintf(out, sizeof out, "%s/out-dir-%s", folder, layers);
	char *words[] = {"quality", "-m",        model, "-ngl",           layers, "-t",
			 "2",       "--text",    text,  "--contexts",     "2048", "--budgets",
			 "128",     "--seeds",   "2",   "--needles",      "6",    "--policies",
			 "recency", "--windows", "32",  "--continuation", "8",    "-o",
			 out,       NULL};
	assert_int_equal(command_run(folder, cmd_quality, words), 0);
	OK(run_directory_open(&d, out, e));
	OK(quality_summary_read(&d, &rows, &n, e));
	run_directory_close(&d);
	for (int third = 0; third < 3; third++) {
		print_message("third %d: %.0f %% found, %.0f %% where the last 128 are left\n", third + 1,
			      100 * found(rows, n, QUALITY_FULL, third), 100 * found(rows, n, QUALITY_RECENCY, third));
		assert_true(found(rows, n, QUALITY_FULL, third) >= 0.9);
	}
	/* A guess is right one time in 9000. */
	assert_true(found(rows, n, QUALITY_RECENCY, 0) < 0.01 && found(rows, n, QUALITY_RECENCY, 1) < 0.01);
	free(rows);
}

static int set_up(void **state)
{
	(void)state;
	return folder_make(folder, "recall");
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_prestate(computes_what_trained_it, &host),
		cmocka_unit_test(reads_the_language),
		cmocka_unit_test_prestate(has_the_same_bits_in_all_modes, &host),
		cmocka_unit_test_prestate(finds_what_is_not_evicted, &host),
	};
	const struct CMUnitTest on_gpu[] = {
		cmocka_unit_test_prestate(computes_what_trained_it, &gpu),
		cmocka_unit_test_prestate(has_the_same_bits_in_all_modes, &gpu),
		cmocka_unit_test_prestate(finds_what_is_not_evicted, &gpu),
	};
	int failed = cmocka_run_group_tests_name("recall on the host", tests, set_up, tear_down);
	return no_gpu() ? failed : failed + cmocka_run_group_tests_name("recall on a GPU", on_gpu, set_up, tear_down);
}
