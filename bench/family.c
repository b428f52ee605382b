/* The Gemma 4 family's layers, one of each kind, as cases. Shapes are those of the published configurations. */
#include <stdio.h>
#include <string.h>

#include "bench/kernel_cases.h"
#include "engine/model/synth.h"

enum { CHUNK = 2048, SNAPKV_WINDOW = 64, SNAPKV_BUDGET = 1024, LATE = 4096 /* a position behind all windows */ };

/* What is being listed. */
struct list {
	const struct synth_shape *m;
	struct pair_layout layout; /* of matrices from here on; its name null: there are none */
	bool prompt;
	int (*add)(void *ctx, const struct family_case *c);
	void *ctx;
	int rc;
};

static void put(struct list *l, const struct case_kind *kind, struct case_shape shape, const char *what)
{
	struct family_case c = {.kind = kind, .shape = shape, .prompt = l->prompt};
	if (l->layout.name && shape.n_in % pair_layout_block(l->layout))
		return; /* experts' rows: in files they are of another type then */
	const char *layout = !l->layout.name ? "" : l->layout.type == TENSOR_Q8_0 ? "q8_0/" : l->layout.name;
	c.shape.layout = l->layout;
	snprintf(c.name, sizeof c.name, "%s/%s/%s%s%s", kind->name, l->m->arch, layout,
		 l->layout.name && l->layout.type != TENSOR_Q8_0 ? "/" : "", what);
	if (!l->rc)
		l->rc = l->add(l->ctx, &c);
}

/* A layer's attention: sliding or global. */
static struct case_shape layer_of(const struct synth_shape *m, bool global)
{
	return (struct case_shape){
		.n_in = m->n_embd,
		.n_heads = m->n_head,
		.n_kv_heads = global ? m->n_head_kv : m->n_head_kv_swa,
		.head_dim = global ? m->head_dim : m->head_dim_swa,
		.window = global ? 0 : m->window,
		.n_keys = LATE,
		.n_tokens = 1,
		.type = TENSOR_F16,
		.owns = true,
		.v_is_k = global && m->v_is_k,
	};
}

static void set_qkv(struct case_shape *s)
{
	s->n_out[0] = s->n_heads * s->head_dim;
	s->n_out[1] = s->owns ? s->n_kv_heads * s->head_dim : 0;
	s->n_out[2] = s->v_is_k ? 0 : s->n_out[1];
}

static void product(struct list *l, const struct case_kind *kind, int n_in, int n_out, const char *what)
{
	put(l, kind, (struct case_shape){.n_in = n_in, .n_out = {n_out}, .n_tokens = 1}, what);
}

/* ---- a token ---- */

static void token_products(struct list *l)
{
	const struct synth_shape *m = l->m;
	for (int global = 0; global < 2; global++) {
		struct case_shape s = layer_of(m, global);
		set_qkv(&s);
		put(l, &case_norm_matmul, s, global ? "qkv_global" : "qkv_sliding");
		product(l, &case_matmul, s.n_heads * s.head_dim, m->n_embd, global ? "o_global" : "o_sliding");
	}
	product(l, &case_norm_gated, m->n_embd, m->n_ff, "gate_up");
	product(l, &case_matmul, m->n_ff, m->n_embd, "down");
	if (m->n_ff_shared > m->n_ff) {
		product(l, &case_norm_gated, m->n_embd, m->n_ff_shared, "gate_up_shared");
		product(l, &case_matmul, m->n_ff_shared, m->n_embd, "down_shared");
	}
	if (m->n_ple) {
		struct case_shape s = layer_of(m, true);
		s.owns = false;
		set_qkv(&s);
		put(l, &case_norm_matmul, s, "q_global");
		product(l, &case_matmul_gated, m->n_embd, m->n_ple, "ple_gate");
		product(l, &case_matmul, m->n_ple, m->n_embd, "ple_proj");
		product(l, &case_matmul, m->n_embd, m->n_layer * m->n_ple, "ple_model_proj");
	}
	if (m->n_expert) {
		struct case_shape s = {.n_in = m->n_embd,
				       .n_out = {m->n_ff_expert},
				       .n_expert = m->n_expert,
				       .n_used = m->n_expert_used,
				       .n_tokens = 1};
		put(l, &case_experts_gated, s, "gate_up");
		s.n_in = m->n_ff_expert;
		s.n_out[0] = m->n_embd;
		put(l, &case_matmul_experts, s, "down");
	}
	put(l, &case_norm_matmul,
	    (struct case_shape){.n_in = m->n_embd, .n_out = {m->n_vocab}, .n_tokens = 1, .cap = m->softcap}, "head");
	product(l, &case_embed, m->n_embd, 0, "token");
}

