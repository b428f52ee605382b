#include "engine/infer/forward.h"

#include <assert.h>
#include <math.h>
#include <stddef.h>

#include "engine/device/nvtx.h"
#include "engine/infer/forward_pass.h"
#include "engine/infer/splits.h"

enum {
	LOGIT_ROWS = 16, /* bounds the logits of a chunk: a row of Gemma 4 is 1 MB */
};

/* ---- scratch ---- */

/* Counts when base is null, else hands out; the same calls in the same order both times. */
struct arena {
	char *base;
	size_t used;
};

static void *take(struct arena *a, size_t count, size_t size)
{
	void *p = a->base ? a->base + a->used : NULL;
	a->used += (count * size + 63) & ~(size_t)63;
	return p;
}

/* context: positions of the cache */
static void lay_out(struct forward *f, int context, struct arena *a)
{
	const struct model *m = f->model;
	size_t t = (size_t)f->batch, e = (size_t)m->n_embd, used = (size_t)m->n_expert_used;
	size_t q = 0, kv = 0, ff = 0, heads = 0, head_dim = 0, rows = 0;
	for (int i = f->range.begin; i < f->range.end; i++) {
		const struct model_layer *l = &m->layers[i];
		size_t lq = (size_t)l->n_head * (size_t)l->head_dim, lkv = (size_t)l->n_head_kv * (size_t)l->head_dim;
		q = lq > q ? lq : q;
		kv = lkv > kv ? lkv : kv;
		ff = (size_t)l->n_ff > ff ? (size_t)l->n_ff : ff;
		rows = lq + 2 * lkv > rows ? lq + 2 * lkv : rows;
		heads = (size_t)l->n_head > heads ? (size_t)l->n_head : heads;
		head_dim = (size_t)l->head_dim > head_dim ? (size_t)l->head_dim : head_dim;
	}
	size_t splits = (size_t)splits_bucket(context);
	if (splits < DEVICE_SPLITS_MAX)
		splits = DEVICE_SPLITS_MAX;
	size_t ple = (size_t)(m->n_layer - f->ple_first) * (size_t)m->n_ple;
	/* What only float32 takes: a chunk of few rows, too. */
	size_t few = f->narrow && t >= PROMPT_ROWS_LEAST ? PROMPT_ROWS_LEAST - 1 : t;
	struct forward_scratch *s = &f->scratch;
	s->tokens = take(a, t, sizeof(int));
	s->h = take(a, t * e, sizeof(float));
	s->normed = take(a, t * e, sizeof(float));
	s->sub = take(a, t * e, sizeof(float));
	s->sub_norm = take(a, t * e, sizeof(float));
	s->q = take(a, t * q, sizeof(float));
	s->k = take(a, few * kv, sizeof(float));
	s->v = take(a, few * kv, sizeof(float));
	s->attn = take(a, t * q, sizeof(float));
	s->partial = take(a, heads * splits * (head_dim + 2), sizeof(float));
	s->gate = take(a, few * ff, sizeof(float));
	s->up = take(a, few * ff, sizeof(float));
	s->ple = take(a, t * ple, sizeof(float));
	s->ple_proj = take(a, f->range.embed ? t * ple : 0, sizeof(float));
	s->ple_gate = take(a, few * (size_t)m->n_ple, sizeof(float));
	if (f->narrow) {
		size_t widest = e > ff ? e : ff, two_ff = ff * sizeof(uint16_t) * 2;
		widest = q > widest ? q : widest;
		widest = (size_t)m->n_ple > widest ? (size_t)m->n_ple : widest;
		s->products = take(a, t, rows * sizeof(float) > two_ff ? rows * sizeof(float) : two_ff);
		s->rows = take(a, t * widest, sizeof(uint16_t));
		s->rows_scale = take(a, t, sizeof(float));
		s->gated_scale = take(a, t, sizeof(float));
	}
	if (f->narrow_experts) {
		s->order = take(a, t * used, sizeof(int));
		s->starts = take(a, (size_t)m->n_expert + 1, sizeof(int));
		s->experts = take(a, t * used * (size_t)m->n_ff_expert, sizeof(uint16_t));
	}
	if (m->n_expert) {
		size_t n_ff = (size_t)m->n_ff_expert, rest = f->narrow_experts ? few : t;
		s->router = take(a, t * (size_t)m->n_expert, sizeof(float));
		s->routed = take(a, t * e, sizeof(float));
		s->dense = take(a, t * e, sizeof(float));
		s->ids = take(a, t * used, sizeof(int));
		s->expert_weights = take(a, t * used, sizeof(float));
		s->expert_gate_up = take(a, rest * used * 2 * n_ff, sizeof(float));
		s->expert_act = take(a, rest * used * n_ff, sizeof(float));
		s->expert_out = take(a, t * used * e, sizeof(float));
	}
	s->logits = take(a, (size_t)f->logit_rows * (size_t)m->n_vocab, sizeof(float));
	s->sampler = take(a, f->range.head, sizeof *s->sampler);
	s->trace = take(a, ((size_t)m->n_layer + 1) * e, sizeof(float));
}

