/*
 * What a report says, before it is Markdown or HTML: sections of texts, tables and charts.
 *
 * Texts are plain, as files have them: whoever writes the document out escapes every one of them, own or foreign.
 * Everything belongs to the document, which only grows. A builder for which there is no memory leaves a hole and notes
 * it: look at document.failed once, at the end.
 */
#ifndef GEMMARK_HARNESS_REPORT_DOCUMENT_H
#define GEMMARK_HARNESS_REPORT_DOCUMENT_H

#include <stddef.h>

enum { DOCUMENT_COLUMNS_MAX = 24 }; /* of a table */

/* Who shows a block. */
enum document_format { DOCUMENT_MARKDOWN = 1, DOCUMENT_HTML = 2, DOCUMENT_BOTH = 3 };

struct document_column {
	const char *title;
	int number; /* aligned to the right, sorted by number */
};

struct document_entry {
	const char *text;
	double number; /* what it is sorted by; NAN: nothing, behind all numbers */
};

struct document_table {
	const char *title; /* "": none */
	const struct document_column *columns;
	int n_columns;
	struct document_entry *entries; /* (n_rows, n_columns) */
	int n_rows, room;
	int open;           /* rows that are shown at once; the others are folded */
	const char *source; /* which rows of which files it is made from */
};

enum chart_kind {
	CHART_CURVES, /* y over x, a line a series */
	CHART_FOREST, /* a row a point: its value and its interval */
	CHART_STRIP,  /* a column a place, its values side by side */
	CHART_SCATTER,
	CHART_HISTORY, /* the first series are points over places, the others lines, or bars of one point each */
};

enum chart_x { CHART_X_DEPTH /* log2, 0 set apart */, CHART_X_LINEAR };
enum chart_y { CHART_Y_AMOUNT, CHART_Y_PERCENT /* around 0 */ };

/* Parts the lines of a point's tip: no text of a file has it. */
#define CHART_LINE "\037"

struct chart_point {
	double x, y;
	double low, high; /* NAN: no bar */
	const char *tip;  /* the row behind it, in lines parted by CHART_LINE */
};

struct chart_series {
	const char *name;
	int style; /* from 0 up; equal ones look equal in all charts */
	struct chart_point *points;
	int n, room;
	int left_out; /* points that no axis holds */
};

struct chart {
	enum chart_kind kind;
	enum chart_x x;
	enum chart_y y;
	const char *title;
	const char *x_text;
	const char *y_text; /* with its unit */
	struct chart_series *series;
	int n_series;
	const char *
		*places; /* (n_places): rows of a forest, columns of a strip, ticks of a history; point x is an index */
	int n_places;
	double band;        /* of percent: +-band is no change that matters; NAN: none */
	const char *marks;  /* what points and bars are */
	const char *source; /* as of a table */
};

enum document_kind {
	DOCUMENT_TEXT,    /* a paragraph */
	DOCUMENT_ITEM,    /* of a list; neighbours are one list */
	DOCUMENT_COMMAND, /* lines as they are */
	DOCUMENT_TABLE,
	DOCUMENT_CHART,
	DOCUMENT_IMAGE, /* of Markdown: text is its title */
};

struct document_block {
	enum document_kind kind;
	unsigned formats;
	const char *text;
	const char *url; /* of an image */
	struct document_table table;
	struct chart chart;
};

struct document_section {
	const char *title;
	const char *finding; /* in a line, beside the folded title; "": none */
	struct document_block **blocks;
	int n, room;
};

struct document {
	const char *title;
	const char *sentence; /* the verdict */
	/* The first one is the first screen, and open; the others are folded. */
	struct document_section **sections;
	int n, room;
	int failed; /* there was not enough memory */

	/* The document's own. */
	void **owned;
	size_t n_owned, owned_room;
	/* What is filled where there is no memory, and never seen. */
	struct document_section lost_section;
	struct document_block lost_block;
	struct document_entry lost_row[DOCUMENT_COLUMNS_MAX];
};

void document_init(struct document *d);
void document_free(struct document *d);

/* Zeroed memory of the document's; null where there is none. */
void *document_take(struct document *d, size_t bytes);
/* A text of the document's, never null. */
const char *document_text(struct document *d, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Never null: after a failure one that leads nowhere. */
struct document_section *document_section(struct document *d, const char *title);
struct document_block *document_block(struct document *d, struct document_section *s, enum document_kind kind,
				      unsigned formats);

void document_say(struct document *d, struct document_section *s, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void document_item(struct document *d, struct document_section *s, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* columns: (n), static or the document's. */
struct document_table *document_table(struct document *d, struct document_section *s, unsigned formats,
				      const struct document_column *columns, int n);
/* A new row, (n_columns), to be filled: empty texts without numbers. */
struct document_entry *document_row(struct document *d, struct document_table *t);
/* Leaves out the columns without any text. */
void document_drop_empty_columns(struct document *d, struct document_table *t);

/* kind, x and y of the chart; series and places are to be filled: n of each. */
struct chart *document_chart(struct document *d, struct document_section *s, unsigned formats, enum chart_kind kind,
			     int n_series, int n_places);
/* A point whose size is no number, above 1e15 or below 1e-12 and not 0, is counted and left out: files may say
 * anything. */
void chart_add(struct document *d, struct chart_series *s, struct chart_point p);
/* Points of all series; and those that were left out. */
int chart_points(const struct chart *c);
int chart_left_out(const struct chart *c);

/* Whether nothing is in it: it is left out. */
int document_section_is_empty(const struct document_section *s);

#endif
