/* Prompts' kernels in float16, of a chunk of rows. How far devices may be apart is derived in the kernels' tests,
 * tests/kernels/test_kernels_cuda_prompt.c. */
#include "bench/kernel_cases.h"

#include <string.h>

enum { CHECKED_ROWS = 40 };

static float *scales(struct pair *p, int n)
{
	return pair_scales(p, n, -3, 3);
}

/* ---- conversions ---- */

static void build_dequant(struct pair *p, const struct case_shape *s, struct case_subject *c)
{
	size_t n = (size_t)s->n_in * (size_t)s->n_out[0];
	struct dequant_params m = {
		.w = pair_weight(p, s->layout, s->n_in, s->n_out[0], 1, 0),
		.y = pair_buffer(p, "y", PAIR_EXACT, TENSOR_F16, n, 0),
		.n_rows = s->n_out[0],
		.y_type = TENSOR_F16,
	};
	case_params(c, KERNEL_dequant, &m, sizeof m);
	c->bytes = case_weight_bytes(&m.w) + 2.0 * (double)n;
}

const struct case_kind case_dequant = {"dequant", build_dequant, case_exact, 0};

static void build_to_f16(struct pair *p, const struct case_shape *s, struct case_subject *c)
{
	size_t n = (size_t)s->n_tokens * (size_t)s->n_in;
	struct to_f16_params m = {
		.x = pair_floats(p, "x", n, 3, 0),
		.y = pair_buffer(p, "y", PAIR_EXACT, TENSOR_F16, n, 0),
		.y_scale = pair_buffer(p, "y's scales", PAIR_EXACT, TENSOR_F32, (size_t)s->n_tokens, 0),
		.n_rows = s->n_tokens,
		.n = s->n_in,
		.x_stride = s->n_in,
	};
	case_params(c, KERNEL_to_f16, &m, sizeof m);
	c->bytes = 6.0 * (double)n;
}

const struct case_kind case_to_f16 = {"to_f16", build_to_f16, case_exact, 0};

static void build_scale_rows(struct pair *p, const struct case_shape *s, struct case_subject *c)
{
	size_t n = (size_t)s->n_tokens * (size_t)s->n_in;
	float *y = pair_buffer(p, "y", PAIR_EXACT, TENSOR_F32, n, 0);
	for (size_t i = 0; i < n; i++)
		y[i] = pair_float(p, 3);
	struct scale_rows_params m = {
		.y = y, .scale = scales(p, s->n_tokens), .n_rows = s->n_tokens, .n = s->n_in, .y_stride = s->n_in};
	case_params(c, KERNEL_scale_rows, &m, sizeof m);
	c->bytes = 8.0 * (double)n;
}

const struct case_kind case_scale_rows = {"scale_rows", build_scale_rows, case_exact, 0};

/* ---- norms and gates ---- */

static void build_norm(struct pair *p, const struct case_shape *s, struct case_subject *c)
{
	size_t n = (size_t)s->n_tokens * (size_t)s->n_in;
	struct prompt_norm_params m = {
		.x = pair_floats(p, "x", n, 3, 0),
		.weight = pair_floats(p, "weight", (size_t)s->n_in, 2, 0),
		.y = pair_buffer(p, "y", PAIR_OUTPUT, TENSOR_F16, n, 0),
		.y_scale = pair_buffer(p, "y's scales", PAIR_EXACT, TENSOR_F32, (size_t)s->n_tokens, 0),
		.n_rows = s->n_tokens,
		.n = s->n_in,
		.eps = 1e-6f,
		.scale = 1,
	};
	case_params(c, KERNEL_prompt_norm, &m, sizeof m);
	c->bytes = 6.0 * (double)n;
}

static double allow_norm(struct pair *p, const struct case_shape *s, const struct case_subject *c)
{
	(void)p;
	(void)c;
	return sum_of(s->n_in);
}

const struct case_kind case_prompt_norm = {"prompt_norm", build_norm, allow_norm, CHECKED_ROWS};

