/*
 * Text to tokens and back, against what SentencePiece and Hugging Face's tokenizers made of the same vocabularies
 * (tests/vectors/make_tokenizer.py), and against the golden tokens of a trained model where its file is.
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

#include "base/random.h"
#include "engine/model/gguf_internal.h"
#include "engine/text/tokenizer.h"
#include "tests/support/gguf_bytes.h"
#include "tests/support/ok.h"
#include "tests/support/token_pairs.h"

#define REAL_MODEL "../build/real-model/gemma-3-270m-q4_k_m.gguf"

static const char *const kinds[] = {"llama", "llama-prefix", "gemma4", "qwen2"};
enum { KINDS = sizeof kinds / sizeof *kinds };

static struct tokenizer *open_file(const char *path)
{
	struct gguf g;
	struct tokenizer *t;
	OK(gguf_open(&g, path, e));
	OK(tokenizer_open(&t, &g, e));
	gguf_close(&g);
	return t;
}

static struct tokenizer *open_kind(const char *kind)
{
	char path[64];
	snprintf(path, sizeof path, "vectors/tokenizer-%s.gguf", kind);
	return open_file(path);
}

static void encodes_as_the_judges(void **state)
{
	(void)state;
	for (int i = 0; i < KINDS; i++) {
		struct tokenizer *t = open_kind(kinds[i]);
		struct error err = {""};
		char path[64];
		snprintf(path, sizeof path, "vectors/tokenizer-%s.json", kinds[i]);
		int n = token_pairs_check(t, path, &err);
		if (n < 0)
			fail_msg("%s", err.text);
		assert_int_equal(n, 304);
		tokenizer_close(t);
	}
}

static void encodes_as_the_trained_model(void **state)
{
	struct error err = {""};
	(void)state;
	if (access(REAL_MODEL, R_OK)) {
		print_message("SKIP: no %s; ci/setup.sh --real-model fetches it\n", REAL_MODEL);
		skip();
	}
	struct tokenizer *t = open_file(REAL_MODEL);
	int n = token_pairs_check(t, "golden/gemma3-270m/tokenizer.json", &err);
	if (n < 0)
		fail_msg("%s", err.text);
	assert_int_equal(n, 15);
	/* The text of the golden logits. */
	char text[4096];
	int32_t wanted[256];
	struct token_ids ids = {0};
	FILE *f = fopen("golden/gemma3-270m/text.txt", "rb"), *tokens = fopen("golden/gemma3-270m/tokens.i32", "rb");
	assert_true(f && tokens);
	size_t size = fread(text, 1, sizeof text, f), n_wanted = fread(wanted, sizeof *wanted, 256, tokens);
	fclose(f);
	fclose(tokens);
	OK(tokenizer_begin(t, &ids, e));
	OK(tokenizer_encode(t, text, size, false, &ids, e));
	assert_int_equal(ids.n, n_wanted);
	for (size_t i = 0; i < ids.n; i++)
		assert_int_equal(ids.ids[i], wanted[i]);
	token_ids_free(&ids);
	assert_int_equal(tokenizer_special(t, "<start_of_turn>"), 105);
	assert_true(tokenizer_is_end(t, 106) && tokenizer_is_end(t, 1) && !tokenizer_is_end(t, 105));
	tokenizer_close(t);
}

/* The text's end and the turn's, whose piece no key of these files names, and no other token. */
static void knows_what_ends_a_turn(void **state)
{
	(void)state;
	static const char *const ends[KINDS][2] = {{"</s>", "<end_of_turn>"},
						   {"</s>", "<end_of_turn>"},
						   {"<eos>", "<turn|>"},
						   {"<|endoftext|>", "<|im_end|>"}};
	for (int i = 0; i < KINDS; i++) {
		struct tokenizer *t = open_kind(kinds[i]);
		int text = tokenizer_special(t, ends[i][0]), turn = tokenizer_special(t, ends[i][1]);
		assert_true(text >= 0 && turn >= 0);
		for (int id = -1; id <= tokenizer_vocabulary(t)->n; id++)
			if (tokenizer_is_end(t, id) != (id == text || id == turn))
				fail_msg("%s: token %d %s", kinds[i], id,
					 tokenizer_is_end(t, id) ? "is an end" : "is no end");
		tokenizer_close(t);
	}
}

