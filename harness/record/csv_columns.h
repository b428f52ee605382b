/*
 * The header of a CSV file against a table of columns: which field is which member of a record. Fields that the table
 * does not know are passed over, a later version's; columns that the file does not have are what their absence means.
 */
#ifndef GEMMARK_HARNESS_RECORD_CSV_COLUMNS_H
#define GEMMARK_HARNESS_RECORD_CSV_COLUMNS_H

#include "base/error.h"
#include "harness/record/column.h"
#include "harness/record/csv_reader.h"

struct csv_columns {
	const struct column *table; /* (n) */
	int n;
	size_t width;                             /* of the file */
	const struct column *of[CSV_MAX_COLUMNS]; /* (width); null: passed over */
	int same;                                 /* the header is the table's, in its order */
};

/* ERROR_INPUT where a column is there twice, or one of required (null-terminated) is not. path: for messages. */
int csv_columns_read(struct csv_columns *c, const struct column *table, int n, const char *const *required,
		     const char *const *fields, size_t width, const char *path, struct error *err);

/* The field of that column, or -1. */
int csv_columns_field(const struct csv_columns *c, const char *name);

/*
 * Fills a record of the table's struct; its text members point into fields (width). ERROR_INPUT names path, line and
 * column of a field that is none of its column's.
 */
int csv_columns_fill(const struct csv_columns *c, void *record, const char *const *fields, const char *path,
		     size_t line, struct error *err);

#endif
