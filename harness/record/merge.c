#include "harness/record/merge.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "harness/record/merge_internal.h"

enum { FILES = 4 };
static const char *const names[FILES] = {"runs.csv", "tokens.csv", "telemetry.csv", "timeline.csv"};

/* The new directory, and its files while they are written. */
struct merged {
	struct run_directory directory;
	FILE *files[FILES]; /* null: not begun */
};

static int write_failed(const struct merged *w, const char *name, struct error *err)
{
	return error_set(err, ERROR_IO, "%s/%s: %s; nothing is merged", w->directory.path, name, strerror(errno));
}

/* ---- rows ---- */

static int begin_file(struct merged *w, int i, int from, const struct csv_range *header, struct error *err)
{
	if (w->files[i])
		return 0;
	int fd = run_directory_create_file(&w->directory, names[i], err);
	if (fd < 0)
		return fd;
	w->files[i] = fdopen(fd, "w");
	if (!w->files[i])
		close(fd);
	return w->files[i] && !csv_range_copy(from, header, w->files[i]) ? 0 : write_failed(w, names[i], err);
}

/* The rows of each run of the shard, in the order of its runs. */
static int copy_details(struct merged *w, int i, const struct result_set *s, const struct detail_file *f,
			struct error *err)
{
	if (f->fd < 0)
		return 0;
	int rc = begin_file(w, i, f->fd, &f->header, err);
	for (size_t r = 0; r < s->n_rows && !rc; r++) {
		size_t n;
		const struct detail_range *ranges = detail_file_ranges(f, r, &n);
		for (size_t k = 0; k < n && !rc; k++)
			if (csv_range_copy(f->fd, &ranges[k].range, w->files[i]))
				rc = write_failed(w, names[i], err);
	}
	return rc;
}

static int copy_shard(struct merged *w, struct result_set *s, struct error *err)
{
	int fd = run_directory_open_file(&s->directory, names[0], O_RDONLY, err);
	if (fd < 0)
		return fd;
	int rc = begin_file(w, 0, fd, &s->header, err);
	for (size_t r = 0; r < s->n_rows && !rc; r++)
		if (csv_range_copy(fd, &s->ranges[r], w->files[0]))
			rc = write_failed(w, names[0], err);
	close(fd);
	if (!rc)
		rc = merge_open_details(s, err);
	if (!rc)
		rc = copy_details(w, 1, s, &s->tokens, err);
	if (!rc)
		rc = copy_details(w, 2, s, &s->telemetry, err);
	if (!rc)
		rc = copy_details(w, 3, s, &s->timeline, err);
	merge_close_details(s);
	return rc;
}

/* Forced to the disk. What no reader would read is not written. */
static int end_files(struct merged *w, struct error *err)
{
	int rc = 0;
	for (int i = 0; i < FILES; i++) {
		if (!w->files[i])
			continue;
		off_t size = fflush(w->files[i]) ? -1 : ftello(w->files[i]);
		if (!rc && (size < 0 || (fsync(fileno(w->files[i])) && errno != EINVAL)))
			rc = write_failed(w, names[i], err);
		if (!rc && size > (i ? RESULT_SET_MAX_DETAIL_BYTES : RESULT_SET_MAX_RUNS_BYTES))
			rc = error_set(err, ERROR_INPUT,
				       "%s of all shards has %lld bytes, more than is ever read; merge some of them",
				       names[i], (long long)size);
		if (fclose(w->files[i]) && !rc)
			rc = write_failed(w, names[i], err);
		w->files[i] = NULL;
	}
	return rc;
}

/* ---- descriptions ---- */

/* What all agree in; null where they do not. The caller owns it. */
static json_t *common(json_t *a, json_t *b)
{
	const char *key;
	json_t *value;
	if (json_equal(a, b))
		return json_incref(a);
	if (!json_is_object(a) || !json_is_object(b))
		return json_null();
	json_t *out = json_object();
	json_object_foreach(a, key, value)
	{
		json_t *other = json_object_get(b, key);
		json_object_set_new(out, key, other ? common(value, other) : json_null());
	}
	return out;
}

