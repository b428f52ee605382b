/* A temporary folder of a test's own. */
#ifndef GEMMARK_TESTS_SUPPORT_FOLDER_H
#define GEMMARK_TESTS_SUPPORT_FOLDER_H

#include <stdbool.h>
#include <stdio.h>

enum { FOLDER_BYTES = 64 };

/* Makes a new one, called after `name`, into path. Returns 0, or -1 with errno. */
int folder_make(char path[FOLDER_BYTES], const char *name);
/* Writes a file below it, with the folders on the way: path begins with a slash. Returns 0, or -1 with errno. */
int folder_put(const char *folder, const char *path, const char *text);
/* A file below it, as fopen has it. Fails the running test where that does not. */
FILE *folder_open(const char *folder, const char *name, const char *mode);
/* Whether there is such a file below it, with something in it. */
bool folder_has(const char *folder, const char *name);
/* Removes it with all that is in it. Returns 0, or -1 with errno. */
int folder_remove(const char *path);

#endif
