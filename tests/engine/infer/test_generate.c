/*
 * Tokens that a session generates, in every mode and fusion: those that session_sample and session_decode give one by
 * one in mode direct, the same logits behind them, and of a loop few launches; how they end. On the host device, and on
 * the GPU where there is one.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/infer/session_internal.h"
#include "tests/support/fusions.h"
#include "tests/support/golden.h"
#include "tests/support/no_gpu.h"
#include "tests/support/ok.h"
#include "tests/support/sanitized.h"

/* From 100 on they cross from one attention bucket to the next, and the window's wrap. */
enum { PROMPT = 100, TOKENS = SANITIZED ? 34 : 60, GREEDY = 0, NOBODY = -1 };

static const struct sampling_options all[] = {
	{0, 0, 1, 0, 0}, {1.5, 0, 1, 0, 3}, {5, 50, 0.9, 0.02, 1ull << 40}, {1, 0, 0.95, 0, 5}};
enum { OPTIONS = sizeof all / sizeof *all };

/* One by one. */
struct expected {
	int tokens[TOKENS];
	float *rows; /* (TOKENS, n_vocab): what each was chosen by */
};

/* At the choice number stop_at *stop is raised, as if by another thread. */
static volatile int *stop;
static int stop_at, n_chosen;

void __real_k_sample(const struct sample_params *p);
void __wrap_k_sample(const struct sample_params *p);

void __wrap_k_sample(const struct sample_params *p)
{
	__real_k_sample(p);
	if (stop && n_chosen++ == stop_at)
		*stop = 1;
}

static struct session *open_at(const struct golden *g, int gpu_layers, int n_prompt, int n)
{
	struct session_options o;
	struct session *s;
	int *prompt = malloc((size_t)n_prompt * sizeof *prompt);
	assert_non_null(prompt);
	session_options_default(&o);
	o.load.n_gpu_layers = gpu_layers;
	o.load.n_threads = 2;
	o.context = n_prompt + n - 1;
	OK(session_open(&s, g->path, &o, e));
	for (int i = 0; i < n_prompt; i++)
		prompt[i] = (int)((unsigned)i * 2654435761u % (unsigned)g->n_vocab);
	/* The logits of a checkpoint are not kept: its last token is run again. */
	OK(session_prefill(s, prompt, n_prompt - 1, NULL, e));
	OK(session_checkpoint(s, e));
	free(prompt);
	return s;
}

static struct session *open_session(const struct golden *g, int gpu_layers)
{
	return open_at(g, gpu_layers, PROMPT, TOKENS);
}

static void rewind_prompt(struct session *s)
{
	OK(session_rewind(s, PROMPT - 1, e));
	OK(session_decode(s, 7, NULL, e));
}

static void expect(struct session *s, const struct sampling_options *o, struct expected *x)
{
	size_t vocab = (size_t)session_model(s)->n_vocab;
	rewind_prompt(s);
	for (int i = 0; i < TOKENS; i++) {
		const float *row;
		if (i)
			OK(session_decode(s, x->tokens[i - 1], NULL, e));
		OK(session_logits(s, &row, e));
		memcpy(x->rows + (size_t)i * vocab, row, vocab * sizeof *row);
		OK(session_sample(s, o, &x->tokens[i], e));
	}
}

/* The last token that was run is where the position says, with the logits that it had one by one. */
static void check_left(struct session *s, const struct expected *x)
{
	size_t vocab = (size_t)session_model(s)->n_vocab;
	const float *row;
	int i = session_position(s) - PROMPT;
	assert_in_range(i, 0, TOKENS - 1);
	OK(session_logits(s, &row, e));
	assert_memory_equal(row, x->rows + (size_t)i * vocab, vocab * sizeof *row);
	if (i == TOKENS - 1)
		return;
	OK(session_decode(s, x->tokens[i], NULL, e));
	OK(session_logits(s, &row, e));
	assert_memory_equal(row, x->rows + (size_t)(i + 1) * vocab, vocab * sizeof *row);
}

