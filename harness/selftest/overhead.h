/*
 * What the measurement core itself costs a token: a sweep over a workload that does
 * nothing but read the clock, so that all of a token's itl is the harness's.
 */
#ifndef GEMMARK_HARNESS_SELFTEST_OVERHEAD_H
#define GEMMARK_HARNESS_SELFTEST_OVERHEAD_H

#include "base/error.h"
#include "harness/measure/monitor.h"

/* Microseconds a token, of waiting for each and of queueing them. */
struct overhead {
	double token_median_us;
	double token_p99_us;
	double queued_median_us;
	double queued_p99_us;
	double clock_us; /* of this, one look at the clock, which the workload takes */
	int n;           /* tokens of either */
};

/* Of so many runs of so many tokens each. monitor: null or what sweeps have. ERROR_MEMORY. */
int overhead_measure(int runs, int tokens, struct monitor *monitor, struct overhead *out, struct error *err);

#endif
