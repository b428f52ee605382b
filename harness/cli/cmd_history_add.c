/* gemmark history add and import: results, and other tools' numbers, into the store. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/text.h"
#include "harness/cli/cmd_history.h"
#include "harness/cli/options.h"
#include "harness/record/commit_date.h"
#include "harness/record/history_source.h"

enum { MAX_PATHS = 10000, DEEPEST = 6 };

struct add_command {
	const char *store;
	const char *machine, *model, *unit; /* null: not given */
	struct history_dates dates;
	int allow_dirty, more_is_better;
	char **paths; /* (n) owned */
	int n;
	struct history_lines lines;
	long long now; /* orders what is added later behind */
};

static struct add_command *self(void *ctx)
{
	return ctx;
}

static int apply_store(void *ctx, const char *value, struct error *err)
{
	self(ctx)->store = value;
	return *value ? 0 : error_set(err, ERROR_INPUT, "the folder's name is empty");
}

/* Printable, and not too long for a line. */
static int apply_name(const char **to, const char *value, struct error *err)
{
	char name[HISTORY_TEXT];
	if (!*value || strlen(value) >= HISTORY_TEXT / 2 || text_name(name, sizeof name, value, strlen(value)) == 0 ||
	    strcmp(name, value))
		return error_set(err, ERROR_INPUT, "'%s' is no name of 1 to %d printable bytes",
				 text_show(value, strlen(value)).text, HISTORY_TEXT / 2 - 1);
	*to = value;
	return 0;
}

static int apply_machine(void *ctx, const char *value, struct error *err)
{
	return apply_name(&self(ctx)->machine, value, err);
}

static int apply_model(void *ctx, const char *value, struct error *err)
{
	return apply_name(&self(ctx)->model, value, err);
}

static int apply_unit(void *ctx, const char *value, struct error *err)
{
	return apply_name(&self(ctx)->unit, value, err);
}

static int apply_date(void *ctx, const char *value, struct error *err)
{
	int64_t seconds;
	self(ctx)->dates.date = value;
	return !strcmp(value, "run") || !commit_date_parse(value, &seconds)
		       ? 0
		       : error_set(err, ERROR_INPUT, "'%s' is neither a date, as in 2026-05-31T10:00:00Z, nor run",
				   text_show(value, strlen(value)).text);
}

static int apply_repo(void *ctx, const char *value, struct error *err)
{
	self(ctx)->dates.folder = value;
	return *value ? 0 : error_set(err, ERROR_INPUT, "the folder's name is empty");
}

static int apply_allow_dirty(void *ctx, const char *value, struct error *err)
{
	(void)value, (void)err;
	self(ctx)->allow_dirty = 1;
	return 0;
}

static int apply_rate(void *ctx, const char *value, struct error *err)
{
	(void)value, (void)err;
	self(ctx)->more_is_better = 1;
	return 0;
}

static int add_path(struct add_command *c, const char *path, struct error *err)
{
	if (!*path)
		return error_set(err, ERROR_INPUT, "the directory's name is empty");
	if (c->n == MAX_PATHS)
		return error_set(err, ERROR_INPUT, "more than %d directories; add them in several calls", MAX_PATHS);
	if (!c->paths && !(c->paths = calloc(MAX_PATHS, sizeof *c->paths)))
		return error_set(err, ERROR_MEMORY, "no memory for %d names", MAX_PATHS);
	if (!(c->paths[c->n] = strdup(path)))
		return error_set(err, ERROR_MEMORY, "no memory for %d names", c->n);
	c->n++;
	return 0;
}

static int take_path(void *ctx, const char *value, struct error *err)
{
	return add_path(self(ctx), value, err);
}

