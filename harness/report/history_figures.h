/* The series of a history as figures: files drawn by gnuplot, and a page that is complete in itself. */
#ifndef GEMMARK_HARNESS_REPORT_HISTORY_FIGURES_H
#define GEMMARK_HARNESS_REPORT_HISTORY_FIGURES_H

#include "base/error.h"
#include "harness/plot/plot.h"
#include "harness/report/document.h"
#include "harness/report/history_series.h"

/*
 * A figure for each series of the views (n) into the folder: MACHINE--MODEL-1-LABEL.svg and so on. Of the request
 * formats, gnuplot, timeout_s, wrote, note and ctx count.
 */
int history_plot(const struct history_view *views, int n, const struct plot_request *request,
		 const struct run_directory *out, struct error *err);

/* Fills d, which the caller inits and frees, also after a failure. Texts are the document's. ERROR_MEMORY. */
int history_document(struct document *d, const struct history_view *views, int n, struct error *err);

#endif
