/*
 * A run directory: runs.csv, tokens.csv, telemetry.csv and, where a token was stamped, timeline.csv, written as the
 * sweep goes, by one process at a time.
 *
 * The files begin with their header line. recorder_run appends a run's tokens, then
 * its row, and forces them to the disk before it returns: whatever kills the sweep
 * later, each row that is in runs.csv is whole and has all its tokens. A sweep that
 * is killed while it writes leaves at most one unfinished last line in each; where the
 * system refuses a write, the files are cut back to the last whole run.
 *
 * The directory is locked (flock) until recorder_close or the end of the process. Not everybody asks for locks: a
 * recorder whose files were removed, replaced, cut or added to fails with the next run and writes nothing more, one
 * whose directory was moved goes on where that is now.
 */
#ifndef GEMMARK_HARNESS_RECORD_RECORDER_H
#define GEMMARK_HARNESS_RECORD_RECORDER_H

#include "base/error.h"
#include "harness/record/resume.h"
#include "harness/record/row.h"
#include "harness/record/run_directory.h"
#include "harness/record/telemetry_sample.h"
#include "harness/record/timeline_stamp.h"
#include "harness/record/token_record.h"

struct recorder; /* opaque */

/*
 * Makes the directory `path`, parents included; one that exists must be empty.
 * ERROR_INPUT where it is not, ERROR_IO where the system refuses, or another process
 * is writing there.
 */
int recorder_open(struct recorder **out, const char *path, struct error *err);

/*
 * Goes on in a directory that recorder_open made, behind what resume_directory leaves of it.
 */
int recorder_resume(struct recorder **out, const char *path,
		    int (*keep)(void *ctx, const struct run_row *row, struct error *err), void *ctx,
		    struct resume_dropped *dropped, struct error *err);

/*
 * Whether somebody is writing there, who holds the lock: 1, 0, or -1 where that cannot be told. A lock that is held is
 * left alone; a free one is held for the blink of an eye, which recorder_open and recorder_resume wait for.
 */
int recorder_writes(const struct run_directory *d);

/*
 * Whether the files are still those of the directory, which is still somewhere, and as long as what was written to
 * them: ERROR_IO where not, with what is kept.
 */
int recorder_check(const struct recorder *r, struct error *err);
/* Where it writes; r's. */
const struct run_directory *recorder_directory(const struct recorder *r);
/* 1: the directory was moved while it was written, to `place`; 0: it is at its path, or nowhere. */
int recorder_moved(const struct recorder *r, char place[RUN_DIRECTORY_PATH]);

/*
 * What was seen of the machine while the run was measured that recorder_run is called with next: samples (n). Where no
 * row follows, resuming cuts it off.
 */
int recorder_telemetry(struct recorder *r, const char *run_id, const struct telemetry_sample *samples, int n,
		       struct error *err);
/* The same of a token's time stamps, in timeline.csv, which the first of them makes. */
int recorder_timeline(struct recorder *r, const char *run_id, const struct timeline_stamp *stamps, int n,
		      struct error *err);
int recorder_run(struct recorder *r, const struct run_row *row, const struct token_record *tokens, int n,
		 struct error *err);
/*
 * ERROR_IO where a file could not be finished, or as recorder_check has it, or where the directory was moved: then the
 * line says where the rows are. r is freed in any case, and may be null.
 */
int recorder_close(struct recorder *r, struct error *err);

#endif