#define ADD_OPTIONS                                                                                                 \
	HISTORY_STORE_OPTION(apply_store),                                                                          \
		{"--machine", "NAME",                                                                               \
		 "what the machine is called (default: its host and GPU or CPU); machines are never mixed",         \
		 apply_machine},                                                                                    \
		{"--date", "TIME|run",                                                                              \
		 "the commits' date, as in 2026-05-31T10:00:00Z; run: when each was first measured (default: what " \
		 "git says)",                                                                                       \
		 apply_date},                                                                                       \
		{"--repo", "FOLDER", "the repository that git is asked of (default: the current one)", apply_repo}, \
	{                                                                                                           \
		"--allow-dirty", NULL, "also what was measured with changes that are in no commit, marked as such", \
			apply_allow_dirty                                                                           \
	}

static const struct option_spec add_options[] = {ADD_OPTIONS, {0}};

static const struct option_spec import_options[] = {
	ADD_OPTIONS,
	{"--model", "NAME", "of a CSV file: what was measured", apply_model},
	{"--unit", "NAME", "of a CSV file: of its values (default us)", apply_unit},
	{"--rate", NULL, "of a CSV file: its values are rates, of which more is better", apply_rate},
	{0},
};

static const struct command add_command = {
	.name = "history add",
	.summary =
		"Adds what results directories measured to the history: a line for each cell of each, in a file for\n"
		"each machine and model. What is there already is not added again.",
	.usage = "gemmark history add DIR... [options]",
	.examples = "  gemmark history add results/20260101T120000Z-0123abc\n"
		    "  gemmark history add base-0 base-1 head-0 head-1 --date run --machine bench-7\n",
	.options = add_options,
	.positional = take_path,
};

static const struct command import_command = {
	.name = "history import",
	.summary = "Adds every results directory below the given ones, or a CSV file of another tool with the columns\n"
		   "date, commit, cell and value.",
	.usage = "gemmark history import FOLDER...|FILE.csv... [options]",
	.examples = "  gemmark history import results\n"
		    "  gemmark history import nightly.csv --machine bench-7 --model e4b.gguf --unit us\n",
	.options = import_options,
	.positional = take_path,
};

/* ---- what is added ---- */

static int add_results(struct add_command *c, const char *path, struct error *err)
{
	struct result_set *s = calloc(1, sizeof *s);
	if (!s)
		return error_set(err, ERROR_MEMORY, "%s: not enough memory to read it", path);
	int dirty = c->lines.dirty, rc = result_set_open(s, path, err);
	if (!rc)
		rc = history_from_results(&c->lines, s, c->machine, &c->dates, c->now++, err);
	if (!rc && c->lines.dirty > dirty && !c->allow_dirty)
		rc = error_set(
			err, ERROR_INPUT,
			"%s: was measured with changes that are in no commit; commit them and measure again, or say "
			"--allow-dirty",
			text_show_path(path).text);
	result_set_close(s);
	free(s);
	return rc;
}

static int is_plain(const struct dirent *e)
{
	return e->d_name[0] != '.';
}

static int has_runs(const char *path)
{
	char file[RUN_DIRECTORY_PATH];
	struct stat s;
	return snprintf(file, sizeof file, "%s/runs.csv", path) < (int)sizeof file && !lstat(file, &s);
}

/* The results directories below, in the order of their names; links are not followed. */
static int walk(struct add_command *c, const char *path, int depth, int *found, struct error *err)
{
	struct dirent **entries;
	if (has_runs(path)) {
		++*found;
		return add_results(c, path, err);
	}
	if (depth == DEEPEST)
		return 0;
	int n = scandir(path, &entries, is_plain, alphasort), rc = 0;
	if (n < 0)
		return error_set(err, ERROR_IO, "%s: %s", text_show_path(path).text, strerror(errno));
	for (int i = 0; i < n; i++) {
		char below[RUN_DIRECTORY_PATH];
		struct stat s;
		if (!rc && snprintf(below, sizeof below, "%s/%s", path, entries[i]->d_name) < (int)sizeof below &&
		    !lstat(below, &s) && S_ISDIR(s.st_mode))
			rc = walk(c, below, depth + 1, found, err);
		free(entries[i]);
	}
	free(entries);
	return rc;
}

