#include "harness/report/history_output.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "harness/record/commit_date.h"
#include "harness/report/grid.h"

enum { NOTES = 12, DAY = 11 /* bytes of a date without its time, with the NUL */ };

static void day_text(int64_t seconds, char out[DAY])
{
	char date[COMMIT_DATE_SIZE];
	commit_date_text(seconds, date);
	snprintf(out, DAY, "%.10s", date);
}

static const char *plural(int n)
{
	return n == 1 ? "" : "s";
}

/* The model of a file: that of its first series; "" of another tool's. */
static const char *model_of(const struct history_view *v)
{
	const char *model = v->history->cells[v->series[0].cell].axes.model;
	return model ? model : "";
}

static int worse_changes(const struct history_view *v)
{
	int n = 0;
	for (int i = 0; i < v->n_series; i++)
		for (int k = 0; k < v->series[i].n_changes; k++)
			n += v->series[i].changes[k].worse;
	return n;
}

void history_sentence(const struct history_view *v, char out[HISTORY_SENTENCE_SIZE])
{
	char first[DAY], last[DAY], found[160] = "nothing changed";
	const char *model = model_of(v);
	int worse = worse_changes(v);
	day_text(v->commits[0].date, first);
	day_text(v->commits[v->n_commits - 1].date, last);
	if (v->n_changes)
		snprintf(found, sizeof found, "%d change%s, of which %d for the worse", v->n_changes,
			 plural(v->n_changes), worse);
	snprintf(out, HISTORY_SENTENCE_SIZE, "%.200s%s%.120s: %s in %d series of %d commit%s (%s to %s; %d record%s)",
		 v->history->machine, *model ? ", " : "", model, found, v->n_series, v->n_commits, plural(v->n_commits),
		 first, last, v->history->n_records, plural(v->history->n_records));
}

/* ---- for people ---- */

static void print_text(FILE *f, const char *text, int markdown)
{
	for (; *text; text++) {
		char c = *text;
		if (markdown && strchr("`|<>*_[]", c))
			c = '\'';
		fputc(c, f);
	}
}

static void print_escaped(FILE *f, const char *text, int markdown)
{
	char safe[2 * HISTORY_SENTENCE_SIZE];
	text_escape(safe, sizeof safe, text);
	print_text(f, safe, markdown);
}

/* The words of a series: test, mode and fusion, and what else tells it apart. */
static void words_of(const struct history_view *v, const struct history_series *s, char label[GRID_CELL],
		     const char **mode, const char **fusion, char which[256])
{
	const struct history_cell *c = &v->history->cells[s->cell];
	char test[CELL_LABEL_SIZE];
	which[0] = '\0';
	*mode = *fusion = "";
	if (c->name) {
		snprintf(label, GRID_CELL, "%.*s", (int)text_cut(c->name, GRID_CELL - 1), c->name);
		return;
	}
	cell_label(&c->axes, test);
	snprintf(label, GRID_CELL, "%.63s", test);
	*mode = cell_mode(&c->axes);
	*fusion = cell_word(&c->axes, AXIS_FUSION);
	cell_difference_text(&v->difference, &c->axes, which);
}

static const char *direction(const struct history_view *v, const struct history_series *s,
			     const struct history_change *c)
{
	if (v->history->cells[s->cell].name && strcmp(v->history->cells[s->cell].metric, "itl"))
		return c->worse ? "worse" : "better";
	return c->worse ? "slower" : "faster";
}

static int write_series(const struct history_view *v, FILE *f, int markdown)
{
	static const char *const header[] = {"test", "mode", "fusion", "cell",    "commits",
					     "n",    "now",  "unit",   "noise %", "changes"};
	struct grid g = {.markdown = markdown, .drop_empty = 1, .columns = 10, .left = 0xf | 1u << 7};
	int rc = grid_add(&g, header);
	for (int i = 0; i < v->n_series && !rc; i++) {
		const struct history_series *s = &v->series[i];
		const struct history_level *now = &s->levels[s->n_levels - 1];
		char label[GRID_CELL], which[256], commits[GRID_CELL], n[GRID_CELL], value[GRID_CELL],
			noise[GRID_CELL] = "-", changes[GRID_CELL];
		const char *mode, *fusion;
		words_of(v, s, label, &mode, &fusion, which);
		snprintf(commits, sizeof commits, "%d", s->commits);
		snprintf(n, sizeof n, "%d", s->n);
		grid_number(value, now->value);
		if (isfinite(now->deviation))
			snprintf(noise, sizeof noise, "%.2f", 100 * now->deviation);
		snprintf(changes, sizeof changes, "%d", s->n_changes);
		const char *row[] = {label, mode,   fusion, which, commits, n, value, v->history->cells[s->cell].unit,
				     noise, changes};
		rc = grid_add(&g, row);
	}
	if (!rc)
		grid_write(&g, f);
	grid_free(&g);
	return rc;
}

