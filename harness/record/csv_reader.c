#include "harness/record/csv_reader.h"

#include <csv.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK = 1 << 18 };

struct csv_reader {
	const char *path;
	int fd;
	off_t end; /* of what is read */
	off_t at;  /* of buffer[0] */
	size_t line;
	char *buffer;
	size_t n, capacity;
	size_t start; /* of the records not given out yet, in buffer */
	int cut;
	int by_line;
	/* The record given out last. */
	struct csv_record record;
	size_t width; /* 0: not known yet */
	struct csv_parser parser;
	char *text; /* its fields' */
	size_t text_used, text_capacity;
	const char *fields[CSV_MAX_COLUMNS];
	size_t n_fields;
	int n_records; /* that libcsv saw in it */
	int too_long, too_many;
};

static int no_memory(const struct csv_reader *r, struct error *err)
{
	return error_set(err, ERROR_MEMORY, "%s: not enough memory to read it", r->path);
}

/* A field has the spaces that are in it: 1 is a number, and "1 " and " 1" are none. */
static int is_no_space(unsigned char c)
{
	(void)c;
	return 0;
}

int csv_reader_open(struct csv_reader **out, int fd, const char *path, const struct csv_range *range, struct error *err)
{
	struct stat s;
	struct csv_reader *r = calloc(1, sizeof *r);
	*out = r;
	if (!r)
		return error_set(err, ERROR_MEMORY, "%s: not enough memory to read it", path);
	*r = (struct csv_reader){.path = path, .fd = fd, .line = 1};
	int rc = 0;
	if (csv_init(&r->parser, CSV_STRICT | CSV_STRICT_FINI)) {
		free(r);
		*out = NULL;
		return error_set(err, ERROR_MEMORY, "%s: not enough memory to read it", path);
	}
	csv_set_space_func(&r->parser, is_no_space);
	if (range) {
		r->at = range->at;
		r->end = range->end;
		r->line = range->line;
	} else if (fstat(fd, &s)) {
		rc = error_set(err, ERROR_IO, "%s: %s", path, strerror(errno));
	} else {
		r->end = s.st_size;
	}
	r->capacity = range && r->end - r->at < BLOCK ? (size_t)(r->end - r->at) + 1 : BLOCK;
	if (!rc && !(r->buffer = malloc(r->capacity)))
		rc = no_memory(r, err);
	if (rc) {
		csv_reader_close(r);
		*out = NULL;
	}
	return rc;
}

void csv_reader_close(struct csv_reader *r)
{
	if (!r)
		return;
	csv_free(&r->parser);
	free(r->buffer);
	free(r->text);
	free(r);
}

void csv_reader_set_width(struct csv_reader *r, size_t n)
{
	r->width = n;
}

void csv_reader_set_lines(struct csv_reader *r)
{
	r->by_line = 1;
}

int csv_reader_cut(const struct csv_reader *r)
{
	return r->cut;
}

/* Room for a block behind what is there, which moves to the front; then as much as the file has. 0: nothing more. */
static int fill(struct csv_reader *r, struct error *err)
{
	if (r->start) {
		memmove(r->buffer, r->buffer + r->start, r->n - r->start);
		r->n -= r->start;
		r->at += (off_t)r->start;
		r->start = 0;
	}
	off_t left = r->end - r->at - (off_t)r->n;
	if (left <= 0)
		return 0;
	if (r->n == r->capacity) {
		char *grown = realloc(r->buffer, 2 * r->capacity);
		if (!grown)
			return no_memory(r, err);
		r->buffer = grown;
		r->capacity *= 2;
	}
	size_t room = r->capacity - r->n;
	ssize_t done;
	do
		done = pread(r->fd, r->buffer + r->n, (off_t)room < left ? room : (size_t)left, r->at + (off_t)r->n);
	while (done < 0 && errno == EINTR);
	if (done < 0)
		return error_set(err, ERROR_IO, "%s: %s", r->path, strerror(errno));
	if (done == 0)
		r->end = r->at + (off_t)r->n; /* it became shorter meanwhile */
	r->n += (size_t)done;
	return done > 0;
}

