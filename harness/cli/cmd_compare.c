/*
 * gemmark compare: two sides of run directories, or of Google Benchmark's files, a verdict a cell, an exit code for
 * all.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/output_file.h"
#include "base/text.h"
#include "harness/cli/comparison_options.h"
#include "harness/cli/option_values.h"
#include "harness/cli/options.h"
#include "harness/cli/output_option.h"
#include "harness/record/calibration.h"
#include "harness/report/benchmark_compare.h"
#include "harness/report/compare_output.h"

enum { MAX_DIRECTORIES = 1000 };

struct side_names {
	const char *names[MAX_DIRECTORIES];
	int n;
};

struct compare_command {
	struct compare_options core;
	struct side_names base, head;
	const char *positional[2];
	int n_positional;
	enum compare_format format;
	const char *out;         /* null: standard output */
	const char *calibration; /* null: the user's */
	int calibrate;
	int all;
};

static struct compare_command *self(void *ctx)
{
	return ctx;
}

static int add_name(struct side_names *s, const char *value, struct error *err)
{
	if (!*value)
		return error_set(err, ERROR_INPUT, "the directory's name is empty");
	if (s->n == MAX_DIRECTORIES)
		return error_set(err, ERROR_INPUT, "more than %d directories", MAX_DIRECTORIES);
	s->names[s->n++] = value;
	return 0;
}

static int apply_base(void *ctx, const char *value, struct error *err)
{
	return add_name(&self(ctx)->base, value, err);
}

static int apply_head(void *ctx, const char *value, struct error *err)
{
	return add_name(&self(ctx)->head, value, err);
}

static int take_directory(void *ctx, const char *value, struct error *err)
{
	struct compare_command *c = self(ctx);
	if (c->n_positional == 2)
		return error_set(err, ERROR_INPUT,
				 "%s: a third directory; more of a side are named by --base and --head", value);
	c->positional[c->n_positional++] = value;
	return 0;
}

#define FLAG(name, member)                                                       \
	static int apply_##name(void *ctx, const char *value, struct error *err) \
	{                                                                        \
		(void)value;                                                     \
		(void)err;                                                       \
		self(ctx)->member = 1;                                           \
		return 0;                                                        \
	}
FLAG(paired, core.paired)
FLAG(allow_env_diff, core.allow_env_diff)
FLAG(common_cells, core.common_cells)
FLAG(calibrate, calibrate)
FLAG(all, all)
#undef FLAG

static int apply_across(void *ctx, const char *value, struct error *err)
{
	return compare_across(value, &self(ctx)->core.across, err);
}

static int apply_alpha(void *ctx, const char *value, struct error *err)
{
	return comparison_option_alpha(&self(ctx)->core, value, err);
}

static int apply_delta(void *ctx, const char *value, struct error *err)
{
	return comparison_option_delta(&self(ctx)->core, value, err);
}

static int apply_process(void *ctx, const char *value, struct error *err)
{
	return options_share(value, 0, 1, &self(ctx)->core.process, err);
}

static int apply_gate(void *ctx, const char *value, struct error *err)
{
	return comparison_option_gate(&self(ctx)->core, value, err);
}

static int apply_gate_exact(void *ctx, const char *value, struct error *err)
{
	return comparison_option_gate_exact(&self(ctx)->core, value, err);
}

static int apply_format(void *ctx, const char *value, struct error *err)
{
	return comparison_option_format(&self(ctx)->format, value, err);
}

static int apply_out(void *ctx, const char *value, struct error *err)
{
	self(ctx)->out = value;
	return *value ? 0 : error_set(err, ERROR_INPUT, "the file's name is empty");
}

static int apply_calibration(void *ctx, const char *value, struct error *err)
{
	self(ctx)->calibration = value;
	return *value ? 0 : error_set(err, ERROR_INPUT, "the file's name is empty");
}

