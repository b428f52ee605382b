/*
 * A CSV file in memory, read strictly and by header name: the results that `plot`, `compare` and
 * `report` start from.
 *
 * RFC 4180: comma, double quotes doubled inside a quoted field, a header line. The file is
 * untrusted: fields, columns and the file are bounded, control bytes other than tab, CR and LF
 * are refused, every record must be as wide as the header. An empty cell is a missing value,
 * which a caller can tell from zero. Records are counted from 1, the header.
 *
 * A last line without an end that is no whole record is what a killed writer leaves: it is
 * left out, and said to be.
 */
#ifndef GEMMARK_HARNESS_RECORD_CSV_TABLE_H
#define GEMMARK_HARNESS_RECORD_CSV_TABLE_H

#include <stddef.h>

#include "base/error.h"
#include "harness/record/run_directory.h"

#define CSV_TABLE_MAX_FIELD 65536 /* bytes of one cell */
#define CSV_TABLE_MAX_COLUMNS 1024
#define CSV_TABLE_MAX_BYTES (1L << 30) /* of the file */

struct csv_table {
	char *path;       /* for messages; owned */
	size_t n_columns; /* at least 1 */
	size_t n_rows;    /* without the header; may be 0 */
	int cut;          /* an unfinished last line was left out */
	char *text;       /* every cell, NUL-terminated; owned */
	size_t *cells;    /* [1 + n_rows][n_columns] offsets into text; owned */
};

/* Fills *t (free with csv_table_free). ERROR_INPUT for bad content, ERROR_IO for an unreadable file, ERROR_MEMORY. */
int csv_table_read(struct csv_table *t, const struct run_directory *d, const char *name, struct error *err);

void csv_table_free(struct csv_table *t);

/* The column with this name, or ERROR_INPUT where it is absent or there twice. */
int csv_table_column(const struct csv_table *t, const char *name, struct error *err);

/* The cell as text, empty when missing. Lives as long as the table. */
const char *csv_table_text(const struct csv_table *t, size_t row, int column);

/* A finite number, or NAN where the cell is empty. ERROR_INPUT names file, record and column. */
int csv_table_number(const struct csv_table *t, size_t row, int column, double *out, struct error *err);

/* A whole number within [min, max]; an empty cell is an error. */
int csv_table_integer(const struct csv_table *t, size_t row, int column, long min, long max, long *out,
		      struct error *err);

#endif
