#include "harness/cli/token_list.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "harness/cli/text_input.h"

#define SEPARATORS " \t\n\v\f\r,[]"

static int parse(struct token_list *l, const char *text, const char *where, struct error *err)
{
	int cap = 0;
	for (const char *p = text; *p;) {
		p += strspn(p, SEPARATORS);
		if (!*p)
			break;
		char *end;
		errno = 0;
		long id = strtol(p, &end, 10);
		if (end == p || errno || id < 0 || id > INT32_MAX)
			return error_set(err, ERROR_INPUT, "%s: '%s' is no token id; expected numbers from 0",
					 text_show_path(where).text, text_show(p, strcspn(p, SEPARATORS)).text);
		if (l->n == TOKEN_LIST_MAX)
			return error_set(err, ERROR_INPUT, "%s: more than %d tokens", where, TOKEN_LIST_MAX);
		if (l->n == cap) {
			cap = cap ? 2 * cap : 1024;
			int *grown = realloc(l->tokens, (size_t)cap * sizeof *grown);
			if (!grown)
				return error_set(err, ERROR_MEMORY, "no memory for %d tokens", cap);
			l->tokens = grown;
		}
		l->tokens[l->n++] = (int)id;
		p = end;
	}
	if (l->n == 0)
		return error_set(err, ERROR_INPUT, "%s: no tokens; give ids like 2,17,4 or a file of them", where);
	return 0;
}

bool token_list_is_ids(const char *arg)
{
	return strspn(arg, "0123456789, ") == strlen(arg);
}

int token_list_read(const char *arg, struct token_list *l, struct error *err)
{
	if (token_list_is_ids(arg))
		return parse(l, arg, "--tokens", err);
	FILE *f = fopen(arg, "rb");
	if (!f)
		return error_set(err, ERROR_INPUT, "--tokens: %s: %s; give ids like 2,17,4 or a file of them", arg,
				 strerror(errno));
	struct text_input text = {0};
	int rc = text_input_read_stream(f, arg, "--tokens", &text, err);
	fclose(f);
	if (!rc)
		rc = strlen(text.bytes) == text.n
			     ? parse(l, text.bytes + text_mark(text.bytes, text.n), arg, err)
			     : error_set(err, ERROR_INPUT, "%s: a zero byte: this is no list of numbers", arg);
	free(text.bytes);
	return rc;
}