static void build_residual(struct pair *p, const struct case_shape *s, struct case_subject *c)
{
	size_t n = (size_t)s->n_tokens * (size_t)s->n_in;
	struct prompt_residual_params m = {
		.h = case_in_place(p, "h", n, 4),
		.b = pair_floats(p, "b", n, 3, 0),
		.weight = pair_floats(p, "weight", (size_t)s->n_in, 2, 0),
		.next = pair_floats(p, "next", (size_t)s->n_in, 2, 0),
		.y = pair_buffer(p, "y", PAIR_OUTPUT, TENSOR_F16, n, 0),
		.y_scale = pair_buffer(p, "y's scales", PAIR_EXACT, TENSOR_F32, (size_t)s->n_tokens, 0),
		.n_rows = s->n_tokens,
		.n = s->n_in,
		.eps = 1e-6f,
		.scale = 0.9f,
	};
	case_params(c, KERNEL_prompt_residual, &m, sizeof m);
	c->bytes = 14.0 * (double)n;
}

/* Two norms, one in the other, and the addition between them. */
static double allow_residual(struct pair *p, const struct case_shape *s, const struct case_subject *c)
{
	(void)p;
	(void)c;
	return 3 * sum_of(s->n_in);
}

const struct case_kind case_prompt_residual = {"prompt_residual", build_residual, allow_residual, CHECKED_ROWS};

static void build_gated(struct pair *p, const struct case_shape *s, struct case_subject *c)
{
	size_t rows = (size_t)s->n_tokens, n = (size_t)s->n_in;
	char *both = pair_halves(p, "gate and up", rows * 2 * n);
	struct prompt_gated_params m = {
		.gate = both,
		.up = both + 2 * n,
		.x_scale = scales(p, s->n_tokens),
		.y = pair_buffer(p, "y", PAIR_OUTPUT, TENSOR_F16, rows * n, 0),
		.y_scale = pair_buffer(p, "y's scales", PAIR_EXACT, TENSOR_F32, rows, 0),
		.n_rows = s->n_tokens,
		.n = s->n_in,
		.gate_stride = 2 * s->n_in,
		.up_stride = 2 * s->n_in,
		.up_type = TENSOR_F16,
		.act = ACTIVATION_GELU_TANH,
	};
	case_params(c, KERNEL_prompt_gated, &m, sizeof m);
	c->bytes = 6.0 * (double)(rows * n);
}

static double allow_gated(struct pair *p, const struct case_shape *s, const struct case_subject *c)
{
	(void)p;
	(void)s;
	(void)c;
	return FUNCTION;
}

const struct case_kind case_prompt_gated = {"prompt_gated", build_gated, allow_gated, CHECKED_ROWS};

/* ---- products ---- */

static void build_matmul(struct pair *p, const struct case_shape *s, struct case_subject *c)
{
	size_t rows = (size_t)s->n_tokens, n_out = (size_t)s->n_out[0];
	struct prompt_matmul_params m = {
		.w = pair_weight(p, s->layout, s->n_in, s->n_out[0], 1, 0),
		.x = pair_halves(p, "x", rows * (size_t)s->n_in),
		.y = pair_buffer(p, "y", PAIR_OUTPUT, s->type, rows * n_out, 0),
		.n_tokens = s->n_tokens,
		.y_stride = s->n_out[0],
		.y_type = s->type,
	};
	case_params(c, KERNEL_prompt_matmul, &m, sizeof m);
	c->bytes = case_weight_bytes(&m.w) + 2.0 * s->n_tokens * s->n_in +
		   (s->type == TENSOR_F16 ? 2.0 : 4.0) * s->n_tokens * s->n_out[0];
	c->flops = 2.0 * s->n_tokens * (double)s->n_in * s->n_out[0];
}

static double allow_matmul(struct pair *p, const struct case_shape *s, const struct case_subject *c)
{
	struct prompt_matmul_params m;
	memcpy(&m, c->params, sizeof m);
	pair_magnitude_rows(p, m.y, (size_t)s->n_out[0]);
	return 2 * sum_of(s->n_in);
}

