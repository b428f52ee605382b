/*
 * graph.c under failure and pressure: a fault at any step of any mode costs one
 * counted fallback and never a wrong token; the LRU drops the right graph.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/device/device_host.h"
#include "engine/device/graph.h"
#include "engine/device/ops.h"
#include "engine/infer/session.h"
#include "tests/support/golden.h"

/* ---- a token of the real engine, with a fault at each step ---- */

struct faulty_step {
	enum device_fault fault;
	int modes;  /* bit set of the modes that take the step */
	int token;  /* decoded token at which it strikes: 0 captures, later ones advance */
	bool drops; /* the graph is gone, so that the next token captures again */
};

#define MODE(m) (1 << GRAPH_MODE_##m)
#define ALL_GRAPHS (MODE(PARAMS) | MODE(UPDATE) | MODE(DEVICE) | MODE(PATCH) | MODE(WHILE) | MODE(LOOP))

static const struct faulty_step faulty_steps[] = {
	{DEVICE_FAULT_CAPTURE_BEGIN, ALL_GRAPHS, 0, true}, {DEVICE_FAULT_CAPTURE_END, ALL_GRAPHS, 0, true},
	{DEVICE_FAULT_INSTANTIATE, ALL_GRAPHS, 0, true},   {DEVICE_FAULT_UPLOAD, ALL_GRAPHS, 0, true},
	{DEVICE_FAULT_REPLAY, ALL_GRAPHS, 0, true},        {DEVICE_FAULT_REPLAY, ALL_GRAPHS, 5, true},
	{DEVICE_FAULT_SET_PARAMS, MODE(PARAMS), 5, true},  {DEVICE_FAULT_CAPTURE_BEGIN, MODE(UPDATE), 5, true},
	{DEVICE_FAULT_CAPTURE_END, MODE(UPDATE), 5, true}, {DEVICE_FAULT_UPDATE, MODE(UPDATE), 5, true},
};

enum { TOKENS = 10 };

static struct session *open_session(const struct golden *g)
{
	struct session_options o;
	session_options_default(&o);
	o.load.n_gpu_layers = 0;
	o.load.n_threads = 2;
	o.context = 64;
	o.load.batch = 16;
	struct session *s;
	struct error err;
	if (session_open(&s, g->path, &o, &err))
		fail_msg("%s", err.text);
	return s;
}

static enum graph_event decode(struct session *s, int token, float *to)
{
	struct error err;
	struct token_timing t;
	const float *row;
	if (session_decode(s, token, &t, &err) || session_logits(s, &row, &err))
		fail_msg("%s", err.text);
	memcpy(to, row, (size_t)session_model(s)->n_vocab * sizeof *row);
	return t.event;
}

/* What a session of that mode holds when its graph is there. */
static size_t used_without_fault(const struct golden *g, enum graph_mode mode, float *row)
{
	struct session *s = open_session(g);
	struct error err;
	session_set_mode(s, mode);
	assert_int_equal(session_prefill(s, g->tokens, 20, NULL, &err), 0);
	for (int i = 0; i < 2; i++)
		decode(s, g->tokens[20 + i], row);
	size_t used = session_stats(s).memory.used;
	session_close(s);
	return used;
}

static void one_fault(const struct golden *g, const struct faulty_step *step, enum graph_mode mode, const float *want)
{
	size_t vocab = (size_t)g->n_vocab;
	struct session *s = open_session(g);
	float *row = malloc(vocab * sizeof *row);
	struct error err;
	/* node 0 of 20-odd for set_params: fail in the middle, when some nodes have moved on */
	int after = step->fault == DEVICE_FAULT_SET_PARAMS ? 7 : 0;
	session_set_mode(s, mode);
	assert_int_equal(session_prefill(s, g->tokens, 20, NULL, &err), 0);
	size_t used = used_without_fault(g, mode, row);
	for (int i = 0; i < TOKENS; i++) {
		if (i == step->token)
			device_fail(session_device(s), step->fault, after, 1);
		enum graph_event event = decode(s, g->tokens[20 + i], row);
		if (memcmp(row, want + (size_t)i * vocab, vocab * sizeof *row))
			fail_msg("%s, fault %d: token %d is not the direct one", graph_mode_name(mode), step->fault, i);
		bool hit = i == step->token, next = i == step->token + 1;
		assert_int_equal(event == GRAPH_EVENT_FALLBACK, hit);
		if (next && step->drops)
			assert_int_equal(event, GRAPH_EVENT_CAPTURE);
	}
	assert_int_equal(session_stats(s).graph.fallbacks, 1);
	assert_non_null(strstr(session_fallback_reason(s), "injected"));
	assert_int_equal(session_stats(s).memory.used, used);
	session_close(s);
	free(row);
}

