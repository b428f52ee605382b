#include "harness/record/recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <csv.h>

#include "base/text.h"
#include "harness/record/csv_table.h"

struct file {
	const char *name;
	int fd;     /* negative: not open */
	off_t size; /* of what is whole */
};

struct recorder {
	struct run_directory directory; /* its descriptor has the lock */
	struct file runs;
	struct file tokens;
	struct file telemetry;
	off_t telemetry_end; /* of what was written for the run to come */
};

/* One field and what follows it. Unknown values are nothing at all, not "". Returns 0 or -1. */
static int put(FILE *f, const char *text, int last)
{
	if (*text && csv_fwrite(f, text, strlen(text)))
		return -1;
	return fputc(last ? '\n' : ',', f) == EOF ? -1 : 0;
}

/* Names and messages, of any bytes: the file is UTF-8. */
static int put_text(FILE *f, const char *text, int last)
{
	size_t n = strlen(text), size = 3 * n + 1;
	char *name = malloc(size);
	if (!name)
		return -1;
	text_name(name, size, text, n);
	int rc = put(f, name, last);
	free(name);
	return rc;
}

static int put_record(FILE *f, const void *record, const struct column *columns, int n)
{
	char text[COLUMN_TEXT_SIZE];
	int bad = 0;
	for (int i = 0; i < n; i++) {
		const char *value = column_text(record, &columns[i], text);
		bad |= columns[i].type == COLUMN_TEXT ? put_text(f, value, i == n - 1) : put(f, value, i == n - 1);
	}
	return bad;
}

static int io_failed(const struct recorder *r, const char *file, const char *remedy, struct error *err)
{
	return error_set(err, ERROR_IO, "%s/%s: %s; %s", r->directory.path, file, strerror(errno), remedy);
}

static const char give_another[] = "give another output directory";
static const char free_space[] = "free some space, the runs so far are kept";

const struct run_directory *recorder_directory(const struct recorder *r)
{
	return &r->directory;
}

static int write_all(int fd, const char *text, size_t n, off_t at)
{
	while (n > 0) {
		ssize_t done = pwrite(fd, text, n, at);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0) {
			errno = done ? errno : ENOSPC;
			return -1;
		}
		text += done;
		n -= (size_t)done;
		at += done;
	}
	return 0;
}

/* Cuts off what was written behind the last whole run. That frees space, so it works on a full disk. */
static void cut_back(const struct file *f)
{
	/* Where even that fails, readers leave the unfinished line out. */
	if (f->fd >= 0 && ftruncate(f->fd, f->size))
		return;
}

/* What is to be appended, in memory first: a failed write leaves nothing half done in a buffer. */
struct text {
	FILE *stream;
	char *bytes;
	size_t n;
};

static int text_open(struct text *t, const struct recorder *r, struct error *err)
{
	*t = (struct text){0};
	t->stream = open_memstream(&t->bytes, &t->n);
	return t->stream ? 0 : error_set(err, ERROR_MEMORY, "%s: no memory for the recorder", r->directory.path);
}

/* Appends t behind f's whole part and forces it to the disk, without counting it as whole yet. Frees t. */
static int text_append(struct text *t, int bad, const struct recorder *r, const struct file *f, off_t *end,
		       struct error *err)
{
	int rc = 0;
	bad |= fclose(t->stream);
	if (bad)
		rc = error_set(err, ERROR_MEMORY, "%s/%s: no memory for a run's text", r->directory.path, f->name);
	else if (write_all(f->fd, t->bytes, t->n, f->size))
		rc = io_failed(r, f->name, free_space, err);
	/* fsync says EINVAL where there is nothing to force, as on a pipe. */
	else if (fsync(f->fd) && errno != EINVAL)
		rc = io_failed(r, f->name, free_space, err);
	*end = f->size + (off_t)t->n;
	free(t->bytes);
	return rc;
}

