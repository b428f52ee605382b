#include "tests/support/self_case.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/device/ops.h"
#include "kernels/cpu/cpu.h"
#include "tests/support/ok.h"
#include "tests/support/sample_case.h"

enum { HEAD_DIM = 64, CAPACITY = 256, NODES = 20, TOKENS = 40, N = CAPACITY * HEAD_DIM };

/* A cache of one head, whose rows are counted: k and v are 1 in each element, and the cache is 0. */
struct cache {
	struct device *d;
	float *k, *v; /* the row */
	struct kv kv;
};

static void *filled(struct device *d, size_t n, float value)
{
	float *values = malloc(n * sizeof *values);
	void *p;
	for (size_t i = 0; i < n; i++)
		values[i] = value;
	OK(device_alloc(d, n * sizeof *values, &p, e));
	OK(device_upload(d, p, values, n * sizeof *values, e));
	free(values);
	return p;
}

static struct cache open_cache(struct device *d)
{
	struct cache c = {.d = d, .k = filled(d, HEAD_DIM, 1), .v = filled(d, HEAD_DIM, 2)};
	c.kv = (struct kv){.k = filled(d, N, 0),
			   .v = filled(d, N, 0),
			   .type = TENSOR_F32,
			   .v_type = TENSOR_F32,
			   .n_kv_heads = 1,
			   .head_dim = HEAD_DIM,
			   .capacity = CAPACITY};
	return c;
}

static void close_cache(struct cache *c)
{
	device_free(c->d, c->k);
	device_free(c->d, c->v);
	device_free(c->d, c->kv.k);
	device_free(c->d, c->kv.v);
}

static int append(const struct cache *c, const struct at *at, struct error *err)
{
	struct emitter e = {.device = c->d, .err = err};
	op_kv_append(&e, (struct kv_append_params){.at = *at, .k = c->k, .v = c->v, .kv = c->kv, .n_tokens = 1});
	return e.rc;
}

/* Exactly the slots that are wanted are written, and then none is. */
static void expect_slots(struct cache *c, const bool *want, const char *what)
{
	float *k = malloc(N * sizeof *k), *v = malloc(N * sizeof *v);
	OK(device_download(c->d, k, c->kv.k, N * sizeof *k, e));
	OK(device_download(c->d, v, c->kv.v, N * sizeof *v, e));
	for (int slot = 0; slot < CAPACITY; slot++)
		for (int i = 0; i < HEAD_DIM; i++)
			if (k[slot * HEAD_DIM + i] != (want[slot] ? 1 : 0) ||
			    v[slot * HEAD_DIM + i] != (want[slot] ? 2 : 0))
				fail_msg("%s: slot %d was %s", what, slot, want[slot] ? "not written" : "written");
	memset(k, 0, N * sizeof *k);
	OK(device_upload(c->d, c->kv.k, k, N * sizeof *k, e));
	OK(device_upload(c->d, c->kv.v, k, N * sizeof *k, e));
	free(k);
	free(v);
}

void self_case_patch(struct device *d)
{
	enum { BASE = 7 };
	struct cache c = open_cache(d);
	struct step *step;
	struct device_graph *g;
	struct device_exec *x;
	void *p;
	OK(device_alloc(d, sizeof *step, &p, e));
	step = p;
	OK(device_capture_begin(d, DEVICE_GRAPH_PATCHED, e));
	const struct patch_params patch = {.step = step, .base = BASE, .keys = DEVICE_SPLIT_KEYS};
	OK(device_launch(d, KERNEL_patch, &patch, e));
	for (int i = 0; i < NODES; i++) {
		/* Every third slot behind the step's. */
		const struct at at = {.host = {.pos = BASE + 3 * i}};
		OK(append(&c, &at, e));
	}
	OK(device_capture_end(d, &g, e));
	size_t used = device_memory(d).used;
	OK(device_instantiate(d, g, &x, e));
	OK(device_exec_upload(d, x, e));
	uint64_t updates = device_counters(d).node_updates, kernels = device_counters(d).kernels;
	for (int pos = 0; pos < 5; pos++) {
		bool want[CAPACITY] = {false};
		const struct step at = {.pos = 100 + 11 * pos, .evicted = 2 * pos};
		OK(device_send(d, step, &at, sizeof at, e));
		OK(device_replay(d, x, e));
		for (int i = 0; i < NODES; i++)
			want[100 + 11 * pos - 2 * pos + 3 * i] = true;
		expect_slots(&c, want, "patched");
	}
	assert_int_equal(device_counters(d).node_updates - updates, 5 * NODES);
	assert_int_equal(device_counters(d).kernels - kernels, 5 * (NODES + 1));
	/* Replays behind each other: each has its own step. */
	bool both[CAPACITY] = {false};
	for (int i = 0; i < 2; i++) {
		const struct step at = {.pos = 10 + 100 * i};
		OK(device_send(d, step, &at, sizeof at, e));
		OK(device_replay(d, x, e));
		for (int n = 0; n < NODES; n++)
			both[10 + 100 * i + 3 * n] = true;
	}
	expect_slots(&c, both, "patched twice");
	device_exec_destroy(d, x);
	assert_int_equal(device_memory(d).used, used);
	device_graph_destroy(d, g);
	device_free(d, step);
	close_cache(&c);
}

