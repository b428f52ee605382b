/* The machine as the engine sees it. */
#ifndef GEMMARK_HARNESS_CLI_ENGINE_MACHINE_H
#define GEMMARK_HARNESS_CLI_ENGINE_MACHINE_H

#include <stddef.h>

#include "harness/record/environment.h"

/* The threads that a session uses for 0: one a physical core, within the CPU quota. */
int engine_default_threads(void);

/* The instruction set of the host's kernels. */
const char *engine_isa(void);
/* The GPU; null where there is none, with the reason, which is null otherwise. Both are valid until the next call. */
const struct environment_gpu *engine_gpu(const char **reason);

/*
 * What a session calls its devices ("cuda+host"), with what the GPU calls itself in the GPU's place: "NVIDIA H100 80GB
 * HBM3+host". To label, (bytes), which it returns.
 */
const char *engine_device_label(const char *name, char *label, size_t bytes);

#endif
