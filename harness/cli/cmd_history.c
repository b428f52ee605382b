/*
 * gemmark history: what every commit measured, and when that changed. The subcommands are in cmd_history_*.c.
 */
#include "harness/cli/cmd_history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "harness/cli/options.h"
#include "harness/record/history_source.h"
#include "harness/report/compare.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *summary;
} subcommands[] = {
	{"add", cmd_history_add, "add what results directories measured"},
	{"import", cmd_history_import, "add all results directories below folders, or another tool's CSV file"},
	{"show", cmd_history_show,
	 "series and their changes: table, Markdown, CSV, JSON, a page; files for Apache Otava"},
	{"plot", cmd_history_plot, "draw the series over commits as SVG and PNG"},
	{"check", cmd_history_check, "does a run go on where its series are? An exit code for CI"},
};
enum { N_SUBCOMMANDS = sizeof subcommands / sizeof *subcommands };

void history_selection_default(struct history_selection *s)
{
	*s = (struct history_selection){.store = HISTORY_STORE};
	stats_change_options_default(&s->change);
}

static int apply_text(const char **to, const char *value, struct error *err)
{
	*to = value;
	return *value ? 0 : error_set(err, ERROR_INPUT, "the text is empty");
}

int history_apply_store(void *ctx, const char *value, struct error *err)
{
	return apply_text(&((struct history_selection *)ctx)->store, value, err);
}

int history_apply_machine(void *ctx, const char *value, struct error *err)
{
	return apply_text(&((struct history_selection *)ctx)->machine, value, err);
}

int history_apply_model(void *ctx, const char *value, struct error *err)
{
	return apply_text(&((struct history_selection *)ctx)->model, value, err);
}

int history_apply_series(void *ctx, const char *value, struct error *err)
{
	return apply_text(&((struct history_selection *)ctx)->series, value, err);
}

int history_apply_across(void *ctx, const char *value, struct error *err)
{
	struct history_join *j = &((struct history_selection *)ctx)->join;
	unsigned axis = 0;
	int rc = history_is_fact(value) ? 0 : compare_across(value, &axis, err);
	if (rc)
		return error_set(
			err, ERROR_INPUT,
			"'%s' is neither a fact of the environment (driver, cuda, kernel, flags, ...) nor an axis that "
			"may differ (mode, fusion, n_ubatch, ...)",
			text_show(value, strlen(value)).text);
	if (!rc && j->n == HISTORY_JOIN_MAX)
		rc = error_set(err, ERROR_INPUT, "more than %d of them", HISTORY_JOIN_MAX);
	if (!rc)
		j->names[j->n++] = value;
	return rc;
}

int history_apply_alpha(void *ctx, const char *value, struct error *err)
{
	struct stats_change_options *o = &((struct history_selection *)ctx)->change;
	/* The smallest p that so many permutations give. */
	int rc = options_share(value, 1.0 / (1 + o->permutations), 0.5, &o->alpha, err);
	return rc;
}

/* ---- the store ---- */

static int has_text(const char *text, const char *part)
{
	return !part || strstr(text, part);
}

/* Leaves the series that are asked for; the others' memory goes. */
static void select_series(struct history_view *v, const char *part)
{
	int kept = 0;
	for (int i = 0; i < v->n_series; i++) {
		char label[HISTORY_LABEL_SIZE];
		struct history_series s = v->series[i];
		history_label(v, &s, label);
		if (has_text(label, part)) {
			v->series[kept++] = s;
			continue;
		}
		v->n_changes -= s.n_changes;
		v->n_marks -= s.n_parts - 1;
		free(s.points);
		free(s.logs);
		free(s.parts);
		free(s.levels);
		free(s.changes);
	}
	v->n_series = kept;
}

