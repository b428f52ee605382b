/* Products of a token, alone and fused, and the embedding. */
#include "bench/kernel_cases.h"
#include "bench/quant_values.h"

#include <stdlib.h>
#include <string.h>

/* The steepest slope of GELU and of SiLU. */
static const double SLOPE = 1.13;

void case_params(struct case_subject *c, enum kernel k, const void *params, size_t bytes)
{
	pair_need(bytes <= sizeof c->params, "room for the params");
	c->kernel = k;
	memcpy(c->params, params, bytes);
}

double case_exact(struct pair *p, const struct case_shape *s, const struct case_subject *c)
{
	(void)p;
	(void)s;
	(void)c;
	return 0;
}

double case_weight_bytes(const struct weight *w)
{
	double n = (double)w->n_in * w->n_out * w->n_expert;
	if (quant_block(w->type))
		return n / quant_block(w->type) * (double)quant_block_bytes(w->type);
	return n * (w->type == TENSOR_F32 ? 4 : w->type == TENSOR_Q8_0 ? 34.0 / 32 : 2);
}

float *case_in_place(struct pair *p, const char *name, size_t n, float scale)
{
	float *x = pair_buffer(p, name, PAIR_OUTPUT, TENSOR_F32, n, 0);
	for (size_t i = 0; i < n; i++)
		x[i] = pair_float(p, scale);
	return x;
}

static double elements(const struct weight *w)
{
	return (double)w->n_in * w->n_out;
}

/* ---- embed: a row of the table ---- */

enum { EMBED_ROWS = 4096 }; /* of the vocabulary: one is read */

static void build_embed(struct pair *p, const struct case_shape *s, struct case_subject *c)
{
	struct embed_params m = {
		.at = pair_at(p, (struct step){.token = EMBED_ROWS / 3}, false),
		.table = pair_weight(p, s->layout, s->n_in, EMBED_ROWS, 1, 0),
		.y = pair_buffer(p, "y", PAIR_EXACT, TENSOR_F32, (size_t)s->n_in, 0),
		.n_tokens = 1,
		.scale = 50.6f,
	};
	case_params(c, KERNEL_embed, &m, sizeof m);
	c->bytes = case_weight_bytes(&m.table) / EMBED_ROWS + 4.0 * s->n_in;
}

const struct case_kind case_embed = {"embed", build_embed, case_exact, 0};

/* ---- matmul ---- */

static void build_matmul(struct pair *p, const struct case_shape *s, struct case_subject *c)
{
	size_t n = (size_t)s->n_tokens;
	struct matmul_params m = {
		.w = pair_weight(p, s->layout, s->n_in, s->n_out[0], 1, 0),
		.x = pair_floats(p, "x", n * (size_t)s->n_in, 2, 0),
		.y = pair_buffer(p, "y", PAIR_OUTPUT, TENSOR_F32, n * (size_t)s->n_out[0], 0),
		.n_tokens = s->n_tokens,
		.x_stride = s->n_in,
		.y_stride = s->n_out[0],
	};
	case_params(c, KERNEL_matmul, &m, sizeof m);
	c->bytes = case_weight_bytes(&m.w) + 4.0 * s->n_tokens * (s->n_in + s->n_out[0]);
	c->flops = 2 * elements(&m.w) * s->n_tokens;
}

static double allow_matmul(struct pair *p, const struct case_shape *s, const struct case_subject *c)
{
	struct matmul_params m;
	memcpy(&m, c->params, sizeof m);
	tolerance_matmul(p, &m);
	return sum_of(s->n_in);
}

const struct case_kind case_matmul = {"matmul", build_matmul, allow_matmul, 0};

/* ---- norm_matmul ---- */

/* With a cap the norm's weights make most logits about as large as it. */
static float norm_width(const struct case_shape *s, const struct weight *w)
{
	enum { LOOKED_AT = 64 };
	struct weight few = *w;
	double squares = 0;
	if (s->cap <= 0)
		return 1;
	few.n_out = w->n_out < LOOKED_AT ? w->n_out : LOOKED_AT;
	double *norms = pair_row_norms(&few);
	for (int r = 0; r < few.n_out; r++)
		squares += norms[r] * norms[r];
	free(norms);
	return s->cap * sqrtf(3) / (float)sqrt(squares / few.n_out);
}

