/*
 * A trained vocabulary of 262,144 pieces, of the file that ci/setup.sh --real-model fetches: the tokens that
 * SentencePiece makes of 10,000 random texts, as hashes (tests/vectors/make_tokenizer.py hashes), and how long a
 * megabyte takes. Exits with 77 where the file is not there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/random.h"
#include "engine/text/tokenizer.h"
#include "tests/support/ok.h"
#include "tests/support/sanitized.h"

static const char path[] = "../build/real-model/gemma-3-270m-q4_k_m.gguf";
static const char hashes[] = "golden/gemma3-270m/random.txt";

enum { TEXTS = 10000, A_HASH = 100, SEED = 4, TEXT_MAX = 1 << 15, MEGABYTE = 1 << 20 };

static const double SECONDS_MAX = 1; /* of the processor's time, a megabyte: it takes 0.1 to 0.2 */

static struct tokenizer *t;

static int set_up(void **state)
{
	struct gguf g;
	struct error err = {""};
	(void)state;
	int rc = gguf_open(&g, path, &err);
	if (!rc)
		rc = tokenizer_open(&t, &g, &err);
	if (rc)
		print_error("%s\n", err.text);
	gguf_close(&g);
	return rc;
}

static int tear_down(void **state)
{
	(void)state;
	tokenizer_close(t);
	return 0;
}

/* ---- random_text of make_tokenizer.py, draw for draw ---- */

struct text {
	char bytes[TEXT_MAX];
	size_t n;
};

static void put(struct text *text, const char *bytes, size_t n)
{
	assert_true(text->n + n <= TEXT_MAX);
	memcpy(text->bytes + text->n, bytes, n);
	text->n += n;
}

/* Of U+0020 to U+1FFFF. */
static void put_character(struct text *text, unsigned c)
{
	char utf8[4];
	size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	static const unsigned char first[] = {0, 0, 0xc0, 0xe0, 0xf0};
	for (size_t i = n - 1; i > 0; i--, c >>= 6)
		utf8[i] = (char)(0x80 | (c & 0x3f));
	utf8[0] = (char)(first[n] | c);
	put(text, utf8, n);
}

/* A piece, in which a space is one. */
static void put_piece(struct text *text, const struct piece *p)
{
	size_t n = (size_t)p->size, mark = strlen(SPACE_MARK);
	for (size_t i = 0; i < n; i++) {
		if (n - i >= mark && !memcmp(p->text + i, SPACE_MARK, mark)) {
			put(text, " ", 1);
			i += mark - 1;
		} else {
			put(text, p->text + i, 1);
		}
	}
}

static double random_share(uint64_t *seed)
{
	return (double)(random_next(seed) >> 11) * 0x1p-53;
}

#define PART(s)                     \
	{                           \
		s, sizeof(s "") - 1 \
	}
static const struct part {
	const char *bytes;
	size_t n;
} white[] = {PART(" "),     PART(" "),       PART(" "),  PART("  "),       PART("\n"),           PART("\n\n"),
	     PART("\t"),    PART("\r\n"),    PART("\r"), PART("\xc2\xa0"), PART("\xe3\x80\x80"), PART("\xe2\x80\xa8"),
	     PART("     "), PART("\n\n\n\n")},
  odd[] = {PART("'s"),
	   PART("'S"),
	   PART("'ll"),
	   PART("'Re"),
	   PART("'\xc5\xbf"),
	   PART("''"),
	   PART("'"),
	   PART("1"),
	   PART("42"),
	   PART("<0x41>"),
	   PART("\0"),
	   PART("\x7f"),
	   PART("\xe2\x80\x8d"),
	   PART("\xef\xbb\xbf"),
	   PART("<b>"),
	   PART("</i>"),
	   PART("\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7"),
	   PART("..\n\n"),
	   PART("-->\n"),
	   PART("_"),
	   PART("===")};
static const unsigned blocks[][2] = {
	{0x20, 0x7e},     {0x20, 0x7e},     {0x20, 0x7e},     {0x20, 0x7e},     {0x20, 0x7e},     {0x20, 0x7e},
	{0xa0, 0x24f},    {0x370, 0x3ff},   {0x400, 0x4ff},   {0x5d0, 0x5ea},   {0x621, 0x64a},   {0x905, 0x939},
	{0x2000, 0x206f}, {0x2190, 0x21ff}, {0x3041, 0x3096}, {0x4e00, 0x4fff}, {0xac00, 0xad00}, {0x1f600, 0x1f64f},
	{0x660, 0x669},   {0x2150, 0x218b}, {0x300, 0x36f},
};
#define COUNT(a) (sizeof(a) / sizeof *(a))

static void put_part(struct text *text, uint64_t *seed, const struct part *parts, size_t n)
{
	const struct part *p = &parts[random_below(seed, n)];
	put(text, p->bytes, p->n);
}

