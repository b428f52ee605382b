/* Counts and hashes of a comparison, in words. */
#ifndef GEMMARK_HARNESS_REPORT_COMPARE_EXACT_H
#define GEMMARK_HARNESS_REPORT_COMPARE_EXACT_H

#include <stdio.h>

#include "harness/report/compare.h"

/*
 * Those that are not what they were: a line a quantity and change, with its cells counted; or that none is. Returns 0,
 * or -1: no memory.
 */
int compare_exact_write(const struct comparison *c, FILE *f);

#endif
