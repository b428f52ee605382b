/* A history as a document: a first screen with what changed, then each series with its figure. */
#include <math.h>
#include <string.h>

#include "base/text.h"
#include "harness/record/commit_date.h"
#include "harness/report/grid.h"
#include "harness/report/history_figures.h"
#include "harness/report/history_output.h"

enum {
	OPEN_ROWS = 15,
	CHARTS = 60, /* of a page: more series are in the table alone */
	STYLE_VALUE = 0,
	STYLE_WORSE = 1,
	STYLE_BETTER = 2,
	STYLE_LEVEL = 6,
	STYLE_MARK = 7,
};

static const char *number_text(struct document *d, double x)
{
	char text[GRID_CELL];
	grid_number(text, x);
	return document_text(d, "%s", text);
}

static const char *percent_text(struct document *d, double x)
{
	char text[GRID_CELL];
	grid_percent(text, x);
	return document_text(d, "%s", text);
}

static const char *interval_text(struct document *d, double low, double high)
{
	char text[GRID_CELL];
	grid_percent_interval(text, low, high);
	return document_text(d, "%s", text);
}

static void put(struct document_entry *e, const char *text, double number)
{
	e->text = text;
	e->number = number;
}

static const char *label_text(struct document *d, const struct history_view *v, const struct history_series *s)
{
	char label[HISTORY_LABEL_SIZE];
	history_label(v, s, label);
	return document_text(d, "%s", label);
}

static const char *date_text(struct document *d, const struct history_commit *c)
{
	char date[COMMIT_DATE_SIZE];
	commit_date_text(c->date, date);
	return document_text(d, "%.10s", date);
}

/* ---- tables ---- */

static void add_changes(struct document *d, struct document_section *to, const struct history_view *v)
{
	static const struct document_column columns[] = {{"series", 0}, {"in", 0},   {"date", 0},   {"before", 1},
							 {"after", 1},  {"unit", 0}, {"change", 1}, {"95 %", 1},
							 {"p", 1},      {"", 0}};
	struct document_table *t = document_table(d, to, DOCUMENT_BOTH, columns, 10);
	for (int i = 0; i < v->n_series; i++) {
		const struct history_series *s = &v->series[i];
		for (int k = 0; k < s->n_changes; k++) {
			const struct history_change *c = &s->changes[k];
			char range[HISTORY_RANGE_SIZE];
			struct document_entry *e = document_row(d, t);
			history_range_text(v, c, range);
			put(&e[0], label_text(d, v, s), NAN);
			put(&e[1], document_text(d, "%s", range), c->after);
			put(&e[2], date_text(d, &v->commits[c->after]), (double)v->commits[c->after].date);
			put(&e[3], number_text(d, s->levels[c->level - 1].value), s->levels[c->level - 1].value);
			put(&e[4], number_text(d, s->levels[c->level].value), s->levels[c->level].value);
			put(&e[5], document_text(d, "%s", v->history->cells[s->cell].unit), NAN);
			put(&e[6], percent_text(d, c->shift.effect), c->shift.effect);
			put(&e[7], interval_text(d, c->shift.low, c->shift.high), c->shift.low);
			put(&e[8], document_text(d, "%.4f", c->p), c->p);
			put(&e[9], c->worse ? "worse" : "better", NAN);
		}
	}
	t->title = "Changes";
	t->open = OPEN_ROWS;
	t->source = document_text(d,
				  "E-divisive, %d permutations, p <= %.3g a series: about %.2g false changes are to be "
				  "expected where nothing changes",
				  v->options.permutations, v->options.alpha, history_false_changes(v));
}

