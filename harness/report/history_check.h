/*
 * Does a run go on where its series are?
 *
 * The rule: of each cell the run's values, one a results directory, are judged as further ones of the last level that
 * its series has in the run's own environment (stats_series.h: Student's t with Holm over all cells; worse where that
 * is below alpha and the interval is beyond delta). What the store has of the run's commit is left out. A cell that has
 * no series, or none in this environment, or too few values, or whose noise would hide what matters, cannot be told.
 */
#ifndef GEMMARK_HARNESS_REPORT_HISTORY_CHECK_H
#define GEMMARK_HARNESS_REPORT_HISTORY_CHECK_H

#include <stdio.h>

#include "base/error.h"
#include "harness/record/history_source.h"
#include "harness/record/result_set.h"
#include "harness/report/compare_output.h"
#include "harness/report/history_series.h"

enum history_outcome {
	HISTORY_CONTINUES,
	HISTORY_BETTER,
	HISTORY_WORSE,
	HISTORY_UNCLEAR,
	HISTORY_NEW,          /* no series */
	HISTORY_RECALIBRATED, /* none in this environment */
	HISTORY_LOST,         /* has a series, and no run that is ok */
	HISTORY_WRONG,        /* wrong results */
};

struct history_check_cell {
	char label[HISTORY_LABEL_SIZE];
	char unit[32];
	enum history_outcome outcome;
	char why[HISTORY_MARK_SIZE]; /* "": nothing to add */
	struct continuation verdict;
	int n, m;                 /* values of the level, and of the run */
	double level, now;        /* geometric means */
	char since[HISTORY_TEXT]; /* the level's first commit */
};

struct history_check {
	struct continuation_options options;
	struct history_check_cell *cells; /* (n) */
	int n;
	int judged; /* cells of Holm's family */
	int absent; /* series that the history's latest commit has, and the run has not: not judged */
	int dirty;  /* lines of the run that are of no commit */
};

/*
 * sets: (n), results directories of one commit, each of a process. machine: null: as history_from_results has it.
 * ERROR_INPUT where they are of several commits, or malformed. Free it also then.
 */
int history_check_run(struct history_check *c, const struct run_directory *store, struct result_set *const *sets, int n,
		      const char *machine, const struct history_join *join, const struct stats_change_options *change,
		      const struct continuation_options *o, struct error *err);
void history_check_free(struct history_check *c);

/* 0: all go on, or better; 1: one is worse, or lost; 3: one cannot be told; 4: wrong results. */
int history_check_code(const struct history_check *c);
const char *history_outcome_name(enum history_outcome o);

/* ERROR_MEMORY; what the stream says of writing is the caller's to look at. */
int history_check_write(const struct history_check *c, enum compare_format format, FILE *f, struct error *err);

#endif
