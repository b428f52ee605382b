/*
 * How a text is cut for its perplexity, as llama.cpp's perplexity tool cuts it: each window is evaluated by itself, and
 * of its tokens the later ones are scored, so that each has a context.
 *
 * Without a stride windows of `context` tokens stand next to each other, and of each the second half is scored, but for
 * the token in its middle. With a stride windows are half a stride longer and begin a stride behind each other, and
 * each scores the last stride of its tokens.
 */
#ifndef GEMMARK_HARNESS_CLI_TEXT_WINDOWS_H
#define GEMMARK_HARNESS_CLI_TEXT_WINDOWS_H

#include <stddef.h>

#include "base/error.h"

struct text_windows {
	int length; /* tokens of a window */
	int step;   /* from the beginning of one to the next */
	int first;  /* row of a window whose next token is the first one that is scored */
	int n;
};

enum {
	TEXT_WINDOWS_CONTEXT = 512, /* where none is given */
	TEXT_WINDOWS_CONTEXT_LEAST = 4,
};

/* most: of the windows; 0: all. ERROR_INPUT where the text of so many tokens is too short, or the stride too long. */
int text_windows_plan(size_t n_tokens, int context, int stride, int most, struct text_windows *out, struct error *err);

#endif
