#include "tests/support/alternating.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/fusions.h"
#include "tests/support/golden.h"
#include "tests/support/ok.h"

enum { PROMPT = 20, TOKENS = 3, IN_A_MODE = 11, SETTLED = IN_A_MODE * GRAPH_MODE_COUNT };

static struct session *open_session(const struct golden *g, int gpu_layers, enum fusion fusion)
{
	struct session_options o;
	struct session *s;
	session_options_default(&o);
	o.load.n_gpu_layers = gpu_layers;
	o.load.n_threads = 2;
	o.context = PROMPT + 1;
	OK(session_open(&s, g->path, &o, e));
	if (!fusion_set(s, fusion))
		fail_msg("%s cannot be decoded in fusion %s here", g->path, fusion_name(fusion));
	OK(session_prefill(s, g->tokens, PROMPT, NULL, e));
	OK(session_checkpoint(s, e));
	return s;
}

static const float *decode(struct session *s, int token)
{
	const float *row;
	OK(session_decode(s, token, NULL, e));
	OK(session_logits(s, &row, e));
	return row;
}

void alternating_check(const char *golden, int gpu_layers, enum fusion fusion, int n)
{
	struct golden g;
	golden_load(&g, golden);
	size_t bytes = (size_t)g.n_vocab * sizeof(float);
	char *clean = malloc(TOKENS * bytes);
	assert_non_null(clean);
	for (int k = 0; k < TOKENS; k++) {
		struct session *s = open_session(&g, gpu_layers, fusion);
		memcpy(clean + (size_t)k * bytes, decode(s, g.tokens[PROMPT + k]), bytes);
		session_close(s);
	}
	assert_memory_not_equal(clean, clean + bytes, bytes);
	assert_memory_not_equal(clean + bytes, clean + 2 * bytes, bytes);
	struct session *s = open_session(&g, gpu_layers, fusion);
	struct device_memory settled = {0}, last;
	int differ = 0;
	for (int i = 0; i < n; i++) {
		if (i == SETTLED) /* each mode has what it needs */
			settled = session_stats(s).memory;
		int k = (i * 7 + i / 5) % TOKENS; /* also the same one twice */
		session_set_mode(s, (enum graph_mode)(i / IN_A_MODE % GRAPH_MODE_COUNT));
		differ += memcmp(decode(s, g.tokens[PROMPT + k]), clean + (size_t)k * bytes, bytes) != 0;
		OK(session_rewind(s, PROMPT, e));
	}
	last = session_stats(s).memory;
	session_close(s);
	free(clean);
	golden_free(&g);
	if (differ)
		fail_msg("%s: %d of %d tokens in turn have other bits than alone", golden, differ, n);
	if (n <= SETTLED)
		return;
	if (last.used != settled.used)
		fail_msg("%s: %zu bytes are allocated behind token %d, and %zu behind token %d", golden, last.used, n,
			 settled.used, (int)SETTLED);
	if (gpu_layers)
		print_message("%s: the GPU's free memory moved by %lld bytes in %d tokens\n", golden,
			      (long long)last.free - (long long)settled.free, n - SETTLED);
}