static int lock_directory(const struct recorder *r, struct error *err)
{
	if (!flock(r->directory.fd, LOCK_EX | LOCK_NB))
		return 0;
	if (errno == EWOULDBLOCK)
		return error_set(err, ERROR_IO,
				 "%s: another gemmark is writing there; wait until it ends, or name another directory",
				 r->directory.path);
	return error_set(err, ERROR_IO, "%s: cannot be locked: %s; %s", r->directory.path, strerror(errno),
			 give_another);
}

static int open_file(const struct recorder *r, struct file *f, int create, struct error *err)
{
	f->fd = create ? run_directory_create_file(&r->directory, f->name, err)
		       : run_directory_open_file(&r->directory, f->name, O_RDWR, err);
	return f->fd < 0 ? f->fd : 0;
}

static int make_recorder(struct recorder **out, struct error *err)
{
	struct recorder *r = malloc(sizeof *r);
	*out = r;
	if (!r)
		return error_set(err, ERROR_MEMORY, "no memory for the recorder");
	*r = (struct recorder){.directory = {.fd = -1},
			       .runs = {"runs.csv", -1, 0},
			       .tokens = {"tokens.csv", -1, 0},
			       .telemetry = {"telemetry.csv", -1, 0}};
	return 0;
}

/* Frees r after a failure. */
static int give_up(struct recorder **r, int rc)
{
	recorder_close(*r, NULL);
	*r = NULL;
	return rc;
}

static int put_header(const struct recorder *r, struct file *f, const struct column *columns, int n, struct error *err)
{
	struct text t;
	int rc = text_open(&t, r, err), bad = 0;
	for (int i = 0; i < n && !rc; i++)
		bad |= put(t.stream, columns[i].name, i == n - 1);
	return rc ? rc : text_append(&t, bad, r, f, &f->size, err);
}

int recorder_open(struct recorder **out, const char *path, struct error *err)
{
	int rc = make_recorder(out, err);
	if (rc)
		return give_up(out, rc);
	struct recorder *r = *out;
	rc = run_directory_make(&r->directory, path, err);
	if (!rc)
		rc = lock_directory(r, err);
	if (!rc)
		rc = run_directory_check_empty(&r->directory, err);
	if (!rc)
		rc = open_file(r, &r->runs, 1, err);
	if (!rc)
		rc = open_file(r, &r->tokens, 1, err);
	if (!rc)
		rc = open_file(r, &r->telemetry, 1, err);
	if (!rc)
		rc = put_header(r, &r->telemetry, telemetry_columns, telemetry_n_columns, err);
	if (!rc)
		rc = put_header(r, &r->tokens, token_columns, token_n_columns, err);
	if (!rc)
		rc = put_header(r, &r->runs, row_columns, row_n_columns, err);
	if (!rc && fsync(r->directory.fd) && errno != EINVAL)
		rc = error_set(err, ERROR_IO, "%s: %s; %s", path, strerror(errno), give_another);
	return rc ? give_up(out, rc) : 0;
}

int recorder_telemetry(struct recorder *r, const char *run_id, const struct telemetry_sample *samples, int n,
		       struct error *err)
{
	struct text t;
	int bad = 0, rc = text_open(&t, r, err);
	if (rc)
		return rc;
	for (int i = 0; i < n; i++) {
		struct telemetry_row look = {SCHEMA_VERSION, run_id, samples[i]};
		bad |= put_record(t.stream, &look, telemetry_columns, telemetry_n_columns);
	}
	rc = text_append(&t, bad, r, &r->telemetry, &r->telemetry_end, err);
	if (rc) {
		cut_back(&r->telemetry);
		r->telemetry_end = 0;
	}
	return rc;
}

