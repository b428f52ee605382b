/*
 * llama-bench's options that `gemmark bench` does not have: its users bring them along. What asks for the only thing
 * that Gemmark does is taken, and of anything else one line says what to do here.
 */
#ifndef GEMMARK_HARNESS_CLI_LLAMA_OPTIONS_H
#define GEMMARK_HARNESS_CLI_LLAMA_OPTIONS_H

#include "harness/cli/options.h"

/* Ends with names == NULL. */
extern const struct option_elsewhere llama_options[];

#endif
