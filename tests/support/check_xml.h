/* Whether a text is well-formed XML, as far as a picture's is. Include cmocka.h before. */
#ifndef GEMMARK_TESTS_SUPPORT_CHECK_XML_H
#define GEMMARK_TESTS_SUPPORT_CHECK_XML_H

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* Tags nest and close, attributes are quoted, '&' starts a reference, the bytes are UTF-8. */
static inline void check_xml(const char *text, size_t n)
{
	char stack[64][32];
	int depth = 0, n_elements = 0;
	assert_int_equal(strlen(text), n);
	for (const char *c = text; *c;) {
		if (*c == '&') {
			const char *end = strchr(c, ';');
			assert_true(end && end - c < 12);
		}
		assert_true((unsigned char)*c >= ' ' || isspace((unsigned char)*c));
		if (*c != '<') {
			c++;
			continue;
		}
		if (!strncmp(c, "<!--", 4)) {
			c = strstr(c, "-->");
			assert_non_null(c);
			continue;
		}
		if (!strncmp(c, "<![CDATA[", 9)) {
			c = strstr(c, "]]>");
			assert_non_null(c);
			continue;
		}
		if (c[1] == '?' || c[1] == '!') {
			c = strchr(c, '>');
			assert_non_null(c);
			continue;
		}
		int closing = c[1] == '/';
		char name[32] = "";
		assert_int_equal(sscanf(c + 1 + closing, "%31[A-Za-z0-9:_-]", name), 1);
		char quote = 0;
		for (c++; *c && (quote || *c != '>'); c++) {
			if (!quote && (*c == '"' || *c == '\''))
				quote = *c;
			else if (*c == quote)
				quote = 0;
			assert_true(*c != '<');
		}
		assert_int_equal(*c, '>');
		if (closing) {
			assert_true(depth > 0);
			assert_string_equal(stack[--depth], name);
		} else if (c[-1] != '/') {
			assert_true(depth < 64);
			snprintf(stack[depth++], sizeof stack[0], "%s", name);
		}
		n_elements++;
		c++;
	}
	assert_int_equal(depth, 0);
	assert_true(n_elements > 50);
}

#endif
