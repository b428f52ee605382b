/*
 * What cannot be done where a model's layers and head are: it follows from the stages alone, so that it is known before
 * anything is loaded, and those who plan say what those who do would. ERROR_UNSUPPORTED names what is asked for.
 */
#ifndef GEMMARK_ENGINE_INFER_PLACEMENT_CHECK_H
#define GEMMARK_ENGINE_INFER_PLACEMENT_CHECK_H

#include <stdbool.h>

#include "base/error.h"
#include "engine/device/graph.h"
#include "engine/model/model.h"

struct placement_stages {
	int n;       /* as pipeline.h has them */
	bool on_gpu; /* the first of them */
};

/* Of n_gpu_layers, 0 to all. */
struct placement_stages placement_stages(const struct model *m, int n_gpu_layers, bool head_on_host);

/* Whether a token's end can begin the next one without the host, where the mode is such a one. */
int placement_check_loop(const struct placement_stages *s, enum graph_mode mode, struct error *err);
/* Whether a prompt's chunks can be launched in that mode. */
int placement_check_prefill(const struct placement_stages *s, enum graph_mode mode, struct error *err);
/* Whether tokens can be queued behind each other. */
int placement_check_queue(const struct placement_stages *s, struct error *err);

#endif