const struct case_kind case_prompt_matmul = {"prompt_matmul", build_matmul, allow_matmul, CHECKED_ROWS};

static void build_qkv(struct pair *p, const struct case_shape *s, struct case_subject *c)
{
	size_t hd = (size_t)s->head_dim, rows = (size_t)s->n_tokens;
	int stride = s->n_heads * s->head_dim;
	if (s->owns)
		stride += s->n_kv_heads * s->head_dim * (s->v_is_k ? 1 : 2);
	struct prompt_qkv_params m = {
		.at = {.host = {.pos = s->n_keys - s->n_tokens}},
		.rows = pair_floats(p, "rows", rows * (size_t)stride, 2, 0),
		.scale = scales(p, s->n_tokens),
		.q = pair_buffer(p, "q", PAIR_OUTPUT, TENSOR_F32, rows * (size_t)s->n_heads * hd, 0),
		.q_norm = pair_floats(p, "q norm", hd, 2, 0),
		.k_norm = pair_floats(p, "k norm", hd, 2, 0),
		.inv_freq = case_inverse_frequencies(p, s->head_dim),
		.kv = pair_cache(p, PAIR_OUTPUT, s->type, s->type, s->n_kv_heads, s->head_dim,
				 s->window ? s->window + s->n_tokens - 1 : s->n_keys, s->window > 0),
		.n_tokens = s->n_tokens,
		.n_heads = s->n_heads,
		.head_dim = s->head_dim,
		.stride = stride,
		.owns = s->owns,
		.v_is_k = s->v_is_k,
		.v_norm = 1,
		.eps = 1e-6f,
	};
	case_params(c, KERNEL_prompt_qkv, &m, sizeof m);
	c->bytes = (double)rows *
		   (4.0 * stride + 4.0 * s->n_heads * s->head_dim + (s->owns ? 4.0 * s->n_kv_heads * s->head_dim : 0));
}

/* A norm, and a turn by an angle whose own product is the same on both; an element with its pair's error. */
static double allow_qkv(struct pair *p, const struct case_shape *s, const struct case_subject *c)
{
	struct prompt_qkv_params m;
	memcpy(&m, c->params, sizeof m);
	pair_magnitude_pairs(p, m.q, (size_t)s->head_dim);
	return sum_of(s->head_dim) + 4 * FUNCTION;
}

const struct case_kind case_prompt_qkv = {"prompt_qkv", build_qkv, allow_qkv, CHECKED_ROWS};

/* ---- experts ---- */

static int *draw_ids(struct pair *p, const struct case_shape *s)
{
	int *ids = pair_buffer(p, "ids", PAIR_INPUT, PAIR_INT, (size_t)s->n_tokens * (size_t)s->n_used, 0);
	for (int t = 0; t < s->n_tokens; t++) {
		int from = pair_between(p, 0, s->n_expert - 1), step = 1 + 2 * pair_between(p, 0, 3);
		for (int u = 0; u < s->n_used; u++)
			ids[t * s->n_used + u] = (from + u * step) % s->n_expert;
	}
	return ids;
}

static void build_sort(struct pair *p, const struct case_shape *s, struct case_subject *c)
{
	int n = s->n_tokens * s->n_used;
	struct moe_sort_params m = {
		.ids = draw_ids(p, s),
		.order = pair_buffer(p, "order", PAIR_EXACT, PAIR_INT, (size_t)n, 0),
		.starts = pair_buffer(p, "starts", PAIR_EXACT, PAIR_INT, (size_t)s->n_expert + 1, 0),
		.n_pairs = n,
		.n_expert = s->n_expert,
	};
	case_params(c, KERNEL_moe_sort, &m, sizeof m);
	c->bytes = 8.0 * n + 4.0 * s->n_expert;
}

const struct case_kind case_moe_sort = {"moe_sort", build_sort, case_exact, 0};