static void add_series(struct document *d, struct document_section *to, const struct history_view *v)
{
	static const struct document_column columns[] = {{"series", 0}, {"commits", 1}, {"values", 1},
							 {"gaps", 1},   {"now", 1},     {"unit", 0},
							 {"noise", 1},  {"changes", 1}, {"last change", 0}};
	struct document_table *t = document_table(d, to, DOCUMENT_BOTH, columns, 9);
	for (int i = 0; i < v->n_series; i++) {
		const struct history_series *s = &v->series[i];
		const struct history_level *now = &s->levels[s->n_levels - 1];
		struct document_entry *e = document_row(d, t);
		put(&e[0], label_text(d, v, s), NAN);
		put(&e[1], document_text(d, "%d", s->commits), s->commits);
		put(&e[2], document_text(d, "%d", s->n), s->n);
		put(&e[3], s->gaps ? document_text(d, "%d", s->gaps) : "", s->gaps);
		put(&e[4], number_text(d, now->value), now->value);
		put(&e[5], document_text(d, "%s", v->history->cells[s->cell].unit), NAN);
		put(&e[6], isfinite(now->deviation) ? document_text(d, "%.2f %%", 100 * now->deviation) : "",
		    now->deviation);
		put(&e[7], s->n_changes ? document_text(d, "%d", s->n_changes) : "", s->n_changes);
		if (s->n_changes) {
			char range[HISTORY_RANGE_SIZE];
			history_range_text(v, &s->changes[s->n_changes - 1], range);
			put(&e[8],
			    document_text(d, "%s in %s", percent_text(d, s->changes[s->n_changes - 1].shift.effect),
					  range),
			    NAN);
		}
	}
	t->title = "Series";
	t->open = OPEN_ROWS;
	t->source =
		document_text(d, "now: the last level, a geometric mean; noise: the standard deviation of its values, "
				 "a process each; gaps: commits that other series have");
	document_drop_empty_columns(d, t);
}

/* ---- figures ---- */

static const char *tip(struct document *d, const struct history_view *v, const struct history_series *s, int point)
{
	const struct history_record *r = &v->history->records[s->points[point].record];
	const struct history_commit *c = &v->commits[s->points[point].commit];
	char commit[HISTORY_TEXT], date[COMMIT_DATE_SIZE];
	history_commit_text(c, commit);
	commit_date_text(c->date, date);
	return document_text(d, "%s, %s" CHART_LINE "%s %s, median of %d run%s" CHART_LINE "run %s", commit, date,
			     number_text(d, r->median), v->history->cells[s->cell].unit, r->n_runs,
			     r->n_runs == 1 ? "" : "s", r->run);
}

static void add_upright(struct document *d, struct chart_series *to, const char *name, int style, double x, double low,
			double high, const char *what)
{
	to->name = name;
	to->style = style;
	chart_add(d, to, (struct chart_point){x, 0.5 * (low + high), low, high, what});
}

static void add_chart(struct document *d, struct document_section *to, const struct history_view *v,
		      const struct history_series *s)
{
	int n = 1 + s->n_levels + s->n_changes + s->n_parts - 1, at = 1;
	double low = INFINITY, high = -INFINITY;
	struct chart *c = document_chart(d, to, DOCUMENT_HTML, CHART_HISTORY, n, v->n_commits);
	c->x = CHART_X_LINEAR;
	c->y = CHART_Y_AMOUNT;
	c->band = NAN;
	c->title = label_text(d, v, s);
	c->x_text = "commit, by date";
	c->y_text = document_text(d, "%s", v->history->cells[s->cell].unit);
	c->marks = "point: the median of a process's runs, bar: their smallest and largest; line: a level";
	c->source = "";
	if (c->n_series < n || c->n_places < v->n_commits)
		return; /* no memory, which the document has noted */
	for (int i = 0; i < v->n_commits; i++) {
		char name[HISTORY_TEXT];
		history_commit_text(&v->commits[i], name);
		c->places[i] = document_text(d, "%.10s", name);
	}
	c->series[0].name = "a process";
	c->series[0].style = STYLE_VALUE;
	for (int i = 0; i < s->n; i++) {
		const struct history_record *r = &v->history->records[s->points[i].record];
		double from = r->runs[0], end = r->runs[0];
		for (int k = 1; k < r->n_runs; k++) {
			from = fmin(from, r->runs[k]);
			end = fmax(end, r->runs[k]);
		}
		low = fmin(low, from);
		high = fmax(high, end);
		chart_add(d, &c->series[0],
			  (struct chart_point){history_point_x(s, i), r->median, from, end, tip(d, v, s, i)});
	}
	for (int i = 0; i < s->n_levels; i++, at++) {
		const struct history_level *l = &s->levels[i];
		c->series[at].name = "level";
		c->series[at].style = STYLE_LEVEL;
		for (int end = 0; end < 2; end++)
			chart_add(d, &c->series[at],
				  (struct chart_point){end ? s->points[l->to - 1].commit + 0.4
							   : s->points[l->from].commit - 0.4,
						       l->value, NAN, NAN, NULL});
	}
	for (int i = 0; i < s->n_changes; i++, at++) {
		const struct history_change *k = &s->changes[i];
		char range[HISTORY_RANGE_SIZE];
		history_range_text(v, k, range);
		add_upright(d, &c->series[at], k->worse ? "worse from here on" : "better from here on",
			    k->worse ? STYLE_WORSE : STYLE_BETTER, 0.5 * (k->before + k->after), low, high,
			    document_text(d, "%s [%s]" CHART_LINE "in %s" CHART_LINE "p %.4f",
					  percent_text(d, k->shift.effect),
					  interval_text(d, k->shift.low, k->shift.high), range, k->p));
	}
	for (int k = 1; k < s->n_parts; k++, at++) {
		char mark[HISTORY_MARK_SIZE];
		history_mark_text(v, s, k, mark);
		add_upright(d, &c->series[at], "recalibration", STYLE_MARK, s->points[s->parts[k]].commit - 0.5, low,
			    high, document_text(d, "recalibrated" CHART_LINE "%s", mark));
	}
}