/* words: (n_words) ids of pieces. */
static void draw_text(struct text *text, uint64_t *seed, const struct vocabulary *v, const int *words, uint64_t n_words)
{
	text->n = 0;
	for (int left = (int)random_below(seed, 25); left > 0; left--) {
		double kind = random_share(seed);
		if (kind < 0.45) {
			put_piece(text, &v->pieces[words[random_below(seed, n_words)]]);
			if (random_share(seed) < 0.7)
				put(text, " ", 1);
		} else if (kind < 0.65) {
			put_part(text, seed, white, COUNT(white));
		} else if (kind < 0.75) {
			put_part(text, seed, odd, COUNT(odd));
		} else if (kind < 0.78) {
			/* random_text chooses of one mark. */
			random_below(seed, 1);
			put(text, "<b>", 3);
		} else {
			const unsigned *block = blocks[random_below(seed, COUNT(blocks))];
			for (int n = 1 + (int)random_below(seed, 4); n > 0; n--)
				put_character(text, block[0] + (unsigned)random_below(seed, block[1] - block[0] + 1));
		}
	}
}

/* Pieces that text is made of; their number to *n. */
static int *word_ids(const struct vocabulary *v, uint64_t *n)
{
	int *ids = malloc((size_t)v->n * sizeof *ids);
	assert_non_null(ids);
	*n = 0;
	for (int i = 0; i < v->n; i++)
		if (v->pieces[i].kind == PIECE_NORMAL || v->pieces[i].kind == PIECE_USER_DEFINED)
			ids[(*n)++] = i;
	return ids;
}

/* ---- */

/* A 32-bit length and what it is of. The hashes are of little-endian numbers, as this machine's are. */
static void hash_counted(struct hash_stream *h, size_t n, const void *data, size_t size)
{
	const int32_t count = (int32_t)n;
	hash_stream_add(h, &count, sizeof count);
	hash_stream_add(h, data, n * size);
}

static void encodes_random_texts_as_sentencepiece(void **state)
{
	(void)state;
	static struct text text;
	const struct vocabulary *v = tokenizer_vocabulary(t);
	uint64_t seed = SEED, n_words;
	int *words = word_ids(v, &n_words);
	FILE *f = fopen(hashes, "r");
	assert_non_null(f);
	for (int i = 0; i < TEXTS; i += A_HASH) {
		unsigned long long wanted_texts, wanted_ids;
		struct hash_stream *texts = hash_stream_new(), *tokens = hash_stream_new();
		assert_true(texts && tokens);
		assert_int_equal(fscanf(f, "%llx %llx", &wanted_texts, &wanted_ids), 2);
		for (int k = 0; k < A_HASH; k++) {
			struct token_ids ids = {0};
			draw_text(&text, &seed, v, words, n_words);
			OK(tokenizer_encode(t, text.bytes, text.n, false, &ids, e));
			hash_counted(texts, text.n, text.bytes, 1);
			hash_counted(tokens, ids.n, ids.ids, sizeof *ids.ids);
			token_ids_free(&ids);
		}
		if (hash_stream_value(texts) != wanted_texts)
			fail_msg("texts %d to %d are not those of make_tokenizer.py", i, i + A_HASH - 1);
		if (hash_stream_value(tokens) != wanted_ids)
			fail_msg("texts %d to %d: other tokens than SentencePiece's; tokenizer_check %s with what "
				 "make_tokenizer.py random writes says where",
				 i, i + A_HASH - 1, path);
		hash_stream_free(texts);
		hash_stream_free(tokens);
	}
	assert_int_equal(fgetc(f), '\n');
	assert_int_equal(fgetc(f), EOF);
	fclose(f);
	free(words);
}

/* Of this process: what else runs on the machine does not count. */
static double processor_seconds(void)
{
	struct timespec now;
	assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now), 0);
	return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void megabyte_takes_less_than_a_second(const char *what, const char *text)
{
	struct token_ids ids = {0};
	double began = processor_seconds();
	OK(tokenizer_encode(t, text, MEGABYTE, false, &ids, e));
	double took = processor_seconds() - began;
	print_message("a megabyte of %s: %zu tokens, %.3f s\n", what, ids.n, took);
	token_ids_free(&ids);
	if (!SANITIZED && took > SECONDS_MAX)
		fail_msg("a megabyte of %s takes %g s of the processor, not below %g", what, took, SECONDS_MAX);
}

static void is_quick(void **state)
{
	(void)state;
	static const char page[] = "../results/README.md";
	static struct text some;
	const struct vocabulary *v = tokenizer_vocabulary(t);
	uint64_t seed = SEED, n_words;
	int *words = word_ids(v, &n_words);
	char *text = malloc(MEGABYTE);
	assert_non_null(text);
	for (size_t n = 0; n < MEGABYTE; n += some.n) {
		draw_text(&some, &seed, v, words, n_words);
		some.n = some.n < MEGABYTE - n ? some.n : MEGABYTE - n;
		memcpy(text + n, some.bytes, some.n);
	}
	megabyte_takes_less_than_a_second("random texts", text);
	/* From its beginning again where it ends. */
	FILE *f = fopen(page, "r");
	assert_non_null(f);
	size_t size = fread(text, 1, MEGABYTE, f);
	fclose(f);
	assert_true(size > 10000);
	for (size_t i = size; i < MEGABYTE; i++)
		text[i] = text[i - size];
	megabyte_takes_less_than_a_second("results/README.md", text);
	free(text);
	free(words);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(encodes_random_texts_as_sentencepiece),
		cmocka_unit_test(is_quick),
	};
	if (access(path, R_OK)) {
		printf("%s is not there; ci/setup.sh --real-model fetches it\n", path);
		return 77;
	}
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
