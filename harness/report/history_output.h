/* A history, printed: for people, for a pull request, for programs; and as files that Apache Otava reads. */
#ifndef GEMMARK_HARNESS_REPORT_HISTORY_OUTPUT_H
#define GEMMARK_HARNESS_REPORT_HISTORY_OUTPUT_H

#include <stdio.h>

#include <jansson.h>

#include "base/error.h"
#include "harness/report/compare_output.h"
#include "harness/report/history_series.h"

/*
 * Views (n), a file of the store each. csv: a row a level. Texts from files are escaped for where they go.
 * ERROR_MEMORY; what the stream says of writing is the caller's to look at.
 */
int history_output_write(const struct history_view *views, int n, enum compare_format format, FILE *f,
			 struct error *err);

/* A sentence of a view, its lines of notes (dirty commits, gaps, recalibrations): for the page, too. */
enum { HISTORY_SENTENCE_SIZE = 800 };
void history_sentence(const struct history_view *v, char out[HISTORY_SENTENCE_SIZE]);

/*
 * For each part of each series a CSV file of time, commit, run and value, and otava.yaml, whose tests read them: `otava
 * analyze NAME --config-file otava.yaml` from within the folder. Otava knows no recalibration: a part is a test of its
 * own. *n: how many. Files are replaced. ERROR_IO, ERROR_MEMORY.
 */
int history_otava_write(const struct history_view *views, int n_views, const struct run_directory *to, int *n,
			struct error *err);

#endif
