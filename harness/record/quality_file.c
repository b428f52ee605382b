#include "harness/record/quality_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/record/column.h"
#include "harness/record/csv_columns.h"
#include "harness/record/csv_reader.h"

static const char summary_name[] = "summary.csv";

enum { SUMMARY_MAX = 1 << 16 }; /* rows that are read */

const char *const quality_policies[] = {"full", "snapkv", "recency", "random", "stride"};
const char *const quality_asked[] = {"before", "behind"};
const char *const quality_questions[] = {"verbatim", "paraphrased"};
const char *const quality_measures[] = {"kl", "top1", "perplexity", "ratio", "exact", "logprob"};

#define COLUMN(row, column, kind, member)                                            \
	{                                                                            \
		.name = column, .type = kind, .offset = offsetof(struct row, member) \
	}
#define NAMES(row, column, member, list)                                                                    \
	{                                                                                                   \
		.name = column, .type = COLUMN_NAME, .offset = offsetof(struct row, member), .names = list, \
		.n_names = sizeof list / sizeof *list                                                       \
	}
#define CASE(row)                                                                                               \
	COLUMN(row, "context", COLUMN_COUNT, of.context), NAMES(row, "policy", of.policy, quality_policies),    \
		COLUMN(row, "budget", COLUMN_COUNT, of.budget), COLUMN(row, "window", COLUMN_COUNT, of.window), \
		COLUMN(row, "pool", COLUMN_COUNT, of.pool)

static const struct column text_columns[] = {
	CASE(quality_text_row),
	COLUMN(quality_text_row, "seed", COLUMN_COUNT, seed),
	COLUMN(quality_text_row, "start", COLUMN_COUNT, start),
	COLUMN(quality_text_row, "continuation", COLUMN_COUNT, continuation),
	COLUMN(quality_text_row, "kl", COLUMN_REAL, kl),
	COLUMN(quality_text_row, "kl_max", COLUMN_REAL, kl_max),
	COLUMN(quality_text_row, "top1", COLUMN_REAL, top1),
	COLUMN(quality_text_row, "nll", COLUMN_REAL, nll),
};
static const struct column needle_columns[] = {
	CASE(quality_needle_row),
	COLUMN(quality_needle_row, "seed", COLUMN_COUNT, seed),
	COLUMN(quality_needle_row, "needle", COLUMN_COUNT, needle),
	COLUMN(quality_needle_row, "depth", COLUMN_REAL, depth),
	NAMES(quality_needle_row, "asked", asked, quality_asked),
	NAMES(quality_needle_row, "question", question, quality_questions),
	COLUMN(quality_needle_row, "value", COLUMN_COUNT, value),
	COLUMN(quality_needle_row, "tokens", COLUMN_COUNT, tokens),
	COLUMN(quality_needle_row, "exact", COLUMN_COUNT, exact),
	COLUMN(quality_needle_row, "logprob", COLUMN_REAL, logprob),
};
static const struct column summary_columns[] = {
	CASE(quality_summary_row),
	NAMES(quality_summary_row, "measure", measure, quality_measures),
	NAMES(quality_summary_row, "asked", asked, quality_asked),
	NAMES(quality_summary_row, "question", question, quality_questions),
	COLUMN(quality_summary_row, "third", COLUMN_COUNT, third),
	COLUMN(quality_summary_row, "seeds", COLUMN_COUNT, seeds),
	COLUMN(quality_summary_row, "mean", COLUMN_REAL, mean),
	COLUMN(quality_summary_row, "low", COLUMN_REAL, low),
	COLUMN(quality_summary_row, "high", COLUMN_REAL, high),
	COLUMN(quality_summary_row, "best", COLUMN_COUNT, best),
};
enum {
	N_TEXT = sizeof text_columns / sizeof *text_columns,
	N_NEEDLE = sizeof needle_columns / sizeof *needle_columns,
	N_SUMMARY = sizeof summary_columns / sizeof *summary_columns,
};

/* ---- writing ---- */

static void put_header(FILE *f, const struct column *columns, int n)
{
	for (int i = 0; i < n; i++)
		fprintf(f, "%s%s", i ? "," : "", columns[i].name);
	fputc('\n', f);
}

/* Numbers and words that no CSV needs to quote. */
static void put_row(FILE *f, const struct column *columns, int n, const void *row)
{
	char text[COLUMN_TEXT_SIZE];
	for (int i = 0; i < n; i++)
		fprintf(f, "%s%s", i ? "," : "", column_text(row, &columns[i], text));
	fputc('\n', f);
}

static int failed(const char *name, struct error *err)
{
	return error_set(err, ERROR_IO, "%s: %s; free space or write elsewhere", name,
			 errno ? strerror(errno) : "a write failed");
}

/* A new file with its header; null after a failure. */
static FILE *create(const struct run_directory *d, const char *name, const struct column *columns, int n,
		    struct error *err)
{
	int fd = run_directory_create_file(d, name, err);
	if (fd < 0)
		return NULL;
	errno = 0;
	FILE *f = fdopen(fd, "w");
	if (!f) {
		failed(name, err);
		close(fd);
		return NULL;
	}
	put_header(f, columns, n);
	return f;
}

