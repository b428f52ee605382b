/*
 * A token's times, on a clock that stands still but for what the test says takes time: the host calls, what comes
 * before and behind the work that the host waits for, and the work. And that each time and count of the engine arrives
 * in the workload's record under its own name.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/device/device_ops.h"
#include "engine/infer/pipeline.h"
#include "engine/infer/session.h"
#include "harness/cli/engine_source.h"
#include "harness/cli/engine_workload.h"
#include "tests/support/frozen_clock.h"
#include "tests/support/ok.h"

#define MODEL "golden/qwen3-tiny.q8_0.gguf"

/* Nanoseconds. */
enum {
	RECORD = 11000,  /* of recording an event: two a token */
	WAKE = 1000000,  /* until the work that is waited for begins */
	WORK = 500000,   /* of the first token; each further one takes as much more */
	NOTICE = 200000, /* until the host knows that it is over */
	LAUNCH = 7000,   /* of launching a graph, of all the tokens that it goes through */
};

/* ---- what takes time ---- */

static int waits, works;

void __real_k_embed(const struct embed_params *p);
void __wrap_k_embed(const struct embed_params *p);
/* A token has one: it stands for all of its kernels. */
void __wrap_k_embed(const struct embed_params *p)
{
	__real_k_embed(p);
	frozen_clock_advance(WORK * (int64_t)++works);
}

static const struct device_ops *host_ops;

static int slow_event_record(struct device *d, struct device_event *e, struct error *err)
{
	frozen_clock_advance(RECORD);
	return host_ops->event_record(d, e, err);
}

static int slow_replay(struct device *d, struct device_exec *x, struct error *err)
{
	frozen_clock_advance(LAUNCH);
	return host_ops->replay(d, x, err);
}

static int slow_synchronize(struct device *d, struct error *err)
{
	waits++;
	frozen_clock_advance(WAKE);
	int rc = host_ops->synchronize(d, err);
	frozen_clock_advance(NOTICE);
	return rc;
}

static void slow_down(struct session *s)
{
	static struct device_ops slow;
	struct device *d = session_device(s);
	host_ops = d->ops;
	slow = *d->ops;
	slow.event_record = slow_event_record;
	slow.synchronize = slow_synchronize;
	slow.replay = slow_replay;
	d->ops = &slow;
	waits = works = 0;
}

static void near(double got, double expected)
{
	if (!(fabs(got - expected) < 1e-6))
		fail_msg("%.9g us, where %.9g was spent", got, expected);
}

static struct session *open_session(void)
{
	struct session_options o;
	struct session *s;
	session_options_default(&o);
	o.load.n_gpu_layers = 0;
	o.load.n_threads = 1;
	o.context = 32;
	OK(session_open(&s, MODEL, &o, e));
	return s;
}

static void test_decode(void **state)
{
	(void)state;
	static const enum graph_mode modes[] = {GRAPH_MODE_DIRECT, GRAPH_MODE_PARAMS, GRAPH_MODE_DEVICE};
	struct session *s = open_session();
	slow_down(s);
	for (int m = 0; m < 3; m++) {
		session_set_mode(s, modes[m]);
		for (int i = 0; i < 3; i++) {
			struct token_timing t;
			int before = works;
			waits = 0;
			int64_t began = frozen_now_ns;
			OK(session_decode(s, 5 + i, &t, e));
			assert_int_equal(waits, 1);
			assert_int_equal(works, before + 1);
			near(t.submit_us, (2 * RECORD + (modes[m] == GRAPH_MODE_DIRECT ? 0 : LAUNCH)) / 1e3);
			near(t.device_us, WORK * works / 1e3);
			near(t.host_us, t.device_us);
			near(t.wall_us, t.submit_us + (WAKE + NOTICE) / 1e3 + t.device_us);
			assert_int_equal(t.done_ns, frozen_now_ns);
			near((double)(t.done_ns - began) / 1e3, t.wall_us);
		}
	}
	session_close(s);
}

static void test_queue(void **state)
{
	(void)state;
	enum { N = 4 };
	struct session *s = open_session();
	slow_down(s);
	OK(session_queue_begin(s, N, false, e));
	works = 0;
	for (int i = 0; i < N; i++) {
		struct token_timing t;
		OK(session_enqueue(s, 5 + i, &t, e));
		near(t.submit_us, 2 * RECORD / 1e3);
	}
	OK(session_queue_end(s, e));
	for (int i = 0; i < N; i++) {
		double device_us, itl_us;
		OK(session_queue_times(s, i, &device_us, &itl_us, e));
		near(device_us, WORK * (i + 1) / 1e3);
		/* Completion to completion: only the first one waited for the host. */
		near(itl_us, device_us + (i ? 0 : (N * 2 * RECORD + WAKE) / 1e3));
	}
	session_close(s);
}

