/*
 * What must hold of any vocabulary that is accepted, and any text: for the fuzzer. The input is the text's length (2
 * bytes), the text, and a GGUF file.
 */
#ifndef GEMMARK_TESTS_SUPPORT_TOKENIZER_WALK_H
#define GEMMARK_TESTS_SUPPORT_TOKENIZER_WALK_H

#include "engine/text/tokenizer.h"
#include "tests/support/gguf_walk.h"

static inline bool walk_has_mark(const char *s, size_t n)
{
	for (size_t i = 0; i + SPACE_MARK_BYTES <= n; i++)
		if (!memcmp(s + i, SPACE_MARK, SPACE_MARK_BYTES))
			return true;
	return false;
}

static inline void walk_text(const struct tokenizer *t, const char *text, size_t n, bool control)
{
	struct token_ids ids = {0};
	struct text_stream s;
	struct error err = {{0}};
	char piece[TEXT_STREAM_MAX];
	size_t at = 0;
	promise(!tokenizer_encode(t, text, n, control, &ids, &err), "any text can be tokenised");
	text_stream_init(&s, t, true);
	for (size_t i = 0; i <= ids.n; i++) {
		if (i < ids.n)
			promise(ids.ids[i] >= 0 && ids.ids[i] < tokenizer_vocabulary(t)->n,
				"an id is in the vocabulary");
		size_t size = i < ids.n ? text_stream_token(&s, ids.ids[i], piece) : text_stream_end(&s, piece);
		/* U+2581 comes back as a space, and is not compared. */
		promise(walk_has_mark(text, n) || (at + size <= n && !memcmp(text + at, piece, size)),
			"a text comes back the same");
		at += size;
	}
	promise(walk_has_mark(text, n) || at == n, "a text comes back whole");
	token_ids_free(&ids);
}

static inline void tokenizer_walk(const uint8_t *data, size_t size)
{
	struct gguf g = {0};
	struct tokenizer *t = NULL;
	struct error err = {{0}};
	size_t n = size < 2 ? 0 : data[0] | (size_t)data[1] << 8;
	if (size < 2 || n > size - 2)
		return;
	/* Exactly as long as it is, and aligned. */
	size_t n_file = size - 2 - n;
	void *file = malloc(n_file ? n_file : 1);
	char *text = malloc(n ? n : 1);
	if (!file || !text)
		abort();
	memcpy(text, data + 2, n);
	memcpy(file, data + 2 + n, n_file);
	int rc = gguf_open_memory(&g, file, n_file, "fuzz.gguf", &err);
	if (!rc)
		rc = tokenizer_open(&t, &g, &err);
	gguf_close(&g);
	if (rc) {
		walk_error(rc, &err);
	} else {
		walk_text(t, text, n, false);
		walk_text(t, text, n, true);
	}
	tokenizer_close(t);
	free(text);
	free(file);
}

#endif
