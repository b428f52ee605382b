/*
 * Prompts in float16: what a GPU's kernels of that name are compared with, and what stands for them where a test has
 * no GPU. The host's own prompts are float32 and take none of these. No claim to speed.
 */
#include <math.h>
#include <string.h>

#include "kernels/cpu/cache_rows.h"

static const float F16_MAX = 65504.0f;

/* The scale of a row whose largest magnitude that is. */
static float scale_of(float largest)
{
	return half_from_bits(half_to_bits(fmaxf(largest, 0x1p-60f)) & 0x7f800000) * 0.25f;
}

/* y * *scale = x */
static void round_row(const float *x, uint16_t *y, float *scale, int n)
{
	float largest = 0;

	for (int i = 0; i < n; i++)
		largest = fmaxf(largest, fabsf(x[i]));
	*scale = scale_of(largest);
	for (int i = 0; i < n; i++)
		y[i] = half_f32_to_f16(x[i] / *scale);
}

/* What two sums over scaled rows make: not beyond what float16 holds. */
static uint16_t round_product(float y)
{
	return half_f32_to_f16(y > F16_MAX ? F16_MAX : y < -F16_MAX ? -F16_MAX : y);
}

/* Row `row` of w, experts' counted through, to float32 as it is. */
static void weight_row(const struct weight *w, size_t row, float *to)
{
	cpu_inner()->to_f32(cpu_weight_row(w, row), cpu_weight_scales(w, row), w->type, to, (size_t)w->n_in);
}

/* What each thread of a loop over rows has for itself. */
struct row_loop {
	const void *p;
	float *scratch; /* (threads, each) */
	size_t each;
	float *x; /* of wide_loop: (rows, n) */
};

static struct row_loop row_loop(const void *p, size_t each)
{
	struct row_loop l = {.p = p, .each = cpu_pad(each)};

	l.scratch = cpu_scratch(l.each * (size_t)cpu_threads() * sizeof(float));
	return l;
}

static void dequant_part(void *ctx, int begin, int end, int thread)
{
	const struct row_loop *l = ctx;
	const struct dequant_params *p = l->p;
	float *row = l->scratch + l->each * (size_t)thread;
	const size_t n = (size_t)p->w.n_in;

	for (int r = begin; r < end; r++) {
		weight_row(&p->w, (size_t)p->first_row + (size_t)r, row);
		cpu_inner()->from_f32(row, p->y_type, (char *)p->y + (size_t)r * n * (p->y_type == TENSOR_F32 ? 4 : 2),
				      n);
	}
}

void k_dequant(const struct dequant_params *p)
{
	struct row_loop l = row_loop(p, (size_t)p->w.n_in);

	cpu_parallel(p->n_rows, 1, dequant_part, &l);
}

static void to_f16_part(void *ctx, int begin, int end, int thread)
{
	const struct to_f16_params *p = ctx;

	(void)thread;
	for (int r = begin; r < end; r++)
		round_row(p->x + (size_t)r * (size_t)p->x_stride, (uint16_t *)p->y + (size_t)r * (size_t)p->n,
			  p->y_scale + r, p->n);
}

void k_to_f16(const struct to_f16_params *p)
{
	cpu_parallel(p->n_rows, 1, to_f16_part, (void *)p);
}

static void scale_rows_part(void *ctx, int begin, int end, int thread)
{
	const struct scale_rows_params *p = ctx;

	(void)thread;
	for (int r = begin; r < end; r++)
		for (int i = 0; i < p->n; i++)
			p->y[(size_t)r * (size_t)p->y_stride + (size_t)i] *= p->scale[r];
}

void k_scale_rows(const struct scale_rows_params *p)
{
	cpu_parallel(p->n_rows, 1, scale_rows_part, (void *)p);
}

/* ---- norms ---- */

static void norm(const float *x, const float *weight, float *y, int n, float eps, float scale)
{
	const float mean = cpu_inner()->sum_squares(x, n) / (float)n;

	cpu_inner()->scale(x, weight, scale / sqrtf(mean + eps), y, n);
}