/* Pairs in ascending order of experts, by counting. */
static void sorted(struct pair *p, const struct case_shape *s, int **order, int **starts)
{
	int n_pairs = s->n_tokens * s->n_used, n = 0;
	const int *ids = draw_ids(p, s);
	*order = pair_buffer(p, "order", PAIR_INPUT, PAIR_INT, (size_t)n_pairs, 0);
	*starts = pair_buffer(p, "starts", PAIR_INPUT, PAIR_INT, (size_t)s->n_expert + 1, 0);
	for (int e = 0; e < s->n_expert; e++) {
		(*starts)[e] = n;
		for (int i = 0; i < n_pairs; i++)
			if (ids[i] == e)
				(*order)[n++] = i;
	}
	(*starts)[s->n_expert] = n;
}

static void build_experts_gated(struct pair *p, const struct case_shape *s, struct case_subject *c)
{
	int *order, *starts, n_pairs = s->n_tokens * s->n_used;
	sorted(p, s, &order, &starts);
	struct prompt_experts_gated_params m = {
		.w = pair_weight(p, s->layout, s->n_in, 2 * s->n_out[0], s->n_expert, 0),
		.order = order,
		.starts = starts,
		.x = pair_halves(p, "x", (size_t)s->n_tokens * (size_t)s->n_in),
		.scale = scales(p, s->n_tokens),
		.y = pair_buffer(p, "y", PAIR_OUTPUT, TENSOR_F16, (size_t)n_pairs * (size_t)s->n_out[0], 0),
		.n_tokens = s->n_tokens,
		.n_used = s->n_used,
		.act = ACTIVATION_GELU_TANH,
	};
	case_params(c, KERNEL_prompt_experts_gated, &m, sizeof m);
	c->bytes = case_weight_bytes(&m.w) + 2.0 * s->n_tokens * s->n_in + 2.0 * n_pairs * s->n_out[0];
	c->flops = 4.0 * n_pairs * (double)s->n_in * s->n_out[0];
}

static double allow_experts_gated(struct pair *p, const struct case_shape *s, const struct case_subject *c)
{
	(void)p;
	(void)c;
	return 2 * 2.3 * sum_of(s->n_in) + FUNCTION;
}

const struct case_kind case_prompt_experts_gated = {"prompt_experts_gated", build_experts_gated, allow_experts_gated,
						    CHECKED_ROWS};

static void build_experts_matmul(struct pair *p, const struct case_shape *s, struct case_subject *c)
{
	int *order, *starts, n_pairs = s->n_tokens * s->n_used;
	sorted(p, s, &order, &starts);
	struct prompt_experts_matmul_params m = {
		.w = pair_weight(p, s->layout, s->n_in, s->n_out[0], s->n_expert, 0),
		.order = order,
		.starts = starts,
		.x = pair_halves(p, "x", (size_t)n_pairs * (size_t)s->n_in),
		.scale = scales(p, s->n_tokens),
		.y = pair_buffer(p, "y", PAIR_OUTPUT, TENSOR_F32, (size_t)n_pairs * (size_t)s->n_out[0], 0),
		.n_pairs = n_pairs,
		.n_used = s->n_used,
	};
	case_params(c, KERNEL_prompt_experts_matmul, &m, sizeof m);
	c->bytes = case_weight_bytes(&m.w) + 2.0 * n_pairs * s->n_in + 4.0 * n_pairs * s->n_out[0];
	c->flops = 2.0 * n_pairs * (double)s->n_in * s->n_out[0];
}

static double allow_experts_matmul(struct pair *p, const struct case_shape *s, const struct case_subject *c)
{
	struct prompt_experts_matmul_params m;
	memcpy(&m, c->params, sizeof m);
	pair_magnitude_rows(p, m.y, (size_t)s->n_out[0]);
	return 2 * sum_of(s->n_in);
}

const struct case_kind case_prompt_experts_matmul = {"prompt_experts_matmul", build_experts_matmul,
						     allow_experts_matmul, CHECKED_ROWS};