static void token_vectors(struct list *l)
{
	const struct synth_shape *m = l->m;
	struct case_shape row = {.n_in = m->n_embd, .n_tokens = 1};
	put(l, &case_rms_norm, row, "row");
	put(l, &case_norm_add, row, "row");
	put(l, &case_add, row, "row");
	put(l, &case_gated, (struct case_shape){.n_in = m->n_ff, .n_tokens = 1}, "ff");
	put(l, &case_softcap, (struct case_shape){.n_in = m->n_vocab, .n_tokens = 1}, "logits");
	put(l, &case_sample, (struct case_shape){.n_in = m->n_vocab, .n_tokens = 1}, "greedy");
	put(l, &case_sample, (struct case_shape){.n_in = m->n_vocab, .n_tokens = 1, .n_used = 40}, "limited");
	for (int global = 0; global < 2; global++) {
		const char *what = global ? "global" : "sliding";
		struct case_shape s = layer_of(m, global), heads = s;
		heads.n_in = s.head_dim;
		heads.n_tokens = s.n_heads;
		put(l, &case_rms_norm, heads, global ? "heads_global" : "heads_sliding");
		put(l, &case_rope, s, what);
		put(l, &case_kv_append, s, what);
		put(l, &case_qkv_prepare, s, what);
	}
	if (m->n_ple) {
		struct case_shape s = layer_of(m, true);
		s.owns = false;
		put(l, &case_qkv_prepare, s, "q_global");
		put(l, &case_norm_add, (struct case_shape){.n_in = m->n_ple, .n_tokens = m->n_layer}, "ple_rows");
	}
	if (m->n_expert) {
		struct case_shape s = {
			.n_in = m->n_embd, .n_expert = m->n_expert, .n_used = m->n_expert_used, .n_tokens = 1};
		put(l, &case_moe_route, s, "token");
		put(l, &case_moe_sum, s, "token");
	}
}

static void token_attention(struct list *l)
{
	static const int depths[] = {128, 1024, 4096, 16384, 65536};
	for (size_t i = 0; i < sizeof depths / sizeof *depths; i++) {
		for (int global = 0; global < 2; global++) {
			char what[40];
			struct case_shape s = layer_of(l->m, global);
			if (!global && depths[i] > s.window * 4)
				continue; /* what lies behind the window is not seen */
			s.n_keys = depths[i];
			snprintf(what, sizeof what, "%s/keys:%d", global ? "global" : "sliding", depths[i]);
			put(l, &case_attention, s, what);
			put(l, &case_attention_split, s, what);
		}
	}
	put(l, &case_attention_combine, layer_of(l->m, true), "global");
	put(l, &case_attention_combine, layer_of(l->m, false), "sliding");
}

/* ---- a prompt ---- */

