/* What is not a product: norms, gates, RoPE, the cache, routing; of one token. */
#include "bench/kernel_cases.h"

#include <string.h>

float *case_inverse_frequencies(struct pair *p, int head_dim)
{
	int half = head_dim / 2;
	float *f = pair_buffer(p, "inv_freq", PAIR_INPUT, TENSOR_F32, (size_t)half, 0);
	for (int j = 0; j < half; j++)
		f[j] = powf(10000, -2.0f * (float)j / (float)head_dim);
	return f;
}

/* ---- norms ---- */

static void build_rms_norm(struct pair *p, const struct case_shape *s, struct case_subject *c)
{
	size_t n = (size_t)s->n_in, all = n * (size_t)s->n_tokens;
	struct rms_norm_params m = {
		.x = pair_floats(p, "x", all, 5, 0),
		.weight = pair_floats(p, "weight", n, 1, 0),
		.y = pair_buffer(p, "y", PAIR_OUTPUT, TENSOR_F32, all, 0),
		.n_rows = s->n_tokens,
		.n = s->n_in,
		.x_stride = s->n_in,
		.y_stride = s->n_in,
		.eps = 1e-6f,
		.scale = 1,
	};
	case_params(c, KERNEL_rms_norm, &m, sizeof m);
	c->bytes = 8.0 * (double)all + 4.0 * s->n_in;
}

/* The root of a sum of squares, which is known better than a sum of random signs. */
static double allow_rms_norm(struct pair *p, const struct case_shape *s, const struct case_subject *c)
{
	struct rms_norm_params m;
	memcpy(&m, c->params, sizeof m);
	pair_magnitude(p, m.y);
	return sum_of(s->n_in);
}

const struct case_kind case_rms_norm = {"rms_norm", build_rms_norm, allow_rms_norm, 0};

static void build_norm_add(struct pair *p, const struct case_shape *s, struct case_subject *c)
{
	size_t n = (size_t)s->n_in, all = n * (size_t)s->n_tokens;
	struct norm_add_params m = {
		.a = pair_floats(p, "a", all, 5, 0),
		.b = pair_floats(p, "b", all, 3, 0),
		.weight = pair_floats(p, "weight", n, 1, 0),
		.normed = pair_buffer(p, "normed", PAIR_SCRATCH, TENSOR_F32, all, 0),
		.y = pair_buffer(p, "y", PAIR_OUTPUT, TENSOR_F32, all, 0),
		.n_rows = s->n_tokens,
		.n = s->n_in,
		.eps = 1e-6f,
		.scale = 0.9f,
	};
	case_params(c, KERNEL_norm_add, &m, sizeof m);
	c->bytes = 12.0 * (double)all + 4.0 * s->n_in;
}

static double allow_norm_add(struct pair *p, const struct case_shape *s, const struct case_subject *c)
{
	struct norm_add_params m;
	memcpy(&m, c->params, sizeof m);
	double *magnitude = pair_magnitude(p, m.y);
	for (size_t k = 0; k < (size_t)s->n_in * (size_t)s->n_tokens; k++)
		magnitude[k] = fabs((double)(m.a[k] * m.scale)) + fabs((double)(m.normed[k] * m.scale));
	return sum_of(s->n_in);
}

const struct case_kind case_norm_add = {"norm_add", build_norm_add, allow_norm_add, 0};

/* ---- elements ---- */

static void build_add(struct pair *p, const struct case_shape *s, struct case_subject *c)
{
	size_t n = (size_t)s->n_in;
	struct add_params m = {
		.a = pair_floats(p, "a", n, 3, 0),
		.b = pair_floats(p, "b", n, 1, 0),
		.y = pair_buffer(p, "y", PAIR_EXACT, TENSOR_F32, n, 0),
		.n = s->n_in,
		.scale = 0.7f,
	};
	case_params(c, KERNEL_add, &m, sizeof m);
	c->bytes = 12.0 * s->n_in;
}

const struct case_kind case_add = {"add", build_add, case_exact, 0};

static void build_gated(struct pair *p, const struct case_shape *s, struct case_subject *c)
{
	size_t n = (size_t)s->n_in;
	struct gated_params m = {
		.gate = pair_floats(p, "gate", n, 12, 0),
		.up = pair_floats(p, "up", n, 1, 0),
		.y = pair_buffer(p, "y", PAIR_OUTPUT, TENSOR_F32, n, 0),
		.n_rows = 1,
		.n = s->n_in,
		.gate_stride = s->n_in,
		.up_stride = s->n_in,
		.y_stride = s->n_in,
		.act = ACTIVATION_GELU_TANH,
	};
	case_params(c, KERNEL_gated, &m, sizeof m);
	c->bytes = 12.0 * s->n_in;
}

