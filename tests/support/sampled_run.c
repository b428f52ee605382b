#include "tests/support/sampled_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/infer/session.h"
#include "tests/support/golden.h"
#include "tests/support/ok.h"
#include "tests/support/sample_case.h"

static void greedy(struct session *s, const struct golden *g)
{
	struct sampling_options o;
	struct error err;
	int token;
	sampling_options_default(&o);
	assert_int_equal(session_sample(s, &o, &token, &err), ERROR_INPUT); /* by what? */
	OK(session_prefill(s, g->tokens, g->n_prompt, NULL, e));
	for (int i = g->n_prompt; i < g->n_tokens; i++) {
		OK(session_sample(s, &o, &token, e));
		if (token != g->tokens[i])
			fail_msg("%s: greedy token %d is %d, expected %d", g->path, i, token, g->tokens[i]);
		OK(session_decode(s, token, NULL, e));
	}
}

/* tokens: (n - n_prompt): of the first mode; of the others they are compared with it. */
static void drawn(struct session *s, const struct golden *g, const struct sampling_options *o, bool first, int *tokens)
{
	struct sample_case c;
	sample_case_init(&c, g->n_vocab);
	OK(session_rewind(s, 0, e));
	/* With logits for all rows, the last is not the scratch's first. */
	float *rows = calloc((size_t)g->n_prompt * (size_t)g->n_vocab, sizeof *rows);
	assert_non_null(rows);
	OK(session_prefill(s, g->tokens, g->n_prompt, first ? rows : NULL, e));
	for (int i = g->n_prompt; i < g->n_tokens; i++) {
		const float *logits;
		bool close;
		int token, again;
		OK(session_sample(s, o, &token, e));
		OK(session_logits(s, &logits, e));
		OK(session_sample(s, o, &again, e));
		assert_int_equal(again, token);
		sample_case_shares(&c, logits, o);
		int expected = sample_case_token(&c, o->seed, i - 1, &close);
		if (token != expected && !close)
			fail_msg("%s: token %d is %d, expected %d", g->path, i, token, expected);
		if (first)
			tokens[i - g->n_prompt] = token;
		assert_int_equal(token, tokens[i - g->n_prompt]);
		OK(session_decode(s, token, NULL, e));
	}
	free(rows);
	sample_case_free(&c);
}

void sampled_run_check(const char *golden, int n_gpu_layers)
{
	static const struct sampling_options all[] = {
		{1.5, 0, 1, 0, 3}, {5, 50, 0.9, 0.02, 1ull << 40}, {1, 0, 0.95, 0, 5}};
	struct session_options o;
	struct golden g;
	struct session *s;
	int tokens[GOLDEN_TOKENS_MAX];
	golden_load(&g, golden);
	session_options_default(&o);
	o.load.n_gpu_layers = n_gpu_layers;
	o.load.n_threads = 2;
	o.load.k_type = o.load.v_type = TENSOR_F32;
	o.load.prefill = PREFILL_F32;
	o.load.batch = 7;
	o.context = g.n_tokens;
	OK(session_open(&s, g.path, &o, e));
	greedy(s, &g);
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		for (int mode = 0; mode < GRAPH_MODE_COUNT; mode++) {
			session_set_mode(s, (enum graph_mode)mode);
			drawn(s, &g, &all[i], mode == 0, tokens);
		}
	session_close(s);
	golden_free(&g);
}
