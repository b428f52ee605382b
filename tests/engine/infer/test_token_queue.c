/*
 * Tokens that are queued instead of waited for: the same bits, events and counts as
 * tokens decoded one by one, and times that can be true. On the host device, and on the GPU
 * where there is one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "engine/device/device_ops.h"
#include "engine/infer/session.h"
#include "engine/infer/token_queue.h"
#include "tests/support/fusions.h"
#include "tests/support/golden.h"
#include "tests/support/no_gpu.h"
#include "tests/support/ok.h"
#include "tests/support/sanitized.h"

/* From 100 on they cross from one attention bucket to the next, and the window's wrap. */
enum { PROMPT = 100, TOKENS = SANITIZED ? 34 : 60, KEPT = TOKEN_QUEUE_DEPTH };

static int token_at(int i, const struct session *s)
{
	return (int)((unsigned)i * 2654435761u % (unsigned)session_model(s)->n_vocab);
}

static struct session *open_session(const struct golden *g, int gpu_layers)
{
	struct session_options o;
	struct session *s;
	int prompt[PROMPT];
	session_options_default(&o);
	o.load.n_gpu_layers = gpu_layers;
	o.load.n_threads = 2;
	o.context = PROMPT + TOKENS;
	OK(session_open(&s, g->path, &o, e));
	for (int i = 0; i < PROMPT; i++)
		prompt[i] = token_at(i, s);
	OK(session_prefill(s, prompt, PROMPT, NULL, e));
	OK(session_checkpoint(s, e));
	return s;
}

/* One by one: rows, and what each token did. */
static void decode(struct session *s, float *rows, struct token_timing *timing)
{
	size_t vocab = (size_t)session_model(s)->n_vocab;
	OK(session_rewind(s, PROMPT, e));
	for (int i = 0; i < TOKENS; i++) {
		const float *row;
		OK(session_decode(s, token_at(1000 + i, s), &timing[i], e));
		OK(session_logits(s, &row, e));
		memcpy(rows + (size_t)i * vocab, row, vocab * sizeof *row);
	}
}

/* All at once: counts as one by one, times, and the last token's bits. */
static void check_timed(struct session *s, const float *want, const struct token_timing *one_by_one)
{
	size_t vocab = (size_t)session_model(s)->n_vocab;
	struct token_timing t;
	const float *row;
	double sum = 0, device = 0;
	OK(session_rewind(s, PROMPT, e));
	int64_t from = clock_ns();
	OK(session_queue_begin(s, TOKENS, false, e));
	for (int i = 0; i < TOKENS; i++) {
		OK(session_enqueue(s, token_at(1000 + i, s), &t, e));
		assert_int_equal(t.event, one_by_one[i].event);
		assert_int_equal(t.api_launches, one_by_one[i].api_launches);
		assert_int_equal(t.node_updates, one_by_one[i].node_updates);
		assert_int_equal(t.kernels, one_by_one[i].kernels);
		assert_int_equal(t.copies, one_by_one[i].copies);
		assert_true(t.submit_us > 0);
	}
	OK(session_queue_end(s, e));
	double wall = (double)(clock_ns() - from) * 1e-3;
	for (int i = 0; i < TOKENS; i++) {
		double device_us, itl_us;
		OK(session_queue_times(s, i, &device_us, &itl_us, e));
		/* A GPU's events have steps of up to a microsecond. */
		assert_true(device_us > 0 && itl_us > device_us - 2);
		sum += itl_us;
		device += device_us;
	}
	assert_true(sum >= device - 2 && sum <= wall * 1.01 + 20);
	OK(session_logits(s, &row, e));
	assert_memory_equal(row, want + (TOKENS - 1) * vocab, vocab * sizeof *row);
}