static void test_any_fault_is_one_counted_fallback(void **state)
{
	(void)state;
	struct golden g;
	golden_load(&g, "gemma4-e4b-tiny.q8_0");
	size_t vocab = (size_t)g.n_vocab;
	float *want = malloc(TOKENS * vocab * sizeof *want);
	struct session *s = open_session(&g);
	struct error err;
	assert_int_equal(session_prefill(s, g.tokens, 20, NULL, &err), 0);
	for (int i = 0; i < TOKENS; i++)
		assert_int_equal(decode(s, g.tokens[20 + i], want + (size_t)i * vocab), GRAPH_EVENT_DIRECT);
	session_close(s);
	for (size_t i = 0; i < sizeof faulty_steps / sizeof *faulty_steps; i++)
		for (int mode = 0; mode < GRAPH_MODE_COUNT; mode++)
			if (faulty_steps[i].modes & 1 << mode)
				one_fault(&g, &faulty_steps[i], (enum graph_mode)mode, want);
	free(want);
	golden_free(&g);
}

/* ---- the cache itself, over a token of one kernel ---- */

struct counter {
	struct device *d;
	float *x;
	int emitted;
	bool broken; /* emit allocates: forbidden while capturing */
};

static int emit(void *ctx, const struct at *at, struct error *err)
{
	struct counter *c = ctx;
	struct emitter e = {.device = c->d, .err = err};
	c->emitted++;
	if (c->broken) {
		void *p = NULL;
		int rc = device_alloc(c->d, 16, &p, err);
		device_free(c->d, p);
		if (rc)
			return rc;
	}
	op_rope(&e, (struct rope_params){.at = *at, .x = c->x, .inv_freq = c->x, .n_tokens = 0, .head_dim = 2});
	return e.rc;
}

static struct graph_key key_for(enum graph_mode mode, int bucket)
{
	struct graph_key key;
	memset(&key, 0, sizeof key);
	key.mode = mode;
	key.bucket = bucket;
	return key;
}

static enum graph_event run(struct graph_cache *c, struct counter *n, enum graph_mode mode, int bucket)
{
	struct graph_key key = key_for(mode, bucket);
	struct step step = {.pos = bucket};
	enum graph_event event;
	assert_int_equal(graph_run(c, &key, &step, emit, n, &event, NULL), 0);
	assert_int_equal(device_synchronize(n->d, NULL), 0);
	return event;
}

/* A cache on a device of n's own. */
static struct graph_cache *open_counter(struct counter *n, int capacity)
{
	struct graph_cache *c;
	void *x;
	assert_int_equal(device_host_open(&n->d, 1, NULL), 0);
	assert_int_equal(device_alloc(n->d, 64, &x, NULL), 0);
	n->x = x;
	assert_int_equal(graph_cache_open(&c, n->d, capacity, NULL), 0);
	return c;
}

static void close_counter(struct counter *n, struct graph_cache *c)
{
	graph_cache_close(c);
	device_close(n->d);
}

static void test_lru(void **state)
{
	(void)state;
	struct counter n = {0};
	struct graph_cache *c = open_counter(&n, 2);
	assert_int_equal(run(c, &n, GRAPH_MODE_DEVICE, 1), GRAPH_EVENT_CAPTURE);
	assert_int_equal(run(c, &n, GRAPH_MODE_DEVICE, 2), GRAPH_EVENT_CAPTURE);
	assert_int_equal(run(c, &n, GRAPH_MODE_DEVICE, 1), GRAPH_EVENT_REPLAY);
	assert_int_equal(run(c, &n, GRAPH_MODE_DEVICE, 3), GRAPH_EVENT_CAPTURE); /* drops 2, the oldest */
	assert_int_equal(run(c, &n, GRAPH_MODE_DEVICE, 1), GRAPH_EVENT_REPLAY);
	assert_int_equal(run(c, &n, GRAPH_MODE_DEVICE, 2), GRAPH_EVENT_CAPTURE);
	assert_int_equal(graph_cache_stats(c).evictions, 2);
	assert_int_equal(graph_cache_stats(c).captures, 4);
	assert_int_equal(n.emitted, 4);
	graph_cache_clear(c);
	assert_int_equal(run(c, &n, GRAPH_MODE_DEVICE, 1), GRAPH_EVENT_CAPTURE);
	close_counter(&n, c);
}