static void expect(const struct tokenizer *t, const char *text, bool control, const int *ids, size_t n)
{
	struct token_ids got = {0};
	OK(tokenizer_encode(t, text, strlen(text), control, &got, e));
	assert_int_equal(got.n, n);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(got.ids[i], ids[i]);
	token_ids_free(&got);
}

/* A user's text cannot say a control piece; its author can. */
static void parses_control_pieces_where_allowed(void **state)
{
	(void)state;
	static const char *const turns[] = {"<start_of_turn>", "<start_of_turn>", "<|turn>", "<|im_start|>"};
	for (int i = 0; i < KINDS; i++) {
		struct tokenizer *t = open_kind(kinds[i]);
		struct token_ids plain = {0};
		int id = tokenizer_special(t, turns[i]);
		assert_true(id >= 0);
		OK(tokenizer_encode(t, turns[i], strlen(turns[i]), false, &plain, e));
		assert_true(plain.n > 1);
		for (size_t k = 0; k < plain.n; k++)
			assert_int_not_equal(plain.ids[k], id);
		token_ids_free(&plain);
		if (!tokenizer_vocabulary(t)->add_space_prefix)
			expect(t, turns[i], true, &id, 1);
		assert_int_equal(tokenizer_special(t, "<start"), -1);
		tokenizer_close(t);
	}
}

/* The longest one, and the text on both sides of it merges for itself. */
static void finds_user_defined_pieces(void **state)
{
	(void)state;
	struct tokenizer *t = open_kind("llama");
	int two = tokenizer_special(t, SPACE_MARK SPACE_MARK);
	int four = tokenizer_special(t, SPACE_MARK SPACE_MARK SPACE_MARK SPACE_MARK), b = tokenizer_special(t, "<b>");
	int space = vocabulary_find(tokenizer_vocabulary(t), SPACE_MARK, 3);
	assert_true(two >= 0 && four >= 0 && b >= 0 && space >= 0);
	expect(t, "       ", false, (int[]){four, two, space}, 3);
	expect(t, "<b>  <b>", false, (int[]){b, two, b}, 3);
	tokenizer_close(t);
}

static void begins_as_the_file_says(void **state)
{
	(void)state;
	static const int begins[] = {2, 2, 2, -1};
	for (int i = 0; i < KINDS; i++) {
		struct tokenizer *t = open_kind(kinds[i]);
		struct token_ids ids = {0};
		OK(tokenizer_begin(t, &ids, e));
		assert_int_equal(ids.n, begins[i] >= 0);
		if (ids.n)
			assert_int_equal(ids.ids[0], begins[i]);
		token_ids_free(&ids);
		tokenizer_close(t);
	}
}

/* Any bytes, valid or not: a text of random ones, and of characters cut anywhere. */
/* All bytes, a space, and a b c ab bc, whose scores are given. */
static struct tokenizer *open_scores(float ab, float bc)
{
	static const char *const pieces[] = {"\xe2\x96\x81", "a", "b", "c", "ab", "bc"};
	enum { BYTES = 256, PIECES = BYTES + sizeof pieces / sizeof *pieces, NORMAL = 1, BYTE = 6 };
	struct bytes b = {0};
	struct gguf g;
	struct tokenizer *t;
	put_header(&b, 3, 0, 5);
	put_key(&b, "tokenizer.ggml.model", GGUF_STRING);
	put_string(&b, "llama");
	put_key(&b, "tokenizer.ggml.tokens", GGUF_ARRAY);
	put_array(&b, GGUF_STRING, PIECES);
	for (int i = 0; i < PIECES; i++) {
		char byte[8];
		snprintf(byte, sizeof byte, "<0x%02X>", i & 255);
		put_string(&b, i < BYTES ? byte : pieces[i - BYTES]);
	}
	put_key(&b, "tokenizer.ggml.token_type", GGUF_ARRAY);
	put_array(&b, GGUF_INT32, PIECES);
	for (int i = 0; i < PIECES; i++)
		put_uint(&b, i < BYTES ? BYTE : NORMAL, 4);
	put_key(&b, "tokenizer.ggml.scores", GGUF_ARRAY);
	put_array(&b, GGUF_FLOAT32, PIECES);
	for (int i = 0; i < PIECES; i++) {
		float score = i == PIECES - 2 ? ab : i == PIECES - 1 ? bc : -100;
		put(&b, &score, sizeof score);
	}
	put_kv(&b, "tokenizer.ggml.add_bos_token", GGUF_BOOL, 0, 1);
	OK(gguf_open_memory(&g, b.p, b.n, "some.gguf", e));
	OK(tokenizer_open(&t, &g, e));
	gguf_close(&g);
	bytes_free(&b);
	return t;
}

