/* Rotary position embedding, NEOX pairs. A token's sines and cosines are made once for all of its heads. */
#include <math.h>

#include "kernels/cpu/inner.h"

enum { PARALLEL_ELEMENTS = 1 << 14 };

static void rotate(float *restrict lo, float *restrict hi, const float *restrict c, const float *restrict s, int n)
{
	for (int j = 0; j < n; j++) {
		const float a = lo[j];
		const float b = hi[j];

		lo[j] = a * c[j] - b * s[j];
		hi[j] = a * s[j] + b * c[j];
	}
}

struct rope_loop {
	const struct rope_params *p;
	float *scratch; /* (threads, each): a token's cosines, and its sines from the half on */
	size_t each;
};

static void rope_part(void *ctx, int begin, int end, int thread)
{
	const struct rope_loop *l = ctx;
	const struct rope_params *p = l->p;
	const struct step step = cpu_step(&p->at);
	const int half = p->head_dim / 2;
	const size_t row = (size_t)p->n_heads * (size_t)p->head_dim;
	float *c = l->scratch + l->each * (size_t)thread;
	float *s = c + l->each / 2;

	for (int t = begin; t < end; t++) {
		for (int j = 0; j < half; j++) {
			const float angle = (float)(step.pos + t) * p->inv_freq[j];

			c[j] = cosf(angle);
			s[j] = sinf(angle);
		}
		for (int h = 0; h < p->n_heads; h++) {
			float *x = p->x + (size_t)t * row + (size_t)h * (size_t)p->head_dim;

			rotate(x, x + half, c, s, half);
		}
	}
}

void k_rope(const struct rope_params *p)
{
	const size_t row = (size_t)p->n_heads * (size_t)p->head_dim;
	const int grain = cpu_grain(p->n_tokens, row, PARALLEL_ELEMENTS);
	const int threads = p->n_tokens > grain ? cpu_threads() : 1;
	struct rope_loop l = {.p = p, .each = cpu_pad((size_t)p->head_dim / 2) * 2};

	l.scratch = cpu_scratch(l.each * (size_t)threads * sizeof(float));
	cpu_parallel(p->n_tokens, grain, rope_part, &l);
}
