#include "harness/measure/tokens.h"

#include <assert.h>

#include "base/random.h"

static uint64_t gcd(uint64_t a, uint64_t b)
{
	while (b) {
		uint64_t t = a % b;
		a = b;
		b = t;
	}
	return a;
}

void token_stream_init(struct token_stream *s, uint64_t seed, int n_vocab)
{
	assert(n_vocab >= 1);
	*s = (struct token_stream){.seed = seed, .n_vocab = (uint32_t)n_vocab};
	while (((uint64_t)1 << s->n_octaves) <= s->n_vocab)
		s->n_octaves++;
	uint64_t state = seed ^ 0x746f6b656e73u; /* "tokens": apart from the users of the bare seed */
	do {
		s->multiplier = 1 + random_below(&state, s->n_vocab);
	} while (gcd(s->multiplier, s->n_vocab) != 1);
	s->offset = random_below(&state, s->n_vocab);
}

void token_stream_of_text(struct token_stream *s, const int *text, int n)
{
	*s = (struct token_stream){.text = text, .n_text = n};
}

int token_at(const struct token_stream *s, int pos)
{
	assert(!s->text || (pos >= 0 && pos < s->n_text));
	if (s->text)
		return s->text[pos];
	/* One state a position: mixed once, so that neighbours are unrelated. */
	uint64_t state = s->seed + (uint64_t)(uint32_t)pos * 0xd1342543de82ef95u;
	state = random_next(&state);
	uint64_t rank;
	do {
		uint64_t octave = random_below(&state, s->n_octaves);
		rank = ((uint64_t)1 << octave) + random_below(&state, (uint64_t)1 << octave);
	} while (rank > s->n_vocab);
	return (int)((rank * s->multiplier + s->offset) % s->n_vocab);
}

void token_fill(const struct token_stream *s, int pos, int n, int *out)
{
	for (int i = 0; i < n; i++)
		out[i] = token_at(s, pos + i);
}
