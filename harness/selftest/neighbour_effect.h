/*
 * How much the time of a device's tokens changes when the other devices of its machine work too: of rounds, in each of
 * which it was measured with its neighbours at rest and, next to that, with them at work.
 */
#ifndef GEMMARK_HARNESS_SELFTEST_NEIGHBOUR_EFFECT_H
#define GEMMARK_HARNESS_SELFTEST_NEIGHBOUR_EFFECT_H

#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include "base/error.h"
#include "harness/stats/stats_estimate.h"

struct neighbour_effect {
	const char *device; /* the caller's */
	int rounds;
	double alone_us, busy_us;       /* medians over the rounds */
	double change;                  /* the median over the rounds of the log of busy by alone */
	struct stats_interval interval; /* of that, 95 %, over the rounds */
};

/* alone, busy: (rounds), of each the median time of its runs. ERROR_MEMORY. */
int neighbour_effect_find(const char *device, const double *alone, const double *busy, int rounds, uint64_t seed,
			  struct neighbour_effect *out, struct error *err);

/* Whether that interval lies beyond delta, on either side: what is measured side by side is not what it is alone. */
int neighbour_effect_disturbs(const struct neighbour_effect *e, double delta);

/* A table, and what it says in a sentence. */
void neighbour_effect_print(const struct neighbour_effect *e, int n, double delta, FILE *f);
/* The caller owns it; null without memory. */
json_t *neighbour_effect_json(const struct neighbour_effect *e, int n, double delta);

#endif
