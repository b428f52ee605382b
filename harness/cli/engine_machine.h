/* The machine as the engine sees it. */
#ifndef GEMMARK_HARNESS_CLI_ENGINE_MACHINE_H
#define GEMMARK_HARNESS_CLI_ENGINE_MACHINE_H

#include "harness/record/environment.h"

/* The threads that a session uses for 0: one a physical core, within the CPU quota. */
int engine_default_threads(void);

/* The instruction set of the host's kernels. */
const char *engine_isa(void);
/* The GPU; null where there is none, with the reason, which is null otherwise. Both are valid until the next call. */
const struct environment_gpu *engine_gpu(const char **reason);

#endif
