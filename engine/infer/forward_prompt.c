/*
 * A layer over a prompt's rows in float16: forward.c's mathematics in fewer, wider kernels. Products take rows that the
 * kernel before them wrote in float16, each with a scale (kernels/params_prompt.h), and where the layer's weights for
 * prompts are resident, q, k and v are one product, and gate and up; the end of a sublayer is one kernel with the norm
 * of the next. The residual stream stays float32.
 */
#include <assert.h>
#include <math.h>

#include "engine/infer/forward_pass.h"

/* Vectors of eight, and all of a normed row in one block of a GPU. */
bool pass_prompt_fits(const struct model *m, const struct model_range *r)
{
	bool fits = m->n_embd % 8 == 0 && m->n_embd <= 8192 && m->n_ple % 8 == 0;
	for (int i = r->begin; i < r->end; i++)
		fits &= m->layers[i].n_ff % 8 == 0 && m->layers[i].head_dim % 8 == 0;
	return fits;
}

/* Rows of whole stages: see experts_mma_geometry.h. */
bool pass_prompt_experts_fit(const struct model *m)
{
	return m->n_expert && m->n_embd % 64 == 0 && m->n_ff_expert % 64 == 0;
}

/* y: rows y_stride elements apart, of scratch.rows; scale: these rows', where nothing behind it applies that */
static void product(struct pass *p, const struct weight *w, const float *scale, void *y, int y_stride,
		    enum tensor_type y_type)
{
	op_prompt_matmul(&p->e, (struct prompt_matmul_params){.w = *w,
							      .x = p->f->scratch.rows,
							      .y = y,
							      .scale = scale,
							      .n_tokens = p->n,
							      .y_stride = y_stride,
							      .y_type = (int)y_type});
}

/* The resident copy where there is one. */
static const struct weight *of_two(const struct weight *resident, const struct weight *packed)
{
	return resident->data ? resident : packed;
}

/* scratch.rows = rms_norm(scratch.h) * weight * scale */
static void norm_rows(struct pass *p, const float *weight, float scale)
{
	const struct model *m = p->f->model;
	op_prompt_norm(&p->e, (struct prompt_norm_params){.x = p->f->scratch.h,
							  .weight = weight,
							  .y = p->f->scratch.rows,
							  .y_scale = p->f->scratch.rows_scale,
							  .n_rows = p->n,
							  .n = m->n_embd,
							  .eps = m->eps,
							  .scale = scale});
}

/* h = (h + rms_norm(sub * sub_scale) * weight) * scale; scratch.rows = rms_norm(h) * next where `rows`, h itself
 * without next */
static void residual(struct pass *p, const float *sub_scale, const float *weight, float scale, bool rows,
		     const float *next)
{
	const struct model *m = p->f->model;
	op_prompt_residual(&p->e, (struct prompt_residual_params){.h = p->f->scratch.h,
								  .b = p->f->scratch.sub,
								  .b_scale = sub_scale,
								  .weight = weight,
								  .next = next,
								  .y = rows ? p->f->scratch.rows : NULL,
								  .y_scale = p->f->scratch.rows_scale,
								  .n_rows = p->n,
								  .n = m->n_embd,
								  .eps = m->eps,
								  .scale = scale});
}

/* scratch.rows = act(gate) * up; the gate is the first of scratch.products' rows */
static void gate_rows(struct pass *p, int gate_stride, const void *up, int up_stride, enum tensor_type up_type, int n)
{
	op_prompt_gated(&p->e, (struct prompt_gated_params){.gate = p->f->scratch.products,
							    .up = up,
							    .x_scale = p->f->scratch.rows_scale,
							    .y = p->f->scratch.rows,
							    .y_scale = p->f->scratch.gated_scale,
							    .n_rows = p->n,
							    .n = n,
							    .gate_stride = gate_stride,
							    .up_stride = up_stride,
							    .up_type = (int)up_type,
							    .act = p->f->model->activation});
}

/* q, ready for attention; k and v in the cache, and where another device finds them. */
static void qkv(struct pass *p, int i)
{
	const struct model *m = p->f->model;
	const struct model_layer *l = &m->layers[i];
	const struct layer_weights *w = &p->f->weights->layers[i];
	const struct forward_scratch *s = &p->f->scratch;
	bool owns = l->kv_source == i, leaves = p->out && p->out->k[i];
	int n_q = l->n_head * l->head_dim, n_kv = owns ? l->n_head_kv * l->head_dim : 0;
	int stride = n_q + n_kv * (l->v_is_k ? 1 : 2);
	float *rows = s->products;
	if (w->prompt_qkv.data) {
		product(p, &w->prompt_qkv, NULL, rows, stride, TENSOR_F32);
	} else {
		product(p, &w->q, NULL, rows, stride, TENSOR_F32);
		if (owns)
			product(p, &w->k, NULL, rows + n_q, stride, TENSOR_F32);
		if (owns && !l->v_is_k)
			product(p, &w->v, NULL, rows + n_q + n_kv, stride, TENSOR_F32);
	}
	op_prompt_qkv(&p->e, (struct prompt_qkv_params){.at = p->at,
							.rows = rows,
							.scale = s->rows_scale,
							.q = s->q,
							.k_out = leaves ? p->out->k[i] : NULL,
							.v_out = leaves ? p->out->v[i] : NULL,
							.q_norm = w->q_norm,
							.k_norm = w->k_norm,
							.inv_freq = w->inv_freq,
							.kv = p->f->cache->layers[i],
							.n_tokens = p->n,
							.n_heads = l->n_head,
							.head_dim = l->head_dim,
							.stride = stride,
							.owns = owns,
							.v_is_k = l->v_is_k,
							.v_norm = m->v_norm,
							.eps = m->eps});
}

