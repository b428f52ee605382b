/*
 * The store of a history: what each cell measured at each commit, kept for good.
 *
 * A folder with a file for each machine and model, MACHINE--MODEL.jsonl, a JSON object a line: one cell of one results
 * directory. results/SCHEMA.md has its members. JSON and not CSV, because each line says its own columns: an axis that
 * comes later changes no line that is there, and no header can be torn from what it heads.
 *
 * Files are only appended to. What a line means depends on no other line: their order is irrelevant, and a line that is
 * there twice counts once. So two branches that both added lines are merged by taking the lines of both, which the
 * folder's .gitattributes (`*.jsonl merge=union`) asks git to do by itself.
 *
 * A file may come from anybody: it is opened as run_directory.h has it, its bytes, lines and numbers are bounded, and
 * what is malformed is refused with its line and column.
 */
#ifndef GEMMARK_HARNESS_RECORD_HISTORY_FILE_H
#define GEMMARK_HARNESS_RECORD_HISTORY_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "harness/record/run_directory.h"
#include "harness/sweep/axis.h"

enum {
	HISTORY_VERSION = 1,
	HISTORY_FILE_BYTES = 1 << 27,
	HISTORY_LINE_BYTES = 1 << 17,
	HISTORY_RUNS = 4096, /* of a record */
	HISTORY_RECORDS = 1 << 17,
	HISTORY_CELLS = 4096,
	HISTORY_ENVIRONMENTS = 1024,
	HISTORY_FACTS = 64,      /* of an environment */
	HISTORY_TEXT = 256,      /* bytes of a text in a line, with the NUL */
	HISTORY_NAME_SIZE = 200, /* of a file, with the NUL */
};

/* What a line measured, of what. Equal lines have the same one. */
struct history_cell {
	const char *key;  /* its JSON, keys in order: the identity */
	struct cell axes; /* texts are the history's */
	const char *name; /* of what another tool measured, of which the model alone is an axis, or null; null: they say
			     it */
	const char *metric; /* "itl", "prefill", "time", or another tool's */
	const char *unit;   /* "us" */
	int more_is_better;
};

/* What of the environment makes values comparable: series are split where it differs. */
struct history_environment {
	const char *key; /* its JSON, keys in order */
	char **names;    /* (n): "driver", ... */
	char **values;   /* (n), as texts */
	int n;
};

struct history_record {
	const char *commit; /* as the results have it, without "-dirty" */
	int dirty;
	int64_t date;    /* seconds since 1970, of the commit */
	int64_t order;   /* among commits of one date */
	const char *run; /* the results directory's own id */
	int cell, environment;
	uint64_t own; /* of its cell, with what is joined; 0: nothing is */
	double *runs; /* (n_runs): each run's median, positive */
	double *mads; /* (n_runs): each run's MAD, NAN where unknown; null: none has one */
	int n_runs;
	int64_t tokens; /* measured, of a run; COLUMN_UNKNOWN */
	double median;  /* of the runs */
	size_t line;    /* of the file */
};

struct text_block;

/* Axes and facts in which lines may differ and are one series all the same, because somebody says so. */
enum { HISTORY_JOIN_MAX = 16 };
struct history_join {
	const char *names[HISTORY_JOIN_MAX]; /* (n) */
	int n;
};

struct history {
	char path[RUN_DIRECTORY_PATH];   /* for messages */
	const struct history_join *join; /* the caller's, as long as lines are taken; null: none */
	const char *machine;             /* of all lines; null: there is none */
	struct history_record *records;
	int n_records;
	struct history_cell *cells;
	int n_cells;
	struct history_environment *environments;
	int n_environments;
	int repeated; /* lines that were there already */
	int cut;      /* an unfinished last line was left out */

	/* The history's own. */
	struct text_block *texts;
	uint64_t *cell_hashes, *environment_hashes; /* (n_cells), (n_environments): of the keys */
	int *slots;                                 /* (n_slots): records by what they are of, from 1 on; 0: none */
	int n_slots;
	size_t end;    /* bytes of whole lines */
	int open_line; /* the last one has no end */
};

/* May be called twice, and on {0}. */
void history_free(struct history *h);

/* Reads a file of the store. join: null, none. ERROR_INPUT, ERROR_IO, ERROR_MEMORY; free it also then. */
int history_read(struct history *h, const struct run_directory *store, const char *name,
		 const struct history_join *join, struct error *err);

/*
 * One line (n bytes, no end). 1: it is there already; 0: it was taken; ERROR_INPUT names path and line, also where the
 * same cell of the same directory measured something else.
 */
int history_take(struct history *h, const char *line, size_t n, size_t number, struct error *err);

/* Forgets the records of a commit, after which nothing more is taken. */
void history_leave_out(struct history *h, const char *commit);

/* The names of the store's files, in order: *out (*n), in one block that the caller frees. */
int history_list(const struct run_directory *store, char (**out)[HISTORY_NAME_SIZE], int *n, struct error *err);

/* "MACHINE--MODEL.jsonl" of letters that every file system takes; hash: the first 8 digits are in it; "": none. */
void history_file_name(const char *machine, const char *model, const char *hash, char out[HISTORY_NAME_SIZE]);

/*
 * Appends those of the lines (n) that are new, together or not at all, and forces them to the disk: *added of them. The
 * file and .gitattributes are made where they are not there. What another process added meanwhile is seen.
 */
int history_append(const struct run_directory *store, const char *name, const char *const *lines, int n, int *added,
		   struct error *err);

#endif
