/* gemmark bench in a folder of the running test's, from its set-up to its tear-down. */
#ifndef GEMMARK_TESTS_SUPPORT_BENCH_FOLDER_H
#define GEMMARK_TESTS_SUPPORT_BENCH_FOLDER_H

#include <stdbool.h>

#include "tests/support/folder.h"

enum { BENCH_FOLDER_PATH = 128 };
extern char bench_folder[FOLDER_BYTES];

int bench_folder_set_up(void **state);
int bench_folder_tear_down(void **state);

/* The path of what has that name in it. */
void bench_folder_path(const char *name, char out[BENCH_FOLDER_PATH]);
/* command_run, command_said and, of bench, command_out (command.h) in it. */
int bench_folder_call(int (*command)(int, char **), char **words);
bool bench_folder_said(const char *name, const char *text);
int bench_folder_run(const char *output, char **more);

#endif
