/*
 * What a running sweep says of itself in files: --status-file and --prometheus-file. Written between runs, each as a
 * whole beside itself and renamed; one that cannot be written is warned about once, and never ends a sweep.
 */
#ifndef GEMMARK_HARNESS_CLI_BENCH_STATUS_H
#define GEMMARK_HARNESS_CLI_BENCH_STATUS_H

#include <stdbool.h>

#include "base/error.h"
#include "harness/measure/runner.h"
#include "harness/record/sweep_status.h"

struct bench_status {
	const char *status_file;
	const char *metrics_file;
	struct sweep_status now;
	double began, written; /* CLOCK_MONOTONIC, seconds; 0: never */
	int first;             /* rows when it began */
	bool warned;
};

/* Both files' names are the caller's; null: none. */
void bench_status_init(struct bench_status *s, const char *status_file, const char *metrics_file);

/*
 * Before anything is measured: ERROR_INPUT where a file is one of the models or the text (null: none), one of the
 * directory's own (null: not known yet), or cannot be a file.
 */
int bench_status_check(const struct bench_status *s, const struct axis_values *models, const char *text,
		       const char *directory, struct error *err);

/* The sweep begins, or goes on, in that directory. */
void bench_status_start(struct bench_status *s, const char *directory);
/* A row, of this process or an earlier one. */
void bench_status_take(struct bench_status *s, const struct run_row *row);
/*
 * Where the sweep is; next: the cell that is run next, null: behind a run. Written at most once a second, and always
 * before a run that takes longer than that.
 */
void bench_status_progress(struct bench_status *s, const struct runner_progress *p, const struct cell *next);
/* Whatever is known by now, at once. */
void bench_status_write(struct bench_status *s);
/* The sweep ended so; why: of a failure. */
void bench_status_end(struct bench_status *s, enum sweep_state state, const char *why);

#endif
