/*
 * gemmark selftest: how often the instrument sees what is not there, and how often it
 * misses what is. On the simulated workload, or with -m on the engine.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/terminal.h"
#include "base/text.h"
#include "harness/cli/axis_options.h"
#include "harness/cli/engine_environment.h"
#include "harness/cli/engine_source.h"
#include "harness/cli/interrupt.h"
#include "harness/cli/neighbours.h"
#include "harness/cli/option_values.h"
#include "harness/cli/options.h"
#include "harness/cli/selftest_history.h"
#include "harness/cli/selftest_report.h"
#include "harness/cli/trained_context.h"
#include "harness/measure/telemetry.h"
#include "harness/measure/workload_sim.h"
#include "harness/record/build_info.h"
#include "harness/record/calibration.h"
#include "harness/record/run_directory.h"
#include "harness/selftest/overhead.h"
#include "harness/selftest/selftest.h"
#include "harness/selftest/selftest_record.h"
#include "harness/stats/stats.h"

enum {
	MAX_SWEEPS = 1000000,
	MAX_RUNS = 1000,
	MAX_STEADY = 1024,
	SIM_SWEEPS = 100,
	EXIT_NOT_TRUSTED = 1,
};

static const double OVERHEAD_US = 1;

struct selftest_command {
	struct axes_context axes; /* first: what axis_options.h expects */
	struct selftest_options core;
	struct sim_options sim;
	struct engine_settings engine;
	int aa;
	int overhead;
	int neighbours;
	int json;
	int history;
	const char *devices; /* of the neighbours; null: all */
	int n_sweeps;        /* 0: not given */
	double inject;
	const char *output;      /* null: nothing is written */
	const char *calibration; /* null: the user's */
};

static struct selftest_command *selftest(void *ctx)
{
	return ctx;
}

static int apply_aa(void *ctx, const char *value, struct error *err)
{
	(void)value;
	(void)err;
	selftest(ctx)->aa = 1;
	return 0;
}

static int apply_prefill_precision(void *ctx, const char *value, struct error *err)
{
	selftest(ctx)->engine.prefill_named = true;
	return options_prefill_precision(value, &selftest(ctx)->engine.prefill, err);
}

static int apply_prefill_weights(void *ctx, const char *value, struct error *err)
{
	return options_prefill_weights(value, &selftest(ctx)->engine.prefill_weights, err);
}

static int apply_host_products(void *ctx, const char *value, struct error *err)
{
	return options_host_products(value, &selftest(ctx)->engine.host_products, err);
}

static int apply_head(void *ctx, const char *value, struct error *err)
{
	return options_head(value, &selftest(ctx)->engine.head_on_host, err);
}

static int apply_ple(void *ctx, const char *value, struct error *err)
{
	return options_ple(value, &selftest(ctx)->engine.ple_on_host, err);
}

static int apply_persistent_limits(void *ctx, const char *value, struct error *err)
{
	return options_persistent_limits(value, &selftest(ctx)->engine.limits_by, err);
}

static int apply_pdl(void *ctx, const char *value, struct error *err)
{
	return options_pdl(value, &selftest(ctx)->engine.pdl, err);
}

static int apply_warmup(void *ctx, const char *value, struct error *err)
{
	struct runner_options *o = &selftest(ctx)->core.runner;
	int rc = options_int(value, "--warmup", 1, MAX_STEADY, &o->steady, err);
	if (!rc)
		o->warmup_max = 8 * o->steady;
	return rc;
}

static int apply_output(void *ctx, const char *value, struct error *err)
{
	if (!*value)
		return error_set(err, ERROR_INPUT, "--out: an empty name; name a directory");
	selftest(ctx)->output = value;
	return 0;
}

static int apply_calibration(void *ctx, const char *value, struct error *err)
{
	selftest(ctx)->calibration = value;
	return *value ? 0 : error_set(err, ERROR_INPUT, "the file's name is empty");
}

static int apply_inject(void *ctx, const char *value, struct error *err)
{
	return options_share(value, 1e-6, 10, &selftest(ctx)->inject, err);
}

static int apply_overhead(void *ctx, const char *value, struct error *err)
{
	(void)value;
	(void)err;
	selftest(ctx)->overhead = 1;
	return 0;
}

