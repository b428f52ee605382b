#include "harness/report/history_check.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "harness/stats/stats_estimate.h"

/* A cell's values while all are collected. */
struct values {
	double *before, *now; /* owned */
	double sign;
};

struct checking {
	struct history_check *out;
	struct result_set *const *sets; /* (n_sets) */
	int n_sets;
	struct values *values; /* (out->n) */
	int room;
	const char *machine;
	const struct history_join *join;
	const struct stats_change_options *change;
	char commit[HISTORY_TEXT];
	struct error *err;
};

static int no_memory(struct error *err)
{
	return error_set(err, ERROR_MEMORY, "no memory to check a run");
}

/* One more, zeroed; null: no memory. */
static struct history_check_cell *add_cell(struct checking *k)
{
	struct history_check *c = k->out;
	if (c->n == k->room) {
		int room = k->room ? 2 * k->room : 16;
		void *cells = realloc(c->cells, (size_t)room * sizeof *c->cells);
		c->cells = cells ? cells : c->cells;
		void *values = cells ? realloc(k->values, (size_t)room * sizeof *k->values) : NULL;
		if (!values)
			return NULL;
		k->values = values;
		k->room = room;
	}
	k->values[c->n] = (struct values){.sign = 1};
	c->cells[c->n] = (struct history_check_cell){.level = NAN, .now = NAN, .outcome = HISTORY_NEW};
	return &c->cells[c->n++];
}

/* The series of the same cell; null: there is none. */
static const struct history_series *find_series(const struct history_view *v, const char *key)
{
	for (int i = 0; i < v->n_series; i++)
		if (!strcmp(v->history->cells[v->series[i].cell].key, key))
			return &v->series[i];
	return NULL;
}

/* What of the run's environment is other than that of the series' last part. */
static void say_recalibrated(const struct history_view *v, const struct history_series *s,
			     const struct history_environment *now, char out[HISTORY_MARK_SIZE])
{
	const struct history *h = v->history;
	for (int i = s->n - 1; i >= s->parts[s->n_parts - 1]; i--) {
		const struct history_environment *e = &h->environments[h->records[s->points[i].record].environment];
		if (!history_conflict(e, now))
			continue;
		history_facts_text(e, now, out);
		return;
	}
}

/* The last level of a part: its logarithms. */
static int take_level(const struct history_view *v, const struct history_series *s, int part,
		      struct history_check_cell *cell, struct values *values)
{
	const struct history_level *l = NULL;
	for (int i = 0; i < s->n_levels; i++)
		if (s->levels[i].part == part)
			l = &s->levels[i];
	cell->n = l->to - l->from;
	cell->level = l->value;
	history_commit_text(&v->commits[s->points[l->from].commit], cell->since);
	values->before = malloc((size_t)cell->n * sizeof *values->before);
	if (!values->before)
		return -1;
	memcpy(values->before, s->logs + l->from, (size_t)cell->n * sizeof *values->before);
	return 0;
}

/* A cell of the run that is ok. v: of its file without the run's commit; null: there is none. */
static int check_cell(struct checking *k, const struct history_view *v, const struct history *now, int cell)
{
	struct history_check_cell *out = add_cell(k);
	struct history_view none = {.history = now};
	const struct history_series self = {.cell = cell};
	if (!out)
		return no_memory(k->err);
	struct values *values = &k->values[k->out->n - 1];
	int environment = -1, mixed = 0;
	none.difference = v ? v->difference : none.difference;
	history_label(&none, &self, out->label);
	snprintf(out->unit, sizeof out->unit, "%.31s", now->cells[cell].unit);
	values->sign = now->cells[cell].more_is_better ? -1 : 1;
	values->now = malloc((size_t)now->n_records * sizeof *values->now);
	if (!values->now)
		return no_memory(k->err);
	for (int i = 0; i < now->n_records; i++) {
		const struct history_record *r = &now->records[i];
		if (r->cell != cell)
			continue;
		mixed |= environment >= 0 && environment != r->environment;
		environment = r->environment;
		values->now[out->m++] = log(r->median);
	}
	if (mixed)
		return error_set(k->err, ERROR_INPUT,
				 "%.60s: the directories of the run were not measured alike; check each by itself",
				 out->label);
	out->now = exp(stats_mean(values->now, out->m));
	const struct history_series *s = v ? find_series(v, now->cells[cell].key) : NULL;
	if (!s)
		return 0;
	int part = history_find_part(v, s, &now->environments[environment]);
	if (part < 0) {
		out->outcome = HISTORY_RECALIBRATED;
		say_recalibrated(v, s, &now->environments[environment], out->why);
		return 0;
	}
	out->outcome = HISTORY_UNCLEAR;
	return take_level(v, s, part, out, values) ? no_memory(k->err) : 0;
}

