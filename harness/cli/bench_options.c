/* The options of gemmark bench that are no axes, its help, and what all of them say together. */
#include "harness/cli/bench_options.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "harness/cli/engine_environment.h"
#include "harness/cli/engine_machine.h"
#include "harness/cli/gpu_layers.h"
#include "harness/cli/llama_options.h"
#include "harness/cli/option_values.h"
#include "harness/cli/options.h"
#include "harness/measure/clock_check.h"
#include "harness/report/llama_output.h"

enum {
	MAX_REPETITIONS = 10000,
	MAX_STEADY = 1024,
	MAX_PERCENT = 100,
	UNTIL_REPETITIONS = 50, /* with --until stable */
	MAX_INTERVAL = 60000,   /* ms */
	MAX_DELAY = 3600,       /* s */
};

static struct bench *bench(void *ctx)
{
	return ctx;
}

static int apply_prefill_precision(void *ctx, const char *value, struct error *err)
{
	bench(ctx)->engine.prefill_named = true;
	return options_prefill_precision(value, &bench(ctx)->engine.prefill, err);
}

static int apply_prefill_weights(void *ctx, const char *value, struct error *err)
{
	return options_prefill_weights(value, &bench(ctx)->engine.prefill_weights, err);
}

static int apply_host_products(void *ctx, const char *value, struct error *err)
{
	return options_host_products(value, &bench(ctx)->engine.host_products, err);
}

static int apply_head(void *ctx, const char *value, struct error *err)
{
	return options_head(value, &bench(ctx)->engine.head_on_host, err);
}

static int apply_device_memory(void *ctx, const char *value, struct error *err)
{
	return gpu_layers_bytes(value, &bench(ctx)->engine.device_memory, err);
}

static int apply_ple(void *ctx, const char *value, struct error *err)
{
	return options_ple(value, &bench(ctx)->engine.ple_on_host, err);
}

static int apply_persistent_limits(void *ctx, const char *value, struct error *err)
{
	return options_persistent_limits(value, &bench(ctx)->engine.limits_by, err);
}

static int apply_pdl(void *ctx, const char *value, struct error *err)
{
	return options_pdl(value, &bench(ctx)->engine.pdl, err);
}

static int apply_repetitions(void *ctx, const char *value, struct error *err)
{
	return options_int(value, "-r", 1, MAX_REPETITIONS, &bench(ctx)->repetitions, err);
}

static int apply_warmup(void *ctx, const char *value, struct error *err)
{
	struct runner_options *o = &bench(ctx)->runner;
	int rc = options_int(value, "--warmup", 1, MAX_STEADY, &o->steady, err);
	if (!rc)
		o->warmup_max = 8 * o->steady;
	return rc;
}

static int apply_telemetry(void *ctx, const char *value, struct error *err)
{
	return options_int(value, "--telemetry", 0, MAX_INTERVAL, &bench(ctx)->telemetry_ms, err);
}

static int apply_timeline(void *ctx, const char *value, struct error *err)
{
	(void)value;
	(void)err;
	bench(ctx)->runner.timeline = true;
	return 0;
}

static int apply_until(void *ctx, const char *value, struct error *err)
{
	char *end = NULL;
	double percent = 0.5;
	if (strncmp(value, "stable", 6) || (value[6] && value[6] != '='))
		return error_set(err, ERROR_INPUT, "--until: '%s' is not stable or stable=PCT", value);
	if (value[6]) {
		percent = strtod(value + 7, &end);
		end += *end == '%';
		if (end == value + 7 || *end || !(percent >= 0.001 && percent <= 100))
			return error_set(err, ERROR_INPUT, "--until: '%s' is not a percentage from 0.001 to 100",
					 value + 7);
	}
	bench(ctx)->runner.until = percent / 100;
	return 0;
}

static int apply_text(void *ctx, const char *value, struct error *err)
{
	if (!*value)
		return error_set(err, ERROR_INPUT, "an empty name; name a file of text");
	bench(ctx)->text = value;
	return 0;
}