static int apply_neighbours(void *ctx, const char *value, struct error *err)
{
	(void)value;
	(void)err;
	selftest(ctx)->neighbours = 1;
	return 0;
}

static int apply_devices(void *ctx, const char *value, struct error *err)
{
	selftest(ctx)->devices = value;
	return *value ? 0 : error_set(err, ERROR_INPUT, "--devices: an empty list; write 0,1 or all");
}

static int apply_json(void *ctx, const char *value, struct error *err)
{
	(void)value;
	(void)err;
	selftest(ctx)->json = 1;
	return 0;
}

static int apply_history(void *ctx, const char *value, struct error *err)
{
	(void)value;
	(void)err;
	selftest(ctx)->history = 1;
	return 0;
}

static int apply_alpha(void *ctx, const char *value, struct error *err)
{
	return options_share(value, 1e-6, 0.5, &selftest(ctx)->core.verdict.alpha, err);
}

static int apply_delta(void *ctx, const char *value, struct error *err)
{
	return options_share(value, 0, 1, &selftest(ctx)->core.verdict.delta, err);
}

static int apply_repetitions(void *ctx, const char *value, struct error *err)
{
	return options_int(value, "-r", 2, MAX_RUNS, &selftest(ctx)->core.runner.repetitions, err);
}

static int apply_sweeps(void *ctx, const char *value, struct error *err)
{
	return options_int(value, "--sweeps", 1, MAX_SWEEPS, &selftest(ctx)->n_sweeps, err);
}

static int apply_seed(void *ctx, const char *value, struct error *err)
{
	int seed, rc = options_int(value, "--seed", 0, 2147483647, &seed, err);
	if (!rc)
		selftest(ctx)->core.runner.seed = (uint64_t)seed;
	return rc;
}

/* "between=0.3,drift=1": percentages, but for the stall's and the token's microseconds and the throttle's seconds. */
static int apply_noise(void *ctx, const char *value, struct error *err)
{
	struct sim_options *o = &selftest(ctx)->sim;
	const struct {
		const char *name;
		double *at;
		double scale, max;
	} keys[] = {
		{"between", &o->between, 0.01, 50},
		{"within", &o->within, 0.01, 20},
		{"correlation", &o->correlation, 0.01, 99.9},
		{"drift", &o->drift, 0.01, 100},
		{"wander", &o->wander, 0.01, 10},
		{"outliers", &o->outlier_share, 0.01, 50},
		{"stalls", &o->stall_share, 0.01, 50},
		{"stall-us", &o->stall_us, 1, 1e6},
		{"throttle-every", &o->throttle_every, 1, 1e6},
		{"throttle-for", &o->throttle_for, 1, 1e6},
		{"throttle-by", &o->throttle_by, 0.01, 1000},
	};
	enum { N = sizeof keys / sizeof *keys };
	for (const char *p = value; *p;) {
		size_t length = strcspn(p, "=,"), item = strcspn(p, ",");
		int k = 0;
		while (k < N && (strlen(keys[k].name) != length || strncmp(keys[k].name, p, length)))
			k++;
		char *end = NULL;
		double x = k < N && p[length] == '=' ? strtod(p + length + 1, &end) : NAN;
		if (!end || end == p + length + 1 || end != p + item || !(x >= 0 && x <= keys[k].max)) {
			char names[200] = "";
			for (int i = 0; i < N; i++) {
				size_t used = strlen(names);
				snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", keys[i].name);
			}
			return error_set(err, ERROR_INPUT, "'%s' is not NAME=NUMBER in range; the names are %s",
					 text_show(p, item).text, names);
		}
		*keys[k].at = x * keys[k].scale;
		p += item + (p[item] == ',');
	}
	return 0;
}

