/*
 * What a command that measures the engine records of the machine: env.json before, telemetry while it measures.
 */
#ifndef GEMMARK_HARNESS_CLI_ENGINE_ENVIRONMENT_H
#define GEMMARK_HARNESS_CLI_ENGINE_ENVIRONMENT_H

#include <stdint.h>

#include <jansson.h>

#include "base/error.h"
#include "engine/cuda/device_cuda.h"
#include "harness/cli/axis_options.h"
#include "harness/measure/telemetry.h"
#include "harness/measure/workload.h"
#include "harness/record/environment.h"

/* The memory of the GPU that there is, as engine_source_memory has it; *measured: the same for a plan. */
struct environment_gpu_memory engine_gpu_memory(struct workload_source *source, struct cuda_memory *measured);

/* given, with what the engine and NVML say of processor and GPU. The caller owns *env. */
int engine_environment_collect(const struct environment_inputs *given, json_t **env, struct error *err);

/*
 * This machine as the engine sees it: its read bandwidth is measured now, for each number of threads of the matrix, and
 * its models are read and hashed, unless r knows their hashes; where one is to decode in fusion persistent on a GPU,
 * that memory is measured too. source: of engine_source_open. The caller owns *env.
 */
int engine_environment(const struct matrix *m, const struct axis_resolution *r, struct workload_source *source,
		       uint64_t seed, int argc, char **argv, json_t **env, struct error *err);

enum { TELEMETRY_MS = 100 }; /* where no interval is asked for */

/* Of this machine and the GPU that the engine would use. interval_ms 0: none, *out null. */
int engine_telemetry_open(struct telemetry **out, int interval_ms, struct error *err);

#endif
