/* Vocabularies that are wrong in one place, each refused with one line that says where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/model/gguf_internal.h"
#include "engine/text/vocabulary.h"
#include "tests/support/gguf_bytes.h"
#include "tests/support/ok.h"

enum what {
	DROP,    /* the key is not there */
	SHORTEN, /* its array is without the last item */
	STRING,  /* item `at` of its array, or with -1 the key itself, is `text` */
	NUMBER,  /* item `at`, or the key itself, has these bits */
	SCALAR,  /* the key is a number instead */
};

struct change {
	const char *kind, *key;
	enum what what;
	int at;
	const char *text;
	uint32_t bits;
	const char *says;
};

static void put_array_changed(struct bytes *b, const struct gguf_kv *kv, const struct change *c)
{
	uint64_t n = kv->n_items - (c->what == SHORTEN);
	const unsigned char *p = kv->value;
	put_array(b, kv->item_type, n);
	for (uint64_t i = 0; i < n; i++) {
		bool it = (int)i == c->at;
		size_t size = gguf_value_type_bytes(kv->item_type);
		if (kv->item_type == GGUF_STRING) {
			uint64_t length;
			memcpy(&length, p, 8);
			size = 8 + length;
		}
		if (it && c->what == STRING)
			put_string(b, c->text);
		else if (it && c->what == NUMBER)
			put_uint(b, c->bits, (int)size);
		else
			put(b, p, size);
		p += size;
	}
}

static void put_changed(struct bytes *b, const struct gguf_kv *kv, const struct change *c)
{
	put_uint(b, kv->key.size, 8);
	put(b, kv->key.data, kv->key.size);
	put_uint(b, c && c->what == SCALAR ? GGUF_UINT32 : kv->type, 4);
	if (!c)
		put(b, kv->value - (kv->type == GGUF_ARRAY ? 12 : 0),
		    gguf_kv_value_bytes(kv) + (kv->type == GGUF_ARRAY ? 12 : 0));
	else if (c->what == SCALAR)
		put_uint(b, 7, 4);
	else if (kv->type == GGUF_ARRAY)
		put_array_changed(b, kv, c);
	else if (c->what == STRING)
		put_string(b, c->text);
	else
		put_uint(b, c->bits, (int)gguf_value_type_bytes(kv->type));
}

static bool is_key(const struct gguf_kv *kv, const char *key)
{
	return strlen(key) == kv->key.size && !memcmp(key, kv->key.data, kv->key.size);
}

static struct bytes changed(const struct change *c)
{
	struct gguf g;
	struct bytes b = {0};
	char path[64];
	snprintf(path, sizeof path, "vectors/tokenizer-%s.gguf", c->kind);
	OK(gguf_open(&g, path, e));
	assert_non_null(gguf_find(&g, c->key));
	put_header(&b, 3, 0, g.n_kv - (c->what == DROP));
	for (size_t i = 0; i < g.n_kv; i++)
		if (!is_key(&g.kv[i], c->key) || c->what != DROP)
			put_changed(&b, &g.kv[i], is_key(&g.kv[i], c->key) ? c : NULL);
	gguf_close(&g);
	return b;
}

static int read_changed(const struct change *c, struct vocabulary *v, struct error *err)
{
	struct gguf g;
	struct bytes b = changed(c);
	OK(gguf_open_memory(&g, b.p, b.n, "some.gguf", e));
	int rc = vocabulary_read(v, &g, err);
	gguf_close(&g);
	bytes_free(&b);
	return rc;
}

#define TOKENS "tokenizer.ggml.tokens"
#define SCORES "tokenizer.ggml.scores"
#define TYPES "tokenizer.ggml.token_type"
#define MERGES "tokenizer.ggml.merges"
static char long_piece[1100], long_spaces[1025], long_merge[1028];

