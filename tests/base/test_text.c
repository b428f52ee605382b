/* What a terminal would obey never reaches it; what it shows does, whole characters only. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/text.h"

static void test_escape(void **state)
{
	(void)state;
	static const struct {
		const char *from, *to;
	} cases[] = {
		{"", ""},
		{"plain \"text\" \\ 100 %", "plain \"text\" \\ 100 %"},
		{"\xc2\xb5s \xe2\x82\xac \xf0\x9f\x98\x80", "\xc2\xb5s \xe2\x82\xac \xf0\x9f\x98\x80"},
		{"a\nb\tc\rd", "a\\nb\\tc\\x0dd"},
		{"\x1b[31m\x07\x7f", "\\x1b[31m\\x07\\x7f"},
		{"\302\23331m", "\\xc2\\x9b31m"},                  /* C1's own CSI */
		{"\xe2\x80\xaetxt.exe", "\\xe2\\x80\\xaetxt.exe"}, /* right to left */
		{"\xff\xc0\x80", "\\xff\\xc0\\x80"},               /* overlong NUL */
		{"\xed\xa0\x80", "\\xed\\xa0\\x80"},               /* surrogate */
		{"\xe2\x82", "\\xe2\\x82"},                        /* cut off */
		{"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},      /* beyond U+10FFFF */
	};
	char out[64];
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		size_t n = text_escape(out, sizeof out, cases[i].from);
		assert_string_equal(out, cases[i].to);
		assert_int_equal(n, strlen(out));
	}
	/* Cut between characters, escapes included. */
	static const int kept[] = {0, 1, 1, 3, 3, 3, 3, 7, 8};
	for (size_t size = 1; size <= sizeof kept / sizeof *kept; size++) {
		memset(out, '#', sizeof out);
		text_escape(out, size, "a\302\265\033b");
		assert_int_equal(strlen(out), kept[size - 1]);
		assert_memory_equal(out, "a\302\265\\x1bb", (size_t)kept[size - 1]);
		assert_int_equal(out[size], '#');
	}
}

static void test_lengths(void **state)
{
	(void)state;
	assert_int_equal(text_utf8_length("a"), 1);
	assert_int_equal(text_utf8_length("\xe2\x82\xac"), 3);
	assert_int_equal(text_utf8_length("\xf0\x9f\x98\x80"), 4);
	assert_int_equal(text_utf8_length("\x80"), 0);
	assert_int_equal(text_utf8_length("\xe2\x82"), 0);
	assert_int_equal(text_control_length("\n"), 1);
	assert_int_equal(text_control_length("\xc2\x85"), 2);
	assert_int_equal(text_control_length("\xe2\x81\xa6"), 3);
	assert_int_equal(text_control_length("\xc2\xa0"), 0);
	assert_int_equal(text_control_length(" "), 0);
}

/* Lines of errors are lines, whatever a file's text holds; long ones end with a whole character. */
static void test_errors(void **state)
{
	(void)state;
	struct error e;
	char much[2000] = "";
	assert_int_equal(error_set(&e, ERROR_INPUT, "%s: '%s'", "f", "x\n\x1b[2Jy"), ERROR_INPUT);
	assert_string_equal(e.text, "f: 'x\\n\\x1b[2Jy'");
	assert_int_equal(error_prefix(&e, ERROR_IO, "a\x7f"), ERROR_IO);
	assert_string_equal(e.text, "a\\x7f: f: 'x\\n\\x1b[2Jy'");
	for (int i = 0; i < 600; i++)
		memcpy(much + 3 * i, "\xe2\x82\xac", 4);
	error_set(&e, ERROR_INPUT, "%s", much);
	assert_int_equal(strlen(e.text), 510); /* of 511, 170 whole ones */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_escape),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_errors),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
