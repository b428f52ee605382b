/*
 * The options that name a sweep's axes, shared by the commands that sweep: apply
 * functions for struct option_spec, and the defaults.
 */
#ifndef GEMMARK_HARNESS_CLI_AXIS_OPTIONS_H
#define GEMMARK_HARNESS_CLI_AXIS_OPTIONS_H

#include "base/error.h"
#include "harness/sweep/matrix.h"

enum { AXIS_MAX_TOKENS = 1 << 20 }; /* of a prompt, a generation or a depth */

/* The context of a command that uses them starts with this. */
struct axes {
	struct matrix matrix;
};

int axis_model(void *ctx, const char *value, struct error *err);
int axis_n_prompt(void *ctx, const char *value, struct error *err);
int axis_n_gen(void *ctx, const char *value, struct error *err);
int axis_n_depth(void *ctx, const char *value, struct error *err);
int axis_mode(void *ctx, const char *value, struct error *err);
int axis_fusion(void *ctx, const char *value, struct error *err);
int axis_sync(void *ctx, const char *value, struct error *err);
int axis_gpu_layers(void *ctx, const char *value, struct error *err);
int axis_type_k(void *ctx, const char *value, struct error *err);
int axis_type_v(void *ctx, const char *value, struct error *err);
int axis_snapkv(void *ctx, const char *value, struct error *err);
int axis_threads(void *ctx, const char *value, struct error *err);

/* What was not given takes its default. */
int axis_defaults(struct matrix *m, struct error *err);

#endif