static int import_path(struct add_command *c, const char *path, struct error *err)
{
	struct stat s;
	int found = 0;
	if (stat(path, &s))
		return error_set(err, ERROR_IO, "%s: %s; name another one", text_show_path(path).text, strerror(errno));
	if (!S_ISDIR(s.st_mode)) {
		struct history_csv of = {c->machine, c->model, c->unit ? c->unit : "us", c->more_is_better};
		if (!c->machine || !c->model)
			return error_set(
				err, ERROR_INPUT,
				"%s: a CSV file says neither machine nor model; name them with --machine and --model",
				text_show_path(path).text);
		return history_from_csv(&c->lines, path, &of, err);
	}
	int rc = walk(c, path, 0, &found, err);
	if (!rc && !found)
		rc = error_set(err, ERROR_INPUT, "%s: there is no results directory below it",
			       text_show_path(path).text);
	return rc;
}

static int compare_files(const void *a, const void *b)
{
	const struct history_line *x = *(struct history_line *const *)a, *y = *(struct history_line *const *)b;
	int order = strcmp(x->file, y->file);
	return order ? order : x < y ? -1 : x > y;
}

/* Each file's lines together. */
static int append_all(struct add_command *c, struct error *err)
{
	struct run_directory store;
	int n = c->lines.n, rc = run_directory_make(&store, c->store, err);
	if (rc)
		return rc;
	struct history_line **sorted = malloc(((size_t)n + 1) * sizeof *sorted);
	const char **texts = malloc(((size_t)n + 1) * sizeof *texts);
	if (!sorted || !texts)
		rc = error_set(err, ERROR_MEMORY, "no memory for %d lines", n);
	for (int i = 0; i < n && !rc; i++)
		sorted[i] = &c->lines.lines[i];
	if (!rc)
		qsort(sorted, (size_t)n, sizeof *sorted, compare_files);
	for (int from = 0, to; from < n && !rc; from = to) {
		int added;
		for (to = from; to < n && !strcmp(sorted[to]->file, sorted[from]->file); to++)
			texts[to - from] = sorted[to]->text;
		rc = history_append(&store, sorted[from]->file, texts, to - from, &added, err);
		if (!rc)
			printf("%s/%s: %d line%s added, %d there already\n", text_show_path(c->store).text,
			       sorted[from]->file, added, added == 1 ? "" : "s", to - from - added);
	}
	free(texts);
	free(sorted);
	run_directory_close(&store);
	return rc;
}

static int run(const struct command *command, int imports, int argc, char **argv)
{
	struct add_command c = {.store = HISTORY_STORE, .dates = {.folder = "."}, .now = (long long)time(NULL)};
	struct error err = {""};
	int rc = options_parse(command, argc, argv, &c, &err), code = 0;
	if (!rc && !c.n)
		rc = error_set(&err, ERROR_INPUT, "name a results directory%s, as in: gemmark %s results/DIR",
			       imports ? ", a folder of them or a CSV file" : "", command->name);
	for (int i = 0; i < c.n && !rc; i++)
		rc = imports ? import_path(&c, c.paths[i], &err) : add_results(&c, c.paths[i], &err);
	if (!rc && !c.lines.n)
		rc = error_set(&err, ERROR_INPUT, "no cell of these has a run that is ok: nothing is added");
	if (!rc)
		rc = append_all(&c, &err);
	if (!rc && c.lines.not_ok)
		printf("%d cell%s without a run that is ok: left out\n", c.lines.not_ok,
		       c.lines.not_ok == 1 ? "" : "s");
	if (!rc && c.lines.dirty)
		printf("%d line%s of changes that are in no commit, marked -dirty\n", c.lines.dirty,
		       c.lines.dirty == 1 ? "" : "s");
	if (rc < 0)
		code = command_fail(command->name, rc, &err);
	history_lines_free(&c.lines);
	for (int i = 0; i < c.n; i++)
		free(c.paths[i]);
	free(c.paths);
	return code;
}

int cmd_history_add(int argc, char **argv)
{
	return run(&add_command, 0, argc, argv);
}

int cmd_history_import(int argc, char **argv)
{
	return run(&import_command, 1, argc, argv);
}
