/*
 * env.json of a command that measures the engine.
 */
#ifndef GEMMARK_HARNESS_CLI_ENGINE_ENVIRONMENT_H
#define GEMMARK_HARNESS_CLI_ENGINE_ENVIRONMENT_H

#include <stdint.h>

#include <jansson.h>

#include "engine/error.h"
#include "harness/matrix.h"
#include "harness/workload.h"

/*
 * This machine as the engine sees it: its read bandwidth is measured now, for each number of threads of the matrix, and
 * its models are read and hashed. source: of engine_source_open. The caller owns *env.
 */
int engine_environment(const struct matrix *m, struct workload_source *source, uint64_t seed, int argc, char **argv,
		       json_t **env, struct error *err);

#endif
