/* RMSNorm. */
#include <math.h>

#include "kernels/cpu/inner.h"

enum { PARALLEL_ELEMENTS = 1 << 15 };

void k_rms_norm(const struct rms_norm_params *p)
{
	const struct cpu_inner *inner = cpu_inner();
	const int parallel = p->n_rows > 1 && (size_t)p->n_rows * (size_t)p->n > PARALLEL_ELEMENTS;

#pragma omp parallel for schedule(static) if (parallel)
	for (int r = 0; r < p->n_rows; r++) {
		const float *x = p->x + (size_t)r * (size_t)p->x_stride;
		const float mean = inner->sum_squares(x, p->n) / (float)p->n;

		inner->scale(x, p->weight, p->scale / sqrtf(mean + p->eps), p->y + (size_t)r * (size_t)p->y_stride,
			     p->n);
	}
}
