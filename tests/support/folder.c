#include "tests/support/folder.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

int folder_make(char path[FOLDER_BYTES], const char *name)
{
	snprintf(path, FOLDER_BYTES, "/tmp/gemmark-%s-XXXXXX", name);
	return mkdtemp(path) ? 0 : -1;
}

int folder_put(const char *folder, const char *path, const char *text)
{
	char full[512];
	int n = snprintf(full, sizeof full, "%s%s", folder, path);
	if (n < 0 || (size_t)n >= sizeof full)
		return -1;
	for (char *slash = full + strlen(folder) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = 0;
		mkdir(full, 0777); /* it may be there */
		*slash = '/';
	}
	FILE *f = fopen(full, "w");
	int rc = f && fputs(text, f) >= 0 ? 0 : -1;
	if (f && fclose(f))
		rc = -1;
	return rc;
}

FILE *folder_open(const char *folder, const char *name, const char *mode)
{
	char path[512];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	FILE *f = fopen(path, mode);
	if (!f)
		fail_msg("%s cannot be opened", path);
	return f;
}

bool folder_has(const char *folder, const char *name)
{
	char path[512];
	struct stat st;
	snprintf(path, sizeof path, "%s/%s", folder, name);
	return !stat(path, &st) && st.st_size > 0;
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
