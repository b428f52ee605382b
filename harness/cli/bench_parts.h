/*
 * The parts of a sweep over several devices, beside its directory while it runs: DIR.parts with devices.json (what was
 * asked, and on what), and of each device's process, from 1 on, its run directory `1`, its status `1.json` and what it
 * said on standard error `1.log`. When all are whole they are merged into DIR, and DIR.parts goes.
 */
#ifndef GEMMARK_HARNESS_CLI_BENCH_PARTS_H
#define GEMMARK_HARNESS_CLI_BENCH_PARTS_H

#include <stdbool.h>

#include "base/error.h"
#include "harness/cli/device_list.h"
#include "harness/record/run_directory.h"
#include "harness/record/sweep_status.h"

struct bench_parts {
	char whole[RUN_DIRECTORY_PATH]; /* DIR */
	struct run_directory folder;    /* DIR.parts; its descriptor is locked by who measures */
	struct device_list devices;
	char **words; /* of the command line, the command's name first; null-terminated, owned */
	int n_words;
};

enum bench_part_file { BENCH_PART_DIRECTORY, BENCH_PART_STATUS, BENCH_PART_LOG, BENCH_PART_METRICS };
/* Its path; i from 0. ERROR_INPUT where it is too long. */
int bench_parts_path(const struct bench_parts *p, int i, enum bench_part_file what, char out[RUN_DIRECTORY_PATH],
		     struct error *err);

/* Whether there are parts of that directory. */
bool bench_parts_are_there(const char *directory);

/* Makes DIR.parts, which must not be there. Call bench_parts_close also after a failure, of both. ERROR_INPUT,
 * ERROR_IO. */
int bench_parts_make(struct bench_parts *p, const char *directory, const struct device_list *devices, int n_words,
		     char **words, struct error *err);
/* What is there; lock: to go on in it. devices.json is as untrusted as other results. */
int bench_parts_open(struct bench_parts *p, const char *directory, bool lock, struct error *err);
void bench_parts_close(struct bench_parts *p);

/*
 * What each process has recorded so far, from the run directories: *out as one sweep's. whole: (n), may be null: which
 * are. A part that is not there has made nothing.
 */
int bench_parts_status(const struct bench_parts *p, struct sweep_status *out, bool *whole, struct error *err);
/* Whether the part has begun, so that it can go on; what one has made that never did is removed. ERROR_IO. */
int bench_parts_begun(const struct bench_parts *p, int i, bool *begun, struct error *err);
/* Removes all that is known of them, and the folder where nothing else is in it. */
void bench_parts_remove(struct bench_parts *p);

#endif
