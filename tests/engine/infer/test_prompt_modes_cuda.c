/*
 * A prompt's chunks as graphs on a GPU, products of cuBLASLt in them: every mode leaves the bits of direct launches,
 * and no chunk falls back.
 *
 *   test_prompt_modes_cuda                each test in a process of its own
 *   test_prompt_modes_cuda NAME           one of them, here
 *
 * Exit code 77 without a GPU.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/infer/session.h"
#include "tests/support/apart.h"
#include "tests/support/golden.h"
#include "tests/support/no_gpu.h"
#include "tests/support/ok.h"
#include "tests/support/prompt_modes.h"
#include "tests/support/quantised_case.h"
#include "tests/support/temp_file.h"

enum { ALL = 9999 }; /* layers: without a GPU an error, not the host */

static struct session *open_session(const char *path, int batch, enum prefill_precision precision, int weights)
{
	struct session_options o;
	struct session *s;
	session_options_default(&o);
	o.load.n_gpu_layers = ALL;
	o.load.n_threads = 1;
	o.context = PROMPT_MODES_CONTEXT;
	o.load.batch = batch;
	o.load.prefill = precision;
	o.load.prefill_weights = weights;
	OK(session_open(&s, path, &o, e));
	return s;
}

static void check_file(const char *path, const char *name, int batch, enum prefill_precision precision, int weights)
{
	struct session *s = open_session(path, batch, precision, weights);
	prompt_modes_check(s, batch, 0, name);
	prompt_modes_check(s, batch, 30, name);
	prompt_modes_check(s, batch, PROMPT_MODES_FAR, name);
	session_close(s);
}

static void check(const char *name, int batch, enum prefill_precision precision, int weights)
{
	struct golden g;
	golden_load(&g, name);
	check_file(g.path, name, batch, precision, weights);
	golden_free(&g);
}

/* Mixtures with weights of few bits. */
static void test_quantised_experts(void **state)
{
	(void)state;
	for (int i = 0; i < QUANTISED_CASES; i++) {
		if (!strstr(quantised_cases[i].arch, "a4b"))
			continue;
		struct temp_file t = temp_file_make();
		quantised_make(&quantised_cases[i], t.path);
		check_file(t.path, quantised_name(&quantised_cases[i]).text, 20, PREFILL_F16, PREFILL_WEIGHTS_CONVERT);
		temp_file_remove(&t);
	}
}

static void test_model(void **state)
{
	static const int batches[] = {1, 9, 20, 64};
	for (size_t b = 0; b < sizeof batches / sizeof *batches; b++)
		check(golden_names[*(int *)*state], batches[b], PREFILL_F16, PREFILL_WEIGHTS_RESIDENT);
}

static void test_settings(void **state)
{
	(void)state;
	check("gemma4-e4b-tiny.q8_0", 20, PREFILL_F16, PREFILL_WEIGHTS_CONVERT);
	check("gemma4-26b-a4b-tiny.q8_0", 20, PREFILL_F16, PREFILL_WEIGHTS_CONVERT);
	/* Two layers' weights stay, the others' are converted. */
	check("gemma4-e4b-tiny.q8_0", 20, PREFILL_F16, 2);
	check("gemma4-26b-a4b-tiny.q8_0", 20, PREFILL_F16, 2);
	check("gemma4-31b-tiny.q8_0", 64, PREFILL_F16, 2);
	check("gemma4-e4b-tiny.q8_0", 20, PREFILL_F32, PREFILL_WEIGHTS_CONVERT);
	check("gemma4-26b-a4b-tiny.q8_0", 20, PREFILL_F32, PREFILL_WEIGHTS_CONVERT);
}

static void test_snapkv(void **state)
{
	(void)state;
	struct golden g;
	golden_load(&g, "gemma4-e4b-tiny.q8_0");
	struct session *s = open_session(g.path, 20, PREFILL_F16, PREFILL_WEIGHTS_RESIDENT);
	prompt_modes_check_snapkv(s);
	session_close(s);
	golden_free(&g);
}

/* A shape's first product is not captured: the first chunk is launched directly, and says why; the next is not. */
static void test_first(void **state)
{
	(void)state;
	struct golden g;
	golden_load(&g, "gemma4-e4b-tiny.q8_0");
	struct session *s = open_session(g.path, 20, PREFILL_F16, PREFILL_WEIGHTS_RESIDENT);
	OK(session_set_prefill_mode(s, GRAPH_MODE_DEVICE, e));
	OK(session_prefill(s, g.tokens, 40, NULL, e));
	struct prefill_counts c = session_prefill_counts(s);
	assert_true(c.chunks == 2 && c.sequence == 0);
	assert_non_null(strstr(session_fallback_reason(s), "a product of a shape that was never launched"));
	for (int i = 0; i < 2; i++) {
		OK(session_rewind(s, 0, e));
		OK(session_prefill(s, g.tokens, 40, NULL, e));
		c = session_prefill_counts(s);
		assert_int_equal(c.n_direct, 0);
	}
	assert_true(c.sequence != 0);
	session_close(s);
	golden_free(&g);
}

#define MODEL(i)                                                      \
	{                                                             \
		"model_" #i, test_model, NULL, NULL, &golden_index[i] \
	}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		MODEL(0),
		MODEL(1),
		MODEL(2),
		MODEL(3),
		MODEL(4),
		MODEL(5),
		MODEL(6),
		MODEL(7),
		MODEL(8),
		{"settings", test_settings, NULL, NULL, NULL},
		{"quantised_experts", test_quantised_experts, NULL, NULL, NULL},
		{"snapkv", test_snapkv, NULL, NULL, NULL},
		{"first", test_first, NULL, NULL, NULL},
	};
	const struct apart apart = {"prompts' graphs on a GPU", tests, sizeof tests / sizeof *tests, 6, no_gpu};
	return apart_main(argc, argv, &apart, NULL);
}
