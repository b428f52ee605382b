/*
 * Prompts run in every mode on one session, and what they leave: shared by the tests of prompts' graphs on the host and
 * on a GPU.
 */
#ifndef GEMMARK_TESTS_SUPPORT_PROMPT_MODES_H
#define GEMMARK_TESTS_SUPPORT_PROMPT_MODES_H

#include "engine/infer/session.h"

enum {
	PROMPT_MODES_FAR = 60,     /* prefixes are no longer */
	PROMPT_MODES_PROMPT = 85,  /* tokens of each prompt */
	PROMPT_MODES_CONTEXT = 190 /* positions that a session needs */
};

/* What is left of a prompt, and of a few tokens behind it. */
struct prompt_left {
	float *logits; /* (1 + decoded, n_vocab) */
	unsigned char *cache;
	size_t bytes;
};

/* The prompt of that number behind the checkpoint at `prefix`, in the mode; with snapkv it is evicted. */
struct prompt_left prompt_modes_run(struct session *s, enum graph_mode mode, int prefix, int number,
				    const struct snapkv_options *snapkv);
void prompt_left_free(struct prompt_left *l);
/* Fails the running test where a bit differs. */
void prompt_left_expect_same(const struct prompt_left *a, const struct prompt_left *b, int n_vocab, const char *what);

/*
 * Prompts behind `prefix` tokens (no chunk of whose graphs is captured yet where it is 0), one after the other, first
 * directly, then in each mode: the bits, the counts, and that a graph serves every chunk of its length.
 */
void prompt_modes_check(struct session *s, int batch, int prefix, const char *name);
/*
 * With an eviction, and behind one, in chunks of 20: what SnapKV observes is launched directly, the rest is not, and
 * what it keeps is the same.
 */
void prompt_modes_check_snapkv(struct session *s);

#endif