int recorder_run(struct recorder *r, const struct run_row *row, const struct token_record *tokens, int n,
		 struct error *err)
{
	off_t tokens_end, runs_end;
	struct text t;
	int bad = 0, rc = text_open(&t, r, err);
	if (rc)
		return rc;
	for (int i = 0; i < n; i++) {
		struct token_row token = {row->schema_version, row->run_id, tokens[i]};
		bad |= put_record(t.stream, &token, token_columns, token_n_columns);
	}
	rc = text_append(&t, bad, r, &r->tokens, &tokens_end, err);
	if (!rc)
		rc = text_open(&t, r, err);
	if (!rc) {
		bad = put_record(t.stream, row, row_columns, row_n_columns);
		rc = text_append(&t, bad, r, &r->runs, &runs_end, err);
	}
	if (rc) {
		cut_back(&r->runs);
		cut_back(&r->tokens);
		cut_back(&r->telemetry);
		return rc;
	}
	if (r->telemetry_end)
		r->telemetry.size = r->telemetry_end;
	r->telemetry_end = 0;
	r->tokens.size = tokens_end;
	r->runs.size = runs_end;
	return 0;
}

int recorder_close(struct recorder *r, struct error *err)
{
	if (!r)
		return 0;
	int rc = 0;
	struct file *files[] = {&r->telemetry, &r->tokens, &r->runs};
	for (int i = 0; i < 3; i++)
		if (files[i]->fd >= 0 && close(files[i]->fd))
			rc = io_failed(r, files[i]->name, free_space, err);
	run_directory_close(&r->directory);
	free(r);
	return rc;
}

/* ---- going on ---- */

/* Where the records of a CSV file end, one after the other. */
struct scanner {
	FILE *f;
	off_t at; /* read so far */
	int quoted;
};

/*
 * The next record's end into *end, and the text of one of its fields. Returns 1, or 0
 * where no whole record is left.
 */
static int next_record(struct scanner *s, int field, char *text, size_t size, off_t *end)
{
	size_t n = 0;
	int at_field = 0;
	for (int c; (c = getc(s->f)) != EOF;) {
		s->at++;
		if (c == '"') {
			s->quoted = !s->quoted;
		} else if (c == ',' && !s->quoted) {
			at_field++;
		} else if (c == '\n' && !s->quoted) {
			text[n] = '\0';
			*end = s->at;
			return 1;
		} else if (at_field == field && n + 1 < size) {
			text[n++] = (char)c;
		}
	}
	return 0;
}

static int open_scanner(struct scanner *s, const struct recorder *r, const struct file *f, struct error *err)
{
	*s = (struct scanner){0};
	int fd = run_directory_open_file(&r->directory, f->name, O_RDONLY, err);
	if (fd < 0)
		return fd;
	s->f = fdopen(fd, "r");
	if (!s->f)
		close(fd);
	return s->f ? 0 : io_failed(r, f->name, "it cannot be resumed", err);
}

static int cut_at(const struct recorder *r, struct file *f, off_t size, struct error *err)
{
	f->size = size;
	if (ftruncate(f->fd, size) || (fsync(f->fd) && errno != EINVAL))
		return io_failed(r, f->name, "it cannot be resumed", err);
	return 0;
}

enum { ID_SIZE = 128 };

/* The index of a column in a header that has been checked. */
static int column_of(const struct column *columns, int n, const char *name)
{
	return (int)(column_find(columns, n, name) - columns);
}

static int other_version(const struct recorder *r, struct error *err)
{
	return error_set(err, ERROR_INPUT,
			 "%s/runs.csv: its columns are not this version's; go on with the version that wrote it",
			 r->directory.path);
}

/* Cuts runs.csv behind the last run that is neither unfinished nor interrupted. */
static int trim_runs(struct recorder *r, struct error *err)
{
	struct scanner s;
	int rc = open_scanner(&s, r, &r->runs, err);
	if (rc)
		return rc;
	char status[16];
	off_t end, keep = 0;
	int column = column_of(row_columns, row_n_columns, "status");
	/* Nothing is cut off a file that is not ours. */
	if (!next_record(&s, column, status, sizeof status, &keep) || strcmp(status, "status"))
		rc = other_version(r, err);
	while (!rc && next_record(&s, column, status, sizeof status, &end))
		if (strcmp(status, run_status_name(RUN_STATUS_INTERRUPTED)))
			keep = end;
	if (!rc && ferror(s.f))
		rc = io_failed(r, r->runs.name, "it cannot be resumed", err);
	fclose(s.f);
	return rc ? rc : cut_at(r, &r->runs, keep, err);
}

