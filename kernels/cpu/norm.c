/* RMSNorm. */
#include <math.h>

#include "kernels/cpu/inner.h"

enum { PARALLEL_ELEMENTS = 1 << 15 };

static void norm_part(void *ctx, int begin, int end, int thread)
{
	const struct rms_norm_params *p = ctx;
	const struct cpu_inner *inner = cpu_inner();

	(void)thread;
	for (int r = begin; r < end; r++) {
		const float *x = p->x + (size_t)r * (size_t)p->x_stride;
		const float mean = inner->sum_squares(x, p->n) / (float)p->n;

		inner->scale(x, p->weight, p->scale / sqrtf(mean + p->eps), p->y + (size_t)r * (size_t)p->y_stride,
			     p->n);
	}
}

void k_rms_norm(const struct rms_norm_params *p)
{
	cpu_parallel(p->n_rows, cpu_grain(p->n_rows, (size_t)p->n, PARALLEL_ELEMENTS), norm_part, (void *)p);
}
