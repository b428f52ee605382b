/* Teacher forcing: a session runs a golden model's tokens, whatever it would have said itself. */
#ifndef GEMMARK_TESTS_SUPPORT_FORCED_H
#define GEMMARK_TESTS_SUPPORT_FORCED_H

#include "engine/infer/session.h"
#include "tests/support/golden.h"

/*
 * From position 0, the first `prefill` (0: none) of n tokens in one prefill, the others decoded one by one.
 * rows: (n, n_vocab), the logits after each. Fails the running test where a call fails or a graph falls back.
 */
void teacher_force(struct session *s, const struct golden *g, int prefill, int n, float *rows);

#endif
