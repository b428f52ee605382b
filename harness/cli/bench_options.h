/*
 * What `gemmark bench` was asked for.
 */
#ifndef GEMMARK_HARNESS_CLI_BENCH_OPTIONS_H
#define GEMMARK_HARNESS_CLI_BENCH_OPTIONS_H

#include "base/error.h"
#include "harness/cli/axis_options.h"
#include "harness/cli/engine_context.h"
#include "harness/cli/engine_source.h"
#include "harness/cli/shard_option.h"
#include "harness/measure/runner.h"

/* Of struct bench's formats, beside enum llama_format. */
enum { BENCH_FORMAT_TABLE = -1, BENCH_FORMAT_NONE = -2 };

/* Zeroed before the first bench_parse. Strings are argv's. */
struct bench {
	struct axes_context axes; /* first: what axis_options.h expects */
	struct runner_options runner;
	struct engine_settings engine;
	const char *output; /* null: a new folder under results/ */
	int format;         /* of standard output: an enum llama_format or one of the above */
	int error_format;   /* of what standard error has besides; likewise */
	struct engine_context_options contexts;
	const char *text;        /* the file whose tokens the tests are of; null: the seeded stream's */
	const char *resume;      /* null: a new sweep */
	const char *status_file; /* null: none */
	const char *metrics_file;
	struct shard_choice shard;
	const char *devices; /* null: this process alone */
	int dry_run;
	int list_devices;
	int progress;     /* a line a run, also where standard error is no terminal */
	int telemetry_ms; /* 0: none */
	int repetitions;  /* as given; 0: not */
	int batch;        /* least of -b's values; 0: none */
};

/*
 * Sets all of *b, whatever an earlier call had put there. Returns 0, 1 when --help was printed, or ERROR_INPUT; the
 * caller frees b->axes.matrix in any case.
 */
int bench_parse(struct bench *b, int argc, char **argv, struct error *err);

/* ERROR_INPUT where --timeline is given and none of the cells (n) would be stamped. */
int bench_check_timeline(const struct cell *cells, int n, struct error *err);

#endif
