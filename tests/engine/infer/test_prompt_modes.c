/*
 * A prompt's chunks as graphs: every mode leaves the bits of direct launches, in the cache, in the logits and in what
 * is decoded behind them, wherever a chunk is; and a graph serves every chunk of its length.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/infer/loaded_model.h"
#include "engine/infer/session.h"
#include "tests/support/golden.h"
#include "tests/support/guarded.h"
#include "tests/support/ok.h"

enum { PREFIX = 30, FAR = 60, PROMPT = 85, DECODED = 3, CONTEXT = FAR + PROMPT + 40, PROMPTS = 3, SEED = 7 };

/* What is left of a prompt, and of a few tokens behind it. */
struct left {
	float *logits; /* (1 + DECODED, n_vocab) */
	unsigned char *cache;
	size_t bytes;
};

static void left_free(struct left *l)
{
	free(l->logits);
	free(l->cache);
}

static struct session *open_session(const char *path, int batch, enum tensor_type cache)
{
	struct session_options o;
	struct session *s;
	session_options_default(&o);
	o.load.n_gpu_layers = 0;
	o.load.n_threads = 2;
	o.context = CONTEXT;
	o.load.batch = batch;
	o.load.k_type = o.load.v_type = cache;
	OK(session_open(&s, path, &o, e));
	return s;
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

/* The prompt of that number behind the checkpoint at `prefix`, in the mode. */
static struct left run(struct session *s, enum graph_mode mode, int prefix, int number,
		       const struct snapkv_options *snapkv)
{
	int vocab = session_model(s)->n_vocab, tokens[PROMPT];
	struct left l = {.logits = malloc((1 + DECODED) * (size_t)vocab * sizeof(float))};
	OK(session_rewind(s, prefix, e));
	if (snapkv)
		OK(session_observe(s, snapkv, prefix + PROMPT, e));
	OK(session_set_prefill_mode(s, mode, e));
	fill(tokens, PROMPT, number, vocab);
	OK(session_prefill(s, tokens, PROMPT, NULL, e));
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

static void expect_same(const struct left *a, const struct left *b, int n_vocab, const char *what)
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
	int whole = PROMPT / batch, rest = PROMPT % batch;
	return (whole - !rest > 0) + 1;
}

/* What prompt `number` in the mode did, against the same launched directly. buckets: of the last row's attention. */
static void expect_counts(enum graph_mode mode, int batch, int number, const struct prefill_counts *c,
			  const struct prefill_counts *direct, uint64_t captures, const char *what)
{
	int chunks = (PROMPT + batch - 1) / batch;
	if (c->chunks != chunks || c->n_direct)
		fail_msg("%s: %d of %d chunks launched directly", what, c->n_direct, c->chunks);
	assert_int_equal(c->kernels, direct->kernels);
	if (number == 0) {
		assert_int_equal(captures, shapes(batch));
		assert_true(c->sequence == 0);
		return;
	}
	/* No chunk of a later prompt is captured, wherever it is. */
	assert_int_equal(captures, 0);
	assert_true(c->sequence != 0 && c->sequence != direct->sequence);
	assert_int_equal(c->api_launches, mode == GRAPH_MODE_DEVICE ? 2 * chunks : chunks);
	assert_int_equal(c->copies, direct->copies + (mode == GRAPH_MODE_DEVICE ? chunks : 0));
	assert_int_equal(c->node_updates > 0, mode == GRAPH_MODE_PARAMS);
}

/* Prompts one after the other, each in its mode, on a session whose graph cache has none of them. */
static void check_modes(struct session *s, int batch, int prefix, const char *name)
{
	int vocab = session_model(s)->n_vocab, tokens[FAR];
	struct left direct[PROMPTS];
	struct prefill_counts counts[PROMPTS];
	char what[160];
	OK(session_rewind(s, 0, e));
	fill(tokens, prefix, SEED, vocab);
	OK(session_set_prefill_mode(s, GRAPH_MODE_DIRECT, e));
	if (prefix)
		OK(session_prefill(s, tokens, prefix, NULL, e));
	OK(session_checkpoint(s, e));
	for (int i = 0; i < PROMPTS; i++) {
		direct[i] = run(s, GRAPH_MODE_DIRECT, prefix, i, NULL);
		counts[i] = session_prefill_counts(s);
		assert_true(counts[i].n_direct == counts[i].chunks && counts[i].sequence == counts[0].sequence);
	}
	for (int mode = GRAPH_MODE_PARAMS; mode < GRAPH_MODE_COUNT; mode++) {
		uint64_t sequence = 0;
		for (int i = 0; i < PROMPTS; i++) {
			uint64_t captures = session_stats(s).graph.captures;
			struct left l = run(s, (enum graph_mode)mode, prefix, i, NULL);
			struct prefill_counts c = session_prefill_counts(s);
			captures = session_stats(s).graph.captures - captures;
			snprintf(what, sizeof what, "%s, %s, chunks of %d behind %d, prompt %d", name,
				 graph_mode_name((enum graph_mode)mode), batch, prefix, i);
			expect_same(&l, &direct[i], vocab, what);
			/* Behind another prefix the same graphs serve. */
			if (!prefix || i)
				expect_counts((enum graph_mode)mode, batch, i, &c, &counts[i], captures, what);
			if (i > 1)
				assert_true(c.sequence == sequence);
			sequence = c.sequence;
			left_free(&l);
		}
	}
	for (int i = 0; i < PROMPTS; i++)
		left_free(&direct[i]);
}

static const int batches[] = {1, 9, 20, 64};

static void test_every_model(void **state)
{
	struct golden g;
	const char *name = golden_names[*(int *)*state];
	golden_load(&g, name);
	for (size_t b = 0; b < sizeof batches / sizeof *batches; b++) {
		struct session *s = open_session(g.path, batches[b], b % 2 ? TENSOR_F16 : TENSOR_F32);
		check_modes(s, batches[b], 0, name);
		check_modes(s, batches[b], PREFIX, name);
		session_close(s);
	}
	golden_free(&g);
}

/* Every row through every layer and the head. */
static void test_all_rows(void **state)
{
	(void)state;
	struct golden g;
	golden_load(&g, "gemma4-e2b-tiny.q8_0");
	struct session *s = open_session(g.path, 20, TENSOR_F32);
	OK(session_set_prefill_rows(s, PREFILL_ROWS_ALL, e));
	check_modes(s, 20, 0, "all rows");
	session_close(s);
	golden_free(&g);
}

/* Chunks that SnapKV observes are launched directly, the others are not; what it keeps is the same. */
static void test_snapkv(void **state)
{
	const struct snapkv_options options = {.budget = 40, .window = 16, .pool = 3};
	struct golden g;
	golden_load(&g, golden_names[*(int *)*state]);
	struct session *s = open_session(g.path, 20, TENSOR_F32);
	OK(session_checkpoint(s, e));
	struct left direct = run(s, GRAPH_MODE_DIRECT, 0, 1, &options);
	for (int mode = GRAPH_MODE_PARAMS; mode < GRAPH_MODE_COUNT; mode++)
		for (int i = 0; i < 2; i++) {
			struct left l = run(s, (enum graph_mode)mode, 0, 1, &options);
			struct prefill_counts c = session_prefill_counts(s);
			expect_same(&l, &direct, g.n_vocab, graph_mode_name((enum graph_mode)mode));
			/* 85 tokens in 20s: the window's 16 are in the last two. */
			assert_true(c.chunks == 5 && c.n_direct == 2);
			left_free(&l);
		}
	/* A prompt behind an eviction: positions and slots are not the same. */
	int tokens[40], next[DECODED] = {1, 2, 3};
	float *rows[2];
	fill(tokens, 40, SEED, g.n_vocab);
	OK(session_checkpoint(s, e));
	int at = session_position(s);
	assert_true(session_evicted(s) > 0);
	for (int mode = GRAPH_MODE_DIRECT; mode < GRAPH_MODE_COUNT; mode++)
		for (int i = 0; i < 1 + (mode > 0); i++) {
			rows[mode > 0] = malloc((size_t)g.n_vocab * sizeof(float));
			OK(session_rewind(s, at, e));
			OK(session_set_prefill_mode(s, (enum graph_mode)mode, e));
			OK(session_prefill(s, tokens, 40, NULL, e));
			OK(session_decode(s, next[0], NULL, e));
			take_logits(s, rows[mode > 0]);
			if (mode) {
				assert_memory_equal(rows[1], rows[0], (size_t)g.n_vocab * sizeof(float));
				free(rows[1]);
			}
		}
	free(rows[0]);
	left_free(&direct);
	session_close(s);
	golden_free(&g);
}

/* The device that stands for a GPU: prompts in float16, whose last row goes on as a token. */
static void test_float16(void **state)
{
	struct golden g;
	struct device *far, *near;
	struct loaded_model *m;
	struct session *s;
	struct load_options o;
	golden_load(&g, golden_names[*(int *)*state]);
	load_options_default(&o);
	o.n_gpu_layers = 1000;
	o.n_threads = 1;
	o.batch = 20;
	OK(guarded_open(&far, true, 1, e));
	OK(guarded_open(&near, false, 1, e));
	OK(loaded_model_open_on(&m, g.path, &o, far, near, e));
	OK(session_open_on(&s, m, CONTEXT, e));
	check_modes(s, 20, 0, "float16");
	check_modes(s, 20, PREFIX, "float16");
	check_modes(s, 20, FAR, "float16"); /* its end is in another bucket */
	session_close(s);
	loaded_model_close(m);
	golden_free(&g);
}

/* Two devices refuse, and go on directly. */
static void test_two_devices(void **state)
{
	(void)state;
	struct golden g;
	struct device *far, *near;
	struct loaded_model *m;
	struct session *s;
	struct load_options o;
	struct error err;
	golden_load(&g, "gemma4-e4b-tiny.q8_0");
	load_options_default(&o);
	o.n_gpu_layers = 2;
	o.n_threads = 1;
	OK(guarded_open(&far, true, 1, e));
	OK(guarded_open(&near, false, 1, e));
	OK(loaded_model_open_on(&m, g.path, &o, far, near, e));
	OK(session_open_on(&s, m, CONTEXT, e));
	assert_int_equal(session_set_prefill_mode(s, GRAPH_MODE_DEVICE, &err), ERROR_UNSUPPORTED);
	assert_string_equal(err.text, "graph-device: two devices take turns at every chunk of a prompt, which is "
				      "launched directly");
	OK(session_set_prefill_mode(s, GRAPH_MODE_DIRECT, e));
	OK(session_prefill(s, g.tokens, 20, NULL, e));
	struct prefill_counts c = session_prefill_counts(s);
	assert_true(c.n_direct == c.chunks && c.sequence);
	session_close(s);
	loaded_model_close(m);
	golden_free(&g);
}

/* Whatever step fails, the chunk is launched directly, and it is said. */
static void test_fallbacks(void **state)
{
	(void)state;
	static const enum device_fault steps[] = {DEVICE_FAULT_CAPTURE_BEGIN, DEVICE_FAULT_CAPTURE_END,
						  DEVICE_FAULT_INSTANTIATE, DEVICE_FAULT_UPLOAD, DEVICE_FAULT_REPLAY};
	struct golden g;
	golden_load(&g, "gemma4-e4b-tiny.q8_0");
	struct session *s = open_session(g.path, 20, TENSOR_F32);
	OK(session_checkpoint(s, e));
	struct left direct = run(s, GRAPH_MODE_DIRECT, 0, 1, NULL);
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		device_fail(session_device(s), steps[i], 0, 1);
		struct left l = run(s, GRAPH_MODE_DEVICE, 0, 1, NULL);
		struct prefill_counts c = session_prefill_counts(s);
		expect_same(&l, &direct, g.n_vocab, "a chunk that fell back");
		assert_int_equal(c.n_direct, 1);
		assert_true(c.sequence == 0 && *session_fallback_reason(s));
		left_free(&l);
		session_close(s);
		s = open_session(g.path, 20, TENSOR_F32);
		OK(session_checkpoint(s, e));
	}
	left_free(&direct);
	session_close(s);
	golden_free(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		GOLDEN_TEST(test_every_model, 0),   GOLDEN_TEST(test_every_model, 1), GOLDEN_TEST(test_every_model, 2),
		GOLDEN_TEST(test_every_model, 3),   GOLDEN_TEST(test_every_model, 4), GOLDEN_TEST(test_every_model, 5),
		GOLDEN_TEST(test_every_model, 6),   GOLDEN_TEST(test_every_model, 7), GOLDEN_TEST(test_snapkv, 0),
		GOLDEN_TEST(test_snapkv, 4),        GOLDEN_TEST(test_snapkv, 7),      GOLDEN_TEST(test_float16, 0),
		GOLDEN_TEST(test_float16, 4),       GOLDEN_TEST(test_float16, 7),     cmocka_unit_test(test_all_rows),
		cmocka_unit_test(test_two_devices), cmocka_unit_test(test_fallbacks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