/* Whether any directory of the run has rows of it, ok or not. */
static int is_run(const struct checking *k, const struct history_cell *of, const struct history *now)
{
	for (int i = 0; i < now->n_cells; i++)
		if (!strcmp(now->cells[i].key, of->key))
			return 1;
	for (int s = 0; s < k->n_sets; s++)
		for (int c = 0; c < k->sets[s]->n_cells; c++)
			if (!of->name && cell_same(&of->axes, &k->sets[s]->cells[c]))
				return 1;
	return 0;
}

/* Series that the latest commit of the file has, and the run has not: what is not measured is not seen to be slower. */
static int count_absent(const struct checking *k, const struct history_view *v, const struct history *now)
{
	int n = 0;
	for (int i = 0; i < v->n_series; i++) {
		const struct history_series *s = &v->series[i];
		int latest = 0;
		for (int p = 0; p < s->n; p++)
			latest |= s->points[p].commit == v->n_commits - 1;
		n += latest && !is_run(k, &v->history->cells[s->cell], now);
	}
	return n;
}

/* All cells of one file of the store: lines [from, to) of the run. */
static int check_file(struct checking *k, const struct run_directory *store, const char *name,
		      const struct history *now)
{
	struct history h = {0};
	struct history_view v = {0};
	int there = !faccessat(store->fd, name, F_OK, AT_SYMLINK_NOFOLLOW) || errno != ENOENT;
	int rc = there ? history_read(&h, store, name, k->join, k->err) : 0;
	if (!rc)
		history_leave_out(&h, k->commit);
	if (!rc && h.n_records)
		rc = history_view_make(&v, &h, k->change, k->err);
	for (int c = 0; c < now->n_cells && !rc; c++)
		rc = check_cell(k, h.n_records ? &v : NULL, now, c);
	if (!rc && h.n_records)
		k->out->absent += count_absent(k, &v, now);
	history_view_free(&v);
	history_free(&h);
	return rc;
}

/* The run's lines by file, each read as the store reads them. */
static int check_lines(struct checking *k, const struct run_directory *store, const struct history_lines *lines)
{
	int rc = 0;
	for (int i = 0; i < lines->n && !rc; i++) {
		struct history now = {.path = "the run", .join = k->join};
		int seen = 0;
		for (int j = 0; j < i && !seen; j++)
			seen = !strcmp(lines->lines[j].file, lines->lines[i].file);
		if (seen)
			continue;
		for (int j = i; j < lines->n && rc >= 0; j++)
			if (!strcmp(lines->lines[j].file, lines->lines[i].file))
				rc = history_take(&now, lines->lines[j].text, strlen(lines->lines[j].text),
						  (size_t)j + 1, k->err);
		rc = rc < 0 ? rc : check_file(k, store, lines->lines[i].file, &now);
		history_free(&now);
	}
	return rc;
}

/* Whether any record is of that cell. */
static int has_series(const struct history *h, const struct cell *c)
{
	for (int i = 0; i < h->n_records; i++) {
		const struct history_cell *of = &h->cells[h->records[i].cell];
		if (!of->name && cell_same(&of->axes, c))
			return 1;
	}
	return 0;
}

/* The file of the store that a cell of the set is in, without the run's commit; kept open for the next one. */
static int open_file_of(struct checking *k, const struct run_directory *store, const struct result_set *s,
			const struct cell *c, struct history *h, char name[HISTORY_NAME_SIZE])
{
	char machine[HISTORY_TEXT], wanted[HISTORY_NAME_SIZE];
	const char *slash = strrchr(c->model, '/');
	int rc = history_machine(s, k->machine, machine, k->err);
	if (rc)
		return rc;
	history_file_name(machine, slash ? slash + 1 : c->model, c->model_hash, wanted);
	if (!strcmp(name, wanted))
		return 0;
	memcpy(name, wanted, sizeof wanted);
	history_free(h);
	if (faccessat(store->fd, name, F_OK, AT_SYMLINK_NOFOLLOW) && errno == ENOENT)
		return 0;
	rc = history_read(h, store, name, k->join, k->err);
	if (!rc)
		history_leave_out(h, k->commit);
	return rc;
}

