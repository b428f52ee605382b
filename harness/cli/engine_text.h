/* A text whose tokens a sweep is fed, in the place of its seeded stream: each model's, by its own vocabulary. */
#ifndef GEMMARK_HARNESS_CLI_ENGINE_TEXT_H
#define GEMMARK_HARNESS_CLI_ENGINE_TEXT_H

#include "engine/model/model.h"
#include "harness/cli/text_input.h"

enum { ENGINE_TEXT_HASH = 17 };

struct engine_text {
	const char *path; /* the caller's; "-": standard input */
	struct text_input bytes;
	char hash[ENGINE_TEXT_HASH]; /* XXH3-64 of the bytes, 16 hexadecimal digits */
};

/* Reads it. The caller frees it, also after a failure. */
int engine_text_open(struct engine_text *t, const char *path, struct error *err);
void engine_text_free(struct engine_text *t);

/* Its tokens, the one in front that the vocabulary says among them. ERROR_UNSUPPORTED: the model has no vocabulary. */
int engine_text_tokens(const struct engine_text *t, const struct model *m, struct token_ids *out, struct error *err);

#endif
