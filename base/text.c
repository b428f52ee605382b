#include "base/text.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* The sequence's code point, *n its bytes; 0 bytes: it is none. */
static uint32_t decode(const char *text, int *n)
{
	static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
	const unsigned char *s = (const unsigned char *)text;
	*n = s[0] < 0x80 ? 1 : s[0] >> 5 == 6 ? 2 : s[0] >> 4 == 14 ? 3 : s[0] >> 3 == 30 ? 4 : 0;
	if (*n <= 1)
		return s[0];
	uint32_t point = s[0] & (0x7fu >> *n);
	for (int i = 1; i < *n; i++) {
		if (s[i] >> 6 != 2) {
			*n = 0;
			return 0;
		}
		point = point << 6 | (s[i] & 0x3f);
	}
	if (point < smallest[*n] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000))
		*n = 0;
	return point;
}

int text_utf8_length(const char *s)
{
	int n;
	decode(s, &n);
	return n;
}

int text_control_length(const char *s)
{
	int n;
	uint32_t c = decode(s, &n);
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x200e || c == 0x200f || c == 0x2028 || c == 0x2029 ||
			       (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069)
		       ? n
		       : 0;
}

size_t text_escape(char *dst, size_t size, const char *src)
{
	size_t used = 0;
	while (*src) {
		int n = text_utf8_length(src), shown = n && !text_control_length(src);
		char escaped[4 * 4 + 1];
		size_t length = 0;
		n = n ? n : 1;
		if (*src == '\n' || *src == '\t')
			length = (size_t)snprintf(escaped, sizeof escaped, "\\%c", *src == '\n' ? 'n' : 't');
		else if (!shown)
			for (int i = 0; i < n; i++)
				length += (size_t)snprintf(escaped + length, sizeof escaped - length, "\\x%02x",
							   (unsigned char)src[i]);
		else
			length = (size_t)n;
		if (used + length >= size)
			break;
		memcpy(dst + used, shown ? src : escaped, length);
		used += length;
		src += n;
	}
	dst[used] = '\0';
	return used;
}
