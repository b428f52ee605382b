#include "harness/report/history_series.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "harness/record/commit_date.h"
#include "harness/stats/stats_estimate.h"

enum { SHOWN_DIGITS = 12, RANGE_NAME = 60 /* bytes of a commit in a range */ };

static int no_memory(const struct history *h, struct error *err)
{
	return error_set(err, ERROR_MEMORY, "%s: not enough memory for its series", h->path);
}

static int is_hexadecimal(const char *s)
{
	return s[strspn(s, "0123456789abcdef")] == '\0';
}

/* ---- commits ---- */

struct named {
	const struct history_record *record;
	int index;
};

static int compare_named(const void *a, const void *b)
{
	const struct named *x = a, *y = b;
	int order = strcmp(x->record->commit, y->record->commit);
	return order ? order : x->index < y->index ? -1 : x->index > y->index;
}

struct placed {
	struct history_commit commit;
	int first; /* index before the sort */
};

static int compare_placed(const void *a, const void *b)
{
	const struct history_commit *x = &((const struct placed *)a)->commit, *y = &((const struct placed *)b)->commit;
	if (x->date != y->date)
		return x->date < y->date ? -1 : 1;
	if (x->order != y->order)
		return x->order < y->order ? -1 : 1;
	return strcmp(x->name, y->name);
}

/* Names sorted: a beginning stands right in front of what it begins. of: (n_records), the commit of each. */
static int collect_commits(struct history_view *v, int *of, struct error *err)
{
	const struct history *h = v->history;
	struct named *names = malloc((size_t)h->n_records * sizeof *names);
	struct placed *commits = malloc((size_t)h->n_records * sizeof *commits);
	int *place = malloc((size_t)h->n_records * sizeof *place);
	v->commits = malloc((size_t)h->n_records * sizeof *v->commits);
	int rc = names && commits && place && v->commits ? 0 : no_memory(h, err);
	for (int i = 0; i < h->n_records && !rc; i++)
		names[i] = (struct named){&h->records[i], i};
	if (!rc)
		qsort(names, (size_t)h->n_records, sizeof *names, compare_named);
	for (int i = 0; i < h->n_records && !rc; i++) {
		const struct history_record *r = names[i].record;
		struct history_commit *c = v->n_commits ? &commits[v->n_commits - 1].commit : NULL;
		if (!c || !commit_same(c->name, r->commit)) {
			commits[v->n_commits] = (struct placed){{r->commit, r->date, r->order, 0}, v->n_commits};
			c = &commits[v->n_commits++].commit;
		}
		c->name = r->commit; /* the later is the longer */
		if (r->date < c->date || (r->date == c->date && r->order < c->order)) {
			c->date = r->date;
			c->order = r->order;
		}
		c->dirty |= r->dirty;
		of[names[i].index] = v->n_commits - 1;
	}
	if (!rc)
		qsort(commits, (size_t)v->n_commits, sizeof *commits, compare_placed);
	for (int i = 0; i < v->n_commits && !rc; i++) {
		v->commits[i] = commits[i].commit;
		v->dirty += commits[i].commit.dirty;
		place[commits[i].first] = i;
	}
	for (int i = 0; i < h->n_records && !rc; i++)
		of[i] = place[of[i]];
	free(place);
	free(commits);
	free(names);
	return rc;
}

/* ---- parts and points ---- */

int history_conflict(const struct history_environment *a, const struct history_environment *b)
{
	for (int i = 0; i < a->n; i++)
		for (int k = 0; k < b->n; k++)
			if (!strcmp(a->names[i], b->names[k]) && strcmp(a->values[i], b->values[k]))
				return 1;
	return 0;
}

/* While a series' environments are put together to parts. (n_environments) each. */
struct sorting {
	const struct history *h;
	int *first; /* commit in the series; n_commits: none */
	int *part;
	int *order; /* the environments of the series, by first commit */
};

static int compare_first(const void *a, const void *b, void *ctx)
{
	const struct sorting *s = ctx;
	int x = *(const int *)a, y = *(const int *)b;
	return s->first[x] != s->first[y] ? s->first[x] - s->first[y] : x - y;
}