/* The bytes from start up to and with the next line end outside quotes: n of them. *lines: line ends within. */
static int find_end(struct csv_reader *r, size_t *n, size_t *lines, int *ended, struct error *err)
{
	int quoted = 0;
	size_t seen = 0;
	*lines = 0;
	*ended = 0;
	for (;;) {
		const char *from = r->buffer + r->start;
		size_t there = r->n - r->start;
		for (; seen < there; seen++) {
			quoted ^= from[seen] == '"' && !r->by_line;
			if (from[seen] != '\n')
				continue;
			++*lines;
			if (quoted)
				continue;
			*n = seen + 1;
			*ended = 1;
			return 0;
		}
		if (seen > CSV_MAX_RECORD)
			return error_set(err, ERROR_INPUT,
					 "%s: line %zu begins a record of more than %d bytes: is a closing quote "
					 "missing?",
					 r->path, r->line, CSV_MAX_RECORD);
		int more = fill(r, err);
		if (more <= 0) {
			*n = seen;
			return more;
		}
	}
}

/* Of the file's last record, which has no line end: whether it was cut off in the middle. */
static int is_cut(struct csv_reader *r, size_t lines, struct error *err)
{
	const char *const *fields;
	size_t n = 0;
	struct error why = {""};
	int header = !r->width, rc = csv_reader_split(r, &fields, &n, &why);
	/* A line break in it means that a quote was not closed much earlier. */
	if (rc && (rc != ERROR_INPUT || lines || r->too_long || header))
		return error_set(err, rc, "%s", why.text);
	/* Behind the last comma the end of the line may be what is missing, or a value. */
	return rc || (!header && !*fields[n - 1]);
}

static int is_blank(const struct csv_record *record)
{
	for (size_t i = 0; i < record->n; i++)
		if (record->bytes[i] != '\r' && record->bytes[i] != '\n')
			return 0;
	return 1;
}

int csv_reader_next(struct csv_reader *r, struct csv_record *out, struct error *err)
{
	static const char mark[3] = "\xef\xbb\xbf"; /* UTF-8's byte order mark */
	size_t n = 0, lines;
	int ended, blank;
	do {
		int rc = find_end(r, &n, &lines, &ended, err);
		if (rc)
			return rc;
		if (!n)
			return 0;
		r->record = (struct csv_record){
			.bytes = r->buffer + r->start,
			.n = n,
			.range = {r->at + (off_t)r->start, r->at + (off_t)(r->start + n), r->line},
		};
		r->start += n;
		r->line += lines;
		if (r->record.range.at == 0 && n >= sizeof mark && !memcmp(r->record.bytes, mark, sizeof mark)) {
			r->record.bytes += sizeof mark;
			r->record.n -= sizeof mark;
			r->record.range.at += (off_t)sizeof mark;
		}
		blank = is_blank(&r->record);
	} while (blank && ended);
	if (blank)
		return 0;
	if (!ended) {
		int cut = is_cut(r, lines, err);
		if (cut)
			r->cut = cut > 0;
		if (cut)
			return cut > 0 ? 0 : cut;
	}
	*out = r->record;
	return 1;
}

static void on_field(void *field, size_t length, void *ctx)
{
	struct csv_reader *r = ctx;
	r->too_long |= length > CSV_MAX_FIELD;
	if (r->too_long || r->n_fields >= (r->width ? r->width : CSV_MAX_COLUMNS)) {
		r->too_many |= !r->too_long;
		return;
	}
	if (length)
		memcpy(r->text + r->text_used, field, length);
	r->fields[r->n_fields++] = r->text + r->text_used;
	r->text_used += length;
	r->text[r->text_used++] = '\0';
}

static void on_record(int terminator, void *ctx)
{
	struct csv_reader *r = ctx;
	(void)terminator;
	r->n_records++;
}

static int check_text(const struct csv_reader *r, struct error *err)
{
	for (size_t i = 0; i < r->record.n; i++) {
		unsigned char c = (unsigned char)r->record.bytes[i];
		if (c == 0x7f || (c < 0x20 && c != '\t' && c != '\r' && c != '\n'))
			return error_set(err, ERROR_INPUT, "%s: line %zu has a byte 0x%02x: this is not a text file",
					 r->path, r->record.range.line, c);
	}
	return 0;
}