static const struct option_spec options[] = {
	{"--base", "DIR", "one more directory of base, each of a process of its own; repeated for more", apply_base},
	{"--head", "DIR", "one more directory of head", apply_head},
	{"--paired", NULL,
	 "directory (or, of one a side, repetition) i of base and of head were measured next to each other",
	 apply_paired},
	{"--allow-env-diff", NULL, "compare what was not measured alike, and say what differed", apply_allow_env_diff},
	{"--common-cells", NULL, "compare the cells that both sides have; without it they must be the same",
	 apply_common_cells},
	{"--across", "AXIS",
	 "compare one value of an axis (mode, fusion, n_ubatch, snapkv, ...; base) with another (head), as if they "
	 "were commits; each is measured into a directory of its own",
	 apply_across},
	{"--process", "PCT",
	 "with one directory a side: how much two processes of one program may differ; changes count beyond it "
	 "(default 5)",
	 apply_process},
	COMPARISON_OPTIONS,
	{"-o, --output", "FORMAT", "table, md, csv or json (default table)", apply_format},
	{"--out", "FILE", "write it there instead of standard output; replaces the file", apply_out},
	{"--all", NULL, "list the cells that are the same, too", apply_all},
	{"--calibrate", NULL,
	 "both sides are measurements of one commit: keep what this machine shows of equal things for later "
	 "comparisons",
	 apply_calibrate},
	{"--calibration", "FILE",
	 "of this machine (default: gemmark/calibration.json in $XDG_STATE_HOME or ~/.local/state)", apply_calibration},
	{0},
};

static const struct command command = {
	.name = "compare",
	.summary = "Compares two result sets: what changed, how sure that is, and what they cannot tell.\n"
		   "Exit code 0: the same or better, 1: a regression, 2: bad usage or input, 3: inconclusive, 4: wrong "
		   "results.",
	.usage = "gemmark compare BASE HEAD [options]     result directories, or Google Benchmark's JSON files",
	.examples = "gemmark compare results/before results/after\n"
		    "gemmark compare --base b1 --head h1 --base b2 --head h2 --paired -o md\n"
		    "gemmark compare --calibrate results/first results/second\n"
		    "gemmark bench -m m.gguf --mode direct -r 12 --out results/direct\n"
		    "gemmark bench -m m.gguf --mode graph-device -r 12 --out results/device\n"
		    "gemmark compare results/direct results/device --across mode\n"
		    "gemmark_bench_kernels --benchmark_repetitions=14 --benchmark_out=before.json\n"
		    "gemmark compare before.json after.json\n",
	.options = options,
	.positional = take_directory,
};

static int open_side(struct side_names *s, struct result_set ***sets, struct error *err)
{
	*sets = calloc((size_t)s->n + 1, sizeof **sets);
	if (!*sets)
		return error_set(err, ERROR_MEMORY, "no memory for %d directories", s->n);
	for (int i = 0; i < s->n; i++) {
		(*sets)[i] = calloc(1, sizeof ***sets);
		if (!(*sets)[i])
			return error_set(err, ERROR_MEMORY, "no memory for %d directories", s->n);
		(*sets)[i]->directory.fd = -1;
		int rc = result_set_open((*sets)[i], s->names[i], err);
		if (rc)
			return rc;
	}
	return 0;
}

static void close_side(struct result_set **sets)
{
	for (int i = 0; sets && sets[i]; i++) {
		result_set_close(sets[i]);
		free(sets[i]);
	}
	free(sets);
}