/* Of two pairs that overlap the one of the higher score merges, of equals the first one; 0 is -0, and some are above.
 */
static void merges_by_score(void **state)
{
	(void)state;
	enum { A = 257, C = 259, AB = 260, BC = 261 };
	static const struct {
		float ab, bc;
		int ids[2];
	} cases[] = {
		{-2, -1, {A, BC}},   {-1, -2, {AB, C}},   {-1, -1, {AB, C}},   {-1, 0, {A, BC}}, {0, -1, {AB, C}},
		{-1, 2, {A, BC}},    {2, -1, {AB, C}},    {1, 2, {A, BC}},     {2, 1, {AB, C}},  {0, 1, {A, BC}},
		{0, -0.0f, {AB, C}}, {-0.0f, 0, {AB, C}}, {-0.0f, 1, {A, BC}},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct tokenizer *t = open_scores(cases[i].ab, cases[i].bc);
		struct token_ids ids = {0};
		OK(tokenizer_encode(t,
				    "\n"
				    "abc",
				    4, false, &ids, e));
		if (ids.n < 2 || ids.ids[ids.n - 2] != cases[i].ids[0] || ids.ids[ids.n - 1] != cases[i].ids[1])
			fail_msg("ab %g and bc %g: the last of %zu tokens are not %d %d", (double)cases[i].ab,
				 (double)cases[i].bc, ids.n, cases[i].ids[0], cases[i].ids[1]);
		token_ids_free(&ids);
		tokenizer_close(t);
	}
}

/* Not of the last bytes alone: a character of four is held until all are there. Only one space is put in front. */
static void streams_bytes_and_spaces(void **state)
{
	(void)state;
	static const unsigned char smile[] = {0xf0, 0x9f, 0x98, 0x80};
	enum { SPACE = 256, A };
	struct tokenizer *t = open_scores(-1, -1);
	struct text_stream s;
	char out[TEXT_STREAM_MAX];
	text_stream_init(&s, t, false);
	assert_int_equal(text_stream_token(&s, SPACE, out), 0);
	assert_int_equal(text_stream_token(&s, SPACE, out), 1);
	assert_int_equal(text_stream_token(&s, A, out), 1);
	for (int i = 0; i < 4; i++)
		assert_int_equal(text_stream_token(&s, smile[i], out), i < 3 ? 0 : 4);
	assert_memory_equal(out, smile, 4);
	assert_int_equal(text_stream_end(&s, out), 0);
	tokenizer_close(t);
}

static size_t random_text(uint64_t *seed, char *text, size_t most)
{
	static const char *const parts[] = {" ",        "  ",      "\n",   "\n\n",         "token", "\xe4\xb8\x96",
					    "\xe2\x96", "\xe2",    "\xf0", "\xf0\x9f\x98", "\x80",  "'s",
					    "<b>",      "\xc3\xa9"};
	size_t n = 0;
	while (n + 8 < most && random_below(seed, 40)) {
		if (random_below(seed, 3)) {
			const char *part = parts[random_below(seed, sizeof parts / sizeof *parts)];
			memcpy(text + n, part, strlen(part));
			n += strlen(part);
		} else {
			text[n++] = (char)random_below(seed, 256);
		}
	}
	for (size_t i = 0; i + 3 <= n; i++)
		if (!memcmp(text + i, SPACE_MARK, 3))
			text[i] = 'x';
	return n;
}

