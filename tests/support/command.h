/* A subcommand called as the program calls it, with what it prints in files of a folder. */
#ifndef GEMMARK_TESTS_SUPPORT_COMMAND_H
#define GEMMARK_TESTS_SUPPORT_COMMAND_H

#include <stdbool.h>

/* words: argv with its null. Standard output goes to "out" in the folder, standard error to "errors". The exit code. */
int command_run(const char *folder, int (*command)(int, char **), char **words);

/* The same, of `name -t 1 --out <folder>/<output>` and these words, which end with null. */
int command_out(const char *folder, int (*command)(int, char **), const char *name, const char *output, char **more);

/* Whether the named file of the folder has the text somewhere. */
bool command_said(const char *folder, const char *name, const char *text);

#endif
