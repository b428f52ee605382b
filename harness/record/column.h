/*
 * The columns of a CSV file as members of a struct: a table says each one's name, type and place, and writers and
 * readers go by it. It is the only list of the columns in code.
 */
#ifndef GEMMARK_HARNESS_RECORD_COLUMN_H
#define GEMMARK_HARNESS_RECORD_COLUMN_H

#include <stddef.h>
#include <stdint.h>

/* What a member is, and what it holds where the value cannot be known: text "" in the file, and never zero. */
enum column_type {
	COLUMN_TEXT,  /* const char *; null */
	COLUMN_INT,   /* int64_t; COLUMN_UNKNOWN */
	COLUMN_REAL,  /* double; NAN */
	COLUMN_COUNT, /* int from 0 up; -1 */
	COLUMN_NAME,  /* int or enum, the index of one of `names`; -1 */
	COLUMN_FLAGS, /* int64_t, bits called by `names`, joined by '+'; "none" for 0, hexadecimal for the rest; -1 */
};

#define COLUMN_UNKNOWN INT64_MIN

struct column {
	const char *name;
	enum column_type type;
	size_t offset;            /* of the member */
	const char *const *names; /* (n_names) of COLUMN_NAME and COLUMN_FLAGS */
	int n_names;
	int from_zero;      /* COLUMN_REAL: a time, none of which is below zero */
	const char *absent; /* the text that files older than the column stand for; null: unknown */
};

enum { COLUMN_TEXT_SIZE = 256 };

/* The member as text: the record's own string, or `text` filled; "" where it is unknown. */
const char *column_text(const void *record, const struct column *c, char text[COLUMN_TEXT_SIZE]);

/* Nine significant digits, or "" where x is not finite. Times and rates are exact to well below a nanosecond. */
const char *column_real_text(double x, char text[COLUMN_TEXT_SIZE]);

/* The member as a number; NAN where it is unknown or no number (text, names, flags). */
double column_number(const void *record, const struct column *c);

/*
 * The other way: a member from its text, "" being unknown. COLUMN_TEXT keeps the pointer. Returns 0, or -1 where the
 * text is none of the column; column_wanted says what would be.
 */
int column_set_text(void *record, const struct column *c, const char *text);

/* Whether both records have the same value, or neither has one. */
int column_same(const void *a, const void *b, const struct column *c);

/* "a whole number", "one of direct, capture": what column_set_text takes. */
const char *column_wanted(const struct column *c, char text[COLUMN_TEXT_SIZE]);

/* Every column of the record (n) unknown. */
void columns_init(void *record, const struct column *columns, int n);

/* The column with that name, or null. */
const struct column *column_find(const struct column *columns, int n, const char *name);

#endif