/* Median and largest deviation from unit to unit over the cells. */
static int calibrate(const struct compare_command *o, const struct comparison *c, const char *machine,
		     const char *commit, struct error *err)
{
	double most = 0;
	int alarm = 0, runs = 0;
	for (int i = 0; i < c->n; i++) {
		const struct compare_value *v = &c->cells[i].values[METRIC_TIME];
		double deviation = v->verdict.variability / sqrt(2);
		alarm |= c->cells[i].outcome == COMPARE_SLOWER || c->cells[i].outcome == COMPARE_FASTER;
		runs = v->n > runs ? v->n : runs;
		most = deviation > most ? deviation : most;
	}
	struct calibration_entry e = {.machine = machine,
				      .commit = commit,
				      .from = "compare",
				      .sweeps = 1,
				      .alarms = alarm,
				      .cells = c->n,
				      .runs = runs,
				      .variation = compare_variation(c),
				      .variation_max = most};
	if (isnan(e.variation))
		return error_set(err, ERROR_INPUT, "--calibrate: no cell has two units on a side; repeat more");
	return calibration_add(o->calibration, &e, err);
}

/* What is compared is never written onto. */
static int check_out(const struct compare_command *o, struct error *err)
{
	int rc = output_option_check_results("--out", o->out, o->base.names, o->base.n, o->calibration, err);
	return rc ? rc : output_option_check_results("--out", o->out, o->head.names, o->head.n, NULL, err);
}

/* What is printed: one of them. */
struct found {
	const struct comparison *cells;
	const struct compare_output *of;
	const struct benchmark_comparison *benchmarks;
};

static int print_to(const struct compare_command *o, const struct found *found, FILE *f, struct error *err)
{
	return found->benchmarks ? benchmark_compare_write(found->benchmarks, o->format, o->all, f, err)
				 : compare_output_write(found->cells, found->of, o->format, f, err);
}

static int print(const struct compare_command *o, const struct found *found, struct error *err)
{
	struct output_file out;
	if (!o->out)
		return print_to(o, found, stdout, err);
	int rc = output_file_open(&out, o->out, true, err);
	if (rc)
		return error_prefix(err, rc, "--out");
	FILE *f;
	rc = output_file_stream(&out, &f, err);
	if (!rc)
		rc = print_to(o, found, f, err);
	if (f && (ferror(f) | fclose(f)))
		rc = error_set(err, ERROR_IO, "--out: %s: cannot be written; name another file", o->out);
	if (!rc && (rc = output_file_commit(&out, err)))
		error_prefix(err, rc, "--out");
	output_file_discard(&out);
	return rc;
}

/* ---- Google Benchmark's files ---- */

/* Whether all names are files: 1; all something else: 0; both, or a file and what is not there: an error. The first of
 * each is named. */
static int sides_are_files(const struct compare_command *o, struct error *err)
{
	int files = 0, n = o->base.n + o->head.n, reason = 0;
	const char *absent = NULL, *file = NULL, *folder = NULL;
	for (int i = 0; i < n; i++) {
		struct stat s;
		const char *name = i < o->base.n ? o->base.names[i] : o->head.names[i - o->base.n];
		if (!stat(name, &s)) {
			const char **first = S_ISDIR(s.st_mode) ? &folder : &file;
			*first = *first ? *first : name;
			files += !S_ISDIR(s.st_mode);
		} else if (!absent) {
			absent = name;
			reason = errno;
		}
	}
	if (files && absent)
		return error_set(err, ERROR_INPUT, "%s: %s; give another file", text_show_path(absent).text,
				 strerror(reason));
	if (files && files < n)
		return error_set(err, ERROR_INPUT,
				 "%s is a directory and %s a file: no sides of one comparison; give directories of "
				 "runs, or files that --benchmark_out wrote",
				 text_show_path(folder).text, text_show_path(file).text);
	return files > 0;
}

