/*
 * A run directory of made-up runs, for what reads results: every mode of every depth and fusion, each as often, written
 * by the tables of columns without a recorder, which forces each row to the disk.
 */
#ifndef GEMMARK_TESTS_SUPPORT_REPORT_CASE_H
#define GEMMARK_TESTS_SUPPORT_REPORT_CASE_H

#include "harness/record/row.h"

struct report_case {
	const char *const *modes; /* null-terminated, like the others */
	const char *const *fusions;
	const int *depths; /* (n_depths) */
	int n_depths;
	int repetitions;
	int tokens; /* measured ones of a run in tokens.csv, of its median; 0: no such file */
	/* Changes what a row says; n_gen and what it is told apart by are set, latency is 1000 us. Null: nothing. */
	void (*edit)(void *ctx, struct run_row *row);
	void *ctx;
	const char *env; /* env.json; null: there is none */
};

/* Makes the folder. Fails the running test where it cannot. Returns the number of rows. */
int report_case_write(const struct report_case *c, const char *path);

#endif
