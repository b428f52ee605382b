/*
 * Text to tokens and back, by the vocabulary of a model's file (vocabulary.h says which kinds).
 *
 * Any bytes can be tokenised, and come back the same: what is no piece is said byte by byte. The one exception is
 * U+2581, which stands for a space in the pieces of "llama" and "gemma4", and comes back as one. Text is taken as it
 * is: of Qwen's tokenizer.json the normalisation (NFC) is left out, as llama.cpp does.
 *
 * User-defined pieces are found anywhere in a text, the longest first, before anything merges; control pieces only
 * where the caller allows them: a user's text should not end the user's turn.
 */
#ifndef GEMMARK_ENGINE_TEXT_TOKENIZER_H
#define GEMMARK_ENGINE_TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "engine/model/gguf.h"
#include "engine/text/bpe.h"

struct tokenizer; /* opaque; read only, so that threads may share it */

/* The file may be closed then. As vocabulary_read. */
int tokenizer_open(struct tokenizer **out, const struct gguf *g, struct error *err);
void tokenizer_close(struct tokenizer *t);

const struct vocabulary *tokenizer_vocabulary(const struct tokenizer *t);

/* Appends the tokens of text (n bytes). ERROR_INPUT where it is too long, ERROR_MEMORY. */
int tokenizer_encode(const struct tokenizer *t, const char *text, size_t n, bool control, struct token_ids *out,
		     struct error *err);
/* Appends the token that a text begins with, where the vocabulary has it so. */
int tokenizer_begin(const struct tokenizer *t, struct token_ids *out, struct error *err);

/* The control or user-defined piece of that text; -1: none. */
int tokenizer_special(const struct tokenizer *t, const char *text);
/* Whether nothing comes behind that token: the end of the text or of a turn, by the file's ids and by name. */
bool tokenizer_is_end(const struct tokenizer *t, int id);

enum { TOKENIZER_PIECE_MAX = PIECE_BYTES_MAX };
/* A token's bytes to out; control pieces have none unless asked for. Returns how many. */
size_t tokenizer_decode(const struct tokenizer *t, int id, bool control, char out[TOKENIZER_PIECE_MAX]);

/* Tokens to text as they come: a character whose bytes are several tokens is held back until it is whole. */
struct text_stream {
	const struct tokenizer *tokenizer;
	bool control; /* control pieces are shown */
	bool began;
	char held[4];
	size_t n_held;
};
void text_stream_init(struct text_stream *s, const struct tokenizer *t, bool control);
enum { TEXT_STREAM_MAX = TOKENIZER_PIECE_MAX + 4 };
/* What can be shown with this token. Bytes that are no UTF-8 come as they are. Returns how many bytes. */
size_t text_stream_token(struct text_stream *s, int id, char out[TEXT_STREAM_MAX]);
/* What was held back at the end. */
size_t text_stream_end(struct text_stream *s, char out[TEXT_STREAM_MAX]);

#endif
