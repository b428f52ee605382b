/*
 * Shares of a measured rate that are more than can be, and what is behind them: a rate that was measured in a noisy
 * moment, or weights that lie in the host's cache and come from no memory at all.
 */
#ifndef GEMMARK_HARNESS_REPORT_SHARE_H
#define GEMMARK_HARNESS_REPORT_SHARE_H

#include <stdbool.h>

#include "harness/record/row.h"

/* 5 % above what was measured happens; more does not. NAN is credible. */
bool share_is_credible(double share);

enum share_cause {
	SHARE_NOISE,  /* a cache does not hold enough of the weights */
	SHARE_CACHE,  /* it holds all of them */
	SHARE_EITHER, /* some of them, or sizes are not known */
	SHARE_CAUSES
};

/* What a token reads, in bytes: weights that the host reads alone; 0 where a GPU reads some, or it is not known. */
double share_host_bytes(const struct run_row *row);
/* bytes: share_host_bytes; cache_bytes: of the host's largest cache, 0: not known. */
enum share_cause share_cause(double bytes, double cache_bytes);
/* What it means and what to do, behind "more than the memory can give". */
const char *share_cause_text(enum share_cause c);

#endif
