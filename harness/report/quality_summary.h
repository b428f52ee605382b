/*
 * What a study of evictions comes to: each measure over seeds, and which policy is better than all others where that
 * is no accident.
 *
 * A seed is one measurement: of texts the mean over its tokens, of needles the mean over those of its prompt. Intervals
 * are of 95 %, of the mean, by bootstrap over seeds. A policy is best at a budget where its mean is, and where for each
 * other policy the differences of the seeds' values have a sign-flip p below 5 %, after Holm over those others, and an
 * interval without 0. SnapKV with one pool is no rival of SnapKV with another.
 */
#ifndef GEMMARK_HARNESS_REPORT_QUALITY_SUMMARY_H
#define GEMMARK_HARNESS_REPORT_QUALITY_SUMMARY_H

#include <stdio.h>

#include "harness/record/quality_file.h"

/* rows: the caller's to free. Ordered by context, window, budget, policy and pool. ERROR_MEMORY. */
int quality_summary_make(const struct quality_rows *from, struct quality_summary_row **rows, int *n, struct error *err);

/* The table, and in its last lines which policy is best at which budget, by what. */
void quality_summary_print(FILE *f, const struct quality_summary_row *rows, int n);

#endif
