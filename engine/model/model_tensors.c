/*
 * The tensors of a model: that those which its metadata asks for are there, with the right shape.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/model/model_internal.h"

static const char *dims_text(char *out, size_t size, const int64_t *ne)
{
	int n = 3;
	while (n > 1 && ne[n - 1] == 1)
		n--;
	size_t used = 0;
	out[0] = 0;
	for (int i = 0; i < n && used < size; i++)
		used += (size_t)snprintf(out + used, size - used, "%s%" PRId64, i ? " x " : "", ne[i]);
	return out;
}

enum { OPTIONAL = 0, REQUIRED = 1 };

/* Null where there is none. */
static const struct gguf_tensor *take(struct reader *r, const char *name)
{
	const struct gguf_tensor *t = gguf_find_tensor(r->g, name);
	if (t)
		r->tensor_read[t - r->g->tensors] = true;
	return t;
}

/* Finds a tensor and checks its shape; dims innermost first. f32_only: what kernels read as plain floats. */
static int find(struct reader *r, const char *name, int required, bool f32_only, int64_t ne0, int64_t ne1, int64_t ne2,
		const struct gguf_tensor **out)
{
	*out = take(r, name);
	if (!*out) {
		if (!required)
			return 0;
		return error_set(r->err, ERROR_INPUT, "%s: the tensor %s is missing; " CONVERT_AGAIN, r->g->path, name);
	}
	const int64_t want[GGUF_MAX_DIMS] = {ne0, ne1, ne2, 1};
	const struct gguf_tensor *t = *out;
	if (memcmp(t->ne, want, sizeof want)) {
		char a[96], b[96];
		return error_set(r->err, ERROR_INPUT, "%s: the tensor %s is %s, expected %s; " CONVERT_AGAIN,
				 r->g->path, name, dims_text(a, sizeof a, t->ne), dims_text(b, sizeof b, want));
	}
	if (f32_only && t->type != TENSOR_F32)
		return error_set(r->err, ERROR_UNSUPPORTED, "%s: the tensor %s is %s, expected F32; " CONVERT_AGAIN,
				 r->g->path, name, tensor_type_name(t->type));
	return 0;
}

static int find_vector(struct reader *r, int layer, const char *suffix, int required, int64_t n,
		       const struct gguf_tensor **out)
{
	char name[96];
	snprintf(name, sizeof name, "blk.%d.%s", layer, suffix);
	return find(r, name, required, true, n, 1, 1, out);
}

static int find_matrix(struct reader *r, int layer, const char *suffix, int64_t n_in, int64_t n_out, int64_t n_expert,
		       const struct gguf_tensor **out)
{
	char name[96];
	snprintf(name, sizeof name, "blk.%d.%s", layer, suffix);
	return find(r, name, REQUIRED, false, n_in, n_out, n_expert, out);
}

/* Gate and up in one tensor, as today's converters write them, or in two. */
static int find_gate_up_exps(struct reader *r, int i, struct model_layer *l)
{
	const struct model *m = r->m;
	int64_t e = m->n_embd, ff = m->n_ff_expert, n = m->n_expert;
	char name[96];
	int rc;
	snprintf(name, sizeof name, "blk.%d.ffn_gate_exps.weight", i);
	if (gguf_find_tensor(r->g, name) == NULL)
		return find_matrix(r, i, "ffn_gate_up_exps.weight", e, 2 * ff, n, &l->ffn_gate_up_exps);
	if ((rc = find_matrix(r, i, "ffn_gate_exps.weight", e, ff, n, &l->ffn_gate_exps)) ||
	    (rc = find_matrix(r, i, "ffn_up_exps.weight", e, ff, n, &l->ffn_up_exps)))
		return rc;
	if (l->ffn_gate_exps->type == l->ffn_up_exps->type)
		return 0;
	return error_set(r->err, ERROR_UNSUPPORTED,
			 "%s: %s is %s, but blk.%d.ffn_up_exps.weight is %s; quantize both to one type", r->g->path,
			 name, tensor_type_name(l->ffn_gate_exps->type), i, tensor_type_name(l->ffn_up_exps->type));
}

