/*
 * Results in Google Benchmark's JSON (--benchmark_out), as gemmark_bench_kernels writes them and every other program
 * that is linked with it: the real time of each repetition of each benchmark, by name.
 *
 * Aggregates that the file has beside them (mean, median, ...) are left out: they are made from the same repetitions.
 * Nothing in it is trusted: it is somebody's.
 */
#ifndef GEMMARK_HARNESS_RECORD_BENCHMARK_FILE_H
#define GEMMARK_HARNESS_RECORD_BENCHMARK_FILE_H

#include <sys/types.h>

#include <jansson.h>

#include "base/error.h"

struct benchmark_times {
	const char *name; /* the file's */
	double *us;       /* (n), of each repetition, in their order */
	int n;
	int failed;         /* repetitions that report an error instead */
	const char *reason; /* of the first of them; null: none */
};

struct benchmark_file {
	char *path;
	dev_t device; /* which file it is, by whatever name */
	ino_t inode;
	json_t *root;
	struct benchmark_times *benchmarks; /* (n), in the file's order */
	int n;
	double *us; /* all of them */
};

/* ERROR_INPUT with the place in the file; free it also then. */
int benchmark_file_read(struct benchmark_file *f, const char *path, struct error *err);
void benchmark_file_free(struct benchmark_file *f);

/* What the file says of the machine and the build, as text: "" where it does not. The index-th of those compared. */
enum { BENCHMARK_FACTS = 11, BENCHMARK_FACT_SIZE = 128 };
const char *benchmark_fact_name(int index);
void benchmark_fact(const struct benchmark_file *f, int index, char out[BENCHMARK_FACT_SIZE]);
/* Whether files of earlier programs, and others', do not say it: not to is then no difference. */
int benchmark_fact_is_new(int index);

/* The commit of Gemmark that it is of; "": unknown. */
void benchmark_commit(const struct benchmark_file *f, char out[BENCHMARK_FACT_SIZE]);

/* A bandwidth that its process measured before the benchmarks, GB/s; NAN: it says none. The index-th of them. */
enum { BENCHMARK_RATES = 3 };
const char *benchmark_rate_name(int index);
double benchmark_rate(const struct benchmark_file *f, int index);

#endif
