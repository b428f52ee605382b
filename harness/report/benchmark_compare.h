/*
 * Two sides of Google Benchmark's result files, benchmark by benchmark: the statistics of compare.h for times that have
 * a name instead of axes.
 *
 * The unit is a repetition where a side has one file, which is one process; else the file, by the median of its
 * repetitions. Of one process a side a change counts only beyond `process`. Nothing common is taken out: benchmarks of
 * a file differ too much in kind to move together.
 */
#ifndef GEMMARK_HARNESS_REPORT_BENCHMARK_COMPARE_H
#define GEMMARK_HARNESS_REPORT_BENCHMARK_COMPARE_H

#include <stdio.h>

#include "base/error.h"
#include "harness/record/benchmark_file.h"
#include "harness/report/compare.h"
#include "harness/report/compare_output.h"

struct benchmark_change {
	const char *name;
	int n, m;          /* units of base and head */
	double base, head; /* medians, us; NAN: none */
	struct verdict verdict;
	enum compare_outcome outcome;
	const char *reason; /* why it does not run in head; null */
};

/* What the sides' files say of what they were measured on. */
struct benchmark_sides {
	char base_commit[BENCHMARK_FACT_SIZE], head_commit[BENCHMARK_FACT_SIZE]; /* of the first files; "": unknown */
	int n_differences;
	struct {
		const char *name;                                           /* of a fact */
		char base[BENCHMARK_FACT_SIZE], other[BENCHMARK_FACT_SIZE]; /* of the first file, of one that differs */
	} differences[BENCHMARK_FACTS];
	struct {
		double base, head; /* medians of files, GB/s; NAN: none says it */
	} rates[BENCHMARK_RATES];
};

struct benchmark_comparison {
	struct benchmark_change *changes; /* (n), in base's order */
	int n;
	int left_out; /* of one side alone, with common_cells */
	int single_process;
	int count[COMPARE_GAINED + 1];
	int least_units; /* as comparison's */
	struct compare_options options;
	struct benchmark_sides sides;
	double *units; /* its own */
};

/* base, head: (n_base), (n_head), the caller's, as long as *out is used. Errors as compare_run; free it also then. */
int benchmark_compare(const struct benchmark_file *base, int n_base, const struct benchmark_file *head, int n_head,
		      const struct compare_options *o, struct benchmark_comparison *out, struct error *err);
void benchmark_compare_free(struct benchmark_comparison *c);
/* As compare_exit_code. */
int benchmark_compare_code(const struct benchmark_comparison *c);
/* all: those that are the same, too, for people. ERROR_IO, ERROR_MEMORY. */
int benchmark_compare_write(const struct benchmark_comparison *c, enum compare_format format, int all, FILE *f,
			    struct error *err);

#endif
