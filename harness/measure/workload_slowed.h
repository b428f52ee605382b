/*
 * Any workload, with a slow-down that can be switched on: what the harness must find
 * when it is told to look. Each token is followed by a wait of a share of its own time,
 * before it counts as complete; everything else is passed on as it is.
 */
#ifndef GEMMARK_HARNESS_MEASURE_WORKLOAD_SLOWED_H
#define GEMMARK_HARNESS_MEASURE_WORKLOAD_SLOWED_H

#include <stdint.h>

#include "harness/measure/workload.h"

struct slowed_source {
	struct workload_source base; /* what the runner is given */
	struct workload_source *inner;
	/* Lets time pass; null: spins on CLOCK_MONOTONIC_RAW. */
	void (*wait)(void *ctx, int64_t ns);
	void *wait_ctx;
	double share; /* of a token's wall time; 0: no slow-down. May be set between runs */
};

/* The inner source stays the caller's, and outlives this. */
void slowed_init(struct slowed_source *s, struct workload_source *inner);

#endif