/* The sigmoid is at most 1, and known to FUNCTION of that. */
static double allow_gated(struct pair *p, const struct case_shape *s, const struct case_subject *c)
{
	struct gated_params m;
	memcpy(&m, c->params, sizeof m);
	double *magnitude = pair_magnitude(p, m.y);
	for (int k = 0; k < s->n_in; k++)
		magnitude[k] = fabs((double)(m.gate[k] * m.up[k]));
	return FUNCTION;
}

const struct case_kind case_gated = {"gated", build_gated, allow_gated, 0};

static void build_softcap(struct pair *p, const struct case_shape *s, struct case_subject *c)
{
	struct softcap_params m = {.x = case_in_place(p, "x", (size_t)s->n_in, 60), .n = s->n_in, .cap = 30};
	case_params(c, KERNEL_softcap, &m, sizeof m);
	c->bytes = 8.0 * s->n_in;
}

static double allow_softcap(struct pair *p, const struct case_shape *s, const struct case_subject *c)
{
	struct softcap_params m;
	memcpy(&m, c->params, sizeof m);
	(void)s;
	pair_magnitude(p, m.x); /* each relative to itself */
	return FUNCTION;
}

const struct case_kind case_softcap = {"softcap", build_softcap, allow_softcap, 0};

/* n_used: top-k, with every other limit beside it; 0: greedy. */
static void build_sample(struct pair *p, const struct case_shape *s, struct case_subject *c)
{
	struct sample_params m = {
		.at = pair_at(p, (struct step){.token = 5, .pos = 77}, false),
		.host = {.seed = 1, .top_p = SAMPLING_ALL, .top_k = s->n_used},
		.logits = pair_floats(p, "logits", (size_t)s->n_in, 8, 0),
		.out = pair_buffer(p, "token, wrong", PAIR_EXACT, PAIR_INT, 2, 0),
		.n = s->n_in,
	};
	if (s->n_used) {
		m.host.top_p = SAMPLING_ALL / 100 * 95;
		m.host.min_p = SAMPLING_ONE / 100 * 5;
		m.host.rate = 1.25f * 1.44269504f; /* a temperature of 0.8 */
	}
	case_params(c, KERNEL_sample, &m, sizeof m);
	c->bytes = 4.0 * (double)s->n_in;
}

const struct case_kind case_sample = {"sample", build_sample, case_exact, 0};

/* ---- q, k, v and the cache ---- */

static void build_rope(struct pair *p, const struct case_shape *s, struct case_subject *c)
{
	size_t n = (size_t)s->n_heads * (size_t)s->head_dim;
	struct rope_params m = {
		.at = pair_at(p, (struct step){.pos = s->n_keys - 1}, true),
		.x = case_in_place(p, "x", n, 1),
		.inv_freq = case_inverse_frequencies(p, s->head_dim),
		.n_tokens = 1,
		.n_heads = s->n_heads,
		.head_dim = s->head_dim,
	};
	case_params(c, KERNEL_rope, &m, sizeof m);
	c->bytes = 8.0 * (double)n + 2.0 * s->head_dim;
}

static double allow_rope(struct pair *p, const struct case_shape *s, const struct case_subject *c)
{
	struct rope_params m;
	memcpy(&m, c->params, sizeof m);
	pair_magnitude_pairs(p, m.x, (size_t)s->head_dim);
	return FUNCTION;
}

const struct case_kind case_rope = {"rope", build_rope, allow_rope, 0};

static int capacity_of(const struct case_shape *s)
{
	return s->window ? s->window : s->n_keys;
}

static double cache_row_bytes(const struct case_shape *s)
{
	return 2.0 * s->n_kv_heads * s->head_dim * (s->type == TENSOR_F32 ? 4 : 2);
}

static void build_kv_append(struct pair *p, const struct case_shape *s, struct case_subject *c)
{
	size_t n = (size_t)s->n_kv_heads * (size_t)s->head_dim;
	struct kv_append_params m = {
		.at = pair_at(p, (struct step){.pos = s->n_keys - 1}, true),
		.k = pair_floats(p, "k", n, 3, 0),
		.v = pair_floats(p, "v", n, 3, 0),
		.kv = pair_cache(p, PAIR_EXACT, s->type, s->type, s->n_kv_heads, s->head_dim, capacity_of(s),
				 s->window),
		.n_tokens = 1,
	};
	case_params(c, KERNEL_kv_append, &m, sizeof m);
	c->bytes = 8.0 * (double)n + cache_row_bytes(s);
}

const struct case_kind case_kv_append = {"kv_append", build_kv_append, case_exact, 0};

