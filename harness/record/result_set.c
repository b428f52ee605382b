#include "harness/record/result_set.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/record/text_block.h"

static int no_memory(const struct result_set *s, struct error *err)
{
	return error_set(err, ERROR_MEMORY, "%s: not enough memory to read it", s->directory.path);
}

/* The columns that say which run a row is: without one of them nothing can be compared. */
static const char *const *required_columns(void)
{
	static const char *names[AXIS_COUNT + 4] = {"run_id", "status", "repetition"};
	int n = 3;
	for (int a = 0; a < AXIS_COUNT; a++)
		if (!axes[a].absent)
			names[n++] = axes[a].column;
	names[n] = NULL;
	return names;
}

struct rows_reader {
	struct result_set *s;
	char path[RUN_DIRECTORY_PATH + 16];
	size_t capacity;
	const struct column *younger[AXIS_COUNT]; /* of the axis, where the file is older; else null */
};

static int bad_row(const struct rows_reader *r, size_t line, const char *column, const char *what, struct error *err)
{
	return error_set(err, ERROR_INPUT, "%s: line %zu, column '%s': %s; restore the line, or take it out", r->path,
			 line, column, what);
}

static int check_int(const struct rows_reader *r, size_t line, const char *column, int64_t x, struct error *err)
{
	return x >= 0 && x <= INT_MAX ? 0 : bad_row(r, line, column, "is not a whole number from 0 to 2147483647", err);
}

static void find_younger_axes(struct rows_reader *r, const struct csv_columns *columns)
{
	for (int a = 0; a < AXIS_COUNT; a++)
		r->younger[a] = csv_columns_field(columns, axes[a].column) < 0
					? column_find(row_columns, row_n_columns, axes[a].column)
					: NULL;
}

