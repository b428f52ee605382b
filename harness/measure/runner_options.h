/* How a sweep is run: what the runner and each of its passes are told. */
#ifndef GEMMARK_HARNESS_MEASURE_RUNNER_OPTIONS_H
#define GEMMARK_HARNESS_MEASURE_RUNNER_OPTIONS_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "harness/measure/monitor.h"

/* What an earlier process already recorded of the same cells. */
struct runner_past {
	int order;                     /* of the next row */
	const unsigned char *done;     /* (n, repetitions): not 0 where the run is recorded */
	const unsigned char *closed;   /* (n): not 0 where the cell is not measured any further */
	const double *clocks;          /* (n, repetitions): SM clock, MHz, of the latest attempt; null: all unknown */
	const unsigned char *attempts; /* (n, repetitions): the latest attempt's number; null: all 0 */
	const uint64_t *launches;      /* (n): launch_hash of the cell's first run that has one; 0: none. null: all 0 */
	const double *values;          /* (n, repetitions): what stability.h wants of the runs; null: all unknown */
};

struct context_store; /* harness/measure/context_store.h */

struct runner_options {
	int repetitions;
	int steady;     /* consecutive steady tokens that end a warm-up */
	int warmup_max; /* tokens of a warm-up at most, >= steady */
	int chunk;      /* tokens of a depth's prefill between two looks at `stop` */
	uint64_t seed;  /* of the order and of the token stream */
	const char *prefill_fusion;
	const char *commit;                   /* goes into the rows */
	const char *machine;                  /* likewise; null: unknown */
	const char *gpu;                      /* likewise, of runs that use a GPU */
	const char *run_prefix;               /* run_id is this and the order */
	const struct runner_past *past;       /* null: none */
	volatile sig_atomic_t *stop;          /* not null: a value other than 0 ends the sweep */
	int64_t (*clock)(void *ctx);          /* nanoseconds; null: CLOCK_MONOTONIC_RAW */
	void (*pause)(void *ctx, int64_t ns); /* lets so much of that clock's time pass; null: sleeps */
	void *clock_ctx;                      /* of both */
	int delay_s;                          /* seconds without work before each run */
	struct monitor *monitor;              /* null: nobody looks at the machine */
	double clock_fraction;                /* of its peers' SM clock, below which a run is low; 0: not checked */
	int clock_retries;                    /* times that a low block is repeated at most */
	struct context_store *contexts;       /* the caller's; null: each group prefills its context */
	bool timeline; /* a unit's first runs, launched directly and replayed, have a token stamped */
	double until;  /* stability.h's error, at which a unit is not repeated further; 0: fixed number */
};

/* 5 repetitions, 4 steady tokens in at most 32, chunks of 2048, seed 1, full fusion, clocks to 95 %, 2 retries. */
void runner_options_default(struct runner_options *o);
/* Those that rows depend on, as sweep.json has them. The caller owns it; null without memory. */
json_t *runner_options_describe(const struct runner_options *o);

/* The clock of the options, in nanoseconds; whether they say stop. */
int64_t runner_now_ns(const struct runner_options *o);
int runner_stopped(const struct runner_options *o);

#endif
