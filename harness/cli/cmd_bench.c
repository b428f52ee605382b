/*
 * gemmark bench: cells, and the sweep's records to a run directory.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "harness/cli/axis_options.h"
#include "harness/cli/bench_devices.h"
#include "harness/cli/bench_options.h"
#include "harness/cli/bench_parts.h"
#include "harness/cli/bench_status.h"
#include "harness/cli/devices.h"
#include "harness/cli/dry_run.h"
#include "harness/cli/engine_environment.h"
#include "harness/cli/engine_machine.h"
#include "harness/cli/engine_source.h"
#include "harness/cli/engine_text.h"
#include "harness/cli/interrupt.h"
#include "harness/cli/next_command.h"
#include "harness/cli/options.h"
#include "harness/cli/results_directory.h"
#include "harness/cli/trained_context.h"
#include "harness/measure/past.h"
#include "harness/measure/progress.h"
#include "harness/measure/runner.h"
#include "harness/plot/plot.h"
#include "harness/record/build_info.h"
#include "harness/record/environment.h"
#include "harness/record/json_word.h"
#include "harness/record/recorder.h"
#include "harness/record/sweep_file.h"
#include "harness/report/llama_bench.h"
#include "harness/report/llama_output.h"
#include "harness/report/table.h"
#include "harness/sweep/matrix.h"

enum {
	MAX_WORDS = 10000, /* of a recalled command line */
	EXIT_NOTHING = 2,  /* no run went well */
	EXIT_WRONG = 4,
};

struct sweep {
	struct workload_source *source;
	struct recorder *recorder;
	json_t *description;         /* sweep.json's */
	json_t *shard;               /* the shard's in it; null: the sweep is not divided */
	bool memory_unrecorded;      /* in that of the sweep that goes on */
	struct telemetry *telemetry; /* null: none */
	struct table *table;
	struct llama_bench *llama; /* null: none of llama-bench's formats is printed */
	int progress;              /* a line a run is asked for */
	int shown;                 /* runs that had theirs */
	char stamp[32]; /* of the start, and what sets it apart from others of that second: the runs' prefix */
	char directory[RESULTS_DIRECTORY_SIZE]; /* of the results, where none is named */
	struct past past;
	struct bench_status status;
	struct runner_progress last; /* that was reported */
	const struct cell *cells;
};

static int summarise(struct sweep *s, const struct run_row *row, struct error *err)
{
	int rc = table_add(s->table, row, err);
	bench_status_take(&s->status, row);
	return rc || !s->llama ? rc : llama_bench_add(s->llama, row, err);
}

static int take_run(void *ctx, const struct run_row *row, const struct token_record *tokens, int n, struct error *err)
{
	struct sweep *s = ctx;
	int rc = engine_source_check(s->source, err), looks;
	if (rc)
		return rc;
	/* A run that never began has no looks of its own. */
	if (s->telemetry && row->n_context != ROW_UNKNOWN) {
		const struct telemetry_sample *samples = telemetry_samples(s->telemetry, &looks);
		rc = recorder_telemetry(s->recorder, row->run_id, samples, looks, err);
	}
	if (!rc)
		rc = recorder_run(s->recorder, row, tokens, n, err);
	return rc ? rc : summarise(s, row, err);
}

static int take_timeline(void *ctx, const char *run_id, const struct timeline_stamp *stamps, int n, struct error *err)
{
	const struct sweep *s = ctx;
	return recorder_timeline(s->recorder, run_id, stamps, n, err);
}

static int keep_run(void *ctx, const struct run_row *row, struct error *err)
{
	struct sweep *s = ctx;
	struct run_row kept = *row;
	int rc = past_take(&s->past, &kept, err);
	return rc ? rc : summarise(s, &kept, err);
}

static void take_progress(void *ctx, const struct runner_progress *p)
{
	struct sweep *s = ctx;
	if (s->progress && p->run > s->shown)
		progress_print(p);
	s->shown = p->run;
	progress_show(p);
	s->last = *p;
	bench_status_progress(&s->status, p, NULL);
}

static void take_begin(void *ctx, int cell)
{
	struct sweep *s = ctx;
	bench_status_progress(&s->status, &s->last, &s->cells[cell]);
}

