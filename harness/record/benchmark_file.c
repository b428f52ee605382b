#include "harness/record/benchmark_file.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"

enum { BYTES_MAX = 64 << 20, ENTRIES_MAX = 200000, NAME_MAX_BYTES = 400 };

/* A repetition, while they are put together. */
struct entry {
	const char *name;
	int index;         /* in the file; of the first of its name, once that is known */
	double us;         /* NAN: it failed */
	const char *error; /* why */
};

static int by_name(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int order = strcmp(x->name, y->name);
	return order ? order : (x->index > y->index) - (x->index < y->index);
}

/* A benchmark and where its first repetition stands. */
struct placed {
	struct benchmark_times times;
	int first;
};

static int by_first(const void *a, const void *b)
{
	const struct placed *x = a, *y = b;
	return (x->first > y->first) - (x->first < y->first);
}

static int bad(const struct benchmark_file *f, struct error *err, int index, const char *what)
{
	return error_set(err, ERROR_INPUT, "%s: benchmarks[%d]: %s; is it a file of --benchmark_out?",
			 text_show_path(f->path).text, index, what);
}

static int load(struct benchmark_file *f, struct error *err)
{
	struct stat s;
	json_error_t why;
	int fd = open(f->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return error_set(err, ERROR_INPUT, "%s: cannot be opened: %s", text_show_path(f->path).text,
				 strerror(errno));
	if (fstat(fd, &s) || !S_ISREG(s.st_mode) || s.st_size > BYTES_MAX) {
		close(fd);
		return error_set(err, ERROR_INPUT, "%s: no file of at most %d MiB", text_show_path(f->path).text,
				 BYTES_MAX >> 20);
	}
	f->device = s.st_dev;
	f->inode = s.st_ino;
	f->root = json_loadfd(fd, JSON_REJECT_DUPLICATES, &why);
	close(fd);
	if (!f->root)
		return error_set(err, ERROR_INPUT, "%s: line %d: no JSON: %s; give a file that --benchmark_out wrote",
				 text_show_path(f->path).text, why.line, why.text);
	return 0;
}

static double unit_us(const char *unit)
{
	static const struct {
		const char *name;
		double us;
	} units[] = {{"ns", 1e-3}, {"us", 1}, {"ms", 1e3}, {"s", 1e6}};
	for (int i = 0; unit && i < 4; i++)
		if (!strcmp(unit, units[i].name))
			return units[i].us;
	return NAN;
}

/* Returns whether it is a repetition: 1, 0, or an error. */
static int read_entry(const struct benchmark_file *f, json_t *j, int index, struct entry *out, struct error *err)
{
	const char *type = json_string_value(json_object_get(j, "run_type"));
	const char *message = json_string_value(json_object_get(j, "error_message"));
	*out = (struct entry){.name = json_string_value(json_object_get(j, "name")), .index = index, .us = NAN};
	if (!json_is_object(j))
		return bad(f, err, index, "no object");
	if (type && !strcmp(type, "aggregate"))
		return 0;
	if (!out->name || !*out->name || strlen(out->name) > NAME_MAX_BYTES)
		return bad(f, err, index, "no name of at most 400 bytes");
	if (json_is_true(json_object_get(j, "error_occurred")) || json_is_true(json_object_get(j, "skipped"))) {
		out->error = message && *message ? message : "it says no reason";
		return 1;
	}
	json_t *time = json_object_get(j, "real_time");
	double unit = unit_us(json_string_value(json_object_get(j, "time_unit")));
	if (isnan(unit))
		return bad(f, err, index, "time_unit is none of ns, us, ms, s");
	out->us = json_number_value(time) * unit;
	if (!json_is_number(time) || !(out->us > 0) || !isfinite(out->us))
		return bad(f, err, index, "real_time is no positive number");
	return 1;
}

/* entries, placed: (n); entries are sorted. Benchmarks in the order of their first repetitions. */
static void group(struct benchmark_file *f, const struct entry *entries, struct placed *placed, int n)
{
	int used = 0;
	for (int i = 0; i < n;) {
		struct placed *at = &placed[f->n++];
		struct benchmark_times *t = &at->times;
		*at = (struct placed){.times = {.name = entries[i].name, .us = f->us + used},
				      .first = entries[i].index};
		for (; i < n && !strcmp(entries[i].name, t->name); i++) {
			if (isnan(entries[i].us)) {
				t->failed++;
				t->reason = t->reason ? t->reason : entries[i].error;
			} else {
				t->us[t->n++] = entries[i].us;
				used++;
			}
		}
	}
	qsort(placed, (size_t)f->n, sizeof *placed, by_first);
	for (int i = 0; i < f->n; i++)
		f->benchmarks[i] = placed[i].times;
}

static int read_benchmarks(struct benchmark_file *f, struct error *err)
{
	json_t *list = json_object_get(f->root, "benchmarks"), *j;
	size_t index, n = json_array_size(list);
	int used = 0, rc = 0;
	if (!json_is_array(list))
		return error_set(err, ERROR_INPUT, "%s: no list of benchmarks; is it a file of --benchmark_out?",
				 text_show_path(f->path).text);
	if (n > ENTRIES_MAX)
		return error_set(err, ERROR_INPUT, "%s: %zu results; %d are read", text_show_path(f->path).text, n,
				 ENTRIES_MAX);
	struct entry *entries = calloc(n + 1, sizeof *entries);
	struct placed *placed = calloc(n + 1, sizeof *placed);
	f->benchmarks = calloc(n + 1, sizeof *f->benchmarks);
	f->us = calloc(n + 1, sizeof *f->us);
	if (!entries || !placed || !f->benchmarks || !f->us) {
		free(entries);
		free(placed);
		return error_set(err, ERROR_MEMORY, "%s: no memory for %zu results", text_show_path(f->path).text, n);
	}
	json_array_foreach(list, index, j)
	{
		rc = read_entry(f, j, (int)index, &entries[used], err);
		if (rc < 0)
			break;
		used += rc;
	}
	if (rc >= 0) {
		qsort(entries, (size_t)used, sizeof *entries, by_name);
		group(f, entries, placed, used);
	}
	free(entries);
	free(placed);
	if (rc >= 0 && !f->n)
		return error_set(err, ERROR_INPUT, "%s: no benchmark in it has a result; measure some",
				 text_show_path(f->path).text);
	return rc < 0 ? rc : 0;
}

int benchmark_file_read(struct benchmark_file *f, const char *path, struct error *err)
{
	*f = (struct benchmark_file){.path = strdup(path)};
	if (!f->path)
		return error_set(err, ERROR_MEMORY, "no memory for a file's name");
	int rc = load(f, err);
	return rc ? rc : read_benchmarks(f, err);
}

void benchmark_file_free(struct benchmark_file *f)
{
	json_decref(f->root);
	free(f->benchmarks);
	free(f->us);
	free(f->path);
	*f = (struct benchmark_file){0};
}

/* ---- its context ---- */

enum { NEW_FACTS_FROM = 7 };
static const char *const facts[BENCHMARK_FACTS] = {"host_name",
						   "num_cpus",
						   "gpu",
						   "cuda_driver",
						   "host_isa",
						   "executable",
						   "library_build_type",
						   "gpu_compute_capability",
						   "nvrtc",
						   "gpu_max_sm_clock_mhz",
						   "gpu_max_memory_clock_mhz"};

/* As bench/machine.c says them. */
static const char *const rates[BENCHMARK_RATES] = {"host_read_gb_s", "gpu_copy_gb_s", "gpu_read_gb_s"};

static const json_t *context_of(const struct benchmark_file *f, const char *name)
{
	return json_object_get(json_object_get(f->root, "context"), name);
}

const char *benchmark_fact_name(int index)
{
	return facts[index];
}

int benchmark_fact_is_new(int index)
{
	return index >= NEW_FACTS_FROM;
}

void benchmark_fact(const struct benchmark_file *f, int index, char out[BENCHMARK_FACT_SIZE])
{
	const json_t *j = context_of(f, facts[index]);
	char text[BENCHMARK_FACT_SIZE] = "";
	if (json_is_integer(j))
		snprintf(text, sizeof text, "%lld", (long long)json_integer_value(j));
	const char *said = json_is_string(j) ? json_string_value(j) : text;
	const char *last = strrchr(said, '/');
	if (!strcmp(facts[index], "executable") && last) /* two builds lie in two folders */
		said = last + 1;
	text_escape(out, BENCHMARK_FACT_SIZE, said);
}

void benchmark_commit(const struct benchmark_file *f, char out[BENCHMARK_FACT_SIZE])
{
	const char *said = json_string_value(context_of(f, "gemmark_commit"));
	text_escape(out, BENCHMARK_FACT_SIZE, said ? said : "");
}

const char *benchmark_rate_name(int index)
{
	return rates[index];
}

double benchmark_rate(const struct benchmark_file *f, int index)
{
	const char *said = json_string_value(context_of(f, rates[index])); /* Google Benchmark's facts are texts */
	char *end;
	double x = said ? strtod(said, &end) : NAN;
	return said && end != said && !*end && x > 0 && isfinite(x) ? x : NAN;
}