static struct forward describe(const struct model *m, const struct model_range *r, int batch, bool narrow)
{
	narrow = narrow && batch >= PROMPT_ROWS_LEAST && pass_prompt_fits(m, r);
	return (struct forward){
		.model = m,
		.range = *r,
		.batch = batch,
		.logit_rows = !r->head             ? 0
			      : batch < LOGIT_ROWS ? batch
						   : LOGIT_ROWS,
		.ple_first = r->embed ? 0 : r->begin,
		.fusion = FUSION_FULL,
		.narrow = narrow,
		.narrow_experts = narrow && pass_prompt_experts_fit(m),
	};
}

static size_t count_scratch(struct forward *f, int context)
{
	struct arena a = {0};
	lay_out(f, context, &a);
	return a.used;
}

size_t forward_scratch_bytes(const struct model *m, const struct model_range *r, int context, int batch, bool narrow)
{
	struct forward f = describe(m, r, batch, narrow);
	return count_scratch(&f, context);
}

int forward_open(struct forward *f, const struct model *m, const struct model_range *r, const struct weights *w,
		 struct kv_cache *cache, struct device *d, int batch, bool narrow, struct error *err)
{
	*f = describe(m, r, batch, narrow);
	f->weights = w;
	f->cache = cache;
	f->device = d;
	f->arena_bytes = count_scratch(f, cache->capacity);
	int rc = device_alloc(d, f->arena_bytes, &f->arena, err);
	if (rc)
		return error_prefix(err, rc, "activations of chunks of %d tokens", batch);
	struct arena a = {.base = f->arena};
	lay_out(f, cache->capacity, &a);
	f->bucket_most = splits_last_bucket(f, cache->capacity);
	return 0;
}

void forward_close(struct forward *f)
{
	persistent_close(&f->persistent);
	if (f->device) {
		device_free(f->device, f->all_logits);
		device_free(f->device, f->arena);
	}
	*f = (struct forward){0};
}

/* ---- the parts of a layer ---- */

static void norm_rows(struct pass *p, const float *x, const float *weight, float *y, int rows, int n, float scale)
{
	op_rms_norm(&p->e, (struct rms_norm_params){.x = x,
						    .weight = weight,
						    .y = y,
						    .n_rows = rows,
						    .n = n,
						    .x_stride = n,
						    .y_stride = n,
						    .eps = p->f->model->eps,
						    .scale = scale});
}

void pass_norm(struct pass *p, const float *x, const float *weight, float *y)
{
	norm_rows(p, x, weight, y, p->n, p->f->model->n_embd, 1);
}

void pass_linear(struct pass *p, const struct weight *w, const float *x, float *y)
{
	op_matmul(&p->e, (struct matmul_params){
				 .w = *w, .x = x, .y = y, .n_tokens = p->n, .x_stride = w->n_in, .y_stride = w->n_out});
}

static void add(struct pass *p, const float *a, const float *b, float *y, int n, float scale)
{
	op_add(&p->e, (struct add_params){.a = a, .b = b, .y = y, .n = n, .scale = scale});
}

