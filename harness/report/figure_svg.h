/*
 * A chart as SVG to stand in a page: axes, curves and bars drawn by gnuplot, on them the points with their rows and the
 * names of places.
 *
 * gnuplot gets numbers alone, and ticks made of them: no text of a chart reaches it. Of its picture those elements and
 * attributes are taken that are known; colours become the page's variables --k1 to --k8 (series), --grid, --axis,
 * --text and --band, so that one picture serves a light and a dark page.
 */
#ifndef GEMMARK_HARNESS_REPORT_FIGURE_SVG_H
#define GEMMARK_HARNESS_REPORT_FIGURE_SVG_H

#include <stdio.h>

#include "base/error.h"
#include "harness/record/run_directory.h"
#include "harness/report/document.h"

enum { FIGURE_STYLES = 8 };

/* Where gnuplot works: a temporary folder of its own. */
struct figure_maker {
	const char *gnuplot; /* the program, searched on PATH; the caller's */
	int timeout_s;       /* for one figure */
	struct run_directory folder;
	int made; /* figures */
};

/* ERROR_IO. Close it also then. */
int figure_maker_open(struct figure_maker *m, const char *gnuplot, int timeout_s, struct error *err);
void figure_maker_close(struct figure_maker *m);

/* px, of which the picture keeps the proportions. Names of places stand above their rows where it is narrow. */
enum { FIGURE_WIDE = 920, FIGURE_HALF = 470, FIGURE_NARROW = 370 };

/* Writes <svg>...</svg>. The chart has at least one point. As gnuplot_run fails; ERROR_MEMORY. */
int figure_svg(struct figure_maker *m, const struct chart *c, int width, FILE *f, struct error *err);

/* What a reader must know of the value axis, " (log scale)"; "" where there is nothing. */
const char *figure_axis_note(const struct chart *c);

/* The series' mark in a legend: an <svg> of its own. */
void figure_legend_mark(FILE *f, int style);

#endif
