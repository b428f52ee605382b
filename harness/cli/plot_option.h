/* Which pictures are drawn, as an option: alike in every command that draws. */
#ifndef GEMMARK_HARNESS_CLI_PLOT_OPTION_H
#define GEMMARK_HARNESS_CLI_PLOT_OPTION_H

#include "base/error.h"

/* A list of svg and png as bits of enum plot_format. ERROR_INPUT with a line that names the word. */
int plot_option_formats(unsigned *out, const char *value, struct error *err);

#endif
