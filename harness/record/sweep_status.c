#include "harness/record/sweep_status.h"

#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "harness/record/recorder.h"
#include "harness/record/result_set.h"
#include "harness/record/run_directory.h"
#include "harness/record/sweep_matrix.h"

enum { VERSION = 1, TIME_SIZE = 32 };

/* More than anybody measures; those of all devices are added. */
static const int64_t MOST_RUNS = (int64_t)1 << 53;

static const char *const state_names[] = {"running", "done", "interrupted", "failed", "gone", "unknown"};

const char *sweep_state_name(enum sweep_state s)
{
	return state_names[s];
}

void sweep_status_init(struct sweep_status *s)
{
	*s = (struct sweep_status){.runs_total = -1, .seconds_left = NAN, .started_s = -1, .updated_s = -1};
}

static void set_text(char *out, size_t size, const char *text)
{
	text_name(out, size, text, strlen(text));
}

void sweep_status_take(struct sweep_status *s, const struct run_row *row)
{
	char text[SWEEP_STATUS_TEXT];
	s->runs++;
	s->of_status[row->status]++;
	if (row->status == RUN_STATUS_OK)
		return;
	snprintf(text, sizeof text, "%s: %s", run_status_name(row->status), row->reason ? row->reason : "");
	set_text(s->reason, sizeof s->reason, text);
}

void sweep_status_cell(const struct cell *c, char out[SWEEP_STATUS_TEXT])
{
	char label[CELL_LABEL_SIZE], text[SWEEP_STATUS_TEXT];
	cell_label(c, label);
	const char *fusion = cell_word(c, AXIS_FUSION);
	snprintf(text, sizeof text, "%s %s %s", label, cell_mode(c), fusion ? fusion : "");
	set_text(out, SWEEP_STATUS_TEXT, text);
}

static void add_text(char *out, size_t size, const char *device, const char *text)
{
	size_t used = strlen(out);
	char more[2 * SWEEP_STATUS_TEXT];
	if (!*text)
		return;
	snprintf(more, sizeof more, "%s%s: %s", used ? "; " : "", device, text);
	set_text(out + used, size - used, more);
}

/* The worst of two: what runs goes on, whatever the others do. */
static enum sweep_state worst(enum sweep_state a, enum sweep_state b)
{
	static const enum sweep_state order[] = {SWEEP_STATE_RUNNING,     SWEEP_STATE_UNKNOWN, SWEEP_STATE_FAILED,
						 SWEEP_STATE_INTERRUPTED, SWEEP_STATE_GONE,    SWEEP_STATE_DONE};
	int i = 0;
	while (order[i] != a && order[i] != b)
		i++;
	return order[i];
}

void sweep_status_add(struct sweep_status *all, const struct sweep_status *one, const char *device)
{
	all->state = worst(all->state, one->state);
	all->runs += one->runs;
	all->runs_total = all->runs_total < 0 || one->runs_total < 0 ? -1 : all->runs_total + one->runs_total;
	for (int i = 0; i <= RUN_STATUS_INTERRUPTED; i++)
		all->of_status[i] += one->of_status[i];
	if (isnan(all->seconds_left) || one->seconds_left > all->seconds_left)
		all->seconds_left = one->seconds_left;
	if (one->started_s >= 0 && (all->started_s < 0 || one->started_s < all->started_s))
		all->started_s = one->started_s;
	if (one->updated_s > all->updated_s)
		all->updated_s = one->updated_s;
	add_text(all->cell, sizeof all->cell, device, one->cell);
	add_text(all->reason, sizeof all->reason, device, one->reason);
	add_text(all->error, sizeof all->error, device, one->error);
}

/* ---- the file ---- */

static json_t *utc(int64_t seconds)
{
	char text[TIME_SIZE];
	time_t t = (time_t)seconds;
	struct tm tm;
	if (seconds < 0 || !gmtime_r(&t, &tm) || !strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm))
		return json_null();
	return json_string(text);
}

static int64_t utc_seconds(const char *text)
{
	struct tm tm = {0};
	const char *end = text ? strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm) : NULL;
	return end && !*end ? (int64_t)timegm(&tm) : -1;
}

static json_t *text_or_null(const char *text)
{
	return *text ? json_string(text) : json_null();
}