static int find_moe(struct reader *r, int i, struct model_layer *l)
{
	const struct model *m = r->m;
	int e = m->n_embd, ff = m->n_ff_expert, n = m->n_expert, rc;
	(void)((rc = find_matrix(r, i, "ffn_gate_inp.weight", e, n, 1, &l->ffn_gate_inp)) ||
	       (rc = find_vector(r, i, "ffn_gate_inp.scale", REQUIRED, e, &l->ffn_gate_inp_scale)) ||
	       (rc = find_gate_up_exps(r, i, l)) ||
	       (rc = find_matrix(r, i, "ffn_down_exps.weight", ff, e, n, &l->ffn_down_exps)) ||
	       (rc = find_vector(r, i, "ffn_down_exps.scale", OPTIONAL, n, &l->ffn_down_exps_scale)) ||
	       (rc = find_vector(r, i, "pre_ffw_norm_2.weight", REQUIRED, e, &l->pre_ffw_norm_2)) ||
	       (rc = find_vector(r, i, "post_ffw_norm_1.weight", REQUIRED, e, &l->post_ffw_norm_1)) ||
	       (rc = find_vector(r, i, "post_ffw_norm_2.weight", REQUIRED, e, &l->post_ffw_norm_2)));
	return rc;
}

/* Files of published checkpoints hold K and V of layers that attend another's cache: nothing reads them. */
static void take_unused_kv(struct reader *r, int i)
{
	static const char *const suffixes[] = {"attn_k.weight", "attn_k_norm.weight", "attn_v.weight"};
	for (size_t j = 0; j < sizeof suffixes / sizeof *suffixes; j++) {
		char name[96];
		snprintf(name, sizeof name, "blk.%d.%s", i, suffixes[j]);
		take(r, name);
	}
}

static int find_attention(struct reader *r, int i, struct model_layer *l)
{
	int e = r->m->n_embd, hd = l->head_dim, rc;
	int64_t q = (int64_t)l->n_head * hd, kv = (int64_t)l->n_head_kv * hd;
	if (q > MODEL_MAX_WIDTH)
		return error_set(r->err, ERROR_INPUT, "%s: layer %d has %d heads of %d, more than %d values",
				 r->g->path, i, l->n_head, hd, MODEL_MAX_WIDTH);
	if ((rc = find_vector(r, i, "attn_norm.weight", REQUIRED, e, &l->attn_norm)) ||
	    (rc = find_matrix(r, i, "attn_q.weight", e, q, 1, &l->attn_q)) ||
	    (rc = find_vector(r, i, "attn_q_norm.weight", REQUIRED, hd, &l->attn_q_norm)) ||
	    (rc = find_matrix(r, i, "attn_output.weight", q, e, 1, &l->attn_output)))
		return rc;
	if (l->kv_source != i) {
		take_unused_kv(r, i);
		return 0;
	}
	if ((rc = find_matrix(r, i, "attn_k.weight", e, kv, 1, &l->attn_k)) ||
	    (rc = find_vector(r, i, "attn_k_norm.weight", REQUIRED, hd, &l->attn_k_norm)))
		return rc;
	char name[96];
	snprintf(name, sizeof name, "blk.%d.attn_v.weight", i);
	/* K = V is a property of the global layers of some models: their files simply have no attn_v there. */
	l->v_is_k = r->arch->v_may_be_k && !l->sliding && !gguf_find_tensor(r->g, name);
	return l->v_is_k ? 0 : find_matrix(r, i, "attn_v.weight", e, kv, 1, &l->attn_v);
}

