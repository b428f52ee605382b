/*
 * How far a sweep is: what `gemmark bench --status-file` writes between its runs, and what can be told of one from its
 * directory alone. A file of it may come from anybody: it is read as run_directory.h has it, and every member is
 * bounded.
 */
#ifndef GEMMARK_HARNESS_RECORD_SWEEP_STATUS_H
#define GEMMARK_HARNESS_RECORD_SWEEP_STATUS_H

#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include "base/error.h"
#include "harness/record/process_mark.h"
#include "harness/record/row.h"

enum sweep_state {
	SWEEP_STATE_RUNNING,
	SWEEP_STATE_DONE,
	SWEEP_STATE_INTERRUPTED, /* by a signal, in good order */
	SWEEP_STATE_FAILED,      /* by an error, which `error` is */
	/* These no sweep says of itself. */
	SWEEP_STATE_GONE,    /* runs are missing, and nobody makes them any more */
	SWEEP_STATE_UNKNOWN, /* whether anybody does cannot be seen from here */
	SWEEP_STATES,
};

enum { SWEEP_STATUS_TEXT = 640, SWEEP_STATUS_PATH = 4096 };

/* Texts are names as base/text.h makes them; "" where there is nothing to say. */
struct sweep_status {
	enum sweep_state state;
	int64_t runs;                                  /* rows so far */
	int64_t runs_total;                            /* of the whole sweep, as far as is known; negative: unknown */
	int64_t of_status[RUN_STATUS_INTERRUPTED + 1]; /* rows so far, by their status */
	char cell[SWEEP_STATUS_TEXT];                  /* that is measured now; of a directory, the last row's */
	double seconds_left;                           /* NAN: unknown */
	int64_t started_s, updated_s;                  /* UTC, seconds since 1970; negative: unknown */
	char reason[SWEEP_STATUS_TEXT];                /* of the latest run that was not ok: "failed: why" */
	char error[SWEEP_STATUS_TEXT];                 /* why the sweep ended */
	char directory[SWEEP_STATUS_PATH];             /* of the results */
	struct process_mark process;                   /* pid 0: unknown */
};

/* Nothing done, nothing known, running. */
void sweep_status_init(struct sweep_status *s);
/* Counts the row, and keeps its reason where it is not ok. */
void sweep_status_take(struct sweep_status *s, const struct run_row *row);

/*
 * Counts another one, of a device of that name, into the status of a sweep over several: runs_total is unknown where
 * any is, the time left the longest, and runs, cells and reasons are said of each.
 */
void sweep_status_add(struct sweep_status *all, const struct sweep_status *one, const char *device);

/* "running", "done", "interrupted", "failed", "gone", "unknown" */
const char *sweep_state_name(enum sweep_state s);

/* What a cell is called in it: "tg128 @ d4096 graph-device full". */
void sweep_status_cell(const struct cell *c, char out[SWEEP_STATUS_TEXT]);

/* The file's text. The caller owns *out; ERROR_MEMORY. */
int sweep_status_json(const struct sweep_status *s, json_t **out, struct error *err);
/* path: for messages. ERROR_INPUT where it is none that sweep_status_json makes. */
int sweep_status_parse(const json_t *o, const char *path, struct sweep_status *out, struct error *err);

/*
 * The file `path`, whose process is looked for (root as process_mark.h has it): a sweep that says it runs, and whose
 * process is gone, is SWEEP_STATE_GONE. ERROR_INPUT, ERROR_IO.
 */
int sweep_status_read(const char *path, const char *root, struct sweep_status *out, struct error *err);
/*
 * Of a results directory, from its rows, sweep.json and its lock; nothing is written. seconds_left is unknown.
 * ERROR_INPUT, ERROR_IO, ERROR_MEMORY.
 */
int sweep_status_of_directory(const char *path, struct sweep_status *out, struct error *err);

/* The sweep's numbers for a Prometheus server, in its text format (0.0.4), each with its directory as a label. */
void sweep_status_metrics(const struct sweep_status *s, FILE *f);

#endif