static int load_json(const char *directory, const char *name, json_t **out, struct error *err)
{
	struct run_directory d;
	*out = NULL;
	int rc = run_directory_open(&d, directory, err);
	if (!rc)
		rc = run_directory_load_json(&d, name, out, err);
	run_directory_close(&d);
	return rc;
}

static bool has_int(const struct bench *b, enum axis_id a, int value)
{
	const struct axis_values *v = &b->axes.matrix.of[a];
	for (int i = 0; i < v->n; i++)
		if (v->ints[i] == value)
			return true;
	return false;
}

/* Whether something that is left open depends on the memory of a GPU: layers, weights for prompts or chunks. */
static bool plans_for_memory(const struct bench *b)
{
	const struct axis_values *layers = &b->axes.matrix.of[AXIS_GPU_LAYERS];
	bool on_gpu = false;
	for (int i = 0; i < layers->n; i++)
		on_gpu |= layers->ints[i] != 0;
	return has_int(b, AXIS_GPU_LAYERS, AXIS_LAYERS_AUTO) ||
	       (on_gpu && (b->engine.prefill_weights == PREFILL_WEIGHTS_AUTO || has_int(b, AXIS_UBATCH, 0)));
}

/* What that plans for: a sweep that goes on plans with what it began with, so that it chooses alike. */
static void recall_device_memory(struct bench *b, struct sweep *s)
{
	json_t *sweep = NULL;
	if (!b->resume)
		return;
	load_json(b->resume, "sweep.json", &sweep, NULL); /* where it cannot be read, open_directory says so */
	json_int_t recorded = json_integer_value(json_object_get(sweep, "device_memory"));
	s->memory_unrecorded = sweep && !json_object_get(sweep, "device_memory");
	json_decref(sweep);
	if (recorded > 0 && !b->engine.device_memory)
		b->engine.device_memory = (size_t)recorded;
}

/* The engine's settings have no columns of their own: a sweep goes on with the same ones. */
static int add_settings(struct sweep *s, const struct bench *b, struct error *err)
{
	const struct engine_settings *e = &b->engine;
	json_t *settings = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "prefill_precision",
				     prefill_precision_name(e->prefill), "prefill_weights",
				     prefill_weights_name(e->prefill_weights).text, "host_products",
				     host_products_name(e->host_products), "ple", e->ple_on_host ? "host" : "device",
				     "pdl", e->pdl ? "on" : "off", "persistent_limits",
				     persistent_limits_name(e->limits_by), "head", e->head_on_host ? "cpu" : "gpu");
	/* Without a GPU only what was asked for by name depends on it. Older sweeps do not say it. */
	if (plans_for_memory(b) && (e->device_memory || has_int(b, AXIS_GPU_LAYERS, AXIS_LAYERS_AUTO)) &&
	    !s->memory_unrecorded)
		json_object_set_new(settings, "device_memory", json_integer((json_int_t)e->device_memory));
	if (e->text)
		json_object_set_new(settings, "text_hash", json_string(e->text->hash));
	if (s->shard)
		json_object_set(settings, "shard", s->shard);
	if (json_object_update_new(s->description, settings) ||
	    json_object_update_new(s->description, runner_options_describe(&b->runner)))
		return error_set(err, ERROR_MEMORY, "no memory for sweep.json");
	return 0;
}

/* One of its own, whoever else starts in the same second. */
static int make_directory(struct sweep *s, struct error *err)
{
	char name[96];
	int number;
	snprintf(name, sizeof name, "%s-%.60s", s->stamp, build_info()->commit);
	int rc = results_directory_make("results", name, s->directory, &number, err);
	size_t n = strlen(s->stamp);
	if (!rc && number > 1)
		snprintf(s->stamp + n, sizeof s->stamp - n, "-%d", number);
	return rc;
}

