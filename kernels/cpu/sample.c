/*
 * The choice of the next token: radix selection of where top-k and top-p cut the ranking off, then the draw. Nothing is
 * sorted. All that threads add up is whole numbers, so that the parts that they have do not matter.
 */
#include <assert.h>
#include <string.h>

#include "kernels/cpu/inner.h"
#include "kernels/sampling.h"

enum { PIECE = 1 << 12 }; /* logits */

/* Of a piece. */
struct piece {
	uint64_t above; /* weight of what is in, but for ties with the cut */
	int ties;
	int best;       /* id of the greatest logit */
	unsigned order; /* that logit's */
	int nan;
};

struct sample_loop {
	const float *logits;
	int n;
	struct sampling settings;
	struct piece *pieces;
	uint64_t *weights;                   /* (n) */
	uint64_t (*counts)[SAMPLING_DIGITS]; /* of each thread */
	float greatest;
	struct sampling_cut cut; /* of what was done so far */
	/* Of the digit that is looked for. */
	unsigned prefix, mask;
	int level;
	int by_weight;
};

static int piece_end(const struct sample_loop *l, int piece)
{
	return l->n - piece * PIECE < PIECE ? l->n : (piece + 1) * PIECE;
}

static void best_part(void *ctx, int begin, int end, int thread)
{
	const struct sample_loop *l = ctx;

	(void)thread;
	for (int i = begin; i < end; i++) {
		struct piece best = {0};

		for (int k = i * PIECE; k < piece_end(l, i); k++) {
			const unsigned order = sampling_order(l->logits[k]);

			if (order > best.order) {
				best.order = order;
				best.best = k;
			}
			best.nan |= l->logits[k] != l->logits[k];
		}
		l->pieces[i] = best;
	}
}

static void weights_part(void *ctx, int begin, int end, int thread)
{
	const struct sample_loop *l = ctx;

	(void)thread;
	for (int k = begin; k < end; k++)
		l->weights[k] = sampling_weight(l->logits[k], l->greatest, l->settings.rate);
}

static void digits_part(void *ctx, int begin, int end, int thread)
{
	const struct sample_loop *l = ctx;
	uint64_t *counts = l->counts[thread];
	const unsigned digit = sampling_mask(l->level);
	const int shift = sampling_shift(l->level);

	for (int k = begin; k < end; k++) {
		const unsigned order = sampling_order(l->logits[k]);

		if ((order & l->mask) == l->prefix && order > l->cut.order)
			counts[(order & digit) >> shift] += l->by_weight ? l->weights[k] : 1;
	}
}

/* Sums over the threads, in the first one's counts. */
static uint64_t *digits(struct sample_loop *l)
{
	const int threads = cpu_threads();
	const unsigned cut = l->cut.order, digit = sampling_mask(l->level);

	memset(l->counts, 0, (size_t)threads * sizeof(*l->counts));
	cpu_parallel(l->n, PIECE, digits_part, l);
	for (int t = 1; t < threads; t++)
		for (int i = 0; i < SAMPLING_DIGITS; i++)
			l->counts[0][i] += l->counts[t][i];
	if (l->cut.ties && (cut & l->mask) == l->prefix)
		l->counts[0][(cut & digit) >> sampling_shift(l->level)] +=
			l->cut.ties * sampling_weight(sampling_logit(cut), l->greatest, l->settings.rate);
	return l->counts[0];
}

/* Cuts the ranking off where `wanted` tokens are in; by weight, where their share of it is. */
static void cut_off(struct sample_loop *l, uint64_t wanted, int by_weight)
{
	l->prefix = l->mask = 0;
	l->by_weight = by_weight;
	for (l->level = 0; l->level < SAMPLING_LEVELS; l->level++) {
		const uint64_t *counts = digits(l);
		unsigned digit = SAMPLING_DIGITS - 1;

		if (by_weight && l->level == 0) {
			uint64_t total = 0;

			for (int i = 0; i < SAMPLING_DIGITS; i++)
				total += counts[i];
			wanted = sampling_share(total, l->settings.top_p);
		}
		while (counts[digit] < wanted)
			wanted -= counts[digit--];
		l->prefix |= digit << sampling_shift(l->level);
		l->mask |= sampling_mask(l->level);
	}
	if (by_weight) {
		const uint64_t each = sampling_weight(sampling_logit(l->prefix), l->greatest, l->settings.rate);

		wanted = (wanted + each - 1) / each;
	}
	l->cut = (struct sampling_cut){.order = l->prefix, .ties = (unsigned)wanted};
}