static void build_norm_matmul(struct pair *p, const struct case_shape *s, struct case_subject *c)
{
	static const char *const names[] = {"y[0]", "y[1]", "y[2]"};
	float *weight = pair_buffer(p, "norm weight", PAIR_INPUT, TENSOR_F32, (size_t)s->n_in, 0);
	struct norm_matmul_params m = {
		.x = pair_floats(p, "x", (size_t)s->n_in, 3, 0),
		.weight = weight,
		.normed = pair_buffer(p, "normed", PAIR_SCRATCH, TENSOR_F32, (size_t)s->n_in, 0),
		.n_tokens = 1,
		.n = s->n_in,
		.eps = 1e-6f,
		.cap = s->cap,
	};
	c->bytes = 8.0 * s->n_in;
	for (int i = 0; i < 3 && s->n_out[i]; i++) {
		m.w[i] = pair_weight(p, s->layout, s->n_in, s->n_out[i], 1, 0);
		m.y[i] = pair_buffer(p, names[i], PAIR_OUTPUT, TENSOR_F32, (size_t)s->n_out[i], 0);
		m.n_matmuls++;
		c->bytes += case_weight_bytes(&m.w[i]) + 4.0 * s->n_out[i];
		c->flops += 2 * elements(&m.w[i]);
	}
	float width = norm_width(s, &m.w[0]);
	for (int i = 0; i < s->n_in; i++)
		weight[i] = pair_float(p, width);
	case_params(c, KERNEL_norm_matmul, &m, sizeof m);
}

static double allow_norm_matmul(struct pair *p, const struct case_shape *s, const struct case_subject *c)
{
	struct norm_matmul_params m;
	memcpy(&m, c->params, sizeof m);
	for (int i = 0; i < m.n_matmuls; i++) {
		double *norms = pair_row_norms(&m.w[i]);
		tolerance_product(p, m.y[i], 0, &m.w[i], 0, norms, m.normed, 0);
		free(norms);
	}
	return sum_of(s->n_in) + (s->cap > 0 ? FUNCTION : 0);
}

const struct case_kind case_norm_matmul = {"norm_matmul", build_norm_matmul, allow_norm_matmul, 0};

/* ---- norm_gated, matmul_gated ---- */

/* Of y = act(g) * u: the error of each times what it is multiplied with. */
static double gated_error(double gate_magnitude, double up_magnitude, double u, double y)
{
	double act = u != 0 ? fabs(y / u) : 0;
	return SLOPE * gate_magnitude * fabs(u) + act * up_magnitude;
}

static double largest(const float *x, int n)
{
	double most = 0;
	for (int i = 0; i < n; i++)
		most = fmax(most, fabs((double)x[i]));
	return most;
}

static void build_norm_gated(struct pair *p, const struct case_shape *s, struct case_subject *c)
{
	size_t n = (size_t)s->n_in, n_out = (size_t)s->n_out[0];
	struct norm_gated_params m = {
		.x = pair_floats(p, "x", n, 3, 0),
		.weight = pair_floats(p, "norm weight", n, 1, 0),
		.normed = pair_buffer(p, "normed", PAIR_SCRATCH, TENSOR_F32, n, 0),
		.w_gate = pair_weight(p, s->layout, s->n_in, s->n_out[0], 1, 0),
		.w_up = pair_weight(p, s->layout, s->n_in, s->n_out[0], 1, 0),
		.up = pair_buffer(p, "up", PAIR_SCRATCH, TENSOR_F32, n_out, 0),
		.y = pair_buffer(p, "y", PAIR_OUTPUT, TENSOR_F32, n_out, 0),
		.n_tokens = 1,
		.n = s->n_in,
		.act = ACTIVATION_GELU_TANH,
		.eps = 1e-6f,
	};
	m.gate = m.y;
	case_params(c, KERNEL_norm_gated, &m, sizeof m);
	c->bytes = 2 * case_weight_bytes(&m.w_gate) + 8.0 * s->n_in + 4.0 * s->n_out[0];
	c->flops = 4 * elements(&m.w_gate);
}

static double allow_norm_gated(struct pair *p, const struct case_shape *s, const struct case_subject *c)
{
	struct norm_gated_params m;
	memcpy(&m, c->params, sizeof m);
	double *gate = pair_row_norms(&m.w_gate), *up = pair_row_norms(&m.w_up), *magnitude = pair_magnitude(p, m.y);
	double most = largest(m.normed, m.n);
	for (int r = 0; r < m.w_gate.n_out; r++)
		magnitude[r] = gated_error(gate[r] * most, up[r] * most, (double)m.up[r], (double)m.y[r]);
	free(gate);
	free(up);
	return sum_of(s->n_in) + FUNCTION;
}

const struct case_kind case_norm_gated = {"norm_gated", build_norm_gated, allow_norm_gated, 0};

static void build_matmul_gated(struct pair *p, const struct case_shape *s, struct case_subject *c)
{
	size_t n_out = (size_t)s->n_out[0];
	struct matmul_gated_params m = {
		.w = pair_weight(p, s->layout, s->n_in, s->n_out[0], 1, 0),
		.x = pair_floats(p, "x", (size_t)s->n_in, 2, 0),
		.up = pair_floats(p, "up", n_out, 1, 0),
		.y = pair_buffer(p, "y", PAIR_OUTPUT, TENSOR_F32, n_out, 0),
		.n_tokens = 1,
		.up_stride = s->n_out[0],
		.act = ACTIVATION_GELU_TANH,
	};
	m.gate = m.y;
	case_params(c, KERNEL_matmul_gated, &m, sizeof m);
	c->bytes = case_weight_bytes(&m.w) + 4.0 * s->n_in + 8.0 * s->n_out[0];
	c->flops = 2 * elements(&m.w);
}