static void gated(struct pass *p, const float *gate, const float *up, int up_stride, float *y, int rows, int n,
		  int gate_stride)
{
	op_gated(&p->e, (struct gated_params){.gate = gate,
					      .up = up,
					      .y = y,
					      .n_rows = rows,
					      .n = n,
					      .gate_stride = gate_stride,
					      .up_stride = up_stride,
					      .y_stride = n,
					      .act = p->f->model->activation});
}

static void rope(struct pass *p, float *x, const float *inv_freq, int n_heads, int head_dim)
{
	op_rope(&p->e, (struct rope_params){.at = p->at,
					    .x = x,
					    .inv_freq = inv_freq,
					    .n_tokens = p->n,
					    .n_heads = n_heads,
					    .head_dim = head_dim});
}

/* y = (a + rms_norm(b) * weight) * scale */
void pass_add_normed(struct pass *p, const float *a, const float *b, const float *weight, float *y, int rows, int n,
		     float eps, float scale)
{
	float *normed = n == p->f->model->n_embd ? p->f->scratch.sub_norm : p->f->scratch.ple_proj;
	if (p->fused) {
		op_norm_add(&p->e, (struct norm_add_params){.a = a,
							    .b = b,
							    .weight = weight,
							    .normed = normed,
							    .y = y,
							    .n_rows = rows,
							    .n = n,
							    .eps = eps,
							    .scale = scale});
		return;
	}
	op_rms_norm(&p->e, (struct rms_norm_params){.x = b,
						    .weight = weight,
						    .y = normed,
						    .n_rows = rows,
						    .n = n,
						    .x_stride = n,
						    .y_stride = n,
						    .eps = eps,
						    .scale = 1});
	add(p, a, normed, y, rows * n, scale);
}

/* Products of the normed stream, one kernel for those neighbours that are of one type: mixtures have v in another. */
static void norm_products(struct pass *p, const float *norm, const struct weight *const *w, float *const *y, int n)
{
	const struct model *m = p->f->model;
	for (int i = 0, end; i < n; i = end) {
		struct norm_matmul_params params = {.x = p->f->scratch.h,
						    .weight = norm,
						    .normed = p->f->scratch.normed,
						    .n_tokens = p->n,
						    .n = m->n_embd,
						    .eps = m->eps};
		for (end = i; end < n && w[end]->type == w[i]->type; end++) {
			params.w[end - i] = *w[end];
			params.y[end - i] = y[end];
		}
		params.n_matmuls = end - i;
		op_norm_matmul(&p->e, params);
	}
}

/* q, k, v of the layer, ready for attention; k and v in the cache. */
static void qkv(struct pass *p, int i)
{
	const struct model *m = p->f->model;
	const struct model_layer *l = &m->layers[i];
	const struct layer_weights *w = &p->f->weights->layers[i];
	const struct forward_scratch *s = &p->f->scratch;
	const struct kv *kv = &p->f->cache->layers[i];
	bool owns = l->kv_source == i, v_norm = m->v_norm;
	int hd = l->head_dim;
	pass_label(p, PHASE_QKV, i);
	if (p->fused) {
		norm_products(p, w->attn_norm, (const struct weight *[]){&w->q, &w->k, &w->v},
			      (float *[]){s->q, s->k, s->v},
			      !owns       ? 1
			      : l->v_is_k ? 2
					  : 3);
		pass_label(p, PHASE_QKV_PREPARE, i);
		op_qkv_prepare(&p->e, (struct qkv_prepare_params){.at = p->at,
								  .q = s->q,
								  .k = owns ? s->k : NULL,
								  .v = owns ? s->v : NULL,
								  .v_raw = !owns       ? NULL
									   : l->v_is_k ? s->k
										       : s->v,
								  .q_norm = w->q_norm,
								  .k_norm = w->k_norm,
								  .inv_freq = w->inv_freq,
								  .kv = *kv,
								  .n_tokens = p->n,
								  .n_heads = l->n_head,
								  .head_dim = hd,
								  .v_norm = v_norm,
								  .eps = m->eps});
		return;
	}
	pass_norm(p, s->h, w->attn_norm, s->normed);
	pass_linear(p, &w->q, s->normed, s->q);
	if (owns) {
		pass_linear(p, &w->k, s->normed, s->k);
		if (!l->v_is_k)
			pass_linear(p, &w->v, s->normed, s->v);
	}
	pass_label(p, PHASE_QKV_PREPARE, i);
	norm_rows(p, s->q, w->q_norm, s->q, p->n * l->n_head, hd, 1);
	rope(p, s->q, w->inv_freq, l->n_head, hd);
	if (!owns)
		return;
	if (v_norm) /* before k is normed in place: v may be k */
		norm_rows(p, l->v_is_k ? s->k : s->v, NULL, s->v, p->n * l->n_head_kv, hd, 1);
	norm_rows(p, s->k, w->k_norm, s->k, p->n * l->n_head_kv, hd, 1);
	rope(p, s->k, w->inv_freq, l->n_head_kv, hd);
	op_kv_append(&p->e, (struct kv_append_params){.at = p->at, .k = s->k, .v = s->v, .kv = *kv, .n_tokens = p->n});
}