static json_t *merged_environment(const struct merge *m)
{
	json_t *all = json_incref(m->shards[0].set.env), *shards = json_array();
	for (int i = 0; i < m->n; i++) {
		json_t *both = common(all, m->shards[i].set.env);
		json_decref(all);
		all = both;
		json_array_append_new(shards, json_pack("{s:i, s:O}", "index", m->shards[i].index, "environment",
							m->shards[i].set.env));
	}
	json_t *out = json_copy(all);
	json_decref(all);
	/* Their contents agree; their names may not. */
	json_object_set(out, "models", json_object_get(m->shards[0].set.env, "models"));
	json_object_set_new(out, "shards", shards);
	return out;
}

static json_t *merged_sweep(const struct merge *m)
{
	json_t *out = json_copy(m->shards[0].set.sweep), *list = json_array();
	json_t *shard = json_object_get(m->shards[0].set.sweep, "shard");
	for (int i = 0; i < m->n; i++)
		json_array_append_new(list, json_integer(m->shards[i].index));
	for (int i = 1; i < m->n; i++)
		if (!json_equal(json_object_get(out, "device_memory"),
				json_object_get(m->shards[i].set.sweep, "device_memory")))
			json_object_del(out, "device_memory");
	json_object_del(out, "shard");
	json_object_set_new(out, "merged",
			    json_pack("{s:o, s:i, s:O, s:O, s:s}", "shards", list, "count", m->count, "cells",
				      json_object_get(shard, "cells"), "division", json_object_get(shard, "division"),
				      "missing", m->summary->missing));
	return out;
}

static int save(struct merged *w, const char *name, json_t *value, struct error *err)
{
	int rc = value ? run_directory_save_json(&w->directory, name, value, err)
		       : error_set(err, ERROR_MEMORY, "no memory for %s", name);
	json_decref(value);
	return rc;
}

/* ---- the directory ---- */

/* Beside the place it will have: "DIR.merging-PID". */
static int make_beside(struct merged *w, const char *out, struct error *err)
{
	char path[RUN_DIRECTORY_PATH];
	size_t n = strlen(out);
	while (n > 1 && out[n - 1] == '/')
		n--;
	if (n + 32 > sizeof path)
		return error_set(err, ERROR_INPUT, "--out: a path of %zu bytes; give another one", n);
	snprintf(path, sizeof path, "%.*s.merging-%ld", (int)n, out, (long)getpid());
	int rc = run_directory_make_last(&w->directory, path, err);
	return rc ? rc : run_directory_check_empty(&w->directory, err);
}

static void remove_all(struct merged *w)
{
	for (int i = 0; i < FILES; i++) {
		if (w->files[i])
			fclose(w->files[i]);
		unlinkat(w->directory.fd, names[i], 0);
	}
	unlinkat(w->directory.fd, "sweep.json", 0);
	unlinkat(w->directory.fd, "env.json", 0);
	rmdir(w->directory.path);
}

static int write_all(struct merge *m, struct merged *w, struct error *err)
{
	struct result_set s;
	int rc = 0;
	for (int i = 0; i < m->n && !rc; i++)
		rc = copy_shard(w, &m->shards[i].set, err);
	int ended = end_files(w, rc ? NULL : err);
	if (!rc)
		rc = ended;
	if (!rc)
		rc = save(w, "sweep.json", merged_sweep(m), err);
	if (!rc)
		rc = save(w, "env.json", merged_environment(m), err);
	if (rc)
		return rc;
	/* What is not read back is not given a name. */
	rc = result_set_read(&s, &w->directory, err);
	if (!rc)
		m->summary->cells = s.n_cells;
	m->summary->runs = rc ? 0 : (int)s.n_rows;
	if (!rc)
		m->summary->places = result_places(&s);
	result_set_close(&s);
	return rc;
}

int merge_directories(const struct merge_options *o, struct merge_summary *out, struct error *err)
{
	struct merge m = {.o = o, .summary = out};
	struct merged w = {.directory = {.fd = -1}};
	*out = (struct merge_summary){.shards = o->n};
	int rc = run_directory_check_new(o->out, err), made = 0;
	if (!rc)
		rc = merge_open(&m, err);
	if (!rc) {
		rc = make_beside(&w, o->out, err);
		made = !rc;
	}
	if (!rc)
		rc = write_all(&m, &w, err);
	if (!rc && ((fsync(w.directory.fd) && errno != EINVAL) || rename(w.directory.path, o->out)))
		rc = error_set(err, ERROR_IO, "%s: %s; nothing is merged", o->out, strerror(errno));
	if (rc && made)
		remove_all(&w);
	out->count = m.count;
	run_directory_close(&w.directory);
	merge_close(&m);
	return rc;
}