/* At most the first `most` of n tokens; returns how many there were. */
static int take(struct session *s, const struct sampling_options *o, int n, int last, int most, const int *tokens)
{
	struct token_timing t;
	int token, i;
	OK(session_generate_begin(s, o, n, last, e));
	for (i = 0; i < most; i++) {
		OK(session_generate_next(s, &token, &t, e));
		if (token < 0)
			break;
		if (token != tokens[i])
			fail_msg("token %d is %d, and %d one by one", i, token, tokens[i]);
		assert_int_equal(session_position(s), PROMPT + i);
		assert_int_not_equal(t.event, GRAPH_EVENT_FALLBACK);
	}
	return i;
}

static void check_all(struct session *s, const struct sampling_options *o, const struct expected *x)
{
	int token;
	rewind_prompt(s);
	struct graph_stats before = session_stats(s).graph;
	assert_int_equal(take(s, o, TOKENS, NOBODY, TOKENS, x->tokens), TOKENS);
	OK(session_generate_next(s, &token, NULL, e));
	assert_int_equal(token, -1);
	OK(session_generate_end(s, e));
	assert_int_equal(session_position(s), PROMPT + TOKENS - 1);
	check_left(s, x);
	struct graph_stats after = session_stats(s).graph;
	assert_int_equal(after.fallbacks, before.fallbacks);
	/* From 100 to 158 there are two buckets on the host, more on a GPU. */
	if (graph_mode_loops(s->mode))
		assert_in_range(after.replays - before.replays, 2, 4);
	else if (s->mode != GRAPH_MODE_DIRECT)
		assert_int_equal(after.replays - before.replays, TOKENS - 1);
}

/* The first token that occurs no earlier than there, and was not before. */
static int fresh_token(const struct expected *x, int from)
{
	for (int i = from; i < TOKENS; i++) {
		int k = 0;
		while (x->tokens[k] != x->tokens[i])
			k++;
		if (k == i)
			return i;
	}
	return -1;
}

static void check_last(struct session *s, const struct sampling_options *o, const struct expected *x, int from)
{
	int i = fresh_token(x, from);
	if (i < 0)
		return;
	rewind_prompt(s);
	assert_int_equal(take(s, o, TOKENS, x->tokens[i], TOKENS, x->tokens), i + 1);
	OK(session_generate_end(s, e));
	assert_int_equal(session_position(s), PROMPT + i);
	check_left(s, x);
}

/* Not taken to the end. */
static void check_left_off(struct session *s, const struct sampling_options *o, const struct expected *x, int taken)
{
	rewind_prompt(s);
	assert_int_equal(take(s, o, TOKENS, NOBODY, taken, x->tokens), taken);
	OK(session_generate_end(s, e));
	int done = session_position(s) - PROMPT;
	assert_true(done >= (taken ? taken - 1 : 0) && done < TOKENS - 1);
	if (!graph_mode_loops(s->mode))
		assert_int_equal(done, taken ? taken - 1 : 0);
	/* The host device has not begun by then. */
	else if (taken < 2 && device_has_host_memory(session_device(s)))
		assert_int_equal(done, 1);
	check_left(s, x);
}

/* Stopped while it runs, where the host device does: behind the choice number k. */
static void check_stopped(struct session *s, const struct sampling_options *o, const struct expected *x, int k)
{
	rewind_prompt(s);
	take(s, o, TOKENS, NOBODY, 1, x->tokens);
	stop = s->generation.ring.stop;
	stop_at = k;
	n_chosen = 0;
	OK(device_synchronize(session_device(s), e));
	stop = NULL;
	assert_int_equal(*s->generation.ring.stop, 1);
	OK(session_generate_end(s, e));
	assert_int_equal(session_position(s), PROMPT + k + 1);
	check_left(s, x);
}