static int run_files(struct compare_command *o, int *code, struct error *err)
{
	int n = o->base.n + o->head.n, rc = 0;
	struct compare_options plain;
	struct benchmark_comparison c = {0};
	compare_options_default(&plain);
	if (o->core.across || o->core.gate != plain.gate || o->core.gate_exact != plain.gate_exact || o->calibrate ||
	    o->calibration)
		return error_set(
			err, ERROR_INPUT,
			"--across, --gate, --gate-exact and --calibrate are for directories of runs; leave them "
			"out");
	struct benchmark_file *files = calloc((size_t)n, sizeof *files);
	if (!files)
		return error_set(err, ERROR_MEMORY, "no memory for %d files", n);
	for (int i = 0; i < n && !rc; i++)
		rc = benchmark_file_read(&files[i], i < o->base.n ? o->base.names[i] : o->head.names[i - o->base.n],
					 err);
	for (int i = 0; i < n && !rc && o->out; i++)
		rc = output_file_check(o->out, true, (const char *const[]){files[i].path}, 1, err);
	if (!rc)
		rc = benchmark_compare(files, o->base.n, files + o->base.n, o->head.n, &o->core, &c, err);
	if (!rc)
		rc = print(o, &(struct found){.benchmarks = &c}, err);
	if (!rc)
		*code = benchmark_compare_code(&c);
	benchmark_compare_free(&c);
	for (int i = 0; i < n; i++)
		benchmark_file_free(&files[i]);
	free(files);
	return rc;
}

/* ---- run directories ---- */

static int run(struct compare_command *o, int *code, struct error *err)
{
	struct result_set **base = NULL, **head = NULL;
	struct comparison c = {0};
	struct calibration k;
	char machine[CALIBRATION_MACHINE_SIZE];
	int rc = o->out ? check_out(o, err) : 0;
	if (!rc)
		rc = open_side(&o->base, &base, err);
	if (!rc)
		rc = open_side(&o->head, &head, err);
	if (!rc)
		rc = compare_run(base, o->base.n, head, o->head.n, &o->core, &c, err);
	if (!rc) {
		const char *commits[2] = {result_set_commit(base[0]), result_set_commit(head[0])};
		calibration_machine(head[0]->env, machine);
		if (o->calibrate && (!commits[0] || !commits[1] || strcmp(commits[0], commits[1])))
			rc = error_set(err, ERROR_INPUT,
				       "--calibrate: base is of commit %s, head of %s: measure one commit twice",
				       commits[0] ? commits[0] : "unknown", commits[1] ? commits[1] : "unknown");
		if (!rc && o->calibrate && !*machine)
			rc = error_set(err, ERROR_INPUT,
				       "--calibrate: head has no env.json that says what machine it is of");
		if (!rc && o->calibrate)
			rc = calibrate(o, &c, machine, commits[1], err);
		if (!rc)
			rc = calibration_read(o->calibration, machine, &k, err);
		struct compare_output of = {.base_name = o->base.names[0],
					    .head_name = o->head.names[0],
					    .base_commit = commits[0],
					    .head_commit = commits[1],
					    .calibration = &k,
					    .all = o->all};
		if (!rc)
			rc = print(o, &(struct found){.cells = &c, .of = &of}, err);
		*code = compare_exit_code(&c);
	}
	compare_free(&c);
	close_side(base);
	close_side(head);
	return rc;
}

int cmd_compare(int argc, char **argv)
{
	static struct compare_command o;
	struct error err = {""};
	int code = 0;
	o = (struct compare_command){0};
	compare_options_default(&o.core);
	int rc = options_parse(&command, argc, argv, &o, &err);
	if (rc > 0)
		return 0;
	if (!rc && o.n_positional == 1)
		rc = error_set(&err, ERROR_INPUT, "%s: one directory; name base and head", o.positional[0]);
	if (!rc && o.n_positional == 2) {
		rc = add_name(&o.base, o.positional[0], &err);
		rc = rc ? rc : add_name(&o.head, o.positional[1], &err);
	}
	if (!rc && (!o.base.n || !o.head.n))
		rc = error_set(&err, ERROR_INPUT,
			       "name two results directories, as in: gemmark compare results/BASE results/HEAD");
	int files = rc ? rc : sides_are_files(&o, &err);
	rc = files < 0 ? files : 0;
	if (!rc)
		rc = files ? run_files(&o, &code, &err) : run(&o, &code, &err);
	return rc ? command_fail(command.name, rc, &err) : code;
}
