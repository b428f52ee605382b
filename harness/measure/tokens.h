/*
 * The token stream that every run is fed: long-tailed as text is, seeded, the same
 * for every mode and depth.
 *
 * A token is a function of (seed, vocabulary, position) alone, so that prefill and
 * decode, warm-up and measurement agree about what stands at a position. Ranks have
 * P(rank) close to proportional to 1/rank: an octave of ranks uniformly, then a rank
 * in it uniformly. Ranks are scattered over the vocabulary by a seeded affine map.
 * Integers only: no machine's math library can change the stream.
 *
 * Or the tokens of a text, where one is given: as many as it has.
 */
#ifndef GEMMARK_HARNESS_MEASURE_TOKENS_H
#define GEMMARK_HARNESS_MEASURE_TOKENS_H

#include <stdint.h>

struct token_stream {
	uint64_t seed;
	uint32_t n_vocab;
	uint32_t n_octaves;  /* of ranks 1 .. n_vocab */
	uint64_t multiplier; /* coprime with n_vocab */
	uint64_t offset;
	const int *text; /* (n_text), the caller's: what stands at a position instead; null: none */
	int n_text;
};

/* n_vocab >= 1. */
void token_stream_init(struct token_stream *s, uint64_t seed, int n_vocab);

/* Of a text's tokens (n), the caller's, as long as the stream. */
void token_stream_of_text(struct token_stream *s, const int *text, int n);

/* The token at a position, in [0, n_vocab); of a text, one that it has. */
int token_at(const struct token_stream *s, int pos);

/* out: (n), the tokens at positions pos .. pos + n - 1. */
void token_fill(const struct token_stream *s, int pos, int n, int *out);

#endif
