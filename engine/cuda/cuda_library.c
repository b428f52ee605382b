#include "engine/cuda/cuda_library.h"

#include <dlfcn.h>
#include <glob.h>
#include <stdio.h>

static const int majors[] = {13, 12};

static const char *const folders[] = {
	"/usr/local/cuda/lib64",
	"/usr/local/cuda-*/lib64",
	"/usr/local/cuda/targets/*-linux/lib",
	"/usr/local/cuda/extras/CUPTI/lib64",
	"/usr/local/cuda-*/extras/CUPTI/lib64",
	"/opt/cuda/lib64",
	"/usr/lib/x86_64-linux-gnu",
	"/usr/lib/aarch64-linux-gnu",
	"/usr/lib64",
};

static void *try_pattern(const char *pattern, char *path, size_t path_bytes)
{
	glob_t found;
	void *library = NULL;
	if (glob(pattern, 0, NULL, &found))
		return NULL;
	for (size_t i = found.gl_pathc; i > 0 && !library; i--) { /* sorted: the newest toolkit is last */
		library = dlopen(found.gl_pathv[i - 1], RTLD_NOW | RTLD_LOCAL);
		snprintf(path, path_bytes, "%s", found.gl_pathv[i - 1]);
	}
	globfree(&found);
	return library;
}

void *cuda_library_open(const char *name, char *path, size_t path_bytes)
{
	for (size_t m = 0; m < sizeof majors / sizeof *majors; m++) {
		char pattern[256];
		snprintf(path, path_bytes, "%s.%d", name, majors[m]);
		void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
		for (size_t i = 0; !library && i < sizeof folders / sizeof *folders; i++) {
			snprintf(pattern, sizeof pattern, "%s/%s.%d", folders[i], name, majors[m]);
			library = try_pattern(pattern, path, path_bytes);
		}
		if (library)
			return library;
	}
	return NULL;
}
