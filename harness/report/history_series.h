/*
 * A history's file as series: of each cell what every commit measured, in the commits' order, and where that changed.
 *
 * Commits are ordered by their dates, then as they were added. A value is the median of a record's runs: a record is of
 * one process, and a commit that was measured again has several values. A series is split into parts where the
 * environment differs (another driver, another clock policy: a recalibration): values are compared within a part and
 * never across; a fact that a line does not say is no difference. A commit without a value is a gap: it is left out,
 * never filled in, and widens the range of a change.
 */
#ifndef GEMMARK_HARNESS_REPORT_HISTORY_SERIES_H
#define GEMMARK_HARNESS_REPORT_HISTORY_SERIES_H

#include "base/error.h"
#include "harness/record/history_file.h"
#include "harness/report/cell_difference.h"
#include "harness/stats/stats_change.h"
#include "harness/stats/stats_series.h"

struct history_commit {
	const char *name; /* the longest that any record has of it */
	int64_t date, order;
	int dirty; /* a record of it has changes that are in no commit */
};

struct history_point {
	int record, commit; /* indexes */
};

/* A stretch at one level: points [from, to), between two changes, or the ends of its part. */
struct history_level {
	int from, to;
	int part;
	double value;     /* the exponential of the mean of the points' logarithms */
	double deviation; /* standard deviation of those: relative; NAN of one point */
};

struct history_change {
	int level;         /* the one behind it; the one before is its neighbour */
	int before, after; /* commits: the last one at the old level, the first one at the new */
	int unmeasured;    /* commits of the file between these, of which the series has no value */
	double p;
	struct series_shift shift;
	int worse;
};

struct history_series {
	int cell;
	struct history_point *points; /* (n): part by part, in each in the commits' order */
	double *logs;                 /* (n): of their values */
	int n;
	int *parts; /* (n_parts + 1): where each begins in points; the last is n */
	int n_parts;
	struct history_level *levels; /* (n_levels) */
	int n_levels;
	struct history_change *changes; /* (n_changes), by commit */
	int n_changes;
	int commits; /* that have a value */
	int gaps;    /* commits between its first and last one that have none */
};

struct history_view {
	const struct history *history; /* the caller's, as long as the view */
	struct history_commit *commits;
	int n_commits;
	struct history_series *series; /* in the axes' order */
	int n_series;
	int n_changes, n_marks;
	int dirty;                         /* commits */
	struct cell_difference difference; /* what tells its series apart beside test, mode and fusion */
	struct stats_change_options options;
};

/* ERROR_INPUT where there is no record; ERROR_MEMORY. Free it also then. */
int history_view_make(struct history_view *v, const struct history *h, const struct stats_change_options *o,
		      struct error *err);
void history_view_free(struct history_view *v);

/* False changes to be expected where nothing changes. */
double history_false_changes(const struct history_view *v);

enum { HISTORY_LABEL_SIZE = 400, HISTORY_MARK_SIZE = 480, HISTORY_RANGE_SIZE = 200 };
/* What a series is of: "tg32 @ d4096 direct full", and what else tells it apart; or its name in another tool. */
void history_label(const struct history_view *v, const struct history_series *s, char out[HISTORY_LABEL_SIZE]);
/* Whether they say something else of the same fact. */
int history_conflict(const struct history_environment *a, const struct history_environment *b);
/* The last part whose environments do not conflict with that one, or -1. */
int history_find_part(const struct history_view *v, const struct history_series *s,
		      const struct history_environment *e);

/* What differs between parts k - 1 and k, k >= 1: "driver: 570.1, then 580.2". */
void history_mark_text(const struct history_view *v, const struct history_series *s, int k,
		       char out[HISTORY_MARK_SIZE]);
/* The same of two environments. */
void history_facts_text(const struct history_environment *before, const struct history_environment *after,
			char out[HISTORY_MARK_SIZE]);
/* "6206c60c2b..5d46001af6", and what is between. */
void history_range_text(const struct history_view *v, const struct history_change *c, char out[HISTORY_RANGE_SIZE]);
/* Where a point stands over the commits: those of one commit beside each other, within 0.25 of its place. */
double history_point_x(const struct history_series *s, int point);
/* The commit, of 12 digits at most, with "-dirty" where it is. */
void history_commit_text(const struct history_commit *c, char out[HISTORY_TEXT]);

#endif
