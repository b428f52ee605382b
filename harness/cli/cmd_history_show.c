/* gemmark history show and plot: series and their changes, for people and for programs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/output_file.h"
#include "base/text.h"
#include "harness/cli/cmd_history.h"
#include "harness/cli/comparison_options.h"
#include "harness/cli/options.h"
#include "harness/cli/output_option.h"
#include "harness/cli/plot_option.h"
#include "harness/report/document_html.h"
#include "harness/report/history_figures.h"
#include "harness/report/history_output.h"

enum { GNUPLOT_TIMEOUT_S = 60 };

struct show_command {
	struct history_selection selection; /* first: what the appliers expect */
	enum compare_format format;
	const char *out, *page, *otava; /* null: none */
	const char *gnuplot;
	struct plot_request plot;
};

static struct show_command *self(void *ctx)
{
	return ctx;
}

static int apply_format(void *ctx, const char *value, struct error *err)
{
	return comparison_option_format(&self(ctx)->format, value, err);
}

static int apply_out(void *ctx, const char *value, struct error *err)
{
	self(ctx)->out = value;
	return *value ? 0 : error_set(err, ERROR_INPUT, "the file's name is empty");
}

static int apply_page(void *ctx, const char *value, struct error *err)
{
	size_t n = strlen(value);
	self(ctx)->page = value;
	return n > 5 && !strcmp(value + n - 5, ".html")
		       ? 0
		       : error_set(err, ERROR_INPUT, "'%s' is no FILE.html", text_show(value, n).text);
}

static int apply_otava(void *ctx, const char *value, struct error *err)
{
	self(ctx)->otava = value;
	return *value ? 0 : error_set(err, ERROR_INPUT, "the folder's name is empty");
}

static int apply_gnuplot(void *ctx, const char *value, struct error *err)
{
	self(ctx)->gnuplot = value;
	return *value ? 0 : error_set(err, ERROR_INPUT, "the program's name is empty");
}

static const struct option_spec show_options[] = {
	HISTORY_SELECTION_OPTIONS,
	{"-o, --output", "FORMAT", "table, md, csv (a row a level) or json (all of it; default table)", apply_format},
	{"--out", "FILE", "write it there instead of standard output; replaces the file", apply_out},
	{"--page", "FILE.html", "write a page that is complete in itself instead; replaces the file", apply_page},
	{"--otava", "FOLDER",
	 "write otava.yaml and a CSV file a series for Apache Otava instead; the folder is made if absent",
	 apply_otava},
	{"--gnuplot", "PROGRAM", "of a page: the gnuplot to run (default: gnuplot, searched on PATH)", apply_gnuplot},
	{0},
};

static const struct command show_command = {
	.name = "history show",
	.summary = "Shows each series of a history and where it changed, with how much and between which commits.",
	.usage = "gemmark history show [options]",
	.examples = "  gemmark history show\n"
		    "  gemmark history show --series graph-device -o json\n"
		    "  gemmark history show --page history.html\n"
		    "  gemmark history show --otava otava\n",
	.options = show_options,
};

/* ---- show ---- */

static int write_page(const struct show_command *o, const struct history_store *s, FILE *f, struct error *err)
{
	struct document d;
	struct figure_maker m;
	document_init(&d);
	int rc = history_document(&d, s->views, s->n, err);
	if (!rc)
		rc = figure_maker_open(&m, o->gnuplot, GNUPLOT_TIMEOUT_S, err);
	if (!rc) {
		rc = document_html(&d, &m, f, err);
		figure_maker_close(&m);
	}
	document_free(&d);
	return rc;
}

static int write_to(const struct show_command *o, const struct history_store *s, FILE *f, struct error *err)
{
	return o->page ? write_page(o, s, f, err) : history_output_write(s->views, s->n, o->format, f, err);
}

/* The file appears when it is whole. */
static int write_file(const struct show_command *o, const struct history_store *s, const char *option, const char *path,
		      struct error *err)
{
	struct output_file out;
	FILE *f = NULL;
	int rc = output_file_open(&out, path, true, err);
	if (rc)
		return error_prefix(err, rc, "%s", option);
	rc = output_file_stream(&out, &f, err);
	if (!rc)
		rc = write_to(o, s, f, err);
	if (f && (ferror(f) | fclose(f)) && !rc)
		rc = error_set(err, ERROR_IO, "%s: %s: cannot be written; name another file", option, path);
	if (!rc && (rc = output_file_commit(&out, err)))
		error_prefix(err, rc, "%s", option);
	output_file_discard(&out);
	return rc;
}