static int apply_clock_check(void *ctx, const char *value, struct error *err)
{
	int percent, rc = options_int(value, "--clock-check", 0, MAX_PERCENT, &percent, err);
	if (!rc)
		bench(ctx)->runner.clock_fraction = percent / 100.0;
	return rc;
}

static int apply_clock_retries(void *ctx, const char *value, struct error *err)
{
	return options_int(value, "--clock-retries", 0, CLOCK_CHECK_RETRIES_MAX, &bench(ctx)->runner.clock_retries,
			   err);
}

static int apply_seed(void *ctx, const char *value, struct error *err)
{
	int seed;
	int rc = options_int(value, "--seed", 0, 2147483647, &seed, err);
	if (!rc)
		bench(ctx)->runner.seed = (uint64_t)seed;
	return rc;
}

static int parse_format(const char *value, int *out, struct error *err)
{
	int format = !strcmp(value, "table")  ? BENCH_FORMAT_TABLE
		     : !strcmp(value, "none") ? BENCH_FORMAT_NONE
					      : llama_format_parse(value);
	*out = format;
	if (format >= 0 || format == BENCH_FORMAT_NONE || !strcmp(value, "table"))
		return 0;
	return error_set(
		err, ERROR_INPUT,
		"'%s' is not table, md, csv, json, jsonl, sql or none (--out names the directory of the results)",
		value);
}

static int apply_format(void *ctx, const char *value, struct error *err)
{
	return parse_format(value, &bench(ctx)->format, err);
}

static int apply_error_format(void *ctx, const char *value, struct error *err)
{
	return parse_format(value, &bench(ctx)->error_format, err);
}

static int apply_pair(void *ctx, const char *value, struct error *err)
{
	return matrix_add_pair(&bench(ctx)->axes.matrix, value, err);
}

static int apply_batch(void *ctx, const char *value, struct error *err)
{
	struct axis_values sizes = {0};
	int *least = &bench(ctx)->batch, rc = axis_ints_add(&sizes, "-b", value, 1, AXIS_TOKENS_MAX, err);
	for (int i = 0; i < sizes.n; i++)
		*least = *least && *least < sizes.ints[i] ? *least : sizes.ints[i];
	axis_ints_free(&sizes);
	return rc;
}

/* The GPU that is used anyway, as llama-bench calls it. */
static int apply_device(void *ctx, const char *value, struct error *err)
{
	const char *reason;
	(void)ctx;
	if (!strcmp(value, "none"))
		return error_set(err, ERROR_INPUT, "none: -ngl 0 keeps the model on the CPU");
	if (!strcmp(value, "auto"))
		return 0;
	if (strcmp(value, "CUDA0"))
		return error_set(err, ERROR_INPUT,
				 "'%s' is not auto or CUDA0; CUDA_VISIBLE_DEVICES in the environment says which GPU "
				 "that is",
				 text_show(value, strlen(value)).text);
	return engine_gpu(&reason) ? 0 : error_set(err, ERROR_INPUT, "CUDA0: %s", reason);
}

static int apply_delay(void *ctx, const char *value, struct error *err)
{
	return options_int(value, "--delay", 0, MAX_DELAY, &bench(ctx)->runner.delay_s, err);
}

static int apply_progress(void *ctx, const char *value, struct error *err)
{
	(void)value;
	(void)err;
	bench(ctx)->progress = 1;
	return 0;
}

static int apply_devices(void *ctx, const char *value, struct error *err)
{
	bench(ctx)->devices = value;
	return *value ? 0 : error_set(err, ERROR_INPUT, "--devices: an empty list; write 0,1 or all");
}

static int apply_status_file(void *ctx, const char *value, struct error *err)
{
	bench(ctx)->status_file = value;
	return *value ? 0 : error_set(err, ERROR_INPUT, "--status-file: an empty name; name a file");
}