static const struct option_spec options[] = {
	{"--aa", NULL, "every cell against itself: how often is a difference seen? (default, with --inject 2)",
	 apply_aa},
	{"--inject", "PCT", "one cell of one side slowed down by so many percent: how often is it found?",
	 apply_inject},
	{"--overhead", NULL, "instead: what the harness itself costs a token; exit code 1 above 1 us", apply_overhead},
	{"--neighbours", NULL,
	 "instead: how much the devices of this machine disturb each other: one cell on each of --devices, with the "
	 "others "
	 "at rest and at work by turns, -r rounds; exit code 1 where one changes by more than --delta",
	 apply_neighbours},
	{"--devices", "LIST", "of --neighbours, as for bench: 0,1, all, cpu,cpu (default all)", apply_devices},
	{"--json", NULL, "of --neighbours: print JSON", apply_json},
	{"--history", NULL,
	 "instead: how often gemmark history finds a planted slow-down (--inject, default 2) in series of commits, and "
	 "what is not there; of --sweeps series, with -r runs a commit (default 5)",
	 apply_history},
	{"-r, --repetitions", "N", "runs of a cell and side (default 16)", apply_repetitions},
	{"--sweeps", "N", "sweeps of each kind (default 100; with -m 1)", apply_sweeps},
	{"--alpha", "PCT", "chance of a false alarm in a sweep that the verdicts allow (default 1)", apply_alpha},
	{"--delta", "PCT", "smallest change that counts (default 1)", apply_delta},
	{"--calibration", "FILE",
	 "with -m: where what --aa saw is kept for gemmark compare (default: gemmark/calibration.json in "
	 "$XDG_STATE_HOME or\n"
	 "~/.local/state)",
	 apply_calibration},
	{"--noise", "NAME=PCT,...",
	 "of the simulated workload: between (runs), within (tokens), correlation, drift (a minute), wander (a "
	 "second), outliers, stalls, stall-us, throttle-every (seconds), throttle-for, throttle-by",
	 apply_noise},
	{"-m, --model", "FILE", "measure the engine with this model; without: the simulated workload",
	 axis_apply_MODEL},
	{"-d, --n-depth", "N",
	 "tokens in the cache before a run (default 0-4608+512: 40 cells with four modes; with -m 0)",
	 axis_apply_DEPTH},
	{"--prefill-precision", "f16|f32", "GPU, as for bench (default f16)", apply_prefill_precision},
	{"--prefill-weights", "auto|resident|convert|N", "GPU, as for bench (default auto)", apply_prefill_weights},
	{"--host-products", "f32|bf16", "host, as for bench (default f32)", apply_host_products},
	{"--head", "gpu|cpu", "GPU, as for bench (default gpu)", apply_head},
	{"--ple", "device|host", "GPU, as for bench (default device)", apply_ple},
	{"--pdl", "on|off", "GPU, as for bench (default on)", apply_pdl},
	{"--persistent-limits", "measured|constant", "GPU, as for bench (default measured)", apply_persistent_limits},
	{"--warmup", "N", "steady tokens in a row that end a warm-up (default 4)", apply_warmup},
	{"--seed", "N", "of the order, the noise and the slowed cell (default 1)", apply_seed},
	{"--out", "DIR", "write all runs and verdicts below this directory (default: nothing is written)",
	 apply_output},
	{0},
};

static const struct command command = {
	.name = "selftest",
	.summary = "Measures the instrument, in sweeps where nothing differs and where one cell is slower.\n"
		   "Prints how often the verdicts were wrong, with exact 95 % intervals, and what a rank test over "
		   "pooled tokens would have said. Exit code 1 where more than 1 % of the sweeps raise a false alarm, "
		   "or fewer than 95 % find the slow cell.",
	.usage = "gemmark selftest [--aa] [--inject PCT] [options]",
	.examples = "gemmark selftest\n"
		    "gemmark selftest --aa --sweeps 1000\n"
		    "gemmark selftest --neighbours --devices 0,1 -m e4b.gguf\n"
		    "gemmark selftest --history --sweeps 1000\n"
		    "gemmark selftest --inject 2 --noise between=0.5,drift=5\n"
		    "gemmark selftest --aa --sweeps 20 -m e4b.gguf -n 10 -d 0,512,4096 -r 12 --warmup 2 --out aa\n",
};

/* What the callbacks of a kind of self-test share. */
struct bound {
	struct selftest_command *command;
	struct sim *sim;                /* null: the engine */
	struct selftest_record *record; /* null: nothing is written */
	time_t started;
};