static void test_each_mode_does_what_it_says(void **state)
{
	(void)state;
	struct counter n = {0};
	struct graph_cache *c = open_counter(&n, 4);
	const struct {
		enum graph_mode mode;
		enum graph_event first, later;
		int emitted, node_updates, exec_updates;
	} want[] = {
		{GRAPH_MODE_DIRECT, GRAPH_EVENT_DIRECT, GRAPH_EVENT_DIRECT, 3, 0, 0},
		{GRAPH_MODE_PARAMS, GRAPH_EVENT_CAPTURE, GRAPH_EVENT_UPDATE, 1, 2, 0},
		{GRAPH_MODE_UPDATE, GRAPH_EVENT_CAPTURE, GRAPH_EVENT_UPDATE, 3, 0, 2},
		{GRAPH_MODE_DEVICE, GRAPH_EVENT_CAPTURE, GRAPH_EVENT_REPLAY, 1, 0, 0},
		{GRAPH_MODE_PATCH, GRAPH_EVENT_CAPTURE, GRAPH_EVENT_REPLAY, 1, 3, 0},
		{GRAPH_MODE_WHILE, GRAPH_EVENT_CAPTURE, GRAPH_EVENT_REPLAY, 1, 0, 0},
		{GRAPH_MODE_LOOP, GRAPH_EVENT_CAPTURE, GRAPH_EVENT_REPLAY, 1, 0, 0},
	};
	for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
		uint64_t nodes = device_counters(n.d).node_updates, execs = graph_cache_stats(c).updates;
		n.emitted = 0;
		assert_int_equal(run(c, &n, want[i].mode, 1), want[i].first);
		assert_int_equal(run(c, &n, want[i].mode, 1), want[i].later);
		assert_int_equal(run(c, &n, want[i].mode, 1), want[i].later);
		assert_int_equal(n.emitted, want[i].emitted);
		assert_int_equal(device_counters(n.d).node_updates - nodes, want[i].node_updates);
		assert_int_equal(graph_cache_stats(c).updates - execs, want[i].exec_updates);
	}
	assert_int_equal(graph_cache_stats(c).positional_nodes, 1);
	close_counter(&n, c);
}

/* An emit that allocates cannot be captured; directly it works, every time, and is counted every time. */
static void test_uncapturable_work_falls_back(void **state)
{
	(void)state;
	struct counter n = {.broken = true};
	struct graph_cache *c = open_counter(&n, 4);
	size_t used = device_memory(n.d).used;
	for (int i = 1; i <= 3; i++) {
		assert_int_equal(run(c, &n, GRAPH_MODE_PARAMS, 1), GRAPH_EVENT_FALLBACK);
		assert_int_equal(graph_cache_stats(c).fallbacks, i);
	}
	assert_non_null(strstr(graph_cache_fallback_reason(c), "alloc"));
	assert_int_equal(device_memory(n.d).used, used);
	close_counter(&n, c);
}

static void test_names(void **state)
{
	(void)state;
	const char *const names[GRAPH_MODE_COUNT] = {"direct",      "graph-params", "graph-update", "graph-device",
						     "graph-patch", "graph-loop",   "graph-while"};
	for (int m = 0; m < GRAPH_MODE_COUNT; m++) {
		assert_string_equal(graph_mode_name((enum graph_mode)m), names[m]);
		assert_int_equal(graph_mode_parse(names[m]), m);
	}
	assert_int_equal(graph_mode_parse("graph"), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_fault_is_one_counted_fallback),
		cmocka_unit_test(test_lru),
		cmocka_unit_test(test_each_mode_does_what_it_says),
		cmocka_unit_test(test_uncapturable_work_falls_back),
		cmocka_unit_test(test_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
