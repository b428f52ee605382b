/* A session's parts, shared by the session*.c files alone. */
#ifndef GEMMARK_ENGINE_INFER_SESSION_INTERNAL_H
#define GEMMARK_ENGINE_INFER_SESSION_INTERNAL_H

#include "engine/infer/loaded_model.h"
#include "engine/infer/pipeline.h"
#include "engine/infer/session.h"
#include "engine/infer/token_queue.h"

/* Tokens that the session chooses and goes on from. */
struct generation {
	struct sampling_options sampling;
	int n;     /* at most */
	int last;  /* ends them; negative: none does */
	int given; /* so far */
	int token; /* given last, or, before any was, the first */
	bool open; /* more are to come */
	/* In a mode that loops: the launch that runs. */
	bool loops;
	int launched;
	int passed; /* of those, complete and counted */
	struct pipeline_timing timing;
	struct graph_ring ring;
};

struct session {
	struct loaded_model *loaded;
	bool owns_loaded;
	const struct model *model; /* the loaded one */
	struct pipeline pipeline;
	struct snapkv snapkv[LOADED_PARTS_MAX];
	struct token_queue queue;
	struct generation generation;
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
