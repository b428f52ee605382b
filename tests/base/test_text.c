/*
 * What a terminal would obey never reaches it; what it shows does, whole characters only; names are the same text
 * everywhere. Of ill-formed sequences the examples are those of the Unicode standard, section 3.9 (tables 3-8 to 3-11).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
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
		{"a\xe2\x80\x8b"
		 "b",
		 "a\\xe2\\x80\\x8bb"}, /* no width */
		{"a\xef\xbb\xbf"
		 "b",
		 "a\\xef\\xbb\\xbfb"},                        /* a byte order mark inside */
		{"\xf3\xa0\x81\x81", "\\xf3\\xa0\\x81\\x81"}, /* a tag */
		{"\xff\xc0\x80", "\\xff\\xc0\\x80"},          /* overlong NUL */
		{"\xed\xa0\x80", "\\xed\\xa0\\x80"},          /* surrogate */
		{"\xe2\x82", "\\xe2\\x82"},                   /* cut off */
		{"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"}, /* beyond U+10FFFF */
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

/* What turns the direction of writing, and what takes no room: each of them, and not its neighbours. */
static void test_unseen(void **state)
{
	(void)state;
	static const struct {
		unsigned from, to;
	} unseen[] = {{0xad, 0xad},     {0x61c, 0x61c},   {0x180e, 0x180e}, {0x200b, 0x200f},  {0x2028, 0x202e},
		      {0x2060, 0x206f}, {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0xe0000, 0xe007f}};
	unsigned next = 0;
	for (unsigned c = 0xa0; c < 0xe1000; c = c + 1 == 0xd800 ? 0xe000 : c + 1) {
		unsigned char s[5] = {0};
		while (next < sizeof unseen / sizeof *unseen && c > unseen[next].to)
			next++;
		int is = next < sizeof unseen / sizeof *unseen && c >= unseen[next].from;
		int n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
		for (int i = n - 1; i > 0; i--)
			s[i] = (unsigned char)(0x80 | (c >> 6 * (n - 1 - i) & 0x3f));
		s[0] = (unsigned char)((0xf00 >> n & 0xff) | c >> 6 * (n - 1));
		assert_int_equal(text_utf8_length((const char *)s), n);
		if (text_control_length((const char *)s) != (is ? n : 0))
			fail_msg("U+%04X", c);
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

#define BAD "\xef\xbf\xbd"

static void test_name(void **state)
{
	(void)state;
	static const struct {
		const char *bytes, *name;
	} pairs[] = {
		{"Gemma 4 E2B", "Gemma 4 E2B"},
		{"Gr\xc3\xb6\xc3\x9f\xe2\x82\xac\xf0\x9f\x98\x80\\",
		 "Gr\xc3\xb6\xc3\x9f\xe2\x82\xac\xf0\x9f\x98\x80\\"},
		{"a\x1b[2Jb\n\x7f", "a" BAD "[2Jb" BAD BAD},
		{"a\302\2332J\342\200\256|", "a" BAD "2J" BAD "|"},
		{"\xef\xbf\xbe|\xef\xb7\x90|\xf0\x9f\xbf\xbf", BAD "|" BAD "|" BAD},
		{"\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41", BAD BAD BAD BAD BAD BAD BAD BAD "A"},
		{"\xed\xa0\x80\xed\xbf\xbf\xed\xaf\x41", BAD BAD BAD BAD BAD BAD BAD BAD "A"},
		{"\xf4\x91\x92\x93\xff\x41\x80\xbf\x42", BAD BAD BAD BAD BAD "A" BAD BAD "B"},
		{"\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41", BAD BAD BAD BAD "A"},
		{"cut \xe2\x82", "cut " BAD},
	};
	char out[128], again[128];
	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
		size_t n = text_name(out, sizeof out, pairs[i].bytes, strlen(pairs[i].bytes));
		assert_string_equal(out, pairs[i].name);
		assert_int_equal(n, strlen(out));
		text_name(again, sizeof again, out, n);
		assert_string_equal(again, out);
	}
	/* A zero byte is one of them. */
	text_name(out, sizeof out, "a\0b", 3);
	assert_string_equal(out, "a" BAD "b");
	/* 3 bytes a character: 8 hold two of them, and the end. */
	assert_int_equal(text_name(out, 8, "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac", 9), 6);
	assert_string_equal(out, "\xe2\x82\xac\xe2\x82\xac");
	assert_int_equal(text_name(out, 3, "\xff", 1), 0);
	assert_string_equal(out, "");
}

static void test_show(void **state)
{
	(void)state;
	assert_string_equal(text_show("a\\b\n\x1b", 4).text, "a\\x5cb\\n");
	char path[400];
	memset(path, 'd', sizeof path);
	/* All that fit, or three dots in place of the last. */
	assert_int_equal(strlen(text_show(path, TEXT_SHOWN_SIZE - 1).text), TEXT_SHOWN_SIZE - 1);
	assert_null(strchr(text_show(path, TEXT_SHOWN_SIZE - 1).text, '.'));
	assert_string_equal(text_show(path, TEXT_SHOWN_SIZE).text + TEXT_SHOWN_SIZE - 6, "dd...");
	path[TEXT_SHOWN_SIZE - 6] = '\x1b';
	assert_string_equal(text_show(path, TEXT_SHOWN_SIZE).text + TEXT_SHOWN_SIZE - 8, "dd...");

	memset(path, 'd', sizeof path);
	memcpy(path + 396, "\x1b.f", 4);
	struct text_shown shown = text_show_path(path);
	assert_int_equal(strlen(shown.text), TEXT_SHOWN_SIZE - 1);
	assert_memory_equal(shown.text, "...d", 4);
	assert_string_equal(shown.text + TEXT_SHOWN_SIZE - 1 - 7, "d\\x1b.f");
	assert_string_equal(text_show_path("a/b").text, "a/b");
	/* The start falls between characters. */
	for (int i = 0; i < 133; i++)
		memcpy(path + 3 * i, "\xe2\x82\xac", 4);
	shown = text_show_path(path);
	assert_memory_equal(shown.text, "...\xe2\x82\xac", 6);
	assert_int_equal(strlen(shown.text) % 3, 0);
}

static void test_cut(void **state)
{
	(void)state;
	static const char text[] = "a\303\266\360\237\230\200b";
	static const size_t right[] = {0, 1, 1, 3, 3, 3, 3, 7, 8, 8};
	for (size_t max = 0; max < sizeof right / sizeof *right; max++)
		assert_int_equal(text_cut(text, max), right[max]);
	assert_int_equal(text_cut("\xff\xff\xff", 2), 2);
	assert_int_equal(text_width(text), 4);
	assert_int_equal(text_mark("\xef\xbb\xbf"
				   "2",
				   4),
			 3);
	assert_int_equal(text_mark("\xef\xbb\xbf", 2), 0);
}

static void test_print(void **state)
{
	(void)state;
	char out[64];
	FILE *f = tmpfile();
	assert_non_null(f);
	text_print(f, "a\nb\x1b[1m\\ \xe2\x82\xac\xff");
	rewind(f);
	out[fread(out, 1, sizeof out - 1, f)] = '\0';
	fclose(f);
	assert_string_equal(out, "a\\nb\\x1b[1m\\ \xe2\x82\xac\\xff");
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
		cmocka_unit_test(test_escape), cmocka_unit_test(test_unseen), cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_errors), cmocka_unit_test(test_name),   cmocka_unit_test(test_show),
		cmocka_unit_test(test_cut),    cmocka_unit_test(test_print),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
