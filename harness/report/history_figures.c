/* Series as files drawn by gnuplot. */
#include "harness/report/history_figures.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/plot/plot_history.h"
#include "harness/record/commit_date.h"

enum { STEM = 120 };

/* What plot_history takes of a series, and the texts in it. */
struct figure {
	struct plot_history h;
	struct plot_history_point *points;
	struct plot_history_level *levels;
	struct plot_history_change *changes;
	struct plot_history_mark *marks;
	const char **commits;
	char (*names)[HISTORY_TEXT];
	char (*change_texts)[32];
	char (*mark_texts)[HISTORY_MARK_SIZE];
	char stem[STEM], title[HISTORY_LABEL_SIZE];
};

static void figure_free(struct figure *f)
{
	free(f->points);
	free(f->levels);
	free(f->changes);
	free(f->marks);
	free(f->commits);
	free(f->names);
	free(f->change_texts);
	free(f->mark_texts);
}

static int figure_alloc(struct figure *f, const struct history_view *v, const struct history_series *s)
{
	f->points = calloc((size_t)s->n, sizeof *f->points);
	f->levels = calloc((size_t)s->n_levels, sizeof *f->levels);
	f->changes = calloc((size_t)s->n_changes + 1, sizeof *f->changes);
	f->marks = calloc((size_t)s->n_parts, sizeof *f->marks);
	f->commits = calloc((size_t)v->n_commits, sizeof *f->commits);
	f->names = calloc((size_t)v->n_commits, sizeof *f->names);
	f->change_texts = calloc((size_t)s->n_changes + 1, sizeof *f->change_texts);
	f->mark_texts = calloc((size_t)s->n_parts, sizeof *f->mark_texts);
	return f->points && f->levels && f->changes && f->marks && f->commits && f->names && f->change_texts &&
			       f->mark_texts
		       ? 0
		       : -1;
}

static void set_stem(char out[STEM], const char *label, int number)
{
	size_t n = (size_t)snprintf(out, STEM, "history-%d-", number);
	for (const char *p = label; *p && n + 1 < STEM - 8; p++) {
		if (isalnum((unsigned char)*p) && (unsigned char)*p < 128)
			out[n++] = *p;
		else if (out[n - 1] != '-')
			out[n++] = '-';
	}
	while (out[n - 1] == '-')
		n--;
	out[n] = '\0';
}

static void set_caption(struct figure *f, const struct history_view *v, const struct history_series *s)
{
	char item[PLOT_TEXT_MAX], first[COMMIT_DATE_SIZE], last[COMMIT_DATE_SIZE], model[80], machine[100];
	struct plot_caption *c = &f->h.caption;
	const struct history_cell *cell = &v->history->cells[s->cell];
	plot_text_clean(item, cell->axes.model ? cell->axes.model : "", 70);
	snprintf(model, sizeof model, "%.79s", item);
	plot_text_clean(item, v->history->machine, 90);
	snprintf(machine, sizeof machine, "%.99s", item);
	if (*model)
		plot_caption_add(c, model);
	plot_caption_add(c, machine);
	plot_caption_break(c);
	commit_date_text(v->commits[0].date, first);
	commit_date_text(v->commits[v->n_commits - 1].date, last);
	snprintf(item, sizeof item, "%d values of %d commits, %.10s to %.10s", s->n, s->commits, first, last);
	plot_caption_add(c, item);
	snprintf(item, sizeof item, "%d gap%s", s->gaps, s->gaps == 1 ? "" : "s");
	if (s->gaps)
		plot_caption_add(c, item);
	if (v->dirty)
		plot_caption_add(c, "-dirty: with changes that are in no commit");
	plot_caption_break(c);
	plot_caption_add(c, "point: median of a process's runs; bar: their smallest and largest");
}

static void fill(struct figure *f, const struct history_view *v, const struct history_series *s, int number)
{
	const struct history *h = v->history;
	history_label(v, s, f->title);
	set_stem(f->stem, f->title, number);
	for (int i = 0; i < v->n_commits; i++) {
		history_commit_text(&v->commits[i], f->names[i]);
		f->commits[i] = f->names[i];
	}
	for (int i = 0; i < s->n; i++) {
		const struct history_record *r = &h->records[s->points[i].record];
		struct plot_history_point *p = &f->points[i];
		*p = (struct plot_history_point){history_point_x(s, i), r->median, INFINITY, -INFINITY};
		for (int k = 0; k < r->n_runs; k++) {
			p->low = fmin(p->low, r->runs[k]);
			p->high = fmax(p->high, r->runs[k]);
		}
	}
	for (int i = 0; i < s->n_levels; i++)
		f->levels[i] = (struct plot_history_level){s->points[s->levels[i].from].commit,
							   s->points[s->levels[i].to - 1].commit, s->levels[i].value};
	for (int i = 0; i < s->n_changes; i++) {
		const struct history_change *c = &s->changes[i];
		snprintf(f->change_texts[i], sizeof *f->change_texts, "%+.1f %%", 100 * c->shift.effect);
		f->changes[i] = (struct plot_history_change){c->before, c->after, f->change_texts[i], c->worse};
	}
	for (int k = 1; k < s->n_parts; k++) {
		history_mark_text(v, s, k, f->mark_texts[k]);
		f->marks[k - 1] = (struct plot_history_mark){s->points[s->parts[k]].commit, f->mark_texts[k]};
	}
	set_caption(f, v, s);
	f->h.name = f->stem;
	f->h.title = f->title;
	f->h.unit = h->cells[s->cell].unit;
	f->h.commits = f->commits;
	f->h.n_commits = v->n_commits;
	f->h.points = f->points;
	f->h.n_points = s->n;
	f->h.levels = f->levels;
	f->h.n_levels = s->n_levels;
	f->h.changes = f->changes;
	f->h.n_changes = s->n_changes;
	f->h.marks = f->marks;
	f->h.n_marks = s->n_parts - 1;
}

int history_plot(const struct history_view *views, int n, const struct plot_request *request,
		 const struct run_directory *out, struct error *err)
{
	int rc = 0, number = 1;
	for (int i = 0; i < n && !rc; i++)
		for (int k = 0; k < views[i].n_series && !rc; k++) {
			struct figure *f = calloc(1, sizeof *f);
			if (!f || figure_alloc(f, &views[i], &views[i].series[k]))
				rc = error_set(err, ERROR_MEMORY, "%s: not enough memory to draw it",
					       views[i].history->path);
			if (!rc) {
				fill(f, &views[i], &views[i].series[k], number++);
				rc = plot_history(&f->h, request, out, err);
			}
			if (f)
				figure_free(f);
			free(f);
		}
	return rc;
}
