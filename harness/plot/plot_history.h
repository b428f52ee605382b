/*
 * The figure of a history's series: values by commit, the levels that they are at, where those change, and where the
 * machine was calibrated anew.
 */
#ifndef GEMMARK_HARNESS_PLOT_PLOT_HISTORY_H
#define GEMMARK_HARNESS_PLOT_PLOT_HISTORY_H

#include "base/error.h"
#include "harness/plot/plot.h"
#include "harness/plot/plot_script.h"
#include "harness/record/run_directory.h"

/* Commits are named by their place in the order of all: from 0 to n_commits - 1. */
struct plot_history_point {
	double x;                /* a commit's place, or beside it */
	double value, low, high; /* of the process, and of its runs */
};

struct plot_history_level {
	int first, last; /* commits */
	double value;
};

struct plot_history_change {
	int before, after; /* commits */
	const char *text;  /* "+2.0 %" */
	int worse;
};

struct plot_history_mark {
	int commit; /* the first one behind it */
	const char *text;
};

/* Texts as files have them. */
struct plot_history {
	const char *name; /* of the file, without ending: letters that need no escape */
	const char *title;
	const char *unit;           /* "us": may be shown in ms */
	const char *const *commits; /* (n_commits): short names */
	int n_commits;
	const struct plot_history_point *points;
	int n_points;
	const struct plot_history_level *levels;
	int n_levels;
	const struct plot_history_change *changes;
	int n_changes;
	const struct plot_history_mark *marks;
	int n_marks;
	struct plot_caption caption;
};

/* Writes and draws it into `out`. Of the request formats, gnuplot, timeout_s, wrote, note and ctx count. */
int plot_history(const struct plot_history *h, const struct plot_request *request, const struct run_directory *out,
		 struct error *err);

#endif
