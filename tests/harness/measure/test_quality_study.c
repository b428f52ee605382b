/*
 * The study of evictions with a subject whose answers are known: which of its prompt's positions are left decides what
 * it says. What it is fed is checked token by token.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/measure/needle.h"
#include "harness/measure/quality_study.h"

enum {
	VOCAB = 600,
	WORDS = 200, /* ids from here on are those of words; digits are 1 to 10, other text is above */
	BEGIN = 11,
	FIRST_TEXT = 20, /* to WORDS, one after the other */
	SURE = 20,
	TEXT = 3000,
	CONTEXT = 200,
	CONTINUATION = 40, /* more than are fed at once */
	SEEDS = 3,
	NEEDLES = 3,
	SINKS = 2,
	ROWS_MAX = 4096,
};

struct fake {
	struct quality_subject subject; /* first */
	char words[VOCAB - WORDS][24];
	int n_words;
	int tokens[CONTEXT + QUALITY_BEHIND_MAX], n, n_base, n_prompt, n_mark;
	int window; /* of the prompt */
	struct quality_choice choice;
	int n_evictions;
};

static int text[TEXT];

static int after(int token)
{
	return token + 1 < WORDS ? token + 1 : FIRST_TEXT;
}

static struct fake *fake(struct quality_subject *q)
{
	return (struct fake *)q;
}

/* A token a word, with the space or newline in front; a token a digit; a full stop. */
static int encode(struct quality_subject *q, const char *from, int *out, int most, int *n, struct error *err)
{
	struct fake *f = fake(q);
	(void)err;
	for (*n = 0; *from; ++*n) {
		size_t length = 1;
		assert_true(*n < most);
		if (*from >= '0' && *from <= '9') {
			out[*n] = *from++ - '0' + 1;
			continue;
		}
		while (from[length] && !strchr(" \n.0123456789", from[length]))
			length++;
		int i = 0;
		while (i < f->n_words && (strlen(f->words[i]) != length || strncmp(f->words[i], from, length) != 0))
			i++;
		if (i == f->n_words)
			memcpy(f->words[f->n_words++], from, length);
		out[*n] = WORDS + i;
		from += length;
	}
	return 0;
}

static int base(struct quality_subject *q, const int *tokens, int n, struct error *err)
{
	struct fake *f = fake(q);
	(void)err;
	assert_int_equal(tokens[0], BEGIN);
	memcpy(f->tokens, tokens, (size_t)n * sizeof *tokens);
	f->n = f->n_base = n;
	return 0;
}

static int prompt(struct quality_subject *q, const int *tokens, int n, int window, struct error *err)
{
	struct fake *f = fake(q);
	(void)err;
	assert_true(n >= window);
	memcpy(f->tokens + f->n_base, tokens, (size_t)n * sizeof *tokens);
	f->n = f->n_prompt = f->n_base + n;
	f->window = window;
	assert_true(f->n <= CONTEXT);
	return 0;
}

static int evict(struct quality_subject *q, const struct quality_choice *c, struct error *err)
{
	struct fake *f = fake(q);
	(void)err;
	if (c->of.policy != QUALITY_FULL) {
		assert_int_equal(c->of.window, f->window);
		assert_int_equal(c->sinks, SINKS);
		assert_true(c->of.budget < f->n_prompt);
	}
	f->n = f->n_prompt;
	f->choice = *c;
	f->n_evictions++;
	return 0;
}

static int mark(struct quality_subject *q, struct error *err)
{
	(void)err;
	fake(q)->n_mark = fake(q)->n;
	return 0;
}

static int back(struct quality_subject *q, struct error *err)
{
	(void)err;
	fake(q)->n = fake(q)->n_mark;
	return 0;
}

/* Recency as it is; SnapKV keeps what is at even positions; stride nothing; the full cache all. */
static bool kept(const struct fake *f, int pos)
{
	switch (f->choice.of.policy) {
	case QUALITY_FULL:
		return true;
	case QUALITY_RECENCY:
		return pos < SINKS || pos >= f->n_prompt - (f->choice.of.budget - SINKS);
	case QUALITY_SNAPKV:
		return pos % 2 == 0;
	default:
		return false;
	}
}

/*
 * The digit that comes next: of the statement about a thing that is named behind the last line's beginning, where its
 * first digit is left; else none.
 */
