/*
 * A line on stderr that says how far a sweep is and how long it will still take.
 */
#ifndef GEMMARK_HARNESS_MEASURE_PROGRESS_H
#define GEMMARK_HARNESS_MEASURE_PROGRESS_H

#include <stddef.h>

#include "harness/measure/runner.h"

/* Seconds that the work left takes at the speeds seen so far; NAN before the first of a kind was seen. */
double progress_seconds_left(const struct runner_progress *p);

/* "[3/40] tg128 @ d4096 graph-device full, 12 min left", without colours or control codes. */
void progress_text(const struct runner_progress *p, char *out, size_t size);

/* Rewrites the line where stderr is a terminal that can. */
void progress_show(const struct runner_progress *p);
/* A line of its own, whatever stderr is. */
void progress_print(const struct runner_progress *p);
/* Clears it. */
void progress_clear(void);

#endif
