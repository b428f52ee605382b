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

void k_rope(const struct rope_params *p)
{
	const struct step step = cpu_step(&p->at);
	const int half = p->head_dim / 2;
	const size_t row = (size_t)p->n_heads * (size_t)p->head_dim;
	const int parallel = p->n_tokens > 1 && (size_t)p->n_tokens * row > PARALLEL_ELEMENTS;
	const int threads = parallel ? cpu_threads() : 1;
	const size_t each = cpu_pad((size_t)half) * 2;
	float *scratch = cpu_scratch(each * (size_t)threads * sizeof(float));

#pragma omp parallel for schedule(static) num_threads(threads) if (parallel)
	for (int t = 0; t < p->n_tokens; t++) {
		float *c = scratch + each * (size_t)cpu_thread();
		float *s = c + each / 2;

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