static int write_changes(const struct history_view *v, FILE *f, int markdown)
{
	static const char *const header[] = {"test",   "mode",  "fusion", "cell",          "in", "date",
					     "before", "after", "change", "95 % interval", "p",  "verdict"};
	struct grid g = {.markdown = markdown, .drop_empty = 1, .columns = 12, .left = 0x3f | 1u << 11};
	int rc = grid_add(&g, header);
	for (int i = 0; i < v->n_series && !rc; i++) {
		const struct history_series *s = &v->series[i];
		for (int k = 0; k < s->n_changes && !rc; k++) {
			const struct history_change *c = &s->changes[k];
			char label[GRID_CELL], which[256], range[HISTORY_RANGE_SIZE], date[DAY], before[GRID_CELL],
				after[GRID_CELL], effect[GRID_CELL], interval[GRID_CELL], p[GRID_CELL];
			const char *mode, *fusion;
			words_of(v, s, label, &mode, &fusion, which);
			history_range_text(v, c, range);
			day_text(v->commits[c->after].date, date);
			grid_number(before, s->levels[c->level - 1].value);
			grid_number(after, s->levels[c->level].value);
			grid_percent(effect, c->shift.effect);
			grid_percent_interval(interval, c->shift.low, c->shift.high);
			snprintf(p, sizeof p, "%.4f", c->p);
			const char *row[] = {label,  mode,  fusion, which,    range, date,
					     before, after, effect, interval, p,     direction(v, s, c)};
			rc = grid_add(&g, row);
		}
	}
	if (!rc)
		grid_write(&g, f);
	grid_free(&g);
	return rc;
}

/* Each recalibration once, however many series it splits. */
static void write_marks(const struct history_view *v, FILE *f, int markdown)
{
	char seen[NOTES][HISTORY_MARK_SIZE + HISTORY_TEXT + 16];
	int n = 0, more = 0;
	for (int i = 0; i < v->n_series; i++) {
		const struct history_series *s = &v->series[i];
		for (int k = 1; k < s->n_parts; k++) {
			char mark[HISTORY_MARK_SIZE], commit[HISTORY_TEXT], line[sizeof *seen];
			int known = 0;
			history_mark_text(v, s, k, mark);
			history_commit_text(&v->commits[s->points[s->parts[k]].commit], commit);
			snprintf(line, sizeof line, "at %s: %s", commit, mark);
			for (int m = 0; m < n && !known; m++)
				known = !strcmp(seen[m], line);
			if (known)
				continue;
			if (n == NOTES) {
				more++;
				continue;
			}
			memcpy(seen[n++], line, sizeof line);
		}
	}
	if (n)
		fprintf(f, "\nrecalibrations, which split the series:\n%s", markdown ? "\n" : "");
	for (int m = 0; m < n; m++) {
		fputs("- ", f);
		print_escaped(f, seen[m], markdown);
		fputc('\n', f);
	}
	if (more)
		fprintf(f, "- and %d more\n", more);
}

static void write_notes(const struct history_view *v, FILE *f)
{
	int gaps = 0, with = 0;
	for (int i = 0; i < v->n_series; i++) {
		gaps += v->series[i].gaps;
		with += v->series[i].gaps > 0;
	}
	if (gaps)
		fprintf(f,
			"\n%d gap%s in %d series: commits that other series have and these have not; nothing is filled "
			"in\n",
			gaps, plural(gaps), with);
	if (v->dirty)
		fprintf(f, "\n%d commit%s measured with changes that are in no commit (-dirty)\n", v->dirty,
			v->dirty == 1 ? " was" : "s were");
	if (v->history->cut)
		fprintf(f, "\n%s: an unfinished last line was left out\n", text_show_path(v->history->path).text);
}

