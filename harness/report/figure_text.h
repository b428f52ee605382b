/*
 * Figures of characters: what shows where no picture can be uploaded.
 */
#ifndef GEMMARK_HARNESS_REPORT_FIGURE_TEXT_H
#define GEMMARK_HARNESS_REPORT_FIGURE_TEXT_H

#include <stdio.h>

#include "harness/report/document.h"

enum { FIGURE_SHAPE_BINS = 16, FIGURE_SHAPE_SIZE = 3 * FIGURE_SHAPE_BINS + 1 };

/* The histogram of x: (n) from low to high, values beyond at its ends, by blocks of eighths. "" where n is 0. */
void figure_shape(const double *x, int n, double low, double high, char out[FIGURE_SHAPE_SIZE]);

/*
 * A chart of intervals, CHART_FOREST: a line a place, a bar from low to high with the value's dot, beside them the
 * numbers; above them the axis' ends and 0. Percent. Texts are escaped as for a terminal.
 */
void figure_forest(FILE *f, const struct chart *c);

#endif