static int apply_prometheus_file(void *ctx, const char *value, struct error *err)
{
	size_t n = strlen(value);
	bench(ctx)->metrics_file = value;
	/* Others node_exporter passes over without a word. */
	if (n < 6 || strcmp(value + n - 5, ".prom"))
		return error_set(err, ERROR_INPUT, "--prometheus-file: '%s' does not end in .prom",
				 text_show(value, n).text);
	return 0;
}

static int apply_list_devices(void *ctx, const char *value, struct error *err)
{
	(void)value;
	(void)err;
	bench(ctx)->list_devices = 1;
	return 0;
}

static int apply_output(void *ctx, const char *value, struct error *err)
{
	if (!*value)
		return error_set(err, ERROR_INPUT, "--out: an empty name; name a directory");
	bench(ctx)->output = value;
	return 0;
}

static int apply_kv_cache(void *ctx, const char *value, struct error *err)
{
	if (!*value)
		return error_set(err, ERROR_INPUT, "--kv-cache: an empty name; name a directory, memory or off");
	bench(ctx)->contexts.place = strcmp(value, "memory") ? value : NULL;
	return 0;
}

static int apply_kv_cache_limit(void *ctx, const char *value, struct error *err)
{
	int rc = gpu_layers_bytes(value, &bench(ctx)->contexts.limit, err);
	return rc ? error_prefix(err, rc, "--kv-cache-limit") : 0;
}

static int apply_dry_run(void *ctx, const char *value, struct error *err)
{
	(void)value;
	(void)err;
	bench(ctx)->dry_run = 1;
	return 0;
}

static int apply_shard(void *ctx, const char *value, struct error *err)
{
	return shard_option_parse(value, &bench(ctx)->shard, err);
}

static int apply_resume(void *ctx, const char *value, struct error *err)
{
	if (!*value)
		return error_set(err, ERROR_INPUT, "--resume: an empty name; name the directory of the sweep");
	bench(ctx)->resume = value;
	return 0;
}