int model_find_layer(struct reader *r, int i)
{
	const struct model *m = r->m;
	struct model_layer *l = &m->layers[i];
	int e = m->n_embd, rc;
	if ((rc = find_attention(r, i, l)) || (rc = find_vector(r, i, "ffn_norm.weight", REQUIRED, e, &l->ffn_norm)) ||
	    (rc = find_matrix(r, i, "ffn_gate.weight", e, l->n_ff, 1, &l->ffn_gate)) ||
	    (rc = find_matrix(r, i, "ffn_up.weight", e, l->n_ff, 1, &l->ffn_up)) ||
	    (rc = find_matrix(r, i, "ffn_down.weight", l->n_ff, e, 1, &l->ffn_down)))
		return rc;
	if (m->post_norms &&
	    ((rc = find_vector(r, i, "post_attention_norm.weight", REQUIRED, e, &l->post_attention_norm)) ||
	     (rc = find_vector(r, i, "post_ffw_norm.weight", REQUIRED, e, &l->post_ffw_norm))))
		return rc;
	if (r->arch->output_scale &&
	    (rc = find_vector(r, i, "layer_output_scale.weight", OPTIONAL, 1, &l->layer_output_scale)))
		return rc;
	if (m->n_ple && ((rc = find_matrix(r, i, "inp_gate.weight", e, m->n_ple, 1, &l->inp_gate)) ||
			 (rc = find_matrix(r, i, "proj.weight", m->n_ple, e, 1, &l->proj)) ||
			 (rc = find_vector(r, i, "post_norm.weight", REQUIRED, e, &l->post_norm))))
		return rc;
	return m->n_expert ? find_moe(r, i, l) : 0;
}

/* token_embd settles the vocabulary: synthetic files have no tokenizer to count. */
static int find_vocabulary(struct reader *r)
{
	struct model *m = r->m;
	const struct gguf_tensor *t = gguf_find_tensor(r->g, "token_embd.weight");
	if (t && (t->ne[1] < 1 || t->ne[1] > MODEL_MAX_VOCAB))
		return error_set(r->err, ERROR_INPUT,
				 "%s: token_embd.weight has %" PRId64 " rows, expected 1 to %d; " CONVERT_AGAIN,
				 r->g->path, t->ne[1], MODEL_MAX_VOCAB);
	m->n_vocab = t ? (int)t->ne[1] : 0;
	int declared, rc = reader_int_or(r, "vocab_size", 1, MODEL_MAX_VOCAB, m->n_vocab, &declared);
	if (rc)
		return rc;
	if (t && declared != m->n_vocab)
		return error_set(r->err, ERROR_INPUT, "%s: %s is %d, but token_embd.weight has %d rows; " CONVERT_AGAIN,
				 r->g->path, r->key, declared, m->n_vocab);
	return find(r, "token_embd.weight", REQUIRED, false, m->n_embd, m->n_vocab, 1, &m->token_embd);
}

static int find_rope_factors(struct reader *r)
{
	struct model *m = r->m;
	take(r, "rope_freqs.weight"); /* of global layers: where there are none it changes nothing */
	int i = 0, rc;
	while (i < m->n_layer && m->layers[i].sliding)
		i++;
	if (i == m->n_layer)
		return 0;
	rc = find(r, "rope_freqs.weight", OPTIONAL, true, m->layers[i].head_dim / 2, 1, 1, &m->rope_freqs);
	for (int64_t j = 0; !rc && m->rope_freqs && j < m->rope_freqs->ne[0]; j++) {
		float factor = ((const float *)m->rope_freqs->data)[j];
		if (!(factor > 0) || isinf(factor))
			return error_set(r->err, ERROR_INPUT,
					 "%s: rope_freqs.weight has %g as factor %" PRId64
					 ", expected a positive number; download or convert the model again",
					 r->g->path, (double)factor, j);
	}
	return rc;
}

int model_find_globals(struct reader *r)
{
	struct model *m = r->m;
	int rc = find_vocabulary(r);
	if (rc || (rc = find(r, "output.weight", OPTIONAL, false, m->n_embd, m->n_vocab, 1, &m->output)) ||
	    (rc = find(r, "output_norm.weight", REQUIRED, true, m->n_embd, 1, 1, &m->output_norm)))
		return rc;
	if (!m->output)
		m->output = m->token_embd;
	if (r->arch->rope_factors && (rc = find_rope_factors(r)))
		return rc;
	if (!m->n_ple)
		return 0;
	int64_t width = (int64_t)m->n_layer * m->n_ple;
	(void)((rc = find(r, "per_layer_token_embd.weight", REQUIRED, false, width, m->n_vocab, 1,
			  &m->per_layer_token_embd)) ||
	       (rc = find(r, "per_layer_model_proj.weight", REQUIRED, false, m->n_embd, width, 1,
			  &m->per_layer_model_proj)) ||
	       (rc = find(r, "per_layer_proj_norm.weight", REQUIRED, true, m->n_ple, 1, 1, &m->per_layer_proj_norm)));
	return rc;
}