static void norm_part(void *ctx, int begin, int end, int thread)
{
	const struct row_loop *l = ctx;
	const struct prompt_norm_params *p = l->p;
	float *row = l->scratch + l->each * (size_t)thread;

	for (int r = begin; r < end; r++) {
		const size_t at = (size_t)r * (size_t)p->n;

		norm(p->x + at, p->weight, row, p->n, p->eps, p->scale);
		round_row(row, (uint16_t *)p->y + at, p->y_scale + r, p->n);
	}
}

void k_prompt_norm(const struct prompt_norm_params *p)
{
	struct row_loop l = row_loop(p, (size_t)p->n);

	cpu_parallel(p->n_rows, 1, norm_part, &l);
}

static void residual_part(void *ctx, int begin, int end, int thread)
{
	const struct row_loop *l = ctx;
	const struct prompt_residual_params *p = l->p;
	float *row = l->scratch + l->each * (size_t)thread;

	for (int r = begin; r < end; r++) {
		const size_t at = (size_t)r * (size_t)p->n;
		float *h = p->h + at;
		const float b_scale = p->b_scale ? p->b_scale[r] : 1.0f;

		for (int i = 0; i < p->n; i++)
			row[i] = p->b[at + (size_t)i] * b_scale;
		if (p->weight)
			norm(row, p->weight, row, p->n, p->eps, 1.0f);
		cpu_inner()->add(h, row, p->scale, h, (size_t)p->n);
		if (!p->y)
			continue;
		if (p->next)
			norm(h, p->next, row, p->n, p->eps, 1.0f);
		round_row(p->next ? row : h, (uint16_t *)p->y + at, p->y_scale + r, p->n);
	}
}

void k_prompt_residual(const struct prompt_residual_params *p)
{
	struct row_loop l = row_loop(p, (size_t)p->n);

	cpu_parallel(p->n_rows, 1, residual_part, &l);
}

/* ---- gates ---- */

static void gated_part(void *ctx, int begin, int end, int thread)
{
	const struct row_loop *l = ctx;
	const struct prompt_gated_params *p = l->p;
	float *g = l->scratch + l->each * (size_t)thread, *u = g + l->each / 2;

	for (int r = begin; r < end; r++) {
		const float scale = p->x_scale[r];
		uint16_t *y = (uint16_t *)p->y + (size_t)r * (size_t)p->n;

		cpu_inner()->to_f32((const uint16_t *)p->gate + (size_t)r * (size_t)p->gate_stride, NULL, TENSOR_F16, g,
				    (size_t)p->n);
		cpu_inner()->to_f32((const char *)p->up +
					    (size_t)r * (size_t)p->up_stride * (p->up_type == TENSOR_F32 ? 4 : 2),
				    NULL, p->up_type, u, (size_t)p->n);
		for (int i = 0; i < p->n; i++)
			g[i] *= scale;
		cpu_inner()->gated(g, u, p->act, g, p->n);
		for (int i = 0; i < p->n; i++)
			y[i] = round_product(g[i] / scale);
		p->y_scale[r] = p->up_type == TENSOR_F32 ? scale : scale * scale;
	}
}

void k_prompt_gated(const struct prompt_gated_params *p)
{
	struct row_loop l = row_loop(p, 2 * cpu_pad((size_t)p->n));

	cpu_parallel(p->n_rows, 1, gated_part, &l);
}

/* ---- products ---- */

/* A loop for which n elements of each of `rows` rows of x are float32, decoded once for all of its products. */
static struct row_loop wide_loop(const void *p, size_t each, const void *x, int rows, int n)
{
	struct row_loop l = {.p = p, .each = cpu_pad(each)};
	const size_t wide = cpu_pad((size_t)rows * (size_t)n);

	l.x = cpu_scratch((wide + l.each * (size_t)cpu_threads()) * sizeof(float));
	l.scratch = l.x + wide;
	cpu_inner()->to_f32(x, NULL, TENSOR_F16, l.x, (size_t)rows * (size_t)n);
	return l;
}