static void prompt_products(struct list *l)
{
	const struct synth_shape *m = l->m;
	for (int global = 0; global < 2; global++) {
		struct case_shape s = layer_of(m, global);
		set_qkv(&s);
		s.n_out[0] += s.n_out[1] + s.n_out[2]; /* one product */
		s.n_tokens = CHUNK;
		s.type = TENSOR_F32;
		put(l, &case_prompt_matmul, s, global ? "qkv_global" : "qkv_sliding");
		s.n_in = s.n_heads * s.head_dim;
		s.n_out[0] = m->n_embd;
		put(l, &case_prompt_matmul, s, global ? "o_global" : "o_sliding");
	}
	put(l, &case_prompt_matmul,
	    (struct case_shape){.n_in = m->n_embd, .n_out = {2 * m->n_ff}, .n_tokens = CHUNK, .type = TENSOR_F16},
	    "gate_up");
	put(l, &case_prompt_matmul,
	    (struct case_shape){.n_in = m->n_ff, .n_out = {m->n_embd}, .n_tokens = CHUNK, .type = TENSOR_F32}, "down");
	if (l->layout.type == TENSOR_Q8_0 || l->layout.type == TENSOR_BF16 ||
	    tensor_type_traits((enum tensor_type)l->layout.type)->quants)
		product(l, &case_dequant, m->n_embd, 2 * m->n_ff, "gate_up");
	if (!m->n_expert)
		return;
	struct case_shape s = {.n_in = m->n_embd,
			       .n_out = {m->n_ff_expert},
			       .n_expert = m->n_expert,
			       .n_used = m->n_expert_used,
			       .n_tokens = CHUNK};
	put(l, &case_prompt_experts_gated, s, "gate_up");
	s.n_in = m->n_ff_expert;
	s.n_out[0] = m->n_embd;
	put(l, &case_prompt_experts_matmul, s, "down");
}

static void prompt_vectors(struct list *l)
{
	const struct synth_shape *m = l->m;
	struct case_shape rows = {.n_in = m->n_embd, .n_tokens = CHUNK}, wide = {.n_in = m->n_ff, .n_tokens = CHUNK};
	put(l, &case_prompt_norm, rows, "rows");
	put(l, &case_prompt_residual, rows, "rows");
	put(l, &case_prompt_gated, wide, "ff");
	put(l, &case_to_f16, rows, "rows");
	put(l, &case_scale_rows, rows, "rows");
	if (m->n_expert)
		put(l, &case_moe_sort,
		    (struct case_shape){.n_expert = m->n_expert, .n_used = m->n_expert_used, .n_tokens = CHUNK},
		    "rows");
	for (int global = 0; global < 2; global++) {
		struct case_shape s = layer_of(m, global);
		s.n_tokens = CHUNK;
		put(l, &case_prompt_qkv, s, global ? "global" : "sliding");
		for (int depth = 0; depth <= 8192; depth += 8192) {
			char what[40];
			s.n_keys = depth + CHUNK;
			snprintf(what, sizeof what, "%s/depth:%d", global ? "global" : "sliding", depth);
			put(l, &case_attention_prefill, s, what);
		}
	}
}

static void snapkv(struct list *l)
{
	static const int keys[] = {4096, 16384};
	for (int i = 0; i < 2; i++) {
		char what[40];
		struct case_shape s = layer_of(l->m, true);
		s.n_tokens = SNAPKV_WINDOW;
		s.n_keys = keys[i];
		s.budget = SNAPKV_BUDGET;
		snprintf(what, sizeof what, "keys:%d", keys[i]);
		put(l, &case_snapkv_softmax, s, what);
		put(l, &case_snapkv_vote, s, what);
		put(l, &case_snapkv_select, s, what);
		put(l, &case_snapkv_compact, s, what);
	}
}

static void list_model(struct list *l)
{
	static const struct pair_layout none = {0};
	for (int i = 0; i < PAIR_LAYOUTS && !l->rc; i++) {
		l->layout = pair_layouts[i];
		if (l->layout.type == TENSOR_F32 || (l->layout.type == TENSOR_Q8_0 && !l->layout.planes))
			continue;
		l->prompt = false;
		token_products(l);
		l->prompt = true;
		prompt_products(l);
	}
	l->layout = none;
	l->prompt = false;
	token_vectors(l);
	token_attention(l);
	snapkv(l);
	l->prompt = true;
	prompt_vectors(l);
}

int family_cases(int (*add)(void *ctx, const struct family_case *c), void *ctx)
{
	struct list l = {.add = add, .ctx = ctx};
	for (int i = 0; synth_arch_name(i) && !l.rc; i++) {
		const char *arch = synth_arch_name(i);
		struct synth_options o;
		struct synth_plan plan;
		struct error err;
		if (strncmp(arch, "gemma4-", 7) || strstr(arch, "-tiny"))
			continue;
		synth_options_default(&o, arch);
		if (synth_plan_init(&plan, &o, &err))
			return ERROR_MEMORY;
		l.m = &plan.shape;
		list_model(&l);
		synth_plan_free(&plan);
	}
	return l.rc;
}
