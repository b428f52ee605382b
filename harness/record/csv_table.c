#include "harness/record/csv_table.h"

#include <csv.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"

/* The state of one read: libcsv's callbacks cannot return a code, so the first failure stays in `rc`. */
struct reader {
	struct csv_table *table;
	struct error *err;
	int rc;
	size_t text_size, text_capacity;
	size_t n_cells, cell_capacity;
	size_t record;   /* records ended so far */
	size_t n_fields; /* of the record being read */
	int quoted;      /* inside quotes, as far as the file was read */
	int broken;      /* the record being read has a line break */
	int unended;     /* it has begun */
};

static int grow(void **block, size_t *capacity, size_t needed, size_t item)
{
	if (needed <= *capacity)
		return 0;
	size_t n = *capacity ? *capacity : 256;
	while (n < needed)
		n *= 2;
	void *moved = realloc(*block, n * item);
	if (!moved)
		return ERROR_MEMORY;
	*block = moved;
	*capacity = n;
	return 0;
}

static int out_of_memory(const char *path, struct error *err)
{
	return error_set(err, ERROR_MEMORY, "%s: not enough memory to read the table", path);
}

static int field_too_long(const struct reader *r)
{
	return error_set(r->err, ERROR_INPUT,
			 "%s: record %zu has a field longer than %d bytes: is a closing quote missing?", r->table->path,
			 r->record + 1, CSV_TABLE_MAX_FIELD);
}

static void on_field(void *field, size_t length, void *context)
{
	struct reader *r = context;
	struct csv_table *t = r->table;
	if (r->rc)
		return;
	if (length > CSV_TABLE_MAX_FIELD) {
		r->rc = field_too_long(r);
		return;
	}
	if (r->n_fields >= (r->record ? t->n_columns : CSV_TABLE_MAX_COLUMNS)) {
		r->rc = error_set(r->err, ERROR_INPUT, "%s: record %zu has more than %zu fields%s", t->path,
				  r->record + 1, r->n_fields, r->record ? ", the header's number" : "");
		return;
	}
	if (grow((void **)&t->text, &r->text_capacity, r->text_size + length + 1, 1) ||
	    grow((void **)&t->cells, &r->cell_capacity, r->n_cells + 1, sizeof *t->cells)) {
		r->rc = out_of_memory(t->path, r->err);
		return;
	}
	if (length)
		memcpy(t->text + r->text_size, field, length);
	t->text[r->text_size + length] = '\0';
	t->cells[r->n_cells++] = r->text_size;
	r->text_size += length + 1;
	r->n_fields++;
}

static void on_record(int terminator, void *context)
{
	struct reader *r = context;
	struct csv_table *t = r->table;
	(void)terminator;
	if (r->rc)
		return;
	if (!r->record) {
		t->n_columns = r->n_fields;
	} else if (r->n_fields != t->n_columns) {
		r->rc = error_set(r->err, ERROR_INPUT, "%s: record %zu has %zu fields where the header has %zu",
				  t->path, r->record + 1, r->n_fields, t->n_columns);
		return;
	}
	r->record++;
	r->n_fields = 0;
}

static int check_text(struct reader *r, const unsigned char *bytes, size_t n, long offset)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c = bytes[i];
		if (c == 0x7f || (c < 0x20 && c != '\t' && c != '\r' && c != '\n'))
			return error_set(r->err, ERROR_INPUT, "%s: byte 0x%02x at offset %ld: this is not a text file",
					 r->table->path, c, offset + (long)i);
		r->quoted ^= c == '"';
		r->unended = c != '\n' || r->quoted;
		r->broken = r->unended && (r->broken || c == '\n');
	}
	return 0;
}

/* The last record, where it was cut off: its fields are taken back. */
static int finish(struct reader *r, struct csv_parser *parser)
{
	const char *path = r->table->path;
	struct error why = {""}, *err = r->err;
	size_t before = r->record;
	/* A line break in it means that a quote was not closed much earlier. */
	int may_be_cut = r->unended && !r->broken && r->record > 0;
	r->err = &why;
	if (csv_fini(parser, on_field, on_record, r) && !r->rc)
		r->rc = error_set(r->err, ERROR_INPUT, "%s: record %zu: the last quote is not closed", path,
				  r->record + 1);
	/* Behind the last comma the end of the line may be what is missing, or a value. */
	struct csv_table *t = r->table;
	if (!r->rc && may_be_cut && r->record > before && !*(t->text + t->cells[r->n_cells - 1]))
		r->rc = ERROR_INPUT;
	if (r->rc == ERROR_INPUT && may_be_cut) {
		r->n_cells = before * r->table->n_columns;
		r->record = before;
		r->table->cut = 1;
		r->rc = 0;
	}
	r->err = err;
	return r->rc ? error_set(err, r->rc, "%s", why.text) : 0;
}

