/*
 * A progress bar for work that is counted in bytes: one line on stderr, redrawn in
 * place, with the rate and the time left. Silent unless stderr is a terminal that can (base/terminal.h).
 */
#ifndef GEMMARK_HARNESS_CLI_PROGRESS_H
#define GEMMARK_HARNESS_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	const char *label; /* the caller's */
	double start;      /* seconds, CLOCK_MONOTONIC */
	double drawn;      /* when it last was; negative: never */
	bool visible;
};

void progress_start(struct progress *p, const char *label);
/* Cheap: draws at most ten times a second. */
void progress_update(struct progress *p, uint64_t done, uint64_t total);
/* Clears the line, so that what is printed next starts clean. */
void progress_end(struct progress *p);
/* Seconds since progress_start. */
double progress_seconds(const struct progress *p);

enum { PROGRESS_LINE_BYTES = 160 };

/* The line that an update draws, without control characters: at most 79 columns for a label of up to 16 and 1 TB. */
void progress_line(char line[PROGRESS_LINE_BYTES], const char *label, uint64_t done, uint64_t total, double seconds);

#endif