static void any_bytes_come_back(void **state)
{
	(void)state;
	for (int i = 0; i < KINDS; i++) {
		struct tokenizer *t = open_kind(kinds[i]);
		uint64_t seed = 7;
		for (int k = 0; k < 2000; k++) {
			char text[256], back[256], piece[TEXT_STREAM_MAX];
			size_t n = random_text(&seed, text, sizeof text), at = 0;
			struct token_ids ids = {0};
			struct text_stream s;
			OK(tokenizer_encode(t, text, n, false, &ids, e));
			text_stream_init(&s, t, false);
			for (size_t j = 0; j <= ids.n; j++) {
				size_t size = j < ids.n ? text_stream_token(&s, ids.ids[j], piece)
							: text_stream_end(&s, piece);
				assert_true(at + size <= n);
				memcpy(back + at, piece, size);
				at += size;
			}
			assert_int_equal(at, n);
			assert_memory_equal(back, text, n);
			token_ids_free(&ids);
		}
		tokenizer_close(t);
	}
}

/* A character of three bytes, byte by byte, with a second one cut off behind it. */
static void holds_back_unfinished_characters(void **state)
{
	(void)state;
	struct tokenizer *t = open_kind("gemma4");
	const int *byte = tokenizer_vocabulary(t)->byte_ids;
	struct text_stream s;
	char out[TEXT_STREAM_MAX];
	text_stream_init(&s, t, false);
	assert_int_equal(text_stream_token(&s, byte[0xe2], out), 0);
	assert_int_equal(text_stream_token(&s, byte[0x82], out), 0);
	assert_int_equal(text_stream_token(&s, byte[0xac], out), 3);
	assert_memory_equal(out, "\xe2\x82\xac", 3);
	assert_int_equal(text_stream_token(&s, byte[0xf0], out), 0);
	assert_int_equal(text_stream_token(&s, byte[0x9f], out), 0);
	/* That was none: it comes out with the next character. */
	assert_int_equal(text_stream_token(&s, byte['a'], out), 3);
	assert_memory_equal(out, "\xf0\x9f\x61", 3);
	assert_int_equal(text_stream_token(&s, byte[0xc3], out), 0);
	assert_int_equal(text_stream_end(&s, out), 1);
	assert_int_equal(text_stream_end(&s, out), 0);
	/* A control piece has no text, unless it is asked for. */
	assert_int_equal(text_stream_token(&s, tokenizer_special(t, "<turn|>"), out), 0);
	text_stream_init(&s, t, true);
	assert_int_equal(text_stream_token(&s, tokenizer_special(t, "<turn|>"), out), 7);
	tokenizer_close(t);
}

/* Of a megabyte that is one word; quadratic work would take hours, and this test has a time limit. */
static void long_words_are_not_slow(void **state)
{
	(void)state;
	enum { BYTES = 1 << 20 };
	static const char *const words[] = {"a", "the", "'", " ", "\n", "\r\n ", "<b", "\xe4\xb8\x96"};
	char *text = malloc(BYTES);
	assert_non_null(text);
	for (int i = 0; i < KINDS; i++) {
		struct tokenizer *t = open_kind(kinds[i]);
		for (size_t k = 0; k < sizeof words / sizeof *words; k++) {
			struct token_ids ids = {0};
			size_t size = strlen(words[k]);
			for (size_t j = 0; j < BYTES; j++)
				text[j] = words[k][j % size];
			OK(tokenizer_encode(t, text, BYTES, false, &ids, e));
			assert_true(ids.n > 0);
			token_ids_free(&ids);
		}
		tokenizer_close(t);
	}
	free(text);
}

static void refuses_what_is_too_long(void **state)
{
	(void)state;
	struct tokenizer *t = open_kind("llama");
	struct token_ids ids = {0};
	struct error err = {""};
	assert_int_equal(tokenizer_encode(t, "", (size_t)1 << 30, false, &ids, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "too long"));
	tokenizer_close(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(encodes_as_the_judges),     cmocka_unit_test(encodes_as_the_trained_model),
		cmocka_unit_test(knows_what_ends_a_turn),    cmocka_unit_test(parses_control_pieces_where_allowed),
		cmocka_unit_test(finds_user_defined_pieces), cmocka_unit_test(begins_as_the_file_says),
		cmocka_unit_test(merges_by_score),           cmocka_unit_test(streams_bytes_and_spaces),
		cmocka_unit_test(any_bytes_come_back),       cmocka_unit_test(holds_back_unfinished_characters),
		cmocka_unit_test(long_words_are_not_slow),   cmocka_unit_test(refuses_what_is_too_long),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