/* What a loop shares with the host. */
struct shared {
	int stop;
	int tokens[TOKENS + 1];
	struct loop_mark marks[TOKENS + 1];
};

static void expect_marks(const struct shared *s, int first, int n, int token)
{
	for (int i = 0; i <= TOKENS; i++) {
		assert_int_equal(s->marks[i].ns != 0, i >= first && i < first + n);
		if (i < first || i >= first + n)
			continue;
		assert_true(i == first || s->marks[i].ns >= s->marks[i - 1].ns);
		assert_int_equal(s->marks[i].token, i == first ? token : s->tokens[i]);
	}
}

static struct shared *share(struct device *d, struct shared **on_device)
{
	void *p, *host;
	if (device_has_host_memory(d)) {
		OK(device_alloc(d, sizeof **on_device, &p, e));
		host = p;
	} else {
		OK(device_alloc_mapped(d, sizeof **on_device, &p, &host, e));
	}
	*on_device = p;
	return host;
}

void self_case_loop(struct device *d, enum device_graph_kind kind)
{
	struct cache c = open_cache(d);
	struct loop_state *state, left;
	struct shared *s, *on_device;
	struct device_graph *g;
	struct device_exec *x;
	void *p;
	OK(device_alloc(d, sizeof *state, &p, e));
	state = p;
	s = share(d, &on_device);
	const struct at at = {.device = &state->step};
	const struct advance_params advance = {
		.state = state, .tokens = on_device->tokens, .marks = on_device->marks, .stop = &on_device->stop};
	OK(device_capture_begin(d, kind, e));
	OK(append(&c, &at, e));
	OK(device_launch(d, KERNEL_advance, &advance, e));
	OK(device_capture_end(d, &g, e));
	OK(device_instantiate(d, g, &x, e));
	OK(device_exec_upload(d, x, e));
	static const struct {
		int first, n, stop;
	} runs[] = {{0, TOKENS, 0}, {0, 1, 0}, {3, 20, 0}, {5, TOKENS - 5, 1}, {0, TOKENS, 0}};
	for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
		int first = runs[i].first, n = runs[i].n, run = runs[i].stop ? 1 : n;
		bool want[CAPACITY] = {false};
		memset(s, 0, sizeof *s);
		for (int t = 0; t < TOKENS; t++)
			s->tokens[t] = 1000 + 7 * t;
		s->stop = runs[i].stop;
		const struct loop_state begin = {.step = {.token = 5, .pos = 60}, .next = first, .end = first + n};
		OK(device_send(d, state, &begin, sizeof begin, e));
		OK(device_replay_loop(d, x, n, e));
		OK(device_wait_mark(d, &s->marks[first + run - 1], e));
		OK(device_synchronize(d, e));
		for (int t = 0; t < run; t++)
			want[60 + t] = true;
		expect_slots(&c, want, "looped");
		expect_marks(s, first, run, 5);
		OK(device_download(d, &left, state, sizeof left, e));
		assert_true(left.next == first + run && !left.go);
	}
	/* A token that no loop reaches is noticed. */
	struct error err;
	assert_int_equal(device_wait_mark(d, &s->marks[TOKENS], &err), ERROR_DEVICE);
	device_exec_destroy(d, x);
	device_graph_destroy(d, g);
	device_free(d, state);
	device_free(d, on_device);
	close_cache(&c);
}

/* The least of language models: a token's logits are its row of a table. */
struct chain {
	float *rows; /* (VOCAB, VOCAB) */
	int tokens[TOKENS + 1];
};
enum { VOCAB = 500, FIRST = 17, AT = 60 };

/* What the host's kernel chooses, one by one. */
static void run_chain(struct chain *c, const struct sampling *settings)
{
	c->tokens[0] = FIRST;
	for (int i = 0; i < TOKENS; i++) {
		struct sampled out = {0};
		const struct sample_params p = {.at.host = {.pos = AT + i},
						.host = *settings,
						.logits = c->rows + (size_t)c->tokens[i] * VOCAB,
						.out = &out,
						.n = VOCAB};
		k_sample(&p);
		c->tokens[i + 1] = out.token;
	}
}

