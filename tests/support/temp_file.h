/* A file's place in a temporary folder of its own, which must hold nothing else in the end. */
#ifndef GEMMARK_TESTS_SUPPORT_TEMP_FILE_H
#define GEMMARK_TESTS_SUPPORT_TEMP_FILE_H

#include "tests/support/folder.h"

struct temp_file {
	char folder[FOLDER_BYTES];
	char path[FOLDER_BYTES + 16]; /* "m.gguf" in it: nothing is there yet */
};

struct temp_file temp_file_make(void);
/* Fails the running test where the folder has anything but the file. */
void temp_file_remove(const struct temp_file *t);

#endif
