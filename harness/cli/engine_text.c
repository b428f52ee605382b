#include "harness/cli/engine_text.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/text.h"

int engine_text_open(struct engine_text *t, const char *path, struct error *err)
{
	*t = (struct engine_text){.path = path};
	int rc = text_input_read(path, "--text", &t->bytes, err);
	if (!rc)
		snprintf(t->hash, sizeof t->hash, "%016" PRIx64, hash_bytes(t->bytes.bytes, t->bytes.n, 0));
	return rc;
}

void engine_text_free(struct engine_text *t)
{
	free(t->bytes.bytes);
	*t = (struct engine_text){0};
}

int engine_text_tokens(const struct engine_text *t, const struct model *m, struct token_ids *out, struct error *err)
{
	struct tokenizer *tokenizer = NULL;
	int rc = text_input_tokens(&m->file, &t->bytes, (struct text_tokens){.begin = true}, &tokenizer, out, err);
	if (!rc)
		rc = text_input_check(tokenizer, m->file.path, m->n_vocab, err);
	if (!rc && out->n > INT_MAX)
		rc = error_set(err, ERROR_INPUT, "%s: %zu tokens; the most is %d", text_show_path(t->path).text, out->n,
			       INT_MAX);
	tokenizer_close(tokenizer);
	return rc;
}
