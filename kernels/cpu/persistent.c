/* A token's program on the host: each phase is the composition of primitives that params_persistent.h names. */
#include <assert.h>
#include <math.h>
#include <time.h>

#include "kernels/cpu/inner.h"

/* When the host was where in a phase; stamps: (PERSISTENT_STAMPS) or null. */
static void stamp(unsigned long long *stamps, enum persistent_stamp s)
{
	struct timespec t;

	if (!stamps)
		return;
	clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	stamps[s] = (unsigned long long)t.tv_sec * 1000000000ull + (unsigned long long)t.tv_nsec;
}

/* y = (a + rms_norm(b) * weight) * scale */
static void norm_add(const struct persistent_program *g, const float *a, const float *b, const float *weight, float *y,
		     float scale)
{
	k_norm_add(&(struct norm_add_params){
		.a = a,
		.b = b,
		.weight = weight,
		.normed = g->sub_norm,
		.y = y,
		.n_rows = 1,
		.n = g->n_embd,
		.eps = g->eps,
		.scale = scale,
	});
}

static const float *normed(const struct persistent_program *g, const float *x, const float *weight, float scale)
{
	k_rms_norm(&(struct rms_norm_params){
		.x = x,
		.weight = weight,
		.y = g->normed,
		.n_rows = 1,
		.n = g->n_embd,
		.x_stride = g->n_embd,
		.y_stride = g->n_embd,
		.eps = g->eps,
		.scale = scale,
	});
	return g->normed;
}

static void take_in(const struct persistent_program *g, const struct persistent_product *p)
{
	const float *in = p->in;

	if (p->beside) {
		norm_add(g, normed(g, p->beside, p->beside_norm, 1.0f), in, p->in_norm, g->normed, 1.0f);
		in = g->normed;
	}
	if (p->post_norm)
		norm_add(g, g->h, in, p->post_norm, g->h, p->scale);
	else
		k_add(&(struct add_params){.a = g->h, .b = in, .y = g->h, .n = g->n_embd, .scale = p->scale});
}

static void matmul(const struct weight *w, const float *x, float *y)
{
	k_matmul(&(struct matmul_params){
		.w = *w, .x = x, .y = y, .n_tokens = 1, .x_stride = w->n_in, .y_stride = w->n_out});
}

static void trace(const struct persistent_program *g, const struct persistent_product *p, const float *from, float *to)
{
	for (int i = 0; to && p->trace >= 0 && i < g->n_embd; i++)
		to[(size_t)p->trace * (size_t)g->n_embd + (size_t)i] = from[i];
}

static void route(const struct persistent_program *g, const struct persistent_product *p)
{
	k_moe_route(&(struct moe_route_params){
		.logits = p->y[0],
		.expert_scale = p->up,
		.ids = g->ids,
		.weights = g->expert_weights,
		.n_tokens = 1,
		.n_expert = p->w[0].n_out,
		.n_used = p->n_used,
	});
}

static void experts(const struct persistent_program *g, const struct persistent_product *p, const float *x)
{
	if (p->output == PERSISTENT_GATED) {
		k_experts_gated(&(struct experts_gated_params){
			.w = p->w[0],
			.ids = g->ids,
			.x = x,
			.gate_up = g->expert_gate_up,
			.y = p->y[0],
			.n_tokens = 1,
			.n_used = p->n_used,
			.act = g->act,
		});
		return;
	}
	k_matmul_experts(&(struct matmul_experts_params){
		.w = p->w[0],
		.ids = g->ids,
		.x = x,
		.y = g->expert_out,
		.n_tokens = 1,
		.n_used = p->n_used,
		.x_per_expert = 1,
	});
	k_moe_sum(&(struct moe_sum_params){
		.x = g->expert_out,
		.weights = g->expert_weights,
		.y = p->y[0],
		.n_tokens = 1,
		.n_used = p->n_used,
		.n = p->w[0].n_out,
	});
}

