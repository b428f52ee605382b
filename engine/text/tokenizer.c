#include "engine/text/tokenizer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "engine/text/pretokenize.h"

struct tokenizer {
	struct vocabulary vocabulary;
};

/* Zero bytes behind a text, so that a character can be read at its end. */
enum { PADDING = 4 };

int tokenizer_open(struct tokenizer **out, const struct gguf *g, struct error *err)
{
	struct tokenizer *t = calloc(1, sizeof *t);
	*out = NULL;
	if (!t)
		return error_set(err, ERROR_MEMORY, "no memory for a vocabulary");
	int rc = vocabulary_read(&t->vocabulary, g, err);
	if (rc) {
		tokenizer_close(t);
		return rc;
	}
	*out = t;
	return 0;
}

void tokenizer_close(struct tokenizer *t)
{
	if (t)
		vocabulary_free(&t->vocabulary);
	free(t);
}

const struct vocabulary *tokenizer_vocabulary(const struct tokenizer *t)
{
	return &t->vocabulary;
}

/* ---- text to tokens ---- */

/* An encoding under way. */
struct encoding {
	const struct vocabulary *v;
	struct bpe bpe;
	struct token_ids *out;
	struct error *err;
};

/* Pieces by text, in stretches that no piece crosses. */
static int encode_line(struct encoding *e, const char *s, size_t n)
{
	int rc = 0;
	size_t from = 0;
	for (size_t i = 1; !rc && i + SPACE_MARK_BYTES <= n; i++) {
		if (s[i] != SPACE_MARK[0] || e->v->joined[(unsigned char)s[i - 1]] ||
		    memcmp(s + i, SPACE_MARK, SPACE_MARK_BYTES))
			continue;
		rc = bpe_encode(&e->bpe, e->v, s + from, i - from, e->out, e->err);
		from = i;
	}
	return rc ? rc : bpe_encode(&e->bpe, e->v, s + from, n - from, e->out, e->err);
}

/* Runs of newlines stand alone, and are a token as a whole where the vocabulary has it. */
static int encode_lines(struct encoding *e, const char *s, size_t n)
{
	int rc = 0;
	for (size_t i = 0, end; !rc && i < n; i = end) {
		bool newline = s[i] == '\n';
		for (end = i; end < n && (s[end] == '\n') == newline;)
			end++;
		int id = newline ? vocabulary_find(e->v, s + i, end - i) : -1;
		if (id >= 0)
			rc = token_ids_add(e->out, id, e->err);
		else
			rc = encode_line(e, s + i, end - i);
	}
	return rc;
}

static int encode_words(struct encoding *e, const char *s, size_t n)
{
	int rc = 0;
	for (size_t i = 0, word; !rc && i < n; i += word) {
		word = pretokenize_qwen2(s + i, n - i);
		rc = bpe_encode(&e->bpe, e->v, s + i, word, e->out, e->err);
	}
	return rc;
}

/* Between special pieces. */
static int encode_plain(struct encoding *e, const char *s, size_t n)
{
	switch (e->v->kind) {
	case VOCABULARY_SCORES:
		return encode_line(e, s, n);
	case VOCABULARY_MERGES:
		return encode_lines(e, s, n);
	case VOCABULARY_BYTES:
		break;
	}
	return encode_words(e, s, n);
}

static int encode(struct encoding *e, const char *s, size_t n, bool control)
{
	int rc = 0;
	size_t from = 0;
	for (size_t i = 0; !rc && i < n;) {
		int id = vocabulary_special(e->v, s + i, n - i, control);
		if (id < 0) {
			i++;
			continue;
		}
		rc = encode_plain(e, s + from, i - from);
		if (!rc)
			rc = token_ids_add(e->out, id, e->err);
		i += (size_t)e->v->pieces[id].size;
		from = i;
	}
	return rc ? rc : encode_plain(e, s + from, n - from);
}

/* A copy of the text with spaces as the vocabulary has them. */
static char *marked(const struct vocabulary *v, const char *text, size_t n, size_t *size)
{
	bool marks = v->kind != VOCABULARY_BYTES;
	size_t room = n + PADDING + SPACE_MARK_BYTES, at = 0;
	for (size_t i = 0; marks && i < n; i++)
		room += text[i] == ' ' ? SPACE_MARK_BYTES - 1 : 0;
	char *copy = malloc(room);
	if (!copy)
		return NULL;
	if (v->add_space_prefix && n) {
		memcpy(copy, SPACE_MARK, SPACE_MARK_BYTES);
		at = SPACE_MARK_BYTES;
	}
	for (size_t i = 0; i < n; i++) {
		if (marks && text[i] == ' ') {
			memcpy(copy + at, SPACE_MARK, SPACE_MARK_BYTES);
			at += SPACE_MARK_BYTES;
		} else {
			copy[at++] = text[i];
		}
	}
	memset(copy + at, 0, PADDING);
	*size = at;
	return copy;
}