/* Each environment goes to the latest part that says nothing else, or begins one. */
static void make_parts(struct sorting *s, int n_commits)
{
	const struct history_environment *e = s->h->environments;
	int n = 0, parts = 0;
	for (int i = 0; i < s->h->n_environments; i++)
		if (s->first[i] < n_commits)
			s->order[n++] = i;
	qsort_r(s->order, (size_t)n, sizeof *s->order, compare_first, s);
	for (int i = 0; i < n; i++) {
		int to = parts - 1;
		for (; to >= 0; to--) {
			int conflict = 0;
			for (int k = 0; k < i && !conflict; k++)
				conflict = s->part[s->order[k]] == to &&
					   history_conflict(&e[s->order[k]], &e[s->order[i]]);
			if (!conflict)
				break;
		}
		s->part[s->order[i]] = to >= 0 ? to : parts++;
	}
}

static int compare_points(const void *a, const void *b, void *ctx)
{
	const struct sorting *s = ctx;
	const struct history_point *x = a, *y = b;
	const struct history_record *p = &s->h->records[x->record], *q = &s->h->records[y->record];
	int order = s->part[p->environment] - s->part[q->environment];
	order = order ? order : x->commit - y->commit;
	order = order ? order : strcmp(p->run, q->run);
	return order ? order : p->line < q->line ? -1 : p->line > q->line;
}

static int count_gaps(const struct history_view *v, const struct history_series *s, unsigned char *has)
{
	int low = v->n_commits, high = -1, n = 0;
	memset(has, 0, (size_t)v->n_commits);
	for (int i = 0; i < s->n; i++) {
		int c = s->points[i].commit;
		n += !has[c];
		has[c] = 1;
		low = c < low ? c : low;
		high = c > high ? c : high;
	}
	return high - low + 1 - n;
}

static int make_points(struct history_view *v, struct history_series *s, const int *of, struct sorting *sorting,
		       struct error *err)
{
	const struct history *h = v->history;
	unsigned char *has = malloc((size_t)v->n_commits);
	for (int e = 0; e < h->n_environments; e++)
		sorting->first[e] = v->n_commits;
	for (int i = 0; i < h->n_records; i++)
		s->n += h->records[i].cell == s->cell;
	s->points = malloc((size_t)s->n * sizeof *s->points);
	s->logs = malloc((size_t)s->n * sizeof *s->logs);
	s->parts = malloc(((size_t)s->n + 1) * sizeof *s->parts);
	if (!has || !s->points || !s->logs || !s->parts) {
		free(has);
		return no_memory(h, err);
	}
	for (int i = 0, k = 0; i < h->n_records; i++) {
		const struct history_record *r = &h->records[i];
		if (r->cell != s->cell)
			continue;
		s->points[k++] = (struct history_point){i, of[i]};
		int *first = &sorting->first[r->environment];
		*first = of[i] < *first ? of[i] : *first;
	}
	make_parts(sorting, v->n_commits);
	qsort_r(s->points, (size_t)s->n, sizeof *s->points, compare_points, sorting);
	for (int i = 0; i < s->n; i++) {
		const struct history_record *r = &h->records[s->points[i].record];
		s->logs[i] = log(r->median);
		if (!i ||
		    sorting->part[r->environment] != sorting->part[h->records[s->points[i - 1].record].environment])
			s->parts[s->n_parts++] = i;
	}
	s->parts[s->n_parts] = s->n;
	s->gaps = count_gaps(v, s, has);
	for (int c = 0; c < v->n_commits; c++)
		s->commits += has[c];
	free(has);
	return 0;
}

/* ---- changes ---- */

static void add_level(struct history_series *s, int part, int from, int to)
{
	s->levels[s->n_levels++] = (struct history_level){
		.from = from,
		.to = to,
		.part = part,
		.value = exp(stats_mean(s->logs + from, to - from)),
		.deviation = stats_deviation(s->logs + from, to - from),
	};
}

static void add_change(struct history_view *v, struct history_series *s, double p)
{
	const struct history_level *old = &s->levels[s->n_levels - 2], *new = &s->levels[s->n_levels - 1];
	struct history_change c = {
		.level = s->n_levels - 1,
		.before = s->points[new->from - 1].commit,
		.after = s->points[new->from].commit,
		.p = p,
	};
	c.unmeasured = c.after - c.before - 1;
	series_shift(s->logs + old->from, old->to - old->from, s->logs + new->from, new->to - new->from, 0.95,
		     &c.shift);
	c.worse = (c.shift.effect > 0) != v->history->cells[s->cell].more_is_better;
	s->changes[s->n_changes++] = c;
}

