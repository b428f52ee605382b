/*
 * The fused kernels: on the host each is the composition that params.h names. Of a decoded token, products of the same
 * activations and what follows row by row are one loop.
 */
#include "kernels/cpu/inner.h"

static void norm(const float *x, const float *weight, float *y, int n_rows, int n, float eps)
{
	k_rms_norm(&(struct rms_norm_params){
		.x = x,
		.weight = weight,
		.y = y,
		.n_rows = n_rows,
		.n = n,
		.x_stride = n,
		.y_stride = n,
		.eps = eps,
		.scale = 1.0f,
	});
}

static void matmul(const struct weight *w, const float *x, float *y, int n_tokens)
{
	k_matmul(&(struct matmul_params){
		.w = *w,
		.x = x,
		.y = y,
		.n_tokens = n_tokens,
		.x_stride = w->n_in,
		.y_stride = w->n_out,
	});
}

static void gated(const float *gate, int gate_stride, const float *up, int up_stride, float *y, int n_rows, int n,
		  int act)
{
	k_gated(&(struct gated_params){
		.gate = gate,
		.up = up,
		.y = y,
		.n_rows = n_rows,
		.n = n,
		.gate_stride = gate_stride,
		.up_stride = up_stride,
		.y_stride = n,
		.act = act,
	});
}

static void rope(const struct qkv_prepare_params *p, float *x, int n_heads)
{
	k_rope(&(struct rope_params){
		.at = p->at,
		.x = x,
		.inv_freq = p->inv_freq,
		.n_tokens = p->n_tokens,
		.n_heads = n_heads,
		.head_dim = p->head_dim,
	});
}

void k_norm_matmul(const struct norm_matmul_params *p)
{
	norm(p->x, p->weight, p->normed, p->n_tokens, p->n, p->eps);
	if (p->n_tokens <= CPU_FEW_TOKENS) {
		cpu_products(&(struct cpu_products){
			.w = {&p->w[0], &p->w[1], &p->w[2]},
			.y = {p->y[0], p->y[1], p->y[2]},
			.n = p->n_matmuls,
			.x = p->normed,
			.n_tokens = p->n_tokens,
			.cap = p->cap,
		});
		return;
	}
	for (int i = 0; i < p->n_matmuls; i++)
		matmul(&p->w[i], p->normed, p->y[i], p->n_tokens);
	if (p->cap > 0.0f) {
		/* A row at a time: a softcap counts its elements in an int. */
		for (int t = 0; t < p->n_tokens; t++)
			k_softcap(&(struct softcap_params){
				.x = p->y[0] + (size_t)t * (size_t)p->w[0].n_out,
				.n = p->w[0].n_out,
				.cap = p->cap,
			});
	}
}

void k_qkv_prepare(const struct qkv_prepare_params *p)
{
	const int kv_rows = p->n_tokens * p->kv.n_kv_heads;

	norm(p->q, p->q_norm, p->q, p->n_tokens * p->n_heads, p->head_dim, p->eps);
	rope(p, p->q, p->n_heads);
	if (!p->k)
		return;
	if (p->v_norm) /* before k is normed in place: v_raw may be k */
		norm(p->v_raw, NULL, p->v, kv_rows, p->head_dim, p->eps);
	norm(p->k, p->k_norm, p->k, kv_rows, p->head_dim, p->eps);
	rope(p, p->k, p->kv.n_kv_heads);
	k_kv_append(&(struct kv_append_params){
		.at = p->at,
		.k = p->k,
		.v = p->v,
		.kv = p->kv,
		.n_tokens = p->n_tokens,
	});
}

void k_attention(const struct attention_params *p)
{
	k_attention_split(&p->split);
	k_attention_combine(&(struct attention_combine_params){
		.partial = p->split.partial,
		.y = p->y,
		.n_heads = p->split.n_heads,
		.head_dim = p->split.kv.head_dim,
		.n_splits = p->split.n_splits,
	});
}

void k_norm_add(const struct norm_add_params *p)
{
	norm(p->b, p->weight, p->normed, p->n_rows, p->n, p->eps);
	for (int r = 0; r < p->n_rows; r++) {
		const size_t at = (size_t)r * (size_t)p->n;

		k_add(&(struct add_params){
			.a = p->a + at,
			.b = p->normed + at,
			.y = p->y + at,
			.n = p->n,
			.scale = p->scale,
		});
	}
}

void k_norm_gated(const struct norm_gated_params *p)
{
	norm(p->x, p->weight, p->normed, p->n_tokens, p->n, p->eps);
	if (p->n_tokens <= CPU_FEW_TOKENS) {
		const struct cpu_products products = {
			.w = {&p->w_gate, &p->w_up},
			.y = {p->gate, p->up},
			.n = 2,
			.x = p->normed,
			.n_tokens = p->n_tokens,
		};

		cpu_products_gated(&products, p->act, NULL, 0, p->y);
		return;
	}
	matmul(&p->w_gate, p->normed, p->gate, p->n_tokens);
	matmul(&p->w_up, p->normed, p->up, p->n_tokens);
	gated(p->gate, p->w_gate.n_out, p->up, p->w_up.n_out, p->y, p->n_tokens, p->w_gate.n_out, p->act);
}

void k_matmul_gated(const struct matmul_gated_params *p)
{
	if (p->n_tokens <= CPU_FEW_TOKENS) {
		const struct cpu_products products = {
			.w = {&p->w}, .y = {p->gate}, .n = 1, .x = p->x, .n_tokens = p->n_tokens};

		cpu_products_gated(&products, p->act, p->up, (size_t)p->up_stride, p->y);
		return;
	}
	matmul(&p->w, p->x, p->gate, p->n_tokens);
	gated(p->gate, p->w.n_out, p->up, p->up_stride, p->y, p->n_tokens, p->w.n_out, p->act);
}

void k_experts_gated(const struct experts_gated_params *p)
{
	const int n_ff = p->w.n_out / 2;

	k_matmul_experts(&(struct matmul_experts_params){
		.w = p->w,
		.ids = p->ids,
		.x = p->x,
		.y = p->gate_up,
		.n_tokens = p->n_tokens,
		.n_used = p->n_used,
	});
	gated(p->gate_up, 2 * n_ff, p->gate_up + n_ff, 2 * n_ff, p->y, p->n_tokens * p->n_used, n_ff, p->act);
}