static int parse(struct csv_reader *r, struct error *err)
{
	size_t line = r->record.range.line;
	/* Each field is followed by a comma or the end: no more text than bytes and one. */
	if (r->text_capacity < r->record.n + 1) {
		char *grown = realloc(r->text, r->record.n + 1);
		if (!grown)
			return no_memory(r, err);
		r->text = grown;
		r->text_capacity = r->record.n + 1;
	}
	r->text_used = r->n_fields = 0;
	r->n_records = r->too_long = r->too_many = 0;
	size_t done = csv_parse(&r->parser, r->record.bytes, r->record.n, on_field, on_record, r);
	if (done == r->record.n && csv_fini(&r->parser, on_field, on_record, r) == 0) {
		if (r->too_long)
			return error_set(err, ERROR_INPUT,
					 "%s: line %zu has a field longer than %d bytes: is a closing quote missing?",
					 r->path, line, CSV_MAX_FIELD);
		if (r->n_records != 1)
			return error_set(err, ERROR_INPUT, "%s: line %zu has a carriage return within", r->path, line);
		if (r->too_many)
			return error_set(err, ERROR_INPUT, "%s: line %zu has more than %zu fields%s", r->path, line,
					 r->n_fields, r->width ? ", the header's number" : "");
		return 0;
	}
	int code = csv_error(&r->parser);
	r->too_long |= r->parser.entry_pos > CSV_MAX_FIELD;
	csv_free(&r->parser);
	if (csv_init(&r->parser, CSV_STRICT | CSV_STRICT_FINI) || code == CSV_ENOMEM)
		return no_memory(r, err);
	if (r->too_long)
		return error_set(err, ERROR_INPUT,
				 "%s: line %zu has a field longer than %d bytes: is a closing quote missing?", r->path,
				 line, CSV_MAX_FIELD);
	if (done == r->record.n)
		return error_set(err, ERROR_INPUT, "%s: line %zu: the last quote is not closed", r->path, line);
	return error_set(err, ERROR_INPUT, "%s: line %zu: a quote inside a field is not doubled", r->path, line);
}

int csv_reader_split(struct csv_reader *r, const char *const **fields, size_t *n, struct error *err)
{
	int rc = check_text(r, err);
	if (!rc)
		rc = parse(r, err);
	if (rc)
		return rc;
	if (!r->width)
		r->width = r->n_fields;
	if (r->n_fields != r->width)
		return error_set(err, ERROR_INPUT, "%s: line %zu has %zu fields where the header has %zu", r->path,
				 r->record.range.line, r->n_fields, r->width);
	*fields = r->fields;
	*n = r->n_fields;
	return 0;
}

int csv_record_field(const struct csv_record *record, size_t field, char *text, size_t size)
{
	int quoted = 0;
	size_t at = 0, used = 0;
	for (size_t i = 0; i < record->n && at <= field; i++) {
		char c = record->bytes[i];
		if (c == '"') {
			/* A doubled one is one: the second opens again what the first closed. */
			int doubled = !quoted && i > 0 && record->bytes[i - 1] == '"';
			quoted = !quoted;
			if (!doubled || at != field)
				continue;
		} else if (!quoted && (c == '\n' || c == '\r')) {
			break;
		} else if (!quoted && c == ',') {
			at++;
			continue;
		}
		if (at == field && used + 1 < size)
			text[used++] = c;
	}
	text[used] = '\0';
	return at >= field ? 0 : -1;
}

int csv_range_copy(int fd, const struct csv_range *range, FILE *to)
{
	char block[1 << 16];
	for (off_t at = range->at; at < range->end;) {
		size_t left = (size_t)(range->end - at);
		ssize_t n = pread(fd, block, left < sizeof block ? left : sizeof block, at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || fwrite(block, 1, (size_t)n, to) != (size_t)n)
			return -1;
		at += n;
		/* The file's last line may lack its end. */
		if (at == range->end && block[n - 1] != '\n' && fputc('\n', to) == EOF)
			return -1;
	}
	return 0;
}
