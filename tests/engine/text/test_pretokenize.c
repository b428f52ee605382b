/*
 * The words of Qwen's expression, by hand from what it says: contractions of either case; letters behind at most one
 * other character that is no newline; digits one by one; a space and other characters, with the newlines behind; white
 * space up to its last newline, or up to the space of the next word.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/text/pretokenize.h"

enum { WORDS = 8 };

static const struct {
	const char *text;
	size_t words[WORDS]; /* bytes of each; 0: no more */
} cases[] = {
	{"abc def", {3, 4}},
	{"they'll", {4, 3}},
	{"they'LL", {4, 3}},
	{"'llama", {3, 3}},
	{"'Ready", {3, 3}},
	{"'verb", {3, 2}},
	{"'sun", {2, 2}},
	{"'run", {4}},
	{"'\xc5\xbfun", {3, 2}}, /* a long s */
	{"x2024y", {1, 1, 1, 1, 1, 1}},
	{" 12", {1, 1, 1}},
	{"\xd9\xa3\xd9\xa4", {2, 2}}, /* digits that are no ASCII */
	{"(abc)", {4, 1}},
	{"1abc", {1, 3}},
	{"\nabc", {1, 3}},
	{"\r\nabc", {2, 3}},
	{"\tabc", {4}},
	{"\xc2\xa0"
	 "abc",
	 {5}},
	{"a  b", {1, 1, 2}},
	{"a\xc2\xa0\xc2\xa0"
	 "b",
	 {1, 2, 3}},
	{"a   1", {1, 2, 1, 1}},
	{"a  \n \nb", {1, 5, 1}},
	{"a \n  b", {1, 2, 1, 2}},
	{"a  ", {1, 2}},
	{" ?!\n\nb", {5, 1}},
	{"?! b", {2, 2}},
	{"  ?", {1, 2}},
	{"\xe4\xb8\x96\xe7\x95\x8c!", {6, 1}},
	{"\xff\xfe"
	 "a",
	 {2, 1}}, /* bytes that are no character are others */
};

static void test_words(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		/* As the tokenizer has it: zero bytes behind. */
		char text[32] = "";
		size_t n = strlen(cases[i].text), at = 0;
		memcpy(text, cases[i].text, n);
		for (int k = 0; at < n; k++) {
			size_t size = pretokenize_qwen2(text + at, n - at);
			if (k == WORDS || size != cases[i].words[k])
				fail_msg("'%s', word %d: %zu bytes", cases[i].text, k, size);
			at += size;
		}
		assert_int_equal(at, n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