/* Behind those of the axes. */
static const struct option_spec options[] = {
	{"-pg", "P,G",
	 "a test of a prompt of P tokens and G generated behind it, beside those of -p and -n (default none)",
	 apply_pair},
	{"--device-memory", "BYTES",
	 "of the GPU, for -ngl auto, --prefill-weights auto and -ub 0: 8G, 512M (default: what it has free at the "
	 "start)",
	 apply_device_memory},
	{"--head", "gpu|cpu", "GPU: where the output head runs (default gpu)", apply_head},
	{"--prefill-precision", "f16|f32",
	 "GPU: of a prompt's matrix products, for 9 tokens and more; one for the whole sweep (default f16)",
	 apply_prefill_precision},
	{"--prefill-weights", "auto|resident|convert|N",
	 "GPU: these products' weights, beside those that decoding reads: a copy in f16 that stays, or one made for "
	 "each chunk; N: the first N layers' stay; auto: of as many as leave memory ample (default auto)",
	 apply_prefill_weights},
	{"--host-products", "f32|bf16",
	 "host: of a prompt's matrix products with Q8_0 and BF16 weights, for 9 tokens and more; bf16 takes a CPU with "
	 "AVX512_BF16; one for the whole sweep, which headings and sweep.json name (default f32)",
	 apply_host_products},
	{"--ple", "device|host", "GPU: where the per-layer embedding table is (default device)", apply_ple},
	{"--pdl", "on|off", "GPU: programmatic dependent launch, on cards that have it (default on)", apply_pdl},
	{"--persistent-limits", "measured|constant",
	 "GPU: how much memory --fusion persistent asks for ahead: as its memory was measured, or as suits an H100 "
	 "(default measured)",
	 apply_persistent_limits},
	{"-r, --repetitions", "N", "times that each test is run (default 5; with --until: at most, default 50)",
	 apply_repetitions},
	{"--until", "stable[=PCT]",
	 "repeat until the median of the runs is known to PCT percent (default 0.5) in all modes of a test\n"
	 "To explore: a comparison refuses runs whose number their results decided.",
	 apply_until},
	{"--delay", "S", "seconds without work before each run, for machines that get hot (default 0)", apply_delay},
	{"-b, --batch-size", "N",
	 "as llama-bench's scripts give it: a larger -ub, which says how many tokens are computed at once, is lowered "
	 "to "
	 "it; where that is not given, the most",
	 apply_batch},
	{"--warmup", "N",
	 "steady tokens in a row that end a warm-up, at most 8 N tokens are tried; at the depth and in the mode "
	 "measured (default 4)",
	 apply_warmup},
	{"--seed", "N", "of the order of the tests and of the tokens (default 1)", apply_seed},
	{"--text, --prompt-file", "FILE",
	 "feed the tests this text's tokens, from its beginning on, by each model's own vocabulary (default: a seeded "
	 "stream of tokens); tests that take more than it has are skipped, and say so",
	 apply_text},
	{"--clock-check", "PCT",
	 "GPU: modes that ran next to each other at an SM clock below so many percent of their other repetitions' are "
	 "run again; 0: never (default 95)",
	 apply_clock_check},
	{"--clock-retries", "N", "times that this is done at most, each (default 2)", apply_clock_retries},
	{"--telemetry", "MS",
	 "between two looks at clocks, power and the like, by a thread of its own; 0: none (default 100)",
	 apply_telemetry},
	{"--timeline", NULL,
	 "stamp a token of each test, apart from the measured ones: when each multiprocessor began, waited, worked "
	 "and ended in each kernel of the token or, with --fusion persistent, in each phase of its one kernel; in "
	 "timeline.csv\n"
	 "Where there are direct launches and graphs, one token of each. Models on one device; gemmark plot draws it.",
	 apply_timeline},
	{"-o, --output", "FORMAT",
	 "of what is printed at the end: table, for people; or as llama-bench has it: md, csv, json, jsonl, sql or "
	 "none, with all notes on standard error (default table)",
	 apply_format},
	{"-dev, --device", "auto|CUDA0", "the first visible GPU, with as many layers as -ngl says (default auto)",
	 apply_device},
	{"-oe, --output-err", "FORMAT", "the same, of what is printed on standard error besides (default none)",
	 apply_error_format},
	{"--progress", NULL, "a line a run on standard error, also where that is no terminal", apply_progress},
	{"--status-file", "FILE",
	 "keep what the sweep is at in this file, as JSON: between runs, at most once a second, replaced as a whole\n"
	 "gemmark status FILE shows it.",
	 apply_status_file},
	{"--prometheus-file", "FILE.prom",
	 "the same as metrics, for the textfile collector of Prometheus' node_exporter", apply_prometheus_file},
	{"--list-devices", NULL, "print the GPU and the CPU that would be used, with their memory, and exit",
	 apply_list_devices},
	{"--out", "DIR",
	 "where the results go; new or empty (default results/<UTC time>-<commit>, with -2 and so on behind it where "
	 "that is there)",
	 apply_output},
	{"--kv-cache", "memory|off|DIR",
	 "where the filled caches of depths are kept, for the sweep's other depths to go on from; in a directory also "
	 "for other sweeps, of the same model, options and build (default memory)\n"
	 "No bit of any result depends on it, and prompts that are measured are never taken from there.",
	 apply_kv_cache},
	{"--kv-cache-limit", "BYTES",
	 "of that: 8G, 512M; the least recently used ones go (default 16G; at most half of what the disk has free, a "
	 "quarter of the memory)",
	 apply_kv_cache_limit},
	{"--devices", "LIST",
	 "measure on several GPUs of this machine side by side, a process each with cores of its own near its GPU: "
	 "0,1, "
	 "UUIDs, 1:0 (a MIG slice), all; cpu,cpu: on shares of the processor; none: one process (default)\n"
	 "The sweep is shared out by cost, what is compared stays on one device, and the results are one directory.",
	 apply_devices},
	{"--shard", "I/N",
	 "measure shard I, from 1, of N: the sweep is divided alike wherever it is started with the same options, and "
	 "what is compared stays in one shard; gemmark merge makes one directory of all\n"
	 "With --dry-run it prints all shards and what they cost.",
	 apply_shard},
	{"--dry-run", NULL, "print the cells in their order and about how long they take; measure and write nothing",
	 apply_dry_run},
	{"--resume", "DIR",
	 "go on with the sweep of this directory: what is finished is kept\n"
	 "Alone, with the sweep's own options; given again, they must be the same. So must this machine.",
	 apply_resume},
	{0},
};