/* As many at a time as the queue keeps logits of: every token's bits. */
static void check_kept(struct session *s, const float *want)
{
	size_t vocab = (size_t)session_model(s)->n_vocab;
	OK(session_rewind(s, PROMPT, e));
	for (int at = 0; at < TOKENS; at += KEPT) {
		int n = TOKENS - at < KEPT ? TOKENS - at : KEPT;
		OK(session_queue_begin(s, n, true, e));
		for (int i = 0; i < n; i++)
			OK(session_enqueue(s, token_at(1000 + at + i, s), NULL, e));
		OK(session_queue_end(s, e));
		for (int i = 0; i < n; i++) {
			const float *row;
			OK(session_queue_logits(s, i, &row, e));
			if (memcmp(row, want + (size_t)(at + i) * vocab, vocab * sizeof *row))
				fail_msg("token %d of the queue has other bits", at + i);
		}
	}
}

static void tell_ahead(struct session *s, int n)
{
	int tokens[TOKENS];
	for (int i = 0; i < n; i++)
		tokens[i] = token_at(1000 + i, s);
	OK(session_rewind(s, PROMPT, e));
	OK(session_queue_begin(s, n, false, e));
	OK(session_ahead(s, tokens, n, e));
}

/* Told to the device at once: a launch a bucket, and the same bits, followed by the host or not. */
static void check_ahead(struct session *s, const float *want, const struct token_timing *one_by_one, bool followed)
{
	size_t vocab = (size_t)session_model(s)->n_vocab;
	struct token_timing t;
	const float *row;
	double sum = 0;
	int launches = 0, copies = 0;
	int64_t from = clock_ns();
	tell_ahead(s, TOKENS);
	for (int i = 0; i < TOKENS; i++) {
		assert_int_equal(session_queue_position(s), PROMPT + i);
		OK(session_enqueue(s, token_at(1000 + i, s), &t, e));
		assert_int_equal(t.event, GRAPH_EVENT_REPLAY);
		assert_int_equal(t.kernels, one_by_one[i].kernels);
		assert_true(t.submit_us > 0);
		launches += t.api_launches;
		copies += t.copies;
		if (followed)
			OK(session_queue_wait(s, i, e));
	}
	OK(session_queue_end(s, e));
	double wall = (double)(clock_ns() - from) * 1e-3;
	/* From 100 to 159 there are two buckets on the host, more on a GPU; each takes a launch and a state sent. */
	assert_true(launches == copies * 2 && copies >= 2 && copies <= 4);
	for (int i = 0; i < TOKENS; i++) {
		double device_us, itl_us;
		OK(session_queue_times(s, i, &device_us, &itl_us, e));
		assert_true(itl_us > 0 && device_us == itl_us);
		sum += itl_us;
	}
	assert_true(sum <= wall * 1.01 + 20);
	OK(session_logits(s, &row, e));
	assert_memory_equal(row, want + (TOKENS - 1) * vocab, vocab * sizeof *row);
}

/* Stopped before all were run: decoding goes on behind the last that was. */
static void check_stop(struct session *s, const float *want, int waited)
{
	size_t vocab = (size_t)session_model(s)->n_vocab;
	struct error err;
	const float *row;
	/* What a token that was not run would have left is another token's. */
	int others[TOKENS];
	for (int i = 0; i < TOKENS; i++)
		others[i] = token_at(2000 + i, s);
	OK(session_rewind(s, PROMPT, e));
	OK(session_prefill(s, others, TOKENS, NULL, e));
	tell_ahead(s, TOKENS);
	for (int i = 0; i < 5; i++)
		OK(session_enqueue(s, token_at(1000 + i, s), NULL, e));
	assert_int_equal(session_enqueue(s, token_at(999, s), NULL, &err), ERROR_INPUT);
	if (waited)
		OK(session_queue_wait(s, waited - 1, e));
	OK(session_queue_end(s, e));
	int done = session_position(s) - PROMPT;
	assert_true(done >= (waited ? waited : 1) && done < TOKENS);
	OK(session_decode(s, token_at(1000 + done, s), NULL, e));
	OK(session_logits(s, &row, e));
	assert_memory_equal(row, want + (size_t)done * vocab, vocab * sizeof *row);
}

