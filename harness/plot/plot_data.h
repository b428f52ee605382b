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
#include "harness/record/csv_table.h"
#include "harness/record/run_directory.h"
#include "harness/record/token_record.h"

#define PLOT_DATA_MAX_COMBINATIONS 64
#define PLOT_DATA_MAX_MODES 16
#define PLOT_DATA_MAX_DEPTHS 256

/* Columns of runs.csv. The axes come first: they are the key of a combination. */
enum plot_column {
	PLOT_COLUMN_MODEL,
	PLOT_COLUMN_MODEL_PATH_NAME,
	PLOT_COLUMN_ARCH,
	PLOT_COLUMN_WEIGHT_TYPE,
	PLOT_COLUMN_N_PROMPT,
	PLOT_COLUMN_N_GEN,
	PLOT_COLUMN_FUSION,
	PLOT_COLUMN_SYNC, /* absent in older files: every token was waited for */
	PLOT_COLUMN_N_GPU_LAYERS,
	PLOT_COLUMN_TYPE_K,
	PLOT_COLUMN_TYPE_V,
	PLOT_COLUMN_N_THREADS,
	PLOT_COLUMN_DEVICE,
	PLOT_COLUMN_COMMIT,
	PLOT_COLUMN_SNAPKV,
	PLOT_COLUMN_AXES, /* how many axes there are */
	PLOT_COLUMN_RUN_ID = PLOT_COLUMN_AXES,
	PLOT_COLUMN_STATUS,
	PLOT_COLUMN_REPETITION,
	PLOT_COLUMN_N_DEPTH,
	PLOT_COLUMN_MODE,
	PLOT_COLUMN_ITL,
	PLOT_COLUMN_SUBMIT,
	PLOT_COLUMN_STARTED,
	PLOT_COLUMN_RATE,
	PLOT_COLUMN_KV_BYTES,
	PLOT_COLUMN_SNAPKV_BUDGET,
	PLOT_COLUMN_KL,
	PLOT_COLUMN_TOP1,
	PLOT_COLUMN_ATTEMPT, /* absent in older files: 0 */
	PLOT_COLUMN_COUNT,
};

enum plot_metric { PLOT_METRIC_ITL, PLOT_METRIC_SUBMIT, PLOT_METRIC_COUNT };

struct plot_token {
	size_t run; /* index into plot_data.runs */
	bool measured;
	long index;                      /* token_index */
	double value[PLOT_METRIC_COUNT]; /* microseconds; NAN when missing */
	enum token_event event;
};

struct plot_run {
	size_t row; /* of the table */
	const char *id;
	int combination;
	int mode; /* index into plot_data.modes */
	long depth, repetition;
	long attempt;                    /* at the repetition: only the latest one is kept */
	double value[PLOT_METRIC_COUNT]; /* the run's median, microseconds; NAN when missing */
	size_t first_token, n_tokens;    /* in plot_data.tokens: warm-up first, then by token_index */
};

/* One combination's modes and depths, in drawing order. */
struct plot_panel {
	size_t row; /* a row of the table that has the panel's axes */
	int n_modes, n_depths;
	int modes[PLOT_DATA_MAX_MODES];
	long depths[PLOT_DATA_MAX_DEPTHS];
};

struct plot_data {
	struct csv_table table;        /* runs.csv; text below points into it */
	int column[PLOT_COLUMN_COUNT]; /* negative: the file does not have it */
	size_t n_runs, n_tokens;
	struct plot_run *runs;     /* sorted by id */
	struct plot_token *tokens; /* of the runs above */
	int n_modes, n_panels;
	const char *modes[PLOT_DATA_MAX_MODES]; /* direct first, the known ones, then by name */
	struct plot_panel panels[PLOT_DATA_MAX_COMBINATIONS];
	size_t n_left_out; /* generation rows whose status is not ok */
	bool tokens_cut;   /* an unfinished last line of tokens.csv was left out; table.cut: of runs.csv */
};

struct plot_summary {
	int n;                   /* repetitions with a value; 0: nothing else is set */
	double median, min, max; /* over repetitions */
	double p10, p90;         /* over all measured tokens of those repetitions; NAN without tokens */
};

/* Reads runs.csv and tokens.csv. ERROR_INPUT where they are malformed or hold nothing to draw. */
int plot_data_load(struct plot_data *d, const struct run_directory *from, struct error *err);
void plot_data_free(struct plot_data *d);

/* Puts the value into an ascending list of n, PLOT_DATA_MAX_DEPTHS at most, unless it is there. 0: no room. */
int plot_data_insert(long *list, int *n, long value);

/* A number from 0 up that one mode has in every results directory, as far as it is a known one. */
int plot_data_mode_style(const struct plot_data *d, int mode);

/* The axis' value; that of its column's absence where an older file has none. */
const char *plot_data_axis(const struct plot_data *d, int panel, enum plot_column axis);

/* Microseconds per token. ERROR_MEMORY only. */
int plot_data_summary(const struct plot_data *d, int panel, int mode, long depth, enum plot_metric metric,
		      struct plot_summary *out, struct error *err);

/*
 * Of another column of numbers, over the cell's runs; p10 and p90 are NAN. A column that the file does not have
 * gives n = 0. ERROR_INPUT where it holds something else.
 */
int plot_data_column(const struct plot_data *d, int panel, int mode, long depth, enum plot_column column,
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