static const struct command command = {
	.name = "bench",
	.summary = "Sweeps a model over depths, modes and the other axes, and records every token.\n"
		   "An axis takes a list and ranges: -d 0,512  -d 0-4096+1024  -n 16-128*2; repeated options append.\n"
		   "Every graph mode is checked, bit for bit, against direct launches: exit code 4 where one differs.\n"
		   "llama-bench's options that are not below are known, too: each says what to do here, and those that "
		   "ask for what is done anyway (-fa 1, -mmp 1, -sm none, ...) are taken.",
	.usage = "gemmark bench -m FILE [options]",
	.elsewhere = llama_options,
	.examples = "gemmark bench -m e2b.gguf\n"
		    "gemmark bench -m e2b.gguf -p 0 -n 32 -d 0,512,4096 -r 3\n"
		    "gemmark bench -m e2b.gguf -p 0 --mode direct,graph-device --fusion none,full -d 0-8192+2048\n"
		    "gemmark bench -m e2b.gguf -p 0 -n 64 -d 8192 --snapkv off,512-2048*2,1024,window=32\n"
		    "gemmark bench -m e2b.gguf -o sql | sqlite3 gemmark.sqlite\n"
		    "gemmark bench -m e2b.gguf -d 0-8192+2048 --shard 2/4 --out shard-2\n"
		    "gemmark bench --resume results/20260101T120000Z-0123abc\n",
};

/* As llama.cpp does; chunks that have become one are one. */
static void lower_chunks(struct axis_values *chunks, int most)
{
	int n = 0, lowered = 0;
	for (int i = 0; i < chunks->n; i++) {
		int chunk = chunks->ints[i], k = 0;
		if (chunk > most) {
			lowered = lowered > chunk ? lowered : chunk;
			chunk = most;
		}
		while (k < n && chunks->ints[k] != chunk)
			k++;
		chunks->ints[k] = chunk;
		n += k == n;
	}
	chunks->n = n;
	if (lowered)
		fprintf(stderr, "gemmark bench: -ub %d: lowered to %d, as -b says\n", lowered, most);
}

int bench_parse(struct bench *b, int argc, char **argv, struct error *err)
{
	matrix_free(&b->axes.matrix);
	*b = (struct bench){.format = BENCH_FORMAT_TABLE, .error_format = BENCH_FORMAT_NONE};
	b->telemetry_ms = TELEMETRY_MS;
	runner_options_default(&b->runner);
	engine_settings_default(&b->engine);
	struct option_spec all[AXIS_OPTIONS_MAX];
	struct command with_axes = command;
	axis_options_join(options, 0, all);
	with_axes.options = all;
	int rc = options_parse(&with_axes, argc, argv, b, err);
	if (!rc && b->batch)
		lower_chunks(&b->axes.matrix.of[AXIS_UBATCH], b->batch);
	if (!rc)
		rc = engine_settings_check(&b->engine, err);
	if (!rc && b->shard.count && b->runner.until > 0)
		rc = error_set(
			err, ERROR_INPUT,
			"--until: a shard that was cut short could not be told from one that was stable; give -r "
			"with --shard");
	if (b->repetitions)
		b->runner.repetitions = b->repetitions;
	else if (b->runner.until > 0)
		b->runner.repetitions = UNTIL_REPETITIONS;
	return rc;
}

int bench_check_timeline(const struct cell *cells, int n, struct error *err)
{
	for (int i = 0; i < n; i++)
		if (cells[i].n_gen)
			return 0;
	return error_set(err, ERROR_INPUT, "--timeline: no test generates a token; give -n, or leave --timeline out");
}