static int find_changes(struct history_view *v, struct history_series *s, struct error *err)
{
	struct stats_change *found = malloc((size_t)s->n * sizeof *found);
	int *groups = malloc((size_t)s->n * sizeof *groups), rc = 0;
	s->levels = malloc((size_t)s->n * sizeof *s->levels);
	s->changes = malloc((size_t)s->n * sizeof *s->changes);
	if (!found || !groups || !s->levels || !s->changes)
		rc = no_memory(v->history, err);
	for (int i = 0; i < s->n && !rc; i++)
		groups[i] = s->points[i].commit;
	for (int k = 0; k < s->n_parts && !rc; k++) {
		int from = s->parts[k], end = s->parts[k + 1], at = from;
		int n = stats_change_points(s->logs + from, groups + from, end - from, &v->options, found);
		if (n < 0)
			rc = no_memory(v->history, err);
		for (int i = 0; i <= n && !rc; i++) {
			int to = i < n ? from + found[i].at : end;
			add_level(s, k, at, to);
			if (i)
				add_change(v, s, found[i - 1].p);
			at = to;
		}
	}
	free(groups);
	free(found);
	return rc;
}

/* ---- the view ---- */

static int compare_axes(const struct cell *a, const struct cell *b)
{
	for (int i = 0; i < AXIS_COUNT; i++) {
		enum axis_id axis = (enum axis_id)i;
		int order = 0;
		if (axes[i].kind == AXIS_INT)
			order = (cell_int(a, axis) > cell_int(b, axis)) - (cell_int(a, axis) < cell_int(b, axis));
		else
			order = strcmp(cell_word(a, axis) ? cell_word(a, axis) : "",
				       cell_word(b, axis) ? cell_word(b, axis) : "");
		if (order)
			return order;
	}
	return 0;
}

static int compare_series(const void *a, const void *b, void *ctx)
{
	const struct history *h = ctx;
	const struct history_cell *x = &h->cells[((const struct history_series *)a)->cell],
				  *y = &h->cells[((const struct history_series *)b)->cell];
	if (!x->name != !y->name)
		return x->name ? 1 : -1;
	int order = x->name ? strcmp(x->name, y->name) : compare_axes(&x->axes, &y->axes);
	return order ? order : strcmp(x->key, y->key);
}

int history_view_make(struct history_view *v, const struct history *h, const struct stats_change_options *o,
		      struct error *err)
{
	*v = (struct history_view){.history = h, .options = *o};
	if (!h->n_records)
		return error_set(err, ERROR_INPUT, "%s: there is nothing in it yet; add a results directory", h->path);
	int *of = malloc((size_t)h->n_records * sizeof *of);
	int *numbers = malloc(3 * (size_t)h->n_environments * sizeof *numbers);
	struct sorting sorting = {h, numbers, numbers ? numbers + h->n_environments : NULL,
				  numbers ? numbers + 2 * h->n_environments : NULL};
	v->series = calloc((size_t)h->n_cells, sizeof *v->series);
	int rc = of && numbers && v->series ? collect_commits(v, of, err) : no_memory(h, err);
	/* Those of which records were left out may have none. */
	for (int c = 0; c < h->n_cells && !rc; c++) {
		int has = 0;
		for (int i = 0; i < h->n_records && !has; i++)
			has = h->records[i].cell == c;
		if (!has)
			continue;
		v->series[v->n_series++].cell = c;
		if (!h->cells[c].name)
			cell_difference_add(&v->difference, &h->cells[c].axes);
	}
	if (!rc)
		qsort_r(v->series, (size_t)v->n_series, sizeof *v->series, compare_series, (void *)h);
	for (int i = 0; i < v->n_series && !rc; i++) {
		struct history_series *s = &v->series[i];
		rc = make_points(v, s, of, &sorting, err);
		if (!rc)
			rc = find_changes(v, s, err);
		v->n_changes += s->n_changes;
		v->n_marks += s->n_parts - 1;
	}
	free(numbers);
	free(of);
	return rc;
}

void history_view_free(struct history_view *v)
{
	for (int i = 0; i < v->n_series; i++) {
		struct history_series *s = &v->series[i];
		free(s->points);
		free(s->logs);
		free(s->parts);
		free(s->levels);
		free(s->changes);
	}
	free(v->series);
	free(v->commits);
	*v = (struct history_view){0};
}

double history_false_changes(const struct history_view *v)
{
	int searches = 0;
	for (int i = 0; i < v->n_series; i++)
		for (int k = 0; k < v->series[i].n_parts; k++)
			searches +=
				stats_change_searches(v->series[i].parts[k + 1] - v->series[i].parts[k], &v->options);
	return v->options.alpha * searches;
}