/* A session's very first tokens: nothing was decoded before that could have made it ready. */
static void check_ahead_first(const struct golden *g, int gpu_layers, enum fusion fusion, const float *want)
{
	size_t vocab = (size_t)g->n_vocab;
	struct session *s = open_session(g, gpu_layers);
	const float *row;
	session_set_fusion(s, fusion);
	session_set_mode(s, GRAPH_MODE_LOOP);
	tell_ahead(s, TOKENS);
	for (int i = 0; i < TOKENS; i++)
		OK(session_enqueue(s, token_at(1000 + i, s), NULL, e));
	OK(session_queue_end(s, e));
	OK(session_logits(s, &row, e));
	assert_memory_equal(row, want + (TOKENS - 1) * vocab, vocab * sizeof *row);
	session_close(s);
}

static void check_device(const char *model, int gpu_layers)
{
	struct golden g;
	golden_load(&g, model);
	struct session *s = open_session(&g, gpu_layers);
	size_t n = (size_t)TOKENS * (size_t)g.n_vocab;
	float *want = malloc(n * sizeof *want), *rows = malloc(n * sizeof *rows);
	struct token_timing timing[TOKENS];
	enum fusion last = FUSION_NONE; /* that want is of */
	/* Sanitizers look at threads and queues, which both fusions share. */
	for (int fusion = SANITIZED ? FUSION_FULL : FUSION_NONE; fusion < FUSION_COUNT; fusion++) {
		if (!fusion_set(s, (enum fusion)fusion))
			continue;
		last = (enum fusion)fusion;
		for (int mode = 0; mode < GRAPH_MODE_COUNT; mode++) {
			session_set_mode(s, (enum graph_mode)mode);
			decode(s, mode ? rows : want, timing); /* captures */
			decode(s, mode ? rows : want, timing);
			if (mode)
				assert_memory_equal(rows, want, n * sizeof *rows);
			check_timed(s, want, timing);
			check_kept(s, want);
			if (!SANITIZED)
				check_timed(s, want, timing);
			if (!graph_mode_loops((enum graph_mode)mode))
				continue;
			check_ahead(s, want, timing, false);
			check_ahead(s, want, timing, true);
			check_stop(s, want, 0);
			check_stop(s, want, 5);
		}
	}
	/* Queued tokens capture where nothing was captured before. */
	struct session *fresh = open_session(&g, gpu_layers);
	session_set_fusion(fresh, last);
	session_set_mode(fresh, GRAPH_MODE_DEVICE);
	check_kept(fresh, want);
	assert_int_equal(session_stats(fresh).graph.fallbacks, 0);
	assert_true(session_stats(fresh).graph.captures >= 2);
	session_close(fresh);
	check_ahead_first(&g, gpu_layers, last, want);
	session_close(s);
	free(rows);
	free(want);
	golden_free(&g);
}

static void test_host(void **state)
{
	(void)state;
	check_device("gemma4-e2b-tiny.q8_0", 0);
	if (!SANITIZED) /* as many threads, and the same code but for windows */
		check_device("qwen3-tiny.q8_0", 0);
}

static void test_gpu(void **state)
{
	(void)state;
	if (no_gpu())
		skip();
	check_device("gemma4-e2b-tiny.q8_0", -1);
	check_device("gemma4-26b-a4b-tiny.q8_0", -1);
}

/* ---- events that cannot be made ---- */

static const struct device_ops *host_ops;
static int n_created, n_destroyed, fail_at;

static int create_event(struct device *d, struct device_event **out, struct error *err)
{
	if (n_created == fail_at)
		return error_set(err, ERROR_DEVICE, "no event");
	int rc = host_ops->event_create(d, out, err);
	n_created += !rc;
	return rc;
}

static void destroy_event(struct device *d, struct device_event *e)
{
	n_destroyed++;
	host_ops->event_destroy(d, e);
}

