/*
 * Records of llama_bench.h as text, in the formats of llama-bench's -o: Markdown, CSV, JSON, JSON lines, SQL.
 *
 * SQL is SQLite's: CREATE TABLE IF NOT EXISTS llama_bench, and an INSERT a record with its columns named. A table
 * that llama-bench made lacks Gemmark's columns, and SQLite then refuses the INSERT: use another database.
 */
#ifndef GEMMARK_HARNESS_REPORT_LLAMA_OUTPUT_H
#define GEMMARK_HARNESS_REPORT_LLAMA_OUTPUT_H

#include <stdio.h>

#include <jansson.h>

#include "base/error.h"

enum llama_format { LLAMA_FORMAT_MD, LLAMA_FORMAT_CSV, LLAMA_FORMAT_JSON, LLAMA_FORMAT_JSONL, LLAMA_FORMAT_SQL };

/* "md", "csv", "json", "jsonl", "sql"; -1 for another word. */
int llama_format_parse(const char *name);

/* records: as llama_bench_records makes them. ERROR_IO where f does not take all, ERROR_MEMORY. */
int llama_output_write(const json_t *records, enum llama_format format, FILE *f, struct error *err);

#endif
