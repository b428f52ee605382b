/* Whether shards belong together, and what of them is missing. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "harness/record/merge_internal.h"
#include "harness/record/sweep_file.h"
#include "harness/sweep/shard.h"

static const char *path_of(const struct merge_shard *s)
{
	return s->set.directory.path;
}

static int bad_shard(const struct merge_shard *s, const char *what, struct error *err)
{
	return error_set(err, ERROR_INPUT, "%s: %s", text_show_path(path_of(s)).text, what);
}

/* What sweep.json says of the shard; all of it is somebody's word. */
static int read_shard(struct merge_shard *s, int *count, int *repetitions, struct error *err)
{
	const json_t *shard = json_object_get(s->set.sweep, "shard"), *cells = json_object_get(shard, "cells");
	json_int_t index = json_integer_value(json_object_get(shard, "index"));
	json_int_t n = json_integer_value(json_object_get(shard, "count"));
	json_int_t r = json_integer_value(json_object_get(s->set.sweep, "repetitions"));
	if (!s->set.sweep || !s->set.env)
		return bad_shard(
			s, "has no sweep.json or no env.json: it is no sweep, or one that ended before its first run",
			err);
	if (json_object_get(s->set.sweep, "merged"))
		return bad_shard(s, "is merged already; merge the shards themselves", err);
	if (!shard)
		return bad_shard(s, "is no shard but a whole sweep; shards are made by bench --shard I/N", err);
	if (n < 1 || n > SHARDS_MAX || index < 1 || index > n || r < 1 || r > RESULT_SET_MAX_RUNS ||
	    json_array_size(cells) != (size_t)n || !json_is_string(json_object_get(shard, "division")))
		return bad_shard(s, "its sweep.json says no shard I of N; restore it", err);
	json_int_t has = json_integer_value(json_array_get(cells, (size_t)index - 1));
	if (has < 0 || has > RESULT_SET_MAX_RUNS)
		return bad_shard(s, "its sweep.json says no number of cells; restore it", err);
	s->index = (int)index;
	s->cells = (int)has;
	*count = (int)n;
	*repetitions = (int)r;
	return 0;
}

static const char *build_text(const struct result_set *s, const char *name)
{
	char path[32];
	snprintf(path, sizeof path, "build %s", name);
	const char *text = json_string_value(result_set_fact(s, path));
	return text ? text : "";
}

/* Paths may differ from machine to machine, contents may not. */
static int same_models(const struct merge_shard *a, const struct merge_shard *b, struct error *err)
{
	const json_t *x = result_set_fact(&a->set, "models"), *y = result_set_fact(&b->set, "models");
	size_t n = json_array_size(x);
	int same = n == json_array_size(y);
	for (size_t i = 0; i < n && same; i++)
		same = json_equal(json_object_get(json_array_get(x, i), "xxh3_64"),
				  json_object_get(json_array_get(y, i), "xxh3_64"));
	return same ? 0
		    : error_set(err, ERROR_INPUT, "%s and %s: their models have other contents (models of env.json)",
				text_show_path(path_of(a)).text, text_show_path(path_of(b)).text);
}

static int same_build(const struct merge_shard *a, const struct merge_shard *b, struct error *err)
{
	const char *x = build_text(&a->set, "commit"), *y = build_text(&b->set, "commit");
	if (!strcmp(x, y) &&
	    json_equal(result_set_fact(&a->set, "build dirty"), result_set_fact(&b->set, "build dirty")))
		return 0;
	if (strcmp(x, y))
		return error_set(err, ERROR_INPUT, "%s is of commit %s, %s of %s", text_show_path(path_of(a)).text,
				 text_show(x, strlen(x)).text, text_show_path(path_of(b)).text,
				 text_show(y, strlen(y)).text);
	return error_set(err, ERROR_INPUT, "%s and %s: one is of a clean build, one of a changed one",
			 text_show_path(path_of(a)).text, text_show_path(path_of(b)).text);
}

/* Every row of its directory's commit, which is that of its build, and of one of its models. */
static int check_rows(const struct merge_shard *s, int repetitions, struct error *err)
{
	const json_t *models = result_set_fact(&s->set, "models");
	const char *commit = build_text(&s->set, "commit"), *why = NULL;
	size_t i;
	json_t *m;
	for (size_t r = 0; r < s->set.n_rows && !why; r++) {
		const struct run_row *row = &s->set.rows[r];
		int known = 0;
		json_array_foreach(models, i, m)
		{
			const char *hash = json_string_value(json_object_get(m, "xxh3_64"));
			known |= hash && row->model_hash && !strcmp(hash, row->model_hash);
		}
		if (strncmp(row->commit, commit, strlen(commit)) || strcmp(row->commit, s->set.rows[0].commit))
			why = "is of another commit than env.json says";
		else if (!known)
			why = "is of a model that env.json does not have";
		else if (row->repetition >= repetitions)
			why = "is of a repetition that the sweep does not have";
		if (why)
			return error_set(err, ERROR_INPUT, "%s/runs.csv: run %s %s", text_show_path(path_of(s)).text,
					 text_show(row->run_id, strlen(row->run_id)).text, why);
	}
	return 0;
}

