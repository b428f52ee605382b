#include "harness/cli/bench_status.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/output_file.h"
#include "base/text.h"
#include "harness/cli/output_option.h"
#include "harness/measure/progress.h"

/* Seconds between two versions of the files. */
static const double INTERVAL = 1;

static double monotonic(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void bench_status_init(struct bench_status *s, const char *status_file, const char *metrics_file)
{
	*s = (struct bench_status){.status_file = status_file, .metrics_file = metrics_file};
	sweep_status_init(&s->now);
}

static bool is_wanted(const struct bench_status *s)
{
	return s->status_file || s->metrics_file;
}

int bench_status_check(const struct bench_status *s, const struct axis_values *models, const char *text,
		       const char *directory, struct error *err)
{
	const struct {
		const char *option, *path;
	} files[] = {{"--status-file", s->status_file}, {"--prometheus-file", s->metrics_file}};
	int rc = 0;
	for (int i = 0; i < 2 && !rc; i++) {
		if (!files[i].path)
			continue;
		rc = output_option_check(files[i].option, files[i].path, true, (const char *const *)models->words,
					 models->n, err);
		if (!rc)
			rc = output_option_check(files[i].option, files[i].path, true, &text, 1, err);
		if (!rc && directory)
			rc = output_option_check_results(files[i].option, files[i].path, &directory, 1, NULL, err);
	}
	if (!rc && s->status_file && s->metrics_file && !strcmp(s->status_file, s->metrics_file))
		rc = error_set(err, ERROR_INPUT, "--prometheus-file: is --status-file's file; name another one");
	return rc;
}

static int write_text(const struct sweep_status *now, FILE *f, struct error *err)
{
	json_t *o;
	int rc = sweep_status_json(now, &o, err);
	if (!rc && (json_dumpf(o, f, JSON_INDENT(2)) || fputc('\n', f) == EOF))
		rc = error_set(err, ERROR_IO, "cannot be written");
	json_decref(o);
	return rc;
}

static int write_file(const struct sweep_status *now, const char *path, bool metrics, struct error *err)
{
	struct output_file o;
	FILE *f;
	int rc = output_file_open(&o, path, true, err);
	if (rc)
		return rc;
	rc = output_file_stream(&o, &f, err);
	if (!rc) {
		if (metrics)
			sweep_status_metrics(now, f);
		else
			rc = write_text(now, f, err);
		bool bad = ferror(f) != 0;
		if ((fclose(f) || bad) && !rc)
			rc = error_set(err, ERROR_IO, "%s: cannot be written; free space or write elsewhere",
				       text_show_path(path).text);
	}
	if (!rc)
		return output_file_commit(&o, err);
	output_file_discard(&o);
	return rc;
}

void bench_status_write(struct bench_status *s)
{
	const char *const paths[] = {s->status_file, s->metrics_file};
	struct error err = {""};
	if (!is_wanted(s))
		return;
	s->now.updated_s = (int64_t)time(NULL);
	s->written = monotonic();
	for (int i = 0; i < 2; i++) {
		if (!paths[i] || !write_file(&s->now, paths[i], i == 1, &err) || s->warned)
			continue;
		s->warned = true;
		progress_clear();
		fprintf(stderr, "gemmark bench: %s: the sweep goes on without; this is said once\n", err.text);
	}
}

void bench_status_start(struct bench_status *s, const char *directory)
{
	if (!is_wanted(s))
		return;
	/* From wherever somebody reads it. */
	char *path = realpath(directory, NULL);
	const char *name = path ? path : directory;
	text_name(s->now.directory, sizeof s->now.directory, name, strlen(name));
	free(path);
	process_mark_self("", &s->now.process);
	s->now.started_s = (int64_t)time(NULL);
	s->began = monotonic();
	s->first = (int)s->now.runs;
	bench_status_write(s);
}

void bench_status_take(struct bench_status *s, const struct run_row *row)
{
	sweep_status_take(&s->now, row);
}

void bench_status_progress(struct bench_status *s, const struct runner_progress *p, const struct cell *next)
{
	if (!is_wanted(s))
		return;
	s->now.runs_total = p->runs;
	s->now.seconds_left = progress_seconds_left(p);
	*s->now.cell = '\0';
	if (next)
		sweep_status_cell(next, s->now.cell);
	double now = monotonic();
	int made = p->run - s->first;
	/* Of the first one nothing is known: it may be long. */
	bool long_run = next && (made <= 0 || (now - s->began) / made >= INTERVAL);
	if (long_run || now - s->written >= INTERVAL)
		bench_status_write(s);
}

void bench_status_end(struct bench_status *s, enum sweep_state state, const char *why)
{
	/* Of a sweep that never began nothing is said. */
	if (!is_wanted(s) || !s->now.process.pid)
		return;
	s->now.state = state;
	*s->now.cell = '\0';
	s->now.seconds_left = state == SWEEP_STATE_DONE ? 0 : NAN;
	text_name(s->now.error, sizeof s->now.error, why, strlen(why));
	bench_status_write(s);
}
