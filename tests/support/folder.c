#include "tests/support/folder.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

int folder_make(char path[FOLDER_BYTES], const char *name)
{
	snprintf(path, FOLDER_BYTES, "/tmp/gemmark-%s-XXXXXX", name);
	return mkdtemp(path) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *ftw)
{
	(void)s;
	(void)type;
	(void)ftw;
	return remove(path);
}

int folder_remove(const char *path)
{
	return nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
