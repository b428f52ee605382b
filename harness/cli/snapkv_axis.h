/* The axis of SnapKV: a comma list in which window= and pool= belong to the budget before them. */
#ifndef GEMMARK_HARNESS_CLI_SNAPKV_AXIS_H
#define GEMMARK_HARNESS_CLI_SNAPKV_AXIS_H

#include "harness/sweep/axis_values.h"

/*
 * "off,1024,4096,window=32": off; 1024; 4096 with a window of 32. A budget may be a range, as
 * of axis_ints_add. What is appended are the names of snapkv_name. ERROR_INPUT says which value is wrong.
 */
int snapkv_axis_add(struct axis_values *a, const char *list, struct error *err);

#endif