static int read_one(struct history_store *s, const struct history_selection *of, const char *name, int *empty,
		    struct error *err)
{
	struct history *h = &s->histories[s->n];
	struct history_view *v = &s->views[s->n];
	int rc = history_read(h, &s->folder, name, &of->join, err);
	*empty += !rc && !h->n_records;
	if (!rc && h->n_records) {
		const char *model = h->cells[0].axes.model ? h->cells[0].axes.model : "";
		if (has_text(h->machine, of->machine) && has_text(model, of->model))
			rc = history_view_make(v, h, &of->change, err);
		if (!rc)
			select_series(v, of->series);
		if (!rc && v->n_series) {
			s->n++;
			return 0;
		}
	}
	history_view_free(v);
	history_free(h);
	return rc;
}

int history_store_open(struct history_store *s, const struct history_selection *of, struct error *err)
{
	char(*names)[HISTORY_NAME_SIZE] = NULL;
	int n = 0, empty = 0;
	*s = (struct history_store){.folder = {.fd = -1}};
	int rc = run_directory_open(&s->folder, of->store, err);
	if (!rc)
		rc = history_list(&s->folder, &names, &n, err);
	if (!rc && !n)
		rc = error_set(err, ERROR_INPUT, "%s: no history is in it; begin one with: gemmark history add DIR",
			       text_show_path(of->store).text);
	if (!rc) {
		s->histories = calloc((size_t)n, sizeof *s->histories);
		s->views = calloc((size_t)n, sizeof *s->views);
		if (!s->histories || !s->views)
			rc = error_set(err, ERROR_MEMORY, "%s: not enough memory to read it", of->store);
	}
	for (int i = 0; i < n && !rc; i++)
		rc = read_one(s, of, names[i], &empty, err);
	if (!rc && n && empty == n)
		rc = error_set(err, ERROR_INPUT, "%s: no line of its %d file%s is whole; add the results again",
			       text_show_path(of->store).text, n, n == 1 ? "" : "s");
	if (!rc && !s->n)
		rc = error_set(err, ERROR_INPUT,
			       "%s: no series of %d file%s is asked for; leave out --machine, --model or "
			       "--series",
			       text_show_path(of->store).text, n, n == 1 ? "" : "s");
	free(names);
	return rc;
}

void history_store_close(struct history_store *s)
{
	for (int i = 0; i < s->n; i++) {
		history_view_free(&s->views[i]);
		history_free(&s->histories[i]);
	}
	free(s->views);
	free(s->histories);
	run_directory_close(&s->folder);
	*s = (struct history_store){.folder = {.fd = -1}};
}

/* ---- the command ---- */

static void print_help(void)
{
	printf("usage: gemmark history add|import|show|plot|check [options]\n\n"
	       "What every commit measured, kept in text files that git merges, and when it changed.\n\n");
	for (int i = 0; i < N_SUBCOMMANDS; i++)
		printf("  %-7s %s\n", subcommands[i].name, subcommands[i].summary);
	printf("\nexamples:\n"
	       "  gemmark history add results/20260101T120000Z-0123abc\n"
	       "  gemmark history show\n"
	       "  gemmark history show --page history.html\n"
	       "  gemmark history check results/20260102T120000Z-4567def\n\n"
	       "gemmark history add --help and so on: the options of each\n");
}

int cmd_history(int argc, char **argv)
{
	struct error err = {0};
	const char *names[N_SUBCOMMANDS];
	if (argc < 2)
		return command_fail("history",
				    error_set(&err, ERROR_INPUT,
					      "say add, import, show, plot or check; see gemmark history --help"),
				    &err);
	for (int i = 0; i < N_SUBCOMMANDS; i++) {
		names[i] = subcommands[i].name;
		if (strcmp(argv[1], names[i]) == 0)
			return subcommands[i].run(argc - 1, argv + 1);
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-help") == 0 || strcmp(argv[1], "-h") == 0) {
		print_help();
		return 0;
	}
	const char *near = options_nearest(argv[1], names, N_SUBCOMMANDS);
	struct text_shown shown = text_show(argv[1], strlen(argv[1]));
	int rc =
		near ? error_set(&err, ERROR_INPUT,
				 "\"%s\" is none of add, import, show, plot, check; did you mean %s?", shown.text, near)
		     : error_set(&err, ERROR_INPUT,
				 "\"%s\" is none of add, import, show, plot, check; see gemmark history --help",
				 shown.text);
	return command_fail("history", rc, &err);
}
