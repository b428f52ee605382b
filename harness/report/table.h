/*
 * The summary of a sweep, for people: a line a cell under a heading a placement.
 *
 * Numbers are medians over the repetitions; behind tokens/s, which are of a run's whole time and so of its mean token,
 * stands their MAD, not scaled; other times of a run are its tokens' medians. "vs direct" compares median
 * times per token of runs of the same repetition (below zero: faster than direct), see paired_effect.h: the median
 * over these pairs and its 95 % interval, or "~" where they cannot tell. "bw" is the share of the measured read
 * bandwidth, of prompts that of the measured rate of products.
 *
 * A star marks cells in which tokens fell back to direct launches; an exclamation mark, a share above 105 %, and an
 * effect that the medians beside it contradict. Each has a remark below.
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
/* The host's largest cache, which tells a share that is too large from a model that is too small; 0: not known. */
void table_set_cache(struct table *t, double bytes);
/* What all runs had beside the axes, "host-bf16"; in every heading. The caller's, as long as the table lives. */
void table_set_settings(struct table *t, const char *settings);

/* Takes what it needs of the row. */
int table_add(struct table *t, const struct run_row *row, struct error *err);

/*
 * Writes the tables, which fit 100 columns as long as no cell queues its tokens, what their columns are, how much the
 * runs varied, and the remarks. Cells without a row are left out.
 */
void table_write(const struct table *t, FILE *f);
/* The remarks alone, in lines of 96 columns: for cells that are not ok or fell back, for shares and effects that are
 * not to be trusted.
 */
void table_write_remarks(const struct table *t, FILE *f);

#endif
