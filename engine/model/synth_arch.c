/*
 * What a synthetic model file holds: the published shapes, the tensors and the
 * metadata that follow from one. synth.c makes the values.
 *
 * Scales. Matrices are N(0, 1/n_in), so that a normalised input gives outputs of unit
 * variance. Norm weights are 1 with a spread of 0.2. The exceptions keep what follows
 * them in a useful range at any width:
 * - q and k norms: q.k over head_dim elements has a standard deviation of 2;
 * - the router: logits have a standard deviation of 1.5, so that experts differ;
 * - output_norm: logits have a standard deviation of 5 under a softcap of 30;
 * - layer_output_scale below 1: the residual stream's variance settles at about 13
 *   instead of growing with depth.
 *
 * Source of the shapes: the models' published configurations.
 */
#include "engine/model/synth.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DOT_SPREAD = 2, LOGIT_SPREAD = 5, MAX_LAYERS = 1024 };

/* How general.description begins. */
static const char made_by[] = "random weights of gemmark model make";

/* Of the models at hand; per file in GGUF. */
static const float eps = 1e-6f;
static const float rope_base_swa = 10000.0f;

#define GEMMA4                                                                                                      \
	.prefix = "gemma4", .post_norms = true, .scaled_embedding = true, .output_scale = true, .rope_freqs = true, \
	.sliding_keys = true, .tied = true, .softcap = 30, .rope_base = 1000000
#define GEMMA4_E4B GEMMA4, .period = 6, .shared_part = 3, .shared_of = 7
#define GEMMA4_E2B GEMMA4, .period = 5, .shared_part = 4, .shared_of = 7
#define GEMMA4_LARGE GEMMA4, .period = 6, .v_is_k = true
#define GEMMA4_HEADS .head_dim_swa = 256, .head_dim = 512, .n_vocab = 262144
#define GEMMA4_TINY .head_dim_swa = 32, .head_dim = 64, .window = 16, .n_vocab = 512, .n_context = 4096
#define GEMMA3                                                                                                   \
	.prefix = "gemma3", .post_norms = true, .scaled_embedding = true, .scaled_attention = true, .period = 6, \
	.tied = true, .rope_base = 1000000
#define GEMMA3_HEADS(n, n_kv, dim) \
	.n_head = (n), .n_head_kv_swa = (n_kv), .n_head_kv = (n_kv), .head_dim_swa = (dim), .head_dim = (dim)
#define GEMMA3_LARGE GEMMA3, .window = 1024, .n_vocab = 262144, .n_context = 131072, .rope_factor = 8
#define QWEN3 .prefix = "qwen3", .period = 1, .rope_base = 1000000, .scaled_attention = true