/* What became of a cell's runs in all directories. */
struct fate {
	const struct result_set *set; /* one that has it */
	const struct cell *cell;
	const struct run_row *wrong, *other; /* one with wrong results; the last one that is not ok */
	int ok;
};

static int compare_fates(const void *a, const void *b)
{
	return result_set_compare_cells(((const struct fate *)a)->cell, ((const struct fate *)b)->cell);
}

/* Those of one directory, behind the others. */
static void take_fates(const struct result_set *s, struct fate *to)
{
	for (int c = 0; c < s->n_cells; c++)
		to[c] = (struct fate){.set = s, .cell = &s->cells[c]};
	for (size_t i = 0; i < s->n_rows; i++) {
		const struct run_row *r = &s->rows[i];
		struct fate *f = &to[r->cell];
		if (!s->counts[i])
			continue;
		f->ok |= r->status == RUN_STATUS_OK;
		f->wrong = r->status == RUN_STATUS_WRONG ? r : f->wrong;
		f->other = r->status == RUN_STATUS_OK ? f->other : r;
	}
}

/* Of each cell one; returns how many. */
static int join_fates(struct fate *f, int n)
{
	int kept = 0;
	qsort(f, (size_t)n, sizeof *f, compare_fates);
	for (int i = 0; i < n; i++) {
		if (!kept || compare_fates(&f[kept - 1], &f[i])) {
			f[kept++] = f[i];
			continue;
		}
		f[kept - 1].ok |= f[i].ok;
		f[kept - 1].wrong = f[kept - 1].wrong ? f[kept - 1].wrong : f[i].wrong;
		f[kept - 1].other = f[kept - 1].other ? f[kept - 1].other : f[i].other;
	}
	return kept;
}

/* A cell without a run that is ok, or with wrong results. */
static int add_not_ok(struct checking *k, const struct cell *cell, const struct fate *f, const struct history *h)
{
	const struct run_row *r = f->wrong ? f->wrong : f->other;
	struct history_check_cell *out = add_cell(k);
	char label[CELL_LABEL_SIZE];
	if (!out)
		return no_memory(k->err);
	cell_label(cell, label);
	snprintf(out->label, sizeof out->label, "%s %.40s %.40s", label, cell_mode(cell), cell_word(cell, AXIS_FUSION));
	snprintf(out->why, sizeof out->why, "%s: %.300s", run_status_name(r->status), r->reason ? r->reason : "");
	out->outcome = f->wrong ? HISTORY_WRONG : has_series(h, cell) ? HISTORY_LOST : HISTORY_NEW;
	return 0;
}

static int check_not_ok(struct checking *k, const struct run_directory *store)
{
	struct history h = {0};
	char name[HISTORY_NAME_SIZE] = "";
	size_t room = 1;
	int n = 0, rc = 0;
	for (int i = 0; i < k->n_sets; i++)
		room += (size_t)k->sets[i]->n_cells;
	struct fate *fates = calloc(room, sizeof *fates);
	if (!fates)
		return no_memory(k->err);
	for (int i = 0; i < k->n_sets; n += k->sets[i++]->n_cells)
		take_fates(k->sets[i], fates + n);
	n = join_fates(fates, n);
	for (int i = 0; i < n && !rc; i++) {
		const struct fate *f = &fates[i];
		if (!f->wrong && (f->ok || !f->other))
			continue;
		rc = open_file_of(k, store, f->set, f->cell, &h, name);
		if (!rc)
			rc = add_not_ok(k, f->cell, f, &h);
	}
	history_free(&h);
	free(fates);
	return rc;
}