/* The run directory: a new one with its two descriptions, or one that agrees with them. */
static int open_directory(struct bench *b, struct sweep *s, const char *directory, const json_t *env, struct error *err)
{
	int rc = sweep_describe(&b->axes.matrix, &s->description, err);
	const json_t *description = s->description;
	if (!rc)
		rc = add_settings(s, b, err);
	if (!rc && b->resume) {
		struct run_directory d;
		struct resume_dropped dropped;
		char text[RESUME_TEXT_SIZE];
		rc = run_directory_open(&d, directory, err);
		if (!rc)
			rc = sweep_check(&d, description, env, err);
		run_directory_close(&d);
		if (!rc)
			rc = recorder_resume(&s->recorder, directory, keep_run, s, &dropped, err);
		if (!rc && *resume_dropped_text(&dropped, text))
			fprintf(stderr, "gemmark bench: %s: %s\n", text_show_path(directory).text, text);
		b->runner.past = &s->past.runner;
	} else if (!rc) {
		rc = recorder_open(&s->recorder, directory, err);
		if (!rc)
			rc = run_directory_save_json(recorder_directory(s->recorder), "sweep.json", description, err);
		if (!rc)
			rc = run_directory_save_json(recorder_directory(s->recorder), "env.json", env, err);
	}
	return rc;
}

/* Rows without the two descriptions cannot be resumed, or compared: gone while the sweep ran, they are written again.
 */
static int keep_descriptions(const struct sweep *s, const json_t *env, const char *directory, struct error *err)
{
	int written, rc = sweep_keep(recorder_directory(s->recorder), s->description, env, &written, err);
	if (!rc && written)
		fprintf(stderr, "gemmark bench: %s: %s while the sweep ran; written again\n",
			text_show_path(directory).text,
			written == 2 ? "sweep.json and env.json were removed" : "sweep.json or env.json was removed");
	return rc;
}

static int exit_code(const struct runner_summary *s, const struct past *p)
{
	if (s->interrupted)
		return EXIT_INTERRUPTED;
	if (s->wrong || p->wrong)
		return EXIT_WRONG;
	return s->ok || p->ok ? 0 : EXIT_NOTHING;
}

static void print_end(const struct runner_summary *s, const struct past *p, const char *directory, FILE *f)
{
	fprintf(f, "\n%d run%s ok", s->ok, s->ok == 1 ? "" : "s");
	if (s->with_fallbacks)
		fprintf(f, ", %d of them with fallbacks to direct launches", s->with_fallbacks);
	if (s->skipped)
		fprintf(f, ", %d skipped", s->skipped);
	if (s->failed)
		fprintf(f, ", %d failed", s->failed);
	if (s->wrong)
		fprintf(f, ", %d WRONG", s->wrong);
	if (p->rows)
		fprintf(f, "; %d %s there already", p->rows, p->rows == 1 ? "was" : "were");
	fputs(s->interrupted ? "; interrupted\n" : "\n", f);
	results_directory_print(f, directory);
	if (s->interrupted)
		next_command_print(f, "go on:  ", "bench", "--resume", directory);
	bool gnuplot = next_command_finds("gnuplot");
	if (gnuplot && !plot_check(directory, NULL))
		next_command_print(f, "next:   ", "plot", NULL, directory);
	if (s->ok || p->rows)
		next_command_print_output(f, "report: ", "report", directory, gnuplot ? "report.html" : "report.md");
}

/* The sweep's results in one format; NONE: nothing. */
static int print_format(const struct sweep *s, int format, FILE *f, struct error *err)
{
	if (format == BENCH_FORMAT_TABLE)
		table_write(s->table, f);
	if (format < 0)
		return 0;
	json_t *records;
	int rc = llama_bench_records(s->llama, &records, err);
	if (!rc)
		rc = llama_output_write(records, (enum llama_format)format, f, err);
	json_decref(records);
	return rc;
}

/* The results on standard output and error, and what there is to say about them. */
static int print_results(const struct bench *b, const struct sweep *s, const struct runner_summary *summary,
			 const char *directory, struct error *err)
{
	int rc = print_format(s, b->format, stdout, err);
	if (!rc)
		rc = print_format(s, b->error_format, stderr, err);
	/* What is printed for a program stays alone. */
	FILE *notes = b->format == BENCH_FORMAT_TABLE ? stdout : stderr;
	if (b->format != BENCH_FORMAT_TABLE && b->error_format != BENCH_FORMAT_TABLE)
		table_write_remarks(s->table, notes);
	print_end(summary, &s->past, directory, notes);
	return rc;
}

