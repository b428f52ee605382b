/* Directories that cannot be the sides of a comparison, in a line that says what to name instead. */
#ifndef GEMMARK_HARNESS_REPORT_COMPARE_SIDES_H
#define GEMMARK_HARNESS_REPORT_COMPARE_SIDES_H

#include "base/error.h"
#include "harness/record/result_set.h"

/*
 * Each directory once, under whatever name: one on both sides equals itself, and one that is twice on a side counts its
 * runs twice. base, head: (n_base), (n_head). ERROR_INPUT.
 */
int compare_sides_distinct(struct result_set *const *base, int n_base, struct result_set *const *head, int n_head,
			   struct error *err);

/* The refusal of a set with two values of an axis across which sides are compared; first, second: two such cells. */
int compare_sides_several_values(const struct result_set *s, const struct cell *first, const struct cell *second,
				 unsigned across, struct error *err);

#endif