static int parse(struct reader *r, FILE *file, struct csv_parser *parser)
{
	const char *path = r->table->path;
	unsigned char block[4096];
	long offset = 0;
	size_t n;
	while ((n = fread(block, 1, sizeof block, file))) {
		int rc = check_text(r, block, n, offset);
		if (rc)
			return rc;
		size_t skip = offset == 0 ? text_mark((const char *)block, n) : 0;
		offset += (long)n;
		if (offset > CSV_TABLE_MAX_BYTES)
			return error_set(r->err, ERROR_INPUT, "%s: larger than %ld bytes", path, CSV_TABLE_MAX_BYTES);
		size_t done = csv_parse(parser, block + skip, n - skip, on_field, on_record, r);
		if (r->rc)
			return r->rc;
		if (done != n - skip)
			return error_set(r->err, csv_error(parser) == CSV_ENOMEM ? ERROR_MEMORY : ERROR_INPUT,
					 "%s: record %zu: %s", path, r->record + 1, csv_strerror(csv_error(parser)));
		/* A quote that is never closed would take the rest of the file into one field. */
		if (parser->entry_pos > CSV_TABLE_MAX_FIELD)
			return field_too_long(r);
	}
	if (ferror(file))
		return error_set(r->err, ERROR_IO, "%s: %s", path, strerror(errno));
	if (finish(r, parser))
		return r->rc;
	if (!r->record)
		return error_set(r->err, ERROR_INPUT, "%s: empty; the first line must name the columns", path);
	r->table->n_rows = r->record - 1;
	return 0;
}

int csv_table_read(struct csv_table *t, const struct run_directory *d, const char *name, struct error *err)
{
	memset(t, 0, sizeof *t);
	struct reader r = {.table = t, .err = err};
	struct csv_parser parser;
	int rc, fd = -1;

	if (asprintf(&t->path, "%s/%s", d->path, name) < 0) {
		t->path = NULL;
		return out_of_memory(name, err);
	}
	rc = fd = run_directory_open_file(d, name, O_RDONLY, err);
	if (fd < 0)
		goto fail_open;
	FILE *file = fdopen(fd, "rb");
	if (!file) {
		rc = out_of_memory(t->path, err);
		close(fd);
		goto fail_open;
	}
	if (csv_init(&parser, CSV_STRICT | CSV_STRICT_FINI)) {
		rc = out_of_memory(t->path, err);
		goto fail_init;
	}
	rc = parse(&r, file, &parser);
	csv_free(&parser);
fail_init:
	fclose(file);
fail_open:
	if (rc)
		csv_table_free(t);
	return rc;
}

void csv_table_free(struct csv_table *t)
{
	free(t->path);
	free(t->text);
	free(t->cells);
	memset(t, 0, sizeof *t);
}

int csv_table_column(const struct csv_table *t, const char *name, struct error *err)
{
	int found = -1;
	for (size_t c = 0; c < t->n_columns; c++) {
		if (strcmp(t->text + t->cells[c], name))
			continue;
		if (found >= 0)
			return error_set(err, ERROR_INPUT, "%s: two columns are named '%s'", t->path, name);
		found = (int)c;
	}
	if (found < 0)
		return error_set(err, ERROR_INPUT,
				 "%s: no column '%s': is this a file that `gemmark bench` of this version wrote?",
				 t->path, name);
	return found;
}

const char *csv_table_text(const struct csv_table *t, size_t row, int column)
{
	return t->text + t->cells[(row + 1) * t->n_columns + (size_t)column];
}

/* The message quotes the start of the cell. */
static int bad_cell(const struct csv_table *t, size_t row, int column, const char *wanted, struct error *err)
{
	const char *cell = csv_table_text(t, row, column);
	return error_set(err, ERROR_INPUT, "%s: record %zu, column '%s': '%s' is not %s", t->path, row + 2,
			 t->text + t->cells[column], text_show(cell, strlen(cell)).text, wanted);
}

int csv_table_number(const struct csv_table *t, size_t row, int column, double *out, struct error *err)
{
	const char *cell = csv_table_text(t, row, column);
	*out = NAN;
	if (!*cell)
		return 0;
	char *end;
	double value = strtod(cell, &end);
	if (*end || end == cell || !isfinite(value))
		return bad_cell(t, row, column, "a finite number", err);
	*out = value;
	return 0;
}

int csv_table_integer(const struct csv_table *t, size_t row, int column, long min, long max, long *out,
		      struct error *err)
{
	const char *cell = csv_table_text(t, row, column);
	char *end;
	errno = 0;
	long value = strtol(cell, &end, 10);
	if (*end || end == cell || errno || value < min || value > max) {
		char wanted[80];
		snprintf(wanted, sizeof wanted, "a whole number from %ld to %ld", min, max);
		return bad_cell(t, row, column, wanted, err);
	}
	*out = value;
	return 0;
}