static json_t *number_or_null(double x)
{
	return isfinite(x) ? json_real(x) : json_null();
}

int sweep_status_json(const struct sweep_status *s, json_t **out, struct error *err)
{
	json_t *runs = json_pack("{s:I, s:o}", "done", (json_int_t)s->runs, "total",
				 s->runs_total < 0 ? json_null() : json_integer((json_int_t)s->runs_total));
	int bad = !runs;
	for (int i = 0; i <= RUN_STATUS_INTERRUPTED && !bad; i++)
		bad = json_object_set_new(runs, run_status_name((enum run_status)i),
					  json_integer((json_int_t)s->of_status[i]));
	*out = json_pack("{s:i, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "gemmark_status", VERSION, "state",
			 sweep_state_name(s->state), "runs", runs, "cell", text_or_null(s->cell), "seconds_left",
			 number_or_null(s->seconds_left), "started_utc", utc(s->started_s), "updated_utc",
			 utc(s->updated_s), "last_reason", text_or_null(s->reason), "error", text_or_null(s->error),
			 "directory", text_or_null(s->directory), "process",
			 s->process.pid > 0 ? process_mark_json(&s->process) : json_null());
	if (*out && !bad)
		return 0;
	json_decref(*out);
	*out = NULL;
	return error_set(err, ERROR_MEMORY, "no memory for a status");
}

static int bad_member(const char *path, const char *key, struct error *err)
{
	return error_set(err, ERROR_INPUT, "%s: '%s' is not what a status file of gemmark has there",
			 text_show_path(path).text, key);
}

/* A count, or where null stands for it -1. */
static int take_count(const json_t *o, const char *key, int may_be_null, int64_t *out)
{
	const json_t *v = json_object_get(o, key);
	*out = json_is_null(v) ? -1 : (int64_t)json_integer_value(v);
	return (json_is_integer(v) && *out >= 0 && *out <= MOST_RUNS) || (may_be_null && json_is_null(v)) ? 0 : -1;
}

static int take_text(const json_t *o, const char *key, char *out, size_t size)
{
	const json_t *v = json_object_get(o, key);
	*out = '\0';
	if (json_is_string(v))
		set_text(out, size, json_string_value(v));
	return json_is_string(v) || json_is_null(v) ? 0 : -1;
}

static int take_time(const json_t *o, const char *key, int64_t *out)
{
	const json_t *v = json_object_get(o, key);
	*out = utc_seconds(json_string_value(v));
	return json_is_null(v) || *out >= 0 ? 0 : -1;
}

int sweep_status_parse(const json_t *o, const char *path, struct sweep_status *s, struct error *err)
{
	const char *state = json_string_value(json_object_get(o, "state"));
	const json_t *runs = json_object_get(o, "runs"), *left = json_object_get(o, "seconds_left"),
		     *process = json_object_get(o, "process");
	int k = 0;
	sweep_status_init(s);
	if (json_integer_value(json_object_get(o, "gemmark_status")) != VERSION)
		return error_set(err, ERROR_INPUT,
				 "%s: is no status file of this gemmark; name one, or a results directory",
				 text_show_path(path).text);
	while (k < SWEEP_STATES && (!state || strcmp(state, state_names[k])))
		k++;
	if (k == SWEEP_STATES)
		return bad_member(path, "state", err);
	s->state = (enum sweep_state)k;
	if (take_count(runs, "done", 0, &s->runs) || take_count(runs, "total", 1, &s->runs_total))
		return bad_member(path, "runs", err);
	for (int i = 0; i <= RUN_STATUS_INTERRUPTED; i++)
		if (take_count(runs, run_status_name((enum run_status)i), 0, &s->of_status[i]))
			return bad_member(path, run_status_name((enum run_status)i), err);
	if (!json_is_null(left) && !(json_is_number(left) && json_number_value(left) >= 0))
		return bad_member(path, "seconds_left", err);
	s->seconds_left = json_is_null(left) ? NAN : json_number_value(left);
	const struct {
		const char *key;
		char *at;
		size_t size;
	} texts[] = {{"cell", s->cell, sizeof s->cell},
		     {"last_reason", s->reason, sizeof s->reason},
		     {"error", s->error, sizeof s->error},
		     {"directory", s->directory, sizeof s->directory}};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		if (take_text(o, texts[i].key, texts[i].at, texts[i].size))
			return bad_member(path, texts[i].key, err);
	if (take_time(o, "started_utc", &s->started_s))
		return bad_member(path, "started_utc", err);
	if (take_time(o, "updated_utc", &s->updated_s))
		return bad_member(path, "updated_utc", err);
	if (!json_is_null(process) && process_mark_parse(process, &s->process))
		return bad_member(path, "process", err);
	return 0;
}

