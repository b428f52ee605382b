/*
 * gemmark report: what a sweep found, or what changed between two, as one file for people.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "harness/cli/comparison_options.h"
#include "harness/cli/options.h"
#include "harness/cli/output_option.h"
#include "harness/record/calibration.h"
#include "harness/record/run_directory.h"
#include "harness/report/document_html.h"
#include "harness/report/document_markdown.h"
#include "harness/report/report.h"

enum { MAX_DIRECTORIES = 1000, GNUPLOT_TIMEOUT_S = 60 };

enum file_format { FILE_FORMAT_NONE, FILE_FORMAT_MARKDOWN, FILE_FORMAT_HTML };

struct side_names {
	const char *names[MAX_DIRECTORIES];
	int n;
};

struct report_command {
	struct compare_options core;
	const char *deciding; /* an option given that decides verdicts; null */
	struct side_names base, head;
	const char *out;
	enum file_format format;
	const char *images;
	const char *calibration; /* null: the user's */
	const char *gnuplot;
};

static struct report_command *self(void *ctx)
{
	return ctx;
}

static int add_name(struct side_names *s, const char *value, struct error *err)
{
	if (!*value)
		return error_set(err, ERROR_INPUT, "the directory's name is empty");
	if (s->n == MAX_DIRECTORIES)
		return error_set(err, ERROR_INPUT, "more than %d directories", MAX_DIRECTORIES);
	s->names[s->n++] = value;
	return 0;
}

static int apply_base(void *ctx, const char *value, struct error *err)
{
	return add_name(&self(ctx)->base, value, err);
}

static int take_directory(void *ctx, const char *value, struct error *err)
{
	return add_name(&self(ctx)->head, value, err);
}

static int apply_paired(void *ctx, const char *value, struct error *err)
{
	(void)value;
	(void)err;
	self(ctx)->core.paired = 1;
	return 0;
}

static int apply_allow_env_diff(void *ctx, const char *value, struct error *err)
{
	(void)value;
	(void)err;
	self(ctx)->core.allow_env_diff = 1;
	return 0;
}

static int apply_across(void *ctx, const char *value, struct error *err)
{
	return compare_across(value, &self(ctx)->core.across, err);
}

static int apply_common_cells(void *ctx, const char *value, struct error *err)
{
	(void)value;
	(void)err;
	self(ctx)->core.common_cells = 1;
	return 0;
}

static int apply_alpha(void *ctx, const char *value, struct error *err)
{
	self(ctx)->deciding = "--alpha";
	return comparison_option_alpha(&self(ctx)->core, value, err);
}

static int apply_delta(void *ctx, const char *value, struct error *err)
{
	self(ctx)->deciding = "--delta";
	return comparison_option_delta(&self(ctx)->core, value, err);
}

static int apply_gate(void *ctx, const char *value, struct error *err)
{
	self(ctx)->deciding = "--gate";
	return comparison_option_gate(&self(ctx)->core, value, err);
}

static int apply_gate_exact(void *ctx, const char *value, struct error *err)
{
	self(ctx)->deciding = "--gate-exact";
	return comparison_option_gate_exact(&self(ctx)->core, value, err);
}

static int apply_out(void *ctx, const char *value, struct error *err)
{
	const char *slash = strrchr(value, '/'), *name = slash ? slash + 1 : value, *dot = strrchr(name, '.');
	if (dot && dot > name && !strcmp(dot, ".md"))
		self(ctx)->format = FILE_FORMAT_MARKDOWN;
	else if (dot && dot > name && !strcmp(dot, ".html"))
		self(ctx)->format = FILE_FORMAT_HTML;
	else
		return error_set(err, ERROR_INPUT, "'%.200s' is neither FILE.md nor FILE.html", value);
	self(ctx)->out = value;
	return 0;
}