static void next_sweep(void *ctx, int sweep)
{
	struct bound *b = ctx;
	if (b->sim)
		sim_reseed(b->sim, b->command->core.runner.seed * 1000003 + (uint64_t)sweep);
}

/* The engine's sweeps take long, and a log should show that they go on; the simulated ones do not. */
static void sweep_done(void *ctx, const struct selftest_result *r)
{
	const struct bound *b = ctx;
	int of = b->command->core.sweeps, terminal = terminal_redraws(STDERR_FILENO);
	if (b->sim && !terminal)
		return;
	fprintf(stderr, "%s%d of %d sweeps, %d with a false alarm, %lld s%s", terminal ? "\r" : "", r->sweeps, of,
		r->alarms, (long long)(time(NULL) - b->started), terminal ? "" : "\n");
	if (terminal && r->sweeps == of)
		fputs("\r\033[K", stderr);
}

static int record_run(void *ctx, int sweep, int side, const struct run_row *row, const struct token_record *tokens,
		      int n, struct error *err)
{
	return selftest_record_run(((struct bound *)ctx)->record, sweep, side, row, tokens, n, err);
}

static int record_verdicts(void *ctx, int sweep, const struct verdict *v, int slowed, struct error *err)
{
	return selftest_record_verdicts(((struct bound *)ctx)->record, sweep, v, slowed, err);
}

/* What later comparisons on this machine say of themselves. */
static int keep_calibration(const struct selftest_command *c, const struct selftest_result *r, struct error *err)
{
	char machine[CALIBRATION_MACHINE_SIZE];
	const struct environment_inputs nothing = {0};
	json_t *env;
	int rc = engine_environment_collect(&nothing, &env, err);
	if (rc)
		return rc;
	calibration_machine(env, machine);
	json_decref(env);
	struct calibration_entry e = {.machine = machine,
				      .commit = build_info()->label,
				      .from = "selftest",
				      .sweeps = r->sweeps,
				      .alarms = r->alarms,
				      .cells = r->cells,
				      .runs = c->core.runner.repetitions,
				      .variation = stats_median(r->variation, r->cells)};
	for (int i = 0; i < r->cells; i++)
		e.variation_max = r->variation[i] > e.variation_max ? r->variation[i] : e.variation_max;
	return calibration_add(c->calibration, &e, err);
}

static int run_kind(struct selftest_command *c, const struct cell *cells, int n, struct workload_source *source,
		    struct sim *sim, double inject, int *trusted, struct error *err)
{
	struct telemetry *telemetry = NULL;
	struct slowed_source slowed;
	struct bound bound = {.command = c, .sim = sim, .started = time(NULL)};
	struct selftest_result result;
	struct error closing = {""};
	int rc = 0;
	slowed_init(&slowed, source);
	if (sim) {
		slowed.wait = sim_wait;
		slowed.wait_ctx = sim;
		c->core.runner.clock = sim_clock;
		c->core.runner.clock_ctx = sim;
		c->core.runner.monitor = sim_monitor(sim);
	}
	c->core.inject = inject;
	c->core.next = next_sweep;
	c->core.progress = sweep_done;
	c->core.ctx = &bound;
	c->core.runner.stop = &interrupt_noted;
	if (c->output) {
		rc = selftest_record_open(&bound.record, c->output, inject > 0 ? "inject" : "aa", cells, n,
					  c->core.runner.repetitions, err);
		if (rc)
			return rc;
		c->core.run = record_run;
		c->core.judged = record_verdicts;
	}
	if (!sim)
		rc = engine_telemetry_open(&telemetry, TELEMETRY_MS, err);
	if (telemetry)
		c->core.runner.monitor = telemetry_monitor(telemetry);
	result = (struct selftest_result){0};
	if (!rc)
		rc = selftest_run(cells, n, &slowed, &c->core, &result, err);
	if (!rc && !sim)
		rc = engine_source_check(source, err);
	telemetry_close(telemetry);
	if (selftest_record_close(bound.record, &closing) && !rc)
		rc = error_set(err, ERROR_IO, "%s", closing.text);
	if (!rc)
		*trusted &= selftest_print(&c->core, cells, &result);
	if (!rc && !sim && inject <= 0 && result.sweeps)
		rc = keep_calibration(c, &result, err);
	selftest_free(&result);
	return rc;
}

