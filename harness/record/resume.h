/*
 * What a sweep that goes on finds in its directory, made whole: the runs that are finished stay with all their tokens,
 * telemetry and time stamps, whatever else is there goes.
 *
 * A run goes, and is measured again, where it was interrupted, where its tokens or its telemetry are not those that
 * its row says, or where its time stamps are no token's. Files are cut at their end where that is all; otherwise they
 * are written anew beside themselves and renamed, runs.csv first: a process that is killed in between leaves rows with
 * all that is theirs, and at most lines of no run.
 */
#ifndef GEMMARK_HARNESS_RECORD_RESUME_H
#define GEMMARK_HARNESS_RECORD_RESUME_H

#include "base/error.h"
#include "harness/record/row.h"
#include "harness/record/run_directory.h"

/* What went. */
struct resume_dropped {
	int interrupted; /* runs */
	int damaged;     /* likewise */
	char why[400];   /* of the first damaged one */
	size_t lines;    /* of runs that are not there, and unfinished ones */
};

/*
 * Nobody else writes there. Each row that stays is given to `keep`, its strings for the call only; where that fails its
 * code is returned, and nothing was touched. So it is where the files are not what this version writes: ERROR_INPUT.
 */
int resume_directory(const struct run_directory *d,
		     int (*keep)(void *ctx, const struct run_row *row, struct error *err), void *ctx,
		     struct resume_dropped *dropped, struct error *err);

enum { RESUME_TEXT_SIZE = 640 };
/* One line about it; "" where nothing went. */
const char *resume_dropped_text(const struct resume_dropped *d, char out[RESUME_TEXT_SIZE]);

#endif