/* Whichever it is, those before it are not lost, and the queue can be begun again. */
static void test_no_event(void **state)
{
	(void)state;
	struct golden g;
	struct error err;
	int earlier = 0; /* the session's own, which it had before they were counted */
	golden_load(&g, "qwen3-tiny.q8_0");
	for (int i = 7; i >= 0; i--) {
		struct session *s = open_session(&g, 0);
		struct device *d = session_device(s);
		host_ops = d->ops;
		struct device_ops ops = *host_ops;
		ops.event_create = create_event;
		ops.event_destroy = destroy_event;
		d->ops = &ops;
		n_created = n_destroyed = 0;
		fail_at = i;
		int rc = session_queue_begin(s, 3, false, &err); /* a start, and two events a token */
		assert_int_equal(rc, i < 7 ? ERROR_DEVICE : 0);
		if (i < 7)
			assert_string_equal(err.text, "no event");
		fail_at = -1;
		OK(session_queue_begin(s, 3, false, e));
		OK(session_enqueue(s, token_at(1000, s), NULL, e));
		OK(session_queue_end(s, e));
		session_close(s);
		earlier = i == 7 ? n_destroyed - n_created : earlier;
		assert_int_equal(n_destroyed, n_created + earlier);
	}
	golden_free(&g);
}

/* A fault in the middle of a queue: the token is launched directly, and the bits stay. */
static void test_fallback(void **state)
{
	(void)state;
	struct golden g;
	golden_load(&g, "gemma4-e4b-tiny.q8_0");
	struct session *s = open_session(&g, 0);
	float *want = malloc((size_t)TOKENS * (size_t)g.n_vocab * sizeof *want);
	struct token_timing timing[TOKENS];
	const float *row;
	decode(s, want, timing);
	session_set_mode(s, GRAPH_MODE_PARAMS);
	OK(session_rewind(s, PROMPT, e));
	OK(session_queue_begin(s, TOKENS, false, e));
	for (int i = 0; i < TOKENS; i++) {
		if (i == 5)
			device_fail(session_device(s), DEVICE_FAULT_SET_PARAMS, 3, 1);
		OK(session_enqueue(s, token_at(1000 + i, s), &timing[i], e));
		assert_int_equal(timing[i].event == GRAPH_EVENT_FALLBACK, i == 5);
	}
	OK(session_queue_end(s, e));
	OK(session_logits(s, &row, e));
	assert_memory_equal(row, want + (size_t)(TOKENS - 1) * (size_t)g.n_vocab, (size_t)g.n_vocab * sizeof *row);
	/* Of a loop that cannot be built each token is launched directly, and its mark is set. */
	session_set_mode(s, GRAPH_MODE_LOOP);
	device_fail(session_device(s), DEVICE_FAULT_INSTANTIATE, 0, 9);
	tell_ahead(s, TOKENS);
	for (int i = 0; i < TOKENS; i++) {
		double device_us, itl_us;
		OK(session_enqueue(s, token_at(1000 + i, s), &timing[i], e));
		OK(session_queue_wait(s, i, e));
		OK(session_queue_times(s, i, &device_us, &itl_us, e));
		assert_true(timing[i].event == GRAPH_EVENT_FALLBACK && itl_us > 0);
	}
	OK(session_queue_end(s, e));
	device_fail(session_device(s), DEVICE_FAULT_INSTANTIATE, 0, 0);
	OK(session_logits(s, &row, e));
	assert_memory_equal(row, want + (size_t)(TOKENS - 1) * (size_t)g.n_vocab, (size_t)g.n_vocab * sizeof *row);
	/* More than the cache holds is refused before anything is queued. */
	struct error err;
	assert_int_equal(session_queue_begin(s, 1, false, &err), ERROR_INPUT);
	session_close(s);
	free(want);
	golden_free(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_host),
		cmocka_unit_test(test_fallback),
		cmocka_unit_test(test_no_event),
		cmocka_unit_test(test_gpu),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