static void build_qkv_prepare(struct pair *p, const struct case_shape *s, struct case_subject *c)
{
	size_t hd = (size_t)s->head_dim, q = (size_t)s->n_heads * hd, kv = (size_t)s->n_kv_heads * hd;
	struct qkv_prepare_params m = {
		.at = pair_at(p, (struct step){.pos = s->n_keys - 1}, true),
		.q = case_in_place(p, "q", q, 2),
		.q_norm = pair_floats(p, "q_norm", hd, 1, 0),
		.k_norm = pair_floats(p, "k_norm", hd, 1, 0),
		.inv_freq = case_inverse_frequencies(p, s->head_dim),
		.n_tokens = 1,
		.n_heads = s->n_heads,
		.head_dim = s->head_dim,
		.v_norm = 1,
		.eps = 1e-6f,
	};
	c->bytes = 8.0 * (double)q;
	m.kv = (struct kv){.type = s->type,
			   .v_type = s->type,
			   .n_kv_heads = s->n_kv_heads,
			   .head_dim = s->head_dim,
			   .capacity = capacity_of(s)};
	if (s->owns) {
		m.kv = pair_cache(p, PAIR_OUTPUT, s->type, s->type, s->n_kv_heads, s->head_dim, capacity_of(s),
				  s->window);
		m.k = case_in_place(p, "k", kv, 2);
		m.v = s->v_is_k ? pair_buffer(p, "v", PAIR_OUTPUT, TENSOR_F32, kv, 0) : case_in_place(p, "v", kv, 2);
		m.v_raw = s->v_is_k ? m.k : m.v;
		c->bytes += 16.0 * (double)kv + cache_row_bytes(s);
	}
	case_params(c, KERNEL_qkv_prepare, &m, sizeof m);
}

/* Normed, and q and k turned; v each relative to itself. */
static double allow_qkv_prepare(struct pair *p, const struct case_shape *s, const struct case_subject *c)
{
	struct qkv_prepare_params m;
	memcpy(&m, c->params, sizeof m);
	pair_magnitude_pairs(p, m.q, (size_t)s->head_dim);
	if (s->owns) {
		pair_magnitude_pairs(p, m.k, (size_t)s->head_dim);
		pair_magnitude_pairs(p, m.kv.k, (size_t)s->head_dim);
		pair_magnitude(p, m.v);
		pair_magnitude(p, m.kv.v);
	}
	return sum_of(s->head_dim) + FUNCTION;
}

const struct case_kind case_qkv_prepare = {"qkv_prepare", build_qkv_prepare, allow_qkv_prepare, 0};

/* ---- experts ---- */

static void build_moe_route(struct pair *p, const struct case_shape *s, struct case_subject *c)
{
	size_t e = (size_t)s->n_expert, u = (size_t)s->n_used, t = (size_t)s->n_tokens;
	struct moe_route_params m = {
		.logits = pair_floats(p, "logits", t * e, 8, 0),
		.expert_scale = pair_floats(p, "expert_scale", e, 1, 0),
		.ids = pair_buffer(p, "ids", PAIR_EXACT, PAIR_INT, t * u, 0),
		.weights = pair_buffer(p, "weights", PAIR_OUTPUT, TENSOR_F32, t * u, 0),
		.n_tokens = s->n_tokens,
		.n_expert = s->n_expert,
		.n_used = s->n_used,
	};
	case_params(c, KERNEL_moe_route, &m, sizeof m);
	c->bytes = 4.0 * (double)(t * e + e + 2 * t * u);
}

/* Quotients of exponentials, whose arguments, up to 16, are rounded. */
static double allow_moe_route(struct pair *p, const struct case_shape *s, const struct case_subject *c)
{
	struct moe_route_params m;
	memcpy(&m, c->params, sizeof m);
	pair_magnitude(p, m.weights);
	return sum_of(s->n_expert) + 2 * 16 * U + FUNCTION;
}

const struct case_kind case_moe_route = {"moe_route", build_moe_route, allow_moe_route, 0};

static void build_moe_sum(struct pair *p, const struct case_shape *s, struct case_subject *c)
{
	size_t t = (size_t)s->n_tokens, u = (size_t)s->n_used, n = (size_t)s->n_in;
	struct moe_sum_params m = {
		.x = pair_floats(p, "x", t * u * n, 2, 0),
		.weights = pair_floats(p, "weights", t * u, 1, 0),
		.y = pair_buffer(p, "y", PAIR_OUTPUT, TENSOR_F32, t * n, 0),
		.n_tokens = s->n_tokens,
		.n_used = s->n_used,
		.n = s->n_in,
	};
	case_params(c, KERNEL_moe_sum, &m, sizeof m);
	c->bytes = 4.0 * (double)(t * u * n + t * u + t * n);
}

static double allow_moe_sum(struct pair *p, const struct case_shape *s, const struct case_subject *c)
{
	struct moe_sum_params m;
	memcpy(&m, c->params, sizeof m);
	size_t u = (size_t)s->n_used, n = (size_t)s->n_in;
	double *magnitude = pair_magnitude(p, m.y);
	for (size_t k = 0; k < (size_t)s->n_tokens * n; k++)
		for (size_t j = k / n * u; j < (k / n + 1) * u; j++)
			magnitude[k] = hypot(magnitude[k], (double)(m.weights[j] * m.x[j * n + k % n]));
	return sum_of(s->n_used);
}

const struct case_kind case_moe_sum = {"moe_sum", build_moe_sum, allow_moe_sum, 0};
