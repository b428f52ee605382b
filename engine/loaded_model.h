/*
 * A model's weights on the device that runs them: what takes long to load, for the sessions that
 * share it. A session owns the rest: cache, activations, graphs.
 *
 * One thread for a loaded model and all its sessions, whose work goes through one stream.
 */
#ifndef GEMMARK_ENGINE_LOADED_MODEL_H
#define GEMMARK_ENGINE_LOADED_MODEL_H

#include "engine/device.h"
#include "engine/error.h"
#include "engine/model.h"
#include "engine/session.h"
#include "engine/weights.h"

struct loaded_model {
	struct model model;
	struct device *device;
	struct weights weights;
	struct session_options options; /* as given; batch resolved */
	int n_gpu_layers;               /* all or 0 */
	char gpu_reason[256];           /* why -1 chose the host; empty where it did not */
	double load_us;
	int n_sessions; /* open ones */
};

/* Of o everything but context, mode and fusion, which are a session's own. */
int loaded_model_open(struct loaded_model **out, const char *path, const struct session_options *o, struct error *err);
/* After its last session. */
void loaded_model_close(struct loaded_model *m);

#endif
