/*
 * gemmark env: what this machine is, with the read bandwidth that it really has, its GPU's too.
 */
#include <stdio.h>

#include "harness/cli/engine_environment.h"
#include "harness/cli/engine_machine.h"
#include "harness/cli/engine_source.h"
#include "harness/cli/options.h"
#include "harness/record/environment.h"

struct env {
	int json;
	int n_threads;
};

static int apply_json(void *ctx, const char *value, struct error *err)
{
	(void)value;
	(void)err;
	((struct env *)ctx)->json = 1;
	return 0;
}

static int apply_threads(void *ctx, const char *value, struct error *err)
{
	return options_int(value, "-t", 0, 4096, &((struct env *)ctx)->n_threads, err);
}

static const struct option_spec options[] = {
	{"--json", NULL, "print JSON, as env.json has it", apply_json},
	{"-t, --threads", "N",
	 "CPU threads that read for the bandwidth; 0: one a physical core, within the CPU quota (default 0)",
	 apply_threads},
	{0},
};

static const struct command command = {
	.name = "env",
	.summary = "Prints what this machine is, and the read bandwidths that this program measures on it.",
	.usage = "gemmark env [options]",
	.examples = "gemmark env\n"
		    "gemmark env -t 4 --json\n",
	.options = options,
};

static int print_env(const struct env *e, struct error *err)
{
	struct workload_source *source;
	struct engine_settings settings;
	engine_settings_default(&settings);
	int rc = engine_source_open(&source, &settings, err);
	if (rc)
		return rc;
	struct environment_bandwidth bandwidth = engine_source_bandwidth(source, e->n_threads);
	struct environment_inputs in = {.bandwidth = &bandwidth, .n_bandwidth = 1};
	const char *no_gpu;
	struct cuda_memory measured;
	struct environment_gpu_memory memory;
	if (engine_gpu(&no_gpu)) {
		memory = engine_gpu_memory(source, &measured);
		in.gpu_memory = &memory;
	}
	json_t *env;
	rc = engine_environment_collect(&in, &env, err);
	engine_source_close(source);
	if (rc)
		return rc;
	if (!e->json) {
		environment_print(env, stdout);
	} else if (json_dumpf(env, stdout, JSON_INDENT(2)) || putchar('\n') == EOF) {
		rc = error_set(err, ERROR_IO, "standard output: the JSON could not be written");
	}
	json_decref(env);
	return rc;
}

int cmd_env(int argc, char **argv)
{
	struct env e = {0};
	struct error err = {""};
	int rc = options_parse(&command, argc, argv, &e, &err);
	if (!rc)
		rc = print_env(&e, &err);
	return rc < 0 ? command_fail(command.name, rc, &err) : 0;
}