/* Sums in double: what float32 sums in any order are near. Four, none of which waits for another. */
static float dot(const float *w, const float *x, int n)
{
	double sum[4] = {0};
	int i = 0;

	for (; i + 4 <= n; i += 4)
		for (int j = 0; j < 4; j++)
			sum[j] += (double)w[i + j] * (double)x[i + j];
	for (; i < n; i++)
		sum[0] += (double)w[i] * (double)x[i];
	return (float)((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

/* The row as products take it. */
static void rounded_row(const struct weight *w, size_t row, float *to)
{
	weight_row(w, row, to);
	for (int i = 0; i < w->n_in; i++)
		to[i] = half_f16_to_f32(half_f32_to_f16(to[i]));
}

static void matmul_part(void *ctx, int begin, int end, int thread)
{
	const struct row_loop *l = ctx;
	const struct prompt_matmul_params *p = l->p;
	float *row = l->scratch + l->each * (size_t)thread;

	for (int r = begin; r < end; r++) {
		rounded_row(&p->w, (size_t)r, row);
		for (int t = 0; t < p->n_tokens; t++) {
			const size_t at = (size_t)t * (size_t)p->y_stride + (size_t)r;
			const float y = dot(row, l->x + (size_t)t * (size_t)p->w.n_in, p->w.n_in);

			if (p->y_type == TENSOR_F32)
				((float *)p->y)[at] = p->scale ? y * p->scale[t] : y;
			else
				((uint16_t *)p->y)[at] = half_f32_to_f16(y);
		}
	}
}

void k_prompt_matmul(const struct prompt_matmul_params *p)
{
	struct row_loop l = wide_loop(p, (size_t)p->w.n_in, p->x, p->n_tokens, p->w.n_in);

	cpu_parallel(p->w.n_out, 1, matmul_part, &l);
}

/* ---- q, k and v ---- */

static void scaled(const float *x, float scale, float *y, int n)
{
	for (int i = 0; i < n; i++)
		y[i] = x[i] * scale;
}

static void prepare_head(const struct prompt_qkv_params *p, int pos, const float *x, float scale, const float *weight,
			 float *y)
{
	const int half = p->head_dim / 2;

	scaled(x, scale, y, p->head_dim);
	norm(y, weight, y, p->head_dim, p->eps, 1.0f);
	for (int j = 0; j < half; j++) {
		const float angle = (float)pos * p->inv_freq[j], c = cosf(angle), s = sinf(angle);
		const float a = y[j], b = y[j + half];

		y[j] = a * c - b * s;
		y[j + half] = a * s + b * c;
	}
}

static void store_head(const struct kv *kv, int head, int slot, const float *k, const float *v)
{
	const size_t n = (size_t)kv->head_dim;

	cache_store(cpu_inner(), k, kv->type, cache_row(kv->k, kv->type, kv, (size_t)head, (size_t)slot), n);
	cache_store(cpu_inner(), v, kv->v_type, cache_row(kv->v, kv->v_type, kv, (size_t)head, (size_t)slot), n);
}

static void rows_part(void *ctx, int begin, int end, int thread)
{
	const struct row_loop *l = ctx;
	const struct prompt_qkv_params *p = l->p;
	const struct step step = cpu_step(&p->at);
	const size_t hd = (size_t)p->head_dim, n_heads = (size_t)p->n_heads, n_kv = (size_t)p->kv.n_kv_heads;
	float *k = l->scratch + l->each * (size_t)thread, *v = k + l->each / 2;

	for (int t = begin; t < end; t++) {
		const float *row = p->rows + (size_t)t * (size_t)p->stride;
		const float scale = p->scale ? p->scale[t] : 1.0f;
		const int pos = step.pos + t, slot = p->kv.ring > 0 ? pos % p->kv.ring : pos - step.evicted;

		for (size_t h = 0; h < n_heads; h++)
			prepare_head(p, pos, row + h * hd, scale, p->q_norm, p->q + ((size_t)t * n_heads + h) * hd);
		for (size_t h = 0; p->owns && h < n_kv; h++) {
			const float *k_raw = row + (n_heads + h) * hd, *v_raw = p->v_is_k ? k_raw : k_raw + n_kv * hd;
			const size_t at = ((size_t)t * n_kv + h) * hd;

			prepare_head(p, pos, k_raw, scale, p->k_norm, k);
			scaled(v_raw, scale, v, p->head_dim);
			if (p->v_norm)
				norm(v, NULL, v, p->head_dim, p->eps, 1.0f);
			if (p->k_out) {
				memcpy(p->k_out + at, k, hd * sizeof(*k));
				memcpy(p->v_out + at, v, hd * sizeof(*v));
			}
			/* Of tokens that share a slot of the ring only the last writes. */
			if (!p->kv.ring || t >= p->n_tokens - p->kv.ring)
				store_head(&p->kv, (int)h, slot, k, v);
		}
	}
}

void k_prompt_qkv(const struct prompt_qkv_params *p)
{
	struct row_loop l = row_loop(p, 2 * cpu_pad((size_t)p->head_dim));

	cpu_parallel(p->n_tokens, 1, rows_part, &l);
}

/* ---- experts ---- */

void k_moe_sort(const struct moe_sort_params *p)
{
	int n = 0;

	for (int e = 0; e < p->n_expert; e++) {
		p->starts[e] = n;
		for (int i = 0; i < p->n_pairs; i++)
			if (p->ids[i] == e)
				p->order[n++] = i;
	}
	p->starts[p->n_expert] = n;
}

static void experts_gated_part(void *ctx, int begin, int end, int thread)
{
	const struct row_loop *l = ctx;
	const struct prompt_experts_gated_params *p = l->p;
	const int n_ff = p->w.n_out / 2;
	float *gate = l->scratch + l->each * (size_t)thread, *up = gate + l->each / 2;

	for (int r = begin; r < end; r++) {
		const int e = r / n_ff, j = r % n_ff;
		const size_t first = (size_t)e * (size_t)p->w.n_out + (size_t)j;

		if (p->starts[e] == p->starts[e + 1])
			continue;
		rounded_row(&p->w, first, gate);
		rounded_row(&p->w, first + (size_t)n_ff, up);
		for (int i = p->starts[e]; i < p->starts[e + 1]; i++) {
			const int t = p->order[i] / p->n_used;
			const float *x = l->x + (size_t)t * (size_t)p->w.n_in;
			float g = dot(gate, x, p->w.n_in) * p->scale[t];
			const float u = dot(up, x, p->w.n_in);

			cpu_inner()->gated(&g, &u, p->act, &g, 1);
			((uint16_t *)p->y)[(size_t)i * (size_t)n_ff + (size_t)j] = round_product(g / p->scale[t]);
		}
	}
}

void k_prompt_experts_gated(const struct prompt_experts_gated_params *p)
{
	struct row_loop l = wide_loop(p, 2 * cpu_pad((size_t)p->w.n_in), p->x, p->n_tokens, p->w.n_in);

	cpu_parallel(p->w.n_expert * (p->w.n_out / 2), 1, experts_gated_part, &l);
}

static void experts_matmul_part(void *ctx, int begin, int end, int thread)
{
	const struct row_loop *l = ctx;
	const struct prompt_experts_matmul_params *p = l->p;
	const int n_out = p->w.n_out;
	float *row = l->scratch + l->each * (size_t)thread;

	for (int r = begin; r < end; r++) {
		const int e = r / n_out;

		if (p->starts[e] == p->starts[e + 1])
			continue;
		rounded_row(&p->w, (size_t)r, row);
		for (int i = p->starts[e]; i < p->starts[e + 1]; i++) {
			const float scale = p->scale[p->order[i] / p->n_used];

			p->y[(size_t)p->order[i] * (size_t)n_out + (size_t)(r % n_out)] =
				dot(row, l->x + (size_t)i * (size_t)p->w.n_in, p->w.n_in) * (scale * scale);
		}
	}
}

void k_prompt_experts_matmul(const struct prompt_experts_matmul_params *p)
{
	struct row_loop l = wide_loop(p, (size_t)p->w.n_in, p->x, p->n_pairs, p->w.n_in);

	cpu_parallel(p->w.n_expert * p->w.n_out, 1, experts_matmul_part, &l);
}
