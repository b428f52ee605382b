/* A session's parts, shared by the session*.c files alone. */
#ifndef GEMMARK_ENGINE_INFER_SESSION_INTERNAL_H
#define GEMMARK_ENGINE_INFER_SESSION_INTERNAL_H

#include "engine/infer/loaded_model.h"
#include "engine/infer/pipeline.h"
#include "engine/infer/session.h"
#include "engine/infer/token_queue.h"

struct session {
	struct loaded_model *loaded;
	bool owns_loaded;
	const struct model *model; /* the loaded one */
	struct pipeline pipeline;
	struct snapkv snapkv[LOADED_PARTS_MAX];
	struct token_queue queue;
	enum graph_mode mode;
	enum graph_mode prefill_mode;
	enum prefill_rows rows;
	float *logits;       /* host, (logit_rows, n_vocab) */
	bool logits_on_host; /* row logits_row of it is the last token's */
	int logits_row;      /* of scratch.logits, or of logits once downloaded */
	bool has_logits;
	float *trace; /* the caller's; null: off */
	struct prefill_counts prefilled;
};

/* ERROR_INPUT names the first that is not in the vocabulary. */
int session_check_tokens(const struct session *s, const int *tokens, int n, struct error *err);
struct token_timing session_timing(const struct pipeline_timing *t);

#endif
