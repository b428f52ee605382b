/*
 * A run directory read back: its runs as rows, its cells, what it says of machine and sweep, and the tokens and looks
 * at the machine of a run when they are asked for. Everything that reads results stands on this.
 *
 * The directory is untrusted: files are opened as run_directory.h has it, their sizes and their rows are bounded, and
 * what is malformed is refused with a line that names file, line and column. Texts are as the file has them but without
 * control bytes other than tab, CR and LF: escape them (base/text.h) where a terminal is to show them.
 *
 * Columns are found by name: those of later versions are passed over, those that an older version did not have are
 * what their absence means (axis.h and row.c say what), unknown otherwise.
 */
#ifndef GEMMARK_HARNESS_RECORD_RESULT_SET_H
#define GEMMARK_HARNESS_RECORD_RESULT_SET_H

#include <jansson.h>

#include "base/error.h"
#include "harness/record/csv_reader.h"
#include "harness/record/detail_file.h"
#include "harness/record/row.h"
#include "harness/record/run_directory.h"
#include "harness/record/telemetry_sample.h"
#include "harness/record/timeline_stamp.h"
#include "harness/record/token_record.h"
#include "harness/sweep/axis.h"

/* What is read at most: bytes of a file, and runs. */
#define RESULT_SET_MAX_RUNS_BYTES ((off_t)1 << 28)
#define RESULT_SET_MAX_DETAIL_BYTES ((off_t)1 << 32)
enum { RESULT_SET_MAX_RUNS = 1 << 18 };

/* To be read, not written. */
struct result_set {
	struct run_directory directory;
	/*
	 * (n_rows), in the file's order; run_id is set, and no other row's; repetition and attempt are at least 0;
	 * status is known. Texts are the set's; .cell is an index into cells.
	 */
	struct run_row *rows;
	size_t n_rows;
	struct csv_range *ranges; /* (n_rows): where each stands in runs.csv */
	/*
	 * (n_rows): 1 where the row is the one that counts of its cell and repetition (and device and commit, where a
	 * directory has several): the latest attempt of those that are ok, of none the latest. No two rows that are ok
	 * agree in all of these.
	 */
	unsigned char *counts;
	/*
	 * (n_cells), the keys of the rows, in the axes' order: cells of one placement are neighbours, in them those of
	 * one group, and so on; layers and threads are what they were resolved to. Texts are the set's.
	 */
	struct cell *cells;
	int n_cells;
	json_t *env;   /* env.json; null: there is none, as in a self-test's sides */
	json_t *sweep; /* sweep.json; null: there is none, as in directories that are older than it */
	int cut;       /* an unfinished last line of runs.csv was left out */
	int same;      /* the columns of runs.csv are this version's, in their order */
	struct csv_range header;

	/* The set's own. */
	size_t *by_id; /* (n_rows): rows in the order of their ids */
	struct text_block *texts;
	struct detail_file tokens, telemetry, timeline; /* fd negative: not opened yet */
};

/*
 * Reads runs.csv, and env.json and sweep.json where they are. ERROR_INPUT, ERROR_IO, ERROR_MEMORY; close it also then.
 * A directory without a run is a set without rows.
 */
int result_set_open(struct result_set *s, const char *path, struct error *err);
/* The same of a directory that is open; s has its own descriptor. */
int result_set_read(struct result_set *s, const struct run_directory *d, struct error *err);
/* May be called twice, and on {.directory.fd = -1}. */
void result_set_close(struct result_set *s);

/* The order of cells: below, equal to or above 0. */
int result_set_compare_cells(const struct cell *a, const struct cell *b);

/* The row of that run, or -1. */
long result_set_find(const struct result_set *s, const char *run_id);

/*
 * The tokens of a run: *out (*n), the warm-up's first, each phase in the order of its indexes, in one block that the
 * caller frees; null where there are none. The first call looks through tokens.csv. ERROR_INPUT where the run's lines
 * are malformed, or one token is there twice; ERROR_IO, ERROR_MEMORY. What is missing is not looked for:
 * result_set_check_tokens does.
 */
int result_set_tokens(struct result_set *s, size_t row, struct token_record **out, size_t *n, struct error *err);
/* The itl of the measured ones alone, microseconds, NAN where unknown. */
int result_set_itl(struct result_set *s, size_t row, double **out, size_t *n, struct error *err);
/*
 * Whether the run has exactly the tokens that its row says: warmup_tokens and, where it is ok, n_gen. ERROR_INPUT says
 * what is not so.
 */
int result_set_check_tokens(struct result_set *s, size_t row, struct error *err);
/* The looks at the machine while it ran, in their order, likewise; a directory without telemetry.csv has none. */
int result_set_telemetry(struct result_set *s, size_t row, struct telemetry_sample **out, size_t *n, struct error *err);
/* Whether the looks in the run's measured phase are as many as its row says, where it does. ERROR_INPUT likewise. */
int result_set_check_telemetry(struct result_set *s, size_t row, struct error *err);
/*
 * The time stamps within a token of it, by block and phase, likewise: ERROR_INPUT where they are no token's, which has
 * each phase of each block once, in order.
 */
int result_set_timeline(struct result_set *s, size_t row, struct timeline_stamp **out, size_t *n, struct error *err);

/* Opens one of these files where that was not done yet, for the members above. As detail_file_open fails. */
int result_set_open_tokens(struct result_set *s, struct error *err);
int result_set_open_telemetry(struct result_set *s, struct error *err);
/* The same; nothing is open where there is none, or no more of it than of its header. */
int result_set_open_timeline(struct result_set *s, struct error *err);

/* The commit that all rows are of; null where they differ, or none is known. The set's. */
const char *result_set_commit(const struct result_set *s);
/* A fact of env.json by its path, "gpu name"; null: unknown. The set's. */
const json_t *result_set_fact(const struct result_set *s, const char *path);
/* What it was measured on: the GPU's name where there is one, else the CPU's; null: unknown. The set's. */
const char *result_set_machine(const struct result_set *s);

#endif
