/*
 * Where an evaluation's logits go, row by row in the order of the tokens: to a file, into a hash, into the perplexity.
 * The file appears when it is whole (base/output_file.h); an evaluation that is interrupted leaves nothing.
 */
#ifndef GEMMARK_HARNESS_CLI_LOGITS_SINK_H
#define GEMMARK_HARNESS_CLI_LOGITS_SINK_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/output_file.h"
#include "engine/infer/session.h"
#include "engine/model/gguf.h"

struct logits_sink {
	const char *path; /* the caller's; null: no file */
	struct output_file out;
	FILE *stream;
	struct hash_stream *hash;
	double log_loss;
	int row; /* of the next token's; from `first` on */
	/* Set before the first row; the caller's. */
	const int *tokens; /* (n_tokens) */
	int n_tokens;
	int first; /* row that the first call brings */
	int n_vocab;
	const struct gguf *model; /* which must not change meanwhile */
};

/* Before anything is computed. force: replace what has the name. logits_sink_close is called also after a failure. */
int logits_sink_open(struct logits_sink *k, const char *path, bool force, struct error *err);
/* The next token's logits, (n_vocab), as s gave them. ERROR_WRONG where one is no number, ERROR_INPUT where the model
 * has changed. */
int logits_sink_row(struct logits_sink *k, struct session *s, const float *row, struct error *err);
uint64_t logits_sink_hash(const struct logits_sink *k);
/* exp of the mean of -log p(next token) over the rows that have one; there is one. */
double logits_sink_perplexity(const struct logits_sink *k);
/* rc: what became of it; the file appears where that is 0. Returns rc, or why it does not. */
int logits_sink_close(struct logits_sink *k, int rc, struct error *err);

#endif
