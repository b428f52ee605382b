/* Elementwise kernels. Long ones are cut into pieces of a fixed size, whatever the number of threads. */
#include "kernels/cpu/inner.h"

enum {
	PIECE = 1 << 12,           /* elements */
	PARALLEL_CHEAP = 1 << 17,  /* elements of an addition that are worth a parallel region */
	PARALLEL_COSTLY = 1 << 14, /* elements of an exponential that are */
};

static void add_part(void *ctx, int begin, int end, int thread)
{
	const struct add_params *p = ctx;

	(void)thread;
	cpu_inner()->add(p->a + begin, p->b + begin, p->scale, p->y + begin, (size_t)(end - begin));
}

void k_add(const struct add_params *p)
{
	cpu_parallel(p->n, p->n > PARALLEL_CHEAP ? PIECE : p->n > 0 ? p->n : 1, add_part, (void *)p);
}

/* Pieces of all rows, one row's behind the other's. */
static void gated_part(void *ctx, int begin, int end, int thread)
{
	const struct gated_params *p = ctx;
	const int pieces = (p->n + PIECE - 1) / PIECE;

	(void)thread;
	for (int i = begin; i < end; i++) {
		const size_t r = (size_t)(i / pieces), at = (size_t)(i % pieces) * PIECE;
		const size_t n = (size_t)p->n - at < PIECE ? (size_t)p->n - at : PIECE;

		cpu_inner()->gated(p->gate + r * (size_t)p->gate_stride + at, p->up + r * (size_t)p->up_stride + at,
				   p->act, p->y + r * (size_t)p->y_stride + at, (int)n);
	}
}

void k_gated(const struct gated_params *p)
{
	const int pieces = p->n_rows * ((p->n + PIECE - 1) / PIECE);
	const int parallel = (size_t)p->n_rows * (size_t)p->n > PARALLEL_COSTLY;

	cpu_parallel(pieces, parallel || pieces < 1 ? 1 : pieces, gated_part, (void *)p);
}

static void softcap_part(void *ctx, int begin, int end, int thread)
{
	const struct softcap_params *p = ctx;

	(void)thread;
	cpu_inner()->softcap(p->x + begin, (size_t)(end - begin), p->cap);
}

void k_softcap(const struct softcap_params *p)
{
	cpu_parallel(p->n, p->n > PARALLEL_COSTLY ? PIECE : p->n > 0 ? p->n : 1, softcap_part, (void *)p);
}
