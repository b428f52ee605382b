#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int error_set(struct error *e, int code, const char *format, ...)
{
	if (e) {
		va_list args;
		va_start(args, format);
		vsnprintf(e->text, sizeof e->text, format, args);
		va_end(args);
	}
	return code;
}

int error_prefix(struct error *e, int code, const char *format, ...)
{
	if (e) {
		char tail[sizeof e->text];
		memcpy(tail, e->text, sizeof tail);
		va_list args;
		va_start(args, format);
		int n = vsnprintf(e->text, sizeof e->text, format, args);
		va_end(args);
		if (n >= 0 && (size_t)n < sizeof e->text)
			snprintf(e->text + n, sizeof e->text - (size_t)n, ": %s", tail);
	}
	return code;
}
