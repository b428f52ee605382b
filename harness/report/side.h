/*
 * One side of a report: the runs of one or more result sets by cell, the values of a cell's units, and the cells as
 * panels of modes over depths.
 *
 * A unit is an independent measurement, as in compare.h: of several directories one each (the median of its runs), of
 * one directory each repetition.
 */
#ifndef GEMMARK_HARNESS_REPORT_SIDE_H
#define GEMMARK_HARNESS_REPORT_SIDE_H

#include "base/error.h"
#include "harness/record/result_set.h"
#include "harness/report/paired_effect.h"

enum {
	SIDE_PANELS_MAX = 256, /* what more cells have is in no panel: side.left_out counts them */
	SIDE_MODES_MAX = 16,
};

struct side_run {
	const struct run_row *row;
	int set; /* index */
};

struct side_cell {
	struct cell cell;
	const struct side_run *runs; /* (n): those that count, by set and repetition */
	int n;
	int n_ok;
	int panel; /* -1: none */
};

/* Cells that differ in mode and depth alone; of those that decode. */
struct side_panel {
	const struct cell *key;    /* of its first cell */
	int modes[SIDE_MODES_MAX]; /* (n_modes): indexes into side.modes, in drawing order */
	int n_modes;
	const int *depths; /* (n_depths), ascending */
	int n_depths;
	const int *at; /* (n_modes, n_depths): cells, -1: none */
};

struct side {
	struct result_set *const *sets; /* (n), the caller's, as long as the side lives */
	int n;
	struct side_cell *cells; /* in the axes' order */
	int n_cells;
	const char *modes[SIDE_MODES_MAX]; /* direct first, the known ones, then as they come */
	int n_modes;
	struct side_panel *panels;
	int n_panels;
	int left_out; /* cells that decode and found no room in a panel */

	/* The side's own. */
	struct side_run *runs;
	int *numbers;
};

/* ERROR_MEMORY; free it also then. */
int side_init(struct side *s, struct result_set *const *sets, int n, struct error *err);
void side_free(struct side *s);

/* Whether tokens alone are measured, without a prompt. */
int side_decodes(const struct side_cell *c);

/* A column of runs.csv by its name, which must be one of them. */
const struct column *side_column(const char *name);

/* A number of a unit: of the set, or of the repetition. */
struct side_number {
	int64_t unit;
	double value;
};

/*
 * The column's values of a cell's units, by unit, into out: (c->n); their number, or ERROR_MEMORY. column null: the
 * time of a token, or of a prompt (METRIC_TIME).
 */
int side_units(const struct side *s, const struct side_cell *c, const struct column *column, struct side_number *out,
	       struct error *err);

struct side_value {
	int n; /* units with a value; 0: all below are NAN */
	double median, min, max;
	double mad; /* not scaled */
};
int side_value(const struct side *s, const struct side_cell *c, const struct column *column, struct side_value *out,
	       struct error *err);

/*
 * Time per token of a cell relative to that of another (1: equal), of each unit, by pairs of runs of one repetition,
 * which ran next to each other: into out: (c->n); their number, or ERROR_MEMORY.
 */
int side_ratios(const struct side *s, const struct side_cell *c, const struct side_cell *to, struct side_number *out,
		struct error *err);
/* The same as an effect. */
int side_effect(const struct side *s, const struct side_cell *c, const struct side_cell *to, struct paired_effect *out,
		struct error *err);

/* The panel of a cell of this side or of another one, of which models are the same by their name; null: there is none.
 */
const struct side_panel *side_find_panel(const struct side *s, const struct cell *key);
/* The place of direct launches among a panel's modes, or -1. */
int side_direct(const struct side *s, const struct side_panel *p);
/* The cell of a panel's mode and depth, places in its lists; null: there is none. */
const struct side_cell *side_at(const struct side *s, const struct side_panel *p, int mode, int depth);
/* A number from 0 up that one mode has in every report, as far as it is a known one. */
int side_mode_style(const struct side *s, int mode);
/* *out: the run whose time is the middle one of its cell (the lower middle one of an even number); null: none is ok. */
int side_typical(const struct side_cell *c, const struct side_run **out, struct error *err);

#endif
