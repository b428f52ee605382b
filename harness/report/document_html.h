/*
 * A document as one HTML file that needs no network: its styles, its script and its figures are in it, and a
 * Content-Security-Policy lets nothing else be loaded or run. It has a light and a dark look and fits a phone; tables
 * sort by a click, points show their row.
 */
#ifndef GEMMARK_HARNESS_REPORT_DOCUMENT_HTML_H
#define GEMMARK_HARNESS_REPORT_DOCUMENT_HTML_H

#include <stdio.h>

#include "base/error.h"
#include "harness/report/document.h"
#include "harness/report/figure_svg.h"

/* As figure_svg fails; what the stream says of writing is the caller's to look at. */
int document_html(const struct document *d, struct figure_maker *m, FILE *f, struct error *err);

#endif
