#include "harness/cli/output_option.h"

#include <stddef.h>

#include "base/output_file.h"
#include "harness/cli/words.h"

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
