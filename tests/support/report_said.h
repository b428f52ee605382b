/*
 * Reports of made-up sweeps, and what their Markdown says. One at a time: all of it is of the running test, from its
 * set-up to its tear-down.
 */
#ifndef GEMMARK_TESTS_SUPPORT_REPORT_SAID_H
#define GEMMARK_TESTS_SUPPORT_REPORT_SAID_H

#include "harness/report/report.h"
#include "tests/support/report_case.h"

enum { REPORT_SAID_SETS = 16 };
extern struct result_set *report_said_sets[REPORT_SAID_SETS]; /* in the order in which they were added */
extern struct document report_said_document;
extern char *report_said_markdown;

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