static int compare_index(const void *a, const void *b)
{
	const struct merge_shard *x = a, *y = b;
	return (x->index > y->index) - (x->index < y->index);
}

/* A row, to be found again in another shard. */
struct taken {
	const struct merge_shard *of;
	const struct run_row *row;
	const struct cell *cell;
};

static int compare_ids(const void *a, const void *b)
{
	const struct taken *x = a, *y = b;
	return strcmp(x->row->run_id, y->row->run_id);
}

static int compare_cells(const void *a, const void *b)
{
	const struct taken *x = a, *y = b;
	int order = result_set_compare_cells(x->cell, y->cell);
	if (!order)
		order = (x->row->repetition > y->row->repetition) - (x->row->repetition < y->row->repetition);
	return order ? order : (x->of > y->of) - (x->of < y->of);
}

/* A cell and repetition, or a run's id, that two have. */
static int check_overlap(const struct merge *m, struct error *err)
{
	size_t n = 0, at = 0;
	for (int i = 0; i < m->n; i++)
		n += m->shards[i].set.n_rows;
	if (n > RESULT_SET_MAX_RUNS)
		return error_set(err, ERROR_INPUT, "%zu runs, and a directory has %d at most; merge some of the shards",
				 n, RESULT_SET_MAX_RUNS);
	struct taken *all = calloc(n + 1, sizeof *all);
	if (!all)
		return error_set(err, ERROR_MEMORY, "no memory to merge %zu runs", n);
	for (int i = 0; i < m->n; i++)
		for (size_t r = 0; r < m->shards[i].set.n_rows; r++) {
			const struct run_row *row = &m->shards[i].set.rows[r];
			all[at++] = (struct taken){&m->shards[i], row, &m->shards[i].set.cells[row->cell]};
		}
	int rc = 0;
	qsort(all, n, sizeof *all, compare_cells);
	for (size_t i = 1; i < n && !rc; i++) {
		const struct taken *a = &all[i - 1], *b = &all[i];
		char label[CELL_LABEL_SIZE];
		const char *mode = cell_mode(a->cell), *fusion = cell_word(a->cell, AXIS_FUSION);
		if (a->of == b->of || result_set_compare_cells(a->cell, b->cell) ||
		    a->row->repetition != b->row->repetition)
			continue;
		cell_label(a->cell, label);
		rc = error_set(err, ERROR_INPUT, "%s and %s overlap: both have repetition %d of %s %s %s",
			       text_show_path(path_of(a->of)).text, text_show_path(path_of(b->of)).text,
			       (int)a->row->repetition, label, text_show(mode, strlen(mode)).text,
			       text_show(fusion, strlen(fusion)).text);
	}
	if (!rc)
		qsort(all, n, sizeof *all, compare_ids);
	for (size_t i = 1; i < n && !rc; i++)
		if (!compare_ids(&all[i - 1], &all[i]))
			rc = error_set(err, ERROR_INPUT, "%s and %s: both have a run %s",
				       text_show_path(path_of(all[i - 1].of)).text,
				       text_show_path(path_of(all[i].of)).text,
				       text_show(all[i].row->run_id, strlen(all[i].row->run_id)).text);
	free(all);
	return rc;
}

/* ---- what is missing ---- */

