/* gemmark selftest --history: the rates of a history, on standard output. */
#ifndef GEMMARK_HARNESS_CLI_SELFTEST_HISTORY_H
#define GEMMARK_HARNESS_CLI_SELFTEST_HISTORY_H

#include "base/error.h"
#include "harness/selftest/history_rates.h"

/*
 * Every kind of noise, with the test that `gemmark history` uses and, for contrast, with Student's t. *trusted: of the
 * noises that let a slow-down of that size be found at all, 95 of 100 are within one commit, and at most 1 of 100 flat
 * series has a false change point.
 */
int selftest_history(const struct history_rates_options *o, int *trusted, struct error *err);

#endif
