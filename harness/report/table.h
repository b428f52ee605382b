/*
 * The summary of a sweep, for people: a line a cell under a heading a placement.
 *
 * Numbers are medians over the repetitions, with the MAD for tokens/s. "vs direct"
 * compares median times per token of the same repetition (below zero: faster than
 * direct), "bw" is the share of the measured read bandwidth, a star marks cells in
 * which tokens fell back to direct launches.
 */
#ifndef GEMMARK_HARNESS_REPORT_TABLE_H
#define GEMMARK_HARNESS_REPORT_TABLE_H

#include <stdio.h>

#include "base/error.h"
#include "harness/record/row.h"
#include "harness/sweep/matrix.h"

struct table; /* opaque */

/* cells: (n), the caller's, as long as the table lives. */
int table_open(struct table **out, const struct cell *cells, int n, struct error *err);
void table_close(struct table *t);

/* Takes what it needs of the row. */
int table_add(struct table *t, const struct run_row *row, struct error *err);

/*
 * Writes the tables, at most 100 columns wide, then a line a remark: cells with
 * fallbacks, cells that are not ok. Cells without a row are left out.
 */
void table_write(const struct table *t, FILE *f);
/* The remarks alone. */
void table_write_remarks(const struct table *t, FILE *f);

#endif
