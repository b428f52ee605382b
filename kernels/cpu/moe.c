/* Mixture of experts: routing and the weighted sum. The products are in matmul.c. */
#include <assert.h>
#include <math.h>

#include "kernels/cpu/inner.h"

enum { PARALLEL_ELEMENTS = 1 << 14 };

static int chosen(const int *ids, int n, int e)
{
	for (int i = 0; i < n; i++)
		if (ids[i] == e)
			return 1;
	return 0;
}

/*
 * The best of the experts not chosen yet, the first of equals. Chosen by logit, which
 * orders as the probability does and is exact. Without a number among them (NaN) still an expert.
 */
static int best_of_rest(const float *logits, int n_expert, const int *ids, int n)
{
	int best = -1;

	for (int e = 0; e < n_expert; e++)
		if (!chosen(ids, n, e) && (best < 0 || logits[e] > logits[best]))
			best = e;
	return best;
}

static void route(const struct moe_route_params *p, int t)
{
	const float *logits = p->logits + (size_t)t * (size_t)p->n_expert;
	int *ids = p->ids + (size_t)t * (size_t)p->n_used;
	float *weights = p->weights + (size_t)t * (size_t)p->n_used;
	float sum = 0.0f;

	for (int u = 0; u < p->n_used; u++)
		ids[u] = best_of_rest(logits, p->n_expert, ids, u);
	/* The softmax's denominator over all experts cancels in the renormalisation. */
	for (int u = 0; u < p->n_used; u++) {
		weights[u] = expf(logits[ids[u]] - logits[ids[0]]);
		sum += weights[u];
	}
	for (int u = 0; u < p->n_used; u++)
		weights[u] = weights[u] / sum * (p->expert_scale ? p->expert_scale[ids[u]] : 1.0f);
}

static void route_part(void *ctx, int begin, int end, int thread)
{
	(void)thread;
	for (int t = begin; t < end; t++)
		route(ctx, t);
}

void k_moe_route(const struct moe_route_params *p)
{
	assert(p->n_used >= 1 && p->n_used <= p->n_expert);
	cpu_parallel(p->n_tokens, cpu_grain(p->n_tokens, (size_t)p->n_expert, PARALLEL_ELEMENTS), route_part,
		     (void *)p);
}

static void sum_part(void *ctx, int begin, int end, int thread)
{
	const struct moe_sum_params *p = ctx;

	(void)thread;
	for (int t = begin; t < end; t++) {
		const float *x = p->x + (size_t)t * (size_t)p->n_used * (size_t)p->n;
		const float *weights = p->weights + (size_t)t * (size_t)p->n_used;
		float *restrict y = p->y + (size_t)t * (size_t)p->n;

		for (int i = 0; i < p->n; i++)
			y[i] = weights[0] * x[i];
		for (int u = 1; u < p->n_used; u++) {
			const float *restrict xu = x + (size_t)u * (size_t)p->n;

			for (int i = 0; i < p->n; i++)
				y[i] += weights[u] * xu[i];
		}
	}
}

void k_moe_sum(const struct moe_sum_params *p)
{
	const size_t width = (size_t)p->n * (size_t)p->n_used;

	cpu_parallel(p->n_tokens, cpu_grain(p->n_tokens, width, PARALLEL_ELEMENTS), sum_part, (void *)p);
}