/* ---- words ---- */

void history_label(const struct history_view *v, const struct history_series *s, char out[HISTORY_LABEL_SIZE])
{
	const struct history_cell *c = &v->history->cells[s->cell];
	char label[CELL_LABEL_SIZE], which[256];
	if (c->name) {
		snprintf(out, HISTORY_LABEL_SIZE, "%s", c->name);
		return;
	}
	cell_label(&c->axes, label);
	cell_difference_text(&v->difference, &c->axes, which);
	snprintf(out, HISTORY_LABEL_SIZE, "%s %.40s %.40s%s%s", label, cell_mode(&c->axes),
		 cell_word(&c->axes, AXIS_FUSION), *which ? " " : "", which);
}

static const char *fact(const struct history_environment *e, const char *name)
{
	for (int i = 0; i < e->n; i++)
		if (!strcmp(e->names[i], name))
			return e->values[i];
	return NULL;
}

static size_t add_fact(char *out, size_t used, const char *name, const char *before, const char *after)
{
	if (!before || !after || !strcmp(before, after) || used + 8 >= HISTORY_MARK_SIZE)
		return used;
	int n = snprintf(out + used, HISTORY_MARK_SIZE - used, "%s%s: %s, then %s", used ? "; " : "", name, before,
			 after);
	return used + (size_t)n < HISTORY_MARK_SIZE ? used + (size_t)n : HISTORY_MARK_SIZE - 1;
}

void history_facts_text(const struct history_environment *a, const struct history_environment *b,
			char out[HISTORY_MARK_SIZE])
{
	size_t used = 0;
	out[0] = '\0';
	for (int i = 0; i < a->n; i++)
		used = add_fact(out, used, a->names[i], a->values[i], fact(b, a->names[i]));
	out[text_cut(out, HISTORY_MARK_SIZE - 1)] = '\0';
}

static const struct history_environment *environment_of(const struct history_view *v, const struct history_series *s,
							int point)
{
	return &v->history->environments[v->history->records[s->points[point].record].environment];
}

int history_find_part(const struct history_view *v, const struct history_series *s, const struct history_environment *e)
{
	for (int p = s->n_parts - 1; p >= 0; p--) {
		int i = s->parts[p];
		while (i < s->parts[p + 1] && !history_conflict(environment_of(v, s, i), e))
			i++;
		if (i == s->parts[p + 1])
			return p;
	}
	return -1;
}

void history_mark_text(const struct history_view *v, const struct history_series *s, int k, char out[HISTORY_MARK_SIZE])
{
	const struct history_environment *after = environment_of(v, s, s->parts[k]), *before;
	int i = s->parts[k] - 1;
	assert(k >= 1 && k < s->n_parts);
	/* Of a part's environments one at least says something else. */
	while (i > s->parts[k - 1] && !history_conflict(environment_of(v, s, i), after))
		i--;
	before = environment_of(v, s, i);
	history_facts_text(before, after, out);
}

void history_commit_text(const struct history_commit *c, char out[HISTORY_TEXT])
{
	int cut = is_hexadecimal(c->name) ? SHOWN_DIGITS : HISTORY_TEXT - 8;
	snprintf(out, HISTORY_TEXT, "%.*s%s", (int)text_cut(c->name, (size_t)cut), c->name, c->dirty ? "-dirty" : "");
}

double history_point_x(const struct history_series *s, int point)
{
	int from = point, end = point + 1, commit = s->points[point].commit;
	while (from && s->points[from - 1].commit == commit)
		from--;
	while (end < s->n && s->points[end].commit == commit)
		end++;
	return commit + (end - from > 1 ? 0.5 * (point - from) / (end - from - 1) - 0.25 : 0);
}

void history_range_text(const struct history_view *v, const struct history_change *c, char out[HISTORY_RANGE_SIZE])
{
	char before[HISTORY_TEXT], after[HISTORY_TEXT];
	history_commit_text(&v->commits[c->before], before);
	history_commit_text(&v->commits[c->after], after);
	int n = snprintf(out, HISTORY_RANGE_SIZE, "%.*s..%.*s", (int)text_cut(before, RANGE_NAME), before,
			 (int)text_cut(after, RANGE_NAME), after);
	if (c->unmeasured)
		snprintf(out + n, HISTORY_RANGE_SIZE - (size_t)n, " (%d between not measured)", c->unmeasured);
}
