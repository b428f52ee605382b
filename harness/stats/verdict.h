/*
 * What a comparison of two result sets says of each cell, and with what certainty.
 *
 * A cell's measurements are the medians of its runs, never its tokens. Paired: run i of
 * both sides was measured next to each other, and the test is the exact sign-flip over
 * the pairs; else the exact Mann-Whitney. Times: more is slower.
 *
 * A cell is slower (or faster) where its p, adjusted over all cells by Holm, is below
 * alpha and its interval lies beyond delta; same where the interval lies within +-delta.
 * All else is inconclusive, and so is a cell whose runs are too few to reach
 * alpha / cells at all, whatever they say.
 */
#ifndef GEMMARK_HARNESS_STATS_VERDICT_H
#define GEMMARK_HARNESS_STATS_VERDICT_H

#include <stdint.h>

#include "base/error.h"

enum verdict_kind { VERDICT_SAME, VERDICT_FASTER, VERDICT_SLOWER, VERDICT_INCONCLUSIVE };

/* "same", "faster", "slower", "inconclusive" */
const char *verdict_name(enum verdict_kind k);

struct verdict_options {
	double alpha; /* chance of a false alarm anywhere in a comparison of equal things */
	double delta; /* relative change that matters */
	double level; /* of the intervals */
	double power; /* of the detectable effect */
	uint64_t seed;
};

/* 0.01, 0.01, 0.95, 0.95, seed 1. */
void verdict_options_default(struct verdict_options *o);

struct verdict_cell {
	const double *baseline;  /* (n) positive */
	const double *candidate; /* (m) positive */
	int n;
	int m; /* n where paired */
	int paired;
	int stopped; /* how many runs there are depended on what they said (--until stable) */
};

struct verdict {
	enum verdict_kind kind;
	double effect; /* relative: 0.02 is 2 % slower. NAN where a side has no run */
	double low;    /* the interval of the effect */
	double high;
	double p;
	double p_holm;  /* over all cells */
	double p_bh;    /* Benjamini and Hochberg, for reports */
	double p_least; /* that so many runs can give */
	/* Of pairs, or of as many pairs as unpaired runs are worth; NAN and 0 below two runs a side. */
	double detectable;  /* smallest true slow-down found with `power`; INFINITY where no p is small enough */
	int runs_needed;    /* with which 2 delta would be found; 0 where 1000 would not do */
	double variability; /* standard deviation of one pair's log ratio; NAN below 2 pairs */
};

/*
 * cells, out: (n). ERROR_MEMORY; ERROR_INPUT where a cell's runs were stopped by their results: no p of theirs means
 * anything.
 */
int verdict_compare(const struct verdict_cell *cells, int n, const struct verdict_options *o, struct verdict *out,
		    struct error *err);

/* The fewest pairs whose p can be below alpha over so many cells. */
int verdict_least_runs(int cells, double alpha);

#endif