/* An integer axis' column; unknown where a run never began. */
#define CHECK_INT(ID, column)                  \
	if (!rc && row->column != ROW_UNKNOWN) \
		rc = check_int(r, line, #column, row->column, err);
#define CHECK_WORD(ID, column)             \
	if (!row->column || !*row->column) \
		row->column = axes[AXIS_##ID].absent;
#define CHECK(ID, kind, name, column, ...) CHECK_##kind(ID, column)
static int check_row(const struct rows_reader *r, struct run_row *row, size_t line, struct error *err)
{
	int rc = 0;
	if (row->schema_version != SCHEMA_VERSION)
		return error_set(
			err, ERROR_INPUT,
			"%s: line %zu is of schema version %lld, this program knows %d: read it with the version "
			"that wrote it, or a later one",
			r->path, line, (long long)row->schema_version, SCHEMA_VERSION);
	if (!row->run_id || !*row->run_id)
		return bad_row(r, line, "run_id", "is empty", err);
	if (!*run_status_name(row->status))
		return bad_row(r, line, "status", "is empty", err);
	if (row->attempt == ROW_UNKNOWN)
		row->attempt = 0;
	rc = check_int(r, line, "repetition", row->repetition, err);
	if (!rc)
		rc = check_int(r, line, "attempt", row->attempt, err);
	AXIS_LIST(CHECK)
	return rc;
}
#undef CHECK
#undef CHECK_WORD
#undef CHECK_INT

static int add_row(struct rows_reader *r, const struct csv_columns *columns, const char *const *fields,
		   const struct csv_range *range, struct error *err)
{
	struct result_set *s = r->s;
	if (s->n_rows == RESULT_SET_MAX_RUNS)
		return error_set(err, ERROR_INPUT, "%s: line %zu: more than %d runs; divide it", r->path, range->line,
				 RESULT_SET_MAX_RUNS);
	if (s->n_rows == r->capacity) {
		size_t more = r->capacity ? 2 * r->capacity : 64;
		struct run_row *rows = realloc(s->rows, more * sizeof *rows);
		s->rows = rows ? rows : s->rows;
		struct csv_range *ranges = rows ? realloc(s->ranges, more * sizeof *ranges) : NULL;
		if (!ranges)
			return no_memory(s, err);
		s->ranges = ranges;
		r->capacity = more;
	}
	struct run_row *row = &s->rows[s->n_rows];
	row_init(row);
	int rc = csv_columns_fill(columns, row, fields, r->path, range->line, err);
	row->cell = -1;
	for (int a = 0; a < AXIS_COUNT; a++)
		if (r->younger[a])
			column_set_text(row, r->younger[a], axes[a].absent);
	if (!rc)
		rc = check_row(r, row, range->line, err);
	if (rc)
		return rc;
	for (int i = 0; i < row_n_columns; i++) {
		char number[COLUMN_TEXT_SIZE];
		if (row_columns[i].type != COLUMN_TEXT)
			continue;
		const char *kept = text_block_keep(&s->texts, column_text(row, &row_columns[i], number));
		if (!kept)
			return no_memory(s, err);
		column_set_text(row, &row_columns[i], kept);
	}
	s->ranges[s->n_rows++] = *range;
	return 0;
}

static int read_rows(struct rows_reader *r, int fd, struct error *err)
{
	struct csv_reader *reader;
	struct csv_columns *columns = malloc(sizeof *columns);
	struct csv_record record;
	const char *const *fields;
	size_t width;
	int rc = columns ? csv_reader_open(&reader, fd, r->path, NULL, err) : no_memory(r->s, err);
	if (rc) {
		free(columns);
		return rc;
	}
	for (int header = 1; (rc = csv_reader_next(reader, &record, err)) > 0; header = 0) {
		rc = csv_reader_split(reader, &fields, &width, err);
		if (!rc && header) {
			r->s->header = record.range;
			rc = csv_columns_read(columns, row_columns, row_n_columns, required_columns(), fields, width,
					      r->path, err);
			r->s->same = columns->same;
			find_younger_axes(r, columns);
		} else if (!rc) {
			rc = add_row(r, columns, fields, &record.range, err);
		}
		if (rc)
			break;
	}
	r->s->cut = csv_reader_cut(reader);
	if (!rc && !r->s->header.line)
		rc = error_set(err, ERROR_INPUT, "%s: empty; the first line must name the columns", r->path);
	csv_reader_close(reader);
	free(columns);
	return rc;
}

static int compare_ids(const void *a, const void *b, void *ctx)
{
	const struct result_set *s = ctx;
	const size_t *x = a, *y = b;
	int by_id = strcmp(s->rows[*x].run_id, s->rows[*y].run_id);
	return by_id ? by_id : *x < *y ? -1 : *x > *y;
}

static int index_ids(struct rows_reader *r, struct error *err)
{
	struct result_set *s = r->s;
	s->by_id = calloc(s->n_rows + 1, sizeof *s->by_id);
	if (!s->by_id)
		return no_memory(s, err);
	for (size_t i = 0; i < s->n_rows; i++)
		s->by_id[i] = i;
	qsort_r(s->by_id, s->n_rows, sizeof *s->by_id, compare_ids, s);
	for (size_t i = 1; i < s->n_rows; i++) {
		const size_t a = s->by_id[i - 1], b = s->by_id[i];
		if (!strcmp(s->rows[a].run_id, s->rows[b].run_id))
			return error_set(err, ERROR_INPUT,
					 "%s: lines %zu and %zu have the same run_id; take one of them out", r->path,
					 s->ranges[a].line, s->ranges[b].line);
	}
	return 0;
}

long result_set_find(const struct result_set *s, const char *run_id)
{
	size_t from = 0, to = s->n_rows;
	while (from < to) {
		size_t middle = from + (to - from) / 2;
		int order = strcmp(s->rows[s->by_id[middle]].run_id, run_id);
		if (!order)
			return (long)s->by_id[middle];
		if (order < 0)
			from = middle + 1;
		else
			to = middle;
	}
	return -1;
}

/* The name of the model stands for it where its content is not known. */
static int compare_words(const struct cell *a, const struct cell *b, enum axis_id axis)
{
	const char *x = cell_word(a, axis), *y = cell_word(b, axis), *absent = axes[axis].absent;
	int by_word = strcmp(x ? x : "", y ? y : "");
	if (axis == AXIS_MODEL)
		return by_word ? by_word : strcmp(a->model_hash, b->model_hash);
	/* What the axis' absence means comes first. */
	int first_x = x && absent && !strcmp(x, absent), first_y = y && absent && !strcmp(y, absent);
	return first_x != first_y ? first_y - first_x : by_word;
}

int result_set_compare_cells(const struct cell *a, const struct cell *b)
{
	for (int i = 0; i < AXIS_COUNT; i++) {
		enum axis_id axis = (enum axis_id)i;
		int order = axes[i].kind == AXIS_WORD
				    ? compare_words(a, b, axis)
				    : (cell_int(a, axis) > cell_int(b, axis)) - (cell_int(a, axis) < cell_int(b, axis));
		if (order)
			return order;
	}
	return 0;
}

struct keyed_row {
	struct cell cell;
	const struct run_row *row;
};

/* By cell, and in it by what else makes two rows runs of their own. */
static int compare_runs(const struct keyed_row *x, const struct keyed_row *y)
{
	int order = result_set_compare_cells(&x->cell, &y->cell);
	if (!order)
		order = strcmp(x->row->commit, y->row->commit);
	if (!order)
		order = strcmp(x->row->device, y->row->device);
	return order ? order : x->row->repetition < y->row->repetition ? -1 : x->row->repetition > y->row->repetition;
}

/* Of one run last the attempt that counts. */
static int compare_keys(const void *a, const void *b)
{
	const struct keyed_row *x = a, *y = b;
	int order = compare_runs(x, y);
	if (!order)
		order = (x->row->status == RUN_STATUS_OK) - (y->row->status == RUN_STATUS_OK);
	if (!order)
		order = x->row->attempt < y->row->attempt ? -1 : x->row->attempt > y->row->attempt;
	return order ? order : x->row < y->row ? -1 : x->row > y->row;
}

/* Numbers the cells, and finds the row that counts of each repetition. */
static int key_rows(struct rows_reader *r, struct error *err)
{
	struct result_set *s = r->s;
	struct keyed_row *keys = calloc(s->n_rows + 1, sizeof *keys);
	s->counts = calloc(s->n_rows + 1, 1);
	s->cells = calloc(s->n_rows + 1, sizeof *s->cells);
	int rc = keys && s->counts && s->cells ? 0 : no_memory(s, err);
	for (size_t i = 0; i < s->n_rows && !rc; i++) {
		keys[i].row = &s->rows[i];
		row_cell(&s->rows[i], &keys[i].cell);
	}
	if (!rc)
		qsort(keys, s->n_rows, sizeof *keys, compare_keys);
	for (size_t i = 0; i < s->n_rows && !rc; i++) {
		size_t at = (size_t)(keys[i].row - s->rows);
		if (!i || result_set_compare_cells(&keys[i - 1].cell, &keys[i].cell))
			s->cells[s->n_cells++] = keys[i].cell;
		s->rows[at].cell = s->n_cells - 1;
		s->counts[at] = i + 1 == s->n_rows || compare_runs(&keys[i], &keys[i + 1]);
		if (!i || compare_runs(&keys[i - 1], &keys[i]))
			continue;
		const struct run_row *before = keys[i - 1].row, *row = keys[i].row;
		if (row->status == RUN_STATUS_OK && before->status == RUN_STATUS_OK && before->attempt == row->attempt)
			rc = error_set(err, ERROR_INPUT,
				       "%s: lines %zu and %zu are the same cell, repetition and attempt; take one of "
				       "them out",
				       r->path, s->ranges[before - s->rows].line, s->ranges[at].line);
	}
	free(keys);
	return rc;
}

/* The file as JSON; null where there is none. */
static int load_optional(const struct run_directory *d, const char *name, json_t **out, struct error *err)
{
	*out = NULL;
	return run_directory_lacks(d, name) ? 0 : run_directory_load_json(d, name, out, err);
}

static int read_directory(struct result_set *s, struct error *err)
{
	struct rows_reader r = {.s = s};
	struct stat there;
	snprintf(r.path, sizeof r.path, "%s/runs.csv", s->directory.path);
	int fd = run_directory_open_file(&s->directory, "runs.csv", O_RDONLY, err), rc = fd < 0 ? fd : 0;
	if (!rc && fstat(fd, &there))
		rc = error_set(err, ERROR_IO, "%s: %s", r.path, strerror(errno));
	else if (!rc && there.st_size > RESULT_SET_MAX_RUNS_BYTES)
		rc = error_set(err, ERROR_INPUT, "%s: larger than %lld bytes, which is all that is read; divide it",
			       r.path, (long long)RESULT_SET_MAX_RUNS_BYTES);
	if (!rc)
		rc = read_rows(&r, fd, err);
	if (fd >= 0)
		close(fd);
	if (!rc)
		rc = index_ids(&r, err);
	if (!rc)
		rc = key_rows(&r, err);
	if (!rc)
		rc = load_optional(&s->directory, "env.json", &s->env, err);
	if (!rc)
		rc = load_optional(&s->directory, "sweep.json", &s->sweep, err);
	return rc;
}

static void set_empty(struct result_set *s)
{
	*s = (struct result_set){
		.directory = {.fd = -1}, .tokens = {.fd = -1}, .telemetry = {.fd = -1}, .timeline = {.fd = -1}};
}

int result_set_open(struct result_set *s, const char *path, struct error *err)
{
	set_empty(s);
	int rc = run_directory_open(&s->directory, path, err);
	return rc ? rc : read_directory(s, err);
}

int result_set_read(struct result_set *s, const struct run_directory *d, struct error *err)
{
	set_empty(s);
	memcpy(s->directory.path, d->path, sizeof d->path);
	s->directory.fd = fcntl(d->fd, F_DUPFD_CLOEXEC, 0);
	if (s->directory.fd < 0)
		return error_set(err, ERROR_IO, "%s: %s", d->path, strerror(errno));
	return read_directory(s, err);
}

void result_set_close(struct result_set *s)
{
	detail_file_close(&s->tokens);
	detail_file_close(&s->telemetry);
	detail_file_close(&s->timeline);
	run_directory_close(&s->directory);
	json_decref(s->env);
	json_decref(s->sweep);
	free(s->rows);
	free(s->ranges);
	free(s->counts);
	free(s->cells);
	free(s->by_id);
	text_block_free(&s->texts);
	set_empty(s);
}

const char *result_set_commit(const struct result_set *s)
{
	for (size_t i = 1; i < s->n_rows; i++)
		if (strcmp(s->rows[i].commit, s->rows[0].commit))
			return NULL;
	return s->n_rows && *s->rows[0].commit ? s->rows[0].commit : NULL;
}

const json_t *result_set_fact(const struct result_set *s, const char *path)
{
	const json_t *at = s->env;
	char key[64];
	while (at && *path) {
		size_t n = strcspn(path, " ");
		assert(n < sizeof key);
		memcpy(key, path, n);
		key[n] = '\0';
		at = json_object_get(at, key);
		path += n + (path[n] == ' ');
	}
	return json_is_null(at) ? NULL : at;
}

const char *result_set_machine(const struct result_set *s)
{
	const char *gpu = json_string_value(result_set_fact(s, "gpu name"));
	return gpu ? gpu : json_string_value(result_set_fact(s, "cpu model"));
}
