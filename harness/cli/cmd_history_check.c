/* gemmark history check: does a run go on where its series are? */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/cli/cmd_history.h"
#include "harness/cli/comparison_options.h"
#include "harness/cli/options.h"
#include "harness/report/history_check.h"

enum { MAX_DIRECTORIES = 1000 };

struct check_command {
	struct history_selection selection; /* first: what the appliers expect */
	struct continuation_options core;
	const char *machine; /* null: as the results say */
	enum compare_format format;
	const char *names[MAX_DIRECTORIES];
	int n;
};

static struct check_command *self(void *ctx)
{
	return ctx;
}

static int apply_machine(void *ctx, const char *value, struct error *err)
{
	self(ctx)->machine = value;
	return *value ? 0 : error_set(err, ERROR_INPUT, "the machine's name is empty");
}

static int apply_alpha(void *ctx, const char *value, struct error *err)
{
	return options_share(value, 1e-6, 0.5, &self(ctx)->core.alpha, err);
}

static int apply_delta(void *ctx, const char *value, struct error *err)
{
	return options_share(value, 0, 1, &self(ctx)->core.delta, err);
}

static int apply_within(void *ctx, const char *value, struct error *err)
{
	return options_share(value, 1e-6, 10, &self(ctx)->core.within, err);
}

static int apply_format(void *ctx, const char *value, struct error *err)
{
	return comparison_option_format(&self(ctx)->format, value, err);
}

static int take_directory(void *ctx, const char *value, struct error *err)
{
	struct check_command *c = ctx;
	if (!*value)
		return error_set(err, ERROR_INPUT, "the directory's name is empty");
	if (c->n == MAX_DIRECTORIES)
		return error_set(err, ERROR_INPUT, "more than %d directories", MAX_DIRECTORIES);
	c->names[c->n++] = value;
	return 0;
}

static const struct option_spec options[] = {
	HISTORY_STORE_OPTION(history_apply_store),
	HISTORY_ACROSS_OPTION,
	{"--machine", "NAME", "what the machine is called, as for history add", apply_machine},
	{"--alpha", "PCT", "chance of a false alarm in a run that changes nothing (default 1)", apply_alpha},
	{"--delta", "PCT", "smallest change that counts (default 1)", apply_delta},
	{"--within", "PCT", "a change for the worse that must be seen 8 times in 10, else: cannot tell (default 5)",
	 apply_within},
	{"-o, --output", "FORMAT", "table, md, csv or json (default table)", apply_format},
	{0},
};

static const struct command command = {
	.name = "history check",
	.summary =
		"Judges a run of one commit as one more value of each of its series, and adds nothing. Several\n"
		"directories are several processes of it, and tell more.\n"
		"Exit code 0: goes on, or better, 1: worse, 2: bad usage or input, 3: cannot tell, 4: wrong results.",
	.usage = "gemmark history check DIR... [options]",
	.examples = "  gemmark history check results/20260102T120000Z-4567def\n"
		    "  gemmark history check run-1 run-2 run-3 --machine bench-7 -o md\n",
	.options = options,
	.positional = take_directory,
};

static void close_sets(struct result_set **sets, int n)
{
	for (int i = 0; i < n && sets; i++) {
		if (sets[i])
			result_set_close(sets[i]);
		free(sets[i]);
	}
	free(sets);
}

static int open_sets(const struct check_command *o, struct result_set ***out, struct error *err)
{
	struct result_set **sets = *out = calloc((size_t)o->n, sizeof *sets);
	int rc = sets ? 0 : error_set(err, ERROR_MEMORY, "no memory for %d directories", o->n);
	for (int i = 0; i < o->n && !rc; i++) {
		sets[i] = calloc(1, sizeof *sets[i]);
		rc = sets[i] ? result_set_open(sets[i], o->names[i], err)
			     : error_set(err, ERROR_MEMORY, "no memory for %d directories", o->n);
	}
	return rc;
}

int cmd_history_check(int argc, char **argv)
{
	static struct check_command o;
	struct history_check c = {0};
	struct run_directory store = {.fd = -1};
	struct result_set **sets = NULL;
	struct error err = {""};
	int code = 0;
	o = (struct check_command){0};
	history_selection_default(&o.selection);
	continuation_options_default(&o.core);
	int rc = options_parse(&command, argc, argv, &o, &err);
	if (rc > 0)
		return 0;
	if (!rc && !o.n)
		rc = error_set(&err, ERROR_INPUT,
			       "name the results directory of a run, as in: gemmark history check results/DIR");
	if (!rc)
		rc = run_directory_open(&store, o.selection.store, &err);
	if (!rc)
		rc = open_sets(&o, &sets, &err);
	if (!rc)
		rc = history_check_run(&c, &store, sets, o.n, o.machine, &o.selection.join, &o.selection.change,
				       &o.core, &err);
	if (!rc) {
		code = history_check_code(&c);
		rc = history_check_write(&c, o.format, stdout, &err);
	}
	history_check_free(&c);
	close_sets(sets, o.n);
	run_directory_close(&store);
	return rc ? command_fail(command.name, rc, &err) : code;
}