/*
 * Cuts tokens.csv or telemetry.csv behind what it has of the last run that is kept: they stand in the order of the
 * runs. column: of the run_id there; id_column: in t, which has a row for each kept run.
 */
static int trim_details(struct recorder *r, struct file *f, int column, const struct csv_table *t, int id_column,
			struct error *err)
{
	struct scanner s;
	int rc = open_scanner(&s, r, f, err);
	if (rc)
		return rc;
	char id[ID_SIZE];
	off_t end, keep = 0;
	size_t row = 0;
	if (!next_record(&s, column, id, sizeof id, &end) || strcmp(id, "run_id"))
		rc = error_set(err, ERROR_INPUT, "%s/%s: no header that this version writes; start anew",
			       r->directory.path, f->name);
	else
		keep = end;
	while (!rc && next_record(&s, column, id, sizeof id, &end)) {
		while (row < t->n_rows && strcmp(id, csv_table_text(t, row, id_column)))
			row++;
		if (row == t->n_rows)
			break;
		keep = end;
	}
	if (!rc && ferror(s.f))
		rc = io_failed(r, f->name, "it cannot be resumed", err);
	fclose(s.f);
	return rc ? rc : cut_at(r, f, keep, err);
}

static int check_columns(const struct recorder *r, const struct csv_table *t, struct error *err)
{
	int same = t->n_columns == (size_t)row_n_columns;
	for (int i = 0; same && i < row_n_columns; i++)
		same = !strcmp(t->text + t->cells[i], row_columns[i].name);
	if (same)
		return 0;
	return other_version(r, err);
}

static int keep_rows(const struct recorder *r, const struct csv_table *t,
		     int (*keep)(void *ctx, const struct run_row *row, struct error *err), void *ctx, struct error *err)
{
	for (size_t i = 0; i < t->n_rows; i++) {
		struct run_row row;
		row_init(&row);
		for (int c = 0; c < row_n_columns; c++)
			if (column_set_text(&row, &row_columns[c], csv_table_text(t, i, c)))
				return error_set(err, ERROR_INPUT, "%s/runs.csv: record %zu: '%s' is no %s",
						 r->directory.path, i + 2, csv_table_text(t, i, c),
						 row_columns[c].name);
		int rc = keep(ctx, &row, err);
		if (rc)
			return rc;
	}
	return 0;
}

int recorder_resume(struct recorder **out, const char *path,
		    int (*keep)(void *ctx, const struct run_row *row, struct error *err), void *ctx, struct error *err)
{
	struct csv_table t = {0};
	int rc = make_recorder(out, err);
	if (rc)
		return give_up(out, rc);
	struct recorder *r = *out;
	rc = run_directory_open(&r->directory, path, err);
	if (!rc)
		rc = lock_directory(r, err);
	if (!rc)
		rc = open_file(r, &r->runs, 0, err);
	if (!rc)
		rc = open_file(r, &r->tokens, 0, err);
	if (!rc)
		rc = open_file(r, &r->telemetry, 0, err);
	if (!rc)
		rc = trim_runs(r, err);
	if (!rc)
		rc = csv_table_read(&t, &r->directory, r->runs.name, err);
	if (!rc)
		rc = check_columns(r, &t, err);
	if (!rc)
		rc = trim_details(r, &r->tokens, column_of(token_columns, token_n_columns, "run_id"), &t,
				  column_of(row_columns, row_n_columns, "run_id"), err);
	if (!rc)
		rc = trim_details(r, &r->telemetry, column_of(telemetry_columns, telemetry_n_columns, "run_id"), &t,
				  column_of(row_columns, row_n_columns, "run_id"), err);
	if (!rc)
		rc = keep_rows(r, &t, keep, ctx, err);
	csv_table_free(&t);
	return rc ? give_up(out, rc) : 0;
}
