#include "harness/record/detail_file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ID_SIZE = 1024 };

static int no_memory(const struct detail_file *f, struct error *err)
{
	return error_set(err, ERROR_MEMORY, "%s: not enough memory to read it", f->path);
}

/* Puts the record behind the last range, or begins a new one. */
static int add(struct detail_file *f, size_t *capacity, long run, const struct csv_record *record, struct error *err)
{
	struct detail_range *last = f->n_ranges ? &f->ranges[f->n_ranges - 1] : NULL;
	if (last && last->run == (size_t)run && last->range.end == record->range.at) {
		last->range.end = record->range.end;
		last->n_rows++;
		return 0;
	}
	if (f->n_ranges == DETAIL_FILE_MAX_RANGES)
		return error_set(err, ERROR_INPUT, "%s: line %zu: the rows of its runs are mixed; restore the file",
				 f->path, record->range.line);
	if (f->n_ranges == *capacity) {
		size_t more = *capacity ? 2 * *capacity : 64;
		struct detail_range *grown = realloc(f->ranges, more * sizeof *grown);
		if (!grown)
			return no_memory(f, err);
		f->ranges = grown;
		*capacity = more;
	}
	f->ranges[f->n_ranges++] = (struct detail_range){(size_t)run, record->range, 1};
	return 0;
}

static int compare_ranges(const void *a, const void *b)
{
	const struct detail_range *x = a, *y = b;
	if (x->run != y->run)
		return x->run < y->run ? -1 : 1;
	return x->range.at < y->range.at ? -1 : x->range.at > y->range.at;
}

static int find_ranges(struct detail_file *f, struct csv_reader *r, const struct detail_runs *runs, struct error *err)
{
	struct csv_record record;
	size_t capacity = 0, id_field = (size_t)csv_columns_field(&f->columns, "run_id");
	char id[ID_SIZE], last[ID_SIZE] = "";
	long run = -1;
	int rc;
	while ((rc = csv_reader_next(r, &record, err)) > 0) {
		if (csv_record_field(&record, id_field, id, sizeof id))
			*id = '\0';
		if (strcmp(id, last)) {
			memcpy(last, id, sizeof last);
			run = *id ? runs->find(runs->ctx, id) : -1;
		}
		f->n_others += run < 0;
		if (run >= 0 && (rc = add(f, &capacity, run, &record, err)))
			return rc;
	}
	f->cut = csv_reader_cut(r);
	if (!rc && f->n_ranges)
		qsort(f->ranges, f->n_ranges, sizeof *f->ranges, compare_ranges);
	return rc;
}

int detail_file_open(struct detail_file *f, const struct run_directory *d, const char *name, const struct column *table,
		     int n, const char *const *required, off_t max_bytes, const struct detail_runs *runs,
		     struct error *err)
{
	struct csv_reader *r = NULL;
	struct csv_record header;
	const char *const *fields;
	size_t width;
	struct stat s;
	*f = (struct detail_file){.fd = -1};
	snprintf(f->path, sizeof f->path, "%s/%s", d->path, name);
	f->fd = run_directory_open_file(d, name, O_RDONLY, err);
	int rc = f->fd < 0 ? f->fd : 0;
	if (!rc && fstat(f->fd, &s))
		rc = error_set(err, ERROR_IO, "%s: %s", f->path, strerror(errno));
	else if (!rc && s.st_size > max_bytes)
		rc = error_set(err, ERROR_INPUT,
			       "%s: larger than %lld bytes, which is all that is read; make it smaller", f->path,
			       (long long)max_bytes);
	if (!rc)
		rc = csv_reader_open(&r, f->fd, f->path, NULL, err);
	if (!rc) {
		rc = csv_reader_next(r, &header, err);
		if (!rc)
			rc = error_set(err, ERROR_INPUT, "%s: empty; the first line must name the columns", f->path);
		rc = rc < 0 ? rc : 0;
	}
	if (!rc) {
		f->header = header.range;
		rc = csv_reader_split(r, &fields, &width, err);
	}
	if (!rc)
		rc = csv_columns_read(&f->columns, table, n, required, fields, width, f->path, err);
	if (!rc) {
		csv_reader_set_lines(r);
		rc = find_ranges(f, r, runs, err);
	}
	csv_reader_close(r);
	if (rc)
		detail_file_close(f);
	return rc;
}

void detail_file_close(struct detail_file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	free(f->ranges);
	f->fd = -1;
	f->ranges = NULL;
	f->n_ranges = 0;
}

const struct detail_range *detail_file_ranges(const struct detail_file *f, size_t run, size_t *n)
{
	size_t from = 0, to = f->n_ranges;
	while (from < to) {
		size_t middle = from + (to - from) / 2;
		if (f->ranges[middle].run < run)
			from = middle + 1;
		else
			to = middle;
	}
	*n = 0;
	while (from + *n < f->n_ranges && f->ranges[from + *n].run == run)
		++*n;
	return *n ? &f->ranges[from] : NULL;
}

static void forget_texts(const struct csv_columns *c, void *record)
{
	for (int i = 0; i < c->n; i++)
		if (c->table[i].type == COLUMN_TEXT)
			column_set_text(record, &c->table[i], "");
}

static int read_range(const struct detail_file *f, const struct csv_range *range, size_t size, char *out, size_t n_rows,
		      struct error *err)
{
	struct csv_reader *r;
	struct csv_record record;
	const char *const *fields;
	size_t width;
	int rc = csv_reader_open(&r, f->fd, f->path, range, err);
	if (rc)
		return rc;
	csv_reader_set_width(r, f->columns.width);
	csv_reader_set_lines(r);
	for (size_t i = 0; i < n_rows && !rc; i++) {
		rc = csv_reader_next(r, &record, err);
		if (!rc)
			rc = error_set(err, ERROR_IO, "%s: became shorter while it was read", f->path);
		rc = rc < 0 ? rc : csv_reader_split(r, &fields, &width, err);
		if (!rc)
			rc = csv_columns_fill(&f->columns, out + i * size, fields, f->path, record.range.line, err);
		if (!rc)
			forget_texts(&f->columns, out + i * size);
	}
	csv_reader_close(r);
	return rc;
}

int detail_file_read(const struct detail_file *f, size_t run, size_t size, void **out, size_t *n, struct error *err)
{
	size_t n_ranges;
	const struct detail_range *ranges = detail_file_ranges(f, run, &n_ranges);
	*out = NULL;
	*n = 0;
	for (size_t i = 0; i < n_ranges; i++)
		*n += ranges[i].n_rows;
	if (*n > DETAIL_FILE_MAX_ROWS)
		return error_set(err, ERROR_INPUT, "%s: line %zu begins a run of more than %d rows; restore the file",
				 f->path, ranges->range.line, DETAIL_FILE_MAX_ROWS);
	if (!*n)
		return 0;
	char *records = calloc(*n, size);
	if (!records)
		return no_memory(f, err);
	size_t at = 0;
	int rc = 0;
	for (size_t i = 0; i < n_ranges && !rc; at += ranges[i++].n_rows)
		rc = read_range(f, &ranges[i].range, size, records + at * size, ranges[i].n_rows, err);
	if (rc) {
		free(records);
		*n = 0;
		return rc;
	}
	*out = records;
	return 0;
}
