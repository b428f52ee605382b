/*
 * Reports of made-up sweeps, and what their Markdown says. One at a time: all of it is of the running test, from its
 * set-up to its tear-down.
 */
#ifndef GEMMARK_TESTS_SUPPORT_REPORT_SAID_H
#define GEMMARK_TESTS_SUPPORT_REPORT_SAID_H

#include "harness/record/calibration.h"
#include "harness/report/report.h"
#include "tests/support/report_case.h"

enum { REPORT_SAID_SETS = 16 };
extern struct result_set *report_said_sets[REPORT_SAID_SETS]; /* in the order in which they were added */
extern struct document report_said_document;
extern char *report_said_markdown;
extern struct calibration report_said_calibration; /* none, unless a test fills it in */

/* What most of the sweeps are made of; two_modes are direct and graph-device. */
extern const char *const report_said_modes[], *const report_said_two_modes[], *const report_said_full[];
extern const int report_said_depths[3];

int report_said_is_mode(const struct run_row *row, const char *mode);
/*
 * graph-device: 10 % faster at 0, 5 % at 64, 5 % slower at 256: of log(0.95) and log(1.05) the line between 2^6 and 2^8
 * is 0 at 2^7.0248, 130.2. graph-update: 20 % slower everywhere.
 */
void report_said_crossing(void *ctx, struct run_row *row);

int report_said_set_up(void **state);
int report_said_tear_down(void **state);

/* Makes the sweep and opens it: its place in report_said_sets. */
struct result_set **report_said_add(const struct report_case *c, const char *name);
/* The document and its Markdown. comparison null: of one side. */
void report_said_make(struct result_set **head, int n_head, struct result_set **base, int n_base,
		      const struct comparison *comparison);

void report_said_expect(const char *text);
void report_said_expect_not(const char *text);
/* The row of Markdown in which all of these stand; null-terminated. */
void report_said_expect_row(const char *const *texts);
#define ROW(...) report_said_expect_row((const char *const[]){__VA_ARGS__, NULL})

#endif