static int apply_images(void *ctx, const char *value, struct error *err)
{
	static const char url[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~:/?#@!$&+,;=%";
	if (!*value || strspn(value, url) != strlen(value))
		return error_set(
			err, ERROR_INPUT,
			"'%.200s' is no URL: letters, digits and -._~:/?#@!$&+,;=%% alone; write others as %%XX",
			value);
	self(ctx)->images = value;
	return 0;
}

static int apply_gnuplot(void *ctx, const char *value, struct error *err)
{
	self(ctx)->gnuplot = value;
	return *value ? 0 : error_set(err, ERROR_INPUT, "the program's name is empty");
}

static int apply_calibration(void *ctx, const char *value, struct error *err)
{
	self(ctx)->calibration = value;
	return *value ? 0 : error_set(err, ERROR_INPUT, "the file's name is empty");
}

static const struct option_spec options[] = {
	{"-o, --out", "FILE",
	 "FILE.md for a pull request, or FILE.html, which is complete in itself; replaces the file", apply_out},
	{"--base", "DIR",
	 "compare with this one; repeated for several of a side, each of a process of its own, as are several DIR",
	 apply_base},
	{"--paired", NULL, "directory (or, of one a side, repetition) i of both sides were measured next to each other",
	 apply_paired},
	{"--allow-env-diff", NULL, "compare what was not measured alike, and say what differed", apply_allow_env_diff},
	{"--across", "AXIS", "as for compare: one mode, say, against another as if they were commits", apply_across},
	{"--common-cells", NULL, "compare the cells that both sides have; without it they must be the same",
	 apply_common_cells},
	COMPARISON_OPTIONS,
	{"--images", "URL",
	 "of Markdown: where the pictures of `gemmark plot DIR` can be seen; those in DIR/plots, or else in DIR, are "
	 "linked there",
	 apply_images},
	{"--gnuplot", "PROGRAM", "of HTML: the gnuplot to run (default: gnuplot, searched on PATH)", apply_gnuplot},
	{"--calibration", "FILE",
	 "of this machine (default: gemmark/calibration.json in $XDG_STATE_HOME or ~/.local/state)", apply_calibration},
	{0},
};

static const struct command command = {
	.name = "report",
	.summary = "Says what a sweep found, or what changed between two, in one file: Markdown for a pull request,\n"
		   "or HTML that needs no network.",
	.usage = "gemmark report DIR... [--base DIR...] -o FILE.md|FILE.html [options]",
	.examples = "  gemmark report results/20260101T120000Z-0123abc -o report.html\n"
		    "  gemmark report results/after --base results/before -o report.md\n"
		    "  gemmark report head-1 head-2 head-3 --base base-1 --base base-2 --base base-3 --paired -o "
		    "report.md\n",
	.options = options,
	.positional = take_directory,
};

static int open_side(struct side_names *s, struct result_set ***sets, struct error *err)
{
	*sets = calloc((size_t)s->n + 1, sizeof **sets);
	if (!*sets)
		return error_set(err, ERROR_MEMORY, "no memory for %d directories", s->n);
	for (int i = 0; i < s->n; i++) {
		(*sets)[i] = calloc(1, sizeof ***sets);
		if (!(*sets)[i])
			return error_set(err, ERROR_MEMORY, "no memory for %d directories", s->n);
		(*sets)[i]->directory.fd = -1;
		int rc = result_set_open((*sets)[i], s->names[i], err);
		if (rc)
			return rc;
	}
	return 0;
}

static void close_side(struct result_set **sets)
{
	for (int i = 0; sets && sets[i]; i++) {
		result_set_close(sets[i]);
		free(sets[i]);
	}
	free(sets);
}

static int write_document(const struct report_command *o, const struct document *d, FILE *f, struct error *err)
{
	struct figure_maker m;
	if (o->format == FILE_FORMAT_MARKDOWN)
		return document_markdown(d, DOCUMENT_MARKDOWN_MOST, f, err);
	int rc = figure_maker_open(&m, o->gnuplot, GNUPLOT_TIMEOUT_S, err);
	if (!rc)
		rc = document_html(d, &m, f, err);
	figure_maker_close(&m);
	return rc;
}

/* The file appears when it is whole, in place of what has its name. */
static int write_out(const struct report_command *o, const struct document *d, struct error *err)
{
	const char *slash = strrchr(o->out, '/');
	char *folder = slash ? strndup(o->out, slash == o->out ? 1 : (size_t)(slash - o->out)) : strdup(".");
	struct run_directory dir = {.fd = -1};
	struct run_file file = {0};
	int rc = folder ? run_directory_open(&dir, folder, err)
			: error_set(err, ERROR_MEMORY, "no memory for the report");
	if (!rc)
		rc = run_file_open(&file, &dir, slash ? slash + 1 : o->out, err);
	if (!rc)
		rc = write_document(o, d, file.stream, err);
	if (!rc)
		rc = run_file_commit(&file, 0, err);
	run_file_discard(&file);
	run_directory_close(&dir);
	free(folder);
	return rc;
}

static long rows_of(struct result_set *const *sets, int n)
{
	long rows = 0;
	for (int i = 0; i < n; i++)
		rows += (long)sets[i]->n_rows;
	return rows;
}

/* "report.html: 240 rows of 1 directory, against 240 rows of 1 directory" */
static void say_written(const struct report_command *o, struct result_set *const *head, struct result_set *const *base)
{
	printf("%s: %ld rows of %d director%s", text_show_path(o->out).text, rows_of(head, o->head.n), o->head.n,
	       o->head.n == 1 ? "y" : "ies");
	if (o->base.n)
		printf(", against %ld rows of %d director%s", rows_of(base, o->base.n), o->base.n,
		       o->base.n == 1 ? "y" : "ies");
	putchar('\n');
}

static int run(struct report_command *o, struct error *err)
{
	struct result_set **base = NULL, **head = NULL;
	struct comparison c = {0};
	struct document d;
	struct calibration k;
	char machine[CALIBRATION_MACHINE_SIZE];
	document_init(&d);
	int rc = output_option_check_results("-o", o->out, o->head.names, o->head.n, o->calibration, err);
	if (!rc)
		rc = output_option_check_results("-o", o->out, o->base.names, o->base.n, NULL, err);
	if (!rc)
		rc = open_side(&o->head, &head, err);
	if (!rc && o->base.n)
		rc = open_side(&o->base, &base, err);
	if (!rc && o->base.n)
		rc = compare_run(base, o->base.n, head, o->head.n, &o->core, &c, err);
	if (!rc) {
		calibration_machine(head[0]->env, machine);
		rc = calibration_read(o->calibration, machine, &k, err);
	}
	if (!rc) {
		struct report_input in = {.head = head,
					  .n_head = o->head.n,
					  .base = base,
					  .n_base = o->base.n,
					  .comparison = o->base.n ? &c : NULL,
					  .calibration = &k,
					  .images = o->images};
		rc = report_build(&d, &in, err);
	}
	if (!rc)
		rc = write_out(o, &d, err);
	if (!rc)
		say_written(o, head, base);
	document_free(&d);
	compare_free(&c);
	close_side(base);
	close_side(head);
	return rc;
}

int cmd_report(int argc, char **argv)
{
	static struct report_command o;
	struct error err = {""};
	o = (struct report_command){.gnuplot = "gnuplot"};
	compare_options_default(&o.core);
	int rc = options_parse(&command, argc, argv, &o, &err);
	if (rc > 0)
		return 0;
	if (!rc && !o.head.n)
		rc = error_set(&err, ERROR_INPUT,
			       "name the results directory to report, as in: gemmark report results/DIR -o report.md");
	if (!rc && !o.out)
		rc = error_set(&err, ERROR_INPUT, "-o is missing: name FILE.md or FILE.html");
	if (!rc && !o.base.n && (o.core.paired || o.core.common_cells || o.core.across || o.deciding))
		rc = error_set(&err, ERROR_INPUT, "%s: there is no --base to compare with",
			       o.core.paired         ? "--paired"
			       : o.core.common_cells ? "--common-cells"
			       : o.core.across       ? "--across"
						     : o.deciding);
	if (!rc && o.images && o.format != FILE_FORMAT_MARKDOWN)
		rc = error_set(&err, ERROR_INPUT, "--images: HTML has its figures in the file; it is for FILE.md");
	if (!rc)
		rc = run(&o, &err);
	return rc ? command_fail(command.name, rc, &err) : 0;
}
