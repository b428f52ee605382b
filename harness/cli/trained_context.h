/* The warning about positions that a model was never trained for: they are computed, and what comes of it is
 * extrapolated. */
#ifndef GEMMARK_HARNESS_CLI_TRAINED_CONTEXT_H
#define GEMMARK_HARNESS_CLI_TRAINED_CONTEXT_H

#include "harness/cli/axis_options.h"

/* A line on standard error where `used` positions are more than `trained`; 0: unknown. behind: "" or what more to say.
 */
void trained_context_warn(const char *command, const char *path, int trained, int used, const char *behind);

/* The same of each model of the cells (n), once. */
void trained_context_warn_cells(const char *command, const struct axis_resolution *r, const struct cell *cells, int n,
				const char *behind);

#endif
