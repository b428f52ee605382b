/* Elementwise kernels. Long ones are cut into pieces of a fixed size, whatever the number of threads. */
#include "kernels/cpu/inner.h"

enum {
	PIECE = 1 << 12,           /* elements */
	PARALLEL_CHEAP = 1 << 17,  /* elements of an addition that are worth a parallel region */
	PARALLEL_COSTLY = 1 << 14, /* elements of an exponential that are */
};

void k_add(const struct add_params *p)
{
	const struct cpu_inner *inner = cpu_inner();

#pragma omp parallel for schedule(static) if (p->n > PARALLEL_CHEAP)
	for (int i = 0; i < p->n; i += PIECE)
		inner->add(p->a + i, p->b + i, p->scale, p->y + i, (size_t)(p->n - i < PIECE ? p->n - i : PIECE));
}

void k_gated(const struct gated_params *p)
{
	const struct cpu_inner *inner = cpu_inner();
	const int pieces = (p->n + PIECE - 1) / PIECE;
	const int parallel = (size_t)p->n_rows * (size_t)p->n > PARALLEL_COSTLY;

#pragma omp parallel for collapse(2) schedule(static) if (parallel)
	for (int r = 0; r < p->n_rows; r++) {
		for (int i = 0; i < pieces; i++) {
			const size_t at = (size_t)i * PIECE;
			const int n = p->n - i * PIECE < PIECE ? p->n - i * PIECE : PIECE;

			inner->gated(p->gate + (size_t)r * (size_t)p->gate_stride + at,
				     p->up + (size_t)r * (size_t)p->up_stride + at, p->act,
				     p->y + (size_t)r * (size_t)p->y_stride + at, n);
		}
	}
}

void k_softcap(const struct softcap_params *p)
{
	const struct cpu_inner *inner = cpu_inner();

#pragma omp parallel for schedule(static) if (p->n > PARALLEL_COSTLY)
	for (int i = 0; i < p->n; i += PIECE)
		inner->softcap(p->x + i, (size_t)(p->n - i < PIECE ? p->n - i : PIECE), p->cap);
}
