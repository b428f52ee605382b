#include "harness/plot/plot_history.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/plot/plot_figure.h"

enum {
	COMMIT_TICKS = 16,
	VALUE_TICKS = 8,
	SHOWN_CHANGES = 40, /* with their sizes beside them: more would hide each other */
	COMMIT_CHARACTERS = 10,
	TEXT_CHARACTERS = 46,
};

static void choose_ticks(const struct plot_history *h, struct plot_ticks *t)
{
	int every = (h->n_commits + COMMIT_TICKS - 1) / COMMIT_TICKS;
	t->n = 0;
	for (int i = 0; i < h->n_commits; i += every) {
		t->at[t->n] = i;
		plot_text_clean(t->text[t->n++], h->commits[i], COMMIT_CHARACTERS);
	}
}

static void write_data(const struct plot_history *h, FILE *dat)
{
	fputs("# values, a process each\n# commit value min max\n", dat);
	for (int i = 0; i < h->n_points; i++)
		fprintf(dat, "%.9g %.9g %.9g %.9g\n", h->points[i].x, h->points[i].value, h->points[i].low,
			h->points[i].high);
	fputs("\n\n# levels\n# commit value\n", dat);
	for (int i = 0; i < h->n_levels; i++)
		fprintf(dat, "%s%.9g %.9g\n%.9g %.9g\n", i ? "\n" : "", h->levels[i].first - 0.3, h->levels[i].value,
			h->levels[i].last + 0.3, h->levels[i].value);
}

/* Lists of numbers and texts, which gnuplot has of one element at least. */
static int write_changes(const struct plot_history *h, FILE *s)
{
	int n = h->n_changes > 1 ? h->n_changes : 1;
	double *numbers = calloc((size_t)n, 3 * sizeof *numbers);
	char(*texts)[PLOT_TEXT_MAX] = calloc((size_t)n, sizeof *texts);
	const char **list = calloc((size_t)n, sizeof *list);
	int rc = numbers && texts && list ? 0 : -1;
	for (int i = 0; i < n && !rc; i++)
		list[i] = texts[i];
	for (int i = 0; i < h->n_changes && !rc; i++) {
		numbers[i] = h->changes[i].before + 0.3;
		numbers[n + i] = h->changes[i].after - 0.3;
		numbers[2 * n + i] = h->changes[i].worse;
		plot_text_clean(texts[i], h->n_changes > SHOWN_CHANGES ? "" : h->changes[i].text, TEXT_CHARACTERS);
	}
	if (!rc) {
		plot_script_number(s, "n_changes", h->n_changes);
		plot_script_numbers(s, "change_from", numbers, n);
		plot_script_numbers(s, "change_to", numbers + n, n);
		plot_script_numbers(s, "change_worse", numbers + 2 * n, n);
		plot_script_strings(s, "change_text", list, n);
	}
	free(list);
	free(texts);
	free(numbers);
	return rc;
}

static int write_marks(const struct plot_history *h, FILE *s)
{
	int n = h->n_marks > 1 ? h->n_marks : 1;
	double *at = calloc((size_t)n, sizeof *at);
	char(*texts)[PLOT_TEXT_MAX] = calloc((size_t)n, sizeof *texts);
	const char **list = calloc((size_t)n, sizeof *list);
	int rc = at && texts && list ? 0 : -1;
	for (int i = 0; i < n && !rc; i++)
		list[i] = texts[i];
	for (int i = 0; i < h->n_marks && !rc; i++) {
		at[i] = h->marks[i].commit - 0.5;
		plot_text_clean(texts[i], h->n_marks > SHOWN_CHANGES ? "" : h->marks[i].text, TEXT_CHARACTERS);
	}
	if (!rc) {
		plot_script_number(s, "n_marks", h->n_marks);
		plot_script_numbers(s, "mark_at", at, n);
		plot_script_strings(s, "mark_text", list, n);
	}
	free(list);
	free(texts);
	free(at);
	return rc;
}

/* Times in us become ms where that reads better; other units stay what they are. */
static struct plot_axis choose_axis(const struct plot_history *h)
{
	double lo = INFINITY, hi = -INFINITY;
	for (int i = 0; i < h->n_points; i++) {
		plot_axis_widen(&lo, &hi, h->points[i].low);
		plot_axis_widen(&lo, &hi, h->points[i].high);
	}
	if (!strcmp(h->unit, "us"))
		return plot_axis_time(lo, hi, false, plot_axis_wants_ms(lo, hi, false), VALUE_TICKS);
	return plot_axis_amount(lo, hi, false, 1, h->unit, VALUE_TICKS);
}

int plot_history(const struct plot_history *h, const struct plot_request *request, const struct run_directory *out,
		 struct error *err)
{
	static const int templates[] = {PLOT_TEMPLATE_STYLE, PLOT_TEMPLATE_HISTORY, -1};
	struct plot_figure f = {.request = request, .out = out, .slug = ""};
	struct plot_axis axis = choose_axis(h);
	struct plot_ticks *ticks = malloc(sizeof *ticks);
	char y_text[PLOT_TEXT_MAX], title[PLOT_TEXT_MAX];
	int rc = ticks ? plot_figure_open(&f, h->name, err)
		       : error_set(err, ERROR_MEMORY, "%s: not enough memory", out->path);
	if (rc) {
		free(ticks);
		return rc;
	}
	FILE *s = f.script;
	choose_ticks(h, ticks);
	plot_axis_label(y_text, &axis, "value");
	plot_text_clean(title, h->title, 90);
	plot_script_string(s, "name", f.stem);
	fprintf(s, "data = name.'.dat'\n");
	plot_script_number(s, "height", 480);
	plot_script_string(s, "title_text", title);
	plot_script_caption(s, &h->caption);
	plot_script_number(s, "n_commits", h->n_commits);
	plot_script_ticks(s, "tick_at", "tick_text", ticks);
	plot_script_string(s, "x_text", "commit, by date");
	plot_script_number(s, "scale", axis.scale);
	plot_script_number(s, "y_lo", axis.lo);
	plot_script_number(s, "y_hi", axis.hi);
	plot_script_number(s, "y_log", axis.log);
	plot_script_string(s, "y_text", y_text);
	plot_script_ticks(s, "ytick_at", "ytick_text", &axis.ticks);
	write_data(h, f.dat);
	if (write_changes(h, s) || write_marks(h, s))
		rc = error_set(err, ERROR_MEMORY, "%s: not enough memory", out->path);
	if (rc) {
		run_file_discard(&f.dat_file);
		run_file_discard(&f.script_file);
	} else {
		rc = plot_figure_finish(&f, templates, err);
	}
	free(ticks);
	return rc;
}
