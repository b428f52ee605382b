#include "tests/support/prompt_modes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/ok.h"

enum { DECODED = 3, PROMPTS = 3, SEED = 7 };

void prompt_left_free(struct prompt_left *l)
{
	free(l->logits);
	free(l->cache);
}

static void fill(int *tokens, int n, int seed, int n_vocab)
{
	for (int i = 0; i < n; i++)
		tokens[i] = (int)((unsigned)(i + seed * 1000) * 2654435761u % (unsigned)n_vocab);
}

static void take_logits(struct session *s, float *to)
{
	const float *row;
	OK(session_logits(s, &row, e));
	memcpy(to, row, (size_t)session_model(s)->n_vocab * sizeof *row);
}

struct prompt_left prompt_modes_run(struct session *s, enum graph_mode mode, int prefix, int number,
				    const struct snapkv_options *snapkv)
{
	int vocab = session_model(s)->n_vocab, tokens[PROMPT_MODES_PROMPT];
	struct prompt_left l = {.logits = malloc((1 + DECODED) * (size_t)vocab * sizeof(float))};
	OK(session_rewind(s, prefix, e));
	if (snapkv)
		OK(session_observe(s, snapkv, prefix + PROMPT_MODES_PROMPT, e));
	OK(session_set_prefill_mode(s, mode, e));
	fill(tokens, PROMPT_MODES_PROMPT, number, vocab);
	OK(session_prefill(s, tokens, PROMPT_MODES_PROMPT, NULL, e));
	take_logits(s, l.logits);
	l.bytes = session_snapshot_bytes(s);
	l.cache = malloc(l.bytes);
	OK(session_snapshot(s, l.cache, e));
	if (snapkv) {
		struct session_eviction evicted;
		OK(session_evict(s, &evicted, e));
		assert_true(evicted.entries_after == snapkv->budget);
	}
	for (int i = 0; i < DECODED; i++) {
		OK(session_decode(s, tokens[i], NULL, e));
		take_logits(s, l.logits + (size_t)(1 + i) * (size_t)vocab);
	}
	return l;
}

void prompt_left_expect_same(const struct prompt_left *a, const struct prompt_left *b, int n_vocab, const char *what)
{
	assert_int_equal(a->bytes, b->bytes);
	if (memcmp(a->cache, b->cache, a->bytes))
		fail_msg("%s: another cache than of direct launches", what);
	for (int i = 0; i <= DECODED; i++)
		if (memcmp(a->logits + (size_t)i * (size_t)n_vocab, b->logits + (size_t)i * (size_t)n_vocab,
			   (size_t)n_vocab * sizeof(float)))
			fail_msg("%s: other logits than of direct launches, %d tokens behind the prompt", what, i);
}

/* Lengths of chunks, where the head is behind the last one. */
static int shapes(int batch)
{
	int whole = PROMPT_MODES_PROMPT / batch, rest = PROMPT_MODES_PROMPT % batch;
	return (whole - !rest > 0) + 1;
}

/* What prompt `number` in the mode did, against the same launched directly. buckets: of the last row's attention. */
static void expect_counts(enum graph_mode mode, int batch, int number, const struct prefill_counts *c,
			  const struct prefill_counts *direct, uint64_t captures, const char *what)
{
	int chunks = (PROMPT_MODES_PROMPT + batch - 1) / batch;
	if (c->chunks != chunks || c->n_direct)
		fail_msg("%s: %d of %d chunks launched directly", what, c->n_direct, c->chunks);
	/* One more in a chunk that sets its own nodes. */
	assert_int_equal(c->kernels, direct->kernels + (mode == GRAPH_MODE_PATCH ? chunks : 0));
	if (number == 0) {
		assert_int_equal(captures, shapes(batch));
		assert_true(c->sequence == 0);
		return;
	}
	/* No chunk of a later prompt is captured, wherever it is. */
	assert_int_equal(captures, 0);
	assert_true(c->sequence != 0 && c->sequence != direct->sequence);
	assert_int_equal(c->api_launches, mode >= GRAPH_MODE_DEVICE ? 2 * chunks : chunks);
	assert_int_equal(c->copies, direct->copies + (mode >= GRAPH_MODE_DEVICE ? chunks : 0));
	assert_int_equal(c->node_updates > 0, mode == GRAPH_MODE_PARAMS || mode == GRAPH_MODE_PATCH);
}

