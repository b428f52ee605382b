/*
 * A document as Markdown that GitHub renders: no picture but those that have a URL, charts of intervals as characters,
 * sections folded. The first line is DOCUMENT_MARKER, by which a comment is found again and replaced.
 *
 * It never has more than `most` bytes, of which a character takes at least one: what has no room is left out, row by
 * row, the first screen last, and counted where it is missing.
 */
#ifndef GEMMARK_HARNESS_REPORT_DOCUMENT_MARKDOWN_H
#define GEMMARK_HARNESS_REPORT_DOCUMENT_MARKDOWN_H

#include <stdio.h>

#include "base/error.h"
#include "harness/report/document.h"

#define DOCUMENT_MARKER "<!-- gemmark-report -->"

/* What GitHub takes of a comment; and less than which there is no report. */
enum { DOCUMENT_MARKDOWN_MOST = 65536, DOCUMENT_MARKDOWN_LEAST = 4096 };

/* ERROR_MEMORY; what the stream says of writing is the caller's to look at. */
int document_markdown(const struct document *d, size_t most, FILE *f, struct error *err);

#endif
