#include "harness/cli/results_directory.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/text.h"
#include "harness/record/run_directory.h"

enum { NUMBER_MAX = 9999 };

int results_directory_make(const char *parent, const char *name, char out[RESULTS_DIRECTORY_SIZE], int *number,
			   struct error *err)
{
	assert(strlen(parent) + strlen(name) + sizeof "/-9999" <= RESULTS_DIRECTORY_SIZE);
	if (mkdir(parent, 0777) && errno != EEXIST)
		return error_set(err, ERROR_IO, "%s: %s; name a directory with --out", parent, strerror(errno));
	for (*number = 1; *number <= NUMBER_MAX; ++*number) {
		int n = snprintf(out, RESULTS_DIRECTORY_SIZE, "%s/%s", parent, name);
		if (*number > 1)
			snprintf(out + n, RESULTS_DIRECTORY_SIZE - (size_t)n, "-%d", *number);
		if (!mkdir(out, 0777))
			return 0;
		if (errno != EEXIST)
			break;
	}
	return error_set(err, ERROR_IO, "%s: %s; name a directory with --out", out, strerror(errno));
}

bool results_directory_has(const char *directory, const char *name)
{
	struct run_directory d;
	struct stat s;
	if (run_directory_open(&d, directory, NULL))
		return false;
	bool is = !fstatat(d.fd, name, &s, AT_SYMLINK_NOFOLLOW);
	run_directory_close(&d);
	return is;
}

void results_directory_print(FILE *f, const char *directory)
{
	fputs("results: ", f);
	text_print(f, directory);
	fprintf(f, "/runs.csv, tokens.csv, telemetry.csv, %senv.json\n",
		results_directory_has(directory, "timeline.csv") ? "timeline.csv, " : "");
}
