/* The devices that a model can be put on, in llama-bench's words. */
#ifndef GEMMARK_HARNESS_CLI_DEVICES_H
#define GEMMARK_HARNESS_CLI_DEVICES_H

#include <stdio.h>

#include "base/error.h"

/*
 * A line for the GPU, or why there is none, and one for the CPU; each with its memory in MiB. Then all that --devices
 * can name.
 */
int devices_print(FILE *f, struct error *err);

#endif
