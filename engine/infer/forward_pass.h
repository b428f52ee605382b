/* The forward pass's mathematics (forward.c) as its entry points (forward_stage.c) use it. */
#ifndef GEMMARK_ENGINE_INFER_FORWARD_PASS_H
#define GEMMARK_ENGINE_INFER_FORWARD_PASS_H

#include "engine/device/ops.h"
#include "engine/infer/forward.h"

/* One pass over n rows: where they are and how they are launched. */
struct pass {
	struct forward *f;
	struct emitter e;
	struct at at;
	const int *tokens;              /* null: the step's token */
	const struct crossing_end *out; /* null, or where K and V go that another device attends */
	int n;
	bool fused;
};

/* scratch.h, and for models that have them scratch.ple of all layers */
void pass_embed(struct pass *p);
/* scratch.h through layer i */
void pass_layer(struct pass *p, int i);
/* h: (n, n_embd), to scratch.logits */
void pass_head(struct pass *p, const float *h);

#endif
