/*
 * Two questions to a series of measurements in the order of commits: how far a level lies from the one before it, and
 * whether new measurements go on at the level of the last ones.
 *
 * A value is the logarithm of what one process measured, so that differences are relative and a process is the unit:
 * what its runs have in common (its addresses, the clock that it met) is no property of the commit.
 */
#ifndef GEMMARK_HARNESS_STATS_STATS_SERIES_H
#define GEMMARK_HARNESS_STATS_STATS_SERIES_H

/* Relative: 0.02 is 2 % more. */
struct series_shift {
	double effect;
	double low, high; /* its interval; NAN where a side has one value */
};

/*
 * From x: (n) to y: (m), both at least 1, logarithms: of the means, with Welch's interval, whose sides may differ in
 * how much they vary.
 */
void series_shift(const double *x, int n, const double *y, int m, double level, struct series_shift *out);

struct series_cell {
	const double *before; /* (n) logarithms: the level so far, one commit after the other */
	const double *now;    /* (m) */
	int n, m;
	double sign; /* 1: more is worse; -1: less is */
};

enum continuation_kind {
	CONTINUATION_SAME, /* nothing says that it moved, and what matters would have been seen; or it moved by less */
	CONTINUATION_BETTER,  /* moved for the better, by more than delta */
	CONTINUATION_WORSE,   /* by more than delta */
	CONTINUATION_UNCLEAR, /* too few values, too much noise, or moved, and it cannot be told whether by more than
				 delta */
};

struct continuation_options {
	double alpha;  /* chance of a false alarm anywhere in a run that changes nothing */
	double delta;  /* relative change that matters */
	double level;  /* of the intervals */
	double power;  /* of what would be seen */
	double within; /* a change for the worse that must be seen with that power; else CONTINUATION_UNCLEAR */
};
/* 0.01, 0.01, 0.95, 0.8, 0.05. */
void continuation_options_default(struct continuation_options *o);

struct continuation {
	enum continuation_kind kind;
	double effect;    /* relative, of the measured quantity */
	double low, high; /* its interval; NAN where there are too few values */
	double p, p_holm; /* two-sided Student's t of the new values as further ones of the level; over all cells */
	double seen;      /* smallest true change for the worse that is found with `power`; INFINITY: none */
	int used;         /* of n */
	int far;          /* left out of n: so far from the others that they are none of the level's */
};

/*
 * cells, out: (n). The new values are further ones of the level: the standard error is that of a mean of m beside a
 * mean of n, the deviation the level's own (of both sides together where m is above 1). A cell moved where its p,
 * adjusted over all cells by Holm, is below alpha; by more than delta where its interval says so. Values of the level
 * further from its median than CONTINUATION_FAR scaled MADs are left out, where there are CONTINUATION_FAR_LEAST and
 * more. -1 when memory is not enough.
 */
enum { CONTINUATION_FAR = 6, CONTINUATION_FAR_LEAST = 8 };
int continuation_judge(const struct series_cell *cells, int n, const struct continuation_options *o,
		       struct continuation *out);

#endif
