/*
 * Filled contexts of the engine's workload as harness/measure/context_store.h keeps them: what their bits depend on,
 * and the store that gemmark bench uses.
 */
#ifndef GEMMARK_HARNESS_CLI_ENGINE_CONTEXT_H
#define GEMMARK_HARNESS_CLI_ENGINE_CONTEXT_H

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "engine/infer/loaded_model.h"
#include "harness/measure/context_store.h"

/*
 * Hash of this program's file, all of the engine in it: 0 where it cannot be read. Read once for each source of
 * workloads, for builds of one commit may differ in their bits.
 */
uint64_t engine_context_program(void);

/*
 * Names to texts: weights, cache types, the prefill's precision, weights and chunks, the layers' and tables' places,
 * devices with what compiles for them, engine. weights: of the content. The caller owns it; null where weights or
 * program are unknown, or without memory.
 */
json_t *engine_context_identity(const struct loaded_model *m, const char *weights, const char *device,
				uint64_t program);

/* What --kv-cache and --kv-cache-limit say. */
struct engine_context_options {
	const char *place; /* null: memory; "off"; a directory */
	size_t limit;      /* of the directory and of memory; 0: not said */
};
/* *out null where it is off. Errors are the option's. */
int engine_context_open(struct context_store **out, const struct engine_context_options *o, struct error *err);

#endif
