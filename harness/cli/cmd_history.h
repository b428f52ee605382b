/* What the subcommands of `gemmark history` share. Internal to cmd_history*.c. */
#ifndef GEMMARK_HARNESS_CLI_CMD_HISTORY_H
#define GEMMARK_HARNESS_CLI_CMD_HISTORY_H

#include "base/error.h"
#include "harness/report/history_series.h"

#define HISTORY_STORE "results/history"
#define HISTORY_STORE_OPTION(apply)                                                            \
	{                                                                                      \
		"--store", "FOLDER", "the history's folder (default " HISTORY_STORE ")", apply \
	}

/* argv[0] is the subcommand. Each returns the exit code. */
int cmd_history_add(int argc, char **argv);
int cmd_history_import(int argc, char **argv);
int cmd_history_show(int argc, char **argv);
int cmd_history_plot(int argc, char **argv);
int cmd_history_check(int argc, char **argv);

/* Which part of a store is looked at, and how its changes are found; initialised by history_selection_default. */
struct history_selection {
	const char *store;
	const char *machine, *model; /* text that a file's machine or model must have in it; null: any */
	const char *series;          /* likewise, a series' name */
	struct history_join join;
	struct stats_change_options change;
};
void history_selection_default(struct history_selection *s);
/* Appliers of the options, with the selection as the context's first member. */
int history_apply_store(void *ctx, const char *value, struct error *err);
int history_apply_machine(void *ctx, const char *value, struct error *err);
int history_apply_model(void *ctx, const char *value, struct error *err);
int history_apply_series(void *ctx, const char *value, struct error *err);
int history_apply_across(void *ctx, const char *value, struct error *err);
int history_apply_alpha(void *ctx, const char *value, struct error *err);
#define HISTORY_ACROSS_OPTION                                                                                          \
	{                                                                                                              \
		"--across", "NAME",                                                                                    \
			"an axis (n_ubatch, fusion, ...) or a fact of the environment (driver, kernel, ...) in which " \
			"a series may differ; repeated for more",                                                      \
			history_apply_across                                                                           \
	}
#define HISTORY_SELECTION_OPTIONS                                                                             \
	HISTORY_STORE_OPTION(history_apply_store), HISTORY_ACROSS_OPTION,                                     \
		{"--machine", "TEXT", "of machines with that in their names alone", history_apply_machine},   \
		{"--model", "TEXT", "of models with that in their file's names alone", history_apply_model},  \
		{"--series", "TEXT", "of series with that in their names alone: 'tg128', 'graph-device'",     \
		 history_apply_series},                                                                       \
	{                                                                                                     \
		"--alpha", "PCT", "chance of a false change in a series where nothing changes (default 0.1)", \
			history_apply_alpha                                                                   \
	}

/* The files of a store that are looked at, as series. */
struct history_store {
	struct run_directory folder;
	struct history *histories;  /* (n) */
	struct history_view *views; /* (n) */
	int n;
};
/* ERROR_INPUT where nothing is in it, or nothing is selected. Close it also then. */
int history_store_open(struct history_store *s, const struct history_selection *of, struct error *err);
void history_store_close(struct history_store *s);

#endif