/* k and v of the layer, which the next one overwrites, to where another device finds them. */
static void leave_kv(struct pass *p, int i)
{
	const struct model_layer *l = &p->f->model->layers[i];
	size_t bytes = (size_t)p->n * (size_t)l->n_head_kv * (size_t)l->head_dim * sizeof(float);
	op_copy(&p->e, p->out->k[i], p->f->scratch.k, bytes);
	op_copy(&p->e, p->out->v[i], p->f->scratch.v, bytes);
}

/* The kernel that comes next takes the layer's splits from the int at `offset` of its params. */
static void vary_splits(struct pass *p, const struct model_layer *l, const struct device_splits *d, size_t offset)
{
	int values[DEVICE_VARIANTS_MAX], n = 0;
	if (!p->f->varied)
		return;
	for (int bucket = 1; n < DEVICE_VARIANTS_MAX; bucket *= 2) {
		values[n++] = splits_of(p->f, l, d, bucket);
		if (bucket >= p->f->bucket_most)
			break;
	}
	device_vary(p->f->device, offset, values, n);
}

void pass_attend(struct pass *p, int i)
{
	const struct model *m = p->f->model;
	const struct model_layer *l = &m->layers[i];
	const struct forward_scratch *s = &p->f->scratch;
	int window = l->sliding ? m->window : 0;
	pass_label(p, PHASE_ATTENTION, i);
	if (p->tokens) {
		if (p->f->snapkv)
			snapkv_take(p->f->snapkv, &p->e, i, p->at.host.pos, p->n, s->q);
		op_attention_prefill(&p->e, (struct attention_prefill_params){.at = p->at,
									      .q = s->q,
									      .kv = p->f->cache->layers[i],
									      .y = s->attn,
									      .n_tokens = p->n,
									      .n_heads = l->n_head,
									      .window = window,
									      .scale = l->attention_scale});
		return;
	}
	struct device_splits d = device_splits(p->f->device, l->n_head, l->n_head_kv, l->head_dim);
	int n_splits = splits_of(p->f, l, &d, p->f->bucket);
	struct attention_split_params split = {.at = p->at,
					       .q = s->q,
					       .kv = p->f->cache->layers[i],
					       .partial = s->partial,
					       .n_heads = l->n_head,
					       .window = window,
					       .split_len = d.unit,
					       .n_splits = n_splits,
					       .scale = l->attention_scale};
	if (p->fused && n_splits <= d.fused) {
		vary_splits(p, l, &d, offsetof(struct attention_params, split.n_splits));
		op_attention(&p->e, (struct attention_params){.split = split, .y = s->attn});
		return;
	}
	vary_splits(p, l, &d, offsetof(struct attention_split_params, n_splits));
	op_attention_split(&p->e, split);
	vary_splits(p, l, &d, offsetof(struct attention_combine_params, n_splits));
	op_attention_combine(&p->e, (struct attention_combine_params){.partial = s->partial,
								      .y = s->attn,
								      .n_heads = l->n_head,
								      .head_dim = l->head_dim,
								      .n_splits = n_splits});
}

