/*
 * A token of a cell with time stamps within it, behind the cell's measured ones and apart from them.
 */
#ifndef GEMMARK_HARNESS_MEASURE_PASS_TIMELINE_H
#define GEMMARK_HARNESS_MEASURE_PASS_TIMELINE_H

#include "harness/measure/pass.h"
#include "harness/record/timeline_stamp.h"

/*
 * c generates tokens; the workload has `timeline`. Decodes the first few measured tokens again, directly, the last of
 * them in that mode, and stamps it: *out (*n), the caller's to free. expected: as pass_compare, of the cell's unit:
 * ERROR_WRONG where these tokens have other bits.
 */
int pass_timeline(struct pass_setup *s, const struct cell *c, const char *mode, const uint64_t *expected,
		  struct timeline_stamp **out, int *n, struct error *err);

#endif
