/* The engine as the subject of harness/measure/quality_study.h: a session, and the prompts that it goes back to. */
#ifndef GEMMARK_HARNESS_CLI_ENGINE_QUALITY_H
#define GEMMARK_HARNESS_CLI_ENGINE_QUALITY_H

#include "engine/infer/session.h"
#include "engine/text/tokenizer.h"
#include "harness/measure/quality_study.h"

struct engine_quality {
	struct quality_subject subject; /* first */
	struct session *session;        /* the caller's, as the next one */
	const struct tokenizer *tokenizer;
	/* Snapshots, as the session takes them. */
	struct engine_prompt {
		void *bytes; /* (room) */
		size_t n, room;
	} base, prompt;
	int n_base; /* tokens */
	int end;    /* position behind the prompt */
};

/* The session has a context of the study's, and QUALITY_BEHIND_MAX more. */
void engine_quality_init(struct engine_quality *e, struct session *s, const struct tokenizer *t);
void engine_quality_free(struct engine_quality *e);

#endif
