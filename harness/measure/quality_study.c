#include "harness/measure/quality_study.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/random.h"
#include "harness/measure/needle.h"
#include "harness/measure/quality.h"

enum {
	ROWS = 32,              /* of logits at a time */
	SENTENCE = NEEDLE_TEXT, /* tokens of a needle or of a question at most: one a byte */
	VALUE = 16,             /* of a value */
	CHOICES_MAX = 4 * QUALITY_BUDGETS * QUALITY_BUDGETS,
};

static_assert(SENTENCE + VALUE <= QUALITY_BEHIND_MAX, "a question and its answer are fed behind a prompt");

/* A question's tokens and its answer's. */
struct asked {
	int question[SENTENCE], value[VALUE];
	int n_question, n_value;
};

struct hidden {
	struct needle text;
	int statement[SENTENCE], n_statement;
	struct asked asked[QUALITY_QUESTIONS];
	double depth; /* where its statement came to stand */
};

struct run {
	const struct quality_study *s;
	struct quality_subject *q;
	int seed;
	int start;   /* of this seed's piece of text */
	int *tokens; /* (context + continuation + 1) */
	float *full; /* (continuation, n_vocab) */
	float *got;  /* (ROWS, n_vocab) */
	struct hidden *needles;
};

/* ---- what is compared ---- */

static int most(const struct quality_list *l)
{
	int best = l->at[0];
	for (int i = 1; i < l->n; i++)
		best = l->at[i] > best ? l->at[i] : best;
	return best;
}

/* Those of one window, in the order of the lists. Pools are the vote's alone. */
static int choices(const struct quality_study *s, int window, int seed, struct quality_choice *out)
{
	int n = 0;
	const int draw[] = {(int)s->seed, seed};
	for (int p = 0; p < s->policies.n; p++) {
		enum quality_policy policy = (enum quality_policy)s->policies.at[p];
		bool votes = policy == QUALITY_SNAPKV;
		for (int pool = 0; pool < (votes ? s->pools.n : 1); pool++)
			for (int b = 0; b < s->budgets.n; b++)
				out[n++] = (struct quality_choice){.of = {.context = s->context,
									  .policy = policy,
									  .budget = s->budgets.at[b],
									  .window = window,
									  .pool = votes ? s->pools.at[pool] : -1},
								   .sinks = s->sinks,
								   .seed = (uint32_t)hash_bytes(draw, sizeof draw, 0)};
	}
	return n;
}

static struct quality_choice full_cache(const struct quality_study *s)
{
	return (struct quality_choice){
		.of = {.context = s->context, .policy = QUALITY_FULL, .budget = -1, .window = -1, .pool = -1}};
}

int quality_study_choices(const struct quality_study *s)
{
	int n = 0;
	for (int p = 0; p < s->policies.n; p++)
		n += s->policies.at[p] == QUALITY_SNAPKV ? s->pools.n : 1;
	return n * s->budgets.n * s->windows.n;
}

int quality_study_check(const struct quality_study *s, struct error *err)
{
	int window = most(&s->windows);
	for (int i = 0; i < s->budgets.n; i++) {
		int budget = s->budgets.at[i];
		if (budget >= s->context - SENTENCE)
			return error_set(
				err, ERROR_INPUT,
				"a budget of %d evicts nothing of a prompt of %d tokens with a question; take a "
				"smaller budget or a longer context",
				budget, s->context);
		if (budget < window + s->sinks)
			return error_set(
				err, ERROR_INPUT,
				"a budget of %d has no room for the window of %d and %d sinks, which are kept; "
				"take a larger budget",
				budget, window, s->sinks);
	}
	if (2 * window + SENTENCE > s->context)
		return error_set(err, ERROR_INPUT, "a window of %d leaves too little of a context of %d", window,
				 s->context);
	if (s->n_text < s->context + s->continuation + 1)
		return error_set(err, ERROR_INPUT,
				 "the text has %d tokens, a prompt of %d and %d behind it need %d; give a longer text",
				 s->n_text, s->context, s->continuation, s->context + s->continuation + 1);
	return 0;
}

/* ---- the text that goes on ---- */

/* The continuation fed behind what was just evicted, or, for the reference, not. */
static int score_text(struct run *r, const struct quality_choice *c, struct error *err)
{
	const struct quality_study *s = r->s;
	const int *fed = r->tokens + s->context;
	size_t vocab = (size_t)r->q->n_vocab;
	bool reference = c->of.policy == QUALITY_FULL;
	struct quality sum = {0};
	double nll = 0;
	int rc = r->q->ops->evict(r->q, c, err);
	for (int done = 0; done < s->continuation && !rc;) {
		int n = s->continuation - done < ROWS ? s->continuation - done : ROWS, top;
		float *rows = reference ? r->full + (size_t)done * vocab : r->got;
		rc = r->q->ops->feed(r->q, fed + done, n, rows, err);
		for (int i = 0; i < n && !rc; i++, done++) {
			const float *row = rows + (size_t)i * vocab;
			const struct agreement a = agreement_of(r->full + (size_t)done * vocab, row, (int)vocab);
			quality_add(&sum, &a);
			nll -= quality_log_probability(row, (int)vocab, fed[done + 1], &top);
		}
	}
	if (rc)
		return rc;
	const struct quality_text_row row = {.of = c->of,
					     .seed = r->seed,
					     .start = r->start,
					     .continuation = s->continuation,
					     .kl = sum.divergence_sum / s->continuation,
					     .kl_max = sum.divergence_max,
					     .top1 = (double)sum.same_top / s->continuation,
					     .nll = nll / s->continuation};
	return s->found_text(s->ctx, &row, err);
}

