/*
 * When a commit was made: dates as git and programs write them (ISO 8601), and what git says of a commit.
 */
#ifndef GEMMARK_HARNESS_RECORD_COMMIT_DATE_H
#define GEMMARK_HARNESS_RECORD_COMMIT_DATE_H

#include <stdint.h>

#include "base/error.h"

enum { COMMIT_DATE_SIZE = 32 };

/*
 * Seconds since 1970 UTC of "2026-05-31", "2026-05-31T10:00:00Z", "2026-05-31 10:00+02:00" and the like; UTC where no
 * offset is named. Years 1970 to 9999. 0, or -1 where it is none.
 */
int commit_date_parse(const char *text, int64_t *seconds);
/* "2026-05-31T10:00:00Z", of seconds within those years. */
void commit_date_text(int64_t seconds, char out[COMMIT_DATE_SIZE]);

/* Whether it is a commit's name: 4 to 64 hexadecimal digits, "-dirty" behind them or not. *digits: how many. */
int commit_is_name(const char *commit, int *digits, int *dirty);

/* Whether two names are of one commit: equal, or one the other's beginning, of 7 digits at least. */
int commit_same(const char *a, const char *b);

/*
 * The committer's date of a commit, in UTC, as `git` says it of the repository that the folder is in. ERROR_INPUT where
 * git does not know the commit, or there is no git.
 */
int commit_date_ask(const char *folder, const char *commit, char out[COMMIT_DATE_SIZE], struct error *err);

#endif
