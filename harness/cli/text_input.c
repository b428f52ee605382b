#include "harness/cli/text_input.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "engine/model/model.h"
#include "engine/text/chat.h"

int text_input_read_stream(FILE *f, const char *name, const char *option, struct text_input *out, struct error *err)
{
	size_t capacity = 0;
	for (;;) {
		if (capacity - out->n < 2) {
			capacity = capacity ? 2 * capacity : 1 << 16;
			char *grown = capacity <= 2 * (size_t)TEXT_INPUT_MAX ? realloc(out->bytes, capacity) : NULL;
			if (!grown)
				return error_set(err, ERROR_MEMORY, "%s: %s: no memory for it", option, name);
			out->bytes = grown;
		}
		size_t n = fread(out->bytes + out->n, 1, capacity - out->n - 1, f);
		if (!n)
			break;
		out->n += n;
		if (out->n > TEXT_INPUT_MAX)
			return error_set(err, ERROR_INPUT, "%s: %s is larger than %d MiB; give a part of it", option,
					 name, TEXT_INPUT_MAX >> 20);
	}
	out->bytes[out->n] = '\0';
	/* fopen takes one, and the first read does not. */
	if (ferror(f) && errno == EISDIR)
		return error_set(err, ERROR_INPUT, "%s: %s is a directory; give a file", option, name);
	if (ferror(f))
		return error_set(err, ERROR_IO, "%s: reading %s: %s", option, name, strerror(errno));
	/* A model, an archive or UTF-16, whose bytes a vocabulary takes as well as any. */
	const char *zero = memchr(out->bytes, '\0', out->n);
	return zero ? error_set(err, ERROR_INPUT, "%s: %s is no text: its byte %zu is 0; give a text file in UTF-8",
				option, name, (size_t)(zero - out->bytes))
		    : 0;
}

int text_input_read(const char *path, const char *option, struct text_input *out, struct error *err)
{
	if (!strcmp(path, "-"))
		return text_input_read_stream(stdin, "standard input", option, out, err);
	FILE *f = fopen(path, "rb");
	struct text_shown shown = text_show_path(path);
	if (!f)
		return error_set(err, ERROR_INPUT, "%s: %s: %s; check the path", option, shown.text, strerror(errno));
	int rc = text_input_read_stream(f, shown.text, option, out, err);
	fclose(f);
	return rc;
}

int text_input_tokens(const struct gguf *g, const struct text_input *text, struct text_tokens how, struct tokenizer **t,
		      struct token_ids *ids, struct error *err)
{
	int rc = tokenizer_open(t, g, err);
	if (!rc && how.chat)
		rc = chat_encode(*t, g, text->bytes, text->n, ids, err);
	else if (!rc && how.begin)
		rc = tokenizer_begin(*t, ids, err);
	if (!rc && !how.chat)
		rc = tokenizer_encode(*t, text->bytes, text->n, how.control, ids, err);
	return rc;
}

int text_input_model_tokens(const char *model, const struct text_input *text, struct text_tokens how,
			    struct tokenizer **t, struct token_ids *ids, struct error *err)
{
	struct model m;
	*t = NULL;
	/* All of the model, not its vocabulary alone: what is no model is to be told what it is. */
	int rc = model_open(&m, model, err);
	if (!rc)
		rc = text_input_tokens(&m.file, text, how, t, ids, err);
	model_close(&m);
	return rc;
}

int text_input_check(const struct tokenizer *t, const char *model, int n_vocab, struct error *err)
{
	int n = tokenizer_vocabulary(t)->n;
	if (n == n_vocab)
		return 0;
	return error_set(err, ERROR_INPUT,
			 "%s: tokenizer.ggml.tokens has %d pieces, and the embeddings %d rows; convert the model again "
			 "with a current converter",
			 text_show_path(model).text, n, n_vocab);
}