static int study_text(struct run *r, struct error *err)
{
	const struct quality_study *s = r->s;
	struct quality_choice list[CHOICES_MAX];
	const struct quality_choice full = full_cache(s);
	int n = 0, base = s->context - most(&s->windows), rc;
	if (r->q->begin >= 0)
		r->tokens[n++] = r->q->begin;
	memcpy(r->tokens + n, s->text + r->start, (size_t)(s->context + s->continuation + 1 - n) * sizeof *s->text);
	rc = r->q->ops->base(r->q, r->tokens, base, err);
	for (int w = 0; w < s->windows.n && !rc; w++) {
		int k = choices(s, s->windows.at[w], r->seed, list);
		rc = r->q->ops->prompt(r->q, r->tokens + base, s->context - base, s->windows.at[w], err);
		if (!rc && !w)
			rc = score_text(r, &full, err);
		for (int i = 0; i < k && !rc; i++)
			rc = score_text(r, &list[i], err);
	}
	return rc;
}

/* ---- needles ---- */

/* Where a piece of the vocabulary goes over from the question into the value, it is the value's. */
static int encode_question(struct quality_subject *q, const char *question, const char *value, struct asked *out,
			   struct error *err)
{
	char whole[NEEDLE_TEXT + 16];
	int tokens[SENTENCE + VALUE], n, alone, k = 0;
	snprintf(whole, sizeof whole, "%s%s", question, value);
	int rc = q->ops->encode(q, question, out->question, SENTENCE, &alone, err);
	if (!rc)
		rc = q->ops->encode(q, whole, tokens, SENTENCE + VALUE, &n, err);
	if (rc)
		return rc;
	while (k < alone && k < n && tokens[k] == out->question[k])
		k++;
	out->n_question = k;
	out->n_value = n - k;
	if (k < 2 || out->n_value < 1 || out->n_value > VALUE)
		return error_set(
			err, ERROR_INPUT,
			"the vocabulary makes no answer of '%s' behind its question; hide no needles: --needles 0",
			value);
	memcpy(out->value, tokens + k, (size_t)out->n_value * sizeof *tokens);
	return 0;
}

static int encode_needles(struct run *r, int *longest, int *statements, struct error *err)
{
	const struct quality_study *s = r->s;
	struct needle texts[NEEDLES_MAX];
	const uint64_t place[] = {s->seed, (uint64_t)r->seed};
	int rc = 0;
	needles_make(hash_bytes(place, sizeof place, 1), s->n_needles, texts);
	*longest = *statements = 0;
	for (int i = 0; i < s->n_needles && !rc; i++) {
		struct hidden *h = &r->needles[i];
		h->text = texts[i];
		rc = r->q->ops->encode(r->q, texts[i].statement, h->statement, SENTENCE, &h->n_statement, err);
		for (int k = 0; k < QUALITY_QUESTIONS && !rc; k++) {
			rc = encode_question(r->q, texts[i].question[k], texts[i].value, &h->asked[k], err);
			*longest = !rc && h->asked[k].n_question > *longest ? h->asked[k].n_question : *longest;
		}
		*statements += rc ? 0 : h->n_statement;
	}
	return rc;
}

/* The prompt without a question into r->tokens; returns its length. */
static int hide(struct run *r, int length, int statements)
{
	const struct quality_study *s = r->s;
	int n = 0, taken = 0, i = 0, other;
	if (r->q->begin >= 0)
		r->tokens[n++] = r->q->begin;
	other = length - n - statements;
	for (; taken < other || i < s->n_needles;) {
		if (i < s->n_needles && taken >= (int)(r->needles[i].text.depth * other)) {
			struct hidden *h = &r->needles[i++];
			h->depth = (double)n / s->context;
			memcpy(r->tokens + n, h->statement, (size_t)h->n_statement * sizeof *h->statement);
			n += h->n_statement;
		} else {
			r->tokens[n++] = s->text[r->start + taken++];
		}
	}
	return n;
}

/* Behind the question but for its last token. */
static int score_value(struct run *r, const struct quality_choice *c, int needle, enum quality_question question,
		       enum quality_asked asked, struct error *err)
{
	const struct hidden *h = &r->needles[needle];
	const struct asked *a = &h->asked[question];
	struct quality_needle_row row = {.of = c->of,
					 .seed = r->seed,
					 .needle = needle,
					 .depth = h->depth,
					 .asked = asked,
					 .question = question,
					 .value = atoi(h->text.value),
					 .tokens = a->n_value,
					 .exact = 1};
	int fed[VALUE + 1], vocab = r->q->n_vocab;
	fed[0] = a->question[a->n_question - 1];
	memcpy(fed + 1, a->value, (size_t)a->n_value * sizeof *fed);
	int rc = r->q->ops->feed(r->q, fed, a->n_value, r->got, err);
	for (int i = 0; i < a->n_value && !rc; i++) {
		int top;
		row.logprob += quality_log_probability(r->got + (size_t)i * (size_t)vocab, vocab, a->value[i], &top);
		row.exact &= top == a->value[i];
	}
	return rc ? rc : r->s->found_needle(r->s->ctx, &row, err);
}