static void check_mode(struct session *s, struct expected *x)
{
	uint64_t captures = 0;
	for (int i = 0; i < OPTIONS; i++) {
		check_all(s, &all[i], &x[i]);
		/* A graph serves all settings. */
		if (i && s->mode != GRAPH_MODE_UPDATE)
			assert_int_equal(session_stats(s).graph.captures, captures);
		captures = session_stats(s).graph.captures;
	}
	check_all(s, &all[GREEDY], &x[GREEDY]);
	check_last(s, &all[1], &x[1], 0);
	check_last(s, &all[1], &x[1], 9);
	check_last(s, &all[1], &x[1], 29); /* in the next bucket */
	check_left_off(s, &all[1], &x[1], 0);
	check_left_off(s, &all[1], &x[1], 1);
	check_left_off(s, &all[2], &x[2], 5);
	rewind_prompt(s);
	assert_int_equal(take(s, &all[1], 1, NOBODY, 2, x[1].tokens), 1);
	OK(session_generate_end(s, e));
	assert_int_equal(session_position(s), PROMPT);
	check_left(s, &x[1]);
	/* So few that the last of them is of the first launch: it is chosen, and not run. */
	rewind_prompt(s);
	assert_int_equal(take(s, &all[1], 5, NOBODY, 6, x[1].tokens), 5);
	OK(session_generate_end(s, e));
	assert_int_equal(session_position(s), PROMPT + 4);
	check_left(s, &x[1]);
}

static void expected_open(struct expected x[OPTIONS], const struct golden *g)
{
	for (int i = 0; i < OPTIONS; i++)
		assert_non_null(x[i].rows = malloc((size_t)TOKENS * (size_t)g->n_vocab * sizeof(float)));
}

static void expected_close(struct expected x[OPTIONS])
{
	for (int i = 0; i < OPTIONS; i++)
		free(x[i].rows);
}

static void check_device(const char *model, int gpu_layers)
{
	struct golden g;
	struct expected x[OPTIONS];
	golden_load(&g, model);
	expected_open(x, &g);
	struct session *s = open_session(&g, gpu_layers);
	for (int fusion = FUSION_NONE; fusion < FUSION_COUNT; fusion++) {
		if (!fusion_set(s, (enum fusion)fusion))
			continue;
		session_set_mode(s, GRAPH_MODE_DIRECT);
		for (int i = 0; i < OPTIONS; i++)
			expect(s, &all[i], &x[i]);
		for (int mode = 0; mode < GRAPH_MODE_COUNT; mode++) {
			bool loops = graph_mode_loops((enum graph_mode)mode);
			if (SANITIZED && !loops && mode > GRAPH_MODE_DIRECT)
				continue;
			session_set_mode(s, (enum graph_mode)mode);
			check_mode(s, x);
			if (loops && gpu_layers == 0)
				check_stopped(s, &all[1], &x[1], 11);
		}
		/* A session's first loop, behind a token of a mode whose graphs serve several buckets. */
		struct session *fresh = open_session(&g, gpu_layers);
		session_set_fusion(fresh, (enum fusion)fusion);
		session_set_mode(fresh, GRAPH_MODE_PATCH);
		rewind_prompt(fresh);
		session_set_mode(fresh, GRAPH_MODE_LOOP);
		assert_int_equal(take(fresh, &all[2], TOKENS, NOBODY, TOKENS, x[2].tokens), TOKENS);
		OK(session_generate_end(fresh, e));
		check_left(fresh, &x[2]);
		session_close(fresh);
	}
	session_close(s);
	expected_close(x);
	golden_free(&g);
}

