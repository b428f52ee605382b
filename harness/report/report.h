/*
 * What a sweep found, or what changed between two sides of it, as a document: a first screen with the verdict, the
 * table behind it and the one chart that matters; then sections by subject, of which those without data are left out.
 *
 * Every table and chart names the rows that it is made from, and their commit.
 */
#ifndef GEMMARK_HARNESS_REPORT_REPORT_H
#define GEMMARK_HARNESS_REPORT_REPORT_H

#include "base/error.h"
#include "harness/record/calibration.h"
#include "harness/record/result_set.h"
#include "harness/report/compare.h"
#include "harness/report/document.h"

struct report_input {
	/* Each of one process. Texts of the document are theirs: they live as long as it does. */
	struct result_set *const *head; /* (n_head), at least one */
	int n_head;
	struct result_set *const *base; /* (n_base); 0: one side alone */
	int n_base;
	const struct comparison *comparison;   /* of both; null where there is one side */
	const struct calibration *calibration; /* of head's machine */
	const char *images;                    /* URL of the folder with the pictures of `gemmark plot`; null: none */
};

/* Fills d, which the caller inits and frees, also after a failure. As result_set_tokens fails; ERROR_MEMORY. */
int report_build(struct document *d, const struct report_input *in, struct error *err);

#endif
