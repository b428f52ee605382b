/*
 * gemmark plot: options in, harness/plot/plot.h does it, the paths of the pictures out.
 */
#include <stdio.h>

#include "harness/cli/options.h"
#include "harness/cli/plot_option.h"
#include "harness/plot/plot.h"

static int apply_out(void *ctx, const char *value, struct error *err)
{
	struct plot_request *request = ctx;
	if (!*value)
		return error_set(err, ERROR_INPUT, "the folder's name is empty");
	request->out = value;
	return 0;
}

static int apply_format(void *ctx, const char *value, struct error *err)
{
	return plot_option_formats(&((struct plot_request *)ctx)->formats, value, err);
}

static int apply_gnuplot(void *ctx, const char *value, struct error *err)
{
	struct plot_request *request = ctx;
	if (!*value)
		return error_set(err, ERROR_INPUT, "the program's name is empty");
	request->gnuplot = value;
	return 0;
}

static int take_directory(void *ctx, const char *value, struct error *err)
{
	struct plot_request *request = ctx;
	if (request->dir)
		return error_set(err, ERROR_INPUT, "%s: one results directory at a time; the first was %s", value,
				 request->dir);
	if (!*value)
		return error_set(err, ERROR_INPUT, "the directory's name is empty");
	request->dir = value;
	return 0;
}

static const struct option_spec options[] = {
	{"-o, --out", "DIR", "where the figures go; made if absent (default: plots in the results directory)",
	 apply_out},
	{"--format", "LIST", "svg, png or both (default: svg,png)", apply_format},
	{"--gnuplot", "PROGRAM", "the gnuplot to run (default: gnuplot, searched on PATH)", apply_gnuplot},
	{0},
};

static const struct command command = {
	.name = "plot",
	.summary = "draw a results directory as SVG and PNG",
	.usage = "gemmark plot DIR [options]",
	.examples = "  gemmark plot results/20260101T120000Z-0123abc\n"
		    "  gemmark plot results/20260101T120000Z-0123abc --format svg -o figures\n",
	.options = options,
	.positional = take_directory,
};

static void print_path(void *ctx, const char *path)
{
	(void)ctx;
	printf("%s\n", path);
}

static void print_note(void *ctx, const char *line)
{
	(void)ctx;
	fprintf(stderr, "gemmark plot: %s\n", line);
}

int cmd_plot(int argc, char **argv)
{
	struct error err = {0};
	struct plot_request request = {
		.formats = PLOT_FORMAT_SVG | PLOT_FORMAT_PNG,
		.gnuplot = "gnuplot",
		.timeout_s = 60,
		.wrote = print_path,
		.note = print_note,
	};
	int rc = options_parse(&command, argc, argv, &request, &err);
	if (rc > 0)
		return 0;
	if (!rc && !request.dir)
		rc = error_set(&err, ERROR_INPUT,
			       "name the results directory to plot, as in: gemmark plot results/DIR");
	if (!rc)
		rc = plot_results(&request, &err);
	return rc ? command_fail(argv[0], rc, &err) : 0;
}
