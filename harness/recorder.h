/*
 * A run directory: runs.csv and tokens.csv, written as the sweep goes.
 *
 * Both files begin with their header line. recorder_run appends a run's tokens, then
 * its row, and forces both to the disk before it returns: whatever kills the sweep
 * later, each row that is in runs.csv is whole and has all its tokens. A sweep that
 * is killed while it writes leaves at most one unfinished last line.
 */
#ifndef GEMMARK_HARNESS_RECORDER_H
#define GEMMARK_HARNESS_RECORDER_H

#include "engine/error.h"
#include "harness/row.h"

struct recorder; /* opaque */

/*
 * Makes the directory `path`, parents included; one that exists must be empty.
 * ERROR_INPUT where it is not, ERROR_IO where the system refuses.
 */
int recorder_open(struct recorder **out, const char *path, struct error *err);
int recorder_run(struct recorder *r, const struct run_row *row, const struct token_record *tokens, int n,
		 struct error *err);
/* ERROR_IO where a file could not be finished; r is freed in any case. r may be null. */
int recorder_close(struct recorder *r, struct error *err);

#endif