static int judge(struct checking *k)
{
	struct history_check *c = k->out;
	struct series_cell *cells = malloc(((size_t)c->n + 1) * sizeof *cells);
	struct continuation *verdicts = malloc(((size_t)c->n + 1) * sizeof *verdicts);
	int rc = cells && verdicts ? 0 : -1, n = 0;
	for (int i = 0; i < c->n && !rc; i++)
		if (c->cells[i].outcome == HISTORY_UNCLEAR)
			cells[n++] = (struct series_cell){k->values[i].before, k->values[i].now, c->cells[i].n,
							  c->cells[i].m, k->values[i].sign};
	if (!rc)
		rc = continuation_judge(cells, n, &c->options, verdicts);
	c->judged = n;
	for (int i = 0, at = 0; i < c->n && !rc; i++) {
		struct history_check_cell *cell = &c->cells[i];
		static const enum history_outcome outcomes[] = {
			[CONTINUATION_SAME] = HISTORY_CONTINUES,
			[CONTINUATION_BETTER] = HISTORY_BETTER,
			[CONTINUATION_WORSE] = HISTORY_WORSE,
			[CONTINUATION_UNCLEAR] = HISTORY_UNCLEAR,
		};
		if (cell->outcome != HISTORY_UNCLEAR)
			continue;
		const struct continuation *v = &verdicts[at++];
		cell->verdict = *v;
		cell->outcome = outcomes[v->kind];
		if (v->far)
			snprintf(cell->why, sizeof cell->why,
				 "%d value%s of the level so far from the others that %s left out", v->far,
				 v->far == 1 ? "" : "s", v->far == 1 ? "it is" : "they are");
		else if (cell->outcome == HISTORY_UNCLEAR && v->used < 2)
			snprintf(cell->why, sizeof cell->why, "too few values");
		else if (cell->outcome == HISTORY_UNCLEAR && v->p_holm < c->options.alpha)
			snprintf(cell->why, sizeof cell->why, "moved, perhaps by less than %.3g %%: measure again",
				 100 * c->options.delta);
		else if (cell->outcome == HISTORY_UNCLEAR)
			snprintf(cell->why, sizeof cell->why,
				 "%.3g %% for the worse would not be seen: more values, or runs",
				 100 * c->options.within);
	}
	free(verdicts);
	free(cells);
	return rc ? no_memory(k->err) : 0;
}

int history_check_run(struct history_check *c, const struct run_directory *store, struct result_set *const *sets, int n,
		      const char *machine, const struct history_join *join, const struct stats_change_options *change,
		      const struct continuation_options *o, struct error *err)
{
	struct checking k = {
		.out = c, .sets = sets, .n_sets = n, .machine = machine, .join = join, .change = change, .err = err};
	struct history_lines lines = {0};
	const struct history_dates dates = {.date = "1970-01-01"}; /* what the run is compared with is older */
	const char *commit = NULL;
	int rc = 0;
	*c = (struct history_check){.options = *o};
	for (int i = 0; i < n && !rc; i++) {
		const char *of = result_set_commit(sets[i]);
		if (!of || (commit && strcmp(of, commit)))
			rc = error_set(err, ERROR_INPUT,
				       "%s: is of commit %s, and a run is of one; check each by itself",
				       sets[i]->directory.path, of ? of : "several");
		commit = of;
		if (!rc)
			rc = history_from_results(&lines, sets[i], machine, &dates, 0, err);
	}
	if (!rc) {
		size_t plain = strlen(commit), dirty = sizeof "-dirty" - 1;
		if (plain > dirty && !strcmp(commit + plain - dirty, "-dirty"))
			plain -= dirty;
		snprintf(k.commit, sizeof k.commit, "%.*s", (int)(plain < HISTORY_TEXT ? plain : HISTORY_TEXT - 1),
			 commit);
		rc = check_lines(&k, store, &lines);
	}
	if (!rc)
		rc = check_not_ok(&k, store);
	c->dirty = lines.dirty;
	if (!rc)
		rc = judge(&k);
	for (int i = 0; i < c->n; i++) {
		free(k.values[i].before);
		free(k.values[i].now);
	}
	free(k.values);
	history_lines_free(&lines);
	return rc;
}

void history_check_free(struct history_check *c)
{
	free(c->cells);
	*c = (struct history_check){0};
}

int history_check_code(const struct history_check *c)
{
	int worse = 0, unclear = c->n == 0;
	for (int i = 0; i < c->n; i++) {
		enum history_outcome o = c->cells[i].outcome;
		if (o == HISTORY_WRONG)
			return 4;
		worse |= o == HISTORY_WORSE || o == HISTORY_LOST;
		unclear |= o == HISTORY_UNCLEAR || o == HISTORY_NEW || o == HISTORY_RECALIBRATED;
	}
	return worse ? 1 : unclear ? 3 : 0;
}

const char *history_outcome_name(enum history_outcome o)
{
	static const char *const names[] = {
		[HISTORY_CONTINUES] = "continues", [HISTORY_BETTER] = "better",
		[HISTORY_WORSE] = "worse",         [HISTORY_UNCLEAR] = "cannot tell",
		[HISTORY_NEW] = "no series",       [HISTORY_RECALIBRATED] = "recalibrated",
		[HISTORY_LOST] = "does not run",   [HISTORY_WRONG] = "wrong results",
	};
	return names[o];
}