/* Those that changed are in front. */
static void add_charts(struct document *d, struct document_section *to, const struct history_view *v, int changed,
		       int *left)
{
	for (int i = 0; i<v->n_series && * left> 0; i++)
		if ((v->series[i].n_changes > 0) == changed) {
			add_chart(d, to, v, &v->series[i]);
			--*left;
		}
}

static void add_marks(struct document *d, struct document_section *to, const struct history_view *v)
{
	const char *last = "";
	for (int i = 0; i < v->n_series; i++)
		for (int k = 1; k < v->series[i].n_parts; k++) {
			char mark[HISTORY_MARK_SIZE], commit[HISTORY_TEXT];
			const struct history_series *s = &v->series[i];
			history_mark_text(v, s, k, mark);
			history_commit_text(&v->commits[s->points[s->parts[k]].commit], commit);
			const char *line = document_text(d, "Recalibrated at %s: %s", commit, mark);
			if (strcmp(line, last))
				document_item(d, to, "%s", line);
			last = line;
		}
}

/* ---- the document ---- */

static void add_view(struct document *d, struct document_section *first, const struct history_view *v, int several,
		     int *left)
{
	char sentence[HISTORY_SENTENCE_SIZE];
	struct document_section *to = first;
	history_sentence(v, sentence);
	if (several) {
		to = document_section(d, document_text(d, "%s", v->history->machine));
		to->finding = document_text(d, "%s", sentence);
	}
	if (v->n_changes)
		add_changes(d, to, v);
	add_charts(d, to, v, 1, left);
	add_marks(d, to, v);
	if (v->dirty)
		document_say(d, to, "%d commit%s measured with changes that are in no commit (-dirty).", v->dirty,
			     v->dirty == 1 ? " was" : "s were");
	struct document_section *rest =
		document_section(d, several ? document_text(d, "All series: %s", sentence) : "All series");
	rest->finding = document_text(d, "%d", v->n_series);
	add_series(d, rest, v);
	add_charts(d, rest, v, 0, left);
}

int history_document(struct document *d, const struct history_view *views, int n, struct error *err)
{
	char sentence[HISTORY_SENTENCE_SIZE];
	int changes = 0, series = 0, left = CHARTS;
	for (int i = 0; i < n; i++) {
		changes += views[i].n_changes;
		series += views[i].n_series;
	}
	d->title = "history";
	history_sentence(&views[0], sentence);
	d->sentence = n == 1 ? document_text(d, "%s.", sentence)
			     : document_text(d, "%d change%s in %d series of %d machines and models.", changes,
					     changes == 1 ? "" : "s", series, n);
	struct document_section *first = document_section(d, "");
	for (int i = 0; i < n; i++)
		add_view(d, first, &views[i], n > 1, &left);
	if (series > CHARTS)
		document_say(d, first, "%d series have no figure here: a page has %d; --series chooses.",
			     series - CHARTS, CHARTS);
	struct document_section *method = document_section(d, "Method");
	document_say(
		d, method,
		"A value is the median of the runs of one process; a commit that was measured again has several. "
		"Changes are found by E-divisive (Matteson and James 2014) over the values' logarithms, between "
		"commits alone, in a window of %d values, and kept where no more than %.3g of the permutations of a "
		"series, and of its commits, show a split as good. Sizes are differences of geometric means with "
		"Welch's 95 %% interval. "
		"Series are split where the environment differs, and never compared across; a commit without a value "
		"is a gap, and widens the range in which a change can have happened.",
		views[0].options.window, views[0].options.alpha);
	return d->failed ? error_set(err, ERROR_MEMORY, "no memory for a page") : 0;
}
