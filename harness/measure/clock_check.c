#include "harness/measure/clock_check.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "harness/stats/stats.h"

enum { PEERS_MAX = 256 }; /* the first so many tell what is usual */

int clock_check_init(struct clock_check *c, double fraction, int retries, int n, int repetitions, struct error *err)
{
	size_t runs = (size_t)n * (size_t)repetitions;
	assert(retries >= 0 && retries <= CLOCK_CHECK_RETRIES_MAX);
	*c = (struct clock_check){.fraction = fraction, .retries = retries, .n = n, .repetitions = repetitions};
	c->mhz = calloc(runs, sizeof *c->mhz);
	c->attempts = calloc(runs, 1);
	if (!c->mhz || !c->attempts)
		return error_set(err, ERROR_MEMORY, "no memory for the clocks of %zu runs", runs);
	for (size_t i = 0; i < runs; i++)
		c->mhz[i] = NAN;
	return 0;
}

void clock_check_free(struct clock_check *c)
{
	free(c->mhz);
	free(c->attempts);
	*c = (struct clock_check){0};
}

static size_t at(const struct clock_check *c, int cell, int repetition)
{
	return (size_t)cell * (size_t)c->repetitions + (size_t)repetition;
}

void clock_check_note(struct clock_check *c, int cell, int repetition, int attempt, double mhz)
{
	c->mhz[at(c, cell, repetition)] = mhz;
	c->attempts[at(c, cell, repetition)] = (unsigned char)attempt;
}

int clock_check_run(const struct clock_check *c, int cell, int repetition, double *peers)
{
	double own = c->mhz[at(c, cell, repetition)], others[PEERS_MAX];
	int n = 0;
	for (int i = 0; i < c->repetitions && n < PEERS_MAX; i++)
		if (i != repetition && !isnan(c->mhz[at(c, cell, i)]))
			others[n++] = c->mhz[at(c, cell, i)];
	double usual = n >= 2 ? stats_median(others, n) : NAN;
	if (peers)
		*peers = usual;
	if (isnan(own) || isnan(usual) || c->fraction <= 0)
		return -1;
	return own < c->fraction * usual;
}

int clock_check_block(const struct clock_check *c, const int *cells, int n, int repetition)
{
	int least = CLOCK_CHECK_RETRIES_MAX, most = 0, low = 0;
	for (int i = 0; i < n; i++) {
		int attempt = c->attempts[at(c, cells[i], repetition)];
		least = attempt < least ? attempt : least;
		most = attempt > most ? attempt : most;
		low |= clock_check_run(c, cells[i], repetition, NULL) > 0;
	}
	if (n && least < most)
		return most; /* begun, and interrupted */
	return low && most < c->retries ? most + 1 : 0;
}