/* clang-format off */
static const struct synth_shape shapes[] = {
	{.arch = "gemma4-e2b", .name = "Gemma 4 E2B", GEMMA4_E2B, GEMMA4_HEADS,
	 .n_layer = 35, .n_embd = 1536, .n_ff = 6144, .n_ff_shared = 12288,
	 .n_head = 8, .n_head_kv_swa = 1, .n_head_kv = 1, .window = 512, .n_ple = 256, .n_context = 131072},
	{.arch = "gemma4-e4b", .name = "Gemma 4 E4B", GEMMA4_E4B, GEMMA4_HEADS,
	 .n_layer = 42, .n_embd = 2560, .n_ff = 10240, .n_ff_shared = 10240,
	 .n_head = 8, .n_head_kv_swa = 2, .n_head_kv = 2, .window = 512, .n_ple = 256, .n_context = 131072},
	{.arch = "gemma4-12b", .name = "Gemma 4 12B", GEMMA4_LARGE, GEMMA4_HEADS,
	 .n_layer = 48, .n_embd = 3840, .n_ff = 15360,
	 .n_head = 16, .n_head_kv_swa = 8, .n_head_kv = 1, .window = 1024, .n_context = 262144},
	{.arch = "gemma4-26b-a4b", .name = "Gemma 4 26B-A4B", GEMMA4_LARGE, GEMMA4_HEADS,
	 .n_layer = 30, .n_embd = 2816, .n_ff = 2112, .n_expert = 128, .n_expert_used = 8, .n_ff_expert = 704,
	 .n_head = 16, .n_head_kv_swa = 8, .n_head_kv = 2, .window = 1024, .n_context = 262144},
	{.arch = "gemma4-31b", .name = "Gemma 4 31B", GEMMA4_LARGE, GEMMA4_HEADS,
	 .n_layer = 60, .n_embd = 5376, .n_ff = 21504,
	 .n_head = 32, .n_head_kv_swa = 16, .n_head_kv = 4, .window = 1024, .n_context = 262144},
	{.arch = "gemma3-270m", .name = "Gemma 3 270M", GEMMA3, GEMMA3_HEADS(4, 1, 256),
	 .n_layer = 18, .n_embd = 640, .n_ff = 2048, .window = 512, .n_vocab = 262144, .n_context = 32768},
	{.arch = "gemma3-1b", .name = "Gemma 3 1B", GEMMA3, GEMMA3_HEADS(4, 1, 256),
	 .n_layer = 26, .n_embd = 1152, .n_ff = 6912, .window = 512, .n_vocab = 262144, .n_context = 32768},
	{.arch = "gemma3-4b", .name = "Gemma 3 4B", GEMMA3_LARGE, GEMMA3_HEADS(8, 4, 256),
	 .n_layer = 34, .n_embd = 2560, .n_ff = 10240},
	{.arch = "gemma3-12b", .name = "Gemma 3 12B", GEMMA3_LARGE, GEMMA3_HEADS(16, 8, 256),
	 .n_layer = 48, .n_embd = 3840, .n_ff = 15360},
	{.arch = "gemma3-27b", .name = "Gemma 3 27B", GEMMA3_LARGE, GEMMA3_HEADS(32, 16, 128),
	 .n_layer = 62, .n_embd = 5376, .n_ff = 21504},
	{.arch = "qwen3-8b", .name = "Qwen3 8B", QWEN3,
	 .n_layer = 36, .n_embd = 4096, .n_ff = 12288, .n_head = 32, .n_head_kv = 8, .head_dim = 128,
	 .n_vocab = 151936, .n_context = 40960},
	{.arch = "gemma4-e2b-tiny", .name = "Gemma 4 E2B tiny", GEMMA4_E2B, GEMMA4_TINY,
	 .n_layer = 10, .n_embd = 128, .n_ff = 256, .n_ff_shared = 512,
	 .n_head = 4, .n_head_kv_swa = 1, .n_head_kv = 1, .n_ple = 32},
	{.arch = "gemma4-e4b-tiny", .name = "Gemma 4 E4B tiny", GEMMA4_E4B, GEMMA4_TINY,
	 .n_layer = 12, .n_embd = 128, .n_ff = 256, .n_ff_shared = 256,
	 .n_head = 4, .n_head_kv_swa = 2, .n_head_kv = 2, .n_ple = 32},
	{.arch = "gemma4-26b-a4b-tiny", .name = "Gemma 4 26B-A4B tiny", GEMMA4_LARGE, GEMMA4_TINY,
	 .n_layer = 6, .n_embd = 128, .n_ff = 128, .n_expert = 8, .n_expert_used = 2, .n_ff_expert = 64,
	 .n_head = 4, .n_head_kv_swa = 4, .n_head_kv = 2},
	{.arch = "gemma4-31b-tiny", .name = "Gemma 4 31B tiny", GEMMA4_LARGE, GEMMA4_TINY,
	 .n_layer = 12, .n_embd = 128, .n_ff = 256,
	 .n_head = 4, .n_head_kv_swa = 4, .n_head_kv = 2},
	{.arch = "gemma3-tiny", .name = "Gemma 3 tiny", GEMMA3, GEMMA3_HEADS(4, 1, 64),
	 .n_layer = 7, .n_embd = 128, .n_ff = 128, .window = 16, .n_vocab = 512, .n_context = 4096, .rope_factor = 8},
	{.arch = "qwen3-tiny", .name = "Qwen3 tiny", QWEN3,
	 .n_layer = 4, .n_embd = 128, .n_ff = 256, .n_head = 4, .n_head_kv = 2, .head_dim = 32,
	 .n_vocab = 512, .n_context = 4096},
};
/* clang-format on */

enum { N_SHAPES = sizeof shapes / sizeof *shapes };

