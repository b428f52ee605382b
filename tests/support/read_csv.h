/*
 * A whole CSV file through libcsv's own parser, for tests: what another program sees.
 */
#ifndef GEMMARK_TESTS_SUPPORT_READ_CSV_H
#define GEMMARK_TESTS_SUPPORT_READ_CSV_H

#include <csv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct csv_rows {
	char **fields; /* all of them, row after row */
	int n_fields;
	int *ends; /* of each row, an index into fields */
	int n_rows;
};

/* Lines that are complete, the header's with them; 0: no file, or none yet. Of a file without line ends in fields. */
static inline int csv_lines(const char *path)
{
	FILE *f = fopen(path, "r");
	int n = 0;
	for (int c; f && (c = getc(f)) != EOF;)
		n += c == '\n';
	if (f)
		fclose(f);
	return n;
}

/* Room for one more than n of `size` bytes: a power of two each time. */
static void *csv_grow(void *block, int n, size_t size)
{
	if (n & (n - 1))
		return block;
	block = realloc(block, (n ? 2 * (size_t)n : 1) * size);
	if (!block)
		abort();
	return block;
}

static void csv_take_field(void *text, size_t size, void *ctx)
{
	struct csv_rows *r = ctx;
	r->fields = csv_grow(r->fields, r->n_fields, sizeof *r->fields);
	r->fields[r->n_fields++] = strndup(text ? text : "", size);
}

static void csv_take_row(int end, void *ctx)
{
	struct csv_rows *r = ctx;
	(void)end;
	r->ends = csv_grow(r->ends, r->n_rows, sizeof *r->ends);
	r->ends[r->n_rows++] = r->n_fields;
}

/* Returns 0, or -1 where the file cannot be read or parsed. The last row may be without a line end. */
static int csv_read(struct csv_rows *r, const char *path)
{
	*r = (struct csv_rows){0};
	struct csv_parser p;
	FILE *f = fopen(path, "r");
	if (!f || csv_init(&p, CSV_STRICT))
		return -1;
	char buffer[4096];
	size_t n;
	int rc = 0;
	while ((n = fread(buffer, 1, sizeof buffer, f)) > 0)
		if (csv_parse(&p, buffer, n, csv_take_field, csv_take_row, r) != n)
			rc = -1;
	csv_fini(&p, csv_take_field, csv_take_row, r);
	csv_free(&p);
	fclose(f);
	return rc;
}

static int csv_width(const struct csv_rows *r, int row)
{
	return r->ends[row] - (row ? r->ends[row - 1] : 0);
}

/* By the header's name; null where there is none. */
static const char *csv_at(const struct csv_rows *r, int row, const char *column)
{
	for (int i = 0; i < csv_width(r, 0); i++)
		if (!strcmp(r->fields[i], column) && i < csv_width(r, row))
			return r->fields[(row ? r->ends[row - 1] : 0) + i];
	return NULL;
}

static void csv_rows_free(struct csv_rows *r)
{
	for (int i = 0; i < r->n_fields; i++)
		free(r->fields[i]);
	free(r->fields);
	free(r->ends);
}

#endif
