/*
 * Where a history changed: E-divisive (Matteson and James 2014, alpha = 1), the change
 * points of a series from its own distances, without a model of its noise.
 *
 * The series holds what was measured, in order; a commit without a measurement is left
 * out by the caller, never filled in.
 */
#ifndef GEMMARK_HARNESS_STATS_STATS_CHANGE_H
#define GEMMARK_HARNESS_STATS_STATS_CHANGE_H

#include <stdint.h>

struct stats_change {
	int at;   /* index of the first value behind the change */
	double q; /* scaled sample energy distance of the two sides */
	double p; /* of the permutation test; NAN from stats_change_split */
};

struct stats_change_options {
	int least;        /* values of a segment at least, >= 1 */
	int permutations; /* of the values within their segments; the least p is 1 / (permutations + 1) */
	double alpha;     /* a change with p above it ends the search */
	uint64_t seed;
};

/* 2 values, 999 permutations, 0.01, seed 1. */
void stats_change_options_default(struct stats_change_options *o);

/*
 * The best split of x: (n): left side [0, at), right side [at, end) for the end that
 * makes q largest. Returns 0 and q -INFINITY where n < 2 least; -1 when memory is not enough.
 */
int stats_change_split(const double *x, int n, int least, struct stats_change *out);

/*
 * All change points of x: (n), ascending by place, into out: (n). Returns their number,
 * or -1 when memory is not enough. O(permutations n^2) time for each.
 */
int stats_change_points(const double *x, int n, const struct stats_change_options *o, struct stats_change *out);

#endif