static const struct change refused[] = {
	{"llama", "tokenizer.ggml.model", DROP, -1, NULL, 0,
	 "has no vocabulary (no tokenizer.ggml.model): of text no tokens can be made; use a model's published file"},
	{"llama", "tokenizer.ggml.model", STRING, -1, "none", 0, "has no vocabulary (tokenizer.ggml.model is none)"},
	{"llama", "tokenizer.ggml.model", STRING, -1, "bert", 0,
	 "tokenizer.ggml.model is bert; this program reads llama, gemma4 and gpt2: give a model with one of these"},
	{"llama", "tokenizer.ggml.model", SCALAR, -1, NULL, 0, "tokenizer.ggml.model holds a uint32"},
	{"qwen2", "tokenizer.ggml.pre", DROP, -1, NULL, 0, "tokenizer.ggml.pre is missing"},
	{"qwen2", "tokenizer.ggml.pre", STRING, -1, "llama-bpe", 0,
	 "tokenizer.ggml.pre is llama-bpe; of gpt2's vocabularies this program reads qwen2: give a model with that "
	 "one"},
	{"llama", TOKENS, DROP, -1, NULL, 0, TOKENS " is missing"},
	{"llama", TOKENS, SCALAR, -1, NULL, 0, TOKENS " is no array"},
	{"llama", TOKENS, SHORTEN, -1, NULL, 0, TYPES " has 512 items and " TOKENS " 511"},
	{"llama", TOKENS, STRING, 300, "", 0, TOKENS "[300] '' is empty"},
	{"llama", TOKENS, STRING, 300, long_piece, 0, "is longer than any piece"},
	{"llama", TOKENS, STRING, 300, long_spaces, 0, "is longer than any piece"}, /* in a file it is not */
	{"llama", TOKENS, STRING, 300, "a\xc3", 0, TOKENS "[300] 'a\\xc3' is no UTF-8"},
	{"llama", TOKENS, STRING, 20, "<0xZZ>", 0, "is a byte's piece by its type, but not by its text"},
	{"llama", TOKENS, STRING, 20, "<0x41>", 0, "are both the byte 0x41"},
	{"llama", TYPES, NUMBER, 20, NULL, 1, "has no piece for the byte 0x"},
	{"qwen2", TOKENS, STRING, 7, "&", 0, "are both '&'"},
	{"llama", TYPES, DROP, -1, NULL, 0, TYPES " is missing"},
	{"llama", TYPES, NUMBER, 9, NULL, 0, TYPES "[9] is 0, expected 1 to 6"},
	{"llama", TYPES, NUMBER, 9, NULL, 0x80000000u, TYPES "[9] is -2147483648, expected 1 to 6"},
	{"llama", SCORES, DROP, -1, NULL, 0, SCORES " is missing"},
	{"llama", SCORES, SHORTEN, -1, NULL, 0, SCORES " has 511 items and " TOKENS " 512"},
	{"llama", SCORES, NUMBER, 400, NULL, 0x7fc00000u, SCORES "[400] is no finite number"},
	{"llama", SCORES, NUMBER, 400, NULL, 0xff800000u, SCORES "[400] is no finite number"},
	{"gemma4", MERGES, DROP, -1, NULL, 0, MERGES " is missing"},
	{"gemma4", MERGES, STRING, 3, "the", 0, MERGES "[3] 'the' is not two pieces that make a third"},
	{"gemma4", MERGES, STRING, 3, "", 0, MERGES "[3] '' is not two pieces"},
	{"gemma4", MERGES, STRING, 3, "q z", 0, MERGES "[3] 'q z' is not two pieces"},
	{"gemma4", MERGES, STRING, 3, "a ", 0, MERGES "[3] 'a ' is not two pieces"},
	{"qwen2", MERGES, STRING, 3, "\xe4\xb8\x96 a", 0, MERGES "[3]"},
	{"qwen2", MERGES, STRING, 3, "\xc4 t", 0, MERGES "[3]"}, /* the first half of a space's letter */
	{"qwen2", MERGES, STRING, 3, long_merge, 0, MERGES "[3]"},
	{"llama", "tokenizer.ggml.bos_token_id", NUMBER, -1, NULL, 512,
	 "bos_token_id is 512, and the vocabulary has 512"},
	{"llama", "tokenizer.ggml.bos_token_id", DROP, -1, NULL, 0, "bos_token_id does not name"},
	{"qwen2", "tokenizer.ggml.eos_token_id", NUMBER, -1, NULL, 9999, "eos_token_id is 9999"},
};

