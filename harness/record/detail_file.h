/*
 * tokens.csv, telemetry.csv or timeline.csv: the rows of each run, found once, read when they are asked for.
 *
 * A pass over the file finds which ranges of it belong to which run (one range, where it is as recorder.h writes it),
 * without splitting its records; a run's rows are then read from its ranges alone. A row is a line, as none of its
 * fields ever has a line break: a quote that is not closed spoils one run, not all behind it.
 */
#ifndef GEMMARK_HARNESS_RECORD_DETAIL_FILE_H
#define GEMMARK_HARNESS_RECORD_DETAIL_FILE_H

#include "base/error.h"
#include "harness/record/csv_columns.h"
#include "harness/record/run_directory.h"

enum {
	DETAIL_FILE_MAX_RANGES = 1 << 20, /* of all runs */
	DETAIL_FILE_MAX_ROWS = 1 << 24,   /* of one run */
};

/* Neighbouring rows of one run. */
struct detail_range {
	size_t run;
	struct csv_range range;
	size_t n_rows;
};

struct detail_file {
	char path[RUN_DIRECTORY_PATH]; /* for messages */
	int fd;
	struct csv_columns columns;
	struct csv_range header;
	struct detail_range *ranges; /* (n_ranges), by run; those of one run in the file's order */
	size_t n_ranges;
	size_t n_others; /* rows of no run that is known */
	int cut;         /* an unfinished last line was left out */
};

/* What a detail file is asked for: the run of that id, or -1. */
struct detail_runs {
	const void *ctx;
	long (*find)(const void *ctx, const char *run_id);
};

/*
 * required: null-terminated, run_id among them. ERROR_INPUT where the file is larger than max_bytes, its header is
 * none, or its runs are mixed beyond DETAIL_FILE_MAX_RANGES; as run_directory_open_file fails. Nothing is to be closed
 * then.
 */
int detail_file_open(struct detail_file *f, const struct run_directory *d, const char *name, const struct column *table,
		     int n, const char *const *required, off_t max_bytes, const struct detail_runs *runs,
		     struct error *err);
/* May be called twice, and on {.fd = -1}. */
void detail_file_close(struct detail_file *f);

/* The ranges of a run, *n of them; null where it has none. */
const struct detail_range *detail_file_ranges(const struct detail_file *f, size_t run, size_t *n);

/*
 * The rows of a run in the file's order: *out (*n) records of `size` bytes, the table's struct, which the caller
 * frees; null where there are none. Text members are "". ERROR_INPUT where a line is malformed.
 */
int detail_file_read(const struct detail_file *f, size_t run, size_t size, void **out, size_t *n, struct error *err);

#endif