int quality_file_open(struct quality_file *f, const struct run_directory *d, struct error *err)
{
	*f = (struct quality_file){0};
	if ((f->texts = create(d, "quality.csv", text_columns, N_TEXT, err)) &&
	    (f->needles = create(d, "needles.csv", needle_columns, N_NEEDLE, err)))
		return 0;
	quality_file_close(f, NULL);
	return ERROR_IO;
}

/* Room for one more of n records. */
static int grow(void **list, int n, size_t size, struct error *err)
{
	if (n & (n - 1))
		return 0;
	void *grown = realloc(*list, (n ? 2 * (size_t)n : 1) * size);
	if (!grown)
		return error_set(err, ERROR_MEMORY, "no memory for %d rows", n);
	*list = grown;
	return 0;
}

static int append(FILE *f, const char *name, const struct column *columns, int n, const void *row, struct error *err)
{
	errno = 0;
	put_row(f, columns, n, row);
	return fflush(f) || ferror(f) ? failed(name, err) : 0;
}

int quality_file_text(struct quality_file *f, const struct quality_text_row *row, struct error *err)
{
	void *list = f->rows.texts;
	int rc = grow(&list, f->rows.n_texts, sizeof *row, err);
	f->rows.texts = list;
	if (rc)
		return rc;
	f->rows.texts[f->rows.n_texts++] = *row;
	return append(f->texts, "quality.csv", text_columns, N_TEXT, row, err);
}

int quality_file_needle(struct quality_file *f, const struct quality_needle_row *row, struct error *err)
{
	void *list = f->rows.needles;
	int rc = grow(&list, f->rows.n_needles, sizeof *row, err);
	f->rows.needles = list;
	if (rc)
		return rc;
	f->rows.needles[f->rows.n_needles++] = *row;
	return append(f->needles, "needles.csv", needle_columns, N_NEEDLE, row, err);
}

int quality_file_close(struct quality_file *f, struct error *err)
{
	int rc = 0;
	errno = 0;
	if (f->texts && fclose(f->texts))
		rc = failed("quality.csv", err);
	if (f->needles && fclose(f->needles) && !rc)
		rc = failed("needles.csv", err);
	f->texts = f->needles = NULL;
	return rc;
}

void quality_rows_free(struct quality_rows *r)
{
	free(r->texts);
	free(r->needles);
	*r = (struct quality_rows){0};
}

int quality_summary_write(const struct run_directory *d, const struct quality_summary_row *rows, int n,
			  struct error *err)
{
	struct run_file f;
	int rc = run_file_open(&f, d, summary_name, err);
	if (rc)
		return rc;
	put_header(f.stream, summary_columns, N_SUMMARY);
	for (int i = 0; i < n; i++)
		put_row(f.stream, summary_columns, N_SUMMARY, &rows[i]);
	return run_file_commit(&f, 0, err);
}

/* ---- reading ---- */

bool quality_summary_exists(const struct run_directory *d)
{
	return !faccessat(d->fd, summary_name, F_OK, AT_SYMLINK_NOFOLLOW);
}

static bool sensible(const struct quality_summary_row *r)
{
	return r->of.context >= 0 && (int)r->of.policy >= 0 && (int)r->measure >= 0 && r->third < 3;
}

static int read_rows(struct csv_reader *r, const char *path, struct quality_summary_row **rows, int *n,
		     struct error *err)
{
	static const char *const required[] = {"context", "policy", "budget", "measure", "mean", "low", "high", NULL};
	struct csv_record record;
	struct csv_columns columns;
	const char *const *fields;
	size_t width;
	int rc = csv_reader_next(r, &record, err);
	if (!rc)
		return error_set(err, ERROR_INPUT, "%s: empty; the first line must name the columns", path);
	rc = rc < 0 ? rc : csv_reader_split(r, &fields, &width, err);
	if (!rc)
		rc = csv_columns_read(&columns, summary_columns, N_SUMMARY, required, fields, width, path, err);
	while (!rc && (rc = csv_reader_next(r, &record, err)) > 0) {
		void *list = *rows;
		if (*n == SUMMARY_MAX)
			return error_set(err, ERROR_INPUT, "%s: more than %d rows", path, SUMMARY_MAX);
		rc = grow(&list, *n, sizeof **rows, err);
		*rows = list;
		if (!rc)
			rc = csv_reader_split(r, &fields, &width, err);
		if (!rc)
			rc = csv_columns_fill(&columns, &(*rows)[*n], fields, path, record.range.line, err);
		if (!rc && !sensible(&(*rows)[*n]))
			rc = error_set(err, ERROR_INPUT,
				       "%s: line %zu names no context, policy or measure; restore the line, or take it "
				       "out",
				       path, record.range.line);
		*n += !rc;
	}
	return rc;
}

int quality_summary_read(const struct run_directory *d, struct quality_summary_row **rows, int *n, struct error *err)
{
	char path[RUN_DIRECTORY_PATH + sizeof summary_name];
	struct csv_reader *r = NULL;
	*rows = NULL;
	*n = 0;
	int fd = run_directory_open_file(d, summary_name, O_RDONLY, err);
	if (fd < 0)
		return fd;
	snprintf(path, sizeof path, "%s/%s", d->path, summary_name);
	int rc = csv_reader_open(&r, fd, path, NULL, err);
	if (!rc)
		rc = read_rows(r, path, rows, n, err);
	csv_reader_close(r);
	close(fd);
	if (rc) {
		free(*rows);
		*rows = NULL;
		*n = 0;
	}
	return rc;
}
