/* The forward pass's mathematics (forward.c) as its entry points (forward_stage.c) and forward_prompt.c use it. */
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
	int end; /* of the layers that these rows go through */
	bool fused;
	bool normed; /* scratch.rows has scratch.h as the next layer's first products take it */
};

/* What the kernels behind it do; layer -1: of none */
static inline void pass_label(struct pass *p, enum phase_kind kind, int layer)
{
	device_set_label(p->f->device, (struct device_label){(int)kind, layer});
}

/* scratch.h, and for models that have them scratch.ple of all layers */
void pass_embed(struct pass *p);
/* scratch.h through layer i */
void pass_layer(struct pass *p, int i);
/* The same for a prompt's rows, PROMPT_ROWS_LEAST and more, in float16 (forward_prompt.c). */
void pass_prompt_layer(struct pass *p, int i);
/* Whether the shapes of the range allow it, and those of the experts, where there are some. */
bool pass_prompt_fits(const struct model *m, const struct model_range *r);
bool pass_prompt_experts_fit(const struct model *m);

/* Parts of a layer that both have. */
void pass_trace(struct pass *p, int row_of_trace, const float *from);
/* scratch.attn, of scratch.q and the cache */
void pass_attend(struct pass *p, int i);
/* scratch.routed = the experts' weighted sum for scratch.h */
void pass_experts(struct pass *p, int i);
/* scratch.ids and expert_weights, of scratch.router */
void pass_route(struct pass *p, int i);
/* scratch.routed, of scratch.expert_out and expert_weights */
void pass_sum_experts(struct pass *p);
void pass_norm(struct pass *p, const float *x, const float *weight, float *y);
void pass_linear(struct pass *p, const struct weight *w, const float *x, float *y);
/* y = (a + rms_norm(b) * weight) * scale */
void pass_add_normed(struct pass *p, const float *a, const float *b, const float *weight, float *y, int rows, int n,
		     float eps, float scale);

/* h: (n, n_embd), to logits: (n, n_vocab) */
void pass_head(struct pass *p, const float *h, float *logits);

#endif
