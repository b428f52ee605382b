/* The cells of a comparison: those that the directories of both sides have, matched by what they are. */
#ifndef GEMMARK_HARNESS_REPORT_COMPARE_CELLS_H
#define GEMMARK_HARNESS_REPORT_COMPARE_CELLS_H

#include "base/error.h"
#include "harness/record/result_set.h"
#include "harness/report/compare.h"

/* Adds the cells of a side's sets (n) to c's. ERROR_INPUT where a set has one twice. */
int compare_cells_collect(struct comparison *c, struct result_set *const *sets, int n, int head, struct error *err);
/* Once both sides are in: leaves what both have. ERROR_INPUT where that is not all, unless that is allowed, or none. */
int compare_cells_match(struct comparison *c, struct error *err);
/* Where each of c's cells is in each of the sets: index (c->n, width), of set k in column first + k; -1: it is not. */
void compare_cells_place(const struct comparison *c, struct result_set *const *sets, int n, int *index, int width,
			 int first);
void compare_cells_free(struct comparison *c);

#endif
