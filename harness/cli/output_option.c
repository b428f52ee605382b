#include "harness/cli/output_option.h"

#include <stddef.h>
#include <stdio.h>

#include "base/output_file.h"
#include "harness/cli/words.h"
#include "harness/record/run_directory.h"

int output_option_check(const char *option, const char *path, bool force, const char *const *inputs, int n,
			struct error *err)
{
	const char *file;
	int rc = 0;
	/* One by one with force: what has the name is not the question until all are asked. */
	for (int i = 0; i < n && !rc; i++)
		if (inputs[i])
			rc = output_file_check(path, true, &inputs[i], 1, err);
	for (int i = 0; !rc && (file = words_file(i)); i++)
		rc = output_file_check(path, true, &file, 1, err);
	if (!rc)
		rc = output_file_check(path, force, NULL, 0, err);
	return rc ? error_prefix(err, rc, "%s", option) : 0;
}

int output_option_check_results(const char *option, const char *path, const char *const *directories, int n,
				const char *calibration, struct error *err)
{
	static const char *const files[] = {"runs.csv", "tokens.csv", "telemetry.csv", "env.json", "sweep.json"};
	int rc = output_option_check(option, path, true, &calibration, 1, err);
	for (int i = 0; i < n && !rc; i++)
		for (size_t f = 0; f < sizeof files / sizeof *files && !rc; f++) {
			char file[RUN_DIRECTORY_PATH + 16];
			const char *input = file;
			snprintf(file, sizeof file, "%s/%s", directories[i], files[f]);
			rc = output_option_check(option, path, true, &input, 1, err);
		}
	return rc;
}