const char *synth_arch_name(int i)
{
	return i >= 0 && i < N_SHAPES ? shapes[i].arch : NULL;
}

void synth_options_default(struct synth_options *o, const char *arch)
{
	*o = (struct synth_options){.arch = arch, .type = TENSOR_Q8_0, .ple_type = TENSOR_Q8_0, .seed = 1};
}

bool synth_layer_global(const struct synth_shape *s, int i)
{
	return (i + 1) % s->period == 0;
}

bool synth_layer_shared(const struct synth_shape *s, int i)
{
	return i >= s->n_layer - s->n_shared;
}

static int n_ff_of(const struct synth_shape *s, int i)
{
	return synth_layer_shared(s, i) ? s->n_ff_shared : s->n_ff;
}

static int n_head_kv_of(const struct synth_shape *s, int i)
{
	return synth_layer_global(s, i) ? s->n_head_kv : s->n_head_kv_swa;
}

/* The published share of periods, rounded; the first period always owns its K/V. */
static int n_shared_of(const struct synth_shape *s)
{
	if (!s->shared_of)
		return 0;
	int periods = s->n_layer / s->period;
	int shared = (2 * periods * s->shared_part + s->shared_of) / (2 * s->shared_of);
	return s->period * (shared < periods ? shared : periods - 1);
}

static int apply_options(struct synth_shape *s, const struct synth_options *o, struct error *err)
{
	bool whole_periods = s->n_layer % s->period == 0;
	if (o->n_layer < 0 || o->n_layer > MAX_LAYERS || (whole_periods && o->n_layer % s->period))
		return error_set(
			err, ERROR_INPUT,
			"--layers %d: %s repeats %d sliding and 1 global layer, so take a multiple of %d, up to %d",
			o->n_layer, s->arch, s->period - 1, s->period, MAX_LAYERS / s->period * s->period);
	if (o->n_vocab < 0 || o->n_context < 0 || o->window < 0)
		return error_set(err, ERROR_INPUT, "--vocab, --context and --window take positive numbers");
	if (o->window && !s->window)
		return error_set(err, ERROR_INPUT, "--window: %s has no sliding layers; leave it out", s->arch);
	if (o->ple_type != o->type && !s->n_ple)
		return error_set(err, ERROR_INPUT, "--ple-type: %s has no per-layer embeddings; leave it out", s->arch);
	if (o->n_layer)
		s->n_layer = o->n_layer;
	if (o->n_vocab)
		s->n_vocab = o->n_vocab;
	if (o->n_context)
		s->n_context = o->n_context;
	if (o->window)
		s->window = o->window;
	s->n_shared = n_shared_of(s);
	return 0;
}

/* layer < 0: none. The next free tensor of the plan. */
static struct synth_tensor *add(struct synth_plan *p, int layer, const char *name, enum tensor_type type, int64_t n_in,
				int64_t n_out, int64_t n_expert)
{
	struct synth_tensor *t = &p->tensors[p->n_tensors++];
	*t = (struct synth_tensor){.type = type, .n_dims = n_expert ? 3 : n_out ? 2 : 1};
	t->ne[0] = n_in;
	t->ne[1] = n_out ? n_out : 1;
	t->ne[2] = n_expert ? n_expert : 1;
	t->ne[3] = 1;
	int n = layer < 0 ? snprintf(t->name, sizeof t->name, "%s", name)
			  : snprintf(t->name, sizeof t->name, "blk.%d.%s", layer, name);
	assert(n > 0 && (size_t)n < sizeof t->name);
	(void)n;
	return t;
}

static struct synth_tensor *add_matrix(struct synth_plan *p, int layer, const char *name, int64_t n_in, int64_t n_out)
{
	struct synth_tensor *t = add(p, layer, name, p->options.type, n_in, n_out, 0);
	t->spread = (float)(1 / sqrt((double)n_in));
	return t;
}

static void add_ple_matrix(struct synth_plan *p, int layer, const char *name, int64_t n_in, int64_t n_out)
{
	struct synth_tensor *t = add_matrix(p, layer, name, n_in, n_out);
	t->round_bf16 = p->options.ple_type == TENSOR_F32 && p->options.type != TENSOR_F32;
	t->type = p->options.ple_type;
}

