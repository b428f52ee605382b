/* Text that a command is given: a file, standard input or an argument; and its tokens by a model's vocabulary. */
#ifndef GEMMARK_HARNESS_CLI_TEXT_INPUT_H
#define GEMMARK_HARNESS_CLI_TEXT_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "engine/text/tokenizer.h"

struct text_input {
	char *bytes; /* (n), then a zero; the caller frees them, also after a failure */
	size_t n;
};

enum { TEXT_INPUT_MAX = 256 << 20 };

/* All of a file; "-": of standard input. option: in front of messages. ERROR_INPUT, also for a byte 0, ERROR_IO,
 * ERROR_MEMORY. */
int text_input_read(const char *path, const char *option, struct text_input *out, struct error *err);

/* The rest of an open file. name, option: in front of messages. */
int text_input_read_stream(FILE *f, const char *name, const char *option, struct text_input *out, struct error *err);

/* How a text becomes a prompt. */
struct text_tokens {
	bool begin;   /* the token in front that the vocabulary says, where it says one */
	bool control; /* control pieces in the text are tokens */
	bool chat;    /* as a turn of a chat: control pieces are not, and the token in front is there */
};
/*
 * Opens the file's vocabulary, which the caller closes also after a failure, and appends the text's tokens to *ids.
 */
int text_input_tokens(const struct gguf *g, const struct text_input *text, struct text_tokens how, struct tokenizer **t,
		      struct token_ids *ids, struct error *err);
/* The same of a file that is not open. What model_open refuses is refused as there, whatever vocabulary it has. */
int text_input_model_tokens(const char *model, const struct text_input *text, struct text_tokens how,
			    struct tokenizer **t, struct token_ids *ids, struct error *err);
/* ERROR_INPUT where the vocabulary is not that of a model with so many rows of embeddings. */
int text_input_check(const struct tokenizer *t, const char *model, int n_vocab, struct error *err);

#endif
