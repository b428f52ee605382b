/*
 * A question as a model that was tuned to chat expects it: one turn of the user, and the model's begun. Templates of
 * files are programs (Jinja) and are not run; which turns a model takes its vocabulary's control pieces say: Gemma's
 * <start_of_turn>, Gemma 4's <|turn>, Qwen's <|im_start|>. Where a file has a template that knows nothing of them, that
 * is an error, not a guess: it must have both pieces and name both roles.
 */
#ifndef GEMMARK_ENGINE_TEXT_CHAT_H
#define GEMMARK_ENGINE_TEXT_CHAT_H

#include "engine/text/tokenizer.h"

/*
 * Appends the tokens of the turn that says `text` (n bytes; control pieces in it are plain text), and of the beginning
 * of the answer. g: the file of the vocabulary. ERROR_UNSUPPORTED names it.
 */
int chat_encode(const struct tokenizer *t, const struct gguf *g, const char *text, size_t n, struct token_ids *out,
		struct error *err);

/*
 * The piece that begins a turn, where no template says that the model's turns are those which chat_encode writes; null:
 * there is one, or chat_encode fails.
 */
const char *chat_guessed(const struct tokenizer *t, const struct gguf *g);

#endif
