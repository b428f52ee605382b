/*
 * gemmark merge: the shards of one sweep, made one directory. harness/record/merge.h does it.
 */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "harness/cli/next_command.h"
#include "harness/cli/options.h"
#include "harness/cli/results_directory.h"
#include "harness/record/merge.h"
#include "harness/sweep/shard.h"

struct merge_command {
	const char *paths[SHARDS_MAX];
	struct merge_options options;
};

static struct merge_command *self(void *ctx)
{
	return ctx;
}

static int apply_out(void *ctx, const char *value, struct error *err)
{
	if (!*value)
		return error_set(err, ERROR_INPUT, "an empty name; name a directory");
	self(ctx)->options.out = value;
	return 0;
}

static int apply_partial(void *ctx, const char *value, struct error *err)
{
	(void)value;
	(void)err;
	self(ctx)->options.partial = 1;
	return 0;
}

static int take_directory(void *ctx, const char *value, struct error *err)
{
	struct merge_command *m = ctx;
	if (!*value)
		return error_set(err, ERROR_INPUT, "the directory's name is empty");
	if (m->options.n == SHARDS_MAX)
		return error_set(err, ERROR_INPUT, "more than %d directories", SHARDS_MAX);
	m->paths[m->options.n++] = value;
	return 0;
}

static const struct option_spec options[] = {
	{"-o, --out", "DIR", "the directory that is made; new or empty", apply_out},
	{"--partial", NULL, "merge what there is: shards, cells and runs may be missing, and sweep.json says which",
	 apply_partial},
	{0},
};

static const struct command command = {
	.name = "merge",
	.summary = "Makes one results directory of the shards that bench --shard measured, on one machine or on many.\n"
		   "Refused are shards of different matrices, options, commits or models, runs that two have, and runs "
		   "that none has.\n"
		   "Each run keeps its machine and its GPU in runs.csv; env.json has every environment.",
	.usage = "gemmark merge DIR... --out DIR [options]",
	.examples = "gemmark merge shard-1 shard-2 shard-3 --out whole\n"
		    "gemmark merge shard-* --partial --out so-far\n",
	.options = options,
	.positional = take_directory,
};

static void print_summary(const struct merge_summary *s, const char *out)
{
	char places[RESULT_PLACES_TEXT_SIZE];
	result_places_text(&s->places, places);
	printf("%d run%s of %d cell%s, from %d of %d shard%s%s%s%s\n", s->runs, s->runs == 1 ? "" : "s", s->cells,
	       s->cells == 1 ? "" : "s", s->shards, s->count, s->count == 1 ? "" : "s",
	       s->empty ? " (the others have no cells)" : "", *places ? ", on " : "", places);
	if (*s->missing)
		printf("missing: %s\n", s->missing);
	if (s->places.several)
		printf("cells were measured on different machines or GPUs: what is compared within a depth is of one, "
		       "what "
		       "is\nset side by side across depths and placements may not be; runs.csv has machine and gpu of "
		       "each run\n");
	results_directory_print(stdout, out);
	bool gnuplot = next_command_finds("gnuplot");
	if (gnuplot)
		next_command_print(stdout, "next:   ", "plot", NULL, out);
	next_command_print_output(stdout, "report: ", "report", out, gnuplot ? "report.html" : "report.md");
}

int cmd_merge(int argc, char **argv)
{
	struct merge_command m = {.options = {.n = 0}};
	struct merge_summary summary;
	struct error err = {""};
	m.options.paths = m.paths;
	int rc = options_parse(&command, argc, argv, &m, &err);
	if (rc > 0)
		return 0;
	if (!rc && !m.options.n)
		rc = error_set(&err, ERROR_INPUT,
			       "name the directories of the shards, as in: gemmark merge shard-* --out DIR");
	if (!rc && !m.options.out)
		rc = error_set(&err, ERROR_INPUT, "--out: name the directory that is to be made");
	if (!rc)
		rc = merge_directories(&m.options, &summary, &err);
	if (rc)
		return command_fail("merge", rc, &err);
	print_summary(&summary, m.options.out);
	return 0;
}
