/*
 * From GGUF metadata and tensor lists to struct model. Every number that later sizes
 * memory or indexes a tensor is bounded here, once.
 */
#include "engine/model/model.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/gguf_internal.h"

enum {
	MAX_LAYERS = 1024,
	MAX_WIDTH = 1 << 20, /* n_embd, n_ff, heads x head_dim */
	MAX_VOCAB = 1 << 24,
	MAX_CONTEXT = 1 << 28,
	MAX_HEADS = 1024,
	MAX_HEAD_DIM = 1024,
	MAX_EXPERTS = 1024,
};

/* What a loader function needs to name a key of the architecture and report about it. */
struct reader {
	struct model *m;
	const struct gguf *g;
	char key[128];
	struct error *err;
};

const char *model_arch_name(enum model_arch a)
{
	return a == MODEL_QWEN3 ? "qwen3" : "gemma4";
}

static const char *arch_key(struct reader *r, const char *suffix)
{
	snprintf(r->key, sizeof r->key, "%s.%s", model_arch_name(r->m->arch), suffix);
	return r->key;
}

static bool has(struct reader *r, const char *suffix)
{
	return gguf_find(r->g, arch_key(r, suffix)) != NULL;
}

static int bounded(struct reader *r, int64_t value, int64_t min, int64_t max, int *out)
{
	if (value < min || value > max)
		return error_set(r->err, ERROR_INPUT, "%s: %s is %" PRId64 ", expected %" PRId64 " to %" PRId64,
				 r->g->path, r->key, value, min, max);
	*out = (int)value;
	return 0;
}

static int read_int(struct reader *r, const char *suffix, int64_t min, int64_t max, int *out)
{
	int64_t value;
	int rc = gguf_get_int(r->g, arch_key(r, suffix), &value, r->err);
	return rc ? rc : bounded(r, value, min, max, out);
}

static int read_int_or(struct reader *r, const char *suffix, int64_t min, int64_t max, int fallback, int *out)
{
	if (has(r, suffix))
		return read_int(r, suffix, min, max, out);
	*out = fallback;
	return 0;
}

/* A value that may be one for all layers or an array with one a layer. */
static int read_layer_int(struct reader *r, const char *suffix, int layer, int64_t min, int64_t max, int *out)
{
	const struct gguf_kv *kv = gguf_find(r->g, arch_key(r, suffix));
	if (!kv || kv->type != GGUF_ARRAY)
		return read_int(r, suffix, min, max, out);
	if (kv->n_items < (uint64_t)r->m->n_layer)
		return error_set(r->err, ERROR_INPUT, "%s: %s has %" PRIu64 " items for %d layers", r->g->path, r->key,
				 kv->n_items, r->m->n_layer);
	int64_t value;
	int rc = gguf_get_int_at(r->g, r->key, (uint64_t)layer, &value, r->err);
	return rc ? rc : bounded(r, value, min, max, out);
}

static int read_float(struct reader *r, const char *suffix, double min, double max, double *out)
{
	int rc = gguf_get_float(r->g, arch_key(r, suffix), out, r->err);
	if (rc)
		return rc;
	if (!(*out >= min && *out <= max))
		return error_set(r->err, ERROR_INPUT, "%s: %s is %g, expected %g to %g", r->g->path, r->key, *out, min,
				 max);
	return 0;
}

static int read_arch(struct reader *r)
{
	struct gguf_string s;
	int rc = gguf_get_string(r->g, "general.architecture", &s, r->err);
	if (rc)
		return rc;
	if (s.size == 6 && !memcmp(s.data, "gemma4", 6))
		r->m->arch = MODEL_GEMMA4;
	else if (s.size == 5 && !memcmp(s.data, "qwen3", 5))
		r->m->arch = MODEL_QWEN3;
	else
		return error_set(r->err, ERROR_UNSUPPORTED,
				 "%s: the architecture '%s' is not supported; gemma4 and qwen3 are", r->g->path,
				 gguf_show(s).text);
	struct gguf_string name = s;
	const struct gguf_kv *kv = gguf_find(r->g, "general.name");
	if (kv && kv->type == GGUF_STRING) {
		rc = gguf_get_string(r->g, "general.name", &name, r->err);
		if (rc)
			return rc;
	}
	text_name(r->m->name, sizeof r->m->name, name.data, name.size);
	return 0;
}

