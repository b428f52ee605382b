/*
 * The NVTX ranges of a session in every mode, as a profiler gets them. Built without NVTX's header there
 * are none, and it exits with 77, which ctest counts as skipped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dlfcn.h>

#include <cmocka.h>

#include "engine/infer/session.h"
#include "tests/support/golden.h"
#include "tests/support/nvtx_injection.h"
#include "tests/support/ok.h"

#ifdef GEMMARK_NVTX_INJECTION

enum { PROMPT = 12 };

static int at; /* ranges looked at so far */

static const struct nvtx_range *ranges(int *n)
{
	void *library = dlopen(GEMMARK_NVTX_INJECTION, RTLD_NOW | RTLD_NOLOAD);
	if (!library)
		fail_msg("NVTX did not load %s", GEMMARK_NVTX_INJECTION);
	nvtx_ranges_function *get;
	void *symbol = dlsym(library, "nvtx_ranges");
	assert_non_null(symbol);
	memcpy(&get, &symbol, sizeof get);
	const struct nvtx_range *r = get(n);
	dlclose(library);
	return r;
}

/* The next range is this one, and it is over. */
static void expect(const char *name, int64_t payload, int depth)
{
	int n;
	const struct nvtx_range *r = ranges(&n);
	if (at >= n)
		fail_msg("range %d: %s expected, there is none", at, name);
	r += at++;
	assert_string_equal(r->name, name);
	assert_string_equal(r->domain, "gemmark");
	assert_int_equal(r->payload, payload);
	assert_int_equal(r->depth, depth);
	assert_int_equal(r->open, 0);
}

static void expect_layers(const struct session *s, int depth)
{
	for (int i = 0; i < session_model(s)->n_layer; i++)
		expect("layer", i, depth);
}

static void expect_no_more(void)
{
	int n;
	ranges(&n);
	assert_int_equal(n, at);
}

static void decode(struct session *s, const struct golden *g)
{
	OK(session_decode(s, g->tokens[session_position(s)], NULL, e));
}

static void test_ranges(void **state)
{
	(void)state;
	struct golden g;
	struct session_options o;
	struct session *s;
	golden_load(&g, "gemma4-e4b-tiny.q8_0");
	session_options_default(&o);
	o.load.n_gpu_layers = 0;
	o.load.n_threads = 1;
	o.context = g.n_tokens;
	OK(session_open(&s, g.path, &o, e));
	expect("load", 0, 0);
	OK(session_prefill(s, g.tokens, PROMPT, NULL, e));
	expect("prefill", PROMPT, 0);
	expect_layers(s, 1);
	expect_no_more();
	for (int mode = 0; mode < GRAPH_MODE_COUNT; mode++) {
		const char *name = graph_mode_name((enum graph_mode)mode);
		session_set_mode(s, (enum graph_mode)mode);
		for (int token = 0; token < 3; token++) {
			int pos = session_position(s);
			bool captures = mode == GRAPH_MODE_UPDATE || (mode != GRAPH_MODE_DIRECT && token == 0);
			decode(s, &g);
			expect(name, pos, 0);
			if (captures)
				expect("capture", pos, 1);
			if (captures || mode == GRAPH_MODE_DIRECT)
				expect_layers(s, captures ? 2 : 1);
			if (captures && token == 0)
				expect("instantiate", session_stats(s).graph.nodes, 1);
			expect_no_more();
		}
	}
	/* A capture that fails ends its ranges too, before the token is launched directly. */
	int pos = session_position(s);
	session_set_mode(s, GRAPH_MODE_UPDATE);
	device_fail(session_device(s), DEVICE_FAULT_CAPTURE_END, 0, 1);
	decode(s, &g);
	assert_int_equal(session_stats(s).graph.fallbacks, 1);
	expect("graph-update", pos, 0);
	expect("capture", pos, 1);
	expect_layers(s, 2);
	expect_layers(s, 1);
	expect_no_more();
	session_close(s);
	golden_free(&g);
}

int main(void)
{
	/* NVTX reads it at the first range. */
	if (setenv("NVTX_INJECTION64_PATH", GEMMARK_NVTX_INJECTION, 1))
		return 1;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ranges),
	};
	return cmocka_run_group_tests_name("NVTX ranges", tests, NULL, NULL);
}

#else

int main(void)
{
	puts("skipped: built without NVTX's header");
	return 77;
}

#endif