/* Of the tokens behind the first: one that was not there before. */
static int new_token(const struct chain *c)
{
	for (int i = TOKENS / 2; i > 0; i--) {
		int k = 0;
		while (c->tokens[k] != c->tokens[i])
			k++;
		if (k == i)
			return i;
	}
	fail_msg("no token is a new one");
	return 0;
}

/* What the loop's graph reads. */
struct chosen {
	struct loop_state loop;
	struct sampling settings;
	struct sampled sampled;
};

void self_case_loop_chosen(struct device *d, enum device_graph_kind kind)
{
	struct shared *s, *shared;
	struct device_graph *g;
	struct device_exec *x;
	struct chosen *on_device;
	struct chain c = {.rows = malloc(sizeof(float) * VOCAB * VOCAB)};
	uint64_t random = 5;
	void *p;
	assert_non_null(c.rows);
	for (int i = 0; i < VOCAB; i++)
		sample_case_logits(c.rows + (size_t)i * VOCAB, VOCAB, i, &random);
	OK(device_alloc(d, sizeof *on_device, &p, e));
	on_device = p;
	float *table = filled(d, (size_t)VOCAB * VOCAB, 0), *logits = filled(d, VOCAB, 0);
	s = share(d, &shared);
	struct error err;
	struct emitter emitter = {.device = d, .err = &err};
	const struct at at = {.device = &on_device->loop.step};
	OK(device_capture_begin(d, kind, e));
	op_embed(&emitter,
		 (struct embed_params){
			 .at = at,
			 .table = {.data = table, .type = TENSOR_F32, .n_in = VOCAB, .n_out = VOCAB, .n_expert = 1},
			 .y = logits,
			 .n_tokens = 1,
			 .scale = 1});
	op_sample(&emitter, (struct sample_params){.at = at,
						   .device = &on_device->settings,
						   .logits = logits,
						   .out = &on_device->sampled,
						   .n = VOCAB});
	op_advance(&emitter, (struct advance_params){.state = &on_device->loop,
						     .sampled = &on_device->sampled,
						     .marks = shared->marks,
						     .stop = &shared->stop});
	if (emitter.rc)
		fail_msg("%s", err.text);
	OK(device_capture_end(d, &g, e));
	OK(device_instantiate(d, g, &x, e));
	OK(device_exec_upload(d, x, e));
	enum { ALL, TOLD, LAST, WRONG, HOWS };
	for (int i = 0; i < 4 * HOWS; i++) {
		struct sampling_options o = {.temperature = i < HOWS ? 0 : 1, .top_k = 20 * (i & 1), .top_p = 1};
		o.seed = (uint64_t)i;
		struct chosen begin = {.settings = sampling_of(&o)};
		int how = i % HOWS, run = TOKENS;
		run_chain(&c, &begin.settings);
		int at_new = i < HOWS ? 1 : new_token(&c); /* greedy chains turn in circles */
		begin.loop = (struct loop_state){.step = {.token = FIRST, .pos = AT},
						 .end = TOKENS,
						 .last = how == LAST ? c.tokens[at_new] : -1};
		memset(s, 0, sizeof *s);
		OK(device_upload(d, table, c.rows, sizeof(float) * VOCAB * VOCAB, e));
		if (how == TOLD) {
			s->stop = run = 1;
		} else if (how == LAST) {
			run = at_new;
		} else if (how == WRONG) {
			const float none = NAN;
			OK(device_upload(d, table + (size_t)c.tokens[at_new] * VOCAB + 3, &none, sizeof none, e));
			run = at_new + 1;
		}
		OK(device_send(d, on_device, &begin, sizeof begin, e));
		OK(device_replay_loop(d, x, TOKENS, e));
		OK(device_wait_mark(d, &s->marks[run - 1], e));
		OK(device_synchronize(d, e));
		for (int t = 0; t <= TOKENS; t++) {
			assert_int_equal(s->marks[t].ns != 0, t < run);
			if (t >= run)
				continue;
			assert_int_equal(s->marks[t].token, c.tokens[t]);
			assert_int_equal(s->marks[t].chosen, how == WRONG && t == run - 1 ? -1 : c.tokens[t + 1]);
		}
		OK(device_download(d, &begin, on_device, sizeof begin, e));
		assert_true(begin.loop.next == run && !begin.loop.go);
	}
	device_exec_destroy(d, x);
	device_graph_destroy(d, g);
	device_free(d, on_device);
	device_free(d, shared);
	device_free(d, table);
	device_free(d, logits);
	free(c.rows);
}