static int write_otava(const struct show_command *o, const struct history_store *s, struct error *err)
{
	struct run_directory to;
	int n, rc = run_directory_make(&to, o->otava, err);
	if (rc)
		return rc;
	rc = history_otava_write(s->views, s->n, &to, &n, err);
	run_directory_close(&to);
	if (!rc)
		printf("%s: otava.yaml, and %d file%s of series\n", text_show_path(o->otava).text, n,
		       n == 1 ? "" : "s");
	return rc;
}

/* Never in the place of what is read. */
static int check_output(const char *option, const char *path, const struct history_store *s, struct error *err)
{
	int rc = 0;
	for (int i = 0; i < s->n && path && !rc; i++) {
		const char *input = s->histories[i].path;
		rc = output_option_check(option, path, true, &input, 1, err);
	}
	return rc;
}

int cmd_history_show(int argc, char **argv)
{
	struct show_command o = {.gnuplot = "gnuplot"};
	struct history_store s = {.folder = {.fd = -1}};
	struct error err = {""};
	history_selection_default(&o.selection);
	int rc = options_parse(&show_command, argc, argv, &o, &err);
	if (rc > 0)
		return 0;
	if (!rc && (o.page != NULL) + (o.otava != NULL) + (o.out != NULL) > 1)
		rc = error_set(&err, ERROR_INPUT, "--out, --page and --otava: one of them at a time");
	if (!rc)
		rc = history_store_open(&s, &o.selection, &err);
	if (!rc)
		rc = check_output("--out", o.out, &s, &err);
	if (!rc)
		rc = check_output("--page", o.page, &s, &err);
	if (!rc && o.otava)
		rc = write_otava(&o, &s, &err);
	else if (!rc && (o.page || o.out))
		rc = write_file(&o, &s, o.page ? "--page" : "--out", o.page ? o.page : o.out, &err);
	else if (!rc)
		rc = write_to(&o, &s, stdout, &err);
	if (!rc && o.page)
		printf("%s: %d machine%s and model%s\n", text_show_path(o.page).text, s.n, s.n == 1 ? "" : "s",
		       s.n == 1 ? "" : "s");
	history_store_close(&s);
	return rc ? command_fail(show_command.name, rc, &err) : 0;
}

/* ---- plot ---- */

static int apply_plots(void *ctx, const char *value, struct error *err)
{
	self(ctx)->plot.out = value;
	return *value ? 0 : error_set(err, ERROR_INPUT, "the folder's name is empty");
}

static int apply_formats(void *ctx, const char *value, struct error *err)
{
	return plot_option_formats(&self(ctx)->plot.formats, value, err);
}

static const struct option_spec plot_options[] = {
	HISTORY_SELECTION_OPTIONS,
	{"-o, --out", "DIR", "where the figures go; made if absent (default: plots in the history's folder)",
	 apply_plots},
	{"--format", "LIST", "svg, png or both (default: svg,png)", apply_formats},
	{"--gnuplot", "PROGRAM", "the gnuplot to run (default: gnuplot, searched on PATH)", apply_gnuplot},
	{0},
};

static const struct command plot_command = {
	.name = "history plot",
	.summary = "Draws each series over the commits, with its levels, changes and recalibrations.",
	.usage = "gemmark history plot [options]",
	.examples = "  gemmark history plot\n"
		    "  gemmark history plot --series 'tg128 @ d4096' --format svg -o figures\n",
	.options = plot_options,
};

static void print_path(void *ctx, const char *path)
{
	(void)ctx;
	printf("%s\n", path);
}

static void print_note(void *ctx, const char *line)
{
	(void)ctx;
	fprintf(stderr, "gemmark history plot: %s\n", line);
}

int cmd_history_plot(int argc, char **argv)
{
	struct show_command o = {.gnuplot = "gnuplot",
				 .plot = {.formats = PLOT_FORMAT_SVG | PLOT_FORMAT_PNG,
					  .timeout_s = GNUPLOT_TIMEOUT_S,
					  .wrote = print_path,
					  .note = print_note}};
	struct history_store s = {.folder = {.fd = -1}};
	struct run_directory out = {.fd = -1};
	struct error err = {""};
	history_selection_default(&o.selection);
	int rc = options_parse(&plot_command, argc, argv, &o, &err);
	if (rc > 0)
		return 0;
	o.plot.gnuplot = o.gnuplot;
	if (!rc)
		rc = history_store_open(&s, &o.selection, &err);
	if (!rc)
		rc = o.plot.out ? run_directory_make(&out, o.plot.out, &err)
				: run_directory_below(&s.folder, "plots", 1, &out, &err);
	if (!rc)
		rc = history_plot(s.views, s.n, &o.plot, &out, &err);
	run_directory_close(&out);
	history_store_close(&s);
	return rc ? command_fail(plot_command.name, rc, &err) : 0;
}