/* settings: the caller's, as long as the records are collected. */
static int open_llama(struct sweep *s, const struct cell *cells, int n, const json_t *env, const char *settings,
		      struct error *err)
{
	const char *reason;
	const struct environment_gpu *gpu = engine_gpu(&reason);
	struct llama_facts facts = {
		.cpu = json_string_value(json_object_get(json_object_get(env, "cpu"), "model")),
		.gpu = gpu ? gpu->name : "",
		.settings = settings,
		.build_number = build_info()->number,
	};
	return llama_bench_open(&s->llama, cells, n, &facts, err);
}

/* Rows of several machines may come into one directory. env: as long as rows are made. */
static void name_machine(struct runner_options *o, const json_t *env)
{
	const json_t *nvml = json_object_get(json_object_get(env, "gpu"), "nvml");
	o->machine = json_string_value(json_object_get(json_object_get(env, "system"), "host"));
	o->gpu = json_string_value(json_object_get(nvml, "uuid"));
	/* NVML found the card by where it is plugged in; of a slice of one, CUDA was told. */
	const char *shown = getenv("CUDA_VISIBLE_DEVICES");
	if (o->gpu && shown && !strncmp(shown, "MIG-", 4) && !strchr(shown, ','))
		o->gpu = shown;
}

/* Everything behind the options. On success *code is the exit code. */
static int sweep(struct bench *b, int argc, char **argv, int *code, struct error *err)
{
	struct cell *cells = NULL;
	struct workload_source *source = NULL;
	json_t *env = NULL;
	struct sweep s = {.progress = b->progress};
	struct runner_summary summary;
	char settings[ENGINE_SETTINGS_TEXT];
	int n = 0, n_runs = 0;
	time_t now = time(NULL);
	struct tm tm;
	gmtime_r(&now, &tm);
	strftime(s.stamp, sizeof s.stamp, "%Y%m%dT%H%M%SZ", &tm);
	/* Shards that begin in one second on two machines have no run of the same id. */
	if (b->shard.count)
		snprintf(s.stamp + strlen(s.stamp), sizeof s.stamp - strlen(s.stamp), "-s%d", b->shard.index);
	const char *output = b->resume ? b->resume : b->output;
	b->runner.commit = build_info()->label;
	b->runner.run_prefix = s.stamp;
	b->runner.stop = &interrupt_noted;
	bench_status_init(&s.status, b->status_file, b->metrics_file);

	recall_device_memory(b, &s);
	struct axis_resolution resolution = {.hash = !b->dry_run || b->axes.matrix.of[AXIS_MODEL].n > 1,
					     .head_on_host = b->engine.head_on_host,
					     .chunk_most = b->batch,
					     .gpu_memory = b->engine.device_memory};
	struct cell_resolver resolver = axis_resolver(&resolution);
	b->engine.resolution = &resolution;
	int rc = b->resume || b->dry_run || !output ? 0 : run_directory_check_new(output, err);
	struct engine_text text = {0};
	if (!rc && b->text && !(rc = engine_text_open(&text, b->text, err)))
		b->engine.text = &text;
	if (!rc)
		rc = matrix_defaults(&b->axes.matrix, err);
	/* All that the matrix has, whichever shard's they are: a cell has one chunk and one placement. */
	const struct axis_values *fusions = &b->axes.matrix.of[AXIS_FUSION];
	resolution.persistent = b->engine.persistent = engine_persistent(fusions->words, fusions->n);
	if (!rc)
		rc = matrix_cells(&b->axes.matrix, &resolver, &cells, &n, err);
	if (!rc && b->runner.timeline)
		rc = bench_check_timeline(cells, n, err);
	if (!rc && b->shard.count)
		rc = shard_option_apply(&b->shard, &b->axes.matrix, &b->runner, cells, &n, &s.shard,
					b->dry_run ? stdout : NULL, err);
	if (!rc && !n) {
		printf("shard %d/%d has nothing to measure: there are fewer units of cells that stay together than "
		       "shards; "
		       "nothing is written, and gemmark merge knows it\n",
		       b->shard.index, b->shard.count);
		json_decref(s.shard);
		engine_text_free(&text);
		axis_resolution_free(&resolution);
		free(cells);
		return 0;
	}
	if (!rc)
		rc = bench_status_check(&s.status, &b->axes.matrix.of[AXIS_MODEL], b->text, output, err);
	s.cells = cells;
	for (int i = 0; i < n && !rc; i++) {
		b->engine.gemm_ceiling |= cells[i].n_prompt > 0;
		b->engine.all_rows |= cell_computes_all_rows(&cells[i]);
	}
	if (!rc) {
		trained_context_warn_cells("bench", &resolution, cells, n,
					   "; beyond_context marks these runs in runs.csv");
		engine_settings_warn("bench", &b->engine, cells, n);
	}
	engine_settings_text(&b->engine, settings);
	if (b->dry_run) {
		if (!rc)
			rc = dry_run_print(cells, n, &b->runner, &b->engine, stdout, &n_runs, err);
		if (!rc)
			*code = n_runs ? 0 : EXIT_NOTHING;
		json_decref(s.shard);
		engine_text_free(&text);
		axis_resolution_free(&resolution);
		free(cells);
		return rc;
	}
	if (!rc)
		rc = engine_source_open(&source, &b->engine, err);
	s.source = source;
	if (!rc)
		rc = engine_context_open(&b->runner.contexts, &b->contexts, err);
	if (!rc && plans_for_memory(b))
		b->engine.device_memory = engine_source_device_memory(
			source, b->engine.device_memory ? b->engine.device_memory : resolution.gpu_memory);
	if (!rc)
		rc = table_open(&s.table, cells, n, err);
	if (!rc) {
		table_set_cache(s.table, (double)environment_cache_bytes(NULL));
		table_set_settings(s.table, settings);
	}
	if (!rc)
		rc = past_init(&s.past, cells, n, b->runner.repetitions, err);
	if (!rc)
		rc = engine_telemetry_open(&s.telemetry, b->telemetry_ms, err);
	if (!rc)
		rc = engine_environment(&b->axes.matrix, &resolution, source, b->runner.seed, argc, argv, &env, err);
	if (!rc)
		name_machine(&b->runner, env);
	if (!rc && (b->format >= 0 || b->error_format >= 0))
		rc = open_llama(&s, cells, n, env, settings, err);
	/* What the directory holds from now on is kept, and the sweep can go on in it. */
	if (!rc)
		interrupt_is_noted();
	if (!rc && !output) {
		rc = make_directory(&s, err);
		output = s.directory;
	}
	if (!rc)
		rc = open_directory(b, &s, output, env, err);
	/* Of a new one only now is known which files are its. */
	if (!rc)
		rc = bench_status_check(&s.status, &b->axes.matrix.of[AXIS_MODEL], b->text, output, err);
	if (!rc) {
		struct runner_sink sink = {.ctx = &s,
					   .run = take_run,
					   .timeline = take_timeline,
					   .progress = take_progress,
					   .begin = take_begin};
		bench_status_start(&s.status, output);
		b->runner.monitor = s.telemetry ? telemetry_monitor(s.telemetry) : NULL;
		rc = runner_run(cells, n, source, &b->runner, &sink, &summary, err);
		progress_clear();
	}
	/* Of a directory that was moved the rows are elsewhere, and there they are; of one that was removed none are.
	 */
	struct error closing = {""}, keeping = {""};
	char place[RUN_DIRECTORY_PATH];
	int moved = s.recorder && recorder_moved(s.recorder, place), kept = 0;
	if (!rc && !recorder_check(s.recorder, &closing))
		kept = keep_descriptions(&s, env, moved ? place : output, &keeping);
	int closed = recorder_close(s.recorder, &closing);
	if (!rc && (!closed || moved))
		rc = print_results(b, &s, &summary, moved ? place : output, err);
	if (!rc && closed)
		rc = error_set(err, ERROR_IO, "%s", closing.text);
	if (!rc && kept)
		rc = error_set(err, kept, "while the sweep ran, and its rows are kept: %s", keeping.text);
	if (!rc)
		*code = exit_code(&summary, &s.past);
	if (rc)
		bench_status_end(&s.status, SWEEP_STATE_FAILED, err->text);
	else
		bench_status_end(&s.status, summary.interrupted ? SWEEP_STATE_INTERRUPTED : SWEEP_STATE_DONE, "");
	json_decref(s.shard);
	json_decref(s.description);
	json_decref(env);
	telemetry_close(s.telemetry);
	past_free(&s.past);
	llama_bench_close(s.llama);
	table_close(s.table);
	context_store_close(b->runner.contexts);
	engine_source_close(source);
	engine_text_free(&text);
	axis_resolution_free(&resolution);
	free(cells);
	return rc;
}

