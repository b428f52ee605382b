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
#include "tests/support/prompt_modes.h"
#include "tests/support/sanitized.h"

enum { PREFIX = 30 };

static struct session *open_session(const char *path, int batch, enum tensor_type cache)
{
	struct session_options o;
	struct session *s;
	session_options_default(&o);
	o.load.n_gpu_layers = 0;
	o.load.n_threads = 2;
	o.context = PROMPT_MODES_CONTEXT;
	o.load.batch = batch;
	o.load.k_type = o.load.v_type = cache;
	OK(session_open(&s, path, &o, e));
	return s;
}

static const int batches[] = {1, 9, 20, 64};

static void test_every_model(void **state)
{
	struct golden g;
	const char *name = golden_names[*(int *)*state];
	golden_load(&g, name);
	/* Sanitized: chunks of 9 and 64, and of E4B's four types of weights the quantised one in both. */
	size_t first = SANITIZED, step = !SANITIZED ? 1 : *(int *)*state < 3 ? sizeof batches : 2;
	for (size_t b = first; b < sizeof batches / sizeof *batches; b += step) {
		struct session *s = open_session(g.path, batches[b], b % 2 ? TENSOR_F16 : TENSOR_F32);
		prompt_modes_check(s, batches[b], 0, name);
		prompt_modes_check(s, batches[b], PREFIX, name);
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
	prompt_modes_check(s, 20, 0, "all rows");
	session_close(s);
	golden_free(&g);
}

static void test_snapkv(void **state)
{
	struct golden g;
	golden_load(&g, golden_names[*(int *)*state]);
	struct session *s = open_session(g.path, 20, TENSOR_F32);
	prompt_modes_check_snapkv(s);
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
	o.prefill_weights = 2; /* the other layers' are converted */
	OK(guarded_open(&far, true, 1, e));
	OK(guarded_open(&near, false, 1, e));
	OK(loaded_model_open_on(&m, g.path, &o, far, near, e));
	OK(session_open_on(&s, m, PROMPT_MODES_CONTEXT, e));
	prompt_modes_check(s, 20, 0, "float16");
	prompt_modes_check(s, 20, PREFIX, "float16");
	if (!SANITIZED)
		prompt_modes_check(s, 20, PROMPT_MODES_FAR, "float16"); /* its end is in another bucket */
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
	OK(session_open_on(&s, m, PROMPT_MODES_CONTEXT, e));
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
	struct prompt_left direct = prompt_modes_run(s, GRAPH_MODE_DIRECT, 0, 1, NULL);
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		device_fail(session_device(s), steps[i], 0, 1);
		struct prompt_left l = prompt_modes_run(s, GRAPH_MODE_DEVICE, 0, 1, NULL);
		struct prefill_counts c = session_prefill_counts(s);
		prompt_left_expect_same(&l, &direct, g.n_vocab, "a chunk that fell back");
		assert_int_equal(c.n_direct, 1);
		assert_true(c.sequence == 0 && *session_fallback_reason(s));
		prompt_left_free(&l);
		session_close(s);
		s = open_session(g.path, 20, TENSOR_F32);
		OK(session_checkpoint(s, e));
	}
	prompt_left_free(&direct);
	session_close(s);
	golden_free(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		GOLDEN_TEST(test_every_model, 0), GOLDEN_TEST(test_every_model, 1), GOLDEN_TEST(test_every_model, 2),
		GOLDEN_TEST(test_every_model, 3), GOLDEN_TEST(test_every_model, 4), GOLDEN_TEST(test_every_model, 5),
		GOLDEN_TEST(test_every_model, 6), GOLDEN_TEST(test_every_model, 7), GOLDEN_TEST(test_every_model, 8),
		GOLDEN_TEST(test_snapkv, 0),      GOLDEN_TEST(test_snapkv, 4),      GOLDEN_TEST(test_snapkv, 7),
		GOLDEN_TEST(test_snapkv, 8),      GOLDEN_TEST(test_float16, 0),     GOLDEN_TEST(test_float16, 4),
		GOLDEN_TEST(test_float16, 7),     cmocka_unit_test(test_all_rows),  cmocka_unit_test(test_two_devices),
		cmocka_unit_test(test_fallbacks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
