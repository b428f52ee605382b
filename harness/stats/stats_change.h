/*
 * Where a history changed: E-divisive (Matteson and James 2014, alpha = 1), the change
 * points of a series from its own distances, without a model of its noise.
 *
 * The series holds what was measured, in order; a commit without a measurement is left
 * out by the caller, never filled in. What was measured several times of one commit is one
 * group: a change is between groups, never within one, and is none where groups in another order show as good a one:
 * what the values of a group have in common tells nothing of the next group.
 *
 * A long series is looked at through a window that slides, as Fleming et al. (2023) do it: old
 * levels do not drown a change of today, and the time is linear in the length.
 */
#ifndef GEMMARK_HARNESS_STATS_STATS_CHANGE_H
#define GEMMARK_HARNESS_STATS_STATS_CHANGE_H

#include <stdint.h>

struct stats_change {
	int at;   /* index of the first value behind the change */
	double q; /* scaled sample energy distance of the two sides */
	double p; /* of the permutation test, of values and of groups the larger one; NAN from stats_change_split */
};

/* What decides whether the best split is a change. */
enum stats_change_test {
	STATS_CHANGE_PERMUTATION, /* of the values: the chance is that of the best of all splits */
	STATS_CHANGE_STUDENT,     /* Welch's t of the two sides, as if the split had been known before */
};

struct stats_change_options {
	int least; /* values of a segment at least, >= 1 */
	enum stats_change_test test;
	int permutations; /* of the values within their segments; the least p is 1 / (permutations + 1) */
	double alpha;     /* a change with p above it ends the search */
	uint64_t seed;
	int window; /* values that are looked at together at most; 0: all */
};

/* What `gemmark history` goes by: 2 values, 1999 permutations, 0.001, seed 1, a window of 200. */
void stats_change_options_default(struct stats_change_options *o);

/*
 * The best split of x: (n): left side [0, at), right side [at, end) for the end that
 * makes q largest. Returns 0 and q -INFINITY where n < 2 least; -1 when memory is not enough.
 */
int stats_change_split(const double *x, int n, int least, struct stats_change *out);

/*
 * All change points of x: (n), ascending by place, into out: (n). group: (n), equal for values of one group, which
 * are neighbours; null: each is its own. Returns their number, or -1 when memory is not enough. O(permutations n^2)
 * time for each, with a window O(permutations window n) for all.
 */
int stats_change_points(const double *x, const int *group, int n, const struct stats_change_options *o,
			struct stats_change *out);

/*
 * How often n values in which nothing changes are searched, each time with the chance alpha of a false change: once, or
 * for each place of the window.
 */
int stats_change_searches(int n, const struct stats_change_options *o);

#endif
