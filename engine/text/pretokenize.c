#include "engine/text/pretokenize.h"

#include <stdbool.h>

#include <utf8proc.h>

#include "base/text.h"

enum character_class {
	CLASS_OTHER,
	CLASS_LETTER,
	CLASS_NUMBER,
	CLASS_SPACE,
};

struct character {
	int point;
	size_t bytes;
	enum character_class class;
};

/* White_Space of Unicode's PropList. */
static bool is_space(int c)
{
	return (c >= 0x9 && c <= 0xd) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
	       (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

static enum character_class class_of(int c)
{
	if (is_space(c))
		return CLASS_SPACE;
	if (c < 0x80) {
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
		return letter ? CLASS_LETTER : c >= '0' && c <= '9' ? CLASS_NUMBER : CLASS_OTHER;
	}
	switch (utf8proc_category(c)) {
	case UTF8PROC_CATEGORY_LU:
	case UTF8PROC_CATEGORY_LL:
	case UTF8PROC_CATEGORY_LT:
	case UTF8PROC_CATEGORY_LM:
	case UTF8PROC_CATEGORY_LO:
		return CLASS_LETTER;
	case UTF8PROC_CATEGORY_ND:
	case UTF8PROC_CATEGORY_NL:
	case UTF8PROC_CATEGORY_NO:
		return CLASS_NUMBER;
	default:
		return CLASS_OTHER;
	}
}

static struct character at(const char *s, size_t i)
{
	const unsigned char *p = (const unsigned char *)s + i;
	int n = *p < 0x80 ? 1 : text_utf8_length(s + i);
	if (!n)
		return (struct character){-1, 1, CLASS_OTHER};
	static const unsigned char lead[] = {0, 0x7f, 0x1f, 0xf, 7};
	int c = *p & lead[n];
	for (int k = 1; k < n; k++)
		c = c << 6 | (p[k] & 0x3f);
	return (struct character){c, (size_t)n, class_of(c)};
}

/* The end of the run of that class that begins at i. */
static size_t run_of(const char *s, size_t n, size_t i, enum character_class class)
{
	while (i < n) {
		struct character c = at(s, i);
		if (c.class != class)
			break;
		i += c.bytes;
	}
	return i;
}

static bool is_newline(char c)
{
	return c == '\r' || c == '\n';
}

static int lower(int c)
{
	/* Case folding makes an s of U+017F as well. */
	return c == 0x17f ? 's' : c >= 'A' && c <= 'Z' ? c + 'a' - 'A' : c;
}

/* Of 's, 't, 're, 've, 'm, 'll and 'd, where s begins with one; 0: it does not. */
static size_t contraction(const char *s, size_t n)
{
	if (n < 2 || *s != '\'')
		return 0;
	struct character a = at(s, 1);
	int first = lower(a.point), second = 0;
	if (first == 's' || first == 't' || first == 'm' || first == 'd')
		return 1 + a.bytes;
	if (1 + a.bytes < n)
		second = lower(at(s, 1 + a.bytes).point);
	return (first == 'r' && second == 'e') || (first == 'v' && second == 'e') || (first == 'l' && second == 'l')
		       ? 3
		       : 0;
}

/* Of white space: up to its last newline; or all of it, but for the character in front of a word. */
static size_t spaces(const char *s, size_t n)
{
	size_t end = run_of(s, n, 0, CLASS_SPACE), newline = end, last = end;
	while (newline && !is_newline(s[newline - 1]))
		newline--;
	if (newline)
		return newline;
	if (end == n)
		return end;
	/* Back over the last character. */
	while (last && ((unsigned char)s[--last] & 0xc0) == 0x80)
		;
	return last ? last : end;
}

size_t pretokenize_qwen2(const char *s, size_t n)
{
	size_t end = contraction(s, n);
	if (end)
		return end;
	struct character first = at(s, 0), second = {0, 0, CLASS_OTHER};
	bool more = first.bytes < n;
	if (more)
		second = at(s, first.bytes);
	if (first.class == CLASS_LETTER)
		return run_of(s, n, 0, CLASS_LETTER);
	if (more && first.class != CLASS_NUMBER && !is_newline(*s) && second.class == CLASS_LETTER)
		return run_of(s, n, first.bytes, CLASS_LETTER);
	if (first.class == CLASS_NUMBER)
		return first.bytes;
	if (first.class == CLASS_OTHER || (*s == ' ' && more && second.class == CLASS_OTHER)) {
		end = run_of(s, n, first.class == CLASS_OTHER ? 0 : 1, CLASS_OTHER);
		while (end < n && is_newline(s[end]))
			end++;
		return end;
	}
	return spaces(s, n);
}
