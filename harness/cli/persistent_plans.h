/*
 * What env.json records of the kernels that --fusion persistent would run: the plan for this GPU, of each model and
 * types of caches of a matrix, as a device makes it (placement_plan).
 */
#ifndef GEMMARK_HARNESS_CLI_PERSISTENT_PLANS_H
#define GEMMARK_HARNESS_CLI_PERSISTENT_PLANS_H

#include <stdbool.h>

#include "base/error.h"
#include "engine/cuda/device_cuda.h"
#include "harness/record/environment.h"
#include "harness/sweep/matrix.h"

struct persistent_plans {
	struct environment_persistent *of; /* (n); models and types are the matrix's texts */
	struct error *reasons;             /* (n) */
	int n;
};

/* Whether a cell of the matrix is in that fusion with layers on a GPU. */
bool persistent_plans_asked(const struct matrix *m);

/* Of a card, whose memory was measured or was not. None where nobody asks for one. persistent_plans_free, also after a
 * failure. ERROR_MEMORY, or as model_open fails. */
int persistent_plans_make(struct persistent_plans *out, const struct matrix *m, const struct cuda_card *card,
			  bool head_on_host, struct error *err);
void persistent_plans_free(struct persistent_plans *p);

#endif