/* sub = down . (act(gate . x) * up . x), x = rms_norm(h) */
static void dense_ffn(struct pass *p, int i)
{
	const struct model *m = p->f->model;
	const struct layer_weights *w = &p->f->weights->layers[i];
	const struct forward_scratch *s = &p->f->scratch;
	int n_ff = m->layers[i].n_ff;
	pass_label(p, PHASE_FFN_GATE_UP, i);
	if (p->fused) {
		op_norm_gated(&p->e, (struct norm_gated_params){.x = s->h,
								.weight = w->ffn_norm,
								.normed = s->normed,
								.w_gate = w->gate,
								.w_up = w->up,
								.gate = s->gate,
								.up = s->up,
								.y = s->gate,
								.n_tokens = p->n,
								.n = m->n_embd,
								.act = m->activation,
								.eps = m->eps});
	} else {
		pass_norm(p, s->h, w->ffn_norm, s->normed);
		pass_linear(p, &w->gate, s->normed, s->gate);
		pass_linear(p, &w->up, s->normed, s->up);
		gated(p, s->gate, s->up, n_ff, s->gate, p->n, n_ff, n_ff);
	}
	pass_label(p, PHASE_FFN_DOWN, i);
	pass_linear(p, &w->down, s->gate, s->sub);
}

void pass_route(struct pass *p, int i)
{
	const struct model *m = p->f->model;
	const struct forward_scratch *s = &p->f->scratch;
	op_moe_route(&p->e, (struct moe_route_params){.logits = s->router,
						      .expert_scale = p->f->weights->layers[i].down_exps_scale,
						      .ids = s->ids,
						      .weights = s->expert_weights,
						      .n_tokens = p->n,
						      .n_expert = m->n_expert,
						      .n_used = m->n_expert_used});
}

void pass_sum_experts(struct pass *p)
{
	const struct model *m = p->f->model;
	const struct forward_scratch *s = &p->f->scratch;
	op_moe_sum(&p->e, (struct moe_sum_params){.x = s->expert_out,
						  .weights = s->expert_weights,
						  .y = s->routed,
						  .n_tokens = p->n,
						  .n_used = m->n_expert_used,
						  .n = m->n_embd});
}

/* routed = the experts' weighted sum for h */
void pass_experts(struct pass *p, int i)
{
	const struct model *m = p->f->model;
	const struct layer_weights *w = &p->f->weights->layers[i];
	const struct forward_scratch *s = &p->f->scratch;
	int used = m->n_expert_used, n_ff = m->n_ff_expert;
	pass_label(p, PHASE_ROUTER, i);
	norm_rows(p, s->h, w->router_scale, s->normed, p->n, m->n_embd, 1.0f / sqrtf((float)m->n_embd));
	pass_linear(p, &w->router, s->normed, s->router);
	pass_route(p, i);
	pass_label(p, PHASE_EXPERTS_GATE_UP, i);
	pass_norm(p, s->h, w->pre_ffw_norm_2, s->normed);
	if (p->fused) {
		op_experts_gated(&p->e, (struct experts_gated_params){.w = w->gate_up_exps,
								      .ids = s->ids,
								      .x = s->normed,
								      .gate_up = s->expert_gate_up,
								      .y = s->expert_act,
								      .n_tokens = p->n,
								      .n_used = used,
								      .act = m->activation});
	} else {
		op_matmul_experts(&p->e, (struct matmul_experts_params){.w = w->gate_up_exps,
									.ids = s->ids,
									.x = s->normed,
									.y = s->expert_gate_up,
									.n_tokens = p->n,
									.n_used = used});
		gated(p, s->expert_gate_up, s->expert_gate_up + n_ff, 2 * n_ff, s->expert_act, p->n * used, n_ff,
		      2 * n_ff);
	}
	pass_label(p, PHASE_EXPERTS_DOWN, i);
	op_matmul_experts(&p->e, (struct matmul_experts_params){.w = w->down_exps,
								.ids = s->ids,
								.x = s->expert_act,
								.y = s->expert_out,
								.n_tokens = p->n,
								.n_used = used,
								.x_per_expert = 1});
	pass_sum_experts(p);
}

