/* Where a sweep's results go when nobody names a directory, and what is said of them there. */
#ifndef GEMMARK_HARNESS_CLI_RESULTS_DIRECTORY_H
#define GEMMARK_HARNESS_CLI_RESULTS_DIRECTORY_H

#include <stdbool.h>
#include <stdio.h>

#include "base/error.h"

enum { RESULTS_DIRECTORY_SIZE = 192 };

/*
 * Makes the first of parent/name, parent/name-2, parent/name-3, ... that is not there, and the parent. The making
 * decides, so that of several processes each has one of its own. out: its path; *number: from 1. ERROR_IO.
 */
int results_directory_make(const char *parent, const char *name, char out[RESULTS_DIRECTORY_SIZE], int *number,
			   struct error *err);

bool results_directory_has(const char *directory, const char *name);
/* A line of the files of results that are there. */
void results_directory_print(FILE *f, const char *directory);

#endif
