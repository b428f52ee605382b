/*
 * The launch accounting of the CUDA device against CUPTI's: in every mode and fusion, the driver calls,
 * node updates, kernels and copies that a token is said to have are those that the GPU's own tracing saw.
 * Without a GPU or CUPTI it exits with 77, which ctest counts as skipped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/cuda/device_cuda.h"
#include "engine/infer/session.h"
#include "tests/support/apart.h"
#include "tests/support/cupti.h"
#include "tests/support/fusions.h"
#include "tests/support/golden.h"
#include "tests/support/ok.h"

/* Prompt, warm-up and measured tokens stay in one attention bucket: the warm-up captures all there is. */
enum { PROMPT = 12, WARM_UP = 2, TOKENS = 10 };

static struct session *open_session(const struct golden *g, float **trace)
{
	struct session_options o;
	struct session *s;
	session_options_default(&o);
	o.load.n_gpu_layers = g->n_tokens; /* more than there are: never the host */
	o.context = g->n_tokens;
	o.load.batch = PROMPT;
	OK(session_open(&s, g->path, &o, e));
	assert_string_equal(session_device_name(s), "cuda");
	/* Traced tokens have copies within the device, in graphs too, and one download each. */
	const struct model *m = session_model(s);
	*trace = malloc(((size_t)m->n_layer + 1) * (size_t)m->n_embd * sizeof **trace);
	assert_non_null(*trace);
	session_trace(s, *trace);
	return s;
}

/* A count that is not what it must be. */
static int expect(const char *what, int cupti, int ours)
{
	if (cupti == ours)
		return 0;
	printf("    %s: CUPTI saw %d, expected %d\n", what, cupti, ours);
	return 1;
}

static int compare(struct session *s, const struct golden *g, enum graph_mode mode, enum fusion fusion)
{
	static const enum graph_event events[GRAPH_MODE_COUNT] = {
		GRAPH_EVENT_DIRECT, GRAPH_EVENT_UPDATE, GRAPH_EVENT_UPDATE, GRAPH_EVENT_REPLAY, GRAPH_EVENT_REPLAY};
	struct token_timing t, sum = {0};
	session_set_mode(s, mode);
	session_set_fusion(s, fusion);
	OK(session_rewind(s, 0, e));
	OK(session_prefill(s, g->tokens, PROMPT, NULL, e));
	for (int i = 0; i < WARM_UP; i++)
		OK(session_decode(s, g->tokens[PROMPT + i], &t, e));
	cupti_begin();
	for (int i = 0; i < TOKENS; i++) {
		OK(session_decode(s, g->tokens[PROMPT + WARM_UP + i], &t, e));
		assert_int_equal(t.event, events[mode]);
		sum.api_launches += t.api_launches;
		sum.node_updates += t.node_updates;
		sum.kernels += t.kernels;
		sum.copies += t.copies;
	}
	struct cupti_counts c = cupti_end();

	bool graph = mode != GRAPH_MODE_DIRECT;
	int nodes = session_stats(s).graph.nodes;
	printf("%-12s fusion %-4s %7.1f calls, %6.1f node updates, %7.1f kernels, %5.1f copies a token\n",
	       graph_mode_name(mode), fusion_name(fusion), (double)c.enqueued / TOKENS, (double)c.node_updates / TOKENS,
	       (double)c.kernels / TOKENS, (double)c.copies / TOKENS);
	int wrong = expect("driver calls that enqueue", c.enqueued, sum.api_launches) +
		    expect("graph launches", c.graph_replays, graph ? TOKENS : 0) +
		    expect("calls recorded by a capture", c.recorded, mode == GRAPH_MODE_UPDATE ? TOKENS * nodes : 0) +
		    /* Those of a patch are no driver calls. */
		    expect("node updates", c.node_updates, mode == GRAPH_MODE_PATCH ? 0 : sum.node_updates) +
		    expect("kernels", c.kernels, sum.kernels) + expect("copies", c.copies, sum.copies) +
		    expect("downloads", c.downloads, TOKENS) + expect("fills", c.fills, 0) +
		    expect("lost records", c.dropped, 0);
	assert_true(sum.kernels >= TOKENS && (sum.copies >= TOKENS || fusion == FUSION_PERSISTENT));
	assert_int_equal(sum.node_updates > 0, mode == GRAPH_MODE_PARAMS || mode == GRAPH_MODE_PATCH);
	if (wrong)
		cupti_print_calls();
	return wrong;
}

static void check_model(const char *name)
{
	struct golden g;
	float *trace;
	golden_load(&g, name);
	assert_true(PROMPT + WARM_UP + TOKENS <= g.n_tokens);
	struct session *s = open_session(&g, &trace);
	int wrong = 0;
	for (int fusion = FUSION_NONE; fusion < FUSION_COUNT; fusion++)
		/* What a loop's graphs do is enqueued by the device. */
		for (int mode = 0; mode < GRAPH_MODE_LOOP && fusion_set(s, (enum fusion)fusion); mode++)
			wrong += compare(s, &g, (enum graph_mode)mode, (enum fusion)fusion);
	session_close(s);
	free(trace);
	golden_free(&g);
	assert_int_equal(wrong, 0);
}

static void test_gemma4_e4b(void **state)
{
	(void)state;
	check_model("gemma4-e4b-tiny.q8_0");
}

/* Mixture of experts. */
static void test_gemma4_26b_a4b(void **state)
{
	(void)state;
	check_model("gemma4-26b-a4b-tiny.q8_0");
}

static bool no_cupti(void)
{
	struct error err;
	char why[256];
	if (device_cuda_probe(&err))
		printf("skipped: %s\n", err.text);
	else if (!cupti_open(why, sizeof why))
		printf("skipped: %s\n", why);
	else
		return false;
	return true;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gemma4_e4b),
		cmocka_unit_test(test_gemma4_26b_a4b),
	};
	const struct apart apart = {"launch accounting", tests, sizeof tests / sizeof *tests, 1, no_cupti};
	return apart_main(argc, argv, &apart, NULL);
}
