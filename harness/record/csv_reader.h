/*
 * A CSV file read record by record and strictly: RFC 4180 with comma, double quotes doubled inside a quoted field, LF
 * or CR LF. The file is untrusted: fields, columns and records are bounded, control bytes other than tab, CR and LF are
 * refused, every record must be as wide as the header. What splits a record is libcsv; where one ends, and on which
 * line, is found here, so that a reader can pass over what it does not want, and come back to it.
 *
 * A last line without an end that is no whole record is what a killed writer leaves: it is left out, and said to be.
 */
#ifndef GEMMARK_HARNESS_RECORD_CSV_READER_H
#define GEMMARK_HARNESS_RECORD_CSV_READER_H

#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

#include "base/error.h"

enum {
	CSV_MAX_FIELD = 1 << 16,  /* bytes of one field */
	CSV_MAX_RECORD = 1 << 20, /* of one record */
	CSV_MAX_COLUMNS = 1024,
};

/* Bytes [at, end) of a file; line: of the first one, from 1. */
struct csv_range {
	off_t at, end;
	size_t line;
};

struct csv_record {
	const char *bytes; /* (n), its line's end included; the reader's, until the next record */
	size_t n;
	struct csv_range range;
};

struct csv_reader; /* opaque */

/*
 * Of the range, or where it is null of the whole file as it is now. fd: the caller's, as long as the reader, whose
 * position is left alone; path: likewise, for messages. ERROR_IO, ERROR_MEMORY.
 */
int csv_reader_open(struct csv_reader **out, int fd, const char *path, const struct csv_range *range,
		    struct error *err);
void csv_reader_close(struct csv_reader *r);

/* 1: a record, empty lines passed over; 0: none is left. ERROR_INPUT, ERROR_IO, ERROR_MEMORY. */
int csv_reader_next(struct csv_reader *r, struct csv_record *out, struct error *err);

/*
 * The fields of the record that csv_reader_next gave last: fields (n), NUL-terminated, the reader's until the next
 * call. The first record that is split sets the width. ERROR_INPUT names the line.
 */
int csv_reader_split(struct csv_reader *r, const char *const **fields, size_t *n, struct error *err);
/* The width that records must have, of a reader that starts behind the header. */
void csv_reader_set_width(struct csv_reader *r, size_t n);
/* From here on a record is a line: a quote that is not closed spoils no more than that. */
void csv_reader_set_lines(struct csv_reader *r);

/* The range's bytes as they are, and a line's end where the last line lacks it. 0, or -1 with errno. */
int csv_range_copy(int fd, const struct csv_range *range, FILE *to);

/* Once csv_reader_next has returned 0: whether an unfinished last line was left out. */
int csv_reader_cut(const struct csv_reader *r);

/*
 * One field of a record, without splitting it: into text (size bytes), cut there. What libcsv refuses is taken as it
 * comes. Returns 0, or -1 where there is no such field.
 */
int csv_record_field(const struct csv_record *record, size_t field, char *text, size_t size);

#endif