static int read_globals(struct reader *r)
{
	struct model *m = r->m;
	bool gemma = m->arch == MODEL_GEMMA4;
	double eps, softcap = 0, base;
	int rc;
	if ((rc = read_int(r, "block_count", 1, MAX_LAYERS, &m->n_layer)) ||
	    (rc = read_int(r, "context_length", 1, MAX_CONTEXT, &m->n_context)) ||
	    (rc = read_int(r, "embedding_length", 1, MAX_WIDTH, &m->n_embd)) ||
	    (rc = read_float(r, "attention.layer_norm_rms_epsilon", 0, 1, &eps)) ||
	    (rc = read_float(r, "rope.freq_base", 1, 1e12, &base)))
		return rc;
	m->eps = (float)eps;
	m->rope_base = m->rope_base_swa = base;
	m->embed_scale = 1;
	if (!gemma)
		return 0;
	m->embed_scale = sqrtf((float)m->n_embd);
	if (has(r, "final_logit_softcapping") && (rc = read_float(r, "final_logit_softcapping", 0, 1e6, &softcap)))
		return rc;
	m->softcap = (float)softcap;
	if ((rc = read_int(r, "attention.sliding_window", 1, MAX_CONTEXT, &m->window)) ||
	    (rc = read_float(r, "rope.freq_base_swa", 1, 1e12, &m->rope_base_swa)) ||
	    (rc = read_int_or(r, "attention.shared_kv_layers", 0, m->n_layer - 1, 0, &m->n_shared_kv)) ||
	    (rc = read_int_or(r, "embedding_length_per_layer_input", 0, MAX_WIDTH / m->n_layer, 0, &m->n_ple)) ||
	    (rc = read_int_or(r, "expert_count", 0, MAX_EXPERTS, 0, &m->n_expert)))
		return rc;
	if (m->n_expert && ((rc = read_int(r, "expert_used_count", 1, m->n_expert, &m->n_expert_used)) ||
			    (rc = read_int(r, "expert_feed_forward_length", 1, MAX_WIDTH, &m->n_ff_expert))))
		return rc;
	return 0;
}

static int read_head_dim(struct reader *r, struct model_layer *l)
{
	const char *key = l->sliding ? "attention.key_length_swa" : "attention.key_length";
	const char *value = l->sliding ? "attention.value_length_swa" : "attention.value_length";
	const char *rope = l->sliding ? "rope.dimension_count_swa" : "rope.dimension_count";
	int value_length, rope_dim, rc;
	if (r->m->arch == MODEL_QWEN3 && !has(r, key)) {
		l->head_dim = r->m->n_embd / l->n_head;
	} else if ((rc = read_int(r, key, 2, MAX_HEAD_DIM, &l->head_dim))) {
		return rc;
	}
	if ((rc = read_int_or(r, value, 1, MAX_HEAD_DIM, l->head_dim, &value_length)))
		return rc;
	if (value_length != l->head_dim)
		return error_set(r->err, ERROR_UNSUPPORTED, "%s: %s is %d and differs from the key length %d",
				 r->g->path, r->key, value_length, l->head_dim);
	if ((rc = read_int_or(r, rope, 1, MAX_HEAD_DIM, l->head_dim, &rope_dim)))
		return rc;
	if (rope_dim != l->head_dim || l->head_dim % 2)
		return error_set(r->err, ERROR_UNSUPPORTED, "%s: %s is %d: RoPE must cover the even head_dim %d",
				 r->g->path, r->key, rope_dim, l->head_dim);
	return 0;
}

static int read_layer(struct reader *r, int i)
{
	struct model *m = r->m;
	struct model_layer *l = &m->layers[i];
	int rc;
	if (m->arch == MODEL_GEMMA4) {
		const struct gguf_kv *kv = gguf_find(r->g, arch_key(r, "attention.sliding_window_pattern"));
		if (!kv || kv->type != GGUF_ARRAY || kv->n_items < (uint64_t)m->n_layer)
			return error_set(r->err, ERROR_INPUT, "%s: %s must be an array of %d booleans", r->g->path,
					 r->key, m->n_layer);
		if ((rc = gguf_get_bool_at(r->g, r->key, (uint64_t)i, &l->sliding, r->err)))
			return rc;
	}
	if ((rc = read_layer_int(r, "attention.head_count", i, 1, MAX_HEADS, &l->n_head)) ||
	    (rc = read_layer_int(r, "attention.head_count_kv", i, 1, MAX_HEADS, &l->n_head_kv)) ||
	    (rc = read_head_dim(r, l)) || (rc = read_layer_int(r, "feed_forward_length", i, 1, MAX_WIDTH, &l->n_ff)))
		return rc;
	if (l->n_head % l->n_head_kv)
		return error_set(r->err, ERROR_INPUT, "%s: layer %d has %d heads, no multiple of its %d KV heads",
				 r->g->path, i, l->n_head, l->n_head_kv);
	l->kv_source = i;
	int first_shared = m->n_layer - m->n_shared_kv;
	if (i < first_shared)
		return 0;
	for (int j = first_shared - 1; j >= 0; j--) {
		const struct model_layer *source = &m->layers[j];
		if (source->sliding != l->sliding)
			continue;
		if (source->head_dim != l->head_dim || l->n_head % source->n_head_kv)
			return error_set(r->err, ERROR_INPUT, "%s: layer %d cannot share the cache of layer %d",
					 r->g->path, i, j);
		l->kv_source = j;
		l->n_head_kv = source->n_head_kv;
		return 0;
	}
	return error_set(r->err, ERROR_INPUT, "%s: layer %d shares a cache, but no layer before %d is of its kind",
			 r->g->path, i, first_shared);
}

