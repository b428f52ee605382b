/* The token ids of --tokens: themselves, or a file of them. */
#ifndef GEMMARK_HARNESS_CLI_TOKEN_LIST_H
#define GEMMARK_HARNESS_CLI_TOKEN_LIST_H

#include <stdbool.h>

#include "base/error.h"

enum { TOKEN_LIST_MAX = 1 << 24 };

struct token_list {
	int *tokens; /* (n); the caller frees them, also after a failure */
	int n;
};

/* Whether they are in the argument, which else names a file. */
bool token_list_is_ids(const char *arg);
/* One at least, into an empty list. ERROR_INPUT says what is no id, and where. */
int token_list_read(const char *arg, struct token_list *l, struct error *err);

#endif