static void product(const struct persistent_program *g, const struct persistent_product *p, float *traced,
		    unsigned long long *stamps)
{
	int routed = p->output == PERSISTENT_ROUTED;
	const float *x = p->in, *up = p->up;

	if (p->stream) {
		if (p->in)
			take_in(g, p);
		x = p->pre_norm ? normed(g, g->h, p->pre_norm, routed ? 1.0f / sqrtf((float)g->n_embd) : 1.0f) : g->h;
		trace(g, p, p->output == PERSISTENT_LOGITS ? x : g->h, traced);
	}
	stamp(stamps, PERSISTENT_INPUT);
	if (p->n_used && !routed) {
		experts(g, p, x);
		stamp(stamps, PERSISTENT_WORKED);
		return;
	}
	for (int i = 0; i < p->n_w; i++)
		matmul(&p->w[i], x, p->output == PERSISTENT_GATED && i == 1 ? g->up : p->y[i]);
	stamp(stamps, PERSISTENT_WORKED);
	if (routed)
		route(g, p);
	if (p->output == PERSISTENT_GATED)
		up = g->up;
	if (p->output == PERSISTENT_GATED || p->output == PERSISTENT_TIMES)
		k_gated(&(struct gated_params){
			.gate = p->y[0],
			.up = up,
			.y = p->y[0],
			.n_rows = 1,
			.n = p->w[0].n_out,
			.gate_stride = p->w[0].n_out,
			.up_stride = p->w[0].n_out,
			.y_stride = p->w[0].n_out,
			.act = g->act,
		});
	if (p->output == PERSISTENT_LOGITS && g->cap > 0.0f)
		k_softcap(&(struct softcap_params){.x = p->y[0], .n = p->w[0].n_out, .cap = g->cap});
}

static void embed(const struct at *at, const struct weight *table, float scale, float *y)
{
	k_embed(&(struct embed_params){.at = *at, .table = *table, .y = y, .n_tokens = 1, .scale = scale});
}

static void per_layer_embeddings(const struct at *at, const struct persistent_ple *p)
{
	embed(at, &p->table, p->table_scale, p->y);
	k_norm_add(&(struct norm_add_params){
		.a = p->y,
		.b = p->proj,
		.weight = p->norm,
		.normed = (float *)(uintptr_t)p->proj, /* nobody reads it again */
		.y = p->y,
		.n_rows = p->n_layer,
		.n = p->n_ple,
		.eps = p->eps,
		.scale = p->scale,
	});
}

static void attention(const struct persistent_program *g, const struct at *at, const struct persistent_attention *p,
		      unsigned long long *stamps)
{
	const struct step step = at->device ? *at->device : at->host;
	int keys = step.pos - (p->window > 0 ? 0 : step.evicted) + 1;

	if (p->window > 0 && keys > p->window)
		keys = p->window;
	k_qkv_prepare(&(struct qkv_prepare_params){
		.at = *at,
		.q = p->q,
		.k = p->owns ? p->k : NULL,
		.v = p->owns ? p->v : NULL,
		.v_raw = p->owns ? p->v_raw : NULL,
		.q_norm = p->q_norm,
		.k_norm = p->k_norm,
		.inv_freq = p->inv_freq,
		.kv = p->kv,
		.n_tokens = 1,
		.n_heads = p->n_heads,
		.head_dim = p->kv.head_dim,
		.v_norm = p->v_norm,
		.eps = g->eps,
	});
	stamp(stamps, PERSISTENT_INPUT);
	k_attention(&(struct attention_params){
		.split = {.at = *at,
			  .q = p->q,
			  .kv = p->kv,
			  .partial = g->splits,
			  .n_heads = p->n_heads,
			  .window = p->window,
			  .split_len = g->split_len,
			  .n_splits = (keys + g->split_len - 1) / g->split_len,
			  .scale = p->scale},
		.y = p->y,
	});
	stamp(stamps, PERSISTENT_WORKED);
}

void k_persistent(const struct persistent_params *p)
{
	const struct persistent_program *g = p->program;
	unsigned long long *stamps = p->stamps;

	embed(&p->at, &g->token_embd, g->embed_scale, g->h);
	for (int i = 0; i < g->n_phases; i++) {
		const struct persistent_phase *phase = &g->phases[i];

		stamp(stamps, PERSISTENT_ENTERED);
		switch ((enum persistent_kind)phase->kind) {
		case PERSISTENT_PRODUCT:
			product(g, &phase->of.product, p->trace, stamps);
			break;
		case PERSISTENT_PLE:
			per_layer_embeddings(&p->at, &phase->of.ple);
			break;
		case PERSISTENT_ATTENTION:
			attention(g, &p->at, &phase->of.attention, stamps);
			break;
		}
		stamp(stamps, PERSISTENT_PUBLISHED);
		if (stamps)
			stamps += PERSISTENT_STAMPS;
	}
}