static void free_words(char **words)
{
	for (int i = 0; words[i]; i++)
		free(words[i]);
	free(words);
}

/* --resume alone: the options are those that env.json has. argv is replaced; the caller frees its words. */
static int recall_options(struct bench *b, int *argc, char ***argv, struct error *err)
{
	const char *directory = b->resume;
	json_t *env;
	int rc = load_json(directory, "env.json", &env, err);
	/* Files are made in this order: without env.json no run began. */
	if (rc && results_directory_has(directory, "runs.csv") && !results_directory_has(directory, "env.json"))
		return error_set(err, ERROR_INPUT,
				 "--resume: %s: has no env.json: a sweep that ended before its first run has none, and "
				 "nothing to go on with: remove the folder and measure again; where runs.csv has rows, "
				 "restore env.json",
				 directory);
	if (rc)
		return error_prefix(err, rc, "--resume");
	const json_t *line = json_object_get(env, "command_line");
	int n = (int)json_array_size(line);
	char **words = n > 1 && n < MAX_WORDS ? calloc((size_t)n + 1, sizeof *words) : NULL;
	for (int i = 0; words && i < n; i++) {
		words[i] = json_word_bytes(json_array_get(line, (size_t)i));
		if (!words[i]) {
			free_words(words);
			words = NULL;
		}
	}
	json_decref(env);
	if (!words)
		return error_set(err, ERROR_INPUT,
				 "--resume: %s/env.json: no command line is in it; give the sweep's options again",
				 directory);
	*argc = n;
	*argv = words;
	rc = strcmp(words[0], "bench")
		     ? error_set(err, ERROR_INPUT,
				 "--resume: %s is of gemmark %s, and sweeps alone go on: measure again", directory,
				 text_show(words[0], strlen(words[0])).text)
		     : bench_parse(b, n, words, err);
	b->resume = directory;
	return rc;
}

