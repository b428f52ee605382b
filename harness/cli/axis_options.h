/*
 * The options that name a sweep's axes, made from the table of axes, for the commands that sweep; and what the axes'
 * values stand for on this machine.
 */
#ifndef GEMMARK_HARNESS_CLI_AXIS_OPTIONS_H
#define GEMMARK_HARNESS_CLI_AXIS_OPTIONS_H

#include <stdint.h>

#include "base/error.h"
#include "engine/infer/load_options.h"
#include "harness/cli/options.h"
#include "harness/sweep/matrix.h"

struct gguf;

/* The context of a command that uses them starts with this. */
struct axes_context {
	struct matrix matrix;
};

/* axis_apply_MODEL and so on: apply functions for struct option_spec. */
#define AXIS_APPLY(ID, ...) int axis_apply_##ID(void *ctx, const char *value, struct error *err);
AXIS_LIST(AXIS_APPLY)
#undef AXIS_APPLY

enum { AXIS_OPTIONS_MAX = 96 }; /* of a command, the axes' among them */

/*
 * The axes' options, but for those in `without` (bits 1 << AXIS_...) and those that `own` has an apply function of; and
 * then `own`'s, which ends with names == NULL as *out does.
 */
void axis_options_join(const struct option_spec *own, unsigned without, struct option_spec out[AXIS_OPTIONS_MAX]);

/* What the axes' values stand for on this machine; its user sets all but the models. */
struct axis_resolution {
	int hash;                            /* read each model, for its identity */
	int head_on_host;                    /* the output head needs the host's threads, wherever the layers are */
	enum persistent_sessions persistent; /* that such chunks are planned beside */
	int chunk_most;                      /* of a prompt's chunks that -ub does not name; 0: no limit */
	size_t gpu_memory;                   /* bytes that such chunks are planned for; 0: what the GPU has free */
	struct model_identity *models;       /* (n_models): what was found */
	int n_models;
};
/* For matrix_cells: threads, layers and chunks in force, and models by their content. r is used until the cells are
 * made. */
struct cell_resolver axis_resolver(struct axis_resolution *r);
/* The content's hash of a path that was resolved; 0: it was not, or not read. */
uint64_t axis_resolution_hash(const struct axis_resolution *r, const char *path);
/* Positions that the model of that path was trained for; 0: it was not resolved. */
int axis_resolution_context(const struct axis_resolution *r, const char *path);
/*
 * ERROR_INPUT where a model file that is open is not the one that was resolved by this path: its hash would be
 * another's. A path that was not resolved is as good as any.
 */
int axis_resolution_check(const struct axis_resolution *r, const char *path, const struct gguf *file,
			  struct error *err);
void axis_resolution_free(struct axis_resolution *r);

#endif