/* What a token that is in weighs in the draw. */
static uint64_t drawn_weight(const struct sample_loop *l, int k)
{
	return l->weights[k] < l->settings.min_p ? 0 : l->weights[k];
}

static void left_part(void *ctx, int begin, int end, int thread)
{
	const struct sample_loop *l = ctx;

	(void)thread;
	for (int i = begin; i < end; i++) {
		uint64_t above = 0;
		int ties = 0;

		for (int k = i * PIECE; k < piece_end(l, i); k++) {
			const unsigned order = sampling_order(l->logits[k]);

			above += order > l->cut.order ? drawn_weight(l, k) : 0;
			ties += order == l->cut.order;
		}
		l->pieces[i].above = above;
		l->pieces[i].ties = ties;
	}
}

/* Weights and ties that are left are used up piece by piece, and in the last one token by token. */
static int draw(struct sample_loop *l, int n_pieces, int pos)
{
	uint64_t total = 0, tie = 0, point;
	unsigned ties = l->cut.ties;
	int k;

	if (l->cut.order)
		tie = sampling_weight(sampling_logit(l->cut.order), l->greatest, l->settings.rate);
	if (tie < l->settings.min_p)
		tie = 0;
	cpu_parallel(n_pieces, 1, left_part, l);
	for (int i = 0; i < n_pieces; i++)
		total += l->pieces[i].above;
	point = sampling_point(l->settings.seed, pos, total + tie * ties);
	for (k = 0; k / PIECE < n_pieces; k += PIECE) {
		const struct piece *piece = &l->pieces[k / PIECE];
		const unsigned taken = (unsigned)piece->ties < ties ? (unsigned)piece->ties : ties;
		const uint64_t weight = piece->above + tie * taken;

		if (point < weight)
			break;
		point -= weight;
		ties -= taken;
	}
	for (;; k++) {
		const unsigned order = sampling_order(l->logits[k]);
		uint64_t weight = order > l->cut.order ? drawn_weight(l, k) : 0;

		if (order == l->cut.order && ties) {
			weight = tie;
			ties--;
		}
		if (point < weight)
			return k;
		point -= weight;
	}
}

void k_sample(const struct sample_params *p)
{
	const int n_pieces = (p->n + PIECE - 1) / PIECE, threads = cpu_threads(), pos = cpu_step(&p->at).pos;
	struct sample_loop l = {.logits = p->logits, .n = p->n, .settings = p->device ? *p->device : p->host};
	struct piece best = {0};

	assert(p->n > 0 && p->n <= SAMPLING_MOST);
	l.weights = cpu_scratch((size_t)p->n * sizeof(*l.weights) + (size_t)threads * sizeof(*l.counts) +
				(size_t)n_pieces * sizeof(*l.pieces));
	l.counts = (uint64_t(*)[SAMPLING_DIGITS])(l.weights + p->n);
	l.pieces = (struct piece *)(l.counts + threads);
	cpu_parallel(n_pieces, 1, best_part, &l);
	for (int i = 0; i < n_pieces; i++) {
		best.nan |= l.pieces[i].nan;
		if (l.pieces[i].order > best.order) {
			best.order = l.pieces[i].order;
			best.best = l.pieces[i].best;
		}
	}
	l.greatest = sampling_logit(best.order);
	if (best.nan || !sampling_can_draw(l.greatest))
		p->out->wrong = 1;
	p->out->token = best.best;
	if (l.settings.rate == 0.0f || best.nan || !sampling_can_draw(l.greatest))
		return;
	cpu_parallel(p->n, PIECE, weights_part, &l);
	if (l.settings.top_k > 0 && l.settings.top_k < p->n)
		cut_off(&l, (uint64_t)l.settings.top_k, 0);
	if (l.settings.top_p < SAMPLING_ALL)
		cut_off(&l, 0, 1);
	p->out->token = draw(&l, n_pieces, pos);
}
