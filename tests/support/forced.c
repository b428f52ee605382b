#include "tests/support/forced.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/ok.h"

void teacher_force(struct session *s, const struct golden *g, int prefill, int n, float *rows)
{
	size_t vocab = (size_t)g->n_vocab;
	OK(session_rewind(s, 0, e));
	if (prefill)
		OK(session_prefill(s, g->tokens, prefill, rows, e));
	for (int i = prefill; i < n; i++) {
		struct token_timing t;
		const float *row;
		OK(session_decode(s, g->tokens[i], &t, e));
		OK(session_logits(s, &row, e));
		if (t.event == GRAPH_EVENT_FALLBACK)
			fail_msg("%s", session_fallback_reason(s));
		memcpy(rows + (size_t)i * vocab, row, vocab * sizeof *row);
	}
}
