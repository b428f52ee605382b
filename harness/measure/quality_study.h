/*
 * What an eviction does to a model that was trained, on text: how far its next tokens move away from the full cache's,
 * how well it foretells the text that goes on, and whether it still finds what was hidden in the prompt.
 *
 * For each seed a piece of the text is the prompt, and what follows it is fed behind the eviction, token by token as
 * the text has it. Another prompt of the same length has needles in it, which are asked for at the prompt's end, where
 * SnapKV's window sees the question, and, of a prompt without a question, behind the eviction. Every policy is given
 * the same prompts, and each scored token is one that the eviction comes before.
 *
 * It knows no engine: a subject prefills, evicts and gives logits.
 */
#ifndef GEMMARK_HARNESS_MEASURE_QUALITY_STUDY_H
#define GEMMARK_HARNESS_MEASURE_QUALITY_STUDY_H

#include <stdint.h>

#include "base/error.h"
#include "harness/record/quality_file.h"

/* An eviction. */
struct quality_choice {
	struct quality_case of;
	int sinks;     /* first entries that every policy but SnapKV keeps */
	uint32_t seed; /* of the random ones */
};

struct quality_subject;

struct quality_subject_ops {
	/* A text's tokens, without one in front: out (most), *n. ERROR_INPUT where they are more. */
	int (*encode)(struct quality_subject *q, const char *text, int *out, int most, int *n, struct error *err);
	/* Prefills n tokens from position 0 on, and keeps that. */
	int (*base)(struct quality_subject *q, const int *tokens, int n, struct error *err);
	/* From there on n more, and keeps that too: a prompt, the last `window` of which vote where it is evicted. */
	int (*prompt)(struct quality_subject *q, const int *tokens, int n, int window, struct error *err);
	/* Back to the prompt, of which the choice's entries are left; window: the prompt's. */
	int (*evict)(struct quality_subject *q, const struct quality_choice *c, struct error *err);
	/* Marks the position; comes back to it from behind it. */
	int (*mark)(struct quality_subject *q, struct error *err);
	int (*back)(struct quality_subject *q, struct error *err);
	/* Appends n tokens. logits: (n, n_vocab), behind each; null: none is asked for. */
	int (*feed)(struct quality_subject *q, const int *tokens, int n, float *logits, struct error *err);
};

/* Implementations put this first. */
struct quality_subject {
	const struct quality_subject_ops *ops;
	int n_vocab;
	int begin; /* the token in front of a text; -1: none */
};

enum {
	QUALITY_BUDGETS = 16, /* at most, of each list */
	QUALITY_CONTINUATION_MAX = 512,
	QUALITY_BEHIND_MAX = QUALITY_CONTINUATION_MAX + 128, /* tokens that are fed behind a prompt */
};

struct quality_list {
	int n;
	int at[QUALITY_BUDGETS];
};

struct quality_study {
	int context;      /* tokens of a prompt */
	int continuation; /* that are scored behind it */
	int n_seeds;
	int n_needles; /* of a prompt; 0: none are hidden */
	int sinks;
	uint64_t seed; /* of the pieces of text, needles and draws */
	struct quality_list budgets, windows, pools;
	struct quality_list policies; /* enum quality_policy, none of them QUALITY_FULL */
	const int *text;              /* (n_text): its tokens, without one in front */
	int n_text;
	/* What was found, as it is found. Not 0: ends the study. */
	int (*found_text)(void *ctx, const struct quality_text_row *row, struct error *err);
	int (*found_needle)(void *ctx, const struct quality_needle_row *row, struct error *err);
	void *ctx;
};

/* ERROR_INPUT says what does not fit: a budget into the context, a window into a budget, the text. */
int quality_study_check(const struct quality_study *s, struct error *err);
/* Ways to evict, the full cache not among them. */
int quality_study_choices(const struct quality_study *s);
/* Behind quality_study_check. What the subject says, and ERROR_INPUT where needles do not fit into the context. */
int quality_study_run(const struct quality_study *s, struct quality_subject *q, struct error *err);

#endif