static double allow_matmul_gated(struct pair *p, const struct case_shape *s, const struct case_subject *c)
{
	struct matmul_gated_params m;
	memcpy(&m, c->params, sizeof m);
	double *norms = pair_row_norms(&m.w), *magnitude = pair_magnitude(p, m.y);
	tolerance_product(p, m.y, 0, &m.w, 0, norms, m.x, 0);
	for (int r = 0; r < m.w.n_out; r++)
		magnitude[r] *= SLOPE * fabs((double)m.up[r]);
	free(norms);
	return sum_of(s->n_in) + FUNCTION;
}

const struct case_kind case_matmul_gated = {"matmul_gated", build_matmul_gated, allow_matmul_gated, 0};

/* ---- experts ---- */

static int *some_experts(struct pair *p, const struct case_shape *s)
{
	int *ids = pair_buffer(p, "ids", PAIR_INPUT, PAIR_INT, (size_t)s->n_used, 0);
	for (int u = 0; u < s->n_used; u++)
		ids[u] = (u * (s->n_expert / s->n_used) + 3) % s->n_expert;
	return ids;
}

static void build_matmul_experts(struct pair *p, const struct case_shape *s, struct case_subject *c)
{
	size_t used = (size_t)s->n_used;
	struct matmul_experts_params m = {
		.w = pair_weight(p, s->layout, s->n_in, s->n_out[0], s->n_expert, 0),
		.ids = some_experts(p, s),
		.x = pair_floats(p, "x", used * (size_t)s->n_in, 2, 0),
		.y = pair_buffer(p, "y", PAIR_OUTPUT, TENSOR_F32, used * (size_t)s->n_out[0], 0),
		.n_tokens = 1,
		.n_used = s->n_used,
		.x_per_expert = 1,
	};
	case_params(c, KERNEL_matmul_experts, &m, sizeof m);
	c->bytes = case_weight_bytes(&m.w) / s->n_expert * s->n_used + 4.0 * s->n_used * (s->n_in + s->n_out[0]);
	c->flops = 2 * elements(&m.w) * s->n_used;
}

static double allow_matmul_experts(struct pair *p, const struct case_shape *s, const struct case_subject *c)
{
	struct matmul_experts_params m;
	memcpy(&m, c->params, sizeof m);
	double *norms = pair_row_norms(&m.w);
	for (int u = 0; u < s->n_used; u++)
		tolerance_product(p, m.y, m.w.n_out, &m.w, m.ids[u], norms, m.x + (size_t)u * (size_t)s->n_in, u);
	free(norms);
	return sum_of(s->n_in);
}

const struct case_kind case_matmul_experts = {"matmul_experts", build_matmul_experts, allow_matmul_experts, 0};

static void build_experts_gated(struct pair *p, const struct case_shape *s, struct case_subject *c)
{
	size_t used = (size_t)s->n_used;
	struct experts_gated_params m = {
		.w = pair_weight(p, s->layout, s->n_in, 2 * s->n_out[0], s->n_expert, 0),
		.ids = some_experts(p, s),
		.x = pair_floats(p, "x", (size_t)s->n_in, 2, 0),
		.gate_up = pair_buffer(p, "gate_up", PAIR_SCRATCH, TENSOR_F32, used * 2 * (size_t)s->n_out[0], 0),
		.y = pair_buffer(p, "y", PAIR_OUTPUT, TENSOR_F32, used * (size_t)s->n_out[0], 0),
		.n_tokens = 1,
		.n_used = s->n_used,
		.act = ACTIVATION_GELU_TANH,
	};
	case_params(c, KERNEL_experts_gated, &m, sizeof m);
	c->bytes = case_weight_bytes(&m.w) / s->n_expert * s->n_used + 4.0 * s->n_in + 4.0 * s->n_used * s->n_out[0];
	c->flops = 2 * elements(&m.w) * s->n_used;
}

static double allow_experts_gated(struct pair *p, const struct case_shape *s, const struct case_subject *c)
{
	struct experts_gated_params m;
	memcpy(&m, c->params, sizeof m);
	double *norms = pair_row_norms(&m.w), *magnitude = pair_magnitude(p, m.y), most = largest(m.x, s->n_in);
	int n_ff = s->n_out[0];
	for (int u = 0; u < s->n_used; u++) {
		const double *norm = norms + (size_t)m.ids[u] * (size_t)m.w.n_out;
		const float *up = m.gate_up + (size_t)u * (size_t)m.w.n_out + n_ff;
		for (int r = 0; r < n_ff; r++) {
			size_t at = (size_t)u * (size_t)n_ff + (size_t)r;
			magnitude[at] =
				gated_error(norm[r] * most, norm[n_ff + r] * most, (double)up[r], (double)m.y[at]);
		}
	}
	free(norms);
	return sum_of(s->n_in) + FUNCTION;
}

const struct case_kind case_experts_gated = {"experts_gated", build_experts_gated, allow_experts_gated, 0};
