/* A comparison, printed: for people, for a pull request, for programs. */
#ifndef GEMMARK_HARNESS_REPORT_COMPARE_OUTPUT_H
#define GEMMARK_HARNESS_REPORT_COMPARE_OUTPUT_H

#include <stdio.h>

#include <jansson.h>

#include "base/error.h"
#include "harness/record/calibration.h"
#include "harness/report/compare.h"

enum compare_format { COMPARE_FORMAT_TABLE, COMPARE_FORMAT_MD, COMPARE_FORMAT_CSV, COMPARE_FORMAT_JSON };

struct compare_output {
	const char *base_name; /* of the first directory of each side, as it was named */
	const char *head_name;
	const char *base_commit; /* null: unknown */
	const char *head_commit;
	const struct calibration *calibration;
	int all; /* list cells that are the same, too */
};

/*
 * Texts from files are escaped for where they go. ERROR_MEMORY; what the stream says of writing is the caller's to
 * look at.
 */
int compare_output_write(const struct comparison *c, const struct compare_output *o, enum compare_format format,
			 FILE *f, struct error *err);

#endif