static int answer(const struct fake *f)
{
	int given = 0, line = f->n - 1;
	while (f->tokens[f->n - 1 - given] <= 10)
		given++;
	while (f->tokens[line] < WORDS || f->words[f->tokens[line] - WORDS][0] != '\n')
		line--;
	for (int i = 0; i + 3 < line; i++) {
		if (f->tokens[i + 2] != WORDS || f->tokens[i + 3] > 10 || !kept(f, i + 3))
			continue;
		for (int k = line; k < f->n; k++)
			if (f->tokens[k] == f->tokens[i])
				return f->tokens[i + 3 + given];
	}
	return 0;
}

/* Of a text's tokens the full cache says that all are as likely; others make the first one likelier, stride less. */
static void say(const struct fake *f, float *row)
{
	int last = f->tokens[f->n - 1];
	for (int k = 0; k < VOCAB; k++)
		row[k] = 0;
	if (last >= WORDS && !strcmp(f->words[last - WORDS], " is"))
		row[WORDS] = SURE; /* a space in front of a number */
	else if (last >= WORDS || last <= 10)
		row[answer(f)] = SURE;
	else if (f->choice.of.policy != QUALITY_FULL)
		row[0] = (float)f->choice.of.budget / (f->choice.of.policy == QUALITY_STRIDE ? -100 : 100);
}

static int feed(struct quality_subject *q, const int *tokens, int n, float *logits, struct error *err)
{
	struct fake *f = fake(q);
	(void)err;
	for (int i = 0; i < n; i++) {
		f->tokens[f->n++] = tokens[i];
		if (tokens[i] >= FIRST_TEXT && tokens[i] < WORDS)
			assert_int_equal(tokens[i], after(f->tokens[f->n - 2]));
		if (logits)
			say(f, logits + (size_t)i * VOCAB);
	}
	return 0;
}

static const struct quality_subject_ops ops = {encode, base, prompt, evict, mark, back, feed};

struct found {
	struct quality_text_row texts[ROWS_MAX];
	struct quality_needle_row needles[ROWS_MAX];
	int n_texts, n_needles;
};

static int found_text(void *ctx, const struct quality_text_row *row, struct error *err)
{
	struct found *f = ctx;
	(void)err;
	f->texts[f->n_texts++] = *row;
	return 0;
}

static int found_needle(void *ctx, const struct quality_needle_row *row, struct error *err)
{
	struct found *f = ctx;
	(void)err;
	f->needles[f->n_needles++] = *row;
	return 0;
}

static struct quality_study study_of(struct found *f)
{
	return (struct quality_study){
		.context = CONTEXT,
		.continuation = CONTINUATION,
		.n_seeds = SEEDS,
		.n_needles = NEEDLES,
		.sinks = SINKS,
		.seed = 5,
		.budgets = {2, {40, 100}},
		.windows = {2, {8, 16}},
		.pools = {2, {1, 7}},
		.policies = {3, {QUALITY_SNAPKV, QUALITY_RECENCY, QUALITY_STRIDE}},
		.text = text,
		.n_text = TEXT,
		.found_text = found_text,
		.found_needle = found_needle,
		.ctx = f,
	};
}

static struct found *run(struct fake *f)
{
	static struct found found;
	struct quality_study s = study_of(&found);
	struct error err = {""};
	found.n_texts = found.n_needles = 0;
	*f = (struct fake){.subject = {&ops, VOCAB, BEGIN}};
	strcpy(f->words[f->n_words++], " ");
	if (quality_study_check(&s, &err) || quality_study_run(&s, &f->subject, &err))
		fail_msg("%s", err.text);
	return &found;
}

static void near(double a, double b)
{
	if (!(fabs(a - b) <= 1e-5))
		fail_msg("%.9g is not %.9g", a, b);
}

static void measures_what_goes_on(void **state)
{
	static struct fake f;
	const struct found *found = run(&f);
	int last = -1, n_full = 0;
	(void)state;
	/* Of each seed the full cache, and for two windows SnapKV with two pools and two others, at two budgets. */
	assert_int_equal(found->n_texts, SEEDS * (1 + 2 * (2 + 2) * 2));
	for (int i = 0; i < found->n_texts; i++) {
		const struct quality_text_row *r = &found->texts[i];
		bool full = r->of.policy == QUALITY_FULL;
		double a = full ? 0 : r->of.budget / (r->of.policy == QUALITY_STRIDE ? -100.0 : 100.0);
		near(r->kl, log((VOCAB - 1 + exp(a)) / VOCAB) - a / VOCAB);
		near(r->kl_max, r->kl);
		near(r->top1, r->of.policy != QUALITY_STRIDE);
		near(r->nll, log(VOCAB - 1 + exp(a)));
		assert_int_equal(r->continuation, CONTINUATION);
		assert_int_equal(r->of.pool > 0, r->of.policy == QUALITY_SNAPKV);
		/* One place in each third of the text. */
		int room = TEXT - CONTEXT - CONTINUATION - 1;
		assert_in_range(r->start, r->seed * room / SEEDS, (r->seed + 1) * room / SEEDS);
		n_full += full;
		if (full)
			assert_true(r->start > last);
		last = r->start;
	}
	assert_int_equal(n_full, SEEDS);
}