/* Of a prompt that ends with a question. */
static int ask_before(struct run *r, const struct quality_choice *list, int n, int needle,
		      enum quality_question question, struct error *err)
{
	int rc = 0;
	for (int i = 0; i < n && !rc; i++) {
		rc = r->q->ops->evict(r->q, &list[i], err);
		if (!rc)
			rc = score_value(r, &list[i], needle, question, QUALITY_BEFORE, err);
	}
	return rc;
}

/* All needles of one eviction. */
static int ask_behind(struct run *r, const struct quality_choice *c, struct error *err)
{
	int rc = r->q->ops->evict(r->q, c, err);
	if (!rc)
		rc = r->q->ops->mark(r->q, err);
	for (int i = 0; i < r->s->n_needles * QUALITY_QUESTIONS && !rc; i++) {
		int needle = i / QUALITY_QUESTIONS, question = i % QUALITY_QUESTIONS;
		const struct asked *a = &r->needles[needle].asked[question];
		rc = i ? r->q->ops->back(r->q, err) : 0;
		if (!rc)
			rc = r->q->ops->feed(r->q, a->question, a->n_question - 1, NULL, err);
		if (!rc)
			rc = score_value(r, c, needle, (enum quality_question)question, QUALITY_BEHIND, err);
	}
	return rc;
}

static int study_needles(struct run *r, struct error *err)
{
	const struct quality_study *s = r->s;
	struct quality_choice list[CHOICES_MAX + 1];
	int longest, statements, rc = encode_needles(r, &longest, &statements, err);
	if (rc)
		return rc;
	int length = s->context - longest, window = most(&s->windows), base = length - window;
	if (length - statements < s->context / 2)
		return error_set(err, ERROR_INPUT,
				 "%d needles are %d tokens, more than half of a prompt of %d; hide fewer: --needles N",
				 s->n_needles, statements, s->context);
	length = hide(r, length, statements);
	rc = r->q->ops->base(r->q, r->tokens, base, err);
	for (int w = 0; w < s->windows.n && !rc; w++) {
		int n = 0;
		if (!w)
			list[n++] = full_cache(s);
		n += choices(s, s->windows.at[w], r->seed, list + n);
		rc = r->q->ops->prompt(r->q, r->tokens + base, length - base, s->windows.at[w], err);
		for (int i = 0; i < n && !rc; i++)
			rc = ask_behind(r, &list[i], err);
		for (int i = 0; i < s->n_needles * QUALITY_QUESTIONS && !rc; i++) {
			int needle = i / QUALITY_QUESTIONS, question = i % QUALITY_QUESTIONS;
			const struct asked *a = &r->needles[needle].asked[question];
			memcpy(r->tokens + length, a->question, (size_t)(a->n_question - 1) * sizeof *r->tokens);
			rc = r->q->ops->prompt(r->q, r->tokens + base, length - base + a->n_question - 1,
					       s->windows.at[w], err);
			if (!rc)
				rc = ask_before(r, list, n, needle, (enum quality_question)question, err);
		}
	}
	return rc;
}

/* ---- all of it ---- */

/* Of as many equal parts of the text as there are seeds, a place in this one's. */
static int place_text(const struct quality_study *s, int seed)
{
	const uint64_t place[] = {s->seed, (uint64_t)seed};
	uint64_t state = hash_bytes(place, sizeof place, 0);
	double room = s->n_text - (s->context + s->continuation + 1);
	return (int)(room * (seed + (double)random_below(&state, 1 << 20) / (1 << 20)) / s->n_seeds);
}

int quality_study_run(const struct quality_study *s, struct quality_subject *q, struct error *err)
{
	size_t vocab = (size_t)q->n_vocab;
	struct run r = {.s = s, .q = q};
	r.tokens = malloc((size_t)(s->context + s->continuation + 1) * sizeof *r.tokens);
	r.full = malloc((size_t)s->continuation * vocab * sizeof *r.full);
	r.got = malloc(ROWS * vocab * sizeof *r.got);
	r.needles = calloc(NEEDLES_MAX, sizeof *r.needles);
	int rc = r.tokens && r.full && r.got && r.needles
			 ? 0
			 : error_set(err, ERROR_MEMORY, "no memory for the logits of %d tokens; score fewer",
				     s->continuation);
	for (; r.seed < s->n_seeds && !rc; r.seed++) {
		r.start = place_text(s, r.seed);
		rc = study_text(&r, err);
		if (!rc && s->n_needles)
			rc = study_needles(&r, err);
	}
	free(r.tokens);
	free(r.full);
	free(r.got);
	free(r.needles);
	return rc;
}
