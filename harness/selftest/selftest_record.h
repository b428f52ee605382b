/*
 * What a self-test measured, on the disk: each side a run directory like a sweep's, so that everything that reads
 * those reads these, and the verdicts.
 *
 *   DIR/KIND/A, DIR/KIND/B   runs.csv and tokens.csv; row i of a cell in A and in B were measured next to each other
 *   DIR/KIND/verdicts.csv    a row a sweep and cell; results/SCHEMA.md has the columns
 *
 * Repetitions count on from sweep to sweep, and run_id begins with the sweep's number.
 */
#ifndef GEMMARK_HARNESS_SELFTEST_SELFTEST_RECORD_H
#define GEMMARK_HARNESS_SELFTEST_SELFTEST_RECORD_H

#include "base/error.h"
#include "harness/record/row.h"
#include "harness/record/token_record.h"
#include "harness/stats/verdict.h"
#include "harness/sweep/matrix.h"

struct selftest_record; /* opaque */

/* cells: (n), as given to selftest_run, and as long as *out lives. runs: a side and sweep. As recorder_open fails. */
int selftest_record_open(struct selftest_record **out, const char *directory, const char *kind,
			 const struct cell *cells, int n, int runs, struct error *err);
/* As struct selftest_options calls them. */
int selftest_record_run(struct selftest_record *r, int sweep, int side, const struct run_row *row,
			const struct token_record *tokens, int n, struct error *err);
int selftest_record_verdicts(struct selftest_record *r, int sweep, const struct verdict *v, int slowed,
			     struct error *err);
/* ERROR_IO where a file could not be finished; r is freed in any case. r may be null. */
int selftest_record_close(struct selftest_record *r, struct error *err);

#endif