/* Words of a statement in front of its first digit, and of the questions. */
enum { TO_DIGIT = 9, VERBATIM = 8, PARAPHRASED = 13 };

static void finds_what_is_left(void **state)
{
	static struct fake f;
	const struct found *found = run(&f);
	int exact[QUALITY_POLICIES] = {0}, all[QUALITY_POLICIES] = {0};
	(void)state;
	assert_int_equal(found->n_needles, found->n_texts * NEEDLES * QUALITY_ASKED * QUALITY_QUESTIONS);
	for (int i = 0; i < found->n_needles; i++) {
		const struct quality_needle_row *r = &found->needles[i];
		int length = CONTEXT - PARAPHRASED, pos = (int)lround(r->depth * CONTEXT) + TO_DIGIT;
		if (r->asked == QUALITY_BEFORE)
			length += (r->question == QUALITY_VERBATIM ? VERBATIM : PARAPHRASED) - 1;
		int want = r->of.policy == QUALITY_FULL      ? 1
			   : r->of.policy == QUALITY_RECENCY ? pos < SINKS || pos >= length - (r->of.budget - SINKS)
			   : r->of.policy == QUALITY_SNAPKV  ? pos % 2 == 0
							     : 0;
		if (r->exact != want)
			fail_msg("row %d: %s, budget %d, position %d of %d: found %d", i,
				 quality_policies[r->of.policy], r->of.budget, pos, length, r->exact);
		/* A space, which is always foretold, and four digits. */
		assert_int_equal(r->tokens, 5);
		assert_in_range(r->value, 1000, 9999);
		near(r->logprob, -5 * log1p((VOCAB - 1) * exp(-SURE)) - (want ? 0 : 4 * SURE));
		assert_true((int)(r->depth * NEEDLES) == r->needle || r->depth * NEEDLES > r->needle - 0.5);
		exact[r->of.policy] += r->exact;
		all[r->of.policy]++;
	}
	/* Each answer was seen. */
	assert_true(exact[QUALITY_RECENCY] > 0 && exact[QUALITY_RECENCY] < all[QUALITY_RECENCY]);
	assert_true(exact[QUALITY_SNAPKV] > 0 && exact[QUALITY_SNAPKV] < all[QUALITY_SNAPKV]);
}

static void refuse(struct quality_study s, const char *says)
{
	struct error err = {""};
	assert_int_equal(quality_study_check(&s, &err), ERROR_INPUT);
	if (!strstr(err.text, says))
		fail_msg("expected '%s' in: %s", says, err.text);
}

static void refuses_what_does_not_fit(void **state)
{
	(void)state;
	struct found *none = NULL;
	struct quality_study s = study_of(none);
	struct error err;
	assert_int_equal(quality_study_check(&s, &err), 0);
	assert_int_equal(quality_study_choices(&s), 16);
	s.budgets.at[1] = CONTEXT;
	refuse(s, "a budget of 200 evicts nothing of a prompt of 200 tokens");
	s.budgets.at[1] = 17;
	refuse(s, "a budget of 17 has no room for the window of 16 and 2 sinks");
	s = study_of(none);
	s.windows.at[1] = 80;
	s.budgets.at[0] = 100;
	refuse(s, "a window of 80 leaves too little of a context of 200");
	s = study_of(none);
	s.n_text = CONTEXT + CONTINUATION;
	refuse(s, "the text has 240 tokens, a prompt of 200 and 40 behind it need 241");
	/* Ten statements are more than half of it. */
	static struct fake f;
	f = (struct fake){.subject = {&ops, VOCAB, BEGIN}};
	s = study_of(run(&f));
	s.n_needles = 10;
	assert_int_equal(quality_study_run(&s, &f.subject, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "10 needles are 150 tokens, more than half of a prompt of 200"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(measures_what_goes_on),
		cmocka_unit_test(finds_what_is_left),
		cmocka_unit_test(refuses_what_does_not_fit),
	};
	text[0] = FIRST_TEXT;
	for (int i = 1; i < TEXT; i++)
		text[i] = after(text[i - 1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
