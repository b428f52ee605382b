/*
 * How often a history sees what is not there, and how often it misses what is: series of synthetic commits, each
 * measured by a process of its own on the simulated workload, judged as `gemmark history` judges a series.
 */
#ifndef GEMMARK_HARNESS_SELFTEST_HISTORY_RATES_H
#define GEMMARK_HARNESS_SELFTEST_HISTORY_RATES_H

#include <stdint.h>

#include "base/error.h"
#include "harness/stats/stats_change.h"
#include "harness/stats/stats_series.h"

struct history_noise {
	const char *name;
	double run;    /* standard deviation of the log of a run's median within a process */
	double middle; /* of what all runs of a process have in common */
};

/* As an NVIDIA H100 showed it, by mode. */
extern const struct history_noise history_noises[];
extern const int history_n_noises;

struct history_rates_options {
	int series;          /* of each kind */
	int planted_commits; /* of a series with a slow-down */
	int planted_at;      /* the commit, from 0, from which on it is there */
	int flat_commits;
	int check_commits; /* flat ones in front of one that is checked */
	int runs;          /* a process */
	int tokens;        /* a run */
	double inject;     /* relative slow-down */
	uint64_t seed;
	struct stats_change_options change;
	struct continuation_options check;
};

/* 100 series of 30 commits, slower by 2 % from the 12th on, and of 50 flat ones; checks behind 30; 5 runs of 32 tokens.
 */
void history_rates_options_default(struct history_rates_options *o);

struct history_rates {
	int series;
	/* With a slow-down. */
	int exact;   /* series with a change at the very commit */
	int near;    /* at it or one beside it */
	int missed;  /* no change within one commit */
	int extra;   /* change points elsewhere, over all series */
	int covered; /* of `near`: the interval of the effect holds what was planted */
	/* Flat ones. */
	int false_changes; /* over all series */
	int false_series;
	/* One more commit behind flat ones: unchanged, and slower by `inject`. By enum continuation_kind. */
	int same[CONTINUATION_UNCLEAR + 1];
	int slower[CONTINUATION_UNCLEAR + 1];
};

int history_rates_measure(const struct history_noise *noise, const struct history_rates_options *o,
			  struct history_rates *out, struct error *err);

#endif