/* h += rms_norm(proj . (gelu(inp_gate . h) * ple[i])), then the layer's scale */
static void per_layer_embedding(struct pass *p, int i, float scale)
{
	const struct model *m = p->f->model;
	const struct layer_weights *w = &p->f->weights->layers[i];
	const struct forward_scratch *s = &p->f->scratch;
	const float *ple = s->ple + (size_t)(i - p->f->ple_first) * (size_t)m->n_ple;
	int stride = (m->n_layer - p->f->ple_first) * m->n_ple;
	pass_label(p, PHASE_PLE_GATE, i);
	if (p->fused) {
		op_matmul_gated(&p->e, (struct matmul_gated_params){.w = w->inp_gate,
								    .x = s->h,
								    .up = ple,
								    .gate = s->ple_gate,
								    .y = s->ple_gate,
								    .n_tokens = p->n,
								    .up_stride = stride,
								    .act = m->activation});
	} else {
		pass_linear(p, &w->inp_gate, s->h, s->ple_gate);
		gated(p, s->ple_gate, ple, stride, s->ple_gate, p->n, m->n_ple, m->n_ple);
	}
	pass_label(p, PHASE_PLE_PROJ, i);
	pass_linear(p, &w->proj, s->ple_gate, s->sub);
	pass_label(p, PHASE_NORM, i);
	pass_add_normed(p, s->h, s->sub, w->post_norm, s->h, p->n, m->n_embd, m->eps, scale);
}

void pass_trace(struct pass *p, int row_of_trace, const float *from)
{
	const struct forward *f = p->f;
	size_t e = (size_t)f->model->n_embd;
	if (f->trace)
		op_copy(&p->e, f->scratch.trace + (size_t)row_of_trace * e, from + (size_t)(p->n - 1) * e,
			e * sizeof(float));
}

static void layer(struct pass *p, int i)
{
	const struct model *m = p->f->model;
	const struct layer_weights *w = &p->f->weights->layers[i];
	const struct forward_scratch *s = &p->f->scratch;
	int e = m->n_embd, all = p->n * e;
	pass_trace(p, i, s->h);
	qkv(p, i);
	if (p->out && p->out->k[i])
		leave_kv(p, i);
	pass_attend(p, i);
	pass_label(p, PHASE_ATTN_OUTPUT, i);
	pass_linear(p, &w->o, s->attn, s->sub);
	pass_label(p, PHASE_NORM, i);
	if (!m->post_norms) {
		assert(!m->n_expert && !m->n_ple && !m->layers[i].layer_output_scale); /* come with them */
		add(p, s->h, s->sub, s->h, all, 1);
		dense_ffn(p, i);
		pass_label(p, PHASE_NORM, i);
		add(p, s->h, s->sub, s->h, all, 1);
		return;
	}
	pass_add_normed(p, s->h, s->sub, w->post_attention_norm, s->h, p->n, e, m->eps, 1);
	dense_ffn(p, i);
	pass_label(p, PHASE_NORM, i);
	if (m->n_expert) {
		pass_norm(p, s->sub, w->post_ffw_norm_1, s->dense);
		pass_experts(p, i);
		pass_label(p, PHASE_NORM, i);
		pass_add_normed(p, s->dense, s->routed, w->post_ffw_norm_2, s->sub, p->n, e, m->eps, 1);
	}
	float scale = w->output_scale;
	pass_add_normed(p, s->h, s->sub, w->post_ffw_norm, s->h, p->n, e, m->eps, m->n_ple ? 1 : scale);
	if (m->n_ple)
		per_layer_embedding(p, i, scale);
}

void pass_layer(struct pass *p, int i)
{
	nvtx_push("layer", i);
	if (p->f->narrow && p->n >= PROMPT_ROWS_LEAST)
		pass_prompt_layer(p, i);
	else
		layer(p, i);
	nvtx_pop();
}
