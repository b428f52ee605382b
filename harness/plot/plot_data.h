/*
 * What the figures show: the rows of runs.csv and tokens.csv, grouped and aggregated.
 *
 * Owns: which rows count, which belong together, the statistics. Not: files written, gnuplot.
 *
 * A combination is one value of every axis other than mode, depth and repetition; curves never
 * mix combinations. The run is the unit: a cell's value is the median over its repetitions of
 * the run's own figure, its spread the smallest and the largest of those, and beside them the
 * 10th and 90th percentile of all its measured tokens. Quantiles interpolate linearly.
 */
#ifndef GEMMARK_HARNESS_PLOT_PLOT_DATA_H
#define GEMMARK_HARNESS_PLOT_PLOT_DATA_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "harness/record/result_place.h"
#include "harness/record/result_set.h"

#define PLOT_DATA_MAX_COMBINATIONS 64
#define PLOT_DATA_MAX_MODES 16
#define PLOT_DATA_MAX_DEPTHS 256

/*
 * What a combination is told apart by: the axes (an enum axis_id; mode and depth are the same for all), and what else
 * runs of one cell may differ in.
 */
enum plot_key {
	PLOT_KEY_MODEL = AXIS_COUNT, /* what the model calls itself; AXIS_MODEL is its file */
	PLOT_KEY_ARCH,
	PLOT_KEY_WEIGHT_TYPE,
	PLOT_KEY_DEVICE,
	PLOT_KEY_COMMIT,
	PLOT_KEY_COUNT,
};

enum plot_metric { PLOT_METRIC_ITL, PLOT_METRIC_SUBMIT, PLOT_METRIC_COUNT };

struct plot_token {
	bool measured;
	double value[PLOT_METRIC_COUNT]; /* microseconds; NAN when missing */
	enum token_event event;
};

struct plot_run {
	const struct run_row *row;
	int combination;
	int mode; /* index into plot_data.modes */
	long depth, repetition;
	double value[PLOT_METRIC_COUNT]; /* the run's median, microseconds; NAN when missing */
	size_t first_token, n_tokens;    /* in plot_data.tokens: warm-up first, then by token_index */
};

/* One combination's modes and depths, in drawing order. */
struct plot_panel {
	const struct run_row *row; /* one of the combination */
	char model[CELL_MODEL_SIZE];
	char numbers[AXIS_COUNT][AXIS_TEXT_SIZE]; /* texts of the axes that are integers */
	int n_modes, n_depths;
	int modes[PLOT_DATA_MAX_MODES];
	long depths[PLOT_DATA_MAX_DEPTHS];
};

struct plot_data {
	struct result_set set;
	char places[RESULT_PLACES_TEXT_SIZE]; /* "2 machines, 3 GPUs", where the cells are of several; else "" */
	size_t n_runs, n_tokens;
	struct plot_run *runs;     /* those that are drawn, in the set's order */
	struct plot_token *tokens; /* of the runs above, one after the other */
	int n_modes, n_panels;
	const char *modes[PLOT_DATA_MAX_MODES]; /* direct first, the known ones, then by name */
	struct plot_panel panels[PLOT_DATA_MAX_COMBINATIONS];
	size_t n_left_out; /* generation rows whose status is not ok */
	bool no_tokens;    /* a sweep may have been kept without its tokens.csv */
};

struct plot_summary {
	int n;                   /* repetitions with a value; 0: nothing else is set */
	double median, min, max; /* over repetitions */
	double p10, p90;         /* over all measured tokens of those repetitions; NAN without tokens */
};

/* Reads rows and, where they are, tokens. ERROR_INPUT where they are malformed or hold nothing to draw. */
int plot_data_load(struct plot_data *d, const struct run_directory *from, struct error *err);
void plot_data_free(struct plot_data *d);

/* Puts the value into an ascending list of n, PLOT_DATA_MAX_DEPTHS at most, unless it is there. 0: no room. */
int plot_data_insert(long *list, int *n, long value);

/* A number from 0 up that one mode has in every results directory, as far as it is a known one. */
int plot_data_mode_style(const struct plot_data *d, int mode);

/* The combination's value of an axis or key as text, "" where unknown; layers and threads as they were resolved. */
const char *plot_data_key(const struct plot_data *d, int panel, int key);
/* Whether two combinations have the same value. */
bool plot_data_same_key(const struct plot_data *d, int a, int b, int key);

/* Microseconds per token. ERROR_MEMORY only. */
int plot_data_summary(const struct plot_data *d, int panel, int mode, long depth, enum plot_metric metric,
		      struct plot_summary *out, struct error *err);

/*
 * Of another column of numbers of runs.csv, over the cell's runs; p10 and p90 are NAN. A column that the file does not
 * have gives n = 0. ERROR_INPUT where a value is negative.
 */
int plot_data_column(const struct plot_data *d, int panel, int mode, long depth, const char *column,
		     struct plot_summary *out, struct error *err);

/*
 * itl relative to `direct`, percent, negative is faster: median, min, max over the pairs of runs
 * with the same repetition number; p10 and p90 are NAN.
 */
int plot_data_overhead(const struct plot_data *d, int panel, int mode, int direct, long depth, struct plot_summary *out,
		       struct error *err);

/* The run whose median itl is the middle one of its cell (the lower middle one of an even number), or null. */
const struct plot_run *plot_data_typical(const struct plot_data *d, int panel, int mode, long depth);

#endif