/* A launch of the host's is every token's that the graph goes through, in equal parts. */
static void test_loop(void **state)
{
	(void)state;
	enum { N = 5 };
	static const enum graph_mode modes[] = {GRAPH_MODE_LOOP, GRAPH_MODE_WHILE};
	static const int tokens[N] = {5, 6, 7, 8, 9};
	struct session *s = open_session();
	slow_down(s);
	for (int m = 0; m < 2; m++) {
		session_set_mode(s, modes[m]);
		OK(session_queue_begin(s, N, false, e));
		OK(session_ahead(s, tokens, N, e));
		int before = works, launches = 0;
		for (int i = 0; i < N; i++) {
			struct token_timing t;
			OK(session_enqueue(s, tokens[i], &t, e));
			near(t.submit_us, LAUNCH / 1e3 / N);
			launches += t.api_launches;
		}
		OK(session_queue_end(s, e));
		assert_int_equal(launches, 2); /* where it begins is sent before */
		for (int i = 0; i < N; i++) {
			double device_us, itl_us;
			OK(session_queue_times(s, i, &device_us, &itl_us, e));
			assert_true(device_us == itl_us);
			if (i) /* the first one's is from the mark in front of it */
				near(itl_us, WORK * (before + i + 1) / 1e3);
		}
	}
	session_close(s);
}

/* ---- names ---- */

static const struct pipeline_timing scripted = {
	.submit_us = 1,
	.device_us = 2,
	.host_us = 3,
	.wall_us = 4,
	.done_ns = 5,
	.event = GRAPH_EVENT_UPDATE,
	.counters = {.api_launches = 6, .node_updates = 7, .kernels = 8, .copies = 9},
};
static int is_scripted;

int __real_pipeline_token(struct pipeline *p, int token, enum graph_mode mode, struct pipeline_timing *t,
			  struct error *err);
int __wrap_pipeline_token(struct pipeline *p, int token, enum graph_mode mode, struct pipeline_timing *t,
			  struct error *err);
int __wrap_pipeline_token(struct pipeline *p, int token, enum graph_mode mode, struct pipeline_timing *t,
			  struct error *err)
{
	int rc = __real_pipeline_token(p, token, mode, t, err);
	if (is_scripted)
		*t = scripted;
	return rc;
}

static void test_names(void **state)
{
	(void)state;
	struct engine_settings settings;
	struct workload_source *source;
	struct workload *w;
	const struct cell cell = {.model = MODEL, .type_k = "f16", .type_v = "f16", .n_threads = 1};
	const struct placement where = {.cell = &cell, .context = 32};
	struct token_timing t;
	struct token_record r = {0};
	engine_settings_default(&settings);
	OK(engine_source_open(&source, &settings, e));
	OK(source->open(source, &where, &w, e));
	is_scripted = 1;
	OK(session_decode(engine_session(w), 5, &t, e));
	assert_true(t.submit_us == 1 && t.device_us == 2 && t.host_us == 3 && t.wall_us == 4 && t.done_ns == 5);
	assert_true(t.api_launches == 6 && t.node_updates == 7 && t.kernels == 8 && t.copies == 9);
	assert_int_equal(t.event, GRAPH_EVENT_UPDATE);
	OK(w->ops->decode(w, 5, &r, e));
	assert_true(r.submit_us == 1 && r.gpu_us == 2 && r.host_us == 3 && r.wall_us == 4 && r.done_ns == 5);
	assert_true(r.api_launches == 6 && r.node_updates == 7 && r.kernels == 8 && r.copies == 9);
	assert_int_equal(r.event, TOKEN_EVENT_UPDATE);
	assert_true(r.pos == 1 && r.kv_len == 2);
	is_scripted = 0;
	w->ops->close(w);
	engine_source_close(source);
}

/* Behind an eviction a token attends to what is left, queued or waited for. */
static void test_attended(void **state)
{
	(void)state;
	enum { PROMPT = 20, BUDGET = 8 };
	struct engine_settings settings;
	struct workload_source *source;
	struct workload *w;
	struct eviction eviction;
	struct token_record r[2] = {{0}, {0}};
	const struct cell cell = {.model = MODEL,
				  .type_k = "f16",
				  .type_v = "f16",
				  .n_threads = 1,
				  .n_ubatch = 512,
				  .snapkv = "8,window=4"};
	const struct placement where = {.cell = &cell, .context = 32, .prompt = PROMPT};
	int prompt[PROMPT];
	for (int i = 0; i < PROMPT; i++)
		prompt[i] = 5 + i;
	engine_settings_default(&settings);
	OK(engine_source_open(&source, &settings, e));
	OK(source->open(source, &where, &w, e));
	OK(w->ops->prefill(w, prompt, PROMPT, e));
	OK(w->ops->evict(w, &eviction, e));
	assert_int_equal(eviction.entries, PROMPT - BUDGET);
	OK(w->ops->decode(w, 5, &r[0], e));
	assert_true(r[0].pos == PROMPT && r[0].kv_len == BUDGET + 1);
	OK(w->ops->queue_begin(w, 2, 0, e));
	OK(w->ops->enqueue(w, 6, &r[0], e));
	OK(w->ops->enqueue(w, 7, &r[1], e));
	OK(w->ops->queue_end(w, r, 2, e));
	assert_true(r[0].pos == PROMPT + 1 && r[0].kv_len == BUDGET + 2);
	assert_true(r[1].pos == PROMPT + 2 && r[1].kv_len == BUDGET + 3);
	w->ops->close(w);
	engine_source_close(source);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_decode), cmocka_unit_test(test_queue),    cmocka_unit_test(test_loop),
		cmocka_unit_test(test_names),  cmocka_unit_test(test_attended),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