static int write_text(const struct history_view *v, FILE *f, int markdown)
{
	char sentence[HISTORY_SENTENCE_SIZE];
	history_sentence(v, sentence);
	fputs(markdown ? "**" : "", f);
	print_escaped(f, sentence, markdown);
	fputs(markdown ? "**\n\n" : "\n\n", f);
	int rc = 0;
	if (v->n_changes) {
		rc = write_changes(v, f, markdown);
		fputc('\n', f);
	}
	if (!rc)
		rc = write_series(v, f, markdown);
	write_marks(v, f, markdown);
	write_notes(v, f);
	return rc;
}

static void write_method(const struct history_view *views, int n, FILE *f)
{
	const struct stats_change_options *o = &views[0].options;
	double wrong = 0;
	int series = 0;
	for (int i = 0; i < n; i++) {
		wrong += history_false_changes(&views[i]);
		series += views[i].n_series;
	}
	fprintf(f,
		"\nmethod: E-divisive over the logarithms of each process's median, %d permutations, p <= %.3g a "
		"series "
		"(about %.2g false\nchanges in %d series where nothing changes); change: of the geometric means, with "
		"Welch's interval; now, noise: of the last level\n",
		o->permutations, o->alpha, wrong, series);
}

/* ---- for programs ---- */

static void put_csv(FILE *f, const char *text, int last)
{
	fputc('"', f);
	for (; *text; text++) {
		if (*text == '"')
			fputc('"', f);
		fputc(*text, f);
	}
	fputs(last ? "\"\n" : "\",", f);
}

static void put_real(FILE *f, double x, int last)
{
	if (isfinite(x))
		fprintf(f, "\"%.9g\"", x);
	fputs(last ? "\n" : ",", f);
}

static void put_name(FILE *f, const char *text)
{
	char name[HISTORY_SENTENCE_SIZE];
	text_name(name, sizeof name, text, strlen(text));
	put_csv(f, name, 0);
}

static void write_csv_level(const struct history_view *v, const struct history_series *s, int k, FILE *f)
{
	const struct history_level *l = &s->levels[k];
	const struct history_cell *c = &v->history->cells[s->cell];
	const struct history_change *change = NULL;
	const struct history_commit *first = &v->commits[s->points[l->from].commit],
				    *last = &v->commits[s->points[l->to - 1].commit];
	char label[HISTORY_LABEL_SIZE], commit[HISTORY_TEXT], date[COMMIT_DATE_SIZE];
	for (int i = 0; i < s->n_changes; i++)
		if (s->changes[i].level == k)
			change = &s->changes[i];
	history_label(v, s, label);
	put_name(f, v->history->machine);
	put_name(f, c->axes.model ? c->axes.model : "");
	put_name(f, label);
	put_name(f, c->metric);
	put_name(f, c->unit);
	fprintf(f, "\"%d\",\"%d\",", l->part, k);
	for (int end = 0; end < 2; end++) {
		history_commit_text(end ? last : first, commit);
		put_name(f, commit);
		commit_date_text(end ? last->date : first->date, date);
		put_csv(f, date, 0);
	}
	fprintf(f, "\"%d\",", l->to - l->from);
	put_real(f, l->value, 0);
	put_real(f, l->deviation, 0);
	if (change) {
		history_commit_text(&v->commits[change->before], commit);
		put_name(f, commit);
		fprintf(f, "\"%d\",", change->unmeasured);
		put_real(f, change->shift.effect, 0);
		put_real(f, change->shift.low, 0);
		put_real(f, change->shift.high, 0);
		put_real(f, change->p, 0);
		fprintf(f, "\"%d\"\n", change->worse);
	} else {
		fputs(",,,,,,\n", f);
	}
}

static void write_csv(const struct history_view *views, int n, FILE *f)
{
	fputs("machine,model,series,metric,unit,part,level,first_commit,first_date,last_commit,last_date,values,value,"
	      "deviation,changed_after,unmeasured,effect,low,high,p,worse\n",
	      f);
	for (int i = 0; i < n; i++)
		for (int s = 0; s < views[i].n_series; s++)
			for (int k = 0; k < views[i].series[s].n_levels; k++)
				write_csv_level(&views[i], &views[i].series[s], k, f);
}

static json_t *real(double x)
{
	return isfinite(x) ? json_real(x) : json_null();
}

static json_t *name_json(const char *text)
{
	char name[HISTORY_SENTENCE_SIZE];
	text_name(name, sizeof name, text, strlen(text));
	return json_string(name);
}

