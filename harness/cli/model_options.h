/* The options of commands that run one model themselves: where and how it runs, and how tokens are chosen. */
#ifndef GEMMARK_HARNESS_CLI_MODEL_OPTIONS_H
#define GEMMARK_HARNESS_CLI_MODEL_OPTIONS_H

#include "engine/infer/session.h"
#include "harness/cli/options.h"

/* The context of a command that uses them starts with this. Strings are argv's. */
struct model_options {
	const char *model;
	struct session_options session;
	struct snapkv_options snapkv;
	int batch, ubatch; /* 0: not given */
	bool prefill_named;
	size_t device_memory; /* that -ngl auto plans for; 0: what the GPU has free */
	struct sampling_options sampling;
	const char *sampling_named; /* an option of it that was given; null: none */
};
void model_options_default(struct model_options *o);

enum { MODEL_OPTIONS_MAX = 64 }; /* of a command, its own among them */
/* -m, then `own`, which ends with names == NULL as *out does, then the others. */
void model_options_join(const struct option_spec *own, struct option_spec out[MODEL_OPTIONS_MAX]);
/* The seed of draws, for a command's own table: the name is its. */
int model_options_sampling_seed(void *ctx, const char *value, struct error *err);
int model_options_seed(void *ctx, const char *value, struct error *err);

/* Behind parsing: the length of a prompt's chunks. ERROR_INPUT where -m is missing or an option would change nothing.
 */
int model_options_settle(struct model_options *o, const char *command, struct error *err);
/* -ngl auto to a number, once session.context is known. */
int model_options_layers(struct model_options *o, const char *command, struct error *err);
/* What there is to say about the session before it begins, on standard error. */
void model_options_remark(const struct model_options *o, const struct session *s, const char *command);

#endif