static void add_experts(struct synth_plan *p, int layer, const char *name, int64_t n_in, int64_t n_out)
{
	struct synth_tensor *t = add(p, layer, name, p->options.type, n_in, n_out, p->shape.n_expert);
	t->spread = (float)(1 / sqrt((double)n_in));
}

static void add_vector(struct synth_plan *p, int layer, const char *name, int64_t n, double mean, double spread)
{
	struct synth_tensor *t = add(p, layer, name, TENSOR_F32, n, 0, 0);
	t->mean = (float)mean;
	t->spread = (float)spread;
}

static void add_norm(struct synth_plan *p, int layer, const char *name, int64_t n)
{
	add_vector(p, layer, name, n, 1, 0.2);
}

static void add_attention(struct synth_plan *p, int i)
{
	const struct synth_shape *s = &p->shape;
	bool global = synth_layer_global(s, i);
	int head_dim = global ? s->head_dim : s->head_dim_swa;
	int kv = n_head_kv_of(s, i) * head_dim;
	double head_norm = sqrt(s->scaled_attention ? DOT_SPREAD : DOT_SPREAD / sqrt(head_dim));

	add_norm(p, i, "attn_norm.weight", s->n_embd);
	add_matrix(p, i, "attn_q.weight", s->n_embd, (int64_t)s->n_head * head_dim);
	add_vector(p, i, "attn_q_norm.weight", head_dim, head_norm, 0.15 * head_norm);
	if (!synth_layer_shared(s, i)) {
		add_matrix(p, i, "attn_k.weight", s->n_embd, kv);
		add_vector(p, i, "attn_k_norm.weight", head_dim, head_norm, 0.15 * head_norm);
		if (!(global && s->v_is_k))
			add_matrix(p, i, "attn_v.weight", s->n_embd, kv);
	}
	add_matrix(p, i, "attn_output.weight", (int64_t)s->n_head * head_dim, s->n_embd);
	if (s->post_norms)
		add_norm(p, i, "post_attention_norm.weight", s->n_embd);
}

static void add_moe(struct synth_plan *p, int i)
{
	const struct synth_shape *s = &p->shape;
	struct synth_tensor *router = add(p, i, "ffn_gate_inp.weight", TENSOR_F32, s->n_embd, s->n_expert, 0);
	router->spread = (float)(1 / sqrt(s->n_embd));
	/* The router's input is divided by sqrt(n_embd). */
	double scale = 1.5 * sqrt(s->n_embd);
	add_vector(p, i, "ffn_gate_inp.scale", s->n_embd, scale, 0.2 * scale);
	add_experts(p, i, "ffn_gate_up_exps.weight", s->n_embd, 2 * (int64_t)s->n_ff_expert);
	add_experts(p, i, "ffn_down_exps.weight", s->n_ff_expert, s->n_embd);
	add_vector(p, i, "ffn_down_exps.scale", s->n_expert, 1, 0.15);
	add_norm(p, i, "pre_ffw_norm_2.weight", s->n_embd);
	add_norm(p, i, "post_ffw_norm_1.weight", s->n_embd);
	add_norm(p, i, "post_ffw_norm_2.weight", s->n_embd);
}

static void add_layer(struct synth_plan *p, int i)
{
	const struct synth_shape *s = &p->shape;
	int n_ff = n_ff_of(s, i);

	add_attention(p, i);
	add_norm(p, i, "ffn_norm.weight", s->n_embd);
	add_matrix(p, i, "ffn_gate.weight", s->n_embd, n_ff);
	add_matrix(p, i, "ffn_up.weight", s->n_embd, n_ff);
	add_matrix(p, i, "ffn_down.weight", n_ff, s->n_embd);
	if (s->n_expert)
		add_moe(p, i);
	if (s->post_norms)
		add_norm(p, i, "post_ffw_norm.weight", s->n_embd);
	if (s->n_ple) {
		add_ple_matrix(p, i, "inp_gate.weight", s->n_embd, s->n_ple);
		add_ple_matrix(p, i, "proj.weight", s->n_ple, s->n_embd);
		add_norm(p, i, "post_norm.weight", s->n_embd);
	}
	if (s->output_scale)
		add_vector(p, i, "layer_output_scale.weight", 1, 0.9, 0.03);
}

