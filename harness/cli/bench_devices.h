/*
 * bench --devices: a process a device, each with its own GPU and its own cores, of a sweep that is shared out among
 * them by cost; one results directory at the end.
 *
 * Each process is `gemmark bench --shard I/N`: what is compared with each other is measured by one of them, on one
 * device. This one measures nothing: it starts them, says how far they are, passes signals on, waits, and merges.
 * bench_parts.h says what stays where one ends early.
 */
#ifndef GEMMARK_HARNESS_CLI_BENCH_DEVICES_H
#define GEMMARK_HARNESS_CLI_BENCH_DEVICES_H

#include <stdbool.h>

#include "base/error.h"
#include "harness/cli/bench_options.h"

/* --devices; "none" is this process alone. */
bool bench_devices_wanted(const struct bench *b);

/* A new sweep: argv, of argc words, are the command's. On success *code is the exit code. */
int bench_devices_run(const struct bench *b, int argc, char **argv, int *code, struct error *err);
/* Goes on with the parts of b->resume. Sets all of *b, as bench_parse does. */
int bench_devices_resume(struct bench *b, int *code, struct error *err);

#endif
