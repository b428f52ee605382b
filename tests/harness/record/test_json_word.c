/* Words of any bytes through JSON text and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/record/json_word.h"

static void test_text(void **state)
{
	(void)state;
	static const struct {
		const char *word, *json;
	} words[] = {
		{"plain", "\"plain\""},
		{"", "\"\""},
		{"a\x1b\n\"", "\"a\\u001B\\n\\\"\""},
		{"Gr\xc3\xb6\xc3\x9f"
		 "e",
		 "\"Gr\xc3\xb6\xc3\x9f"
		 "e\""},
		{"a/\xff\x01", "{\"hex\": \"612fff01\"}"},
		{"\xed\xa0\x80", "{\"hex\": \"eda080\"}"},
		{"{\"hex\": \"61\"}", "\"{\\\"hex\\\": \\\"61\\\"}\""},
	};
	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		json_t *word = json_word(words[i].word);
		char *text = json_dumps(word, JSON_ENCODE_ANY);
		assert_string_equal(text, words[i].json);
		json_t *read = json_loads(text, JSON_DECODE_ANY, NULL);
		char *bytes = json_word_bytes(read);
		assert_non_null(bytes);
		assert_string_equal(bytes, words[i].word);
		free(bytes);
		free(text);
		json_decref(read);
		json_decref(word);
	}
}

/* Every byte but zero, alone and with others. */
static void test_every_byte(void **state)
{
	(void)state;
	for (int a = 1; a < 256; a++)
		for (int b = 0; b < 256; b += 5) {
			const char word[3] = {(char)a, (char)b, 0};
			json_t *json = json_word(word);
			char *text = json_dumps(json, JSON_ENCODE_ANY);
			json_t *read = json_loads(text, JSON_DECODE_ANY, NULL);
			char *bytes = json_word_bytes(read);
			assert_string_equal(bytes, word);
			free(bytes);
			free(text);
			json_decref(read);
			json_decref(json);
		}
}

static void test_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {"null",
					  "17",
					  "[]",
					  "{}",
					  "{\"hex\": 1}",
					  "{\"hex\": \"6\"}",
					  "{\"hex\": \"6g\"}",
					  "{\"hex\": \"6100\"}",
					  "{\"hex\": \"61 2\"}"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		json_t *json = json_loads(bad[i], JSON_DECODE_ANY, NULL);
		assert_non_null(json);
		assert_null(json_word_bytes(json));
		json_decref(json);
	}
	assert_null(json_word_bytes(NULL));
	json_t *zero = json_loads("\"a\\u0000b\"", JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	assert_non_null(zero);
	assert_null(json_word_bytes(zero));
	json_decref(zero);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_every_byte),
		cmocka_unit_test(test_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
