/*
 * Every mode gives the bits of direct launches: across many wraps of the window,
 * bucket changes, rewinds, fusions and cache types.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/infer/session.h"
#include "tests/support/fusions.h"
#include "tests/support/golden.h"
#include "tests/support/sanitized.h"

enum { N_DECODE = 200, PROMPT = 21, CONTEXT = PROMPT + N_DECODE + 40 };

static struct session *open_session(const char *path, enum tensor_type cache, int threads)
{
	struct session_options o;
	session_options_default(&o);
	o.load.n_gpu_layers = 0;
	o.load.n_threads = threads;
	o.context = CONTEXT;
	o.load.batch = 16;
	o.load.k_type = o.load.v_type = cache;
	struct session *s;
	struct error err;
	if (session_open(&s, path, &o, &err))
		fail_msg("%s", err.text);
	return s;
}

static int token_at(int i, int n_vocab)
{
	return (int)((unsigned)i * 2654435761u % (unsigned)n_vocab);
}

static void prefill(struct session *s, int n)
{
	struct error err;
	int tokens[PROMPT];
	assert_int_equal(session_rewind(s, 0, &err), 0);
	for (int i = 0; i < n; i++)
		tokens[i] = token_at(i, session_model(s)->n_vocab);
	if (n && session_prefill(s, tokens, n, NULL, &err))
		fail_msg("%s", err.text);
}

/* Decodes N_DECODE tokens; copies each row of logits to rows. */
static void decode(struct session *s, float *rows, int *events)
{
	size_t vocab = (size_t)session_model(s)->n_vocab;
	for (int i = 0; i < N_DECODE; i++) {
		struct error err;
		struct token_timing t;
		const float *row;
		if (session_decode(s, token_at(1000 + i, (int)vocab), &t, &err) || session_logits(s, &row, &err))
			fail_msg("%s", err.text);
		memcpy(rows + (size_t)i * vocab, row, vocab * sizeof *row);
		events[t.event]++;
	}
}

static void expect_same(const float *a, const float *b, size_t vocab, const char *what)
{
	for (int i = 0; i < N_DECODE; i++)
		if (memcmp(a + (size_t)i * vocab, b + (size_t)i * vocab, vocab * sizeof *a))
			fail_msg("%s: token %d differs from direct", what, i);
}

/* What each mode must have done for 200 tokens that cross from one bucket to the next at key 128. */
static void expect_events(enum graph_mode mode, const int *events, const char *what)
{
	assert_int_equal(events[GRAPH_EVENT_FALLBACK], 0);
	if (mode == GRAPH_MODE_DIRECT) {
		assert_int_equal(events[GRAPH_EVENT_DIRECT], N_DECODE);
		return;
	}
	/* Where the graph sets its own grids, as long as the same kernels attend: on the host, always. */
	int captures = mode == GRAPH_MODE_PATCH ? 1 : 2;
	if (events[GRAPH_EVENT_CAPTURE] != captures)
		fail_msg("%s: %d captures, expected %d", what, events[GRAPH_EVENT_CAPTURE], captures);
	enum graph_event rest = mode >= GRAPH_MODE_DEVICE ? GRAPH_EVENT_REPLAY : GRAPH_EVENT_UPDATE;
	assert_int_equal(events[rest], N_DECODE - captures);
}

static void all_modes(const char *name, enum tensor_type cache, int threads, int prompt)
{
	struct golden g;
	golden_load(&g, name);
	size_t vocab = (size_t)g.n_vocab;
	float *direct = malloc(N_DECODE * vocab * sizeof *direct), *rows = malloc(N_DECODE * vocab * sizeof *rows);
	for (int fusion = FUSION_NONE; fusion < FUSION_COUNT; fusion++) {
		/* A session a fusion: captures are counted from an empty graph cache. */
		struct session *s = open_session(g.path, cache, threads);
		bool has = fusion_set(s, (enum fusion)fusion);
		for (int mode = 0; mode < GRAPH_MODE_COUNT && has; mode++) {
			/* Sanitized: a graph's modes differ in what replays, not in what it launches. */
			if (SANITIZED && fusion != FUSION_FULL && mode != GRAPH_MODE_DIRECT &&
			    mode != GRAPH_MODE_DEVICE)
				continue;
			char what[128];
			snprintf(what, sizeof what, "%s, %s cache, %s, fusion %s", name, tensor_type_name(cache),
				 graph_mode_name((enum graph_mode)mode), fusion_name((enum fusion)fusion));
			int events[5] = {0};
			session_set_mode(s, (enum graph_mode)mode);
			prefill(s, prompt);
			decode(s, mode ? rows : direct, events);
			expect_events((enum graph_mode)mode, events, what);
			if (mode)
				expect_same(rows, direct, vocab, what);
		}
		session_close(s);
	}
	free(direct);
	free(rows);
	golden_free(&g);
}

static void test_modes_are_bit_identical(void **state)
{
	(void)state;
	/* Sanitized: of E4B's four types of weights the quantised one. */
	for (int i = SANITIZED ? 3 : 0; i < GOLDEN_MODELS; i++)
		all_modes(golden_names[i], TENSOR_F32, 2, 0);
	all_modes("gemma4-e4b-tiny.q8_0", TENSOR_F16, 1, PROMPT);
	all_modes("gemma4-26b-a4b-tiny.q8_0", TENSOR_BF16, 2, PROMPT);
	all_modes("gemma4-e2b-tiny.q8_0", TENSOR_Q8_0, 2, PROMPT);
}