static void miss(struct merge *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void miss(struct merge *m, const char *format, ...)
{
	char *to = m->summary->missing;
	size_t used = strlen(to);
	char text[MERGE_TEXT_SIZE];
	va_list list;
	va_start(list, format);
	vsnprintf(text, sizeof text, format, list);
	va_end(list);
	if (used + strlen(text) + sizeof "; ..." < MERGE_TEXT_SIZE)
		snprintf(to + used, MERGE_TEXT_SIZE - used, "%s%s", used ? "; " : "", text);
	else if (used < 4 || strcmp(to + used - 3, "..."))
		snprintf(to + used, MERGE_TEXT_SIZE - used, "; ...");
}

/* Cells with fewer runs than asked for, and no row that says why; ok: (n_cells), zeroed; ended: likewise. */
static void miss_runs(struct merge *m, const struct merge_shard *s, int *ok, unsigned char *ended)
{
	int runs = 0, cells = 0;
	for (size_t r = 0; r < s->set.n_rows; r++) {
		const struct run_row *row = &s->set.rows[r];
		ok[row->cell] += s->set.counts[r] && row->status == RUN_STATUS_OK;
		ended[row->cell] |= row->status != RUN_STATUS_OK && row->status != RUN_STATUS_INTERRUPTED;
	}
	for (int c = 0; c < s->set.n_cells; c++)
		if (!ended[c] && ok[c] < m->repetitions) {
			runs += m->repetitions - ok[c];
			cells++;
		}
	if (s->set.n_cells < s->cells)
		miss(m, "shard %d (%s) has %d of its %d cells", s->index, text_show_path(path_of(s)).text,
		     s->set.n_cells, s->cells);
	if (cells)
		miss(m, "shard %d (%s) lacks %d run%s of %d cell%s", s->index, text_show_path(path_of(s)).text, runs,
		     runs == 1 ? "" : "s", cells, cells == 1 ? "" : "s");
}

static int check_whole(struct merge *m, struct error *err)
{
	const json_t *cells = json_object_get(json_object_get(m->shards[0].set.sweep, "shard"), "cells");
	for (int i = 1, at = 0; i <= m->count; i++) {
		if (at < m->n && m->shards[at].index == i)
			at++;
		else if (json_integer_value(json_array_get(cells, (size_t)i - 1)))
			miss(m, "shard %d of %d is not there", i, m->count);
		else
			m->summary->empty++;
	}
	for (int i = 0; i < m->n; i++) {
		struct merge_shard *s = &m->shards[i];
		if (s->set.n_cells > s->cells)
			return error_set(err, ERROR_INPUT, "%s: has %d cells, and its shard is of %d",
					 text_show_path(path_of(s)).text, s->set.n_cells, s->cells);
		int *ok = calloc((size_t)s->set.n_cells + 1, sizeof *ok);
		unsigned char *ended = calloc((size_t)s->set.n_cells + 1, 1);
		if (ok && ended)
			miss_runs(m, s, ok, ended);
		int failed = !ok || !ended;
		free(ok);
		free(ended);
		if (failed)
			return error_set(err, ERROR_MEMORY, "no memory to merge %d cells", s->set.n_cells);
	}
	if (!*m->summary->missing || m->o->partial)
		return 0;
	return error_set(
		err, ERROR_INPUT,
		"%s; go on with gemmark bench --resume DIR or --shard I/%d, or merge what there is with --partial",
		m->summary->missing, m->count);
}

/* ---- details ---- */

void merge_close_details(struct result_set *s)
{
	detail_file_close(&s->tokens);
	detail_file_close(&s->telemetry);
	detail_file_close(&s->timeline);
}

int merge_open_details(struct result_set *s, struct error *err)
{
	int rc = result_set_open_tokens(s, err);
	if (!rc)
		rc = result_set_open_telemetry(s, err);
	if (!rc)
		rc = result_set_open_timeline(s, err);
	int same = s->same && s->tokens.columns.same && s->telemetry.columns.same &&
		   (s->timeline.fd < 0 || s->timeline.columns.same);
	if (!rc && !same)
		rc = error_set(err, ERROR_INPUT,
			       "%s: its columns are not this version's; merge with the version that wrote it",
			       text_show_path(s->directory.path).text);
	return rc;
}

/* A killed shard has tokens of no run, which are left out; a run without its tokens nobody killed. */
static int check_details(struct result_set *s, struct error *err)
{
	int rc = merge_open_details(s, err);
	for (size_t r = 0; r < s->n_rows && !rc; r++)
		if (s->rows[r].status != RUN_STATUS_INTERRUPTED) {
			struct error why = {""};
			rc = result_set_check_tokens(s, r, &why);
			if (!rc)
				rc = result_set_check_telemetry(s, r, &why);
			if (rc)
				rc = error_set(err, rc, "%s; gemmark bench --resume measures such runs again",
					       why.text);
		}
	merge_close_details(s);
	return rc;
}

int merge_open(struct merge *m, struct error *err)
{
	int rc = 0;
	m->shards = calloc((size_t)m->o->n + 1, sizeof *m->shards);
	if (!m->shards)
		return error_set(err, ERROR_MEMORY, "no memory to merge %d directories", m->o->n);
	for (int i = 0; i < m->o->n && !rc; i++) {
		struct merge_shard *s = &m->shards[i], *first = &m->shards[0];
		int count = 0, repetitions = 0;
		m->n = i + 1;
		rc = result_set_open(&s->set, m->o->paths[i], err);
		if (!rc)
			rc = read_shard(s, &count, &repetitions, err);
		if (!rc && i)
			rc = sweep_same_division(path_of(first), first->set.sweep, path_of(s), s->set.sweep, err);
		if (!rc && i)
			rc = same_build(first, s, err);
		if (!rc && i)
			rc = same_models(first, s, err);
		if (!rc)
			rc = check_rows(s, repetitions, err);
		if (!rc)
			rc = check_details(&s->set, err);
		m->count = count;
		m->repetitions = repetitions;
	}
	if (!rc)
		qsort(m->shards, (size_t)m->n, sizeof *m->shards, compare_index);
	for (int i = 1; i < m->n && !rc; i++)
		if (m->shards[i - 1].index == m->shards[i].index)
			rc = error_set(err, ERROR_INPUT, "%s and %s overlap: both are shard %d of %d",
				       text_show_path(path_of(&m->shards[i - 1])).text,
				       text_show_path(path_of(&m->shards[i])).text, m->shards[i].index, m->count);
	if (!rc)
		rc = check_overlap(m, err);
	if (!rc)
		rc = check_whole(m, err);
	return rc;
}

void merge_close(struct merge *m)
{
	for (int i = 0; i < m->n; i++)
		result_set_close(&m->shards[i].set);
	free(m->shards);
	m->shards = NULL;
	m->n = 0;
}
