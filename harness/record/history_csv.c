/* Another tool's numbers: a CSV file with the columns date, commit, cell and value. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "base/hash.h"
#include "base/text.h"
#include "harness/record/commit_date.h"
#include "harness/record/csv_columns.h"
#include "harness/record/history_source.h"

enum { FILE_BYTES = 1 << 26, SLOTS = 1 << 18 };

struct csv_row {
	const char *date, *commit, *cell;
	double value;
};

#define COLUMN(column, kind)                                                                       \
	{                                                                                          \
		.name = #column, .type = COLUMN_##kind, .offset = offsetof(struct csv_row, column) \
	}
static const struct column columns[] = {COLUMN(date, TEXT), COLUMN(commit, TEXT), COLUMN(cell, TEXT),
					COLUMN(value, REAL)};
enum { N_COLUMNS = sizeof columns / sizeof *columns };

static int bad(const char *path, size_t line, const char *column, const char *what, struct error *err)
{
	return error_set(err, ERROR_INPUT, "%s: line %zu, column '%s': %s; correct the line, or take it out", path,
			 line, column, what);
}

/* Takes what the file has printed as a name, and nothing else. */
static int is_name(const char *text)
{
	char name[HISTORY_TEXT];
	return *text && strlen(text) < HISTORY_TEXT &&
	       text_name(name, sizeof name, text, strlen(text)) == strlen(text) && !strcmp(name, text);
}

/* How often each hash was seen: a table of which half is used at most. */
struct seen {
	struct {
		uint64_t hash;
		int times;
	} * slots; /* (SLOTS) */
	int n;
};

/* How often before; -1: there is no room. */
static int times_seen(struct seen *s, uint64_t hash)
{
	size_t at = hash % SLOTS;
	while (s->slots[at].times && s->slots[at].hash != hash)
		at = (at + 1) % SLOTS;
	if (!s->slots[at].times && s->n++ == HISTORY_RECORDS)
		return -1;
	s->slots[at].hash = hash;
	return s->slots[at].times++;
}

static int add_row(struct history_lines *out, const struct csv_row *row, const char *path, size_t line,
		   const struct history_csv *of, struct seen *seen, struct error *err)
{
	char date[COMMIT_DATE_SIZE];
	int64_t seconds;
	if (!row->date || commit_date_parse(row->date, &seconds))
		return bad(path, line, "date", "is no date, as in 2026-05-31 or 2026-05-31T10:00:00+02:00", err);
	if (!row->commit || !is_name(row->commit))
		return bad(path, line, "commit", "is no name of 1 to 255 bytes", err);
	if (!row->cell || !is_name(row->cell))
		return bad(path, line, "cell", "is no name of 1 to 255 bytes", err);
	if (!(row->value > 1e-12 && row->value < 1e15))
		return bad(path, line, "value", "is no number above 1e-12 and below 1e15", err);
	commit_date_text(seconds, date);
	/*
	 * Each line is a measurement of its own: a commit may have several. What tells it from the others is what it
	 * says, so that a file that has grown can be imported again, whatever the order of its lines.
	 */
	char name[HISTORY_TEXT], file[HISTORY_NAME_SIZE];
	snprintf(name, sizeof name, "%s %.9g", date, row->value);
	uint64_t hash = hash_bytes(row->cell, strlen(row->cell), hash_bytes(row->commit, strlen(row->commit), 0));
	int again = times_seen(seen, hash_bytes(name, strlen(name), hash));
	if (again < 0)
		return bad(path, line, "date", "one line too many: 131072 are read", err);
	snprintf(name, sizeof name, again ? "%s %.9g #%d" : "%s %.9g", date, row->value, again + 1);
	history_file_name(of->machine, of->model, "", file);
	json_t *o =
		json_pack("{s:i, s:s, s:s, s:s, s:i, s:s, s:{s:s, s:s}, s:s, s:s, s:s, s:[f], s:{}}", "v",
			  HISTORY_VERSION, "machine", of->machine, "commit", row->commit, "date", date, "order", out->n,
			  "run", name, "cell", "model", of->model, "name", row->cell, "metric", "value", "unit",
			  of->unit, "better", of->more_is_better ? "more" : "less", "runs", row->value, "env");
	return history_lines_add(out, o, file, err);
}

int history_from_csv(struct history_lines *out, const char *path, const struct history_csv *of, struct error *err)
{
	static const char *const required[] = {"date", "commit", "cell", "value", NULL};
	struct stat s;
	struct csv_reader *reader = NULL;
	struct csv_record record;
	const char *const *fields;
	size_t width;
	/* The user's own word, and followed; but a pipe would be waited for. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return error_set(err, ERROR_IO, "%s: %s; name another file", text_show_path(path).text,
				 strerror(errno));
	struct csv_columns *c = malloc(sizeof *c);
	struct seen seen = {.slots = calloc(SLOTS, sizeof *seen.slots)};
	int rc = c && seen.slots ? 0 : error_set(err, ERROR_MEMORY, "%s: not enough memory to read it", path);
	if (!rc && (fstat(fd, &s) || !S_ISREG(s.st_mode)))
		rc = error_set(err, ERROR_INPUT, "%s: is no regular file; name one", text_show_path(path).text);
	if (!rc && s.st_size > FILE_BYTES)
		rc = error_set(err, ERROR_INPUT, "%s: larger than %d bytes, which is all that is read; divide it", path,
			       FILE_BYTES);
	if (!rc)
		rc = csv_reader_open(&reader, fd, path, NULL, err);
	int header = 1;
	while (!rc && (rc = csv_reader_next(reader, &record, err)) > 0) {
		struct csv_row row;
		rc = csv_reader_split(reader, &fields, &width, err);
		if (!rc && header)
			rc = csv_columns_read(c, columns, N_COLUMNS, required, fields, width, path, err);
		else if (!rc && !(rc = csv_columns_fill(c, &row, fields, path, record.range.line, err)))
			rc = add_row(out, &row, path, record.range.line, of, &seen, err);
		header = 0;
	}
	if (!rc && header)
		rc = error_set(err, ERROR_INPUT,
			       "%s: empty; the first line must name the columns date, commit, cell, value", path);
	if (!rc && csv_reader_cut(reader))
		rc = error_set(err, ERROR_INPUT, "%s: its last line is not whole; complete it", path);
	if (reader)
		csv_reader_close(reader);
	free(seen.slots);
	free(c);
	close(fd);
	return rc;
}