int sweep_status_read(const char *path, const char *root, struct sweep_status *out, struct error *err)
{
	char folder[SWEEP_STATUS_PATH];
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	struct run_directory d;
	json_t *o;
	int n = snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) + (slash == path) : 1,
			 slash ? path : ".");
	if (!*name || n < 0 || (size_t)n >= sizeof folder)
		return error_set(err, ERROR_INPUT, "%s: is no file's name", text_show_path(path).text);
	int rc = run_directory_open(&d, folder, err);
	if (rc)
		return rc;
	rc = run_directory_load_json(&d, name, &o, err);
	run_directory_close(&d);
	if (rc)
		return rc;
	rc = sweep_status_parse(o, path, out, err);
	json_decref(o);
	if (!rc && out->state == SWEEP_STATE_RUNNING) {
		enum process_state p = out->process.pid > 0 ? process_mark_check(root, &out->process) : PROCESS_UNKNOWN;
		if (p == PROCESS_GONE)
			out->state = SWEEP_STATE_GONE;
		if (p == PROCESS_UNKNOWN)
			out->state = SWEEP_STATE_UNKNOWN;
	}
	return rc;
}

/* ---- a directory alone ---- */

/* Runs that the sweep is to make beside those of its rows; negative: unknown. */
static int runs_missing(const struct result_set *set, int64_t *out, struct error *err)
{
	const json_t *repetitions = json_object_get(set->sweep, "repetitions");
	json_int_t each = json_integer_value(repetitions);
	struct matrix m = {0};
	struct cell *cells = NULL;
	int n = 0, rc;
	*out = -1;
	if (!json_is_integer(repetitions) || each < 1 || each > INT_MAX ||
	    json_number_value(json_object_get(set->sweep, "until_error")) > 0)
		return 0;
	rc = sweep_matrix_read(set->sweep, set->directory.path, &m, err);
	if (!rc)
		rc = matrix_cells(&m, NULL, &cells, &n, err);
	free(cells);
	matrix_free(&m);
	if (rc)
		return rc;
	/* Of a shard, the cells that it was given. */
	const json_t *shard = json_object_get(set->sweep, "shard"), *index = json_object_get(shard, "index"),
		     *given = json_array_get(json_object_get(shard, "cells"), (size_t)json_integer_value(index) - 1);
	if (shard && (!json_is_integer(given) || json_integer_value(given) < 0 || json_integer_value(given) > n))
		return error_set(err, ERROR_INPUT,
				 "%s/sweep.json: its shard is none that gemmark writes; restore the file",
				 set->directory.path);
	int64_t missing = (shard ? (int64_t)json_integer_value(given) : n) * (int64_t)each;
	int64_t *rows = calloc((size_t)set->n_cells + 1, 2 * sizeof *rows),
		*closed = rows ? rows + set->n_cells + 1 : NULL;
	if (!rows)
		return error_set(err, ERROR_MEMORY, "no memory for %d cells", set->n_cells);
	for (size_t i = 0; i < set->n_rows; i++) {
		const struct run_row *r = &set->rows[i];
		/* An interrupted run is made again; a cell that is not ok is not repeated. */
		rows[r->cell] += r->attempt == 0 && r->status != RUN_STATUS_INTERRUPTED;
		closed[r->cell] |= r->status != RUN_STATUS_OK && r->status != RUN_STATUS_INTERRUPTED;
	}
	for (int c = 0; c < set->n_cells; c++)
		missing -= closed[c] ? (int64_t)each : rows[c];
	free(rows);
	*out = missing > 0 ? missing : 0;
	return 0;
}