static void test_host(void **state)
{
	(void)state;
	check_device("gemma4-e2b-tiny.q8_0", 0);
	if (!SANITIZED) /* the same code but for windows */
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

/* A launch of many hundred tokens: the first are there long before the last, and it is stopped on its way. */
static void test_gpu_streams(void **state)
{
	(void)state;
	enum { DEEP = 1100, MANY = 900, TAKEN = 10 };
	struct golden g;
	int token;
	if (no_gpu())
		skip();
	golden_load(&g, "gemma4-e2b-tiny.q8_0");
	struct session *s = open_at(&g, -1, DEEP, MANY);
	for (int mode = GRAPH_MODE_LOOP; mode <= GRAPH_MODE_WHILE; mode++) {
		session_set_mode(s, (enum graph_mode)mode);
		for (int i = 0; i < 2; i++) { /* captures */
			OK(session_rewind(s, DEEP - 1, e));
			OK(session_decode(s, 7, NULL, e));
			OK(session_generate_begin(s, &all[1], MANY, NOBODY, e));
			for (int t = 0; t < TAKEN; t++)
				OK(session_generate_next(s, &token, NULL, e));
			assert_int_equal(session_position(s), DEEP + TAKEN - 1);
			OK(session_generate_end(s, e));
			assert_in_range(session_position(s), DEEP + TAKEN - 1, DEEP + MANY / 2);
		}
	}
	session_close(s);
	golden_free(&g);
}

/* On two devices each token is waited for, in any mode. */
static void test_gpu_and_host(void **state)
{
	(void)state;
	struct golden g;
	struct expected x[OPTIONS];
	if (no_gpu())
		skip();
	golden_load(&g, "gemma4-e2b-tiny.q8_0");
	expected_open(x, &g);
	struct session *s = open_session(&g, 3);
	expect(s, &all[2], &x[2]);
	rewind_prompt(s);
	session_set_mode(s, GRAPH_MODE_LOOP);
	assert_int_equal(take(s, &all[2], TOKENS, NOBODY, TOKENS, x[2].tokens), TOKENS);
	OK(session_generate_end(s, e));
	check_left(s, &x[2]);
	session_close(s);
	expected_close(x);
	golden_free(&g);
}

/* A loop that cannot be had goes token by token, each of them said to; one that fails once goes on. */
static void test_fallback(void **state)
{
	(void)state;
	struct golden g;
	struct expected x[OPTIONS];
	golden_load(&g, "gemma4-e4b-tiny.q8_0");
	expected_open(x, &g);
	struct session *s = open_session(&g, 0);
	expect(s, &all[2], &x[2]);
	static const struct {
		enum device_fault fault;
		int times, fallbacks;
	} faults[] = {{DEVICE_FAULT_INSTANTIATE, 1000, TOKENS - 1}, {DEVICE_FAULT_REPLAY, 1, 1}};
	for (size_t f = 0; f < sizeof faults / sizeof *faults; f++) {
		int fallbacks = 0;
		session_set_mode(s, GRAPH_MODE_DIRECT);
		rewind_prompt(s);
		session_set_mode(s, GRAPH_MODE_LOOP);
		device_fail(session_device(s), faults[f].fault, 0, faults[f].times);
		OK(session_generate_begin(s, &all[2], TOKENS, NOBODY, e));
		for (int i = 0; i < TOKENS; i++) {
			struct token_timing t;
			int token;
			OK(session_generate_next(s, &token, &t, e));
			assert_int_equal(token, x[2].tokens[i]);
			fallbacks += t.event == GRAPH_EVENT_FALLBACK;
		}
		OK(session_generate_end(s, e));
		device_fail(session_device(s), faults[f].fault, 0, 0);
		assert_int_equal(fallbacks, faults[f].fallbacks);
		check_left(s, &x[2]);
	}
	session_close(s);
	expected_close(x);
	golden_free(&g);
}

/* Straight behind a prompt of which every row has logits, the last of which the first token is chosen by. */
static void test_behind_prompt(void **state)
{
	(void)state;
	enum { N = 12 };
	static const int prompt[5] = {2, 17, 4, 99, 7};
	struct golden g;
	int direct[N], tokens[N], n;
	golden_load(&g, "qwen3-tiny.q8_0");
	size_t bytes = (size_t)g.n_vocab * sizeof(float);
	float *left = malloc(bytes), *rows = malloc(5 * bytes);
	assert_true(left && rows);
	struct session *s = open_session(&g, 0);
	for (int mode = 0; mode < GRAPH_MODE_COUNT; mode++) {
		const float *row;
		session_set_mode(s, (enum graph_mode)mode);
		OK(session_rewind(s, 0, e));
		OK(session_prefill(s, prompt, 5, rows, e));
		OK(session_generate_begin(s, &all[1], N, NOBODY, e));
		for (n = 0; n < N; n++)
			OK(session_generate_next(s, &tokens[n], NULL, e));
		OK(session_generate_end(s, e));
		OK(session_logits(s, &row, e));
		if (!mode) {
			memcpy(direct, tokens, sizeof tokens);
			memcpy(left, row, bytes);
		}
		assert_memory_equal(tokens, direct, sizeof tokens);
		assert_memory_equal(row, left, bytes);
	}
	session_close(s);
	free(left);
	free(rows);
	golden_free(&g);
}

/* What cannot be generated is refused; logits that become NaN on the way end a loop there, and are named. */
static void test_refused(void **state)
{
	(void)state;
	struct golden g;
	struct error err, direct = {""};
	int token;
	golden_load(&g, "qwen3-tiny.q8_0");
	struct session *s = open_session(&g, 0);
	OK(session_rewind(s, PROMPT - 1, e));
	assert_int_equal(session_generate_begin(s, &all[1], 3, NOBODY, &err), ERROR_INPUT); /* by what? */
	rewind_prompt(s);
	assert_int_equal(session_generate_begin(s, &all[1], TOKENS + 1, NOBODY, &err), ERROR_INPUT);
	assert_int_equal(session_position(s), PROMPT);
	/* Where the context is full, a token may still be chosen, and none be run. */
	for (int i = 1; i < TOKENS; i++)
		OK(session_decode(s, 7, NULL, e));
	assert_int_equal(session_generate_begin(s, &all[1], 2, NOBODY, &err), ERROR_INPUT);
	OK(session_generate_begin(s, &all[1], 1, NOBODY, e));
	OK(session_generate_next(s, &token, NULL, e));
	assert_true(token >= 0);
	OK(session_generate_end(s, e));
	for (int mode = 0; mode < GRAPH_MODE_COUNT; mode++) {
		/* A token that would end it, and is not what a loop takes for one without logits. */
		const int last = mode % 2 ? g.n_vocab - 1 : NOBODY;
		session_set_mode(s, GRAPH_MODE_DIRECT);
		rewind_prompt(s);
		session_set_mode(s, (enum graph_mode)mode);
		OK(session_generate_begin(s, &all[1], TOKENS, last, e));
		OK(session_generate_next(s, &token, NULL, e));
		assert_int_not_equal(token, last);
		/* The host device has run nothing of it yet. */
		uint16_t *k = s->pipeline.parts[0].cache.layers[0].k, was = *k;
		*k = 0x7e00;
		assert_int_equal(session_generate_next(s, &token, NULL, &err), ERROR_WRONG);
		*k = was;
		assert_int_equal(token, -1);
		assert_int_equal(session_position(s), PROMPT + 1);
		if (!mode)
			direct = err;
		assert_string_equal(err.text, direct.text);
		OK(session_generate_end(s, e));
		assert_int_equal(session_position(s), PROMPT + 1);
	}
	session_close(s);
	golden_free(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_host),          cmocka_unit_test(test_fallback),
		cmocka_unit_test(test_behind_prompt), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_gpu),           cmocka_unit_test(test_gpu_streams),
		cmocka_unit_test(test_gpu_and_host),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