void prompt_modes_check(struct session *s, int batch, int prefix, const char *name)
{
	int vocab = session_model(s)->n_vocab, tokens[PROMPT_MODES_FAR];
	struct prompt_left direct[PROMPTS];
	struct prefill_counts counts[PROMPTS];
	char what[160];
	OK(session_rewind(s, 0, e));
	fill(tokens, prefix, SEED, vocab);
	OK(session_set_prefill_mode(s, GRAPH_MODE_DIRECT, e));
	if (prefix)
		OK(session_prefill(s, tokens, prefix, NULL, e));
	OK(session_checkpoint(s, e));
	for (int i = 0; i < PROMPTS; i++) {
		direct[i] = prompt_modes_run(s, GRAPH_MODE_DIRECT, prefix, i, NULL);
		counts[i] = session_prefill_counts(s);
		assert_true(counts[i].n_direct == counts[i].chunks && counts[i].sequence == counts[0].sequence);
	}
	for (int mode = GRAPH_MODE_PARAMS; mode < GRAPH_MODE_PROMPT_COUNT; mode++) {
		uint64_t sequence = 0;
		for (int i = 0; i < PROMPTS; i++) {
			uint64_t captures = session_stats(s).graph.captures;
			struct prompt_left l = prompt_modes_run(s, (enum graph_mode)mode, prefix, i, NULL);
			struct prefill_counts c = session_prefill_counts(s);
			captures = session_stats(s).graph.captures - captures;
			snprintf(what, sizeof what, "%s, %s, chunks of %d behind %d, prompt %d", name,
				 graph_mode_name((enum graph_mode)mode), batch, prefix, i);
			prompt_left_expect_same(&l, &direct[i], vocab, what);
			/* Behind another prefix the same graphs serve. */
			if (!prefix || i)
				expect_counts((enum graph_mode)mode, batch, i, &c, &counts[i], captures, what);
			if (i > 1)
				assert_true(c.sequence == sequence);
			sequence = c.sequence;
			prompt_left_free(&l);
		}
	}
	for (int i = 0; i < PROMPTS; i++)
		prompt_left_free(&direct[i]);
}

void prompt_modes_check_snapkv(struct session *s)
{
	const struct snapkv_options options = {.budget = 40, .window = 16, .pool = 3};
	int vocab = session_model(s)->n_vocab;
	OK(session_checkpoint(s, e));
	struct prompt_left direct = prompt_modes_run(s, GRAPH_MODE_DIRECT, 0, 1, &options);
	for (int mode = GRAPH_MODE_PARAMS; mode < GRAPH_MODE_PROMPT_COUNT; mode++)
		for (int i = 0; i < 2; i++) {
			struct prompt_left l = prompt_modes_run(s, (enum graph_mode)mode, 0, 1, &options);
			struct prefill_counts c = session_prefill_counts(s);
			prompt_left_expect_same(&l, &direct, vocab, graph_mode_name((enum graph_mode)mode));
			/* 85 tokens in 20s: the window's 16 are in the last two. */
			assert_true(c.chunks == 5 && c.n_direct == 2);
			prompt_left_free(&l);
		}
	/* A prompt behind an eviction: positions and slots are not the same. */
	int tokens[40], next[DECODED] = {1, 2, 3};
	float *rows[2];
	fill(tokens, 40, SEED, vocab);
	OK(session_checkpoint(s, e));
	int at = session_position(s);
	assert_true(session_evicted(s) > 0);
	for (int mode = GRAPH_MODE_DIRECT; mode < GRAPH_MODE_PROMPT_COUNT; mode++)
		for (int i = 0; i < 1 + (mode > 0); i++) {
			rows[mode > 0] = malloc((size_t)vocab * sizeof(float));
			OK(session_rewind(s, at, e));
			OK(session_set_prefill_mode(s, (enum graph_mode)mode, e));
			OK(session_prefill(s, tokens, 40, NULL, e));
			OK(session_decode(s, next[0], NULL, e));
			take_logits(s, rows[mode > 0]);
			if (mode) {
				assert_memory_equal(rows[1], rows[0], (size_t)vocab * sizeof(float));
				free(rows[1]);
			}
		}
	free(rows[0]);
	prompt_left_free(&direct);
}