static int run_history(const struct selftest_command *c, int *code, struct error *err)
{
	struct history_rates_options o;
	int trusted;
	history_rates_options_default(&o);
	o.series = c->n_sweeps ? c->n_sweeps : o.series;
	o.runs = c->core.runner.repetitions ? c->core.runner.repetitions : o.runs;
	o.inject = c->inject > 0 ? c->inject : o.inject;
	o.seed = c->core.runner.seed;
	int rc = selftest_history(&o, &trusted, err);
	*code = rc || trusted ? 0 : EXIT_NOT_TRUSTED;
	return rc;
}

/* On a workload that does nothing, with the telemetry of a sweep beside it. */
static int run_overhead(int *code, struct error *err)
{
	enum { RUNS = 20, TOKENS = 10000, INTERVAL_MS = 100 };
	const struct telemetry_options looks = {.interval_ms = INTERVAL_MS};
	struct telemetry *t;
	struct overhead o;
	int rc = telemetry_open(&t, &looks, err);
	if (!rc) {
		rc = overhead_measure(RUNS, TOKENS, telemetry_monitor(t), &o, err);
		telemetry_close(t);
	}
	if (rc)
		return rc;
	int trusted = o.token_median_us < OVERHEAD_US && o.queued_median_us < OVERHEAD_US;
	printf("the harness costs a token: median (p99) of %d tokens that do nothing\n", o.n);
	printf("  waiting for each %8.3f us (%.3f)\n", o.token_median_us, o.token_p99_us);
	printf("  queueing them    %8.3f us (%.3f)\n", o.queued_median_us, o.queued_p99_us);
	printf("  of this the clock %7.3f us, read once\n", o.clock_us);
	printf("  0.5 %% of a token of %.0f us%s\n", fmax(o.token_median_us, o.queued_median_us) / 0.005,
	       trusted ? "" : "  TOO MUCH: 1 us is the limit");
	*code = trusted ? 0 : EXIT_NOT_TRUSTED;
	return 0;
}

/* Before anything is measured: what so many runs can tell, and what the machine is. */
static int prepare(struct selftest_command *c, const struct axis_resolution *r, int n, struct workload_source *engine,
		   int argc, char **argv, struct error *err)
{
	int least = verdict_least_runs(n, c->core.verdict.alpha);
	struct run_directory d;
	json_t *env;
	if (c->core.runner.repetitions < least)
		fprintf(stderr, "gemmark selftest: %d runs a side cannot tell %d cells apart; -r %d would\n",
			c->core.runner.repetitions, n, least);
	if (!c->output || !engine)
		return 0;
	int rc = engine_environment(&c->axes.matrix, r, engine, c->core.runner.seed, argc, argv, &env, err);
	if (rc)
		return rc;
	rc = run_directory_make(&d, c->output, err);
	if (!rc)
		rc = run_directory_save_json(&d, "env.json", env, err);
	run_directory_close(&d);
	json_decref(env);
	return rc;
}

/* What run_kind would find out after the first kind is measured. */
static int check_output(const struct selftest_command *c, struct error *err)
{
	static const char *const kinds[] = {"aa", "inject"};
	int both = !c->aa && c->inject <= 0, rc = 0;
	for (int k = 0; k < 2 && c->output && !rc; k++) {
		char path[RUN_DIRECTORY_PATH];
		snprintf(path, sizeof path, "%s/%s", c->output, kinds[k]);
		if (both || (k ? c->inject > 0 : c->aa))
			rc = run_directory_check_new(path, err);
	}
	return rc;
}

