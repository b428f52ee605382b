/*
 * Part of params.h: the choice of the next token.
 *
 * Tokens are ranked by their logits, the greatest first, equal ones (0 and -0 are) by id, the lower first. What a token
 * weighs is w = exp((logit - greatest logit) / temperature). The steps, in this order, each on what the one before
 * left:
 *
 *   top-k  the first k of the ranking
 *   top-p  the shortest beginning of the ranking whose weights are at least the share p of all that were left; one
 *          token at least. The one that reaches p is among it
 *   min-p  those that weigh at least m times what the first one does
 *   draw   one of the rest, with a probability in proportion to its weight
 *
 * So the probabilities of top-p are those at the temperature, and of the k. Temperature 0 is greedy: the first of the
 * ranking, whatever else is set.
 *
 * The draw depends on the seed, the position and the logits alone, and is the same on every device, with any number of
 * threads: weights are integers, of SAMPLING_ONE, from float32 arithmetic without fused multiply-adds; they are added
 * without rounding; a random number, Philox4x32-10 (Salmon et al. 2011) of the seed at the position, is a point on the
 * line of the weights that are left, by ascending id. A weight is off by 6e-6 of itself at most and 2^-39; less than
 * that is 0.
 */
#ifndef GEMMARK_KERNELS_PARAMS_SAMPLING_H
#define GEMMARK_KERNELS_PARAMS_SAMPLING_H

#include "kernels/params_operands.h"

enum {
	SAMPLING_BITS = 39,      /* of a weight: the first token's is 2^39, SAMPLING_ONE */
	SAMPLING_MOST = 1 << 24, /* tokens: their weights are a 64-bit sum */
};
#define SAMPLING_ONE (1ull << SAMPLING_BITS)
#define SAMPLING_ALL (1ull << 32) /* a top_p of 1 */

/* As engine/infer/sampling.h makes them. */
struct sampling {
	unsigned long long seed;
	unsigned long long top_p; /* of SAMPLING_ALL, which sets no limit */
	unsigned long long min_p; /* of SAMPLING_ONE; 0 sets no limit */
	float rate;               /* log2(e) / temperature; 0: greedy */
	int top_k;                /* 0 sets no limit */
};

struct sampled {
	int token;
	/*
	 * Set to 1, and never to 0, where a logit is NaN or +infinite, or none is above -infinite: the token is
	 * then the first of the ranking, in which a NaN is -infinite. What is -infinite is else never drawn.
	 */
	int wrong;
};

struct sample_params {
	struct at at;                  /* of the token whose logits these are */
	const struct sampling *device; /* null: use host; for a graph that outlives its settings */
	struct sampling host;
	const float *logits; /* (n) */
	struct sampled *out;
	int n; /* 1 .. SAMPLING_MOST */
	int reserved;
};

#endif
