/*
 * The engine as a source of workloads: loads the model of a placement and opens sessions on it, each of them
 * a workload (engine_workload.h).
 */
#ifndef GEMMARK_HARNESS_CLI_ENGINE_SOURCE_H
#define GEMMARK_HARNESS_CLI_ENGINE_SOURCE_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/cuda/device_cuda.h"
#include "engine/infer/load_options.h"
#include "harness/measure/workload.h"
#include "harness/record/environment.h"

struct axis_resolution;
struct engine_text; /* harness/cli/engine_text.h */

/* What all sessions of a sweep have alike, beside its axes. */
struct engine_settings {
	bool head_on_host;
	bool ple_on_host;
	bool pdl;
	enum prefill_precision prefill;
	bool prefill_named;  /* by an option, which then is for something */
	int prefill_weights; /* layers, or PREFILL_WEIGHTS_ */
	enum host_products host_products;
	enum persistent_sessions persistent; /* among the sweep's cells: engine_persistent */
	enum persistent_limits_by limits_by; /* of their kernel */
	size_t device_memory; /* that -ngl auto, and choices that are left open, plan for; 0: what the GPU has free when
				 that is first asked */
	const struct axis_resolution
		*resolution; /* a model that is loaded is the file that was resolved; null: any is */
	bool all_rows;       /* prompts among the tests have their logits on the head's device: -ngl auto leaves room */
	const struct engine_text *text; /* whose tokens sweeps are fed; null: the seeded stream */
	bool gemm_ceiling;              /* measured for each model that is loaded: prompts are among the tests */
};
void engine_settings_default(struct engine_settings *e);

/* Of these fusions (n). */
enum persistent_sessions engine_persistent(char *const *fusions, int n);

/* ERROR_INPUT for settings that exclude each other. */
int engine_settings_check(const struct engine_settings *e, struct error *err);

/* What is not the default, "head-cpu ple-host pdl-off limits-constant prefill-f32 weights-convert host-bf16
 * text-0123abcd"; empty where all is. */
enum { ENGINE_SETTINGS_TEXT = 112 };
void engine_settings_text(const struct engine_settings *e, char out[ENGINE_SETTINGS_TEXT]);

/* A line on standard error where a setting was named and none of the cells (n), resolved, has use for it. */
void engine_settings_warn(const char *command, const struct engine_settings *e, const struct cell *cells, int n);
/* The line itself, for a command of one model. */
void engine_settings_no_gpu(const char *command);

/*
 * Opens sessions, one at a time; the weights stay loaded for the next one of the same model, device,
 * types and threads, whatever its context. Measures the read bandwidth the first time that a number of threads
 * is used, and keeps it. The caller frees it with engine_source_close.
 */
int engine_source_open(struct workload_source **out, const struct engine_settings *settings, struct error *err);
void engine_source_close(struct workload_source *s);

/*
 * ERROR_INPUT where the file of the model that is loaded has been written to, or is another than was resolved: what is
 * computed may be of two files, or of one that has not this hash.
 */
int engine_source_check(const struct workload_source *s, struct error *err);

/*
 * Read bandwidth with so many threads; 0: one a physical core, as sessions do. Measures
 * where it has not yet, for about a second.
 */
struct environment_bandwidth engine_source_bandwidth(struct workload_source *s, int n_threads);
/* All that was measured so far: (*n), the source's. */
const struct environment_bandwidth *engine_source_bandwidths(struct workload_source *s, int *n);

/*
 * The GPU's memory, measured the first time; then all models that are loaded for sessions in fusion persistent are
 * planned for by the same. Zeroes, and why in the source's *reason, where it cannot be, or the settings want
 * constants.
 */
struct cuda_memory engine_source_memory(struct workload_source *s, const char **reason);

/*
 * Bytes that -ngl auto plans for, the same for all that is opened from then on: `asked`; where that is 0, what the
 * GPU has free. 0 without a GPU. What is loaded is unloaded first.
 */
size_t engine_source_device_memory(struct workload_source *s, size_t asked);

/* Null-terminated; what --mode, --fusion, -ctk and -ctv take. */
extern const char *const engine_modes[];
extern const char *const engine_fusions[];
extern const char *const engine_cache_types[];

#endif