int cmd_bench(int argc, char **argv)
{
	struct bench b = {0};
	struct error err = {""};
	char **given = argv;
	int code = 0, rc = bench_parse(&b, argc, argv, &err);
	if (!rc && b.resume && b.output)
		rc = error_set(&err, ERROR_INPUT, "--resume: goes on in its own directory; leave --out out");
	if (!rc && b.dry_run && (b.resume || b.format != BENCH_FORMAT_TABLE || b.error_format != BENCH_FORMAT_NONE))
		rc = error_set(&err, ERROR_INPUT,
			       "--dry-run: prints a new sweep's plan; leave --resume, -o and -oe out");
	int alone = b.resume && (argc == 2 || (argc == 3 && argv[2] == b.resume));
	if (!rc && b.resume && !alone && !b.axes.matrix.of[AXIS_MODEL].n)
		rc = error_set(&err, ERROR_INPUT,
			       "--resume: beside it stands nothing, or all options of the sweep, -m among them; how "
			       "results are printed (-o) cannot be changed alone: go on with gemmark bench --resume %s",
			       b.resume);
	bool parts = !rc && alone && bench_parts_are_there(b.resume);
	if (!rc && alone && !parts)
		rc = recall_options(&b, &argc, &argv, &err);
	if (!rc && b.resume && !alone && (bench_devices_wanted(&b) || bench_parts_are_there(b.resume)))
		rc = error_set(
			&err, ERROR_INPUT,
			"--resume: a sweep over several devices goes on alone, with its own options: gemmark bench "
			"--resume %s",
			b.resume);
	if (!rc && b.list_devices)
		rc = devices_print(stdout, &err);
	else if (parts)
		rc = bench_devices_resume(&b, &code, &err);
	else if (!rc && bench_devices_wanted(&b) && !b.resume)
		rc = bench_devices_run(&b, argc, argv, &code, &err);
	else if (!rc)
		rc = sweep(&b, argc, argv, &code, &err);
	matrix_free(&b.axes.matrix);
	if (argv != given)
		free_words(argv);
	if (rc < 0)
		return command_fail("bench", rc, &err);
	return code;
}
