/*
 * Pieces of a generated gnuplot script: variables, clean text, axes, ticks and the caption.
 */
#ifndef GEMMARK_HARNESS_PLOT_PLOT_SCRIPT_H
#define GEMMARK_HARNESS_PLOT_PLOT_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define PLOT_TEXT_MAX 256 /* bytes of one piece of text, with the NUL */
#define PLOT_TICKS_MAX 64

/*
 * src made fit for a figure: valid UTF-8 without control characters (both become '?' or a space),
 * at most max_chars characters, the last an ellipsis where it was cut. dst: PLOT_TEXT_MAX bytes.
 */
void plot_text_clean(char *dst, const char *src, int max_chars);

struct plot_ticks {
	int n;
	double at[PLOT_TICKS_MAX];
	char text[PLOT_TICKS_MAX][PLOT_TEXT_MAX];
};

/* A value axis. The axis shows data (times in microseconds) times `scale`. */
struct plot_axis {
	double lo, hi; /* in the axis' unit */
	double scale;
	const char *unit;
	bool log;
	bool cut; /* linear and not starting at 0 */
	struct plot_ticks ticks;
};

/* Makes [*lo, *hi] reach the value; a NAN leaves it. */
void plot_axis_widen(double *lo, double *hi, double value);
/* Whether times in microseconds within [lo, hi] read better in milliseconds. */
bool plot_axis_wants_ms(double lo, double hi, bool from_zero);

/*
 * For amounts within [lo, hi], 0 <= lo <= hi, shown times `scale` in that unit, which outlives the axis. from_zero:
 * bars, linear. Else logarithmic where the ratio is large, and cut off below where it is small.
 */
struct plot_axis plot_axis_amount(double lo, double hi, bool from_zero, double scale, const char *unit, int max_ticks);
/* The same for times in microseconds. */
struct plot_axis plot_axis_time(double lo, double hi, bool from_zero, bool in_ms, int max_ticks);

/* For percent within [lo, hi], lo <= 0 <= hi. */
struct plot_axis plot_axis_percent(double lo, double hi, int max_ticks);

/* "UNIT", with what a reader must know about the axis. dst: PLOT_TEXT_MAX bytes. */
void plot_axis_label(char *dst, const struct plot_axis *axis, const char *what);

/* Context depth: log2, with depth 0 a step to the left of the smallest other one. */
struct plot_depth_axis {
	double lo, hi;
	double gap_at; /* where the axis is broken, or NAN */
	double zero_at;
	struct plot_ticks ticks;
};

/* depths: ascending, n >= 2. Ticks that would touch are left out, never the first or last. */
struct plot_depth_axis plot_depth_axis_choose(const long *depths, int n);
double plot_depth_axis_at(const struct plot_depth_axis *axis, long depth);

#define PLOT_CAPTION_LINES 8

struct plot_caption {
	int n_lines;
	char line[PLOT_CAPTION_LINES][PLOT_TEXT_MAX];
};

/* Appends an item to the current line, after " · ", or on a new line where it does not fit. */
void plot_caption_add(struct plot_caption *c, const char *item);
void plot_caption_break(struct plot_caption *c);

/* NAME = value, in gnuplot's syntax. Text is quoted so that nothing in it is expanded. */
void plot_script_string(FILE *f, const char *name, const char *value);
void plot_script_number(FILE *f, const char *name, double value);
void plot_script_numbers(FILE *f, const char *name, const double *values, int n);
void plot_script_strings(FILE *f, const char *name, const char *const *values, int n);
void plot_script_ticks(FILE *f, const char *at_name, const char *text_name, const struct plot_ticks *ticks);
void plot_script_caption(FILE *f, const struct plot_caption *caption);

#endif
