/* What tells cells of one table apart beside test, mode and fusion, which have columns of their own. */
#ifndef GEMMARK_HARNESS_REPORT_CELL_DIFFERENCE_H
#define GEMMARK_HARNESS_REPORT_CELL_DIFFERENCE_H

#include "harness/sweep/axis.h"

struct cell_difference {
	unsigned axes;             /* bits 1 << AXIS_...: those in which any two differ */
	const struct cell *models; /* the first cell, and; null: there is none yet */
	const struct cell *other;  /* the first of another model; the same: there is none */
};

/* One more cell of the table, which lives as long as d. */
void cell_difference_add(struct cell_difference *d, const struct cell *cell);
/* A cell's values of these axes: "ngl20 #1a2b3c4d"; "" where none differs. */
void cell_difference_text(const struct cell_difference *d, const struct cell *cell, char out[256]);

#endif
