#include "harness/recorder.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csv.h>

struct recorder {
	char path[4096];
	FILE *runs;
	FILE *tokens;
};

static const char *const token_columns[] = {
	"schema_version", "run_id", "phase",       "token_index",  "pos",          "kv_len",  "submit_us", "gpu_us",
	"wall_us",        "itl_us", "graph_event", "api_launches", "node_updates", "kernels", "copies",
};
enum { N_TOKEN_COLUMNS = sizeof token_columns / sizeof *token_columns };

/* One field and what follows it. Unknown values are nothing at all, not "". Returns 0 or -1. */
static int put(FILE *f, const char *text, int last)
{
	if (*text && csv_fwrite(f, text, strlen(text)))
		return -1;
	return fputc(last ? '\n' : ',', f) == EOF ? -1 : 0;
}

static int put_int(FILE *f, long long x, int last)
{
	char text[ROW_NUMBER_SIZE];
	snprintf(text, sizeof text, "%lld", x);
	return put(f, text, last);
}

static int put_real(FILE *f, double x, int last)
{
	char text[ROW_NUMBER_SIZE];
	return put(f, row_real_text(x, text), last);
}

static int put_token(FILE *f, const struct run_row *row, const struct token_record *t)
{
	return put_int(f, row->schema_version, 0) | put(f, row->run_id ? row->run_id : "", 0) |
	       put(f, token_phase_name(t->phase), 0) | put_int(f, t->index, 0) | put_int(f, t->pos, 0) |
	       put_int(f, t->kv_len, 0) | put_real(f, t->submit_us, 0) | put_real(f, t->gpu_us, 0) |
	       put_real(f, t->wall_us, 0) | put_real(f, t->itl_us, 0) | put(f, token_event_name(t->event), 0) |
	       put_int(f, t->api_launches, 0) | put_int(f, t->node_updates, 0) | put_int(f, t->kernels, 0) |
	       put_int(f, t->copies, 1);
}

static int write_failed(const struct recorder *r, const char *file, struct error *err)
{
	return error_set(err, ERROR_IO, "%s/%s: %s; free some space, the rows so far are kept", r->path, file,
			 strerror(errno));
}

static int settle(const struct recorder *r, FILE *f, const char *file, struct error *err)
{
	/* fsync says EINVAL where there is nothing to force, as on a pipe. */
	if (fflush(f) || (fsync(fileno(f)) && errno != EINVAL))
		return write_failed(r, file, err);
	return 0;
}

static int make_directories(const char *path, struct error *err)
{
	char part[4096];
	size_t n = strlen(path);
	if (n == 0 || n >= sizeof part)
		return error_set(err, ERROR_INPUT, "output directory: a path of %zu bytes; give a shorter one", n);
	memcpy(part, path, n + 1);
	for (size_t i = 1; i <= n; i++) {
		if (part[i] != '/' && part[i] != '\0')
			continue;
		char keep = part[i];
		part[i] = '\0';
		if (mkdir(part, 0777) && errno != EEXIST)
			return error_set(err, ERROR_IO, "%s: %s; give another output directory", part, strerror(errno));
		part[i] = keep;
	}
	return 0;
}

static int check_empty(const char *path, struct error *err)
{
	DIR *d = opendir(path);
	if (!d)
		return error_set(err, ERROR_IO, "%s: %s; give another output directory", path, strerror(errno));
	int entries = 0;
	for (struct dirent *e; (e = readdir(d));)
		entries += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
	closedir(d);
	if (entries)
		return error_set(err, ERROR_INPUT,
				 "%s: not empty, and results are never overwritten; name a new "
				 "directory",
				 path);
	return 0;
}

static FILE *open_file(const struct recorder *r, const char *file, struct error *err)
{
	char path[sizeof r->path + 32];
	snprintf(path, sizeof path, "%s/%s", r->path, file);
	FILE *f = fopen(path, "wxe");
	if (!f)
		error_set(err, ERROR_IO, "%s: %s; give another output directory", path, strerror(errno));
	return f;
}

int recorder_open(struct recorder **out, const char *path, struct error *err)
{
	*out = NULL;
	int rc = make_directories(path, err);
	if (!rc)
		rc = check_empty(path, err);
	if (rc)
		return rc;
	struct recorder *r = calloc(1, sizeof *r);
	if (!r)
		return error_set(err, ERROR_MEMORY, "%s: no memory for the recorder", path);
	snprintf(r->path, sizeof r->path, "%s", path);
	r->runs = open_file(r, "runs.csv", err);
	r->tokens = r->runs ? open_file(r, "tokens.csv", err) : NULL;
	if (!r->tokens) {
		recorder_close(r, NULL);
		return ERROR_IO;
	}
	int bad = 0;
	for (int i = 0; i < row_n_columns; i++)
		bad |= put(r->runs, row_columns[i].name, i == row_n_columns - 1);
	for (int i = 0; i < N_TOKEN_COLUMNS; i++)
		bad |= put(r->tokens, token_columns[i], i == N_TOKEN_COLUMNS - 1);
	if (bad)
		rc = write_failed(r, "runs.csv", err);
	if (!rc)
		rc = settle(r, r->tokens, "tokens.csv", err);
	if (!rc)
		rc = settle(r, r->runs, "runs.csv", err);
	if (rc) {
		recorder_close(r, NULL);
		return rc;
	}
	*out = r;
	return 0;
}

int recorder_run(struct recorder *r, const struct run_row *row, const struct token_record *tokens, int n,
		 struct error *err)
{
	int bad = 0;
	for (int i = 0; i < n; i++)
		bad |= put_token(r->tokens, row, &tokens[i]);
	if (bad)
		return write_failed(r, "tokens.csv", err);
	int rc = settle(r, r->tokens, "tokens.csv", err);
	if (rc)
		return rc;
	char number[ROW_NUMBER_SIZE];
	for (int i = 0; i < row_n_columns; i++)
		bad |= put(r->runs, row_text(row, &row_columns[i], number), i == row_n_columns - 1);
	if (bad)
		return write_failed(r, "runs.csv", err);
	return settle(r, r->runs, "runs.csv", err);
}

int recorder_close(struct recorder *r, struct error *err)
{
	if (!r)
		return 0;
	int rc = 0;
	if (r->tokens && fclose(r->tokens))
		rc = write_failed(r, "tokens.csv", err);
	if (r->runs && fclose(r->runs))
		rc = write_failed(r, "runs.csv", err);
	free(r);
	return rc;
}
