#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { ESCAPED_MAX = 4 * 4 }; /* bytes that a character's escapes take */

/* What may follow a first byte: the length, and the range of the second byte. Length 0: no character begins so. */
static int lead(unsigned char c, unsigned char *low, unsigned char *high)
{
	*low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;  /* shorter forms exist below */
	*high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf; /* surrogates, beyond U+10FFFF */
	return c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
}

/* Bytes of the character at the start of s, n > 0 bytes; negative: so many begin none, a maximal subpart. */
static int character(const char *s, size_t n)
{
	const unsigned char *u = (const unsigned char *)s;
	unsigned char low, high;
	int length = lead(u[0], &low, &high);
	for (int i = 1; i < length; i++)
		if ((size_t)i == n || u[i] < (i == 1 ? low : 0x80) || u[i] > (i == 1 ? high : 0xbf))
			return -i;
	return length ? length : -1;
}

static uint32_t point_of(const char *s, int length)
{
	uint32_t point = (unsigned char)s[0] & (length == 1 ? 0x7fu : 0x7fu >> length);
	for (int i = 1; i < length; i++)
		point = point << 6 | ((unsigned char)s[i] & 0x3f);
	return point;
}

static bool is_control(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xad || c == 0x61c || c == 0x180e ||
	       (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) ||
	       c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb) || (c >= 0xe0000 && c <= 0xe007f);
}

/* What is for a program's own use, and in no XML: U+FDD0 to U+FDEF, and the last two of each plane. */
static bool is_noncharacter(uint32_t c)
{
	return (c >= 0xfdd0 && c <= 0xfdef) || (c & 0xfffe) == 0xfffe;
}

int text_utf8_length(const char *s)
{
	int n = character(s, 4); /* the zero at its end ends any sequence */
	return n > 0 ? n : 0;
}

int text_control_length(const char *s)
{
	int n = text_utf8_length(s);
	return n && is_control(point_of(s, n)) ? n : 0;
}

size_t text_mark(const char *s, size_t n)
{
	return n >= 3 && !memcmp(s, "\xef\xbb\xbf", 3) ? 3 : 0;
}

int text_width(const char *s)
{
	int n = 0;
	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

size_t text_cut(const char *s, size_t max)
{
	size_t at = 0;
	while (s[at]) {
		int n = character(s + at, 4);
		size_t step = (size_t)(n < 0 ? -n : n);
		if (at + step > max)
			break;
		at += step;
	}
	return at;
}

/* The character at *at, as it is escaped, into out. Returns its bytes, and moves *at on. */
static size_t escape_one(char out[ESCAPED_MAX], const char *s, size_t n, size_t *at, bool backslash)
{
	static const char digits[] = "0123456789abcdef";
	const char *piece = s + *at;
	int length = character(piece, n - *at), bytes = length < 0 ? -length : length;
	char *o = out;
	*at += (size_t)bytes;
	if (length > 0 && !is_control(point_of(piece, length)) && !(backslash && *piece == '\\')) {
		memcpy(out, piece, (size_t)length);
		return (size_t)length;
	}
	if (*piece == '\n' || *piece == '\t') {
		out[0] = '\\';
		out[1] = *piece == '\n' ? 'n' : 't';
		return 2;
	}
	for (int i = 0; i < bytes; i++) {
		unsigned char c = (unsigned char)piece[i];
		*o++ = '\\';
		*o++ = 'x';
		*o++ = digits[c >> 4];
		*o++ = digits[c & 15];
	}
	return (size_t)(o - out);
}

size_t text_escape(char *dst, size_t size, const char *src)
{
	size_t used = 0, n = strlen(src);
	for (size_t at = 0; at < n;) {
		char piece[ESCAPED_MAX];
		size_t length = escape_one(piece, src, n, &at, false);
		if (used + length >= size)
			break;
		memcpy(dst + used, piece, length);
		used += length;
	}
	dst[used] = '\0';
	return used;
}

void text_print(FILE *f, const char *src)
{
	size_t n = strlen(src);
	for (size_t at = 0; at < n;) {
		char piece[ESCAPED_MAX];
		fwrite(piece, 1, escape_one(piece, src, n, &at, false), f);
	}
}

struct text_shown text_show(const char *s, size_t n)
{
	static const char dots[] = "...";
	struct text_shown out;
	size_t used = 0, room = 0; /* room: what can stay in front of the dots */
	for (size_t at = 0; at < n;) {
		char piece[ESCAPED_MAX];
		size_t length = escape_one(piece, s, n, &at, true);
		if (used + length >= sizeof out.text) {
			memcpy(out.text + room, dots, sizeof dots - 1);
			used = room + sizeof dots - 1;
			break;
		}
		memcpy(out.text + used, piece, length);
		used += length;
		if (used + sizeof dots <= sizeof out.text)
			room = used;
	}
	out.text[used] = '\0';
	return out;
}

struct text_shown text_show_path(const char *path)
{
	static const char dots[] = "...";
	struct text_shown out;
	char piece[ESCAPED_MAX];
	size_t n = strlen(path), from = 0, shown = 0; /* shown: bytes of all that is behind from */
	for (size_t at = 0; at < n;)
		shown += escape_one(piece, path, n, &at, true);
	if (shown < sizeof out.text)
		return text_show(path, n);
	while (shown + sizeof dots > sizeof out.text)
		shown -= escape_one(piece, path, n, &from, true);
	char *o = out.text + sizeof dots - 1;
	memcpy(out.text, dots, sizeof dots - 1);
	while (from < n)
		o += escape_one(o, path, n, &from, true);
	*o = '\0';
	return out;
}

size_t text_name(char *out, size_t size, const char *s, size_t n)
{
	static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */
	size_t used = 0;
	for (size_t at = 0; at < n;) {
		const char *piece = s + at;
		int length = character(piece, n - at);
		uint32_t point = length > 0 ? point_of(piece, length) : 0;
		bool kept = length > 0 && !is_control(point) && !is_noncharacter(point);
		size_t bytes = kept ? (size_t)length : sizeof replacement - 1;
		if (used + bytes >= size)
			break;
		memcpy(out + used, kept ? piece : replacement, bytes);
		used += bytes;
		at += (size_t)(length < 0 ? -length : length);
	}
	out[used] = '\0';
	return used;
}
