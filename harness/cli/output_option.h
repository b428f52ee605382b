/* The options that name a file to write, and --force. */
#ifndef GEMMARK_HARNESS_CLI_OUTPUT_OPTION_H
#define GEMMARK_HARNESS_CLI_OUTPUT_OPTION_H

#include <stdbool.h>

#include "base/error.h"

/*
 * As output_file_check, before anything is computed. Inputs are the command's (n; a null one is none) and every file of
 * arguments that was read. option: in front of the message.
 */
int output_option_check(const char *option, const char *path, bool force, const char *const *inputs, int n,
			struct error *err);

/* The same of what replaces any file but those of results directories (n), and a calibration that was named, or null.
 */
int output_option_check_results(const char *option, const char *path, const char *const *directories, int n,
				const char *calibration, struct error *err);

#endif
