/*
 * The choice of a token, computed from its definition: logits are sorted, weights are exp in double, shares are sums
 * of them in the order of the ranking.
 */
#ifndef GEMMARK_TESTS_SUPPORT_SAMPLE_CASE_H
#define GEMMARK_TESTS_SUPPORT_SAMPLE_CASE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/infer/sampling.h"

/* What a row of logits becomes. */
struct sample_case {
	int n;
	int *ranking;  /* (n): ids, the best first */
	double *share; /* (n) by id: its probability in the draw; 0: not in it */
	/*
	 * A cut is so close to where it would take one token more or less that float32 decides, or so many tokens are
	 * so light that what the kernel takes for 0 counts.
	 */
	bool close;
};

void sample_case_init(struct sample_case *c, int n);
void sample_case_free(struct sample_case *c);
/* Of logits (n), all finite or -infinite, one at least finite. */
void sample_case_shares(struct sample_case *c, const float *logits, const struct sampling_options *o);
/*
 * The token at the position; *close: another one is so near on the line that float32 decides.
 */
int sample_case_token(const struct sample_case *c, uint64_t seed, int pos, bool *close);

/* Logits of random[kind % SAMPLE_KINDS]: what a model's look like, flat, peaked, few values, softcapped, with
 * -infinities, wide. */
enum { SAMPLE_KINDS = 7 };
void sample_case_logits(float *logits, int n, int kind, uint64_t *random);

/* Options i of a table of combinations, limits and what is in between. */
enum { SAMPLE_OPTIONS = 7 * 6 * 5 * 4 };
struct sampling_options sample_case_options(int i, int n);

#endif
