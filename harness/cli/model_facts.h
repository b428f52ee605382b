/* What results say of a model's file. */
#ifndef GEMMARK_HARNESS_CLI_MODEL_FACTS_H
#define GEMMARK_HARNESS_CLI_MODEL_FACTS_H

#include <stdint.h>

#include "engine/model/model.h"

/* The type that most of the file's tensor bytes have: "Q4_K". */
const char *model_weight_type(const struct model *m);
/* Of all tensors, as the file stores them. */
int64_t model_bytes(const struct model *m);
/* Elements of all tensors. */
int64_t model_parameters(const struct model *m);

#endif
