/*
 * Running gnuplot: a child process without a shell, with a time limit, its complaint in our error line.
 */
#ifndef GEMMARK_HARNESS_PLOT_GNUPLOT_H
#define GEMMARK_HARNESS_PLOT_GNUPLOT_H

#include "base/error.h"
#include "harness/record/run_directory.h"

/*
 * Runs `program` (searched on PATH when it has no slash, before the child changes its folder: nothing that lies in
 * `dir` is ever run) on the script `script`, a file name within `dir`, which is the child's working directory.
 * `format` becomes the script's variable of that name; with `to_stdout` set the script draws to the standard output,
 * which is `output`. The user's start-up files are not read. ERROR_IO where the program is missing,
 * fails (with the first lines of its stderr) or takes longer than timeout_s seconds; it is then killed.
 */
int gnuplot_run(const char *program, const struct run_directory *dir, const char *script, const char *format,
		int output, int timeout_s, struct error *err);

/*
 * text as a gnuplot string literal in which nothing ends the string or is expanded: double quotes,
 * with octal escapes for whatever has a meaning to gnuplot. (Single quotes will not do: gnuplot 5.4
 * misreads a doubled quote at the start of a string, and the text after it becomes commands.)
 * dst holds 4 * strlen(text) + 3 bytes.
 */
void gnuplot_quote(char *dst, const char *text);

#endif