/* Switching the mode every token must not matter: graphs of other modes stay valid across rewinds. */
static void test_modes_may_alternate(void **state)
{
	(void)state;
	struct golden g;
	golden_load(&g, "gemma4-e4b-tiny.q8_0");
	size_t vocab = (size_t)g.n_vocab;
	float *direct = malloc(N_DECODE * vocab * sizeof *direct);
	int events[5] = {0};
	struct session *s = open_session(g.path, TENSOR_F16, 2);
	prefill(s, PROMPT);
	decode(s, direct, events);
	for (int round = 0; round < 3; round++) {
		prefill(s, PROMPT);
		for (int i = 0; i < N_DECODE; i++) {
			struct error err;
			const float *row;
			session_set_mode(s, (enum graph_mode)((i + round) % GRAPH_MODE_COUNT));
			session_set_fusion(s, (enum fusion)((i / 7 + round) % FUSION_COUNT));
			if (session_decode(s, token_at(1000 + i, (int)vocab), NULL, &err) ||
			    session_logits(s, &row, &err))
				fail_msg("%s", err.text);
			if (memcmp(row, direct + (size_t)i * vocab, vocab * sizeof *row))
				fail_msg("round %d: token %d differs", round, i);
		}
	}
	session_close(s);
	free(direct);
	golden_free(&g);
}

/* From a checkpoint, however far the rings wrapped in between; and from short distances without one. */
static void test_rewind(void **state)
{
	(void)state;
	struct golden g;
	golden_load(&g, "gemma4-e4b-tiny.q8_0");
	size_t vocab = (size_t)g.n_vocab;
	float *first = malloc(N_DECODE * vocab * sizeof *first), *again = malloc(N_DECODE * vocab * sizeof *again);
	int events[5] = {0};
	struct error err;
	struct session *s = open_session(g.path, TENSOR_F16, 2);
	session_set_mode(s, GRAPH_MODE_DEVICE);
	prefill(s, PROMPT);
	assert_int_equal(session_checkpoint(s, &err), 0);
	decode(s, first, events);
	for (int round = 0; round < 3; round++) {
		if (session_rewind(s, PROMPT, &err))
			fail_msg("%s", err.text);
		decode(s, again, events);
		expect_same(again, first, vocab, "after a rewind to the checkpoint");
	}

	/* 16 positions of slack: 10 back is possible, 100 back is not and says so. */
	int at = session_position(s);
	assert_int_equal(session_rewind(s, at - 10, &err), 0);
	const float *row;
	for (int i = N_DECODE - 10; i < N_DECODE; i++) {
		assert_int_equal(session_decode(s, token_at(1000 + i, (int)vocab), NULL, &err), 0);
		assert_int_equal(session_logits(s, &row, &err), 0);
		assert_memory_equal(row, first + (size_t)i * vocab, vocab * sizeof *row);
	}
	assert_int_equal(session_rewind(s, at - 100, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "checkpoint"));
	assert_int_equal(session_position(s), at);
	session_close(s);
	free(first);
	free(again);
	golden_free(&g);
}

static void test_launch_counts(void **state)
{
	(void)state;
	struct golden g;
	golden_load(&g, "gemma4-e4b-tiny.q8_0");
	struct session *s = open_session(g.path, TENSOR_F16, 2);
	struct error err;
	struct token_timing direct, t;
	session_set_fusion(s, FUSION_NONE);
	prefill(s, PROMPT);
	assert_int_equal(session_decode(s, 3, &direct, &err), 0);
	/* 12 layers, 6 with K/V: embed (5) + 6 x 27 + 6 x 21 + head (3), from the definition of the layer */
	assert_int_equal(direct.kernels, 5 + 6 * 27 + 6 * 21 + 3);
	assert_int_equal(direct.api_launches, direct.kernels);
	assert_int_equal(direct.node_updates, 0);
	for (int mode = GRAPH_MODE_PARAMS; mode < GRAPH_MODE_COUNT; mode++) {
		session_set_mode(s, (enum graph_mode)mode);
		assert_int_equal(session_decode(s, 3, &t, &err), 0);
		assert_int_equal(t.event, GRAPH_EVENT_CAPTURE);
		assert_int_equal(session_decode(s, 3, &t, &err), 0);
		/* One more that sets the others, or goes on to the next token. */
		assert_int_equal(t.kernels, direct.kernels + (mode >= GRAPH_MODE_PATCH));
		assert_int_equal(t.copies, mode >= GRAPH_MODE_DEVICE);
		assert_int_equal(t.api_launches, mode >= GRAPH_MODE_DEVICE ? 2 : 1);
		/* 2 gathers; a layer: RoPE of q and attention; its own K/V: RoPE of k and the append */
		const int positional = 2 + 12 * 2 + 6 * 2;
		/* A patch also sets the combine, which has as many splits as there are. */
		assert_int_equal(t.node_updates, mode == GRAPH_MODE_PARAMS  ? positional
						 : mode == GRAPH_MODE_PATCH ? positional + 12
									    : 0);
	}
	session_close(s);
	golden_free(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_modes_are_bit_identical),
		cmocka_unit_test(test_modes_may_alternate),
		cmocka_unit_test(test_rewind),
		cmocka_unit_test(test_launch_counts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
