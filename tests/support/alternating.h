/*
 * Tokens in turn, from one position: what the token before left on the device is never the same as what this one must
 * find there. A stale value of a token's program would go unseen where a token is repeated.
 */
#ifndef GEMMARK_TESTS_SUPPORT_ALTERNATING_H
#define GEMMARK_TESTS_SUPPORT_ALTERNATING_H

#include "engine/infer/session.h"

/*
 * n tokens of a golden model in a fusion, in all modes by turns, each with the bits that it has as the first token of
 * a session, and with the memory allocated that the first round of modes allocated. Fails the running test where one
 * has not.
 */
void alternating_check(const char *golden, int gpu_layers, enum fusion fusion, int n);

#endif