static json_t *commit_json(const struct history_commit *c)
{
	char date[COMMIT_DATE_SIZE];
	commit_date_text(c->date, date);
	return json_pack("{s:o, s:s, s:b}", "commit", name_json(c->name), "date", date, "dirty", c->dirty);
}

static json_t *environment_json(const struct history_environment *e)
{
	json_t *o = json_object();
	for (int i = 0; i < e->n; i++)
		json_object_set_new(o, e->names[i], name_json(e->values[i]));
	return o;
}

static json_t *series_json(const struct history_view *v, const struct history_series *s)
{
	const struct history *h = v->history;
	char label[HISTORY_LABEL_SIZE];
	json_t *points = json_array(), *levels = json_array(), *changes = json_array(), *parts = json_array();
	history_label(v, s, label);
	for (int i = 0; i < s->n; i++) {
		const struct history_record *r = &h->records[s->points[i].record];
		json_array_append_new(points, json_pack("{s:i, s:o, s:f, s:i}", "commit", s->points[i].commit, "run",
							name_json(r->run), "value", r->median, "runs", r->n_runs));
	}
	for (int i = 0; i < s->n_parts; i++)
		json_array_append_new(
			parts,
			json_pack("{s:i, s:o}", "from", s->parts[i], "env",
				  environment_json(
					  &h->environments[h->records[s->points[s->parts[i]].record].environment])));
	for (int i = 0; i < s->n_levels; i++)
		json_array_append_new(levels, json_pack("{s:i, s:i, s:i, s:f, s:o}", "part", s->levels[i].part, "from",
							s->levels[i].from, "to", s->levels[i].to, "value",
							s->levels[i].value, "deviation", real(s->levels[i].deviation)));
	for (int i = 0; i < s->n_changes; i++) {
		const struct history_change *c = &s->changes[i];
		json_array_append_new(changes,
				      json_pack("{s:i, s:i, s:i, s:i, s:f, s:o, s:o, s:f, s:b}", "level", c->level,
						"before", c->before, "after", c->after, "unmeasured", c->unmeasured,
						"effect", c->shift.effect, "low", real(c->shift.low), "high",
						real(c->shift.high), "p", c->p, "worse", c->worse));
	}
	return json_pack("{s:o, s:o, s:o, s:b, s:i, s:o, s:o, s:o, s:o}", "series", name_json(label), "metric",
			 name_json(h->cells[s->cell].metric), "unit", name_json(h->cells[s->cell].unit),
			 "more_is_better", h->cells[s->cell].more_is_better, "gaps", s->gaps, "points", points, "parts",
			 parts, "levels", levels, "changes", changes);
}

static int write_json(const struct history_view *views, int n, FILE *f)
{
	json_t *files = json_array();
	for (int i = 0; i < n; i++) {
		const struct history_view *v = &views[i];
		json_t *commits = json_array(), *series = json_array();
		for (int c = 0; c < v->n_commits; c++)
			json_array_append_new(commits, commit_json(&v->commits[c]));
		for (int s = 0; s < v->n_series; s++)
			json_array_append_new(series, series_json(v, &v->series[s]));
		json_array_append_new(files,
				      json_pack("{s:o, s:o, s:o, s:o}", "machine", name_json(v->history->machine),
						"model", name_json(model_of(v)), "commits", commits, "series", series));
	}
	const struct stats_change_options *o = &views[0].options;
	json_t *all = json_pack("{s:i, s:f, s:i, s:i, s:o}", "schema_version", 1, "alpha", o->alpha, "permutations",
				o->permutations, "window", o->window, "files", files);
	int rc = !all || json_dumpf(all, f, JSON_INDENT(1)) ? -1 : 0;
	fputc('\n', f);
	json_decref(all);
	return rc;
}

int history_output_write(const struct history_view *views, int n, enum compare_format format, FILE *f,
			 struct error *err)
{
	int rc = 0;
	if (format == COMPARE_FORMAT_CSV)
		write_csv(views, n, f);
	else if (format == COMPARE_FORMAT_JSON)
		rc = write_json(views, n, f);
	for (int i = 0; i < n && !rc && (format == COMPARE_FORMAT_TABLE || format == COMPARE_FORMAT_MD); i++) {
		if (i)
			fputc('\n', f);
		rc = write_text(&views[i], f, format == COMPARE_FORMAT_MD);
		if (!rc && i + 1 == n)
			write_method(views, n, f);
	}
	return rc ? error_set(err, ERROR_MEMORY, "no memory to print a history") : 0;
}