int sweep_status_of_directory(const char *path, struct sweep_status *s, struct error *err)
{
	struct result_set set;
	struct stat file;
	sweep_status_init(s);
	set_text(s->directory, sizeof s->directory, path);
	int rc = result_set_open(&set, path, err), writes = 0;
	int64_t missing = -1;
	if (!rc) {
		/* Behind the rows: a sweep that ends in between is done, and not gone. */
		writes = recorder_writes(&set.directory);
		rc = set.sweep ? runs_missing(&set, &missing, err) : 0;
	}
	if (rc) {
		result_set_close(&set);
		return rc;
	}
	for (size_t i = 0; i < set.n_rows; i++)
		sweep_status_take(s, &set.rows[i]);
	if (set.n_rows) {
		const struct run_row *last = &set.rows[set.n_rows - 1];
		sweep_status_cell(&set.cells[last->cell], s->cell);
		s->started_s = utc_seconds(set.rows[0].started_utc);
		if (last->status == RUN_STATUS_INTERRUPTED)
			s->state = SWEEP_STATE_INTERRUPTED;
	}
	if (missing >= 0)
		s->runs_total = s->runs + missing;
	if (!fstatat(set.directory.fd, "runs.csv", &file, AT_SYMLINK_NOFOLLOW))
		s->updated_s = (int64_t)file.st_mtime;
	if (writes > 0)
		s->state = SWEEP_STATE_RUNNING;
	else if (missing == 0)
		s->state = SWEEP_STATE_DONE;
	else if (s->state != SWEEP_STATE_INTERRUPTED)
		s->state = writes < 0 || missing < 0 ? SWEEP_STATE_UNKNOWN : SWEEP_STATE_GONE;
	result_set_close(&set);
	return 0;
}

/* ---- Prometheus ---- */

static void put_label(FILE *f, const char *name, const char *value)
{
	fprintf(f, "%s=\"", name);
	for (; *value; value++) {
		if (*value == '\\' || *value == '"')
			fputc('\\', f);
		if (*value == '\n')
			fputs("\\n", f);
		else
			fputc(*value, f);
	}
	fputc('"', f);
}

/* One sample; label null: none but the directory. */
static void put_sample(FILE *f, const struct sweep_status *s, const char *name, const char *label, const char *value,
		       double x)
{
	fprintf(f, "%s{", name);
	put_label(f, "directory", s->directory);
	if (label) {
		fputc(',', f);
		put_label(f, label, value);
	}
	fprintf(f, "} %.15g\n", x);
}

static void put_head(FILE *f, const char *name, const char *help)
{
	fprintf(f, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name);
}

void sweep_status_metrics(const struct sweep_status *s, FILE *f)
{
	static const char runs[] = "gemmark_sweep_runs", state[] = "gemmark_sweep_state", info[] = "gemmark_sweep_info";
	const struct {
		const char *name, *help;
		double value;
	} numbers[] = {
		{"gemmark_sweep_runs_planned", "Runs of the whole sweep, those that are made already among them.",
		 s->runs_total < 0 ? NAN : (double)s->runs_total},
		{"gemmark_sweep_remaining_seconds", "What the runs that are left take at the speeds seen so far.",
		 s->seconds_left},
		{"gemmark_sweep_start_time_seconds", "When this process began with the sweep, in seconds since 1970.",
		 s->started_s < 0 ? NAN : (double)s->started_s},
		{"gemmark_sweep_update_time_seconds", "When these numbers were written, in seconds since 1970.",
		 s->updated_s < 0 ? NAN : (double)s->updated_s},
	};
	put_head(f, info, "1; the labels say which sweep it is.");
	fprintf(f, "%s{", info);
	put_label(f, "directory", s->directory);
	fputc(',', f);
	put_label(f, "host", s->process.host);
	fprintf(f, ",pid=\"%lld\"} 1\n", s->process.pid);
	put_head(f, state, "1 for the state that the sweep is in, 0 for the others.");
	for (int i = SWEEP_STATE_RUNNING; i <= SWEEP_STATE_FAILED; i++)
		put_sample(f, s, state, "state", state_names[i], s->state == (enum sweep_state)i);
	put_head(f, runs, "Runs so far, by how they ended.");
	for (int i = 0; i <= RUN_STATUS_INTERRUPTED; i++)
		put_sample(f, s, runs, "status", run_status_name((enum run_status)i), (double)s->of_status[i]);
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
		put_head(f, numbers[i].name, numbers[i].help);
		if (isfinite(numbers[i].value))
			put_sample(f, s, numbers[i].name, NULL, NULL, numbers[i].value);
	}
}
