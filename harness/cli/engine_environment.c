#include "harness/cli/engine_environment.h"

#include <stdlib.h>

#include "engine/cuda/device_cuda.h"
#include "harness/cli/engine_machine.h"
#include "harness/cli/engine_source.h"
#include "harness/cli/persistent_plans.h"
#include "harness/measure/nvml.h"
#include "harness/record/environment.h"

struct environment_gpu_memory engine_gpu_memory(struct workload_source *source, struct cuda_memory *measured)
{
	struct environment_gpu_memory m = {0};
	*measured = engine_source_memory(source, &m.reason);
	m.bytes_s = measured->bytes_s;
	m.bytes_cycle = measured->bytes_cycle;
	m.latency_cycles = measured->latency_cycles;
	return m;
}

int engine_environment_collect(const struct environment_inputs *given, json_t **env, struct error *err)
{
	struct environment_inputs in = *given;
	struct error no_nvml = {""};
	struct nvml *nvml = NULL;
	in.isa = engine_isa();
	in.gpu = engine_gpu(&in.gpu_reason);
	if (in.gpu && !nvml_open(&nvml, NULL, in.gpu->pci_bus_id, &no_nvml))
		in.nvml = nvml_describe(nvml);
	nvml_close(nvml);
	in.nvml_reason = no_nvml.text;
	int rc = environment_collect(&in, env, err);
	json_decref(in.nvml);
	return rc;
}

int engine_environment(const struct matrix *m, const struct axis_resolution *r, struct workload_source *source,
		       uint64_t seed, int argc, char **argv, json_t **env, struct error *err)
{
	const struct axis_values *models = &m->of[AXIS_MODEL], *threads = &m->of[AXIS_THREADS];
	uint64_t *hashes = calloc((size_t)models->n + 1, sizeof *hashes);
	struct persistent_plans plans = {0};
	struct environment_gpu_memory memory;
	struct cuda_card card;
	if (!hashes)
		return error_set(err, ERROR_MEMORY, "no memory for env.json");
	for (int i = 0; i < models->n; i++)
		hashes[i] = axis_resolution_hash(r, models->words[i]);
	for (int i = 0; i < threads->n; i++)
		engine_source_bandwidth(source, threads->ints[i]);
	struct environment_inputs in = {
		.models = (const char *const *)models->words,
		.n_models = models->n,
		.hashes = hashes,
		.command_line = (const char *const *)argv,
		.n_words = argc,
		.seed = &seed,
	};
	in.bandwidth = engine_source_bandwidths(source, &in.n_bandwidth);
	int rc = 0;
	if (persistent_plans_asked(m) && !device_cuda_card(&card, NULL)) {
		memory = engine_gpu_memory(source, &card.memory);
		in.gpu_memory = &memory;
		rc = persistent_plans_make(&plans, m, &card, r->head_on_host, err);
	}
	in.persistent = plans.of;
	in.n_persistent = plans.n;
	if (!rc)
		rc = engine_environment_collect(&in, env, err);
	persistent_plans_free(&plans);
	free(hashes);
	return rc;
}

int engine_telemetry_open(struct telemetry **out, int interval_ms, struct error *err)
{
	const char *reason;
	const struct environment_gpu *gpu = engine_gpu(&reason);
	const struct telemetry_options o = {
		.interval_ms = interval_ms, .gpu = gpu != NULL, .pci_bus_id = gpu ? gpu->pci_bus_id : NULL};
	*out = NULL;
	return interval_ms ? telemetry_open(out, &o, err) : 0;
}