int synth_plan_init(struct synth_plan *p, const struct synth_options *o, struct error *err)
{
	*p = (struct synth_plan){.options = *o};
	const struct synth_shape *found = NULL;
	for (int i = 0; i < N_SHAPES; i++)
		if (o->arch && strcmp(o->arch, shapes[i].arch) == 0)
			found = &shapes[i];
	if (!found)
		return error_set(err, ERROR_INPUT, "no architecture \"%s\"; gemmark model make --help lists them",
				 o->arch ? o->arch : "");
	p->shape = *found;
	p->options.arch = found->arch;
	int rc = apply_options(&p->shape, o, err);
	if (rc)
		return rc;

	const struct synth_shape *s = &p->shape;
	enum { PER_LAYER = 28, PER_MODEL = 8 }; /* upper bounds */
	p->tensors = calloc((size_t)s->n_layer * PER_LAYER + PER_MODEL, sizeof *p->tensors);
	if (!p->tensors)
		return error_set(err, ERROR_MEMORY, "no memory for the tensor list of %s", s->arch);

	if (s->rope_freqs)
		add(p, -1, "rope_freqs.weight", TENSOR_F32, s->head_dim / 2, 0, 0)->fill = SYNTH_FILL_ROPE_FREQS;
	struct synth_tensor *embd = add_matrix(p, -1, "token_embd.weight", s->n_embd, s->n_vocab);
	if (!s->scaled_embedding)
		embd->spread = 1;
	if (s->n_ple) {
		int64_t n_all = (int64_t)s->n_layer * s->n_ple;
		add_matrix(p, -1, "per_layer_token_embd.weight", n_all, s->n_vocab)->spread =
			(float)(1 / sqrt(s->n_ple)); /* the model multiplies by sqrt(n_ple) */
		add_ple_matrix(p, -1, "per_layer_model_proj.weight", s->n_embd, n_all);
		add_norm(p, -1, "per_layer_proj_norm.weight", s->n_ple);
	}
	for (int i = 0; i < s->n_layer; i++)
		add_layer(p, i);
	add_vector(p, -1, "output_norm.weight", s->n_embd, LOGIT_SPREAD, 0.15 * LOGIT_SPREAD);
	if (!s->tied)
		add_matrix(p, -1, "output.weight", s->n_embd, s->n_vocab);
	assert(p->n_tensors <= s->n_layer * PER_LAYER + PER_MODEL);
	synth_mix_apply(p);
	return 0;
}

void synth_plan_free(struct synth_plan *p)
{
	free(p->tensors);
	*p = (struct synth_plan){0};
}

int64_t synth_tensor_elements(const struct synth_tensor *t)
{
	return t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3];
}

int64_t synth_plan_parameters(const struct synth_plan *p)
{
	int64_t sum = 0;
	for (int i = 0; i < p->n_tensors; i++)
		sum += synth_tensor_elements(&p->tensors[i]);
	return sum;
}

uint64_t synth_plan_bytes(const struct synth_plan *p)
{
	/* Metadata and its arrays; per tensor its header entry and up to 31 bytes of padding. */
	uint64_t sum = 4096 + 8 * (uint64_t)p->shape.n_layer;
	for (int i = 0; i < p->n_tensors; i++) {
		const struct synth_tensor *t = &p->tensors[i];
		sum += 128 + tensor_type_bytes(t->type, (size_t)synth_tensor_elements(t));
	}
	return sum;
}

/* One key under the architecture's prefix. */
struct key {
	char text[96];
};

static const char *key_of(struct key *k, const struct synth_shape *s, const char *name)
{
	int n = snprintf(k->text, sizeof k->text, "%s.%s", s->prefix, name);
	assert(n > 0 && (size_t)n < sizeof k->text);
	(void)n;
	return k->text;
}

static void put_u32(struct gguf_writer *w, const struct synth_shape *s, const char *name, int value)
{
	struct key k;
	gguf_writer_u32(w, key_of(&k, s, name), (uint32_t)value);
}

static void put_f32(struct gguf_writer *w, const struct synth_shape *s, const char *name, float value)
{
	struct key k;
	gguf_writer_f32(w, key_of(&k, s, name), value);
}

