/* This program once more, on a device of a list: its cores, its GPU, and an end with that of who started it. */
#ifndef GEMMARK_HARNESS_CLI_DEVICE_PROCESS_H
#define GEMMARK_HARNESS_CLI_DEVICE_PROCESS_H

#include <sys/types.h>

#include "base/error.h"
#include "harness/cli/device_list.h"

/*
 * words: the command's name first, null-terminated. Standard output goes nowhere, standard error behind what is in the
 * file `log`; null: nowhere. Where this process ends before it, it gets SIGTERM. Returns its number, or ERROR_IO.
 */
pid_t device_process_start(const struct listed_device *d, char **words, const char *log, struct error *err);

#endif
