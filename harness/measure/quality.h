/*
 * What SnapKV costs in quality: the logits after an eviction against those that the full
 * cache gives for the same tokens.
 *
 * A group of cells prefills, decodes its tokens once with the full cache and keeps the logits, rewinds,
 * and only then evicts (pass_evict). The direct pass that each unit starts with is compared with them, token by
 * token; all modes must reproduce that pass bit for bit, so what it finds holds for every row of the unit.
 */
#ifndef GEMMARK_HARNESS_MEASURE_QUALITY_H
#define GEMMARK_HARNESS_MEASURE_QUALITY_H

enum { QUALITY_TOKENS = 256 }; /* compared at most: a row of Gemma 4 is 1 MB */

/* Of one token. */
struct agreement {
	double divergence; /* Kullback-Leibler, of softmax(got) from softmax(full), in nats */
	int same_top;      /* whether the likeliest token is the same one; the lower id where two are */
};

/* Logits, (n) each. */
struct agreement agreement_of(const float *full, const float *got, int n);

/* Of a token after softmax of (n) logits, in nats. *top: the likeliest one, the lower id where two are. */
double quality_log_probability(const float *logits, int n, int token, int *top);

/* Of the tokens of a pass. Zeroed: none. */
struct quality {
	int n;
	double divergence_sum;
	double divergence_max;
	int same_top;
};

void quality_add(struct quality *q, const struct agreement *a);

#endif