/* A scalar where all layers agree, else an array, as the converter does. */
static void put_per_layer(struct gguf_writer *w, const struct synth_shape *s, const char *name,
			  int (*value)(const struct synth_shape *, int))
{
	uint32_t values[MAX_LAYERS];
	bool same = true;
	for (int i = 0; i < s->n_layer; i++) {
		values[i] = (uint32_t)value(s, i);
		same = same && values[i] == values[0];
	}
	struct key k;
	if (same)
		gguf_writer_u32(w, key_of(&k, s, name), values[0]);
	else
		gguf_writer_u32_array(w, key_of(&k, s, name), values, (size_t)s->n_layer);
}

static void put_sliding(const struct synth_shape *s, struct gguf_writer *w)
{
	bool sliding[MAX_LAYERS];
	for (int i = 0; i < s->n_layer; i++)
		sliding[i] = !synth_layer_global(s, i);
	struct key k;
	put_u32(w, s, "attention.sliding_window", s->window);
	if (!s->sliding_keys)
		return;
	put_f32(w, s, "rope.freq_base_swa", rope_base_swa);
	put_f32(w, s, "final_logit_softcapping", s->softcap);
	gguf_writer_bool_array(w, key_of(&k, s, "attention.sliding_window_pattern"), sliding, (size_t)s->n_layer);
	put_u32(w, s, "attention.shared_kv_layers", s->n_shared);
	put_u32(w, s, "embedding_length_per_layer_input", s->n_ple);
	put_u32(w, s, "attention.key_length_swa", s->head_dim_swa);
	put_u32(w, s, "attention.value_length_swa", s->head_dim_swa);
	put_u32(w, s, "rope.dimension_count", s->head_dim);
	put_u32(w, s, "rope.dimension_count_swa", s->head_dim_swa);
	if (s->n_expert) {
		put_u32(w, s, "expert_count", s->n_expert);
		put_u32(w, s, "expert_used_count", s->n_expert_used);
		put_u32(w, s, "expert_feed_forward_length", s->n_ff_expert);
	}
}

bool synth_made(const struct gguf *g)
{
	struct gguf_string s;
	struct error ignored;
	size_t n = strlen(made_by);
	return gguf_find(g, "general.description") && !gguf_get_string(g, "general.description", &s, &ignored) &&
	       s.size >= n && !memcmp(s.data, made_by, n);
}

void synth_plan_metadata(const struct synth_plan *p, struct gguf_writer *w)
{
	const struct synth_shape *s = &p->shape;
	char name[96], description[96];
	struct key k;
	snprintf(name, sizeof name, "%s random", s->name);
	snprintf(description, sizeof description, "%s, seed %llu", made_by, (unsigned long long)p->options.seed);

	gguf_writer_string(w, "general.architecture", s->prefix);
	gguf_writer_string(w, "general.type", "model");
	gguf_writer_string(w, "general.name", name);
	gguf_writer_string(w, "general.description", description);
	gguf_writer_u32(w, "general.file_type", (uint32_t)synth_mix_file_type(p->options.mix, p->options.type));
	gguf_writer_u32(w, "general.quantization_version", 2);

	put_u32(w, s, "block_count", s->n_layer);
	put_u32(w, s, "context_length", s->n_context);
	put_u32(w, s, "embedding_length", s->n_embd);
	put_per_layer(w, s, "feed_forward_length", n_ff_of);
	put_u32(w, s, "attention.head_count", s->n_head);
	put_per_layer(w, s, "attention.head_count_kv", n_head_kv_of);
	put_u32(w, s, "attention.key_length", s->head_dim);
	put_u32(w, s, "attention.value_length", s->head_dim);
	put_f32(w, s, "attention.layer_norm_rms_epsilon", eps);
	put_f32(w, s, "rope.freq_base", s->rope_base);
	if (s->rope_factor > 0) {
		gguf_writer_string(w, key_of(&k, s, "rope.scaling.type"), "linear");
		put_f32(w, s, "rope.scaling.factor", s->rope_factor);
	}
	put_u32(w, s, "vocab_size", s->n_vocab);
	if (s->window)
		put_sliding(s, w);
	gguf_writer_string(w, "tokenizer.ggml.model", "none");
}
