/*
 * What becomes a line of a history (history_file.h): a results directory's cells, and another tool's numbers in a CSV
 * file with the columns date, commit, cell and value.
 */
#ifndef GEMMARK_HARNESS_RECORD_HISTORY_SOURCE_H
#define GEMMARK_HARNESS_RECORD_HISTORY_SOURCE_H

#include "base/error.h"
#include "harness/record/history_file.h"
#include "harness/record/result_set.h"

/* Where a commit's date comes from. */
struct history_dates {
	const char *date;   /* of all commits; "run": each is as old as its first run; null: git says it */
	const char *folder; /* in the repository that git is asked of */
};

/* A line and the file that it belongs to. */
struct history_line {
	char *text; /* owned */
	char file[HISTORY_NAME_SIZE];
};

struct history_lines {
	struct history_line *lines;
	int n, room;
	int dirty;  /* of commits with changes that are in no commit */
	int not_ok; /* cells without a run that is ok */
};
void history_lines_free(struct history_lines *l);
/* Takes a reference of the object, which may be null where there was no memory, also after a failure. */
int history_lines_add(struct history_lines *out, json_t *line, const char *file, struct error *err);

/*
 * Appends the lines of a directory. machine: what the machine is called; null: its host and its GPU or CPU, as env.json
 * has them. order: of its commit among those of the same date. ERROR_INPUT where the runs were stopped by their
 * results, or nothing says which machine, commit or date they are of.
 */
int history_from_results(struct history_lines *out, struct result_set *s, const char *machine,
			 const struct history_dates *dates, int64_t order, struct error *err);

/* Whether lines' env may have a fact of that name. */
int history_is_fact(const char *name);

/* The machine that its lines are of, as history_from_results has it: into out, or ERROR_INPUT. */
int history_machine(const struct result_set *s, const char *machine, char out[HISTORY_TEXT], struct error *err);

struct history_csv {
	const char *machine; /* all three: not null */
	const char *model;
	const char *unit;
	int more_is_better;
};

/* Appends the lines of a CSV file. ERROR_INPUT names file, line and column. */
int history_from_csv(struct history_lines *out, const char *path, const struct history_csv *of, struct error *err);

#endif