static int run(struct selftest_command *c, int argc, char **argv, int *code, struct error *err)
{
	struct cell *cells = NULL;
	struct workload_source *engine = NULL;
	struct sim *sim = NULL;
	struct matrix *m = &c->axes.matrix;
	int n, trusted = 1, simulated = m->of[AXIS_MODEL].n == 0;
	struct axis_resolution resolution = {
		.hash = 1, .head_on_host = c->engine.head_on_host, .gpu_memory = c->engine.device_memory};
	struct cell_resolver resolver = axis_resolver(&resolution);
	c->engine.resolution = &resolution;
	if (!c->core.runner.repetitions)
		c->core.runner.repetitions = 16;
	int rc = check_output(c, err);
	if (!rc)
		rc = engine_settings_check(&c->engine, err);
	if (!rc && simulated)
		rc = matrix_add(m, AXIS_MODEL, "simulated", err);
	if (!rc && !m->of[AXIS_DEPTH].n)
		rc = matrix_add(m, AXIS_DEPTH, simulated ? "0-4608+512" : "0", err);
	if (!rc)
		rc = matrix_add(m, AXIS_PROMPT, "0", err);
	if (!rc)
		rc = matrix_defaults(m, err);
	resolution.persistent = c->engine.persistent =
		engine_persistent(m->of[AXIS_FUSION].words, m->of[AXIS_FUSION].n);
	if (!rc)
		rc = matrix_cells(m, simulated ? NULL : &resolver, &cells, &n, err);
	if (!rc) {
		trained_context_warn_cells("selftest", &resolution, cells, n, "");
		engine_settings_warn("selftest", &c->engine, cells, simulated ? 0 : n);
	}
	if (!rc)
		rc = simulated ? sim_open(&sim, &c->sim, 1, err) : engine_source_open(&engine, &c->engine, err);
	if (!rc)
		interrupt_is_noted();
	if (!rc)
		rc = prepare(c, &resolution, n, engine, argc, argv, err);
	if (!rc) {
		c->core.sweeps = c->n_sweeps ? c->n_sweeps : simulated ? SIM_SWEEPS : 1;
		int both = !c->aa && c->inject <= 0;
		struct workload_source *source = simulated ? sim_source(sim) : engine;
		if (c->aa || both)
			rc = run_kind(c, cells, n, source, sim, 0, &trusted, err);
		if (!rc && !interrupt_noted && (both || c->inject > 0))
			rc = run_kind(c, cells, n, source, sim, both ? 0.02 : c->inject, &trusted, err);
	}
	*code = interrupt_noted ? EXIT_INTERRUPTED : trusted ? 0 : EXIT_NOT_TRUSTED;
	sim_close(sim);
	engine_source_close(engine);
	axis_resolution_free(&resolution);
	free(cells);
	return rc;
}

static int run_neighbours(const struct selftest_command *c, int *code, struct error *err)
{
	int disturbed = 0;
	const struct neighbours o = {.devices = c->devices ? c->devices : "all",
				     .cell = &c->axes.matrix,
				     .rounds = c->core.runner.repetitions,
				     .delta = c->core.verdict.delta,
				     .seed = c->core.runner.seed,
				     .output = c->output,
				     .json = c->json};
	int rc = neighbours_measure(&o, &disturbed, err);
	*code = interrupt_noted ? EXIT_INTERRUPTED : disturbed ? EXIT_NOT_TRUSTED : 0;
	return rc;
}

int cmd_selftest(int argc, char **argv)
{
	struct selftest_command c = {0};
	struct error err = {""};
	int code = 0;
	selftest_options_default(&c.core);
	sim_options_default(&c.sim);
	engine_settings_default(&c.engine);
	c.core.runner.repetitions = 0; /* not given */
	struct option_spec all[AXIS_OPTIONS_MAX];
	struct command with_axes = command;
	axis_options_join(options, 1u << AXIS_PROMPT | 1u << AXIS_SYNC, all);
	with_axes.options = all;
	int rc = options_parse(&with_axes, argc, argv, &c, &err);
	if (!rc && !c.neighbours && (c.devices || c.json))
		rc = error_set(&err, ERROR_INPUT, "%s: is --neighbours' alone; add it, or leave this out",
			       c.devices ? "--devices" : "--json");
	if (!rc)
		rc = c.overhead     ? run_overhead(&code, &err)
		     : c.neighbours ? run_neighbours(&c, &code, &err)
		     : c.history    ? run_history(&c, &code, &err)
				    : run(&c, argc, argv, &code, &err);
	matrix_free(&c.axes.matrix);
	return rc < 0 ? command_fail(command.name, rc, &err) : code;
}
