/* Whether a text is one line that a terminal shows as it is: UTF-8 without controls. */
#ifndef GEMMARK_TESTS_SUPPORT_SHOWN_LINE_H
#define GEMMARK_TESTS_SUPPORT_SHOWN_LINE_H

#include <stdbool.h>

#include "base/text.h"

static inline bool is_shown_line(const char *text)
{
	for (; *text; text += text_utf8_length(text))
		if (!text_utf8_length(text) || text_control_length(text))
			return false;
	return true;
}

#endif
