/*
 * A sweep as llama-bench would tell it: a record a cell, with llama-bench's fields by its names and types, so
 * that llama.cpp's scripts/compare-llama-bench.py and whatever else reads its output reads this one.
 *
 * The fields are those of every llama-bench since tests have a depth (2025), together: versions differ in a few, and
 * readers take what they know. What Gemmark has no counterpart for is constant. Gemmark's own follow.
 *
 * The script takes rows for the same that agree in its list of fields, and averages them: it knows no mode. So
 * `backends` says more than what computes: mode, fusion, and every setting that is not the default one. Rows that
 * differ there are never averaged, and the script shows the column as soon as it has two values. It divides rates by
 * each other and stops at one that is null: in a record without rates `backends` also has the status and the run's id,
 * so that the script finds no row to compare it with.
 *
 * Writing records is llama_output.h's.
 */
#ifndef GEMMARK_HARNESS_REPORT_LLAMA_BENCH_H
#define GEMMARK_HARNESS_REPORT_LLAMA_BENCH_H

#include <jansson.h>

#include "base/error.h"
#include "harness/record/row.h"
#include "harness/sweep/matrix.h"

/* What rows do not say. Strings are the caller's, as long as the records are collected. */
struct llama_facts {
	const char *cpu;      /* null or "": unknown */
	const char *gpu;      /* null or "": there is none */
	const char *settings; /* other than the default ones, "prefill-f32 ple-host"; "": none */
	int build_number;     /* commits up to the one that is built; negative: unknown */
};

enum llama_type { LLAMA_TEXT, LLAMA_INT, LLAMA_BOOL, LLAMA_REAL };

struct llama_field {
	const char *name;
	enum llama_type type;
};

/* The members of a record but its samples, in order. */
extern const struct llama_field llama_fields[];
extern const int llama_n_fields;

struct llama_bench; /* opaque */

/* cells: (n), the caller's, as long as *out lives. */
int llama_bench_open(struct llama_bench **out, const struct cell *cells, int n, const struct llama_facts *facts,
		     struct error *err);
void llama_bench_close(struct llama_bench *b);

/* Takes what it needs of the row. */
int llama_bench_add(struct llama_bench *b, const struct run_row *row, struct error *err);

/*
 * An array of records in the cells' order, of all cells that have a row: every member of llama_fields, null where
 * unknown, and samples_ns and samples_ts, (runs). Rates are over the ok runs, and null where there is none, or one is
 * wrong; status and reason are those of the first run that is not ok, or "ok" and the first remark. The caller owns
 * *out.
 */
int llama_bench_records(const struct llama_bench *b, json_t **out, struct error *err);

#endif