/* ---- tensors ---- */

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

/* Finds a tensor and checks its shape; dims innermost first. f32_only: what kernels read as plain floats. */
static int find(struct reader *r, const char *name, int required, bool f32_only, int64_t ne0, int64_t ne1, int64_t ne2,
		const struct gguf_tensor **out)
{
	*out = gguf_find_tensor(r->g, name);
	if (!*out) {
		if (!required)
			return 0;
		return error_set(r->err, ERROR_INPUT, "%s: the tensor %s is missing; convert the model again",
				 r->g->path, name);
	}
	const int64_t want[GGUF_MAX_DIMS] = {ne0, ne1, ne2, 1};
	const struct gguf_tensor *t = *out;
	if (memcmp(t->ne, want, sizeof want)) {
		char a[96], b[96];
		return error_set(r->err, ERROR_INPUT, "%s: the tensor %s is %s, expected %s", r->g->path, name,
				 dims_text(a, sizeof a, t->ne), dims_text(b, sizeof b, want));
	}
	if (f32_only && t->type != TENSOR_F32)
		return error_set(r->err, ERROR_UNSUPPORTED, "%s: the tensor %s is %s, expected F32", r->g->path, name,
				 tensor_type_name(t->type));
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

static int find_moe(struct reader *r, int i, struct model_layer *l)
{
	const struct model *m = r->m;
	int e = m->n_embd, ff = m->n_ff_expert, n = m->n_expert, rc;
	(void)((rc = find_matrix(r, i, "ffn_gate_inp.weight", e, n, 1, &l->ffn_gate_inp)) ||
	       (rc = find_vector(r, i, "ffn_gate_inp.scale", REQUIRED, e, &l->ffn_gate_inp_scale)) ||
	       (rc = find_matrix(r, i, "ffn_gate_up_exps.weight", e, 2 * (int64_t)ff, n, &l->ffn_gate_up_exps)) ||
	       (rc = find_matrix(r, i, "ffn_down_exps.weight", ff, e, n, &l->ffn_down_exps)) ||
	       (rc = find_vector(r, i, "ffn_down_exps.scale", REQUIRED, n, &l->ffn_down_exps_scale)) ||
	       (rc = find_vector(r, i, "pre_ffw_norm_2.weight", REQUIRED, e, &l->pre_ffw_norm_2)) ||
	       (rc = find_vector(r, i, "post_ffw_norm_1.weight", REQUIRED, e, &l->post_ffw_norm_1)) ||
	       (rc = find_vector(r, i, "post_ffw_norm_2.weight", REQUIRED, e, &l->post_ffw_norm_2)));
	return rc;
}

static int find_attention(struct reader *r, int i, struct model_layer *l)
{
	int e = r->m->n_embd, hd = l->head_dim, rc;
	int64_t q = (int64_t)l->n_head * hd, kv = (int64_t)l->n_head_kv * hd;
	if (q > MAX_WIDTH)
		return error_set(r->err, ERROR_INPUT, "%s: layer %d has %d heads of %d, more than %d values",
				 r->g->path, i, l->n_head, hd, MAX_WIDTH);
	if ((rc = find_vector(r, i, "attn_norm.weight", REQUIRED, e, &l->attn_norm)) ||
	    (rc = find_matrix(r, i, "attn_q.weight", e, q, 1, &l->attn_q)) ||
	    (rc = find_vector(r, i, "attn_q_norm.weight", REQUIRED, hd, &l->attn_q_norm)) ||
	    (rc = find_matrix(r, i, "attn_output.weight", q, e, 1, &l->attn_output)))
		return rc;
	if (l->kv_source != i)
		return 0;
	if ((rc = find_matrix(r, i, "attn_k.weight", e, kv, 1, &l->attn_k)) ||
	    (rc = find_vector(r, i, "attn_k_norm.weight", REQUIRED, hd, &l->attn_k_norm)))
		return rc;
	char name[96];
	snprintf(name, sizeof name, "blk.%d.attn_v.weight", i);
	/* K = V is a property of the global layers of some models: their files simply have no attn_v there. */
	l->v_is_k = r->m->arch == MODEL_GEMMA4 && !l->sliding && !gguf_find_tensor(r->g, name);
	return l->v_is_k ? 0 : find_matrix(r, i, "attn_v.weight", e, kv, 1, &l->attn_v);
}

static int find_layer(struct reader *r, int i)
{
	const struct model *m = r->m;
	struct model_layer *l = &m->layers[i];
	int e = m->n_embd, rc;
	if ((rc = find_attention(r, i, l)) || (rc = find_vector(r, i, "ffn_norm.weight", REQUIRED, e, &l->ffn_norm)) ||
	    (rc = find_matrix(r, i, "ffn_gate.weight", e, l->n_ff, 1, &l->ffn_gate)) ||
	    (rc = find_matrix(r, i, "ffn_up.weight", e, l->n_ff, 1, &l->ffn_up)) ||
	    (rc = find_matrix(r, i, "ffn_down.weight", l->n_ff, e, 1, &l->ffn_down)))
		return rc;
	if (m->arch != MODEL_GEMMA4)
		return 0;
	if ((rc = find_vector(r, i, "post_attention_norm.weight", REQUIRED, e, &l->post_attention_norm)) ||
	    (rc = find_vector(r, i, "post_ffw_norm.weight", REQUIRED, e, &l->post_ffw_norm)) ||
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
	if (t && (t->ne[1] < 1 || t->ne[1] > MAX_VOCAB))
		return error_set(r->err, ERROR_INPUT, "%s: token_embd.weight has %" PRId64 " rows, expected 1 to %d",
				 r->g->path, t->ne[1], MAX_VOCAB);
	m->n_vocab = t ? (int)t->ne[1] : 0;
	int declared, rc = read_int_or(r, "vocab_size", 1, MAX_VOCAB, m->n_vocab, &declared);
	if (rc)
		return rc;
	if (t && declared != m->n_vocab)
		return error_set(r->err, ERROR_INPUT, "%s: %s is %d, but token_embd.weight has %d rows", r->g->path,
				 r->key, declared, m->n_vocab);
	return find(r, "token_embd.weight", REQUIRED, false, m->n_embd, m->n_vocab, 1, &m->token_embd);
}

static int find_globals(struct reader *r)
{
	struct model *m = r->m;
	int rc = find_vocabulary(r);
	if (rc || (rc = find(r, "output.weight", OPTIONAL, false, m->n_embd, m->n_vocab, 1, &m->output)) ||
	    (rc = find(r, "output_norm.weight", REQUIRED, true, m->n_embd, 1, 1, &m->output_norm)))
		return rc;
	if (!m->output)
		m->output = m->token_embd;
	if (m->arch != MODEL_GEMMA4)
		return 0;
	for (int i = 0; i < m->n_layer; i++) {
		if (m->layers[i].sliding)
			continue;
		rc = find(r, "rope_freqs.weight", OPTIONAL, true, m->layers[i].head_dim / 2, 1, 1, &m->rope_freqs);
		if (rc)
			return rc;
		break;
	}
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

int model_open(struct model *m, const char *path, struct error *err)
{
	*m = (struct model){0};
	int rc = gguf_open(&m->file, path, err);
	if (rc)
		return rc;
	rc = model_read(m, err);
	if (rc)
		model_close(m);
	return rc;
}

int model_read(struct model *m, struct error *err)
{
	struct reader r = {.m = m, .g = &m->file, .err = err};
	int rc;
	if ((rc = read_arch(&r)) || (rc = read_globals(&r)))
		return rc;
	m->layers = calloc((size_t)m->n_layer, sizeof *m->layers);
	if (!m->layers)
		return error_set(err, ERROR_MEMORY, "%s: no memory for %d layers", m->file.path, m->n_layer);
	for (int i = 0; i < m->n_layer; i++)
		if ((rc = read_layer(&r, i)))
			return rc;
	m->attention_scale = m->arch == MODEL_QWEN3 ? 1.0f / sqrtf((float)m->layers[0].head_dim) : 1.0f;
	if ((rc = find_globals(&r)))
		return rc;
	for (int i = 0; i < m->n_layer; i++)
		if ((rc = find_layer(&r, i)))
			return rc;
	return 0;
}

void model_close(struct model *m)
{
	free(m->layers);
	gguf_close(&m->file);
	*m = (struct model){0};
}

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
	size_t sum = expert_bytes(m, l->ffn_gate_up_exps) + expert_bytes(m, l->ffn_down_exps);
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
		size_t row = (size_t)l->n_head_kv * (size_t)l->head_dim;
		sum += (size_t)slots * (tensor_type_bytes(k_type, row) + tensor_type_bytes(v_type, row));
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
