/* What is in front of the first layer and behind the last: embeddings, and the head. */
#include <math.h>

#include "engine/infer/forward_pass.h"

void pass_embed(struct pass *p)
{
	const struct model *m = p->f->model;
	const struct weights *w = p->f->weights;
	const struct forward_scratch *s = &p->f->scratch;
	pass_label(p, PHASE_EMBED, -1);
	op_embed(&p->e, (struct embed_params){.at = p->at,
					      .tokens = p->tokens,
					      .table = w->token_embd,
					      .y = s->h,
					      .n_tokens = p->n,
					      .scale = m->embed_scale});
	if (!m->n_ple)
		return;
	op_embed(&p->e, (struct embed_params){.at = p->at,
					      .tokens = p->tokens,
					      .table = w->per_layer_token_embd,
					      .y = s->ple,
					      .n_tokens = p->n,
					      .scale = sqrtf((float)m->n_ple)});
	pass_label(p, PHASE_PLE_MODEL_PROJ, -1);
	pass_linear(p, &w->per_layer_model_proj, s->h, s->ple_proj);
	pass_label(p, PHASE_PLE, -1);
	/* norm(x / sqrt(n_embd)) is norm(x) with eps * n_embd: one pass less over x. */
	pass_add_normed(p, s->ple, s->ple_proj, w->per_layer_proj_norm, s->ple, p->n * m->n_layer, m->n_ple,
			m->eps * (float)m->n_embd, 0.70710678f);
}

void pass_head(struct pass *p, const float *h, float *logits)
{
	const struct model *m = p->f->model;
	const struct weights *w = p->f->weights;
	const struct forward_scratch *s = &p->f->scratch;
	pass_label(p, PHASE_HEAD, -1);
	if (p->fused) {
		op_norm_matmul(&p->e, (struct norm_matmul_params){.x = h,
								  .weight = w->output_norm,
								  .normed = s->normed,
								  .w = {w->output},
								  .y = {logits},
								  .n_matmuls = 1,
								  .n_tokens = p->n,
								  .n = m->n_embd,
								  .eps = m->eps,
								  .cap = m->softcap});
	} else {
		pass_norm(p, h, w->output_norm, s->normed);
		pass_linear(p, &w->output, s->normed, logits);
		if (m->softcap > 0)
			op_softcap(&p->e,
				   (struct softcap_params){.x = logits, .n = p->n * m->n_vocab, .cap = m->softcap});
	}
	pass_trace(p, m->n_layer, s->normed);
}
