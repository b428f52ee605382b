/*
 * A workload without an engine: tokens cost what stated distributions say, on a clock
 * that only the workload moves. Scheduling, statistics and reports are tested with it.
 *
 * A token of a run costs
 *
 *   base(mode, position) * run * drift(t) * wander(t) * throttle(t) * (1 + within * z) + stall
 *
 * run: drawn once a pass, log-normal; z: a first-order autoregressive normal; drift and
 * wander: a trend and a random walk of the clock; throttle: steps of the clock's speed;
 * an outlier multiplies a token, a stall adds to it. The logits' hash depends on the
 * tokens alone, so that every mode gives the same bits.
 *
 * Shares are plain numbers: 0.01 is 1 %. Zeroed options are a workload without noise.
 */
#ifndef GEMMARK_HARNESS_MEASURE_WORKLOAD_SIM_H
#define GEMMARK_HARNESS_MEASURE_WORKLOAD_SIM_H

#include <stdint.h>

#include "base/error.h"
#include "harness/measure/monitor.h"
#include "harness/measure/workload.h"

struct sim_options {
	double direct_us; /* of a token at position 0 */
	double graph_us;  /* likewise, in any graph mode */
	double depth_us;  /* more for each 1024 positions */
	double submit_us;
	double prefill_us; /* of a prefilled token */
	double capture_us; /* a mode's first token behind opening costs this more */
	int memory_tokens; /* opening for more positions is out of memory; 0: never */

	double between;        /* standard deviation of log(run) */
	double within;         /* standard deviation of a token */
	double correlation;    /* of neighbouring tokens' deviations, [0, 1) */
	double drift;          /* relative change of the speed in a minute */
	double wander;         /* standard deviation of the change in a second */
	double outlier_share;  /* of tokens */
	double outlier_factor; /* > 1 */
	double stall_share;    /* of tokens */
	double stall_us;       /* mean of an exponential */
	double throttle_every; /* seconds; 0: never */
	double throttle_for;   /* seconds */
	double throttle_by;    /* relative slow-down */
};

/* A decode step of 1 ms, 0.6 ms in a graph, with 0.3 % between runs and all noise; throttled by 10 % for half a second
 * in ten. */
void sim_options_default(struct sim_options *o);

enum { SIM_CLOCK_MHZ = 1980 };

struct sim; /* opaque */

int sim_open(struct sim **out, const struct sim_options *o, uint64_t seed, struct error *err);
void sim_close(struct sim *s);

/* Starts the noise, and the clock, anew. */
void sim_reseed(struct sim *s, uint64_t seed);

/* Opens workloads, one at a time; lives as long as s. */
struct workload_source *sim_source(struct sim *s);

/* Knows the simulated SM clock: SIM_CLOCK_MHZ, less while throttled. For struct runner_options. */
struct monitor *sim_monitor(struct sim *s);

/* The clock, ctx being s: nanoseconds since the start. For struct runner_options. */
int64_t sim_clock(void *ctx);
/* Lets time pass, ctx being s. */
void sim_wait(void *ctx, int64_t ns);

#endif
