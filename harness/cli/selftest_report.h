/*
 * What a self-test found, on standard output.
 */
#ifndef GEMMARK_HARNESS_CLI_SELFTEST_REPORT_H
#define GEMMARK_HARNESS_CLI_SELFTEST_REPORT_H

#include "harness/selftest/selftest.h"

/* cells: (r->cells). Returns whether the instrument may be trusted. */
int selftest_print(const struct selftest_options *o, const struct cell *cells, const struct selftest_result *r);

#endif