/* sub = down . (act(gate . x) * up . x), x in scratch.rows */
static void dense_ffn(struct pass *p, int i)
{
	const struct layer_weights *w = &p->f->weights->layers[i];
	const struct forward_scratch *s = &p->f->scratch;
	int n_ff = p->f->model->layers[i].n_ff;
	uint16_t *up = (uint16_t *)s->products + n_ff;
	if (w->prompt_gate_up.data) {
		product(p, &w->prompt_gate_up, NULL, s->products, 2 * n_ff, TENSOR_F16);
	} else {
		product(p, &w->gate, NULL, s->products, 2 * n_ff, TENSOR_F16);
		product(p, &w->up, NULL, up, 2 * n_ff, TENSOR_F16);
	}
	gate_rows(p, 2 * n_ff, up, 2 * n_ff, TENSOR_F16, n_ff);
	product(p, of_two(&w->prompt_down, &w->down), p->f->model->n_expert ? s->gated_scale : NULL, s->sub,
		p->f->model->n_embd, TENSOR_F32);
}

/* routed = the experts' weighted sum for h */
static void experts(struct pass *p, int i)
{
	const struct model *m = p->f->model;
	const struct layer_weights *w = &p->f->weights->layers[i];
	const struct forward_scratch *s = &p->f->scratch;
	int used = m->n_expert_used;
	norm_rows(p, w->router_scale, 1.0f / sqrtf((float)m->n_embd));
	product(p, &w->router, s->rows_scale, s->router, m->n_expert, TENSOR_F32);
	pass_route(p, i);
	op_moe_sort(&p->e, (struct moe_sort_params){.ids = s->ids,
						    .order = s->order,
						    .starts = s->starts,
						    .n_pairs = p->n * used,
						    .n_expert = m->n_expert});
	norm_rows(p, w->pre_ffw_norm_2, 1);
	op_prompt_experts_gated(&p->e, (struct prompt_experts_gated_params){.w = w->gate_up_exps,
									    .order = s->order,
									    .starts = s->starts,
									    .x = s->rows,
									    .scale = s->rows_scale,
									    .y = s->experts,
									    .n_tokens = p->n,
									    .n_used = used,
									    .act = m->activation});
	op_prompt_experts_matmul(&p->e, (struct prompt_experts_matmul_params){.w = w->down_exps,
									      .order = s->order,
									      .starts = s->starts,
									      .x = s->experts,
									      .scale = s->rows_scale,
									      .y = s->expert_out,
									      .n_pairs = p->n * used,
									      .n_used = used});
	pass_sum_experts(p);
}

/* sub = proj . (gelu(inp_gate . h) * ple[i]), h in scratch.rows */
static void per_layer_embedding(struct pass *p, int i)
{
	const struct model *m = p->f->model;
	const struct layer_weights *w = &p->f->weights->layers[i];
	const struct forward_scratch *s = &p->f->scratch;
	/* Prompts in float16 are for a GPU's part of the model, which embeds. */
	assert(p->f->range.embed && !p->f->ple_first);
	const float *ple = s->ple + (size_t)i * (size_t)m->n_ple;
	product(p, of_two(&w->prompt_inp_gate, &w->inp_gate), NULL, s->products, m->n_ple, TENSOR_F16);
	gate_rows(p, m->n_ple, ple, m->n_layer * m->n_ple, TENSOR_F32, m->n_ple);
	product(p, of_two(&w->prompt_proj, &w->proj), NULL, s->sub, m->n_embd, TENSOR_F32);
}

void pass_prompt_layer(struct pass *p, int i)
{
	const struct model *m = p->f->model;
	const struct layer_weights *w = &p->f->weights->layers[i];
	const struct forward_scratch *s = &p->f->scratch;
	/* The next layer's norm, where the same rows go on there. */
	const float *next = i + 1 < p->end ? p->f->weights->layers[i + 1].attn_norm : NULL;
	float scale = w->output_scale;
	pass_trace(p, i, s->h);
	if (!p->normed)
		norm_rows(p, w->attn_norm, 1);
	qkv(p, i);
	pass_attend(p, i);
	op_to_f16(&p->e, (struct to_f16_params){.x = s->attn,
						.y = s->rows,
						.y_scale = s->rows_scale,
						.n_rows = p->n,
						.n = w->o.n_in,
						.x_stride = w->o.n_in});
	product(p, of_two(&w->prompt_o, &w->o), NULL, s->sub, m->n_embd, TENSOR_F32);
	residual(p, s->rows_scale, m->post_norms ? w->post_attention_norm : NULL, 1, true, w->ffn_norm);
	dense_ffn(p, i);
	if (m->n_expert) {
		pass_norm(p, s->sub, w->post_ffw_norm_1, s->dense);
		if (p->f->narrow_experts)
			experts(p, i);
		else
			pass_experts(p, i);
		pass_add_normed(p, s->dense, s->routed, w->post_ffw_norm_2, s->sub, p->n, m->n_embd, m->eps, 1);
	}
	const float *post = m->post_norms ? w->post_ffw_norm : NULL;
	const float *sub_scale = m->n_expert ? NULL : s->gated_scale;
	if (m->n_ple) {
		residual(p, sub_scale, post, 1, true, NULL);
		per_layer_embedding(p, i);
		post = w->post_norm;
		sub_scale = s->gated_scale;
	}
	residual(p, sub_scale, post, m->post_norms ? scale : 1, next, next);
	p->normed = next;
}
