/*
 * -ngl auto: how many layers the GPU has room for, and the table that says why.
 */
#ifndef GEMMARK_HARNESS_CLI_GPU_LAYERS_H
#define GEMMARK_HARNESS_CLI_GPU_LAYERS_H

#include <stddef.h>
#include <stdio.h>

#include "base/error.h"
#include "engine/infer/load_options.h"
#include "engine/infer/placement_plan.h"
#include "harness/sweep/axis.h"

/* A number from -1 up, or "auto". */
int gpu_layers_parse(const char *value, int *out, struct error *err);

/* "8G", "512M" (powers of 1024), or bytes. */
int gpu_layers_bytes(const char *value, size_t *out, struct error *err);

/*
 * The plan of the most layers that fit gpu_bytes, printed to `out`. ERROR_MEMORY where the rest does
 * not fit the host, or where it is of sessions in fusion persistent alone, and those do not fit the GPU.
 */
int gpu_layers_choose(const struct model *m, const struct load_options *o, int context, size_t gpu_bytes, FILE *out,
		      struct placement_plan *p, struct error *err);

/* The table of a plan, in MiB; gpu_bytes: what the GPU has free. */
void gpu_layers_print(const struct placement_plan *p, const struct model *m, size_t gpu_bytes, FILE *out);

#endif
