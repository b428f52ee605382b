/*
 * The engine as the measurement core's workload: a session of engine/infer/session.h behind
 * harness/measure/workload.h. engine_source.h opens them.
 */
#ifndef GEMMARK_HARNESS_CLI_ENGINE_WORKLOAD_H
#define GEMMARK_HARNESS_CLI_ENGINE_WORKLOAD_H

#include <stdbool.h>

#include "base/error.h"
#include "engine/infer/loaded_model.h"
#include "harness/cli/engine_text.h"
#include "harness/measure/workload.h"

/* A model as its workloads have it. */
struct engine_model {
	struct loaded_model *loaded;    /* null: none */
	const struct engine_text *text; /* that sweeps are fed; null: none */
	struct token_ids text_ids;      /* its tokens by the model's vocabulary */
	double bandwidth;               /* of its device's memory, bytes/s; 0: unknown */
	double gemm;                    /* FLOP/s of its device's products; not positive: unknown */
	uint64_t program;               /* engine_context_program */
	bool broken; /* set by a workload: its device has failed, and may fail every call from then on */
};

/* A session for the placement, whose model m is, and outlives it. Closed by its ops. */
int engine_workload_open(struct workload **out, struct engine_model *m, const struct placement *p, struct error *err);

/* The session behind a workload, for what tests do to its device. */
struct session; /* engine/infer/session.h */
struct session *engine_session(struct workload *w);

#endif
