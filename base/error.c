#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

/* What was formatted may have text of a file in it: it stays one line, and no terminal obeys it. */
static void set_line(struct error *e, const char *text)
{
	text_escape(e->text, sizeof e->text, text);
}

int error_set(struct error *e, int code, const char *format, ...)
{
	if (e) {
		char text[2 * sizeof e->text];
		va_list args;
		va_start(args, format);
		vsnprintf(text, sizeof text, format, args);
		va_end(args);
		set_line(e, text);
	}
	return code;
}

int error_prefix(struct error *e, int code, const char *format, ...)
{
	if (e) {
		char text[2 * sizeof e->text];
		va_list args;
		va_start(args, format);
		int n = vsnprintf(text, sizeof text, format, args);
		va_end(args);
		if (n >= 0 && (size_t)n < sizeof text)
			snprintf(text + n, sizeof text - (size_t)n, ": %s", e->text);
		set_line(e, text);
	}
	return code;
}