static void says_what_is_wrong(void **state)
{
	(void)state;
	memset(long_piece, 'x', sizeof long_piece - 1);
	memset(long_spaces, ' ', PIECE_BYTES_MAX / 2);
	memset(long_merge, 'x', PIECE_BYTES_MAX + 1);
	memcpy(long_merge + PIECE_BYTES_MAX + 1, " t", 2);
	for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
		struct vocabulary v;
		struct error err = {""};
		int rc = read_changed(&refused[i], &v, &err);
		vocabulary_free(&v);
		if (!rc)
			fail_msg("%s: not refused", refused[i].says);
		if (rc != ERROR_INPUT && rc != ERROR_UNSUPPORTED)
			fail_msg("%s: code %d", refused[i].says, rc);
		if (strncmp(err.text, "some.gguf: ", 11) || !strstr(err.text, refused[i].says) ||
		    strchr(err.text, '\n'))
			fail_msg("expected '%s' in: %s", refused[i].says, err.text);
	}
}

/* Two pieces alike: an error where nothing says which one counts; of gemma4 the later one, as the reference has it. */
static void takes_the_later_of_two_pieces_of_gemma4(void **state)
{
	(void)state;
	struct vocabulary v;
	struct error err = {""};
	struct change c = {"gemma4", TOKENS, STRING, -1, "e", 0, NULL};
	struct change score = {"llama", TOKENS, STRING, 511, "e", 0, NULL};
	struct gguf g;
	OK(gguf_open(&g, "vectors/tokenizer-gemma4.gguf", e));
	OK(vocabulary_read(&v, &g, e));
	gguf_close(&g);
	int first = vocabulary_find(&v, "e", 1), t = vocabulary_find(&v, "t", 1);
	c.at = vocabulary_find(&v, "\xe4\xbd\xa0", 3); /* of which no merge is made */
	assert_true(first >= 0 && c.at > first);
	int th = vocabulary_merge(&v, t, vocabulary_find(&v, "h", 1))->id;
	vocabulary_free(&v);
	OK(read_changed(&c, &v, e));
	assert_int_equal(vocabulary_find(&v, "e", 1), c.at);
	/* Its merges are of the one that counts. */
	assert_non_null(vocabulary_merge(&v, th, c.at));
	assert_null(vocabulary_merge(&v, th, first));
	vocabulary_free(&v);
	assert_int_equal(read_changed(&score, &v, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "are both 'e'"));
	vocabulary_free(&v);
}

/* The text of item i of MERGES. */
static char *merge_text(const char *kind, int i)
{
	struct gguf g;
	char path[64], *text;
	snprintf(path, sizeof path, "vectors/tokenizer-%s.gguf", kind);
	OK(gguf_open(&g, path, e));
	size_t n = gguf_find(&g, MERGES)->n_items;
	struct gguf_string *all = malloc(n * sizeof *all);
	assert_non_null(all);
	OK(gguf_get_strings(&g, MERGES, all, n, e));
	text = strndup(all[i].data, all[i].size);
	assert_non_null(text);
	free(all);
	gguf_close(&g);
	return text;
}

/* A merge that is listed again has the rank of its first time. */
static void takes_the_first_of_two_merges_alike(void **state)
{
	(void)state;
	enum { FIRST = 3, AGAIN = 20 };
	struct vocabulary v;
	char *text = merge_text("gemma4", FIRST);
	struct change c = {"gemma4", MERGES, STRING, AGAIN, text, 0, NULL};
	size_t left = strcspn(text, " ");
	OK(read_changed(&c, &v, e));
	const struct merge *m = vocabulary_merge(&v, vocabulary_find(&v, text, left),
						 vocabulary_find(&v, text + left + 1, strlen(text) - left - 1));
	assert_non_null(m);
	assert_int_equal(m->rank, FIRST);
	vocabulary_free(&v);
	free(text);
}

static void knows_no_token_where_the_file_says_so(void **state)
{
	(void)state;
	struct vocabulary v;
	struct change none = {"qwen2", "tokenizer.ggml.eos_token_id", NUMBER, -1, NULL, UINT32_MAX, NULL};
	OK(read_changed(&none, &v, e));
	assert_int_equal(v.eos, -1);
	assert_int_equal(v.bos, -1);
	assert_false(v.add_bos);
	vocabulary_free(&v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(says_what_is_wrong),
		cmocka_unit_test(takes_the_later_of_two_pieces_of_gemma4),
		cmocka_unit_test(takes_the_first_of_two_merges_alike),
		cmocka_unit_test(knows_no_token_where_the_file_says_so),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
