#include "harness/report/markup.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "harness/report/document.h"

/*
 * Bytes of a character that is to be shown as it is; of others, it is written as text_escape does, *n bytes of it, with
 * this for a backslash.
 */
static int shown(FILE *f, const char *s, const char *backslash, int *n)
{
	int length = text_utf8_length(s);
	*n = length ? length : 1;
	if (length && !text_control_length(s))
		return length;
	for (int i = 0; i < *n; i++) {
		fputs(backslash, f);
		if (s[i] == '\n' || s[i] == '\t')
			fputc(s[i] == '\n' ? 'n' : 't', f);
		else
			fprintf(f, "x%02x", (unsigned char)s[i]);
	}
	return 0;
}

static void write_html(FILE *f, const char *text, int lines)
{
	for (int n; *text; text += n) {
		n = 1;
		if (lines && *text == *CHART_LINE) {
			fputc('\n', f);
			continue;
		}
		if (!shown(f, text, "\\", &n))
			continue;
		if (strchr("&<>\"'", *text))
			fprintf(f, "&#%d;", *text);
		else
			fwrite(text, 1, (size_t)n, f);
	}
}

void markup_html(FILE *f, const char *text)
{
	write_html(f, text, 0);
}

void markup_html_lines(FILE *f, const char *text)
{
	write_html(f, text, 1);
}

static int is_word(char c)
{
	return isalnum((unsigned char)c) || (unsigned char)c >= 0x80;
}

/* start: of a paragraph, where a list, a heading or a rule could begin, "1." and "1)" included. */
static void write_markdown(FILE *f, const char *text, int start)
{
	static const char joiner[] = "\xe2\x81\xa0";
	static const char plain[] = " .,;:()%/='?!+-\"";
	int number = start;
	for (const char *c = text; *c;) {
		int n;
		if (!shown(f, c, "&#92;", &n)) {
			c += n;
			number = 0;
			continue;
		}
		int www = c[0] == '.' && c - text >= 3 && !strncasecmp(c - 3, "www", 3);
		int scheme = c[0] == ':' && c[1] == '/';
		int opens = (start && c == text) || (number && (*c == '.' || *c == ')'));
		if (is_word(*c) || (!opens && !www && !scheme && strchr(plain, *c)))
			fwrite(c, 1, (size_t)n, f);
		else
			fprintf(f, "&#%d;", *c);
		if (strchr("@#:", *c) && is_word(c[1]))
			fputs(joiner, f);
		number &= isdigit((unsigned char)*c) != 0;
		c += n;
	}
}

void markup_markdown(FILE *f, const char *text)
{
	write_markdown(f, text, 1);
}

void markup_markdown_inline(FILE *f, const char *text)
{
	write_markdown(f, text, 0);
}

int markup_backticks(const char *text)
{
	int most = 0, n = 0;
	for (; *text; text++) {
		n = *text == '`' ? n + 1 : 0;
		most = n > most ? n : most;
	}
	return most;
}
