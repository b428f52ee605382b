/*
 * Where an evaluation's logits go, row by row in the order of the tokens: to a file, into a hash, into the perplexity,
 * and the probabilities of the tokens to a file of their own. Files appear when they are whole (base/output_file.h); an
 * evaluation that is interrupted leaves nothing.
 */
#ifndef GEMMARK_HARNESS_CLI_LOGITS_SINK_H
#define GEMMARK_HARNESS_CLI_LOGITS_SINK_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/output_file.h"
#include "engine/infer/session.h"
#include "engine/model/gguf.h"

struct logits_sink_file {
	const char *option, *path; /* the caller's; null: no file */
	struct output_file out;
	FILE *stream;
};

struct logits_sink {
	struct logits_sink_file logits, probabilities;
	struct hash_stream *hash;
	double loss, squared; /* sums of -log p and of its square, over the tokens that were scored */
	int n_scored;
	/* The tokens under way: logits_sink_tokens. */
	const int *tokens; /* (n_tokens) */
	int n_tokens;
	int window, start;
	int row;
	/* Set before the first row. */
	int n_vocab;
	const struct gguf *model; /* which must not change meanwhile */
};

/*
 * Before anything is computed. The files of -o and --logprobs, null: none; force: replace what has the name.
 * logits_sink_close is called also after a failure.
 */
int logits_sink_open(struct logits_sink *k, const char *path, const char *probabilities, bool force, struct error *err);
/*
 * The rows to come are of these tokens (n), the caller's, which stand at `start` of the whole; the first one that
 * comes is row `first`, and the token behind it the first that is scored. window: 0 for the first call, and so on.
 */
void logits_sink_tokens(struct logits_sink *k, const int *tokens, int n, int first, int window, int start);
/* The next token's logits, (n_vocab), as s gave them. ERROR_WRONG where one is no number, ERROR_INPUT where the model
 * has changed. */
int logits_sink_row(struct logits_sink *k, struct session *s, const float *row, struct error *err);
uint64_t logits_sink_hash(const struct logits_sink *k);
/* exp of the mean of -log p over the tokens that were scored; there is one. */
double logits_sink_perplexity(const struct logits_sink *k);
/* Its standard error, as if they were independent; NAN of one token. */
double logits_sink_perplexity_error(const struct logits_sink *k);
/* rc: what became of it; files appear where that is 0. Returns rc, or why they do not. */
int logits_sink_close(struct logits_sink *k, int rc, struct error *err);

#endif