int tokenizer_encode(const struct tokenizer *t, const char *text, size_t n, bool control, struct token_ids *out,
		     struct error *err)
{
	struct encoding e = {.v = &t->vocabulary, .out = out, .err = err};
	size_t size;
	if (n > BPE_TEXT_MAX / SPACE_MARK_BYTES - 1)
		return error_set(err, ERROR_INPUT, "a text of %zu bytes is too long; the most is %d", n,
				 BPE_TEXT_MAX / SPACE_MARK_BYTES - 1);
	char *copy = marked(e.v, text, n, &size);
	if (!copy)
		return error_set(err, ERROR_MEMORY, "no memory for a text of %zu bytes", n);
	int rc = encode(&e, copy, size, control);
	bpe_free(&e.bpe);
	free(copy);
	return rc;
}

int tokenizer_begin(const struct tokenizer *t, struct token_ids *out, struct error *err)
{
	return t->vocabulary.add_bos ? token_ids_add(out, t->vocabulary.bos, err) : 0;
}

int tokenizer_special(const struct tokenizer *t, const char *text)
{
	int id = vocabulary_special(&t->vocabulary, text, strlen(text), true);
	return id >= 0 && (size_t)t->vocabulary.pieces[id].size == strlen(text) ? id : -1;
}

bool tokenizer_is_end(const struct tokenizer *t, int id)
{
	static const char *const turns[] = {"<end_of_turn>", "<turn|>", "<|im_end|>", "<|endoftext|>"};
	const struct vocabulary *v = &t->vocabulary;
	if (id < 0 || id >= v->n)
		return false;
	if (id == v->eos || id == v->eot)
		return true;
	for (size_t i = 0; i < sizeof turns / sizeof *turns; i++)
		if (v->pieces[id].kind == PIECE_CONTROL && !strcmp(v->pieces[id].text, turns[i]))
			return true;
	return false;
}

/* ---- tokens to text ---- */

size_t tokenizer_decode(const struct tokenizer *t, int id, bool control, char out[TOKENIZER_PIECE_MAX])
{
	const struct vocabulary *v = &t->vocabulary;
	size_t n = 0;
	assert(id >= 0 && id < v->n);
	const struct piece *p = &v->pieces[id];
	if ((p->kind == PIECE_CONTROL || p->kind == PIECE_UNKNOWN) && !control)
		return 0;
	if (p->kind == PIECE_BYTE) {
		for (int b = 0; b < 256; b++)
			if (v->byte_ids[b] == id)
				*out = (char)b;
		return 1;
	}
	for (int i = 0; i < p->size;) {
		if (v->kind != VOCABULARY_BYTES && !strncmp(p->text + i, SPACE_MARK, SPACE_MARK_BYTES)) {
			out[n++] = ' ';
			i += SPACE_MARK_BYTES;
		} else {
			out[n++] = p->text[i++];
		}
	}
	return n;
}

void text_stream_init(struct text_stream *s, const struct tokenizer *t, bool control)
{
	*s = (struct text_stream){.tokenizer = t, .control = control};
}

/* Bytes at the end of s (n) that may be the beginning of a character. */
static size_t unfinished(const char *s, size_t n)
{
	for (size_t back = 1; back <= 3 && back <= n; back++) {
		unsigned char c = (unsigned char)s[n - back];
		if (c < 0x80)
			return 0;
		if (c < 0xc0)
			continue;
		size_t length = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
		return c < 0xf8 && length > back ? back : 0;
	}
	return 0;
}

size_t text_stream_token(struct text_stream *s, int id, char out[TEXT_STREAM_MAX])
{
	size_t n = s->n_held, piece;
	memcpy(out, s->held, n);
	piece = tokenizer_decode(s->tokenizer, id, s->control, out + n);
	/* The space that is put in front of a text. */
	if (piece && !s->began && tokenizer_vocabulary(s->tokenizer)->add_space_prefix && out[n] == ' ')
		memmove(out + n, out + n + 1, --piece);
	s->began |= piece > 0 || tokenizer_vocabulary(s->tokenizer)->pieces[id].kind == PIECE_NORMAL;
	n += piece;
	s->n_held = unfinished(out, n);
	n -= s->n_held;
	memcpy(s->held, out + n, s->n_held);
	return n;
}

size_t text_stream_end(struct text_stream *s, char out[TEXT_STREAM_MAX])
{
	size_t n = s->n_held;
	memcpy(out, s->held, n);
	s->n_held = 0;
	return n;
}
