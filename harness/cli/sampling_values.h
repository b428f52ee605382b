/* Values of the options that say how a token is chosen, parsed alike by every command. */
#ifndef GEMMARK_HARNESS_CLI_SAMPLING_VALUES_H
#define GEMMARK_HARNESS_CLI_SAMPLING_VALUES_H

#include "base/error.h"
#include "engine/infer/sampling.h"

/* Each returns 0 or ERROR_INPUT that names the option, the value and what it may be. */
int sampling_temperature(const char *value, struct sampling_options *o, struct error *err);
int sampling_top_k(const char *value, struct sampling_options *o, struct error *err);
int sampling_top_p(const char *value, struct sampling_options *o, struct error *err);
int sampling_min_p(const char *value, struct sampling_options *o, struct error *err);
int sampling_seed(const char *value, const char *option, struct sampling_options *o, struct error *err);

#endif
