/*
 * Command-line options, from one table per command: parsing, --help, and "did you mean".
 *
 * llama-bench's habits hold: one dash or two, long names after one dash (-ngl, -ctk), `_` for `-` in them,
 * `--name value` and `--name=value`, flags that may be repeated (each occurrence calls
 * apply again), and @FILE, whose words are read as if they stood there.
 */
#ifndef GEMMARK_HARNESS_CLI_OPTIONS_H
#define GEMMARK_HARNESS_CLI_OPTIONS_H

#include "base/error.h"

struct option_spec {
	const char *names;    /* "-m, --model" */
	const char *argument; /* "FILE"; null for a flag without one */
	const char *help;     /* what it does, its unit and its default; \n breaks lines */
	/*
	 * value is null for a flag, and lives as long as argv does. Returns 0 or ERROR_INPUT with what
	 * is wrong with the value; the option's name and the file's line are put in front of it.
	 */
	int (*apply)(void *ctx, const char *value, struct error *err);
};

/*
 * An option that users know from another program, and that this one need not do: not in the help, and never what a
 * mistyped one was meant to be.
 */
struct option_elsewhere {
	const char *names;
	const char *argument; /* null for a flag */
	/* List of values that ask for what is done anyway, and are taken; "" of a flag. Null: none. */
	const char *anyway;
	const char *instead; /* of anything else: what to do here */
};

struct command {
	const char *name;                         /* "bench" */
	const char *summary;                      /* one line for the list of commands */
	const char *usage;                        /* "gemmark bench -m FILE [options]" */
	const char *examples;                     /* lines, each a command with what it is for */
	const struct option_spec *options;        /* ends with names == NULL */
	const struct option_elsewhere *elsewhere; /* likewise; null: none */
	/* Called for each argument that is no option; null where none is taken. */
	int (*positional)(void *ctx, const char *value, struct error *err);
};

/* Returns 0 to go on, 1 when --help was printed, or ERROR_INPUT. */
int options_parse(const struct command *c, int argc, char **argv, void *ctx, struct error *err);

/* The nearest of n names by edit distance, or null where none is near. */
const char *options_nearest(const char *word, const char *const *names, int n);

/* Whole decimal number within [min, max]; `what` names it in the message. */
int options_int(const char *value, const char *what, long min, long max, int *out, struct error *err);

/* "2" or "2%", in percent, to a share within [min, max]. */
int options_share(const char *value, double min, double max, double *out, struct error *err);

/*
 * A subcommand: argv[0] is its name. Returns the exit code: 0; 1 a regression; 2 bad input; 3 inconclusive; 4 wrong
 * results; 130 interrupted. Each lives in cmd_NAME.c.
 */
int cmd_model(int argc, char **argv);
int cmd_eval(int argc, char **argv);
int cmd_generate(int argc, char **argv);
int cmd_quality(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_compare(int argc, char **argv);
int cmd_merge(int argc, char **argv);
int cmd_plot(int argc, char **argv);
int cmd_report(int argc, char **argv);
int cmd_history(int argc, char **argv);
int cmd_env(int argc, char **argv);
int cmd_kernels(int argc, char **argv);
int cmd_selftest(int argc, char **argv);
int cmd_status(int argc, char **argv);

/* Prints "gemmark NAME: error line" to stderr and returns the exit code for the error's code. */
int command_fail(const char *name, int code, const struct error *err);

#endif
