/*
 * Ranges of a model's layers, and what they take: bytes of weights that a token reads, bytes of caches.
 */
#include "engine/model/model.h"

/* ---- ranges ---- */

struct model_range model_whole(const struct model *m)
{
	return (struct model_range){.end = m->n_layer, .embed = true, .head = true};
}

bool model_attends(const struct model *m, int begin, int end, int layer)
{
	for (int i = begin; i < end; i++)
		if (m->layers[i].kv_source == layer)
			return true;
	return false;
}

int model_first_reader(const struct model *m)
{
	int i = m->n_layer;
	while (i > 0 && m->layers[i - 1].kv_source != i - 1)
		i--;
	return i;
}

/* ---- sizes ---- */

static size_t bytes_of(const struct gguf_tensor *t)
{
	return t ? t->bytes : 0;
}

static size_t row_bytes(const struct gguf_tensor *t)
{
	return t ? t->bytes / (size_t)t->ne[1] : 0;
}

static size_t expert_bytes(const struct model *m, const struct gguf_tensor *t)
{
	return t ? t->bytes / (size_t)m->n_expert * (size_t)m->n_expert_used : 0;
}

size_t model_layer_bytes(const struct model *m, int layer)
{
	const struct model_layer *l = &m->layers[layer];
	const struct gguf_tensor *const dense[] = {
		l->attn_norm,
		l->attn_q,
		l->attn_k,
		l->attn_v,
		l->attn_output,
		l->attn_q_norm,
		l->attn_k_norm,
		l->ffn_norm,
		l->ffn_gate,
		l->ffn_up,
		l->ffn_down,
		l->post_attention_norm,
		l->post_ffw_norm,
		l->inp_gate,
		l->proj,
		l->post_norm,
		l->layer_output_scale,
		l->ffn_gate_inp,
		l->ffn_gate_inp_scale,
		l->ffn_down_exps_scale,
		l->pre_ffw_norm_2,
		l->post_ffw_norm_1,
		l->post_ffw_norm_2,
	};
	size_t sum = expert_bytes(m, l->ffn_gate_up_exps) + expert_bytes(m, l->ffn_gate_exps) +
		     expert_bytes(m, l->ffn_up_exps) + expert_bytes(m, l->ffn_down_exps);
	for (size_t i = 0; i < sizeof dense / sizeof *dense; i++)
		sum += bytes_of(dense[i]);
	return sum;
}

size_t model_range_bytes(const struct model *m, const struct model_range *r)
{
	size_t sum = 0;
	if (r->embed)
		sum += row_bytes(m->token_embd) + row_bytes(m->per_layer_token_embd) +
		       bytes_of(m->per_layer_model_proj) + bytes_of(m->per_layer_proj_norm);
	for (int i = r->begin; i < r->end; i++)
		sum += model_layer_bytes(m, i);
	if (r->head)
		sum += bytes_of(m->output) + bytes_of(m->output_norm);
	return sum;
}

size_t model_decode_bytes(const struct model *m)
{
	const struct model_range all = model_whole(m);
	return model_range_bytes(m, &all);
}

size_t model_range_kv_bytes(const struct model *m, int begin, int end, int context, int slack, enum tensor_type k_type,
			    enum tensor_type v_type)
{
	size_t sum = 0;
	for (int i = 0; i < end; i++) {
		const struct model_layer *l = &m->layers[i];
		if (!model_attends(m, begin, end, i))
			continue;
		int64_t slots = model_kv_slots(m, i, context, slack);
		sum += (size_t)slots * (size_t)l->n_head_kv *
		       (tensor_type_cache_row(k_type, l->head_dim) + tensor_type_cache_row(v_type, l->head_dim));
	}
	return sum;
}

size_t model_kv_bytes(const struct model *m, int context, int slack, enum tensor_type k_type, enum tensor_type v_type)
{
	return model_range_kv_bytes(m, 0, m->n_layer, context, slack, k_type, v_type);
}

int model_kv_slots(const struct model *m, int layer, int context, int slack)
{
	if (!m->layers[layer].sliding)
		return context;
	int64_t ring = (int64_t)m->window - 1 + slack;
	return ring < context ? (int)ring : context;
}
