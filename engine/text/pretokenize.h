/*
 * Where the words of a text end, for vocabularies of bytes: Qwen 2's pattern, which its tokenizer.json gives as
 *
 *   (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
 *
 * matched by hand, alternative by alternative: no run of a text makes it slow. Letters (L) and numbers (N) are those of
 * utf8proc's Unicode. A byte that is no UTF-8 is a character that is neither, nor a space.
 */
#ifndef GEMMARK_ENGINE_TEXT_PRETOKENIZE_H
#define GEMMARK_ENGINE_TEXT_PRETOKENIZE_H

#include <stddef.h>

/* Bytes of the word that s (n bytes, 1 at least) begins with; four zero bytes are behind s. */
size_t pretokenize_qwen2(const char *s, size_t n);

#endif
